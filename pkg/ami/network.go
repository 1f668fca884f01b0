package ami

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/ingot-build/ingot/pkg/tag"
)

// ErrNoNetwork means that there is no subnet to bake in.
var ErrNoNetwork = errors.New("there is no subnet to bake in")

// networkAPI is what a subnet to bake in is found with.
type networkAPI interface {
	DescribeVpcs(context.Context, *ec2.DescribeVpcsInput, ...func(*ec2.Options)) (*ec2.DescribeVpcsOutput, error)
	DescribeSubnets(context.Context, *ec2.DescribeSubnetsInput, ...func(*ec2.Options)) (*ec2.DescribeSubnetsOutput, error)
	DescribeRouteTables(context.Context, *ec2.DescribeRouteTablesInput, ...func(*ec2.Options)) (*ec2.DescribeRouteTablesOutput, error)
	DescribeInstanceTypeOfferings(context.Context, *ec2.DescribeInstanceTypeOfferingsInput, ...func(*ec2.Options)) (*ec2.DescribeInstanceTypeOfferingsOutput, error)
}

// Network is where a machine that bakes runs. The zero value leaves it to EC2, which takes a subnet of the default VPC.
type Network struct {
	SubnetID string
	VPCID    string
	Zone     string
	Public   bool   // the subnet has a route to the internet, and the machine gets a public address there
	Why      string // it is this one, in a few words
}

// NetworkOptions say what a network is wanted for.
type NetworkOptions struct {
	App          string // whose stack's subnet is taken where no other is named
	Subnet       string // ID of the subnet to take, whatever it is like; empty to find one
	InstanceType string // what has to be offered in the subnet's zone
}

// FindNetwork finds a subnet to bake in: the one that is named; else a public one of the application's own stack; else one
// of the default VPC, which many accounts do not have. A zone that does not offer the instance type is passed over. Where
// none is left, the error wraps ErrNoNetwork.
func (c *Client) FindNetwork(ctx context.Context, o NetworkOptions) (Network, error) {
	if o.Subnet != "" {
		return c.namedNetwork(ctx, o)
	}
	var passed []string
	for _, source := range []struct {
		why  string
		find func(context.Context) ([]types.Subnet, error)
	}{
		{"a public subnet of the stack of " + o.App, func(ctx context.Context) ([]types.Subnet, error) {
			return c.subnets(ctx, filter("tag:"+tag.App, o.App), filter("state", "available"))
		}},
		{"a subnet of the default VPC", c.defaultSubnets},
	} {
		subnets, err := source.find(ctx)
		if err != nil {
			return Network{}, err
		}
		networks, err := c.networks(ctx, subnets, source.why)
		if err != nil {
			return Network{}, err
		}
		networks = slices.DeleteFunc(networks, func(n Network) bool { return !n.Public })
		offered := c.offering(ctx, networks, o.InstanceType)
		if len(offered) > 0 {
			return offered[0], nil
		}
		for _, n := range networks {
			passed = append(passed, n.Zone)
		}
	}
	if len(passed) > 0 {
		return Network{}, fmt.Errorf("%w: no zone with a public subnet offers %s (%s)", ErrNoNetwork, o.InstanceType, strings.Join(slices.Compact(passed), ", "))
	}
	return Network{}, fmt.Errorf("%w: no public one is tagged %s=%s, and the region has no default VPC with one", ErrNoNetwork, tag.App, o.App)
}

// namedNetwork looks at the subnet that somebody chose. It need not be public: the machine is then reached by its private
// address, over a VPN or from inside.
func (c *Client) namedNetwork(ctx context.Context, o NetworkOptions) (Network, error) {
	subnets, err := c.subnets(ctx, filter("subnet-id", o.Subnet))
	if err != nil {
		return Network{}, err
	}
	if len(subnets) == 0 {
		return Network{}, fmt.Errorf("%w: %s is no subnet of this account and region", ErrNoNetwork, o.Subnet)
	}
	networks, err := c.networks(ctx, subnets, "the one that is set")
	if err != nil {
		return Network{}, err
	}
	if len(c.offering(ctx, networks, o.InstanceType)) == 0 {
		return Network{}, fmt.Errorf("%w: the zone %s of %s does not offer %s", ErrNoNetwork, networks[0].Zone, o.Subnet, o.InstanceType)
	}
	return networks[0], nil
}

func (c *Client) defaultSubnets(ctx context.Context) ([]types.Subnet, error) {
	out, err := c.api.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []types.Filter{filter("is-default", "true")}})
	if err != nil {
		return nil, fmt.Errorf("find the default VPC: %w", err)
	}
	if len(out.Vpcs) == 0 {
		return nil, nil
	}
	return c.subnets(ctx, filter("vpc-id", aws.ToString(out.Vpcs[0].VpcId)), filter("state", "available"))
}

// subnets returns the subnets that pass the filters, in the order of their zones.
func (c *Client) subnets(ctx context.Context, filters ...types.Filter) ([]types.Subnet, error) {
	var found []types.Subnet
	pages := ec2.NewDescribeSubnetsPaginator(c.api, &ec2.DescribeSubnetsInput{Filters: filters})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("find a subnet to bake in: %w", err)
		}
		found = append(found, page.Subnets...)
	}
	slices.SortFunc(found, func(a, b types.Subnet) int {
		return strings.Compare(aws.ToString(a.AvailabilityZone)+aws.ToString(a.SubnetId), aws.ToString(b.AvailabilityZone)+aws.ToString(b.SubnetId))
	})
	return found, nil
}

// networks tells which subnets are public. One that Terraform is about to make is so only once its route is there: a
// subnet that maps public addresses without one is a dead end.
func (c *Client) networks(ctx context.Context, subnets []types.Subnet, why string) ([]Network, error) {
	if len(subnets) == 0 {
		return nil, nil
	}
	var vpcs []string
	for _, s := range subnets {
		vpcs = append(vpcs, aws.ToString(s.VpcId))
	}
	slices.Sort(vpcs)
	var tables []types.RouteTable
	pages := ec2.NewDescribeRouteTablesPaginator(c.api, &ec2.DescribeRouteTablesInput{Filters: []types.Filter{filter("vpc-id", slices.Compact(vpcs)...)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("find out which subnets are public: %w", err)
		}
		tables = append(tables, page.RouteTables...)
	}
	var networks []Network
	for _, s := range subnets {
		n := Network{SubnetID: aws.ToString(s.SubnetId), VPCID: aws.ToString(s.VpcId), Zone: aws.ToString(s.AvailabilityZone), Why: why}
		n.Public = routesToInternet(tables, n)
		networks = append(networks, n)
	}
	return networks, nil
}

// routesToInternet tells whether the route table of a subnet, its own or else the main one of its VPC, leads everything
// else to an internet gateway.
func routesToInternet(tables []types.RouteTable, n Network) bool {
	var own, main *types.RouteTable
	for i, t := range tables {
		for _, a := range t.Associations {
			switch {
			case aws.ToString(a.SubnetId) == n.SubnetID:
				own = &tables[i]
			case aws.ToBool(a.Main) && aws.ToString(t.VpcId) == n.VPCID:
				main = &tables[i]
			}
		}
	}
	if own == nil {
		own = main
	}
	return own != nil && slices.ContainsFunc(own.Routes, func(r types.Route) bool {
		return aws.ToString(r.DestinationCidrBlock) == "0.0.0.0/0" && strings.HasPrefix(aws.ToString(r.GatewayId), "igw-") && r.State != types.RouteStateBlackhole
	})
}

// offering are the networks in whose zones EC2 offers an instance type. Where it does not say, all are: RunInstances will.
func (c *Client) offering(ctx context.Context, networks []Network, instanceType string) []Network {
	if len(networks) == 0 || instanceType == "" {
		return networks
	}
	zones, err := c.ZonesOffering(ctx, instanceType)
	if err != nil {
		return networks
	}
	return slices.DeleteFunc(slices.Clone(networks), func(n Network) bool { return !slices.Contains(zones, n.Zone) })
}

// StackZones returns the names of the zones in which the stack of an application has subnets, in order.
func (c *Client) StackZones(ctx context.Context, app string) ([]string, error) {
	subnets, err := c.subnets(ctx, filter("tag:"+tag.App, app))
	var zones []string
	for _, s := range subnets {
		zones = append(zones, aws.ToString(s.AvailabilityZone))
	}
	return slices.Compact(zones), err
}

// ZonesOffering returns the names of the zones in which EC2 offers an instance type, in order.
func (c *Client) ZonesOffering(ctx context.Context, instanceType string) ([]string, error) {
	out, err := c.api.DescribeInstanceTypeOfferings(ctx, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: types.LocationTypeAvailabilityZone, Filters: []types.Filter{filter("instance-type", instanceType)},
	})
	if err != nil {
		return nil, fmt.Errorf("find the zones that offer %s: %w", instanceType, err)
	}
	var zones []string
	for _, o := range out.InstanceTypeOfferings {
		zones = append(zones, aws.ToString(o.Location))
	}
	slices.Sort(zones)
	return zones, nil
}
