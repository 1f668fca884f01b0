package devenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/google/go-cmp/cmp"
)

// editor is what a watcher watches in a test: files whose state is a text, with or without events.
type editor struct {
	hints   chan time.Time
	mu      sync.Mutex // guards files and err
	files   string
	err     error
	takes   time.Duration // that a build takes
	applied []string      // states, with the time since the change
	failed  []string
}

// save changes the files, and tells of it.
func (e *editor) save(files string) {
	e.set(files, nil)
	e.hint()
}

// set changes the files, or what is wrong with them, without an event.
func (e *editor) set(files string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.files, e.err = files, err
}

func (e *editor) scan(context.Context) (string, string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.files, "digest of " + e.files, e.err
}

func (e *editor) hint() {
	select {
	case e.hints <- time.Now():
	default:
	}
}

// watch runs a watcher while f edits, and returns the builds: "state after the time since its change".
func watch(t *testing.T, takes time.Duration, f func(e *editor)) *editor {
	t.Helper()
	e := &editor{files: "first", takes: takes}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		e.hints = make(chan time.Time, 1) // of the bubble
		w := watcher[string]{
			hints: e.hints, poll: pollTime,
			scan: e.scan,
			apply: func(_ context.Context, state string, since time.Time) error {
				e.applied = append(e.applied, fmt.Sprintf("%s after %v", state, time.Since(since)))
				time.Sleep(e.takes)
				return nil
			},
			fail: func(err error) { e.failed = append(e.failed, err.Error()) },
		}
		done := make(chan error)
		go func() { done <- w.run(ctx, "digest of first") }()
		f(e)
		cancel(stop)
		if err := <-done; !errors.Is(err, stop) {
			t.Errorf("it ended with %v", err)
		}
	})
	return e
}

func TestWatcher(t *testing.T) {
	tests := []struct {
		name  string
		takes time.Duration
		edit  func(e *editor)
		want  []string
	}{
		{"nothing changes", 0, func(*editor) { time.Sleep(time.Minute) }, nil},
		{"a save", 0, func(e *editor) {
			time.Sleep(time.Second)
			e.save("second")
			time.Sleep(time.Second)
		}, []string{"second after 15ms"}},
		{"events without a change", 0, func(e *editor) {
			for range 100 {
				e.hint()
				time.Sleep(50 * time.Millisecond)
			}
		}, nil},
		{"no events", 0, func(e *editor) {
			time.Sleep(500 * time.Millisecond)
			e.set("second", nil)
			time.Sleep(pollTime)
		}, []string{"second after 0s"}},
		{"an editor that saves in steps", 0, func(e *editor) {
			for _, step := range []string{"half", "half and backup", "whole"} {
				e.save(step)
				time.Sleep(5 * time.Millisecond)
			}
			time.Sleep(time.Minute)
		}, []string{"whole after 25ms"}},
		{"a stream of events", 0, func(e *editor) {
			for i := range 140 {
				e.save(fmt.Sprint(i))
				time.Sleep(7 * time.Millisecond)
			}
			time.Sleep(time.Minute)
		}, []string{"71 after 500ms", "139 after 484ms"}},
		{"saves during a build", 10 * time.Second, func(e *editor) {
			e.save("second")
			time.Sleep(time.Second)
			for i := range 5 {
				e.save(fmt.Sprint("during ", i))
				time.Sleep(time.Second)
			}
			time.Sleep(time.Minute)
		}, []string{"second after 15ms", "during 4 after 9.03s"}},
		{"a save during a build, taken back", 10 * time.Second, func(e *editor) {
			e.save("second")
			time.Sleep(time.Second)
			e.save("third")
			time.Sleep(time.Second)
			e.save("second")
			time.Sleep(time.Minute)
		}, []string{"second after 15ms"}},
		{"a change without events during a build", 10 * time.Second, func(e *editor) {
			e.save("second")
			time.Sleep(time.Second)
			e.set("third", nil)
			time.Sleep(time.Minute)
		}, []string{"second after 15ms", "third after 0s"}},
		{"back to what was", 0, func(e *editor) {
			e.save("second")
			time.Sleep(time.Second)
			e.save("first")
			time.Sleep(time.Second)
		}, []string{"second after 15ms", "first after 15ms"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, watch(t, tt.takes, tt.edit).applied); diff != "" {
				t.Errorf("builds (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWatcherUnreadable(t *testing.T) {
	e := watch(t, 0, func(e *editor) {
		e.set("first", errors.New("permission denied"))
		time.Sleep(time.Minute)
		e.set("first", errors.New("no such folder"))
		time.Sleep(time.Minute)
		e.set("second", nil)
		time.Sleep(time.Minute)
	})
	if diff := cmp.Diff([]string{"permission denied", "no such folder"}, e.failed); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"second after 0s"}, e.applied); diff != "" {
		t.Errorf("builds (-want +got):\n%s", diff)
	}
}

// A look at everything that takes long is taken less often.
func TestWatcherSlowScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		scans := 0
		w := watcher[int]{poll: pollTime, scan: func(context.Context) (int, string, error) {
			scans++
			time.Sleep(time.Second)
			return 0, "same", nil
		}}
		_ = w.run(ctx, "same")
		if limit := int(time.Hour/(pollShare*time.Second)) + 1; scans > limit || scans < limit/2 {
			t.Errorf("%d looks in an hour, want about %d", scans, limit)
		}
	})
}

// Real files, in folders that are made while they are watched.
func TestEvents(t *testing.T) {
	root := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{".git/objects", ".ingot/objects", "web/node_modules/objects"} {
		must(os.MkdirAll(filepath.Join(root, folder), 0o755))
	}
	e, err := newEvents()
	must(err)
	defer e.notify.Close()
	e.addBelow(root)
	go e.follow()
	expect := func(what string) {
		t.Helper()
		select {
		case <-e.hints:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: no event", what)
		}
	}
	write := func(name string) { must(os.WriteFile(filepath.Join(root, name), []byte(name), 0o644)) }

	write("a.go")
	expect("a new file")
	must(os.Rename(filepath.Join(root, "a.go"), filepath.Join(root, "b.go")))
	expect("a renamed file")
	must(os.MkdirAll(filepath.Join(root, "sub", "sub"), 0o755))
	expect("a new folder")
	must(e.add([]string{filepath.Join(root, "sub", "sub"), filepath.Join(root, "gone")}))
	for len(e.hints) > 0 {
		<-e.hints
	}
	must(os.MkdirAll(filepath.Join(root, ".cache", "objects"), 0o755))
	expect("a hidden folder")
	write("sub/sub/c.go")
	expect("a file in a new folder")
	e.notify.Errors <- fsnotify.ErrEventOverflow
	expect("events that were lost")
	for _, watched := range e.notify.WatchList() {
		if filepath.Base(watched) == "objects" {
			t.Errorf("%s is watched", watched)
		}
	}
}
