package elbv2

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// health is a target's state, in AWS's words.
type health string

const (
	initial   health = "initial"
	healthy   health = "healthy"
	unhealthy health = "unhealthy"
	draining  health = "draining"
	unused    health = "unused"
)

// target is an instance that a target group sends requests to, as the store keeps it.
type target struct {
	ID            string    `json:"id"`
	Port          int       `json:"port"`
	State         health    `json:"state"`
	Reason        string    `json:"reason,omitempty"`
	Description   string    `json:"description,omitempty"`
	DrainingSince time.Time `json:"drainingSince,omitzero"`
}

type targetKey struct {
	group string // its ARN
	id    string
	port  int
}

func (g *targetGroup) key(t *target) targetKey { return targetKey{g.ARN, t.ID, t.Port} }

// target finds a target; port 0 is the group's.
func (g *targetGroup) target(id string, port int) *target {
	for _, t := range g.Targets {
		if t.ID == id && t.Port == cmp.Or(port, g.Port) {
			return t
		}
	}
	return nil
}

type targetDescription struct {
	ID               string `query:"Id" xml:"Id" wire:"required"`
	Port             int    `query:"Port" xml:",omitempty"`
	AvailabilityZone string `query:"AvailabilityZone" xml:"-"`
}

type targetsInput struct {
	targetGroupARN
	Targets []targetDescription `query:"Targets" wire:"required"`
}

func (s *Service) registerTargets(_ context.Context, in *targetsInput) (*wire.Empty, error) {
	return nil, s.change(func() error {
		g, err := s.targetGroup(in.ARN)
		if err != nil {
			return err
		}
		for _, t := range in.Targets {
			info, ok := s.options.Instances.Instance(t.ID)
			switch {
			case !ok:
				return wire.Errorf("InvalidTarget", "The following targets are not in the target group VPC '%s': '%s'", g.VPCID, t.ID)
			case info.State != "running":
				return wire.Errorf("InvalidTarget", "The following targets are not in a running state and cannot be registered: '%s'", t.ID)
			case info.VPCID != g.VPCID:
				return wire.Errorf("InvalidTarget", "The following targets are not in the target group VPC '%s': '%s'", g.VPCID, t.ID)
			}
		}
		for _, d := range in.Targets {
			t := g.target(d.ID, d.Port)
			if t != nil && t.State != draining {
				continue
			}
			if t == nil {
				t = &target{ID: d.ID, Port: cmp.Or(d.Port, g.Port)}
				g.Targets = append(g.Targets, t)
			}
			*t = target{
				ID: t.ID, Port: t.Port, State: initial, Reason: "Elb.RegistrationInProgress",
				Description: "Target registration is in progress",
			}
			if b, ok := s.backends[g.key(t)]; ok { // It was draining and is registered again.
				b.passed, b.failed = 0, 0
			}
		}
		return nil
	})
}

// Register adds an instance to a target group at the group's port. The error is a *wire.Error with AWS's code.
func (s *Service) Register(ctx context.Context, targetGroup, instanceID string) error {
	_, err := s.registerTargets(ctx, &targetsInput{targetGroupARN{targetGroup}, []targetDescription{{ID: instanceID}}})
	return err
}

func (s *Service) deregisterTargets(_ context.Context, in *targetsInput) (*wire.Empty, error) {
	return nil, s.change(func() error {
		g, err := s.targetGroup(in.ARN)
		if err != nil {
			return err
		}
		for _, d := range in.Targets {
			if t := g.target(d.ID, d.Port); t != nil && t.State != draining {
				s.drain(g, t)
			}
		}
		return nil
	})
}

// Deregister takes an instance out of a target group: it gets no new request, and is gone from the group once those
// under way are over or the group's deregistration delay is.
func (s *Service) Deregister(ctx context.Context, targetGroup, instanceID string) error {
	_, err := s.deregisterTargets(ctx, &targetsInput{targetGroupARN{targetGroup}, []targetDescription{{ID: instanceID}}})
	return err
}

// drain lets the target's requests end; the caller holds the lock.
func (s *Service) drain(g *targetGroup, t *target) {
	key, now := g.key(t), time.Now()
	t.State, t.Reason, t.Description, t.DrainingSince = draining, "Target.DeregistrationInProgress",
		"Target deregistration is in progress", now
	b := s.backends[key]
	if b == nil || b.inFlight == 0 {
		g.remove(t)
		return
	}
	b.transport.CloseIdleConnections()
	time.AfterFunc(g.delay(), func() {
		s.work.Persist(func() error {
			err := s.change(func() error {
				if g, ok := s.state.TargetGroups[key.group]; ok {
					if t := g.target(key.id, key.port); t != nil && t.State == draining && t.DrainingSince.Equal(now) {
						g.remove(t)
					}
				}
				return nil
			})
			if err != nil {
				s.log.Error("load balancer", "error", err)
			}
			return err
		})
	})
}

// remove takes a target out of its group. What is still under way there is cut off with its backend.
func (g *targetGroup) remove(t *target) {
	g.Targets = slices.DeleteFunc(g.Targets, func(other *target) bool { return other == t })
}

// TargetHealth returns the state of an instance at a target group's port, with AWS's reason and description: initial,
// healthy, unhealthy, draining or unused; "" where it is not registered.
func (s *Service) TargetHealth(targetGroup, instanceID string) (state, reason, description string) {
	s.document.Lock()
	defer s.document.Unlock()
	g, ok := s.state.TargetGroups[targetGroup]
	if !ok {
		return "", "", ""
	}
	t := g.target(instanceID, 0)
	if t == nil {
		return "", "", ""
	}
	return string(t.State), t.Reason, t.Description
}

type describeTargetHealthInput struct {
	targetGroupARN
	Targets []targetDescription `query:"Targets"`
}

type targetHealthOutput struct {
	Descriptions service.List[targetHealthDescription] `xml:"TargetHealthDescriptions"`
}

type targetHealthDescription struct {
	HealthCheckPort string
	Target          targetDescription
	TargetHealth    struct {
		State       string
		Reason      string `xml:",omitempty"`
		Description string `xml:",omitempty"`
	}
}

func (s *Service) describeTargetHealth(_ context.Context, in *describeTargetHealthInput) (*targetHealthOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	g, err := s.targetGroup(in.ARN)
	if err != nil {
		return nil, err
	}
	targets := slices.Clone(g.Targets)
	if len(in.Targets) > 0 {
		targets = nil
		for _, d := range in.Targets {
			t := g.target(d.ID, d.Port)
			if t == nil {
				t = &target{
					ID: d.ID, Port: cmp.Or(d.Port, g.Port), State: unused, Reason: "Target.NotRegistered",
					Description: "Target is not registered to the target group",
				}
			}
			targets = append(targets, t)
		}
	}
	var out targetHealthOutput
	for _, t := range targets {
		d := targetHealthDescription{HealthCheckPort: strconv.Itoa(g.checkPort(t)), Target: targetDescription{ID: t.ID, Port: t.Port}}
		d.TargetHealth.State, d.TargetHealth.Reason, d.TargetHealth.Description = string(t.State), t.Reason, t.Description
		out.Descriptions.Members = append(out.Descriptions.Members, d)
	}
	return &out, nil
}

// checkPort is where the target's health is asked for.
func (g *targetGroup) checkPort(t *target) int {
	if port, err := strconv.Atoi(g.Check.Port); err == nil {
		return port
	}
	return t.Port
}

// admitted reports whether the target's security groups let a load balancer in that uses the group; the caller holds no
// lock.
func (s *Service) admitted(groups []string, port int, from []*loadBalancer) bool {
	for _, lb := range from {
		if slices.ContainsFunc(groups, func(id string) bool {
			return s.options.Instances.SecurityGroupAllows(id, port, lb.Address, lb.SecurityGroups)
		}) {
			return true
		}
	}
	return false
}

// loopbackClient is the address that clients of this cloud come from.
func loopbackClient() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// TargetGroupARN finds a target group by its name.
func (s *Service) TargetGroupARN(name string) (arn string, found bool) {
	s.document.Lock()
	defer s.document.Unlock()
	for _, g := range s.state.TargetGroups {
		if g.Name == name {
			return g.ARN, true
		}
	}
	return "", false
}
