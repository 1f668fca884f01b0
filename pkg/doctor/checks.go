package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/servicequotas"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/rollout"
)

type ec2API interface {
	DescribeInstanceTypes(context.Context, *ec2.DescribeInstanceTypesInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceTypesOutput, error)
	GetEbsEncryptionByDefault(context.Context, *ec2.GetEbsEncryptionByDefaultInput, ...func(*ec2.Options)) (*ec2.GetEbsEncryptionByDefaultOutput, error)
	GetEbsDefaultKmsKeyId(context.Context, *ec2.GetEbsDefaultKmsKeyIdInput, ...func(*ec2.Options)) (*ec2.GetEbsDefaultKmsKeyIdOutput, error)
	GetInstanceMetadataDefaults(context.Context, *ec2.GetInstanceMetadataDefaultsInput, ...func(*ec2.Options)) (*ec2.GetInstanceMetadataDefaultsOutput, error)
}

type quotaAPI interface {
	GetServiceQuota(context.Context, *servicequotas.GetServiceQuotaInput, ...func(*servicequotas.Options)) (*servicequotas.GetServiceQuotaOutput, error)
}

type groupAPI interface {
	DescribeAutoScalingGroups(context.Context, *autoscaling.DescribeAutoScalingGroupsInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeAutoScalingGroupsOutput, error)
}

type identityAPI interface {
	GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
}

// Options say what a release needs. The functions are what the rest of the pipeline knows; a nil one leaves its check out.
type Options struct {
	FleetType  string // instance type of the fleet
	FleetMin   int    // instances
	FleetMax   int    // instances
	MaxHealthy int    // percent of the fleet that may run at once while it is replaced
	BakeType   string // instance type that images are baked on
	KMSKey     string // the key that images are encrypted with; empty for the account's default

	Network       func(context.Context) (ami.Network, error)                       // where images are baked
	StackZones    func(context.Context) ([]string, error)                          // the zones that the stack has subnets in
	ZonesOffering func(ctx context.Context, instanceType string) ([]string, error) // ami.Client's
	Agent         func() error                                                     // a *provision.AgentDigestError where no digest is recorded
	Hook          func(context.Context) (wrong []string, err error)                // codedeploy.Client's CheckHook
	Status        func(context.Context) (rollout.Status, error)                    // rollout.Roller's
}

// account is what the checks ask.
type account struct {
	Options
	credentials aws.CredentialsProvider
	ec2         ec2API
	quotas      quotaAPI
	groups      groupAPI
	identity    identityAPI
}

// Account returns the checks of an AWS account and region.
func Account(cfg aws.Config, o Options) []Check {
	return account{
		Options: o, credentials: cfg.Credentials, ec2: ec2.NewFromConfig(cfg), quotas: servicequotas.NewFromConfig(cfg),
		groups: autoscaling.NewFromConfig(cfg), identity: sts.NewFromConfig(cfg),
	}.checks()
}

func (a account) checks() []Check {
	return slices.DeleteFunc([]Check{
		{"credentials", a.checkCredentials},
		{"clock", a.checkClock},
		{"network for bakes", when(a.Network != nil, a.checkNetwork)},
		{"vCPU quota", a.checkQuota},
		{"zones and type", when(a.ZonesOffering != nil, a.checkZones)},
		{"encryption key", a.checkKey},
		{"metadata defaults", a.checkMetadata},
		{"service-linked role", when(a.Status != nil, a.checkRole)},
		{"CodeDeploy agent", when(a.Agent != nil, a.checkAgent)},
		{"CodeDeploy hook", when(a.Hook != nil, a.checkHook)},
		{"release", when(a.Status != nil, a.checkDrift)},
	}, func(c Check) bool { return c.Run == nil })
}

func when(wanted bool, check func(context.Context) Result) func(context.Context) Result {
	if !wanted {
		return nil
	}
	return check
}

// soon is how long credentials should last: a bake of two images and a rollout without checkpoints take less.
const soon = time.Hour

func (a account) checkCredentials(ctx context.Context) Result {
	c, err := a.credentials.Retrieve(ctx)
	if err != nil {
		return Result{Level: Stop, Finding: "none: " + oneLine(err), Remedy: SignIn, Err: err}
	}
	who, err := a.identity.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Result{Level: Stop, Finding: "refused: " + oneLine(err), Remedy: SignIn, Err: err}
	}
	name := aws.ToString(who.Arn)
	switch {
	case strings.HasSuffix(name, ":root"):
		return warn(name+": may do everything, for ever", LeaveRoot)
	case c.CanExpire:
		// The SDK renews these by itself, as long as what is behind them lasts: an SSO session, say.
		return ok(fmt.Sprintf("%s, until %s and then renewed", name, c.Expires.UTC().Format(time.DateTime+" MST")))
	case c.SessionToken != "":
		return warn(name+", in a session that is not renewed and does not say when it ends; a release can take more than "+soon.String(), RenewSession)
	}
	return ok(name + ", which do not expire")
}

// MaxClockSkew is how far a machine's clock may be from AWS's: "in most cases, a request must reach AWS within five minutes of the
// time stamp in the request" (IAM User Guide, "Elements of an AWS API request signature"). The SDK corrects that by itself; Packer
// and others that sign with this machine's time do not.
const MaxClockSkew = 5 * time.Minute

// ClockSkew is how far AWS's clock is ahead of this machine's, to the second, as an answer of the SDK's has it; 0 where that does not
// say.
func ClockSkew(answer middleware.Metadata) time.Duration {
	skew, _ := awsmiddleware.GetAttemptSkew(answer)
	return skew.Round(time.Second)
}

func (a account) checkClock(ctx context.Context) Result {
	who, err := a.identity.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return unanswered(err)
	}
	skew := ClockSkew(who.ResultMetadata)
	if skew.Abs() >= MaxClockSkew {
		return stop(fmt.Sprintf("AWS's is %s ahead of this machine's; programs that do not correct that are refused from %s on", skew, MaxClockSkew), SetClock)
	}
	return ok(fmt.Sprintf("AWS's is %s ahead of this machine's", skew))
}

func (a account) checkNetwork(ctx context.Context) Result {
	n, err := a.Network(ctx)
	switch {
	case errors.Is(err, ami.ErrNoNetwork):
		return Result{Level: Stop, Finding: err.Error(), Remedy: SetSubnet, Err: err}
	case err != nil:
		return unanswered(err)
	case !n.Public:
		return warn(fmt.Sprintf("%s in %s, which has no route to the internet: its private addresses have to be reachable from here", n.SubnetID, n.Zone), SetSubnet)
	}
	return ok(fmt.Sprintf("%s in %s, %s", n.SubnetID, n.Zone, n.Why))
}

const (
	// standardQuota is the code of "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances", in vCPUs:
	// https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html. New accounts begin with 5.
	standardQuota = "L-1216C47A"

	// standardFamilies are the first letters of the types that it is for.
	standardFamilies = "acdhimrtz"
)

// checkQuota compares the quota with what the fleet has at once while it is replaced, and a machine that bakes. That others
// use some of it as well is not counted.
func (a account) checkQuota(ctx context.Context) Result {
	for _, t := range []string{a.FleetType, a.BakeType} {
		if !isStandard(t) {
			return Result{Level: Unasked, Finding: t + " counts against another quota than the standard instances'"}
		}
	}
	cpus, err := a.cpus(ctx, a.FleetType, a.BakeType)
	if err != nil {
		return unanswered(err)
	}
	out, err := a.quotas.GetServiceQuota(ctx, &servicequotas.GetServiceQuotaInput{ServiceCode: aws.String("ec2"), QuotaCode: aws.String(standardQuota)})
	if err != nil {
		return unanswered(fmt.Errorf("get the quota of vCPUs: %w", err))
	}
	if out.Quota == nil || out.Quota.Value == nil {
		return warn("no quota was answered", "")
	}
	quota := int(*out.Quota.Value)
	need := func(instances int) int { return (instances*a.MaxHealthy+99)/100*cpus[a.FleetType] + cpus[a.BakeType] }
	least, most := need(a.FleetMin), need(a.FleetMax)
	finding := fmt.Sprintf("%d vCPUs of standard instances; a rollout needs %d with %d instances, %d with %d, a bake beside it included", quota, least, a.FleetMin, most, a.FleetMax)
	switch {
	case quota < least:
		return stop(finding, RaiseQuota)
	case quota < most:
		return warn(finding, RaiseQuota)
	}
	return ok(finding)
}

// isStandard tells whether a type counts as a standard instance. Families with longer names, inf and trn and such, do not,
// but im and is.
func isStandard(instanceType string) bool {
	letters := instanceType[:max(0, strings.IndexAny(instanceType+"0", "0123456789"))]
	return len(letters) == 1 && strings.Contains(standardFamilies, letters) || letters == "im" || letters == "is"
}

func (a account) cpus(ctx context.Context, names ...string) (map[string]int, error) {
	in := &ec2.DescribeInstanceTypesInput{}
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		in.InstanceTypes = append(in.InstanceTypes, types.InstanceType(name))
	}
	out, err := a.ec2.DescribeInstanceTypes(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("describe instance types: %w", err)
	}
	cpus := map[string]int{}
	for _, t := range out.InstanceTypes {
		if t.VCpuInfo != nil {
			cpus[string(t.InstanceType)] = int(aws.ToInt32(t.VCpuInfo.DefaultVCpus))
		}
	}
	if len(cpus) < len(in.InstanceTypes) {
		return nil, fmt.Errorf("describe instance types: %v are known of %v", slices.Sorted(maps.Keys(cpus)), in.InstanceTypes)
	}
	return cpus, nil
}

// fewestZones is how many zones a load balancer wants.
const fewestZones = 2

func (a account) checkZones(ctx context.Context) Result {
	offering, err := a.ZonesOffering(ctx, a.FleetType)
	if err != nil {
		return unanswered(err)
	}
	var stack []string
	if a.StackZones != nil {
		if stack, err = a.StackZones(ctx); err != nil {
			return unanswered(err)
		}
	}
	lacking := slices.DeleteFunc(slices.Clone(stack), func(zone string) bool { return slices.Contains(offering, zone) })
	switch {
	case len(stack) == 0 && len(offering) < fewestZones:
		return stop(fmt.Sprintf("%s is offered in %s of this region; the load balancer wants %d zones", a.FleetType, listOr(offering, "no zone"), fewestZones), ChooseType)
	case len(stack) == 0:
		return ok(fmt.Sprintf("%s is offered in %s", a.FleetType, strings.Join(offering, ", ")))
	case len(lacking) == len(stack):
		return stop(fmt.Sprintf("%s is offered in none of the stack's zones, %s", a.FleetType, strings.Join(stack, ", ")), ChooseType)
	case len(lacking) > 0:
		return warn(fmt.Sprintf("%s is not offered in %s, one of the stack's zones", a.FleetType, strings.Join(lacking, ", ")), ChooseType)
	}
	return ok(fmt.Sprintf("%s is offered in the stack's zones, %s", a.FleetType, strings.Join(stack, ", ")))
}

// awsKey is the alias of the key that EBS has without anybody's doing, and that everybody in the account may use.
const awsKey = "alias/aws/ebs"

func (a account) checkKey(ctx context.Context) Result {
	if a.KMSKey != "" {
		return warn(a.KMSKey+", which is set; whether bakes and Auto Scaling may use it is not seen from here", GrantKey)
	}
	key, err := a.ec2.GetEbsDefaultKmsKeyId(ctx, &ec2.GetEbsDefaultKmsKeyIdInput{})
	if err != nil {
		return unanswered(fmt.Errorf("get the default key of EBS: %w", err))
	}
	id := aws.ToString(key.KmsKeyId)
	if id != awsKey {
		return warn(id+", the account's default for EBS; whether bakes and Auto Scaling may use it is not seen from here", GrantKey)
	}
	all, err := a.ec2.GetEbsEncryptionByDefault(ctx, &ec2.GetEbsEncryptionByDefaultInput{})
	if err == nil && aws.ToBool(all.EbsEncryptionByDefault) {
		return ok(id + "; all volumes of the account are encrypted")
	}
	return ok(id)
}

// checkMetadata looks for a default that leaves instances without a metadata service, through which their key reaches them.
// The fleet's launch template says what its instances have; of machines that bake Packer says it from 1.7 on.
func (a account) checkMetadata(ctx context.Context) Result {
	out, err := a.ec2.GetInstanceMetadataDefaults(ctx, &ec2.GetInstanceMetadataDefaultsInput{})
	if err != nil {
		return unanswered(fmt.Errorf("get the defaults of instance metadata: %w", err))
	}
	d := out.AccountLevel
	switch {
	case d != nil && d.HttpEndpoint == types.InstanceMetadataEndpointStateDisabled:
		return warn("instances have no metadata service by default, and Packer before 1.7 cannot ask for it: then no key reaches a machine that bakes", AllowMetadata)
	case d != nil && d.HttpTokens != "":
		return ok("tokens " + string(d.HttpTokens))
	}
	return ok("none")
}

// checkRole looks for the role with which EC2 Auto Scaling launches instances. AWS makes it with an account's first group.
func (a account) checkRole(ctx context.Context) Result {
	s, err := a.Status(ctx)
	if errors.Is(err, rollout.ErrNoFleet) {
		return ok("AWS makes it with the account's first Auto Scaling group")
	}
	if err != nil {
		return unanswered(err)
	}
	out, err := a.groups.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{s.Fleet.Group}})
	if err != nil {
		return unanswered(fmt.Errorf("describe the Auto Scaling group: %w", err))
	}
	for _, g := range out.AutoScalingGroups {
		if role := aws.ToString(g.ServiceLinkedRoleARN); role != "" {
			return ok(role)
		}
	}
	return Result{Level: Unasked, Finding: "the Auto Scaling group names none"}
}

func (a account) checkAgent(context.Context) Result {
	if err := a.Agent(); err != nil {
		return Result{Level: Stop, Finding: err.Error(), Remedy: RecordDigest, Err: err}
	}
	return ok("the digest of its package is recorded")
}

func (a account) checkHook(ctx context.Context) Result {
	wrong, err := a.Hook(ctx)
	switch {
	case errors.Is(err, codedeploy.ErrNotSetUp):
		return Result{Level: Warn, Finding: codedeploy.ErrNotSetUp.Error(), Remedy: Apply, Err: err}
	case err != nil:
		return unanswered(err)
	case len(wrong) > 0 && a.noRelease(ctx):
		return ok("comes with the first release, which it checks as well")
	case len(wrong) > 0:
		return warn(strings.Join(wrong, "; ")+": new instances serve unchecked", Apply)
	}
	return ok("holds new instances until CodeDeploy has checked them")
}

// noRelease tells whether it is known that nothing has been released yet.
func (a account) noRelease(ctx context.Context) bool {
	if a.Status == nil {
		return false
	}
	s, err := a.Status(ctx)
	return err == nil && s.Current == nil
}

func (a account) checkDrift(ctx context.Context) Result {
	s, err := a.Status(ctx)
	switch {
	case errors.Is(err, rollout.ErrNoFleet):
		return Result{Level: Stop, Finding: err.Error(), Remedy: Apply, Err: err}
	case err != nil:
		return unanswered(err)
	case len(s.Disagreements) > 0:
		var all []string
		for _, d := range s.Disagreements {
			all = append(all, d.String())
		}
		return warn(strings.Join(all, "; "), Release)
	case s.Current == nil:
		return ok("none yet")
	}
	return ok(fmt.Sprintf("%s; pointer, launch template, group and %d instances agree", s.Current.Release, len(s.Fleet.Instances)))
}

func listOr(names []string, none string) string {
	if list := strings.Join(names, ", "); list != "" {
		return list
	}
	return none
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
