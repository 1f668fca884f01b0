package codedeploy

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/autoscaling"
)

// TestGroupThroughSDK makes, reads, changes and removes what Terraform does, with what it sends.
func TestGroupThroughSDK(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	defer b.Close()
	c, name := b.client(), aws.String("web")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.CreateApplication(ctx, &sdk.CreateApplicationInput{
		ApplicationName: name, ComputePlatform: types.ComputePlatformServer, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}},
	})
	must(err)
	app, err := c.GetApplication(ctx, &sdk.GetApplicationInput{ApplicationName: name})
	must(err)
	if app.Application.ComputePlatform != types.ComputePlatformServer || app.Application.CreateTime.IsZero() {
		t.Errorf("application: %+v", app.Application)
	}
	tags, err := c.ListTagsForResource(ctx, &sdk.ListTagsForResourceInput{
		ResourceArn: aws.String("arn:aws:codedeploy:us-west-1:000000000000:application:web"),
	})
	must(err)
	if len(tags.Tags) != 1 || *tags.Tags[0].Value != "1" {
		t.Errorf("tags: %+v", tags.Tags)
	}

	_, err = c.CreateDeploymentGroup(ctx, &sdk.CreateDeploymentGroupInput{
		ApplicationName: name, DeploymentGroupName: name, ServiceRoleArn: aws.String(testRole), AutoScalingGroups: []string{"web"},
		DeploymentConfigName:   aws.String(allAtOnce),
		DeploymentStyle:        &types.DeploymentStyle{DeploymentType: "IN_PLACE", DeploymentOption: "WITH_TRAFFIC_CONTROL"},
		LoadBalancerInfo:       &types.LoadBalancerInfo{TargetGroupInfoList: []types.TargetGroupInfo{{Name: name}}},
		TerminationHookEnabled: aws.Bool(false), OutdatedInstancesStrategy: "UPDATE",
		AutoRollbackConfiguration: &types.AutoRollbackConfiguration{Enabled: true, Events: []types.AutoRollbackEvent{"DEPLOYMENT_FAILURE"}},
		AlarmConfiguration:        &types.AlarmConfiguration{Enabled: true, Alarms: []types.Alarm{{Name: aws.String("errors")}}},
	})
	must(err)
	get := func() *types.DeploymentGroupInfo {
		t.Helper()
		out, err := c.GetDeploymentGroup(ctx, &sdk.GetDeploymentGroupInput{ApplicationName: name, DeploymentGroupName: name})
		must(err)
		return out.DeploymentGroupInfo
	}
	g := get()
	if len(g.AutoScalingGroups) != 1 || g.DeploymentStyle.DeploymentOption != "WITH_TRAFFIC_CONTROL" || *g.LoadBalancerInfo.TargetGroupInfoList[0].Name != "web" ||
		!g.AutoRollbackConfiguration.Enabled || *g.AlarmConfiguration.Alarms[0].Name != "errors" || *g.DeploymentConfigName != allAtOnce ||
		g.OutdatedInstancesStrategy != "UPDATE" || *g.ServiceRoleArn != testRole {
		t.Errorf("group: %+v", g)
	}
	hook := *g.AutoScalingGroups[0].Hook
	if !strings.HasPrefix(hook, "CodeDeploy-managed-automatic-launch-deployment-hook-web-") {
		t.Errorf("hook %q", hook)
	}
	want := autoscaling.Hook{
		Name: hook, Transition: "autoscaling:EC2_INSTANCE_LAUNCHING", DefaultResult: "ABANDON", Heartbeat: hookHeartbeat,
		Metadata: *g.DeploymentGroupId,
		Target:   "arn:aws:sqs:us-west-1:000000000000:razorbill-us-west-1-prod-default-autoscaling-lifecycle-hook",
	}
	if diff := cmp.Diff(want, b.cloud.hooks[hook]); diff != "" {
		t.Errorf("hook (-want +got):\n%s", diff)
	}

	// A hook that is gone stays away until an update takes the Auto Scaling group out, and another one puts it in.
	b.cloud.DeleteHook("web", hook)
	update := &sdk.UpdateDeploymentGroupInput{ApplicationName: name, CurrentDeploymentGroupName: name, OutdatedInstancesStrategy: "IGNORE"}
	_, err = c.UpdateDeploymentGroup(ctx, update)
	must(err)
	if len(b.cloud.hooks) != 0 || get().OutdatedInstancesStrategy != "IGNORE" {
		t.Errorf("hooks %v after an update that names no group", b.cloud.hooks)
	}
	update.AutoScalingGroups = []string{"web"}
	_, err = c.UpdateDeploymentGroup(ctx, update)
	must(err)
	if still := *get().AutoScalingGroups[0].Hook; still != hook || len(b.cloud.hooks) != 0 {
		t.Errorf("an update that changes no group repairs hook %q to %q: %v", hook, still, b.cloud.hooks)
	}
	for _, names := range [][]string{{}, {"web"}} {
		update.AutoScalingGroups = names
		_, err = c.UpdateDeploymentGroup(ctx, update)
		must(err)
	}
	repaired := *get().AutoScalingGroups[0].Hook
	if repaired == hook || !b.cloud.HasHook("web", repaired) {
		t.Errorf("hook %q is not repaired: %v", repaired, b.cloud.hooks)
	}
	_, err = c.UpdateDeploymentGroup(ctx, update)
	must(err)
	if again := *get().AutoScalingGroups[0].Hook; again != repaired || len(b.cloud.hooks) != 1 {
		t.Errorf("an update changes the hook %q that is there to %q", repaired, again)
	}
	update.AutoScalingGroups = []string{}
	_, err = c.UpdateDeploymentGroup(ctx, update)
	must(err)
	if len(b.cloud.hooks) != 0 || len(get().AutoScalingGroups) != 0 {
		t.Errorf("hooks %v after the group was taken away", b.cloud.hooks)
	}
	update.AutoScalingGroups = []string{"web"}
	_, err = c.UpdateDeploymentGroup(ctx, update)
	must(err)

	b.restart()
	c = b.client()
	if *get().AutoScalingGroups[0].Name != "web" {
		t.Error("the group is lost")
	}
	_, err = c.DeleteDeploymentGroup(ctx, &sdk.DeleteDeploymentGroupInput{ApplicationName: name, DeploymentGroupName: name})
	must(err)
	_, err = c.DeleteApplication(ctx, &sdk.DeleteApplicationInput{ApplicationName: name})
	must(err)
	if len(b.cloud.hooks) != 0 {
		t.Errorf("hooks that are left: %v", b.cloud.hooks)
	}
	_, err = c.GetApplication(ctx, &sdk.GetApplicationInput{ApplicationName: name})
	if errorCode(err) != "ApplicationDoesNotExistException" {
		t.Errorf("get an application that is gone: %v", err)
	}
}

func TestGroupErrors(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	defer b.Close()
	b.group(nil)
	c := b.client()
	for want, change := range map[string]func(*sdk.CreateDeploymentGroupInput){
		"ApplicationDoesNotExistException":      func(in *sdk.CreateDeploymentGroupInput) { in.ApplicationName = aws.String("none") },
		"InvalidApplicationNameException":       func(in *sdk.CreateDeploymentGroupInput) { in.ApplicationName = aws.String("a b") },
		"ApplicationNameRequiredException":      func(in *sdk.CreateDeploymentGroupInput) { in.ApplicationName = aws.String("") },
		"DeploymentGroupNameRequiredException":  func(in *sdk.CreateDeploymentGroupInput) { in.DeploymentGroupName = aws.String("") },
		"DeploymentGroupAlreadyExistsException": func(in *sdk.CreateDeploymentGroupInput) { in.DeploymentGroupName = aws.String("web") },
		"RoleRequiredException":                 func(in *sdk.CreateDeploymentGroupInput) { in.ServiceRoleArn = aws.String("") },
		"InvalidRoleException":                  func(in *sdk.CreateDeploymentGroupInput) { in.ServiceRoleArn = aws.String(otherRole) },
		"InvalidAutoScalingGroupException":      func(in *sdk.CreateDeploymentGroupInput) { in.AutoScalingGroups = []string{"none"} },
		"DeploymentConfigDoesNotExistException": func(in *sdk.CreateDeploymentGroupInput) { in.DeploymentConfigName = aws.String("mine") },
		"InvalidDeploymentStyleException": func(in *sdk.CreateDeploymentGroupInput) {
			in.DeploymentStyle = &types.DeploymentStyle{DeploymentType: "BLUE_GREEN"}
		},
		"InvalidLoadBalancerInfoException": func(in *sdk.CreateDeploymentGroupInput) {
			in.DeploymentStyle = &types.DeploymentStyle{DeploymentOption: withTraffic}
		},
		"InvalidAutoRollbackConfigException": func(in *sdk.CreateDeploymentGroupInput) {
			in.AutoRollbackConfiguration = &types.AutoRollbackConfiguration{Enabled: true}
		},
		"InvalidAlarmConfigException": func(in *sdk.CreateDeploymentGroupInput) {
			in.AlarmConfiguration = &types.AlarmConfiguration{Enabled: true}
		},
		"InvalidEC2TagException": func(in *sdk.CreateDeploymentGroupInput) {
			in.Ec2TagFilters = []types.EC2TagFilter{{Key: aws.String("a")}}
		},
		"InvalidECSServiceException":    func(in *sdk.CreateDeploymentGroupInput) { in.EcsServices = []types.ECSService{{}} },
		"InvalidTriggerConfigException": func(in *sdk.CreateDeploymentGroupInput) { in.TriggerConfigurations = []types.TriggerConfig{{}} },
		"InvalidInputException":         func(in *sdk.CreateDeploymentGroupInput) { in.TerminationHookEnabled = aws.Bool(true) },
		"InvalidTagsToAddException":     func(in *sdk.CreateDeploymentGroupInput) { in.Tags = []types.Tag{{Key: aws.String("aws:a")}} },
		"InvalidBlueGreenDeploymentConfigurationException": func(in *sdk.CreateDeploymentGroupInput) {
			in.BlueGreenDeploymentConfiguration = &types.BlueGreenDeploymentConfiguration{
				GreenFleetProvisioningOption: &types.GreenFleetProvisioningOption{Action: types.GreenFleetProvisioningActionCopyAutoScalingGroup},
			}
		},
	} {
		in := &sdk.CreateDeploymentGroupInput{
			ApplicationName: aws.String("web"), DeploymentGroupName: aws.String("new"), ServiceRoleArn: aws.String(testRole),
		}
		change(in)
		if _, err := c.CreateDeploymentGroup(ctx, in); errorCode(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if len(b.cloud.hooks) != 1 {
		t.Errorf("hooks of groups that were refused: %v", b.cloud.hooks)
	}
	for want, platform := range map[string]types.ComputePlatform{
		"InvalidComputePlatformException": types.ComputePlatformEcs, "ApplicationAlreadyExistsException": types.ComputePlatformServer,
	} {
		_, err := c.CreateApplication(ctx, &sdk.CreateApplicationInput{ApplicationName: aws.String("web"), ComputePlatform: platform})
		if errorCode(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestConfigs(t *testing.T) {
	if _, err := findConfig("none"); err == nil {
		t.Error("a config is found that is not there")
	}
	for _, test := range []struct {
		config string
		n      int
		want   int
	}{
		{oneAtATime, 1, 0}, {oneAtATime, 10, 9}, {halfAtATime, 10, 5}, {halfAtATime, 3, 2}, {allAtOnce, 10, 0},
	} {
		c, err := findConfig(test.config)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.HealthyHosts.of(test.n); got != test.want {
			t.Errorf("%s of %d keeps %d healthy, want %d", test.config, test.n, got, test.want)
		}
	}
}

func TestDeploymentIDs(t *testing.T) {
	b := newBench(t)
	defer b.Close()
	for id, want := range map[string]string{
		"": "DeploymentIdRequiredException", "junk": "InvalidDeploymentIdException", "d-abc": "InvalidDeploymentIdException",
		"d-ABCDEF123": "DeploymentDoesNotExistException",
	} {
		if _, err := b.getDeployment(t.Context(), &deploymentID{id}); errorCode(err) != want {
			t.Errorf("%q: %v, want %s", id, err, want)
		}
	}
}
