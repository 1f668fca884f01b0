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
	// A cloud of another region, or a damaged one, is told before a server runs into it.
	id, err := f.identify(options.Region)
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
	id, err := f.identify(options.Region)
	if err != nil {
		return err
	}
	b, err := connectDocker(ctx, id.ID)
	if err != nil {
		return err
	}
	defer b.close()
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
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-maxLines):], "\n") + "\n(" + f.join(logFile) + ")"
}

// stopServer ends the folder's server, if one runs. The start lock is held.
func (f folder) stopServer(ctx context.Context) error {
	running, ok, err := f.server()
	if err != nil || !ok {
		return err
	}
	if running.PID == 0 {
		if running.PID, err = f.lockHolder(); err != nil {
			return err
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
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(pollInterval):
		}
	}
}

// lockHolder finds the process that holds the server's lock where the file that says so is missing or damaged.
func (f folder) lockHolder() (int, error) {
	var stat syscall.Stat_t
	if err := syscall.Stat(f.join(serverLock), &stat); err != nil {
		return 0, fmt.Errorf("find the local cloud's server: %w", err)
	}
	// Lines such as "1: FLOCK  ADVISORY  WRITE 708 08:01:1234 0 EOF"; see proc_locks(5).
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, fmt.Errorf("find the local cloud's server, which holds the lock %q: %w", f.join(serverLock), err)
	}
	for line := range strings.Lines(string(locks)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[3] != "WRITE" || !strings.HasSuffix(fields[5], fmt.Sprintf(":%d", stat.Ino)) {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(fields[4], &pid); err == nil && pid > 1 {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("find the local cloud's server: no process is known to hold the lock %q", f.join(serverLock))
}
