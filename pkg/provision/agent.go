package provision

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

// What of the CodeDeploy agent lies below the provisioning tree.
const (
	agentScript  = "base/codedeploy/agent.sh"
	agentDigests = "base/codedeploy/packages.sha256"
)

// AgentDigestError says that nobody has looked at the package of the CodeDeploy agent that a base image would get.
type AgentDigestError struct {
	Package string // its file name
	URL     string // where AWS serves it
	File    string // where its digest belongs
}

// Error names the package.
func (e *AgentDigestError) Error() string {
	return fmt.Sprintf("no digest of the CodeDeploy agent's package %s is recorded, and AWS documents none", e.Package)
}

// Command is the shell command that records the digest of the package as it is served now. Somebody should look at that.
func (e *AgentDigestError) Command() string {
	return fmt.Sprintf(`mkdir -p %s && curl -fsSL %s | sha256sum | sed 's/-$/%s/' >>%s`, path.Dir(e.File), e.URL, e.Package, e.File)
}

// CheckAgent returns an *AgentDigestError where the base stage of a tree would stop on a machine of an architecture, x86_64 or
// arm64, because it knows no digest of the CodeDeploy agent's package from source, the URL of AWS's bucket. It says on this
// machine, and before a machine costs anything, what agent.sh says there. A tree without that script installs no agent.
func CheckAgent(tree fs.FS, source, architecture string) error {
	script, err := fs.ReadFile(tree, agentScript)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("check the CodeDeploy agent: %w", err)
	}
	version := regexp.MustCompile(`(?m)^readonly agent_version=(\S+)$`).FindSubmatch(script)
	if version == nil {
		return nil // a script of another kind
	}
	digests, err := fs.ReadFile(tree, agentDigests)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("check the CodeDeploy agent: %w", err)
	}
	machine := map[string]string{"x86_64": "amd64", "arm64": "arm64"}[architecture] // as Debian names them
	name := fmt.Sprintf("codedeploy-agent_%s_%s.deb", version[1], machine)
	if hasDigest(digests, name) {
		return nil
	}
	return &AgentDigestError{Package: name, URL: source + "/releases/" + name, File: "provision/" + agentDigests}
}

// hasDigest tells whether a file as sha256sum writes it has the digest of a package.
func hasDigest(digests []byte, name string) bool {
	digest := regexp.MustCompile(`^[0-9a-f]{64}$`)
	for lines := bufio.NewScanner(bytes.NewReader(digests)); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) >= 2 && fields[1] == name && digest.MatchString(fields[0]) {
			return true
		}
	}
	return false
}
