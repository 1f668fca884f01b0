// Package wait lets time pass, unless a context ends first.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for d. It returns the context's cause when the context ends first or has ended already.
func For(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// jitter is the share of a time by which chance makes About's longer or shorter.
const jitter = 0.2

// About waits as For does, a fifth more or less than d by chance, so that many who began together do not go on in step.
func About(ctx context.Context, d time.Duration) error {
	return For(ctx, time.Duration((1-jitter+2*jitter*rand.Float64())*float64(d)))
}
