package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/ingot-build/ingot/pkg/progress"
)

// Rollback goes back: to the release of that name, or without a name
//
//   - while another release than the current one rolls, or is in the fleet without ever having become current: to the
//     current release;
//   - else to the one before the current one, as if releases were on a stack: a rollout puts one on top, a rollback takes
//     off what lies above the release that it goes back to. So two rollbacks in a row go two releases back, and never to
//     one that was rolled back from; that takes its name.
//
// A refresh that runs is rolled back by AWS; otherwise the release's numbered launch template version is rolled out again,
// where it still holds its image, with the same guards as in Run.
func (r *Roller) Rollback(ctx context.Context, name string) (Result, error) {
	fleet, err := r.Fleet(ctx)
	if err != nil {
		return Result{}, err
	}
	releases, err := r.Releases(ctx)
	if err != nil {
		return Result{}, err
	}
	active, err := r.newestRefresh(ctx, fleet.Group)
	if err != nil {
		return Result{}, err
	}
	target, err := r.rollbackTarget(ctx, fleet, active, releases, name)
	if err != nil {
		return Result{}, err
	}
	if r.options.Check != nil {
		if err := r.options.Check(ctx, target.release()); err != nil {
			return Result{}, err
		}
	}
	s := step{fleet: fleet, release: target.release(), back: true}
	if s.version, err = r.ensureReleasedVersion(ctx, fleet.TemplateID, target); err != nil {
		return Result{}, err
	}
	progress.Note(ctx, "going back to release %s", s.release.Name)
	turned := !active.Over() && !active.leadsTo(s.version)
	if turned {
		if err := r.rollBackRefresh(ctx, s, active); err != nil {
			return Result{}, fmt.Errorf("roll back %s: %w", active, err)
		}
		if s.fleet, err = r.reloadFleet(ctx, s.fleet); err != nil {
			return Result{}, err
		}
	}
	if s.fleet, s.active, err = r.awaitNoOtherRefresh(ctx, s); err != nil {
		return Result{}, err
	}
	result, err := r.moveFleet(ctx, s)
	result.Replaced = result.Replaced || turned
	return result, err
}

// rollbackTarget chooses the release to go back to.
func (r *Roller) rollbackTarget(ctx context.Context, fleet Fleet, active Refresh, releases []Pointer, name string) (Pointer, error) {
	if name != "" || len(releases) == 0 {
		return chooseRelease(releases, name)
	}
	current, err := r.findReleasedVersion(ctx, fleet.TemplateID, releases[0])
	if err != nil {
		return Pointer{}, err
	}
	target, none := chooseRelease(releases, "")
	previous := NoVersion
	if none == nil {
		if previous, err = r.findReleasedVersion(ctx, fleet.TemplateID, target); err != nil {
			return Pointer{}, err
		}
	}
	switch {
	case active.leadsTo(previous) || active.Over() && fleet.runsOnly(previous, r.exempt):
		return target, nil // on the way, or there without the pointer: a rollback that was killed
	case (active.Over() || active.leadsTo(current)) && fleet.runsOnly(current, r.exempt):
		return target, none
	}
	return releases[0], nil
}

// chooseRelease chooses from a history, the newest first: the named release, or the one below the top of the stack that the
// history makes.
func chooseRelease(releases []Pointer, name string) (Pointer, error) {
	if len(releases) == 0 {
		return Pointer{}, &NoReleaseError{}
	}
	if name == "" {
		if s := releaseStack(releases); len(s) > 1 {
			return s[len(s)-2], nil
		}
		return Pointer{}, &NoReleaseError{Current: releases[0].Release}
	}
	for _, p := range releases {
		if name == p.Release {
			return p, nil
		}
	}
	return Pointer{}, &NoReleaseError{Name: name}
}

// releaseStack is what a history, the newest first, comes to: each rollout puts its release on top, each rollback takes
// off what lies above the release that it went back to. The current release is the last one.
func releaseStack(releases []Pointer) []Pointer {
	var s []Pointer
	for _, p := range slices.Backward(releases) {
		last := -1
		for n := range s {
			if s[n].Release == p.Release {
				last = n
			}
		}
		if last >= 0 && (p.Rollback || last == len(s)-1) {
			s = s[:last]
		}
		s = append(s, p)
	}
	return s
}

// ensureReleasedVersion returns the launch template version that holds a release that was live, and makes it where
// there is none any more.
func (r *Roller) ensureReleasedVersion(ctx context.Context, templateID string, p Pointer) (TemplateVersion, error) {
	version, err := r.findReleasedVersion(ctx, templateID, p)
	if err != nil || version != NoVersion {
		return version, err
	}
	return r.ensureVersion(ctx, templateID, p.release())
}

// findReleasedVersion returns the launch template version that holds a release that was live: the one that it was live
// with, or where the infrastructure was made again since, another one; NoVersion where there is none.
func (r *Roller) findReleasedVersion(ctx context.Context, templateID string, p Pointer) (TemplateVersion, error) {
	if number := p.TemplateVersion; number.Numbered() {
		found, err := r.templateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
			LaunchTemplateId: aws.String(templateID), MinVersion: aws.String(number.String()), MaxVersion: aws.String(number.String()),
		})
		if err != nil {
			return NoVersion, err
		}
		if len(found) == 1 && imageID(found[0]) == p.AMIID {
			return number, nil
		}
	}
	version, _, err := r.findVersion(ctx, templateID, p.release())
	return version, err
}

// rollBackRefresh has AWS roll a refresh back, whoever started it, and waits for the end of that. One that cannot be
// rolled back is cancelled.
func (r *Roller) rollBackRefresh(ctx context.Context, s step, active Refresh) (err error) {
	active, _ = r.withStarter(ctx, active) // who it is helps, and is not needed
	stage := progress.Start(ctx, "roll back %s", active)
	defer stage.End(&err)
	if active.forward() {
		if _, err := r.rollBackOrCancel(ctx, stage, s.fleet.Group); err != nil && !errors.Is(err, errNoRefresh) {
			return err
		}
	}
	s.active, s.release = active, Release{Name: cmp.Or(active.Release, "of launch template version "+active.TemplateVersion.String())}
	s.version = active.TemplateVersion // only to tell its instances from the others
	w := r.watch(stage, s)
	for !w.refresh.Over() {
		if err := w.waitAndLook(ctx); err != nil {
			return w.interrupted(ctx, err)
		}
	}
	if w.refresh.Status == string(asgtypes.InstanceRefreshStatusRollbackFailed) {
		return w.withEvidence(ctx, fmt.Errorf("instance refresh %s ended as %s: %s", w.refresh.ID, w.refresh.Status, w.refresh.endReason()))
	}
	return nil
}

// rollBackOrCancel asks for a rollback, or where AWS cannot do one, for the end of the refresh: without a numbered launch
// template version in its desired configuration and in the group there is nothing that AWS could go back to.
func (r *Roller) rollBackOrCancel(ctx context.Context, stage *progress.Stage, group string) (cancelled bool, err error) {
	err = r.requestRollback(ctx, group)
	if _, irreversible := errors.AsType[*asgtypes.IrreversibleInstanceRefreshFault](err); !irreversible {
		return false, err
	}
	progress.Note(stage.Inside(ctx), "AWS cannot roll it back, so it is cancelled: %v", err)
	_, err = r.refreshes.CancelInstanceRefresh(ctx, &autoscaling.CancelInstanceRefreshInput{AutoScalingGroupName: aws.String(group)})
	if _, ended := errors.AsType[*asgtypes.ActiveInstanceRefreshNotFoundFault](err); ended {
		return false, errNoRefresh
	}
	if err != nil {
		return false, fmt.Errorf("cancel instance refresh of %q: %w", group, err)
	}
	return true, nil
}

// requestRollback asks for the rollback of the refresh that runs. The error is errNoRefresh where none does.
func (r *Roller) requestRollback(ctx context.Context, group string) error {
	_, err := r.refreshes.RollbackInstanceRefresh(ctx, &autoscaling.RollbackInstanceRefreshInput{AutoScalingGroupName: aws.String(group)})
	if _, ended := errors.AsType[*asgtypes.ActiveInstanceRefreshNotFoundFault](err); ended {
		return errNoRefresh
	}
	if err != nil {
		return fmt.Errorf("roll back instance refresh of %q: %w", group, err)
	}
	return nil
}
