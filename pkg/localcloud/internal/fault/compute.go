package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
)

// errAsked is the cause of what fails because it was asked for.
var errAsked = errors.New("a fault was asked for")

// Compute returns machines that boot and become images as badly as the faults say.
func (f *Faults) Compute(c compute.Compute) compute.Compute { return faulty{c, f} }

type faulty struct {
	compute.Compute
	faults *Faults
}

// Create implements [compute.Compute].
func (c faulty) Create(ctx context.Context, s compute.Spec) (compute.Machine, error) {
	if err := c.faults.wait(ctx, func(s Spec) time.Duration { return s.BootDelay + s.pace().Boot }); err != nil {
		return compute.Machine{}, fmt.Errorf("create machine %q: %w", s.ID, err)
	}
	if c.faults.fails("boot", func(s Spec) int { return s.BootFail }) {
		return compute.Machine{}, fmt.Errorf("create machine %q: %w", s.ID, errAsked)
	}
	return c.Compute.Create(ctx, s)
}

// Start implements [compute.Compute].
func (c faulty) Start(ctx context.Context, id string) (compute.Machine, error) {
	if err := c.faults.wait(ctx, func(s Spec) time.Duration { return s.pace().Boot }); err != nil {
		return compute.Machine{}, fmt.Errorf("start machine %q: %w", id, err)
	}
	return c.Compute.Start(ctx, id)
}

// Stop implements [compute.Compute].
func (c faulty) Stop(ctx context.Context, id string) error {
	if err := c.shutDown(ctx); err != nil {
		return fmt.Errorf("stop machine %q: %w", id, err)
	}
	return c.Compute.Stop(ctx, id)
}

// Remove implements [compute.Compute].
func (c faulty) Remove(ctx context.Context, id string) error {
	if c.faults.Spec().Pace != "" {
		if m, err := c.Inspect(ctx, id); err == nil && m.State == compute.Running {
			if err := c.shutDown(ctx); err != nil {
				return fmt.Errorf("remove machine %q: %w", id, err)
			}
		}
	}
	return c.Compute.Remove(ctx, id)
}

func (c faulty) shutDown(ctx context.Context) error {
	return c.faults.wait(ctx, func(s Spec) time.Duration { return s.pace().Stop })
}

// Commit implements [compute.Compute].
func (c faulty) Commit(ctx context.Context, id, name string) (compute.Image, error) {
	if err := c.faults.wait(ctx, func(s Spec) time.Duration { return s.ImageDelay }); err != nil {
		return compute.Image{}, fmt.Errorf("commit machine %q: %w", id, err)
	}
	if c.faults.fails("image", func(s Spec) int { return s.ImageFail }) {
		return compute.Image{}, fmt.Errorf("commit machine %q: %w", id, errAsked)
	}
	return c.Compute.Commit(ctx, id, name)
}
