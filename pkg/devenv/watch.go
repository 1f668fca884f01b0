package devenv

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Times of the watcher.
const (
	// settleTime is how long it has to be quiet before files are read: editors write, rename and change the mode one after the other.
	settleTime = 15 * time.Millisecond
	// settleLimit bounds how long a stream of events can hold a build up.
	settleLimit = 500 * time.Millisecond
	// pollTime is the usual time between two looks at everything.
	pollTime = 2 * time.Second
	// pollShare bounds the share of its time that the watcher spends looking at everything: one part in pollShare.
	pollShare = 20
)

// watcher calls apply with the state of the files whenever that has changed. An event is a hint and no more: what counts is the digest
// of everything, so that nothing is built twice, and nothing is lost on a mount that tells of no events.
type watcher[S any] struct {
	hints <-chan time.Time // an event came, at that time; holds one
	poll  time.Duration
	scan  func(context.Context) (state S, digest string, err error)
	apply func(ctx context.Context, state S, since time.Time) error // since is when the change was noticed; an error ends it
	fail  func(error)                                               // the files cannot be read; called once for each message
}

// run watches until ctx ends or apply fails. It applies the first state unless it has the digest.
func (w *watcher[S]) run(ctx context.Context, digest string) error {
	failed, took := "", time.Duration(0)
	for {
		since, err := w.wait(ctx, max(w.poll, pollShare*took))
		if err != nil {
			return err
		}
		begin := time.Now()
		state, now, err := w.scan(ctx)
		took = time.Since(begin)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			if err.Error() != failed {
				failed = err.Error()
				w.fail(err)
			}
			continue
		}
		failed = ""
		if now == digest {
			continue
		}
		digest = now
		if err := w.apply(ctx, state, since); err != nil {
			return err
		}
	}
}

// wait returns when files may have changed and nothing more comes, or when it is time to look anyway.
func (w *watcher[S]) wait(ctx context.Context, poll time.Duration) (since time.Time, err error) {
	select {
	case <-ctx.Done():
		return since, context.Cause(ctx)
	case <-time.After(poll):
		return time.Now(), nil
	case since = <-w.hints:
	}
	limit := time.After(settleLimit)
	for {
		select {
		case <-ctx.Done():
			return since, context.Cause(ctx)
		case <-w.hints:
		case <-limit:
			return since, nil
		case <-time.After(settleTime):
			return since, nil
		}
	}
}

// events turns what the kernel tells of files into hints.
type events struct {
	notify *fsnotify.Watcher
	hints  chan time.Time
	lost   bool // the kernel has no room for more watches
}

func newEvents() (*events, error) {
	notify, err := fsnotify.NewWatcher()
	return &events{notify: notify, hints: make(chan time.Time, 1)}, err
}

// follow passes hints on until the watcher is closed.
func (e *events) follow() {
	for {
		select {
		case event, ok := <-e.notify.Events:
			if !ok {
				return
			}
			if event.Has(fsnotify.Create) {
				e.addBelow(event.Name)
			}
		case _, ok := <-e.notify.Errors: // events were lost
			if !ok {
				return
			}
		}
		e.hint()
	}
}

func (e *events) hint() {
	select {
	case e.hints <- time.Now():
	default: // one is waiting
	}
}

// addBelow watches a folder and those in it, but hidden ones, as git's and those in which Ingot itself writes all the time, and Node's packages.
// What the service has in such a one is watched all the same, by its files. What is no folder, or gone, is nothing to watch.
func (e *events) addBelow(folder string) {
	_ = filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return nil
		}
		if base := entry.Name(); strings.HasPrefix(base, ".") || base == "node_modules" {
			return fs.SkipDir
		}
		_ = e.notify.Add(name)
		return nil
	})
}

// add watches folders, and reports whether the kernel takes them all.
func (e *events) add(folders []string) error {
	var errs []error
	for _, folder := range folders {
		if err := e.notify.Add(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return errs[0]
	}
	return nil
}
