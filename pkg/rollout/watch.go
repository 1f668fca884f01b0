package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	// stall is how long nothing may change before the scaling activities are asked whether instances can be launched at
	// all; and how long until they are asked again.
	stall = time.Minute

	// launchFailures is how many launches in a row may fail. Auto Scaling tries again by itself, since capacity may
	// return; a quota, a key or an image that cannot be used does not.
	launchFailures = 3

	// peeks is how many requests each look sends through the load balancer, to see what is wrong with a release before it
	// has replaced the old one everywhere; peekLimit bounds each of them.
	peeks     = 5
	peekLimit = 2 * time.Second

	// peekFailures is how many of them may fail, all in all, once new instances serve: a service that dies and is restarted
	// again and again is healthy whenever the load balancer checks it.
	peekFailures = 3

	// partingLimit bounds what is still asked of AWS after the context has ended.
	partingLimit = 30 * time.Second
)

// watch follows a fleet on its way to a launch template version.
type watch struct {
	*Roller
	step
	stage    *progress.Stage
	now      Fleet   // at the last look
	refresh  Refresh // at the last look; zero for a first launch
	begin    time.Time
	cohort   *cohort
	since    map[string]time.Time // when each instance was first seen; zero for those of the beginning
	changed  time.Time            // when the fleet last changed, or the activities were asked
	reached  time.Time            // when the refresh was first seen at its last checkpoint
	noisy    bool                 // requests failed before any new instance served, so that failures tell nothing
	refused  int                  // requests that failed since
	patience patience
	cause    error // why the release was given up; nil while it was not
	evidence evidence
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
	w.cohort = newCohort(s.version, warmup)
	w.cohort.look(s.fleet, w.begin)
	w.show(s.fleet, s.active)
	return w
}

// next waits until it is time and looks again.
func (w *watch) next(ctx context.Context) error {
	for {
		if err := sleep(ctx, w.gap(time.Since(w.begin))); err != nil {
			return err
		}
		err := w.look(ctx)
		if fatal := w.patience.bear(ctx, err); fatal != nil {
			return fatal
		}
		if err == nil {
			return nil
		}
		progress.Note(w.stage.Inside(ctx), "AWS does not answer (%d of at most %d times): %v", w.patience.failed, failLimit, err)
	}
}

// look asks once: for the refresh, the group, and the targets.
func (w *watch) look(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	refresh := w.refresh
	if refresh.ID != "" {
		if refresh, err = w.describeRefresh(ctx, w.now.Group, refresh.ID); err != nil {
			return err
		}
		refresh.Release, refresh.By = w.refresh.Release, w.refresh.By
		refresh.waits = w.waits(refresh)
	}
	now, err := w.again(ctx, w.now)
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
		text = refresh.line()
	}
	w.stage.Update("%s", text)
	if w.options.Observe != nil {
		w.options.Observe(Observation{At: at, Fleet: now, Refresh: refresh})
	}
}

// refreshed waits until the refresh ends. It asks for a rollback when the new instances do not live or serve something
// else.
func (w *watch) refreshed(ctx context.Context) error {
	for {
		if err := w.next(ctx); err != nil {
			return w.parting(ctx, err)
		}
		switch asgtypes.InstanceRefreshStatus(w.refresh.Status) {
		case asgtypes.InstanceRefreshStatusSuccessful:
			return nil
		case asgtypes.InstanceRefreshStatusRollbackSuccessful:
			return w.failure(ctx, fmt.Errorf("%w; %w by instance refresh %s", w.reason(), ErrReverted, w.refresh.ID))
		case asgtypes.InstanceRefreshStatusFailed, asgtypes.InstanceRefreshStatusRollbackFailed, asgtypes.InstanceRefreshStatusCancelled:
			return w.failure(ctx, fmt.Errorf("%w; instance refresh %s ended as %s, with both releases in the fleet: go back with: mage rollback", w.reason(), w.refresh.ID, w.refresh.Status))
		case asgtypes.InstanceRefreshStatusRollbackInProgress, asgtypes.InstanceRefreshStatusCancelling:
			w.evidence.gather(ctx, w)
		default:
			if w.cause != nil {
				continue
			}
			if w.cause = w.judge(ctx); w.cause != nil {
				if err := w.giveUp(ctx); err != nil {
					return w.failure(ctx, w.parting(ctx, err))
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
	return fmt.Errorf("%w: %s", ErrUnhealthy, w.refresh.why())
}

// launched waits until every instance that the group wants serves.
func (w *watch) launched(ctx context.Context) error {
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
		if w.cause = w.judge(ctx); w.cause == nil && time.Since(w.begin) >= launchLimit {
			w.cause = fmt.Errorf("%w within %s: %s", ErrUnhealthy, launchLimit, w.cohort)
		}
		if w.cause != nil {
			return w.failure(ctx, w.cause)
		}
		if err := w.next(ctx); err != nil {
			return w.parting(ctx, err)
		}
	}
}

// judge returns why a release cannot become a good one, nil as long as it can.
func (w *watch) judge(ctx context.Context) error {
	if failed := w.cohort.failed(); w.cohort.hopeless(w.now.Desired) {
		return fmt.Errorf("%w: %d new instances failed: instance %s %s", ErrUnhealthy, len(failed), failed[0], w.cohort.members[failed[0]].trouble)
	}
	if err := w.launches(ctx); err != nil {
		return err
	}
	return w.peek(ctx)
}

// launches looks, when nothing has changed for a while, whether instances can be launched at all.
func (w *watch) launches(ctx context.Context) error {
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

// peek asks the load balancer, while the old release still serves too, whether requests fail since new instances serve,
// and whether these answer as the release that they should. Where the names of the releases in the fleet are not all
// known, nothing can be told of that.
func (w *watch) peek(ctx context.Context) error {
	if w.refresh.ID == "" || len(w.now.Strays) > 0 {
		return nil
	}
	serves := w.cohort.serving() > 0
	known := w.knownReleases()
	for range peeks {
		s := probe.Get(ctx, w.HTTP, w.now.URL, peekLimit)
		switch {
		case ctx.Err() != nil:
			return nil
		case s.Failed() && !serves:
			w.noisy = true
		case s.Failed() && !w.noisy:
			if w.refused++; w.refused >= peekFailures {
				return fmt.Errorf("%w: requests to %s fail since new instances serve, the last of %d with %s", ErrUnhealthy, w.now.URL, w.refused, s)
			}
		case !s.Failed() && serves && known != nil && !known[s.Release]:
			return fmt.Errorf("%w: a new instance answers at %s as release %q instead of %q", ErrUnhealthy, w.now.URL, s.Release, w.release.Name)
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

// giveUp has the refresh rolled back; the watch goes on to the end of that.
func (w *watch) giveUp(ctx context.Context) error {
	progress.Note(w.stage.Inside(ctx), "rolling back: %v", w.cause)
	err := w.rollBack(ctx, w.now.Group)
	if errors.Is(err, errNoRefresh) {
		return nil // it has just ended, and the next look says how
	}
	if err != nil {
		return fmt.Errorf("%w; %w", w.cause, err)
	}
	w.evidence.gather(ctx, w)
	return nil
}

// rollBack asks for the rollback of the refresh that runs. The error is errNoRefresh where none does.
func (r *Roller) rollBack(ctx context.Context, group string) error {
	_, err := r.Refreshes.RollbackInstanceRefresh(ctx, &autoscaling.RollbackInstanceRefreshInput{AutoScalingGroupName: aws.String(group)})
	if _, ended := errors.AsType[*asgtypes.ActiveInstanceRefreshNotFoundFault](err); ended {
		return errNoRefresh
	}
	if err != nil {
		return fmt.Errorf("roll back instance refresh of %q: %w", group, err)
	}
	return nil
}

// parting says what goes on in AWS when the watching ends before the refresh or the launch does; where the options want
// it, it rolls back first.
func (w *watch) parting(ctx context.Context, err error) error {
	what := "the launch of release " + w.release.Name
	next := "the same command goes on watching it, mage status shows it"
	switch {
	case w.refresh.ID == "":
	case !w.refresh.forward():
		what = fmt.Sprintf("the rollback of instance refresh %s to release %s", w.refresh.ID, w.release.Name)
		next = "mage status shows it"
	default:
		what = fmt.Sprintf("instance refresh %s to release %s", w.refresh.ID, w.release.Name)
		if !w.back {
			next += ", mage rollback stops it"
		}
	}
	switch {
	case ctx.Err() != nil && w.options.CancelOnInterrupt && (w.refresh.ID == "" || w.refresh.forward()):
		return fmt.Errorf("%w; %s", err, w.takeBack(ctx, what))
	case expired(err):
		return fmt.Errorf("%w; %s goes on in AWS: sign in again; %s (%v)", ErrExpired, what, next, err)
	}
	return fmt.Errorf("%w; %s goes on in AWS: %s", err, what, next)
}

// takeBack undoes what was begun, after the context has ended, and says so. It does not wait for the end of that.
func (w *watch) takeBack(ctx context.Context, what string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), partingLimit)
	defer cancel()
	if w.refresh.ID == "" {
		if err := w.empty(ctx, w.step); err != nil {
			return fmt.Sprintf("%s goes on in AWS: %v", what, err)
		}
		return what + " was taken back: the group becomes empty again"
	}
	switch err := w.rollBack(ctx, w.now.Group); {
	case errors.Is(err, errNoRefresh):
		return what + " is over already: mage status shows how"
	case err != nil:
		return fmt.Sprintf("%s goes on in AWS: %v", what, err)
	}
	return what + " is being rolled back in AWS: mage status shows how far it is"
}

// unverified says what is left behind when a release that is everywhere already could not be verified, since the context
// ended or AWS does not answer.
func (r *Roller) unverified(ctx context.Context, s step, err error) error {
	if expired(err) {
		err = fmt.Errorf("%w (%v)", ErrExpired, err)
	}
	if ctx.Err() == nil || !r.options.CancelOnInterrupt {
		return fmt.Errorf("%w; every instance of %s runs release %s, which is not verified: the same command goes on, mage rollback goes back", err, s.fleet.Group, s.release.Name)
	}
	parting, cancel := context.WithTimeout(context.WithoutCancel(ctx), partingLimit)
	defer cancel()
	back, backErr := r.before(parting, s)
	switch {
	case backErr != nil:
		return errors.Join(err, backErr)
	case back.version == s.version:
		return err
	case back.version == 0:
		return errors.Join(err, r.empty(parting, s))
	}
	refresh, backErr := r.start(parting, back)
	if backErr != nil {
		return errors.Join(err, backErr)
	}
	return fmt.Errorf("%w; %s takes it back: mage status shows how far it is", err, refresh)
}
