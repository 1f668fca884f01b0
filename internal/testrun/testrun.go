// Package testrun is one run of the suites with real tools: a folder that its test processes share. In it are the clones of
// this repository that tests work on, and what is made once for all of them, such as a finished local cloud. Whoever begins the
// run ends it, and then everything in it goes, whether its tests removed it or not.
package testrun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ingot-build/ingot/internal/lockfile"
	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/devenv"
	"github.com/ingot-build/ingot/pkg/localcloud"
	"github.com/ingot-build/ingot/pkg/machine"
)

// Variable is the environment variable that names the folder of the run that a test process is part of.
const Variable = "INGOT_TEST_RUN"

// What is in a run's folder.
const (
	lockName  = "lock"   // held as long as whoever began the run lives
	clonesDir = "clones" // a folder for each clone of the repository
	keptDir   = "kept"   // a folder for each thing that is made once
	savedDir  = "saved"  // in one of those: a saved cloud
)

// prefix begins the name of every run's folder, which is in the folder for temporary files.
const prefix = "ingot-test-"

// Run is a run that this process began.
type Run struct {
	dir  string
	lock *os.File
}

// Begin makes a run, and removes what runs left behind whose process was killed.
func Begin(ctx context.Context) (*Run, error) {
	if err := removeDead(ctx); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return nil, fmt.Errorf("make a folder for the tests: %w", err)
	}
	lock, err := lockfile.Try(filepath.Join(dir, lockName))
	return &Run{dir, lock}, err
}

// removeDead removes runs whose process has died.
func removeDead(ctx context.Context) error {
	locks, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*", lockName))
	if err != nil {
		return err
	}
	for _, path := range locks {
		lock, err := lockfile.Try(path)
		if errors.Is(err, lockfile.ErrLocked) {
			continue
		}
		if err != nil {
			return err
		}
		if err := errors.Join(remove(ctx, filepath.Dir(path)), lock.Close()); err != nil {
			return err
		}
	}
	return nil
}

// Env is the environment that makes a test process part of the run, as KEY=VALUE.
func (r *Run) Env() string { return Variable + "=" + r.dir }

// Prepare makes the machine image, and keeps it until the end of the run: otherwise it would go with the last cloud of each test,
// and be made again by the next one.
func (r *Run) Prepare(ctx context.Context) error {
	engine, err := machine.Connect(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	image, err := engine.Image(ctx, machine.ImageOptions{})
	if err != nil {
		return err
	}
	return engine.TagImage(ctx, image, keepTag(r.dir))
}

// keepTag is the tag that keeps the machine image during a run.
func keepTag(dir string) string { return filepath.Base(dir) + ":keep" }

// End removes everything that is in the run.
func (r *Run) End(ctx context.Context) error {
	return errors.Join(remove(ctx, r.dir), r.lock.Close())
}

// remove removes a run's clouds, development machines and folder.
func remove(ctx context.Context, dir string) error {
	engine, err := machine.Connect(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	var errs []error
	for _, pattern := range []string{
		filepath.Join(clonesDir, "*", ".ingot", "local"), filepath.Join(clonesDir, "*", "*", ".ingot", "local"), filepath.Join(keptDir, "*", savedDir),
	} {
		clouds, err := filepath.Glob(filepath.Join(dir, pattern))
		errs = append(errs, err)
		for _, cloud := range clouds {
			errs = append(errs, localcloud.Purge(ctx, cloud))
		}
	}
	clones, err := filepath.Glob(filepath.Join(dir, clonesDir, "*"))
	errs = append(errs, err)
	for _, clone := range clones {
		errs = append(errs, devenv.Down(ctx, devenv.Options{Engine: engine, Root: clone, App: "hello"}, true))
	}
	image, err := engine.InspectImage(ctx, keepTag(dir))
	switch {
	case err == nil:
		errs = append(errs, engine.RemoveImage(ctx, keepTag(dir)), engine.RemoveUnused(ctx, image.Tags))
	case !errors.Is(err, machine.ErrNoImage):
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what the tests left in %q: %w", dir, err) // the next run tries again
	}
	return os.RemoveAll(dir)
}

// Main runs the tests of a package in the run that the environment names, or in one of its own. It is for TestMain.
func Main(m *testing.M) int {
	if os.Getenv(Variable) != "" {
		return m.Run()
	}
	ctx := context.Background()
	run, err := Begin(ctx)
	if err == nil {
		err = os.Setenv(Variable, run.dir)
	}
	code := 1
	if err == nil {
		code = m.Run()
		err = run.End(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// dir is the folder of the run that this process is part of.
func dir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv(Variable)
	if dir == "" {
		t.Fatalf("%s is not set: TestMain has to call testrun.Main", Variable)
	}
	return dir
}

// Clone makes an empty folder for a clone of the repository. It goes with the test, which has to remove the clone's local cloud.
func Clone(t testing.TB) string {
	t.Helper()
	parent := filepath.Join(dir(t), clonesDir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	clone, err := os.MkdirTemp(parent, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(clone); err != nil {
			t.Error(err)
		}
	})
	return clone
}

// patience is how long a test waits until it looks again whether another one has made what it needs.
const patience = 250 * time.Millisecond

// Keep returns a folder whose content the first test of the run that asks for that name makes with a call of create; the others
// wait for it. Where create fails its test, the others fail too. A cloud is to be saved in the folder "saved" below it.
func Keep(t testing.TB, name string, create func(dir string)) string {
	t.Helper()
	kept := filepath.Join(dir(t), keptDir, name)
	if err := os.MkdirAll(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := lockfile.Try(kept + ".lock")
	for errors.Is(err, lockfile.ErrLocked) { // for minutes, and by many tests
		if err = wait.For(t.Context(), patience); err == nil {
			lock, err = lockfile.Try(kept + ".lock")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	mark := func(name string) {
		if err := os.WriteFile(filepath.Join(kept, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	marked := func(name string) bool {
		_, err := os.Stat(filepath.Join(kept, name))
		return err == nil
	}
	switch {
	case marked("done"):
		return kept
	case marked("begun"):
		t.Fatalf("another test could not make %q", name)
	}
	mark("begun")
	create(kept)
	mark("done")
	return kept
}

// Saved is where a cloud is saved in a folder of Keep.
func Saved(kept string) string { return filepath.Join(kept, savedDir) }
