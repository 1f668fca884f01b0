package progress

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Phase is a finished stage.
type Phase struct {
	Name    string
	Begin   time.Time
	Elapsed time.Duration
	Failed  bool
	Depth   int // how many stages of the recording it ran inside
}

// Record returns a context that lists its stages, whether or not anything shows them. The function returns those that have
// ended so far, in the order in which they did.
func Record(ctx context.Context) (recorded context.Context, phases func() []Phase) {
	in := from(ctx)
	r := &record{outer: in.records, inside: in.inside}
	in.records = r
	return in.context(ctx), r.phases
}

// record is a list of stages. Recordings inside each other all list a stage.
type record struct {
	outer  *record // nil for none
	inside *Stage  // where the recording began, nil for outside of any

	mu    sync.Mutex
	ended []Phase
}

// add adds a stage that is over.
func (r *record) add(s *Stage, err error) {
	for ; r != nil; r = r.outer {
		depth := 0
		for outer := s.in.inside; outer != nil && outer != r.inside; outer = outer.in.inside {
			depth++
		}
		r.mu.Lock()
		r.ended = append(r.ended, Phase{Name: s.name, Begin: s.begin, Elapsed: s.Elapsed(), Failed: err != nil, Depth: depth})
		r.mu.Unlock()
	}
}

func (r *record) phases() []Phase {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ended)
}
