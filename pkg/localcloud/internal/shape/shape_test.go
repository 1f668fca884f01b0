package shape

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	const all = "no-default-vpc vcpus=5 zone-without-type=us-west-1b:t3.micro zone-without-type=us-west-1c:t3.micro root=/dev/sda1 ebs-key=customer"
	tests := map[string]struct {
		want Shape
		text string
	}{
		"":                            {},
		"  vcpus=8   no-default-vpc ": {Shape{NoDefaultVPC: true, VCPUs: 8}, "no-default-vpc vcpus=8"},
		all: {Shape{
			NoDefaultVPC: true, VCPUs: 5, Root: "/dev/sda1", CustomerKey: true,
			Lacking: []ZoneType{{"us-west-1b", "t3.micro"}, {"us-west-1c", "t3.micro"}},
		}, all},
	}
	for text, tc := range tests {
		got, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		if got.String() != tc.text {
			t.Errorf("%q as text is %q, want %q", text, got, tc.text)
		}
	}
	for text, want := range map[string]string{
		"small": "known are", "vcpus": "a number", "vcpus=0": "a number", "no-default-vpc=yes": "takes no value",
		"zone-without-type=us-west-1b": "a zone and an instance type", "root=sda1": "a device's name", "ebs-key=aws": "ebs-key=customer",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	like, other := Shape{}, Shape{VCPUs: 5, Root: "/dev/sda1", Lacking: []ZoneType{{"us-west-1b", "t3.micro"}}}
	got := []any{like.Quota(), like.RootDevice(), like.Offers("us-west-1b", "t3.micro"), other.Quota(), other.RootDevice(),
		other.Offers("us-west-1b", "t3.micro"), other.Offers("us-west-1b", "t3.small"), other.Offers("us-west-1a", "t3.micro")}
	want := []any{DefaultVCPUs, DefaultRoot, true, 5, "/dev/sda1", false, true, true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
