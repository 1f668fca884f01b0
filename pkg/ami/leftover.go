package ami

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

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
}

// Leftovers returns what the runs of an application have on EC2 now, be they alive or dead, in the order of the runs.
// The number of calls does not depend on how much there is.
func (w *Workshop) Leftovers(ctx context.Context, app string) ([]Leftover, error) {
	instances, err := w.instances(ctx, app)
	if err != nil {
		return nil, err
	}
	groups, err := w.groups(ctx, app)
	if err != nil {
		return nil, err
	}
	keys, err := w.keyPairs(ctx, app)
	if err != nil {
		return nil, err
	}
	images, err := w.catalogue.describe(ctx, own(filter("name", Name(app, Base, "*"), Name(app, App, "*"))))
	if err != nil {
		return nil, err
	}
	snapshots, err := w.catalogue.snapshots(ctx, filter("tag:"+TagApp, app), filter("tag-key", TagRun))
	if err != nil {
		return nil, err
	}

	left := slices.Concat(groups, keys, unfinished(app, images, instances), orphans(snapshots, images))
	for _, i := range instances {
		if i.State != string(types.InstanceStateNameTerminated) {
			left = append(left, i)
		}
	}
	slices.SortStableFunc(left, func(a, b Leftover) int { return cmp.Compare(a.Run, b.Run) })
	return left, nil
}

// unfinished are the images that no run has seen finished. EC2 knows no tags of an image that Packer has yet to tag,
// but those of the instance that it is made of, for an hour after that is gone.
func unfinished(app string, images []Image, instances []Leftover) []Leftover {
	var left []Leftover
	for _, i := range images {
		_, run, ok := ParseName(app, i.Name)
		if !ok || i.Finished() {
			continue
		}
		tags := map[string]string{TagApp: app, TagRun: run}
		if n := slices.IndexFunc(instances, func(l Leftover) bool { return l.Run == run }); n >= 0 {
			maps.Copy(tags, instances[n].Tags)
		}
		maps.Copy(tags, i.Tags)
		i.Tags = tags
		left = append(left, Leftover{Kind: UnfinishedImage, ID: i.ID, Run: run, State: i.State, Tags: tags, Image: i})
	}
	return left
}

// orphans are the snapshots that no image has.
func orphans(snapshots []snapshot, images []Image) []Leftover {
	var left []Leftover
	for _, s := range snapshots {
		if !slices.ContainsFunc(images, func(i Image) bool { return slices.Contains(i.Snapshots, s.ID) }) {
			left = append(left, Leftover{Kind: Snapshot, ID: s.ID, Run: s.Tags[TagRun], State: s.State, Tags: s.Tags})
		}
	}
	return left
}

func (w *Workshop) instances(ctx context.Context, app string) ([]Leftover, error) {
	var left []Leftover
	pages := ec2.NewDescribeInstancesPaginator(w.api, &ec2.DescribeInstancesInput{Filters: ofRuns(app)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe the instances that bake: %w", err)
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				tags := tagMap(i.Tags)
				left = append(left, Leftover{Kind: Instance, ID: aws.ToString(i.InstanceId), Run: tags[TagRun], State: string(i.State.Name), Tags: tags})
			}
		}
	}
	return left, nil
}

func (w *Workshop) groups(ctx context.Context, app string) ([]Leftover, error) {
	var left []Leftover
	pages := ec2.NewDescribeSecurityGroupsPaginator(w.api, &ec2.DescribeSecurityGroupsInput{Filters: ofRuns(app)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe the security groups of bakes: %w", err)
		}
		for _, g := range page.SecurityGroups {
			tags := tagMap(g.Tags)
			left = append(left, Leftover{Kind: SecurityGroup, ID: aws.ToString(g.GroupId), Run: tags[TagRun], Tags: tags})
		}
	}
	return left, nil
}

func (w *Workshop) keyPairs(ctx context.Context, app string) ([]Leftover, error) {
	// By name: before 1.7, Packer tags none.
	out, err := w.api.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{Filters: []types.Filter{filter("key-name", keyPairPrefix+app+"-*")}})
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
	return []types.Filter{filter("tag:"+TagApp, app), filter("tag-key", TagRun)}
}
