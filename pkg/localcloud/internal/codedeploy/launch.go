package codedeploy

import (
	"context"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/autoscaling"
)

// heartbeatInterval is how often Auto Scaling hears of a deployment to a new instance, as on AWS.
const heartbeatInterval = 5 * time.Minute

// launched is told that a new instance waits for a hook. Auto Scaling holds its lock meanwhile.
func (s *Service) launched(a autoscaling.LifecycleAction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.groupOfHook(a) == nil {
		return
	}
	s.work.Go(func() { s.launch(a) })
}

// groupOfHook returns the deployment group whose hook it is, or nil; the caller holds the lock.
func (s *Service) groupOfHook(a autoscaling.LifecycleAction) *group {
	for _, app := range s.state.Applications {
		for _, g := range app.Groups {
			if g.hookOf(a.Group) == a.Hook {
				return g
			}
		}
	}
	return nil
}

// launch deploys the group's last successful revision to a new instance.
//
// A group to which no deployment has succeeded yet lets the instance through. AWS's documentation speaks of groups with a "last
// successful revision" only; but as it also says that a deployment needs an instance in service (see chooseInstances), holding or
// abandoning instances until one has succeeded would leave a new group without a way to its first deployment.
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/integrations-aws-auto-scaling.html.
func (s *Service) launch(a autoscaling.LifecycleAction) {
	var ended *deployment
	pass := false
	err := s.change(func() error {
		g := s.groupOfHook(a)
		if g == nil {
			return nil
		}
		// The instance waited when the last process ended.
		for _, d := range s.state.Deployments {
			if d.Hook == a.Hook && d.Instance == a.InstanceID {
				if d.done() {
					ended = d
				}
				return nil // or it goes on
			}
		}
		if pass = g.Target == nil; pass {
			return nil
		}
		s.add(g, &deployment{
			Creator: byScaling, Revision: g.Target, Scaling: a.Group, Hook: a.Hook, Instance: a.InstanceID,
		})
		return nil
	})
	switch {
	case err != nil:
		s.log.Error("deploy to a new instance", "instance", a.InstanceID, "error", err)
	case pass:
		s.log.Info("no deployment has succeeded yet: let a new instance through", "group", a.Group, "instance", a.InstanceID)
		s.complete(a.Group, a.Hook, a.InstanceID, "CONTINUE")
	case ended != nil:
		s.answer(ended)
	}
}

// answer tells Auto Scaling how a deployment to a new instance ended.
func (s *Service) answer(d *deployment) {
	result := "ABANDON"
	if d.Status == statusSucceeded {
		result = "CONTINUE"
	}
	s.complete(d.Scaling, d.Hook, d.Instance, result)
}

func (s *Service) complete(scalingGroupName, hook, instance, result string) {
	if err := s.options.Groups.CompleteLifecycleAction(scalingGroupName, hook, instance, result); err != nil {
		// It no longer waits: it was terminated, or the hook was removed.
		s.log.Info("complete a lifecycle action", "instance", instance, "result", result, "error", err)
	}
}

// heartbeats keeps a new instance waiting until stop is called.
func (s *Service) heartbeats(ctx context.Context, d *deployment) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	if d.Hook == "" {
		return cancel
	}
	go func() {
		ticker := time.NewTicker(heartbeatInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if err := s.options.Groups.Heartbeat(d.Scaling, d.Hook, d.Instance); err != nil {
					s.log.Info("send a heartbeat", "instance", d.Instance, "error", err)
				}
			}
		}
	}()
	return cancel
}
