package ami

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/tag"
)

// terminateLimit bounds the wait for instances to be gone; EC2 takes a minute or so.
const terminateLimit = 5 * time.Minute

// The kinds of Leftover.
const (
	Instance        = "instance"
	SecurityGroup   = "security group"
	KeyPair         = "key pair"
	UnfinishedImage = "image"
	Snapshot        = "snapshot"
)

// Leftover is something that a run needs while it makes an image, or an image that nobody has seen finished. It is
// worth nothing once the run is dead.
type Leftover struct {
	Kind  string
	ID    string // a key pair's is its name
	Run   string
	State string            // as EC2 says it; empty where there is none
	Tags  map[string]string // of an image, also those of the instance that it is made of
	Image Image             // of an UnfinishedImage

	// Unlisted is a SecurityGroup that was made, and that EC2 may not know yet: it is not gone because it is not found.
	Unlisted bool
}

// Leftovers returns what the runs of an application have on EC2 now, be they alive or dead, in the order of the runs.
// The number of calls does not depend on how much there is.
func (c *Client) Leftovers(ctx context.Context, app string) ([]Leftover, error) {
	instances, err := c.instances(ctx, app)
	if err != nil {
		return nil, err
	}
	groups, err := c.securityGroups(ctx, app)
	if err != nil {
		return nil, err
	}
	keys, err := c.keyPairs(ctx, app)
	if err != nil {
		return nil, err
	}
	images, err := c.describe(ctx, self, filter("name", Name(app, provision.Base, "*"), Name(app, provision.App, "*")))
	if err != nil {
		return nil, err
	}
	snapshots, err := c.snapshots(ctx, filter("tag:"+tag.App, app), filter("tag-key", tag.Run))
	if err != nil {
		return nil, err
	}

	left := slices.Concat(groups, keys, unfinishedImages(app, images, instances), orphanedSnapshots(snapshots, images))
	for _, i := range instances {
		if i.State != string(types.InstanceStateNameTerminated) {
			left = append(left, i)
		}
	}
	slices.SortStableFunc(left, func(a, b Leftover) int { return cmp.Compare(a.Run, b.Run) })
	return left, nil
}

// unfinishedImages are the images that no run has seen finished. EC2 knows no tags of an image that Packer has yet to tag,
// but those of the instance that it is made of, for an hour after that is gone.
func unfinishedImages(app string, images []Image, instances []Leftover) []Leftover {
	var left []Leftover
	for _, i := range images {
		_, run, ok := ParseName(app, i.Name)
		if !ok || i.Finished() {
			continue
		}
		tags := map[string]string{tag.App: app, tag.Run: run}
		if n := slices.IndexFunc(instances, func(l Leftover) bool { return l.Run == run }); n >= 0 {
			maps.Copy(tags, instances[n].Tags)
		}
		maps.Copy(tags, i.Tags)
		i.Tags = tags
		left = append(left, Leftover{Kind: UnfinishedImage, ID: i.ID, Run: run, State: i.State, Tags: tags, Image: i})
	}
	return left
}

// orphanedSnapshots are the snapshots that no image has.
func orphanedSnapshots(snapshots []snapshot, images []Image) []Leftover {
	var left []Leftover
	for _, s := range snapshots {
		if !slices.ContainsFunc(images, func(i Image) bool { return slices.Contains(i.Snapshots, s.id) }) {
			left = append(left, Leftover{Kind: Snapshot, ID: s.id, Run: s.tags[tag.Run], State: s.state, Tags: s.tags})
		}
	}
	return left
}

func (c *Client) instances(ctx context.Context, app string) ([]Leftover, error) {
	var left []Leftover
	pages := ec2.NewDescribeInstancesPaginator(c.api, &ec2.DescribeInstancesInput{Filters: ofRuns(app)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe the instances that bake: %w", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				tags := tagMap(i.Tags)
				left = append(left, Leftover{Kind: Instance, ID: aws.ToString(i.InstanceId), Run: tags[tag.Run], State: string(i.State.Name), Tags: tags})
			}
		}
	}
	return left, nil
}

func (c *Client) securityGroups(ctx context.Context, app string) ([]Leftover, error) {
	var left []Leftover
	pages := ec2.NewDescribeSecurityGroupsPaginator(c.api, &ec2.DescribeSecurityGroupsInput{Filters: ofRuns(app)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe the security groups of bakes: %w", err)
		}
		for _, g := range page.SecurityGroups {
			tags := tagMap(g.Tags)
			left = append(left, Leftover{Kind: SecurityGroup, ID: aws.ToString(g.GroupId), Run: tags[tag.Run], Tags: tags})
		}
	}
	return left, nil
}

func (c *Client) keyPairs(ctx context.Context, app string) ([]Leftover, error) {
	// By name: before 1.7, Packer tags none.
	out, err := c.api.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: []types.Filter{filter("key-name", keyPairPrefix+app+"-*")}})
	if err != nil {
		return nil, fmt.Errorf("describe the key pairs of bakes: %w", err)
	}
	var left []Leftover
	for _, k := range out.KeyPairs {
		name := aws.ToString(k.KeyName)
		if _, run, ok := ParseName(keyPairPrefix+app, name); ok {
			left = append(left, Leftover{Kind: KeyPair, ID: name, Run: run, Tags: tagMap(k.Tags)})
		}
	}
	return left, nil
}

// ofRuns selects what an application's runs have tagged.
func ofRuns(app string) []types.Filter {
	return []types.Filter{filter("tag:"+tag.App, app), filter("tag-key", tag.Run)}
}

// RemoveLeftovers removes what runs left. It goes on where something cannot be removed, and reports all of that at the
// end. What is gone already is no error.
func (c *Client) RemoveLeftovers(ctx context.Context, left []Leftover) error {
	// Instances first: they use the others.
	var errs []error
	var ending []string
	for _, l := range left {
		if l.Kind != Instance {
			continue
		}
		if err := c.terminate(ctx, l.ID); err != nil {
			errs = append(errs, err)
			continue
		}
		ending = append(ending, l.ID)
	}
	errs = append(errs, c.awaitTerminated(ctx, ending))
	for _, l := range left {
		switch l.Kind {
		case SecurityGroup:
			errs = append(errs, c.deleteSecurityGroup(ctx, l))
		case KeyPair:
			errs = append(errs, c.deleteKeyPair(ctx, l.ID))
		case UnfinishedImage:
			errs = append(errs, c.Deregister(ctx, l.Image))
		case Snapshot:
			errs = append(errs, c.deleteSnapshot(ctx, l.ID))
		}
	}
	return errors.Join(errs...)
}

func (c *Client) terminate(ctx context.Context, id string) error {
	if _, err := c.api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil && !isGone(err) {
		return fmt.Errorf("terminate instance %s: %w", id, err)
	}
	return nil
}

func (c *Client) awaitTerminated(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	waiter := ec2.NewInstanceTerminatedWaiter(c.api, func(o *ec2.InstanceTerminatedWaiterOptions) { o.MinDelay = retryDelay })
	if err := waiter.Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids}, terminateLimit); err != nil && !isGone(err) {
		return fmt.Errorf("wait for the end of instances %s: %w", strings.Join(ids, ", "), err)
	}
	return nil
}

// deleteSecurityGroup deletes a group, which EC2 may see in use for a moment after its instance is gone.
func (c *Client) deleteSecurityGroup(ctx context.Context, group Leftover) error {
	remove := func() error {
		_, err := c.api.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(group.ID)})
		return err
	}
	err := retryWhile(ctx, "DependencyViolation", func() error {
		if group.Unlisted {
			return retryFor(ctx, lagLimit, "InvalidGroup.NotFound", remove)
		}
		return remove()
	})
	if err != nil && !isGone(err) {
		return fmt.Errorf("delete security group %s: %w", group.ID, err)
	}
	return nil
}

func (c *Client) deleteKeyPair(ctx context.Context, name string) error {
	if _, err := c.api.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String(name)}); err != nil && !isGone(err) {
		return fmt.Errorf("delete key pair %q: %w", name, err)
	}
	return nil
}
