// Package lockfile keeps processes of one machine out of each other's way by locks on files (flock). A lock belongs to an
// open file and lasts until every process that has it open has closed it, or has died: it never has to be cleared away.
package lockfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ingot-build/ingot/internal/wait"
)

// ErrLocked is returned where another process has the lock.
var ErrLocked = errors.New("another process holds the lock")

// poll is the time between two attempts of Wait: too short to be felt.
const poll = 20 * time.Millisecond

// Try takes the lock on the file at path, which it makes where there is none. Closing the file gives the lock back. Errors
// wrap ErrLocked where another process has it.
func Try(path string) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("open lock: %w", err)
		}
		if err := TryFile(file); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if names(path, file) {
			return file, nil
		}
		// Its last holder removed it meanwhile: this is a lock on nothing.
		if err := file.Close(); err != nil {
			return nil, fmt.Errorf("close lock: %w", err)
		}
	}
}

// Wait takes the lock as Try does, and waits for it while another process has it. When the context ends first, the error wraps
// its cause and says who has the lock, where that can be known.
func Wait(ctx context.Context, path string) (*os.File, error) {
	for {
		file, err := Try(path)
		if !errors.Is(err, ErrLocked) {
			return file, err
		}
		if err := wait.For(ctx, poll); err != nil {
			holder := "another process"
			if pid, err := Holder(path); err == nil {
				holder = fmt.Sprintf("process %d", pid)
			}
			return nil, fmt.Errorf("wait for the lock %q, which %s holds: %w", path, holder, err)
		}
	}
}

// TryFile takes the lock on an open file. Errors wrap ErrLocked where another process has it.
func TryFile(file *os.File) error { return lock(file, syscall.LOCK_EX) }

// Held reports whether any process has the lock on the file at path. A file that is not there is locked by none.
func Held(path string) (bool, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open lock: %w", err)
	}
	defer file.Close()
	// A shared lock, so that two who ask at the same time do not take each other for a holder.
	err = lock(file, syscall.LOCK_SH)
	if errors.Is(err, ErrLocked) {
		return true, nil
	}
	return false, err
}

// Remove gives back the lock of a file that is to be there only while somebody has the lock.
func Remove(file *os.File) error {
	return errors.Join(os.Remove(file.Name()), file.Close())
}

// Holder returns the process that has the lock on the file at path, as the Linux kernel tells it. Where several have the
// file open, it is the one that took the lock. It fails where nobody has it, and on other systems.
func Holder(path string) (pid int, err error) {
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		return 0, fmt.Errorf("find who holds the lock %q: %w", path, err)
	}
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0, fmt.Errorf("find who holds the lock %q: %w", path, err)
	}
	if pid, ok := holder(string(locks), stat.Ino); ok {
		return pid, nil
	}
	return 0, fmt.Errorf("find who holds the lock %q: no process is known to", path)
}

// holder looks an inode up in lines such as "1: FLOCK  ADVISORY  WRITE 708 08:01:1234 0 EOF"; see proc_locks(5).
func holder(locks string, inode uint64) (pid int, ok bool) {
	for line := range strings.Lines(locks) {
		fields := strings.Fields(line)
		if len(fields) < 6 || fields[1] != "FLOCK" || fields[3] != "WRITE" || !strings.HasSuffix(fields[5], fmt.Sprintf(":%d", inode)) {
			continue
		}
		// A process of another PID namespace is said to be 0 or -1.
		if pid, err := strconv.Atoi(fields[4]); err == nil && pid > 1 {
			return pid, true
		}
	}
	return 0, false
}

func lock(file *os.File, how int) error {
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return fmt.Errorf("lock %q: %w", file.Name(), ErrLocked)
		default:
			return fmt.Errorf("lock %q: %w", file.Name(), err)
		}
	}
}

// names reports whether the open file is still the one at the path.
func names(path string, file *os.File) bool {
	open, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(open, there)
}
