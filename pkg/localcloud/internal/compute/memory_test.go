package compute

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		m := &Memory{CreateDelay: time.Minute}
		changes := m.Watch(ctx)
		start := time.Now()
		made, err := m.Create(ctx, Spec{ID: "i-1"})
		if err != nil || made.State != Running || !made.Address.IsValid() || time.Since(start) != time.Minute {
			t.Fatalf("create: %+v, %v after %s", made, err, time.Since(start))
		}
		if _, err := m.Commit(ctx, "i-1", "image"); !errors.Is(err, ErrUnsupported) {
			t.Errorf("commit of a running machine: %v", err)
		}
		if err := m.Kill(ctx, "i-1"); err != nil {
			t.Error(err)
		}
		if seen := <-changes; seen.State != Stopped || seen.Address.IsValid() {
			t.Errorf("saw %+v", seen)
		}
		if _, err := m.Commit(ctx, "i-1", "image"); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"memory:image"}, m.Images()); diff != "" {
			t.Errorf("images (-want +got):\n%s", diff)
		}
		if again, err := m.Start(ctx, "i-1"); err != nil || again != made {
			t.Errorf("start: %+v, %v", again, err)
		}
		for range 2 { // the second time there is nothing to remove, which is no error
			if err := m.Remove(ctx, "i-1"); err != nil {
				t.Error(err)
			}
		}
		if seen, err := m.Inspect(ctx, "i-1"); err != nil || seen.State != Gone {
			t.Errorf("inspect: %+v, %v", seen, err)
		}
		m.FailCreate = func(Spec) error { return errors.New("no") }
		if _, err := m.Create(ctx, Spec{ID: "i-2"}); err == nil {
			t.Error("created a machine that was to fail")
		}
	})
}

func TestMemoryRunsPrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		m := &Memory{BootDelay: time.Minute}
		if err := m.Exec(ctx, "i-1", Command{Args: []string{"true"}}); err == nil {
			t.Error("ran a program in a machine that there is not")
		}
		if _, err := m.Create(ctx, Spec{ID: "i-1"}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := m.WaitBooted(ctx, "i-1"); err != nil || time.Since(start) != time.Minute {
			t.Errorf("booted after %v: %v", time.Since(start), err)
		}
		if err := errors.Join(m.Exec(ctx, "i-1", Command{Args: []string{"true"}}), m.CopyIn(ctx, "i-1", "/", strings.NewReader(""))); err != nil {
			t.Error(err)
		}
		m.Run = func(context.Context, string, Command) error { return &ExitError{Code: 3} }
		exit, ok := errors.AsType[*ExitError](m.Exec(ctx, "i-1", Command{Args: []string{"false"}}))
		if !ok || exit.Code != 3 || exit.Error() != "exit status 3" {
			t.Errorf("a program that fails: %v", exit)
		}
		if err := m.Kill(ctx, "i-1"); err != nil {
			t.Fatal(err)
		}
		if err := m.WaitBooted(ctx, "i-1"); err == nil {
			t.Error("a machine that is stopped has booted")
		}
	})
}
