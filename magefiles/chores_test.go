//go:build mage

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/config"
)

func TestFilesFindsScriptsWithoutAnExtension(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"a.go": "package a", "b.sh": "true", "bin/check": "#!/usr/bin/env bash\ntrue", "bin/data": "x", "bin/tool": "#!/usr/bin/env python3",
		".git/hook.sh": "true", ".ingot/x.sh": "true",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := &chores{Config: &config.Config{Root: root}}
	got, err := c.files(".sh")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"b.sh", filepath.Join("bin", "check")}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFirstWords(t *testing.T) {
	got := firstWords([]string{"vet", "-tags=integration,mage", "./...", "a.go", "-x"})
	if diff := cmp.Diff([]string{"vet", "./...", "-x"}, got); diff != "" {
		t.Error(diff)
	}
}
