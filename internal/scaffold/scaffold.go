// Package scaffold begins with Ingot in a repository: it looks what the service is, and writes the few files that are the repository's
// own. It imports little, as it is part of what runs before the targets are compiled.
package scaffold

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Module is the path of Ingot's own module.
const Module = "github.com/ingot-build/ingot"

// Options say where, and as what, to begin.
type Options struct {
	Root string    // the repository's folder
	App  string    // the application's name; the folder's where empty
	Out  io.Writer // is told what was found, written and kept
}

// Init begins with Ingot in a repository. It writes ingot.hcl, magefiles/magefile.go and what else the service wants, keeps every file that is
// there, and has go.mod name Ingot's tool and what the targets import. Where there is no service, it writes one.
func Init(ctx context.Context, o Options) error {
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return err
	}
	o.Root, o.App = root, cmp.Or(o.App, appName(filepath.Base(root)))
	if !appPattern.MatchString(o.App) {
		return fmt.Errorf("%q is no name for an application: 3 to 24 lower-case letters, digits and hyphens, beginning with a letter", o.App)
	}
	service, err := Look(root)
	if err != nil {
		return err
	}
	files := map[string]string{}
	if service == nil {
		fmt.Fprintln(o.Out, "There is no service here yet, so this writes a small one in Go.")
		service = &Service{Source: "service"}
		files = sample(o.App)
	} else {
		fmt.Fprintf(o.Out, "The service is in %q; this takes it for %s.\n", service.Source, service.What)
	}
	maps.Copy(files, service.files(o.App))
	if err := Write(o.Root, files, o.Out); err != nil {
		return err
	}
	if err := o.ignore("/.ingot/", "/bin/"); err != nil {
		return err
	}
	return o.require(ctx)
}

// appPattern is what an application may be called, as ingot.hcl has it.
var appPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{1,22}[a-z0-9]$`)

// appName makes an application's name of a folder's.
func appName(folder string) string {
	name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(folder), "-")
	name = strings.Trim(strings.TrimLeft(name, "0123456789-"), "-")
	if len(name) > 24 {
		name = strings.Trim(name[:24], "-")
	}
	if len(name) < 3 {
		name = strings.Trim(name+"-service", "-")
	}
	return name
}

// files are those of a repository's own that its service wants, by their paths.
func (s *Service) files(app string) map[string]string {
	settings := fmt.Sprintf("app = %q\n", app)
	type setting struct{ name, text string }
	var service []setting
	if s.Source != "service" {
		service = append(service, setting{"source", fmt.Sprintf("%q", s.Source)})
	}
	if s.Package != "" {
		service = append(service, setting{"package", fmt.Sprintf("%q", s.Package)})
	}
	if s.Port != 0 && s.Port != 8080 {
		service = append(service, setting{"port", fmt.Sprint(s.Port)})
	}
	if len(service) > 0 {
		width := 0
		for _, line := range service {
			width = max(width, len(line.name))
		}
		settings += "\nservice {\n"
		for _, line := range service {
			settings += fmt.Sprintf("  %-*s = %s\n", width, line.name, line.text)
		}
		settings += "}\n"
	}
	files := map[string]string{"ingot.hcl": settings, "magefiles/magefile.go": magefile}
	if s.Command != "" {
		files[path.Join(s.Source, "build")] = s.build()
	}
	if len(s.Packages) > 0 {
		files["provision/base/packages"] = strings.Join(s.Packages, "\n") + "\n"
	}
	return files
}

const magefile = `//go:build mage

package main

import (
	//mage:import
	"` + Module + `/pkg/targets"
)

// Aliases maps the bare word to the namespace's first target.
var Aliases = map[string]any{"dev": targets.Dev.Up, "local": targets.Local.Up}
`

// build is a script that copies the source, and what it needs, and starts it where it comes to lie.
func (s *Service) build() string {
	lines := []string{
		"#!/bin/sh", "# Writes what is to be /opt/app into $OUT: the service, and bin/service, which starts it.", "set -eu", `cp -R . "$OUT"`,
	}
	if s.Prepare != "" {
		lines = append(lines, `cd "$OUT"`, s.Prepare)
	}
	lines = append(lines, `mkdir -p "$OUT/bin"`, `cat >"$OUT/bin/service" <<'END'`, "#!/bin/sh", "cd /opt/app")
	if s.Paths != "" {
		lines = append(lines, "export "+s.Paths)
	}
	command := s.Command
	if !strings.ContainsAny(command, "&|;") && !strings.HasPrefix(command, "exec ") {
		command = "exec " + command // so that it gets the signals
	}
	return strings.Join(append(lines, command, "END", `chmod +x "$OUT/bin/service"`, ""), "\n")
}

// Write writes files below root that are not there, those of a script executable, and tells out of each.
func Write(root string, files map[string]string, out io.Writer) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasPrefix(files[name], "#!") {
			mode = 0o755
		}
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, fs.ErrExist) {
			fmt.Fprintf(out, "kept   %s\n", name)
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.WriteString(files[name])
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		fmt.Fprintf(out, "wrote  %s\n", name)
	}
	return nil
}

// ignore has git ignore paths.
func (o Options) ignore(paths ...string) error {
	name := filepath.Join(o.Root, ".gitignore")
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, more := string(data), ""
	for _, p := range paths {
		if !strings.Contains("\n"+text+"\n", "\n"+p+"\n") {
			more += p + "\n"
		}
	}
	if more == "" {
		return nil
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	fmt.Fprintf(o.Out, "wrote  .gitignore\n")
	return os.WriteFile(name, []byte(text+more), 0o644)
}

// require has go.mod name the tool and what the targets import.
func (o Options) require(ctx context.Context) error {
	run := func(args ...string) error {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = o.Root
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	mod, err := os.ReadFile(filepath.Join(o.Root, "go.mod"))
	if errors.Is(err, fs.ErrNotExist) {
		if err := run("mod", "init", o.App); err != nil {
			return err
		}
		fmt.Fprintln(o.Out, "wrote  go.mod")
	} else if err != nil {
		return err
	}
	if !regexp.MustCompile(`(?m)^\s*(tool\s+)?` + regexp.QuoteMeta(Module+"/pkg/mage") + `\s*$`).Match(mod) {
		if err := run("get", "-tool", Module+"/pkg/mage"); err != nil {
			return err
		}
	}
	fmt.Fprintln(o.Out, "go.mod gets what the targets import …")
	// No version moves by this.
	if err := run("list", "-mod=mod", "-tags=mage", "-deps", "./magefiles"); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(o.Root, "vendor", "modules.txt")); err == nil {
		if err := run("mod", "vendor"); err != nil {
			return err
		}
		fmt.Fprintln(o.Out, "wrote  vendor")
	}
	return nil
}
