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
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/tag"
)

// DescribeInstances moves an instance that ends on by one state after each look.
func (f *fakeEC2) DescribeInstances(_ context.Context, in *ec2.DescribeInstancesInput, _ ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	out := &ec2.DescribeInstancesOutput{}
	for n, i := range f.instances {
		if len(in.InstanceIds) > 0 && !slices.Contains(in.InstanceIds, *i.InstanceId) {
			continue
		}
		out.Reservations = append(out.Reservations, types.Reservation{Instances: []types.Instance{i}})
		if i.State.Name == types.InstanceStateNameShuttingDown {
			f.instances[n].State = &types.InstanceState{Name: types.InstanceStateNameTerminated}
		}
	}
	return out, nil
}

func (f *fakeEC2) TerminateInstances(_ context.Context, in *ec2.TerminateInstancesInput, _ ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error) {
	err := f.do("terminate " + in.InstanceIds[0])
	for n, i := range f.instances {
		if err == nil && *i.InstanceId == in.InstanceIds[0] {
			f.instances[n].State = &types.InstanceState{Name: types.InstanceStateNameShuttingDown}
		}
	}
	return nil, err
}

func (f *fakeEC2) CreateSecurityGroup(_ context.Context, in *ec2.CreateSecurityGroupInput, _ ...func(*ec2.Options)) (*ec2.CreateSecurityGroupOutput, error) {
	what := "create " + *in.GroupName
	if in.VpcId != nil {
		what += " in " + *in.VpcId
	}
	for _, tag := range in.TagSpecifications[0].Tags {
		what += " " + *tag.Key + "=" + *tag.Value
	}
	return &ec2.CreateSecurityGroupOutput{GroupId: aws.String("sg-new")}, f.do(what)
}

func (f *fakeEC2) AuthorizeSecurityGroupIngress(_ context.Context, in *ec2.AuthorizeSecurityGroupIngressInput, _ ...func(*ec2.Options)) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
	what := "open " + *in.GroupId
	for _, r := range in.IpPermissions[0].IpRanges {
		what += " " + *r.CidrIp
	}
	for _, r := range in.IpPermissions[0].Ipv6Ranges {
		what += " " + *r.CidrIpv6
	}
	return nil, f.do(what)
}

func (f *fakeEC2) DescribeSecurityGroups(_ context.Context, in *ec2.DescribeSecurityGroupsInput, _ ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error) {
	if len(in.GroupIds) > 0 {
		return nil, f.do("look at " + in.GroupIds[0])
	}
	return &ec2.DescribeSecurityGroupsOutput{SecurityGroups: f.groups}, nil
}

func (f *fakeEC2) DeleteSecurityGroup(_ context.Context, in *ec2.DeleteSecurityGroupInput, _ ...func(*ec2.Options)) (*ec2.DeleteSecurityGroupOutput, error) {
	return nil, f.do("delete " + *in.GroupId)
}

func (f *fakeEC2) DescribeKeyPairs(_ context.Context, in *ec2.DescribeKeyPairsInput, _ ...func(*ec2.Options)) (*ec2.DescribeKeyPairsOutput, error) {
	out := &ec2.DescribeKeyPairsOutput{}
	for _, name := range f.keys {
		if strings.HasPrefix(name, strings.TrimSuffix(in.Filters[0].Values[0], "*")) {
			out.KeyPairs = append(out.KeyPairs, types.KeyPairInfo{KeyName: aws.String(name)})
		}
	}
	return out, nil
}

func (f *fakeEC2) DeleteKeyPair(_ context.Context, in *ec2.DeleteKeyPairInput, _ ...func(*ec2.Options)) (*ec2.DeleteKeyPairOutput, error) {
	return nil, f.do("delete " + *in.KeyName)
}

const (
	run1 = "20260102-030405-000001"
	run2 = "20260102-030406-000002"
	run3 = "20260102-030407-000003"
)

func tagged(run string, more ...string) []types.Tag {
	tags := map[string]string{tag.App: "hello", tag.Run: run}
	for n := 0; n < len(more); n += 2 {
		tags[more[n]] = more[n+1]
	}
	return tagList(tags)
}

func instance(id, run string, state types.InstanceStateName, more ...string) types.Instance {
	return types.Instance{InstanceId: &id, State: &types.InstanceState{Name: state}, Tags: tagged(run, more...)}
}

// imageOf is the image of a run, in a state and with tags; Packer sets none before it is available.
func imageOf(run string, state types.ImageState, snapshot string, tags ...types.Tag) types.Image {
	i := image("ami-"+run[len(run)-1:], "2026-01-02T03:05:00.000Z", snapshot)
	i.Name, i.State, i.Tags = aws.String(Name("hello", provision.App, run)), state, tags
	return i
}

func TestLeftovers(t *testing.T) {
	f := &fakeEC2{
		instances: []types.Instance{
			instance("i-2", run2, "stopped", tag.Baking, "f00"), instance("i-1", run1, "terminated", tag.Baking, "f00", tag.Image, string(provision.App)),
		},
		groups: []types.SecurityGroup{{GroupId: aws.String("sg-2"), Tags: tagged(run2)}},
		keys:   []string{"ingot-hello-app-" + run2, "ingot-hello-world-app-" + run1, "ingot-hello-mine"},
		pages: []*ec2.DescribeImagesOutput{{Images: []types.Image{
			imageOf(run1, "pending", "snap-1"),
			imageOf(run2, "failed", "snap-2", tagged(run2, tag.Baking, "bad")...),
			imageOf(run3, "available", "snap-3", tagged(run3, tag.Fingerprint, "f00")...),
			image("ami-9", "2026-01-02T03:05:00.000Z", "snap-9"), // somebody's own
		}}},
		snapshots: []types.Snapshot{
			{SnapshotId: aws.String("snap-3"), Tags: tagged(run3)},
			{SnapshotId: aws.String("snap-4"), Tags: tagged(run2), State: "completed"},
		},
	}
	got, err := (&Client{api: f}).Leftovers(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	type row struct{ Kind, ID, Run, State, Fingerprint string }
	var rows []row
	for _, l := range got {
		rows = append(rows, row{l.Kind, l.ID, l.Run, l.State, l.Tags[tag.Baking]})
	}
	want := []row{
		{UnfinishedImage, "ami-1", run1, "pending", "f00"},
		{SecurityGroup, "sg-2", run2, "", ""},
		{KeyPair, "ingot-hello-app-" + run2, run2, "", ""},
		{UnfinishedImage, "ami-2", run2, "failed", "bad"},
		{Snapshot, "snap-4", run2, "completed", ""},
		{Instance, "i-2", run2, "stopped", "f00"},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
}

func TestRemoveLeftovers(t *testing.T) {
	denied := errors.New("denied")
	all := []Leftover{
		{Kind: KeyPair, ID: "ingot-hello-app-" + run1}, {Kind: SecurityGroup, ID: "sg-1"}, {Kind: Instance, ID: "i-1"}, {Kind: Instance, ID: "i-2"},
		{Kind: UnfinishedImage, ID: "ami-1", Image: Image{ID: "ami-1", Snapshots: []string{"snap-1"}}}, {Kind: Snapshot, ID: "snap-2"},
	}
	everything := []string{"terminate i-1", "terminate i-2", "delete ingot-hello-app-" + run1, "delete sg-1", "deregister ami-1", "delete snap-1", "delete snap-2"}
	tests := map[string]struct {
		left []Leftover
		fail map[string][]error
		want []string
		err  error
	}{
		"nothing":    {},
		"everything": {left: all, want: everything},
		"the group is in use for a moment": {left: all[1:2], fail: map[string][]error{"delete sg-1": {failing("DependencyViolation"), failing("DependencyViolation")}},
			want: []string{"delete sg-1", "delete sg-1", "delete sg-1"}},
		"the group is not known yet": {left: []Leftover{{Kind: SecurityGroup, ID: "sg-1", Unlisted: true}},
			fail: map[string][]error{"delete sg-1": {failing("InvalidGroup.NotFound"), failing("DependencyViolation"), failing("InvalidGroup.NotFound")}},
			want: []string{"delete sg-1", "delete sg-1", "delete sg-1", "delete sg-1"}},
		"all is gone": {left: all, want: everything, fail: map[string][]error{
			"terminate i-1": {failing("InvalidInstanceID.NotFound")}, "delete sg-1": {failing("InvalidGroup.NotFound")}, "delete snap-2": {failing("InvalidSnapshot.NotFound")},
		}},
		"one is refused, and the others go": {left: all, want: everything, fail: map[string][]error{"terminate i-1": {denied}}, err: denied},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeEC2{fail: tc.fail, instances: []types.Instance{instance("i-1", run1, "terminated"), instance("i-2", run1, "running")}}
				if err := (&Client{api: f}).RemoveLeftovers(t.Context(), tc.left); !errors.Is(err, tc.err) {
					t.Errorf("error = %v, want %v", err, tc.err)
				}
				if diff := cmp.Diff(tc.want, f.did); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// A group that was made and is not found within half a minute is gone.
func TestUnlistedGroupIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		f := &fakeEC2{fail: map[string][]error{"delete sg-1": slices.Repeat([]error{failing("InvalidGroup.NotFound")}, 1000)}}
		err := (&Client{api: f}).RemoveLeftovers(t.Context(), []Leftover{{Kind: SecurityGroup, ID: "sg-1", Unlisted: true}})
		if err != nil || time.Since(began) != lagLimit {
			t.Errorf("error = %v after %s", err, time.Since(began))
		}
	})
}

func TestRemoveGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := slices.Repeat([]error{failing("DependencyViolation")}, 1000)
		f := &fakeEC2{fail: map[string][]error{"delete sg-1": busy}}
		err := (&Client{api: f}).RemoveLeftovers(t.Context(), []Leftover{{Kind: SecurityGroup, ID: "sg-1"}})
		if errorCode(err) != "DependencyViolation" || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v", err)
		}
	})
}
