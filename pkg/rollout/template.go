package rollout

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"

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

// releasePrefix begins the description of a launch template version; the release's name follows.
const releasePrefix = "release "

// findVersion returns the launch template version that holds a release, 0 where there is none, and the latest one. A
// version holds a release when it has its image and is in everything else as the latest, so that a change of the
// infrastructure, which Terraform puts into a new latest version, reaches the instances with the next release.
func (r *Roller) findVersion(ctx context.Context, templateID string, release Release) (version, latest int64, err error) {
	newest, err := r.templateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: aws.String(templateID), Versions: []string{"$Latest"},
	})
	if err != nil {
		return 0, 0, err
	}
	if len(newest) == 0 {
		return 0, 0, fmt.Errorf("launch template %q has no version: run: mage infra:apply", templateID)
	}
	latest = aws.ToInt64(newest[0].VersionNumber)
	if imageOf(newest[0]) == release.AMIID {
		return latest, latest, nil
	}
	// An earlier run made one, and another release has come between.
	same, err := r.templateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: aws.String(templateID),
		Filters:          []ec2types.Filter{{Name: aws.String("image-id"), Values: []string{release.AMIID}}},
	})
	if err != nil {
		return 0, 0, err
	}
	for _, v := range same {
		if reflect.DeepEqual(shape(v), shape(newest[0])) {
			version = max(version, aws.ToInt64(v.VersionNumber))
		}
	}
	return version, latest, nil
}

// version returns the launch template version that holds a release, and makes it where there is none.
func (r *Roller) version(ctx context.Context, templateID string, release Release) (int64, error) {
	version, latest, err := r.findVersion(ctx, templateID, release)
	if err != nil || version != 0 {
		return version, err
	}
	return r.makeVersion(ctx, templateID, latest, release)
}

// makeVersion makes the launch template version that holds a release. It differs from the latest in nothing but the
// image.
func (r *Roller) makeVersion(ctx context.Context, templateID string, latest int64, release Release) (int64, error) {
	made, err := r.Templates.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateId:   aws.String(templateID),
		SourceVersion:      aws.String(strconv.FormatInt(latest, 10)),
		VersionDescription: aws.String(releasePrefix + release.Name),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: aws.String(release.AMIID)},
		// A retry of a request whose answer was lost must not make a second version, nor two runs at the same time two.
		ClientToken: aws.String(fmt.Sprintf("%s-%d", release.AMIID, latest)),
	})
	if err != nil {
		return 0, fmt.Errorf("create version of launch template %q: %w", templateID, err)
	}
	return aws.ToInt64(made.LaunchTemplateVersion.VersionNumber), nil
}

func (r *Roller) templateVersions(ctx context.Context, in *ec2.DescribeLaunchTemplateVersionsInput) ([]ec2types.LaunchTemplateVersion, error) {
	var all []ec2types.LaunchTemplateVersion
	for {
		out, err := r.Templates.DescribeLaunchTemplateVersions(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("describe launch template %q: %w", aws.ToString(in.LaunchTemplateId), err)
		}
		all = append(all, out.LaunchTemplateVersions...)
		if aws.ToString(out.NextToken) == "" {
			return all, nil
		}
		in.NextToken = out.NextToken
	}
}

func imageOf(v ec2types.LaunchTemplateVersion) string {
	if v.LaunchTemplateData == nil {
		return ""
	}
	return aws.ToString(v.LaunchTemplateData.ImageId)
}

// shape is what a version says beside its image.
func shape(v ec2types.LaunchTemplateVersion) ec2types.ResponseLaunchTemplateData {
	var data ec2types.ResponseLaunchTemplateData
	if v.LaunchTemplateData != nil {
		data = *v.LaunchTemplateData
	}
	data.ImageId = nil
	return data
}

// releaseOf is the release that a version was made for; empty where its description does not say so.
func releaseOf(v ec2types.LaunchTemplateVersion) string {
	name, ok := strings.CutPrefix(aws.ToString(v.VersionDescription), releasePrefix)
	if !ok {
		return ""
	}
	return name
}

// releaseNames returns the releases that launch template versions were made for, as far as that is known. Versions never
// change, so each is asked for once.
func (r *Roller) releaseNames(ctx context.Context, templateID string, versions map[string]bool) (map[string]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := map[string]string{}
	in := &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: aws.String(templateID)}
	for v := range versions {
		name, known := r.names[templateID+":"+v]
		if names[v] = name; !known && v != "" && v[0] != '$' {
			in.Versions = append(in.Versions, v)
		}
	}
	if len(in.Versions) == 0 {
		return names, nil
	}
	found, err := r.templateVersions(ctx, in)
	if err != nil && errorCode(err) != "InvalidLaunchTemplateId.VersionNotFound" { // an instance may outlive its version
		return nil, err
	}
	for _, v := range in.Versions {
		r.names[templateID+":"+v] = ""
	}
	for _, v := range found {
		number := strconv.FormatInt(aws.ToInt64(v.VersionNumber), 10)
		names[number] = releaseOf(v)
		r.names[templateID+":"+number] = names[number]
	}
	return names, nil
}

func templateSpec(id string, version int64) *asgtypes.LaunchTemplateSpecification {
	return &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String(id), Version: aws.String(strconv.FormatInt(version, 10))}
}
