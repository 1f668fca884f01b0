package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/ingot-build/ingot/internal/lag"
	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/progress"
)

type refreshAPI interface {
	StartInstanceRefresh(context.Context, *autoscaling.StartInstanceRefreshInput, ...func(*autoscaling.Options)) (*autoscaling.StartInstanceRefreshOutput, error)
	DescribeInstanceRefreshes(context.Context, *autoscaling.DescribeInstanceRefreshesInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeInstanceRefreshesOutput, error)
	RollbackInstanceRefresh(context.Context, *autoscaling.RollbackInstanceRefreshInput, ...func(*autoscaling.Options)) (*autoscaling.RollbackInstanceRefreshOutput, error)
	CancelInstanceRefresh(context.Context, *autoscaling.CancelInstanceRefreshInput, ...func(*autoscaling.Options)) (*autoscaling.CancelInstanceRefreshOutput, error)
}

// pointerGrace is how long a run that queued waits once another refresh is over: the other run still has to see its release
// served and to move the pointer.
const pointerGrace = 10 * time.Second

// Refresh is an instance refresh.
type Refresh struct {
	ID              string          `json:"id"`
	Status          string          `json:"status"` // Pending, InProgress, Baking, Successful, …
	Reason          string          `json:"reason,omitempty"`
	Percentage      int             `json:"percentage"`
	Begin           time.Time       `json:"begin"`
	TemplateVersion TemplateVersion `json:"template_version"`  // what it replaces the instances by
	Release         string          `json:"release,omitempty"` // of that version, where it is known
	By              string          `json:"by,omitempty"`      // who started it, where it is known

	preferences    asgtypes.RefreshPreferences // those that it was started with, maybe by another run
	rollbackReason string
	waits          int // percentage of the checkpoint at which it waits; 0 where it does not
}

// Over tells whether the refresh has come to its end, good or bad.
func (x Refresh) Over() bool {
	switch asgtypes.InstanceRefreshStatus(x.Status) {
	case asgtypes.InstanceRefreshStatusSuccessful, asgtypes.InstanceRefreshStatusFailed, asgtypes.InstanceRefreshStatusCancelled,
		asgtypes.InstanceRefreshStatusRollbackSuccessful, asgtypes.InstanceRefreshStatusRollbackFailed:
		return true
	}
	return x.ID == ""
}

// forward tells whether the refresh replaces instances, and does not end or turn around already.
func (x Refresh) forward() bool {
	switch asgtypes.InstanceRefreshStatus(x.Status) {
	case asgtypes.InstanceRefreshStatusPending, asgtypes.InstanceRefreshStatusInProgress, asgtypes.InstanceRefreshStatusBaking:
		return true
	}
	return false
}

// leadsTo tells whether the refresh replaces instances by ones of a version. One that is there for another reason names no
// version, as does a release that has none yet: they have nothing to do with each other.
func (x Refresh) leadsTo(version TemplateVersion) bool {
	return x.forward() && version.Numbered() && x.TemplateVersion == version
}

// String says which refresh it is: "instance refresh ID to release r2 by alice".
func (x Refresh) String() string {
	text := "instance refresh " + x.ID
	switch {
	case x.Release != "":
		text += " to release " + x.Release
	case x.TemplateVersion != NoVersion:
		text += " to launch template version " + x.TemplateVersion.String()
	}
	if x.By != "" {
		text += " by " + x.By
	}
	return text
}

// Progress is how far the refresh is, or what came of it: "InProgress 50 %: Waiting for …", "RollbackSuccessful 100 %: …".
func (x Refresh) Progress() string {
	text := fmt.Sprintf("%s %d %%", x.Status, x.Percentage)
	switch p := x.preferences; {
	case x.Status == string(asgtypes.InstanceRefreshStatusBaking) && aws.ToInt32(p.BakeTime) > 0:
		text += fmt.Sprintf(", watched for %s before it is over", seconds(p.BakeTime))
	case x.waits > 0:
		text += fmt.Sprintf(", waits %s at the checkpoint of %d %%", seconds(p.CheckpointDelay), x.waits)
	}
	if reason := cmp.Or(x.rollbackReason, x.Reason); x.Over() && reason != "" {
		text += ": " + reason
	} else if x.Reason != "" {
		text += ": " + x.Reason
	}
	return text
}

// checkpoint is the last one that has been reached; 0 where there is none.
func (x Refresh) checkpoint() (reached int) {
	for _, c := range x.preferences.CheckpointPercentages {
		if int(c) <= x.Percentage && c < 100 {
			reached = int(c)
		}
	}
	return reached
}

func seconds(n *int32) time.Duration { return time.Duration(aws.ToInt32(n)) * time.Second }

// preferences are the options as StartInstanceRefresh takes them. Everything that has a default in AWS, or one in the
// group, is said. The way back to a release that was live does not wait for checkpoints or for a time to bake, nor for
// alarms, which the release that it replaces may have raised.
func (r *Roller) preferences(back bool) *asgtypes.RefreshPreferences {
	o := r.options
	p := &asgtypes.RefreshPreferences{
		AutoRollback:         aws.Bool(true),
		InstanceWarmup:       inSeconds(*o.Warmup),
		MinHealthyPercentage: aws.Int32(int32(*o.MinHealthy)),
		// An explicit 100 launches before it terminates where both bounds cannot hold; left out it would do both at once.
		MaxHealthyPercentage:      aws.Int32(int32(o.MaxHealthy)),
		SkipMatching:              aws.Bool(!o.ReplaceMatching),
		ScaleInProtectedInstances: r.protected(),
		StandbyInstances:          r.standby(),
	}
	if back {
		return p
	}
	if o.BakeTime > 0 {
		p.BakeTime = inSeconds(o.BakeTime)
	}
	if len(o.Alarms) > 0 {
		p.AlarmSpecification = &asgtypes.AlarmSpecification{Alarms: o.Alarms}
	}
	if len(o.Checkpoints) > 0 {
		for _, c := range slices.Sorted(slices.Values(o.Checkpoints)) {
			p.CheckpointPercentages = append(p.CheckpointPercentages, int32(c))
		}
		// Without it the refresh would end with a part of the fleet replaced.
		if p.CheckpointPercentages[len(p.CheckpointPercentages)-1] != 100 {
			p.CheckpointPercentages = append(p.CheckpointPercentages, 100)
		}
		p.CheckpointDelay = inSeconds(*o.CheckpointDelay)
	}
	return p
}

// The default of both in AWS is to wait, for an hour, and then to fail the refresh.

func (r *Roller) standby() asgtypes.StandbyInstances {
	switch r.options.Standby {
	case "terminate":
		return asgtypes.StandbyInstancesTerminate
	case "wait":
		return asgtypes.StandbyInstancesWait
	}
	return asgtypes.StandbyInstancesIgnore
}

func (r *Roller) protected() asgtypes.ScaleInProtectedInstances {
	switch r.options.Protected {
	case "ignore":
		return asgtypes.ScaleInProtectedInstancesIgnore
	case "wait":
		return asgtypes.ScaleInProtectedInstancesWait
	}
	return asgtypes.ScaleInProtectedInstancesRefresh
}

func inSeconds(d time.Duration) *int32 { return aws.Int32(int32(d / time.Second)) }

// replaceInstances replaces the instances of a group by ones of a launch template version, or watches a refresh that
// does so already, to its end.
func (r *Roller) replaceInstances(ctx context.Context, s step) (err error) {
	stage := progress.Start(ctx, "replace %d instances of %s by release %s", s.fleet.Desired, s.fleet.Group, s.release.Name)
	defer stage.End(&err)
	if s.active.ID == "" {
		s.active, err = r.startRefresh(ctx, s)
	} else {
		s.active.Release = s.release.Name
		progress.Note(stage.Inside(ctx), "%s runs already: watching it", s.active)
	}
	if err != nil {
		return err
	}
	if err := r.watch(stage, s).awaitRefreshEnd(ctx); err != nil {
		return fmt.Errorf("roll out release %q: %w", s.release.Name, err)
	}
	return nil
}

// startRefresh starts an instance refresh, or adopts one to the same version that somebody has just started.
func (r *Roller) startRefresh(ctx context.Context, s step) (Refresh, error) {
	var failed error
	for range lag.Limit / lag.Gap {
		out, err := lag.Read(ctx, func(ctx context.Context) (*autoscaling.StartInstanceRefreshOutput, error) {
			return r.refreshes.StartInstanceRefresh(ctx, &autoscaling.StartInstanceRefreshInput{
				AutoScalingGroupName: aws.String(s.fleet.Group),
				Strategy:             asgtypes.RefreshStrategyRolling,
				// A numbered version, in the refresh and not in the group: only so can the refresh be rolled back.
				DesiredConfiguration: &asgtypes.DesiredConfiguration{LaunchTemplate: templateSpec(s.fleet.TemplateID, s.version)},
				Preferences:          r.preferences(s.back),
			})
		}, templateUnknown)
		if err == nil {
			id := aws.ToString(out.InstanceRefreshId)
			r.noteStarter(ctx, id, s.release)
			return Refresh{
				ID: id, Status: string(asgtypes.InstanceRefreshStatusPending), Begin: time.Now(),
				TemplateVersion: s.version, Release: s.release.Name, preferences: *r.preferences(s.back),
			}, nil
		}
		if ctx.Err() != nil {
			return Refresh{}, &InterruptedError{
				Err: context.Cause(ctx), State: Unknown, What: fmt.Sprintf("an instance refresh of %q was being started", s.fleet.Group),
			}
		}
		failed = fmt.Errorf("start instance refresh of %q: %w", s.fleet.Group, err)
		if _, busy := errors.AsType[*asgtypes.InstanceRefreshInProgressFault](err); !busy {
			return Refresh{}, failed
		}
		if s.fleet, s.active, err = r.awaitNoOtherRefresh(ctx, s); err != nil || s.active.ID != "" {
			return s.active, err
		}
		// The one that is in the way has just ended, or has begun a moment ago and is not shown yet.
		if err := wait.For(ctx, lag.Gap); err != nil {
			return Refresh{}, err
		}
	}
	return Refresh{}, failed
}

// awaitNoOtherRefresh returns once no instance refresh to anything but the step's version runs: the fleet as it is
// then, and the refresh to that version where one is under way. Where another one runs, the error wraps ErrBusy unless
// the options say to wait for it.
func (r *Roller) awaitNoOtherRefresh(ctx context.Context, s step) (Fleet, Refresh, error) {
	for {
		active, err := r.newestRefresh(ctx, s.fleet.Group)
		switch {
		case err != nil:
			return Fleet{}, Refresh{}, err
		case active.Over():
			return s.fleet, Refresh{}, nil
		case active.leadsTo(s.version):
			return s.fleet, active, nil
		}
		active, _ = r.withStarter(ctx, active) // who it is helps, and is not needed
		if !r.options.Wait {
			return Fleet{}, Refresh{}, &BusyError{Group: s.fleet.Group, Refresh: active}
		}
		if err := r.awaitRefresh(ctx, s.fleet.Group, active); err != nil {
			return Fleet{}, Refresh{}, err
		}
		if s.fleet, err = r.reloadFleet(ctx, s.fleet); err != nil {
			return Fleet{}, Refresh{}, err
		}
	}
}

// awaitRefresh waits for the end of somebody's refresh, whatever it is.
func (r *Roller) awaitRefresh(ctx context.Context, group string, other Refresh) (err error) {
	stage := progress.Start(ctx, "wait for the end of %s", other)
	defer stage.End(&err)
	var f faults
	for begin := time.Now(); !other.Over(); {
		if err := wait.For(ctx, r.gap(time.Since(begin))); err != nil {
			return fmt.Errorf("%w; nothing was started", err)
		}
		now, err := r.describeRefresh(ctx, group, other.ID)
		if fatal := f.tolerate(ctx, err); fatal != nil {
			return fatal
		}
		if err != nil {
			stage.Update("AWS does not answer: %v", err)
			continue
		}
		other = now
		stage.Update("%s", other.Progress())
	}
	return wait.For(ctx, pointerGrace)
}

// newestRefresh returns the group's newest refresh, zero where there has been none.
func (r *Roller) newestRefresh(ctx context.Context, group string) (Refresh, error) {
	refresh, err := r.describeRefresh(ctx, group, "")
	if errors.Is(err, errNoRefresh) {
		return Refresh{}, nil
	}
	return refresh, err
}

var errNoRefresh = errors.New("there is no such instance refresh")

func (r *Roller) describeRefresh(ctx context.Context, group, id string) (Refresh, error) {
	in := &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: aws.String(group), MaxRecords: aws.Int32(1)}
	if id != "" {
		in.InstanceRefreshIds = []string{id}
	}
	out, err := r.refreshes.DescribeInstanceRefreshes(ctx, in)
	if err != nil {
		return Refresh{}, fmt.Errorf("describe instance refreshes of %q: %w", group, err)
	}
	if len(out.InstanceRefreshes) == 0 {
		return Refresh{}, fmt.Errorf("describe instance refresh %q of %q: %w", id, group, errNoRefresh)
	}
	x := out.InstanceRefreshes[0]
	refresh := Refresh{
		ID: aws.ToString(x.InstanceRefreshId), Status: string(x.Status), Reason: aws.ToString(x.StatusReason),
		Percentage: int(aws.ToInt32(x.PercentageComplete)), Begin: aws.ToTime(x.StartTime),
	}
	if x.DesiredConfiguration != nil {
		if refresh.TemplateVersion, err = templateVersionOf(x.DesiredConfiguration.LaunchTemplate); err != nil {
			return Refresh{}, fmt.Errorf("describe instance refresh %q of %q: %w", refresh.ID, group, err)
		}
	}
	if x.Preferences != nil {
		refresh.preferences = *x.Preferences
	}
	if x.RollbackDetails != nil {
		refresh.rollbackReason = aws.ToString(x.RollbackDetails.RollbackReason)
	}
	return refresh, nil
}

// endReason is what AWS says of the end of a refresh.
func (x Refresh) endReason() string { return cmp.Or(x.rollbackReason, x.Reason, "AWS gives no reason") }
