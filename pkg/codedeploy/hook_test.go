package codedeploy

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/google/go-cmp/cmp"
)

// hooks are what CodeDeploy believes to have installed, and what is there.
type hooks struct {
	believed []types.AutoScalingGroup
	there    []asgtypes.LifecycleHook
	update   func(h *hooks, groups []string)
	updated  [][]string
}

func (h *hooks) BatchGetDeploymentGroups(context.Context, *sdk.BatchGetDeploymentGroupsInput, ...func(*sdk.Options)) (*sdk.BatchGetDeploymentGroupsOutput, error) {
	if h.believed == nil {
		return &sdk.BatchGetDeploymentGroupsOutput{ErrorMessage: aws.String("no such group")}, nil
	}
	return &sdk.BatchGetDeploymentGroupsOutput{DeploymentGroupsInfo: []types.DeploymentGroupInfo{{AutoScalingGroups: h.believed}}}, nil
}

func (h *hooks) UpdateDeploymentGroup(_ context.Context, in *sdk.UpdateDeploymentGroupInput, _ ...func(*sdk.Options)) (*sdk.UpdateDeploymentGroupOutput, error) {
	h.updated = append(h.updated, in.AutoScalingGroups)
	if h.update != nil {
		h.update(h, in.AutoScalingGroups)
	}
	return &sdk.UpdateDeploymentGroupOutput{}, nil
}

func (h *hooks) DescribeLifecycleHooks(context.Context, *autoscaling.DescribeLifecycleHooksInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeLifecycleHooksOutput, error) {
	return &autoscaling.DescribeLifecycleHooksOutput{LifecycleHooks: h.there}, nil
}

func TestRepairHook(t *testing.T) {
	believe := func(hook string) []types.AutoScalingGroup {
		return []types.AutoScalingGroup{{Name: aws.String("hello"), Hook: aws.String(hook)}}
	}
	there := func(name, result string) []asgtypes.LifecycleHook {
		return []asgtypes.LifecycleHook{{LifecycleHookName: aws.String(name), DefaultResult: aws.String(result)}}
	}
	mend := func(h *hooks, _ []string) { h.believed, h.there = believe("new"), there("new", "ABANDON") }
	tests := map[string]struct {
		hooks    *hooks
		repaired bool
		updated  [][]string
		err      string
		notSetUp bool
	}{
		"all is well":            {hooks: &hooks{believed: believe("hook"), there: there("hook", "ABANDON")}},
		"it is missing":          {hooks: &hooks{believed: believe("hook"), there: there("mine", "ABANDON"), update: mend}, repaired: true, updated: [][]string{{"hello"}}},
		"it was never there":     {hooks: &hooks{believed: believe(""), update: mend}, repaired: true, updated: [][]string{{"hello"}}},
		"it lets everybody pass": {hooks: &hooks{believed: believe("hook"), there: there("hook", "CONTINUE"), update: mend}, repaired: true, updated: [][]string{{"hello"}}},
		"it cannot be repaired":  {hooks: &hooks{believed: believe("hook")}, updated: [][]string{{"hello"}}, err: `"hook" is missing on "hello", even after an update`},
		"there is no group":      {hooks: &hooks{}, err: "mage infra:apply", notSetUp: true},
		"it has no group":        {hooks: &hooks{believed: []types.AutoScalingGroup{}}, err: "has no Auto Scaling group", notSetUp: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			repaired, err := New(Clients{Groups: test.hooks, Hooks: test.hooks}, "hello").RepairHook(t.Context())
			if repaired != test.repaired || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("repaired %t, %v", repaired, err)
			}
			if errors.Is(err, ErrNotSetUp) != test.notSetUp {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(test.updated, test.hooks.updated); diff != "" {
				t.Error(diff)
			}
		})
	}
}
