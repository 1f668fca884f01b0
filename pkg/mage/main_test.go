package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRunsTargets(t *testing.T) {
	for args, want := range map[string]bool{
		"":                   false, // lists them
		"prod":               true,
		"prod -image=ami-1":  true,
		"-v prod":            true,
		"-v -t 5m prod":      true,
		"-t":                 false,
		"-l":                 false,
		"-h prod":            false,
		"-compile bin/ingot": false,
		"-version":           false,
		"-d elsewhere prod":  false,
	} {
		if got := runsTargets(strings.Fields(args)); got != want {
			t.Errorf("%q: %t", args, got)
		}
	}
}

func TestHelpWanted(t *testing.T) {
	for args, want := range map[string]string{
		"": "", "-h": "", "-l": "", "prod -wait": "",
		"-h prod": "prod", "--help dev": "dev", "prod --help": "prod", "local rehearse -h": "rehearse", "sweep -older=1s -help -yes": "sweep", "-v prod --help": "prod",
	} {
		if got := helpWanted(strings.Fields(args)); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
}

// repository makes one with a module, its magefiles, and a service that is a module of its own.
func repository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module x\n", "magefiles/magefile.go": "package main\n", "pkg/x/x.go": "package x\n", "pkg/x/script.sh": "#!/bin/sh\n",
		"service/go.mod": "module service\n", "service/main.go": "package main\n", ".ingot/state": "{}\n",
	} {
		write(t, root, name, text)
	}
	return root
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func TestKeyOf(t *testing.T) {
	root := repository(t)
	key := func() string {
		t.Helper()
		k, err := keyOf(root)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := key()
	for _, name := range []string{".ingot/state", "service/main.go", "magefiles/mage_output_file.go"} {
		write(t, root, name, "changed, and longer than it was before")
		if key() != first {
			t.Errorf("%s is nothing that the targets are made of", name)
		}
	}
	last := first
	for _, name := range []string{"pkg/x/x.go", "pkg/x/script.sh", "pkg/y/y.go", "go.mod", "magefiles/magefile.go"} {
		write(t, root, name, "changed, and longer than it was before")
		if now := key(); now == last {
			t.Errorf("%s is something that the targets are made of", name)
		} else {
			last = now
		}
	}
	t.Setenv("GOFLAGS", "-tags=other")
	if key() == last {
		t.Error("GOFLAGS is nothing to the key")
	}
}

// What cannot be told from the repository alone is left to mage.
func TestKeyOfUnknown(t *testing.T) {
	for name, change := range map[string]func(root string){
		"no module":     func(root string) { _ = os.Remove(filepath.Join(root, "go.mod")) },
		"no magefiles":  func(root string) { _ = os.RemoveAll(filepath.Join(root, "magefiles")) },
		"a replacement": func(root string) { write(t, root, "go.mod", "module x\n\nreplace example.com/y => ../y\n") },
		"one by path": func(root string) {
			write(t, root, "go.mod", "module x\n\nreplace (\n\texample.com/y v1.0.0 => /src/y\n)\n")
		},
		"a workspace": func(root string) { write(t, root, "go.work", "go 1.26\n") },
	} {
		root := repository(t)
		change(root)
		if _, err := keyOf(root); !errors.Is(err, errUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	root := repository(t)
	write(t, root, "go.mod", "module x\n\nreplace example.com/y => example.com/fork v1.2.3\n")
	if _, err := keyOf(root); err != nil {
		t.Errorf("another module instead: %v", err)
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	var keys []string
	for n := range kept + 2 {
		key := fmt.Sprintf("%032x", n)
		keys = append(keys, key)
		write(t, dir, key+"/mage", "")
		made := time.Now().Add(time.Duration(n) * time.Minute)
		if err := os.Chtimes(filepath.Join(dir, key), made, made); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "lock", "")
	write(t, dir, "took", "2m3s")
	if err := prune(dir); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := append(keys[2:], "lock", "took"); err != nil || !slices.Equal(left, want) {
		t.Errorf("left are %q, %v, want %q", left, err, want)
	}
	if got := say(filepath.Join(dir, "took")); got != "• compiling the targets (2m3s the last time that it took long)" {
		t.Errorf("it says %q", got)
	}
	if got := say(filepath.Join(dir, "nothing")); !strings.Contains(got, "some minutes the first time") {
		t.Errorf("it says %q", got)
	}
}
