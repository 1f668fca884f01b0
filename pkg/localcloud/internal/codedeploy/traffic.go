package codedeploy

import (
	"context"
	"fmt"

	"github.com/ingot-build/ingot/internal/wait"
)

// targetGroups returns the ARNs of the deployment's target groups; none where it controls no traffic.
func (s *Service) targetGroups(d *deployment) ([]string, error) {
	if !d.controlsTraffic() {
		return nil, nil
	}
	var arns []string
	for _, g := range d.LoadBalancer.TargetGroups {
		arn, found := s.options.Targets.TargetGroupARN(g.Name)
		if !found {
			return nil, &failure{"ELASTIC_LOAD_BALANCING_INVALID", fmt.Sprintf("The target group %s could not be found.", g.Name)}
		}
		arns = append(arns, arn)
	}
	return arns, nil
}

// blockTraffic takes the instance out of the target groups and waits until no request is left with it.
func (s *Service) blockTraffic(ctx context.Context, d *deployment, instance string) error {
	arns, err := s.targetGroups(d)
	if err != nil {
		return err
	}
	for _, arn := range arns {
		if err := s.options.Targets.Deregister(ctx, arn, instance); err != nil {
			return fmt.Errorf("deregister %q from %q: %w", instance, arn, err)
		}
	}
	return s.await(ctx, arns, instance, "gone from", func(state string) bool { return state == "" })
}

// allowTraffic puts the instance into the target groups and waits until it is healthy there.
func (s *Service) allowTraffic(ctx context.Context, d *deployment, instance string) error {
	arns, err := s.targetGroups(d)
	if err != nil {
		return err
	}
	for _, arn := range arns {
		if err := s.options.Targets.Register(ctx, arn, instance); err != nil {
			return fmt.Errorf("register %q at %q: %w", instance, arn, err)
		}
	}
	return s.await(ctx, arns, instance, "healthy at", func(state string) bool { return state == "healthy" })
}

// await waits until the instance's state at each target group is as wanted.
func (s *Service) await(ctx context.Context, arns []string, instance, what string, want func(state string) bool) error {
	for _, arn := range arns {
		for {
			state, _, why := s.options.Targets.TargetHealth(arn, instance)
			if want(state) {
				break
			}
			if err := wait.For(ctx, pollInterval); err != nil {
				return fmt.Errorf("%w; the instance is not %s the target group %s: it is %q %s", err, what, arn, state, why)
			}
		}
	}
	return nil
}
