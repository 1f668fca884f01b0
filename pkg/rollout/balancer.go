package rollout

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

// Balancer is the load balancer in front of a fleet, and what of its target group no release changes.
type Balancer struct {
	Host        string // its own DNS name
	Port        int    // TCP port of the instances that requests and health checks go to
	HealthCheck HealthCheck
}

// HealthCheck is how a load balancer finds out which targets are healthy.
type HealthCheck struct {
	Path      string
	Interval  time.Duration // between two checks of a target
	Threshold int           // good checks in a row that make a target healthy
}

const (
	// latenessMargin is what an instance has beyond the time in which the load balancer notices: for the check's own
	// answer, and for the time in which nobody looked.
	latenessMargin = 5 * time.Second

	// leastVerifyLimit and leastLaunchLimit bound the wait for a load balancer that notices at once, minLaunchLimit that
	// for any.
	leastVerifyLimit = 100 * time.Second
	leastLaunchLimit = 5 * time.Minute
	minLaunchLimit   = 15 * time.Minute
)

// notice is how long the load balancer may take to notice that a target has become healthy. A target that it does not know
// yet needs but one good check, as a rule; which that is nobody promises.
func (h HealthCheck) notice() time.Duration { return time.Duration(h.Threshold) * h.Interval }

// lateness is what an instance has beyond its warm-up to be healthy.
func (h HealthCheck) lateness() time.Duration { return h.notice() + latenessMargin }

// verifyLimit bounds the look through the load balancer. Old targets are drained by then; what remains is the time that a
// load balancer takes to notice, twice: that a target is unhealthy, and that it is not.
func (h HealthCheck) verifyLimit() time.Duration { return leastVerifyLimit + 2*h.notice() }

// launchLimit bounds the wait for instances that no refresh brings. A refresh needs no such limit: EC2 Auto Scaling fails
// one that makes no progress for an hour.
func (h HealthCheck) launchLimit() time.Duration {
	return max(minLaunchLimit, leastLaunchLimit+2*h.notice())
}

// describeBalancer describes the load balancer of a target group, and returns where people reach the service: its domain, or
// the load balancer's own name, over HTTPS where it listens.
func (r *Roller) describeBalancer(ctx context.Context, targetGroup string) (serviceURL string, b Balancer, err error) {
	groups, err := r.balancers.DescribeTargetGroups(ctx, &elb.DescribeTargetGroupsInput{TargetGroupArns: []string{targetGroup}})
	if err != nil {
		return "", b, fmt.Errorf("describe target group: %w", err)
	}
	if len(groups.TargetGroups) == 0 || len(groups.TargetGroups[0].LoadBalancerArns) == 0 {
		return "", b, &IncompleteError{fmt.Sprintf("target group %q has no load balancer", targetGroup)}
	}
	group := groups.TargetGroups[0]
	arn := group.LoadBalancerArns[0]
	balancers, err := r.balancers.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{LoadBalancerArns: []string{arn}})
	if err != nil {
		return "", b, fmt.Errorf("describe load balancer: %w", err)
	}
	listeners, err := r.balancers.DescribeListeners(ctx, &elb.DescribeListenersInput{LoadBalancerArn: aws.String(arn)})
	if err != nil {
		return "", b, fmt.Errorf("describe listeners: %w", err)
	}
	if len(balancers.LoadBalancers) == 0 || len(listeners.Listeners) == 0 {
		return "", b, &IncompleteError{fmt.Sprintf("load balancer %q has no listener", arn)}
	}
	b = Balancer{
		Host: aws.ToString(balancers.LoadBalancers[0].DNSName), Port: int(aws.ToInt32(group.Port)),
		HealthCheck: HealthCheck{
			Path: aws.ToString(group.HealthCheckPath), Interval: seconds(group.HealthCheckIntervalSeconds),
			Threshold: int(aws.ToInt32(group.HealthyThresholdCount)),
		},
	}
	host := r.options.Domain
	if host == "" {
		host = b.Host
	}
	return listenerURL(host, listeners.Listeners), b, nil
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
