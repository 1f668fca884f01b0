package rollout

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/ingot-build/ingot/internal/lag"
)

type templateAPI interface {
	DescribeLaunchTemplateVersions(context.Context, *ec2.DescribeLaunchTemplateVersionsInput, ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplateVersionsOutput, error)
	CreateLaunchTemplateVersion(context.Context, *ec2.CreateLaunchTemplateVersionInput, ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateVersionOutput, error)
	ModifyLaunchTemplate(context.Context, *ec2.ModifyLaunchTemplateInput, ...func(*ec2.Options)) (*ec2.ModifyLaunchTemplateOutput, error)
}

type imageAPI interface {
	DescribeImages(context.Context, *ec2.DescribeImagesInput, ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error)
}

// templateVersionKey is a version of one launch template.
type templateVersionKey struct {
	templateID string
	version    TemplateVersion
}

// releasePrefix begins the description of a launch template version; the release's name follows.
const releasePrefix = "release "

// findVersion returns the launch template version that holds a release, NoVersion where there is none, and the latest
// one. A version holds a release when it has its image and is in everything else as the latest, so that a change of the
// infrastructure, which Terraform puts into a new latest version, reaches the instances with the next release.
func (r *Roller) findVersion(ctx context.Context, templateID string, release Release) (version TemplateVersion, latest ec2types.LaunchTemplateVersion, err error) {
	newest, err := r.templateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: aws.String(templateID), Versions: []string{"$Latest"},
	})
	if err != nil {
		return NoVersion, latest, err
	}
	if len(newest) == 0 {
		return NoVersion, latest, &IncompleteError{fmt.Sprintf("launch template %q has no version", templateID)}
	}
	latest = newest[0]
	if imageID(latest) == release.AMIID {
		return numberOf(latest), latest, nil
	}
	// An earlier run made one, and another release has come between.
	same, err := r.templateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{
		LaunchTemplateId: aws.String(templateID),
		Filters:          []ec2types.Filter{{Name: aws.String("image-id"), Values: []string{release.AMIID}}},
	})
	if err != nil {
		return NoVersion, latest, err
	}
	for _, v := range same {
		if reflect.DeepEqual(withoutImage(v), withoutImage(latest)) {
			version = max(version, numberOf(v))
		}
	}
	return version, latest, nil
}

// ensureVersion returns the launch template version that holds a release, and makes it where there is none.
func (r *Roller) ensureVersion(ctx context.Context, templateID string, release Release) (TemplateVersion, error) {
	version, latest, err := r.findVersion(ctx, templateID, release)
	if err != nil || version != NoVersion {
		return version, err
	}
	return r.makeVersion(ctx, templateID, latest, release)
}

// makeVersion makes the launch template version that holds a release. It differs from the latest in nothing but the
// image, and the name of its root device where that is another one.
func (r *Roller) makeVersion(ctx context.Context, templateID string, latest ec2types.LaunchTemplateVersion, release Release) (TemplateVersion, error) {
	root, err := r.rootDevice(ctx, release.AMIID)
	if err != nil {
		return NoVersion, err
	}
	source := numberOf(latest).String()
	made, err := r.templates.CreateLaunchTemplateVersion(ctx, &ec2.CreateLaunchTemplateVersionInput{
		LaunchTemplateId:   aws.String(templateID),
		SourceVersion:      aws.String(source),
		VersionDescription: aws.String(releasePrefix + release.Name),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: aws.String(release.AMIID), BlockDeviceMappings: rootDeviceMoved(latest, root)},
		ClientToken:        aws.String(clientToken(templateID, source, release.AMIID)),
	})
	if err != nil {
		return NoVersion, fmt.Errorf("create version of launch template %q: %w", templateID, err)
	}
	version := numberOf(*made.LaunchTemplateVersion)
	r.mu.Lock()
	r.names[templateVersionKey{templateID, version}] = release.Name
	r.mu.Unlock()
	return version, r.awaitVersion(ctx, templateID, version)
}

// clientToken makes the creation of a version idempotent: a retry of a request whose answer was lost must not make a second
// version, nor two runs at the same time two. It names the template, as a token that comes again with other parameters is
// refused (IdempotentParameterMismatch), and the template of infrastructure that was made again begins with the same
// numbers. Tokens have at most 64 characters, and so has this one.
func clientToken(templateID, source, amiID string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(templateID+" "+source+" "+amiID)))
}

// awaitVersion waits until a version that was just made can be seen. It does not insist: whoever needs it says why it cannot
// be used.
func (r *Roller) awaitVersion(ctx context.Context, templateID string, version TemplateVersion) error {
	_, err := lag.Read(ctx, func(ctx context.Context) ([]ec2types.LaunchTemplateVersion, error) {
		return r.templateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: aws.String(templateID), Versions: []string{version.String()}})
	}, func(found []ec2types.LaunchTemplateVersion, err error) bool {
		return err == nil && len(found) == 0 || errorCode(err) == versionNotFound
	})
	if errorCode(err) == versionNotFound {
		return nil
	}
	return err
}

// versionNotFound is EC2's code for a launch template version that does not exist.
const versionNotFound = "InvalidLaunchTemplateId.VersionNotFound"

// templateUnknown tells whether EC2 Auto Scaling refused a launch template for what it does not find: the version, or the
// image in it. Both may just have been made. It hands EC2's words on: "You must use a valid fully-formed launch template.
// Could not find the specified version 3 …", or "… The image id '[ami-…]' does not exist".
func templateUnknown[T any](_ T, err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return false
	}
	text := e.ErrorMessage()
	return e.ErrorCode() == versionNotFound || e.ErrorCode() == "ValidationError" && strings.Contains(text, "launch template") &&
		(strings.Contains(text, "Could not find") || strings.Contains(text, "does not exist"))
}

// rootDevice is the name of an image's root device.
func (r *Roller) rootDevice(ctx context.Context, amiID string) (string, error) {
	out, err := lag.Read(ctx, func(ctx context.Context) (*ec2.DescribeImagesOutput, error) {
		return r.images.DescribeImages(ctx, &ec2.DescribeImagesInput{ImageIds: []string{amiID}})
	}, func(out *ec2.DescribeImagesOutput, err error) bool {
		return err == nil && len(out.Images) == 0 || errorCode(err) == "InvalidAMIID.NotFound"
	})
	switch {
	case err != nil:
		return "", fmt.Errorf("describe image %q: %w", amiID, err)
	case len(out.Images) == 0:
		return "", fmt.Errorf("describe image %q: there is none", amiID)
	}
	return aws.ToString(out.Images[0].RootDeviceName), nil
}

// isRootDevice tells whether images have their root device by that name: Debian's and Amazon's, and all others.
func isRootDevice(name string) bool { return name == "/dev/xvda" || name == "/dev/sda1" }

// rootDeviceMoved returns a version's block device mappings with the one of the root device moved to another name; nil where
// nothing has to move. A mapping whose name is not that of the image's root device would be another, empty volume.
func rootDeviceMoved(v ec2types.LaunchTemplateVersion, name string) []ec2types.LaunchTemplateBlockDeviceMappingRequest {
	if v.LaunchTemplateData == nil || name == "" {
		return nil
	}
	var all []ec2types.LaunchTemplateBlockDeviceMappingRequest
	moved := false
	for _, m := range v.LaunchTemplateData.BlockDeviceMappings {
		request := ec2types.LaunchTemplateBlockDeviceMappingRequest{DeviceName: m.DeviceName, NoDevice: m.NoDevice, VirtualName: m.VirtualName}
		if e := m.Ebs; e != nil {
			request.Ebs = &ec2types.LaunchTemplateEbsBlockDeviceRequest{
				DeleteOnTermination: e.DeleteOnTermination, EbsCardIndex: e.EbsCardIndex, Encrypted: e.Encrypted, Iops: e.Iops, KmsKeyId: e.KmsKeyId, SnapshotId: e.SnapshotId,
				Throughput: e.Throughput, VolumeInitializationRate: e.VolumeInitializationRate, VolumeSize: e.VolumeSize, VolumeType: e.VolumeType,
			}
		}
		switch device := aws.ToString(m.DeviceName); {
		case device == name:
			return nil
		case isRootDevice(device) && !moved:
			request.DeviceName, moved = aws.String(name), true
		}
		all = append(all, request)
	}
	if !moved {
		return nil
	}
	return all
}

func (r *Roller) templateVersions(ctx context.Context, in *ec2.DescribeLaunchTemplateVersionsInput) ([]ec2types.LaunchTemplateVersion, error) {
	var all []ec2types.LaunchTemplateVersion
	pages := ec2.NewDescribeLaunchTemplateVersionsPaginator(r.templates, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("describe launch template %q: %w", aws.ToString(in.LaunchTemplateId), err)
		}
		all = append(all, page.LaunchTemplateVersions...)
	}
	return all, nil
}

func imageID(v ec2types.LaunchTemplateVersion) string {
	if v.LaunchTemplateData == nil {
		return ""
	}
	return aws.ToString(v.LaunchTemplateData.ImageId)
}

// withoutImage is what a version says beside its image, and the name of the root device that goes with that.
func withoutImage(v ec2types.LaunchTemplateVersion) ec2types.ResponseLaunchTemplateData {
	var data ec2types.ResponseLaunchTemplateData
	if v.LaunchTemplateData != nil {
		data = *v.LaunchTemplateData
	}
	data.ImageId = nil
	data.BlockDeviceMappings = slices.Clone(data.BlockDeviceMappings)
	for i, m := range data.BlockDeviceMappings {
		if isRootDevice(aws.ToString(m.DeviceName)) { // it is named by the image
			data.BlockDeviceMappings[i].DeviceName = nil
		}
	}
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
func (r *Roller) releaseNames(ctx context.Context, templateID string, versions map[TemplateVersion]bool) (map[TemplateVersion]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := map[TemplateVersion]string{}
	in := &ec2.DescribeLaunchTemplateVersionsInput{LaunchTemplateId: aws.String(templateID)}
	var unknown []TemplateVersion
	for v := range versions {
		name, known := r.names[templateVersionKey{templateID, v}]
		if names[v] = name; !known && v.Numbered() {
			unknown = append(unknown, v)
			in.Versions = append(in.Versions, v.String())
		}
	}
	if len(unknown) == 0 {
		return names, nil
	}
	found, err := r.templateVersions(ctx, in)
	if err != nil && errorCode(err) != versionNotFound { // an instance may outlive its version
		return nil, err
	}
	for _, v := range found {
		names[numberOf(v)] = releaseOf(v)
	}
	for _, v := range unknown {
		r.names[templateVersionKey{templateID, v}] = names[v]
	}
	return names, nil
}
