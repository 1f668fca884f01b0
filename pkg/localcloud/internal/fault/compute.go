package fault

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
)

// errAsked is the cause of what fails because it was asked for.
var errAsked = errors.New("a fault was asked for (mage local:fault)")

// Compute returns machines that boot and become images as badly as the faults say.
func (f *Faults) Compute(c compute.Compute) compute.Compute { return faulty{c, f} }

type faulty struct {
	compute.Compute
	faults *Faults
}

// Create implements [compute.Compute].
func (c faulty) Create(ctx context.Context, s compute.Spec) (compute.Machine, error) {
	if err := c.faults.wait(ctx, func(s Spec) time.Duration { return s.BootDelay }); err != nil {
		return compute.Machine{}, fmt.Errorf("create machine %q: %w", s.ID, err)
	}
	if c.faults.fails("boot", func(s Spec) int { return s.BootFail }) {
		return compute.Machine{}, fmt.Errorf("create machine %q: %w", s.ID, errAsked)
	}
	return c.Compute.Create(ctx, s)
}

// Commit implements [compute.Compute].
func (c faulty) Commit(ctx context.Context, id, name string) (ref string, err error) {
	if err := c.faults.wait(ctx, func(s Spec) time.Duration { return s.ImageDelay }); err != nil {
		return "", fmt.Errorf("commit machine %q: %w", id, err)
	}
	if c.faults.fails("image", func(s Spec) int { return s.ImageFail }) {
		return "", fmt.Errorf("commit machine %q: %w", id, errAsked)
	}
	return c.Compute.Commit(ctx, id, name)
}
