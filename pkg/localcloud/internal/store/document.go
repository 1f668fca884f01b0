package store

import (
	"encoding/json"
	"fmt"
	"sync"
)

// Document is a value that a store keeps under one name. It is safe for concurrent use.
type Document[T any] struct {
	store Store
	name  string

	mu    sync.Mutex
	value T
}

// Open loads the document, or begins with the given value where there is none.
func Open[T any](s Store, name string, initial T) (*Document[T], error) {
	if _, err := s.Load(name, &initial); err != nil {
		return nil, err
	}
	return &Document[T]{store: s, name: name, value: initial}, nil
}

// View calls f with the value, which f may read until it returns.
func (d *Document[T]) View(f func(T) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return f(d.value)
}

// Update calls f with a copy of the value and keeps what f made of it. Where f fails or the store does, nothing has changed.
func (d *Document[T]) Update(f func(*T) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	data, err := json.Marshal(d.value)
	if err != nil {
		return fmt.Errorf("copy the local cloud's state %q: %w", d.name, err)
	}
	var next T
	if err := json.Unmarshal(data, &next); err != nil {
		return fmt.Errorf("copy the local cloud's state %q: %w", d.name, err)
	}
	if err := f(&next); err != nil {
		return err
	}
	if err := d.store.Save(d.name, next); err != nil {
		return err
	}
	d.value = next
	return nil
}
