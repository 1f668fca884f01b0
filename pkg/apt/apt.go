// Package apt installs packages of Debian and its relatives on this machine.
package apt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/ingot-build/ingot/pkg/command"
)

// ErrUnavailable means that this machine's distribution has no apt-get.
var ErrUnavailable = errors.New("this machine has no apt-get")

// noPackage is apt-get's exit code for an error, which an unknown package is.
const noPackage = 100

// Install installs packages, and fetches the package lists where a machine knows none of them yet. It must be root, or
// have sudo without a password; it never asks for one. The error wraps ErrUnavailable on a distribution without apt-get.
func Install(ctx context.Context, runner command.Runner, packages ...string) error {
	i := installer{runner: runner, root: os.Geteuid() == 0, lookPath: exec.LookPath}
	if err := i.install(ctx, packages); err != nil {
		return fmt.Errorf("install %s: %w", strings.Join(packages, ", "), err)
	}
	return nil
}

type installer struct {
	runner   command.Runner
	root     bool
	lookPath func(name string) (string, error)
}

func (i installer) install(ctx context.Context, packages []string) error {
	if _, err := i.lookPath("apt-get"); err != nil {
		return ErrUnavailable
	}
	c := installCmd(i.root, packages)
	err := i.runner.Run(ctx, c)
	if command.ExitCode(err) == noPackage && i.runner.Run(ctx, updateCmd(i.root)) == nil {
		err = i.runner.Run(ctx, c)
	}
	return err
}

func installCmd(root bool, packages []string) command.Cmd {
	return asRoot(root, append([]string{"apt-get", "install", "-qq", "--no-install-recommends"}, packages...)...)
}

func updateCmd(root bool) command.Cmd { return asRoot(root, "apt-get", "update", "-qq") }

func asRoot(root bool, args ...string) command.Cmd {
	args = append([]string{"env", "DEBIAN_FRONTEND=noninteractive"}, args...)
	if !root {
		args = append([]string{"sudo", "-n"}, args...)
	}
	return command.Cmd{Path: args[0], Args: args[1:]}
}
