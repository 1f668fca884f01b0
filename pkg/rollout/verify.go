package rollout

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	// verifyLimit bounds the look through the load balancer. Old targets are drained by then; what remains is the
	// time that a load balancer takes to notice.
	verifyLimit = 2 * time.Minute

	// verifyGap is the time between two looks while something is in doubt.
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

// verify returns, with the number of instances, once every target is of the release's launch template version and the
// load balancer has answered with the release many times in a row. A service that does not say its release is verified by
// its targets alone.
func (r *Roller) verify(ctx context.Context, s step) (instances int, err error) {
	stage := progress.Start(ctx, "see release %s through the load balancer", s.release.Name)
	defer stage.End(&err)
	var p patience
	for begin := time.Now(); ; {
		fleet, err := r.again(ctx, s.fleet)
		if fatal := p.bear(ctx, err); fatal != nil {
			return 0, fatal
		}
		doubt := fmt.Sprint(err)
		if err == nil {
			if r.options.Observe != nil {
				r.options.Observe(Observation{At: time.Now(), Fleet: fleet})
			}
			if doubt = fleet.doubt(s.version, r.exempt); doubt == "" {
				if doubt = r.served(ctx, fleet, s); doubt == "" {
					return len(fleet.Instances), nil
				}
			}
		}
		stage.Update("%s", doubt)
		if time.Since(begin) >= verifyLimit {
			return 0, fmt.Errorf("%w: %q was not seen at %s within %s: %s", ErrUnhealthy, s.release.Name, s.fleet.URL, verifyLimit, doubt)
		}
		if err := sleep(ctx, verifyGap); err != nil {
			return 0, err
		}
	}
}

// doubt says which instance does not serve a launch template version as it should; empty when all do. Instances for which
// exempt holds do not count.
func (f Fleet) doubt(version int64, exempt func(Instance) bool) string {
	healthy := 0
	for _, i := range f.Instances {
		switch {
		case i.Target == "draining" || i.Target == "unused" || i.Target == "" || exempt(i):
		case i.TemplateVersion != strconv.FormatInt(version, 10):
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

// served asks the load balancer many times, and says what was wrong with an answer; empty when nothing was.
func (r *Roller) served(ctx context.Context, fleet Fleet, s step) string {
	right := map[string]bool{s.release.Name: true, "": true}
	for _, i := range fleet.Instances {
		if r.exempt(i) && i.Target == "healthy" { // what the options keep serves on, whatever it is
			right[i.Release] = true
		}
	}
	requests, ctx := errgroup.WithContext(ctx)
	requests.SetLimit(verifyAtOnce)
	for range min(max(verifyLeast, verifyRounds*len(fleet.Instances)), verifyMost) {
		requests.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			if a := probe.Get(ctx, r.HTTP, fleet.URL, 0); a.Failed() || !right[a.Release] {
				return fmt.Errorf("%s answered %s", fleet.URL, a)
			}
			return nil
		})
	}
	if err := requests.Wait(); err != nil {
		return err.Error()
	}
	return ""
}
