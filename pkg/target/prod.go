package target

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/rollout"
)

// App bakes the application AMI, or finds the one these inputs made.
//
// Prints its ID. Bakes the base AMI first where it is missing or out of date. Rolls nothing out: that is for prod.
func App(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		a, err := p.account(ctx)
		if err != nil {
			return err
		}
		image, err := p.bakeApp(ctx, a)
		if err != nil {
			return err
		}
		return p.printLine(image.ID, setOutput("image", image.ID))
	})
}

// Prod bakes the application AMI and rolls it out.
//
// Prints the URL. Bakes the base AMI first where it is missing or out of date; replaces every instance of the Auto
// Scaling group; needs infra:apply before.
func Prod(ctx context.Context,
	image *string, // roll out this AMI, which "app" baked, and bake nothing
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		result, err := p.release(ctx, value(image))
		if err != nil {
			return err
		}
		return p.printLine(result.URL, setOutput("url", result.URL))
	})
}

// Url prints the URL of the load balancer.
func Url(ctx context.Context) error { //nolint:revive // mage makes "url" of it
	return run(ctx, func(ctx context.Context, p *project) error {
		a, err := p.account(ctx)
		if err != nil {
			return err
		}
		fleet, err := p.roller(a).Fleet(ctx)
		return p.printLine(fleet.URL, err)
	})
}

// Status shows the release that is live and the fleet.
//
// Changes nothing.
func Status(ctx context.Context,
	json *bool, // print JSON
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		s, err := p.status(ctx)
		if err != nil {
			return err
		}
		if value(json) {
			return p.printJSON(s)
		}
		return p.printStatus(s)
	})
}

// Rollback rolls the release before the current one out again.
//
// Prints the URL. Replaces every instance; "mage releases" lists what there is to go back to.
func Rollback(ctx context.Context,
	to *string, // the release to go back to
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		a, err := p.account(ctx)
		if err != nil {
			return err
		}
		result, err := p.roller(a).Rollback(ctx, value(to))
		return p.printLine(result.URL, err)
	})
}

// Releases lists the release history, the current one first.
//
// Changes nothing.
func Releases(ctx context.Context,
	json *bool, // print JSON
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		a, err := p.account(ctx)
		if err != nil {
			return err
		}
		releases, err := p.roller(a).Releases(ctx)
		if err != nil {
			return err
		}
		if value(json) {
			return p.printJSON(releases)
		}
		return p.printReleases(releases)
	})
}

// value is what an optional flag says.
func value[T any](flag *T) T {
	if flag == nil {
		return *new(T)
	}
	return *flag
}

// release rolls an image out, or the one that it bakes where imageID is empty. Whether there is something to roll out to
// is seen before the minutes of a bake.
func (p *project) release(ctx context.Context, imageID string) (rollout.Result, error) {
	a, err := p.account(ctx)
	if err != nil {
		return rollout.Result{}, err
	}
	roller := p.roller(a)
	if _, err := roller.Fleet(ctx); err != nil {
		return rollout.Result{}, err
	}
	image, err := p.releaseImage(ctx, a, imageID)
	if err != nil {
		return rollout.Result{}, err
	}
	return roller.Run(ctx, rollout.Release{
		Name: image.Tags[ami.TagRelease], AMIID: image.ID, Commit: image.Tags[ami.TagCommit],
	})
}

func (p *project) releaseImage(ctx context.Context, a account, id string) (ami.Image, error) {
	if id == "" {
		return p.bakeApp(ctx, a)
	}
	image, err := ami.New(ec2.NewFromConfig(a.Config)).Get(ctx, id)
	switch {
	case err != nil:
		return ami.Image{}, err
	case image.Tags[ami.TagApp] != p.App || image.Tags[ami.TagImage] != ami.App || image.Tags[ami.TagFingerprint] == "":
		return ami.Image{}, fmt.Errorf("image %s is no finished application image of %q: bake one with: mage app", id, p.App)
	}
	return image, nil
}

func (p *project) roller(a account) *rollout.Roller {
	groups := autoscaling.NewFromConfig(a.Config)
	return rollout.New(rollout.Clients{
		Groups: groups, Refreshes: groups,
		Templates:  ec2.NewFromConfig(a.Config),
		Balancers:  elb.NewFromConfig(a.Config),
		Parameters: ssm.NewFromConfig(a.Config),
	}, rollout.Options{
		App: p.App, Domain: p.Fleet.Domain, Min: p.Fleet.Min,
		MinHealthy: p.Rollout.MinHealthy, MaxHealthy: p.Rollout.MaxHealthy, Warmup: p.Rollout.WarmupDuration(),
	})
}

// state is what "status" shows.
type state struct {
	Current *rollout.Pointer `json:"current"` // nil before the first release
	Fleet   rollout.Fleet    `json:"fleet"`
}

func (p *project) status(ctx context.Context) (state, error) {
	a, err := p.account(ctx)
	if err != nil {
		return state{}, err
	}
	roller := p.roller(a)
	fleet, err := roller.Fleet(ctx)
	if err != nil {
		return state{}, err
	}
	s := state{Fleet: fleet}
	current, ok, err := roller.Current(ctx)
	if ok {
		s.Current = &current
	}
	return s, err
}

func (p *project) printStatus(s state) error {
	if s.Current == nil {
		fmt.Fprintln(p.out, "no release yet")
	} else {
		fmt.Fprintf(p.out, "release %s, image %s, commit %s, since %s\n", s.Current.Release, s.Current.AMIID, s.Current.Commit, s.Current.Since.Format(time.DateTime))
	}
	fmt.Fprintf(p.out, "%s: %d of %d–%d instances, launch template version %s\n%s\n", s.Fleet.Group, s.Fleet.Desired, s.Fleet.Min, s.Fleet.Max, s.Fleet.TemplateVersion, s.Fleet.URL)
	if len(s.Fleet.Instances) == 0 {
		return nil
	}
	t := p.table()
	fmt.Fprintln(t, "\nINSTANCE\tZONE\tVERSION\tLIFECYCLE\tHEALTH\tTARGET\tREASON")
	for _, i := range s.Fleet.Instances {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Zone, i.TemplateVersion, i.Lifecycle, i.Health, i.Target, i.Reason)
	}
	return t.Flush()
}

func (p *project) printReleases(releases []rollout.Pointer) error {
	t := p.table()
	fmt.Fprintln(t, "RELEASE\tSINCE\tIMAGE\tVERSION\tCOMMIT\t")
	for i, r := range releases {
		live := ""
		if i == 0 {
			live = "live"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", r.Release, r.Since.Format(time.DateTime), r.AMIID, r.TemplateVersion, r.Commit, live)
	}
	return t.Flush()
}
