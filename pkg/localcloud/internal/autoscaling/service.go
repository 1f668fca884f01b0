// Package autoscaling is Amazon EC2 Auto Scaling on this machine: groups that launch and replace real instances, and
// instance refreshes that really roll, bake, fail and roll back.
//
// A group is a record and a loop. The loop looks at what is there (instances at EC2, targets at the load balancer),
// lets a pure function decide what to do ([group.step]), saves the decision, and only then acts. So a process that was
// killed at any moment goes on where it was: what it decided is in the store, and every act can be repeated.
//
// Known gaps: scaling policies are kept and shown but never executed; mixed instances policies, warm pools, scheduled
// actions, launch configurations and classic load balancers are not there and are refused as unknown parameters.
package autoscaling

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
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
	Subnet(id string) (ec2.SubnetInfo, bool)
	OnStateChange(func(ec2.InstanceInfo))
}

type targets interface {
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
	Alarms    alarms       // optional; without it no alarm is known
	Log       *slog.Logger // optional
}

// Service is the Auto Scaling service of one region.
type Service struct {
	options Options
	log     *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{}

	mu        sync.Mutex
	state     state
	slots     chan struct{}   // bounds the launches under way
	launching map[string]bool // client tokens of launches that this process has under way
	listeners []func(LifecycleAction)
}

// state is what the store keeps.
type state struct {
	Groups map[string]*group `json:"groups"`
}

// New loads the service's state. Nothing happens until Start.
func New(o Options) (*Service, error) {
	s := &Service{options: o, log: o.Log, wake: make(chan struct{}, 1), launching: map[string]bool{},
		slots: make(chan struct{}, launchesAtOnce)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if _, err := o.Store.Load(documentName, &s.state); err != nil {
		return nil, fmt.Errorf("load auto scaling groups: %w", err)
	}
	if s.state.Groups == nil {
		s.state.Groups = map[string]*group{}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	o.Instances.OnStateChange(func(ec2.InstanceInfo) { s.kick() })
	return s, nil
}

// Start begins to keep the groups as they should be, until Close.
func (s *Service) Start() {
	s.mu.Lock()
	for _, g := range s.state.Groups {
		s.announce(g, g.waitingActions())
	}
	s.mu.Unlock()
	s.work.Go(s.loop)
}

// Close ends the service's work. Instances stay as they are.
func (s *Service) Close() error {
	s.cancel()
	s.work.Wait()
	return nil
}

// API returns the operations.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name: "autoscaling", Protocol: wire.AWSQuery, Version: "2011-01-01", Namespace: namespace,
		Actions: map[string]wire.Action{
			"CreateAutoScalingGroup":    wire.Do(s.createAutoScalingGroup),
			"UpdateAutoScalingGroup":    wire.Do(s.updateAutoScalingGroup),
			"DeleteAutoScalingGroup":    wire.Do(s.deleteAutoScalingGroup),
			"DescribeAutoScalingGroups": wire.Do(s.describeAutoScalingGroups),
			"SetDesiredCapacity":        wire.Do(s.setDesiredCapacity),
			"SuspendProcesses":          wire.Do(s.suspendProcesses),
			"ResumeProcesses":           wire.Do(s.resumeProcesses),

			"DescribeAutoScalingInstances":        wire.Do(s.describeAutoScalingInstances),
			"TerminateInstanceInAutoScalingGroup": wire.Do(s.terminateInstance),
			"EnterStandby":                        wire.Do(s.enterStandby),
			"ExitStandby":                         wire.Do(s.exitStandby),
			"SetInstanceProtection":               wire.Do(s.setInstanceProtection),
			"SetInstanceHealth":                   wire.Do(s.setInstanceHealth),

			"AttachLoadBalancerTargetGroups":   wire.Do(s.attachLoadBalancerTargetGroups),
			"DetachLoadBalancerTargetGroups":   wire.Do(s.detachLoadBalancerTargetGroups),
			"DescribeLoadBalancerTargetGroups": wire.Do(s.describeLoadBalancerTargetGroups),
			"AttachTrafficSources":             wire.Do(s.attachTrafficSources),
			"DetachTrafficSources":             wire.Do(s.detachTrafficSources),
			"DescribeTrafficSources":           wire.Do(s.describeTrafficSources),

			"DescribeScalingActivities": wire.Do(s.describeScalingActivities),
			"PutScalingPolicy":          wire.Do(s.putScalingPolicy),
			"DescribePolicies":          wire.Do(s.describePolicies),
			"DeletePolicy":              wire.Do(s.deletePolicy),
			"CreateOrUpdateTags":        wire.Do(s.createOrUpdateTags),
			"DeleteTags":                wire.Do(s.deleteTags),
			"DescribeTags":              wire.Do(s.describeTags),

			"PutLifecycleHook":               wire.Do(s.putLifecycleHook),
			"DeleteLifecycleHook":            wire.Do(s.deleteLifecycleHook),
			"DescribeLifecycleHooks":         wire.Do(s.describeLifecycleHooks),
			"CompleteLifecycleAction":        wire.Do(s.completeLifecycleAction),
			"RecordLifecycleActionHeartbeat": wire.Do(s.recordLifecycleActionHeartbeat),

			"StartInstanceRefresh":      wire.Do(s.startInstanceRefresh),
			"CancelInstanceRefresh":     wire.Do(s.cancelInstanceRefresh),
			"RollbackInstanceRefresh":   wire.Do(s.rollbackInstanceRefresh),
			"DescribeInstanceRefreshes": wire.Do(s.describeInstanceRefreshes),
		},
	}
}

// kick makes the loop look at the groups soon.
func (s *Service) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// save writes the state; the caller holds the lock.
func (s *Service) save() error {
	if err := s.options.Store.Save(documentName, s.state); err != nil {
		return fmt.Errorf("save auto scaling groups: %w", err)
	}
	for _, g := range s.state.Groups {
		g.dirty = false
	}
	return nil
}

// group returns the group of that name; the caller holds the lock.
func (s *Service) group(name string) (*group, error) {
	g, ok := s.state.Groups[name]
	if !ok {
		return nil, wire.Errorf("ValidationError", "AutoScalingGroup name not found - AutoScalingGroup %s not found", name)
	}
	return g, nil
}

// change runs f on a group under the lock, saves, and wakes the loop.
func (s *Service) change(name string, f func(g *group, now time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, err := s.group(name)
	if err != nil {
		return err
	}
	if g.Deleting {
		return wire.Errorf("ScalingActivityInProgress", "AutoScalingGroup %s is being deleted.", name)
	}
	if err := f(g, time.Now()); err != nil {
		return err
	}
	s.kick()
	return s.save()
}

// sortedGroups returns the groups by name; the caller holds the lock.
func (s *Service) sortedGroups() []*group {
	groups := make([]*group, 0, len(s.state.Groups))
	for _, g := range s.state.Groups {
		groups = append(groups, g)
	}
	slices.SortFunc(groups, func(a, b *group) int { return cmp.Compare(a.Name, b.Name) })
	return groups
}

// list is a list in an answer. AWS writes the element of an empty list too, and botocore wants it.
type list[T any] struct {
	Members []T `xml:"member"`
}

// millis is a time as the API shows it.
func millis(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}

// newID returns a random UUID.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// page cuts a list to MaxRecords from the token on, which is an index.
func page[T any](items []T, maxRecords *int, token string, most int) (part []T, next string, err error) {
	start := 0
	if token != "" {
		if _, err := fmt.Sscanf(token, "%d", &start); err != nil || start < 0 || start > len(items) {
			return nil, "", wire.Errorf("InvalidNextToken", "The NextToken value is not valid.")
		}
	}
	size := most
	if maxRecords != nil {
		if *maxRecords < 1 || *maxRecords > most {
			return nil, "", wire.Errorf("ValidationError", "MaxRecords must be between 1 and %d.", most)
		}
		size = *maxRecords
	}
	if end := start + size; end < len(items) {
		return items[start:end], fmt.Sprint(end), nil
	}
	return items[start:], "", nil
}

// empty is the output of operations whose answer has a result element with nothing in it, unlike [wire.Empty].
type empty struct{}
