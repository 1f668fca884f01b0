package provision

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckAgent(t *testing.T) {
	const (
		source = "https://aws-codedeploy-us-west-1.s3.us-west-1.amazonaws.com"
		amd64  = "codedeploy-agent_2.1.0-1_amd64.deb"
		script = "readonly agent_version=2.1.0-1\n"
	)
	digest := strings.Repeat("0a", 32)
	for name, tc := range map[string]struct {
		files        map[string]string
		architecture string
		missing      string
	}{
		"recorded":              {files: map[string]string{agentScript: script, agentDigests: "# comment\n" + digest + "  " + amd64 + "\n"}, architecture: "x86_64"},
		"not recorded":          {files: map[string]string{agentScript: script, agentDigests: "# comment\n"}, architecture: "x86_64", missing: amd64},
		"of the other kind":     {files: map[string]string{agentScript: script, agentDigests: digest + "  " + amd64 + "\n"}, architecture: "arm64", missing: "codedeploy-agent_2.1.0-1_arm64.deb"},
		"of another version":    {files: map[string]string{agentScript: "readonly agent_version=2.2.0-1\n", agentDigests: digest + "  " + amd64 + "\n"}, architecture: "x86_64", missing: "codedeploy-agent_2.2.0-1_amd64.deb"},
		"no digest":             {files: map[string]string{agentScript: script, agentDigests: "cafe  " + amd64 + "\n"}, architecture: "x86_64", missing: amd64},
		"no file of digests":    {files: map[string]string{agentScript: script}, architecture: "x86_64", missing: amd64},
		"a tree without agents": {architecture: "x86_64"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range tc.files {
				if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755), os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			err := CheckAgent(os.DirFS(dir), source, tc.architecture)
			e, ok := errors.AsType[*AgentDigestError](err)
			if tc.missing == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !ok || e.Package != tc.missing || e.Command() != "mkdir -p provision/base/codedeploy && curl -fsSL "+source+"/releases/"+tc.missing+" | sha256sum | sed 's/-$/"+tc.missing+"/' >>provision/base/codedeploy/packages.sha256" {
				t.Errorf("error = %v", err)
			}
		})
	}
}

// The check here and the script there agree about this repository.
func TestCheckAgentKnowsTheScript(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("../../provision", agentScript))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"\nreadonly agent_version=", "package=codedeploy-agent_${agent_version}_$(dpkg --print-architecture).deb\n", "agent_url=$1/releases/$package\n",
		`curl -fsSL $agent_url | sha256sum | sed 's/-\$/$package/' >>provision/base/codedeploy/packages.sha256`,
	} {
		if !strings.Contains(string(script), part) {
			t.Errorf("%s says no more: %s", agentScript, part)
		}
	}
}
