package store_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
)

func TestPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type numbers struct{ Lagging, Present int }
		d, err := store.Open(store.Memory(), "doc", numbers{})
		if err != nil {
			t.Fatal(err)
		}
		lag := 2 * time.Second
		past := d.Past(func() time.Duration { return lag }, func(past *numbers, present numbers) { past.Present = present.Present })
		set := func(n int) {
			t.Helper()
			err := d.Update(func(v *numbers) error {
				*v = numbers{n, n}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		see := func(lagging, present int) {
			t.Helper()
			past.View(func(v numbers) error {
				if v != (numbers{lagging, present}) {
					t.Errorf("the past has %+v, want %d, %d", v, lagging, present)
				}
				return nil
			})
		}
		see(0, 0)
		set(1)
		see(0, 1)
		time.Sleep(time.Second)
		set(2)
		see(0, 2)
		time.Sleep(time.Second)
		see(1, 2) // made two seconds ago
		time.Sleep(time.Second)
		see(2, 2)
		set(3)
		refused := errors.New("refused")
		for _, want := range []error{refused, store.ErrPast} {
			err := past.Update(func(v *numbers) error {
				v.Lagging, v.Present = 99, 99
				if want == refused {
					return refused
				}
				return nil
			})
			if !errors.Is(err, want) {
				t.Errorf("a change of the past: %v, want %v", err, want)
			}
			see(2, 3)
		}
		lag = 0
		see(3, 3)
		set(4)
		lag = time.Hour // of which nothing is known: nobody looked
		see(4, 4)
		d.View(func(v numbers) error {
			if v != (numbers{4, 4}) {
				t.Errorf("the present is %+v", v)
			}
			return nil
		})
	})
}
