// Package lag reads what was just made. The APIs of AWS are eventually consistent: for some seconds a read may not find
// what a call before it has made, nor the tags that it was made with. Not to be found is then no proof that it is gone,
// and nothing is removed for it. See "Eventual consistency" in the developer guide of Amazon EC2's API.
package lag

import (
	"context"
	"time"

	"github.com/ingot-build/ingot/internal/wait"
)

const (
	// Limit is how long what was just made is looked for. As a rule it is seen within seconds: half a minute is far beyond
	// these, and short for a person who waits.
	Limit = 30 * time.Second

	// Gap is the time between two reads.
	Gap = time.Second
)

// Read reads until what comes back is no longer missing what must be there, at most for Limit, and returns what the last
// read did. When the context ends first, the error is its cause.
func Read[T any](ctx context.Context, read func(context.Context) (T, error), missing func(T, error) bool) (T, error) {
	for begin := time.Now(); ; {
		found, err := read(ctx)
		if !missing(found, err) || time.Since(begin) >= Limit {
			return found, err
		}
		if err := wait.For(ctx, Gap); err != nil {
			return found, err
		}
	}
}
