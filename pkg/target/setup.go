package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/apt"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/terraform"
)

// registryURL answers where machine images can be pulled.
const registryURL = "https://registry-1.docker.io/v2/"

// Setup installs what is missing: Packer, Terraform and such.
//
// Downloads HashiCorp's releases, or installs the distribution's packages where those cannot be reached, for which it
// needs to be root or to have sudo without a password. Docker has to be there already.
func Setup(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error { return p.setup(ctx) })
}

func (p *project) setup(ctx context.Context) (err error) {
	stage := progress.Start(ctx, "set up")
	defer stage.End(&err)
	cache, err := toolCache()
	if err != nil {
		return err
	}
	engine, err := machine.Connect(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
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
	missing := missingPackages(ctx)
	if len(missing) == 0 {
		return nil
	}
	stage.Update("%v", missing)
	if err := apt.Install(ctx, p.runner, missing...); !errors.Is(err, apt.ErrUnavailable) {
		return err
	}
	progress.Note(ctx, "install %v yourself: some targets need them", missing)
	return nil
}

// missingPackages are the packages whose commands are not on PATH: for linting, for tests, and, where no image registry
// answers, for making the first machine image.
func missingPackages(ctx context.Context) []string {
	wanted := []struct{ command, pkg string }{{"shellcheck", "shellcheck"}, {"aws", "awscli"}}
	if os.Getenv("CI") == "true" && !slices.ContainsFunc([]string{"chromium", "google-chrome", "chromium-browser"}, onPath) {
		wanted = append(wanted, struct{ command, pkg string }{"chromium", "chromium"}) // large, and one test skips without it
	}
	if !answers(ctx, registryURL) {
		wanted = append(wanted, struct{ command, pkg string }{"mmdebstrap", "mmdebstrap"})
	}
	var missing []string
	for _, w := range wanted {
		if !onPath(w.command) {
			missing = append(missing, w.pkg)
		}
	}
	return missing
}

func onPath(command string) bool {
	_, err := exec.LookPath(command)
	return err == nil
}

// answers tells whether anything answers at a URL within three seconds.
func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		response.Body.Close()
	}
	return err == nil
}

// need fails with a remedy where a command is not on PATH.
func need(command string) error {
	if _, err := exec.LookPath(command); err != nil {
		return fmt.Errorf("%s is not on PATH: run: mage setup", command)
	}
	return nil
}
