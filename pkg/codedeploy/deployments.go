package codedeploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"golang.org/x/sync/errgroup"
)

const (
	// maxListed is how many deployments are looked at: as many as one call describes, see BatchGetDeployments.
	maxListed = 25

	// atOnce is how many calls are made at the same time; CodeDeploy allows few a second.
	atOnce = 4

	// maxExplained is of how many instances a failure is explained: more would only say the same again.
	maxExplained = 3

	// maxSearched is how many failed launches are searched for the instances to explain.
	maxSearched = 10
)

// Deployments returns the newest deployments, at most 25, the newest first, with what failed on which instance.
func (c *Client) Deployments(ctx context.Context) ([]Deployment, error) {
	infos, err := c.newestDeployments(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Deployment, len(infos))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, info := range infos {
		all[i] = deployment(info)
		if over(info.Status) && !passed(info) {
			group.Go(func() (err error) {
				all[i].Failures, err = c.failures(groupCtx, all[i].ID)
				return err
			})
		}
	}
	return all, group.Wait()
}

// Explain says why CodeDeploy did not let new instances serve: for those with the given IDs, or without any for the newest
// ones, which event of which script failed, and the end of what it wrote. It is empty where CodeDeploy knows nothing of
// them, or cannot be asked.
func (c *Client) Explain(ctx context.Context, instances []string) string {
	infos, err := c.newestDeployments(ctx)
	if err != nil {
		return ""
	}
	failed := slices.DeleteFunc(infos, func(info types.DeploymentInfo) bool {
		return info.Creator != types.DeploymentCreatorAutoscaling || info.Status != types.DeploymentStatusFailed
	})
	var reasons []string
	for _, info := range failed[:min(maxSearched, len(failed))] {
		failures, err := c.failures(ctx, aws.ToString(info.DeploymentId))
		if err != nil {
			return ""
		}
		for _, f := range failures {
			if len(instances) == 0 || slices.Contains(instances, f.Instance) {
				reasons = append(reasons, f.String())
			}
		}
		if len(reasons) >= maxExplained {
			break
		}
	}
	return strings.Join(reasons[:min(maxExplained, len(reasons))], "\n")
}

// newestDeployments returns the newest deployments of the group, at most 25, the newest first.
func (c *Client) newestDeployments(ctx context.Context) ([]types.DeploymentInfo, error) {
	ids, err := c.recentDeployments(ctx)
	if err != nil {
		return nil, err
	}
	var infos []types.DeploymentInfo
	for some := range slices.Chunk(ids, maxListed) {
		described, err := c.describeDeployments(ctx, some)
		if err != nil {
			return nil, err
		}
		infos = append(infos, described...)
	}
	slices.SortStableFunc(infos, newestFirst)
	return infos[:min(maxListed, len(infos))], nil
}

// recentDeployments returns the IDs of at least the newest 25 deployments. AWS documents no order of the list, and every
// launch of an instance adds to it: so it is asked for ever longer times back, until there are enough.
func (c *Client) recentDeployments(ctx context.Context) (ids []string, err error) {
	const day = 24 * time.Hour
	for _, since := range [...]time.Duration{day, 30 * day, 365 * day, 0} {
		in := &sdk.ListDeploymentsInput{ApplicationName: &c.app, DeploymentGroupName: &c.app}
		if since > 0 {
			in.CreateTimeRange = &types.TimeRange{Start: aws.Time(time.Now().Add(-since))}
		}
		ids = nil
		for pages := sdk.NewListDeploymentsPaginator(c.deployments, in); pages.HasMorePages(); {
			out, err := pages.NextPage(ctx)
			if err != nil {
				return nil, fmt.Errorf("list deployments of %q: %w", c.app, wrapNotSetUp(err))
			}
			ids = append(ids, out.Deployments...)
		}
		if len(ids) >= maxListed {
			break
		}
	}
	return ids, nil
}

func newestFirst(a, b types.DeploymentInfo) int {
	return aws.ToTime(b.CreateTime).Compare(aws.ToTime(a.CreateTime))
}

// describeDeployments returns the deployments with the given IDs, at most 25, the newest first.
func (c *Client) describeDeployments(ctx context.Context, ids []string) ([]types.DeploymentInfo, error) {
	out, err := c.deployments.BatchGetDeployments(ctx, &sdk.BatchGetDeploymentsInput{DeploymentIds: ids})
	if err != nil {
		return nil, fmt.Errorf("describe deployments %s: %w", strings.Join(ids, ", "), err)
	}
	slices.SortStableFunc(out.DeploymentsInfo, newestFirst)
	return out.DeploymentsInfo, nil
}

// failures returns on which instances a deployment failed, and how.
func (c *Client) failures(ctx context.Context, id string) ([]Failure, error) {
	targets, err := c.targetsWith(ctx, id, types.TargetStatusFailed)
	if err != nil {
		return nil, err
	}
	var failures []Failure
	for _, target := range targets {
		failures = append(failures, failure(target))
	}
	return failures, nil
}

// failure finds the event that failed.
func failure(target types.InstanceTarget) Failure {
	// The ID is the last part of the ARN where the service gives one in its place.
	id := aws.ToString(target.TargetId)
	f := Failure{Instance: id[strings.LastIndex(id, "/")+1:]}
	for _, event := range target.LifecycleEvents {
		if event.Status != types.LifecycleEventStatusFailed {
			continue
		}
		f.Event = aws.ToString(event.LifecycleEventName)
		if d := event.Diagnostics; d != nil {
			f.Script, f.Code, f.Message, f.Log = aws.ToString(d.ScriptName), string(d.ErrorCode), aws.ToString(d.Message), aws.ToString(d.LogTail)
		}
		break
	}
	return f
}

// targetsWith describes the instances of a deployment that are in a status, at most 25 of them.
func (c *Client) targetsWith(ctx context.Context, id string, status types.TargetStatus) ([]types.InstanceTarget, error) {
	list, err := c.deployments.ListDeploymentTargets(ctx, &sdk.ListDeploymentTargetsInput{
		DeploymentId: &id, TargetFilters: map[string][]string{string(types.TargetFilterNameTargetStatus): {string(status)}},
	})
	if err != nil {
		return nil, fmt.Errorf("list targets of deployment %s: %w", id, err)
	}
	if len(list.TargetIds) == 0 {
		return nil, nil
	}
	out, err := c.deployments.BatchGetDeploymentTargets(ctx, &sdk.BatchGetDeploymentTargetsInput{
		DeploymentId: &id, TargetIds: list.TargetIds[:min(maxTargets, len(list.TargetIds))],
	})
	if err != nil {
		return nil, fmt.Errorf("describe targets of deployment %s: %w", id, err)
	}
	var targets []types.InstanceTarget
	for _, target := range out.DeploymentTargets {
		if target.InstanceTarget != nil {
			targets = append(targets, *target.InstanceTarget)
		}
	}
	return targets, nil
}
