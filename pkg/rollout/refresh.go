package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/ingot-build/ingot/pkg/progress"
)

type refreshAPI interface {
	StartInstanceRefresh(context.Context, *autoscaling.StartInstanceRefreshInput, ...func(*autoscaling.Options)) (*autoscaling.StartInstanceRefreshOutput, error)
	DescribeInstanceRefreshes(context.Context, *autoscaling.DescribeInstanceRefreshesInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeInstanceRefreshesOutput, error)
	RollbackInstanceRefresh(context.Context, *autoscaling.RollbackInstanceRefreshInput, ...func(*autoscaling.Options)) (*autoscaling.RollbackInstanceRefreshOutput, error)
}

const (
	// The first look comes soon, since a small fleet is quick; then the gap grows, so that a long rollout does not
	// use up the account's request quota. The number of calls does not depend on the number of instances.
	firstPoll = 500 * time.Millisecond
	lastPoll  = 10 * time.Second

	// lostLimit is how many instances of a new release may be lost before it is given up. One can be an accident of
	// the hardware; in a good release there is none.
	lostLimit = 2

	// launchLimit bounds the wait for a first release. A refresh needs no such limit: EC2 Auto Scaling fails one that
	// makes no progress for an hour.
	launchLimit = 15 * time.Minute
)

// refresh replaces the instances of a group by ones of a launch template version.
func (r *Roller) refresh(ctx context.Context, fleet Fleet, version int64, release Release) (err error) {
	stage := progress.Start(ctx, "replace %d instances of %s by release %s", fleet.Desired, fleet.Group, release.Name)
	defer stage.End(&err)
	id, err := r.startRefresh(ctx, fleet, version)
	if err != nil {
		return err
	}
	if err := r.watchRefresh(ctx, stage, fleet, id, version); err != nil {
		return fmt.Errorf("roll out release %q: %w", release.Name, err)
	}
	return nil
}

// startRefresh starts an instance refresh, or adopts one to the same version that is under way.
func (r *Roller) startRefresh(ctx context.Context, fleet Fleet, version int64) (id string, err error) {
	out, err := r.Refreshes.StartInstanceRefresh(ctx, &autoscaling.StartInstanceRefreshInput{
		AutoScalingGroupName: aws.String(fleet.Group),
		Strategy:             asgtypes.RefreshStrategyRolling,
		// A numbered version, in the refresh and not in the group: only so can the refresh be rolled back.
		DesiredConfiguration: &asgtypes.DesiredConfiguration{LaunchTemplate: templateSpec(fleet.TemplateID, version)},
		Preferences: &asgtypes.RefreshPreferences{
			AutoRollback:         aws.Bool(true),
			InstanceWarmup:       aws.Int32(int32(r.options.Warmup / time.Second)),
			MinHealthyPercentage: aws.Int32(int32(r.options.MinHealthy)),
			MaxHealthyPercentage: aws.Int32(int32(r.options.MaxHealthy)),
			SkipMatching:         aws.Bool(true),
			// Waiting, the default, would hold the rollout for an hour and then fail it.
			ScaleInProtectedInstances: asgtypes.ScaleInProtectedInstancesRefresh,
			StandbyInstances:          asgtypes.StandbyInstancesIgnore,
		},
	})
	if err == nil {
		return aws.ToString(out.InstanceRefreshId), nil
	}
	if _, busy := errors.AsType[*asgtypes.InstanceRefreshInProgressFault](err); !busy {
		return "", fmt.Errorf("start instance refresh of %q: %w", fleet.Group, err)
	}
	running, err := r.lastRefresh(ctx, fleet.Group, "")
	if err != nil {
		return "", err
	}
	if refreshVersion(running) == strconv.FormatInt(version, 10) && running.Status != asgtypes.InstanceRefreshStatusRollbackInProgress {
		progress.Note(ctx, "instance refresh %s to this release runs already: watching it", aws.ToString(running.InstanceRefreshId))
		return aws.ToString(running.InstanceRefreshId), nil
	}
	return "", fmt.Errorf("%w: instance refresh %s of %q to launch template version %s is %s since %s; wait for its end and try again",
		ErrBusy, aws.ToString(running.InstanceRefreshId), fleet.Group, refreshVersion(running), running.Status, aws.ToTime(running.StartTime).Format(time.RFC3339))
}

func refreshVersion(refresh asgtypes.InstanceRefresh) string {
	if refresh.DesiredConfiguration == nil || refresh.DesiredConfiguration.LaunchTemplate == nil {
		return ""
	}
	return aws.ToString(refresh.DesiredConfiguration.LaunchTemplate.Version)
}

// lastRefresh returns the refresh with an ID, or the newest one.
func (r *Roller) lastRefresh(ctx context.Context, group, id string) (asgtypes.InstanceRefresh, error) {
	in := &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: aws.String(group), MaxRecords: aws.Int32(1)}
	if id != "" {
		in.InstanceRefreshIds = []string{id}
	}
	out, err := r.Refreshes.DescribeInstanceRefreshes(ctx, in)
	if err != nil {
		return asgtypes.InstanceRefresh{}, fmt.Errorf("describe instance refreshes of %q: %w", group, err)
	}
	if len(out.InstanceRefreshes) == 0 {
		return asgtypes.InstanceRefresh{}, fmt.Errorf("describe instance refreshes of %q: refresh %q is not there", group, id)
	}
	return out.InstanceRefreshes[0], nil
}

// watchRefresh waits until a refresh ends. It asks for a rollback when the new instances do not live.
func (r *Roller) watchRefresh(ctx context.Context, stage *progress.Stage, fleet Fleet, id string, version int64) error {
	seen := newCohort(version)
	for poll := firstPoll; ; poll = nextPoll(poll) {
		if err := sleep(ctx, poll); err != nil {
			return fmt.Errorf("%w; instance refresh %s goes on in AWS, and the same command watches it again", err, id)
		}
		refresh, err := r.lastRefresh(ctx, fleet.Group, id)
		if err != nil {
			return err
		}
		now, err := r.again(ctx, fleet)
		if err != nil {
			return err
		}
		seen.look(now)
		stage.Update("%s", refreshLine(refresh, seen))

		switch refresh.Status {
		case asgtypes.InstanceRefreshStatusSuccessful:
			return nil
		case asgtypes.InstanceRefreshStatusRollbackSuccessful:
			return r.explain(ctx, fleet.Group, seen, fmt.Errorf("%w by instance refresh %s: %s", ErrReverted, id, aws.ToString(refresh.StatusReason)))
		case asgtypes.InstanceRefreshStatusFailed, asgtypes.InstanceRefreshStatusRollbackFailed, asgtypes.InstanceRefreshStatusCancelled:
			return r.explain(ctx, fleet.Group, seen, fmt.Errorf("instance refresh %s ended as %s: %s", id, refresh.Status, aws.ToString(refresh.StatusReason)))
		case asgtypes.InstanceRefreshStatusPending, asgtypes.InstanceRefreshStatusInProgress, asgtypes.InstanceRefreshStatusBaking:
			if len(seen.lost) < lostLimit || seen.givenUp {
				continue
			}
			seen.givenUp = true
			progress.Note(ctx, "%d new instances were lost: rolling back", len(seen.lost))
			if _, err := r.Refreshes.RollbackInstanceRefresh(ctx, &autoscaling.RollbackInstanceRefreshInput{AutoScalingGroupName: aws.String(fleet.Group)}); err != nil {
				return r.explain(ctx, fleet.Group, seen, fmt.Errorf("roll back instance refresh %s: %w", id, err))
			}
		}
	}
}

// watchLaunch waits until a group that had no instances serves from all that it wants.
func (r *Roller) watchLaunch(ctx context.Context, stage *progress.Stage, fleet Fleet, version int64) error {
	limit, cancel := context.WithTimeout(ctx, launchLimit)
	defer cancel()
	seen := newCohort(version)
	for poll := firstPoll; ; poll = nextPoll(poll) {
		wait := sleep(limit, poll)
		now, err := r.again(ctx, fleet)
		if err != nil {
			return err
		}
		seen.look(now)
		stage.Update("%s", seen)
		switch {
		case len(seen.healthy) >= now.Desired && now.Desired > 0:
			return nil
		case len(seen.lost) >= lostLimit:
			return r.explain(ctx, now.Group, seen, fmt.Errorf("%w: %d instances were replaced", ErrUnhealthy, len(seen.lost)))
		case wait != nil && ctx.Err() == nil:
			return r.explain(ctx, now.Group, seen, fmt.Errorf("%w within %s", ErrUnhealthy, launchLimit))
		case wait != nil:
			return wait
		}
	}
}

// cohort follows the instances of one launch template version.
type cohort struct {
	version string
	members map[string]bool // ever seen alive
	healthy map[string]bool // healthy targets at the last look
	lost    map[string]bool // were there, and are gone or going
	reasons map[string]string
	givenUp bool
}

func newCohort(version int64) *cohort {
	return &cohort{version: strconv.FormatInt(version, 10), members: map[string]bool{}, lost: map[string]bool{}, reasons: map[string]string{}}
}

func (c *cohort) look(f Fleet) {
	alive := map[string]bool{}
	c.healthy = map[string]bool{}
	for _, i := range f.Instances {
		if i.TemplateVersion != c.version {
			continue
		}
		if i.Target != "healthy" && i.Target != "draining" && i.Reason != "" {
			c.reasons[i.ID] = i.Reason
		}
		if strings.HasPrefix(i.Lifecycle, "Terminating") {
			c.members[i.ID] = true
			continue
		}
		c.members[i.ID], alive[i.ID] = true, true
		if i.Target == "healthy" && i.Lifecycle == string(asgtypes.LifecycleStateInService) {
			c.healthy[i.ID] = true
		}
	}
	for id := range c.members {
		if !alive[id] {
			c.lost[id] = true
		}
	}
}

// String is a line for the progress display.
func (c *cohort) String() string {
	text := fmt.Sprintf("%d new, %d healthy", len(c.members)-len(c.lost), len(c.healthy))
	if len(c.lost) > 0 {
		text += fmt.Sprintf(", %d lost", len(c.lost))
	}
	return text
}

func refreshLine(refresh asgtypes.InstanceRefresh, seen *cohort) string {
	text := fmt.Sprintf("%s %d%%, %s", refresh.Status, aws.ToInt32(refresh.PercentageComplete), seen)
	if reason := aws.ToString(refresh.StatusReason); reason != "" {
		text += ": " + reason
	}
	return text
}

// explain adds to an error what is known of its cause: what the load balancer said of the new instances, and the last
// scaling activity that failed.
func (r *Roller) explain(ctx context.Context, group string, seen *cohort, err error) error {
	var causes []string
	for id, reason := range seen.reasons {
		causes = append(causes, id+" "+reason)
	}
	slices.Sort(causes)
	out, activitiesErr := r.Groups.DescribeScalingActivities(ctx, &autoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: aws.String(group), MaxRecords: aws.Int32(20)})
	if activitiesErr == nil {
		for _, a := range out.Activities {
			if a.StatusCode == asgtypes.ScalingActivityStatusCodeFailed {
				causes = append(causes, aws.ToString(a.Description)+": "+aws.ToString(a.StatusMessage))
				break
			}
		}
	}
	if len(causes) == 0 {
		return err
	}
	return fmt.Errorf("%w; %s", err, strings.Join(causes, "; "))
}

func nextPoll(poll time.Duration) time.Duration { return min(lastPoll, poll*3/2) }

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
