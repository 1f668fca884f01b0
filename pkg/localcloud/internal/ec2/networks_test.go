package ec2

import (
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
)

// TestTerraformSequence makes a network, and takes it apart, in the order that Terraform does.
func TestTerraformSequence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		ctx := t.Context()
		vpcID := must(c.client.CreateVpc(ctx, &sdk.CreateVpcInput{
			CidrBlock: aws.String("10.20.0.0/16"), InstanceTenancy: "default",
			TagSpecifications: []types.TagSpecification{{ResourceType: "vpc", Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("v")}}}},
		}))(t).Vpc.VpcId
		must(c.client.ModifyVpcAttribute(ctx, &sdk.ModifyVpcAttributeInput{
			VpcId: vpcID, EnableDnsHostnames: &types.AttributeBooleanValue{Value: aws.Bool(true)},
		}))(t)
		hostnames := must(c.client.DescribeVpcAttribute(ctx, &sdk.DescribeVpcAttributeInput{VpcId: vpcID, Attribute: "enableDnsHostnames"}))(t)
		if !*hostnames.EnableDnsHostnames.Value {
			t.Error("DNS host names stayed off")
		}
		ofVPC := []types.Filter{{Name: aws.String("vpc-id"), Values: []string{*vpcID}}}
		main := must(c.client.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: append([]types.Filter{
			{Name: aws.String("association.main"), Values: []string{"true"}},
		}, ofVPC...)}))(t)
		if len(main.RouteTables) != 1 || !*main.RouteTables[0].Associations[0].Main || *main.RouteTables[0].Routes[0].GatewayId != "local" {
			t.Errorf("main route table %+v", main.RouteTables)
		}
		acls := must(c.client.DescribeNetworkAcls(ctx, &sdk.DescribeNetworkAclsInput{Filters: ofVPC}))(t)
		if len(acls.NetworkAcls) != 1 || len(acls.NetworkAcls[0].Entries) != 4 {
			t.Errorf("network ACLs %+v", acls.NetworkAcls)
		}

		subnet := must(c.client.CreateSubnet(ctx, &sdk.CreateSubnetInput{VpcId: vpcID, CidrBlock: aws.String("10.20.1.0/24"), AvailabilityZone: aws.String("us-west-1b")}))(t).Subnet
		if *subnet.AvailableIpAddressCount != 251 || *subnet.AvailabilityZoneId != "usw1-az2" {
			t.Errorf("subnet %+v", subnet)
		}
		for cidr, code := range map[string]string{
			"10.20.1.128/25": "InvalidSubnet.Conflict", "10.21.0.0/24": "InvalidSubnet.Range", "10.20.2.0/29": "InvalidSubnet.Range",
			"nonsense": "InvalidParameterValue",
		} {
			_, err := c.client.CreateSubnet(ctx, &sdk.CreateSubnetInput{VpcId: vpcID, CidrBlock: &cidr})
			refused(t, err, code, cidr)
		}
		_, err := c.client.CreateSubnet(ctx, &sdk.CreateSubnetInput{VpcId: vpcID, CidrBlock: aws.String("10.20.9.0/24"), AvailabilityZone: aws.String("mars-1a")})
		refused(t, err, "InvalidParameterValue", "us-west-1a, us-west-1b, us-west-1c")
		must(c.client.ModifySubnetAttribute(ctx, &sdk.ModifySubnetAttributeInput{
			SubnetId: subnet.SubnetId, MapPublicIpOnLaunch: &types.AttributeBooleanValue{Value: aws.Bool(true)},
		}))(t)

		gateway := must(c.client.CreateInternetGateway(ctx, &sdk.CreateInternetGatewayInput{}))(t).InternetGateway.InternetGatewayId
		table := must(c.client.CreateRouteTable(ctx, &sdk.CreateRouteTableInput{VpcId: vpcID}))(t).RouteTable.RouteTableId
		route := &sdk.CreateRouteInput{RouteTableId: table, DestinationCidrBlock: aws.String("0.0.0.0/0"), GatewayId: gateway}
		_, err = c.client.CreateRoute(ctx, route)
		refused(t, err, "InvalidParameterValue", "different networks")
		must(c.client.AttachInternetGateway(ctx, &sdk.AttachInternetGatewayInput{InternetGatewayId: gateway, VpcId: vpcID}))(t)
		_, err = c.client.AttachInternetGateway(ctx, &sdk.AttachInternetGatewayInput{InternetGatewayId: gateway, VpcId: vpcID})
		refused(t, err, "Resource.AlreadyAssociated", *gateway)
		must(c.client.CreateRoute(ctx, route))(t)
		association := must(c.client.AssociateRouteTable(ctx, &sdk.AssociateRouteTableInput{RouteTableId: table, SubnetId: subnet.SubnetId}))(t).AssociationId

		i := c.run(func(in *sdk.RunInstancesInput) { in.SubnetId = subnet.SubnetId })
		if i.PublicIpAddress == nil || *i.VpcId != *vpcID || *i.SecurityGroups[0].GroupName != "default" {
			t.Errorf("instance %+v", i)
		}
		interfaces := must(c.client.DescribeNetworkInterfaces(ctx, &sdk.DescribeNetworkInterfacesInput{Filters: []types.Filter{
			{Name: aws.String("group-id"), Values: []string{*i.SecurityGroups[0].GroupId}},
		}}))(t)
		if len(interfaces.NetworkInterfaces) != 1 || *interfaces.NetworkInterfaces[0].Attachment.InstanceId != *i.InstanceId {
			t.Errorf("network interfaces %+v", interfaces.NetworkInterfaces)
		}

		balancers := must(c.client.DescribeNetworkInterfaces(ctx, &sdk.DescribeNetworkInterfacesInput{Filters: []types.Filter{
			{Name: aws.String("attachment.instance-owner-id"), Values: []string{"amazon-elb"}},
		}}))(t)
		if len(balancers.NetworkInterfaces) > 0 {
			t.Errorf("network interfaces of load balancers %+v", balancers.NetworkInterfaces)
		}

		detach := &sdk.DetachInternetGatewayInput{InternetGatewayId: gateway, VpcId: vpcID}
		_, err = c.client.DetachInternetGateway(ctx, detach)
		refused(t, err, "DependencyViolation", "mapped public address")
		_, err = c.client.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: subnet.SubnetId})
		refused(t, err, "DependencyViolation", *subnet.SubnetId)
		_, err = c.client.DeleteRouteTable(ctx, &sdk.DeleteRouteTableInput{RouteTableId: table})
		refused(t, err, "DependencyViolation", *table)
		_, err = c.client.DeleteInternetGateway(ctx, &sdk.DeleteInternetGatewayInput{InternetGatewayId: gateway})
		refused(t, err, "DependencyViolation", *gateway)
		_, err = c.client.DeleteVpc(ctx, &sdk.DeleteVpcInput{VpcId: vpcID})
		refused(t, err, "DependencyViolation", *vpcID)
		must(c.client.TerminateInstances(ctx, &sdk.TerminateInstancesInput{InstanceIds: []string{*i.InstanceId}}))(t)
		c.settle()
		must(c.client.DisassociateRouteTable(ctx, &sdk.DisassociateRouteTableInput{AssociationId: association}))(t)
		must(c.client.DeleteRouteTable(ctx, &sdk.DeleteRouteTableInput{RouteTableId: table}))(t)
		must(c.client.DetachInternetGateway(ctx, detach))(t)
		must(c.client.DeleteInternetGateway(ctx, &sdk.DeleteInternetGatewayInput{InternetGatewayId: gateway}))(t)
		must(c.client.DeleteSubnet(ctx, &sdk.DeleteSubnetInput{SubnetId: subnet.SubnetId}))(t)
		must(c.client.DeleteVpc(ctx, &sdk.DeleteVpcInput{VpcId: vpcID}))(t)
		_, err = c.client.DescribeVpcs(ctx, &sdk.DescribeVpcsInput{VpcIds: []string{*vpcID}})
		refused(t, err, "InvalidVpcID.NotFound", *vpcID)
		left := must(c.client.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{Filters: ofVPC}))(t)
		if len(left.SecurityGroups) > 0 {
			t.Errorf("the VPC left %+v", left.SecurityGroups)
		}
	})
}

func TestDefaultNetwork(t *testing.T) {
	c := start(t)
	subnets := must(c.client.DescribeSubnets(t.Context(), &sdk.DescribeSubnetsInput{
		Filters: []types.Filter{{Name: aws.String("default-for-az"), Values: []string{"true"}}},
	}))(t)
	got := map[string]string{}
	for _, n := range subnets.Subnets {
		got[*n.AvailabilityZone] = *n.CidrBlock
	}
	want := map[string]string{"us-west-1a": "172.31.0.0/20", "us-west-1b": "172.31.16.0/20", "us-west-1c": "172.31.32.0/20"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("default subnets (-want +got):\n%s", diff)
	}
	zones := must(c.client.DescribeAvailabilityZones(t.Context(), &sdk.DescribeAvailabilityZonesInput{}))(t)
	if len(zones.AvailabilityZones) != 3 {
		t.Errorf("zones %+v", zones.AvailabilityZones)
	}
}

func TestShortRegion(t *testing.T) {
	for region, want := range map[string]string{
		"us-west-1": "usw1", "ap-southeast-2": "apse2", "eu-central-1": "euc1", "us-gov-west-1": "usgw1",
	} {
		if got := shortRegion(region); got != want {
			t.Errorf("shortRegion(%q) = %q, want %q", region, got, want)
		}
	}
}

func TestCreateDefaultVPC(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	_, err := c.client.CreateDefaultVpc(ctx, &sdk.CreateDefaultVpcInput{})
	refused(t, err, "DefaultVpcAlreadyExists", "vpc-")
	if err := c.service.change(func() error { clear(c.service.state.VPCs); clear(c.service.state.Subnets); return nil }); err != nil {
		t.Fatal(err)
	}
	made := must(c.client.CreateDefaultVpc(ctx, &sdk.CreateDefaultVpcInput{}))(t).Vpc
	subnets := must(c.client.DescribeSubnets(ctx, &sdk.DescribeSubnetsInput{}))(t).Subnets
	if !*made.IsDefault || *made.CidrBlock != "172.31.0.0/16" || len(subnets) != 3 || !*subnets[0].MapPublicIpOnLaunch || *subnets[0].VpcId != *made.VpcId {
		t.Errorf("VPC %+v, subnets %+v", made, subnets)
	}
}
