package testrun

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

func TestKeepMakesOnce(t *testing.T) {
	t.Setenv(Variable, t.TempDir())
	made := 0
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			kept := Keep(t, "cloud", func(dir string) {
				made++ // one after the other, if at all
				if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600); err != nil {
					t.Error(err)
				}
			})
			if data, err := os.ReadFile(filepath.Join(kept, "file")); err != nil || string(data) != "content" {
				t.Errorf("what is kept: %q, %v", data, err)
			}
		})
	}
	group.Wait()
	if made != 1 {
		t.Errorf("made %d times", made)
	}
}

// failing is a test that fails without failing the one it is part of.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(string, ...any) {
	f.failed = true
	runtime.Goexit()
}

func TestKeepFailsForAll(t *testing.T) {
	t.Setenv(Variable, t.TempDir())
	for _, create := range []func(t testing.TB) func(string){
		func(t testing.TB) func(string) { return func(string) { t.Fatalf("no") } },
		func(testing.TB) func(string) { return func(string) { t.Error("it is made again") } },
	} {
		f := &failing{TB: t}
		var one sync.WaitGroup
		one.Go(func() { Keep(f, "cloud", create(f)) })
		one.Wait()
		if !f.failed {
			t.Error("the test goes on")
		}
	}
}

func TestCloneGoesWithTheTest(t *testing.T) {
	t.Setenv(Variable, t.TempDir())
	var clone string
	t.Run("test", func(t *testing.T) {
		clone = Clone(t)
		if err := os.WriteFile(filepath.Join(clone, "file"), nil, 0o600); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat(clone); !os.IsNotExist(err) {
		t.Errorf("after the test: %v", err)
	}
}
