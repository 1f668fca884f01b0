package packer

import (
	"fmt"
	"regexp"

	"github.com/hashicorp/go-version"
)

// minVersion is the version that Debian ships, and the first whose HCL2 templates have everything that ours use.
const minVersion = "1.6.6"

// VersionError is output of "packer version" that names no version.
type VersionError struct{ Output string }

// Error quotes the output.
func (e *VersionError) Error() string { return fmt.Sprintf("no version of Packer in %.200q", e.Output) }

// parseVersion reads the output of "packer version", without pre-release parts. Its error is a *VersionError.
func parseVersion(output string) (*version.Version, error) {
	found := regexp.MustCompile(`(?m)^Packer v(\d+\.\d+\.\d+)(?:[-+ ].*)?$`).FindStringSubmatch(output)
	if found == nil {
		return nil, &VersionError{Output: output}
	}
	v, err := version.NewVersion(found[1])
	if err != nil {
		return nil, &VersionError{Output: output}
	}
	return v, nil
}

// capabilities are the differences between versions of Packer that matter here.
type capabilities struct {
	plugins         bool // plugins come through "packer init", and PACKER_PLUGIN_PATH says where they are
	metadataOptions bool // the machine that bakes can be told to want instance metadata v2
	ed25519         bool // the temporary key need not be RSA, which current servers may refuse

	unlimitedCredits bool // CPU credits have to be asked for; before, EC2's own default holds, which is to have them
}

// capabilitiesOf tells what a version can do. From 1.7 on, the Amazon plugin is the one that "packer init" installs.
func capabilitiesOf(v *version.Version) capabilities {
	since17 := v.GreaterThanOrEqual(version.Must(version.NewVersion("1.7.0")))
	return capabilities{plugins: since17, metadataOptions: since17, ed25519: since17, unlimitedCredits: since17}
}
