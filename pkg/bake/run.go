package bake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ingot-build/ingot/internal/lockfile"
	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/provision"
)

// keptRuns is how many folders of past runs are kept for their logs.
const keptRuns = 20

// run is a bake of this machine. It has a folder with a record in it from before it makes anything on EC2 until it has
// ended well and cleared everything away. The record is locked for as long as the run or its Packer lives: Packer has
// the locked file open too, and goes on where the run alone is killed. So a record that can be locked is a dead run's.
type run struct {
	stage       provision.Stage
	id          string
	fingerprint string // of what it bakes; empty where the run was killed before it had written that
	folder      string
	lock        *os.File // its record, open and locked; nil where another process has the lock
}

// record is what stands in a run's record. The folder's name, which is the image's, says the rest.
type record struct {
	Fingerprint string `json:"fingerprint"`
}

// end forgets a run of which nothing is left but its folder.
func (r *run) end() error {
	return errors.Join(os.Remove(recordFile(r.folder)), r.lock.Close())
}

// remove ends a run that has done nothing.
func (r *run) remove() error {
	return errors.Join(os.RemoveAll(r.folder), r.lock.Close())
}

// unlock leaves a run as it is, for whoever comes next.
func (r *run) unlock() {
	if r.lock != nil {
		_ = r.lock.Close() // nothing was written
	}
}

// runs is the folder of the runs of an application in one account and region.
type runs struct{ app, folder string }

func recordFile(folder string) string { return filepath.Join(folder, "run.json") }

// begin begins a run, unless a living one bakes the same: then it returns that one. Dead runs come back locked, so that
// no other process takes care of them as well.
func (r runs) begin(ctx context.Context, stage provision.Stage, fingerprint string) (own, same *run, dead []*run, err error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	defer unlock()
	alive, dead, err := r.read()
	if err != nil {
		return nil, nil, nil, err
	}
	if i := slices.IndexFunc(alive, func(a *run) bool { return a.stage == stage && a.fingerprint == fingerprint }); i >= 0 {
		unlockAll(dead)
		return nil, alive[i], nil, nil
	}
	if own, err = r.create(stage, fingerprint); err != nil {
		unlockAll(dead)
		return nil, nil, nil, err
	}
	return own, nil, dead, nil
}

// list returns the runs that have a record: the living ones, and the dead ones locked.
func (r runs) list(ctx context.Context) (alive, dead []*run, err error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	return r.read()
}

// lock keeps other processes from beginning and finding runs: a record is locked only a moment after it is made.
func (r runs) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(r.folder, 0o755); err != nil {
		return nil, fmt.Errorf("lock the runs: %w", err)
	}
	file, err := lockfile.Wait(ctx, filepath.Join(r.folder, "lock"))
	if err != nil {
		return nil, fmt.Errorf("lock the runs: %w", err)
	}
	return func() { _ = file.Close() }, nil // nothing was written
}

func (r runs) create(stage provision.Stage, fingerprint string) (*run, error) {
	own := &run{stage: stage, id: ami.NewRun(time.Now()), fingerprint: fingerprint}
	own.folder = filepath.Join(r.folder, ami.Name(r.app, stage, own.id))
	data, err := json.Marshal(record{Fingerprint: fingerprint})
	if err != nil {
		return nil, fmt.Errorf("begin a run: %w", err)
	}
	if err := os.MkdirAll(own.folder, 0o755); err != nil {
		return nil, fmt.Errorf("begin a run: %w", err)
	}
	if own.lock, err = os.OpenFile(recordFile(own.folder), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644); err != nil {
		return nil, fmt.Errorf("begin a run: %w", err)
	}
	_, err = own.lock.Write(data)
	if err = errors.Join(err, lockfile.TryFile(own.lock)); err != nil {
		return nil, errors.Join(fmt.Errorf("begin a run: %w", err), own.remove())
	}
	return own, nil
}

// read reads every record. The caller keeps others from making new ones.
func (r runs) read() (alive, dead []*run, err error) {
	folders, err := r.folders()
	if err != nil {
		return nil, nil, err
	}
	for _, found := range folders {
		err := found.open()
		switch {
		case errors.Is(err, fs.ErrNotExist): // it has ended
		case err != nil:
			unlockAll(dead)
			return nil, nil, err
		case found.lock == nil:
			alive = append(alive, found)
		default:
			dead = append(dead, found)
		}
	}
	return alive, dead, nil
}

// folders returns the runs that have a folder, the oldest first, without what their records say.
func (r runs) folders() ([]*run, error) {
	entries, err := os.ReadDir(r.folder)
	if err != nil {
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	var found []*run
	for _, e := range entries {
		if stage, id, ok := ami.ParseName(r.app, e.Name()); ok {
			found = append(found, &run{stage: stage, id: id, folder: filepath.Join(r.folder, e.Name())})
		}
	}
	slices.SortFunc(found, func(a, b *run) int { return cmp.Compare(a.id, b.id) })
	return found, nil
}

// open reads the record, and locks it where the run is dead.
func (r *run) open() error {
	file, err := os.OpenFile(recordFile(r.folder), os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("read the record of a run: %w", err)
	}
	switch err := lockfile.TryFile(file); {
	case err == nil:
		r.lock = file
	case errors.Is(err, lockfile.ErrLocked):
		defer file.Close()
	default:
		return errors.Join(err, file.Close())
	}
	var said record
	if json.NewDecoder(file).Decode(&said) == nil {
		r.fingerprint = said.Fingerprint
	}
	// It may have ended since it was opened; then the lock is one on nothing.
	if _, err := os.Stat(file.Name()); err != nil {
		r.unlock()
		return fmt.Errorf("read the record of a run: %w", err)
	}
	return nil
}

// prune removes the folders of all but the newest runs that have ended.
func (r runs) prune(ctx context.Context) error {
	unlock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	ended, err := r.folders()
	if err != nil {
		return err
	}
	ended = slices.DeleteFunc(ended, func(e *run) bool {
		_, err := os.Stat(recordFile(e.folder))
		return !errors.Is(err, fs.ErrNotExist)
	})
	var errs []error
	for _, e := range ended[:max(0, len(ended)-keptRuns)] {
		errs = append(errs, os.RemoveAll(e.folder))
	}
	return errors.Join(errs...)
}

func endAll(all []*run) error {
	var errs []error
	for _, r := range all {
		errs = append(errs, r.end())
	}
	return errors.Join(errs...)
}

func ofStage(all []*run, stage provision.Stage) []*run {
	var its []*run
	for _, r := range all {
		if r.stage == stage {
			its = append(its, r)
		}
	}
	return its
}

func unlockAll(all []*run) {
	for _, r := range all {
		r.unlock()
	}
}
