package autoscaling

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// refreshPatience is how long a refresh may go without progress before it fails. AWS waits an hour.
const refreshPatience = time.Hour

// turnover is what a running refresh wants of a pass: how far the group may shrink and grow, and how many instances are
// to be of the current generation.
type turnover struct {
	lower  int // healthy instances there must be
	upper  int // instances there may be
	target int // new instances wanted, up to the next checkpoint
	// old instances are to be replaced now; held ones are protected or in standby, and kept.
	old, held []*instance
}

// fresh reports whether the instance is new in the eyes of the refresh.
func (p *pass) fresh(i *instance) bool { return i.active() && i.Generation == p.Generation }

// replaced reports whether a new instance counts: in service, healthy at the load balancer, and warmed up.
func (p *pass) replaced(r *refresh, i *instance) bool {
	warmup := time.Duration(*r.Preferences.InstanceWarmup) * time.Second
	return p.fresh(i) && p.serving(i) && !p.now.Before(i.InService.Add(warmup))
}

// bounds turns the healthy percentages into numbers of instances.
//
// Where rounding leaves no room to replace anything, an explicit maximum makes room above (launch first), an omitted one
// below (terminate and launch at once).
func bounds(desired int, prefs *preferences) (lower, upper int) {
	lower = (desired**prefs.MinHealthyPercentage + 99) / 100
	upper = desired
	if prefs.MaxHealthyPercentage != nil {
		upper = desired * *prefs.MaxHealthyPercentage / 100
	}
	if lower >= upper {
		if prefs.MaxHealthyPercentage != nil {
			upper = lower + 1
		} else {
			lower = max(0, upper-1)
		}
	}
	return lower, upper
}

// refresh moves the group's refresh on. It returns nil unless instances are being replaced.
func (p *pass) refresh() *turnover {
	r := p.activeRefresh()
	if r == nil || p.suspended("InstanceRefresh") {
		return nil
	}
	before := *r
	defer func() {
		p.dirty = p.dirty || r.Status != before.Status || r.Reason != before.Reason || r.Percent != before.Percent ||
			r.ToUpdate != before.ToUpdate || r.Checkpoint != before.Checkpoint || r.CheckpointAt != before.CheckpointAt ||
			r.ProgressAt != before.ProgressAt
	}()
	if r.Status == statusPending {
		r.Status, r.ProgressAt = statusInProgress, p.now
	}
	if alarm := p.alarm(r); alarm != "" {
		p.failRefresh(r, fmt.Sprintf("CloudWatch alarm %s went into the ALARM state.", alarm))
	}
	switch r.Status {
	case statusCancelling:
		if r.Hasty || p.still() {
			r.end(p.now, statusCancelled, r.Reason)
		}
		return nil
	case statusBaking:
		r.ProgressAt = p.now
		if !p.now.Before(r.BakeUntil) {
			p.succeed(r)
		}
		return nil
	case statusInProgress, statusRollbackInProgress:
		return p.replace(r)
	}
	return nil
}

// alarm returns the name of an alarm that stops the refresh.
func (p *pass) alarm(r *refresh) string {
	if r.Status == statusInProgress || r.Status == statusBaking {
		for _, name := range r.Preferences.alarms() {
			if p.seen.alarms[name] == "ALARM" {
				return name
			}
		}
	}
	return ""
}

// still reports whether no instance is between two states.
func (p *pass) still() bool {
	return p.count(func(i *instance) bool { return i.State != inService && i.State != standby }) == 0
}

// replace looks how far the refresh is and says what is next.
func (p *pass) replace(r *refresh) *turnover {
	t := p.turnover(r)
	done := p.count(func(i *instance) bool { return p.replaced(r, i) })
	p.measure(r, done)
	if r.Status == statusInProgress {
		waits := p.atCheckpoint(r, done)
		if t.target = min(t.target, p.portion(r, r.Checkpoint)); waits {
			return t
		}
	}
	blocked := p.blocked(r, t)
	if len(t.old) == 0 && blocked == "" && done >= p.Desired-len(t.held) && p.settled(r) {
		p.finish(r)
		return nil
	}
	r.Reason = cmp.Or(p.waitingFor(r, t), blocked, r.Reason)
	progress := 2*done - len(t.old)
	if r.Best == nil || progress > *r.Best {
		r.Best, r.ProgressAt = &progress, p.now
	}
	if p.now.Sub(r.ProgressAt) >= refreshPatience {
		p.failRefresh(r, "The instance refresh made no progress in the last hour. "+blocked)
		return nil
	}
	return t
}

// turnover sorts the instances that are not new.
func (p *pass) turnover(r *refresh) *turnover {
	t := &turnover{}
	t.lower, t.upper = bounds(p.Desired, &r.Preferences)
	for _, i := range p.Instances {
		switch {
		case i.Generation == p.Generation || i.ending():
		case i.State == standby || i.State == enteringStandby:
			if r.Preferences.StandbyInstances == "Terminate" {
				t.old = append(t.old, i)
			}
		case i.Protected && r.Preferences.ScaleInProtectedInstances != "Refresh":
			t.held = append(t.held, i)
		default:
			t.old = append(t.old, i)
		}
	}
	t.target = max(0, p.Desired-len(t.held))
	return t
}

// blocked says which instances the refresh may not touch and waits for.
func (p *pass) blocked(r *refresh, t *turnover) string {
	if len(t.held) > 0 && r.Preferences.ScaleInProtectedInstances == "Wait" {
		return fmt.Sprintf("Waiting for scale-in protection to be removed before continuing. For example: %s is protected from scale in.",
			t.held[0].ID)
	}
	if r.Preferences.StandbyInstances == "Wait" {
		for _, i := range p.Instances {
			if i.State == standby && i.Generation != p.Generation {
				return fmt.Sprintf("Waiting for instances in Standby to return to service before continuing. For example: %s is in Standby.", i.ID)
			}
		}
	}
	return ""
}

// measure brings the numbers that callers see up to date. Rolling back, the percentage counts down.
func (p *pass) measure(r *refresh, done int) {
	if r.Status == statusInProgress {
		r.ToUpdate = max(0, p.Desired-p.count(p.fresh))
		if r.Percent = 100; p.Desired > 0 {
			r.Percent = min(100, done*100/p.Desired)
		}
		return
	}
	left := p.count(func(i *instance) bool { return i.active() && i.Generation == r.Generation })
	percent := 0
	if p.Desired > 0 {
		percent = left * 100 / p.Desired
	}
	r.Percent = min(r.Percent, percent)
}

// portion is how many instances may be new before a checkpoint.
func (p *pass) portion(r *refresh, checkpoint int) int {
	checkpoints := r.Preferences.CheckpointPercentages
	if checkpoint >= len(checkpoints) {
		return p.Desired
	}
	return (p.Desired*checkpoints[checkpoint] + 99) / 100
}

// atCheckpoint reports whether the refresh waits at a checkpoint. There is no wait after the last one, and none at one that is passed
// together with the next.
func (p *pass) atCheckpoint(r *refresh, done int) bool {
	for r.Checkpoint+2 < len(r.Preferences.CheckpointPercentages) && done >= p.portion(r, r.Checkpoint+1) {
		r.Checkpoint++
	}
	if r.Checkpoint+1 >= len(r.Preferences.CheckpointPercentages) || done < p.portion(r, r.Checkpoint) {
		return false
	}
	if r.CheckpointAt.IsZero() {
		r.CheckpointAt = p.now
	}
	delay := time.Duration(*r.Preferences.CheckpointDelay) * time.Second
	r.ProgressAt = p.now
	if p.now.Before(r.CheckpointAt.Add(delay)) {
		r.Reason = fmt.Sprintf("Waiting for the checkpoint delay of %d seconds at %d percent before continuing.",
			*r.Preferences.CheckpointDelay, r.Preferences.CheckpointPercentages[r.Checkpoint])
		return true
	}
	r.Checkpoint++
	r.CheckpointAt = time.Time{}
	return false
}

// settled reports whether the last replaced instance is gone and the group has its size.
func (p *pass) settled(r *refresh) bool {
	return p.count((*instance).active) <= p.Desired &&
		p.count(func(i *instance) bool { return i.ending() && i.Generation < p.Generation }) == 0
}

// waitingFor explains, with an example, what the refresh waits for.
func (p *pass) waitingFor(r *refresh, t *turnover) string {
	for _, i := range p.Instances {
		if p.fresh(i) && p.serving(i) && !p.replaced(r, i) {
			return fmt.Sprintf("Waiting for instances to warm up before continuing. For example: %s is warming up.", i.ID)
		}
	}
	for _, i := range p.Instances {
		if p.fresh(i) && i.ID != "" && !p.serving(i) {
			return fmt.Sprintf("Waiting for remaining instances to be available. For example: %s is not available.", i.ID)
		}
	}
	for _, i := range p.Instances {
		if i.ending() && i.ID != "" {
			return fmt.Sprintf("Waiting for instances to terminate before continuing. For example: %s is terminating.", i.ID)
		}
	}
	return ""
}

// finish ends a refresh or a rollback that has replaced everything.
func (p *pass) finish(r *refresh) {
	r.ToUpdate = 0
	switch {
	case r.Status == statusRollbackInProgress:
		r.Percent = 0
		r.end(p.now, statusRollbackSuccessful, r.Rollback.Reason)
	case r.Preferences.BakeTime != nil && *r.Preferences.BakeTime > 0:
		r.Percent = 100
		r.Status, r.BakeUntil = statusBaking, p.now.Add(time.Duration(*r.Preferences.BakeTime)*time.Second)
		r.Reason = fmt.Sprintf("Waiting for the bake time of %d seconds.", *r.Preferences.BakeTime)
	default:
		r.Percent = 100
		p.succeed(r)
	}
}

// succeed ends a refresh well: only now does the group take over the desired configuration.
func (p *pass) succeed(r *refresh) {
	if r.Desired != nil {
		p.Template = *r.Desired
	}
	r.end(p.now, statusSuccessful, "")
}

// failRefresh ends a refresh badly, or turns it around where it is to roll back by itself.
func (p *pass) failRefresh(r *refresh, reason string) {
	switch {
	case r.Status == statusRollbackInProgress:
		r.end(p.now, statusRollbackFailed, reason)
	case *r.Preferences.AutoRollback:
		p.rollBack(r, p.now, reason)
	default:
		r.end(p.now, statusFailed, reason)
	}
}

// turnOver terminates old instances, as many as the bounds allow: first those that serve nobody anyway.
func (p *pass) turnOver(t *turnover) {
	serving := p.count(func(i *instance) bool {
		r := p.activeRefresh()
		return p.replaced(r, i) || !p.fresh(i) && p.serving(i)
	})
	size := p.size()
	allowed := len(t.old) - p.kept(t)
	old := slices.SortedStableFunc(slices.Values(t.old), func(a, b *instance) int {
		return cmp.Or(rank(p.serving(a), p.serving(b)), a.Launched.Compare(b.Launched))
	})
	for _, i := range old {
		if allowed <= 0 {
			return
		}
		switch {
		case i.State == standby || i.State == enteringStandby:
		case p.serving(i):
			if serving <= t.lower {
				return
			}
			serving--
			size--
		default:
			if size <= t.lower {
				continue
			}
			size--
		}
		allowed--
		p.retire(i, at(p.now, "an instance was taken out of service in response to an instance refresh."),
			at(p.now, "instance %s was selected for termination.", i.ID))
	}
}

// kept is how many old instances stay: at a checkpoint as many as new ones are not wanted yet.
func (p *pass) kept(t *turnover) int { return max(0, p.Desired-len(t.held)-t.target) }

// ahead is how many instances the group may have beyond its size: those that take the place of old ones which are still to go. So it
// scales in as at any other time where there is nothing to replace, or nothing before the next checkpoint.
func (p *pass) ahead(t *turnover) int {
	old := 0
	for _, i := range t.old {
		if i.active() {
			old++
		}
	}
	return max(0, min(t.upper-p.Desired, old-p.kept(t)))
}

// rank orders what is not so before what is.
func rank(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// launches is how many instances the refresh wants beyond those that there are.
func (t *turnover) launches(size, fresh int) int { return min(t.upper-size, t.target-fresh) }
