package elbv2

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// client returns the SDK's client for the service.
func (b *bench) client() *sdk.Client {
	server := httptest.NewServer(wire.New(wire.Options{Region: "us-west-1", AccessKeyID: "AKIA", SecretAccessKey: "secret"}, b.API()))
	b.t.Cleanup(server.Close)
	return sdk.New(sdk.Options{
		Region: "us-west-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret"}, nil
		}),
	})
}

// must returns what an SDK call answers.
func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func errorCode(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return "none"
}

// TestStackThroughSDK makes, reads, changes and removes everything with the SDK's client, as Terraform does.
func TestStackThroughSDK(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	c := b.client()
	tags := []types.Tag{{Key: aws.String("Name"), Value: aws.String("web")}}
	lb := must(c.CreateLoadBalancer(ctx, &sdk.CreateLoadBalancerInput{
		Name: aws.String("web"), Subnets: []string{"subnet-a", "subnet-b"}, SecurityGroups: []string{"open"}, Tags: tags,
		Scheme: types.LoadBalancerSchemeEnumInternetFacing, Type: types.LoadBalancerTypeEnumApplication,
		IpAddressType: types.IpAddressTypeIpv4,
	}))(t).LoadBalancers[0]
	if lb.State.Code != types.LoadBalancerStateEnumProvisioning || *lb.VpcId != "vpc-1" || len(lb.AvailabilityZones) != 2 {
		t.Errorf("load balancer %+v", lb)
	}
	attributes := must(c.ModifyLoadBalancerAttributes(ctx, &sdk.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: lb.LoadBalancerArn, Attributes: []types.LoadBalancerAttribute{
			{Key: aws.String("idle_timeout.timeout_seconds"), Value: aws.String("30")},
			{Key: aws.String("deletion_protection.enabled"), Value: aws.String("true")},
		},
	}))(t).Attributes
	if len(attributes) != len(loadBalancerAttributes()) {
		t.Errorf("%d attributes, want all", len(attributes))
	}
	_, err := c.DeleteLoadBalancer(ctx, &sdk.DeleteLoadBalancerInput{LoadBalancerArn: lb.LoadBalancerArn})
	if errorCode(err) != "OperationNotPermitted" {
		t.Errorf("delete a protected load balancer: %v", err)
	}
	_, err = c.ModifyLoadBalancerAttributes(ctx, &sdk.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: lb.LoadBalancerArn, Attributes: []types.LoadBalancerAttribute{
			{Key: aws.String("deletion_protection.enabled"), Value: aws.String("false")},
			{Key: aws.String("access_logs.s3.enabled"), Value: aws.String("true")},
		},
	})
	if errorCode(err) != "ValidationError" {
		t.Errorf("access logs: %v", err)
	}

	group := must(c.CreateTargetGroup(ctx, &sdk.CreateTargetGroupInput{
		Name: aws.String("web"), Port: aws.Int32(backendPort), Protocol: types.ProtocolEnumHttp, VpcId: aws.String("vpc-1"),
		TargetType: types.TargetTypeEnumInstance, HealthCheckEnabled: aws.Bool(true), HealthCheckPath: aws.String("/healthz"),
		HealthCheckPort: aws.String("traffic-port"), HealthCheckProtocol: types.ProtocolEnumHttp,
		HealthCheckIntervalSeconds: aws.Int32(5), HealthCheckTimeoutSeconds: aws.Int32(2), HealthyThresholdCount: aws.Int32(2),
		UnhealthyThresholdCount: aws.Int32(2), Matcher: &types.Matcher{HttpCode: aws.String("200-299")}, Tags: tags,
	}))(t).TargetGroups[0]
	must(c.ModifyTargetGroupAttributes(ctx, &sdk.ModifyTargetGroupAttributesInput{
		TargetGroupArn: group.TargetGroupArn, Attributes: []types.TargetGroupAttribute{
			{Key: aws.String("deregistration_delay.timeout_seconds"), Value: aws.String("15")},
			{Key: aws.String("stickiness.enabled"), Value: aws.String("false")},
		},
	}))(t)
	listener := must(c.CreateListener(ctx, &sdk.CreateListenerInput{
		LoadBalancerArn: lb.LoadBalancerArn, Port: aws.Int32(frontPort), Protocol: types.ProtocolEnumHttp, Tags: tags,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: group.TargetGroupArn}},
	}))(t).Listeners[0]
	_, err = c.CreateListener(ctx, &sdk.CreateListenerInput{
		LoadBalancerArn: lb.LoadBalancerArn, Port: aws.Int32(frontPort), Protocol: types.ProtocolEnumHttp,
		DefaultActions: []types.Action{{Type: types.ActionTypeEnumForward, TargetGroupArn: group.TargetGroupArn}},
	})
	if errorCode(err) != "DuplicateListener" {
		t.Errorf("listener on the same port: %v", err)
	}
	for _, arn := range []*string{lb.LoadBalancerArn, group.TargetGroupArn, listener.ListenerArn} {
		got := must(c.DescribeTags(ctx, &sdk.DescribeTagsInput{ResourceArns: []string{*arn}}))(t).TagDescriptions
		if len(got) != 1 || len(got[0].Tags) != 1 || *got[0].Tags[0].Value != "web" {
			t.Errorf("tags of %s: %+v", *arn, got)
		}
	}
	if *listener.DefaultActions[0].ForwardConfig.TargetGroups[0].Weight != 1 {
		t.Errorf("default actions %+v", listener.DefaultActions)
	}

	b.instance("i-1", named("one"))
	must(c.RegisterTargets(ctx, &sdk.RegisterTargetsInput{
		TargetGroupArn: group.TargetGroupArn, Targets: []types.TargetDescription{{Id: aws.String("i-1")}},
	}))(t)
	waiter := sdk.NewTargetInServiceWaiter(c, func(o *sdk.TargetInServiceWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Millisecond, 50*time.Millisecond
	})
	if err := waiter.Wait(ctx, &sdk.DescribeTargetHealthInput{TargetGroupArn: group.TargetGroupArn}, 10*time.Second); err != nil {
		t.Error(err)
	}
	_, err = c.RegisterTargets(ctx, &sdk.RegisterTargetsInput{
		TargetGroupArn: group.TargetGroupArn, Targets: []types.TargetDescription{{Id: aws.String("i-none")}},
	})
	if errorCode(err) != "InvalidTarget" {
		t.Errorf("register an unknown instance: %v", err)
	}
	_, err = c.DeleteTargetGroup(ctx, &sdk.DeleteTargetGroupInput{TargetGroupArn: group.TargetGroupArn})
	if errorCode(err) != "ResourceInUse" {
		t.Errorf("delete a used target group: %v", err)
	}
	_, err = c.CreateRule(ctx, &sdk.CreateRuleInput{
		ListenerArn: listener.ListenerArn, Priority: aws.Int32(1), Conditions: []types.RuleCondition{}, Actions: []types.Action{},
	})
	if err == nil {
		t.Error("CreateRule succeeded")
	}

	must(c.DeleteListener(ctx, &sdk.DeleteListenerInput{ListenerArn: listener.ListenerArn}))(t)
	must(c.DeleteTargetGroup(ctx, &sdk.DeleteTargetGroupInput{TargetGroupArn: group.TargetGroupArn}))(t)
	must(c.ModifyLoadBalancerAttributes(ctx, &sdk.ModifyLoadBalancerAttributesInput{
		LoadBalancerArn: lb.LoadBalancerArn,
		Attributes:      []types.LoadBalancerAttribute{{Key: aws.String("deletion_protection.enabled"), Value: aws.String("false")}},
	}))(t)
	must(c.DeleteLoadBalancer(ctx, &sdk.DeleteLoadBalancerInput{LoadBalancerArn: lb.LoadBalancerArn}))(t)
	_, err = c.DescribeLoadBalancers(ctx, &sdk.DescribeLoadBalancersInput{LoadBalancerArns: []string{*lb.LoadBalancerArn}})
	if errorCode(err) != "LoadBalancerNotFound" {
		t.Errorf("describe a deleted load balancer: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	c := b.client()
	for name, test := range map[string]struct {
		in   *sdk.CreateLoadBalancerInput
		code string
	}{
		"network":   {&sdk.CreateLoadBalancerInput{Type: types.LoadBalancerTypeEnumNetwork, Subnets: []string{"subnet-a", "subnet-b"}}, "InvalidConfigurationRequest"},
		"one zone":  {&sdk.CreateLoadBalancerInput{Subnets: []string{"subnet-a", "subnet-a2"}}, "InvalidConfigurationRequest"},
		"no subnet": {&sdk.CreateLoadBalancerInput{}, "ValidationError"},
		"no group": {&sdk.CreateLoadBalancerInput{
			Subnets: []string{"subnet-a", "subnet-b"}, SecurityGroups: []string{"open", "sg-none"},
		}, "InvalidSecurityGroup"},
		"unknown": {&sdk.CreateLoadBalancerInput{Subnets: []string{"subnet-9"}}, "SubnetNotFound"},
	} {
		test.in.Name = aws.String("web")
		if _, err := c.CreateLoadBalancer(t.Context(), test.in); errorCode(err) != test.code {
			t.Errorf("%s: %v, want %s", name, err, test.code)
		}
	}
	_, err := c.CreateTargetGroup(t.Context(), &sdk.CreateTargetGroupInput{
		Name: aws.String("web"), Port: aws.Int32(80), Protocol: types.ProtocolEnumHttp, VpcId: aws.String("vpc-9"),
	})
	if errorCode(err) != "ValidationError" {
		t.Errorf("target group in a VPC that there is not: %v", err)
	}
	_, err = c.CreateTargetGroup(t.Context(), &sdk.CreateTargetGroupInput{
		Name: aws.String("web"), Port: aws.Int32(80), Protocol: types.ProtocolEnumTcp, VpcId: aws.String("vpc-1"),
	})
	if errorCode(err) != "UnsupportedProtocol" {
		t.Errorf("TCP target group: %v", err)
	}
}

// TestRestart has another process take over the state.
func TestRestart(t *testing.T) {
	b := newStack(t)
	b.instance("i-1", named("one"))
	b.register("i-1")
	b.Close()
	if _, err := http.Get(b.url); err == nil {
		t.Error("the listener is still open")
	}
	b.Service = newService(t, b)
	if state, _, _ := b.TargetHealth(b.group, "i-1"); state != "healthy" {
		t.Errorf("the target is %q at once, want healthy as it was", state)
	}
	b.until("it serves again", func() bool {
		response, err := http.Get(b.url)
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

func TestJudge(t *testing.T) {
	ok := verdict{state: healthy}
	bad := verdict{unhealthy, "Target.ResponseCodeMismatch", "Health checks failed with these codes: [500]"}
	idle := verdict{unused, "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"}
	tests := []struct {
		name   string
		checks []verdict
		want   []health
	}{
		{"the first pass is enough", []verdict{ok}, []health{healthy}},
		{"unhealthy at the threshold", []verdict{ok, bad, bad, bad}, []health{healthy, healthy, healthy, unhealthy}},
		{"healthy again at the threshold", []verdict{ok, bad, bad, bad, ok, ok}, []health{healthy, healthy, healthy, unhealthy, unhealthy, healthy}},
		{"a pass between failures", []verdict{ok, bad, bad, ok, bad, bad}, []health{healthy, healthy, healthy, healthy, healthy, healthy}},
		{"never healthy", []verdict{bad, bad, bad}, []health{initial, initial, unhealthy}},
		{"late, at the first pass", []verdict{bad, bad, ok}, []health{initial, initial, healthy}},
		{"unused", []verdict{idle, bad, ok, idle}, []health{unused, initial, healthy, unused}},
		{"gone", []verdict{ok, {}}, []health{healthy, ""}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			g := &targetGroup{ARN: "arn", Check: healthCheck{Interval: 30, HealthyThreshold: 2, UnhealthyThreshold: 3}}
			one := &target{ID: "i-1", Port: 80, State: initial, Reason: "Elb.RegistrationInProgress"}
			g.Targets = []*target{one}
			back := &backend{key: g.key(one), ctx: t.Context(), stop: func() {}, transport: b.transport(g.key(one))}
			b.document.Lock()
			b.state.TargetGroups["arn"], b.backends[back.key] = g, back
			b.document.Unlock()
			var got []health
			for _, v := range test.checks {
				wait := b.judge(back, v)
				back.countFailureAt = time.Time{} // as if an interval had passed
				state := health("")
				if found := g.target("i-1", 80); found != nil {
					state = found.State
				}
				got = append(got, state)
				if (state == initial || state == unused) && wait != firstChecks {
					t.Errorf("%s: the next check comes after %v", state, wait)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHealthReasons(t *testing.T) {
	b := newStack(t)
	b.instances.set("i-0", func(i *ec2.InstanceInfo) { *i = ec2.InstanceInfo{ID: "i-0", State: "running", VPCID: "vpc-1"} })
	b.instance("i-500", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	slow := make(chan bool)
	b.instance("i-slow", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-slow }))
	defer close(slow)
	b.instance("i-closed", named("x")).Close()
	b.instance("i-apart", named("x"))
	b.instances.set("i-apart", func(i *ec2.InstanceInfo) { i.SecurityGroups = []string{"shut"} })
	b.instance("i-stopped", named("x"))
	b.instances.set("i-stopped", func(i *ec2.InstanceInfo) { i.State = "stopped" })
	for id, want := range map[string]verdict{
		"i-500":     {unhealthy, "Target.ResponseCodeMismatch", "Health checks failed with these codes: [500]"},
		"i-slow":    {unhealthy, "Target.Timeout", "Request timed out"},
		"i-closed":  {unhealthy, "Target.FailedHealthChecks", "Health checks failed"},
		"i-apart":   {unhealthy, "Target.Timeout", "Request timed out"},
		"i-stopped": {unused, "Target.InvalidState", "Target is in the stopped state"},
		"i-none":    {},
	} {
		got := b.look(&backend{key: targetKey{b.group, id, backendPort}, ctx: t.Context()}, http.DefaultClient)
		if got != want {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
	}
}

// TestARNs asks for what there is not, and by what is no ARN of its kind.
func TestARNs(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	const prefix = "arn:aws:elasticloadbalancing:us-west-1:000000000000:"
	for arn, want := range map[string][3]string{
		"junk":                             {"ValidationError", "ValidationError", "ValidationError"},
		prefix + "loadbalancer/app/web/1":  {"LoadBalancerNotFound", "ValidationError", "ValidationError"},
		prefix + "targetgroup/web/1":       {"ValidationError", "TargetGroupNotFound", "ValidationError"},
		prefix + "listener/app/web/1/2":    {"ValidationError", "ValidationError", "ListenerNotFound"},
		"arn:aws:s3:::loadbalancer/app/w/": {"ValidationError", "ValidationError", "ValidationError"},
	} {
		_, balancers := b.describeLoadBalancers(ctx, &describeLoadBalancersInput{ARNs: []string{arn}})
		_, groups := b.describeTargetGroups(ctx, &describeTargetGroupsInput{ARNs: []string{arn}})
		_, listeners := b.describeListeners(ctx, &describeListenersInput{ARNs: []string{arn}})
		_, tags := b.describeTags(ctx, &describeTagsInput{ARNs: []string{arn}})
		var got [3]string
		for i, err := range []error{balancers, groups, listeners} {
			if e, ok := errors.AsType[*wire.Error](err); ok {
				got[i] = e.Code
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", arn, got, want)
		}
		if e, ok := errors.AsType[*wire.Error](tags); !ok || !slices.Contains(want[:], e.Code) {
			t.Errorf("tags of %s: %v", arn, tags)
		}
	}
}
