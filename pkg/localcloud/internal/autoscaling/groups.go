package autoscaling

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// group is an Auto Scaling group as the store keeps it.
type group struct {
	Name    string    `json:"name"`
	ARN     string    `json:"arn"`
	Created time.Time `json:"created"`

	Min     int `json:"min"`
	Max     int `json:"max"`
	Desired int `json:"desired"`

	Template     template `json:"template"`
	Subnets      []string `json:"subnets"`
	Zones        []string `json:"zones"`
	TargetGroups []string `json:"targetGroups,omitempty"`

	Cooldown             int                `json:"cooldown"`            // seconds
	InstanceWarmup       *int               `json:"warmup,omitempty"`    // seconds
	HealthCheckType      string             `json:"healthCheckType"`     // EC2, ELB, or both with a comma
	GracePeriod          int                `json:"gracePeriod"`         // seconds
	TerminationPolicies  []string           `json:"terminationPolicies"` //
	ProtectNew           bool               `json:"protectNew,omitempty"`
	CapacityRebalance    *bool              `json:"capacityRebalance,omitempty"`
	MaxInstanceLifetime  *int               `json:"maxInstanceLifetime,omitempty"` // seconds
	ServiceLinkedRoleARN string             `json:"serviceLinkedRoleARN"`
	Maintenance          *maintenancePolicy `json:"maintenance,omitempty"`
	Distribution         *zoneDistribution  `json:"distribution,omitempty"`
	DesiredCapacityType  string             `json:"desiredCapacityType,omitempty"`
	Context              string             `json:"context,omitempty"`
	DeletionProtection   string             `json:"deletionProtection,omitempty"`

	Tags      []groupTag           `json:"tags,omitempty"`
	Suspended map[string]time.Time `json:"suspended,omitempty"` // processes, and since when
	Metrics   []string             `json:"metrics,omitempty"`   // that are collected, as far as AWS would

	Instances  []*instance `json:"instances,omitempty"`
	Activities []*activity `json:"activities,omitempty"` // oldest first
	Refreshes  []*refresh  `json:"refreshes,omitempty"`  // oldest first
	Hooks      []*hook     `json:"hooks,omitempty"`
	Policies   []*policy   `json:"policies,omitempty"`

	// Generation counts instance refreshes and their rollbacks. An instance of an earlier generation is to be replaced.
	Generation int `json:"generation"`
	// Causes are the user requests that the next scaling activities cite.
	Causes []string `json:"causes,omitempty"`
	// Failures counts launches that failed in a row; until RetryAt there is no other.
	Failures int       `json:"failures,omitempty"`
	RetryAt  time.Time `json:"retryAt,omitzero"`
	// Unsuited are the subnets in which the last launch failed: the others are tried before them.
	Unsuited []string `json:"unsuited,omitempty"`
	// Replacing counts unhealthy instances whose replacement is still to be launched.
	Replacing   int       `json:"replacing,omitempty"`
	LastScaling time.Time `json:"lastScaling,omitzero"`
	Deleting    bool      `json:"deleting,omitempty"`

	dirty bool // changed by a pass and not saved yet: most passes change nothing, and a thousand instances are long to encode
}

// template names a launch template's version: a number, $Latest or $Default.
type template struct {
	ID      string `json:"id" xml:"LaunchTemplateId"`
	Name    string `json:"name" xml:"LaunchTemplateName"`
	Version string `json:"version" xml:"Version"`
}

type maintenancePolicy struct {
	MinHealthyPercentage *int `json:"min,omitempty" query:"MinHealthyPercentage" xml:",omitempty"`
	MaxHealthyPercentage *int `json:"max,omitempty" query:"MaxHealthyPercentage" xml:",omitempty"`
}

type zoneDistribution struct {
	CapacityDistributionStrategy string `json:"strategy" query:"CapacityDistributionStrategy" wire:"enum=balanced-only|balanced-best-effort"`
}

type groupTag struct {
	Key               string `json:"key" query:"Key" wire:"required"`
	Value             string `json:"value" query:"Value"`
	PropagateAtLaunch bool   `json:"propagate" query:"PropagateAtLaunch"`
	ResourceID        string `json:"-" query:"ResourceId"`
	ResourceType      string `json:"-" query:"ResourceType"`
}

type templateSpec struct {
	LaunchTemplateID   string `query:"LaunchTemplateId"`
	LaunchTemplateName string `query:"LaunchTemplateName"`
	Version            string `query:"Version"`
}

// settings are the parameters that creating and updating share. Absent ones leave a group as it is.
type settings struct {
	AvailabilityZones                []string           `query:"AvailabilityZones"`
	AvailabilityZoneDistribution     *zoneDistribution  `query:"AvailabilityZoneDistribution"`
	CapacityRebalance                *bool              `query:"CapacityRebalance"`
	Context                          *string            `query:"Context"`
	DefaultCooldown                  *int               `query:"DefaultCooldown"`
	DefaultInstanceWarmup            *int               `query:"DefaultInstanceWarmup"`
	DeletionProtection               string             `query:"DeletionProtection" wire:"enum=none|prevent-force-deletion|prevent-all-deletion"`
	DesiredCapacity                  *int               `query:"DesiredCapacity"`
	DesiredCapacityType              string             `query:"DesiredCapacityType" wire:"enum=units"`
	HealthCheckGracePeriod           *int               `query:"HealthCheckGracePeriod"`
	HealthCheckType                  string             `query:"HealthCheckType"`
	InstanceMaintenancePolicy        *maintenancePolicy `query:"InstanceMaintenancePolicy"`
	LaunchTemplate                   *templateSpec      `query:"LaunchTemplate"`
	MaxInstanceLifetime              *int               `query:"MaxInstanceLifetime"`
	NewInstancesProtectedFromScaleIn *bool              `query:"NewInstancesProtectedFromScaleIn"`
	ServiceLinkedRoleARN             string             `query:"ServiceLinkedRoleARN"`
	SkipZonalShiftValidation         bool               `query:"SkipZonalShiftValidation"`
	TerminationPolicies              []string           `query:"TerminationPolicies"`
	VPCZoneIdentifier                *string            `query:"VPCZoneIdentifier"`
}

type createInput struct {
	Name    string `query:"AutoScalingGroupName" wire:"required"`
	MinSize int    `query:"MinSize" wire:"required"`
	MaxSize int    `query:"MaxSize" wire:"required"`
	settings
	Hooks           []hookInput `query:"LifecycleHookSpecificationList"`
	Tags            []groupTag  `query:"Tags"`
	TargetGroupARNs []string    `query:"TargetGroupARNs"`
}

type updateInput struct {
	Name    string `query:"AutoScalingGroupName" wire:"required"`
	MinSize *int   `query:"MinSize"`
	MaxSize *int   `query:"MaxSize"`
	settings
}

// processes are the ones that can be suspended.
func processes() []string {
	return []string{
		"Launch", "Terminate", "AddToLoadBalancer", "AlarmNotification", "AZRebalance", "HealthCheck", "InstanceRefresh",
		"ReplaceUnhealthy", "ScheduledActions",
	}
}

func (s *Service) createAutoScalingGroup(_ context.Context, in *createInput) (*wire.Empty, error) {
	g := &group{
		Name: in.Name, Created: time.Now(), Min: in.MinSize, Max: in.MaxSize, Desired: in.MinSize, Cooldown: 300,
		HealthCheckType: "EC2", TerminationPolicies: []string{"Default"}, Generation: 1, DeletionProtection: "none",
		ARN: fmt.Sprintf("arn:aws:autoscaling:%s:%s:autoScalingGroup:%s:autoScalingGroupName/%s",
			s.options.Region, s.options.AccountID, wire.UUID(), in.Name),
		ServiceLinkedRoleARN: fmt.Sprintf(
			"arn:aws:iam::%s:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling", s.options.AccountID),
	}
	if len(in.Name) > 255 || strings.ContainsRune(in.Name, ':') {
		return nil, wire.Errorf("ValidationError", "AutoScalingGroupName must have at most 255 characters and no colon.")
	}
	if in.LaunchTemplate == nil {
		return nil, wire.Errorf("ValidationError",
			"Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or MixedInstancesPolicy parameter.")
	}
	if err := s.apply(g, &in.settings); err != nil {
		return nil, err
	}
	if len(g.Subnets) == 0 {
		return nil, wire.Errorf("ValidationError", "At least one VPC Subnet is required: set VPCZoneIdentifier.")
	}
	for _, t := range in.Tags {
		if err := g.setTag(t); err != nil {
			return nil, err
		}
	}
	for _, arn := range in.TargetGroupARNs {
		if !s.options.Targets.HasTargetGroup(arn) {
			return nil, wire.Errorf("ValidationError", "Provided Target Groups may not be valid. Please ensure they exist and try again.")
		}
		if !slices.Contains(g.TargetGroups, arn) {
			g.TargetGroups = append(g.TargetGroups, arn)
		}
	}
	for _, h := range in.Hooks {
		if _, err := g.putHook(h); err != nil {
			return nil, err
		}
	}
	return nil, s.update(func(now time.Time) error {
		if _, exists := s.state.Groups[in.Name]; exists {
			return wire.Errorf("AlreadyExists",
				"AutoScalingGroup by this name already exists - A group with the name %s already exists", in.Name)
		}
		g.cite(now, "a user request created an AutoScalingGroup changing the desired capacity from 0 to %d.", g.Desired)
		s.state.Groups[in.Name] = g
		return nil
	})
}

func (s *Service) updateAutoScalingGroup(_ context.Context, in *updateInput) (*wire.Empty, error) {
	return nil, s.change(in.Name, func(g *group, now time.Time) error {
		next := *g
		if in.MinSize != nil {
			next.Min = *in.MinSize
		}
		if in.MaxSize != nil {
			next.Max = *in.MaxSize
		}
		if in.DesiredCapacity == nil {
			next.Desired = min(max(g.Desired, next.Min), next.Max)
		}
		if err := s.apply(&next, &in.settings); err != nil {
			return err
		}
		if next.Desired != g.Desired {
			next.cite(now, "a user request update of AutoScalingGroup constraints to min: %d, max: %d, desired: %d changing the "+
				"desired capacity from %d to %d.", next.Min, next.Max, next.Desired, g.Desired, next.Desired)
		}
		*g = next
		return nil
	})
}

// apply sets what a request gives and checks the result.
func (s *Service) apply(g *group, in *settings) error {
	set(&g.Desired, in.DesiredCapacity)
	set(&g.Cooldown, in.DefaultCooldown)
	set(&g.GracePeriod, in.HealthCheckGracePeriod)
	set(&g.ProtectNew, in.NewInstancesProtectedFromScaleIn)
	set(&g.Context, in.Context)
	if in.CapacityRebalance != nil {
		g.CapacityRebalance = in.CapacityRebalance
	}
	if in.DefaultInstanceWarmup != nil {
		if g.InstanceWarmup = in.DefaultInstanceWarmup; *in.DefaultInstanceWarmup == -1 {
			g.InstanceWarmup = nil
		}
	}
	if in.MaxInstanceLifetime != nil {
		if g.MaxInstanceLifetime = in.MaxInstanceLifetime; *in.MaxInstanceLifetime == 0 {
			g.MaxInstanceLifetime = nil
		}
	}
	if in.DeletionProtection != "" {
		g.DeletionProtection = in.DeletionProtection
	}
	if in.DesiredCapacityType != "" {
		g.DesiredCapacityType = in.DesiredCapacityType
	}
	if in.HealthCheckType != "" {
		g.HealthCheckType = in.HealthCheckType
	}
	if in.ServiceLinkedRoleARN != "" {
		g.ServiceLinkedRoleARN = in.ServiceLinkedRoleARN
	}
	if in.AvailabilityZoneDistribution != nil {
		g.Distribution = in.AvailabilityZoneDistribution
	}
	if len(in.TerminationPolicies) > 0 {
		g.TerminationPolicies = in.TerminationPolicies
	}
	if p := in.InstanceMaintenancePolicy; p != nil {
		if err := p.check(); err != nil {
			return err
		}
		if g.Maintenance = p; p.MinHealthyPercentage == nil || *p.MinHealthyPercentage == -1 {
			g.Maintenance = nil
		}
	}
	if in.LaunchTemplate != nil {
		t, err := s.template(in.LaunchTemplate)
		if err != nil {
			return err
		}
		g.Template = t
	}
	if err := s.applySubnets(g, in); err != nil {
		return err
	}
	return g.check()
}

func set[T any](field, given *T) {
	if given != nil {
		*field = *given
	}
}

// template checks that the launch template and the version exist.
func (s *Service) template(in *templateSpec) (template, error) {
	if (in.LaunchTemplateID == "") == (in.LaunchTemplateName == "") {
		return template{}, wire.Errorf("ValidationError",
			"Valid requests must contain either launchTemplateId or LaunchTemplateName")
	}
	t := template{ID: in.LaunchTemplateID, Name: in.LaunchTemplateName, Version: in.Version}
	if t.Version == "" {
		t.Version = "$Default"
	}
	info, err := s.options.Instances.ResolveTemplate(t.ID+t.Name, t.Version)
	if err != nil {
		return template{}, wire.Errorf("ValidationError", "You must use a valid fully-formed launch template. %s", message(err))
	}
	t.ID, t.Name = info.ID, info.Name
	return t, nil
}

func (s *Service) applySubnets(g *group, in *settings) error {
	if in.VPCZoneIdentifier != nil {
		g.Subnets, g.Zones = nil, nil
		for id := range strings.SplitSeq(*in.VPCZoneIdentifier, ",") {
			if id = strings.TrimSpace(id); id == "" || slices.Contains(g.Subnets, id) {
				continue
			}
			subnet, ok := s.options.Instances.Subnet(id)
			if !ok {
				return wire.Errorf("ValidationError", "The subnet ID '%s' does not exist", id)
			}
			g.Subnets = append(g.Subnets, id)
			if !slices.Contains(g.Zones, subnet.AvailabilityZone) {
				g.Zones = append(g.Zones, subnet.AvailabilityZone)
			}
		}
		slices.Sort(g.Zones)
	}
	for _, zone := range in.AvailabilityZones {
		if !slices.Contains(g.Zones, zone) {
			return wire.Errorf("ValidationError",
				"The availability zones of the specified subnets and the Auto Scaling group do not match")
		}
	}
	return nil
}

func (p *maintenancePolicy) check() error {
	if (p.MinHealthyPercentage == nil) != (p.MaxHealthyPercentage == nil) {
		return wire.Errorf("ValidationError", "You must specify both MinHealthyPercentage and MaxHealthyPercentage.")
	}
	if p.MinHealthyPercentage == nil || *p.MinHealthyPercentage == -1 && *p.MaxHealthyPercentage == -1 {
		return nil
	}
	return checkPercentages(p.MinHealthyPercentage, p.MaxHealthyPercentage)
}

// check validates what depends on more than one parameter.
func (g *group) check() error {
	switch {
	case g.Min < 0 || g.Max < 0:
		return wire.Errorf("ValidationError", "MinSize and MaxSize must not be negative")
	case g.Min > g.Max:
		return wire.Errorf("ValidationError", "Max bound, %d, must be greater than or equal to min bound, %d", g.Max, g.Min)
	case g.Desired < g.Min:
		return wire.Errorf("ValidationError", "Desired capacity:%d must be between the specified min size:%d and max size:%d",
			g.Desired, g.Min, g.Max)
	case g.Desired > g.Max:
		return wire.Errorf("ValidationError", "Desired capacity:%d must be between the specified min size:%d and max size:%d",
			g.Desired, g.Min, g.Max)
	case g.Cooldown < 0 || g.GracePeriod < 0 || g.InstanceWarmup != nil && *g.InstanceWarmup < 0:
		return wire.Errorf("ValidationError", "DefaultCooldown, HealthCheckGracePeriod and DefaultInstanceWarmup must not be negative")
	case g.MaxInstanceLifetime != nil && (*g.MaxInstanceLifetime < 86400 || *g.MaxInstanceLifetime > 31536000):
		return wire.Errorf("ValidationError", "MaxInstanceLifetime must be 0 or between 86400 and 31536000 seconds")
	}
	for kind := range strings.SplitSeq(g.HealthCheckType, ",") {
		if kind != "EC2" && kind != "ELB" {
			return wire.Errorf("ValidationError", "Invalid Health Check Type '%s': the local cloud has EC2 and ELB", kind)
		}
	}
	for _, p := range g.TerminationPolicies {
		if !slices.Contains([]string{"Default", "OldestInstance", "NewestInstance", "OldestLaunchTemplate", "OldestLaunchConfiguration",
			"ClosestToNextInstanceHour", "AllocationStrategy"}, p) {
			return wire.Errorf("ValidationError", "Invalid termination policy '%s'", p)
		}
	}
	return nil
}

type deleteInput struct {
	Name        string `query:"AutoScalingGroupName" wire:"required"`
	ForceDelete bool   `query:"ForceDelete"`
}

func (s *Service) deleteAutoScalingGroup(_ context.Context, in *deleteInput) (*wire.Empty, error) {
	return nil, s.update(func(now time.Time) error {
		g, err := s.group(in.Name)
		if err != nil {
			return err
		}
		switch {
		case g.DeletionProtection == "prevent-all-deletion" || in.ForceDelete && g.DeletionProtection == "prevent-force-deletion":
			return wire.Errorf("ResourceInUse", "The AutoScalingGroup %s is protected from deletion.", g.Name)
		case !in.ForceDelete && len(g.Instances) > 0:
			return wire.Errorf("ResourceInUse",
				"You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.")
		}
		if len(g.Instances) == 0 {
			delete(s.state.Groups, g.Name)
			return nil
		}
		g.Deleting, g.Min, g.Max, g.Desired = true, 0, 0, 0
		if r := g.activeRefresh(); r != nil {
			r.end(now, "Cancelled", "Cancelled because the Auto Scaling group is being deleted.")
		}
		g.cite(now, "a user request force deleted the AutoScalingGroup changing the desired capacity to 0.")
		return nil
	})
}

type setDesiredInput struct {
	Name            string `query:"AutoScalingGroupName" wire:"required"`
	DesiredCapacity *int   `query:"DesiredCapacity" wire:"required"`
	HonorCooldown   bool   `query:"HonorCooldown"`
}

func (s *Service) setDesiredCapacity(_ context.Context, in *setDesiredInput) (*wire.Empty, error) {
	return nil, s.change(in.Name, func(g *group, now time.Time) error {
		desired := *in.DesiredCapacity
		switch {
		case desired > g.Max:
			return wire.Errorf("ValidationError", "New SetDesiredCapacity value %d is above max value %d for the AutoScalingGroup.",
				desired, g.Max)
		case desired < g.Min:
			return wire.Errorf("ValidationError", "New SetDesiredCapacity value %d is below min value %d for the AutoScalingGroup.",
				desired, g.Min)
		case in.HonorCooldown && now.Before(g.LastScaling.Add(time.Duration(g.Cooldown)*time.Second)):
			return wire.Errorf("ScalingActivityInProgress",
				"You cannot set the desired capacity while the group %s is in its cooldown period.", g.Name)
		}
		if desired != g.Desired {
			g.cite(now, "a user request explicitly set group desired capacity changing the desired capacity from %d to %d.",
				g.Desired, desired)
		}
		g.Desired = desired
		return nil
	})
}

// granularity is how often metrics are collected: AWS has no other.
const granularity = "1Minute"

// metrics are those of a group that can be collected.
func metrics() []string {
	return []string{
		"GroupAndWarmPoolDesiredCapacity", "GroupAndWarmPoolTotalCapacity", "GroupDesiredCapacity", "GroupInServiceCapacity",
		"GroupInServiceInstances", "GroupMaxSize", "GroupMinSize", "GroupPendingCapacity", "GroupPendingInstances", "GroupStandbyCapacity",
		"GroupStandbyInstances", "GroupTerminatingCapacity", "GroupTerminatingInstances", "GroupTotalCapacity", "GroupTotalInstances",
		"WarmPoolDesiredCapacity", "WarmPoolMinSize", "WarmPoolPendingCapacity", "WarmPoolTerminatingCapacity", "WarmPoolTotalCapacity",
		"WarmPoolWarmedCapacity",
	}
}

type metricsInput struct {
	Name    string   `query:"AutoScalingGroupName" wire:"required"`
	Metrics []string `query:"Metrics"`
}

// names returns the metrics that the call names: all for none.
func (in *metricsInput) names() ([]string, error) {
	for _, m := range in.Metrics {
		if !slices.Contains(metrics(), m) {
			return nil, wire.Errorf("ValidationError", "Metric %s is not a valid metric", m)
		}
	}
	if len(in.Metrics) == 0 {
		return metrics(), nil
	}
	return in.Metrics, nil
}

type enableMetricsInput struct {
	metricsInput
	Granularity string `query:"Granularity" wire:"required,enum=1Minute"`
}

func (s *Service) enableMetricsCollection(_ context.Context, in *enableMetricsInput) (*wire.Empty, error) {
	names, err := in.names()
	if err != nil {
		return nil, err
	}
	return nil, s.change(in.Name, func(g *group, _ time.Time) error {
		all := slices.Concat(g.Metrics, names)
		slices.Sort(all)
		g.Metrics = slices.Compact(all)
		return nil
	})
}

func (s *Service) disableMetricsCollection(_ context.Context, in *metricsInput) (*wire.Empty, error) {
	names, err := in.names()
	if err != nil {
		return nil, err
	}
	return nil, s.change(in.Name, func(g *group, _ time.Time) error {
		g.Metrics = slices.DeleteFunc(slices.Clone(g.Metrics), func(m string) bool { return slices.Contains(names, m) })
		return nil
	})
}

type describeLaunchConfigurationsInput struct {
	Names      []string `query:"LaunchConfigurationNames"`
	MaxRecords *int     `query:"MaxRecords"`
	NextToken  string   `query:"NextToken"`
}

type describeLaunchConfigurationsOutput struct {
	LaunchConfigurations service.List[wire.Empty]
}

// describeLaunchConfigurations says that there are none: AWS makes no new ones.
func (s *Service) describeLaunchConfigurations(context.Context, *describeLaunchConfigurationsInput) (*describeLaunchConfigurationsOutput, error) {
	return &describeLaunchConfigurationsOutput{}, nil
}

type processesInput struct {
	Name             string   `query:"AutoScalingGroupName" wire:"required"`
	ScalingProcesses []string `query:"ScalingProcesses"`
}

func (in *processesInput) names() ([]string, error) {
	for _, p := range in.ScalingProcesses {
		if !slices.Contains(processes(), p) {
			return nil, wire.Errorf("ValidationError", "Invalid scaling process '%s': must be one of %s", p, strings.Join(processes(), ", "))
		}
	}
	if len(in.ScalingProcesses) == 0 {
		return processes(), nil
	}
	return in.ScalingProcesses, nil
}

func (s *Service) suspendProcesses(_ context.Context, in *processesInput) (*wire.Empty, error) {
	names, err := in.names()
	if err != nil {
		return nil, err
	}
	return nil, s.change(in.Name, func(g *group, now time.Time) error {
		if g.Suspended == nil {
			g.Suspended = map[string]time.Time{}
		}
		for _, p := range names {
			if !g.suspended(p) {
				g.Suspended[p] = now
			}
		}
		return nil
	})
}

func (s *Service) resumeProcesses(_ context.Context, in *processesInput) (*wire.Empty, error) {
	names, err := in.names()
	if err != nil {
		return nil, err
	}
	return nil, s.change(in.Name, func(g *group, _ time.Time) error {
		for _, p := range names {
			delete(g.Suspended, p)
		}
		return nil
	})
}

func (g *group) suspended(process string) bool { return !g.Suspended[process].IsZero() }

type filter struct {
	Name   string   `query:"Name"`
	Values []string `query:"Values"`
}

type describeGroupsInput struct {
	Names            []string `query:"AutoScalingGroupNames"`
	Filters          []filter `query:"Filters"`
	IncludeInstances *bool    `query:"IncludeInstances"`
	MaxRecords       *int     `query:"MaxRecords"`
	NextToken        string   `query:"NextToken"`
}

type describeGroupsOutput struct {
	Groups    service.List[groupView] `xml:"AutoScalingGroups"`
	NextToken string                  `xml:"NextToken,omitempty"`
}

type groupView struct {
	AutoScalingGroupARN              string
	AutoScalingGroupName             string
	AvailabilityZoneDistribution     *zoneDistribution `xml:",omitempty"`
	AvailabilityZones                service.List[string]
	CapacityRebalance                *bool  `xml:",omitempty"`
	Context                          string `xml:",omitempty"`
	CreatedTime                      *time.Time
	DefaultCooldown                  int
	DefaultInstanceWarmup            *int   `xml:",omitempty"`
	DeletionProtection               string `xml:",omitempty"`
	DesiredCapacity                  int
	DesiredCapacityType              string `xml:",omitempty"`
	EnabledMetrics                   service.List[metricView]
	HealthCheckGracePeriod           int
	HealthCheckType                  string
	InstanceMaintenancePolicy        *maintenancePolicy `xml:",omitempty"`
	Instances                        service.List[instanceView]
	LaunchTemplate                   template
	LoadBalancerNames                service.List[string]
	MaxInstanceLifetime              *int `xml:",omitempty"`
	MaxSize                          int
	MinSize                          int
	NewInstancesProtectedFromScaleIn bool
	ServiceLinkedRoleARN             string
	Status                           string `xml:",omitempty"`
	SuspendedProcesses               service.List[suspendedView]
	Tags                             service.List[tagView]
	TargetGroupARNs                  service.List[string]
	TerminationPolicies              service.List[string]
	TrafficSources                   service.List[trafficSource]
	VPCZoneIdentifier                string
}

// trafficSource is a target group as newer clients see it.
type trafficSource struct{ Identifier, Type string }

type metricView struct{ Metric, Granularity string }

type suspendedView struct{ ProcessName, SuspensionReason string }

func (s *Service) describeAutoScalingGroups(_ context.Context, in *describeGroupsInput) (*describeGroupsOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	var found []groupView
	for _, g := range service.Sorted(s.state.Groups) {
		match, err := g.matches(in.Filters)
		if err != nil {
			return nil, err
		}
		if match && (len(in.Names) == 0 || slices.Contains(in.Names, g.Name)) {
			found = append(found, g.view(in.IncludeInstances == nil || *in.IncludeInstances))
		}
	}
	part, next, err := page(found, in.MaxRecords, in.NextToken, 100)
	if err != nil {
		return nil, err
	}
	return &describeGroupsOutput{Groups: part, NextToken: next}, nil
}

// matches reports whether the group passes the filters: tag-key, tag-value and tag:KEY, each with wildcards.
func (g *group) matches(filters []filter) (bool, error) {
	for _, f := range filters {
		key, byKey := strings.CutPrefix(f.Name, "tag:")
		if !byKey && f.Name != "tag-key" && f.Name != "tag-value" {
			return false, wire.Errorf("ValidationError", "Filter type %s is not correct. Allowed filters are: tag-key, tag-value, tag:<key>",
				f.Name)
		}
		if !slices.ContainsFunc(g.Tags, func(t groupTag) bool {
			switch {
			case byKey:
				return t.Key == key && glob(f.Values, t.Value)
			case f.Name == "tag-key":
				return glob(f.Values, t.Key)
			}
			return glob(f.Values, t.Value)
		}) {
			return false, nil
		}
	}
	return true, nil
}

func glob(patterns []string, value string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		expression := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(p))
		ok, err := regexp.MatchString("^(?s:"+expression+")$", value)
		return err == nil && ok
	})
}

func (g *group) view(withInstances bool) groupView {
	v := groupView{
		AutoScalingGroupARN: g.ARN, AutoScalingGroupName: g.Name, AvailabilityZoneDistribution: g.Distribution,
		AvailabilityZones: service.List[string]{Members: g.Zones}, CapacityRebalance: g.CapacityRebalance, Context: g.Context,
		CreatedTime: millis(g.Created), DefaultCooldown: g.Cooldown, DefaultInstanceWarmup: g.InstanceWarmup,
		DeletionProtection: g.DeletionProtection, DesiredCapacity: g.Desired, DesiredCapacityType: g.DesiredCapacityType,
		HealthCheckGracePeriod: g.GracePeriod, HealthCheckType: g.HealthCheckType, InstanceMaintenancePolicy: g.Maintenance,
		LaunchTemplate: g.Template, MaxInstanceLifetime: g.MaxInstanceLifetime, MaxSize: g.Max, MinSize: g.Min,
		NewInstancesProtectedFromScaleIn: g.ProtectNew, ServiceLinkedRoleARN: g.ServiceLinkedRoleARN,
		TargetGroupARNs: service.List[string]{Members: g.TargetGroups}, TerminationPolicies: service.List[string]{Members: g.TerminationPolicies},
		VPCZoneIdentifier: strings.Join(g.Subnets, ","),
	}
	if g.Deleting {
		v.Status = "Delete in progress"
	}
	for _, arn := range g.TargetGroups {
		v.TrafficSources.Members = append(v.TrafficSources.Members, trafficSource{Identifier: arn, Type: "elbv2"})
	}
	for _, p := range slices.Sorted(maps.Keys(g.Suspended)) {
		v.SuspendedProcesses.Members = append(v.SuspendedProcesses.Members,
			suspendedView{p, "User suspended at " + g.Suspended[p].UTC().Format(time.RFC3339)})
	}
	for _, m := range g.Metrics {
		v.EnabledMetrics.Members = append(v.EnabledMetrics.Members, metricView{m, granularity})
	}
	for _, t := range g.Tags {
		v.Tags.Members = append(v.Tags.Members, t.view(g.Name))
	}
	if withInstances {
		for _, i := range g.Instances {
			if i.ID != "" {
				v.Instances.Members = append(v.Instances.Members, i.view())
			}
		}
	}
	return v
}

// launchTags are the tags of an instance that the group launches.
func (g *group) launchTags() map[string]string {
	tags := map[string]string{"aws:autoscaling:groupName": g.Name}
	for _, t := range g.Tags {
		if t.PropagateAtLaunch {
			tags[t.Key] = t.Value
		}
	}
	return tags
}

// message is an error's text without its code.
func message(err error) string {
	if e, ok := err.(*wire.Error); ok {
		return e.Message
	}
	return err.Error()
}
