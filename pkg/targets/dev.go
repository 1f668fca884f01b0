package targets

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/magefile/mage/mg"

	"github.com/ingot-build/ingot"
	"github.com/ingot-build/ingot/pkg/devenv"
	"github.com/ingot-build/ingot/pkg/machine"
)

// Dev is the development machine.
type Dev mg.Namespace

// Up serves in a machine like production's; saves rebuild it.
//
// Prints the URL, follows the service's journal, and builds and restarts the service whenever a file changes. Ctrl-C stops the
// machine, which is kept for a quick next start. Needs Docker.
func (Dev) Up(ctx context.Context,
	port *int, // where the service answers on 127.0.0.1, instead of its own port
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		return p.withDev(ctx, func(o devenv.Options) error {
			if port != nil {
				o.Publish = *port
			}
			o.Ready = func(url string) { fmt.Fprintln(p.out, url) }
			return devenv.Up(ctx, o)
		})
	})
}

// Down removes the development machine.
//
// Its image and the build cache stay, for a quick next start; with -purge they go too, and nothing is left.
func (Dev) Down(ctx context.Context,
	purge *bool, // remove the image and the caches too
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		return p.withDev(ctx, func(o devenv.Options) error { return devenv.Down(ctx, o, value(purge)) })
	})
}

// Shell opens a root shell in the development machine.
//
// Ends with the shell's exit code. The machine has to run: mage dev.
func (Dev) Shell(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		return p.withDev(ctx, func(o devenv.Options) error {
			err := devenv.Shell(ctx, o, os.Stdin, p.out, os.Stderr)
			if ended, ok := errors.AsType[*machine.ExitError](err); ok {
				return mg.Fatalf(ended.Code, "the shell ended with exit status %d", ended.Code)
			}
			return err
		})
	})
}

// Logs follows the journal of the service in development.
//
// The machine has to run: mage dev.
func (Dev) Logs(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		return p.withDev(ctx, func(o devenv.Options) error { return devenv.Logs(ctx, o, p.out) })
	})
}

// withDev calls f with this repository's development machine.
func (p *project) withDev(ctx context.Context, f func(devenv.Options) error) error {
	engine, err := machine.Connect(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	folder, err := os.Getwd()
	if err != nil {
		return err
	}
	return f(devenv.Options{
		Engine: engine, Root: p.Root, App: p.App, Provision: p.path("provision"), Core: ingot.Provision(), Source: p.path(p.Service.Source),
		Package: p.Service.Package, Port: p.Service.Port, Health: p.Service.Health, StartWithin: p.Service.StartWithin, WorkDir: folder, Runner: p.runner,
	})
}
