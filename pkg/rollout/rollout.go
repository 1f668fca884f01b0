// Package rollout gives an Auto Scaling group a new image and replaces its instances, one healthy step after another.
//
// A release is an application AMI and the numbered launch template version that holds it. A rollout makes that
// version, starts an instance refresh with it, watches the refresh, sees the release served through the load balancer,
// and only then moves the pointer to the current release. Everything is found by the tag "ingot:app", so that nothing
// but the application's name is needed; every step looks for what an earlier run has done already.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"

	"github.com/ingot-build/ingot/pkg/progress"
)

// Errors that callers tell apart. Each comes wrapped in one that says what to do.
var (
	ErrNoFleet   = errors.New("no Auto Scaling group")   // the infrastructure is not there
	ErrBusy      = errors.New("another release rolls")   // an instance refresh to another version is under way
	ErrUnhealthy = errors.New("release never served")    // the new instances do not become healthy
	ErrReverted  = errors.New("release was rolled back") // the old release serves again
)

// Release is what is rolled out.
type Release struct {
	Name   string // what the service answers in X-Release
	AMIID  string // the application AMI
	Commit string // the commit it was made from; may be empty
}

// Options say how.
type Options struct {
	App        string        // the value of the tag ingot:app
	Min        int           // instances that a group without a release gets with its first one
	MinHealthy int           // percent of the desired capacity that stays in service
	MaxHealthy int           // percent of the desired capacity that may run at once
	Warmup     time.Duration // how long a new instance must be healthy before it counts
	Domain     string        // host name of the service; empty for the load balancer's own
}

// Clients are the AWS services that a rollout talks to.
type Clients struct {
	Groups     groupAPI
	Refreshes  refreshAPI
	Templates  templateAPI
	Balancers  balancerAPI
	Parameters parameterAPI
	HTTP       *http.Client // asks the load balancer; nil for http.DefaultClient
}

// Roller rolls releases out.
type Roller struct {
	Clients
	options Options
}

// New returns a Roller.
func New(c Clients, o Options) *Roller {
	if c.HTTP == nil {
		c.HTTP = http.DefaultClient
	}
	return &Roller{Clients: c, options: o}
}

// Result is a finished rollout.
type Result struct {
	URL             string
	Release         Release
	TemplateVersion int64
	Instances       int
	Replaced        bool // false where the fleet ran the release already
}

// Run rolls a release out and returns once the load balancer serves it from every target. When it fails, the release
// that served before goes on serving: the refresh is rolled back, and a group that had no release is emptied again.
// Errors wrap ErrNoFleet, ErrBusy, ErrUnhealthy or ErrReverted where one of them is the cause.
func (r *Roller) Run(ctx context.Context, release Release) (Result, error) {
	fleet, err := r.Fleet(ctx)
	if err != nil {
		return Result{}, err
	}
	version, err := r.templateVersion(ctx, fleet.TemplateID, release)
	if err != nil {
		return Result{}, err
	}
	return r.roll(ctx, fleet, version, release)
}

// roll makes a fleet run a launch template version.
func (r *Roller) roll(ctx context.Context, fleet Fleet, version int64, release Release) (result Result, err error) {
	result = Result{URL: fleet.URL, Release: release, TemplateVersion: version}
	switch {
	case fleet.runs(version):
		progress.Note(ctx, "every instance of %s runs release %s already", fleet.Group, release.Name)
	case fleet.Desired == 0:
		result.Replaced = true
		err = r.launch(ctx, fleet, version, release)
	default:
		result.Replaced = true
		err = r.refresh(ctx, fleet, version, release)
	}
	if err != nil {
		return result, err
	}
	if result.Instances, err = r.verify(ctx, fleet, version, release); err != nil {
		return result, r.revert(ctx, fleet, version, err)
	}
	return result, r.point(ctx, fleet.TemplateID, version, release)
}

// revert brings back what a fleet ran before a release that is healthy but is not what it should be, and returns the
// cause.
func (r *Roller) revert(ctx context.Context, fleet Fleet, version int64, cause error) error {
	before, err := strconv.ParseInt(fleet.TemplateVersion, 10, 64)
	if err != nil || before == version || fleet.Desired == 0 || ctx.Err() != nil {
		return cause // nothing served before, or the wish to stop goes before
	}
	progress.Note(ctx, "going back to launch template version %d: %s", before, cause)
	if err := r.refresh(ctx, fleet, before, Release{Name: fmt.Sprintf("of launch template version %d", before)}); err != nil {
		return errors.Join(cause, err)
	}
	return fmt.Errorf("%w: %w", ErrReverted, cause)
}

// launch gives a group that has never had a release its first one.
func (r *Roller) launch(ctx context.Context, fleet Fleet, version int64, release Release) (err error) {
	stage := progress.Start(ctx, "launch %d instances of release %s in %s", r.options.Min, release.Name, fleet.Group)
	defer stage.End(&err)
	if err := r.resize(ctx, fleet, version, r.options.Min); err != nil {
		return err
	}
	if err := r.watchLaunch(ctx, stage, fleet, version); err != nil {
		if ctx.Err() != nil {
			return err // an interrupted launch goes on in AWS, and the next run watches it again
		}
		// Nothing served before, so nothing is lost, and an unhealthy group would replace its instances for ever.
		if empty := r.resize(ctx, fleet, version, 0); empty != nil {
			err = errors.Join(err, empty)
		}
		return fmt.Errorf("launch release %q: %w", release.Name, err)
	}
	return nil
}

func (r *Roller) resize(ctx context.Context, fleet Fleet, version int64, instances int) error {
	_, err := r.Groups.UpdateAutoScalingGroup(ctx, &autoscaling.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String(fleet.Group),
		LaunchTemplate:       templateSpec(fleet.TemplateID, version),
		MinSize:              aws.Int32(int32(instances)),
		DesiredCapacity:      aws.Int32(int32(instances)),
	})
	if err != nil {
		return fmt.Errorf("set capacity of %q to %d: %w", fleet.Group, instances, err)
	}
	return nil
}
