package rollout

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	// verifyGap is the time between two looks while something is not as it should be.
	verifyGap = 2 * time.Second

	// Each instance is asked verifyRounds times on average, since the load balancer chooses which one answers, and never
	// fewer than verifyLeast requests are sent. More than verifyMost tell nothing new of a fleet whose instances EC2 Auto
	// Scaling already says to be of the right version.
	verifyRounds = 5
	verifyLeast  = 10
	verifyMost   = 1000

	// verifyAtOnce is how many requests are under way at once: no load, and a thousand of them take seconds.
	verifyAtOnce = 4
)

// errOutOfReach: the load balancer was reached before the rollout, and is not any more. That is no fault of the release,
// and proves nothing of it.
var errOutOfReach = errors.New("the load balancer can no longer be reached from here")

// verify returns, with the number of instances, once every target is of the release's launch template version and the
// load balancer has answered with the release many times in a row. A service that does not say its release is verified by
// its targets alone, and so is one whose load balancer has never been reached from here: unseen then says why.
func (r *Roller) verify(ctx context.Context, s step) (instances int, unseen string, err error) {
	where := "through the load balancer"
	seen := "at " + s.fleet.URL
	if s.fleet.URL == "" {
		where, seen = "on every instance", "on every instance"
	}
	stage := progress.Start(ctx, "see release %s %s", s.release.Name, where)
	defer stage.End(&err)
	limit := s.fleet.Balancer.HealthCheck.verifyLimit()
	var f faults
	for begin := time.Now(); ; {
		var outOfReach error
		fleet, err := r.reloadFleet(ctx, s.fleet)
		if fatal := f.tolerate(ctx, err); fatal != nil {
			return 0, "", fatal
		}
		problem := fmt.Sprint(err)
		if err == nil {
			if r.options.Observe != nil {
				r.options.Observe(Observation{At: time.Now(), Fleet: fleet})
			}
			if problem = fleet.servingProblem(s.version, r.exempt); problem == "" && fleet.URL != "" {
				problem, outOfReach = r.wrongAnswer(ctx, fleet, s)
			}
			switch {
			case problem != "" || ctx.Err() != nil:
			case outOfReach == nil:
				return len(fleet.Instances), "", nil
			case !s.door.reached:
				progress.Note(stage.Inside(ctx), "not verified from here: %v; all targets are healthy, and that decides", outOfReach)
				return len(fleet.Instances), outOfReach.Error(), nil
			default:
				problem = outOfReach.Error()
			}
		}
		stage.Update("%s", problem)
		if time.Since(begin) >= limit {
			if outOfReach != nil {
				return 0, "", fmt.Errorf("%w: %w", errOutOfReach, outOfReach)
			}
			return 0, "", fmt.Errorf("%w: %q was not seen %s within %s: %s", ErrUnhealthy, s.release.Name, seen, limit, problem)
		}
		if err := wait.For(ctx, verifyGap); err != nil {
			return 0, "", err
		}
	}
}

// servingProblem says which instance does not serve a launch template version as it should; empty when all do.
// Instances for which exempt holds do not count.
func (f Fleet) servingProblem(version TemplateVersion, exempt func(Instance) bool) string {
	healthy := 0
	for _, i := range f.Instances {
		switch {
		case i.Target == "draining" || i.Target == "unused" || i.Target == "" || exempt(i):
		case i.TemplateVersion != version:
			return fmt.Sprintf("%s still runs launch template version %s", i.ID, i.TemplateVersion)
		case i.Target != "healthy":
			return fmt.Sprintf("%s is %s (%s)", i.ID, i.Target, i.Reason)
		default:
			healthy++
		}
	}
	if healthy == 0 {
		return "no target is healthy"
	}
	return ""
}

// wrongAnswer asks the load balancer many times, and says what was wrong with an answer; empty when nothing was. Where no
// request got through to it, outOfReach says why.
func (r *Roller) wrongAnswer(ctx context.Context, fleet Fleet, s step) (problem string, outOfReach error) {
	right := map[string]bool{s.release.Name: true, "": true}
	for _, i := range fleet.Instances {
		if r.exempt(i) && i.Target == "healthy" { // what the options keep serves on, whatever it is
			right[i.Release] = true
		}
	}
	return s.door.askAll(ctx, len(fleet.Instances), func(a probe.Sample) bool { return !a.Failed() && right[a.Release] })
}

// Ask asks the service of a fleet so often that every instance has most likely answered, and returns an error where an answer
// is not one of those that are good.
func (r *Roller) Ask(ctx context.Context, f Fleet) error {
	problem, outOfReach := r.doorOf(f).askAll(ctx, len(f.Instances), func(a probe.Sample) bool { return !a.Failed() })
	if problem != "" {
		return errors.New(problem)
	}
	return outOfReach
}

// askAll asks so often that each of a number of instances has most likely answered, and says what was wrong with an answer;
// empty when nothing was. Where no request got through, outOfReach says why.
func (d door) askAll(ctx context.Context, instances int, good func(probe.Sample) bool) (problem string, outOfReach error) {
	var reached atomic.Bool
	requests, ctx := errgroup.WithContext(ctx)
	requests.SetLimit(verifyAtOnce)
	for range min(max(verifyLeast, verifyRounds*instances), verifyMost) {
		requests.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			a := d.ask(ctx, 0)
			if !a.Unreachable {
				reached.Store(true)
			}
			if !good(a) {
				return fmt.Errorf("%s answered %s", d.target.URL, a)
			}
			return nil
		})
	}
	switch err := requests.Wait(); {
	case err == nil:
		return "", nil
	case reached.Load():
		return err.Error(), nil
	default:
		return "", err
	}
}
