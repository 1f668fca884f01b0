// Package ami is the catalogue of images on EC2: which ones there are, what they were made from, and what is done to
// them once they are made; and the workshop that they are made in, with what dead runs left there. What an image is
// stands in its tags, so that neither needs a memory of its own.
package ami

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// The tags of an image.
const (
	TagApp         = "ingot:app"         // the application's name
	TagImage       = "ingot:image"       // Base or App
	TagFingerprint = "ingot:fingerprint" // of everything that went into it; set last, so that only a finished image has it
	TagRelease     = "ingot:release"     // the release, of application images
	TagParent      = "ingot:parent"      // ID of the image it was made from
	TagCommit      = "ingot:commit"      // commit of the repository
	TagRun         = "ingot:run"         // the run that made it
	TagBaking      = "ingot:baking"      // the fingerprint of what the run makes; from the start, on all that it needs
)

// The kinds of image, values of TagImage.
const (
	Base = "base" // what the service needs
	App  = "app"  // the service, on a base image
)

// ErrNotFound is returned where no image fits.
var ErrNotFound = errors.New("no such image")

// Image is an AMI.
type Image struct {
	ID           string
	Name         string
	State        string // as EC2 says it: pending, available, failed, …
	StateReason  string
	Architecture string
	Created      time.Time
	Tags         map[string]string
	RootDevice   string   // device name of the root volume, such as /dev/xvda
	Snapshots    []string // the snapshots behind its volumes
}

// Finished tells whether the image was seen to be complete.
func (i Image) Finished() bool { return i.Tags[TagFingerprint] != "" }

type api interface {
	DescribeImages(context.Context, *ec2.DescribeImagesInput, ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error)
	CreateTags(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
	DeregisterImage(context.Context, *ec2.DeregisterImageInput, ...func(*ec2.Options)) (*ec2.DeregisterImageOutput, error)
	DescribeSnapshots(context.Context, *ec2.DescribeSnapshotsInput, ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error)
	DeleteSnapshot(context.Context, *ec2.DeleteSnapshotInput, ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error)
}

// Catalogue finds and changes images.
type Catalogue struct{ api api }

// New returns the catalogue of the account and region that an EC2 client is made for.
func New(api api) *Catalogue { return &Catalogue{api: api} }

// Newest returns the newest available image of an owner (an account ID, "self" or "amazon") whose name matches a
// pattern with * and ?. The error wraps ErrNotFound where there is none.
func (c *Catalogue) Newest(ctx context.Context, owner, name, architecture string) (Image, error) {
	images, err := c.describe(ctx, &ec2.DescribeImagesInput{
		Owners: []string{owner},
		Filters: []types.Filter{
			filter("name", name), filter("architecture", architecture), filter("state", "available"),
			filter("virtualization-type", "hvm"), filter("root-device-type", "ebs"),
		},
	})
	if err != nil {
		return Image{}, err
	}
	if len(images) == 0 {
		return Image{}, fmt.Errorf("find image %q of %s for %s: %w", name, owner, architecture, ErrNotFound)
	}
	return images[0], nil
}

// Find returns the newest finished image of an application that was made from the inputs with this fingerprint. The
// error wraps ErrNotFound where there is none.
func (c *Catalogue) Find(ctx context.Context, app, kind, fingerprint string) (Image, error) {
	images, err := c.describe(ctx, own(filter("tag:"+TagApp, app), filter("tag:"+TagImage, kind),
		filter("tag:"+TagFingerprint, fingerprint), filter("state", "available")))
	if err != nil {
		return Image{}, err
	}
	if len(images) == 0 {
		return Image{}, fmt.Errorf("find %s image with fingerprint %s: %w", kind, fingerprint, ErrNotFound)
	}
	return images[0], nil
}

// Get returns one image. The error wraps ErrNotFound where it does not exist.
func (c *Catalogue) Get(ctx context.Context, id string) (Image, error) {
	images, err := c.describe(ctx, &ec2.DescribeImagesInput{Filters: []types.Filter{filter("image-id", id)}})
	if err != nil {
		return Image{}, err
	}
	if len(images) == 0 {
		return Image{}, fmt.Errorf("find image %s: %w", id, ErrNotFound)
	}
	return images[0], nil
}

// Tag adds tags to an image and its snapshots.
func (c *Catalogue) Tag(ctx context.Context, image Image, tags map[string]string) error {
	in := &ec2.CreateTagsInput{Resources: append([]string{image.ID}, image.Snapshots...), Tags: tagList(tags)}
	if _, err := c.api.CreateTags(ctx, in); err != nil {
		return fmt.Errorf("tag image %s: %w", image.ID, err)
	}
	return nil
}

// Remove deregisters an image and deletes its snapshots. What is gone already is no error.
func (c *Catalogue) Remove(ctx context.Context, image Image) error {
	// An image that EC2 still makes may not name its snapshots yet; their descriptions name the image.
	made, err := c.snapshots(ctx, filter("description", "*"+image.ID+"*"))
	if err != nil {
		return err
	}
	for _, s := range made {
		if !slices.Contains(image.Snapshots, s.ID) {
			image.Snapshots = append(image.Snapshots, s.ID)
		}
	}
	// Where the image goes and the snapshots stay, their tags say whose they are.
	if run := image.Tags[TagRun]; run != "" && len(image.Snapshots) > 0 {
		if err := c.Tag(ctx, image, map[string]string{TagApp: image.Tags[TagApp], TagRun: run}); err != nil && !gone(err) {
			return err
		}
	}
	if _, err := c.api.DeregisterImage(ctx, &ec2.DeregisterImageInput{ImageId: aws.String(image.ID)}); err != nil && !gone(err) {
		return fmt.Errorf("deregister image %s: %w", image.ID, err)
	}
	var errs []error
	for _, id := range image.Snapshots {
		errs = append(errs, c.removeSnapshot(ctx, id))
	}
	return errors.Join(errs...)
}

// removeSnapshot deletes a snapshot, which EC2 may see in use for a moment after its image is gone.
func (c *Catalogue) removeSnapshot(ctx context.Context, id string) error {
	err := retry(ctx, "InvalidSnapshot.InUse", func() error {
		_, err := c.api.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(id)})
		return err
	})
	if err != nil && !gone(err) {
		return fmt.Errorf("delete snapshot %s: %w", id, err)
	}
	return nil
}

// snapshot is a snapshot of this account.
type snapshot struct {
	ID, State string
	Tags      map[string]string
}

func (c *Catalogue) snapshots(ctx context.Context, filters ...types.Filter) ([]snapshot, error) {
	var found []snapshot
	pages := ec2.NewDescribeSnapshotsPaginator(c.api, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: filters})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe snapshots: %w", err)
		}
		for _, s := range page.Snapshots {
			found = append(found, snapshot{ID: aws.ToString(s.SnapshotId), State: string(s.State), Tags: tagMap(s.Tags)})
		}
	}
	return found, nil
}

func own(filters ...types.Filter) *ec2.DescribeImagesInput {
	return &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: filters}
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

func tagList(tags map[string]string) []types.Tag {
	var list []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return list
}

func tagMap(tags []types.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

func (c *Catalogue) describe(ctx context.Context, in *ec2.DescribeImagesInput) ([]Image, error) {
	var images []Image
	for {
		out, err := c.api.DescribeImages(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("describe images: %w", err)
		}
		for _, i := range out.Images {
			images = append(images, fromEC2(i))
		}
		if aws.ToString(out.NextToken) == "" {
			break
		}
		in.NextToken = out.NextToken
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
	if in.StateReason != nil {
		image.StateReason = aws.ToString(in.StateReason.Message)
	}
	image.Created, _ = time.Parse(time.RFC3339, aws.ToString(in.CreationDate))
	for _, m := range in.BlockDeviceMappings {
		if m.Ebs != nil && aws.ToString(m.Ebs.SnapshotId) != "" {
			image.Snapshots = append(image.Snapshots, aws.ToString(m.Ebs.SnapshotId))
		}
	}
	return image
}
