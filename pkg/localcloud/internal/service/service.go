// Package service is what the services of the local cloud have in common: work beside the calls, lists, pages, tags, IDs and times.
// Their state is a [store.Document].
package service

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ingot-build/ingot/internal/wait"
)

// Logger returns the logger, or for nil one that drops everything.
func Logger(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// Work is what a service does beside answering calls, until it is closed.
type Work struct {
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	wake   chan struct{}
}

// NewWork returns work that has nothing to do yet.
func NewWork() *Work {
	w := &Work{wake: make(chan struct{}, 1)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// Context returns the context that ends when the service closes.
func (w *Work) Context() context.Context { return w.ctx }

// Closed reports whether the service closes.
func (w *Work) Closed() bool { return w.ctx.Err() != nil }

// Go runs f, which must return soon after the context ends.
func (w *Work) Go(f func()) { w.group.Go(f) }

// Wake has a loop that waits on [Work.Woken] look soon. Many calls are one.
func (w *Work) Wake() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Woken returns the channel that tells of [Work.Wake].
func (w *Work) Woken() <-chan struct{} { return w.wake }

// retryInterval is how long [Work.Persist] waits until it tries again.
const retryInterval = time.Second

// Persist saves what has happened already: it calls save until that succeeds, which logs its error. It is not ok when the service
// closes before that.
func (w *Work) Persist(save func() error) (ok bool) {
	for w.ctx.Err() == nil {
		if save() == nil {
			return true
		}
		_ = wait.For(w.ctx, retryInterval)
	}
	return false
}

// Cancel ends the context without waiting.
func (w *Work) Cancel() { w.cancel() }

// Close ends the context and waits until everything has returned.
func (w *Work) Close() {
	w.cancel()
	w.group.Wait()
}

// List is a list in an answer: in XML a list of members, in JSON an array. AWS writes the element of an empty list too, and botocore
// wants it.
type List[T any] struct {
	Members []T `xml:"member"`
}

// MarshalJSON writes the members alone.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if l.Members == nil {
		return []byte("[]"), nil
	}
	return json.Marshal(l.Members)
}

// Page cuts the part of at most size items out of a list that begins at the token, and returns the token of the part after it, "" for
// the last. A token is the number of items before the part. It is not ok where the token is not one.
func Page[T any](items []T, token string, size int) (part []T, next string, ok bool) {
	start := 0
	if token != "" {
		n, err := strconv.Atoi(token)
		if err != nil || n < 0 {
			return nil, "", false
		}
		start = min(n, len(items)) // there may be fewer by now
	}
	if end := start + size; end < len(items) {
		return items[start:end], strconv.Itoa(end), true
	}
	return items[start:], "", true
}

// Sorted returns the values of a map in the order of their keys.
func Sorted[K cmp.Ordered, V any](m map[K]V) []V {
	values := make([]V, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[key])
	}
	return values
}

// HexID returns a random ID of that many hexadecimal digits.
func HexID(digits int) string {
	b := make([]byte, (digits+1)/2)
	rand.Read(b)
	return hex.EncodeToString(b)[:digits]
}

// Millis returns the time now as most APIs show it, in milliseconds.
func Millis() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }
