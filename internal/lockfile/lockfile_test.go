package lockfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A lock belongs to an open file, so that one process can stand for two here.

func TestTry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	if held, err := Held(path); held || err != nil {
		t.Errorf("Held without a file = %v, %v", held, err)
	}
	file := try(t, path)
	if _, err := Try(path); !errors.Is(err, ErrLocked) {
		t.Errorf("second Try: %v", err)
	}
	if held, err := Held(path); !held || err != nil {
		t.Errorf("Held = %v, %v", held, err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if held, err := Held(path); held || err != nil {
		t.Errorf("Held after the end = %v, %v", held, err)
	}
	_ = try(t, path).Close()
}

func TestTryFailsWhereThereIsNoFolder(t *testing.T) {
	if _, err := Try(filepath.Join(t.TempDir(), "none", "lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error = %v", err)
	}
}

func TestTryFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record")
	first, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := TryFile(first); err != nil {
		t.Fatal(err)
	}
	if err := TryFile(second); !errors.Is(err, ErrLocked) {
		t.Errorf("second TryFile: %v", err)
	}
}

// Who waits for a lock whose file is removed meanwhile gets a lock on the next one.
func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	file := try(t, path)
	stale, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer stale.Close()
	if err := Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	if err := TryFile(stale); err != nil || names(path, stale) {
		t.Errorf("TryFile of the removed file: %v, and it is taken for the one at the path", err)
	}
	file = try(t, path)
	defer file.Close()
	if !names(path, file) {
		t.Error("Try locked another file than the one at the path")
	}
}

func TestWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	synctest.Test(t, func(t *testing.T) {
		file := try(t, path)
		begin := time.Now()
		time.AfterFunc(time.Minute, func() { _ = file.Close() })
		again, err := Wait(t.Context(), path)
		if took := time.Since(begin); err != nil || took < time.Minute || took > time.Minute+poll {
			t.Fatalf("Wait = %v after %v", err, took)
		}
		_ = again.Close()
	})
}

func TestWaitEndsWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	synctest.Test(t, func(t *testing.T) {
		defer try(t, path).Close()
		stop := errors.New("enough")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, stop)
		defer cancel()
		_, err := Wait(ctx, path)
		if !errors.Is(err, stop) || !strings.Contains(err.Error(), path) {
			t.Errorf("error = %v", err)
		}
		if runtime.GOOS == "linux" && !strings.Contains(err.Error(), fmt.Sprintf("which process %d holds", os.Getpid())) {
			t.Errorf("it does not say who holds the lock: %v", err)
		}
	})
}

func TestHolder(t *testing.T) {
	const locks = `1: POSIX  ADVISORY  WRITE 11 08:01:1234 0 EOF
2: FLOCK  ADVISORY  READ 12 08:01:1234 0 EOF
2: -> FLOCK  ADVISORY  WRITE 13 08:01:1234 0 EOF
3: FLOCK  ADVISORY  WRITE 0 08:01:1234 0 EOF
4: FLOCK  ADVISORY  WRITE 14 08:01:11234 0 EOF
5: FLOCK  ADVISORY  WRITE 15 08:01:1234 0 EOF
6:
`
	if pid, ok := holder(locks, 1234); !ok || pid != 15 {
		t.Errorf("holder = %d, %v", pid, ok)
	}
	if pid, ok := holder(locks, 234); ok {
		t.Errorf("holder of another file = %d", pid)
	}
	if pid, err := Holder(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Holder without a file = %d, %v", pid, err)
	}
}

func try(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := Try(path)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
