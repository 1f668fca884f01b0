package packer

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/hc-install/product"

	"github.com/ingot-build/ingot/internal/toolcache"
	"github.com/ingot-build/ingot/pkg/apt"
	"github.com/ingot-build/ingot/pkg/command"
)

// Install gets a packer command: HashiCorp's release, checked against its signature, into the cache folder, as Find knows it; or,
// where that cannot be reached, the distribution's package, installed or unpacked there, as [apt.Install] does.
func Install(ctx context.Context, runner command.Runner, cache string) (*Packer, error) {
	if runner == nil {
		runner = command.Exec{}
	}
	cache, err := toolcache.Dir(cache)
	if err != nil {
		return nil, fmt.Errorf("install packer: %w", err)
	}
	err = installEither(ctx,
		func(ctx context.Context) error {
			_, err := toolcache.Download(ctx, cache, product.Packer)
			return err
		},
		func(ctx context.Context) error {
			return apt.Install(ctx, runner, apt.Options{Unpack: toolcache.Unpacked(cache)}, "packer")
		},
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
