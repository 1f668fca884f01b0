package targets

import (
	"context"
	_ "embed" // completion.bash
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"github.com/ingot-build/ingot/internal/scaffold"
)

// Version prints which version of Ingot this is, and with which Go it was compiled.
func Version(context.Context) error {
	info, _ := debug.ReadBuildInfo()
	_, err := fmt.Fprintln(os.Stdout, versionOf(info))
	return err
}

// versionOf is what a program's build says of Ingot, which is a module of others' or the program's own.
func versionOf(info *debug.BuildInfo) string {
	if info == nil {
		return "ingot, of an unknown version"
	}
	module := info.Main
	for _, m := range info.Deps {
		if m.Path == scaffold.Module {
			module = *m
		}
	}
	text := "ingot " + module.Version
	if module.Replace != nil {
		text += strings.TrimRight(" => "+module.Replace.Path+" "+module.Replace.Version, " ")
	}
	if module.Version == "" || module.Version == "(devel)" {
		text = "ingot of this checkout"
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				text += ", " + s.Value
			}
		}
	}
	return text + " (" + info.GoVersion + ")"
}

//go:embed completion.bash
var completion string

// Completion prints what has Bash, or Zsh with bashcompinit, complete targets and their flags.
//
// Also makes the command mage of "go tool mage". For ~/.bashrc: eval "$(go tool mage completion)"
func Completion(context.Context) error {
	_, err := fmt.Fprint(os.Stdout, completion)
	return err
}
