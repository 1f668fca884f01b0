package rollout

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/ingot-build/ingot/pkg/progress"
)

// launchLimit bounds the wait for instances that no refresh brings. A refresh needs no such limit: EC2 Auto Scaling fails
// one that makes no progress for an hour.
const launchLimit = 15 * time.Minute

// launch gives a group without instances a release.
func (r *Roller) launch(ctx context.Context, s step) (err error) {
	stage := progress.Start(ctx, "launch %d instances of release %s in %s", r.options.Min, s.release.Name, s.fleet.Group)
	defer stage.End(&err)
	if err := r.resize(ctx, s.fleet, s.version, r.options.Min); err != nil {
		return err
	}
	if err := r.watch(stage, s).launched(ctx); err != nil {
		err = fmt.Errorf("launch release %q: %w", s.release.Name, err)
		if goesOn(ctx, err) {
			return err
		}
		// Nothing served before, so nothing is lost, and an unhealthy group would replace its instances for ever.
		return r.emptied(ctx, s, err)
	}
	return nil
}

// settle waits until a group whose instances are of a release already, or will be, serves from all of them: a run before
// may have ended in the middle of a launch.
func (r *Roller) settle(ctx context.Context, s step) (err error) {
	stage := progress.Start(ctx, "see %d instances of release %s in %s", s.fleet.Desired, s.release.Name, s.fleet.Group)
	defer stage.End(&err)
	if err := r.watch(stage, s).launched(ctx); err != nil {
		err = fmt.Errorf("launch release %q: %w", s.release.Name, err)
		if goesOn(ctx, err) {
			return err
		}
		return r.revert(ctx, s, err)
	}
	return nil
}

// goesOn tells whether a launch was left alone rather than failed.
func goesOn(ctx context.Context, err error) bool {
	return ctx.Err() != nil || !errors.Is(err, ErrUnhealthy)
}

// emptied empties a group after a failure, and adds to its cause what there is then.
func (r *Roller) emptied(ctx context.Context, s step, cause error) error {
	if err := r.empty(ctx, s); err != nil {
		return errors.Join(cause, err)
	}
	return failure{cause, []string{fmt.Sprintf("%s is empty again, as nothing served before; mend the release, and run the same command again", s.fleet.Group)}}
}

// empty takes the instances of a release that never served out of a group that had none before, and gives it the launch
// template version back that it had.
func (r *Roller) empty(ctx context.Context, s step) error {
	version, err := strconv.ParseInt(s.fleet.TemplateVersion, 10, 64)
	if err != nil || version == s.version {
		if version, err = r.defaultVersion(ctx, s.fleet.TemplateID); err != nil {
			return err
		}
	}
	return r.resize(ctx, s.fleet, version, 0)
}

// defaultVersion is the launch template's default version: that of the current release, or the one that it was made with.
func (r *Roller) defaultVersion(ctx context.Context, templateID string) (int64, error) {
	found, err := r.templateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: aws.String(templateID), Versions: []string{"$Default"}})
	if err != nil {
		return 0, err
	}
	if len(found) == 0 {
		return 0, fmt.Errorf("launch template %q has no default version: run: mage infra:apply", templateID)
	}
	return aws.ToInt64(found[0].VersionNumber), nil
}

func (r *Roller) resize(ctx context.Context, fleet Fleet, version int64, instances int) error {
	_, err := r.Groups.UpdateAutoScalingGroup(ctx, &autoscaling.UpdateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String(fleet.Group),
		LaunchTemplate:       templateSpec(fleet.TemplateID, version),
		MinSize:              aws.Int32(int32(instances)),
		DesiredCapacity:      aws.Int32(int32(instances)),
	})
	if err != nil {
		return fmt.Errorf("set capacity of %q to %d: %w", fleet.Group, instances, err)
	}
	return nil
}
