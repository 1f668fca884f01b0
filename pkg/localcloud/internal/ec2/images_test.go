package ec2

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func (c *cloud) image(id string) types.Image {
	c.t.Helper()
	return must(c.client.DescribeImages(c.t.Context(), &sdk.DescribeImagesInput{ImageIds: []string{id}}))(c.t).Images[0]
}

func (c *cloud) bake(in *sdk.CreateImageInput) string {
	c.t.Helper()
	id := *must(c.client.CreateImage(c.t.Context(), in))(c.t).ImageId
	c.settle()
	return id
}

func TestSourceImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		id := c.sourceAMI()
		i := c.image(id)
		if *i.Name != "debian-13-amd64-20251117-2299" || i.Architecture != "x86_64" || !*i.Public || *i.CreationDate != "2025-11-17T09:00:00.000Z" ||
			*i.RootDeviceName != "/dev/xvda" || *i.BlockDeviceMappings[0].Ebs.VolumeSize != 8 || *i.BlockDeviceMappings[0].Ebs.SnapshotId == "" {
			t.Errorf("image %+v", i)
		}
		c.restart()
		if again := c.sourceAMI(); again != id {
			t.Errorf("the ID was %s, and %s after a restart", id, again)
		}
		for _, in := range []*sdk.DescribeImagesInput{
			{Owners: []string{"self"}},
			{Owners: []string{"amazon"}},
			{Owners: []string{debianOwner}, Filters: []types.Filter{{Name: aws.String("name"), Values: []string{"debian-12-*"}}}},
			{Filters: []types.Filter{{Name: aws.String("is-public"), Values: []string{"false"}}}},
		} {
			if out := must(c.client.DescribeImages(t.Context(), in))(t); len(out.Images) > 0 {
				t.Errorf("images for %+v: %+v", in, out.Images)
			}
		}
		_, err := c.client.DeregisterImage(t.Context(), &sdk.DeregisterImageInput{ImageId: &id})
		refused(t, err, "AuthFailure", id)
	})
}

func TestImageLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		ctx := t.Context()
		i := c.run(nil)
		// It runs: it is stopped for the image and started again, and looks running all the while.
		c.compute.StopDelay, c.compute.CommitDelay = time.Second, time.Second
		in := &sdk.CreateImageInput{InstanceId: i.InstanceId, Name: aws.String("hello-1"), TagSpecifications: []types.TagSpecification{
			{ResourceType: "image", Tags: []types.Tag{{Key: aws.String("ingot:app"), Value: aws.String("hello")}}},
			{ResourceType: "snapshot", Tags: []types.Tag{{Key: aws.String("ingot:app"), Value: aws.String("hello")}}},
		}}
		id := c.bake(in)
		if got := c.image(id); got.State != "available" || *got.SourceImageId != *i.ImageId || len(got.Tags) != 1 {
			t.Errorf("image %+v", got)
		}
		if got := c.instance(*i.InstanceId); got.State.Name != "running" {
			t.Errorf("the instance is %s", got.State.Name)
		}
		if m, _ := c.compute.Inspect(ctx, *i.InstanceId); m.State != "running" {
			t.Errorf("its machine is %s", m.State)
		}
		_, err := c.client.CreateImage(ctx, in)
		refused(t, err, "InvalidAMIName.Duplicate", id)
		if len(c.compute.Images()) != 1 {
			t.Errorf("machine images %v", c.compute.Images())
		}

		must(c.client.ModifyImageAttribute(ctx, &sdk.ModifyImageAttributeInput{ImageId: &id, Description: &types.AttributeValue{Value: aws.String("text")}}))(t)
		if got := c.image(id); *got.Description != "text" {
			t.Errorf("description %s", *got.Description)
		}

		snapshots := must(c.client.DescribeSnapshots(ctx, &sdk.DescribeSnapshotsInput{OwnerIds: []string{"self"}}))(t).Snapshots
		if len(snapshots) != 1 || snapshots[0].State != "completed" {
			t.Fatalf("snapshots %+v", snapshots)
		}
		_, err = c.client.DeleteSnapshot(ctx, &sdk.DeleteSnapshotInput{SnapshotId: snapshots[0].SnapshotId})
		refused(t, err, "InvalidSnapshot.InUse", id)
		must(c.client.DeregisterImage(ctx, &sdk.DeregisterImageInput{ImageId: &id}))(t)
		synctest.Wait()
		if len(c.compute.Images()) != 1 {
			t.Error("the machine image went before its snapshot")
		}
		must(c.client.DeleteSnapshot(ctx, &sdk.DeleteSnapshotInput{SnapshotId: snapshots[0].SnapshotId}))(t)
		synctest.Wait()
		if len(c.compute.Images()) != 0 {
			t.Errorf("machine images %v", c.compute.Images())
		}
		_, err = c.client.DescribeImages(ctx, &sdk.DescribeImagesInput{ImageIds: []string{id}})
		refused(t, err, "InvalidAMIID.NotFound", id)

		in.Name = aws.String("hello-2")
		id = c.bake(in)
		must(c.client.DeregisterImage(ctx, &sdk.DeregisterImageInput{ImageId: &id, DeleteAssociatedSnapshots: aws.Bool(true)}))(t)
		synctest.Wait()
		if len(c.compute.Images()) != 0 {
			t.Errorf("machine images %v", c.compute.Images())
		}
	})
}

func TestImageFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		i := c.run(nil)
		id := c.bake(&sdk.CreateImageInput{InstanceId: i.InstanceId, Name: aws.String("hello-1"), NoReboot: aws.Bool(true)})
		if got := c.image(id); got.State != "failed" || !strings.Contains(*got.StateReason.Message, "stop it first") {
			t.Errorf("of a running instance: %s, %+v", got.State, got.StateReason)
		}
		c.compute.FailCommit = func(string, string) error { return errors.New("disk full") }
		id = c.bake(&sdk.CreateImageInput{InstanceId: i.InstanceId, Name: aws.String("hello-2")})
		if got := c.image(id); got.State != "failed" || !strings.Contains(*got.StateReason.Message, "disk full") {
			t.Errorf("without space: %s, %+v", got.State, got.StateReason)
		}
		if got := c.instance(*i.InstanceId); got.State.Name != "running" {
			t.Errorf("the instance is %s", got.State.Name)
		}
		_, err := c.client.RunInstances(t.Context(), &sdk.RunInstancesInput{
			ImageId: &id, InstanceType: "t3.micro", MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		})
		refused(t, err, "InvalidAMIID.Unavailable", "failed")
		_, err = c.client.CreateImage(t.Context(), &sdk.CreateImageInput{InstanceId: i.InstanceId, Name: aws.String("a*")})
		refused(t, err, "InvalidAMIName.Malformed", "")
		_, err = c.client.RegisterImage(t.Context(), &sdk.RegisterImageInput{Name: aws.String("copy")})
		refused(t, err, "InvalidAction", "RegisterImage")
	})
}

// TestCopyImage copies an image, which outlives the one that it was made of.
func TestCopyImage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		ctx := t.Context()
		id := c.bake(&sdk.CreateImageInput{
			InstanceId: c.run(nil).InstanceId, Name: aws.String("hello-1"),
			TagSpecifications: []types.TagSpecification{{ResourceType: "image", Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}}},
		})
		in := &sdk.CopyImageInput{
			Name: aws.String("hello-copy"), SourceImageId: &id, SourceRegion: aws.String("us-west-1"), ClientToken: aws.String("token"),
			Description: aws.String("text"), Encrypted: aws.Bool(true), CopyImageTags: aws.Bool(true),
		}
		made := *must(c.client.CopyImage(ctx, in))(t).ImageId
		if again := *must(c.client.CopyImage(ctx, in))(t).ImageId; again != made {
			t.Errorf("the same call makes %s and %s", made, again)
		}
		got := c.image(made)
		if got.State != "available" || *got.SourceImageId != id || *got.Description != "text" || len(got.Tags) != 1 ||
			!*got.BlockDeviceMappings[0].Ebs.Encrypted || *got.BlockDeviceMappings[0].Ebs.SnapshotId == *c.image(id).BlockDeviceMappings[0].Ebs.SnapshotId {
			t.Errorf("copy %+v", got)
		}
		in.ClientToken = nil
		_, err := c.client.CopyImage(ctx, in)
		refused(t, err, "InvalidAMIName.Duplicate", made)
		in.SourceRegion = aws.String("eu-west-1")
		_, err = c.client.CopyImage(ctx, in)
		refused(t, err, "InvalidRequest", "eu-west-1")
		in.SourceRegion, in.SourceImageId, in.Name = aws.String("us-west-1"), aws.String("ami-00000000"), aws.String("other")
		_, err = c.client.CopyImage(ctx, in)
		refused(t, err, "InvalidAMIID.NotFound", "ami-00000000")
		for n, image := range []string{id, made} {
			must(c.client.DeregisterImage(ctx, &sdk.DeregisterImageInput{ImageId: &image, DeleteAssociatedSnapshots: aws.Bool(true)}))(t)
			synctest.Wait()
			if left := len(c.compute.Images()); left != 1-n {
				t.Errorf("after the deregistration of %s there are %d machine images, want %d", image, left, 1-n)
			}
			if n == 0 {
				c.run(func(in *sdk.RunInstancesInput) { in.ImageId = &made })
			}
		}
	})
}
