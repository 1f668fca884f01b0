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

		must(c.client.EnableImageDeregistrationProtection(ctx, &sdk.EnableImageDeregistrationProtectionInput{ImageId: &id}))(t)
		_, err = c.client.DeregisterImage(ctx, &sdk.DeregisterImageInput{ImageId: &id})
		refused(t, err, "OperationNotPermitted", "protection")
		must(c.client.DisableImageDeregistrationProtection(ctx, &sdk.DisableImageDeregistrationProtectionInput{ImageId: &id}))(t)
		at := time.Now().Add(24 * time.Hour)
		must(c.client.EnableImageDeprecation(ctx, &sdk.EnableImageDeprecationInput{ImageId: &id, DeprecateAt: &at}))(t)
		if got := c.image(id); got.DeprecationTime == nil {
			t.Errorf("image %+v", got)
		}
		must(c.client.ModifyImageAttribute(ctx, &sdk.ModifyImageAttributeInput{ImageId: &id, Description: &types.AttributeValue{Value: aws.String("text")},
			LaunchPermission: &types.LaunchPermissionModifications{Add: []types.LaunchPermission{{UserId: aws.String("000000000002")}}}}))(t)
		permissions := must(c.client.DescribeImageAttribute(ctx, &sdk.DescribeImageAttributeInput{ImageId: &id, Attribute: "launchPermission"}))(t)
		if len(permissions.LaunchPermissions) != 1 || *c.image(id).Description != "text" {
			t.Errorf("permissions %+v", permissions.LaunchPermissions)
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
		_, err = c.client.CopyImage(t.Context(), &sdk.CopyImageInput{Name: aws.String("copy"), SourceImageId: &id, SourceRegion: aws.String("us-west-1")})
		refused(t, err, "InvalidAction", "CopyImage")
	})
}
