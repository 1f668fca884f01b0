// Package autoscaling is Amazon EC2 Auto Scaling on this machine: groups that launch and replace real instances, and
// instance refreshes that really roll, bake, fail and roll back.
//
// A group is a record and a loop. The loop looks at what is there (instances at EC2, targets at the load balancer),
// lets a pure function decide what to do ([group.step]), saves the decision, and only then acts. So a process that was
// killed at any moment goes on where it was: what it decided is in the store, and every act can be repeated.
//
// Known gaps: scaling policies are kept and shown but never executed; mixed instances policies, warm pools, scheduled
// actions, launch configurations (their list is empty) and classic load balancers are not there and are refused, as unknown operations or parameters.
package autoscaling

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	documentName = "autoscaling"
	namespace    = "http://autoscaling.amazonaws.com/doc/2011-01-01/"

	// busyInterval is how often a group is looked at while something is going on, quietInterval otherwise. A change of an
	// instance's state wakes the loop at once; the intervals are for what does not report itself.
	busyInterval  = time.Second
	quietInterval = 5 * time.Second
	// settle is how long the loop waits after it was woken, so that a hundred changes make one pass.
	settle = 100 * time.Millisecond
	// launchesAtOnce bounds how many instances of a group boot at the same time.
	launchesAtOnce = 8
)

type instances interface {
	LaunchFromTemplate(ctx context.Context, spec ec2.LaunchSpec) (instanceID string, err error)
	Terminate(ctx context.Context, ids ...string) error
	Instance(id string) (ec2.InstanceInfo, bool)
	ResolveTemplate(idOrName, version string) (ec2.TemplateInfo, error)
	LaunchNeeds(templateID, version string, subnetIDs []string, instanceTags map[string]string) []wire.Access
	Subnet(id string) (ec2.SubnetInfo, bool)
	OnStateChange(func(ec2.InstanceInfo))
}

type targets interface {
	HasTargetGroup(arn string) bool
	Register(ctx context.Context, targetGroupARN, instanceID string) error
	Deregister(ctx context.Context, targetGroupARN, instanceID string) error
	TargetHealth(targetGroupARN, instanceID string) (state, reason, description string)
}

type alarms interface {
	// AlarmState returns OK, ALARM or INSUFFICIENT_DATA, and whether there is such an alarm.
	AlarmState(name string) (state string, found bool)
}

// Options are what a service is made of.
type Options struct {
	Region    string
	AccountID string // 12 digits
	Store     store.Store
	Instances instances
	Targets   targets
	Alarms    alarms // optional; without it no alarm is known
	// Lag says how old reads are that lag; nil where none does. PastInstances are the instances as they were that long ago.
	Lag           func() time.Duration
	PastInstances instances
	Log           *slog.Logger // optional
}

// Service is the Auto Scaling service of one region.
type Service struct {
	options Options
	log     *slog.Logger

	started time.Time

	work *service.Work // woken where the loop has to look

	// document's lock guards what follows, too.
	document  *store.Document[state]
	state     *state
	slots     chan struct{}        // bounds the launches under way
	launching map[string]bool      // client tokens of launches that this process has under way
	outcomes  map[string][]outcome // of the acts for a group, to be kept
	listeners []func(LifecycleAction)

	past *Service // this service as it was a while ago; nil where nobody looks
}

// state is what the store keeps.
type state struct {
	Groups map[string]*group `json:"groups"`
}

// New loads the service's state. Nothing happens until Start.
func New(o Options) (*Service, error) {
	document, err := store.Open(o.Store, documentName, state{map[string]*group{}})
	if err != nil {
		return nil, fmt.Errorf("load auto scaling groups: %w", err)
	}
	s := &Service{
		options: o, log: service.Logger(o.Log), started: time.Now(), work: service.NewWork(), document: document, state: document.Value(),
		launching: map[string]bool{}, outcomes: map[string][]outcome{}, slots: make(chan struct{}, launchesAtOnce),
	}
	if o.Lag != nil {
		s.past = s.asItWas(o.Lag)
	}
	o.Instances.OnStateChange(func(ec2.InstanceInfo) { s.work.Wake() })
	return s, nil
}

// asItWas returns the service as it was that long ago, to answer calls and nothing else.
func (s *Service) asItWas(lag func() time.Duration) *Service {
	p := *s
	p.options.Instances = p.options.PastInstances
	p.document = s.document.Past(lag, func(past *state, present state) {
		// Groups, hooks and policies are seen as soon as they are made: Terraform's provider looks for them once. What becomes of a
		// group, its instances and its refreshes, is seen later.
		for name, now := range present.Groups {
			if then, ok := past.Groups[name]; ok && then.ARN == now.ARN {
				then.Hooks, then.Policies = now.Hooks, now.Policies
			} else {
				past.Groups[name] = now
			}
		}
	})
	p.state = p.document.Value()
	return &p
}

// Start begins to keep the groups as they should be, until Close.
func (s *Service) Start() {
	s.document.Lock()
	for _, g := range s.state.Groups {
		s.announce(g, g.waitingActions())
	}
	s.document.Unlock()
	s.work.Go(s.loop)
}

// Close ends the service's work. Instances stay as they are.
func (s *Service) Close() error {
	s.work.Close()
	return nil
}

// API returns the operations.
func (s *Service) API() wire.Service {
	api := wire.Service{Name: "autoscaling", Protocol: wire.AWSQuery, Version: "2011-01-01", Namespace: namespace, Actions: s.actions()}
	if s.past != nil {
		api.Past = s.past.actions()
	}
	return api
}

func (s *Service) actions() map[string]wire.Action {
	return map[string]wire.Action{
		"CreateAutoScalingGroup":       wire.Do(s.createAutoScalingGroup, s.creating),
		"UpdateAutoScalingGroup":       wire.Do(s.updateAutoScalingGroup, s.updating),
		"DeleteAutoScalingGroup":       wire.Do(s.deleteAutoScalingGroup, func(in *deleteInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
		"DescribeAutoScalingGroups":    wire.DoUnscoped(s.describeAutoScalingGroups),
		"SetDesiredCapacity":           wire.Do(s.setDesiredCapacity, func(in *setDesiredInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
		"DescribeLaunchConfigurations": wire.DoUnscoped(s.describeLaunchConfigurations),
		"DisableMetricsCollection":     wire.Do(s.disableMetricsCollection, func(in *metricsInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
		"EnableMetricsCollection":      wire.Do(s.enableMetricsCollection, func(in *enableMetricsInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
		"SuspendProcesses":             wire.Do(s.suspendProcesses, func(in *processesInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
		"ResumeProcesses":              wire.Do(s.resumeProcesses, func(in *processesInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),

		"TerminateInstanceInAutoScalingGroup": wire.Do(s.terminateInstance, func(in *terminateInput) []wire.Access { return []wire.Access{s.onInstance(in.InstanceID)} }),
		"EnterStandby":                        wire.Do(s.enterStandby, func(in *enterStandbyInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
		"ExitStandby":                         wire.Do(s.exitStandby, func(in *exitStandbyInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
		"SetInstanceProtection":               wire.Do(s.setInstanceProtection, func(in *protectionInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
		"SetInstanceHealth":                   wire.Do(s.setInstanceHealth, func(in *healthInput) []wire.Access { return []wire.Access{s.onInstance(in.InstanceID)} }),

		"DescribeScalingActivities": wire.DoUnscoped(s.describeScalingActivities),
		"PutScalingPolicy":          wire.Do(s.putScalingPolicy, func(in *policyInput) []wire.Access { return []wire.Access{s.on(in.Group)} }),
		"DescribePolicies":          wire.DoUnscoped(s.describePolicies),
		"DeletePolicy":              wire.Do(s.deletePolicy, s.onPolicy),
		"CreateOrUpdateTags":        wire.Do(s.createOrUpdateTags, s.tagging),
		"DeleteTags":                wire.Do(s.deleteTags, s.tagging),

		"PutLifecycleHook":        wire.Do(s.putLifecycleHook, s.putting),
		"DeleteLifecycleHook":     wire.Do(s.deleteLifecycleHook, func(in *hookName) []wire.Access { return []wire.Access{s.on(in.Group)} }),
		"DescribeLifecycleHooks":  wire.DoUnscoped(s.describeLifecycleHooks),
		"CompleteLifecycleAction": wire.Do(s.completeLifecycleAction, func(in *completeInput) []wire.Access { return []wire.Access{s.on(in.Group)} }),

		"StartInstanceRefresh":      wire.Do(s.startInstanceRefresh, s.refreshing),
		"CancelInstanceRefresh":     wire.Do(s.cancelInstanceRefresh, func(in *cancelRefreshInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
		"RollbackInstanceRefresh":   wire.Do(s.rollbackInstanceRefresh, func(in *rollbackRefreshInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
		"DescribeInstanceRefreshes": wire.DoUnscoped(s.describeInstanceRefreshes),
	}
}

// group returns the group of that name; the caller holds the lock.
func (s *Service) group(name string) (*group, error) {
	g, ok := s.state.Groups[name]
	if !ok {
		return nil, wire.Errorf("ValidationError", "AutoScalingGroup name not found - AutoScalingGroup %s not found", name)
	}
	return g, nil
}

// update runs f under the lock, saves what it did, and wakes the loop. Where either fails, nothing has changed.
func (s *Service) update(f func(now time.Time) error) error {
	defer s.work.Wake()
	return s.document.Update(func(*state) error { return f(time.Now()) })
}

// change is update for one group, which must not be on its way out.
func (s *Service) change(name string, f func(g *group, now time.Time) error) error {
	return s.update(func(now time.Time) error {
		g, err := s.group(name)
		if err != nil {
			return err
		}
		if g.Deleting {
			return wire.Errorf("ScalingActivityInProgress", "AutoScalingGroup %s is being deleted.", name)
		}
		return f(g, now)
	})
}

// millis is a time as the API shows it.
func millis(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// page cuts a list of at most so many to MaxRecords from the token on.
func page[T any](items []T, maxRecords *int, token string, most int) (part service.List[T], next string, err error) {
	size := most
	if maxRecords != nil {
		if size = *maxRecords; size < 1 || size > most {
			return part, "", wire.Errorf("ValidationError", "MaxRecords must be between 1 and %d.", most)
		}
	}
	cut, next, ok := service.Page(items, token, size)
	if !ok {
		return part, "", wire.Errorf("InvalidNextToken", "The NextToken value is not valid.")
	}
	return service.List[T]{Members: cut}, next, nil
}
