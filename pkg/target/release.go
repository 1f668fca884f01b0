package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/report"
	"github.com/ingot-build/ingot/pkg/rollout"
)

const (
	// reportRate is how often a rollout asks the load balancer, in requests a second: enough to see a gap of a fifth of a
	// second, and nothing to a service that needs a fleet.
	reportRate = 5

	// reports is the folder of the reports, with a folder for each account.
	reports = folder + "/reports"

	// maxChanges bounds the commits that a report lists.
	maxChanges = 50
)

// rollOptions are what a command line adds to the settings.
type rollOptions struct {
	image             string // ID of a finished application AMI; empty to bake one
	wait              bool   // queue behind another rollout
	cancelOnInterrupt bool   // go back on a signal, instead of leaving the refresh to AWS
}

// change is a way for a fleet from one release to another, watched and reported.
type change struct {
	*project
	account  account
	options  rollOptions
	begin    time.Time
	roller   *rollout.Roller // looks only; run has one that reports
	fleet    rollout.Fleet
	before   rollout.Pointer     // zero before the first release
	gate     *codedeploy.Client  // nil without CodeDeploy
	revision codedeploy.Revision // what the gate deploys
}

// newChange finds what there is to change, so that what is missing is said before the minutes of a bake.
func (p *project) newChange(ctx context.Context, o rollOptions) (*change, error) {
	c := &change{project: p, options: o, begin: time.Now()}
	var err error
	if c.account, err = p.account(ctx); err != nil {
		return nil, err
	}
	c.roller = p.roller(c.account)
	if c.fleet, err = c.roller.Fleet(ctx); err != nil {
		return nil, err
	}
	if c.before, _, err = c.roller.Current(ctx); err != nil || !p.CodeDeploy.Enabled {
		return c, err
	}
	c.gate = p.codeDeploy(c.account)
	c.revision, err = c.gate.Ensure(ctx)
	return c, err
}

// release rolls an image out: the one of the options, or one that it bakes.
func (p *project) release(ctx context.Context, o rollOptions) (rollout.Result, error) {
	c, err := p.newChange(ctx, o)
	if err != nil {
		return rollout.Result{}, err
	}
	image, err := p.releaseImage(ctx, c.account, o.image)
	if err != nil {
		return rollout.Result{}, err
	}
	release := rollout.Release{Name: image.Tags[ami.TagRelease], AMIID: image.ID, Commit: image.Tags[ami.TagCommit]}
	return c.run(ctx, release, func(ctx context.Context, r *rollout.Roller) (rollout.Result, error) { return r.Run(ctx, release) })
}

// rollback goes back to a release, or to the one before where the name is empty.
func (p *project) rollback(ctx context.Context, name string, o rollOptions) (rollout.Result, error) {
	c, err := p.newChange(ctx, o)
	if err != nil {
		return rollout.Result{}, err
	}
	return c.run(ctx, rollout.Release{Name: name}, func(ctx context.Context, r *rollout.Roller) (rollout.Result, error) {
		return r.Rollback(ctx, name)
	})
}

// releaseImage is the image of that ID, if it is one to release, or the one that the inputs make.
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

// run makes the change, asks the load balancer all the while, and writes a report of what was seen. The release is the one
// to come, as far as it is known.
func (c *change) run(ctx context.Context, release rollout.Release, act func(context.Context, *rollout.Roller) (rollout.Result, error)) (rollout.Result, error) {
	recorder := report.New(release.Name, c.before.Release, c.begin)
	options := c.rolloutOptions()
	options.Wait, options.CancelOnInterrupt = c.options.wait, c.options.cancelOnInterrupt
	options.Observe = recorder.Observe
	if c.gate != nil {
		options.Explain = c.gate.Explain
	}
	stop := c.probe(ctx, recorder)
	result, err := act(ctx, rollout.New(rolloutClients(c.account), options))
	stop()
	if err == nil && c.gate != nil {
		_, err = c.gate.Deploy(ctx, c.revision, "release "+result.Release.Name)
	}
	if err == nil && !result.Replaced {
		return result, nil // nothing happened that could be reported
	}
	return result, errors.Join(err, c.report(ctx, recorder, release, result, err))
}

// probe asks the load balancer until the returned function is called, where a release serves already.
func (c *change) probe(ctx context.Context, recorder *report.Recorder) (stop func()) {
	if c.fleet.Desired == 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	asking.Go(func() { probe.Stream(ctx, probe.Options{URL: c.fleet.URL, Rate: reportRate}, recorder.Sample) })
	return func() {
		cancel()
		asking.Wait()
	}
}

// report writes what was seen to the account's folder in .ingot/reports, and to the page of the workflow's run.
func (c *change) report(ctx context.Context, recorder *report.Recorder, release rollout.Release, result rollout.Result, cause error) error {
	release = cmp.Or(result.Release, release)
	var phases []progress.Phase
	if printer := progress.FromContext(ctx); printer != nil {
		phases = slices.DeleteFunc(printer.Phases(), func(p progress.Phase) bool { return p.Begin.Before(c.begin) })
	}
	ended := recorder.Finish(report.Outcome{
		App: c.App, Image: release.AMIID, Commit: release.Commit, By: author(), URL: c.fleet.URL,
		Changes: c.changes(context.WithoutCancel(ctx), c.before.Commit, release.Commit), Phases: phases,
		Err: cause, Interrupted: cause != nil && ctx.Err() != nil,
	})
	ended.Release = release.Name
	_, page, err := ended.Write(c.path(reports, c.account.id))
	if err != nil {
		return err
	}
	progress.Note(ctx, "report: %s", page)
	return summarize(ended.Markdown())
}

// changes are the subjects of the commits between two releases, the newest first. Where the commits are not there, as in
// a shallow clone, there is nothing to list.
func (p *project) changes(ctx context.Context, before, now string) []string {
	before, now = strings.TrimSuffix(before, "-dirty"), strings.TrimSuffix(now, "-dirty")
	if before == "" || now == "" || before == now {
		return nil
	}
	out, err := command.Output(ctx, p.runner, command.Cmd{
		Path: "git", Args: []string{"log", "--no-decorate", "--format=%s", fmt.Sprintf("--max-count=%d", maxChanges), before + ".." + now}, Dir: p.Root,
	})
	if err != nil || out == "" {
		return nil
	}
	return strings.Split(out, "\n")
}

// author is who runs this: the run of a workflow, or a person.
func author() string {
	if run := os.Getenv("GITHUB_RUN_ID"); run != "" {
		return fmt.Sprintf("%s/%s/actions/runs/%s", os.Getenv("GITHUB_SERVER_URL"), os.Getenv("GITHUB_REPOSITORY"), run)
	}
	host, _ := os.Hostname()
	if who, err := user.Current(); err == nil {
		return who.Username + "@" + host
	}
	return host
}

func (p *project) roller(a account) *rollout.Roller {
	return rollout.New(rolloutClients(a), p.rolloutOptions())
}

func rolloutClients(a account) rollout.Clients {
	groups, machines := autoscaling.NewFromConfig(a.Config), ec2.NewFromConfig(a.Config)
	return rollout.Clients{
		Groups: groups, Refreshes: groups, Templates: machines, Instances: machines,
		Balancers: elb.NewFromConfig(a.Config), Parameters: ssm.NewFromConfig(a.Config),
	}
}

func (p *project) rolloutOptions() rollout.Options {
	r := p.Rollout
	return rollout.Options{
		App: p.App, Domain: p.Fleet.Domain, Min: p.Fleet.Min, By: author(),
		MinHealthy: r.MinHealthy, MaxHealthy: r.MaxHealthy, Warmup: r.WarmupDuration(),
		Checkpoints: r.Checkpoints, CheckpointDelay: r.CheckpointDelayDuration(), BakeTime: r.BakeTimeDuration(), Alarms: r.Alarms,
		SkipMatching: r.SkipMatching, Standby: r.Standby, Protected: r.Protected,
	}
}
