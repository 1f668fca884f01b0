package autoscaling

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// policy is a scaling policy. It is kept and shown; there are no metrics on this machine that could execute it.
type policy struct {
	ID  string `json:"id"`
	ARN string `json:"arn"`
	policyInput
}

type policyInput struct {
	Group                   string          `json:"-" query:"AutoScalingGroupName" wire:"required"`
	Name                    string          `json:"name" query:"PolicyName" wire:"required"`
	AdjustmentType          string          `json:"adjustmentType,omitempty" query:"AdjustmentType" wire:"enum=ChangeInCapacity|ExactCapacity|PercentChangeInCapacity"`
	Cooldown                *int            `json:"cooldown,omitempty" query:"Cooldown"`
	Enabled                 *bool           `json:"enabled,omitempty" query:"Enabled"`
	EstimatedInstanceWarmup *int            `json:"warmup,omitempty" query:"EstimatedInstanceWarmup"`
	MetricAggregationType   string          `json:"aggregation,omitempty" query:"MetricAggregationType" wire:"enum=Minimum|Maximum|Average"`
	MinAdjustmentMagnitude  *int            `json:"magnitude,omitempty" query:"MinAdjustmentMagnitude"`
	Type                    string          `json:"type" query:"PolicyType" wire:"enum=SimpleScaling|StepScaling|TargetTrackingScaling"`
	ScalingAdjustment       *int            `json:"adjustment,omitempty" query:"ScalingAdjustment"`
	Steps                   []step          `json:"steps,omitempty" query:"StepAdjustments"`
	TargetTracking          *targetTracking `json:"targetTracking,omitempty" query:"TargetTrackingConfiguration"`
}

type step struct {
	LowerBound *float64 `json:"lower,omitempty" query:"MetricIntervalLowerBound" xml:"MetricIntervalLowerBound,omitempty"`
	UpperBound *float64 `json:"upper,omitempty" query:"MetricIntervalUpperBound" xml:"MetricIntervalUpperBound,omitempty"`
	Adjustment int      `json:"adjustment" query:"ScalingAdjustment" xml:"ScalingAdjustment" wire:"required"`
}

type targetTracking struct {
	Customized     *customizedMetric `json:"customized,omitempty" query:"CustomizedMetricSpecification" xml:"CustomizedMetricSpecification,omitempty"`
	DisableScaleIn bool              `json:"disableScaleIn" query:"DisableScaleIn"`
	Predefined     *predefinedMetric `json:"predefined,omitempty" query:"PredefinedMetricSpecification" xml:"PredefinedMetricSpecification,omitempty"`
	TargetValue    *float64          `json:"target" query:"TargetValue" wire:"required"`
}

type predefinedMetric struct {
	Type  string `json:"type" query:"PredefinedMetricType" xml:"PredefinedMetricType" wire:"required,enum=ASGAverageCPUUtilization|ASGAverageNetworkIn|ASGAverageNetworkOut|ALBRequestCountPerTarget"`
	Label string `json:"label,omitempty" query:"ResourceLabel" xml:"ResourceLabel,omitempty"`
}

type customizedMetric struct {
	Dimensions []dimension `json:"dimensions,omitempty" query:"Dimensions" xml:"Dimensions>member"`
	MetricName string      `json:"metric" query:"MetricName"`
	Namespace  string      `json:"namespace" query:"Namespace"`
	Statistic  string      `json:"statistic" query:"Statistic" wire:"enum=Average|Minimum|Maximum|SampleCount|Sum"`
	Unit       string      `json:"unit,omitempty" query:"Unit" xml:",omitempty"`
}

type dimension struct {
	Name  string `json:"name" query:"Name" wire:"required"`
	Value string `json:"value" query:"Value" wire:"required"`
}

type alarmView struct {
	AlarmARN  string
	AlarmName string
}

// alarms are the names that AWS would give the alarms of a target tracking policy.
func (p *policy) alarms(s *Service, group string) []alarmView {
	if p.Type != "TargetTrackingScaling" {
		return nil
	}
	var views []alarmView
	for _, direction := range []string{"AlarmHigh", "AlarmLow"} {
		if direction == "AlarmLow" && p.TargetTracking.DisableScaleIn {
			continue
		}
		name := fmt.Sprintf("TargetTracking-%s-%s-%s", group, direction, p.ID)
		views = append(views, alarmView{
			AlarmName: name,
			AlarmARN:  fmt.Sprintf("arn:aws:cloudwatch:%s:%s:alarm:%s", s.options.Region, s.options.AccountID, name),
		})
	}
	return views
}

type putPolicyOutput struct {
	Alarms    service.List[alarmView]
	PolicyARN string
}

func (s *Service) putScalingPolicy(_ context.Context, in *policyInput) (*putPolicyOutput, error) {
	if in.Type == "" {
		in.Type = "SimpleScaling"
	}
	if in.Enabled == nil {
		in.Enabled = new(true)
	}
	switch {
	case in.Type == "TargetTrackingScaling" && (in.TargetTracking == nil ||
		(in.TargetTracking.Predefined == nil) == (in.TargetTracking.Customized == nil)):
		return nil, wire.Errorf("ValidationError",
			"TargetTrackingConfiguration with either PredefinedMetricSpecification or CustomizedMetricSpecification is required.")
	case in.Type != "TargetTrackingScaling" && in.TargetTracking != nil:
		return nil, wire.Errorf("ValidationError", "TargetTrackingConfiguration is only valid for the policy type TargetTrackingScaling.")
	case in.Type == "StepScaling" && (len(in.Steps) == 0 || in.AdjustmentType == ""):
		return nil, wire.Errorf("ValidationError", "StepAdjustments and AdjustmentType are required for the policy type StepScaling.")
	case in.Type == "SimpleScaling" && (in.ScalingAdjustment == nil || in.AdjustmentType == ""):
		return nil, wire.Errorf("ValidationError", "ScalingAdjustment and AdjustmentType are required for the policy type SimpleScaling.")
	}
	var out putPolicyOutput
	return &out, s.change(in.Group, func(g *group, _ time.Time) error {
		index := slices.IndexFunc(g.Policies, func(p *policy) bool { return p.Name == in.Name })
		p := &policy{policyInput: *in, ID: wire.UUID()}
		if index >= 0 {
			p.ID = g.Policies[index].ID
			g.Policies[index] = p
		} else {
			g.Policies = append(g.Policies, p)
		}
		p.ARN = fmt.Sprintf("arn:aws:autoscaling:%s:%s:scalingPolicy:%s:autoScalingGroupName/%s:policyName/%s",
			s.options.Region, s.options.AccountID, p.ID, g.Name, p.Name)
		out.PolicyARN, out.Alarms.Members = p.ARN, p.alarms(s, g.Name)
		return nil
	})
}

type describePoliciesInput struct {
	Group      string   `query:"AutoScalingGroupName"`
	Names      []string `query:"PolicyNames"`
	Types      []string `query:"PolicyTypes"`
	MaxRecords *int     `query:"MaxRecords"`
	NextToken  string   `query:"NextToken"`
}

type describePoliciesOutput struct {
	Policies  service.List[policyView] `xml:"ScalingPolicies"`
	NextToken string                   `xml:"NextToken,omitempty"`
}

type policyView struct {
	AdjustmentType              string `xml:",omitempty"`
	Alarms                      service.List[alarmView]
	AutoScalingGroupName        string
	Cooldown                    *int `xml:",omitempty"`
	Enabled                     bool
	EstimatedInstanceWarmup     *int   `xml:",omitempty"`
	MetricAggregationType       string `xml:",omitempty"`
	MinAdjustmentMagnitude      *int   `xml:",omitempty"`
	PolicyARN                   string
	PolicyName                  string
	PolicyType                  string
	ScalingAdjustment           *int `xml:",omitempty"`
	StepAdjustments             service.List[step]
	TargetTrackingConfiguration *targetTracking `xml:",omitempty"`
}

func (s *Service) describePolicies(_ context.Context, in *describePoliciesInput) (*describePoliciesOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	var found []policyView
	for _, g := range service.Sorted(s.state.Groups) {
		if in.Group != "" && in.Group != g.Name {
			continue
		}
		for _, p := range g.Policies {
			named := len(in.Names) == 0 || slices.Contains(in.Names, p.Name) || slices.Contains(in.Names, p.ARN)
			if !named || len(in.Types) > 0 && !slices.Contains(in.Types, p.Type) {
				continue
			}
			found = append(found, policyView{
				AdjustmentType: p.AdjustmentType, Alarms: service.List[alarmView]{Members: p.alarms(s, g.Name)}, AutoScalingGroupName: g.Name,
				Cooldown: p.Cooldown, Enabled: *p.Enabled, EstimatedInstanceWarmup: p.EstimatedInstanceWarmup,
				MetricAggregationType: p.MetricAggregationType, MinAdjustmentMagnitude: p.MinAdjustmentMagnitude, PolicyARN: p.ARN,
				PolicyName: p.Name, PolicyType: p.Type, ScalingAdjustment: p.ScalingAdjustment, StepAdjustments: service.List[step]{Members: p.Steps},
				TargetTrackingConfiguration: p.TargetTracking,
			})
		}
	}
	part, next, err := page(found, in.MaxRecords, in.NextToken, 100)
	if err != nil {
		return nil, err
	}
	return &describePoliciesOutput{Policies: part, NextToken: next}, nil
}

type deletePolicyInput struct {
	Group string `query:"AutoScalingGroupName"`
	Name  string `query:"PolicyName" wire:"required"`
}

func (s *Service) deletePolicy(_ context.Context, in *deletePolicyInput) (*wire.Empty, error) {
	return nil, s.update(func(time.Time) error {
		for _, g := range service.Sorted(s.state.Groups) {
			for n, p := range g.Policies {
				if p.ARN == in.Name || p.Name == in.Name && in.Group == g.Name {
					g.Policies = slices.Delete(g.Policies, n, n+1)
					return nil
				}
			}
		}
		return wire.Errorf("ValidationError", "PolicyName not found - %s", in.Name)
	})
}
