package toolcache

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
)

// On macOS the cache folder is another one.
func TestDir(t *testing.T) {
	t.Setenv("HOME", "/home/me")
	t.Setenv("XDG_CACHE_HOME", "/home/me/.cache")
	for dir, want := range map[string]string{"/mine": "/mine", "": "/home/me/.cache/ingot"} {
		if got, err := Dir(dir); got != want || err != nil {
			t.Errorf("Dir(%q) = %q, %v, want %q", dir, got, err, want)
		}
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	if got, err := Dir(""); err == nil {
		t.Errorf("Dir without a home = %q", got)
	}
}

func TestVersion(t *testing.T) {
	for line := range strings.Lines(pinned) {
		name, release, ok := strings.Cut(strings.TrimSpace(line), " ")
		if _, err := version.NewSemver(release); !ok || err != nil || Version(name) != release {
			t.Errorf("%q is read as %s %s: %v", line, name, Version(name), err)
		}
	}
	for _, of := range []product.Product{product.Terraform, product.Packer} {
		if Version(of.Name) == "" {
			t.Errorf("%s has no version", of.Name)
		}
	}
	if got := Version("make"); got != "" {
		t.Errorf("Version of something else = %q", got)
	}
}

func TestLookPath(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("PATH", filepath.Join(cache, "path"))
	put := func(elements ...string) string {
		t.Helper()
		path := filepath.Join(append([]string{cache}, elements...)...)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o755)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got, err := LookPath(cache, "mmdebstrap"); err == nil {
		t.Errorf("found nowhere: %q", got)
	}
	// Each is before those above it.
	for _, where := range [][]string{
		{"packages", "usr", "sbin", "mmdebstrap"}, {"packages", "usr", "bin", "mmdebstrap"}, {"path", "mmdebstrap"},
	} {
		want := put(where...)
		if got, err := LookPath(cache, "mmdebstrap"); got != want || err != nil {
			t.Errorf("LookPath = %q, %v, want %q", got, err, want)
		}
	}
}

// A download is tried where the releases answer, and nowhere else: hc-install would ask for minutes. What fails leaves nothing.
func TestDownload(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		get    error
		before string // what the cache has already
		want   string // in the error
	}{
		"releases":         {status: http.StatusOK},
		"what did not run": {status: http.StatusOK, before: "half a command"},
		"cut off":          {status: http.StatusOK, get: errors.New("unexpected EOF"), want: "unexpected EOF"},
		"a portal":         {status: http.StatusForbidden, want: "answers 403 Forbidden"},
		"nobody":           {want: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/packer/index.json" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				w.WriteHeader(test.status)
				_, _ = w.Write([]byte(`{"name": "packer"}`))
			}))
			defer server.Close()
			if test.status == 0 {
				server.Close()
			}
			cache := filepath.Join(t.TempDir(), "cache")
			if test.before != "" {
				path := Path(cache, "packer")
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(test.before), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			d := downloader{releases: server.URL, get: func(_ context.Context, of product.Product, version, dir string) error {
				if version != Version("packer") {
					t.Errorf("version %s of %s", version, of.Name)
				}
				return errors.Join(os.WriteFile(filepath.Join(dir, "packer"), []byte("whole"), 0o755), test.get)
			}}
			path, err := d.download(t.Context(), cache, product.Packer)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
			data, _ := os.ReadFile(Path(cache, "packer"))
			if whole := test.want == ""; whole != (string(data) == "whole") || whole != (path == Path(cache, "packer")) {
				t.Errorf("%s holds %q", path, data)
			}
			if left, _ := filepath.Glob(filepath.Join(cache, ".packer-*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}
