package localcloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkautoscaling "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	sdkcloudwatch "github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	sdkcodedeploy "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	cdtypes "github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	sdkelbv2 "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	sdks3 "github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	sdkservicequotas "github.com/aws/aws-sdk-go-v2/service/servicequotas"
	sdkssm "github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/ingot-build/ingot/internal/stackpolicy"
)

// clients call the cloud as somebody.
type clients struct {
	autoscaling *sdkautoscaling.Client
	cloudwatch  *sdkcloudwatch.Client
	codedeploy  *sdkcodedeploy.Client
	ec2         *sdkec2.Client
	elbv2       *sdkelbv2.Client
	iam         *sdkiam.Client
	quotas      *sdkservicequotas.Client
	s3          *sdks3.Client
	ssm         *sdkssm.Client
	sts         *sdksts.Client
}

func clientsOf(endpoint, region string, provider aws.CredentialsProvider) clients {
	config := aws.Config{
		Region: region, BaseEndpoint: &endpoint, Credentials: provider, // a connection that is reset is tried again; what is refused is not
	}
	return clients{
		sdkautoscaling.NewFromConfig(config), sdkcloudwatch.NewFromConfig(config), sdkcodedeploy.NewFromConfig(config),
		sdkec2.NewFromConfig(config), sdkelbv2.NewFromConfig(config), sdkiam.NewFromConfig(config), sdkservicequotas.NewFromConfig(config),
		sdks3.NewFromConfig(config, func(o *sdks3.Options) { o.UsePathStyle = true }), sdkssm.NewFromConfig(config), sdksts.NewFromConfig(config),
	}
}

const (
	githubIssuer   = "https://token.actions.githubusercontent.com"
	githubProvider = "token.actions.githubusercontent.com"
	githubAudience = "sts.amazonaws.com"
)

// account is a cloud that holds what the stack makes for the application hello, and what others have beside it.
type account struct {
	cloud    *cloud
	folder   folder
	id       identity
	endpoint string
	admin    clients

	names stackpolicy.Names

	vpc, groupOfRun, groupOfFleet          string // security groups
	template, foreignTemplate              string
	debian, image, foreignImage, bareImage string
	snapshot, foreignSnapshot, bareSnap    string
	builder, fleet                         string // instances: of a run, and of the fleet
	deployment                             string
	otherSubnet                            string // that is not the stack's
}

// made calls an operation that has to succeed.
func made[I, O, P any](t testing.TB, operation func(context.Context, I, ...func(P)) (O, error), in I) O {
	t.Helper()
	out, err := operation(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// call calls an operation for its error.
func call[I, O, P any](operation func(context.Context, I, ...func(P)) (O, error), in I) error {
	_, err := operation(context.Background(), in)
	return err
}

// readObject gets an object for its error.
func readObject(c clients, in *sdks3.GetObjectInput) error {
	out, err := c.s3.GetObject(context.Background(), in)
	if err == nil {
		err = out.Body.Close()
	}
	return err
}

// specs are the tags of an application and more, in pairs, for each kind of resource. Without an application there are none.
func specs(app string, kinds []ec2types.ResourceType, more ...string) []ec2types.TagSpecification {
	var all []ec2types.TagSpecification
	for _, kind := range kinds {
		spec := ec2types.TagSpecification{ResourceType: kind}
		for i := 0; i < len(more); i += 2 {
			spec.Tags = append(spec.Tags, ec2types.Tag{Key: &more[i], Value: &more[i+1]})
		}
		if app != "" {
			spec.Tags = append(spec.Tags, ec2types.Tag{Key: aws.String("ingot:app"), Value: &app})
		}
		if len(spec.Tags) > 0 {
			all = append(all, spec)
		}
	}
	return all
}

func kinds(all ...ec2types.ResourceType) []ec2types.ResourceType { return all }

const trustAccount = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"%s"}}}`

func newAccount(t *testing.T) *account { return newAccountOn(t, connectMemory) }

func newAccountOn(t *testing.T, connect connector) *account {
	f, err := openFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a := &account{folder: f}
	if a.id, err = f.identify(Options{Region: "us-west-1"}); err != nil {
		t.Fatal(err)
	}
	if a.cloud, err = newCloud(t.Context(), f, a.id, slog.New(slog.DiscardHandler), connect); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.cloud.close)
	server := httptest.NewServer(a.cloud.server)
	t.Cleanup(server.Close)
	a.endpoint = server.URL
	a.admin = clientsOf(a.endpoint, a.id.Region, credentials.NewStaticCredentialsProvider(a.id.AccessKeyID, a.id.SecretAccessKey, ""))
	a.names = stackpolicy.Names{
		Account: a.id.AccountID, Region: a.id.Region, InstanceRole: "hello-instance-1", InstanceProfile: "hello-instance-1",
		CodeDeployRole: "hello-codedeploy-1", RevisionsBucket: "hello-revisions-1",
	}
	return a
}

func (a *account) arn(service, resource string) string {
	return fmt.Sprintf("arn:aws:%s:%s:%s:%s", service, a.id.Region, a.id.AccountID, resource)
}

func (a *account) role(name string) string { return "arn:aws:iam::" + a.id.AccountID + ":role/" + name }

// fill makes what the stack makes for the application hello, and what others have beside it.
func (a *account) fill(t *testing.T) {
	c := a.admin
	a.vpc = *made(t, c.ec2.DescribeVpcs, &sdkec2.DescribeVpcsInput{}).Vpcs[0].VpcId
	for _, subnet := range made(t, c.ec2.DescribeSubnets, &sdkec2.DescribeSubnetsInput{}).Subnets {
		a.names.Subnets = append(a.names.Subnets, *subnet.SubnetId)
	}
	a.otherSubnet = *made(t, c.ec2.CreateSubnet, &sdkec2.CreateSubnetInput{VpcId: &a.vpc, CidrBlock: aws.String("172.31.128.0/20")}).Subnet.SubnetId
	a.groupOfRun, a.groupOfFleet = a.makeGroup(t, "run", "ingot:run", "r1"), a.makeGroup(t, "fleet")
	a.debian = *made(t, c.ec2.DescribeImages, &sdkec2.DescribeImagesInput{Owners: []string{"136693071363"}}).Images[0].ImageId
	a.builder, a.fleet = a.run(t, "ingot:run", "r1"), a.run(t)
	a.image, a.snapshot = a.makeImage(t, "hello")
	a.foreignImage, a.foreignSnapshot = a.makeImage(t, "other")
	a.bareImage, a.bareSnap = a.makeImage(t, "")
	made(t, c.iam.CreateOpenIDConnectProvider, &sdkiam.CreateOpenIDConnectProviderInput{
		Url: aws.String(githubIssuer), ClientIDList: []string{githubAudience},
	})
	for _, profile := range []string{"hello-instance-1", "other-instance-1"} {
		made(t, c.iam.CreateInstanceProfile, &sdkiam.CreateInstanceProfileInput{InstanceProfileName: &profile})
	}
	a.template = a.makeTemplate(t, "hello", "hello-instance-1")
	a.names.LaunchTemplate = a.arn("ec2", "launch-template/"+a.template)
	a.foreignTemplate = a.makeTemplate(t, "other", "other-instance-1")
	a.makeRoles(t)
	made(t, c.ec2.CreateLaunchTemplateVersion, &sdkec2.CreateLaunchTemplateVersionInput{ // which somebody else has to have made
		LaunchTemplateId: &a.template, SourceVersion: aws.String("1"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{
			IamInstanceProfile: &ec2types.LaunchTemplateIamInstanceProfileSpecificationRequest{Name: aws.String("other-instance-1")},
		},
	})
	for _, app := range []string{"hello", "other"} {
		template := a.template
		if app == "other" {
			template = a.foreignTemplate
		}
		made(t, c.autoscaling.CreateAutoScalingGroup, &sdkautoscaling.CreateAutoScalingGroupInput{
			AutoScalingGroupName: &app, MinSize: aws.Int32(0), MaxSize: aws.Int32(4), VPCZoneIdentifier: aws.String(strings.Join(a.names.Subnets, ",")),
			LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: &template, Version: aws.String("1")},
			Tags: []asgtypes.Tag{
				{Key: aws.String("ingot:app"), Value: &app, PropagateAtLaunch: aws.Bool(true)}, {Key: aws.String("Name"), Value: &app, PropagateAtLaunch: aws.Bool(true)},
			},
		})
		made(t, c.codedeploy.CreateApplication, &sdkcodedeploy.CreateApplicationInput{ApplicationName: &app})
		made(t, c.codedeploy.CreateDeploymentGroup, &sdkcodedeploy.CreateDeploymentGroupInput{
			ApplicationName: &app, DeploymentGroupName: &app, ServiceRoleArn: aws.String(a.role(app + "-codedeploy-1")),
			DeploymentConfigName: aws.String("CodeDeployDefault.AllAtOnce"),
		})
		for _, name := range []string{"release", "revisions"} {
			made(t, c.ssm.PutParameter, &sdkssm.PutParameterInput{
				Name: aws.String("/ingot/" + app + "/" + name), Value: aws.String("v"), Type: ssmtypes.ParameterTypeString,
			})
		}
		for _, bucket := range []string{app + "-revisions-1", app + "-states"} {
			if bucket == "hello-states" {
				bucket = "states"
			}
			made(t, c.s3.CreateBucket, &sdks3.CreateBucketInput{
				Bucket: &bucket, CreateBucketConfiguration: &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(a.id.Region)},
			})
		}
		made(t, c.s3.PutObject, &sdks3.PutObjectInput{
			Bucket: aws.String(app + "-revisions-1"), Key: aws.String("r.zip"), Body: strings.NewReader("revision"),
		})
		made(t, c.s3.PutObject, &sdks3.PutObjectInput{
			Bucket: aws.String("states"), Key: aws.String("ingot/" + app + "/us-west-1.tfstate"), Body: strings.NewReader("{}"),
		})
		made(t, c.cloudwatch.PutMetricAlarm, &sdkcloudwatch.PutMetricAlarmInput{
			AlarmName: aws.String(app + "-errors"), Namespace: aws.String("n"), MetricName: aws.String("m"), Period: aws.Int32(60), Statistic: "Sum",
			EvaluationPeriods: aws.Int32(1), Threshold: aws.Float64(1), ComparisonOperator: "GreaterThanThreshold",
		})
	}
	a.deployment = *made(t, c.codedeploy.CreateDeployment, a.deploy("hello")).DeploymentId
}

// deploy is a deployment of the application's revision.
func (a *account) deploy(app string) *sdkcodedeploy.CreateDeploymentInput {
	return &sdkcodedeploy.CreateDeploymentInput{
		ApplicationName: &app, DeploymentGroupName: &app, Revision: &cdtypes.RevisionLocation{RevisionType: cdtypes.RevisionLocationTypeS3, S3Location: &cdtypes.S3Location{
			Bucket: aws.String(app + "-revisions-1"), Key: aws.String("r.zip"), BundleType: cdtypes.BundleTypeZip,
		}},
	}
}

func (a *account) makeGroup(t *testing.T, name string, tags ...string) string {
	return *made(t, a.admin.ec2.CreateSecurityGroup, &sdkec2.CreateSecurityGroupInput{
		GroupName: &name, Description: &name, VpcId: &a.vpc, TagSpecifications: specs("hello", kinds("security-group"), tags...),
	}).GroupId
}

// run launches an instance of the application and waits until it runs.
func (a *account) run(t *testing.T, tags ...string) string {
	out := made(t, a.admin.ec2.RunInstances, &sdkec2.RunInstancesInput{
		ImageId: &a.debian, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: &a.names.Subnets[0],
		TagSpecifications: specs("hello", kinds("instance"), tags...),
	})
	id := *out.Instances[0].InstanceId
	waiter := sdkec2.NewInstanceRunningWaiter(a.admin.ec2, func(o *sdkec2.InstanceRunningWaiterOptions) {
		o.MinDelay, o.MaxDelay = time.Millisecond, time.Millisecond
	})
	if err := waiter.Wait(t.Context(), &sdkec2.DescribeInstancesInput{InstanceIds: []string{id}}, time.Minute); err != nil {
		t.Fatal(err)
	}
	return id
}

func (a *account) makeImage(t *testing.T, app string) (image, snapshot string) {
	name := "image-of-" + app
	image = *made(t, a.admin.ec2.CreateImage, &sdkec2.CreateImageInput{
		InstanceId: &a.builder, Name: &name, NoReboot: aws.Bool(true), TagSpecifications: specs(app, kinds("image", "snapshot")),
	}).ImageId
	found := made(t, a.admin.ec2.DescribeImages, &sdkec2.DescribeImagesInput{ImageIds: []string{image}})
	return image, *found.Images[0].BlockDeviceMappings[0].Ebs.SnapshotId
}

func (a *account) makeTemplate(t *testing.T, app, profile string) string {
	return *made(t, a.admin.ec2.CreateLaunchTemplate, &sdkec2.CreateLaunchTemplateInput{
		LaunchTemplateName: &app, LaunchTemplateData: &ec2types.RequestLaunchTemplateData{
			ImageId: &a.debian, InstanceType: "t3.micro", SecurityGroupIds: []string{a.groupOfFleet},
			IamInstanceProfile: &ec2types.LaunchTemplateIamInstanceProfileSpecificationRequest{
				Arn: aws.String("arn:aws:iam::" + a.id.AccountID + ":instance-profile/" + profile),
			},
			TagSpecifications: []ec2types.LaunchTemplateTagSpecificationRequest{{
				ResourceType: "volume", Tags: []ec2types.Tag{{Key: aws.String("ingot:app"), Value: &app}, {Key: aws.String("Name"), Value: &app}},
			}},
		},
	}).LaunchTemplate.LaunchTemplateId
}

// statements are those of a policy document of the stack.
func (a *account) statements(t *testing.T, document, each string) []stackpolicy.Statement {
	t.Helper()
	stack, err := stackpolicy.Load("../../terraform", a.names, nil)
	if err != nil {
		t.Fatal(err)
	}
	statements, err := stack.Statements(document, each)
	if err != nil {
		t.Fatal(err)
	}
	return statements
}

func document(t *testing.T, statements []stackpolicy.Statement) *string {
	t.Helper()
	text, err := stackpolicy.JSON(statements)
	if err != nil {
		t.Fatal(err)
	}
	return &text
}

// makeRoles makes the stack's roles, and the same for another application.
func (a *account) makeRoles(t *testing.T) {
	make := func(name string, trust *string, hours int32) {
		made(t, a.admin.iam.CreateRole, &sdkiam.CreateRoleInput{
			RoleName: &name, AssumeRolePolicyDocument: trust, MaxSessionDuration: aws.Int32(hours * 3600),
		})
	}
	for _, name := range []string{"plan", "bake", "deploy"} {
		make("hello-"+name+"-us-west-1", document(t, a.statements(t, "assume_github", name)), map[string]int32{"plan": 1, "bake": 2, "deploy": 6}[name])
		a.give(t, name, a.statementsOf(t, name))
	}
	make("hello-codedeploy-1", document(t, a.statements(t, "assume_codedeploy", "")), 1)
	make("other-codedeploy-1", aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"codedeploy.amazonaws.com"}}}`), 1)
	// CodeDeploy's role is CodeDeploy's alone: another one with the same policy shows what it may do.
	make("codedeploy", aws.String(fmt.Sprintf(trustAccount, a.id.AccountID)), 1)
	a.give(t, "codedeploy", a.statementsOf(t, "codedeploy"))
	for _, app := range []string{"hello", "other"} {
		name := app + "-instance-1"
		make(name, document(t, a.statements(t, "assume", "")), 1)
		made(t, a.admin.iam.AddRoleToInstanceProfile, &sdkiam.AddRoleToInstanceProfileInput{InstanceProfileName: &name, RoleName: &name})
	}
	a.give(t, "instance", a.statementsOf(t, "instance"))
}

// statementsOf are those of the policies that a role has in the stack.
func (a *account) statementsOf(t *testing.T, role string) []stackpolicy.Statement {
	statements := a.statements(t, role, "")
	if role == "instance" { // it has two policies
		statements = append(statements, a.statements(t, "read_revisions", "")...)
	}
	return statements
}

// roleName is the name of a role of the stack.
func roleName(role string) string {
	switch role {
	case "instance":
		return "hello-instance-1"
	case "codedeploy":
		return role
	}
	return "hello-" + role + "-us-west-1"
}

// give gives a role a policy in place of the one it has.
func (a *account) give(t *testing.T, role string, statements []stackpolicy.Statement) {
	t.Helper()
	name := roleName(role)
	made(t, a.admin.iam.PutRolePolicy, &sdkiam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("policy"), PolicyDocument: document(t, statements)})
}

// subjects are whom the roles for workflows trust.
func subjects() map[string]string {
	return map[string]string{
		"plan": "repo:octo-org/octo-repo:pull_request", "bake": "repo:octo-org/octo-repo:ref:refs/heads/main",
		"deploy": "repo:octo-org/octo-repo:environment:production",
	}
}

// as takes a role of the stack on, in the way that it is taken on.
func (a *account) as(t *testing.T, role string) clients {
	t.Helper()
	var key, secret, token string
	switch role {
	case "instance":
		c, err := a.cloud.identities.InstanceCredentials("arn:aws:iam::"+a.id.AccountID+":instance-profile/hello-instance-1", a.fleet)
		if err != nil {
			t.Fatal(err)
		}
		key, secret, token = c.AccessKeyID, c.SecretAccessKey, c.Token
	case "codedeploy":
		out := made(t, a.admin.sts.AssumeRole, &sdksts.AssumeRoleInput{RoleArn: aws.String(a.role(role)), RoleSessionName: aws.String("test")})
		key, secret, token = *out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken
	default:
		web, err := a.cloud.identities.IssueToken(githubIssuer, subjects()[role], githubAudience, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		nobody := clientsOf(a.endpoint, a.id.Region, aws.AnonymousCredentials{})
		out := made(t, nobody.sts.AssumeRoleWithWebIdentity, &sdksts.AssumeRoleWithWebIdentityInput{
			RoleArn: aws.String(a.role(roleName(role))), RoleSessionName: aws.String("test"), WebIdentityToken: &web,
		})
		key, secret, token = *out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken
	}
	return clientsOf(a.endpoint, a.id.Region, credentials.NewStaticCredentialsProvider(key, secret, token))
}

// acts are what somebody does, by what that is.
type acts map[string]func(clients) error

// actsOf returns for each role of the stack what it is for, and what is beyond that.
func (a *account) actsOf() map[string]struct{ purpose, beyond acts } {
	dry, yes, one := aws.Bool(true), aws.Bool(true), aws.Int32(1)
	hello, other, state := aws.String("hello"), aws.String("other"), aws.String("ingot/hello/us-west-1.tfstate")
	states, revisions, revision := aws.String("states"), aws.String("hello-revisions-1"), aws.String("r.zip")
	text := func() *strings.Reader { return strings.NewReader("x") }
	ours := []ec2types.Tag{{Key: aws.String("ingot:app"), Value: hello}, {Key: aws.String("Name"), Value: hello}}
	tag := func(tags []ec2types.Tag, ids ...string) func(clients) error {
		return func(c clients) error {
			return call(c.ec2.CreateTags, &sdkec2.CreateTagsInput{DryRun: dry, Resources: ids, Tags: tags})
		}
	}
	// bake is a machine to bake on, changed in some way.
	bake := func(change func(*sdkec2.RunInstancesInput)) func(clients) error {
		return func(c clients) error {
			in := &sdkec2.RunInstancesInput{
				DryRun: dry, ImageId: &a.debian, InstanceType: "t3.medium", MinCount: one, MaxCount: one, KeyName: aws.String("ingot-hello-base-1"),
				SecurityGroupIds: []string{a.groupOfRun}, SubnetId: &a.names.Subnets[0],
				TagSpecifications: specs("hello", kinds("instance", "volume"), "ingot:run", "r1", "Name", "bake"),
			}
			change(in)
			return call(c.ec2.RunInstances, in)
		}
	}
	// launch is a launch from a launch template, changed in some way.
	launch := func(template, version string, change func(*sdkec2.RunInstancesInput)) func(clients) error {
		return func(c clients) error {
			in := &sdkec2.RunInstancesInput{
				DryRun: dry, MinCount: one, MaxCount: one, SubnetId: &a.names.Subnets[0],
				LaunchTemplate: &ec2types.LaunchTemplateSpecification{LaunchTemplateId: &template, Version: &version},
			}
			change(in)
			return call(c.ec2.RunInstances, in)
		}
	}
	unchanged := func(*sdkec2.RunInstancesInput) {}
	image := func(from, app string) func(clients) error {
		return func(c clients) error {
			return call(c.ec2.CreateImage, &sdkec2.CreateImageInput{
				DryRun: dry, InstanceId: &from, Name: aws.String("new"), TagSpecifications: specs(app, kinds("image", "snapshot")),
			})
		}
	}
	deregister := func(id string) func(clients) error {
		return func(c clients) error {
			return call(c.ec2.DeregisterImage, &sdkec2.DeregisterImageInput{DryRun: dry, ImageId: &id})
		}
	}
	deleteSnapshot := func(id string) func(clients) error {
		return func(c clients) error {
			return call(c.ec2.DeleteSnapshot, &sdkec2.DeleteSnapshotInput{DryRun: dry, SnapshotId: &id})
		}
	}
	describeImage := func(id string) func(clients) error {
		return func(c clients) error {
			return call(c.ec2.ModifyImageAttribute, &sdkec2.ModifyImageAttributeInput{DryRun: dry, ImageId: &id, Description: &ec2types.AttributeValue{Value: hello}})
		}
	}
	openGroup := func(id string) func(clients) error {
		return func(c clients) error {
			return call(c.ec2.AuthorizeSecurityGroupIngress, &sdkec2.AuthorizeSecurityGroupIngressInput{
				DryRun: dry, GroupId: &id, IpPermissions: []ec2types.IpPermission{{
					IpProtocol: aws.String("tcp"), FromPort: aws.Int32(22), ToPort: aws.Int32(22), IpRanges: []ec2types.IpRange{{CidrIp: aws.String("127.0.0.1/32")}},
				}},
			})
		}
	}
	terminate := func(id string) func(clients) error {
		return func(c clients) error {
			return call(c.ec2.TerminateInstances, &sdkec2.TerminateInstancesInput{DryRun: dry, InstanceIds: []string{id}})
		}
	}
	stop := func(id string) func(clients) error {
		return func(c clients) error {
			return call(c.ec2.StopInstances, &sdkec2.StopInstancesInput{DryRun: dry, InstanceIds: []string{id}})
		}
	}
	deleteKey := func(name string) func(clients) error {
		return func(c clients) error {
			return call(c.ec2.DeleteKeyPair, &sdkec2.DeleteKeyPairInput{DryRun: dry, KeyName: &name})
		}
	}
	version := func(template string) func(clients) error {
		return func(c clients) error {
			return call(c.ec2.CreateLaunchTemplateVersion, &sdkec2.CreateLaunchTemplateVersionInput{
				DryRun: dry, LaunchTemplateId: &template, SourceVersion: aws.String("1"), LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &a.image},
			})
		}
	}
	template := func(id, version string) *asgtypes.LaunchTemplateSpecification {
		return &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: &id, Version: &version}
	}
	refresh := func(group *string, t *asgtypes.LaunchTemplateSpecification) func(clients) error {
		return func(c clients) error {
			return call(c.autoscaling.StartInstanceRefresh, &sdkautoscaling.StartInstanceRefreshInput{
				AutoScalingGroupName: group, DesiredConfiguration: &asgtypes.DesiredConfiguration{LaunchTemplate: t},
			})
		}
	}
	// update sets the group to no instances of version 1, changed in some way.
	update := func(change func(*sdkautoscaling.UpdateAutoScalingGroupInput)) func(clients) error {
		return func(c clients) error {
			in := &sdkautoscaling.UpdateAutoScalingGroupInput{
				AutoScalingGroupName: hello, LaunchTemplate: template(a.template, "1"), MinSize: aws.Int32(0), DesiredCapacity: aws.Int32(0),
			}
			change(in)
			return call(c.autoscaling.UpdateAutoScalingGroup, in)
		}
	}
	hook := func(group *string) func(clients) error {
		return func(c clients) error {
			return call(c.autoscaling.PutLifecycleHook, &sdkautoscaling.PutLifecycleHookInput{
				AutoScalingGroupName: group, LifecycleHookName: aws.String("h"), LifecycleTransition: aws.String("autoscaling:EC2_INSTANCE_LAUNCHING"),
			})
		}
	}
	get := func(name string) func(clients) error {
		return func(c clients) error { return call(c.ssm.GetParameter, &sdkssm.GetParameterInput{Name: &name}) }
	}
	put := func(name string) func(clients) error {
		return func(c clients) error {
			return call(c.ssm.PutParameter, &sdkssm.PutParameterInput{Name: &name, Value: aws.String("v"), Type: ssmtypes.ParameterTypeString, Overwrite: yes})
		}
	}
	getObject := func(bucket, key *string) func(clients) error {
		return func(c clients) error { return readObject(c, &sdks3.GetObjectInput{Bucket: bucket, Key: key}) }
	}
	putObject := func(bucket, key *string) func(clients) error {
		return func(c clients) error {
			return call(c.s3.PutObject, &sdks3.PutObjectInput{Bucket: bucket, Key: key, Body: text()})
		}
	}
	deleteObject := func(bucket, key *string) func(clients) error {
		return func(c clients) error {
			return call(c.s3.DeleteObject, &sdks3.DeleteObjectInput{Bucket: bucket, Key: key})
		}
	}
	missingObject := func(c clients) error {
		return readObject(c, &sdks3.GetObjectInput{Bucket: revisions, Key: aws.String("missing.zip")})
	}
	listObjects := func(bucket *string) func(clients) error {
		return func(c clients) error { return call(c.s3.ListObjectsV2, &sdks3.ListObjectsV2Input{Bucket: bucket}) }
	}
	getRole := func(name string) func(clients) error {
		return func(c clients) error { return call(c.iam.GetRole, &sdkiam.GetRoleInput{RoleName: &name}) }
	}
	attach := func(application *string) func(clients) error {
		return func(c clients) error {
			return call(c.codedeploy.UpdateDeploymentGroup, &sdkcodedeploy.UpdateDeploymentGroupInput{ApplicationName: application, CurrentDeploymentGroupName: application})
		}
	}
	describeInstances := func(c clients) error { return call(c.ec2.DescribeInstances, &sdkec2.DescribeInstancesInput{}) }
	describeGroups := func(c clients) error {
		return call(c.autoscaling.DescribeAutoScalingGroups, &sdkautoscaling.DescribeAutoScalingGroupsInput{})
	}
	return map[string]struct{ purpose, beyond acts }{
		"plan": {
			purpose: acts{
				"look at networks": func(c clients) error { return call(c.ec2.DescribeVpcs, &sdkec2.DescribeVpcsInput{}) },
				"look at one": func(c clients) error {
					return call(c.ec2.DescribeVpcAttribute, &sdkec2.DescribeVpcAttributeInput{VpcId: &a.vpc, Attribute: "enableDnsSupport"})
				},
				"look at load balancers": func(c clients) error {
					return call(c.elbv2.DescribeLoadBalancers, &sdkelbv2.DescribeLoadBalancersInput{})
				},
				"look at groups":     describeGroups,
				"look at parameters": func(c clients) error { return call(c.ssm.DescribeParameters, &sdkssm.DescribeParametersInput{}) },
				"look at a role":     getRole("hello-instance-1"),
				"look at a workflow's": func(c clients) error {
					return call(c.iam.GetRolePolicy, &sdkiam.GetRolePolicyInput{RoleName: aws.String("hello-deploy-us-west-1"), PolicyName: aws.String("policy")})
				},
				"look at the provider": func(c clients) error {
					return call(c.iam.GetOpenIDConnectProvider, &sdkiam.GetOpenIDConnectProviderInput{
						OpenIDConnectProviderArn: aws.String("arn:aws:iam::" + a.id.AccountID + ":oidc-provider/" + githubProvider),
					})
				},
				"look at the profile": func(c clients) error {
					return call(c.iam.GetInstanceProfile, &sdkiam.GetInstanceProfileInput{InstanceProfileName: aws.String("hello-instance-1")})
				},
				"read the pointer": get("/ingot/hello/release"),
				"look at the alarm's tags": func(c clients) error {
					return call(c.cloudwatch.ListTagsForResource, &sdkcloudwatch.ListTagsForResourceInput{ResourceARN: aws.String(a.arn("cloudwatch", "alarm:hello-errors"))})
				},
				"look at the gate": func(c clients) error {
					return call(c.codedeploy.GetDeploymentGroup, &sdkcodedeploy.GetDeploymentGroupInput{ApplicationName: hello, DeploymentGroupName: hello})
				},
				"look at the bucket": func(c clients) error {
					return call(c.s3.GetBucketVersioning, &sdks3.GetBucketVersioningInput{Bucket: revisions})
				},
				"look at its keys": func(c clients) error {
					return call(c.s3.GetBucketEncryption, &sdks3.GetBucketEncryptionInput{Bucket: revisions})
				},
				"find the state":   listObjects(states),
				"read the state":   getObject(states, state),
				"lock the state":   putObject(states, aws.String(*state+".tflock")),
				"unlock the state": deleteObject(states, aws.String(*state+".tflock")),
			},
			beyond: acts{
				"read a revision":              getObject(revisions, revision),
				"read another state":           getObject(states, aws.String("ingot/other/us-west-1.tfstate")),
				"write the state":              putObject(states, state),
				"delete the state":             deleteObject(states, state),
				"look at another one's role":   getRole("other-instance-1"),
				"look at another one's bucket": listObjects(aws.String("other-revisions-1")),
				"read another one's parameter": get("/ingot/other/release"),
				"move the pointer":             put("/ingot/hello/release"),
				"apply":                        update(func(*sdkautoscaling.UpdateAutoScalingGroupInput) {}),
				"roll out":                     refresh(hello, template(a.template, "1")),
				"bake":                         bake(func(*sdkec2.RunInstancesInput) {}),
				"remove an image":              deregister(a.image),
				"look at instances":            describeInstances,
				"give itself a policy": func(c clients) error {
					return call(c.iam.AttachRolePolicy, &sdkiam.AttachRolePolicyInput{RoleName: aws.String(roleName("plan")), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")})
				},
				"take another role on": func(c clients) error {
					return call(c.sts.AssumeRole, &sdksts.AssumeRoleInput{RoleArn: aws.String(a.role(roleName("deploy"))), RoleSessionName: hello})
				},
				"make a role that trusts everybody": func(c clients) error {
					return call(c.iam.CreateRole, &sdkiam.CreateRoleInput{RoleName: aws.String("new"), AssumeRolePolicyDocument: aws.String(fmt.Sprintf(trustAccount, "*"))})
				},
			},
		},
		"bake": {
			purpose: acts{
				"look at images":     func(c clients) error { return call(c.ec2.DescribeImages, &sdkec2.DescribeImagesInput{}) },
				"look at volumes":    func(c clients) error { return call(c.ec2.DescribeVolumes, &sdkec2.DescribeVolumesInput{}) },
				"run a machine":      bake(func(*sdkec2.RunInstancesInput) {}),
				"let Packer in":      openGroup(a.groupOfRun),
				"make an image":      image(a.builder, "hello"),
				"describe an image":  describeImage(a.image),
				"tag it":             tag(ours, a.image, a.snapshot),
				"remove an image":    deregister(a.image),
				"remove a snapshot":  deleteSnapshot(a.snapshot),
				"stop a machine":     stop(a.builder),
				"terminate one":      terminate(a.builder),
				"remove a run's key": deleteKey("ingot-hello-base-1"),
				"make a key": func(c clients) error {
					return call(c.ec2.CreateKeyPair, &sdkec2.CreateKeyPairInput{DryRun: dry, KeyName: aws.String("ingot-hello-app-1"), TagSpecifications: specs("hello", kinds("key-pair"))})
				},
				"make a security group": func(c clients) error {
					return call(c.ec2.CreateSecurityGroup, &sdkec2.CreateSecurityGroupInput{
						DryRun: dry, GroupName: hello, Description: hello, VpcId: &a.vpc, TagSpecifications: specs("hello", kinds("security-group"), "ingot:run", "r2"),
					})
				},
				"remove one": func(c clients) error {
					return call(c.ec2.DeleteSecurityGroup, &sdkec2.DeleteSecurityGroupInput{DryRun: dry, GroupId: &a.groupOfRun})
				},
			},
			beyond: acts{
				"remove another one's image":      deregister(a.foreignImage),
				"remove an image without a tag":   deregister(a.bareImage),
				"remove another one's snapshot":   deleteSnapshot(a.foreignSnapshot),
				"remove a snapshot without a tag": deleteSnapshot(a.bareSnap),
				"change an image without a tag":   describeImage(a.bareImage),
				"change another one's image":      describeImage(a.foreignImage),
				"claim an image without a tag":    tag(ours, a.bareImage),
				"claim another one's image":       tag(ours, a.foreignImage),
				"give an image away":              tag([]ec2types.Tag{{Key: aws.String("ingot:app"), Value: other}}, a.image),
				"give a tag that others read":     tag(append(slices.Clone(ours), ec2types.Tag{Key: aws.String("CostCenter"), Value: other}), a.image),
				"tag the fleet":                   tag(ours, a.fleet),
				"make an image that is nobody's":  image(a.builder, ""),
				"make an image for another one":   image(a.builder, "other"),
				"copy the fleet's disk":           image(a.fleet, "hello"),
				"stop the fleet":                  stop(a.fleet),
				"terminate the fleet":             terminate(a.fleet),
				"open the fleet's security group": openGroup(a.groupOfFleet),
				"remove another one's key":        deleteKey("ingot-other-base-1"),
				"run a machine that is nobody's":  bake(func(in *sdkec2.RunInstancesInput) { in.TagSpecifications = nil }),
				"run one whose disk is nobody's":  bake(func(in *sdkec2.RunInstancesInput) { in.TagSpecifications = in.TagSpecifications[:1] }),
				"run one behind somebody's rules": bake(func(in *sdkec2.RunInstancesInput) { in.SecurityGroupIds = nil }),
				"run one with another key":        bake(func(in *sdkec2.RunInstancesInput) { in.KeyName = aws.String("admin") }),
				"give a machine a role": bake(func(in *sdkec2.RunInstancesInput) {
					in.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Name: aws.String("hello-instance-1")}
				}),
				"roll out":                       refresh(hello, template(a.template, "1")),
				"move the pointer":               put("/ingot/hello/release"),
				"read the state":                 getObject(states, state),
				"look at groups":                 describeGroups,
				"make a version of the template": version(a.template),
			},
		},
		"deploy": {
			purpose: acts{
				"look at groups":    describeGroups,
				"look at instances": describeInstances,
				"look at alarms":    func(c clients) error { return call(c.cloudwatch.DescribeAlarms, &sdkcloudwatch.DescribeAlarmsInput{}) },
				"roll out":          refresh(hello, template(a.template, "1")),
				"give a rollout up": func(c clients) error {
					return call(c.autoscaling.CancelInstanceRefresh, &sdkautoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: hello})
				},
				"empty the group": update(func(*sdkautoscaling.UpdateAutoScalingGroupInput) {}),
				"make a release":  version(a.template),
				"make it the one": func(c clients) error {
					return call(c.ec2.ModifyLaunchTemplate, &sdkec2.ModifyLaunchTemplateInput{DryRun: dry, LaunchTemplateId: &a.template, DefaultVersion: aws.String("1")})
				},
				"read a console": func(c clients) error {
					return call(c.ec2.GetConsoleOutput, &sdkec2.GetConsoleOutputInput{InstanceId: &a.fleet})
				},
				"read the pointer": get("/ingot/hello/release"),
				"read its history": func(c clients) error {
					return call(c.ssm.GetParameterHistory, &sdkssm.GetParameterHistoryInput{Name: aws.String("/ingot/hello/release")})
				},
				"move the pointer":  put("/ingot/hello/release"),
				"say who rolls out": put("/ingot/hello/rollout"),
				"deploy":            func(c clients) error { return call(c.codedeploy.CreateDeployment, a.deploy("hello")) },
				"look at it": func(c clients) error {
					return call(c.codedeploy.BatchGetDeployments, &sdkcodedeploy.BatchGetDeploymentsInput{DeploymentIds: []string{a.deployment}})
				},
				"list them": func(c clients) error {
					return call(c.codedeploy.ListDeployments, &sdkcodedeploy.ListDeploymentsInput{ApplicationName: hello, DeploymentGroupName: hello})
				},
				"list its targets": func(c clients) error {
					return call(c.codedeploy.ListDeploymentTargets, &sdkcodedeploy.ListDeploymentTargetsInput{DeploymentId: &a.deployment})
				},
				"keep the gate":     attach(hello),
				"upload a revision": putObject(revisions, aws.String("new.zip")),
				"look for one":      missingObject,
			},
			beyond: acts{
				"roll another one's group":        refresh(other, template(a.template, "1")),
				"roll another one's template out": refresh(hello, template(a.foreignTemplate, "1")),
				"give the fleet another role":     refresh(hello, template(a.template, "2")),
				"let the group follow the latest": update(func(in *sdkautoscaling.UpdateAutoScalingGroupInput) {
					in.LaunchTemplate.Version = aws.String("$Latest")
				}),
				"leave out what it launches": update(func(in *sdkautoscaling.UpdateAutoScalingGroupInput) { in.LaunchTemplate = nil }),
				"raise the group's bound":    update(func(in *sdkautoscaling.UpdateAutoScalingGroupInput) { in.MaxSize = aws.Int32(100) }),
				"move the group elsewhere":   update(func(in *sdkautoscaling.UpdateAutoScalingGroupInput) { in.VPCZoneIdentifier = &a.otherSubnet }),
				"change another one's group": update(func(in *sdkautoscaling.UpdateAutoScalingGroupInput) { in.AutoScalingGroupName = other }),
				"give the group another template": update(func(in *sdkautoscaling.UpdateAutoScalingGroupInput) {
					in.LaunchTemplate = template(a.foreignTemplate, "1")
				}),
				"scale the group": func(c clients) error {
					return call(c.autoscaling.SetDesiredCapacity, &sdkautoscaling.SetDesiredCapacityInput{AutoScalingGroupName: hello, DesiredCapacity: one})
				},
				"remove the group": func(c clients) error {
					return call(c.autoscaling.DeleteAutoScalingGroup, &sdkautoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: hello})
				},
				"launch without a template":     bake(func(*sdkec2.RunInstancesInput) {}),
				"launch another image":          launch(a.template, "1", func(in *sdkec2.RunInstancesInput) { in.ImageId = &a.bareImage }),
				"launch another type":           launch(a.template, "1", func(in *sdkec2.RunInstancesInput) { in.InstanceType = "m5.large" }),
				"launch with a script":          launch(a.template, "1", func(in *sdkec2.RunInstancesInput) { in.UserData = aws.String("IyEvYmluL3No") }),
				"launch behind other rules":     launch(a.template, "1", func(in *sdkec2.RunInstancesInput) { in.SecurityGroupIds = []string{a.groupOfRun} }),
				"launch in another subnet":      launch(a.template, "1", func(in *sdkec2.RunInstancesInput) { in.SubnetId = &a.otherSubnet }),
				"launch another one's template": launch(a.foreignTemplate, "1", unchanged),
				"change another one's template": version(a.foreignTemplate),
				"remove the template": func(c clients) error {
					return call(c.ec2.DeleteLaunchTemplate, &sdkec2.DeleteLaunchTemplateInput{DryRun: dry, LaunchTemplateId: &a.template})
				},
				"move another one's pointer": put("/ingot/other/release"),
				"move the revisions":         put("/ingot/hello/revisions"),
				"read another one's pointer": get("/ingot/other/release"),
				"open another one's gate":    attach(other),
				"deploy for another one":     func(c clients) error { return call(c.codedeploy.CreateDeployment, a.deploy("other")) },
				"remove the gate": func(c clients) error {
					return call(c.codedeploy.DeleteDeploymentGroup, &sdkcodedeploy.DeleteDeploymentGroupInput{ApplicationName: hello, DeploymentGroupName: hello})
				},
				"upload another one's revision": putObject(aws.String("other-revisions-1"), revision),
				"remove a revision":             deleteObject(revisions, revision),
				"make an image":                 image(a.builder, "hello"),
				"remove an image":               deregister(a.image),
				"terminate an instance":         terminate(a.fleet),
				"silence an alarm": func(c clients) error {
					return call(c.cloudwatch.DeleteAlarms, &sdkcloudwatch.DeleteAlarmsInput{AlarmNames: []string{"hello-errors"}})
				},
			},
		},
		"codedeploy": {
			purpose: acts{
				"look at groups":      describeGroups,
				"look at instances":   describeInstances,
				"hold new instances":  hook(hello),
				"launch the template": launch(a.template, "1", func(in *sdkec2.RunInstancesInput) { in.TagSpecifications = specs("hello", kinds("instance")) }),
			},
			beyond: acts{
				"hold another one's instances":  hook(other),
				"launch without the template":   bake(func(*sdkec2.RunInstancesInput) {}),
				"launch another one's template": launch(a.foreignTemplate, "1", unchanged),
				"launch with another role":      launch(a.template, "2", unchanged),
				"launch for another one":        launch(a.template, "1", func(in *sdkec2.RunInstancesInput) { in.TagSpecifications = specs("other", kinds("instance")) }),
				"look at alarms":                func(c clients) error { return call(c.cloudwatch.DescribeAlarms, &sdkcloudwatch.DescribeAlarmsInput{}) },
				"change the group":              update(func(*sdkautoscaling.UpdateAutoScalingGroupInput) {}),
				"remove the group": func(c clients) error {
					return call(c.autoscaling.DeleteAutoScalingGroup, &sdkautoscaling.DeleteAutoScalingGroupInput{AutoScalingGroupName: hello})
				},
				"roll out":              refresh(hello, template(a.template, "1")),
				"tag the fleet":         tag(ours, a.fleet),
				"terminate an instance": terminate(a.fleet),
				"move the pointer":      put("/ingot/hello/release"),
				"read a revision":       getObject(revisions, revision),
			},
		},
		"instance": {
			purpose: acts{
				"read a parameter": get("/ingot/hello/release"),
				"read all parameters": func(c clients) error {
					return call(c.ssm.GetParametersByPath, &sdkssm.GetParametersByPathInput{Path: aws.String("/ingot/hello"), Recursive: yes})
				},
				"read a revision": getObject(revisions, revision),
				"read a version of it": func(c clients) error {
					return readObject(c, &sdks3.GetObjectInput{Bucket: revisions, Key: revision, VersionId: aws.String("null")})
				},
			},
			beyond: acts{
				"move the pointer":             put("/ingot/hello/release"),
				"read another one's parameter": get("/ingot/other/release"),
				"read all one's parameters": func(c clients) error {
					return call(c.ssm.GetParametersByPath, &sdkssm.GetParametersByPathInput{Path: aws.String("/ingot")})
				},
				"read another one's revision": getObject(aws.String("other-revisions-1"), revision),
				"read the state":              getObject(states, state),
				"list the revisions":          listObjects(revisions),
				"learn of what is not there":  missingObject,
				"upload a revision":           putObject(revisions, revision),
				"remove a revision":           deleteObject(revisions, revision),
				"look at instances":           describeInstances,
				"terminate an instance":       terminate(a.fleet),
				"roll out":                    refresh(hello, template(a.template, "1")),
				"take another role on": func(c clients) error {
					return call(c.sts.AssumeRole, &sdksts.AssumeRoleInput{RoleArn: aws.String(a.role(roleName("deploy"))), RoleSessionName: hello})
				},
				"deploy": func(c clients) error { return call(c.codedeploy.CreateDeployment, a.deploy("hello")) },
			},
		},
	}
}

// refused returns whether an error is a refusal for want of rights, as AWS words them. It fails the test for an error that is neither
// that nor what comes of an act that was allowed.
func refused(t *testing.T, err error) bool {
	t.Helper()
	if err == nil {
		return false
	}
	failed, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		t.Fatal(err)
	}
	switch code := failed.ErrorCode(); code {
	case "UnauthorizedOperation", "AccessDenied", "AccessDeniedException":
		return true
	case "DryRunOperation", "InstanceRefreshInProgress", "ActiveInstanceRefreshNotFound", "DeploymentLimitExceededException", "NoSuchKey":
		return false
	default:
		t.Fatal(err)
		return false
	}
}

// TestRoles has each role of the stack do what it is for, and what is beyond that. Then each statement of its policies is taken away: each
// is there for something that the role is for.
func TestRoles(t *testing.T) {
	a := newAccount(t)
	a.fill(t)
	for role, of := range a.actsOf() {
		t.Run(role, func(t *testing.T) {
			c := a.as(t, role)
			for what, do := range of.purpose {
				if err := do(c); refused(t, err) {
					t.Errorf("it may not %s: %v", what, err)
				}
			}
			if len(of.beyond) < 10 {
				t.Errorf("only %d acts beyond what it is for", len(of.beyond))
			}
			for what, do := range of.beyond {
				if !refused(t, do(c)) {
					t.Errorf("it may %s", what)
				}
			}
			statements := a.statementsOf(t, role)
			for i, statement := range statements {
				left := slices.Delete(slices.Clone(statements), i, i+1)
				a.give(t, role, left)
				if !slices.ContainsFunc(slices.Sorted(maps.Keys(of.purpose)), func(what string) bool { return refused(t, of.purpose[what](c)) }) {
					t.Errorf("without the statement %s it may do all the same", statement.SID)
				}
			}
			a.give(t, role, statements)
			for what, do := range of.purpose {
				if err := do(c); refused(t, err) {
					t.Errorf("with its policy again it may not %s: %v", what, err)
				}
			}
		})
	}
}

// TestCodeDeployActsAsItsRole attaches an Auto Scaling group: what CodeDeploy then does with it, its role has to be allowed.
func TestCodeDeployActsAsItsRole(t *testing.T) {
	a := newAccount(t)
	a.fill(t)
	attach := func() error {
		return call(a.admin.codedeploy.UpdateDeploymentGroup, &sdkcodedeploy.UpdateDeploymentGroupInput{
			ApplicationName: aws.String("hello"), CurrentDeploymentGroupName: aws.String("hello"), AutoScalingGroups: []string{"hello"},
		})
	}
	put := func(statements []stackpolicy.Statement) {
		made(t, a.admin.iam.PutRolePolicy, &sdkiam.PutRolePolicyInput{
			RoleName: aws.String("hello-codedeploy-1"), PolicyName: aws.String("policy"), PolicyDocument: document(t, statements),
		})
	}
	all := a.statementsOf(t, "codedeploy")
	put(slices.DeleteFunc(slices.Clone(all), func(s stackpolicy.Statement) bool { return s.SID == "HoldNewInstances" }))
	if err := attach(); codeOf(err) != "InvalidRoleException" {
		t.Errorf("without its rights: %v", err)
	}
	put(all)
	if err := attach(); err != nil {
		t.Error(err)
	}
	// The role is this deployment group's alone.
	err := call(a.admin.codedeploy.UpdateDeploymentGroup, &sdkcodedeploy.UpdateDeploymentGroupInput{
		ApplicationName: aws.String("other"), CurrentDeploymentGroupName: aws.String("other"), ServiceRoleArn: aws.String(a.role("hello-codedeploy-1")),
	})
	if codeOf(err) != "InvalidRoleException" {
		t.Errorf("another deployment group takes the role on: %v", err)
	}
}
