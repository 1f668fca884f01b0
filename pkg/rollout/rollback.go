package rollout

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// ErrNoRelease is returned where there is no release to go back to.
var ErrNoRelease = errors.New("no such release")

// Rollback rolls an earlier release out again, with the same guards as Run: the one before the current one, or the one
// named. Its numbered launch template version is used where that still holds its image, so that the release comes back
// as it was.
func (r *Roller) Rollback(ctx context.Context, name string) (Result, error) {
	fleet, err := r.Fleet(ctx)
	if err != nil {
		return Result{}, err
	}
	releases, err := r.Releases(ctx)
	if err != nil {
		return Result{}, err
	}
	target, err := earlier(releases, name)
	if err != nil {
		return Result{}, err
	}
	release := Release{Name: target.Release, AMIID: target.AMIID, Commit: target.Commit}
	version := target.TemplateVersion
	holds, err := r.holds(ctx, fleet.TemplateID, version, target.AMIID)
	if err != nil {
		return Result{}, err
	}
	if !holds {
		if version, err = r.templateVersion(ctx, fleet.TemplateID, release); err != nil {
			return Result{}, err
		}
	}
	return r.roll(ctx, fleet, version, release)
}

// earlier chooses from a history, the newest first: the named release, or the newest that is not the current one.
func earlier(releases []Pointer, name string) (Pointer, error) {
	if len(releases) == 0 {
		return Pointer{}, fmt.Errorf("roll back: %w: there has been none", ErrNoRelease)
	}
	for _, p := range releases {
		if name == p.Release || name == "" && p.Release != releases[0].Release {
			return p, nil
		}
	}
	if name == "" {
		return Pointer{}, fmt.Errorf("roll back: %w: %q is the only one", ErrNoRelease, releases[0].Release)
	}
	return Pointer{}, fmt.Errorf("roll back to %q: %w: mage releases lists them", name, ErrNoRelease)
}

// holds tells whether a launch template version exists and holds an image. Infrastructure that was destroyed and made
// again counts from one.
func (r *Roller) holds(ctx context.Context, templateID string, version int64, amiID string) (bool, error) {
	number := strconv.FormatInt(version, 10)
	out, err := r.Templates.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: aws.String(templateID), MinVersion: aws.String(number), MaxVersion: aws.String(number),
	})
	if err != nil {
		return false, fmt.Errorf("describe version %s of launch template %q: %w", number, templateID, err)
	}
	for _, v := range out.LaunchTemplateVersions {
		if v.LaunchTemplateData != nil && aws.ToString(v.LaunchTemplateData.ImageId) == amiID {
			return true, nil
		}
	}
	return false, nil
}
