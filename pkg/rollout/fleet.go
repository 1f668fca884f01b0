package rollout

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
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
	Group           string     `json:"group"`            // name of the Auto Scaling group
	TemplateID      string     `json:"template_id"`      // its launch template
	TemplateVersion string     `json:"template_version"` // a number
	TargetGroup     string     `json:"target_group"`     // ARN
	URL             string     `json:"url"`              // where the load balancer answers
	Min             int        `json:"min"`
	Max             int        `json:"max"`
	Desired         int        `json:"desired"`
	Instances       []Instance `json:"instances"`
	Strays          []string   `json:"strays,omitempty"` // targets that take requests and are no instances of the group
}

// Instance is one of a fleet's machines.
type Instance struct {
	ID              string `json:"id"`
	Zone            string `json:"zone"`
	Type            string `json:"type,omitempty"` // t3.micro
	TemplateVersion string `json:"template_version"`
	Lifecycle       string `json:"lifecycle"` // Pending, InService, Terminating, …
	Health          string `json:"health"`    // Auto Scaling's: Healthy or Unhealthy
	Protected       bool   `json:"protected,omitempty"`
	Target          string `json:"target"` // the load balancer's: initial, healthy, unhealthy, draining; empty where not registered
	Reason          string `json:"reason,omitempty"`

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
	group, err := r.group(ctx)
	if err != nil {
		return Fleet{}, err
	}
	f, err := r.fleet(ctx, group)
	if err != nil {
		return Fleet{}, err
	}
	f.URL, err = r.url(ctx, f.TargetGroup)
	return f, err
}

// again looks at a fleet that was found before: two calls, however large it is, and a third for an unknown launch
// template version.
func (r *Roller) again(ctx context.Context, f Fleet) (Fleet, error) {
	out, err := r.Groups.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{f.Group}})
	if err != nil {
		return Fleet{}, fmt.Errorf("describe Auto Scaling group %q: %w", f.Group, err)
	}
	if len(out.AutoScalingGroups) == 0 {
		return Fleet{}, fmt.Errorf("%w %q any more", ErrNoFleet, f.Group)
	}
	now, err := r.fleet(ctx, out.AutoScalingGroups[0])
	now.URL = f.URL
	return now, err
}

func (r *Roller) fleet(ctx context.Context, group asgtypes.AutoScalingGroup) (Fleet, error) {
	name := aws.ToString(group.AutoScalingGroupName)
	if group.LaunchTemplate == nil || len(group.TargetGroupARNs) == 0 {
		return Fleet{}, fmt.Errorf("the Auto Scaling group %q has no launch template or no target group: run: mage infra:apply", name)
	}
	targets, err := r.targets(ctx, group.TargetGroupARNs[0])
	if err != nil {
		return Fleet{}, err
	}
	f := Fleet{
		Group:           name,
		TemplateID:      aws.ToString(group.LaunchTemplate.LaunchTemplateId),
		TemplateVersion: aws.ToString(group.LaunchTemplate.Version),
		TargetGroup:     group.TargetGroupARNs[0],
		Min:             int(aws.ToInt32(group.MinSize)),
		Max:             int(aws.ToInt32(group.MaxSize)),
		Desired:         int(aws.ToInt32(group.DesiredCapacity)),
		Instances:       instances(group, targets),
		Strays:          strays(group, targets),
	}
	versions := map[string]bool{}
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

// isOf tells whether a group and all of its instances, however far they are, are of a launch template version.
// Instances for which exempt holds do not count.
func (f Fleet) isOf(version int64, exempt func(Instance) bool) bool {
	number := strconv.FormatInt(version, 10)
	for _, i := range f.Instances {
		if i.TemplateVersion != number && !i.leaving() && !exempt(i) {
			return false
		}
	}
	return f.TemplateVersion == number
}

// exempt tells whether the options leave an instance alone, whatever it runs.
func (r *Roller) exempt(i Instance) bool {
	standby := i.Lifecycle == "Standby" || i.Lifecycle == "EnteringStandby"
	return standby && r.standby() == asgtypes.StandbyInstancesIgnore ||
		i.Protected && r.protected() == asgtypes.ScaleInProtectedInstancesIgnore
}

// group finds the Auto Scaling group of the application.
func (r *Roller) group(ctx context.Context) (asgtypes.AutoScalingGroup, error) {
	var found []asgtypes.AutoScalingGroup
	in := &autoscaling.DescribeAutoScalingGroupsInput{
		Filters: []asgtypes.Filter{{Name: aws.String("tag:ingot:app"), Values: []string{r.options.App}}},
	}
	for {
		out, err := r.Groups.DescribeAutoScalingGroups(ctx, in)
		if err != nil {
			return asgtypes.AutoScalingGroup{}, fmt.Errorf("describe Auto Scaling groups: %w", err)
		}
		found = append(found, out.AutoScalingGroups...)
		if aws.ToString(out.NextToken) == "" {
			break
		}
		in.NextToken = out.NextToken
	}
	switch len(found) {
	case 0:
		return asgtypes.AutoScalingGroup{}, fmt.Errorf("%w is tagged ingot:app=%s: run: mage infra:apply", ErrNoFleet, r.options.App)
	case 1:
		return found[0], nil
	}
	return asgtypes.AutoScalingGroup{}, fmt.Errorf("%d Auto Scaling groups are tagged ingot:app=%s, but a release goes to one: remove the tag from the others", len(found), r.options.App)
}

// target is the load balancer's view of an instance.
type target struct{ state, reason string }

func (r *Roller) targets(ctx context.Context, targetGroup string) (map[string]target, error) {
	out, err := r.Balancers.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: aws.String(targetGroup)})
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

func instances(group asgtypes.AutoScalingGroup, targets map[string]target) []Instance {
	var all []Instance
	for _, i := range group.Instances {
		one := Instance{
			ID: aws.ToString(i.InstanceId), Zone: aws.ToString(i.AvailabilityZone), Type: aws.ToString(i.InstanceType),
			Lifecycle: string(i.LifecycleState), Health: aws.ToString(i.HealthStatus), Protected: aws.ToBool(i.ProtectedFromScaleIn),
		}
		if i.LaunchTemplate != nil {
			one.TemplateVersion = aws.ToString(i.LaunchTemplate.Version)
		}
		t := targets[one.ID]
		one.Target, one.Reason = t.state, t.reason
		all = append(all, one)
	}
	return all
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

// url is where people reach the service: its domain, or the load balancer's own name, over HTTPS where it listens.
func (r *Roller) url(ctx context.Context, targetGroup string) (string, error) {
	groups, err := r.Balancers.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{TargetGroupArns: []string{targetGroup}})
	if err != nil {
		return "", fmt.Errorf("describe target group: %w", err)
	}
	if len(groups.TargetGroups) == 0 || len(groups.TargetGroups[0].LoadBalancerArns) == 0 {
		return "", fmt.Errorf("target group %q has no load balancer: run: mage infra:apply", targetGroup)
	}
	arn := groups.TargetGroups[0].LoadBalancerArns[0]
	balancers, err := r.Balancers.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{arn}})
	if err != nil {
		return "", fmt.Errorf("describe load balancer: %w", err)
	}
	listeners, err := r.Balancers.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: aws.String(arn)})
	if err != nil {
		return "", fmt.Errorf("describe listeners: %w", err)
	}
	if len(balancers.LoadBalancers) == 0 || len(listeners.Listeners) == 0 {
		return "", fmt.Errorf("load balancer %q has no listener: run: mage infra:apply", arn)
	}
	host := r.options.Domain
	if host == "" {
		host = aws.ToString(balancers.LoadBalancers[0].DNSName)
	}
	return listenerURL(host, listeners.Listeners), nil
}

// listenerURL prefers HTTPS, and leaves a protocol's own port unsaid.
func listenerURL(host string, listeners []elbtypes.Listener) string {
	best := listeners[0]
	for _, l := range listeners {
		if l.Protocol == elbtypes.ProtocolEnumHttps {
			best = l
		}
	}
	u := url.URL{Scheme: "http", Host: host}
	usual := int32(80)
	if best.Protocol == elbtypes.ProtocolEnumHttps {
		u.Scheme, usual = "https", 443
	}
	if port := aws.ToInt32(best.Port); port != usual {
		u.Host += ":" + strconv.Itoa(int(port))
	}
	return u.String()
}
