package terraform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"

	"github.com/ingot-build/ingot/internal/toolcache"
	"github.com/ingot-build/ingot/pkg/command"
)

func TestFind(t *testing.T) {
	const usual = "/usr/bin/terraform"
	pinned := toolcache.Path("CACHE", "terraform")
	for _, test := range []struct {
		name       string
		onPath     string // version of the command on PATH
		cached     string // version of the command in the cache
		unreleased error  // why nothing can be downloaded
		want       string // CACHE stands for the cache folder
		wantErr    string
		downloads  int
	}{
		{name: "on PATH", onPath: "1.11.4", want: usual},
		{name: "oldest on PATH", onPath: "1.11.0", want: usual},
		{name: "too old on PATH", onPath: "1.10.5", want: pinned, downloads: 1},
		{name: "nowhere", want: pinned, downloads: 1},
		{name: "downloaded before", cached: "1.11.4", want: pinned},
		{name: "broken download", cached: "broken", want: pinned, downloads: 1},
		{
			name: "nowhere and offline", unreleased: errors.New("no such host"), downloads: 1,
			wantErr: "find terraform 1.11.0 or newer: not on PATH; downloading it: no such host; install it from https://developer.hashicorp.com/terraform/install and put it on PATH",
		},
		{
			name: "too old and offline", onPath: "1.10.5", unreleased: errors.New("no such host"), downloads: 1,
			wantErr: "find terraform 1.11.0 or newer: /usr/bin/terraform is version 1.10.5; downloading it: no such host; install it from https://developer.hashicorp.com/terraform/install and put it on PATH",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			cache := t.TempDir()
			if test.cached != "" {
				writeFile(t, toolcache.Path(cache, "terraform"), test.cached)
			}
			downloads := 0
			f := finder{
				cacheDir: cache,
				lookPath: func(file string) (string, error) {
					if file != "terraform" {
						_, err := os.Stat(file)
						return file, err
					}
					if test.onPath == "" {
						return "", exec.ErrNotFound
					}
					return usual, nil
				},
				runner: &command.Fake{Func: func(_ context.Context, c command.Cmd) error {
					if diff := cmp.Diff([]string{"version", "-json"}, c.Args); diff != "" {
						t.Error(diff)
					}
					version := test.onPath
					if c.Path != usual {
						version = test.cached
					}
					if version == "broken" {
						return errors.New("exec format error")
					}
					_, err := fmt.Fprintf(c.Stdout, `{"terraform_version": %q}`, version)
					return err
				}},
				download: func(_ context.Context, dir string, of product.Product) (string, error) {
					downloads++
					if test.unreleased != nil {
						return "", test.unreleased
					}
					return toolcache.Path(dir, of.Name), nil
				},
			}
			got, err := f.find(t.Context())
			if message(err) != test.wantErr {
				t.Errorf("error = %v\nwant    %s", err, test.wantErr)
			}
			if got := strings.ReplaceAll(got, cache, "CACHE"); got != test.want {
				t.Errorf("find = %q, want %q", got, test.want)
			}
			if downloads != test.downloads {
				t.Errorf("%d downloads, want %d", downloads, test.downloads)
			}
		})
	}
}

// What is downloaded has to be new enough to be found.
func TestPinnedVersion(t *testing.T) {
	pinned, err := version.NewVersion(toolcache.Version("terraform"))
	if err != nil || pinned.LessThan(version.Must(version.NewVersion(MinVersion))) {
		t.Errorf("Terraform %s is downloaded, %v, and %s is needed", pinned, err, MinVersion)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
