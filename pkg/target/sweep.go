package target

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/bake"
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
	return run(ctx, func(ctx context.Context, p *project) error {
		age := bake.DeadAfter
		if older != nil {
			age = *older
		}
		return p.sweep(ctx, age, value(yes))
	})
}

func (p *project) sweep(ctx context.Context, older time.Duration, yes bool) error {
	a, err := p.account(ctx)
	if err != nil {
		return err
	}
	stage := progress.Start(ctx, "look for what dead runs left")
	found, spared, err := p.baker(ctx, a, ami.New(ec2.NewFromConfig(a.Config))).Sweep(ctx, older, yes)
	stage.End(&err)
	if spared > 0 {
		progress.Note(ctx, "left alone: %d of runs that may be alive", spared)
	}
	if len(found) == 0 {
		return err
	}
	if printed := p.printLeftovers(found); err == nil {
		err = printed
	}
	if err == nil && !yes {
		return fmt.Errorf("%d left over: nothing was removed; to remove it: mage sweep -yes", len(found))
	}
	return err
}

func (p *project) printLeftovers(left []bake.Leftover) error {
	t := p.table()
	fmt.Fprintln(t, "KIND\tID\tRUN\tAGE\tWHY")
	for _, l := range left {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", l.Kind, l.ID, l.Run, progress.Elapsed(time.Since(l.Began)), l.Why)
	}
	return t.Flush()
}
