package machine

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProxies(t *testing.T) {
	for name, tc := range map[string]struct {
		env  map[string]string
		want []string
	}{
		"none":                    {},
		"both spellings":          {map[string]string{"HTTP_PROXY": "http://upper:1", "https_proxy": "http://lower:2", "HTTPS_PROXY": "http://upper:2", "NO_PROXY": ".example"}, []string{"http_proxy=http://upper:1", "https_proxy=http://lower:2", "no_proxy=.example"}},
		"out of reach":            {map[string]string{"http_proxy": "http://127.0.0.1:3128", "https_proxy": "http://localhost:3128", "no_proxy": "x"}, nil},
		"exceptions from nothing": {map[string]string{"no_proxy": "example.org"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, variable := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
				t.Setenv(variable, tc.env[variable])
			}
			if diff := cmp.Diff(tc.want, Proxies()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAuthorityFiles(t *testing.T) {
	certificate := func(text string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(text)}))
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"one.crt": "Company\n" + certificate("one") + certificate("two"), "sub/again.pem": certificate("one"), "README": "nothing",
		"key.pem": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")})),
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Named by the first bytes of their SHA-256 digests.
	want := []File{
		{Path: "/usr/local/share/ca-certificates/host-3fc4ccfe745870e2.crt", Data: []byte(certificate("two"))},
		{Path: "/usr/local/share/ca-certificates/host-7692c3ad3540bb80.crt", Data: []byte(certificate("one"))},
	}
	if diff := cmp.Diff(want, authorityFiles([]string{dir, filepath.Join(dir, "nowhere")})); diff != "" {
		t.Error(diff)
	}
}
