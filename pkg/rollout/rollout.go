// Package rollout gives an Auto Scaling group a new image and replaces its instances, one healthy step after another.
//
// A release is an application AMI and the numbered launch template version that holds it. A rollout makes that
// version, starts an instance refresh with it, watches the refresh, sees the release served through the load balancer,
// and only then moves the pointer to the current release. Everything is found by the tag "ingot:app", so that nothing
// but the application's name is needed; every step looks for what an earlier run has done already, so that after a kill
// at any moment the same call goes on.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ingot-build/ingot/pkg/progress"
)

// Release is what is rolled out.
type Release struct {
	Name   string `json:"name"`   // what the service answers in X-Release
	AMIID  string `json:"image"`  // the application AMI
	Commit string `json:"commit"` // the commit it was made from; may be empty
}

// Observation is what a look at the fleet and its refresh showed.
type Observation struct {
	At      time.Time `json:"at"`
	Fleet   Fleet     `json:"fleet"`
	Refresh Refresh   `json:"refresh"` // zero where none is watched
}

// clients are the AWS services that a rollout talks to.
type clients struct {
	groups     groupAPI
	refreshes  refreshAPI
	templates  templateAPI
	instances  instanceAPI
	images     imageAPI
	balancers  balancerAPI
	parameters parameterAPI
}

// Roller rolls the releases of one application out.
type Roller struct {
	clients
	options Options
	random  func() float64 // [0,1): takes looks of several rollouts apart

	mu    sync.Mutex
	names map[templateVersionKey]string // the release of each launch template version that was asked for; versions never change
}

// NewFromConfig returns a Roller for the account and region of an AWS configuration.
func NewFromConfig(cfg aws.Config, o Options) *Roller {
	groups, machines := autoscaling.NewFromConfig(cfg), ec2.NewFromConfig(cfg)
	return newRoller(clients{
		groups: groups, refreshes: groups, templates: machines, instances: machines, images: machines,
		balancers: elb.NewFromConfig(cfg), parameters: ssm.NewFromConfig(cfg),
	}, o)
}

func newRoller(c clients, o Options) *Roller {
	return &Roller{clients: c, options: o.withDefaults(), random: rand.Float64, names: map[templateVersionKey]string{}}
}

// Result is a finished rollout.
type Result struct {
	URL             string          `json:"url"` // empty for a worker
	Release         Release         `json:"release"`
	TemplateVersion TemplateVersion `json:"template_version"`
	Instances       int             `json:"instances"`
	Replaced        bool            `json:"replaced"` // false where the fleet ran the release already

	// Unseen is why the release was not asked through the load balancer, and the health of its targets decided: that cannot
	// be reached from here. Empty where it was asked.
	Unseen string `json:"unseen,omitempty"`
}

// step is a way from what a fleet runs to a release.
type step struct {
	fleet   Fleet           // as it was before
	version TemplateVersion // that holds the release
	release Release
	back    bool    // to one that was live before
	door    door    // how the service is asked
	active  Refresh // the refresh to this version that is under way already; zero without one
}

// Run rolls a release out and returns once the load balancer serves it from every target. When it fails, the release
// that served before goes on serving: the refresh is rolled back, and a group that had no release is emptied again.
// When ctx ends, the refresh goes on in AWS, and Run called again goes on with it; see Options.CancelOnInterrupt.
// Errors wrap those of this package where one of them is the cause; all but the first line of their text is evidence.
func (r *Roller) Run(ctx context.Context, release Release) (Result, error) {
	fleet, err := r.Fleet(ctx)
	if err != nil {
		return Result{}, err
	}
	s := step{fleet: fleet, release: release}
	if s.version, _, err = r.findVersion(ctx, fleet.TemplateID, release); err != nil {
		return Result{}, err
	}
	if s.fleet, s.active, err = r.awaitNoOtherRefresh(ctx, s); err != nil {
		return Result{}, err // before anything was made
	}
	if s.version, err = r.ensureVersion(ctx, fleet.TemplateID, release); err != nil {
		return Result{}, err
	}
	return r.moveFleet(ctx, s)
}

// moveFleet makes a fleet run a launch template version.
func (r *Roller) moveFleet(ctx context.Context, s step) (result Result, err error) {
	result = Result{URL: s.fleet.URL, Release: s.release, TemplateVersion: s.version}
	s.door = r.doorOf(s.fleet)
	switch {
	case s.active.ID == "" && s.fleet.Desired == 0:
		result.Replaced = true
		s.door = r.tryDoor(ctx, s.door)
		err = r.launch(ctx, s)
	case s.active.ID == "" && s.fleet.runsOnly(s.version, r.exempt):
		// Nothing is to be replaced. After a kill, what is there may still be starting.
		if err = r.awaitServing(ctx, s); err == nil {
			progress.Note(ctx, "every instance of %s runs release %s", s.fleet.Group, s.release.Name)
		}
	default:
		result.Replaced = true
		s.door = r.tryDoor(ctx, s.door)
		err = r.replaceInstances(ctx, s)
	}
	if err != nil {
		return result, err
	}
	if result.Instances, result.Unseen, err = r.verify(ctx, s); err == nil && r.options.Confirm != nil {
		err = r.options.Confirm(ctx, s.release)
	}
	if err != nil {
		return result, r.revert(ctx, s, err)
	}
	if err := r.moveCurrent(ctx, s); err != nil {
		return result, &PointerError{Release: s.release.Name, Err: err}
	}
	return result, nil
}

// revert brings back what served before a release that is healthy but is not what it should be, and returns the cause.
// What could not be looked at is left alone.
func (r *Roller) revert(ctx context.Context, s step, cause error) error {
	if ctx.Err() != nil || !errors.Is(cause, ErrUnhealthy) {
		return r.leaveUnverified(ctx, s, cause)
	}
	back, err := r.wayBack(ctx, s)
	switch {
	case err != nil:
		return errors.Join(cause, err)
	case back.version == s.version:
		return cause // it was the current release already: nothing better is known
	case back.version == NoVersion:
		return r.scaleToZeroAfter(ctx, s, cause)
	}
	progress.Note(ctx, "going back to release %s: %s", back.release.Name, cause)
	if err := r.replaceInstances(ctx, back); err != nil {
		return errors.Join(cause, fmt.Errorf("go back to launch template version %s: %w", back.version, err))
	}
	return fmt.Errorf("%w; %w", cause, ErrReverted)
}

// wayBack is the way back: to what the fleet ran before this run, or where an earlier run has replaced it already, to the
// current release. Its version is NoVersion where there has been no release.
func (r *Roller) wayBack(ctx context.Context, s step) (step, error) {
	fleet, err := r.reloadFleet(ctx, s.fleet)
	if err != nil {
		return step{}, err
	}
	back := step{fleet: fleet, back: true, door: s.door}
	current, released, err := r.Current(ctx)
	if err != nil {
		return step{}, err
	}
	if released {
		back.release = current.release()
		back.version, err = r.ensureReleasedVersion(ctx, fleet.TemplateID, current)
		return back, err
	}
	version := s.fleet.TemplateVersion
	switch {
	case s.fleet.Desired == 0 || version == s.version:
		return back, nil
	case !version.Numbered():
		return step{}, fmt.Errorf("go back to what %s ran before: it launches launch template version %s, which is not one and the same for ever", fleet.Group, version)
	}
	back.version, back.release.Name = version, fmt.Sprintf("of launch template version %s", version)
	return back, nil
}
