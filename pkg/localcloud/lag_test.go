package localcloud

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkautoscaling "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/bake"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/fault"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/tag"
)

// lagging is a cloud whose reads lag.
func lagging(t *testing.T, spec string) aws.Config {
	t.Helper()
	c, cfg := inProcess(t, "")
	faults, err := fault.Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.faults.Set(faults); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

// TestReadsLag makes things of each kind and looks for them, and names them, at once and two seconds later.
func TestReadsLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := lagging(t, "lag=2s")
		ctx, ec2, groups, roles := t.Context(), sdkec2.NewFromConfig(cfg), sdkautoscaling.NewFromConfig(cfg), sdkiam.NewFromConfig(cfg)
		vpcs, err := ec2.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{})
		if err != nil || len(vpcs.Vpcs) != 1 {
			t.Fatalf("the default VPC: %+v, %v", vpcs, err)
		}
		subnets, err := ec2.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{})
		if err != nil {
			t.Fatal(err)
		}
		image, err := ami.NewFromConfig(cfg).Newest(ctx, debianOwner, "debian-13-*", architecture(t, cfg)) // always there
		if err != nil {
			t.Fatal(err)
		}
		key, err := ec2.CreateKeyPair(ctx, &sdkec2.CreateKeyPairInput{KeyName: aws.String("key")})
		if err != nil {
			t.Fatal(err)
		}
		group, err := ec2.CreateSecurityGroup(ctx, &sdkec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("d")})
		if err != nil {
			t.Fatal(err)
		}
		template, err := ec2.CreateLaunchTemplate(ctx, &sdkec2.CreateLaunchTemplateInput{
			LaunchTemplateName: aws.String("web"),
			LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &image.ID, InstanceType: typeFor(image.Architecture), KeyName: key.KeyName},
		})
		if err != nil {
			t.Fatal(err)
		}
		role := aws.String("web")
		if _, err := roles.CreateRole(ctx, &sdkiam.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`)}); err != nil {
			t.Fatal(err)
		}
		parameters := ssm.NewFromConfig(cfg)
		if _, err := parameters.PutParameter(ctx, &ssm.PutParameterInput{Name: aws.String("p"), Value: aws.String("v"), Type: "String"}); err != nil {
			t.Fatal(err)
		}
		if _, err := parameters.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("p")}); err != nil {
			t.Errorf("SSM is consistent: %v", err)
		}
		uses := []struct {
			name, code string
			call       func() error
		}{
			{"read by its ID", "InvalidGroup.NotFound", func() error {
				_, err := ec2.DescribeSecurityGroups(ctx, &sdkec2.DescribeSecurityGroupsInput{GroupIds: []string{*group.GroupId}})
				return err
			}},
			{"named in a change", "InvalidGroup.NotFound", func() error {
				_, err := ec2.AuthorizeSecurityGroupIngress(ctx, &sdkec2.AuthorizeSecurityGroupIngressInput{
					GroupId: group.GroupId, IpPermissions: []ec2types.IpPermission{{IpProtocol: aws.String("-1"), UserIdGroupPairs: []ec2types.UserIdGroupPair{{GroupId: group.GroupId}}}},
				})
				return err
			}},
			{"named in a tag's", "InvalidGroup.NotFound", func() error {
				_, err := ec2.CreateTags(ctx, &sdkec2.CreateTagsInput{Resources: []string{*group.GroupId}, Tags: []ec2types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
				return err
			}},
			{"named in a launch", "InvalidGroup.NotFound", func() error {
				_, err := ec2.RunInstances(ctx, &sdkec2.RunInstancesInput{
					ImageId: &image.ID, InstanceType: typeFor(image.Architecture), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
					SecurityGroupIds: []string{*group.GroupId}, KeyName: key.KeyName, // a key can be used at once
				})
				return err
			}},
			{"a launch template", "InvalidLaunchTemplateId.NotFound", func() error {
				_, err := ec2.DescribeLaunchTemplates(ctx, &sdkec2.DescribeLaunchTemplatesInput{LaunchTemplateIds: []string{*template.LaunchTemplate.LaunchTemplateId}})
				return err
			}},
			{"a launch template in a group", "ValidationError", func() error {
				_, err := groups.CreateAutoScalingGroup(ctx, &sdkautoscaling.CreateAutoScalingGroupInput{
					AutoScalingGroupName: aws.String("web"), MinSize: aws.Int32(0), MaxSize: aws.Int32(1), VPCZoneIdentifier: subnets.Subnets[0].SubnetId,
					LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: template.LaunchTemplate.LaunchTemplateId, Version: aws.String("1")},
				})
				return err
			}},
			{"a role", "NoSuchEntityException", func() error {
				_, err := roles.GetRole(ctx, &sdkiam.GetRoleInput{RoleName: role})
				return err
			}},
			{"a role in a change", "NoSuchEntityException", func() error {
				_, err := roles.PutRolePolicy(ctx, &sdkiam.PutRolePolicyInput{RoleName: role, PolicyName: aws.String("p"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}]}`)})
				return err
			}},
		}
		for _, u := range uses {
			if got := code(u.call()); got != u.code && got+"Exception" != u.code {
				t.Errorf("%s, at once: %q, want %s", u.name, got, u.code)
			}
		}
		time.Sleep(2 * time.Second)
		for _, u := range uses {
			if err := u.call(); err != nil {
				t.Errorf("%s, two seconds later: %v", u.name, err)
			}
		}
		// A group is seen at once, what becomes of it later.
		time.Sleep(2 * time.Second)
		if _, err := groups.SetDesiredCapacity(ctx, &sdkautoscaling.SetDesiredCapacityInput{AutoScalingGroupName: aws.String("web"), DesiredCapacity: aws.Int32(1)}); err != nil {
			t.Fatal(err)
		}
		desired := func() int32 {
			out, err := groups.DescribeAutoScalingGroups(ctx, &sdkautoscaling.DescribeAutoScalingGroupsInput{})
			if err != nil || len(out.AutoScalingGroups) != 1 {
				t.Fatalf("groups %+v, %v", out, err)
			}
			return *out.AutoScalingGroups[0].DesiredCapacity
		}
		if n := desired(); n != 0 {
			t.Errorf("the capacity of %d is seen at once", n)
		}
		time.Sleep(2 * time.Second)
		if n := desired(); n != 1 {
			t.Errorf("the capacity is %d after two seconds", n)
		}
		// A deleted thing is still there, and cannot be deleted again. (It was not used: launches are over.)
		unused, err := ec2.CreateSecurityGroup(ctx, &sdkec2.CreateSecurityGroupInput{GroupName: aws.String("unused"), Description: aws.String("d")})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		remove := func() error {
			_, err := ec2.DeleteSecurityGroup(ctx, &sdkec2.DeleteSecurityGroupInput{GroupId: unused.GroupId})
			return err
		}
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		look := func() error {
			_, err := ec2.DescribeSecurityGroups(ctx, &sdkec2.DescribeSecurityGroupsInput{GroupIds: []string{*unused.GroupId}})
			return err
		}
		if look() != nil || code(remove()) != "InvalidGroup.NotFound" {
			t.Errorf("right after it was deleted: read %v, deleted again %v", look(), remove())
		}
		time.Sleep(2 * time.Second)
		if code(look()) != "InvalidGroup.NotFound" {
			t.Errorf("two seconds after it was deleted: %v", look())
		}
	})
}

func TestWhatLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := lagging(t, "lag=2s service=iam")
		ec2 := sdkec2.NewFromConfig(cfg)
		group, err := ec2.CreateSecurityGroup(t.Context(), &sdkec2.CreateSecurityGroupInput{GroupName: aws.String("web"), Description: aws.String("d")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ec2.DescribeSecurityGroups(t.Context(), &sdkec2.DescribeSecurityGroupsInput{GroupIds: []string{*group.GroupId}}); err != nil {
			t.Errorf("where IAM alone lags: %v", err)
		}
	})
}

// packerOnEC2 makes an image as Packer does, as far as EC2 sees it, or fails once its instance runs.
type packerOnEC2 struct {
	ec2   *sdkec2.Client
	fails error
}

func (p packerOnEC2) Build(ctx context.Context, b packer.Build) (packer.Artifact, error) {
	v := b.Variables
	specs := func(tags map[string]string, kinds ...ec2types.ResourceType) (all []ec2types.TagSpecification) {
		var list []ec2types.Tag
		for key, value := range tags {
			list = append(list, ec2types.Tag{Key: aws.String(key), Value: aws.String(value)})
		}
		for _, kind := range kinds {
			all = append(all, ec2types.TagSpecification{ResourceType: kind, Tags: list})
		}
		return all
	}
	run, err := p.ec2.RunInstances(ctx, &sdkec2.RunInstancesInput{
		ImageId: &v.SourceAMI, InstanceType: ec2types.InstanceType(v.InstanceType), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		TagSpecifications: specs(v.RunTags, "instance"),
		NetworkInterfaces: []ec2types.InstanceNetworkInterfaceSpecification{{
			// A public address would be listened at, which no bubble of synctest waits for.
			DeviceIndex: aws.Int32(0), SubnetId: &v.SubnetID, Groups: []string{v.SecurityGroup}, AssociatePublicIpAddress: aws.Bool(false),
		}},
	})
	if err != nil {
		return packer.Artifact{}, err
	}
	ids := []string{*run.Instances[0].InstanceId}
	time.Sleep(10 * time.Second)
	if p.fails != nil {
		return packer.Artifact{}, p.fails // and leaves the instance
	}
	made, err := p.ec2.CreateImage(ctx, &sdkec2.CreateImageInput{InstanceId: &ids[0], Name: &v.AMIName, TagSpecifications: specs(v.Tags, "image", "snapshot")})
	if err != nil {
		return packer.Artifact{}, err
	}
	time.Sleep(time.Second) // Packer waits for the image, which needs the instance
	if _, err := p.ec2.TerminateInstances(ctx, &sdkec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		return packer.Artifact{}, err
	}
	return packer.Artifact{AMIs: map[string]string{v.Region: *made.ImageId}}, nil // which nobody sees yet
}

// TestBakesWhereReadsLag bakes, bakes again at once, and fails: nothing is made twice, and nothing is left.
func TestBakesWhereReadsLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := lagging(t, "lag=2s")
		images, ec2 := ami.NewFromConfig(cfg), sdkec2.NewFromConfig(cfg)
		parent, err := images.Newest(t.Context(), debianOwner, "debian-13-*", architecture(t, cfg))
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		for _, name := range []string{"provision/provision.sh", "provision/app/app.sh", "provision/seal/seal.sh", "service/main.go", "packer/app.pkr.hcl"} {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("true"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		bundle, err := provision.Load(t.Context(), provision.App, provision.Options{Dir: filepath.Join(dir, "provision"), Source: filepath.Join(dir, "service")})
		if err != nil {
			t.Fatal(err)
		}
		broken := errors.New("broken")
		builds, fails := 0, error(nil)
		baker := bake.NewFromConfig(cfg, bake.Options{
			App: "hello", Templates: os.DirFS(filepath.Join(dir, "packer")), Folder: filepath.Join(dir, "bakes"),
			SourceCIDRs: func(context.Context) ([]string, error) { return []string{"127.0.0.1/32"}, nil },
			Packer: func(context.Context) (bake.Builder, error) {
				builds++
				return packerOnEC2{ec2, fails}, nil
			},
		})
		wanted := bake.Image{Parent: parent, Bundle: bundle, User: "admin", InstanceType: string(typeFor(parent.Architecture)), Inputs: map[string]string{"PORT": "8080"}}
		first, err := baker.Bake(t.Context(), wanted)
		if err != nil {
			t.Fatal(err)
		}
		again, err := baker.Bake(t.Context(), wanted)
		if err != nil || again.ID != first.ID || builds != 1 {
			t.Errorf("baked %s, then %s, with %d builds: %v", first.ID, again.ID, builds, err)
		}
		fails, wanted.Inputs = broken, map[string]string{"PORT": "8081"}
		if _, err := baker.Bake(t.Context(), wanted); !errors.Is(err, broken) {
			t.Errorf("a bake that fails: %v", err)
		}
		time.Sleep(10 * time.Second)
		left, err := images.Leftovers(t.Context(), "hello")
		if err != nil || len(left) > 0 {
			t.Errorf("left: %+v, %v", left, err)
		}
		if image, err := images.Get(t.Context(), first.ID); err != nil || !image.Finished() || image.Tags[tag.App] != "hello" {
			t.Errorf("the image: %+v, %v", image, err)
		}
	})
}

// A bake can end before EC2 knows the security group that it has made.
func TestInterruptedBakeWhereReadsLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := lagging(t, "lag=5s")
		ec2 := sdkec2.NewFromConfig(cfg)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		images := ami.NewFromConfig(cfg)
		group, err := images.AllowSSH(ctx, "hello-app", "", []string{"127.0.0.1/32"}, map[string]string{tag.App: "hello", tag.Run: "r"})
		if err == nil || group == "" {
			t.Fatalf("allow SSH: %q, %v", group, err)
		}
		if err := images.RemoveLeftovers(t.Context(), []ami.Leftover{{Kind: ami.SecurityGroup, ID: group, Run: "r", Unlisted: true}}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		all, err := ec2.DescribeSecurityGroups(t.Context(), &sdkec2.DescribeSecurityGroupsInput{})
		if err != nil || slices.ContainsFunc(all.SecurityGroups, func(g ec2types.SecurityGroup) bool { return *g.GroupId == group }) {
			t.Errorf("the security group is left: %v", err)
		}
	})
}
