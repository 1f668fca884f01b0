package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Document is a value that a store keeps under one name, and its lock. A change to it either is saved or did not happen.
//
// Undoing a change replaces what pointers in the value point to. Who lets go of the lock looks everything up again.
type Document[T any] struct {
	store Store
	name  string

	mu    sync.Mutex
	value T
	saved []byte // the value as it was when it was saved last, in JSON
	fresh bool   // the store has nothing of that name yet

	past *past[T] // what this is the past of; nil for the present

	lag     func() time.Duration // how far the past is looked into; nil where nobody does
	earlier []version            // as far as that, the oldest first
}

// Open loads the document, or begins with the given value where there is none. What a document of an older version does not
// have stays as in the given value.
func Open[T any](s Store, name string, initial T) (*Document[T], error) {
	found, err := s.Load(name, &initial)
	if err != nil {
		return nil, err
	}
	d := &Document[T]{store: s, name: name, value: initial, fresh: !found}
	d.saved, err = d.encode()
	return d, err
}

// Lock takes the lock, which services let guard what they hold beside the value, too.
func (d *Document[T]) Lock() {
	d.mu.Lock()
	if d.past != nil {
		d.value = d.past.value()
	}
}

// Unlock lets go of the lock.
func (d *Document[T]) Unlock() { d.mu.Unlock() }

// Value returns the value, which is to be used with the lock held. The pointer stays the same for as long as the document is open.
func (d *Document[T]) Value() *T { return &d.value }

// Fresh reports whether the store has nothing of that name yet.
func (d *Document[T]) Fresh() bool { return d.fresh }

// View calls f with the value, which f may read until it returns.
func (d *Document[T]) View(f func(T) error) error {
	d.Lock()
	defer d.mu.Unlock()
	return f(d.value)
}

// Update calls f with the value and saves what f made of it. Where f fails or the store does, nothing has changed.
func (d *Document[T]) Update(f func(*T) error) error {
	d.Lock()
	defer d.mu.Unlock()
	return d.UpdateLocked(f)
}

// UpdateLocked is [Document.Update] for a caller that holds the lock.
func (d *Document[T]) UpdateLocked(f func(*T) error) error {
	err := f(&d.value)
	switch {
	case err != nil && d.past != nil:
		return err
	case err != nil:
		return d.undo(err)
	}
	return d.Save()
}

// Save saves the changes that the caller, who holds the lock, has made to the value. Where that fails, they are undone.
func (d *Document[T]) Save() error {
	if d.past != nil {
		return ErrPast
	}
	data, err := d.encode()
	if err != nil {
		return d.undo(err)
	}
	if !d.fresh && bytes.Equal(data, d.saved) {
		return nil
	}
	if err := d.store.Save(d.name, json.RawMessage(data)); err != nil {
		return d.undo(err)
	}
	d.remember()
	d.saved, d.fresh = data, false
	return nil
}

// undo makes the value what was saved last, and returns the error that it is done for. Where it is that already, pointers into it
// stay good.
func (d *Document[T]) undo(why error) error {
	if data, err := d.encode(); err == nil && bytes.Equal(data, d.saved) {
		return why
	}
	var saved T
	if err := json.Unmarshal(d.saved, &saved); err != nil {
		return errors.Join(why, fmt.Errorf("undo a change of the local cloud's state %q: %w", d.name, err))
	}
	d.value = saved
	return why
}

func (d *Document[T]) encode() ([]byte, error) {
	data, err := json.Marshal(d.value)
	if err != nil {
		return nil, fmt.Errorf("encode the local cloud's state %q: %w", d.name, err)
	}
	return data, nil
}
