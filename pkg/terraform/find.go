package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"

	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	// MinVersion is the oldest Terraform that Find accepts: what the stack requires, which a test compares. It is the first
	// whose lock file in S3 is no experiment.
	MinVersion = "1.11.0"

	// InstallVersion is the Terraform that Find downloads; the one that the stack was tested with.
	InstallVersion = "1.11.4"

	// installTimeout leaves a slow line the time for the archive's 27 MB.
	installTimeout = 5 * time.Minute
)

// Find returns the path of a terraform command of MinVersion or newer: the one on PATH, else the one in cacheDir,
// which it downloads from releases.hashicorp.com where there is none yet. Signature and checksum of the download are
// verified.
func Find(ctx context.Context, cacheDir string) (string, error) {
	return finder{runner: command.Exec{}, lookPath: exec.LookPath, download: download, cacheDir: cacheDir}.find(ctx)
}

// finder is Find with everything that reaches outside the process.
type finder struct {
	runner   command.Runner
	lookPath func(file string) (string, error)
	download func(ctx context.Context, version, dir string) error // puts the command into dir
	cacheDir string
}

func (f finder) find(ctx context.Context) (string, error) {
	onPath, err := f.lookPath("terraform")
	unfit := "not on PATH"
	if err == nil {
		if err = f.check(ctx, onPath); err == nil {
			return onPath, nil
		}
		unfit = err.Error()
	}
	cached := filepath.Join(f.cacheDir, "terraform-"+InstallVersion, "terraform")
	if _, err := f.lookPath(cached); err == nil && f.check(ctx, cached) == nil {
		return cached, nil
	}
	if err := f.install(ctx, filepath.Dir(cached)); err != nil {
		return "", fmt.Errorf("find terraform %s or newer: %s; downloading it: %w; install it from https://developer.hashicorp.com/terraform/install and put it on PATH",
			MinVersion, unfit, err)
	}
	return cached, nil
}

// check returns an error unless the command at path runs and is new enough.
func (f finder) check(ctx context.Context, path string) error {
	out, err := command.Output(ctx, f.runner, command.Cmd{Path: path, Args: []string{"version", "-json"}, Env: []string{"CHECKPOINT_DISABLE=1"}})
	if err != nil {
		return err
	}
	var v struct {
		Version string `json:"terraform_version"`
	}
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		return fmt.Errorf("read version of %s: %w", path, err)
	}
	has, err := version.NewVersion(v.Version)
	if err != nil {
		return fmt.Errorf("read version of %s: %w", path, err)
	}
	if has.LessThan(version.Must(version.NewVersion(MinVersion))) {
		return fmt.Errorf("%s is version %s", path, has)
	}
	return nil
}

// install downloads into a folder beside dir and renames it, so that a download that was cut off is never found.
func (f finder) install(ctx context.Context, dir string) (err error) {
	stage := progress.Start(ctx, "download Terraform %s", InstallVersion)
	defer stage.End(&err)
	if err := os.MkdirAll(f.cacheDir, 0o755); err != nil {
		return err
	}
	temporary, err := os.MkdirTemp(f.cacheDir, ".terraform-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temporary)
	if err := f.download(ctx, InstallVersion, temporary); err != nil {
		return err
	}
	// What is there already did not run, or another run was quicker: then this one serves as well.
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Rename(temporary, dir); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// download is the real downloader.
func download(ctx context.Context, release, dir string) error {
	exact, err := version.NewVersion(release)
	if err != nil {
		return err
	}
	source := &releases.ExactVersion{Product: product.Terraform, Version: exact, InstallDir: dir, Timeout: installTimeout}
	_, err = source.Install(ctx)
	return err
}
