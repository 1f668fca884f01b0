// Package store keeps the local cloud's state: named JSON documents, each replaced as a whole.
package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/renameio/v2"
)

// Store keeps documents by name. A name is a file name without its extension.
type Store interface {
	// Load decodes the document into the value that into points to. It reports whether there is one.
	Load(name string, into any) (found bool, err error)
	// Save replaces the document. Once it returns, the document survives the end of the process.
	Save(name string, from any) error
}

// Dir returns a store that keeps each document as a file NAME.json, readable by the owner alone, in the folder, which must
// exist.
func Dir(path string) Store { return dir(path) }

type dir string

func (d dir) file(name string) string { return filepath.Join(string(d), name+".json") }

func (d dir) Load(name string, into any) (bool, error) {
	data, err := os.ReadFile(d.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("load the local cloud's state: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return false, fmt.Errorf("load the local cloud's state: %q is damaged: %w", d.file(name), err)
	}
	return true, nil
}

func (d dir) Save(name string, from any) error {
	encoded, err := encode(name, from)
	if err != nil {
		return err
	}
	var data bytes.Buffer
	if err := json.Indent(&data, encoded, "", "\t"); err != nil {
		return fmt.Errorf("save the local cloud's state %q: %w", name, err)
	}
	data.WriteByte('\n')
	// A kill at any moment leaves the old or the new document: it is written beside the old one and renamed.
	if err := renameio.WriteFile(d.file(name), data.Bytes(), 0o600, renameio.WithTempDir(string(d))); err != nil {
		return fmt.Errorf("save the local cloud's state: %w", err)
	}
	return nil
}

// Memory returns a store for tests. It encodes like [Dir], so what does not survive JSON does not survive here either.
func Memory() Store { return &memory{documents: map[string][]byte{}} }

type memory struct {
	mu        sync.Mutex
	documents map[string][]byte
}

func (m *memory) Load(name string, into any) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, ok := m.documents[name]
	if !ok {
		return false, nil
	}
	return true, json.Unmarshal(data, into)
}

func (m *memory) Save(name string, from any) error {
	data, err := encode(name, from)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.documents[name] = data
	return nil
}

// encode returns the document in JSON, which a [Document] brings along.
func encode(name string, from any) ([]byte, error) {
	if data, ok := from.(json.RawMessage); ok {
		return data, nil
	}
	data, err := json.Marshal(from)
	if err != nil {
		return nil, fmt.Errorf("save the local cloud's state %q: %w", name, err)
	}
	return data, nil
}
