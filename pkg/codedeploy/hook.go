package codedeploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"

	"github.com/ingot-build/ingot/internal/lag"
	"github.com/ingot-build/ingot/pkg/progress"
)

// updateLimit bounds a change of the deployment group that is carried out although the context has ended.
const updateLimit = time.Minute

type groupAPI interface {
	BatchGetDeploymentGroups(context.Context, *sdk.BatchGetDeploymentGroupsInput, ...func(*sdk.Options)) (*sdk.BatchGetDeploymentGroupsOutput, error)
	UpdateDeploymentGroup(context.Context, *sdk.UpdateDeploymentGroupInput, ...func(*sdk.Options)) (*sdk.UpdateDeploymentGroupOutput, error)
}

type hookAPI interface {
	DescribeLifecycleHooks(context.Context, *autoscaling.DescribeLifecycleHooksInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeLifecycleHooksOutput, error)
}

// Guard makes sure that every new instance of an Auto Scaling group waits for CodeDeploy before it serves, and tells
// whether it does.
//
// It does once a deployment has succeeded: from then on the group is attached to the deployment group, and the launching
// hook that CodeDeploy put on it is there. It goes missing when the Auto Scaling group is replaced or its hooks are
// edited; without it new instances serve unchecked, and nothing says so. Guard puts it back, and notes that.
//
// Before, there is no revision that a new instance could be given, and what CodeDeploy then does with one that waits is
// nowhere documented. AWS's way out of "a deployment deadlock" is to detach the group, let instances come, attach it again
// and deploy. So as long as no deployment has succeeded, Guard detaches the group, and DeployFirst does the rest. One that
// is under way is waited for.
//
// Where there is no deployment group, the error wraps ErrNotSetUp.
//
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/troubleshooting-auto-scaling.html.
func (c *Client) Guard(ctx context.Context, group string) (guarded bool, err error) {
	stage := progress.Start(ctx, "check the launching hook of CodeDeploy")
	defer stage.End(&err)
	info, err := c.deploymentGroup(ctx)
	if err != nil {
		return false, err
	}
	if last := info.LastAttemptedDeployment; info.LastSuccessfulDeployment == nil && last != nil && !over(last.Status) {
		_, err := c.awaitEnd(ctx, stage, aws.ToString(last.DeploymentId))
		if _, failed := errors.AsType[*FailedError](err); err != nil && !failed {
			return false, err
		}
		if info, err = c.deploymentGroup(ctx); err != nil {
			return false, err
		}
	}
	if info.LastSuccessfulDeployment != nil {
		return true, c.attach(ctx, info, group)
	}
	if len(info.AutoScalingGroups) > 0 {
		return false, c.detach(ctx)
	}
	return false, nil
}

// DeployFirst deploys a revision over a fleet whose deployment group has not had a successful deployment yet, as Deploy
// does: it attaches the Auto Scaling group, which has to have instances in service, and detaches it again where the
// deployment fails. Where ctx ends the deployment goes on, and Guard sees to what comes of it.
func (c *Client) DeployFirst(ctx context.Context, group string, revision Revision, description string) (result Deployment, err error) {
	info, err := c.deploymentGroup(ctx)
	if err == nil {
		err = c.attach(ctx, info, group)
	}
	if err == nil {
		// One that passed was of a deployment group that is no more, or this one would have a successful deployment.
		result, err = c.deploy(ctx, revision, description, func(types.DeploymentInfo) bool { return false })
	}
	if _, goesOn := errors.AsType[*InterruptedError](err); err == nil || goesOn {
		return result, err
	}
	return result, errors.Join(err, c.detach(ctx))
}

// attach gives the deployment group this one Auto Scaling group, with the launching hook that belongs to it. Where the group
// is attached and its hook is not as it should be, CodeDeploy has to let go of it first: AWS documents these two calls
// for such a mismatch, and one call that changes nothing puts no hook back.
//
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/integrations-aws-auto-scaling.html, "Mismatched hooks".
func (c *Client) attach(ctx context.Context, info types.DeploymentGroupInfo, group string) error {
	wrong, err := c.hookProblem(ctx, info, group)
	if err != nil || wrong == "" {
		return err
	}
	// From here on the group must not stay detached because somebody lost patience.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), updateLimit)
	defer cancel()
	if len(info.AutoScalingGroups) > 0 {
		progress.Note(ctx, "%s: repairing", wrong)
		if err := c.detach(ctx); err != nil {
			return err
		}
	}
	if err := c.update(ctx, []string{group}); err != nil {
		return fmt.Errorf("attach %q: new instances serve unchecked: %w", group, err)
	}
	wrong, err = lag.Read(ctx, func(ctx context.Context) (string, error) {
		info, err := c.deploymentGroup(ctx)
		if err != nil {
			return "", err
		}
		return c.hookProblem(ctx, info, group)
	}, func(wrong string, err error) bool { return err == nil && wrong != "" })
	if err != nil {
		return err
	}
	if wrong != "" {
		return fmt.Errorf("%s, even after %q was detached from deployment group %q and attached again: new instances serve unchecked", wrong, group, c.app)
	}
	return nil
}

// detach takes the Auto Scaling groups out of the deployment group, and their hooks with them.
func (c *Client) detach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), updateLimit)
	defer cancel()
	if err := c.update(ctx, []string{}); err != nil { // not nil, which changes nothing
		return fmt.Errorf("detach the Auto Scaling group: %w", err)
	}
	return nil
}

func (c *Client) update(ctx context.Context, groups []string) error {
	_, err := c.groups.UpdateDeploymentGroup(ctx, &sdk.UpdateDeploymentGroupInput{
		ApplicationName: &c.app, CurrentDeploymentGroupName: &c.app, AutoScalingGroups: groups,
	})
	if err != nil {
		return fmt.Errorf("update deployment group %q: %w", c.app, wrapNotSetUp(err))
	}
	return nil
}

// deploymentGroup describes the deployment group.
func (c *Client) deploymentGroup(ctx context.Context) (types.DeploymentGroupInfo, error) {
	out, err := c.groups.BatchGetDeploymentGroups(ctx, &sdk.BatchGetDeploymentGroupsInput{ApplicationName: &c.app, DeploymentGroupNames: []string{c.app}})
	if err != nil {
		return types.DeploymentGroupInfo{}, fmt.Errorf("describe deployment group %q: %w", c.app, wrapNotSetUp(err))
	}
	if len(out.DeploymentGroupsInfo) == 0 {
		return types.DeploymentGroupInfo{}, fmt.Errorf("describe deployment group %q: it is not there: %w", c.app, ErrNotSetUp)
	}
	return out.DeploymentGroupsInfo[0], nil
}

// hookProblem says what is wrong with what holds an Auto Scaling group's new instances; it is empty where all is well.
func (c *Client) hookProblem(ctx context.Context, info types.DeploymentGroupInfo, group string) (string, error) {
	if len(info.AutoScalingGroups) != 1 || aws.ToString(info.AutoScalingGroups[0].Name) != group {
		var names []string
		for _, g := range info.AutoScalingGroups {
			names = append(names, aws.ToString(g.Name))
		}
		return fmt.Sprintf("deployment group %q has the Auto Scaling groups [%s], not %q", c.app, strings.Join(names, ", "), group), nil
	}
	hook := aws.ToString(info.AutoScalingGroups[0].Hook)
	if hook == "" {
		return fmt.Sprintf("CodeDeploy has no launching hook on %q", group), nil
	}
	out, err := c.hooks.DescribeLifecycleHooks(ctx, &autoscaling.DescribeLifecycleHooksInput{AutoScalingGroupName: &group})
	if err != nil {
		return "", fmt.Errorf("describe lifecycle hooks of %q: %w", group, err)
	}
	i := slices.IndexFunc(out.LifecycleHooks, func(h asgtypes.LifecycleHook) bool { return aws.ToString(h.LifecycleHookName) == hook })
	switch {
	case i < 0:
		return fmt.Sprintf("launching hook %q is missing on %q", hook, group), nil
	case aws.ToString(out.LifecycleHooks[i].DefaultResult) == "CONTINUE":
		// Then an instance that nobody checked in time would serve.
		return fmt.Sprintf("launching hook %q on %q lets unchecked instances serve when its time is over", hook, group), nil
	}
	return "", nil
}
