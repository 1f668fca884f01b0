package devenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/ingot-build/ingot/pkg/machine"
)

// Shell opens a root shell in the machine on a terminal, or lets it read commands from in where that is none. The shell's exit code is
// a *machine.ExitError.
func Shell(ctx context.Context, o Options, in *os.File, out, errOut io.Writer) error {
	command := machine.Command{
		Args: []string{"bash", "--login"}, Env: append(machine.Proxies(), "TERM="+terminal()), Dir: "/root", Stdin: in, Stdout: out, Stderr: errOut,
	}
	if !term.IsTerminal(int(in.Fd())) {
		return notRunning(o.Engine.Exec(ctx, o.name(), command))
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("set up the terminal: %w", err)
	}
	defer func() { _ = term.Restore(int(in.Fd()), before) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	command.TTY, command.Resizes = true, resizes(ctx, in)
	return notRunning(o.Engine.Exec(ctx, o.name(), command))
}

func terminal() string {
	if name := os.Getenv("TERM"); name != "" {
		return name
	}
	return "dumb"
}

// resizes sends the size of a terminal, now and whenever it changes.
func resizes(ctx context.Context, f *os.File) <-chan machine.Size {
	sizes := make(chan machine.Size)
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	go func() {
		defer signal.Stop(changes)
		for {
			if columns, rows, err := term.GetSize(int(f.Fd())); err == nil {
				select {
				case sizes <- machine.Size{Columns: uint(columns), Rows: uint(rows)}:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-changes:
			case <-ctx.Done():
				return
			}
		}
	}()
	return sizes
}

func notRunning(err error) error {
	if errors.Is(err, machine.ErrNotFound) || errors.Is(err, machine.ErrNotRunning) {
		return ErrNotRunning
	}
	return err
}
