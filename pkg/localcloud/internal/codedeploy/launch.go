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
	s.document.Lock()
	defer s.document.Unlock()
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
// An instance of a group to which no deployment has succeeded yet is abandoned. AWS documents no answer to it: only that a launch gets
// the "last successful revision", and that a group in this deadlock has to be detached until its first deployment. Whoever relies on
// that way out gets along with the hardest answer too.
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/integrations-aws-auto-scaling.html and
// https://docs.aws.amazon.com/codedeploy/latest/userguide/troubleshooting-auto-scaling.html.
func (s *Service) launch(a autoscaling.LifecycleAction) {
	var ended *deployment
	none := false
	err := s.change(func() error {
		g := s.groupOfHook(a)
		if g == nil {
			return nil
		}
		// The instance waited when the last process ended.
		for _, d := range s.state.Deployments {
			if d.Hook == a.Hook && d.Instance == a.InstanceID {
				if d.done() {
					ended = new(*d)
				}
				return nil // or it goes on
			}
		}
		if none = g.Target == nil; none {
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
	case none:
		s.log.Info("no deployment has succeeded yet: abandon a new instance", "group", a.Group, "instance", a.InstanceID)
		s.complete(a.Group, a.Hook, a.InstanceID, "ABANDON")
	case ended != nil:
		s.answer(ended, ended.Status)
	}
}

// answer tells Auto Scaling how a deployment to a new instance ended.
func (s *Service) answer(d *deployment, status string) {
	result := "ABANDON"
	if status == statusSucceeded {
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
