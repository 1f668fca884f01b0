package elbv2

import (
	"context"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

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
	for _, kind := range []string{"target group", "listener"} {
		if err := absent(kind, arn); err.Code != "ValidationError" {
			return nil, err
		}
	}
	return nil, absent("load balancer", arn)
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
	if len(m) > service.MaxTags {
		return nil, wire.Errorf("TooManyTags", "A resource can have at most %d tags", service.MaxTags)
	}
	return m, nil
}

type addTagsInput struct {
	ARNs []string   `query:"ResourceArns" wire:"required"`
	Tags []keyValue `query:"Tags" wire:"required"`
}

func (s *Service) addTags(_ context.Context, in *addTagsInput) (*wire.Empty, error) {
	given, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return nil, s.change(func() error {
		for _, arn := range in.ARNs {
			tags, err := s.tags(arn)
			if err != nil {
				return err
			}
			for key, value := range given {
				tags[key] = value
			}
			if len(tags) > service.MaxTags {
				return wire.Errorf("TooManyTags", "A resource can have at most %d tags", service.MaxTags)
			}
		}
		return nil
	})
}

type removeTagsInput struct {
	ARNs []string `query:"ResourceArns" wire:"required"`
	Keys []string `query:"TagKeys" wire:"required"`
}

func (s *Service) removeTags(_ context.Context, in *removeTagsInput) (*wire.Empty, error) {
	return nil, s.change(func() error {
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
	TagDescriptions service.List[tagDescription]
}

type tagDescription struct {
	ResourceARN string `xml:"ResourceArn"`
	Tags        service.List[keyValue]
}

func (s *Service) describeTags(_ context.Context, in *describeTagsInput) (*describeTagsOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
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
