//go:build mage

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/internal/toolcache"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/terraform"
)

// Lint checks the form of everything: Go, shell, HCL, workflows.
//
// gofmt, go vet, staticcheck, shellcheck, shfmt, terraform fmt and validate, packer fmt and validate, actionlint. Changes
// nothing.
func Lint(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, c *chores) error {
		var errs []error
		for _, check := range []func(context.Context) error{c.lintGo, c.lintShell, c.lintTerraform, c.lintPacker, c.lintWorkflows} {
			errs = append(errs, check(ctx))
		}
		return errors.Join(errs...)
	})
}

func (c *chores) lintGo(ctx context.Context) error {
	files, err := c.files(".go")
	if err != nil {
		return err
	}
	unformatted, err := command.Output(ctx, c.runner, command.Cmd{Path: "gofmt", Args: append([]string{"-l"}, files...), Dir: c.Root})
	if err == nil && unformatted != "" {
		err = fmt.Errorf("not formatted; run gofmt -w on them:\n%s", unformatted)
	}
	service := c.path(c.Service.Source)
	return errors.Join(err,
		c.check(ctx, c.Root, "go", "vet", "-tags=integration,mage", "./..."),
		c.check(ctx, c.Root, "go", "tool", "staticcheck", "-tags=integration,mage", "./..."),
		c.check(ctx, service, "go", "vet", "./..."),
	)
}

func (c *chores) lintShell(ctx context.Context) error {
	scripts, err := c.files(".sh")
	if err != nil {
		return err
	}
	if err := c.need(ctx, "shellcheck", "shellcheck"); err != nil {
		return err
	}
	return errors.Join(
		c.check(ctx, c.Root, "shellcheck", append([]string{"-x"}, scripts...)...),
		c.check(ctx, c.Root, "go", append([]string{"tool", "shfmt", "-d"}, scripts...)...),
	)
}

func (c *chores) lintTerraform(ctx context.Context) error {
	cache, err := toolcache.Dir("")
	if err != nil {
		return err
	}
	path, err := terraform.Find(ctx, cache)
	if err != nil {
		return err
	}
	plugins, err := terraform.PluginDir(ctx, c.Terraform.PluginDir, cache)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "ingot-lint-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	stack := &terraform.Stack{Command: path, Config: os.DirFS(c.path("terraform")), DataDir: work, StatePath: filepath.Join(work, "state"), PluginDir: plugins, CacheDir: cache}
	err = stack.Init(ctx)
	if err == nil {
		err = stack.Validate(ctx)
	}
	return errors.Join(err, c.check(ctx, c.Root, path, "fmt", "-check", "-diff", "-recursive", "terraform"))
}

func (c *chores) lintPacker(ctx context.Context) error {
	found, err := packer.Find(ctx, c.runner, "")
	if err != nil {
		return err
	}
	if err := found.Init(ctx, c.path("packer", "plugins")); err != nil {
		return err
	}
	return errors.Join(
		c.check(ctx, c.Root, found.Path, "fmt", "-check", "-diff", "packer"),
		c.check(ctx, c.Root, found.Path, "validate", "-syntax-only", "packer"),
	)
}

func (c *chores) lintWorkflows(ctx context.Context) error {
	return c.check(ctx, c.Root, "go", "tool", "actionlint")
}

// check runs a command and shows what it said where it fails.
func (c *chores) check(ctx context.Context, dir, name string, args ...string) (err error) {
	stage := progress.Start(ctx, "%s", strings.Join(append([]string{filepath.Base(name)}, firstWords(args)...), " "))
	defer stage.End(&err)
	var out bytes.Buffer
	if err := c.runner.Run(ctx, command.Cmd{Path: name, Args: args, Dir: dir, Stdout: &out, Stderr: &out}); err != nil {
		return fmt.Errorf("%w\n%s", err, out.String())
	}
	return nil
}

// firstWords leaves the files out of a command line that is shown.
func firstWords(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.ContainsAny(a, "./=,") && a != "./..." })
}

// files lists the repository's files with an extension, without what Ingot itself writes.
func (c *chores) files(extension string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(c.Root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == folder) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == extension || extension == ".sh" && isScript(path, entry) {
			name, _ := filepath.Rel(c.Root, path)
			found = append(found, name)
		}
		return nil
	})
	return found, err
}

// isScript tells whether a file without an extension is a shell script.
func isScript(path string, entry fs.DirEntry) bool {
	if filepath.Ext(path) != "" || !entry.Type().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	first, _ := bufio.NewReader(f).ReadString('\n')
	return strings.HasPrefix(first, "#!") && strings.HasSuffix(strings.TrimSpace(first), "sh")
}
