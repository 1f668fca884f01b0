package ec2

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/shape"
)

func TestNoDefaultVPC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startWith(t, Options{Shape: shape.Shape{NoDefaultVPC: true}})
		if out := must(c.client.DescribeVpcs(t.Context(), &sdk.DescribeVpcsInput{}))(t); len(out.Vpcs) > 0 {
			t.Errorf("VPCs %+v", out.Vpcs)
		}
		_, err := c.client.CreateSecurityGroup(t.Context(), &sdk.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("d")})
		refused(t, err, "VPCIdNotSpecified", "No default VPC")
		_, err = c.client.RunInstances(t.Context(), &sdk.RunInstancesInput{
			ImageId: aws.String(c.sourceAMI()), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		})
		refused(t, err, "VPCIdNotSpecified", "No default VPC")
		vpc := must(c.client.CreateVpc(t.Context(), &sdk.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16")}))(t)
		net := must(c.client.CreateSubnet(t.Context(), &sdk.CreateSubnetInput{VpcId: vpc.Vpc.VpcId, CidrBlock: aws.String("10.0.1.0/24")}))(t)
		if i := c.run(func(in *sdk.RunInstancesInput) { in.SubnetId = net.Subnet.SubnetId }); i.State.Name != "running" {
			t.Errorf("in a subnet of its own: %s", i.State.Name)
		}
	})
}

func TestVCPUQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startWith(t, Options{Shape: shape.Shape{VCPUs: 5}})
		first := c.run(nil) // 2 of 5
		launch := func(least, most int32) (*sdk.RunInstancesOutput, error) {
			return c.client.RunInstances(t.Context(), &sdk.RunInstancesInput{
				ImageId: aws.String(c.sourceAMI()), InstanceType: "t3.micro", MinCount: aws.Int32(least), MaxCount: aws.Int32(most),
			})
		}
		_, err := launch(2, 2)
		refused(t, err, "VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of 5 allows for the instance bucket "+
			"that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.")
		if out := must(launch(1, 3))(t); len(out.Instances) != 1 {
			t.Errorf("%d instances where there is room for one", len(out.Instances))
		}
		c.settle()
		ids := []string{*first.InstanceId}
		must(c.client.StopInstances(t.Context(), &sdk.StopInstancesInput{InstanceIds: ids}))(t)
		c.settle()
		must(launch(1, 1))(t) // a stopped one does not count
		_, err = c.client.StartInstances(t.Context(), &sdk.StartInstancesInput{InstanceIds: ids})
		refused(t, err, "VcpuLimitExceeded", "limit of 5")
	})
}

func TestDescribeInstanceTypes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		out := must(c.client.DescribeInstanceTypes(t.Context(), &sdk.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"t3.micro", "m7g.medium"}}))(t)
		got := map[types.InstanceType][3]int32{}
		for _, i := range out.InstanceTypes {
			got[i.InstanceType] = [3]int32{*i.VCpuInfo.DefaultVCpus, *i.VCpuInfo.DefaultCores, *i.VCpuInfo.DefaultThreadsPerCore}
		}
		if diff := cmp.Diff(map[types.InstanceType][3]int32{"t3.micro": {2, 1, 2}, "m7g.medium": {1, 1, 1}}, got); diff != "" {
			t.Errorf("vCPUs, cores, threads (-want +got):\n%s", diff)
		}
		_, err := c.client.DescribeInstanceTypes(t.Context(), &sdk.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"t9.huge"}})
		refused(t, err, "InvalidInstanceType", "[t9.huge]")
	})
}

func TestZoneWithoutType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startWith(t, Options{Shape: shape.Shape{Lacking: []shape.ZoneType{{Zone: "us-west-1a", Type: "t3.micro"}}}})
		for kind, want := range map[types.LocationType]string{
			"region": "us-west-1", "availability-zone": "us-west-1b us-west-1c", "availability-zone-id": "usw1-az2 usw1-az3",
		} {
			out := must(c.client.DescribeInstanceTypeOfferings(t.Context(), &sdk.DescribeInstanceTypeOfferingsInput{
				LocationType: kind, Filters: []types.Filter{{Name: aws.String("instance-type"), Values: []string{"t3.micro"}}},
			}))(t)
			var places []string
			for _, o := range out.InstanceTypeOfferings {
				places = append(places, *o.Location)
			}
			if got := strings.Join(places, " "); got != want {
				t.Errorf("by %s: offered in %s, want %s", kind, got, want)
			}
		}
		_, err := c.client.RunInstances(t.Context(), &sdk.RunInstancesInput{
			ImageId: aws.String(c.sourceAMI()), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			Placement: &types.Placement{AvailabilityZone: aws.String("us-west-1a")},
		})
		refused(t, err, "Unsupported", "Your requested instance type (t3.micro) is not supported in your requested Availability Zone (us-west-1a). "+
			"Please retry your request by not specifying an Availability Zone or choosing us-west-1b, us-west-1c.")
		if i := c.run(nil); *i.Placement.AvailabilityZone != "us-west-1b" {
			t.Errorf("without a zone it is launched in %s", *i.Placement.AvailabilityZone)
		}
		small := c.run(func(in *sdk.RunInstancesInput) { in.InstanceType = "t3.small" })
		if *small.Placement.AvailabilityZone != "us-west-1a" {
			t.Errorf("another type is launched in %s", *small.Placement.AvailabilityZone)
		}
	})
}

func TestRootDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startWith(t, Options{Shape: shape.Shape{Root: "/dev/sda1"}})
		device := func(name string, size *int32) []types.BlockDeviceMapping {
			return []types.BlockDeviceMapping{{DeviceName: aws.String(name), Ebs: &types.EbsBlockDevice{VolumeSize: size, Encrypted: aws.Bool(true)}}}
		}
		_, err := c.client.RunInstances(t.Context(), &sdk.RunInstancesInput{
			ImageId: aws.String(c.sourceAMI()), InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			BlockDeviceMappings: device("/dev/xvda", nil),
		})
		refused(t, err, "MissingParameter", "size or snapshotId")
		one := c.run(func(in *sdk.RunInstancesInput) { in.BlockDeviceMappings = device("/dev/sda1", nil) })
		two := c.run(func(in *sdk.RunInstancesInput) { in.BlockDeviceMappings = device("/dev/xvda", aws.Int32(4)) })
		for _, test := range []struct {
			instance types.Instance
			want     string
		}{{one, "/dev/sda1"}, {two, "/dev/sda1 /dev/xvda"}} {
			var names []string
			for _, m := range test.instance.BlockDeviceMappings {
				names = append(names, *m.DeviceName)
			}
			if got := strings.Join(names, " "); got != test.want || *test.instance.RootDeviceName != "/dev/sda1" {
				t.Errorf("root %s of %s, want %s", *test.instance.RootDeviceName, got, test.want)
			}
		}
		volumes := must(c.client.DescribeVolumes(t.Context(), &sdk.DescribeVolumesInput{
			Filters: []types.Filter{{Name: aws.String("attachment.device"), Values: []string{"/dev/xvda"}}},
		}))(t)
		if len(volumes.Volumes) != 1 || *volumes.Volumes[0].Size != 4 || *volumes.Volumes[0].Attachments[0].InstanceId != *two.InstanceId {
			t.Errorf("second disks: %+v", volumes.Volumes)
		}
		made := must(c.client.CreateImage(t.Context(), &sdk.CreateImageInput{InstanceId: one.InstanceId, Name: aws.String("made")}))(t)
		c.settle()
		images := must(c.client.DescribeImages(t.Context(), &sdk.DescribeImagesInput{ImageIds: []string{*made.ImageId}}))(t)
		if i := images.Images[0]; *i.RootDeviceName != "/dev/sda1" || *i.BlockDeviceMappings[0].DeviceName != "/dev/sda1" {
			t.Errorf("the image's root: %+v", i)
		}
		_, err = c.client.CreateImage(t.Context(), &sdk.CreateImageInput{InstanceId: two.InstanceId, Name: aws.String("two")})
		refused(t, err, "Unsupported", "root volume only")
		must(c.client.TerminateInstances(t.Context(), &sdk.TerminateInstancesInput{InstanceIds: []string{*one.InstanceId, *two.InstanceId}}))(t)
		c.settle()
		if out := must(c.client.DescribeVolumes(t.Context(), &sdk.DescribeVolumesInput{}))(t); len(out.Volumes) > 0 {
			t.Errorf("volumes stay: %+v", out.Volumes)
		}
	})
}

func TestCustomerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const key = "arn:aws:kms:us-west-1:000000000001:key/01234567-89ab-cdef-0123-456789abcdef"
		granted := false
		c := startWith(t, Options{DefaultKey: key, MayUseKey: func(k string) bool { return granted && k == key }})
		id := must(c.client.GetEbsDefaultKmsKeyId(t.Context(), &sdk.GetEbsDefaultKmsKeyIdInput{}))(t)
		all := must(c.client.GetEbsEncryptionByDefault(t.Context(), &sdk.GetEbsEncryptionByDefaultInput{}))(t)
		if *id.KmsKeyId != key || !*all.EbsEncryptionByDefault {
			t.Errorf("default key %s, everything encrypted: %v", *id.KmsKeyId, *all.EbsEncryptionByDefault)
		}
		i := c.run(nil) // whoever is at the keyboard may use the key
		if i.State.Name != "running" {
			t.Fatalf("state %s", i.State.Name)
		}
		made := must(c.client.CreateImage(t.Context(), &sdk.CreateImageInput{InstanceId: i.InstanceId, Name: aws.String("made")}))(t)
		c.settle()
		images := must(c.client.DescribeImages(t.Context(), &sdk.DescribeImagesInput{ImageIds: []string{*made.ImageId}}))(t)
		root := images.Images[0].BlockDeviceMappings[0].Ebs
		snapshots := must(c.client.DescribeSnapshots(t.Context(), &sdk.DescribeSnapshotsInput{SnapshotIds: []string{*root.SnapshotId}}))(t)
		volumes := must(c.client.DescribeVolumes(t.Context(), &sdk.DescribeVolumesInput{}))(t)
		if s, v := snapshots.Snapshots[0], volumes.Volumes[0]; !*root.Encrypted || !*s.Encrypted || *s.KmsKeyId != key || !*v.Encrypted || *v.KmsKeyId != key {
			t.Errorf("image %+v, snapshot %+v, volume %+v", root, s, v)
		}
		template := must(c.client.CreateLaunchTemplate(t.Context(), &sdk.CreateLaunchTemplateInput{
			LaunchTemplateName: aws.String("web"), LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: made.ImageId, InstanceType: "t3.micro"},
		}))(t)
		for _, granted = range []bool{false, true} {
			id, err := c.service.LaunchFromTemplate(t.Context(), LaunchSpec{TemplateID: *template.LaunchTemplate.LaunchTemplateId})
			if err != nil {
				t.Fatal(err)
			}
			c.settle()
			info, _ := c.service.Instance(id)
			want := [2]string{"terminated", "Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state"}
			if granted {
				want = [2]string{"running", ""}
			}
			if got := [2]string{info.State, info.StateReason}; got != want {
				t.Errorf("with a grant: %v: %v, want %v", granted, got, want)
			}
		}
	})
}

func TestCheckShape(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "zone-without-type=us-west-1b:t3.micro": "", "zone-without-type=us-west-2b:t3.micro": "no zone us-west-2b: it has us-west-1a, us-west-1b",
		"zone-without-type=us-west-1b:t9.huge": "no instance type t9.huge",
	} {
		of, err := shape.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckShape("us-west-1", of); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
