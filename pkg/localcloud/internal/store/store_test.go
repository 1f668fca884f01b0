package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
)

func TestStores(t *testing.T) {
	for name, s := range map[string]store.Store{"memory": store.Memory(), "folder": store.Dir(t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			var got map[string]int
			if found, err := s.Load("doc", &got); found || err != nil {
				t.Errorf("Load of nothing = %v, %v", found, err)
			}
			for _, want := range []map[string]int{{"a": 1}, {"b": 2}} {
				if err := s.Save("doc", want); err != nil {
					t.Fatal(err)
				}
				got = nil
				if found, err := s.Load("doc", &got); !found || err != nil {
					t.Errorf("Load = %v, %v", found, err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("document (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestDirErrors(t *testing.T) {
	dir := t.TempDir()
	s := store.Dir(dir)
	if err := os.WriteFile(filepath.Join(dir, "doc.json"), []byte(`{"a":`), 0o600); err != nil {
		t.Fatal(err)
	}
	var got map[string]int
	if _, err := s.Load("doc", &got); err == nil || !strings.Contains(err.Error(), "doc.json\" is damaged") {
		t.Errorf("Load of a damaged document: %v", err)
	}
	if err := store.Dir(filepath.Join(dir, "missing")).Save("doc", 1); err == nil {
		t.Error("Save to a folder that is not there succeeds")
	}
}

// full is a store that has no room.
type full struct{ store.Store }

func (full) Save(string, any) error { return errors.New("no space left on device") }

func TestDocument(t *testing.T) {
	s := store.Memory()
	d, err := store.Open(s, "doc", map[string][]int{})
	if err != nil {
		t.Fatal(err)
	}
	err = d.Update(func(m *map[string][]int) error {
		(*m)["a"] = []int{1}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("refused")
	err = d.Update(func(m *map[string][]int) error {
		(*m)["a"][0], (*m)["b"] = 2, nil
		return refused
	})
	if !errors.Is(err, refused) {
		t.Errorf("Update = %v", err)
	}
	reopened, err := store.Open(s, "doc", map[string][]int{})
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*store.Document[map[string][]int]{"the document": d, "what was saved": reopened} {
		d.View(func(m map[string][]int) error {
			if diff := cmp.Diff(map[string][]int{"a": {1}}, m); diff != "" {
				t.Errorf("%s after an update that failed (-want +got):\n%s", name, diff)
			}
			return nil
		})
	}
}

func TestDocumentIsAsBeforeWhenItCannotBeSaved(t *testing.T) {
	d, err := store.Open[int](full{store.Memory()}, "doc", 1)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Update(func(n *int) error {
		*n = 2
		return nil
	})
	if err == nil {
		t.Error("Update succeeds though the store is full")
	}
	d.View(func(n int) error {
		if n != 1 {
			t.Errorf("value = %d, want 1", n)
		}
		return nil
	})
}
