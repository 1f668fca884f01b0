package command

import (
	"context"
	"sync"
)

// Fake is a Runner for tests: it records what it is asked to run and does what Func does.
type Fake struct {
	Func func(ctx context.Context, c Cmd) error // nil succeeds

	mu    sync.Mutex
	calls []Cmd
}

// Run implements Runner.
func (f *Fake) Run(ctx context.Context, c Cmd) error {
	f.mu.Lock()
	f.calls = append(f.calls, c)
	f.mu.Unlock()
	if f.Func == nil {
		return nil
	}
	return f.Func(ctx, c)
}

// Calls returns what was run, in order.
func (f *Fake) Calls() []Cmd {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Cmd(nil), f.calls...)
}
