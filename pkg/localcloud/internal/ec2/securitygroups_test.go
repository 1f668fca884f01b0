package ec2

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func (c *cloud) group(name string) string {
	c.t.Helper()
	return *must(c.client.CreateSecurityGroup(c.t.Context(), &sdk.CreateSecurityGroupInput{
		GroupName: &name, Description: aws.String("for a test"),
	}))(c.t).GroupId
}

func tcp(from, to int32, cidrs ...string) types.IpPermission {
	p := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &from, ToPort: &to}
	for _, cidr := range cidrs {
		p.IpRanges = append(p.IpRanges, types.IpRange{CidrIp: &cidr})
	}
	return p
}

func TestSecurityGroups(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	lb, app := c.group("lb"), c.group("app")
	_, err := c.client.CreateSecurityGroup(ctx, &sdk.CreateSecurityGroupInput{GroupName: aws.String("app"), Description: aws.String("d")})
	refused(t, err, "InvalidGroup.Duplicate", "app")

	fromLB := types.IpPermission{
		IpProtocol: aws.String("6"), FromPort: aws.Int32(8080), ToPort: aws.Int32(8080),
		UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: &lb, Description: aws.String("the load balancer")}},
	}
	ingress := &sdk.AuthorizeSecurityGroupIngressInput{
		GroupId: &app, IpPermissions: []types.IpPermission{tcp(22, 22, "127.0.0.1/32", "10.1.2.3/8"), fromLB},
		TagSpecifications: []types.TagSpecification{{ResourceType: "security-group-rule", Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}},
	}
	added := must(c.client.AuthorizeSecurityGroupIngress(ctx, ingress))(t)
	if len(added.SecurityGroupRules) != 3 || *added.SecurityGroupRules[1].CidrIpv4 != "10.0.0.0/8" ||
		*added.SecurityGroupRules[2].ReferencedGroupInfo.GroupId != lb || len(added.SecurityGroupRules[2].Tags) != 1 {
		t.Errorf("rules %+v", added.SecurityGroupRules)
	}
	_, err = c.client.AuthorizeSecurityGroupIngress(ctx, ingress)
	refused(t, err, "InvalidPermission.Duplicate", "127.0.0.1/32, TCP, from port: 22, to port: 22")

	describe := func() types.SecurityGroup {
		return must(c.client.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{GroupIds: []string{app}}))(t).SecurityGroups[0]
	}
	want := []types.IpPermission{
		tcp(22, 22, "127.0.0.1/32", "10.0.0.0/8"),
		{
			IpProtocol: aws.String("tcp"), FromPort: aws.Int32(8080), ToPort: aws.Int32(8080),
			UserIdGroupPairs: []types.UserIdGroupPair{{
				GroupId: &lb, UserId: aws.String("000000000001"), Description: aws.String("the load balancer"),
			}},
		},
	}
	plain := []cmp.Option{cmpopts.IgnoreUnexported(types.IpPermission{}, types.IpRange{}, types.UserIdGroupPair{}), cmpopts.EquateEmpty()}
	if diff := cmp.Diff(want, describe().IpPermissions, plain...); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	egress := describe().IpPermissionsEgress
	if len(egress) != 1 || *egress[0].IpProtocol != "-1" || egress[0].FromPort != nil {
		t.Errorf("egress at first %+v", egress)
	}

	// What Terraform does to a new group.
	must(c.client.RevokeSecurityGroupEgress(ctx, &sdk.RevokeSecurityGroupEgressInput{GroupId: &app, IpPermissions: []types.IpPermission{{
		IpProtocol: aws.String("-1"), FromPort: aws.Int32(0), ToPort: aws.Int32(0), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}},
	}}}))(t)
	if got := describe().IpPermissionsEgress; len(got) != 0 {
		t.Errorf("egress after its revocation %+v", got)
	}
	_, err = c.client.RevokeSecurityGroupIngress(ctx, &sdk.RevokeSecurityGroupIngressInput{GroupId: &app, IpPermissions: []types.IpPermission{tcp(23, 23, "0.0.0.0/0")}})
	refused(t, err, "InvalidPermission.NotFound", "")
	must(c.client.ModifySecurityGroupRules(ctx, &sdk.ModifySecurityGroupRulesInput{GroupId: &app, SecurityGroupRules: []types.SecurityGroupRuleUpdate{{
		SecurityGroupRuleId: added.SecurityGroupRules[0].SecurityGroupRuleId,
		SecurityGroupRule:   &types.SecurityGroupRuleRequest{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(2222), ToPort: aws.Int32(2222), CidrIpv4: aws.String("0.0.0.0/0")},
	}}}))(t)
	rules := must(c.client.DescribeSecurityGroupRules(ctx, &sdk.DescribeSecurityGroupRulesInput{
		Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{app}}},
	}))(t)
	if !slices.ContainsFunc(rules.SecurityGroupRules, func(r types.SecurityGroupRule) bool { return *r.FromPort == 2222 }) {
		t.Errorf("rules after the change %+v", rules.SecurityGroupRules)
	}

	for _, test := range []struct {
		port   int
		from   string
		groups []string
		want   bool
	}{
		{8080, "127.0.0.1", nil, false},
		{8080, "127.0.0.1", []string{lb}, true},
		{8081, "127.0.0.1", []string{lb}, false},
		{2222, "127.0.0.1", nil, true},
		{22, "10.9.9.9", nil, true},
		{22, "127.0.0.1", nil, false},
	} {
		if got := c.service.SecurityGroupAllows(app, test.port, netip.MustParseAddr(test.from), test.groups); got != test.want {
			t.Errorf("allows %d from %s in %v: %v", test.port, test.from, test.groups, got)
		}
	}

	_, err = c.client.DeleteSecurityGroup(ctx, &sdk.DeleteSecurityGroupInput{GroupId: &lb})
	refused(t, err, "DependencyViolation", lb)
	held := lb
	c.service.HoldSecurityGroups(func(id string) bool { return id == held })
	must(c.client.RevokeSecurityGroupIngress(ctx, &sdk.RevokeSecurityGroupIngressInput{
		GroupId: &app, SecurityGroupRuleIds: []string{*added.SecurityGroupRules[2].SecurityGroupRuleId},
	}))(t)
	_, err = c.client.DeleteSecurityGroup(ctx, &sdk.DeleteSecurityGroupInput{GroupId: &lb})
	refused(t, err, "DependencyViolation", lb) // a load balancer has it
	held = ""
	must(c.client.DeleteSecurityGroup(ctx, &sdk.DeleteSecurityGroupInput{GroupId: &lb}))(t)
	_, err = c.client.DeleteSecurityGroup(ctx, &sdk.DeleteSecurityGroupInput{GroupName: aws.String("default")})
	refused(t, err, "CannotDelete", "default")
}

func TestInvalidRules(t *testing.T) {
	c := start(t)
	group := c.group("g")
	for _, test := range []struct {
		name, code, message string
		permission          types.IpPermission
	}{
		{"port range", "InvalidParameterValue", "(90:80)", tcp(90, 80, "0.0.0.0/0")},
		{"port", "InvalidParameterValue", "(0:70000)", tcp(0, 70000, "0.0.0.0/0")},
		{"CIDR", "InvalidParameterValue", "0.0.0.0/99 is malformed", tcp(80, 80, "0.0.0.0/99")},
		{"twice", "InvalidParameterValue", "multiple times", tcp(80, 80, "10.0.0.0/8", "10.0.0.1/8")},
		{"no source", "MissingParameter", "source", tcp(80, 80)},
		{"no ports", "InvalidParameterValue", "Must specify both", types.IpPermission{IpProtocol: aws.String("tcp"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}},
		{"protocol", "InvalidParameterValue", "quic", types.IpPermission{IpProtocol: aws.String("quic"), IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}}},
		{"group", "InvalidGroup.NotFound", "sg-00000000", types.IpPermission{IpProtocol: aws.String("-1"), UserIdGroupPairs: []types.UserIdGroupPair{{GroupId: aws.String("sg-00000000")}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := c.client.AuthorizeSecurityGroupIngress(t.Context(), &sdk.AuthorizeSecurityGroupIngressInput{
				GroupId: &group, IpPermissions: []types.IpPermission{test.permission},
			})
			refused(t, err, test.code, test.message)
		})
	}
}

func TestRuleExposes(t *testing.T) {
	for _, test := range []struct {
		name string
		rule rule
		want []int
	}{
		{"one port", rule{Protocol: "tcp", From: 80, To: 80, CIDR: "0.0.0.0/0"}, []int{80}},
		{"narrow", rule{Protocol: "tcp", From: 22, To: 22, CIDR: "127.0.0.1/32"}, []int{22}},
		{"a few", rule{Protocol: "tcp", From: 8080, To: 8082, CIDR: "127.0.0.0/8"}, []int{8080, 8081, 8082}},
		{"many", rule{Protocol: "tcp", From: 443, To: 9000, CIDR: "0.0.0.0/0"}, []int{443, 8080}},
		{"everything", rule{Protocol: "-1", From: -1, To: -1, CIDR: "0.0.0.0/0"}, []int{22, 80, 443, 8080}},
		{"elsewhere", rule{Protocol: "tcp", From: 80, To: 80, CIDR: "10.0.0.0/8"}, nil},
		{"a group", rule{Protocol: "tcp", From: 80, To: 80, Group: "sg-1"}, nil},
		{"IPv6", rule{Protocol: "tcp", From: 80, To: 80, CIDR6: "::/0"}, nil},
		{"UDP", rule{Protocol: "udp", From: 53, To: 53, CIDR: "0.0.0.0/0"}, nil},
		{"egress", rule{Protocol: "tcp", From: 80, To: 80, CIDR: "0.0.0.0/0", Egress: true}, nil},
	} {
		if diff := cmp.Diff(test.want, test.rule.exposes()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestPortsFollowRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		ctx := t.Context()
		group := c.group("g")
		c.run(func(in *sdk.RunInstancesInput) { in.SecurityGroupIds = []string{group} })
		check := func(when string, want ...string) {
			t.Helper()
			if diff := cmp.Diff(want, c.ports.list()); diff != "" {
				t.Errorf("open ports %s (-want +got):\n%s", when, diff)
			}
		}
		check("without rules")
		must(c.client.AuthorizeSecurityGroupIngress(ctx, &sdk.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []types.IpPermission{tcp(80, 81, "0.0.0.0/0")}}))(t)
		check("with a rule", "127.80.0.2:80", "127.80.0.2:81")
		must(c.client.RevokeSecurityGroupIngress(ctx, &sdk.RevokeSecurityGroupIngressInput{GroupId: &group, IpPermissions: []types.IpPermission{tcp(80, 81, "0.0.0.0/0")}}))(t)
		check("after its revocation")
	})
}
