package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/ingot-build/ingot/pkg/tag"
)

type groupAPI interface {
	DescribeAutoScalingGroups(context.Context, *autoscaling.DescribeAutoScalingGroupsInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeAutoScalingGroupsOutput, error)
	UpdateAutoScalingGroup(context.Context, *autoscaling.UpdateAutoScalingGroupInput, ...func(*autoscaling.Options)) (*autoscaling.UpdateAutoScalingGroupOutput, error)
	DescribeScalingActivities(context.Context, *autoscaling.DescribeScalingActivitiesInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeScalingActivitiesOutput, error)
}

type balancerAPI interface {
	DescribeTargetGroups(context.Context, *elb.DescribeTargetGroupsInput, ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error)
	DescribeTargetHealth(context.Context, *elb.DescribeTargetHealthInput, ...func(*elb.Options)) (*elb.DescribeTargetHealthOutput, error)
	DescribeLoadBalancers(context.Context, *elb.DescribeLoadBalancersInput, ...func(*elb.Options)) (*elb.DescribeLoadBalancersOutput, error)
	DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error)
}

// Fleet is an Auto Scaling group, its instances, and the load balancer in front of it.
type Fleet struct {
	Group           string          `json:"group"`            // name of the Auto Scaling group
	TemplateID      string          `json:"template_id"`      // its launch template
	TemplateVersion TemplateVersion `json:"template_version"` // that it launches
	TargetGroup     string          `json:"target_group"`     // ARN; empty for a worker's
	URL             string          `json:"url"`              // where the load balancer answers; empty for a worker's
	Min             int             `json:"min"`
	Max             int             `json:"max"`
	Desired         int             `json:"desired"`
	Instances       []Instance      `json:"instances"`
	Strays          []string        `json:"strays,omitempty"` // targets that take requests and are no instances of the group
	Balancer        Balancer        `json:"-"`
}

// Instance is one of a fleet's machines.
type Instance struct {
	ID              string          `json:"id"`
	Zone            string          `json:"zone"`
	Type            string          `json:"type,omitempty"`   // t3.micro
	TemplateVersion TemplateVersion `json:"template_version"` // 0 where it is of no launch template
	Lifecycle       string          `json:"lifecycle"`        // Pending, InService, Terminating, …
	Health          string          `json:"health"`           // Auto Scaling's: Healthy or Unhealthy
	Protected       bool            `json:"protected,omitempty"`
	Target          string          `json:"target"` // the load balancer's: initial, healthy, unhealthy, draining; empty where not registered, and for a worker what Auto Scaling's view comes to
	Reason          string          `json:"reason,omitempty"`

	Release string `json:"release,omitempty"` // of its template version; empty where that is not known
	// Since is when a rollout that was watching first saw it; zero where it was there before.
	Since time.Time `json:"since,omitzero"`
}

// inService tells whether Auto Scaling counts the instance.
func (i Instance) inService() bool { return i.Lifecycle == string(asgtypes.LifecycleStateInService) }

// serves tells whether the instance takes its share of the requests.
func (i Instance) serves() bool { return i.inService() && i.Target == "healthy" }

// leaving tells whether the instance is on its way out of the group.
func (i Instance) leaving() bool { return strings.HasPrefix(i.Lifecycle, "Terminat") }

// Fleet finds the application's fleet. The error wraps ErrNoFleet where there is none.
func (r *Roller) Fleet(ctx context.Context) (Fleet, error) {
	group, err := r.findGroup(ctx)
	if err != nil {
		return Fleet{}, err
	}
	f, err := r.describeFleet(ctx, group)
	if err != nil {
		return Fleet{}, err
	}
	if f.TargetGroup != "" {
		f.URL, f.Balancer, err = r.describeBalancer(ctx, f.TargetGroup)
	}
	return f, err
}

// reloadFleet looks at a fleet that was found before: two calls, however large it is, and a third for an unknown launch
// template version.
func (r *Roller) reloadFleet(ctx context.Context, f Fleet) (Fleet, error) {
	out, err := r.groups.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{f.Group}})
	if err != nil {
		return Fleet{}, fmt.Errorf("describe Auto Scaling group %q: %w", f.Group, err)
	}
	if len(out.AutoScalingGroups) == 0 {
		return Fleet{}, fmt.Errorf("%w %q any more", ErrNoFleet, f.Group)
	}
	now, err := r.describeFleet(ctx, out.AutoScalingGroups[0])
	now.URL, now.Balancer = f.URL, f.Balancer
	return now, err
}

func (r *Roller) describeFleet(ctx context.Context, group asgtypes.AutoScalingGroup) (Fleet, error) {
	name := aws.ToString(group.AutoScalingGroupName)
	if group.LaunchTemplate == nil || len(group.TargetGroupARNs) == 0 && !r.options.Worker {
		return Fleet{}, &IncompleteError{fmt.Sprintf("the Auto Scaling group %q has no launch template or no target group", name)}
	}
	targetGroup, targets := "", workers(group)
	if len(group.TargetGroupARNs) > 0 {
		targetGroup = group.TargetGroupARNs[0]
		var err error
		if targets, err = r.targetHealth(ctx, targetGroup); err != nil {
			return Fleet{}, err
		}
	}
	version, err := templateVersionOf(group.LaunchTemplate)
	if err != nil {
		return Fleet{}, fmt.Errorf("describe Auto Scaling group %q: %w", name, err)
	}
	members, err := instances(group, targets)
	if err != nil {
		return Fleet{}, fmt.Errorf("describe Auto Scaling group %q: %w", name, err)
	}
	f := Fleet{
		Group:           name,
		TemplateID:      aws.ToString(group.LaunchTemplate.LaunchTemplateId),
		TemplateVersion: version,
		TargetGroup:     targetGroup,
		Min:             int(aws.ToInt32(group.MinSize)),
		Max:             int(aws.ToInt32(group.MaxSize)),
		Desired:         int(aws.ToInt32(group.DesiredCapacity)),
		Instances:       members,
		Strays:          strays(group, targets),
	}
	versions := map[TemplateVersion]bool{}
	for _, i := range f.Instances {
		versions[i.TemplateVersion] = true
	}
	names, err := r.releaseNames(ctx, f.TemplateID, versions)
	if err != nil {
		return Fleet{}, err
	}
	for i := range f.Instances {
		f.Instances[i].Release = names[f.Instances[i].TemplateVersion]
	}
	return f, nil
}

// runsOnly tells whether a group and all of its instances, however far they are, are of a launch template version.
// Instances for which exempt holds do not count.
func (f Fleet) runsOnly(version TemplateVersion, exempt func(Instance) bool) bool {
	for _, i := range f.Instances {
		if i.TemplateVersion != version && !i.leaving() && !exempt(i) {
			return false
		}
	}
	return f.TemplateVersion == version
}

// exempt tells whether the options leave an instance alone, whatever it runs.
func (r *Roller) exempt(i Instance) bool {
	standby := i.Lifecycle == "Standby" || i.Lifecycle == "EnteringStandby"
	return standby && r.standby() == asgtypes.StandbyInstancesIgnore ||
		i.Protected && r.protected() == asgtypes.ScaleInProtectedInstancesIgnore
}

// findGroup finds the Auto Scaling group of the application.
func (r *Roller) findGroup(ctx context.Context) (asgtypes.AutoScalingGroup, error) {
	var found []asgtypes.AutoScalingGroup
	pages := autoscaling.NewDescribeAutoScalingGroupsPaginator(r.groups, &autoscaling.DescribeAutoScalingGroupsInput{
		Filters: []asgtypes.Filter{{Name: aws.String("tag:" + tag.App), Values: []string{r.options.App}}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return asgtypes.AutoScalingGroup{}, fmt.Errorf("describe Auto Scaling groups: %w", err)
		}
		found = append(found, page.AutoScalingGroups...)
	}
	switch len(found) {
	case 0:
		return asgtypes.AutoScalingGroup{}, fmt.Errorf("%w is tagged %s=%s", ErrNoFleet, tag.App, r.options.App)
	case 1:
		return found[0], nil
	}
	return asgtypes.AutoScalingGroup{}, fmt.Errorf("%d Auto Scaling groups are tagged %s=%s, but a release goes to one: remove the tag from the others", len(found), tag.App, r.options.App)
}

// target is the load balancer's view of an instance.
type target struct{ state, reason string }

// workers is what a load balancer would say of instances that have none: one that Auto Scaling counts in has passed what holds it until
// it works.
func workers(group asgtypes.AutoScalingGroup) map[string]target {
	targets := map[string]target{}
	for _, i := range group.Instances {
		lifecycle, state := string(i.LifecycleState), "initial"
		switch {
		case strings.HasPrefix(lifecycle, "Terminat"), strings.HasPrefix(lifecycle, "Detach"):
			state = "draining"
		case aws.ToString(i.HealthStatus) == "Unhealthy":
			state = "unhealthy"
		case i.LifecycleState == asgtypes.LifecycleStateInService:
			state = "healthy"
		}
		targets[aws.ToString(i.InstanceId)] = target{state: state}
	}
	return targets
}

func (r *Roller) targetHealth(ctx context.Context, targetGroup string) (map[string]target, error) {
	out, err := r.balancers.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: aws.String(targetGroup)})
	if err != nil {
		return nil, fmt.Errorf("describe target health: %w", err)
	}
	targets := map[string]target{}
	for _, d := range out.TargetHealthDescriptions {
		t := target{state: string(d.TargetHealth.State)}
		if d.TargetHealth.Reason != "" {
			t.reason = fmt.Sprintf("%s: %s", d.TargetHealth.Reason, aws.ToString(d.TargetHealth.Description))
		}
		targets[aws.ToString(d.Target.Id)] = t
	}
	return targets, nil
}

func instances(group asgtypes.AutoScalingGroup, targets map[string]target) ([]Instance, error) {
	var all []Instance
	for _, i := range group.Instances {
		one := Instance{
			ID: aws.ToString(i.InstanceId), Zone: aws.ToString(i.AvailabilityZone), Type: aws.ToString(i.InstanceType),
			Lifecycle: string(i.LifecycleState), Health: aws.ToString(i.HealthStatus), Protected: aws.ToBool(i.ProtectedFromScaleIn),
		}
		var err error
		if one.TemplateVersion, err = templateVersionOf(i.LaunchTemplate); err != nil {
			return nil, fmt.Errorf("instance %s: %w", one.ID, err)
		}
		t := targets[one.ID]
		one.Target, one.Reason = t.state, t.reason
		all = append(all, one)
	}
	return all, nil
}

func strays(group asgtypes.AutoScalingGroup, targets map[string]target) []string {
	var all []string
	for id, t := range targets {
		switch t.state {
		case "healthy", "unhealthy", "initial":
			if !slices.ContainsFunc(group.Instances, func(i asgtypes.Instance) bool { return aws.ToString(i.InstanceId) == id }) {
				all = append(all, id)
			}
		}
	}
	slices.Sort(all)
	return all
}
