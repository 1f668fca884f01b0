package targets

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/progress"
)

// Sweep shows what bakes that were killed left on AWS.
//
// With -yes it removes that: instances, security groups, key pairs, and images that nobody finished, with their
// snapshots. What belongs to a run that may be alive is left alone: on this machine that is known, of others by age.
func Sweep(ctx context.Context,
	yes *bool, // really remove it
	older *time.Duration, // age at which a run of another machine counts as dead (default 2h)
) error {
	return runPipeline(ctx, func(ctx context.Context, p *project, line *pipeline.Pipeline) error {
		return p.sweep(ctx, line, pipeline.SweepOptions{DeadAfter: older, Remove: value(yes)})
	})
}

func (p *project) sweep(ctx context.Context, line *pipeline.Pipeline, o pipeline.SweepOptions) error {
	found, spared, err := line.Sweep(ctx, o)
	if spared > 0 {
		progress.Note(ctx, "left alone: %d of runs that may be alive", spared)
	}
	if len(found) == 0 {
		return err
	}
	err = errors.Join(err, printLeftovers(p.out, found))
	if err == nil && !o.Remove {
		return fmt.Errorf("%d left over: nothing was removed; to remove it: mage sweep -yes", len(found))
	}
	return err
}
