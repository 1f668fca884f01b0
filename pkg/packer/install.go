package packer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	install "github.com/hashicorp/hc-install"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"
	"github.com/hashicorp/hc-install/src"

	"github.com/ingot-build/ingot/pkg/apt"
	"github.com/ingot-build/ingot/pkg/command"
)

// releasesURL answers where HashiCorp's releases can be downloaded.
const releasesURL = "https://releases.hashicorp.com/packer/index.json"

// answerDelay is how long releasesURL may take before the distribution's package is tried. A network that drops packets would
// otherwise hold hc-install for minutes.
const answerDelay = 5 * time.Second

// downloadDelay bounds the download of some 50 MB.
const downloadDelay = 5 * time.Minute

// Install gets a packer command: HashiCorp's current release, checked against its signature, into the cache folder; or, where that
// cannot be reached, the distribution's package, for which it must be root or have sudo without a password.
func Install(ctx context.Context, runner command.Runner, cache string) (*Packer, error) {
	err := installEither(ctx,
		func(ctx context.Context) error { return download(ctx, cache) },
		func(ctx context.Context) error { return apt.Install(ctx, runner, "packer") },
	)
	if err != nil {
		return nil, fmt.Errorf("install packer: %w; install it by hand: https://developer.hashicorp.com/packer/install", err)
	}
	return Find(ctx, runner, cache)
}

func installEither(ctx context.Context, download, fallback func(context.Context) error) error {
	downloaded := download(ctx)
	if downloaded == nil || ctx.Err() != nil {
		return downloaded
	}
	err := fallback(ctx)
	if errors.Is(err, apt.ErrUnavailable) {
		return downloaded
	}
	if err != nil {
		return errors.Join(downloaded, err)
	}
	return nil
}

// download puts the current release into dir.
func download(ctx context.Context, dir string) error {
	if err := answers(ctx, releasesURL); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	_, err := install.NewInstaller().Install(ctx, []src.Installable{
		&releases.LatestVersion{Product: product.Packer, InstallDir: dir, Timeout: downloadDelay},
	})
	return err
}

func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, answerDelay)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
