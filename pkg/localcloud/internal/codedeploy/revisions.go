package codedeploy

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// revisionLocation says where a revision is, in the API's form.
type revisionLocation struct {
	Type string      `json:"revisionType"`
	S3   *s3Location `json:"s3Location,omitempty"`

	GitHub  json.RawMessage `json:"gitHubLocation,omitempty"`
	String  json.RawMessage `json:"string,omitempty"`
	AppSpec json.RawMessage `json:"appSpecContent,omitempty"`
}

type s3Location struct {
	Bucket     string `json:"bucket,omitempty"`
	Key        string `json:"key,omitempty"`
	BundleType string `json:"bundleType,omitempty"` // zip, tgz or tar
	Version    string `json:"version,omitempty"`
	ETag       string `json:"eTag,omitempty"`
}

// same reports whether two revisions are the same. Either may be nil, for none.
func (r *revisionLocation) same(other *revisionLocation) bool {
	if r == nil || other == nil {
		return r == other
	}
	return *r.S3 == *other.S3
}

var validBucket = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func (r *revisionLocation) check() error {
	invalid := func(why string) error {
		return wire.Errorf("InvalidRevisionException", "The revision was specified in an invalid format: %s.", why)
	}
	switch {
	case r == nil:
		return wire.Errorf("RevisionRequiredException", "The revision ID was not specified.")
	case r.Type != "S3" || r.GitHub != nil || r.String != nil || r.AppSpec != nil:
		return invalid("this local cloud takes revisions of the type S3 only")
	case r.S3 == nil || r.S3.Key == "":
		return invalid("an s3Location with bucket and key is needed")
	case !validBucket.MatchString(r.S3.Bucket):
		return invalid("the bucket's name is not valid")
	case !slices.Contains([]string{"zip", "tgz", "tar"}, r.S3.BundleType):
		return invalid("the bundle type of a deployment to EC2 is tar, tgz or zip")
	}
	r.S3.ETag = strings.Trim(r.S3.ETag, `"`)
	return nil
}

// maxDescription is the longest description of a deployment or revision, as on AWS.
const maxDescription = 1000

func checkDescription(text string) error {
	if len(text) > maxDescription {
		return wire.Errorf("DescriptionTooLongException", "The description is too long: it has at most %d characters.", maxDescription)
	}
	return nil
}
