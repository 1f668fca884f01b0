// Package elbv2 is Elastic Load Balancing on this machine: application load balancers that are real HTTP proxies, with
// real health checks and connection draining.
//
// A load balancer has a loopback address of its own, and its DNS name is that address as text, so that every client on
// this machine reaches it without a resolver. Its listeners are open there as long as its security groups admit them.
// Targets are instances, which the proxy reaches at their private addresses as long as their security groups admit the
// load balancer: a rule names its security group or an address range that holds its loopback address, as 0.0.0.0/0
// does. A range of the VPC does not.
//
// Known gaps: application load balancers, instance targets, and HTTP to them only; a listener has its default actions
// and no rules; an HTTPS listener serves a self-signed certificate, whatever its ARN; stickiness, slow start, access logs
// and the other attributes that change what happens are refused rather than ignored.
package elbv2

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/loopback"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	documentName = "elbv2"
	namespace    = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
	// admissionInterval is how often security groups are looked at again.
	admissionInterval = time.Second
)

type instances interface {
	Instance(id string) (ec2.InstanceInfo, bool)
	Subnet(id string) (ec2.SubnetInfo, bool)
	HasVPC(id string) bool
	HasSecurityGroup(vpcID, id string) bool
	SecurityGroupAllows(groupID string, port int, from netip.Addr, fromGroups []string) bool
}

type addresses interface {
	Allocate(owner string) (netip.Addr, error)
	Release(address netip.Addr) error
}

// Options are what a service is made of.
type Options struct {
	Region    string
	AccountID string // 12 digits
	Store     store.Store
	Instances instances
	Addresses addresses // a load balancer takes one
	Open      loopback.Opener
	// Dial connects to an instance's private address; nil for the way that this host knows.
	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Registration waits as long as it takes from a target's registration to its first health check; nil does not.
	Registration func(ctx context.Context) error
	Log          *slog.Logger // optional
}

// Service is the load balancing service of one region.
type Service struct {
	options Options
	log     *slog.Logger

	work *service.Work // woken where listeners may have to open or close

	// document's lock guards what follows, too.
	document *store.Document[state]
	state    *state
	fronts   map[string]*front // open listeners by ARN
	backends map[targetKey]*backend
	rotation map[string]int // by target group: the target after the last one that got a request
}

// state is what the store keeps, by ARN.
type state struct {
	LoadBalancers map[string]*loadBalancer `json:"loadBalancers"`
	TargetGroups  map[string]*targetGroup  `json:"targetGroups"`
	Listeners     map[string]*listener     `json:"listeners"`
}

// New loads the service's state. Nothing listens until Start.
func New(o Options) (*Service, error) {
	document, err := store.Open(o.Store, documentName, state{map[string]*loadBalancer{}, map[string]*targetGroup{}, map[string]*listener{}})
	if err != nil {
		return nil, fmt.Errorf("load load balancers: %w", err)
	}
	return &Service{
		options: o, log: service.Logger(o.Log), work: service.NewWork(), document: document, state: document.Value(),
		fronts: map[string]*front{}, backends: map[targetKey]*backend{}, rotation: map[string]int{},
	}, nil
}

// Start opens the listeners and checks the targets, until Close.
func (s *Service) Start() {
	err := s.change(func() error {
		for _, g := range s.state.TargetGroups {
			// Its requests ended with the process that served them.
			g.Targets = slices.DeleteFunc(g.Targets, func(t *target) bool { return t.State == draining })
		}
		return nil
	})
	if err != nil {
		s.log.Error("load balancer", "error", err)
	}
	s.work.Go(s.admit)
}

// Close stops listening and checking; what is under way is cut off. The state stays.
func (s *Service) Close() error {
	s.work.Cancel()
	s.document.Lock()
	for arn := range s.fronts {
		s.shut(arn)
	}
	for _, b := range s.backends {
		b.stop()
	}
	s.document.Unlock()
	s.work.Close()
	return nil
}

// API returns the operations.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name: "elasticloadbalancing", Protocol: wire.AWSQuery, Version: "2015-12-01", Namespace: namespace,
		Actions: map[string]wire.Action{
			"CreateLoadBalancer":             wire.Do(s.createLoadBalancer, s.creatingLoadBalancer),
			"DeleteLoadBalancer":             wire.Do(s.deleteLoadBalancer, func(in *loadBalancerARN) []wire.Access { return []wire.Access{s.on(in.ARN)} }),
			"DescribeLoadBalancers":          wire.DoUnscoped(s.describeLoadBalancers),
			"DescribeLoadBalancerAttributes": wire.DoUnscoped(s.describeLoadBalancerAttributes),
			"ModifyLoadBalancerAttributes":   wire.Do(s.modifyLoadBalancerAttributes, func(in *modifyLoadBalancerAttributesInput) []wire.Access { return []wire.Access{s.on(in.ARN)} }),
			"DescribeCapacityReservation":    wire.DoUnscoped(s.describeCapacityReservation),

			"CreateTargetGroup":             wire.Do(s.createTargetGroup, s.creatingTargetGroup),
			"ModifyTargetGroup":             wire.Do(s.modifyTargetGroup, func(in *modifyTargetGroupInput) []wire.Access { return []wire.Access{s.on(in.ARN)} }),
			"DeleteTargetGroup":             wire.Do(s.deleteTargetGroup, func(in *targetGroupARN) []wire.Access { return []wire.Access{s.on(in.ARN)} }),
			"DescribeTargetGroups":          wire.DoUnscoped(s.describeTargetGroups),
			"DescribeTargetGroupAttributes": wire.DoUnscoped(s.describeTargetGroupAttributes),
			"ModifyTargetGroupAttributes":   wire.Do(s.modifyTargetGroupAttributes, func(in *modifyTargetGroupAttributesInput) []wire.Access { return []wire.Access{s.on(in.ARN)} }),
			"RegisterTargets":               wire.Do(s.registerTargets, func(in *targetsInput) []wire.Access { return []wire.Access{s.on(in.ARN)} }),
			"DeregisterTargets":             wire.Do(s.deregisterTargets, func(in *targetsInput) []wire.Access { return []wire.Access{s.on(in.ARN)} }),
			"DescribeTargetHealth":          wire.DoUnscoped(s.describeTargetHealth),

			"CreateListener":             wire.Do(s.createListener, s.creatingListener),
			"ModifyListener":             wire.Do(s.modifyListener, func(in *modifyListenerInput) []wire.Access { return []wire.Access{s.on(in.ARN)} }),
			"DeleteListener":             wire.Do(s.deleteListener, func(in *listenerARN) []wire.Access { return []wire.Access{s.on(in.ARN)} }),
			"DescribeListeners":          wire.DoUnscoped(s.describeListeners),
			"DescribeListenerAttributes": wire.DoUnscoped(s.describeListenerAttributes),

			"AddTags":      wire.Do(s.addTags, s.tagging),
			"RemoveTags":   wire.Do(s.removeTags, s.untagging),
			"DescribeTags": wire.DoUnscoped(s.describeTags),
		},
	}
}

// change runs f under the lock and saves what it did. Targets and listeners are looked at again in any case: where f fails or the
// state cannot be saved, they are what they were.
func (s *Service) change(f func() error) error {
	s.document.Lock()
	defer s.document.Unlock()
	defer s.work.Wake()
	defer s.matchBackends()
	return s.document.UpdateLocked(func(*state) error { return f() })
}

// saveHealth keeps what a health check found; the caller holds the lock. Nobody waits for it, so that a failure is only logged: the
// next check finds it again.
func (s *Service) saveHealth() {
	if err := s.document.Save(); err != nil {
		s.log.Error("load balancer", "error", err)
	}
	s.matchBackends()
}

func (s *Service) arn(format string, args ...any) string {
	return fmt.Sprintf("arn:aws:elasticloadbalancing:%s:%s:", s.options.Region, s.options.AccountID) + fmt.Sprintf(format, args...)
}

// newID returns the 16 hexadecimal digits that end an ARN.
func newID() string { return service.HexID(16) }

// sorted returns the resources by creation.
func sorted[T interface{ created() time.Time }](resources map[string]T) []T {
	return slices.SortedStableFunc(maps.Values(resources), func(a, b T) int { return a.created().Compare(b.created()) })
}

// paging are the parameters that every Describe operation has.
type paging struct {
	Marker   string `query:"Marker"`
	PageSize *int   `query:"PageSize"`
}

// maxPage is the largest page.
const maxPage = 400

// page cuts a list.
func page[T any](items []T, p paging) (service.List[T], string, error) {
	size := maxPage
	if p.PageSize != nil {
		if size = *p.PageSize; size < 1 || size > maxPage {
			return service.List[T]{}, "", wire.Errorf("ValidationError", "PageSize must be between 1 and %d", maxPage)
		}
	}
	part, next, ok := service.Page(items, p.Marker, size)
	if !ok {
		return service.List[T]{}, "", wire.Errorf("ValidationError", "The marker '%s' is not valid", p.Marker)
	}
	return service.List[T]{Members: part}, next, nil
}

// absent is the error for the ARN of something that there is not, or that cannot be.
func absent(kind, arn string) *wire.Error {
	resource, code := "loadbalancer", "LoadBalancerNotFound"
	switch kind {
	case "target group":
		resource, code = "targetgroup", "TargetGroupNotFound"
	case "listener":
		resource, code = "listener", "ListenerNotFound"
	}
	if ok, err := regexp.MatchString(`^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:`+resource+`/[\w/.-]+$`, arn); err != nil || !ok {
		return wire.Errorf("ValidationError", "'%s' is not a valid %s ARN", arn, kind)
	}
	return wire.Errorf(code, "One or more %ss not found: '%s'", kind, arn)
}

// keyValue is an attribute or a tag.
type keyValue struct {
	Key   string `query:"Key" wire:"required"`
	Value string `query:"Value"`
}

func keyValues(m map[string]string) service.List[keyValue] {
	var l service.List[keyValue]
	for _, t := range service.Tags(m) {
		l.Members = append(l.Members, keyValue{t.Key, t.Value})
	}
	return l
}
