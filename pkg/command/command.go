// Package command runs other programs: with a context, an orderly interrupt and errors that show what was run and
// what it said.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/ingot-build/ingot/internal/lines"
	"github.com/ingot-build/ingot/internal/tail"
)

// DefaultWaitDelay is how long a program may take to end after it was interrupted, unless its Cmd says otherwise.
const DefaultWaitDelay = 10 * time.Second

// stderrLimit is how much of the end of a program's standard error an Error keeps, in bytes: about a screenful.
const stderrLimit = 4 << 10

// Cmd is a program to run.
type Cmd struct {
	Path string   // name, looked up on PATH, or a path
	Args []string // arguments, without the name
	Dir  string   // working folder; empty for the caller's
	Env  []string // KEY=VALUE pairs added to the environment of this process

	Stdin io.Reader
	// Stdout and Stderr take what the program writes. A program that is to outlive this process gets files: it has them
	// to itself, while what goes to another writer passes through this process.
	Stdout, Stderr io.Writer
	// Files are open files that the program has as well, from file descriptor 3 on. It is the same open file, so that
	// a lock on it (flock) lasts until both have closed it.
	Files []*os.File

	// WaitDelay is the time between the interrupt that ends a cancelled program and its kill; zero for
	// DefaultWaitDelay.
	WaitDelay time.Duration
}

// Argv is the name and the arguments.
func (c Cmd) Argv() []string { return append([]string{c.Path}, c.Args...) }

// Runner runs programs. Exec is the real one, Fake the one for tests.
type Runner interface {
	// Run runs c to its end. Errors are of type *Error; when ctx ended the program, they wrap its cause.
	Run(ctx context.Context, c Cmd) error
}

// Exec is the Runner that starts processes. Each is the leader of a process group of its own, so that an interrupt
// reaches what it started as well. When the context ends, the group is interrupted (SIGINT), given WaitDelay to clean
// up, and then killed.
type Exec struct{}

// Run implements Runner.
func (Exec) Run(ctx context.Context, c Cmd) error {
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout = c.Dir, c.Stdin, c.Stdout
	if len(c.Env) > 0 {
		cmd.Env = append(os.Environ(), c.Env...)
	}
	cmd.ExtraFiles = c.Files
	last := &tail.Buffer{Limit: stderrLimit}
	switch w := c.Stderr.(type) {
	case nil:
		cmd.Stderr = last
	case *os.File:
		cmd.Stderr = w
	default:
		cmd.Stderr = io.MultiWriter(w, last)
	}
	cmd.WaitDelay = c.WaitDelay
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = DefaultWaitDelay
	}
	ownGroup(cmd)
	cmd.Cancel = func() error { return interruptGroup(cmd.Process.Pid) }
	err := cmd.Run()
	if cmd.Process != nil {
		// What the program left in its group must not outlive it.
		killGroup(cmd.Process.Pid)
	}
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("%w (%w)", cause, err)
	}
	return &Error{Argv: c.Argv(), Dir: c.Dir, Stderr: last.String(), Err: err}
}

// Output runs c and returns its standard output without surrounding white space.
func Output(ctx context.Context, r Runner, c Cmd) (string, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := r.Run(ctx, c)
	return strings.TrimSpace(out.String()), err
}

// Error is a program that could not be run or did not end with exit code 0.
type Error struct {
	Argv   []string
	Dir    string
	Stderr string // the end of what it wrote to standard error; empty where that went to a file
	Err    error
}

// Error names the command as one could paste it into a shell, the cause, and the last line that the program wrote.
func (e *Error) Error() string {
	text := fmt.Sprintf("run %s: %v", Quote(e.Argv), e.Err)
	for _, last := range lines.Last(e.Stderr, 1) {
		text += ": " + strings.TrimSpace(last)
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ExitCode is the exit code of the program behind err, or -1 when it did not exit by itself.
func ExitCode(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return -1
}

// Quote writes argv as a POSIX shell reads it.
func Quote(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		if a != "" && !strings.ContainsFunc(a, needsQuote) {
			words[i] = a
			continue
		}
		words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
	}
	return strings.Join(words, " ")
}

func needsQuote(r rune) bool {
	plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	return !plain && !strings.ContainsRune("_-./:=@%+,", r)
}
