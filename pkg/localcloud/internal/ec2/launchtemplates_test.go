package ec2

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/crypto/ssh"
)

func (c *cloud) template(data *types.RequestLaunchTemplateData) string {
	c.t.Helper()
	out := must(c.client.CreateLaunchTemplate(c.t.Context(), &sdk.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("hello"), LaunchTemplateData: data,
		TagSpecifications: []types.TagSpecification{{ResourceType: "launch-template", Tags: []types.Tag{{Key: aws.String("ingot:app"), Value: aws.String("hello")}}}},
	}))(c.t)
	return *out.LaunchTemplate.LaunchTemplateId
}

// TestTemplateDataRoundTrip sends what Terraform's aws_launch_template sends and expects it back.
func TestTemplateDataRoundTrip(t *testing.T) {
	c := start(t)
	id := c.template(&types.RequestLaunchTemplateData{
		BlockDeviceMappings: []types.LaunchTemplateBlockDeviceMappingRequest{{
			DeviceName: aws.String("/dev/xvda"), Ebs: &types.LaunchTemplateEbsBlockDeviceRequest{
				Encrypted: aws.Bool(true), VolumeSize: aws.Int32(10), VolumeType: "gp3", DeleteOnTermination: aws.Bool(true),
				Iops: aws.Int32(4000), Throughput: aws.Int32(200),
			},
		}},
		CreditSpecification: &types.CreditSpecificationRequest{CpuCredits: aws.String("standard")},
		EbsOptimized:        aws.Bool(true),
		IamInstanceProfile:  &types.LaunchTemplateIamInstanceProfileSpecificationRequest{Name: aws.String("hello")},
		ImageId:             aws.String("ami-0123456789abcdef0"),
		InstanceType:        "t3.micro", InstanceInitiatedShutdownBehavior: "terminate",
		MetadataOptions: &types.LaunchTemplateInstanceMetadataOptionsRequest{
			HttpTokens: "required", HttpEndpoint: "enabled", HttpPutResponseHopLimit: aws.Int32(2), InstanceMetadataTags: "enabled",
		},
		Monitoring: &types.LaunchTemplatesMonitoringRequest{Enabled: aws.Bool(false)},
		NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecificationRequest{{
			AssociatePublicIpAddress: aws.Bool(true), DeviceIndex: aws.Int32(0), Groups: []string{"sg-1", "sg-2"},
		}},
		Placement:        &types.LaunchTemplatePlacementRequest{AvailabilityZone: aws.String("us-west-1a")},
		SecurityGroupIds: []string{"sg-3"},
		TagSpecifications: []types.LaunchTemplateTagSpecificationRequest{{
			ResourceType: "instance", Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("hello")}},
		}},
		UserData: aws.String("IyEvYmluL3NoCg=="),
	})
	c.restart()
	out := must(c.client.DescribeLaunchTemplateVersions(t.Context(), &sdk.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: &id, Versions: []string{"$Latest", "$Default"},
	}))(t)
	if len(out.LaunchTemplateVersions) != 1 || !*out.LaunchTemplateVersions[0].DefaultVersion {
		t.Fatalf("versions %+v", out.LaunchTemplateVersions)
	}
	want := &types.ResponseLaunchTemplateData{
		BlockDeviceMappings: []types.LaunchTemplateBlockDeviceMapping{{
			DeviceName: aws.String("/dev/xvda"), Ebs: &types.LaunchTemplateEbsBlockDevice{
				Encrypted: aws.Bool(true), VolumeSize: aws.Int32(10), VolumeType: "gp3", DeleteOnTermination: aws.Bool(true),
				Iops: aws.Int32(4000), Throughput: aws.Int32(200),
			},
		}},
		CreditSpecification: &types.CreditSpecification{CpuCredits: aws.String("standard")},
		EbsOptimized:        aws.Bool(true),
		IamInstanceProfile:  &types.LaunchTemplateIamInstanceProfileSpecification{Name: aws.String("hello")},
		ImageId:             aws.String("ami-0123456789abcdef0"),
		InstanceType:        "t3.micro", InstanceInitiatedShutdownBehavior: "terminate",
		MetadataOptions: &types.LaunchTemplateInstanceMetadataOptions{
			HttpTokens: "required", HttpEndpoint: "enabled", HttpPutResponseHopLimit: aws.Int32(2), InstanceMetadataTags: "enabled",
		},
		Monitoring: &types.LaunchTemplatesMonitoring{Enabled: aws.Bool(false)},
		NetworkInterfaces: []types.LaunchTemplateInstanceNetworkInterfaceSpecification{{
			AssociatePublicIpAddress: aws.Bool(true), DeviceIndex: aws.Int32(0), Groups: []string{"sg-1", "sg-2"},
		}},
		Placement:        &types.LaunchTemplatePlacement{AvailabilityZone: aws.String("us-west-1a")},
		SecurityGroupIds: []string{"sg-3"},
		TagSpecifications: []types.LaunchTemplateTagSpecification{{
			ResourceType: "instance", Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("hello")}},
		}},
		UserData: aws.String("IyEvYmluL3NoCg=="),
	}
	public := cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".noSmithyDocumentSerde" }, cmp.Ignore())
	if diff := cmp.Diff(want, out.LaunchTemplateVersions[0].LaunchTemplateData, public, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

func TestTemplateVersions(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	id := c.template(&types.RequestLaunchTemplateData{ImageId: aws.String("ami-11111111"), InstanceType: "t3.micro"})
	_, err := c.client.CreateLaunchTemplate(ctx, &sdk.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("hello"), LaunchTemplateData: &types.RequestLaunchTemplateData{InstanceType: "t3.micro"},
	})
	refused(t, err, "InvalidLaunchTemplateName.AlreadyExistsException", "")

	version := func(source *string, image string) types.LaunchTemplateVersion {
		t.Helper()
		return *must(c.client.CreateLaunchTemplateVersion(ctx, &sdk.CreateLaunchTemplateVersionInput{
			LaunchTemplateName: aws.String("hello"), SourceVersion: source, VersionDescription: &image,
			LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: &image},
		}))(t).LaunchTemplateVersion
	}
	if v := version(aws.String("1"), "ami-22222222"); *v.VersionNumber != 2 || *v.LaunchTemplateData.ImageId != "ami-22222222" || v.LaunchTemplateData.InstanceType != "t3.micro" {
		t.Errorf("from version 1: %+v", v.LaunchTemplateData)
	}
	if v := version(aws.String("$Latest"), "ami-33333333"); *v.VersionNumber != 3 || v.LaunchTemplateData.InstanceType != "t3.micro" {
		t.Errorf("from $Latest: %+v", v.LaunchTemplateData)
	}
	if v := version(nil, "ami-44444444"); *v.VersionNumber != 4 || v.LaunchTemplateData.InstanceType != "" {
		t.Errorf("from nothing: %+v", v.LaunchTemplateData)
	}
	_, err = c.client.CreateLaunchTemplateVersion(ctx, &sdk.CreateLaunchTemplateVersionInput{
		LaunchTemplateId: &id, SourceVersion: aws.String("9"), LaunchTemplateData: &types.RequestLaunchTemplateData{ImageId: aws.String("ami-22222222")},
	})
	refused(t, err, "InvalidLaunchTemplateId.VersionNotFound", "9")

	changed := must(c.client.ModifyLaunchTemplate(ctx, &sdk.ModifyLaunchTemplateInput{LaunchTemplateId: &id, DefaultVersion: aws.String("3")}))(t)
	if *changed.LaunchTemplate.DefaultVersionNumber != 3 || *changed.LaunchTemplate.LatestVersionNumber != 4 {
		t.Errorf("template %+v", changed.LaunchTemplate)
	}
	numbers := func(in *sdk.DescribeLaunchTemplateVersionsInput) []int64 {
		t.Helper()
		var all []int64
		for _, v := range must(c.client.DescribeLaunchTemplateVersions(ctx, in))(t).LaunchTemplateVersions {
			all = append(all, *v.VersionNumber)
		}
		return all
	}
	for _, test := range []struct {
		in   sdk.DescribeLaunchTemplateVersionsInput
		want []int64
	}{
		{sdk.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id}, []int64{1, 2, 3, 4}},
		{sdk.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id, Versions: []string{"$Latest", "$Default", "1"}}, []int64{1, 3, 4}},
		{sdk.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id, MinVersion: aws.String("2"), MaxVersion: aws.String("3")}, []int64{2, 3}},
		{sdk.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id, MinVersion: aws.String("2"), MaxVersion: aws.String("2")}, []int64{2}},
		{sdk.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id, MinVersion: aws.String("9"), MaxVersion: aws.String("9")}, nil},
		{sdk.DescribeLaunchTemplateVersionsInput{Versions: []string{"$Default"}}, []int64{3}},
		{sdk.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: &id, Filters: []types.Filter{{Name: aws.String("image-id"), Values: []string{"ami-22222222"}}}}, []int64{2}},
	} {
		if diff := cmp.Diff(test.want, numbers(&test.in)); diff != "" {
			t.Errorf("versions (-want +got):\n%s", diff)
		}
	}

	tagged := must(c.client.DescribeLaunchTemplates(ctx, &sdk.DescribeLaunchTemplatesInput{
		Filters: []types.Filter{{Name: aws.String("tag:ingot:app"), Values: []string{"hello"}}},
	}))(t)
	if len(tagged.LaunchTemplates) != 1 {
		t.Errorf("by tag: %+v", tagged.LaunchTemplates)
	}
	must(c.client.DeleteLaunchTemplate(ctx, &sdk.DeleteLaunchTemplateInput{LaunchTemplateId: &id}))(t)
	_, err = c.client.DescribeLaunchTemplates(ctx, &sdk.DescribeLaunchTemplatesInput{LaunchTemplateNames: []string{"hello"}})
	refused(t, err, "InvalidLaunchTemplateName.NotFoundException", "hello")
	_, err = c.client.CreateLaunchTemplate(ctx, &sdk.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("bad"), LaunchTemplateData: &types.RequestLaunchTemplateData{UserData: aws.String("#!")},
	})
	refused(t, err, "InvalidUserData.Malformed", "")
}

func TestKeyPairs(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	rsa := must(c.client.CreateKeyPair(ctx, &sdk.CreateKeyPairInput{KeyName: aws.String("rsa")}))(t)
	ed := must(c.client.CreateKeyPair(ctx, &sdk.CreateKeyPairInput{KeyName: aws.String("ed"), KeyType: "ed25519"}))(t)
	_, err := c.client.CreateKeyPair(ctx, &sdk.CreateKeyPairInput{KeyName: aws.String("rsa")})
	refused(t, err, "InvalidKeyPair.Duplicate", "")
	out := must(c.client.DescribeKeyPairs(ctx, &sdk.DescribeKeyPairsInput{IncludePublicKey: aws.Bool(true)}))(t)
	public := map[string]string{}
	for _, k := range out.KeyPairs {
		public[*k.KeyName] = *k.PublicKey
	}
	// ssh-keygen reads both private keys and finds these public halves: see TestSSHKeygen, of the integration tests.
	for name, key := range public {
		parsed, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key))
		if err != nil || parsed.Type() != map[string]string{"rsa": "ssh-rsa", "ed": "ssh-ed25519"}[name] {
			t.Errorf("public key %s: %v, %v", name, parsed, err)
		}
	}
	if *rsa.KeyPairId == *ed.KeyPairId || *ed.KeyMaterial == "" {
		t.Errorf("key pairs %+v %+v", rsa, ed)
	}
	for range 2 { // the second time there is nothing to delete, which is no error
		must(c.client.DeleteKeyPair(ctx, &sdk.DeleteKeyPairInput{KeyName: aws.String("rsa")}))(t)
	}
	_, err = c.client.DescribeKeyPairs(ctx, &sdk.DescribeKeyPairsInput{KeyNames: []string{"rsa"}})
	refused(t, err, "InvalidKeyPair.NotFound", "rsa")
}
