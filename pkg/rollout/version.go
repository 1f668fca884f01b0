package rollout

import (
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// TemplateVersion is a version of a launch template: its number, which begins with 1, or one of the constants below.
type TemplateVersion int64

// What stands for a version without being a number. LatestVersion and DefaultVersion mean another version from one
// moment to the next, so that nothing can be rolled back to them.
const (
	NoVersion      TemplateVersion = 0  // there is none
	LatestVersion  TemplateVersion = -1 // AWS's $Latest
	DefaultVersion TemplateVersion = -2 // AWS's $Default
)

// ParseTemplateVersion reads a version as AWS writes it: a number from 1, "$Latest" or "$Default".
func ParseTemplateVersion(text string) (TemplateVersion, error) {
	switch text {
	case LatestVersion.String():
		return LatestVersion, nil
	case DefaultVersion.String():
		return DefaultVersion, nil
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 1 {
		return NoVersion, fmt.Errorf("parse launch template version: %q is no number from 1", text)
	}
	return TemplateVersion(number), nil
}

// Numbered tells whether it is one version, and the same for ever.
func (v TemplateVersion) Numbered() bool { return v > 0 }

// String is the version as AWS writes it; "none" without one.
func (v TemplateVersion) String() string {
	switch v {
	case NoVersion:
		return "none"
	case LatestVersion:
		return "$Latest"
	case DefaultVersion:
		return "$Default"
	}
	return strconv.FormatInt(int64(v), 10)
}

// templateVersionOf reads the version of a specification. One that says none means the default version.
func templateVersionOf(spec *asgtypes.LaunchTemplateSpecification) (TemplateVersion, error) {
	switch {
	case spec == nil:
		return NoVersion, nil
	case aws.ToString(spec.Version) == "":
		return DefaultVersion, nil
	}
	return ParseTemplateVersion(*spec.Version)
}

// numberOf is the number of a version that EC2 describes.
func numberOf(v ec2types.LaunchTemplateVersion) TemplateVersion {
	return TemplateVersion(aws.ToInt64(v.VersionNumber))
}

// templateSpec names a version of a launch template.
func templateSpec(id string, version TemplateVersion) *asgtypes.LaunchTemplateSpecification {
	return &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String(id), Version: aws.String(version.String())}
}
