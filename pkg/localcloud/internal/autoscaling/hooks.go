package autoscaling

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	launchingTransition   = "autoscaling:EC2_INSTANCE_LAUNCHING"
	terminatingTransition = "autoscaling:EC2_INSTANCE_TERMINATING"

	resultContinue = "CONTINUE"
	resultAbandon  = "ABANDON"

	// maxHookWait is the longest that an instance stays in a wait state: 48 hours, or 100 heartbeats if those are shorter.
	maxHookWait = 48 * time.Hour
)

// hook is a lifecycle hook of a group.
type hook struct {
	Name          string `json:"name"`
	Transition    string `json:"transition"`
	DefaultResult string `json:"defaultResult"`
	Heartbeat     int    `json:"heartbeat"` // seconds
	Metadata      string `json:"metadata,omitempty"`
	Target        string `json:"target,omitempty"`
	Role          string `json:"role,omitempty"`
}

func (h *hook) globalTimeout() time.Duration {
	return min(maxHookWait, 100*time.Duration(h.Heartbeat)*time.Second)
}

// hookAction is a hook that an instance waits for.
type hookAction struct {
	Hook          string    `json:"hook"`
	Token         string    `json:"token"`
	Transition    string    `json:"transition"`
	DefaultResult string    `json:"defaultResult"`
	Heartbeat     int       `json:"heartbeat"`
	Deadline      time.Time `json:"deadline"` // when the heartbeat runs out
	Limit         time.Time `json:"limit"`    // when no heartbeat helps any more
	Result        string    `json:"result,omitempty"`
	Metadata      string    `json:"metadata,omitempty"`
	Target        string    `json:"target,omitempty"`
}

// LifecycleAction is what a lifecycle hook waits for: somebody has to complete it.
type LifecycleAction struct {
	Group      string
	Hook       string
	InstanceID string
	Token      string
	Transition string // autoscaling:EC2_INSTANCE_LAUNCHING or autoscaling:EC2_INSTANCE_TERMINATING
	Metadata   string // NotificationMetadata
	Target     string // NotificationTargetARN
}

// OnLifecycleAction calls f whenever an instance begins to wait for a hook, and after a restart for those that still
// wait. f must not block and not call the service.
func (s *Service) OnLifecycleAction(f func(LifecycleAction)) {
	s.document.Lock()
	defer s.document.Unlock()
	s.listeners = append(s.listeners, f)
}

// announce tells the listeners; the caller holds the lock.
func (s *Service) announce(g *group, actions []LifecycleAction) {
	for _, a := range actions {
		a.Group = g.Name
		for _, f := range s.listeners {
			f(a)
		}
	}
}

// waitingActions are the actions that nobody has completed.
func (g *group) waitingActions() []LifecycleAction {
	var found []LifecycleAction
	for _, i := range g.Instances {
		for _, a := range i.Actions {
			if a.Result == "" {
				found = append(found, a.public(i))
			}
		}
	}
	return found
}

func (a *hookAction) public(i *instance) LifecycleAction {
	return LifecycleAction{
		Hook: a.Hook, InstanceID: i.ID, Token: a.Token, Transition: a.Transition, Metadata: a.Metadata, Target: a.Target,
	}
}

// await makes the instance wait for the group's hooks of a transition. It reports whether there are any.
func (g *group) await(i *instance, now time.Time, transition string) []LifecycleAction {
	var begun []LifecycleAction
	for _, h := range g.Hooks {
		if h.Transition != transition {
			continue
		}
		a := &hookAction{
			Hook: h.Name, Token: wire.UUID(), Transition: transition, DefaultResult: h.DefaultResult, Heartbeat: h.Heartbeat,
			Deadline: now.Add(time.Duration(h.Heartbeat) * time.Second), Limit: now.Add(h.globalTimeout()), Metadata: h.Metadata,
			Target: h.Target,
		}
		i.Actions = append(i.Actions, a)
		begun = append(begun, a.public(i))
	}
	return begun
}

// outcome is the action's result, which its timeout decides where nobody has: "" while it is waited for.
func (a *hookAction) outcome(now time.Time) string {
	if a.Result == "" && (!now.Before(a.Deadline) || !now.Before(a.Limit)) {
		return a.DefaultResult
	}
	return a.Result
}

// awaited reports how the wait ended: "" while it lasts. One ABANDON ends it.
func (i *instance) awaited(now time.Time) string {
	outcome := resultContinue
	for _, a := range i.Actions {
		switch a.outcome(now) {
		case resultAbandon:
			return resultAbandon
		case "":
			outcome = ""
		}
	}
	return outcome
}

// abandoned says which action ended the wait badly, in AWS's words.
func (i *instance) abandoned(now time.Time) string {
	for _, a := range i.Actions {
		if a.outcome(now) != resultAbandon {
			continue
		}
		why := "Lifecycle Action Completed with ABANDON Result"
		if a.Result == "" {
			why = "Heartbeat Timeout"
		}
		return fmt.Sprintf("Instance failed to complete user's Lifecycle Action: Lifecycle Action with token %s was abandoned: %s", a.Token, why)
	}
	return ""
}

type hookInput struct {
	Name          string `query:"LifecycleHookName" wire:"required"`
	Transition    string `query:"LifecycleTransition" wire:"enum=autoscaling:EC2_INSTANCE_LAUNCHING|autoscaling:EC2_INSTANCE_TERMINATING"`
	DefaultResult string `query:"DefaultResult" wire:"enum=CONTINUE|ABANDON"`
	Heartbeat     *int   `query:"HeartbeatTimeout"`
	Metadata      string `query:"NotificationMetadata"`
	Target        string `query:"NotificationTargetARN"`
	Role          string `query:"RoleARN"`
}

// notificationTarget is the form of what a hook can notify.
var notificationTarget = regexp.MustCompile(`^arn:aws[a-z-]*:(sns|sqs):[a-z0-9-]+:\d{12}:[\w-]+(\.fifo)?$`)

// putHook adds or changes a hook. Absent parameters leave an existing one as it is.
func (g *group) putHook(in hookInput) (*hook, error) {
	index := slices.IndexFunc(g.Hooks, func(h *hook) bool { return h.Name == in.Name })
	h := &hook{Name: in.Name, DefaultResult: resultAbandon, Heartbeat: 3600}
	if index >= 0 {
		*h = *g.Hooks[index]
	}
	for _, f := range []struct{ field, given *string }{
		{&h.Transition, &in.Transition}, {&h.DefaultResult, &in.DefaultResult}, {&h.Metadata, &in.Metadata},
		{&h.Target, &in.Target}, {&h.Role, &in.Role},
	} {
		if *f.given != "" {
			*f.field = *f.given
		}
	}
	set(&h.Heartbeat, in.Heartbeat)
	if h.Transition == "" {
		return nil, wire.Errorf("ValidationError", "A LifecycleTransition is required for a new lifecycle hook.")
	}
	if h.Target != "" && !notificationTarget.MatchString(h.Target) {
		return nil, wire.Errorf("ValidationError", "Invalid ARN: %s is not the ARN of an SNS topic or an SQS queue", h.Target)
	}
	if h.Heartbeat < 30 || h.Heartbeat > 7200 {
		return nil, wire.Errorf("ValidationError", "HeartbeatTimeout must be between 30 and 7200 seconds.")
	}
	if index >= 0 {
		g.Hooks[index] = h
	} else {
		g.Hooks = append(g.Hooks, h)
	}
	return h, nil
}

type putHookInput struct {
	Group string `query:"AutoScalingGroupName" wire:"required"`
	hookInput
}

func (s *Service) putLifecycleHook(_ context.Context, in *putHookInput) (*wire.Empty, error) {
	return nil, s.change(in.Group, func(g *group, _ time.Time) error {
		_, err := g.putHook(in.hookInput)
		return err
	})
}

type hookName struct {
	Group string `query:"AutoScalingGroupName" wire:"required"`
	Name  string `query:"LifecycleHookName" wire:"required"`
}

// deleteLifecycleHook removes a hook. What waits for it goes on, as on AWS: ABANDON for launching instances, CONTINUE
// for terminating ones.
func (s *Service) deleteLifecycleHook(_ context.Context, in *hookName) (*wire.Empty, error) {
	return nil, s.change(in.Group, func(g *group, _ time.Time) error {
		before := len(g.Hooks)
		g.Hooks = slices.DeleteFunc(g.Hooks, func(h *hook) bool { return h.Name == in.Name })
		if len(g.Hooks) == before {
			return wire.Errorf("ValidationError", "No lifecycle hook found with name %s for Auto Scaling group %s", in.Name, in.Group)
		}
		for _, i := range g.Instances {
			for _, a := range i.Actions {
				if a.Hook == in.Name && a.Result == "" {
					a.Result = resultContinue
					if a.Transition == launchingTransition {
						a.Result = resultAbandon
					}
				}
			}
		}
		return nil
	})
}

type describeHooksInput struct {
	Group string   `query:"AutoScalingGroupName" wire:"required"`
	Names []string `query:"LifecycleHookNames"`
}

type describeHooksOutput struct {
	Hooks service.List[hookView] `xml:"LifecycleHooks"`
}

type hookView struct {
	AutoScalingGroupName  string
	DefaultResult         string
	GlobalTimeout         int
	HeartbeatTimeout      int
	LifecycleHookName     string
	LifecycleTransition   string
	NotificationMetadata  string `xml:",omitempty"`
	NotificationTargetARN string `xml:",omitempty"`
	RoleARN               string `xml:",omitempty"`
}

func (s *Service) describeLifecycleHooks(_ context.Context, in *describeHooksInput) (*describeHooksOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	g, err := s.group(in.Group)
	if err != nil {
		return nil, err
	}
	var out describeHooksOutput
	for _, h := range g.Hooks {
		if len(in.Names) > 0 && !slices.Contains(in.Names, h.Name) {
			continue
		}
		out.Hooks.Members = append(out.Hooks.Members, hookView{
			AutoScalingGroupName: g.Name, DefaultResult: h.DefaultResult, GlobalTimeout: int(h.globalTimeout().Seconds()),
			HeartbeatTimeout: h.Heartbeat, LifecycleHookName: h.Name, LifecycleTransition: h.Transition,
			NotificationMetadata: h.Metadata, NotificationTargetARN: h.Target, RoleARN: h.Role,
		})
	}
	return &out, nil
}

type actionInput struct {
	Group      string `query:"AutoScalingGroupName" wire:"required"`
	Hook       string `query:"LifecycleHookName" wire:"required"`
	InstanceID string `query:"InstanceId"`
	Token      string `query:"LifecycleActionToken"`
}

type completeInput struct {
	actionInput
	Result string `query:"LifecycleActionResult" wire:"required,enum=CONTINUE|ABANDON"`
}

// action finds what a caller names by token or instance.
func (g *group) action(in actionInput) (*hookAction, error) {
	for _, i := range g.Instances {
		for _, a := range i.Actions {
			if a.Hook == in.Hook && a.Result == "" && (in.Token == a.Token || in.Token == "" && in.InstanceID == i.ID) {
				return a, nil
			}
		}
	}
	if in.Token != "" {
		return nil, wire.Errorf("ValidationError", "No active Lifecycle Action found with token %s", in.Token)
	}
	return nil, wire.Errorf("ValidationError", "No active Lifecycle Action found with instance ID %s", in.InstanceID)
}

func (s *Service) completeLifecycleAction(_ context.Context, in *completeInput) (*wire.Empty, error) {
	return nil, s.onAction(in.actionInput, func(a *hookAction, _ time.Time) { a.Result = in.Result })
}

// onAction changes a lifecycle action; unlike other changes, also of a group that is being deleted.
func (s *Service) onAction(in actionInput, f func(*hookAction, time.Time)) error {
	return s.update(func(now time.Time) error {
		g, err := s.group(in.Group)
		if err != nil {
			return err
		}
		a, err := g.action(in)
		if err == nil {
			f(a, now)
		}
		return err
	})
}

// CompleteLifecycleAction ends an instance's wait for a hook, as the operation of that name does. The result is CONTINUE
// or ABANDON.
func (s *Service) CompleteLifecycleAction(groupName, hookName, instanceID, result string) error {
	return s.onAction(actionInput{Group: groupName, Hook: hookName, InstanceID: instanceID}, func(a *hookAction, _ time.Time) {
		a.Result = result
	})
}
