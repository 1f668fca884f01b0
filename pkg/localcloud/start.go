package localcloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/ingot-build/ingot/internal/lines"
	"github.com/ingot-build/ingot/internal/lockfile"
	"github.com/ingot-build/ingot/internal/wait"
)

const (
	// startTimeout is how long a server may take until it answers. It takes well under a second; making the machine image is
	// not part of it.
	startTimeout = 30 * time.Second
	// stopTimeout is how long a server may take to end before it is killed.
	stopTimeout = shutdownTimeout + 5*time.Second
	// pollInterval is how often a server that starts or ends is looked at.
	pollInterval = 20 * time.Millisecond
	// maxLog is the size at which the log begins anew, in bytes.
	maxLog = 16 << 20
)

// Start starts the cloud in the background where it does not run, waits until it answers, and returns how to connect to it. A server of
// another build of the executable is replaced. Starts of the same cloud at the same time are safe.
func Start(ctx context.Context, options Options) (Connection, error) {
	f, err := openFolder(options.StateDir)
	if err != nil {
		return Connection{}, err
	}
	unlock, err := f.lockFile(ctx, startLock)
	if err != nil {
		return Connection{}, fmt.Errorf("start the local cloud: %w", err)
	}
	defer unlock()
	return f.start(ctx, options)
}

// start is Start with the start lock held.
func (f folder) start(ctx context.Context, options Options) (Connection, error) {
	// A cloud of another region, or a damaged one, is told before a server runs into it.
	id, err := f.identify(options)
	if err != nil {
		return Connection{}, err
	}
	current, err := f.isCurrent(ctx, id, options.Command)
	if err != nil {
		return Connection{}, err
	}
	if current {
		return id.connection(), nil
	}
	if err := f.stopServer(ctx); err != nil {
		return Connection{}, err
	}
	if err := f.startServer(ctx, id, options.Command); err != nil {
		return Connection{}, fmt.Errorf("start the local cloud in %q: %w", f, err)
	}
	return id.connection(), nil
}

// Prepare makes what a cloud's first instance needs and takes long: the machine image. Where it is there, that is seen in
// a moment. Without Prepare the cloud makes it when the first client asks for images, who then waits without a word.
func Prepare(ctx context.Context, options Options) error {
	f, err := openFolder(options.StateDir)
	if err != nil {
		return err
	}
	id, err := f.identify(options)
	if err != nil {
		return err
	}
	b, err := connectDocker(ctx, id.ID)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.usable(); err != nil {
		return err
	}
	_, err = b.compute.SourceImage(ctx, runtime.GOARCH)
	return err
}

// isCurrent reports whether a server runs, answers, and is of the same build as the command.
func (f folder) isCurrent(ctx context.Context, id identity, command []string) (bool, error) {
	if len(command) == 0 {
		return false, errors.New("start the local cloud: no command is given")
	}
	running, ok, err := f.server()
	if err != nil || !ok {
		return false, err
	}
	path, err := exec.LookPath(command[0])
	if err != nil {
		return false, fmt.Errorf("start the local cloud: %w", err)
	}
	build, err := digest(path)
	if err != nil {
		return false, fmt.Errorf("start the local cloud: %w", err)
	}
	if running.Build != build {
		return false, nil
	}
	return f.answers(ctx, id) == nil, nil
}

// answers checks that the cloud's server answers.
func (f folder) answers(ctx context.Context, id identity) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return ask(ctx, id.connection(), "Ping", struct{}{}, &struct{}{})
}

// startServer starts the command and waits until the server answers.
func (f folder) startServer(ctx context.Context, id identity, command []string) error {
	log, begin, err := f.openLog()
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // so that it outlives this process and its terminal
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		running, ok, err := f.server()
		if err == nil && ok && running.PID != 0 && f.answers(ctx, id) == nil {
			return nil
		}
		select {
		case err := <-ended:
			if err == nil {
				err = errors.New("exit status 0")
			}
			return fmt.Errorf("%s ended: %w\n%s", strings.Join(command, " "), err, f.endOfLog(begin))
		case <-ctx.Done():
			_ = syscall.Kill(cmd.Process.Pid, syscall.SIGTERM)
			return fmt.Errorf("wait until it answers: %w\n%s", context.Cause(ctx), f.endOfLog(begin))
		case <-time.After(pollInterval):
		}
	}
}

// openLog opens the log for appending and returns where the new part begins.
func (f folder) openLog() (log *os.File, begin int64, err error) {
	log, err = os.OpenFile(f.join(logFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := log.Stat()
	if err == nil && info.Size() > maxLog {
		err = log.Truncate(0)
	} else if err == nil {
		begin = info.Size()
	}
	if err != nil {
		log.Close()
		return nil, 0, err
	}
	return log, begin, nil
}

// endOfLog returns the last lines of the log from an offset on, and where it is.
func (f folder) endOfLog(begin int64) string {
	const maxBytes, maxLines = 4096, 20
	log, err := os.Open(f.join(logFile))
	if err != nil {
		return err.Error()
	}
	defer log.Close()
	if info, err := log.Stat(); err == nil {
		begin = max(begin, info.Size()-maxBytes)
	}
	data, _ := io.ReadAll(io.NewSectionReader(log, begin, maxBytes))
	return strings.Join(lines.Last(string(data), maxLines), "\n") + "\n(" + f.join(logFile) + ")"
}

// stopServer ends the folder's server, if one runs. The start lock is held.
func (f folder) stopServer(ctx context.Context) error {
	running, ok, err := f.server()
	if err != nil || !ok {
		return err
	}
	if running.PID == 0 {
		if running.PID, err = lockfile.Holder(f.join(serverLock)); err != nil {
			return fmt.Errorf("find the local cloud's server: %w", err)
		}
	}
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, stopTimeout}, {syscall.SIGKILL, 5 * time.Second}} {
		if err := syscall.Kill(running.PID, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop the local cloud's server, process %d: %w", running.PID, err)
		}
		ended, err := f.waitEnded(ctx, step.wait)
		if err != nil {
			return fmt.Errorf("stop the local cloud's server, process %d: %w", running.PID, err)
		}
		if ended {
			return nil
		}
	}
	return fmt.Errorf("stop the local cloud's server, process %d: it does not end", running.PID)
}

// waitEnded waits until no server holds the lock and reports whether that came about in time.
func (f folder) waitEnded(ctx context.Context, timeout time.Duration) (bool, error) {
	deadline := time.Now().Add(timeout)
	for {
		_, ok, err := f.server()
		if err != nil || !ok {
			return err == nil, err
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		if err := wait.For(ctx, pollInterval); err != nil {
			return false, err
		}
	}
}
