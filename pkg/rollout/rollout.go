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
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/ingot-build/ingot/pkg/progress"
)

// Errors that callers tell apart. Each comes wrapped in one that says what to do.
var (
	ErrNoFleet   = errors.New("no Auto Scaling group")        // the infrastructure is not there
	ErrBusy      = errors.New("another release rolls")        // an instance refresh to another version is under way
	ErrUnhealthy = errors.New("release never served")         // the new instances do not live, or serve something else
	ErrReverted  = errors.New("release was rolled back")      // the old release serves again
	ErrExpired   = errors.New("AWS credentials have expired") // in the middle; the instance refresh goes on in AWS
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
	Domain     string        // host name of the service; empty for the load balancer's own
	Min        int           // instances that a group without a release gets with its first one
	MinHealthy int           // percent of the desired capacity that stays in service
	MaxHealthy int           // percent of the desired capacity that may run at once
	Warmup     time.Duration // how long a new instance is in service before it counts; by then it has to be healthy

	// Checkpoints are percentages of the fleet, ascending, at which the refresh waits for CheckpointDelay; 100 is added
	// where it is missing. Like BakeTime and Alarms they hold up no way back to a release that was live.
	Checkpoints     []int
	CheckpointDelay time.Duration
	BakeTime        time.Duration // how long the refresh waits once everything is replaced; at most 48 hours
	Alarms          []string      // CloudWatch alarms, at most 10: one in state ALARM rolls back

	// SkipMatching leaves instances alone that run the release already. A fleet that runs it as a whole is left alone in
	// any case.
	SkipMatching bool
	Standby      string // instances in Standby: ignore (also when empty), terminate or wait
	Protected    string // instances protected from scale-in: refresh (also when empty), ignore or wait

	Wait              bool   // queue behind another refresh instead of returning ErrBusy
	CancelOnInterrupt bool   // when the context ends, roll back what runs in AWS instead of leaving it
	By                string // who does it: user@host, or the URL of a CI run; may be empty

	// Observe gets what each look at the fleet showed; it may be nil.
	Observe func(Observation)
	// Explain says why instances never got into service, for an error message; several lines are fine. It may be nil.
	Explain func(ctx context.Context, instanceIDs []string) string
}

// Observation is what a look at the fleet and its refresh showed.
type Observation struct {
	At      time.Time `json:"at"`
	Fleet   Fleet     `json:"fleet"`
	Refresh Refresh   `json:"refresh"` // zero where none is watched
}

// Clients are the AWS services that a rollout talks to.
type Clients struct {
	Groups     groupAPI
	Refreshes  refreshAPI
	Templates  templateAPI
	Instances  instanceAPI
	Balancers  balancerAPI
	Parameters parameterAPI
	HTTP       *http.Client // asks the load balancer; nil for http.DefaultClient
}

// Roller rolls releases out.
type Roller struct {
	Clients
	options Options
	random  func() float64 // [0,1): takes looks of several rollouts apart

	mu    sync.Mutex
	names map[string]string // of launch template versions, "lt-1:2", the release; versions never change
}

// New returns a Roller.
func New(c Clients, o Options) *Roller {
	if c.HTTP == nil {
		c.HTTP = http.DefaultClient
	}
	return &Roller{Clients: c, options: o, random: rand.Float64, names: map[string]string{}}
}

// Result is a finished rollout.
type Result struct {
	URL             string
	Release         Release
	TemplateVersion int64
	Instances       int
	Replaced        bool // false where the fleet ran the release already
}

// step is a way from what a fleet runs to a release.
type step struct {
	fleet   Fleet // as it was before
	version int64 // of the launch template, that holds the release
	release Release
	back    bool    // to one that was live before
	active  Refresh // the refresh to this version that is under way already; zero without one
}

// Run rolls a release out and returns once the load balancer serves it from every target. When it fails, the release
// that served before goes on serving: the refresh is rolled back, and a group that had no release is emptied again.
// When ctx ends, the refresh goes on in AWS, and Run called again goes on with it; see Options.CancelOnInterrupt.
// Errors wrap ErrNoFleet, ErrBusy, ErrUnhealthy, ErrReverted or ErrExpired where one of them is the cause; all but the
// first line of their text is evidence.
func (r *Roller) Run(ctx context.Context, release Release) (Result, error) {
	fleet, err := r.Fleet(ctx)
	if err != nil {
		return Result{}, err
	}
	s := step{fleet: fleet, release: release}
	if s.version, _, err = r.findVersion(ctx, fleet.TemplateID, release); err != nil {
		return Result{}, err
	}
	if s.fleet, s.active, err = r.turn(ctx, s); err != nil {
		return Result{}, err // before anything was made
	}
	if s.version, err = r.version(ctx, fleet.TemplateID, release); err != nil {
		return Result{}, err
	}
	return r.roll(ctx, s)
}

// roll makes a fleet run a launch template version.
func (r *Roller) roll(ctx context.Context, s step) (result Result, err error) {
	result = Result{URL: s.fleet.URL, Release: s.release, TemplateVersion: s.version}
	switch {
	case s.active.ID == "" && s.fleet.Desired == 0:
		result.Replaced = true
		err = r.launch(ctx, s)
	case s.active.ID == "" && s.fleet.isOf(s.version, r.exempt):
		// Nothing is to be replaced. After a kill, what is there may still be starting.
		if err = r.settle(ctx, s); err == nil {
			progress.Note(ctx, "every instance of %s runs release %s", s.fleet.Group, s.release.Name)
		}
	default:
		result.Replaced = true
		err = r.refresh(ctx, s)
	}
	if err != nil {
		return result, err
	}
	if result.Instances, err = r.verify(ctx, s); err != nil {
		return result, r.revert(ctx, s, err)
	}
	if err := r.point(ctx, s); err != nil {
		return result, fmt.Errorf("release %q serves, but is not noted as the current one; run the same command again: %w", s.release.Name, err)
	}
	return result, nil
}

// revert brings back what served before a release that is healthy but is not what it should be, and returns the cause.
// What could not be looked at is left alone.
func (r *Roller) revert(ctx context.Context, s step, cause error) error {
	if ctx.Err() != nil || !errors.Is(cause, ErrUnhealthy) {
		return r.unverified(ctx, s, cause)
	}
	before, err := r.before(ctx, s)
	switch {
	case err != nil:
		return errors.Join(cause, err)
	case before.version == s.version:
		return cause // it was the current release already: nothing better is known
	case before.version == 0:
		return r.emptied(ctx, s, cause)
	}
	progress.Note(ctx, "going back to release %s: %s", before.release.Name, cause)
	if err := r.refresh(ctx, before); err != nil {
		return errors.Join(cause, fmt.Errorf("go back to launch template version %d: %w", before.version, err))
	}
	return fmt.Errorf("%w; %w", cause, ErrReverted)
}

// before is the way back: to what the fleet ran before this run, or where an earlier run has replaced it already, to the
// current release. Its version is 0 where there has been no release.
func (r *Roller) before(ctx context.Context, s step) (step, error) {
	fleet, err := r.again(ctx, s.fleet)
	if err != nil {
		return step{}, err
	}
	back := step{fleet: fleet, back: true}
	current, released, err := r.Current(ctx)
	if err != nil {
		return step{}, err
	}
	if released {
		back.release = current.release()
		back.version, err = r.versionOf(ctx, fleet.TemplateID, current)
		return back, err
	}
	if version, _ := strconv.ParseInt(s.fleet.TemplateVersion, 10, 64); s.fleet.Desired > 0 && version != s.version {
		back.version, back.release.Name = version, fmt.Sprintf("of launch template version %d", version)
	}
	return back, nil
}
