package packer

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
)

// Version is a version of Packer, without pre-release parts.
type Version struct{ Major, Minor, Patch int }

// oldest is the version that Debian ships, and the first whose HCL2 templates have everything that ours use.
func oldest() Version { return Version{1, 6, 6} }

// VersionError is output of "packer version" that names no version.
type VersionError struct{ Output string }

// Error quotes the output.
func (e *VersionError) Error() string { return fmt.Sprintf("no version of Packer in %.200q", e.Output) }

// ParseVersion reads the output of "packer version". Its error is a *VersionError.
func ParseVersion(output string) (Version, error) {
	found := regexp.MustCompile(`(?m)^Packer v(\d+)\.(\d+)\.(\d+)(?:[-+ ].*)?$`).FindStringSubmatch(output)
	if found == nil {
		return Version{}, &VersionError{Output: output}
	}
	var numbers [3]int
	for i := range numbers {
		number, err := strconv.Atoi(found[i+1])
		if err != nil {
			return Version{}, &VersionError{Output: output}
		}
		numbers[i] = number
	}
	return Version{numbers[0], numbers[1], numbers[2]}, nil
}

// String writes v as in "1.6.6".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// Less tells whether v is older than w.
func (v Version) Less(w Version) bool {
	return cmp.Or(cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Patch, w.Patch)) < 0
}

// Capabilities are the differences between versions of Packer that matter here.
type Capabilities struct {
	Plugins         bool // plugins come through "packer init", and PACKER_PLUGIN_PATH says where they are
	MetadataOptions bool // the machine that bakes can be told to want instance metadata v2
	Ed25519         bool // the temporary key need not be RSA, which current servers may refuse
}

// Capabilities tells what v can do.
func (v Version) Capabilities() Capabilities {
	since := func(minor int) bool { return !v.Less(Version{1, minor, 0}) }
	return Capabilities{
		Plugins: since(7),
		// From 1.7 on, the Amazon plugin is the one that "packer init" installs, and knows both.
		MetadataOptions: since(7),
		Ed25519:         since(7),
	}
}
