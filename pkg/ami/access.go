package ami

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

const sshPort = 22

// AllowSSH makes a security group that lets these addresses, in CIDR notation, reach SSH, in a VPC or, where that is empty,
// in the default one. It returns the group's ID, with an error as well where it was made and could not be finished.
// Packer's own temporary groups will not do: before 1.7 it tags none, so that nobody could tell whose they are.
func (c *Client) AllowSSH(ctx context.Context, name, vpc string, cidrs []string, tags map[string]string) (group string, err error) {
	spec := types.TagSpecification{ResourceType: types.ResourceTypeSecurityGroup, Tags: tagList(tags)}
	in := &ec2.CreateSecurityGroupInput{
		GroupName: aws.String("bake " + name), Description: aws.String("SSH for Packer while it bakes " + name),
		TagSpecifications: []types.TagSpecification{spec},
	}
	if vpc != "" {
		in.VpcId = aws.String(vpc)
	}
	out, err := c.api.CreateSecurityGroup(ctx, in)
	if err != nil {
		return "", fmt.Errorf("create security group: %w", err)
	}
	ssh := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(sshPort), ToPort: aws.Int32(sshPort)}
	for _, cidr := range cidrs {
		if strings.Contains(cidr, ":") {
			ssh.Ipv6Ranges = append(ssh.Ipv6Ranges, types.Ipv6Range{CidrIpv6: aws.String(cidr)})
		} else {
			ssh.IpRanges = append(ssh.IpRanges, types.IpRange{CidrIp: aws.String(cidr)})
		}
	}
	group = aws.ToString(out.GroupId)
	const unknown = "InvalidGroup.NotFound" // EC2 may not know yet what it has just made
	err = retryWhile(ctx, unknown, func() error {
		_, err := c.api.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
			GroupId: out.GroupId, IpPermissions: []types.IpPermission{ssh},
		})
		return err
	})
	if err != nil {
		return group, fmt.Errorf("open port %d in security group %s: %w", sshPort, group, err)
	}
	// Packer looks at the group once and gives up where it sees none.
	err = retryWhile(ctx, unknown, func() error {
		_, err := c.api.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupIds: []string{group}})
		return err
	})
	if err != nil {
		return group, fmt.Errorf("find security group %s: %w", group, err)
	}
	return group, nil
}
