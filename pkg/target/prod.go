package target

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/magefile/mage/mg"

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
	wait *bool, // queue behind a rollout that is under way
	cancelOnInterrupt *bool, // on a signal go back, instead of leaving the rollout to AWS
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		result, err := p.release(ctx, rollOptions{value(image), value(wait), value(cancelOnInterrupt)})
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
// Changes nothing. Exits with 3 where release pointer, launch template, group and instances disagree.
func Status(ctx context.Context,
	json *bool, // print JSON
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		a, err := p.account(ctx)
		if err != nil {
			return err
		}
		s, err := p.roller(a).Status(ctx)
		if err != nil {
			return err
		}
		return cmp.Or(show(p, json, s, p.printStatus), agreement(s))
	})
}

// Rollback rolls the release before the current one out again.
//
// Prints the URL. Replaces every instance; "mage releases" lists what there is to go back to.
func Rollback(ctx context.Context,
	to *string, // the release to go back to
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		result, err := p.rollback(ctx, value(to), rollOptions{})
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
		return show(p, json, releases, p.printReleases)
	})
}

// disagreement is the exit code of "status" where something is not as the current release says.
const disagreement = 3

func (p *project) printStatus(s rollout.Status) error {
	if s.Current == nil {
		fmt.Fprintln(p.out, "no release yet")
	} else {
		fmt.Fprintf(p.out, "release %s, image %s, commit %s, since %s\n", s.Current.Release, s.Current.AMIID, s.Current.Commit, s.Current.Since.Format(time.DateTime))
	}
	fmt.Fprintf(p.out, "%s: %d of %d–%d instances, launch template version %s\n", s.Fleet.Group, s.Fleet.Desired, s.Fleet.Min, s.Fleet.Max, s.Fleet.TemplateVersion)
	if s.Refresh != nil {
		fmt.Fprintf(p.out, "%s\n", s.Refresh)
	}
	fmt.Fprintln(p.out, s.Fleet.URL)
	if len(s.Fleet.Instances) > 0 {
		t := p.table()
		fmt.Fprintln(t, "\nINSTANCE\tZONE\tRELEASE\tVERSION\tLIFECYCLE\tHEALTH\tTARGET\tREASON")
		for _, i := range s.Fleet.Instances {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Zone, i.Release, i.TemplateVersion, i.Lifecycle, i.Health, i.Target, i.Reason)
		}
		return t.Flush()
	}
	return nil
}

// agreement is an error, and an exit code of its own, where a status has disagreements.
func agreement(s rollout.Status) error {
	if len(s.Disagreements) == 0 {
		return nil
	}
	var lines []string
	for _, d := range s.Disagreements {
		lines = append(lines, "  "+d.String())
	}
	return mg.Fatal(disagreement, "not everything is as it should be; mage prod or mage rollback sets it right:\n"+strings.Join(lines, "\n"))
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
