package autoscaling

import (
	"context"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

type trafficSource struct {
	Identifier string `query:"Identifier" wire:"required"`
	Type       string `query:"Type" xml:",omitempty"`
}

// targetGroupARNs returns the target groups of traffic sources, which is the only kind there is.
func targetGroupARNs(sources []trafficSource) ([]string, error) {
	var arns []string
	for _, source := range sources {
		if source.Type != "" && source.Type != "elbv2" {
			return nil, wire.Errorf("ValidationError", "Traffic source type %s is not supported: the local cloud has elbv2", source.Type)
		}
		arns = append(arns, source.Identifier)
	}
	return arns, nil
}

func (g *group) attach(arn string) {
	if !slices.Contains(g.TargetGroups, arn) {
		g.TargetGroups = append(g.TargetGroups, arn)
	}
}

type targetGroupsInput struct {
	Name string   `query:"AutoScalingGroupName" wire:"required"`
	ARNs []string `query:"TargetGroupARNs" wire:"required"`
}

func (s *Service) attachLoadBalancerTargetGroups(_ context.Context, in *targetGroupsInput) (*empty, error) {
	return nil, s.attachAll(in.Name, in.ARNs)
}

func (s *Service) attachAll(name string, arns []string) error {
	return s.change(name, func(g *group, _ time.Time) error {
		for _, arn := range arns {
			g.attach(arn)
		}
		return nil
	})
}

func (s *Service) detachLoadBalancerTargetGroups(_ context.Context, in *targetGroupsInput) (*empty, error) {
	return nil, s.detachAll(in.Name, in.ARNs)
}

func (s *Service) detachAll(name string, arns []string) error {
	return s.change(name, func(g *group, _ time.Time) error {
		for _, arn := range arns {
			if !slices.Contains(g.TargetGroups, arn) {
				return wire.Errorf("ValidationError", "Trying to remove Target Groups that are not part of the group: %s", arn)
			}
		}
		g.TargetGroups = slices.DeleteFunc(g.TargetGroups, func(arn string) bool { return slices.Contains(arns, arn) })
		return nil
	})
}

type trafficSourcesInput struct {
	Name                     string          `query:"AutoScalingGroupName" wire:"required"`
	TrafficSources           []trafficSource `query:"TrafficSources" wire:"required"`
	SkipZonalShiftValidation bool            `query:"SkipZonalShiftValidation"`
}

func (s *Service) attachTrafficSources(_ context.Context, in *trafficSourcesInput) (*empty, error) {
	arns, err := targetGroupARNs(in.TrafficSources)
	if err != nil {
		return nil, err
	}
	return nil, s.attachAll(in.Name, arns)
}

func (s *Service) detachTrafficSources(_ context.Context, in *trafficSourcesInput) (*empty, error) {
	arns, err := targetGroupARNs(in.TrafficSources)
	if err != nil {
		return nil, err
	}
	return nil, s.detachAll(in.Name, arns)
}

type describeTargetGroupsInput struct {
	Name       string `query:"AutoScalingGroupName" wire:"required"`
	MaxRecords *int   `query:"MaxRecords"`
	NextToken  string `query:"NextToken"`
}

type targetGroupState struct {
	LoadBalancerTargetGroupARN string
	State                      string
}

type describeTargetGroupsOutput struct {
	States    list[targetGroupState] `xml:"LoadBalancerTargetGroups"`
	NextToken string                 `xml:"NextToken,omitempty"`
}

func (s *Service) describeLoadBalancerTargetGroups(_ context.Context, in *describeTargetGroupsInput) (*describeTargetGroupsOutput, error) {
	states, err := s.targetGroupStates(in.Name)
	if err != nil {
		return nil, err
	}
	part, next, err := page(states, in.MaxRecords, in.NextToken, 100)
	if err != nil {
		return nil, err
	}
	return &describeTargetGroupsOutput{States: list[targetGroupState]{part}, NextToken: next}, nil
}

// targetGroupStates tells for each target group whether the group's instances are there: Adding, Added, or InService
// once one of them is healthy.
func (s *Service) targetGroupStates(name string) ([]targetGroupState, error) {
	s.mu.Lock()
	g, err := s.group(name)
	if err != nil {
		s.mu.Unlock()
		return nil, err
	}
	members := map[string][]string{}
	arns := slices.Clone(g.TargetGroups)
	missing := map[string]bool{}
	for _, i := range g.Instances {
		for _, arn := range arns {
			if slices.Contains(i.Registered, arn) {
				members[arn] = append(members[arn], i.ID)
			} else if i.State == inService && !i.NoTargets {
				missing[arn] = true
			}
		}
	}
	s.mu.Unlock()
	var states []targetGroupState
	for _, arn := range arns {
		state := "Added"
		if missing[arn] {
			state = "Adding"
		} else if slices.ContainsFunc(members[arn], func(id string) bool {
			health, _, _ := s.options.Targets.TargetHealth(arn, id)
			return health == "healthy"
		}) {
			state = "InService"
		}
		states = append(states, targetGroupState{arn, state})
	}
	return states, nil
}

type describeTrafficSourcesInput struct {
	describeTargetGroupsInput
	Type string `query:"TrafficSourceType"`
}

type trafficSourceState struct {
	Identifier    string
	State         string
	TrafficSource string
	Type          string
}

type describeTrafficSourcesOutput struct {
	TrafficSources list[trafficSourceState]
	NextToken      string `xml:"NextToken,omitempty"`
}

func (s *Service) describeTrafficSources(_ context.Context, in *describeTrafficSourcesInput) (*describeTrafficSourcesOutput, error) {
	states, err := s.targetGroupStates(in.Name)
	if err != nil {
		return nil, err
	}
	var views []trafficSourceState
	for _, state := range states {
		if in.Type == "" || in.Type == "elbv2" {
			arn := state.LoadBalancerTargetGroupARN
			views = append(views, trafficSourceState{Identifier: arn, State: state.State, TrafficSource: arn, Type: "elbv2"})
		}
	}
	part, next, err := page(views, in.MaxRecords, in.NextToken, 50)
	if err != nil {
		return nil, err
	}
	return &describeTrafficSourcesOutput{TrafficSources: list[trafficSourceState]{part}, NextToken: next}, nil
}
