package fault

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Faults decides what goes wrong. It is safe for concurrent use.
//
// Every action has draws of its own, so that the third RunInstances has the same fate whatever else was called before it.
type Faults struct {
	state *store.Document[string] // the spec's text

	mu      sync.Mutex
	spec    Spec
	draws   map[string]*rand.Rand
	changed chan struct{} // closed by the next Set
}

// Open returns what the store has of faults.
func Open(st store.Store) (*Faults, error) {
	document, err := store.Open(st, "fault", "")
	if err != nil {
		return nil, err
	}
	f := &Faults{state: document}
	return f, document.View(func(text string) error {
		spec, err := Parse(text)
		f.reset(spec)
		return err
	})
}

func (f *Faults) reset(spec Spec) {
	f.spec, f.draws, f.changed = spec, map[string]*rand.Rand{}, make(chan struct{})
}

// Set changes what goes wrong, keeps it, and begins the draws anew. Delays under way follow the new spec.
func (f *Faults) Set(spec Spec) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.state.Update(func(text *string) error {
		*text = spec.String()
		return nil
	})
	if err != nil {
		return err
	}
	close(f.changed)
	f.reset(spec)
	return nil
}

// Spec returns what goes wrong.
func (f *Faults) Spec() Spec {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.spec
}

// draw returns the next number from 0 to 99 of a kind's draws. The caller holds the lock.
func (f *Faults) draw(kind string) int {
	r := f.draws[kind]
	if r == nil {
		h := fnv.New64a()
		h.Write([]byte(kind))
		r = rand.New(rand.NewPCG(f.spec.Seed, h.Sum64()))
		f.draws[kind] = r
	}
	return r.IntN(100)
}

// Call decides what goes wrong with a call.
func (f *Faults) Call(service, action string) wire.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.spec
	if s.Throttle+s.Errors+s.Drop == 0 || !s.concerns(service, action) {
		return wire.NoFault
	}
	switch n := f.draw(service + " " + action); {
	case n < s.Throttle:
		return wire.Throttled
	case n < s.Throttle+s.Errors:
		return wire.Failed
	case n >= s.Throttle+s.Errors+s.Drop:
		return wire.NoFault
	case n%2 == 0:
		return wire.Unanswered
	}
	return wire.Dropped
}

// Lag returns how old reads are that lag.
func (f *Faults) Lag() time.Duration { return f.Spec().Lag }

// Lags reports whether a call meets a service that is behind.
func (f *Faults) Lags(service, action string) bool {
	s := f.Spec()
	return s.Lag > 0 && s.concerns(service, action)
}

// fails draws whether a machine or image fails.
func (f *Faults) fails(kind string, percent func(Spec) int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := percent(f.spec)
	return p > 0 && f.draw(kind) < p
}

// wait waits as long as the spec says, which may change meanwhile.
func (f *Faults) wait(ctx context.Context, delay func(Spec) time.Duration) error {
	start := time.Now()
	for {
		f.mu.Lock()
		left, changed := time.Until(start.Add(delay(f.spec))), f.changed
		f.mu.Unlock()
		if left <= 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-changed:
		case <-ctx.Done():
		}
		timer.Stop()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}
