package codedeploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"

	"github.com/ingot-build/ingot/internal/lag"
	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	// The scripts of a small fleet take seconds, so the first look comes soon; those that follow come ever less often.
	firstPoll = 500 * time.Millisecond
	lastPoll  = 10 * time.Second

	// maxTargets is of how many instances the running events are shown: as many as one call describes.
	maxTargets = 25
)

// Deploy deploys a revision over the fleet and waits for the end. The description says for what, "release …"; together
// they tell a deployment from others, so that one which an earlier run started is watched instead of started twice, and
// one which that run saw to its end is not made again. Another deployment that is under way is waited for. Where ctx
// ends, the deployment goes on. A deployment of which any instance failed has failed, whatever the deployment
// configuration makes of it: CodeDeployDefault.AllAtOnce is content with one that passed. Errors wrap a *FailedError,
// an *InterruptedError or ErrNotSetUp where that is the cause.
func (c *Client) Deploy(ctx context.Context, revision Revision, description string) (result Deployment, err error) {
	return c.deploy(ctx, revision, description, passed)
}

// deploy deploys a revision, unless the newest deployment is one of it and is done.
func (c *Client) deploy(ctx context.Context, revision Revision, description string, done func(types.DeploymentInfo) bool) (result Deployment, err error) {
	stage := progress.Start(ctx, "deploy %s with CodeDeploy", description)
	defer stage.End(&err)
	result, err = c.deployOnce(ctx, stage, revision, description, done)
	if err != nil {
		return result, fmt.Errorf("deploy %s: %w", description, err)
	}
	return result, nil
}

func (c *Client) deployOnce(ctx context.Context, stage *progress.Stage, revision Revision, description string, done func(types.DeploymentInfo) bool) (Deployment, error) {
	for poll := firstPoll; ; poll = nextPoll(poll) {
		last, err := c.newestDeployments(ctx)
		if err != nil {
			return Deployment{}, err
		}
		// Those of Auto Scaling concern one new instance each; the newest of the others says what the fleet was last told.
		last = slices.DeleteFunc(last, byAutoScaling)
		if len(last) > 0 && revision.isOf(last[0].Revision) && aws.ToString(last[0].Description) == description {
			switch {
			case done(last[0]):
				return deployment(last[0]), nil
			case !over(last[0].Status):
				return c.awaitEnd(ctx, stage, aws.ToString(last[0].DeploymentId))
			}
		}
		out, err := c.deployments.CreateDeployment(ctx, &sdk.CreateDeploymentInput{
			ApplicationName: &c.app, DeploymentGroupName: &c.app, Revision: revision.location(), Description: &description,
		})
		if err == nil {
			return c.awaitEnd(ctx, stage, aws.ToString(out.DeploymentId))
		}
		if _, busy := errors.AsType[*types.DeploymentLimitExceededException](err); !busy {
			return Deployment{}, fmt.Errorf("create deployment: %w", wrapNotSetUp(err))
		}
		other := "another deployment"
		if len(last) > 0 && !over(last[0].Status) {
			other = fmt.Sprintf("deployment %s (%s)", aws.ToString(last[0].DeploymentId), aws.ToString(last[0].Description))
		}
		stage.Update("waiting for %s", other)
		if wait.About(ctx, poll) != nil {
			return Deployment{}, fmt.Errorf("%w while it waited for %s: %w", context.Cause(ctx), other, err)
		}
	}
}

// awaitEnd waits for the end of a deployment.
func (c *Client) awaitEnd(ctx context.Context, stage *progress.Stage, id string) (Deployment, error) {
	begin := time.Now()
	for poll := firstPoll; ; poll = nextPoll(poll) {
		found, err := c.describeDeployments(ctx, []string{id})
		if ctx.Err() == nil && err == nil && len(found) == 0 && time.Since(begin) >= lag.Limit {
			err = fmt.Errorf("deployment %s is not there", id)
		}
		if err == nil && len(found) > 0 {
			if over(found[0].Status) {
				return c.resultOf(ctx, found[0])
			}
			stage.Update("%s", c.progressLine(ctx, found[0]))
		}
		if ctx.Err() == nil && err != nil {
			return Deployment{}, err
		}
		if wait.About(ctx, poll) != nil {
			return Deployment{ID: id}, &InterruptedError{ID: id, Err: context.Cause(ctx)}
		}
	}
}

// resultOf turns the end of a deployment into its result.
func (c *Client) resultOf(ctx context.Context, info types.DeploymentInfo) (Deployment, error) {
	d := deployment(info)
	if passed(info) {
		return d, nil
	}
	failures, err := c.failures(ctx, d.ID)
	d.Failures = failures
	return d, errors.Join(&FailedError{Deployment: d}, err)
}

// progressLine says how far a deployment is: "2 of 4 instances, ValidateService on 1, ApplicationStart on 1".
func (c *Client) progressLine(ctx context.Context, info types.DeploymentInfo) string {
	o := info.DeploymentOverview
	if info.Status != types.DeploymentStatusInProgress || o == nil {
		return fmt.Sprintf("%s is %s", aws.ToString(info.DeploymentId), info.Status)
	}
	done := o.Succeeded + o.Failed + o.Skipped
	text := fmt.Sprintf("%s: %d of %d instances", aws.ToString(info.DeploymentId), done, done+o.Pending+o.InProgress+o.Ready)
	if o.Failed > 0 {
		text += fmt.Sprintf(", %d failed", o.Failed)
	}
	// What runs where is shown, but nothing hangs on it: an error only leaves it out.
	targets, err := c.targetsWith(ctx, aws.ToString(info.DeploymentId), types.TargetStatusInProgress)
	if err != nil {
		return text
	}
	running := map[string]int{}
	for _, target := range targets {
		for _, event := range target.LifecycleEvents {
			if event.Status == types.LifecycleEventStatusInProgress {
				running[aws.ToString(event.LifecycleEventName)]++
			}
		}
	}
	events := make([]string, 0, len(running))
	for _, name := range slices.Sorted(maps.Keys(running)) {
		events = append(events, fmt.Sprintf("%s on %d", name, running[name]))
	}
	return strings.Join(append([]string{text}, events...), ", ")
}

func byAutoScaling(info types.DeploymentInfo) bool {
	return info.Creator == types.DeploymentCreatorAutoscaling || info.Creator == types.DeploymentCreatorAutoscalingTermination
}

func nextPoll(poll time.Duration) time.Duration { return min(lastPoll, poll*3/2) }
