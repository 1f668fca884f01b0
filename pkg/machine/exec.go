package machine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/ingot-build/ingot/internal/lines"
	"github.com/ingot-build/ingot/internal/tail"
	"github.com/ingot-build/ingot/pkg/command"
)

// Command is a program to run inside a machine.
type Command struct {
	Args   []string // name and arguments
	Env    []string // KEY=VALUE pairs added to the machine's
	Dir    string   // working folder; empty for /
	User   string   // empty for root
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer // unused with TTY, where the terminal mixes both

	TTY     bool
	Resizes <-chan Size // with TTY: the terminal's size, first and whenever it changes
}

// Size is a terminal's size in characters.
type Size struct{ Columns, Rows uint }

// ExitError is a program in a machine that ended with another exit code than 0.
type ExitError struct {
	Args   []string
	Code   int
	Stderr string // the end of what it wrote to standard error
}

// Error names the program as one could paste it into a shell, its exit code, and the last line that it wrote to standard error.
func (e *ExitError) Error() string {
	text := fmt.Sprintf("%s: exit status %d", command.Quote(e.Args), e.Code)
	for _, last := range lines.Last(e.Stderr, 1) {
		text += ": " + strings.TrimSpace(last)
	}
	return text
}

// stderrLimit is how much of the end of a program's standard error an ExitError keeps, in bytes: about a screenful.
const stderrLimit = 4 << 10

// execVariable marks the processes of one Exec in the machine, so that they can be ended with it.
const execVariable = "INGOT_EXEC"

// killDelay is the time between the signal that asks a cancelled program to end and the one that kills it.
const killDelay = 5 * time.Second

// Exec runs a program in a running machine to its end. Another exit code than 0 is an *ExitError. When ctx ends, what the program
// started is terminated as well, and killed if it does not end soon.
func (e *Engine) Exec(ctx context.Context, name string, c Command) error {
	if len(c.Args) == 0 {
		return errors.New("run a program in machine: no program given")
	}
	what := "run " + c.Args[0] + " in machine"
	token := rand.Text()
	created, err := e.api.ContainerExecCreate(ctx, name, execOptions(c, token))
	if err != nil {
		return explain(what, name, err)
	}
	conn, err := e.api.ContainerExecAttach(ctx, created.ID, container.ExecAttachOptions{Tty: c.TTY})
	if err != nil {
		return explain(what, name, err)
	}
	defer conn.Close()
	stopResizes := e.followResizes(ctx, created.ID, c.Resizes)
	defer stopResizes()
	if c.Stdin != nil {
		// Not waited for: a terminal's reader cannot be interrupted, and ends with the process that reads it.
		go func() {
			_, _ = io.Copy(conn.Conn, c.Stdin)
			_ = conn.CloseWrite()
		}()
	}
	stdout, stderr, last := orDiscard(c.Stdout), orDiscard(c.Stderr), &tail.Buffer{Limit: stderrLimit}
	done := make(chan error, 1)
	go func() {
		var err error
		if c.TTY {
			_, err = io.Copy(stdout, conn.Reader)
		} else {
			_, err = stdcopy.StdCopy(stdout, io.MultiWriter(stderr, last), conn.Reader)
		}
		done <- err
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		e.terminate(context.WithoutCancel(ctx), name, token, done)
		conn.Close()
		return fmt.Errorf("%s %q: %w", what, name, context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("%s %q: read its output: %w", what, name, err)
	}
	ended, err := e.api.ContainerExecInspect(ctx, created.ID)
	if err != nil {
		return explain(what, name, err)
	}
	if ended.Running { // the engine ends the stream first when the machine dies
		return fmt.Errorf("%s %q: %w any more", what, name, ErrNotRunning)
	}
	if ended.ExitCode != 0 {
		return &ExitError{Args: c.Args, Code: ended.ExitCode, Stderr: last.String()}
	}
	return nil
}

func execOptions(c Command, token string) container.ExecOptions {
	return container.ExecOptions{
		Cmd:          c.Args,
		Env:          append([]string{execVariable + "=" + token}, c.Env...),
		WorkingDir:   c.Dir,
		User:         c.User,
		Tty:          c.TTY,
		AttachStdin:  c.Stdin != nil,
		AttachStdout: true,
		AttachStderr: !c.TTY,
	}
}

// followResizes tells the terminal of a program its size, until the returned function is called.
func (e *Engine) followResizes(ctx context.Context, id string, sizes <-chan Size) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	if sizes != nil {
		go func() {
			for {
				select {
				case <-ctx.Done():
					return
				case s, ok := <-sizes:
					if !ok {
						return
					}
					// A lost resize costs looks only.
					_ = e.api.ContainerExecResize(ctx, id, container.ResizeOptions{Width: s.Columns, Height: s.Rows})
				}
			}
		}()
	}
	return cancel
}

// signalScript signals every process that has a variable in its environment. The engine has no call for that.
const signalScript = `for p in /proc/[0-9]*; do
  if [ "${p#/proc/}" != $$ ] && grep -qzxF "$2" "$p/environ" 2>/dev/null; then kill "-$1" "${p#/proc/}"; fi
done; true`

// terminate ends what an Exec started: by SIGTERM, and after killDelay by SIGKILL. Errors do not matter: the caller is told of the
// cancellation, and the machine may have gone.
func (e *Engine) terminate(ctx context.Context, name, token string, done <-chan error) {
	for _, signal := range []string{"TERM", "KILL"} {
		ctx, cancel := context.WithTimeout(ctx, killDelay)
		_ = e.Exec(ctx, name, Command{Args: []string{"/bin/sh", "-c", signalScript, "sh", signal, execVariable + "=" + token}})
		select {
		case <-done:
			cancel()
			return
		case <-ctx.Done():
			cancel()
		}
	}
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}
