package codedeploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"

	"github.com/ingot-build/ingot/pkg/progress"
)

type groupAPI interface {
	BatchGetDeploymentGroups(context.Context, *sdk.BatchGetDeploymentGroupsInput, ...func(*sdk.Options)) (*sdk.BatchGetDeploymentGroupsOutput, error)
	UpdateDeploymentGroup(context.Context, *sdk.UpdateDeploymentGroupInput, ...func(*sdk.Options)) (*sdk.UpdateDeploymentGroupOutput, error)
}

type hookAPI interface {
	DescribeLifecycleHooks(context.Context, *autoscaling.DescribeLifecycleHooksInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeLifecycleHooksOutput, error)
}

// RepairHook makes sure that the launching hook which CodeDeploy put on each Auto Scaling group of the deployment group is
// still there: without it new instances serve unchecked, and nothing says so. It goes missing when the Auto Scaling group is
// replaced or its hooks are edited. It tells whether there was something to repair, and notes what. Where the deployment group is not there or
// has no Auto Scaling group, the error wraps ErrNotSetUp.
func (c *Client) RepairHook(ctx context.Context) (repaired bool, err error) {
	stage := progress.Start(ctx, "check the launching hook of CodeDeploy")
	defer stage.End(&err)
	wrong, groups, err := c.missingHooks(ctx)
	if err != nil || len(wrong) == 0 {
		return false, err
	}
	progress.Note(ctx, "%s: repairing", strings.Join(wrong, "; "))
	// Naming its own groups again makes CodeDeploy put its hooks back.
	_, err = c.Groups.UpdateDeploymentGroup(ctx, &sdk.UpdateDeploymentGroupInput{
		ApplicationName: &c.app, CurrentDeploymentGroupName: &c.app, AutoScalingGroups: groups,
	})
	if err != nil {
		return false, fmt.Errorf("repair the launching hook (%s): update deployment group %q: %w", strings.Join(wrong, "; "), c.app, err)
	}
	wrong, _, err = c.missingHooks(ctx)
	if err != nil {
		return false, err
	}
	if len(wrong) > 0 {
		return false, fmt.Errorf("repair the launching hook: %s, even after an update of deployment group %q: new instances serve unchecked", strings.Join(wrong, "; "), c.app)
	}
	return true, nil
}

// missingHooks says which launching hooks are not as they should be, and names the deployment group's Auto Scaling groups.
func (c *Client) missingHooks(ctx context.Context) (wrong, groups []string, err error) {
	out, err := c.Groups.BatchGetDeploymentGroups(ctx, &sdk.BatchGetDeploymentGroupsInput{ApplicationName: &c.app, DeploymentGroupNames: []string{c.app}})
	if err != nil {
		return nil, nil, fmt.Errorf("describe deployment group %q: %w", c.app, setUp(err))
	}
	if len(out.DeploymentGroupsInfo) == 0 || len(out.DeploymentGroupsInfo[0].AutoScalingGroups) == 0 {
		return nil, nil, fmt.Errorf("describe deployment group %q: it is not there, or has no Auto Scaling group: %w", c.app, ErrNotSetUp)
	}
	for _, group := range out.DeploymentGroupsInfo[0].AutoScalingGroups {
		groups = append(groups, aws.ToString(group.Name))
		reason, err := c.hookProblem(ctx, group)
		if err != nil {
			return nil, nil, err
		}
		if reason != "" {
			wrong = append(wrong, reason)
		}
	}
	return wrong, groups, nil
}

// hookProblem says what is wrong with the hook of one Auto Scaling group; it is empty where all is well.
func (c *Client) hookProblem(ctx context.Context, group types.AutoScalingGroup) (string, error) {
	name, hook := aws.ToString(group.Name), aws.ToString(group.Hook)
	if hook == "" {
		return fmt.Sprintf("CodeDeploy has no launching hook on %q", name), nil
	}
	out, err := c.Hooks.DescribeLifecycleHooks(ctx, &autoscaling.DescribeLifecycleHooksInput{AutoScalingGroupName: &name})
	if err != nil {
		return "", fmt.Errorf("describe lifecycle hooks of %q: %w", name, err)
	}
	i := slices.IndexFunc(out.LifecycleHooks, func(h asgtypes.LifecycleHook) bool { return aws.ToString(h.LifecycleHookName) == hook })
	switch {
	case i < 0:
		return fmt.Sprintf("launching hook %q is missing on %q", hook, name), nil
	case aws.ToString(out.LifecycleHooks[i].DefaultResult) == "CONTINUE":
		// Then an instance that nobody checked in time would serve.
		return fmt.Sprintf("launching hook %q on %q lets unchecked instances serve when its time is over", hook, name), nil
	}
	return "", nil
}
