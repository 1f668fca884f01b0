package wait

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestFor(t *testing.T) {
	stop := errors.New("enough")
	for name, test := range map[string]struct {
		wait, limit, took time.Duration // limit: when the context ends
		want              error
	}{
		"to the end":         {wait: time.Second, limit: time.Minute, took: time.Second},
		"context ends first": {wait: time.Minute, limit: time.Second, took: time.Second, want: stop},
		"no time":            {limit: time.Second},
		"context has ended":  {limit: 0, want: stop},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeoutCause(t.Context(), test.limit, stop)
				defer cancel()
				begin := time.Now()
				if err := For(ctx, test.wait); !errors.Is(err, test.want) || time.Since(begin) != test.took {
					t.Errorf("For = %v after %v, want %v after %v", err, time.Since(begin), test.want, test.took)
				}
			})
		})
	}
}

func TestAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		different := map[time.Duration]bool{}
		for range 100 {
			begin := time.Now()
			if err := About(t.Context(), 10*time.Second); err != nil {
				t.Fatal(err)
			}
			took := time.Since(begin)
			if took < 8*time.Second || took > 12*time.Second {
				t.Errorf("About(10s) took %v", took)
			}
			different[took] = true
		}
		if len(different) < 2 {
			t.Error("chance has no part in it")
		}
	})
}
