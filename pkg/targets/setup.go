package targets

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/ingot-build/ingot/internal/httpget"
	"github.com/ingot-build/ingot/internal/toolcache"
	"github.com/ingot-build/ingot/pkg/apt"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/terraform"
)

// registryURL answers where machine images can be pulled.
const registryURL = "https://registry-1.docker.io/v2/"

// Setup installs what is missing: Packer and Terraform.
//
// Downloads HashiCorp's releases into your cache folder; where those cannot be reached, the distribution's packages are installed, or
// for somebody who may not install any unpacked into that folder. Where only root can do a thing, prints the command. Docker is
// needed by rehearse, dev and local alone, and has to be there already.
func Setup(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error { return p.setup(ctx) })
}

func (p *project) setup(ctx context.Context) (err error) {
	stage := progress.Start(ctx, "set up")
	defer stage.End(&err)
	cache, err := toolcache.Dir("")
	if err != nil {
		return err
	}
	stage.Update("terraform")
	if _, err := terraform.Find(ctx, cache); err != nil {
		return err
	}
	stage.Update("packer")
	if _, err := packer.Find(ctx, p.runner, cache); errors.Is(err, packer.ErrNotFound) {
		_, err = packer.Install(ctx, p.runner, cache)
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	return p.setupMachines(ctx, stage, cache)
}

// setupMachines gets what the first machine image is made with where it cannot be pulled. Without Docker there are no machines, which
// not everybody needs.
func (p *project) setupMachines(ctx context.Context, stage *progress.Stage, cache string) error {
	engine, err := machine.Connect(ctx)
	if err != nil {
		progress.Note(ctx, "rehearse, dev and local need Docker: %v", err)
		return ctx.Err()
	}
	defer engine.Close()
	stage.Update("what machines are made with")
	if made, err := engine.HasImage(ctx, machine.ImageOptions{Runner: p.runner}); err != nil || made || answers(ctx, registryURL) {
		return err
	}
	if _, err := toolcache.LookPath(cache, "mmdebstrap"); err != nil {
		if err := apt.Install(ctx, p.runner, apt.Options{Unpack: toolcache.Unpacked(cache)}, "mmdebstrap"); err != nil {
			return withoutApt(ctx, err, "mmdebstrap")
		}
	}
	// An ordinary user's mmdebstrap takes user IDs of its own, with a command that root has to have installed.
	if _, err := toolcache.LookPath(cache, "newuidmap"); err != nil && os.Geteuid() != 0 {
		return withoutApt(ctx, apt.Install(ctx, p.runner, apt.Options{}, "uidmap"), "uidmap")
	}
	return nil
}

// withoutApt makes a note of what somebody has to install another way, on a distribution without apt-get.
func withoutApt(ctx context.Context, err error, pkg string) error {
	if errors.Is(err, apt.ErrUnavailable) {
		progress.Note(ctx, "no image registry answers, so the first machine image is made with %s: install it", pkg)
		return nil
	}
	return err
}

// answers tells whether anything answers at a URL within three seconds.
func answers(ctx context.Context, url string) bool {
	_, err := httpget.Get(ctx, url, httpget.Options{Timeout: 3 * time.Second, Limit: 1})
	return err == nil
}
