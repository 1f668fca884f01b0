package rollout

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The pointer moves only once whoever has to confirm a release that serves has done so.
func TestConfirm(t *testing.T) {
	first := func() *world {
		w := newWorld()
		w.step = func(w *world) {
			if w.steps == 4 {
				w.running = fleet(2, 2)
				w.answer("r2")
			}
		}
		return w
	}
	later := func() *world {
		w := old()
		w.step = func(w *world) {
			if w.steps > 1 {
				w.follow()
			}
		}
		return w
	}
	refused := fmt.Errorf("refused: %w", ErrUnhealthy)
	tests := map[string]struct {
		world func() *world
		err   error
		want  []error
		did   []string
	}{
		"the first release": {
			world: first,
			did:   []string{"version 2 of ami-2 from 1: release r2", "capacity 2 of version 2", "confirm r2", "default version 2", "put " + pointerName},
		},
		"the first release is refused": {
			world: first, err: refused, want: []error{ErrUnhealthy, ErrEmptied},
			did: []string{"version 2 of ami-2 from 1: release r2", "capacity 2 of version 2", "confirm r2", "capacity 0 of version 1"},
		},
		"a later one is refused": {
			world: later, err: refused, want: []error{ErrUnhealthy, ErrReverted},
			did: []string{"version 3 of ami-2 from 2: release r2", "refresh to 3", "confirm r2", "refresh to 2"},
		},
		"nobody can say": {
			world: first, err: context.DeadlineExceeded, want: []error{context.DeadlineExceeded},
			did: []string{"version 2 of ami-2 from 1: release r2", "capacity 2 of version 2", "confirm r2"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := tc.world()
				_, err := w.roller(Options{Confirm: func(_ context.Context, r Release) error {
					w.note("confirm %s", r.Name)
					return tc.err
				}}).Run(t.Context(), two)
				if (err == nil) != (tc.err == nil) {
					t.Errorf("error %v", err)
				}
				for _, want := range tc.want {
					if !errors.Is(err, want) {
						t.Errorf("error %v, want %v", err, want)
					}
				}
				if diff := cmp.Diff(tc.did, w.did); diff != "" {
					t.Error(diff)
				}
				if tc.err != nil && w.pointers() > 1 {
					t.Error("the pointer has moved")
				}
			})
		})
	}
}

// A release that may not be rolled out is refused before anything is changed.
func TestCheck(t *testing.T) {
	in(t, func(t *testing.T) {
		w := live()
		refused := errors.New("refused")
		var asked []Release
		_, err := w.roller(Options{Check: func(_ context.Context, r Release) error {
			asked = append(asked, r)
			return refused
		}}).Rollback(t.Context(), "")
		if !errors.Is(err, refused) || len(w.did) > 0 {
			t.Errorf("did %q, %v", w.did, err)
		}
		if len(asked) != 1 || asked[0].Name != "r1" || asked[0].AMIID != "ami-1" {
			t.Errorf("asked about %+v", asked)
		}
	})
}
