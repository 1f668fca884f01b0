package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/ingot-build/ingot/internal/lag"
	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	// stall is how long nothing may change before the scaling activities are asked whether instances can be launched at
	// all; and how long until they are asked again.
	stall = time.Minute

	// launchFailures is how many launches in a row may fail. Auto Scaling tries again by itself, since capacity may
	// return; a quota, a key or an image that cannot be used does not.
	launchFailures = 3

	// probesPerLook is how many requests each look sends through the load balancer, to see what is wrong with a release
	// before it has replaced the old one everywhere; probeLimit bounds each of them.
	probesPerLook = 5
	probeLimit    = 2 * time.Second

	// maxFailedProbes is how many of them may fail, all in all, once new instances serve: a service that dies and is
	// restarted again and again is healthy whenever the load balancer checks it.
	maxFailedProbes = 3
)

// watch follows a fleet on its way to a launch template version.
type watch struct {
	*Roller
	step
	stage        *progress.Stage
	now          Fleet   // at the last look
	refresh      Refresh // at the last look; zero for a first launch
	begin        time.Time
	cohort       *cohort
	since        map[string]time.Time // when each instance was first seen; zero for those of the beginning
	changed      time.Time            // when the fleet last changed, or the activities were asked
	reached      time.Time            // when the refresh was first seen at its last checkpoint
	failedBefore bool                 // requests failed before any new instance served, so that failures tell nothing
	failedProbes int                  // requests that failed since
	faults       faults
	cause        error // why the release was given up; nil while it was not
	turned       bool  // AWS has taken the order to roll the refresh back
	evidence     evidence
}

func (r *Roller) watch(stage *progress.Stage, s step) *watch {
	w := &watch{Roller: r, step: s, stage: stage, now: s.fleet, refresh: s.active, begin: time.Now(), changed: time.Now(), since: map[string]time.Time{}}
	for _, i := range s.fleet.Instances {
		w.since[i.ID] = time.Time{}
	}
	var warmup time.Duration
	if s.active.ID != "" {
		warmup = seconds(s.active.preferences.InstanceWarmup)
	}
	w.cohort = newCohort(s.version, warmup, s.fleet.Balancer.HealthCheck.lateness())
	w.cohort.look(s.fleet, w.begin)
	w.show(s.fleet, s.active)
	return w
}

// waitAndLook waits until it is time and looks again.
func (w *watch) waitAndLook(ctx context.Context) error {
	for {
		if err := wait.For(ctx, w.gap(time.Since(w.begin))); err != nil {
			return err
		}
		err := w.look(ctx)
		if fatal := w.faults.tolerate(ctx, err); fatal != nil {
			return fatal
		}
		if err == nil {
			return nil
		}
		progress.Note(w.stage.Inside(ctx), "AWS does not answer (%d of at most %d times): %v", w.faults.inARow, failLimit, err)
	}
}

// look asks once: for the refresh, the group, and the targets.
func (w *watch) look(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	refresh := w.refresh
	if refresh.ID != "" {
		// It may just have been started.
		refresh, err = lag.Read(ctx, func(ctx context.Context) (Refresh, error) {
			return w.describeRefresh(ctx, w.now.Group, w.refresh.ID)
		}, func(_ Refresh, err error) bool { return errors.Is(err, errNoRefresh) })
		if err != nil {
			return err
		}
		if refresh.TemplateVersion == NoVersion {
			refresh.TemplateVersion = w.refresh.TemplateVersion
		}
		refresh.Release, refresh.By = w.refresh.Release, w.refresh.By
		refresh.waits = w.waits(refresh)
	}
	now, err := w.reloadFleet(ctx, w.now)
	if err != nil {
		return err
	}
	judged := refresh.ID == "" || refresh.forward() // what a rollback takes out has not failed
	if judged {
		w.cohort.look(now, time.Now())
	}
	w.show(now, refresh)
	w.now, w.refresh = now, refresh
	if judged {
		w.evidence.keepConsole(ctx, w)
	}
	return nil
}

// waits returns the checkpoint at which a refresh waits, 0 where it does not.
func (w *watch) waits(now Refresh) int {
	c := now.checkpoint()
	if c != w.refresh.checkpoint() {
		w.reached = time.Now()
	}
	if now.Status != string(asgtypes.InstanceRefreshStatusInProgress) || time.Since(w.reached) >= seconds(now.preferences.CheckpointDelay) {
		return 0
	}
	return c
}

// show brings a look to people and to Options.Observe.
func (w *watch) show(now Fleet, refresh Refresh) {
	at := time.Now()
	for i := range now.Instances {
		one := &now.Instances[i]
		if _, known := w.since[one.ID]; !known {
			w.since[one.ID] = at
		}
		one.Since = w.since[one.ID]
	}
	lines := changes(w.now, now)
	if len(lines) > 0 {
		w.changed = at
	}
	for _, line := range lines {
		w.stage.Change("%s", line)
	}
	version := w.cohort.version
	w.stage.Live(func(columns, rows int) []string { return view(now, refresh, version, columns, rows, time.Now()) })
	text := w.cohort.String()
	if refresh.ID != "" {
		text = refresh.Progress()
	}
	w.stage.Update("%s", text)
	if w.options.Observe != nil {
		w.options.Observe(Observation{At: at, Fleet: now, Refresh: refresh})
	}
}

// awaitRefreshEnd waits until the refresh ends. It asks for a rollback when the new instances do not live or serve
// something else.
func (w *watch) awaitRefreshEnd(ctx context.Context) error {
	for {
		if err := w.waitAndLook(ctx); err != nil {
			return w.interrupted(ctx, err)
		}
		switch asgtypes.InstanceRefreshStatus(w.refresh.Status) {
		case asgtypes.InstanceRefreshStatusSuccessful:
			return nil
		case asgtypes.InstanceRefreshStatusRollbackSuccessful:
			return w.withEvidence(ctx, fmt.Errorf("%w; %w by instance refresh %s", w.reason(), ErrReverted, w.refresh.ID))
		case asgtypes.InstanceRefreshStatusFailed, asgtypes.InstanceRefreshStatusRollbackFailed, asgtypes.InstanceRefreshStatusCancelled:
			return w.withEvidence(ctx, fmt.Errorf("%w; instance refresh %s ended as %s, with %w", w.reason(), w.refresh.ID, w.refresh.Status, ErrMixed))
		case asgtypes.InstanceRefreshStatusRollbackInProgress, asgtypes.InstanceRefreshStatusCancelling:
			w.evidence.gather(ctx, w)
		default:
			if w.cause == nil {
				if w.cause = w.judge(ctx); w.cause != nil {
					progress.Note(w.stage.Inside(ctx), "rolling back: %v", w.cause)
				}
			}
			if w.cause != nil && !w.turned {
				if err := w.giveUp(ctx); err != nil {
					return w.withEvidence(ctx, w.interrupted(ctx, err))
				}
			}
		}
	}
}

// reason is why the refresh did not succeed.
func (w *watch) reason() error {
	if w.cause != nil {
		return w.cause
	}
	return fmt.Errorf("%w: %s", ErrUnhealthy, w.refresh.endReason())
}

// awaitServing waits until every instance that the group wants serves.
func (w *watch) awaitServing(ctx context.Context) error {
	for {
		spared := 0
		for _, i := range w.now.Instances {
			if w.exempt(i) {
				spared++
			}
		}
		if w.now.Desired > 0 && w.cohort.serving() >= w.now.Desired-spared {
			return nil
		}
		limit := w.now.Balancer.HealthCheck.launchLimit()
		if w.cause = w.judge(ctx); w.cause == nil && time.Since(w.begin) >= limit {
			w.cause = fmt.Errorf("%w within %s: %s", ErrUnhealthy, limit, w.cohort)
		}
		if w.cause != nil {
			return w.withEvidence(ctx, w.cause)
		}
		if err := w.waitAndLook(ctx); err != nil {
			return w.interrupted(ctx, err)
		}
	}
}

// judge returns why a release cannot become a good one, nil as long as it can.
func (w *watch) judge(ctx context.Context) error {
	if failed := w.cohort.failed(); w.cohort.hopeless(w.now.Desired) {
		return fmt.Errorf("%w: %d new instances failed: instance %s %s", ErrUnhealthy, len(failed), failed[0], w.cohort.members[failed[0]].trouble)
	}
	if err := w.launchProblem(ctx); err != nil {
		return err
	}
	return w.probe(ctx)
}

// launchProblem looks, when nothing has changed for a while, whether instances can be launched at all.
func (w *watch) launchProblem(ctx context.Context) error {
	waits := w.refresh.Status == string(asgtypes.InstanceRefreshStatusBaking) || w.refresh.waits > 0
	if waits || time.Since(w.changed) < stall {
		return nil
	}
	w.changed = time.Now()
	activities, err := w.activities(ctx)
	if err != nil {
		return nil //nolint:nilerr // it says why nothing happens, and the next look comes anyway
	}
	failed := failedLaunches(activities)
	if len(failed) < launchFailures {
		return nil
	}
	return fmt.Errorf("%w: instances cannot be launched: %s", ErrUnhealthy, aws.ToString(failed[0].StatusMessage))
}

// probe asks the load balancer, while the old release still serves too, whether requests fail since new instances serve,
// and whether these answer as the release that they should. Where the names of the releases in the fleet are not all
// known, nothing can be told of that; and nothing of any of it where the load balancer cannot be reached from here.
func (w *watch) probe(ctx context.Context) error {
	if w.refresh.ID == "" || len(w.now.Strays) > 0 || !w.door.reached {
		return nil
	}
	at := w.door.target.URL
	serves := w.cohort.serving() > 0
	known := w.knownReleases()
	for range probesPerLook {
		s := w.door.ask(ctx, probeLimit)
		switch {
		case ctx.Err() != nil || s.Unreachable:
			return nil
		case s.Failed() && !serves:
			w.failedBefore = true
		case s.Failed() && !w.failedBefore:
			if w.failedProbes++; w.failedProbes >= maxFailedProbes {
				return fmt.Errorf("%w: requests to %s fail since new instances serve, the last of %d with %s", ErrUnhealthy, at, w.failedProbes, s)
			}
		case !s.Failed() && serves && known != nil && !known[s.Release]:
			return fmt.Errorf("%w: a new instance answers at %s as release %q instead of %q", ErrUnhealthy, at, s.Release, w.release.Name)
		}
	}
	return nil
}

// knownReleases are those that the load balancer may answer with at the moment; nil where some are not known.
func (w *watch) knownReleases() map[string]bool {
	known := map[string]bool{w.release.Name: true, "": true}
	for _, i := range w.now.Instances {
		if i.TemplateVersion != w.cohort.version {
			if i.Release == "" {
				return nil
			}
			known[i.Release] = true
		}
	}
	return known
}

// giveUp has the refresh rolled back, or cancelled where AWS cannot do that; the watch goes on to the end of it.
func (w *watch) giveUp(ctx context.Context) error {
	cancelled, err := w.rollBackOrCancel(ctx, w.stage, w.now.Group)
	if errors.Is(err, errNoRefresh) {
		return nil // it has just ended, and the next look says how; or it is not known yet, and the next look asks again
	}
	if err != nil {
		return fmt.Errorf("%w; %w", w.cause, err)
	}
	w.turned = true
	if cancelled {
		w.cause = fmt.Errorf("%w; AWS cannot roll back a refresh of this kind, so it was cancelled", w.cause)
	}
	w.evidence.gather(ctx, w)
	return nil
}
