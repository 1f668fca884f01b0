package target

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"

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
		c, err := p.startLocal(ctx)
		if err != nil {
			return err
		}
		return c.Setenv()
	})
}

// Env prints shell exports for the cloud on this machine.
//
// For: eval "$(mage local:env)". Starts the cloud where none runs.
func (Local) Env(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		c, err := p.startLocal(ctx)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(p.out, c.Script())
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
		status, err := localcloud.Status(ctx, p.localDir())
		if err != nil {
			return err
		}
		return show(p, json, status, p.printLocal)
	})
}

// Down stops the cloud on this machine and keeps its state.
//
// Its machines stop too, and boot again with it. With -purge nothing is left: no container, image, network or file.
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
// SPEC is one argument of words such as 'throttle=20% errors=5% service=ec2', 'image-delay=20s', 'boot-fail=50%',
// 'kill=i-0123', or off. It stays until the next one; local:status shows it.
func (Local) Fault(ctx context.Context, spec string) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		now, err := localcloud.SetFaults(ctx, p.localDir(), spec)
		return p.printLine(cmp.Or(now, "off"), err)
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

func (p *project) startLocal(ctx context.Context) (localcloud.Connection, error) {
	self, err := os.Executable()
	if err != nil {
		return localcloud.Connection{}, fmt.Errorf("find this program's own file: %w", err)
	}
	o := p.localOptions()
	o.Command = []string{self, "local:serve"}
	if err := localcloud.Prepare(ctx, o); err != nil {
		return localcloud.Connection{}, err
	}
	return localcloud.Start(ctx, o)
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
	for _, of := range []string{folder, reports} {
		if err := os.RemoveAll(p.path(of, status.AccountID)); err != nil {
			return err
		}
	}
	// These stay where another account has something in them.
	_ = os.Remove(p.path(reports))
	_ = os.Remove(p.path(folder))
	return nil
}

func (p *project) printJSON(v any) error {
	e := json.NewEncoder(p.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (p *project) table() *tabwriter.Writer { return tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0) }

func (p *project) printLocal(s localcloud.CloudStatus) error {
	if !s.Running {
		return p.printLine("the local cloud does not run; mage local starts it", nil)
	}
	fmt.Fprintf(p.out, "%s, region %s, account %s\n", s.Endpoint, s.Region, s.AccountID)
	if s.Faults != "" {
		fmt.Fprintf(p.out, "fails on request: %s\n", s.Faults)
	}
	for _, url := range s.URLs {
		fmt.Fprintln(p.out, url)
	}
	t := p.table()
	fmt.Fprintln(t, "\nMACHINE\tNAME\tSTATE\tIMAGE\tPRIVATE\tPUBLIC")
	for _, m := range s.Machines {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", m.ID, m.Name, m.State, m.Image, m.PrivateAddress, m.PublicAddress)
	}
	fmt.Fprintln(t, "\nIMAGE\tNAME\tSTATE")
	for _, i := range s.Images {
		fmt.Fprintf(t, "%s\t%s\t%s\n", i.ID, i.Name, i.State)
	}
	return t.Flush()
}
