package targets

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersionOf(t *testing.T) {
	const ingot = "github.com/ingot-build/ingot"
	for want, info := range map[string]*debug.BuildInfo{
		"ingot v1.2.3 (go1.26.0)":                                 {GoVersion: "go1.26.0", Main: debug.Module{Path: "example.org/x", Version: "v0.1.0"}, Deps: []*debug.Module{{Path: ingot, Version: "v1.2.3"}}},
		"ingot v1.2.3 => ../ingot (go1.26.0)":                     {GoVersion: "go1.26.0", Deps: []*debug.Module{{Path: ingot, Version: "v1.2.3", Replace: &debug.Module{Path: "../ingot"}}}},
		"ingot of this checkout, c0ffee (go1.26.0)":               {GoVersion: "go1.26.0", Main: debug.Module{Path: ingot, Version: "(devel)"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "c0ffee"}}},
		"ingot v0.0.0-20261127193101-9b5c8a1e2f3d+dirty (go1.26)": {GoVersion: "go1.26", Main: debug.Module{Path: ingot, Version: "v0.0.0-20261127193101-9b5c8a1e2f3d+dirty"}},
		"ingot, of an unknown version":                            nil,
	} {
		if got := versionOf(info); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestCompletion: Bash completes what the targets list and what their help says.
func TestCompletion(t *testing.T) {
	bin := t.TempDir()
	goCommand := "#!/bin/sh\ncase $3 in\n-l) printf 'Targets:\\n  app                bakes\\n  infra:apply        makes\\n  infra:plan         shows\\n  local:up*          starts\\n' ;;\n-h) printf 'Prod bakes.\\n\\nFlags:\\n\\n\\t-image=<string>  roll\\n\\t-json=<bool>     print\\n' ;;\nesac\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(goCommand), 0o755); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"mage a": "app", "mage infra:": "apply plan", "mage infra:p": "plan", "mage prod -": "-image -json", "mage local prod -j": "-json", "mage x": "", "mage local": "local:up",
	} {
		script := completion + `COMP_LINE="$1" COMP_POINT=${#1} COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'; _ingot_complete; echo "${COMPREPLY[*]}"`
		cmd := exec.Command("bash", "-c", script, "bash", line)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%q completes to %q, %v, want %q", line, got, err, want)
		}
	}
}
