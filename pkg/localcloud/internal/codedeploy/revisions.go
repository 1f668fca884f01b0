package codedeploy

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

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

// revision is a registered revision.
type revision struct {
	Location    revisionLocation `json:"location"`
	Description string           `json:"description,omitempty"`
	Registered  time.Time        `json:"registered"`
	FirstUsed   time.Time        `json:"firstUsed,omitzero"`
	LastUsed    time.Time        `json:"lastUsed,omitzero"`
}

// register returns the application's record of a revision, which is made where there is none.
func (a *application) register(at *revisionLocation, description string, now time.Time) *revision {
	for _, r := range a.Revisions {
		if r.Location.same(at) {
			return r
		}
	}
	r := &revision{Location: *at, Description: description, Registered: now}
	a.Revisions = append(a.Revisions, r)
	return r
}

type registerInput struct {
	Application string            `json:"applicationName"`
	Description string            `json:"description"`
	Revision    *revisionLocation `json:"revision"`
}

func (s *Service) registerApplicationRevision(_ context.Context, in *registerInput) (*wire.Empty, error) {
	if err := checkDescription(in.Description); err != nil {
		return nil, err
	}
	return nil, s.change(func() error {
		a, err := s.application(in.Application)
		if err != nil {
			return err
		}
		if err := in.Revision.check(); err != nil {
			return err
		}
		r := a.register(in.Revision, "", time.Now().UTC())
		if in.Description != "" {
			r.Description = in.Description
		}
		return nil
	})
}

// maxDescription is the longest description of a deployment or revision, as on AWS.
const maxDescription = 1000

func checkDescription(text string) error {
	if len(text) > maxDescription {
		return wire.Errorf("DescriptionTooLongException", "The description is too long: it has at most %d characters.", maxDescription)
	}
	return nil
}

type revisionInfo struct {
	Description  string      `json:"description,omitempty"`
	Groups       []string    `json:"deploymentGroups"`
	RegisterTime wire.Epoch  `json:"registerTime"`
	FirstUsed    *wire.Epoch `json:"firstUsedTime,omitempty"`
	LastUsed     *wire.Epoch `json:"lastUsedTime,omitempty"`
}

type getRevisionInput struct {
	Application string            `json:"applicationName"`
	Revision    *revisionLocation `json:"revision"`
}

type getRevisionOutput struct {
	Application string           `json:"applicationName"`
	Location    revisionLocation `json:"revision"`
	Info        revisionInfo     `json:"revisionInfo"`
}

func (s *Service) getApplicationRevision(_ context.Context, in *getRevisionInput) (*getRevisionOutput, error) {
	out := &getRevisionOutput{Application: in.Application}
	return out, s.locked(func() error {
		a, err := s.application(in.Application)
		if err != nil {
			return err
		}
		if err := in.Revision.check(); err != nil {
			return err
		}
		for _, r := range a.Revisions {
			if r.Location.same(in.Revision) {
				out.Location = r.Location
				out.Info = revisionInfo{
					Description: r.Description, Groups: a.targeting(in.Revision), RegisterTime: wire.Epoch{Time: r.Registered},
					FirstUsed: epoch(r.FirstUsed), LastUsed: epoch(r.LastUsed),
				}
				return nil
			}
		}
		return wire.Errorf("RevisionDoesNotExistException", "The named revision does not exist with the user or AWS account.")
	})
}

// targeting returns the names of the deployment groups whose current revision it is.
func (a *application) targeting(at *revisionLocation) []string {
	names := []string{}
	for _, g := range sorted(a.Groups) {
		if g.Target.same(at) {
			names = append(names, g.Name)
		}
	}
	return names
}

type listRevisionsInput struct {
	Application string `json:"applicationName"`
	SortBy      string `json:"sortBy"`
	SortOrder   string `json:"sortOrder"`
	Bucket      string `json:"s3Bucket"`
	KeyPrefix   string `json:"s3KeyPrefix"`
	Deployed    string `json:"deployed"`
	NextToken   string `json:"nextToken"`
}

func (in *listRevisionsInput) check() error {
	for _, c := range []struct {
		value, code, message string
		known                []string
	}{
		{in.SortBy, "InvalidSortByException", "The column name to sort by is either not present or was specified in an invalid format.",
			[]string{"", "registerTime", "firstUsedTime", "lastUsedTime"}},
		{in.SortOrder, "InvalidSortOrderException", "The sort order was specified in an invalid format.", []string{"", "ascending", "descending"}},
		{in.Deployed, "InvalidDeployedStateFilterException", "The deployed state filter was specified in an invalid format.",
			[]string{"", "include", "exclude", "ignore"}},
	} {
		if !slices.Contains(c.known, c.value) {
			return wire.Errorf(c.code, "%s", c.message)
		}
	}
	if in.KeyPrefix != "" && in.Bucket == "" {
		return wire.Errorf("BucketNameFilterRequiredException", "A bucket name is required, but was not provided.")
	}
	return nil
}

type listRevisionsOutput struct {
	Revisions []revisionLocation `json:"revisions"`
	NextToken string             `json:"nextToken,omitempty"`
}

func (s *Service) listApplicationRevisions(_ context.Context, in *listRevisionsInput) (*listRevisionsOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	var out listRevisionsOutput
	return &out, s.locked(func() error {
		a, err := s.application(in.Application)
		if err != nil {
			return err
		}
		var found []*revision
		for _, r := range a.Revisions {
			deployed := len(a.targeting(&r.Location)) > 0
			if (in.Bucket == "" || r.Location.S3.Bucket == in.Bucket) && strings.HasPrefix(r.Location.S3.Key, in.KeyPrefix) &&
				(in.Deployed != "include" || deployed) && (in.Deployed != "exclude" || !deployed) {
				found = append(found, r)
			}
		}
		slices.SortStableFunc(found, func(a, b *revision) int {
			order := a.sortTime(in.SortBy).Compare(b.sortTime(in.SortBy))
			if in.SortOrder == "descending" {
				return -order
			}
			return order
		})
		var locations []revisionLocation
		for _, r := range found {
			locations = append(locations, r.Location)
		}
		out.Revisions, out.NextToken, err = page(locations, in.NextToken)
		return err
	})
}

func (r *revision) sortTime(by string) time.Time {
	switch by {
	case "firstUsedTime":
		return r.FirstUsed
	case "lastUsedTime":
		return r.LastUsed
	}
	return r.Registered
}
