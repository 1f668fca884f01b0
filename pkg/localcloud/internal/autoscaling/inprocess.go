package autoscaling

import (
	"context"
	"slices"
	"time"
)

// Hook is a lifecycle hook that another service keeps on a group.
type Hook struct {
	Name          string
	Transition    string        // autoscaling:EC2_INSTANCE_LAUNCHING or autoscaling:EC2_INSTANCE_TERMINATING
	DefaultResult string        // CONTINUE or ABANDON
	Heartbeat     time.Duration // 30 s to 7200 s
	Metadata      string        // NotificationMetadata
	Target        string        // NotificationTargetARN
}

// PutHook adds or replaces a lifecycle hook, as PutLifecycleHook does. The error is a *wire.Error with AWS's code.
func (s *Service) PutHook(groupName string, h Hook) error {
	_, err := s.putLifecycleHook(context.Background(), &putHookInput{groupName, hookInput{
		Name: h.Name, Transition: h.Transition, DefaultResult: h.DefaultResult, Heartbeat: new(int(h.Heartbeat.Seconds())),
		Metadata: h.Metadata, Target: h.Target,
	}})
	return err
}

// DeleteHook removes a lifecycle hook, as DeleteLifecycleHook does; instances that wait for it are abandoned. It is no error
// where the group or the hook is gone.
func (s *Service) DeleteHook(groupName, hook string) error {
	if !s.HasHook(groupName, hook) {
		return nil
	}
	_, err := s.deleteLifecycleHook(context.Background(), &hookName{groupName, hook})
	return err
}

// HasHook reports whether the group has a lifecycle hook of that name.
func (s *Service) HasHook(groupName, hookName string) bool {
	s.document.Lock()
	defer s.document.Unlock()
	g, ok := s.state.Groups[groupName]
	return ok && slices.ContainsFunc(g.Hooks, func(h *hook) bool { return h.Name == hookName })
}

// Heartbeat keeps an instance waiting for a hook for another heartbeat timeout.
func (s *Service) Heartbeat(groupName, hookName, instanceID string) error {
	return s.onAction(actionInput{Group: groupName, Hook: hookName, InstanceID: instanceID}, func(a *hookAction, now time.Time) {
		a.Deadline = now.Add(time.Duration(a.Heartbeat) * time.Second)
	})
}

// InService returns the instances of a group that are in service, in the order of their launch. The error is a *wire.Error
// where there is no such group.
func (s *Service) InService(groupName string) ([]string, error) {
	s.document.Lock()
	defer s.document.Unlock()
	g, err := s.group(groupName)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, i := range g.Instances {
		if i.State == inService && i.ID != "" {
			ids = append(ids, i.ID)
		}
	}
	return ids, nil
}
