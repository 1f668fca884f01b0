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
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/loopback"
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
	Log       *slog.Logger // optional
}

// Service is the load balancing service of one region.
type Service struct {
	options Options
	log     *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	wake   chan struct{} // listeners may have to open or close

	mu       sync.Mutex
	state    state
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
	s := &Service{
		options: o, log: o.Log, wake: make(chan struct{}, 1), fronts: map[string]*front{}, backends: map[targetKey]*backend{},
		rotation: map[string]int{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if _, err := o.Store.Load(documentName, &s.state); err != nil {
		return nil, fmt.Errorf("load load balancers: %w", err)
	}
	if s.state.LoadBalancers == nil {
		s.state = state{map[string]*loadBalancer{}, map[string]*targetGroup{}, map[string]*listener{}}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Start opens the listeners and checks the targets, until Close.
func (s *Service) Start() {
	s.mu.Lock()
	for _, g := range s.state.TargetGroups {
		for _, t := range slices.Clone(g.Targets) {
			s.watch(g, t)
			if t.State == draining {
				s.finishDraining(g, t) // Its requests ended with the process that served them.
			}
		}
	}
	s.mu.Unlock()
	s.work.Go(s.admit)
}

// Close stops listening and checking; what is under way is cut off. The state stays.
func (s *Service) Close() error {
	s.cancel()
	s.mu.Lock()
	for arn := range s.fronts {
		s.shut(arn)
	}
	for _, b := range s.backends {
		b.stop()
	}
	s.mu.Unlock()
	s.work.Wait()
	return nil
}

// API returns the operations.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name: "elasticloadbalancing", Protocol: wire.AWSQuery, Version: "2015-12-01", Namespace: namespace,
		Actions: map[string]wire.Action{
			"CreateLoadBalancer":             wire.Do(s.createLoadBalancer),
			"DeleteLoadBalancer":             wire.Do(s.deleteLoadBalancer),
			"DescribeLoadBalancers":          wire.Do(s.describeLoadBalancers),
			"DescribeLoadBalancerAttributes": wire.Do(s.describeLoadBalancerAttributes),
			"ModifyLoadBalancerAttributes":   wire.Do(s.modifyLoadBalancerAttributes),
			"DescribeCapacityReservation":    wire.Do(s.describeCapacityReservation),
			"SetSecurityGroups":              wire.Do(s.setSecurityGroups),
			"SetSubnets":                     wire.Do(s.setSubnets),

			"CreateTargetGroup":             wire.Do(s.createTargetGroup),
			"ModifyTargetGroup":             wire.Do(s.modifyTargetGroup),
			"DeleteTargetGroup":             wire.Do(s.deleteTargetGroup),
			"DescribeTargetGroups":          wire.Do(s.describeTargetGroups),
			"DescribeTargetGroupAttributes": wire.Do(s.describeTargetGroupAttributes),
			"ModifyTargetGroupAttributes":   wire.Do(s.modifyTargetGroupAttributes),
			"RegisterTargets":               wire.Do(s.registerTargets),
			"DeregisterTargets":             wire.Do(s.deregisterTargets),
			"DescribeTargetHealth":          wire.Do(s.describeTargetHealth),

			"CreateListener":               wire.Do(s.createListener),
			"ModifyListener":               wire.Do(s.modifyListener),
			"DeleteListener":               wire.Do(s.deleteListener),
			"DescribeListeners":            wire.Do(s.describeListeners),
			"DescribeListenerAttributes":   wire.Do(s.describeListenerAttributes),
			"ModifyListenerAttributes":     wire.Do(s.modifyListenerAttributes),
			"DescribeListenerCertificates": wire.Do(s.describeListenerCertificates),
			"DescribeRules":                wire.Do(s.describeRules),

			"AddTags":      wire.Do(s.addTags),
			"RemoveTags":   wire.Do(s.removeTags),
			"DescribeTags": wire.Do(s.describeTags),
		},
	}
}

// save writes the state; the caller holds the lock.
func (s *Service) save() error {
	if err := s.options.Store.Save(documentName, s.state); err != nil {
		return fmt.Errorf("save load balancers: %w", err)
	}
	return nil
}

// saveHealth keeps what a health check found. Nobody waits for it, so that a failure is only logged.
func (s *Service) saveHealth() {
	if err := s.save(); err != nil {
		s.log.Error("load balancer", "error", err)
	}
}

// kick makes the listeners be looked at soon.
func (s *Service) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// locked runs f under the lock, saves, and looks at the listeners.
func (s *Service) locked(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := f(); err != nil {
		return err
	}
	s.kick()
	return s.save()
}

func (s *Service) arn(format string, args ...any) string {
	return fmt.Sprintf("arn:aws:elasticloadbalancing:%s:%s:", s.options.Region, s.options.AccountID) + fmt.Sprintf(format, args...)
}

// newID returns the 16 hexadecimal digits that end an ARN.
func newID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// list is a list in an answer. AWS writes the element of an empty list too, and botocore wants it.
type list[T any] struct {
	Members []T `xml:"member"`
}

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

// page cuts a list; the marker is an index.
func page[T any](items []T, p paging) (list[T], string, error) {
	start := 0
	if p.Marker != "" {
		if _, err := fmt.Sscanf(p.Marker, "%d", &start); err != nil || start < 0 || start > len(items) {
			return list[T]{}, "", wire.Errorf("ValidationError", "The marker '%s' is not valid", p.Marker)
		}
	}
	size := maxPage
	if p.PageSize != nil {
		if size = *p.PageSize; size < 1 || size > maxPage {
			return list[T]{}, "", wire.Errorf("ValidationError", "PageSize must be between 1 and %d", maxPage)
		}
	}
	if end := start + size; end < len(items) {
		return list[T]{items[start:end]}, fmt.Sprint(end), nil
	}
	return list[T]{items[start:]}, "", nil
}

// keyValue is an attribute or a tag.
type keyValue struct {
	Key   string `query:"Key" wire:"required"`
	Value string `query:"Value"`
}

func keyValues(m map[string]string) list[keyValue] {
	var l list[keyValue]
	for key, value := range m {
		l.Members = append(l.Members, keyValue{key, value})
	}
	slices.SortFunc(l.Members, func(a, b keyValue) int { return cmp.Compare(a.Key, b.Key) })
	return l
}

// empty is the output of operations whose answer has a result element with nothing in it, unlike [wire.Empty].
type empty struct{}
