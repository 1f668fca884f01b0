package targets

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"github.com/magefile/mage/mg"

	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/localcloud"
	"github.com/ingot-build/ingot/pkg/progress"
)

// Local is the cloud on this machine.
type Local mg.Namespace

// Up points the targets after it at the cloud on this machine.
//
// It starts the cloud in the background where none runs, and sets endpoint, region and credentials for this process:
// "mage local prod". Needs Docker and no AWS account.
func (Local) Up(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		return p.useLocal(ctx, "")
	})
}

// Shape makes the cloud on this machine with an account like the strictest.
//
// SPEC is one argument of words: no-default-vpc, vcpus=8, zone-without-type=us-west-1b:t3.micro, root=/dev/sda1, ebs-key=customer.
// Points the targets after it at the cloud, which keeps its shape; local:status shows it. Needs Docker and no AWS account.
func (Local) Shape(ctx context.Context, spec string) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		return p.useLocal(ctx, spec)
	})
}

// Env prints shell exports for the cloud on this machine.
//
// For: eval "$(mage local:env)". Starts the cloud where none runs.
func (Local) Env(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		c, err := p.startLocal(ctx, "")
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(p.out, c.Script(os.Environ()))
		return err
	})
}

// Status shows the local cloud's machines, images and URLs.
//
// Changes nothing and starts nothing.
func (Local) Status(ctx context.Context,
	json *bool, // print JSON
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		status, err := p.localStatus(ctx)
		if err != nil {
			return err
		}
		return show(p.out, json, status, printCloud)
	})
}

// Down stops the cloud on this machine and keeps its state.
//
// Its machines stop too, and boot again with it. With -purge nothing is left of it: no container, image, network or file. What
// local:save saved stays until local:save NAME -delete.
func (Local) Down(ctx context.Context,
	purge *bool, // remove everything, state included
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		if value(purge) {
			return p.purgeLocal(ctx)
		}
		return p.stopLocal(ctx)
	})
}

// Save saves the cloud on this machine as NAME, for local:load.
//
// With its images, its machines and Terraform's state of it, in .ingot/saved/NAME. A cloud that runs is stopped and started again
// for it. With -delete it removes what was saved as NAME instead.
func (Local) Save(ctx context.Context, name string,
	delete *bool, // remove the saved cloud
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		if value(delete) {
			return p.deleteSaved(ctx, name)
		}
		return p.saveLocal(ctx, name)
	})
}

// Load starts the saved cloud NAME in place of the present one.
//
// It serves as it did when it was saved, at other addresses. The present cloud is removed, which needs -yes.
func (Local) Load(ctx context.Context, name string,
	yes *bool, // remove the present cloud
) error {
	return run(ctx, func(ctx context.Context, p *project) error { return p.loadLocal(ctx, name, value(yes)) })
}

// Serve runs the cloud on this machine in the foreground.
//
// "mage local" runs it in the background.
func (Local) Serve(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		o := p.localOptions()
		o.Log = os.Stderr
		return localcloud.Serve(ctx, o)
	})
}

// Fault has the cloud on this machine fail on request.
//
// SPEC is one argument of words such as 'throttle=20% errors=5% service=ec2', 'image-delay=20s', 'boot-fail=50%', 'lag=2s', 'pace=aws',
// 'kill=i-0123', or off. It stays until the next one; local:status shows it.
func (Local) Fault(ctx context.Context, spec string) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		now, err := localcloud.SetFaults(ctx, p.localDir(), spec)
		return printLine(p.out, cmp.Or(now, "off"), err)
	})
}

func (p *project) localDir() string { return p.path(folder, "local") }

func (p *project) localOptions() localcloud.Options {
	region := p.Region
	if region == "" {
		region = config.DefaultRegion
	}
	return localcloud.Options{StateDir: p.localDir(), Region: region}
}

// startOptions are the options for starting the cloud in the background.
func (p *project) startOptions() (localcloud.Options, error) {
	self, err := os.Executable()
	if err != nil {
		return localcloud.Options{}, fmt.Errorf("find this program's own file: %w", err)
	}
	o := p.localOptions()
	o.Command = []string{self, "local:serve"}
	return o, nil
}

// startLocal starts the local cloud where none runs. A new one has an account of that shape; "" leaves it as it is.
func (p *project) startLocal(ctx context.Context, shape string) (localcloud.Connection, error) {
	o, err := p.startOptions()
	if err != nil {
		return localcloud.Connection{}, err
	}
	o.Shape = shape
	if err := localcloud.Prepare(ctx, o); err != nil {
		return localcloud.Connection{}, err
	}
	return localcloud.Start(ctx, o)
}

// useLocal starts the local cloud where none runs, and points this process at it.
func (p *project) useLocal(ctx context.Context, shape string) error {
	c, err := p.startLocal(ctx, shape)
	if err != nil {
		return err
	}
	return c.Setenv()
}

func (p *project) stopLocal(ctx context.Context) (err error) {
	stage := progress.Start(ctx, "stop the local cloud")
	defer stage.End(&err)
	return localcloud.Stop(ctx, p.localDir())
}

// purgeLocal removes the cloud and what was kept of its account: Terraform's state would speak of what is gone.
func (p *project) purgeLocal(ctx context.Context) (err error) {
	stage := progress.Start(ctx, "remove the local cloud")
	defer stage.End(&err)
	status, err := localcloud.Status(ctx, p.localDir())
	if err := localcloud.Purge(ctx, p.localDir()); err != nil {
		return err
	}
	if err != nil || status.AccountID == "" {
		return nil // there was none, or none that could say its account any more
	}
	for _, dir := range p.accountFolders(status.AccountID) {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	// These stay where another account has something in them.
	_ = os.Remove(p.path(reports))
	_ = os.Remove(p.path(folder))
	return nil
}
