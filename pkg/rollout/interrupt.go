package rollout

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// takeBackLimit bounds what is still asked of AWS after the context has ended.
const takeBackLimit = 30 * time.Second

// interrupted says what is left behind when the watching ends before the refresh or the launch does; where the options
// want it, that is taken back first.
func (w *watch) interrupted(ctx context.Context, cause error) error {
	e := &InterruptedError{Err: cause, State: GoesOn, Resumable: true}
	begun := "the launch of release " + w.release.Name
	switch {
	case w.refresh.ID == "":
	case !w.refresh.forward():
		begun = fmt.Sprintf("the rollback of instance refresh %s to release %s", w.refresh.ID, w.release.Name)
		e.Resumable = false
	default:
		begun = fmt.Sprintf("instance refresh %s to release %s", w.refresh.ID, w.release.Name)
		e.Stoppable = !w.back
	}
	e.What = begun + " goes on in AWS"
	switch {
	case ctx.Err() != nil && w.options.CancelOnInterrupt && (w.refresh.ID == "" || w.refresh.forward()):
		return w.takeBack(ctx, e, begun)
	case expired(cause):
		e.Err = fmt.Errorf("%w (%v)", ErrExpired, cause)
	}
	return e
}

// takeBack undoes what was begun, after the context has ended. It does not wait for the end of that.
func (w *watch) takeBack(ctx context.Context, e *InterruptedError, begun string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackLimit)
	defer cancel()
	takenBack := func(state Remainder, how string) error {
		return &InterruptedError{Err: e.Err, State: state, What: begun + how}
	}
	if w.refresh.ID == "" {
		if err := w.scaleToZero(ctx, w.step); err != nil {
			return fmt.Errorf("%w: %w", e, err)
		}
		return takenBack(TakenBack, " was taken back: the group becomes empty again")
	}
	switch cancelled, err := w.rollBackOrCancel(ctx, w.stage, w.now.Group); {
	case errors.Is(err, errNoRefresh):
		return takenBack(Ended, " is over already")
	case err != nil:
		return fmt.Errorf("%w: %w", e, err)
	case cancelled:
		return takenBack(Ended, ", which AWS cannot roll back, was cancelled and may leave both releases in the fleet")
	}
	return takenBack(RollingBack, " is being rolled back in AWS")
}

// leaveUnverified says what is left behind when a release that is everywhere already could not be verified, since the
// context ended or AWS does not answer; where the options want it, the way back is begun first.
func (r *Roller) leaveUnverified(ctx context.Context, s step, cause error) error {
	if expired(cause) {
		cause = fmt.Errorf("%w (%v)", ErrExpired, cause)
	}
	if ctx.Err() == nil || !r.options.CancelOnInterrupt {
		return &InterruptedError{Err: cause, State: Unverified, What: fmt.Sprintf("every instance of %s runs release %s, which is not verified", s.fleet.Group, s.release.Name)}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackLimit)
	defer cancel()
	back, err := r.wayBack(ctx, s)
	switch {
	case err != nil:
		return errors.Join(cause, err)
	case back.version == s.version:
		return cause
	case back.version == NoVersion:
		return errors.Join(cause, r.scaleToZero(ctx, s))
	}
	refresh, err := r.startRefresh(ctx, back)
	if err != nil {
		return errors.Join(cause, err)
	}
	return &InterruptedError{Err: cause, State: RollingBack, What: refresh.String() + " takes it back"}
}
