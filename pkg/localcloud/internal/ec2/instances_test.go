package ec2

import (
	"context"
	"encoding/base64"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
)

// sourceAMI returns the Debian image's ID.
func (c *cloud) sourceAMI() string {
	c.t.Helper()
	out := must(c.client.DescribeImages(c.t.Context(), &sdk.DescribeImagesInput{Owners: []string{debianOwner}}))(c.t)
	if len(out.Images) != 1 {
		c.t.Fatalf("%d Debian images", len(out.Images))
	}
	return *out.Images[0].ImageId
}

// run launches one instance and waits until its machine is up, which in a bubble takes no time.
func (c *cloud) run(change func(*sdk.RunInstancesInput)) types.Instance {
	c.t.Helper()
	in := &sdk.RunInstancesInput{
		ImageId: aws.String(c.sourceAMI()), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
	}
	if change != nil {
		change(in)
	}
	out := must(c.client.RunInstances(c.t.Context(), in))(c.t)
	c.settle()
	return c.instance(*out.Instances[0].InstanceId)
}

// settle waits until everything in the background is done, and whatever takes less than a minute.
func (c *cloud) settle() {
	synctest.Wait()
	time.Sleep(time.Minute)
	synctest.Wait()
}

func (c *cloud) instance(id string) types.Instance {
	c.t.Helper()
	out := must(c.client.DescribeInstances(c.t.Context(), &sdk.DescribeInstancesInput{InstanceIds: []string{id}}))(c.t)
	return out.Reservations[0].Instances[0]
}

func TestInstanceLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		ctx := t.Context()
		c.compute.CreateDelay, c.compute.StopDelay = 5*time.Second, time.Second
		var mu sync.Mutex
		var states []string
		c.service.OnStateChange(func(i InstanceInfo) {
			mu.Lock()
			defer mu.Unlock()
			states = append(states, i.State)
		})
		data := base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n"))
		i := c.run(func(in *sdk.RunInstancesInput) { in.UserData = aws.String(data) })
		ids := []string{*i.InstanceId}
		if i.State.Name != "running" || *i.PrivateIpAddress != "10.254.0.1" || *i.PublicIpAddress != "127.80.0.2" {
			t.Errorf("running: %+v", i)
		}
		if spec, _ := c.compute.Spec(ids[0]); string(spec.UserData) != "#!/bin/sh\n" || !strings.HasPrefix(spec.Image, "memory:debian") {
			t.Errorf("machine %+v", spec)
		}
		stopped := must(c.client.StopInstances(ctx, &sdk.StopInstancesInput{InstanceIds: ids}))(t)
		if s := stopped.StoppingInstances[0]; s.CurrentState.Name != "stopping" || s.PreviousState.Name != "running" {
			t.Errorf("stop: %+v", s)
		}
		_, err := c.client.StartInstances(ctx, &sdk.StartInstancesInput{InstanceIds: ids})
		refused(t, err, "IncorrectInstanceState", "stopping")
		c.settle()
		i = c.instance(ids[0])
		if i.State.Name != "stopped" || i.PublicIpAddress != nil || *i.StateReason.Code != "Client.UserInitiatedShutdown" ||
			!strings.HasPrefix(*i.StateTransitionReason, "User initiated (2000-01-01") {
			t.Errorf("stopped: %+v", i)
		}
		must(c.client.StartInstances(ctx, &sdk.StartInstancesInput{InstanceIds: ids}))(t)
		c.settle()
		if i = c.instance(ids[0]); i.State.Name != "running" || i.PublicIpAddress == nil || i.StateReason != nil {
			t.Errorf("started: %+v", i)
		}
		must(c.client.RebootInstances(ctx, &sdk.RebootInstancesInput{InstanceIds: ids}))(t)
		c.settle()
		console := func() string {
			out := must(c.client.GetConsoleOutput(ctx, &sdk.GetConsoleOutputInput{InstanceId: &ids[0]}))(t)
			text, _ := base64.StdEncoding.DecodeString(*out.Output)
			return string(text)
		}
		before := console()
		if !strings.Contains(before, "Debian") {
			t.Errorf("console %q", before)
		}
		must(c.client.TerminateInstances(ctx, &sdk.TerminateInstancesInput{InstanceIds: ids}))(t)
		c.settle()
		if i = c.instance(ids[0]); i.State.Name != "terminated" || i.VpcId != nil || len(i.BlockDeviceMappings) > 0 {
			t.Errorf("terminated: %+v", i)
		}
		if after := console(); after != before {
			t.Errorf("the console of a terminated instance is %q, was %q", after, before)
		}
		_, err = c.client.StartInstances(ctx, &sdk.StartInstancesInput{InstanceIds: ids})
		refused(t, err, "IncorrectInstanceState", "terminated")
		want := []string{"pending", "running", "stopping", "stopped", "pending", "running", "shutting-down", "terminated"}
		if diff := cmp.Diff(want, states); diff != "" {
			t.Errorf("states heard of (-want +got):\n%s", diff)
		}
		if machines, _ := c.compute.List(ctx); len(machines) > 0 || len(c.pool.taken) > 0 {
			t.Errorf("left: %v %v", machines, c.pool.taken)
		}
	})
}

func TestBootFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		c.compute.FailCreate = func(compute.Spec) error { return errors.New("no space left") }
		i := c.run(nil)
		if i.State.Name != "terminated" || !strings.Contains(*i.StateReason.Message, "no space left") || *i.StateReason.Code != "Server.InternalError" {
			t.Errorf("instance %+v", i)
		}
		volumes := must(c.client.DescribeVolumes(t.Context(), &sdk.DescribeVolumesInput{}))(t)
		if len(volumes.Volumes) > 0 || len(c.pool.taken) > 0 {
			t.Errorf("left: %v %v", volumes.Volumes, c.pool.taken)
		}
	})
}

func TestTerminateWhileBooting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		c.compute.CreateDelay = time.Hour
		id := must(c.service.launch(&runInstancesInput{
			templateData: templateData{ImageID: aws.String(c.sourceAMI()), InstanceType: aws.String("t3.micro")}, MinCount: 1, MaxCount: 1,
		}))(t)[0].ID
		synctest.Wait()
		if err := c.service.Terminate(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := c.instance(id); got.State.Name != "terminated" {
			t.Errorf("state %s at once", got.State.Name)
		}
	})
}

func TestMachineDies(t *testing.T) {
	kill := func(m *compute.Memory, id string) {
		if err := m.Kill(context.Background(), id); err != nil {
			t.Error(err)
		}
	}
	for _, test := range []struct {
		behavior types.ShutdownBehavior
		die      func(*compute.Memory, string)
		state    types.InstanceStateName
		reason   string
	}{
		{"stop", kill, "stopped", "Client.InstanceInitiatedShutdown"},
		{"terminate", kill, "terminated", "Client.InstanceInitiatedShutdown"},
		{"stop", (*compute.Memory).Lose, "terminated", "Server.InternalError"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := start(t)
			i := c.run(func(in *sdk.RunInstancesInput) { in.InstanceInitiatedShutdownBehavior = test.behavior })
			test.die(c.compute, *i.InstanceId)
			c.settle()
			i = c.instance(*i.InstanceId)
			if i.State.Name != test.state || *i.StateReason.Code != test.reason || len(c.pool.taken) > 0 {
				t.Errorf("%s: state %s, reason %s", test.behavior, i.State.Name, *i.StateReason.Code)
			}
		})
	}
}

func TestRunInstancesErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		other := must(c.client.CreateVpc(t.Context(), &sdk.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")}))(t)
		foreign := must(c.client.CreateSecurityGroup(t.Context(), &sdk.CreateSecurityGroupInput{
			GroupName: aws.String("foreign"), Description: aws.String("d"), VpcId: other.Vpc.VpcId,
		}))(t)
		for _, test := range []struct {
			code, message string
			change        func(*sdk.RunInstancesInput)
		}{
			{"InvalidAMIID.NotFound", "ami-00000000", func(in *sdk.RunInstancesInput) { in.ImageId = aws.String("ami-00000000") }},
			{"InvalidAMIID.Malformed", "debian", func(in *sdk.RunInstancesInput) { in.ImageId = aws.String("debian") }},
			{"MissingParameter", "ImageId", func(in *sdk.RunInstancesInput) { in.ImageId = nil }},
			{"InvalidParameterValue", "t9.huge", func(in *sdk.RunInstancesInput) { in.InstanceType = "t9.huge" }},
			{"InvalidParameterValue", "architecture", func(in *sdk.RunInstancesInput) { in.InstanceType = "t4g.micro" }},
			{"InvalidKeyPair.NotFound", "nokey", func(in *sdk.RunInstancesInput) { in.KeyName = aws.String("nokey") }},
			{"InvalidGroup.NotFound", "sg-00000000", func(in *sdk.RunInstancesInput) { in.SecurityGroupIds = []string{"sg-00000000"} }},
			{"InvalidGroupId.Malformed", "sg-1", func(in *sdk.RunInstancesInput) { in.SecurityGroupIds = []string{"sg-1"} }},
			{"InvalidParameter", "different networks", func(in *sdk.RunInstancesInput) { in.SecurityGroupIds = []string{*foreign.GroupId} }},
			{"InvalidSubnetID.NotFound", "subnet-1", func(in *sdk.RunInstancesInput) { in.SubnetId = aws.String("subnet-1") }},
			{"InvalidLaunchTemplateId.Malformed", "lt-1", func(in *sdk.RunInstancesInput) {
				in.LaunchTemplate = &types.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1")}
			}},
			{"InvalidParameterValue", "BASE64", func(in *sdk.RunInstancesInput) { in.UserData = aws.String("#!/bin/sh") }},
			{"Unsupported", "spot", func(in *sdk.RunInstancesInput) {
				in.InstanceMarketOptions = &types.InstanceMarketOptionsRequest{MarketType: "spot"}
			}},
			{"MissingParameter", "size or snapshotId", func(in *sdk.RunInstancesInput) {
				in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/sdb"), Ebs: &types.EbsBlockDevice{Encrypted: aws.Bool(true)}}}
			}},
			{"Unsupported", "/dev/sdb", func(in *sdk.RunInstancesInput) {
				in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/sdb"), Ebs: &types.EbsBlockDevice{SnapshotId: aws.String("snap-1")}}}
			}},
			{"InvalidParameterDependency", "Encrypted", func(in *sdk.RunInstancesInput) {
				in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{KmsKeyId: aws.String("alias/mine")}}}
			}},
			{"InvalidBlockDeviceMapping", "smaller than snapshot", func(in *sdk.RunInstancesInput) {
				in.BlockDeviceMappings = []types.BlockDeviceMapping{{DeviceName: aws.String("/dev/xvda"), Ebs: &types.EbsBlockDevice{VolumeSize: aws.Int32(1)}}}
			}},
			{"UnknownParameter", "PrivateIpAddress", func(in *sdk.RunInstancesInput) { in.PrivateIpAddress = aws.String("10.0.0.1") }},
			{"InvalidParameterValue", "iamInstanceProfile.name", func(in *sdk.RunInstancesInput) {
				in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String("none")}
			}},
			{"InvalidParameterValue", "iamInstanceProfile.arn", func(in *sdk.RunInstancesInput) {
				in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Arn: aws.String("arn:aws:iam::000000000001:instance-profile/none")}
			}},
			{"InvalidParameterValue", "no associated IAM Roles", func(in *sdk.RunInstancesInput) {
				in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: aws.String("bare")}
			}},
			{"InvalidParameterValue", "MinCount", func(in *sdk.RunInstancesInput) { in.MinCount = aws.Int32(2) }},
		} {
			in := &sdk.RunInstancesInput{
				ImageId: aws.String(c.sourceAMI()), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			}
			test.change(in)
			_, err := c.client.RunInstances(t.Context(), in)
			refused(t, err, test.code, test.message)
		}
		c.pool.full = true
		_, err := c.client.RunInstances(t.Context(), &sdk.RunInstancesInput{
			ImageId: aws.String(c.sourceAMI()), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		})
		refused(t, err, "InsufficientFreeAddressesInSubnet", "no free address")
		out := must(c.client.DescribeInstances(t.Context(), &sdk.DescribeInstancesInput{}))(t)
		if len(out.Reservations) > 0 {
			t.Errorf("refused launches left instances: %+v", out.Reservations)
		}
		_, err = c.client.DescribeInstances(t.Context(), &sdk.DescribeInstancesInput{InstanceIds: []string{"i-00000000"}})
		refused(t, err, "InvalidInstanceID.NotFound", "i-00000000")
		_, err = c.client.TerminateInstances(t.Context(), &sdk.TerminateInstancesInput{InstanceIds: []string{"nonsense"}})
		refused(t, err, "InvalidInstanceID.Malformed", "nonsense")
	})
}

func TestFiltersAndPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		var ids []string
		for n := range 5 {
			i := c.run(func(in *sdk.RunInstancesInput) {
				in.ClientToken = aws.String([]string{"a1", "a2", "b1", "b2", "c?"}[n])
				in.TagSpecifications = []types.TagSpecification{{ResourceType: "instance", Tags: []types.Tag{
					{Key: aws.String("n"), Value: aws.String([]string{"zero", "one", "two", "three", ""}[n])},
				}}}
			})
			ids = append(ids, *i.InstanceId)
		}
		must(c.client.StopInstances(t.Context(), &sdk.StopInstancesInput{InstanceIds: ids[:1]}))(t)
		c.settle()
		for _, test := range []struct {
			name   string
			values []string
			want   []int
		}{
			{"client-token", []string{"a*"}, []int{0, 1}},
			{"client-token", []string{"?1"}, []int{0, 2}},
			{"client-token", []string{"a1", "b2"}, []int{0, 3}},
			{"client-token", []string{`c\?`}, []int{4}},
			{"client-token", []string{`a\*`}, nil},
			{"instance-state-name", []string{"running"}, []int{1, 2, 3, 4}},
			{"instance-state-code", []string{"80"}, []int{0}},
			{"tag:n", []string{"t*"}, []int{2, 3}},
			{"tag:n", []string{""}, []int{4}},
			{"tag:m", []string{"*"}, nil},
			{"tag-key", []string{"n"}, []int{0, 1, 2, 3, 4}},
			{"tag-value", []string{"one"}, []int{1}},
			{"instance-id", []string{ids[3]}, []int{3}},
			{"ip-address", []string{"127.80.0.3"}, []int{1}},
		} {
			out := must(c.client.DescribeInstances(t.Context(), &sdk.DescribeInstancesInput{
				Filters: []types.Filter{{Name: &test.name, Values: test.values}},
			}))(t)
			var got []int
			for _, r := range out.Reservations {
				got = append(got, slices.Index(ids, *r.Instances[0].InstanceId))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("%s=%v (-want +got):\n%s", test.name, test.values, diff)
			}
		}
		_, err := c.client.DescribeInstances(t.Context(), &sdk.DescribeInstancesInput{
			Filters: []types.Filter{{Name: aws.String("colour"), Values: []string{"red"}}},
		})
		refused(t, err, "InvalidParameterValue", "'colour' is invalid")

		var got []string
		pages := sdk.NewDescribeInstancesPaginator(c.client, &sdk.DescribeInstancesInput{MaxResults: aws.Int32(2)})
		for pages.HasMorePages() {
			out := must(pages.NextPage(t.Context()))(t)
			for _, r := range out.Reservations {
				got = append(got, *r.Instances[0].InstanceId)
			}
		}
		if diff := cmp.Diff(ids, got); diff != "" {
			t.Errorf("pages (-want +got):\n%s", diff)
		}
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		ctx := t.Context()
		var ids []string
		for range 4 {
			ids = append(ids, *c.run(nil).InstanceId)
		}
		must(c.client.StopInstances(ctx, &sdk.StopInstancesInput{InstanceIds: ids[3:]}))(t)
		c.settle()
		group := *c.instance(ids[0]).SecurityGroups[0].GroupId
		must(c.client.AuthorizeSecurityGroupIngress(ctx, &sdk.AuthorizeSecurityGroupIngressInput{
			GroupId: &group, CidrIp: aws.String("0.0.0.0/0"), IpProtocol: aws.String("tcp"), FromPort: aws.Int32(8080), ToPort: aws.Int32(8080),
		}))(t)
		c.service.Close() // killed: from here on nothing is noticed
		if err := c.compute.Kill(ctx, ids[1]); err != nil {
			t.Error(err)
		}
		c.compute.Lose(ids[2])
		must(c.compute.Create(ctx, compute.Spec{ID: "i-stray"}))(t)
		c.restart()
		c.settle()
		for n, want := range []types.InstanceStateName{"running", "running", "terminated", "stopped"} {
			if got := c.instance(ids[n]).State.Name; got != want {
				t.Errorf("instance %d is %s, want %s", n, got, want)
			}
		}
		machines := must(c.compute.List(ctx))(t)
		if len(machines) != 3 {
			t.Errorf("machines %v, want no stray", machines)
		}
		if diff := cmp.Diff([]string{"127.80.0.2:8080", "127.80.0.3:8080"}, c.ports.list()); diff != "" {
			t.Errorf("open ports (-want +got):\n%s", diff)
		}

		// Killed while a launch, a termination and an image were under way.
		c.compute.CreateDelay, c.compute.StopDelay, c.compute.CommitDelay = time.Hour, time.Hour, time.Hour
		launched := must(c.client.RunInstances(ctx, &sdk.RunInstancesInput{
			ImageId: aws.String(c.sourceAMI()), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		}))(t)
		must(c.client.TerminateInstances(ctx, &sdk.TerminateInstancesInput{InstanceIds: ids[:1]}))(t)
		image := must(c.client.CreateImage(ctx, &sdk.CreateImageInput{InstanceId: &ids[3], Name: aws.String("late")}))(t)
		synctest.Wait()
		c.service.Close()
		c.compute.CreateDelay, c.compute.StopDelay, c.compute.CommitDelay = 0, 0, 0
		c.restart()
		c.settle()
		if got := c.instance(*launched.Instances[0].InstanceId).State.Name; got != "running" {
			t.Errorf("the launched instance is %s", got)
		}
		if got := c.instance(ids[0]).State.Name; got != "terminated" {
			t.Errorf("the terminated instance is %s", got)
		}
		images := must(c.client.DescribeImages(ctx, &sdk.DescribeImagesInput{ImageIds: []string{*image.ImageId}}))(t)
		if got := images.Images[0].State; got != "available" {
			t.Errorf("the image is %s", got)
		}
	})
}

func TestInProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		ctx := t.Context()
		created := must(c.client.CreateLaunchTemplate(ctx, &sdk.CreateLaunchTemplateInput{
			LaunchTemplateName: aws.String("hello"),
			LaunchTemplateData: &types.RequestLaunchTemplateData{
				ImageId: aws.String(c.sourceAMI()), InstanceType: "t3.micro",
				TagSpecifications: []types.LaunchTemplateTagSpecificationRequest{{
					ResourceType: "instance", Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("hello")}},
				}},
				NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecificationRequest{{
					AssociatePublicIpAddress: aws.Bool(false), DeviceIndex: aws.Int32(0),
				}},
			},
		}))(t)
		id := *created.LaunchTemplate.LaunchTemplateId
		subnets := must(c.client.DescribeSubnets(ctx, &sdk.DescribeSubnetsInput{}))(t)
		subnetID := *subnets.Subnets[1].SubnetId
		spec := LaunchSpec{
			TemplateID: id, Version: "1", SubnetID: subnetID, ClientToken: "once", Tags: map[string]string{"aws:autoscaling:groupName": "g"},
		}
		first := must(c.service.LaunchFromTemplate(ctx, spec))(t)
		if again := must(c.service.LaunchFromTemplate(ctx, spec))(t); again != first {
			t.Errorf("launched %s, then %s", first, again)
		}
		c.settle()
		info, ok := c.service.Instance(first)
		if !ok || info.State != "running" || info.SubnetID != subnetID || info.PublicIP.IsValid() || info.AvailabilityZone != "us-west-1b" {
			t.Errorf("instance %+v", info)
		}
		var keys []string
		for _, tag := range c.instance(first).Tags {
			keys = append(keys, *tag.Key)
		}
		if diff := cmp.Diff([]string{"Name", "aws:autoscaling:groupName", "aws:ec2launchtemplate:id", "aws:ec2launchtemplate:version"}, keys); diff != "" {
			t.Errorf("tags (-want +got):\n%s", diff)
		}
		if n, ok := c.service.Subnet(subnetID); !ok || n.AvailabilityZone != "us-west-1b" {
			t.Errorf("subnet %+v", n)
		}
		resolved := must(c.service.ResolveTemplate("hello", "$Latest"))(t)
		if resolved.ID != id || resolved.Version != 1 || resolved.InstanceType != "t3.micro" {
			t.Errorf("template %+v", resolved)
		}
		if _, err := c.service.ResolveTemplate(id, "7"); code(err) != "InvalidLaunchTemplateId.VersionNotFound" {
			t.Errorf("version 7: %v", err)
		}
		spec.Version, spec.ClientToken = "7", ""
		if _, err := c.service.LaunchFromTemplate(ctx, spec); code(err) != "InvalidLaunchTemplateId.VersionNotFound" {
			t.Errorf("launch of version 7: %v", err)
		}
		group := info.SecurityGroups[0]
		peer := netip.MustParseAddr("127.0.0.1")
		if c.service.SecurityGroupAllows(group, 80, peer, nil) || !c.service.SecurityGroupAllows(group, 80, peer, []string{group}) {
			t.Error("the default group admits its members alone")
		}
	})
}
