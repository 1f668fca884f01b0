package rollout

import (
	"context"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

type templateAPI interface {
	DescribeLaunchTemplateVersions(context.Context, *ec2.DescribeLaunchTemplateVersionsInput, ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplateVersionsOutput, error)
	CreateLaunchTemplateVersion(context.Context, *ec2.CreateLaunchTemplateVersionInput, ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateVersionOutput, error)
	ModifyLaunchTemplate(context.Context, *ec2.ModifyLaunchTemplateInput, ...func(*ec2.Options)) (*ec2.ModifyLaunchTemplateOutput, error)
}

// templateVersion returns the number of the launch template version that holds a release: the latest one where it
// does (an earlier run made it), else a new one that differs from the latest in nothing but the image. So a change of
// the infrastructure, which Terraform puts into a new latest version, reaches the instances with the next release.
func (r *Roller) templateVersion(ctx context.Context, templateID string, release Release) (int64, error) {
	out, err := r.Templates.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: aws.String(templateID), Versions: []string{"$Latest"},
	})
	if err != nil {
		return 0, fmt.Errorf("describe launch template %q: %w", templateID, err)
	}
	if len(out.LaunchTemplateVersions) == 0 {
		return 0, fmt.Errorf("launch template %q has no version: run: mage infra:apply", templateID)
	}
	latest := out.LaunchTemplateVersions[0]
	number := aws.ToInt64(latest.VersionNumber)
	if latest.LaunchTemplateData != nil && aws.ToString(latest.LaunchTemplateData.ImageId) == release.AMIID {
		return number, nil
	}
	made, err := r.Templates.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateId:   aws.String(templateID),
		SourceVersion:      aws.String(strconv.FormatInt(number, 10)),
		VersionDescription: aws.String("release " + release.Name),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: aws.String(release.AMIID)},
		// A retry of a request whose answer was lost must not make a second version.
		ClientToken: aws.String(fmt.Sprintf("%s-%d", release.AMIID, number)),
	})
	if err != nil {
		return 0, fmt.Errorf("create version of launch template %q: %w", templateID, err)
	}
	return aws.ToInt64(made.LaunchTemplateVersion.VersionNumber), nil
}

func templateSpec(id string, version int64) *asgtypes.LaunchTemplateSpecification {
	return &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String(id), Version: aws.String(strconv.FormatInt(version, 10))}
}
