package rollout

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	// verifyLimit bounds the look through the load balancer. Old targets are drained by then; what remains is the
	// time that a load balancer takes to notice.
	verifyLimit = 2 * time.Minute

	// verifyGap is the time between two requests: quick, and no load.
	verifyGap = 50 * time.Millisecond

	// verifyRounds is how often each instance is asked, on average, since the load balancer chooses which one answers.
	verifyRounds = 5
)

// verify returns, with the number of instances, once every target is of the release's launch template version and the
// load balancer has answered with the release many times in a row. A service that does not say its release is verified by
// its targets alone.
func (r *Roller) verify(ctx context.Context, fleet Fleet, version int64, release Release) (instances int, err error) {
	stage := progress.Start(ctx, "see release %s through the load balancer", release.Name)
	defer stage.End(&err)
	limit, cancel := context.WithTimeout(ctx, verifyLimit)
	defer cancel()
	doubt := "nothing was seen yet"
	for poll := firstPoll; ; poll = nextPoll(poll) {
		fleet, err := r.again(ctx, fleet)
		if err != nil {
			return 0, err
		}
		if doubt = fleet.doubt(version); doubt == "" {
			if doubt = r.served(limit, fleet, release); doubt == "" {
				return len(fleet.Instances), nil
			}
		}
		stage.Update("%s", doubt)
		if err := sleep(limit, poll); err != nil {
			if ctx.Err() != nil {
				return 0, err
			}
			return 0, fmt.Errorf("see release %q at %s within %s: %s", release.Name, fleet.URL, verifyLimit, doubt)
		}
	}
}

// doubt says which instance does not serve a launch template version as it should; empty when all do.
func (f Fleet) doubt(version int64) string {
	healthy := 0
	for _, i := range f.Instances {
		switch {
		case i.Target == "draining" || i.Target == "unused" || i.Target == "":
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

func (r *Roller) served(ctx context.Context, fleet Fleet, release Release) string {
	for range max(10, verifyRounds*len(fleet.Instances)) {
		a := probe.Get(ctx, r.HTTP, fleet.URL, 0)
		if a.Failed() || a.Release != "" && a.Release != release.Name {
			return fmt.Sprintf("%s answered %s", fleet.URL, a)
		}
		if sleep(ctx, verifyGap) != nil {
			return "the time is over"
		}
	}
	return ""
}
