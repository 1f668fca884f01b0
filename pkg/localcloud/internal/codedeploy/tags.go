package codedeploy

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

type tag struct {
	Key   string `json:"Key"`
	Value string `json:"Value"`
}

// setTags adds tags to a map, which may be nil, and returns it.
func setTags(tags map[string]string, list []tag, code string) (map[string]string, error) {
	tags = maps.Clone(tags)
	if tags == nil {
		tags = map[string]string{}
	}
	for _, t := range list {
		if t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256 || strings.HasPrefix(strings.ToLower(t.Key), "aws:") {
			return nil, wire.Errorf(code, "The tag %q is not valid: a key has 1 to 128 characters and does not begin with aws:, a value has "+
				"up to 256.", t.Key)
		}
		tags[t.Key] = t.Value
	}
	if len(tags) > service.MaxTags {
		return nil, wire.Errorf("TagLimitExceededException", "The maximum allowed number of tags (%d) was exceeded.", service.MaxTags)
	}
	return tags, nil
}

// arn returns the ARN of an application ("application:NAME") or a deployment group ("deploymentgroup:APPLICATION/GROUP").
func (s *Service) arn(resource string) string {
	return "arn:aws:codedeploy:" + s.options.Region + ":" + s.options.AccountID + ":" + resource
}

// tagsOf finds the tags of the application or deployment group; the caller holds the lock.
func (s *Service) tagsOf(arn string) (*map[string]string, error) {
	if arn == "" {
		return nil, wire.Errorf("ResourceArnRequiredException", "The ARN of a resource is required, but was not found.")
	}
	resource, ok := strings.CutPrefix(arn, s.arn(""))
	kind, name, found := strings.Cut(resource, ":")
	if !ok || !found {
		return nil, wire.Errorf("InvalidArnException", "The specified ARN is not in a valid format.")
	}
	switch kind {
	case "application":
		a, err := s.application(name)
		if err != nil {
			return nil, err
		}
		return &a.Tags, nil
	case "deploymentgroup":
		applicationName, groupName, _ := strings.Cut(name, "/")
		g, err := s.group(applicationName, groupName)
		if err != nil {
			return nil, err
		}
		return &g.Tags, nil
	}
	return nil, wire.Errorf("ArnNotSupportedException", "The specified ARN is not supported. For example, it might be an ARN for a resource "+
		"that is not expected.")
}

type listTagsInput struct {
	ARN       string `json:"ResourceArn"`
	NextToken string `json:"NextToken"`
}

type listTagsOutput struct {
	Tags []tag `json:"Tags"`
}

func (s *Service) listTagsForResource(_ context.Context, in *listTagsInput) (*listTagsOutput, error) {
	out := &listTagsOutput{Tags: []tag{}}
	return out, s.locked(func() error {
		tags, err := s.tagsOf(in.ARN)
		if err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(*tags)) {
			out.Tags = append(out.Tags, tag{key, (*tags)[key]})
		}
		return nil
	})
}

type tagInput struct {
	ARN  string `json:"ResourceArn"`
	Tags []tag  `json:"Tags"`
}

func (s *Service) tagResource(_ context.Context, in *tagInput) (*wire.Empty, error) {
	return nil, s.change(func() error {
		tags, err := s.tagsOf(in.ARN)
		if err != nil {
			return err
		}
		if len(in.Tags) == 0 {
			return wire.Errorf("TagRequiredException", "A tag was not specified.")
		}
		changed, err := setTags(*tags, in.Tags, "InvalidTagsToAddException")
		if err == nil {
			*tags = changed
		}
		return err
	})
}

type untagInput struct {
	ARN  string   `json:"ResourceArn"`
	Keys []string `json:"TagKeys"`
}

func (s *Service) untagResource(_ context.Context, in *untagInput) (*wire.Empty, error) {
	return nil, s.change(func() error {
		tags, err := s.tagsOf(in.ARN)
		if err != nil {
			return err
		}
		if len(in.Keys) == 0 {
			return wire.Errorf("TagRequiredException", "A tag was not specified.")
		}
		for _, key := range in.Keys {
			delete(*tags, key)
		}
		return nil
	})
}
