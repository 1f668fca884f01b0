package rollout

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/ingot-build/ingot/internal/lag"
	"github.com/ingot-build/ingot/pkg/progress"
)

// launch gives a group without instances a release.
func (r *Roller) launch(ctx context.Context, s step) (err error) {
	stage := progress.Start(ctx, "launch %d instances of release %s in %s", r.options.Min, s.release.Name, s.fleet.Group)
	defer stage.End(&err)
	if err := r.resize(ctx, s.fleet, s.version, r.options.Min); err != nil {
		return err
	}
	if err := r.watch(stage, s).awaitServing(ctx); err != nil {
		err = fmt.Errorf("launch release %q: %w", s.release.Name, err)
		if leftAlone(ctx, err) {
			return err
		}
		// Nothing served before, so nothing is lost, and an unhealthy group would replace its instances for ever.
		return r.scaleToZeroAfter(ctx, s, err)
	}
	return nil
}

// awaitServing waits until a group whose instances are of a release already, or will be, serves from all of them: a run
// before may have ended in the middle of a launch.
func (r *Roller) awaitServing(ctx context.Context, s step) (err error) {
	stage := progress.Start(ctx, "see %d instances of release %s in %s", s.fleet.Desired, s.release.Name, s.fleet.Group)
	defer stage.End(&err)
	if err := r.watch(stage, s).awaitServing(ctx); err != nil {
		err = fmt.Errorf("launch release %q: %w", s.release.Name, err)
		if leftAlone(ctx, err) {
			return err
		}
		return r.revert(ctx, s, err)
	}
	return nil
}

// leftAlone tells whether a launch was left alone rather than failed.
func leftAlone(ctx context.Context, err error) bool {
	return ctx.Err() != nil || !errors.Is(err, ErrUnhealthy)
}

// scaleToZeroAfter empties a group after a failure, and adds to its cause what there is then.
func (r *Roller) scaleToZeroAfter(ctx context.Context, s step, cause error) error {
	if err := r.scaleToZero(ctx, s); err != nil {
		return errors.Join(cause, err)
	}
	return fmt.Errorf("%w\n  %s is %w", cause, s.fleet.Group, ErrEmptied)
}

// scaleToZero takes the instances of a release that never served out of a group that had none before, and gives it the
// launch template version back that it had.
func (r *Roller) scaleToZero(ctx context.Context, s step) error {
	version := s.fleet.TemplateVersion
	if !version.Numbered() || version == s.version {
		var err error
		if version, err = r.defaultVersion(ctx, s.fleet.TemplateID); err != nil {
			return err
		}
	}
	return r.resize(ctx, s.fleet, version, 0)
}

// defaultVersion is the launch template's default version: that of the current release, or the one that it was made with.
func (r *Roller) defaultVersion(ctx context.Context, templateID string) (TemplateVersion, error) {
	found, err := r.templateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: aws.String(templateID), Versions: []string{"$Default"}})
	if err != nil {
		return NoVersion, err
	}
	if len(found) == 0 {
		return NoVersion, &IncompleteError{fmt.Sprintf("launch template %q has no default version", templateID)}
	}
	return numberOf(found[0]), nil
}

func (r *Roller) resize(ctx context.Context, fleet Fleet, version TemplateVersion, instances int) error {
	_, err := lag.Read(ctx, func(ctx context.Context) (*autoscaling.UpdateAutoScalingGroupOutput, error) {
		return r.groups.UpdateAutoScalingGroup(ctx, &autoscaling.UpdateAutoScalingGroupInput{
			AutoScalingGroupName: aws.String(fleet.Group),
			LaunchTemplate:       templateSpec(fleet.TemplateID, version),
			MinSize:              aws.Int32(int32(instances)),
			DesiredCapacity:      aws.Int32(int32(instances)),
		})
	}, templateUnknown)
	if err != nil {
		return fmt.Errorf("set capacity of %q to %d: %w", fleet.Group, instances, err)
	}
	return nil
}
