//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/ingot-build/ingot/pkg/apt"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/targets"
)

// folder is where everything that Ingot writes lies, below the root.
const folder = ".ingot"

// chores are what this repository alone needs: who imports the targets gets none of them.
type chores struct {
	*config.Config
	runner command.Runner
}

// run gives a chore this repository.
func run(ctx context.Context, body func(context.Context, *chores) error) error {
	return targets.Run(ctx, func(ctx context.Context, settings *config.Config) error {
		return body(ctx, &chores{Config: settings, runner: command.Exec{}})
	})
}

// path is a path inside the repository.
func (c *chores) path(elements ...string) string {
	return filepath.Join(append([]string{c.Root}, elements...)...)
}

// browsers are the names that distributions give to the browser that looks at pages.
var browsers = []string{"chromium", "google-chrome", "chromium-browser"}

// need installs the package of a command, unless it is on PATH by one of its names.
func (c *chores) need(ctx context.Context, pkg string, commands ...string) error {
	for _, name := range commands {
		if _, err := exec.LookPath(name); err == nil {
			return nil
		}
	}
	err := apt.Install(ctx, c.runner, apt.Options{}, pkg)
	if root, ok := errors.AsType[*apt.RootError](err); ok {
		return fmt.Errorf("%w; run this, and then the same command again:\n  %s", err, root.Command())
	}
	if err != nil {
		return fmt.Errorf("%s is not on PATH: %w; install it", commands[0], err)
	}
	return nil
}
