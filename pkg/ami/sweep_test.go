package ami

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

type fakeMachines struct {
	states []types.InstanceStateName // what the run's instance is at each look
	busy   int                       // how often its security group is still in use
	refuse error                     // of DeleteSecurityGroup
	did    []string
}

func (f *fakeMachines) DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error) {
	out := &ec2.DescribeInstancesOutput{}
	if len(f.states) > 0 {
		out.Reservations = []types.Reservation{{Instances: []types.Instance{{
			InstanceId: aws.String("i-1"), State: &types.InstanceState{Name: f.states[0]},
			SecurityGroups: []types.GroupIdentifier{{GroupId: aws.String("sg-default"), GroupName: aws.String("default")}, {GroupId: aws.String("sg-1"), GroupName: aws.String("packer_1")}},
		}}}}
	}
	if len(f.states) > 1 {
		f.states = f.states[1:]
	}
	return out, nil
}

func (f *fakeMachines) TerminateInstances(_ context.Context, in *ec2.TerminateInstancesInput, _ ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error) {
	f.did = append(f.did, "terminate "+in.InstanceIds[0])
	return nil, nil
}

func (f *fakeMachines) DeleteSecurityGroup(_ context.Context, in *ec2.DeleteSecurityGroupInput, _ ...func(*ec2.Options)) (*ec2.DeleteSecurityGroupOutput, error) {
	f.did = append(f.did, "delete "+*in.GroupId)
	if f.busy > 0 {
		f.busy--
		return nil, &smithy.GenericAPIError{Code: "DependencyViolation"}
	}
	return nil, f.refuse
}

func (f *fakeMachines) DeleteKeyPair(_ context.Context, in *ec2.DeleteKeyPairInput, _ ...func(*ec2.Options)) (*ec2.DeleteKeyPairOutput, error) {
	f.did = append(f.did, "delete "+*in.KeyName)
	return nil, nil
}

func TestSweep(t *testing.T) {
	denied := errors.New("denied")
	tests := map[string]struct {
		world fakeMachines
		want  []string
		err   error
	}{
		"nothing left": {want: []string{"delete ingot-run"}},
		"an instance": {world: fakeMachines{states: []types.InstanceStateName{"running", "shutting-down", "terminated"}, busy: 1},
			want: []string{"terminate i-1", "delete sg-1", "delete sg-1", "delete ingot-run"}},
		"group is gone": {world: fakeMachines{states: []types.InstanceStateName{"running", "terminated"}, refuse: &smithy.GenericAPIError{Code: "InvalidGroup.NotFound"}},
			want: []string{"terminate i-1", "delete sg-1", "delete ingot-run"}},
		"refused": {world: fakeMachines{states: []types.InstanceStateName{"running", "terminated"}, refuse: denied},
			want: []string{"terminate i-1", "delete sg-1", "delete ingot-run"}, err: denied},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := NewSweeper(&tc.world).Sweep(t.Context(), "run"); !errors.Is(err, tc.err) {
					t.Errorf("error = %v, want %v", err, tc.err)
				}
				if diff := cmp.Diff(tc.want, tc.world.did); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}
