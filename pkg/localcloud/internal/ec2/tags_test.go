package ec2

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
)

func TestTags(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	group, other := c.group("g"), c.group("other")
	create := func(key, value string, ids ...string) error {
		_, err := c.client.CreateTags(ctx, &sdk.CreateTagsInput{Resources: ids, Tags: []types.Tag{{Key: &key, Value: &value}}})
		return err
	}
	describe := func() map[string]string {
		t.Helper()
		got := map[string]string{}
		for _, g := range must(c.client.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{}))(t).SecurityGroups {
			for _, tag := range g.Tags {
				got[*g.GroupId+" "+*tag.Key] = *tag.Value
			}
		}
		return got
	}
	for _, err := range []error{create("a", "1", group, other), create("b", "2", group), create("a", "3", group)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	refused(t, create("c", "4", group, "sg-00000000"), "InvalidGroup.NotFound", "sg-00000000")
	refused(t, create("aws:c", "4", group), "InvalidParameterValue", "reserved")
	if diff := cmp.Diff(map[string]string{group + " a": "3", group + " b": "2", other + " a": "1"}, describe()); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	must(c.client.DeleteTags(ctx, &sdk.DeleteTagsInput{Resources: []string{group, other}, Tags: []types.Tag{
		{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b")},
	}}))(t)
	if diff := cmp.Diff(map[string]string{group + " a": "3"}, describe()); diff != "" {
		t.Errorf("tags after deletion (-want +got):\n%s", diff)
	}
	_, err := c.client.CreateSecurityGroup(ctx, &sdk.CreateSecurityGroupInput{
		GroupName: aws.String("third"), Description: aws.String("d"), TagSpecifications: []types.TagSpecification{{ResourceType: "instance"}},
	})
	refused(t, err, "InvalidParameterValue", "not a valid taggable resource type")
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "a", true}, {"*", "", true}, {"*", "abc", true}, {"a*c", "abbc", true}, {"a*c", "abcd", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"**a", "ba", true}, {`\*`, "*", true}, {`\*`, "a", false}, {`a\`, `a\`, true},
		{"debian-13-*", "debian-13-amd64-1", true},
	} {
		if got := glob(test.pattern, test.s); got != test.want {
			t.Errorf("glob(%q, %q) = %v", test.pattern, test.s, got)
		}
	}
}

// TestMalformedIDs asks for what there cannot be, and for what there is not.
func TestMalformedIDs(t *testing.T) {
	c := start(t)
	for _, test := range []struct{ action, parameter, prefix, malformed, absent string }{
		{"DescribeVolumes", "VolumeId.1", "vol", "InvalidVolumeID.Malformed", "InvalidVolume.NotFound"},
		{"DescribeSnapshots", "SnapshotId.1", "snap", "InvalidSnapshotID.Malformed", "InvalidSnapshot.NotFound"},
		{"DescribeLaunchTemplates", "LaunchTemplateId.1", "lt", "InvalidLaunchTemplateId.Malformed", "InvalidLaunchTemplateId.NotFound"},
		{"DescribeSecurityGroups", "GroupId.1", "sg", "InvalidGroupId.Malformed", "InvalidGroup.NotFound"},
		{"DescribeSecurityGroupRules", "SecurityGroupRuleId.1", "sgr", "InvalidSecurityGroupRuleId.Malformed", "InvalidSecurityGroupRuleId.NotFound"},
		{"DescribeRouteTables", "RouteTableId.1", "rtb", "InvalidRouteTableId.Malformed", "InvalidRouteTableID.NotFound"},
		{"DescribeNetworkInterfaces", "NetworkInterfaceId.1", "eni", "InvalidNetworkInterfaceId.Malformed", "InvalidNetworkInterfaceID.NotFound"},
		{"DescribeInstances", "InstanceId.1", "i", "InvalidInstanceID.Malformed", "InvalidInstanceID.NotFound"},
		{"DescribeImages", "ImageId.1", "ami", "InvalidAMIID.Malformed", "InvalidAMIID.NotFound"},
	} {
		for id, want := range map[string]string{
			"junk": test.malformed, test.prefix + "-1": test.malformed, "xyz-00000000": test.malformed,
			test.prefix + "-00000000": test.absent, test.prefix + "-0123456789abcdef0": test.absent,
		} {
			if status, answer := c.query(test.action, test.parameter+"="+id); status != 400 || !strings.Contains(answer, "<Code>"+want+"</Code>") {
				t.Errorf("%s %s: %d %s, want %s", test.action, id, status, answer, want)
			}
		}
	}
}
