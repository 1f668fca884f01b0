package ec2

import (
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
		for _, tag := range must(c.client.DescribeTags(ctx, &sdk.DescribeTagsInput{}))(t).Tags {
			got[*tag.ResourceId+" "+*tag.Key] = *tag.Value
		}
		return got
	}
	for _, err := range []error{create("a", "1", group, other), create("b", "2", group), create("a", "3", group)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	refused(t, create("c", "4", group, "sg-none"), "InvalidGroup.NotFound", "sg-none")
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
