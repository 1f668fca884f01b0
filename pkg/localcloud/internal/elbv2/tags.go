package elbv2

import (
	"context"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// maxTags is how many tags a resource can have.
const maxTags = 50

// tags returns those of any resource, to read and to change.
func (s *Service) tags(arn string) (map[string]string, error) {
	if lb, ok := s.state.LoadBalancers[arn]; ok {
		return lb.Tags, nil
	}
	if g, ok := s.state.TargetGroups[arn]; ok {
		return g.Tags, nil
	}
	if l, ok := s.state.Listeners[arn]; ok {
		return l.Tags, nil
	}
	return nil, wire.Errorf("LoadBalancerNotFound", "The resource '%s' does not exist", arn)
}

// tagMap turns tags into a map and checks them.
func tagMap(tags []keyValue) (map[string]string, error) {
	m := map[string]string{}
	for _, t := range tags {
		if _, twice := m[t.Key]; twice {
			return nil, wire.Errorf("DuplicateTagKeys", "A tag key was specified more than once: '%s'", t.Key)
		}
		m[t.Key] = t.Value
	}
	if len(m) > maxTags {
		return nil, wire.Errorf("TooManyTags", "A resource can have at most %d tags", maxTags)
	}
	return m, nil
}

type addTagsInput struct {
	ARNs []string   `query:"ResourceArns" wire:"required"`
	Tags []keyValue `query:"Tags" wire:"required"`
}

func (s *Service) addTags(_ context.Context, in *addTagsInput) (*empty, error) {
	given, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return nil, s.locked(func() error {
		for _, arn := range in.ARNs {
			tags, err := s.tags(arn)
			if err != nil {
				return err
			}
			for key, value := range given {
				tags[key] = value
			}
			if len(tags) > maxTags {
				return wire.Errorf("TooManyTags", "A resource can have at most %d tags", maxTags)
			}
		}
		return nil
	})
}

type removeTagsInput struct {
	ARNs []string `query:"ResourceArns" wire:"required"`
	Keys []string `query:"TagKeys" wire:"required"`
}

func (s *Service) removeTags(_ context.Context, in *removeTagsInput) (*empty, error) {
	return nil, s.locked(func() error {
		for _, arn := range in.ARNs {
			tags, err := s.tags(arn)
			if err != nil {
				return err
			}
			for _, key := range in.Keys {
				delete(tags, key)
			}
		}
		return nil
	})
}

type describeTagsInput struct {
	ARNs []string `query:"ResourceArns" wire:"required"`
}

type describeTagsOutput struct {
	TagDescriptions list[tagDescription]
}

type tagDescription struct {
	ResourceARN string `xml:"ResourceArn"`
	Tags        list[keyValue]
}

func (s *Service) describeTags(_ context.Context, in *describeTagsInput) (*describeTagsOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out describeTagsOutput
	for _, arn := range in.ARNs {
		tags, err := s.tags(arn)
		if err != nil {
			return nil, err
		}
		out.TagDescriptions.Members = append(out.TagDescriptions.Members, tagDescription{arn, keyValues(tags)})
	}
	return &out, nil
}
