package localcloud

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkautoscaling "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	sdkcodedeploy "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	sdkelbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	sdks3 "github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	sdkssm "github.com/aws/aws-sdk-go-v2/service/ssm"
)

// TestChangesAreSavedOrDidNotHappen has each service change something while its document cannot be saved.
func TestChangesAreSavedOrDidNotHappen(t *testing.T) {
	f, err := openFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id, err := f.identify(Options{Region: "us-west-1"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCloud(t.Context(), f, id, slog.New(slog.DiscardHandler), connectMemory)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	server := httptest.NewServer(c.server)
	defer server.Close()
	config := aws.Config{
		Region: id.Region, BaseEndpoint: &server.URL,
		Credentials: credentials.NewStaticCredentialsProvider(id.AccessKeyID, id.SecretAccessKey, ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
	ctx, name := t.Context(), aws.String("a-name")
	groups, deployments := sdkautoscaling.NewFromConfig(config), sdkcodedeploy.NewFromConfig(config)
	instances, balancers := sdkec2.NewFromConfig(config), sdkelbv2.NewFromConfig(config)
	identities, parameters := sdkiam.NewFromConfig(config), sdkssm.NewFromConfig(config)
	objects := sdks3.NewFromConfig(config, func(o *sdks3.Options) { o.UsePathStyle = true })

	template, err := instances.CreateLaunchTemplate(ctx, &sdkec2.CreateLaunchTemplateInput{
		LaunchTemplateName: name, LaunchTemplateData: &ec2types.RequestLaunchTemplateData{InstanceType: "t3.micro"},
	})
	if err != nil {
		t.Fatal(err)
	}
	vpcs, err := instances.DescribeVpcs(ctx, &sdkec2.DescribeVpcsInput{})
	if err != nil {
		t.Fatal(err)
	}
	subnets, err := instances.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		document string
		change   func() error
		count    func(context.Context) (int, error) // what the change adds to
	}{
		{"iam", func() error {
			_, err := identities.CreateRole(ctx, &sdkiam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: aws.String(`{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}`)})
			return err
		}, func(ctx context.Context) (int, error) {
			out, err := identities.ListRoles(ctx, &sdkiam.ListRolesInput{})
			return len(out.Roles), err
		}},
		{"ssm", func() error {
			_, err := parameters.PutParameter(ctx, &sdkssm.PutParameterInput{Name: name, Value: aws.String("v"), Type: "String"})
			return err
		}, func(ctx context.Context) (int, error) {
			out, err := parameters.DescribeParameters(ctx, &sdkssm.DescribeParametersInput{})
			return len(out.Parameters), err
		}},
		{"cloudwatch", func() error {
			return c.server.Invoke(ctx, "monitoring", "PutMetricAlarm", url.Values{
				"AlarmName": {*name}, "Namespace": {"n"}, "MetricName": {"m"}, "Period": {"60"}, "Statistic": {"Sum"}, "EvaluationPeriods": {"1"},
				"Threshold": {"1"}, "ComparisonOperator": {"GreaterThanThreshold"},
			}, &struct{}{})
		}, func(ctx context.Context) (int, error) {
			var out struct {
				Names []string `xml:"DescribeAlarmsResult>MetricAlarms>member>AlarmName"`
			}
			err := c.server.Invoke(ctx, "monitoring", "DescribeAlarms", nil, &out)
			return len(out.Names), err
		}},
		{"s3", func() error {
			_, err := objects.CreateBucket(ctx, &sdks3.CreateBucketInput{
				Bucket: name, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: "us-west-1"},
			})
			return err
		}, func(ctx context.Context) (int, error) {
			out, err := objects.ListBuckets(ctx, &sdks3.ListBucketsInput{})
			return len(out.Buckets), err
		}},
		{"ec2", func() error {
			_, err := instances.CreateSecurityGroup(ctx, &sdkec2.CreateSecurityGroupInput{GroupName: name, Description: name})
			return err
		}, func(ctx context.Context) (int, error) {
			out, err := instances.DescribeSecurityGroups(ctx, &sdkec2.DescribeSecurityGroupsInput{})
			return len(out.SecurityGroups), err
		}},
		{"elbv2", func() error {
			_, err := balancers.CreateTargetGroup(ctx, &sdkelbv2.CreateTargetGroupInput{
				Name: name, Port: aws.Int32(80), Protocol: "HTTP", VpcId: vpcs.Vpcs[0].VpcId,
			})
			return err
		}, func(ctx context.Context) (int, error) {
			out, err := balancers.DescribeTargetGroups(ctx, &sdkelbv2.DescribeTargetGroupsInput{})
			return len(out.TargetGroups), err
		}},
		{"autoscaling", func() error {
			_, err := groups.CreateAutoScalingGroup(ctx, &sdkautoscaling.CreateAutoScalingGroupInput{
				AutoScalingGroupName: name, MinSize: aws.Int32(0), MaxSize: aws.Int32(1), VPCZoneIdentifier: subnets.Subnets[0].SubnetId,
				LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: template.LaunchTemplate.LaunchTemplateId},
			})
			return err
		}, func(ctx context.Context) (int, error) {
			out, err := groups.DescribeAutoScalingGroups(ctx, &sdkautoscaling.DescribeAutoScalingGroupsInput{})
			return len(out.AutoScalingGroups), err
		}},
		{"codedeploy", func() error {
			_, err := deployments.CreateApplication(ctx, &sdkcodedeploy.CreateApplicationInput{ApplicationName: name})
			return err
		}, func(ctx context.Context) (int, error) {
			out, err := deployments.ListApplications(ctx, &sdkcodedeploy.ListApplicationsInput{})
			return len(out.Applications), err
		}},
	} {
		t.Run(test.document, func(t *testing.T) {
			count := func() int {
				t.Helper()
				n, err := test.count(ctx)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			before := count()
			// A folder with something in it, in place of the document, lets nobody write that.
			file := f.join(test.document + ".json")
			_ = os.Rename(file, file+".kept") // there may be none yet
			if err := os.MkdirAll(file+"/full", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := test.change(); err == nil {
				t.Error("a change that cannot be saved succeeds")
			}
			if n := count(); n != before {
				t.Errorf("%d after a change that could not be saved, want %d as before", n, before)
			}
			if err := os.RemoveAll(file); err != nil {
				t.Fatal(err)
			}
			_ = os.Rename(file+".kept", file)
			if err := test.change(); err != nil {
				t.Errorf("once there is room again: %v", err)
			}
			if n := count(); n != before+1 {
				t.Errorf("%d after a change, want %d", n, before+1)
			}
		})
	}
}

// A cloud that cannot have machines says why.
func TestNoMachines(t *testing.T) {
	id := identity{ID: "0123456789ab", AccountID: "123456789012", Region: "us-west-1"}
	gone := errors.New("no engine answers")
	for name, connect := range map[string]connector{
		"no engine": func(context.Context, string) (backend, error) { return backend{}, gone },
		"one that cannot be": func(context.Context, string) (backend, error) {
			return backend{check: func() error { return gone }, close: func() {}}, nil
		},
	} {
		if _, err := newCloud(t.Context(), folder(t.TempDir()), id, slog.New(slog.DiscardHandler), connect); !errors.Is(err, gone) {
			t.Errorf("%s: newCloud = %v, want %v", name, err, gone)
		}
	}
	if err := mayListen("127.0.0.1:0"); err != nil {
		t.Errorf("a port of everybody's: %v", err)
	}
}
