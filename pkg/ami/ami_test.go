package ami

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/tag"
)

// fakeEC2 is an EC2 that answers from lists, and remembers what is done to it.
type fakeEC2 struct {
	pages     []*ec2.DescribeImagesOutput
	asked     []*ec2.DescribeImagesInput
	snapshots []types.Snapshot
	instances []types.Instance
	groups    []types.SecurityGroup
	keys      []string
	network   network

	fail map[string][]error // what calls answer, by what they do, before they succeed
	did  []string
}

// do remembers what is done and tells how it ends.
func (f *fakeEC2) do(what string) error {
	f.did = append(f.did, what)
	if answers := f.fail[what]; len(answers) > 0 {
		f.fail[what] = answers[1:]
		return answers[0]
	}
	return nil
}

func (f *fakeEC2) DescribeImages(_ context.Context, in *ec2.DescribeImagesInput, _ ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	copied := *in
	f.asked = append(f.asked, &copied)
	if len(f.pages) == 0 {
		return &ec2.DescribeImagesOutput{}, nil
	}
	page := f.pages[0]
	f.pages = f.pages[1:]
	return page, nil
}

func (f *fakeEC2) CreateTags(_ context.Context, in *ec2.CreateTagsInput, _ ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error) {
	var errs []error
	for _, r := range in.Resources {
		for _, tag := range in.Tags {
			errs = append(errs, f.do("tag "+r+" "+*tag.Key+"="+*tag.Value))
		}
	}
	return nil, errors.Join(errs...)
}

func (f *fakeEC2) DeregisterImage(_ context.Context, in *ec2.DeregisterImageInput, _ ...func(*ec2.Options)) (*ec2.DeregisterImageOutput, error) {
	return nil, f.do("deregister " + *in.ImageId)
}

// DescribeSnapshots knows the filters for a description, as "*ami-1*", and for tags.
func (f *fakeEC2) DescribeSnapshots(_ context.Context, in *ec2.DescribeSnapshotsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error) {
	out := &ec2.DescribeSnapshotsOutput{}
	for _, s := range f.snapshots {
		if *in.Filters[0].Name != "description" || strings.Contains(aws.ToString(s.Description), strings.Trim(in.Filters[0].Values[0], "*")) {
			out.Snapshots = append(out.Snapshots, s)
		}
	}
	return out, nil
}

func (f *fakeEC2) DeleteSnapshot(_ context.Context, in *ec2.DeleteSnapshotInput, _ ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error) {
	return nil, f.do("delete " + *in.SnapshotId)
}

// failing answers with an error of the API.
func failing(code string) error { return &smithy.GenericAPIError{Code: code} }

func image(id, created string, snapshots ...string) types.Image {
	i := types.Image{ImageId: &id, Name: aws.String("name-" + id), CreationDate: &created, State: types.ImageStateAvailable,
		Tags: []types.Tag{{Key: aws.String(tag.App), Value: aws.String("hello")}}}
	for _, s := range snapshots {
		i.BlockDeviceMappings = append(i.BlockDeviceMappings, types.BlockDeviceMapping{Ebs: &types.EbsBlockDevice{SnapshotId: &s}})
	}
	return i
}

func TestNewestReadsAllPages(t *testing.T) {
	f := &fakeEC2{pages: []*ec2.DescribeImagesOutput{
		{Images: []types.Image{image("ami-1", "2026-01-01T00:00:00.000Z")}, NextToken: aws.String("more")},
		{Images: []types.Image{image("ami-2", "2026-03-01T00:00:00.000Z", "snap-2"), image("ami-3", "2026-02-01T00:00:00.000Z")}},
	}}
	got, err := (&Client{api: f}).Newest(t.Context(), "136693071363", "debian-13-*", "x86_64")
	if err != nil {
		t.Fatal(err)
	}
	want := Image{ID: "ami-2", Name: "name-ami-2", State: "available", Tags: map[string]string{tag.App: "hello"},
		Created: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Snapshots: []string{"snap-2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(f.asked) != 2 || aws.ToString(f.asked[1].NextToken) != "more" || f.asked[0].Owners[0] != "136693071363" {
		t.Errorf("asked %+v", f.asked)
	}
}

func TestNotFound(t *testing.T) {
	calls := map[string]func(*Client) error{
		"newest": func(c *Client) error { _, err := c.Newest(t.Context(), "self", "x", "arm64"); return err },
		"find":   func(c *Client) error { _, err := c.Find(t.Context(), "hello", provision.Base, "f00"); return err },
		"get":    func(c *Client) error { _, err := c.Get(t.Context(), "ami-1"); return err },
	}
	for name, call := range calls {
		err := call((&Client{api: &fakeEC2{pages: []*ec2.DescribeImagesOutput{{}}}}))
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

func TestTagReachesSnapshots(t *testing.T) {
	f := &fakeEC2{}
	if err := (&Client{api: f}).Tag(t.Context(), Image{ID: "ami-1", Snapshots: []string{"snap-1"}}, map[string]string{"b": "2", "a": "1"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"tag ami-1 a=1", "tag ami-1 b=2", "tag snap-1 a=1", "tag snap-1 b=2"}
	if diff := cmp.Diff(want, f.did); diff != "" {
		t.Error(diff)
	}
}

// What EC2 has just made and does not know yet is tagged a moment later.
func TestTagWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const first = "tag ami-1 a=1"
		f := &fakeEC2{fail: map[string][]error{first: {failing("InvalidAMIID.NotFound"), failing("InvalidSnapshot.NotFound")}}}
		if err := (&Client{api: f}).Tag(t.Context(), Image{ID: "ami-1"}, map[string]string{"a": "1"}); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{first, first, first}, f.did); diff != "" {
			t.Error(diff)
		}
		f = &fakeEC2{fail: map[string][]error{first: slices.Repeat([]error{failing("InvalidAMIID.NotFound")}, 100)}}
		began := time.Now()
		if err := (&Client{api: f}).Tag(t.Context(), Image{ID: "ami-1"}, map[string]string{"a": "1"}); errorCode(err) != "InvalidAMIID.NotFound" || time.Since(began) != lagLimit {
			t.Errorf("gave up after %s with %v", time.Since(began), err)
		}
	})
}

func TestDeregister(t *testing.T) {
	denied := errors.New("denied")
	taken := Image{ID: "ami-1", Snapshots: []string{"snap-1", "snap-2"}, Tags: map[string]string{tag.App: "hello", tag.Run: "r"}}
	tests := map[string]struct {
		image Image
		world fakeEC2
		want  []string
		err   error
	}{
		"with its snapshots": {image: taken, want: []string{
			"tag ami-1 ingot:app=hello", "tag ami-1 ingot:run=r", "tag snap-1 ingot:app=hello", "tag snap-1 ingot:run=r",
			"tag snap-2 ingot:app=hello", "tag snap-2 ingot:run=r", "deregister ami-1", "delete snap-1", "delete snap-2",
		}},
		"pending": {image: Image{ID: "ami-1"}, want: []string{"deregister ami-1", "delete snap-9"}, world: fakeEC2{snapshots: []types.Snapshot{
			{SnapshotId: aws.String("snap-8"), Description: aws.String("Created by CreateImage(i-1) for ami-2")},
			{SnapshotId: aws.String("snap-9"), Description: aws.String("Created by CreateImage(i-1) for ami-1")},
		}}},
		"gone": {image: Image{ID: "ami-1", Snapshots: []string{"snap-1"}}, want: []string{"deregister ami-1", "delete snap-1"}, world: fakeEC2{fail: map[string][]error{
			"deregister ami-1": {failing("InvalidAMIID.Unavailable")}, "delete snap-1": {failing("InvalidSnapshot.NotFound")},
		}}},
		"in use for a moment": {image: Image{ID: "ami-1", Snapshots: []string{"snap-1"}}, want: []string{"deregister ami-1", "delete snap-1", "delete snap-1"},
			world: fakeEC2{fail: map[string][]error{"delete snap-1": {failing("InvalidSnapshot.InUse")}}}},
		"refused": {image: Image{ID: "ami-1", Snapshots: []string{"snap-1"}}, want: []string{"deregister ami-1"}, err: denied,
			world: fakeEC2{fail: map[string][]error{"deregister ami-1": {denied}}}},
		"one snapshot refused": {image: Image{ID: "ami-1", Snapshots: []string{"snap-1", "snap-2"}}, want: []string{"deregister ami-1", "delete snap-1", "delete snap-2"}, err: denied,
			world: fakeEC2{fail: map[string][]error{"delete snap-1": {denied}}}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := (&Client{api: &tc.world}).Deregister(t.Context(), tc.image); !errors.Is(err, tc.err) {
					t.Errorf("error = %v, want %v", err, tc.err)
				}
				if diff := cmp.Diff(tc.want, tc.world.did); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
