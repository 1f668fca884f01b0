package pipeline

import (
	"context"
	"time"

	"github.com/ingot-build/ingot/pkg/bake"
	"github.com/ingot-build/ingot/pkg/progress"
)

// SweepOptions say what is swept.
type SweepOptions struct {
	DeadAfter *time.Duration // age at which a run of another machine counts as dead; nil for bake.DeadAfter
	Remove    bool           // remove what is found, instead of listing it only
}

// Sweep returns what bakes that were killed left on AWS: instances, security groups, key pairs, and images that nobody
// finished, with their snapshots. What belongs to a run that may be alive is left alone; spared counts it.
func (p *Pipeline) Sweep(ctx context.Context, o SweepOptions) (found []bake.Leftover, spared int, err error) {
	stage := progress.Start(ctx, "look for what dead runs left")
	defer stage.End(&err)
	if o.DeadAfter == nil {
		o.DeadAfter = new(bake.DeadAfter)
	}
	return p.baker(ctx).Sweep(stage.Inside(ctx), *o.DeadAfter, o.Remove)
}
