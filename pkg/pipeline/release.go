package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ingot-build/ingot/internal/lag"
	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/report"
	"github.com/ingot-build/ingot/pkg/rollout"
	"github.com/ingot-build/ingot/pkg/tag"
)

// probeRate is how often a rollout asks the load balancer, in requests a second: enough to see a gap of a fifth of a
// second, and nothing to a service that needs a fleet.
const probeRate = 5

// Step is a step of a release.
type Step struct {
	Name string // what progress and report call it
	Does string // one sentence for people
}

// The steps of a release. The pointer to the current release moves once the release is seen to serve, and before the
// deployment: it has to name what serves, since a rollback, an instance that Auto Scaling replaces and infrastructure
// that is made again all go by it. The deployment moves nothing and replaces nothing; it is CodeDeploy's record of a
// check that each instance has passed when it was launched. Where it fails, the release serves all the same.
//
// The first release is another matter. Until a deployment has succeeded CodeDeploy has nothing to check new instances with,
// and what it does with those that wait for it is not documented: so they come without the gate, and the first deployment
// is the check. It is made when the release serves, before the pointer moves; where it fails, the release is taken back
// and nothing names it. The last step then finds it made.
var (
	findFleet        = Step{"find the fleet", "the Auto Scaling group, its load balancer and the release that is live; says what is missing before anything is baked"}
	prepareGate      = Step{"prepare the gate", "puts the revision in place that checks each new instance, and sees to it that instances wait for that; without CodeDeploy there is no such step"}
	bakeImages       = Step{"bake the images", "finds the base and the application AMI that these inputs made, or has Packer make them"}
	rollOut          = Step{"roll out", "makes the launch template version, replaces the instances, sees the release through the load balancer, and moves the pointer; the first release has to pass the gate before that, as no earlier one could hold its instances back"}
	recordDeployment = Step{"record the deployment", "CodeDeploy checks the whole fleet once more and keeps that as the release's deployment"}
)

// ReleaseSteps are the steps of a release, in their order. A rollback has the same ones, without the images.
func ReleaseSteps() []Step {
	return []Step{findFleet, prepareGate, bakeImages, rollOut, recordDeployment}
}

// ErrNotReleasable is returned for an image that is no finished application image of this application.
var ErrNotReleasable = errors.New("no finished application image")

// DeploymentError is a release that serves, and is the current one, but whose deployment CodeDeploy did not end well. To
// release the same again makes a new deployment and replaces nothing.
type DeploymentError struct {
	Release string
	Err     error // a *codedeploy.FailedError, as a rule
}

// Error says that the release serves, and why its deployment failed.
func (e *DeploymentError) Error() string {
	return fmt.Sprintf("release %q serves and is the current one, but its deployment is not recorded: %v", e.Release, e.Err)
}

// Unwrap returns the cause.
func (e *DeploymentError) Unwrap() error { return e.Err }

// ReleaseOptions say what is released, and what of this one time.
type ReleaseOptions struct {
	Image             string // ID of a finished application AMI; empty to bake one
	Wait              bool   // queue behind another rollout instead of returning rollout.ErrBusy
	CancelOnInterrupt bool   // go back when ctx ends, instead of leaving the instance refresh to AWS
}

// Result is what came of a release or a rollback.
type Result struct {
	rollout.Result
	// Report is what was seen of it, also of one that failed; nil where nothing happened that could be reported.
	Report *report.Report `json:"-"`
	// Page is the file of the report's HTML page; empty without a report.
	Page string `json:"page,omitempty"`
}

// Release rolls an image out, the one of the options or one that it bakes. Errors are those of rollout.Roller.Run and of
// bake.Baker.Bake, wrap codedeploy.ErrNotSetUp or ErrNotReleasable, or are a *MismatchError, a *NoAgentError, a *GateError or
// a *DeploymentError: all but the last mean that the release is not the current one.
func (p *Pipeline) Release(ctx context.Context, o ReleaseOptions) (Result, error) {
	r := p.newRelease(o)
	r.act = func(ctx context.Context, roller *rollout.Roller) (rollout.Result, error) {
		return roller.Run(ctx, r.release)
	}
	return r.do(ctx, []action{
		{findFleet, r.findFittingFleet}, {prepareGate, r.prepareGate}, {bakeImages, r.findImage}, {rollOut, r.rollOut}, {recordDeployment, r.recordDeployment},
	})
}

// Rollback rolls a release of the history out again; an empty name is the one before the current one. Errors are those of
// Release and of rollout.Roller.Rollback.
func (p *Pipeline) Rollback(ctx context.Context, name string) (Result, error) {
	r := p.newRelease(ReleaseOptions{})
	r.release.Name = name
	r.act = func(ctx context.Context, roller *rollout.Roller) (rollout.Result, error) {
		return roller.Rollback(ctx, name)
	}
	return r.do(ctx, []action{
		{findFleet, r.findFleet}, {prepareGate, r.prepareGate}, {rollOut, r.rollOut}, {recordDeployment, r.recordDeployment},
	})
}

// action is a step and what it takes.
type action struct {
	Step
	run func(context.Context) error
}

// release is the way of a fleet from one release to another, watched and reported.
type release struct {
	*Pipeline
	options ReleaseOptions
	begin   time.Time
	act     func(context.Context, *rollout.Roller) (rollout.Result, error)

	fleet    rollout.Fleet
	before   rollout.Pointer     // zero before the first release
	revision codedeploy.Revision // what the gate deploys
	guarded  bool                // the gate holds new instances
	release  rollout.Release     // the one to come, as far as it is known
	recorder *report.Recorder    // nil until the rollout begins
	result   rollout.Result
}

func (p *Pipeline) newRelease(o ReleaseOptions) *release {
	return &release{Pipeline: p, options: o, begin: time.Now()}
}

// do takes the steps, and writes a report of a rollout that began.
func (r *release) do(ctx context.Context, actions []action) (Result, error) {
	ctx, phases := progress.Record(ctx)
	var err error
	for _, a := range actions {
		if a.Step == prepareGate && r.gate == nil || a.Step == recordDeployment && r.gate == nil {
			continue
		}
		if err = r.take(ctx, a); err != nil {
			break
		}
	}
	result := Result{Result: r.result}
	if r.recorder == nil || err == nil && !r.result.Replaced {
		return result, err // nothing happened that could be reported
	}
	ended, page, reportErr := r.report(ctx, phases(), err)
	if reportErr == nil {
		result.Report, result.Page = &ended, page
	}
	return result, errors.Join(err, reportErr)
}

// take takes one step.
func (r *release) take(ctx context.Context, a action) (err error) {
	stage := progress.Start(ctx, "%s", a.Name)
	defer stage.End(&err)
	return a.run(stage.Inside(ctx))
}

// findFleet finds what there is to change, so that what is missing is said before the minutes of a bake.
func (r *release) findFleet(ctx context.Context) (err error) {
	looking := r.roller(r.settings.Rollout)
	if r.fleet, err = looking.Fleet(ctx); err != nil {
		return err
	}
	r.before, _, err = looking.Current(ctx)
	return err
}

// findFittingFleet finds the fleet for a release of the service as it is now. The way back is open whatever the service has
// become since.
func (r *release) findFittingFleet(ctx context.Context) error {
	if err := r.findFleet(ctx); err != nil {
		return err
	}
	if m := r.mismatch(r.fleet); m != nil {
		return m
	}
	return nil
}

func (r *release) prepareGate(ctx context.Context) (err error) {
	if r.revision, err = r.gate.Ensure(ctx); err != nil {
		return err
	}
	if r.guarded, err = r.gate.Guard(ctx, r.fleet.Group); err == nil && !r.guarded {
		progress.Note(ctx, "no release has passed the gate yet: the first one does so when it serves, before it becomes the current one")
	}
	return err
}

func (r *release) findImage(ctx context.Context) error {
	image, err := r.image(ctx)
	if err != nil {
		return err
	}
	r.release = rollout.Release{Name: image.Tags[tag.Release], AMIID: image.ID, Commit: image.Tags[tag.Commit]}
	return nil
}

// image is the image of the options, if it is one to release, or the one that the inputs make.
func (r *release) image(ctx context.Context) (ami.Image, error) {
	if r.options.Image == "" {
		return r.BakeApp(ctx)
	}
	// It may just have been baked, here or elsewhere.
	image, err := lag.Read(ctx, func(ctx context.Context) (ami.Image, error) { return r.images.Get(ctx, r.options.Image) }, unknownImage)
	switch {
	case err != nil:
		return ami.Image{}, err
	case image.Tags[tag.App] != r.settings.App || image.Stage() != provision.App || !image.Finished():
		return ami.Image{}, fmt.Errorf("image %s: %w of %q", r.options.Image, ErrNotReleasable, r.settings.App)
	case r.agent() != tag.NoAgent:
		err = agentProblem(image, image.Tags[tag.Release])
	}
	return image, err
}

// newImage is how long an image counts as one whose tags may not be there yet.
const newImage = 5 * time.Minute

// unknownImage tells whether an image is not found, or is new and has no tags.
func unknownImage(i ami.Image, err error) bool {
	return errors.Is(err, ami.ErrNotFound) || err == nil && !i.Finished() && time.Since(i.Created) < newImage
}

// rollOut changes the fleet, and asks the load balancer all the while.
func (r *release) rollOut(ctx context.Context) (err error) {
	r.recorder = report.New(r.release.Name, r.before.Release, r.begin)
	o := r.settings.Rollout
	o.Wait, o.CancelOnInterrupt, o.Observe = r.options.Wait, r.options.CancelOnInterrupt, r.recorder.Observe
	if r.gate != nil {
		o.Explain, o.Check = r.gate.Explain, r.checkAgent
		if !r.guarded {
			o.Confirm = r.passFirst
			if o.Warmup == nil || *o.Warmup < rollout.MinUngatedWarmup {
				o.Warmup = new(rollout.MinUngatedWarmup)
			}
		}
	}
	stop := r.probe(ctx)
	defer stop()
	r.result, err = r.act(ctx, r.roller(o))
	r.release = cmp.Or(r.result.Release, r.release)
	return err
}

// probe asks the load balancer until the returned function is called, where a release serves already. Nothing is recorded
// where it has never been reached from here: that is no failure that a user sees.
func (r *release) probe(ctx context.Context) (stop func()) {
	if r.fleet.Desired == 0 || r.fleet.URL == "" { // nothing serves, or nowhere
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	o := r.roller(r.settings.Rollout).ProbeOptions(r.fleet)
	o.Rate = probeRate
	asking.Go(func() { probe.Stream(ctx, o, onceReached(r.recorder.Sample)) })
	return func() {
		cancel()
		asking.Wait()
	}
}

// onceReached passes samples on from the first one that reached what is probed.
func onceReached(each func(probe.Sample)) func(probe.Sample) {
	reached := false
	return func(s probe.Sample) {
		if reached = reached || !s.Unreachable; reached {
			each(s)
		}
	}
}

func (r *release) recordDeployment(ctx context.Context) error {
	if _, err := r.gate.Deploy(ctx, r.revision, description(r.release.Name)); err != nil {
		return &DeploymentError{Release: r.release.Name, Err: err}
	}
	return nil
}

// report writes what was seen into the folder of the reports.
func (r *release) report(ctx context.Context, phases []progress.Phase, cause error) (ended report.Report, page string, err error) {
	_, serves := errors.AsType[*DeploymentError](cause)
	ended = r.recorder.Finish(report.Outcome{
		App: r.settings.App, Image: r.release.AMIID, Commit: r.release.Commit, By: r.settings.Rollout.By, URL: r.fleet.URL,
		Changes: r.commitsBetween(context.WithoutCancel(ctx), r.before.Commit, r.release.Commit), Phases: phases,
		Err: cause, Interrupted: cause != nil && ctx.Err() != nil, Serves: serves, Unseen: r.result.Unseen,
	})
	ended.Release = r.release.Name
	if _, page, err = ended.Write(r.settings.Reports); err != nil {
		return report.Report{}, "", err
	}
	progress.Note(ctx, "report: %s", page)
	return ended, page, nil
}
