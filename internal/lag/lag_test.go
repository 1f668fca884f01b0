package lag

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

var errMissing = errors.New("not found")

func isMissing(_ string, err error) bool { return errors.Is(err, errMissing) }

func TestRead(t *testing.T) {
	refused := errors.New("access denied")
	tests := map[string]struct {
		after time.Duration // from then on it is found
		fails error         // what a read comes back with instead
		want  error
		took  time.Duration
	}{
		"there":              {},
		"there soon":         {after: 5 * time.Second, took: 5 * time.Second},
		"never there":        {after: time.Hour, want: errMissing, took: Limit},
		"refused":            {after: time.Hour, fails: refused, want: refused},
		"there just in time": {after: Limit, took: Limit},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				got, err := Read(t.Context(), func(context.Context) (string, error) {
					switch {
					case tc.fails != nil:
						return "", tc.fails
					case time.Since(begin) < tc.after:
						return "", errMissing
					}
					return "it", nil
				}, isMissing)
				if !errors.Is(err, tc.want) || (got == "it") != (tc.want == nil) || time.Since(begin) != tc.took {
					t.Errorf("%q, %v after %s", got, err, time.Since(begin))
				}
			})
		})
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("ended by SIGINT")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(stop) })
		_, err := Read(ctx, func(context.Context) (string, error) { return "", errMissing }, isMissing)
		if !errors.Is(err, stop) {
			t.Errorf("error = %v", err)
		}
	})
}
