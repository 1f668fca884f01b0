// Package toolcache keeps downloaded commands, plugins and providers, for all of a person's repositories, and says which versions of
// commands are downloaded.
package toolcache

import (
	"context"
	_ "embed" // .tool-versions
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"

	"github.com/ingot-build/ingot/internal/httpget"
)

// pinned are the versions of commands that are downloaded, a line each, in the form that asdf and mise read and that Renovate moves.
//
//go:embed .tool-versions
var pinned string

// Version is the version of a command that Download gets; "" for one that it does not know.
func Version(name string) string {
	for line := range strings.Lines(pinned) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == name {
			return fields[1]
		}
	}
	return ""
}

// Dir returns dir, or where that is empty the folder "ingot" in the user's cache folder.
func Dir(dir string) (string, error) {
	if dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(cache, "ingot"), nil
}

// Path is where Download puts a command.
func Path(cache, name string) string {
	return filepath.Join(cache, name+"-"+Version(name), name)
}

// Unpacked is the folder below a cache folder for packages of the distribution that are unpacked and not installed.
func Unpacked(cache string) string { return filepath.Join(cache, "packages") }

// LookPath finds a command on PATH, or else among the unpacked packages of a cache folder, empty for the usual one. The error is that
// of exec.LookPath.
func LookPath(cache, name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	if cache, dirErr := Dir(cache); dirErr == nil {
		for _, folder := range []string{"bin", "sbin"} {
			if path, err := exec.LookPath(filepath.Join(Unpacked(cache), "usr", folder, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", err
}

const (
	// answerTimeout is how long HashiCorp's releases may take to answer at all. A network that drops packets would otherwise hold
	// hc-install for minutes.
	answerTimeout = 5 * time.Second
	// downloadTimeout leaves a slow line the time for some 50 MB.
	downloadTimeout = 5 * time.Minute
)

// Download gets a command of HashiCorp's in the pinned version, with its signature and checksum checked, and returns its path.
// It appears there as a whole or not at all.
func Download(ctx context.Context, cache string, of product.Product) (path string, err error) {
	return downloader{releases: "https://releases.hashicorp.com", get: getRelease}.download(ctx, cache, of)
}

// downloader is Download with everything that reaches outside this machine.
type downloader struct {
	releases string
	get      func(ctx context.Context, of product.Product, version, dir string) error // puts the command into dir
}

func (d downloader) download(ctx context.Context, cache string, of product.Product) (path string, err error) {
	if err := checkAnswers(ctx, d.releases+"/"+of.Name+"/index.json"); err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	temporary, err := os.MkdirTemp(cache, "."+of.Name+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(temporary)
	if err := d.get(ctx, of, Version(of.Name), temporary); err != nil {
		return "", err
	}
	path = Path(cache, of.Name)
	dir := filepath.Dir(path)
	// What is there already did not run, or another run was quicker: then this one serves as well.
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.Rename(temporary, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return path, os.Chmod(dir, 0o755)
}

// getRelease is the real get.
func getRelease(ctx context.Context, of product.Product, release, dir string) error {
	exact, err := version.NewVersion(release)
	if err != nil {
		return err
	}
	source := &releases.ExactVersion{Product: of, Version: exact, InstallDir: dir, Timeout: downloadTimeout}
	_, err = source.Install(ctx)
	return err
}

// checkAnswers returns an error unless a URL can be had.
func checkAnswers(ctx context.Context, url string) error {
	answer, err := httpget.Get(ctx, url, httpget.Options{Timeout: answerTimeout, Limit: 1})
	if err == nil && answer.Code != http.StatusOK {
		err = fmt.Errorf("%s answers %s", url, answer.Status)
	}
	return err
}
