// Package apt gets packages of Debian and its relatives onto this machine.
package apt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ingot-build/ingot/pkg/command"
)

// ErrUnavailable means that this machine's distribution has no apt-get.
var ErrUnavailable = errors.New("this machine has no apt-get")

// RootError says that only root can get packages onto this machine.
type RootError struct {
	Packages []string
	Err      error // why nothing else worked
}

// Command is what somebody who may is to run.
func (e *RootError) Command() string {
	return "sudo apt-get update && sudo apt-get install -y --no-install-recommends " + strings.Join(e.Packages, " ")
}

// Error names the packages and the reason.
func (e *RootError) Error() string {
	return fmt.Sprintf("only root can install %s here, and sudo asks for a password (%v)", strings.Join(e.Packages, ", "), e.Err)
}

// Unwrap returns the reason.
func (e *RootError) Unwrap() error { return e.Err }

// Options say how packages get here. The zero value is to install them.
type Options struct {
	// Unpack is a folder below which the packages are unpacked where this process may not install any: it is neither root nor has it
	// sudo without a password. Empty where only an installed package is of use.
	Unpack string
}

// noPackage is apt-get's exit code for an error, which an unknown package is.
const noPackage = 100

// Install installs packages, and fetches the package lists where a machine knows none of them yet. It never asks for a password. Who
// may not install gets them unpacked where the options say so, with the signature of the package lists checked all the same, and else
// a *RootError. The error wraps ErrUnavailable on a distribution without apt-get.
func Install(ctx context.Context, runner command.Runner, o Options, packages ...string) error {
	i := installer{runner: runner, options: o, root: os.Geteuid() == 0, lookPath: exec.LookPath}
	if err := i.install(ctx, packages); err != nil {
		return fmt.Errorf("install %s: %w", strings.Join(packages, ", "), err)
	}
	return nil
}

type installer struct {
	runner   command.Runner
	options  Options
	root     bool
	lookPath func(name string) (string, error)
}

func (i installer) install(ctx context.Context, packages []string) error {
	if _, err := i.lookPath("apt-get"); err != nil {
		return ErrUnavailable
	}
	if !i.root {
		if denied := i.runner.Run(ctx, command.Cmd{Path: "sudo", Args: []string{"-n", "true"}}); denied != nil {
			return i.withoutRoot(ctx, packages, denied)
		}
	}
	c := installCmd(i.root, packages)
	err := i.runner.Run(ctx, c)
	if command.ExitCode(err) == noPackage && i.runner.Run(ctx, updateCmd(i.root)) == nil {
		err = i.runner.Run(ctx, c)
	}
	return err
}

// withoutRoot unpacks the packages, or says what root has to do.
func (i installer) withoutRoot(ctx context.Context, packages []string, denied error) error {
	if i.options.Unpack == "" {
		return &RootError{packages, denied}
	}
	if err := i.unpack(ctx, packages); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return &RootError{packages, err}
	}
	return nil
}

// unpack appears to be an installation of the packages below a folder, which is enough for a command that needs nothing else.
func (i installer) unpack(ctx context.Context, packages []string) (err error) {
	if err := os.MkdirAll(i.options.Unpack, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(i.options.Unpack, ".download-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := i.runner.Run(ctx, downloadCmd(dir, packages)); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(archives) != len(packages) {
		return errors.Join(err, fmt.Errorf("apt-get downloaded %q", archives))
	}
	for _, archive := range archives {
		if err := i.runner.Run(ctx, command.Cmd{Path: "dpkg-deb", Args: []string{"--extract", archive, i.options.Unpack}}); err != nil {
			return err
		}
	}
	return nil
}

func installCmd(root bool, packages []string) command.Cmd {
	return asRoot(root, append([]string{"apt-get", "install", "-qq", "--no-install-recommends"}, packages...)...)
}

func updateCmd(root bool) command.Cmd { return asRoot(root, "apt-get", "update", "-qq") }

func downloadCmd(dir string, packages []string) command.Cmd {
	return command.Cmd{Path: "apt-get", Args: append([]string{"download", "-qq"}, packages...), Dir: dir}
}

func asRoot(root bool, args ...string) command.Cmd {
	args = append([]string{"env", "DEBIAN_FRONTEND=noninteractive"}, args...)
	if !root {
		args = append([]string{"sudo", "-n"}, args...)
	}
	return command.Cmd{Path: args[0], Args: args[1:]}
}
