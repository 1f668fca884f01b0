package terraform

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/product"

	"github.com/ingot-build/ingot/internal/toolcache"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/progress"
)

// MinVersion is the oldest Terraform that Find accepts: what the stack requires, which a test compares. It is the first
// whose lock file in S3 is no experiment.
const MinVersion = "1.11.0"

// Find returns the path of a terraform command of MinVersion or newer: the one on PATH, else the one in cacheDir ("ingot"
// in the user's cache folder when it is empty), which it downloads from releases.hashicorp.com where there is none yet: the version that
// the stack was tested with. Signature and checksum of the download are verified.
func Find(ctx context.Context, cacheDir string) (string, error) {
	cacheDir, err := toolcache.Dir(cacheDir)
	if err != nil {
		return "", fmt.Errorf("find terraform: %w", err)
	}
	return finder{runner: command.Exec{}, lookPath: exec.LookPath, download: toolcache.Download, cacheDir: cacheDir}.find(ctx)
}

// finder is Find with everything that reaches outside the process.
type finder struct {
	runner   command.Runner
	lookPath func(file string) (string, error)
	download func(ctx context.Context, cache string, of product.Product) (path string, err error)
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
	cached := toolcache.Path(f.cacheDir, "terraform")
	if _, err := f.lookPath(cached); err == nil && f.check(ctx, cached) == nil {
		return cached, nil
	}
	stage := progress.Start(ctx, "download Terraform %s", toolcache.Version("terraform"))
	path, err := f.download(ctx, f.cacheDir, product.Terraform)
	stage.End(&err)
	if err != nil {
		return "", fmt.Errorf("find terraform %s or newer: %s; downloading it: %w; install it from https://developer.hashicorp.com/terraform/install and put it on PATH",
			MinVersion, unfit, err)
	}
	return path, nil
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
