package localcloud

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	sdkautoscaling "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	sdkelbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	sdks3 "github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	sdkservicequotas "github.com/aws/aws-sdk-go-v2/service/servicequotas"
	sdkssm "github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// TestApplyAsRole has one role, which may do everything, make what a stack is made of, and another one,
// which may do nothing, try the same.
func TestApplyAsRole(t *testing.T) {
	a := newAccount(t)
	account := trusting(`{"AWS":"arn:aws:iam::ACCOUNT:root"}`, "")
	a.makeRole(t, "all", account, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	a.makeRole(t, "none", account, "")
	all := a.with(made(t, a.admin.sts.AssumeRole, a.assume("all")).Credentials)
	none := a.with(made(t, a.admin.sts.AssumeRole, a.assume("none")).Credentials)

	name, key := aws.String("stack"), aws.String("k")
	var vpc, subnet, other, gateway, table, association, group, template, balancer, targets *string
	for _, step := range []struct {
		what string
		do   func(clients) error
	}{
		{"make a VPC", func(c clients) error {
			out, err := c.ec2.CreateVpc(t.Context(), &sdkec2.CreateVpcInput{CidrBlock: aws.String("10.0.0.0/16"), TagSpecifications: specs("stack", kinds("vpc"))})
			if err == nil {
				vpc = out.Vpc.VpcId
			}
			return err
		}},
		{"change it", func(c clients) error {
			return call(c.ec2.ModifyVpcAttribute, &sdkec2.ModifyVpcAttributeInput{VpcId: vpc, EnableDnsHostnames: &ec2types.AttributeBooleanValue{Value: aws.Bool(true)}})
		}},
		{"make a subnet", func(c clients) error {
			out, err := c.ec2.CreateSubnet(t.Context(), &sdkec2.CreateSubnetInput{VpcId: vpc, CidrBlock: aws.String("10.0.0.0/24"), AvailabilityZone: aws.String("us-west-1a")})
			if err == nil {
				subnet = out.Subnet.SubnetId
			}
			return err
		}},
		{"make another one", func(c clients) error {
			out, err := c.ec2.CreateSubnet(t.Context(), &sdkec2.CreateSubnetInput{VpcId: vpc, CidrBlock: aws.String("10.0.1.0/24"), AvailabilityZone: aws.String("us-west-1c")})
			if err == nil {
				other = out.Subnet.SubnetId
			}
			return err
		}},
		{"make a gateway", func(c clients) error {
			out, err := c.ec2.CreateInternetGateway(t.Context(), &sdkec2.CreateInternetGatewayInput{TagSpecifications: specs("stack", kinds("internet-gateway"))})
			if err == nil {
				gateway = out.InternetGateway.InternetGatewayId
			}
			return err
		}},
		{"attach it", func(c clients) error {
			return call(c.ec2.AttachInternetGateway, &sdkec2.AttachInternetGatewayInput{InternetGatewayId: gateway, VpcId: vpc})
		}},
		{"make a route table", func(c clients) error {
			out, err := c.ec2.CreateRouteTable(t.Context(), &sdkec2.CreateRouteTableInput{VpcId: vpc})
			if err == nil {
				table = out.RouteTable.RouteTableId
			}
			return err
		}},
		{"make a route", func(c clients) error {
			return call(c.ec2.CreateRoute, &sdkec2.CreateRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: gateway})
		}},
		{"associate the table", func(c clients) error {
			out, err := c.ec2.AssociateRouteTable(t.Context(), &sdkec2.AssociateRouteTableInput{RouteTableId: table, SubnetId: subnet})
			if err == nil {
				association = out.AssociationId
			}
			return err
		}},
		{"dissociate it", func(c clients) error {
			return call(c.ec2.DisassociateRouteTable, &sdkec2.DisassociateRouteTableInput{AssociationId: association})
		}},
		{"make a security group", func(c clients) error {
			out, err := c.ec2.CreateSecurityGroup(t.Context(), &sdkec2.CreateSecurityGroupInput{
				GroupName: name, Description: name, VpcId: vpc, TagSpecifications: specs("stack", kinds("security-group")),
			})
			if err == nil {
				group = out.GroupId
			}
			return err
		}},
		{"open it", func(c clients) error {
			return call(c.ec2.AuthorizeSecurityGroupIngress, &sdkec2.AuthorizeSecurityGroupIngressInput{
				GroupId: group, TagSpecifications: specs("stack", kinds("security-group-rule")), IpPermissions: []ec2types.IpPermission{{
					IpProtocol: aws.String("tcp"), FromPort: aws.Int32(80), ToPort: aws.Int32(80), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}},
				}},
			})
		}},
		{"tag it", func(c clients) error {
			return call(c.ec2.CreateTags, &sdkec2.CreateTagsInput{Resources: []string{aws.ToString(group)}, Tags: []ec2types.Tag{{Key: key, Value: name}}})
		}},
		{"take the tag away", func(c clients) error {
			return call(c.ec2.DeleteTags, &sdkec2.DeleteTagsInput{Resources: []string{aws.ToString(group)}, Tags: []ec2types.Tag{{Key: key}}})
		}},
		{"make a launch template", func(c clients) error {
			out, err := c.ec2.CreateLaunchTemplate(t.Context(), &sdkec2.CreateLaunchTemplateInput{
				LaunchTemplateName: name, TagSpecifications: specs("stack", kinds("launch-template")),
				LaunchTemplateData: &ec2types.RequestLaunchTemplateData{InstanceType: "t3.micro"},
			})
			if err == nil {
				template = out.LaunchTemplate.LaunchTemplateId
			}
			return err
		}},
		{"make a load balancer", func(c clients) error {
			out, err := c.elbv2.CreateLoadBalancer(t.Context(), &sdkelbv2.CreateLoadBalancerInput{
				Name: name, Subnets: []string{aws.ToString(subnet), aws.ToString(other)}, SecurityGroups: []string{aws.ToString(group)}, Tags: []elbtypes.Tag{{Key: key, Value: name}},
			})
			if err == nil {
				balancer = out.LoadBalancers[0].LoadBalancerArn
			}
			return err
		}},
		{"make a target group", func(c clients) error {
			out, err := c.elbv2.CreateTargetGroup(t.Context(), &sdkelbv2.CreateTargetGroupInput{
				Name: name, Port: aws.Int32(80), Protocol: "HTTP", VpcId: vpc, Tags: []elbtypes.Tag{{Key: key, Value: name}},
			})
			if err == nil {
				targets = out.TargetGroups[0].TargetGroupArn
			}
			return err
		}},
		{"make a listener", func(c clients) error {
			return call(c.elbv2.CreateListener, &sdkelbv2.CreateListenerInput{
				LoadBalancerArn: aws.String(aws.ToString(balancer)), Port: aws.Int32(80), Protocol: "HTTP", Tags: []elbtypes.Tag{{Key: key, Value: name}},
				DefaultActions: []elbtypes.Action{{Type: "forward", TargetGroupArn: targets}},
			})
		}},
		{"tag the target group", func(c clients) error {
			return call(c.elbv2.AddTags, &sdkelbv2.AddTagsInput{ResourceArns: []string{aws.ToString(targets)}, Tags: []elbtypes.Tag{{Key: key, Value: name}}})
		}},
		{"make a group", func(c clients) error {
			return call(c.autoscaling.CreateAutoScalingGroup, &sdkautoscaling.CreateAutoScalingGroupInput{
				AutoScalingGroupName: name, MinSize: aws.Int32(0), MaxSize: aws.Int32(1), VPCZoneIdentifier: subnet, TargetGroupARNs: []string{aws.ToString(targets)},
				LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: template, Version: aws.String("1")},
				Tags:           []asgtypes.Tag{{Key: key, Value: name, PropagateAtLaunch: aws.Bool(true)}},
			})
		}},
		{"tag it once more", func(c clients) error {
			return call(c.autoscaling.CreateOrUpdateTags, &sdkautoscaling.CreateOrUpdateTagsInput{Tags: []asgtypes.Tag{
				{Key: key, Value: key, ResourceId: name, ResourceType: aws.String("auto-scaling-group"), PropagateAtLaunch: aws.Bool(false)},
			}})
		}},
		{"make a role", func(c clients) error {
			return call(c.iam.CreateRole, &sdkiam.CreateRoleInput{
				RoleName: name, AssumeRolePolicyDocument: aws.String(trusting(`{"Service":"ec2.amazonaws.com"}`, "")), Tags: []iamtypes.Tag{{Key: key, Value: name}},
			})
		}},
		{"make a profile", func(c clients) error {
			return call(c.iam.CreateInstanceProfile, &sdkiam.CreateInstanceProfileInput{InstanceProfileName: name})
		}},
		{"put the role into it", func(c clients) error {
			return call(c.iam.AddRoleToInstanceProfile, &sdkiam.AddRoleToInstanceProfileInput{InstanceProfileName: name, RoleName: name})
		}},
		{"put a parameter", func(c clients) error {
			return call(c.ssm.PutParameter, &sdkssm.PutParameterInput{Name: name, Value: name, Type: "String", Tags: []ssmtypes.Tag{{Key: key, Value: name}}})
		}},
	} {
		if err := step.do(none); !refused(t, err) {
			t.Errorf("without any right: %s: %v", step.what, err)
		}
		if err := step.do(all); err != nil {
			t.Fatalf("with every right: %s: %v", step.what, err)
		}
	}
}

// TestObjectsByRole is about calls of which a part is allowed, and about those whose answer has no body.
func TestObjectsByRole(t *testing.T) {
	a := newAccount(t)
	a.makeRole(t, "some", trusting(`{"AWS":"arn:aws:iam::ACCOUNT:root"}`, ""),
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:DeleteObject","Resource":"arn:aws:s3:::bucket/mine/*"},
		{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::bucket","Condition":{"StringLike":{"s3:prefix":"mine/*"}}}]}`)
	c := a.with(made(t, a.admin.sts.AssumeRole, a.assume("some")).Credentials)
	bucket := aws.String("bucket")
	made(t, a.admin.s3.CreateBucket, &sdks3.CreateBucketInput{
		Bucket: bucket, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "us-west-1"},
	})
	for _, key := range []string{"mine/a", "yours/a"} {
		made(t, a.admin.s3.PutObject, &sdks3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader(key)})
	}
	out := made(t, c.s3.DeleteObjects, &sdks3.DeleteObjectsInput{Bucket: bucket, Delete: &s3types.Delete{Objects: []s3types.ObjectIdentifier{
		{Key: aws.String("mine/a")}, {Key: aws.String("yours/a")},
	}}})
	if len(out.Deleted) != 1 || *out.Deleted[0].Key != "mine/a" || len(out.Errors) != 1 || *out.Errors[0].Key != "yours/a" || *out.Errors[0].Code != "AccessDenied" {
		t.Errorf("deleted %v, refused %v", out.Deleted, out.Errors)
	}
	left := made(t, a.admin.s3.ListObjectsV2, &sdks3.ListObjectsV2Input{Bucket: bucket})
	if len(left.Contents) != 1 || *left.Contents[0].Key != "yours/a" {
		t.Errorf("left are %v", left.Contents)
	}
	var answer *awshttp.ResponseError
	err := call(c.s3.HeadObject, &sdks3.HeadObjectInput{Bucket: bucket, Key: aws.String("yours/a")})
	if !errors.As(err, &answer) || answer.HTTPStatusCode() != http.StatusForbidden {
		t.Errorf("a look at an object: %v", err)
	}
	for prefix, want := range map[string]bool{"mine/": false, "yours/": true} {
		if err := call(c.s3.ListObjectsV2, &sdks3.ListObjectsV2Input{Bucket: bucket, Prefix: &prefix}); refused(t, err) != want {
			t.Errorf("a list of %s: %v", prefix, err)
		}
	}
}

// TestRightsOfCalls has a role with all that a call needs make it, and one that lacks any part of that try to.
func TestRightsOfCalls(t *testing.T) {
	a := newAccount(t)
	a.fill(t)
	a.makeRole(t, "some", trusting(`{"AWS":"arn:aws:iam::ACCOUNT:root"}`, ""), "")
	c := a.with(made(t, a.admin.sts.AssumeRole, a.assume("some")).Credentials)
	bucket, group := aws.String("states"), aws.String("hello")
	for key, tags := range map[string]*string{"plain": nil, "tagged": aws.String("k=v")} {
		made(t, a.admin.s3.PutObject, &sdks3.PutObjectInput{Bucket: bucket, Key: &key, Body: strings.NewReader(key), Tagging: tags})
	}
	start := func() *string {
		return made(t, a.admin.s3.CreateMultipartUpload, &sdks3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("parts")}).UploadId
	}
	upload, aborted := start(), start()
	part := func(c clients) error {
		return call(c.s3.UploadPart, &sdks3.UploadPartInput{Bucket: bucket, Key: aws.String("parts"), UploadId: upload, PartNumber: aws.Int32(1), Body: strings.NewReader("a")})
	}
	if err := part(a.admin); err != nil {
		t.Fatal(err)
	}
	copyOf := func(key string) func(clients) error {
		return func(c clients) error {
			return call(c.s3.CopyObject, &sdks3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("states/" + key)})
		}
	}
	copyImage := func(tags bool) func(clients) error {
		return func(c clients) error {
			return call(c.ec2.CopyImage, &sdkec2.CopyImageInput{
				SourceImageId: &a.image, SourceRegion: &a.id.Region, Name: aws.String("copy"), CopyImageTags: &tags, DryRun: aws.Bool(true),
			})
		}
	}
	acl := made(t, a.admin.ec2.DescribeNetworkAcls, &sdkec2.DescribeNetworkAclsInput{}).NetworkAcls[0].NetworkAclId
	of := a.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/hello")
	toCopyImage := [][2]string{
		{"ec2:CopyImage", "arn:aws:ec2:us-west-1::image/" + a.image}, {"ec2:CopyImage", "arn:aws:ec2:us-west-1::image/?"},
		{"ec2:CopyImage", "arn:aws:ec2:us-west-1::snapshot/?"},
	}
	toCopy := func(key string) [][2]string {
		return [][2]string{{"s3:GetObject", "arn:aws:s3:::states/" + key}, {"s3:PutObject", "arn:aws:s3:::states/copy"}}
	}
	for _, test := range []struct {
		what  string
		do    func(clients) error
		needs [][2]string // actions and resources
	}{
		{"copy an object", copyOf("plain"), toCopy("plain")},
		{"copy an object with its tags", copyOf("tagged"), append(toCopy("tagged"),
			[2]string{"s3:GetObjectTagging", "arn:aws:s3:::states/tagged"}, [2]string{"s3:PutObjectTagging", "arn:aws:s3:::states/copy"})},
		{"copy an object that there is not", copyOf("none"), append(toCopy("none"), [2]string{"s3:ListBucket", "arn:aws:s3:::states"})},
		{"begin an upload", func(c clients) error {
			return call(c.s3.CreateMultipartUpload, &sdks3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("parts"), Tagging: aws.String("k=v")})
		}, [][2]string{{"s3:PutObject", "arn:aws:s3:::states/parts"}, {"s3:PutObjectTagging", "arn:aws:s3:::states/parts"}}},
		{"upload a part", part, [][2]string{{"s3:PutObject", "arn:aws:s3:::states/parts"}}},
		{"copy a part", func(c clients) error {
			return call(c.s3.UploadPartCopy, &sdks3.UploadPartCopyInput{
				Bucket: bucket, Key: aws.String("parts"), UploadId: upload, PartNumber: aws.Int32(2), CopySource: aws.String("states/plain"),
			})
		}, [][2]string{{"s3:GetObject", "arn:aws:s3:::states/plain"}, {"s3:PutObject", "arn:aws:s3:::states/parts"}}},
		{"complete an upload", func(c clients) error {
			return call(c.s3.CompleteMultipartUpload, &sdks3.CompleteMultipartUploadInput{
				Bucket: bucket, Key: aws.String("parts"), UploadId: upload, MultipartUpload: &s3types.CompletedMultipartUpload{Parts: []s3types.CompletedPart{
					{PartNumber: aws.Int32(1), ETag: aws.String("0cc175b9c0f1b6a831c399e269772661")}, // of "a"
				}},
			})
		}, [][2]string{{"s3:PutObject", "arn:aws:s3:::states/parts"}}},
		{"abort an upload", func(c clients) error {
			return call(c.s3.AbortMultipartUpload, &sdks3.AbortMultipartUploadInput{Bucket: bucket, Key: aws.String("parts"), UploadId: aborted})
		}, [][2]string{{"s3:AbortMultipartUpload", "arn:aws:s3:::states/parts"}}},

		{"copy an image", copyImage(false), toCopyImage},
		{"copy an image with its tags", copyImage(true), append(slices.Clone(toCopyImage), [2]string{"ec2:CreateTags", "arn:aws:ec2:us-west-1::image/?"})},
		{"empty a network ACL", func(c clients) error {
			return call(c.ec2.DeleteNetworkAclEntry, &sdkec2.DeleteNetworkAclEntryInput{NetworkAclId: acl, RuleNumber: aws.Int32(100), Egress: aws.Bool(true), DryRun: aws.Bool(true)})
		}, [][2]string{{"ec2:DeleteNetworkAclEntry", a.arn("ec2", "network-acl/"+*acl)}}},
		{"make a default VPC", func(c clients) error {
			return call(c.ec2.CreateDefaultVpc, &sdkec2.CreateDefaultVpcInput{DryRun: aws.Bool(true)})
		}, [][2]string{{"ec2:CreateDefaultVpc", "*"}}},
		{"look at instance types", func(c clients) error {
			return call(c.ec2.DescribeInstanceTypes, &sdkec2.DescribeInstanceTypesInput{})
		}, [][2]string{{"ec2:DescribeInstanceTypes", "*"}}},
		{"see whether volumes are encrypted", func(c clients) error {
			return call(c.ec2.GetEbsEncryptionByDefault, &sdkec2.GetEbsEncryptionByDefaultInput{})
		}, [][2]string{{"ec2:GetEbsEncryptionByDefault", "*"}}},
		{"see with what key", func(c clients) error {
			return call(c.ec2.GetEbsDefaultKmsKeyId, &sdkec2.GetEbsDefaultKmsKeyIdInput{})
		}, [][2]string{{"ec2:GetEbsDefaultKmsKeyId", "*"}}},

		{"collect metrics", func(c clients) error {
			return call(c.autoscaling.EnableMetricsCollection, &sdkautoscaling.EnableMetricsCollectionInput{AutoScalingGroupName: group, Granularity: aws.String("1Minute")})
		}, [][2]string{{"autoscaling:EnableMetricsCollection", of}}},
		{"collect them no more", func(c clients) error {
			return call(c.autoscaling.DisableMetricsCollection, &sdkautoscaling.DisableMetricsCollectionInput{AutoScalingGroupName: group})
		}, [][2]string{{"autoscaling:DisableMetricsCollection", of}}},
		{"look at launch configurations", func(c clients) error {
			return call(c.autoscaling.DescribeLaunchConfigurations, &sdkautoscaling.DescribeLaunchConfigurationsInput{})
		}, [][2]string{{"autoscaling:DescribeLaunchConfigurations", "*"}}},

		{"look at a quota", func(c clients) error {
			return call(c.quotas.GetServiceQuota, &sdkservicequotas.GetServiceQuotaInput{ServiceCode: aws.String("ec2"), QuotaCode: aws.String("L-1216C47A")})
		}, [][2]string{{"servicequotas:GetServiceQuota", "*"}}},
	} {
		for lacking := len(test.needs) - 1; lacking >= -1; lacking-- { // at last nothing
			statements := []string{`{"Effect":"Allow","Action":"iam:GetUser","Resource":"*"}`} // as there has to be one
			for i, need := range test.needs {
				if i != lacking {
					statements = append(statements, fmt.Sprintf(`{"Effect":"Allow","Action":%q,"Resource":%q}`, need[0], need[1]))
				}
			}
			made(t, a.admin.iam.PutRolePolicy, &sdkiam.PutRolePolicyInput{
				RoleName: aws.String("some"), PolicyName: aws.String("policy"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`),
			})
			switch err := test.do(c); {
			case lacking >= 0 && !refused(t, err):
				t.Errorf("%s without %s: %v", test.what, test.needs[lacking], err)
			case lacking < 0 && refused(t, err):
				t.Errorf("%s: %v", test.what, err)
			}
		}
	}
}
