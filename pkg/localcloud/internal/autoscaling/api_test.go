package autoscaling

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// client returns the SDK's client for the service.
func (b *bench) client(t *testing.T) *sdk.Client {
	server := httptest.NewServer(wire.New(wire.Options{Region: "us-west-1", AccessKeyID: "AKIA", SecretAccessKey: "secret"}, b.API()))
	t.Cleanup(server.Close)
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

// TestGroupThroughSDK makes, reads, changes and removes a group with the SDK's client, with all that Terraform sends.
func TestGroupThroughSDK(t *testing.T) {
	b, ctx := newBench(t, newCloud(), store.Memory()), t.Context()
	defer b.Close()
	c, name := b.client(t), aws.String("web")
	must(c.CreateAutoScalingGroup(ctx, &sdk.CreateAutoScalingGroupInput{
		AutoScalingGroupName: name, MinSize: aws.Int32(0), MaxSize: aws.Int32(4), DesiredCapacity: aws.Int32(0),
		LaunchTemplate:    &types.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1"), Version: aws.String("1")},
		VPCZoneIdentifier: aws.String("subnet-b,subnet-a"), TargetGroupARNs: []string{targetGroup}, HealthCheckType: aws.String("ELB"),
		HealthCheckGracePeriod: aws.Int32(30), DefaultCooldown: aws.Int32(10), DefaultInstanceWarmup: aws.Int32(20),
		CapacityRebalance: aws.Bool(false), NewInstancesProtectedFromScaleIn: aws.Bool(false), MaxInstanceLifetime: aws.Int32(86400),
		TerminationPolicies: []string{"OldestInstance"}, SkipZonalShiftValidation: aws.Bool(false),
		InstanceMaintenancePolicy: &types.InstanceMaintenancePolicy{MinHealthyPercentage: aws.Int32(100), MaxHealthyPercentage: aws.Int32(150)},
		AvailabilityZoneDistribution: &types.AvailabilityZoneDistribution{
			CapacityDistributionStrategy: types.CapacityDistributionStrategyBalancedBestEffort,
		},
		Tags: []types.Tag{{
			Key: aws.String("Name"), Value: aws.String("web"), PropagateAtLaunch: aws.Bool(true), ResourceId: name,
			ResourceType: aws.String("auto-scaling-group"),
		}},
	}))(t)
	g := must(c.DescribeAutoScalingGroups(ctx, &sdk.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"web"}}))(t).AutoScalingGroups[0]
	if diff := cmp.Diff([]any{
		"subnet-b,subnet-a", []string{"us-west-1a", "us-west-1b"}, "web", "1", []string{targetGroup}, int32(150), int32(86400), "web",
	}, []any{
		*g.VPCZoneIdentifier, g.AvailabilityZones, *g.LaunchTemplate.LaunchTemplateName, *g.LaunchTemplate.Version, g.TargetGroupARNs,
		*g.InstanceMaintenancePolicy.MaxHealthyPercentage, *g.MaxInstanceLifetime, *g.Tags[0].ResourceId,
	}); diff != "" {
		t.Errorf("group:\n%s", diff)
	}
	must(c.UpdateAutoScalingGroup(ctx, &sdk.UpdateAutoScalingGroupInput{AutoScalingGroupName: name, MinSize: aws.Int32(0), MaxInstanceLifetime: aws.Int32(0)}))(t)
	must(c.CreateOrUpdateTags(ctx, &sdk.CreateOrUpdateTagsInput{Tags: []types.Tag{{
		Key: aws.String("team"), Value: aws.String("x"), PropagateAtLaunch: aws.Bool(false), ResourceId: name, ResourceType: aws.String("auto-scaling-group"),
	}}}))(t)
	must(c.SuspendProcesses(ctx, &sdk.SuspendProcessesInput{AutoScalingGroupName: name, ScalingProcesses: []string{"AZRebalance"}}))(t)
	must(c.EnableMetricsCollection(ctx, &sdk.EnableMetricsCollectionInput{
		AutoScalingGroupName: name, Granularity: aws.String("1Minute"), Metrics: []string{"GroupMinSize", "GroupMaxSize"},
	}))(t)
	must(c.DisableMetricsCollection(ctx, &sdk.DisableMetricsCollectionInput{AutoScalingGroupName: name, Metrics: []string{"GroupMinSize"}}))(t)
	groups := must(c.DescribeAutoScalingGroups(ctx, &sdk.DescribeAutoScalingGroupsInput{}))(t).AutoScalingGroups
	if m := groups[0].EnabledMetrics; len(m) != 1 || *m[0].Metric != "GroupMaxSize" || *m[0].Granularity != "1Minute" {
		t.Errorf("metrics %+v", m)
	}
	for _, in := range []*sdk.EnableMetricsCollectionInput{{Granularity: aws.String("5Minute")}, {Granularity: aws.String("1Minute"), Metrics: []string{"Mood"}}} {
		in.AutoScalingGroupName = name
		if _, err := c.EnableMetricsCollection(ctx, in); errorCode(err) != "ValidationError" {
			t.Errorf("metrics that there are not: %v", err)
		}
	}
	if l := must(c.DescribeLaunchConfigurations(ctx, &sdk.DescribeLaunchConfigurationsInput{}))(t).LaunchConfigurations; len(l) != 0 {
		t.Errorf("launch configurations %+v", l)
	}
	must(c.PutLifecycleHook(ctx, &sdk.PutLifecycleHookInput{
		AutoScalingGroupName: name, LifecycleHookName: aws.String("hook"), LifecycleTransition: aws.String(launchingTransition),
		DefaultResult: aws.String("CONTINUE"), HeartbeatTimeout: aws.Int32(60),
	}))(t)
	policy := must(c.PutScalingPolicy(ctx, &sdk.PutScalingPolicyInput{
		AutoScalingGroupName: name, PolicyName: aws.String("cpu"), PolicyType: aws.String("TargetTrackingScaling"),
		TargetTrackingConfiguration: &types.TargetTrackingConfiguration{
			TargetValue:                   aws.Float64(60),
			PredefinedMetricSpecification: &types.PredefinedMetricSpecification{PredefinedMetricType: types.MetricTypeASGAverageCPUUtilization},
		},
	}))(t)
	shown := must(c.DescribePolicies(ctx, &sdk.DescribePoliciesInput{AutoScalingGroupName: name}))(t).ScalingPolicies
	if len(policy.Alarms) != 2 || len(shown) != 1 || *shown[0].TargetTrackingConfiguration.TargetValue != 60 || *shown[0].PolicyARN != *policy.PolicyARN {
		t.Errorf("policy %+v, shown %+v", policy, shown)
	}
	if hooks := must(c.DescribeLifecycleHooks(ctx, &sdk.DescribeLifecycleHooksInput{AutoScalingGroupName: name}))(t).LifecycleHooks; len(hooks) != 1 ||
		*hooks[0].GlobalTimeout != 6000 {
		t.Errorf("hooks %+v", hooks)
	}
	id := must(c.StartInstanceRefresh(ctx, &sdk.StartInstanceRefreshInput{
		AutoScalingGroupName: name, Strategy: types.RefreshStrategyRolling,
		DesiredConfiguration: &types.DesiredConfiguration{LaunchTemplate: &types.LaunchTemplateSpecification{
			LaunchTemplateName: aws.String("web"), Version: aws.String("2"),
		}},
		Preferences: &types.RefreshPreferences{
			AutoRollback: aws.Bool(true), MinHealthyPercentage: aws.Int32(100), MaxHealthyPercentage: aws.Int32(200), BakeTime: aws.Int32(600),
			CheckpointPercentages: []int32{50, 100},
		},
	}))(t).InstanceRefreshId
	r := must(c.DescribeInstanceRefreshes(ctx, &sdk.DescribeInstanceRefreshesInput{AutoScalingGroupName: name}))(t).InstanceRefreshes[0]
	if *r.InstanceRefreshId != *id || *r.Preferences.InstanceWarmup != 20 || *r.Preferences.CheckpointDelay != 3600 ||
		*r.DesiredConfiguration.LaunchTemplate.LaunchTemplateId != "lt-1" || len(r.Preferences.CheckpointPercentages) != 2 {
		t.Errorf("refresh %+v, preferences %+v", r, r.Preferences)
	}
	must(c.RollbackInstanceRefresh(ctx, &sdk.RollbackInstanceRefreshInput{AutoScalingGroupName: name}))(t)
	_, err := c.StartInstanceRefresh(ctx, &sdk.StartInstanceRefreshInput{AutoScalingGroupName: aws.String("none")})
	if errorCode(err) != "ValidationError" {
		t.Errorf("refresh of an unknown group: %v", err)
	}
	for why, in := range map[string]*sdk.CreateAutoScalingGroupInput{
		"an empty name":                    {AutoScalingGroupName: aws.String("")},
		"a target group that there is not": {AutoScalingGroupName: aws.String("other"), TargetGroupARNs: []string{targetGroup + "0"}},
		"a hook that notifies no ARN": {AutoScalingGroupName: aws.String("other"), LifecycleHookSpecificationList: []types.LifecycleHookSpecification{{
			LifecycleHookName: aws.String("gate"), LifecycleTransition: aws.String(launchingTransition), NotificationTargetARN: aws.String("topic"),
		}}},
	} {
		in.MinSize, in.MaxSize, in.VPCZoneIdentifier = aws.Int32(0), aws.Int32(1), aws.String("subnet-a")
		in.LaunchTemplate = &types.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1"), Version: aws.String("1")}
		if _, err := c.CreateAutoScalingGroup(ctx, in); errorCode(err) != "ValidationError" {
			t.Errorf("a group with %s: %v", why, err)
		}
	}
	_, err = c.DeleteWarmPool(ctx, &sdk.DeleteWarmPoolInput{AutoScalingGroupName: name})
	if err == nil {
		t.Error("DeleteWarmPool succeeded")
	}
	must(c.DeleteAutoScalingGroup(ctx, &sdk.DeleteAutoScalingGroupInput{AutoScalingGroupName: name, ForceDelete: aws.Bool(true)}))(t)
	if got := must(c.DescribeAutoScalingGroups(ctx, &sdk.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"web"}}))(t); len(got.AutoScalingGroups) > 0 {
		t.Errorf("groups %+v", got.AutoScalingGroups)
	}
}

func TestPolicyAlarmNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newCloud(), store.Memory())
		defer b.Close()
		b.create(0, nil)
		in := &policyInput{Group: "web", Name: "cpu", Type: "TargetTrackingScaling", TargetTracking: &targetTracking{
			TargetValue: new(60.0), DisableScaleIn: true, Predefined: &predefinedMetric{Type: "ASGAverageCPUUtilization"},
		}}
		first, err := b.putScalingPolicy(t.Context(), in)
		b.must(err)
		time.Sleep(time.Second)
		second, err := b.putScalingPolicy(t.Context(), in)
		b.must(err)
		if diff := cmp.Diff(first, second); diff != "" || len(first.Alarms.Members) != 1 {
			t.Errorf("%d alarms; the second time:\n%s", len(first.Alarms.Members), diff)
		}
	})
}
