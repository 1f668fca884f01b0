package ami

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/tag"
)

// ErrNotFound is returned where no image fits.
var ErrNotFound = errors.New("no such image")

// Image is an AMI.
type Image struct {
	ID           string
	Name         string
	State        string // as EC2 says it: pending, available, failed, …
	Architecture string
	Created      time.Time
	Tags         map[string]string // by the keys of package tag, and others
	RootDevice   string            // device name of the root volume, such as /dev/xvda
	Snapshots    []string          // the snapshots behind its volumes
}

// Stage is the stage that made the image; empty for an image that is none of Ingot's.
func (i Image) Stage() provision.Stage { return provision.Stage(i.Tags[tag.Image]) }

// Finished tells whether the image was seen to be complete.
func (i Image) Finished() bool { return i.Tags[tag.Fingerprint] != "" }

// Newest returns the newest available image of an owner (an account ID, "self" or "amazon") whose name matches a
// pattern with * and ?. The error wraps ErrNotFound where there is none.
func (c *Client) Newest(ctx context.Context, owner, name, architecture string) (Image, error) {
	images, err := c.describe(ctx, owner,
		filter("name", name), filter("architecture", architecture), filter("state", "available"),
		filter("virtualization-type", "hvm"), filter("root-device-type", "ebs"))
	if err != nil {
		return Image{}, err
	}
	if len(images) == 0 {
		return Image{}, fmt.Errorf("find image %q of %s for %s: %w", name, owner, architecture, ErrNotFound)
	}
	return images[0], nil
}

// Find returns the newest finished image of an application and a stage that was made from the inputs with this
// fingerprint. The error wraps ErrNotFound where there is none.
func (c *Client) Find(ctx context.Context, app string, stage provision.Stage, fingerprint string) (Image, error) {
	images, err := c.describe(ctx, self, filter("tag:"+tag.App, app), filter("tag:"+tag.Image, string(stage)),
		filter("tag:"+tag.Fingerprint, fingerprint), filter("state", "available"))
	if err != nil {
		return Image{}, err
	}
	if len(images) == 0 {
		return Image{}, fmt.Errorf("find %s image with fingerprint %s: %w", stage, fingerprint, ErrNotFound)
	}
	return images[0], nil
}

// Get returns one image. The error wraps ErrNotFound where it does not exist.
func (c *Client) Get(ctx context.Context, id string) (Image, error) {
	images, err := c.describe(ctx, anybody, filter("image-id", id))
	if err != nil {
		return Image{}, err
	}
	if len(images) == 0 {
		return Image{}, fmt.Errorf("find image %s: %w", id, ErrNotFound)
	}
	return images[0], nil
}

// Tag adds tags to an image and its snapshots, of which EC2 may know nothing for a moment after it has made them.
func (c *Client) Tag(ctx context.Context, image Image, tags map[string]string) error {
	return retryFor(ctx, lagLimit, "InvalidAMIID.NotFound", func() error {
		return retryFor(ctx, lagLimit, "InvalidSnapshot.NotFound", func() error { return c.tagNow(ctx, image, tags) })
	})
}

func (c *Client) tagNow(ctx context.Context, image Image, tags map[string]string) error {
	in := &ec2.CreateTagsInput{Resources: append([]string{image.ID}, image.Snapshots...), Tags: tagList(tags)}
	if _, err := c.api.CreateTags(ctx, in); err != nil {
		return fmt.Errorf("tag image %s: %w", image.ID, err)
	}
	return nil
}

// Deregister deregisters an image and deletes its snapshots. What is gone already is no error.
func (c *Client) Deregister(ctx context.Context, image Image) error {
	// An image that EC2 still makes may not name its snapshots yet; their descriptions name the image.
	made, err := c.snapshots(ctx, filter("description", "*"+image.ID+"*"))
	if err != nil {
		return err
	}
	for _, s := range made {
		if !slices.Contains(image.Snapshots, s.id) {
			image.Snapshots = append(image.Snapshots, s.id)
		}
	}
	// Where the image goes and the snapshots stay, their tags say whose they are.
	if run := image.Tags[tag.Run]; run != "" && len(image.Snapshots) > 0 {
		if err := c.tagNow(ctx, image, map[string]string{tag.App: image.Tags[tag.App], tag.Run: run}); err != nil && !isGone(err) {
			return err
		}
	}
	if _, err := c.api.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: aws.String(image.ID)}); err != nil && !isGone(err) {
		return fmt.Errorf("deregister image %s: %w", image.ID, err)
	}
	var errs []error
	for _, id := range image.Snapshots {
		errs = append(errs, c.deleteSnapshot(ctx, id))
	}
	return errors.Join(errs...)
}

// deleteSnapshot deletes a snapshot, which EC2 may see in use for a moment after its image is gone.
func (c *Client) deleteSnapshot(ctx context.Context, id string) error {
	err := retryWhile(ctx, "InvalidSnapshot.InUse", func() error {
		_, err := c.api.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(id)})
		return err
	})
	if err != nil && !isGone(err) {
		return fmt.Errorf("delete snapshot %s: %w", id, err)
	}
	return nil
}

// snapshot is a snapshot of this account.
type snapshot struct {
	id, state string
	tags      map[string]string
}

func (c *Client) snapshots(ctx context.Context, filters ...types.Filter) ([]snapshot, error) {
	var found []snapshot
	pages := ec2.NewDescribeSnapshotsPaginator(c.api, &ec2.DescribeSnapshotsInput{OwnerIds: []string{self}, Filters: filters})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe snapshots: %w", err)
		}
		for _, s := range page.Snapshots {
			found = append(found, snapshot{id: aws.ToString(s.SnapshotId), state: string(s.State), tags: tagMap(s.Tags)})
		}
	}
	return found, nil
}

// Owners of images: this account, and whoever it may be.
const (
	self    = "self"
	anybody = ""
)

// describe returns the images of an owner that pass the filters, the newest first.
func (c *Client) describe(ctx context.Context, owner string, filters ...types.Filter) ([]Image, error) {
	in := &ec2.DescribeImagesInput{Filters: filters}
	if owner != anybody {
		in.Owners = []string{owner}
	}
	var images []Image
	pages := ec2.NewDescribeImagesPaginator(c.api, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe images: %w", err)
		}
		for _, i := range page.Images {
			images = append(images, fromEC2(i))
		}
	}
	slices.SortFunc(images, func(a, b Image) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return images, nil
}

func fromEC2(in types.Image) Image {
	image := Image{
		ID: aws.ToString(in.ImageId), Name: aws.ToString(in.Name), State: string(in.State),
		Architecture: string(in.Architecture), RootDevice: aws.ToString(in.RootDeviceName), Tags: tagMap(in.Tags),
	}
	image.Created, _ = time.Parse(time.RFC3339, aws.ToString(in.CreationDate))
	for _, m := range in.BlockDeviceMappings {
		if m.Ebs != nil && aws.ToString(m.Ebs.SnapshotId) != "" {
			image.Snapshots = append(image.Snapshots, aws.ToString(m.Ebs.SnapshotId))
		}
	}
	return image
}
