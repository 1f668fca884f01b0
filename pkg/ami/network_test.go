package ami

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/tag"
)

// network is what an account has of networks.
type network struct {
	vpcs    []types.Vpc
	subnets []types.Subnet
	tables  []types.RouteTable
	offered []string // zones that have the type
	denied  error
	typeErr error // of the question for the zones
}

func (f *fakeEC2) DescribeVpcs(_ context.Context, in *ec2.DescribeVpcsInput, _ ...func(*ec2.Options)) (*ec2.DescribeVpcsOutput, error) {
	out := &ec2.DescribeVpcsOutput{}
	for _, v := range f.network.vpcs {
		if aws.ToString(in.Filters[0].Name) == "is-default" && aws.ToBool(v.IsDefault) {
			out.Vpcs = append(out.Vpcs, v)
		}
	}
	return out, f.network.denied
}

// DescribeSubnets knows the filters by ID, by VPC and by tag; the state is always available.
func (f *fakeEC2) DescribeSubnets(_ context.Context, in *ec2.DescribeSubnetsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSubnetsOutput, error) {
	out := &ec2.DescribeSubnetsOutput{}
	for _, s := range f.network.subnets {
		is := map[string]string{"subnet-id": aws.ToString(s.SubnetId), "vpc-id": aws.ToString(s.VpcId), "state": "available", "tag:" + tag.App: tagMap(s.Tags)[tag.App]}
		if !slices.ContainsFunc(in.Filters, func(f types.Filter) bool { return !slices.Contains(f.Values, is[*f.Name]) }) {
			out.Subnets = append(out.Subnets, s)
		}
	}
	return out, f.network.denied
}

func (f *fakeEC2) DescribeRouteTables(_ context.Context, in *ec2.DescribeRouteTablesInput, _ ...func(*ec2.Options)) (*ec2.DescribeRouteTablesOutput, error) {
	out := &ec2.DescribeRouteTablesOutput{}
	for _, t := range f.network.tables {
		if slices.Contains(in.Filters[0].Values, aws.ToString(t.VpcId)) {
			out.RouteTables = append(out.RouteTables, t)
		}
	}
	return out, f.network.denied
}

func (f *fakeEC2) DescribeInstanceTypeOfferings(context.Context, *ec2.DescribeInstanceTypeOfferingsInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceTypeOfferingsOutput, error) {
	out := &ec2.DescribeInstanceTypeOfferingsOutput{}
	for _, zone := range f.network.offered {
		out.InstanceTypeOfferings = append(out.InstanceTypeOfferings, types.InstanceTypeOffering{Location: aws.String(zone)})
	}
	return out, f.network.typeErr
}

func subnet(id, vpc, zone, app string) types.Subnet {
	s := types.Subnet{SubnetId: &id, VpcId: &vpc, AvailabilityZone: &zone}
	if app != "" {
		s.Tags = tagList(map[string]string{tag.App: app})
	}
	return s
}

// mainTable is the main route table of a VPC, with a route to each of the gateways.
func mainTable(vpc string, gateways ...string) types.RouteTable {
	return tableOf(vpc, types.RouteTableAssociation{Main: aws.Bool(true)}, gateways...)
}

func tableOf(vpc string, association types.RouteTableAssociation, gateways ...string) types.RouteTable {
	t := types.RouteTable{VpcId: &vpc, Associations: []types.RouteTableAssociation{association}}
	for _, g := range gateways {
		t.Routes = append(t.Routes, types.Route{DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: &g})
	}
	return t
}

func TestFindNetwork(t *testing.T) {
	byDefault := []types.Vpc{{VpcId: aws.String("vpc-d"), IsDefault: aws.Bool(true)}, {VpcId: aws.String("vpc-s")}}
	everywhere := []string{"us-west-1a", "us-west-1c"}
	defaults := []types.Subnet{subnet("subnet-d2", "vpc-d", "us-west-1c", ""), subnet("subnet-d1", "vpc-d", "us-west-1a", "")}
	stack := append(slices.Clone(defaults), subnet("subnet-s2", "vpc-s", "us-west-1c", "hello"), subnet("subnet-s1", "vpc-s", "us-west-1a", "hello"), subnet("subnet-o", "vpc-s", "us-west-1a", "other"))
	private := types.RouteTableAssociation{SubnetId: aws.String("subnet-s1")}
	const (
		ofStack   = "a public subnet of the stack of hello"
		ofDefault = "a subnet of the default VPC"
	)
	for name, tc := range map[string]struct {
		subnet string // that is set
		has    network
		want   Network
		err    string
	}{
		"the stack's": {
			has:  network{vpcs: byDefault, subnets: stack, tables: []types.RouteTable{mainTable("vpc-d", "igw-1"), mainTable("vpc-s", "local", "igw-2")}, offered: everywhere},
			want: Network{SubnetID: "subnet-s1", VPCID: "vpc-s", Zone: "us-west-1a", Public: true, Why: ofStack},
		},
		"a public one of the stack's": {
			has:  network{vpcs: byDefault, subnets: stack, tables: []types.RouteTable{mainTable("vpc-s", "igw-2"), tableOf("vpc-s", private, "local"), mainTable("vpc-d", "igw-1")}, offered: everywhere},
			want: Network{SubnetID: "subnet-s2", VPCID: "vpc-s", Zone: "us-west-1c", Public: true, Why: ofStack},
		},
		"in a zone that offers the type": {
			has:  network{vpcs: byDefault, subnets: stack, tables: []types.RouteTable{mainTable("vpc-s", "igw-2")}, offered: []string{"us-west-1c"}},
			want: Network{SubnetID: "subnet-s2", VPCID: "vpc-s", Zone: "us-west-1c", Public: true, Why: ofStack},
		},
		"the stack is half made": { // its subnets are there, the route is not
			has:  network{vpcs: byDefault, subnets: stack, tables: []types.RouteTable{mainTable("vpc-d", "igw-1"), mainTable("vpc-s", "local")}, offered: everywhere},
			want: Network{SubnetID: "subnet-d1", VPCID: "vpc-d", Zone: "us-west-1a", Public: true, Why: ofDefault},
		},
		"the default VPC": {
			has:  network{vpcs: byDefault, subnets: defaults, tables: []types.RouteTable{mainTable("vpc-d", "igw-1")}, offered: everywhere},
			want: Network{SubnetID: "subnet-d1", VPCID: "vpc-d", Zone: "us-west-1a", Public: true, Why: ofDefault},
		},
		"nobody says what the zones offer": {
			has:  network{vpcs: byDefault, subnets: defaults, tables: []types.RouteTable{mainTable("vpc-d", "igw-1")}, typeErr: failing("UnauthorizedOperation")},
			want: Network{SubnetID: "subnet-d1", VPCID: "vpc-d", Zone: "us-west-1a", Public: true, Why: ofDefault},
		},
		"none": {has: network{}, err: "there is no subnet to bake in: no public one is tagged ingot:app=hello, and the region has no default VPC with one"},
		"none that offers the type": {
			has: network{vpcs: byDefault, subnets: defaults, tables: []types.RouteTable{mainTable("vpc-d", "igw-1")}, offered: []string{"us-west-1b"}},
			err: "there is no subnet to bake in: no zone with a public subnet offers t3.medium (us-west-1a, us-west-1c)",
		},
		"set": {subnet: "subnet-o",
			has:  network{vpcs: byDefault, subnets: stack, tables: []types.RouteTable{mainTable("vpc-s", "igw-2")}, offered: everywhere},
			want: Network{SubnetID: "subnet-o", VPCID: "vpc-s", Zone: "us-west-1a", Public: true, Why: "the one that is set"},
		},
		"set, and private": {subnet: "subnet-o",
			has:  network{subnets: stack, tables: []types.RouteTable{mainTable("vpc-s", "local")}, offered: everywhere},
			want: Network{SubnetID: "subnet-o", VPCID: "vpc-s", Zone: "us-west-1a", Why: "the one that is set"},
		},
		"set, and not there":           {subnet: "subnet-x", err: "there is no subnet to bake in: subnet-x is no subnet of this account and region"},
		"set, and without the type":    {subnet: "subnet-o", has: network{subnets: stack, offered: []string{"us-west-1b"}}, err: "there is no subnet to bake in: the zone us-west-1a of subnet-o does not offer t3.medium"},
		"a blackhole leads to nowhere": {has: network{vpcs: byDefault, subnets: defaults}, err: "there is no subnet to bake in: no public one is tagged ingot:app=hello, and the region has no default VPC with one"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := (&Client{api: &fakeEC2{network: tc.has}}).FindNetwork(t.Context(), NetworkOptions{App: "hello", Subnet: tc.subnet, InstanceType: "t3.medium"})
			if tc.err != "" && (err == nil || err.Error() != tc.err || !errors.Is(err, ErrNoNetwork)) || tc.err == "" && err != nil {
				t.Fatalf("error = %v, want %q", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	_, err := (&Client{api: &fakeEC2{network: network{denied: failing("UnauthorizedOperation")}}}).FindNetwork(t.Context(), NetworkOptions{App: "hello"})
	if !IsDenied(err) || errors.Is(err, ErrNoNetwork) {
		t.Errorf("denied: %v", err)
	}
}

func TestLaunchProblem(t *testing.T) {
	ended := func(id, run, code string) types.Instance {
		i := instance(id, run, "terminated")
		i.StateReason = &types.StateReason{Code: &code}
		return i
	}
	for code, want := range map[string]string{
		"Client.InternalError":                "instance i-1 ended at its launch (Client.InternalError): the KMS key that encrypts its volume cannot be used",
		"Client.InvalidKMSKey.InvalidState":   "instance i-1 ended at its launch (Client.InvalidKMSKey.InvalidState): the KMS key that encrypts its volume cannot be used",
		"Client.UserInitiatedShutdown":        "",
		"Server.InsufficientInstanceCapacity": "",
	} {
		f := &fakeEC2{instances: []types.Instance{ended("i-2", run2, "Client.InternalError"), instance("i-3", run1, "running"), ended("i-1", run1, code)}}
		err := (&Client{api: f}).LaunchProblem(t.Context(), "hello", run1)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", code, err, want)
		}
	}
}
