package ami

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
)

type fakeEC2 struct {
	pages      []*ec2.DescribeImagesOutput
	asked      []*ec2.DescribeImagesInput
	did        []string
	deregister error
}

func (f *fakeEC2) DescribeImages(_ context.Context, in *ec2.DescribeImagesInput, _ ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	copied := *in
	f.asked = append(f.asked, &copied)
	page := f.pages[0]
	f.pages = f.pages[1:]
	return page, nil
}

func (f *fakeEC2) CreateTags(_ context.Context, in *ec2.CreateTagsInput, _ ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error) {
	for _, r := range in.Resources {
		for _, tag := range in.Tags {
			f.did = append(f.did, "tag "+r+" "+*tag.Key+"="+*tag.Value)
		}
	}
	return nil, nil
}

func (f *fakeEC2) DeregisterImage(_ context.Context, in *ec2.DeregisterImageInput, _ ...func(*ec2.Options)) (*ec2.DeregisterImageOutput, error) {
	f.did = append(f.did, "deregister "+*in.ImageId)
	return nil, f.deregister
}

func (f *fakeEC2) DeleteSnapshot(_ context.Context, in *ec2.DeleteSnapshotInput, _ ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error) {
	f.did = append(f.did, "delete "+*in.SnapshotId)
	return nil, nil
}

func image(id, created string, snapshots ...string) types.Image {
	i := types.Image{ImageId: &id, Name: aws.String("name-" + id), CreationDate: &created, State: types.ImageStateAvailable,
		Tags: []types.Tag{{Key: aws.String(TagApp), Value: aws.String("hello")}}}
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
	got, err := New(f).Newest(t.Context(), "136693071363", "debian-13-*", "x86_64")
	if err != nil {
		t.Fatal(err)
	}
	want := Image{ID: "ami-2", Name: "name-ami-2", State: "available", Tags: map[string]string{TagApp: "hello"},
		Created: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Snapshots: []string{"snap-2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(f.asked) != 2 || aws.ToString(f.asked[1].NextToken) != "more" || f.asked[0].Owners[0] != "136693071363" {
		t.Errorf("asked %+v", f.asked)
	}
}

func TestNotFound(t *testing.T) {
	calls := map[string]func(*Catalogue) error{
		"newest": func(c *Catalogue) error { _, err := c.Newest(t.Context(), "self", "x", "arm64"); return err },
		"find":   func(c *Catalogue) error { _, err := c.Find(t.Context(), "hello", Base, "f00"); return err },
		"named":  func(c *Catalogue) error { _, err := c.Named(t.Context(), "x"); return err },
		"get":    func(c *Catalogue) error { _, err := c.Get(t.Context(), "ami-1"); return err },
	}
	for name, call := range calls {
		err := call(New(&fakeEC2{pages: []*ec2.DescribeImagesOutput{{}}}))
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

func TestTagReachesSnapshots(t *testing.T) {
	f := &fakeEC2{}
	if err := New(f).Tag(t.Context(), Image{ID: "ami-1", Snapshots: []string{"snap-1"}}, map[string]string{"b": "2", "a": "1"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"tag ami-1 a=1", "tag ami-1 b=2", "tag snap-1 a=1", "tag snap-1 b=2"}
	if diff := cmp.Diff(want, f.did); diff != "" {
		t.Error(diff)
	}
}

func TestRemove(t *testing.T) {
	f := &fakeEC2{}
	if err := New(f).Remove(t.Context(), Image{ID: "ami-1", Snapshots: []string{"snap-1", "snap-2"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"deregister ami-1", "delete snap-1", "delete snap-2"}, f.did); diff != "" {
		t.Error(diff)
	}
	f = &fakeEC2{deregister: errors.New("in use")}
	if err := New(f).Remove(t.Context(), Image{ID: "ami-1", Snapshots: []string{"snap-1"}}); err == nil || len(f.did) != 1 {
		t.Errorf("error = %v after %v", err, f.did)
	}
}
