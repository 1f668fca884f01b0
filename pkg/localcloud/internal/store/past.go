package store

import (
	"encoding/json"
	"errors"
	"time"
)

// ErrPast is why a change of the past was not saved. Whoever gets it knows that the past would have allowed the change.
var ErrPast = errors.New("the past cannot be changed")

// past is where the past of a document comes from.
type past[T any] struct {
	of     *Document[T]
	adjust func(past *T, present T)
}

// version is what a document held, in JSON, until it was saved again.
type version struct {
	until time.Time
	data  []byte
}

// Past returns the document as it was a while ago: each time its lock is taken, its value is what the document had saved then. Lag
// says how long ago that is, and may answer something else every time; adjust, which may be nil, puts into that value what is
// always seen as it is. A change of it fails with [ErrPast], if not for a reason of its own, and leaves nothing behind.
func (d *Document[T]) Past(lag func() time.Duration, adjust func(past *T, present T)) *Document[T] {
	d.lag = lag
	return &Document[T]{name: d.name, past: &past[T]{d, adjust}}
}

// remember keeps what is about to be replaced for as long as somebody may look for it. The caller holds the lock.
func (d *Document[T]) remember() {
	if d.lag == nil {
		return
	}
	lag, now := d.lag(), time.Now()
	for len(d.earlier) > 0 && !d.earlier[0].until.After(now.Add(-lag)) {
		d.earlier = d.earlier[1:]
	}
	if lag > 0 {
		d.earlier = append(d.earlier, version{now, d.saved})
	}
}

// value returns what the document held.
func (p *past[T]) value() T {
	p.of.mu.Lock()
	now, then := p.of.saved, p.of.saved
	at := time.Now().Add(-p.of.lag())
	for _, v := range p.of.earlier {
		if v.until.After(at) {
			then = v.data
			break
		}
	}
	p.of.mu.Unlock()
	// Both were encoded from such a value.
	var value, present T
	_ = json.Unmarshal(then, &value)
	if p.adjust != nil {
		_ = json.Unmarshal(now, &present)
		p.adjust(&value, present)
	}
	return value
}
