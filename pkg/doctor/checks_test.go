package doctor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	quotatypes "github.com/aws/aws-sdk-go-v2/service/servicequotas/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/rollout"
)

// fakeAWS is an account in which all is well, unless a test says otherwise.
type fakeAWS struct {
	credentials aws.Credentials
	noSession   error // of the credentials
	arn         string
	quota       float64
	key         string
	encrypted   bool
	metadata    *types.InstanceMetadataDefaultsResponse
	role        string
	fail        map[string]error // by operation
}

func (f *fakeAWS) Retrieve(context.Context) (aws.Credentials, error) {
	return f.credentials, f.noSession
}

func (f *fakeAWS) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{Arn: &f.arn}, f.fail["GetCallerIdentity"]
}

func (f *fakeAWS) GetServiceQuota(_ context.Context, in *servicequotas.GetServiceQuotaInput, _ ...func(*servicequotas.Options)) (*servicequotas.GetServiceQuotaOutput, error) {
	if *in.ServiceCode != "ec2" || *in.QuotaCode != "L-1216C47A" {
		return nil, errors.New("another quota")
	}
	return &servicequotas.GetServiceQuotaOutput{Quota: &quotatypes.ServiceQuota{Value: &f.quota}}, f.fail["GetServiceQuota"]
}

func (f *fakeAWS) DescribeInstanceTypes(_ context.Context, in *ec2.DescribeInstanceTypesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstanceTypesOutput, error) {
	out := &ec2.DescribeInstanceTypesOutput{}
	for _, t := range in.InstanceTypes {
		if t != "t9.unknown" {
			out.InstanceTypes = append(out.InstanceTypes, types.InstanceTypeInfo{InstanceType: t, VCpuInfo: &types.VCpuInfo{DefaultVCpus: aws.Int32(2)}})
		}
	}
	return out, f.fail["DescribeInstanceTypes"]
}

func (f *fakeAWS) GetEbsEncryptionByDefault(context.Context, *ec2.GetEbsEncryptionByDefaultInput, ...func(*ec2.Options)) (*ec2.GetEbsEncryptionByDefaultOutput, error) {
	return &ec2.GetEbsEncryptionByDefaultOutput{EbsEncryptionByDefault: &f.encrypted}, f.fail["GetEbsEncryptionByDefault"]
}

func (f *fakeAWS) GetEbsDefaultKmsKeyId(context.Context, *ec2.GetEbsDefaultKmsKeyIdInput, ...func(*ec2.Options)) (*ec2.GetEbsDefaultKmsKeyIdOutput, error) {
	return &ec2.GetEbsDefaultKmsKeyIdOutput{KmsKeyId: &f.key}, f.fail["GetEbsDefaultKmsKeyId"]
}

func (f *fakeAWS) GetInstanceMetadataDefaults(context.Context, *ec2.GetInstanceMetadataDefaultsInput, ...func(*ec2.Options)) (*ec2.GetInstanceMetadataDefaultsOutput, error) {
	return &ec2.GetInstanceMetadataDefaultsOutput{AccountLevel: f.metadata}, f.fail["GetInstanceMetadataDefaults"]
}

func (f *fakeAWS) DescribeAutoScalingGroups(context.Context, *autoscaling.DescribeAutoScalingGroupsInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeAutoScalingGroupsOutput, error) {
	return &autoscaling.DescribeAutoScalingGroupsOutput{AutoScalingGroups: []asgtypes.AutoScalingGroup{{ServiceLinkedRoleARN: &f.role}}}, f.fail["DescribeAutoScalingGroups"]
}

// healthy is an account in which every check is well.
func healthy() (*fakeAWS, *account) {
	f := &fakeAWS{
		credentials: aws.Credentials{AccessKeyID: "AKIA1"}, arn: "arn:aws:iam::111122223333:user/ada", quota: 64, key: "alias/aws/ebs",
		role: "arn:aws:iam::111122223333:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling", fail: map[string]error{},
	}
	return f, &account{credentials: f, ec2: f, quotas: f, groups: f, identity: f, Options: Options{
		FleetType: "t3.micro", FleetMin: 2, FleetMax: 4, MaxHealthy: 200, BakeType: "t3.medium",
		Network: func(context.Context) (ami.Network, error) {
			return ami.Network{SubnetID: "subnet-1", Zone: "us-west-1a", Public: true, Why: "a subnet of the default VPC"}, nil
		},
		StackZones:    func(context.Context) ([]string, error) { return []string{"us-west-1a", "us-west-1c"}, nil },
		ZonesOffering: func(context.Context, string) ([]string, error) { return []string{"us-west-1a", "us-west-1c"}, nil },
		Agent:         func() error { return nil },
		Hook:          func(context.Context) ([]string, error) { return nil, nil },
		Status: func(context.Context) (rollout.Status, error) {
			return rollout.Status{Current: &rollout.Pointer{Release: "r2"}, Fleet: rollout.Fleet{Group: "hello", Instances: make([]rollout.Instance, 2)}}, nil
		},
	}}
}

func TestHealthy(t *testing.T) {
	_, a := healthy()
	want := []Result{
		{Check: "credentials", Level: OK, Finding: "arn:aws:iam::111122223333:user/ada, which do not expire"},
		{Check: "clock", Level: OK, Finding: "AWS's is 0s ahead of this machine's"},
		{Check: "network for bakes", Level: OK, Finding: "subnet-1 in us-west-1a, a subnet of the default VPC"},
		{Check: "vCPU quota", Level: OK, Finding: "64 vCPUs of standard instances; a rollout needs 10 with 2 instances, 18 with 4, a bake beside it included"},
		{Check: "zones and type", Level: OK, Finding: "t3.micro is offered in the stack's zones, us-west-1a, us-west-1c"},
		{Check: "encryption key", Level: OK, Finding: "alias/aws/ebs"},
		{Check: "metadata defaults", Level: OK, Finding: "none"},
		{Check: "service-linked role", Level: OK, Finding: "arn:aws:iam::111122223333:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"},
		{Check: "CodeDeploy agent", Level: OK, Finding: "the digest of its package is recorded"},
		{Check: "CodeDeploy hook", Level: OK, Finding: "holds new instances until CodeDeploy has checked them"},
		{Check: "release", Level: OK, Finding: "r2; pointer, launch template, group and 2 instances agree"},
	}
	if diff := cmp.Diff(want, Run(t.Context(), a.checks())); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestFindings(t *testing.T) {
	code := func(code string) error { return &smithy.GenericAPIError{Code: code, Message: "no"} }
	status := func(s rollout.Status, err error) func(context.Context) (rollout.Status, error) {
		return func(context.Context) (rollout.Status, error) { return s, err }
	}
	zones := func(names ...string) func(context.Context) ([]string, error) {
		return func(context.Context) ([]string, error) { return names, nil }
	}
	noFleet := fmt.Errorf("%w is tagged ingot:app=hello", rollout.ErrNoFleet)
	for name, tc := range map[string]struct {
		spoil func(*fakeAWS, *account)
		want  Result
	}{
		"no credentials": {func(f *fakeAWS, _ *account) { f.noSession = errors.New("the SSO session\nhas expired") },
			Result{Check: "credentials", Level: Stop, Finding: "none: the SSO session has expired", Remedy: SignIn}},
		"refused credentials": {func(f *fakeAWS, _ *account) { f.fail["GetCallerIdentity"] = code("InvalidClientTokenId") },
			Result{Check: "credentials", Level: Stop, Finding: "refused: api error InvalidClientTokenId: no", Remedy: SignIn}},
		"root": {func(f *fakeAWS, _ *account) { f.arn = "arn:aws:iam::111122223333:root" },
			Result{Check: "credentials", Level: Warn, Finding: "arn:aws:iam::111122223333:root: may do everything, for ever", Remedy: LeaveRoot}},
		"a session that is renewed": {func(f *fakeAWS, _ *account) {
			f.credentials = aws.Credentials{SessionToken: "t", CanExpire: true, Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
		}, Result{Check: "credentials", Level: OK, Finding: "arn:aws:iam::111122223333:user/ada, until 2026-01-02 03:04:05 UTC and then renewed"}},
		"a session whose end nobody knows": {func(f *fakeAWS, _ *account) { f.credentials.SessionToken = "t" },
			Result{Check: "credentials", Level: Warn, Finding: "arn:aws:iam::111122223333:user/ada, in a session that is not renewed and does not say when it ends; a release can take more than 1h0m0s", Remedy: RenewSession}},

		"no network": {func(_ *fakeAWS, a *account) {
			a.Network = func(context.Context) (ami.Network, error) { return ami.Network{}, ami.ErrNoNetwork }
		}, Result{Check: "network for bakes", Level: Stop, Finding: "there is no subnet to bake in", Remedy: SetSubnet}},
		"a private subnet": {func(_ *fakeAWS, a *account) {
			a.Network = func(context.Context) (ami.Network, error) {
				return ami.Network{SubnetID: "subnet-2", Zone: "us-west-1a"}, nil
			}
		}, Result{Check: "network for bakes", Level: Warn, Finding: "subnet-2 in us-west-1a, which has no route to the internet: its private addresses have to be reachable from here", Remedy: SetSubnet}},
		"networks that may not be looked at": {func(_ *fakeAWS, a *account) {
			a.Network = func(context.Context) (ami.Network, error) { return ami.Network{}, code("UnauthorizedOperation") }
		}, Result{Check: "network for bakes", Level: Warn, Finding: "may not be asked: UnauthorizedOperation", Remedy: AskForTheRight}},

		"a fresh account's quota": {func(f *fakeAWS, _ *account) { f.quota = 5 },
			Result{Check: "vCPU quota", Level: Stop, Finding: "5 vCPUs of standard instances; a rollout needs 10 with 2 instances, 18 with 4, a bake beside it included", Remedy: RaiseQuota}},
		"a quota for the least": {func(f *fakeAWS, _ *account) { f.quota = 16 },
			Result{Check: "vCPU quota", Level: Warn, Finding: "16 vCPUs of standard instances; a rollout needs 10 with 2 instances, 18 with 4, a bake beside it included", Remedy: RaiseQuota}},
		"a fleet that rolls in place": {func(f *fakeAWS, a *account) { f.quota, a.MaxHealthy, a.FleetMin, a.FleetMax = 10, 110, 3, 3 },
			Result{Check: "vCPU quota", Level: OK, Finding: "10 vCPUs of standard instances; a rollout needs 10 with 3 instances, 10 with 3, a bake beside it included"}},
		"another quota": {func(_ *fakeAWS, a *account) { a.FleetType = "g5.xlarge" },
			Result{Check: "vCPU quota", Level: Unasked, Finding: "g5.xlarge counts against another quota than the standard instances'"}},
		"a quota that may not be asked for": {func(f *fakeAWS, _ *account) { f.fail["GetServiceQuota"] = code("AccessDeniedException") },
			Result{Check: "vCPU quota", Level: Warn, Finding: "may not be asked: AccessDeniedException", Remedy: AskForTheRight}},
		"no quotas here": {func(f *fakeAWS, _ *account) { f.fail["GetServiceQuota"] = code("UnknownOperationException") },
			Result{Check: "vCPU quota", Level: Unasked, Finding: "cannot be asked here"}},
		"an unknown type": {func(_ *fakeAWS, a *account) { a.FleetType = "t9.unknown" },
			Result{Check: "vCPU quota", Level: Warn, Finding: "describe instance types: [t3.medium] are known of [t3.medium t9.unknown]"}},

		"one zone of the stack lacks the type": {func(_ *fakeAWS, a *account) { a.StackZones = zones("us-west-1a", "us-west-1b") },
			Result{Check: "zones and type", Level: Warn, Finding: "t3.micro is not offered in us-west-1b, one of the stack's zones", Remedy: ChooseType}},
		"all zones of the stack lack it": {func(_ *fakeAWS, a *account) { a.StackZones = zones("us-west-1b") },
			Result{Check: "zones and type", Level: Stop, Finding: "t3.micro is offered in none of the stack's zones, us-west-1b", Remedy: ChooseType}},
		"no stack yet": {func(_ *fakeAWS, a *account) { a.StackZones = zones() },
			Result{Check: "zones and type", Level: OK, Finding: "t3.micro is offered in us-west-1a, us-west-1c"}},
		"no stack yet, and one zone": {func(_ *fakeAWS, a *account) {
			a.StackZones = zones()
			a.ZonesOffering = func(context.Context, string) ([]string, error) { return []string{"us-west-1c"}, nil }
		}, Result{Check: "zones and type", Level: Stop, Finding: "t3.micro is offered in us-west-1c of this region; the load balancer wants 2 zones", Remedy: ChooseType}},

		"a customer's key": {func(f *fakeAWS, _ *account) { f.key = "arn:aws:kms:us-west-1:111122223333:key/1" },
			Result{Check: "encryption key", Level: Warn, Finding: "arn:aws:kms:us-west-1:111122223333:key/1, the account's default for EBS; whether bakes and Auto Scaling may use it is not seen from here", Remedy: GrantKey}},
		"a key that is set": {func(_ *fakeAWS, a *account) { a.KMSKey = "alias/mine" },
			Result{Check: "encryption key", Level: Warn, Finding: "alias/mine, which is set; whether bakes and Auto Scaling may use it is not seen from here", Remedy: GrantKey}},
		"all volumes encrypted": {func(f *fakeAWS, _ *account) { f.encrypted = true },
			Result{Check: "encryption key", Level: OK, Finding: "alias/aws/ebs; all volumes of the account are encrypted"}},
		"keys cannot be asked for": {func(f *fakeAWS, _ *account) { f.fail["GetEbsDefaultKmsKeyId"] = code("InvalidAction") },
			Result{Check: "encryption key", Level: Unasked, Finding: "cannot be asked here"}},

		"no metadata service": {func(f *fakeAWS, _ *account) {
			f.metadata = &types.InstanceMetadataDefaultsResponse{HttpEndpoint: types.InstanceMetadataEndpointStateDisabled}
		}, Result{Check: "metadata defaults", Level: Warn, Finding: "instances have no metadata service by default, and Packer before 1.7 cannot ask for it: then no key reaches a machine that bakes", Remedy: AllowMetadata}},
		"tokens": {func(f *fakeAWS, _ *account) {
			f.metadata = &types.InstanceMetadataDefaultsResponse{HttpTokens: types.HttpTokensStateRequired}
		}, Result{Check: "metadata defaults", Level: OK, Finding: "tokens required"}},

		"no group, no role": {func(_ *fakeAWS, a *account) { a.Status = status(rollout.Status{}, noFleet) },
			Result{Check: "service-linked role", Level: OK, Finding: "AWS makes it with the account's first Auto Scaling group"}},
		"a group without a role": {func(f *fakeAWS, _ *account) { f.role = "" },
			Result{Check: "service-linked role", Level: Unasked, Finding: "the Auto Scaling group names none"}},

		"no digest": {func(_ *fakeAWS, a *account) {
			a.Agent = func() error { return &provision.AgentDigestError{Package: "agent.deb"} }
		}, Result{Check: "CodeDeploy agent", Level: Stop, Finding: "no digest of the CodeDeploy agent's package agent.deb is recorded, and AWS documents none", Remedy: RecordDigest}},

		"no hook": {func(_ *fakeAWS, a *account) {
			a.Hook = func(context.Context) ([]string, error) {
				return []string{`launching hook "h" is missing on "hello"`}, nil
			}
		}, Result{Check: "CodeDeploy hook", Level: Warn, Finding: `launching hook "h" is missing on "hello": new instances serve unchecked`, Remedy: Apply}},
		"no hook yet": {func(_ *fakeAWS, a *account) {
			a.Status = status(rollout.Status{}, nil)
			a.Hook = func(context.Context) ([]string, error) {
				return []string{`no deployment of "hello" has succeeded yet`}, nil
			}
		}, Result{Check: "CodeDeploy hook", Level: OK, Finding: "comes with the first release, which it checks as well"}},
		"no CodeDeploy": {func(_ *fakeAWS, a *account) {
			a.Hook = func(context.Context) ([]string, error) { return nil, codedeploy.ErrNotSetUp }
		}, Result{Check: "CodeDeploy hook", Level: Warn, Finding: "CodeDeploy is not set up", Remedy: Apply}},

		"no fleet": {func(_ *fakeAWS, a *account) { a.Status = status(rollout.Status{}, noFleet) },
			Result{Check: "release", Level: Stop, Finding: noFleet.Error(), Remedy: Apply}},
		"drift": {func(_ *fakeAWS, a *account) {
			a.Status = status(rollout.Status{Disagreements: []rollout.Disagreement{{Subject: "group hello", Is: "launch template version 1", Want: "2"}}}, nil)
		}, Result{Check: "release", Level: Warn, Finding: "group hello: launch template version 1, but should be 2", Remedy: Release}},
		"no release yet": {func(_ *fakeAWS, a *account) { a.Status = status(rollout.Status{}, nil) },
			Result{Check: "release", Level: OK, Finding: "none yet"}},
		"the fleet is not understood": {func(_ *fakeAWS, a *account) { a.Status = status(rollout.Status{}, errors.New("no route to host")) },
			Result{Check: "release", Level: Warn, Finding: "no route to host"}},
	} {
		t.Run(name, func(t *testing.T) {
			f, a := healthy()
			tc.spoil(f, a)
			for _, got := range Run(t.Context(), a.checks()) {
				if got.Check != tc.want.Check {
					continue
				}
				if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(Result{}, "Err")); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			}
		})
	}
}

func TestStandardTypes(t *testing.T) {
	for name, want := range map[string]bool{"t3.micro": true, "m7i.large": true, "c8g.large": true, "i4i.large": true, "im4gn.large": true, "is4gen.medium": true, "z1d.large": true,
		"g5.xlarge": false, "p5.48xlarge": false, "inf2.xlarge": false, "trn1.2xlarge": false, "x2idn.large": false, "vt1.3xlarge": false, "mac2.metal": false, "hpc7a.96xlarge": false, "": false} {
		if isStandard(name) != want {
			t.Errorf("%q is standard: %t", name, !want)
		}
	}
}

func TestWithoutCodeDeploy(t *testing.T) {
	_, a := healthy()
	a.Agent, a.Hook = nil, nil
	for _, c := range a.checks() {
		if c.Name == "CodeDeploy agent" || c.Name == "CodeDeploy hook" {
			t.Errorf("%s is checked", c.Name)
		}
	}
}

func TestMachine(t *testing.T) {
	missing := errors.New("packer is not installed")
	found := func(version string, err error) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return version, err }
	}
	got := Run(t.Context(), Machine([]Tool{
		{Name: "Packer", For: "bakes", Needed: true, Find: found("1.12.0", nil)},
		{Name: "Packer", For: "bakes", Needed: true, Find: found("", missing)},
		{Name: "Docker", For: "the development machine", Find: found("", errors.New("no engine\nanswers"))},
	}))
	want := []Result{
		{Check: "Packer", Level: OK, Finding: "1.12.0"},
		{Check: "Packer", Level: Stop, Finding: "packer is not installed", Remedy: Install, Err: missing},
		{Check: "Docker", Level: Warn, Finding: "no engine answers; needed for the development machine", Remedy: Install},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(Result{}, "Err")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
