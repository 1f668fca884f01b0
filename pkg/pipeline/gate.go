package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/ingot-build/ingot/internal/lag"
	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/rollout"
	"github.com/ingot-build/ingot/pkg/tag"
)

// GateError is a first release that CodeDeploy's check did not pass. No release has passed before, so there was nothing to
// hold its instances back with: they served, and are taken back. It wraps rollout.ErrUnhealthy.
type GateError struct {
	Release string
	Err     error // a *codedeploy.FailedError
}

// Error says which release did not pass, and why.
func (e *GateError) Error() string {
	return fmt.Sprintf("release %q did not pass the gate: %v", e.Release, e.Err)
}

// Unwrap returns the cause, and what it means for the rollout.
func (e *GateError) Unwrap() []error { return []error{e.Err, rollout.ErrUnhealthy} }

// NoAgentError is an image that was baked without CodeDeploy's agent, while new instances have to pass CodeDeploy's check:
// each of its instances would wait for an hour, and be terminated. To go back to it all the same, do so without CodeDeploy,
// in the infrastructure too.
type NoAgentError struct {
	Image   string // ID
	Release string
}

// Error says that it cannot pass.
func (e *NoAgentError) Error() string {
	return fmt.Sprintf("release %q (%s) was baked without CodeDeploy's agent, so that none of its instances could pass the gate", e.Release, e.Image)
}

// RepairGate sees to it that new instances wait for CodeDeploy before they serve, and puts the launching hook back where
// it is gone. Where no deployment has succeeded yet and a release is in the fleet, as after infrastructure was destroyed
// and made again, that release passes the gate now: its instances have to come first, and are waited for. Without
// CodeDeploy there is nothing to repair. Errors are those of Rollback.
func (p *Pipeline) RepairGate(ctx context.Context) error {
	if p.gate == nil {
		return nil
	}
	// All of it may just have been made.
	fleet, err := lag.Read(ctx, p.Fleet, func(_ rollout.Fleet, err error) bool {
		_, incomplete := errors.AsType[*rollout.IncompleteError](err)
		return incomplete || errors.Is(err, rollout.ErrNoFleet)
	})
	if err != nil {
		return err
	}
	guarded, err := lag.Read(ctx, func(ctx context.Context) (bool, error) { return p.gate.Guard(ctx, fleet.Group) }, func(_ bool, err error) bool {
		return errors.Is(err, codedeploy.ErrNotSetUp)
	})
	if guarded || err != nil || fleet.Desired == 0 {
		return err
	}
	current, released, err := p.roller(p.settings.Rollout).Current(ctx)
	if !released || err != nil {
		return err
	}
	switch err := p.checkAgent(ctx, rollout.Release{Name: current.Release, AMIID: current.AMIID}); {
	case errors.As(err, new(*NoAgentError)):
		progress.Note(ctx, "%v: the gate begins with the next release", err)
		return nil
	case err != nil:
		return err
	}
	_, err = p.Rollback(ctx, current.Release)
	return err
}

// checkAgent refuses a release whose instances CodeDeploy could not speak to.
func (p *Pipeline) checkAgent(ctx context.Context, r rollout.Release) error {
	if p.agent() == tag.NoAgent {
		return nil // there is no gate, or one that needs no agent
	}
	image, err := p.images.Get(ctx, r.AMIID)
	if errors.Is(err, ami.ErrNotFound) {
		return nil // the rollout's to say
	}
	if err != nil {
		return err
	}
	return agentProblem(image, r.Name)
}

// agentProblem is a *NoAgentError where an image is known to have no agent. One from before images were tagged so may have it.
func agentProblem(image ami.Image, release string) error {
	if image.Tags[tag.Agent] == tag.NoAgent {
		return &NoAgentError{Image: image.ID, Release: release}
	}
	return nil
}

// passFirst has CodeDeploy check a release whose instances it could not hold back: see codedeploy.Client.Guard.
func (r *release) passFirst(ctx context.Context, release rollout.Release) error {
	_, err := r.gate.DeployFirst(ctx, r.fleet.Group, r.revision, description(release.Name))
	if _, failed := errors.AsType[*codedeploy.FailedError](err); failed {
		return &GateError{Release: release.Name, Err: err}
	}
	return err
}

// description is a deployment's.
func description(release string) string { return "release " + release }
