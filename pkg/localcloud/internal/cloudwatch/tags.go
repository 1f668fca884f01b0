package cloudwatch

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// maxTags is how many tags an alarm can have.
const maxTags = 50

type tag struct {
	Key   string `query:"Key" wire:"required"`
	Value string `query:"Value" wire:"required"`
}

type resourceInput struct {
	ResourceARN string `query:"ResourceARN" wire:"required"`
}

// alarmOf returns the name and the alarm of an ARN.
func (s *Service) alarmOf(st state, arn string) (string, alarm, error) {
	name, ours := strings.CutPrefix(arn, s.arnPrefix())
	a, ok := st.Alarms[name]
	if !ours || !ok {
		return "", alarm{}, notFound("ResourceNotFoundException", "The resource %s does not exist", arn)
	}
	return name, a, nil
}

// addTags adds tags to the map, which may be nil, and returns it.
func addTags(tags map[string]string, more []tag) (map[string]string, error) {
	if tags == nil {
		tags = map[string]string{}
	}
	for _, t := range more {
		if t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256 {
			return nil, wire.Errorf("InvalidParameterValue", "The tag %q is not valid: a key has 1 to 128 characters, a value up to 256.", t.Key)
		}
		tags[t.Key] = t.Value
	}
	if len(tags) > maxTags {
		return nil, wire.Errorf("InvalidParameterValue", "An alarm can have at most %d tags.", maxTags)
	}
	return tags, nil
}

type listTagsOutput struct{ Tags list[tag] }

func (s *Service) listTagsForResource(_ context.Context, in *resourceInput) (*listTagsOutput, error) {
	out := &listTagsOutput{list[tag]{[]tag{}}}
	return out, s.state.View(func(st state) error {
		_, a, err := s.alarmOf(st, in.ResourceARN)
		for _, key := range slices.Sorted(maps.Keys(a.Tags)) {
			out.Tags.Members = append(out.Tags.Members, tag{key, a.Tags[key]})
		}
		return err
	})
}

type tagResourceInput struct {
	resourceInput
	Tags []tag `query:"Tags" wire:"required"`
}

func (s *Service) tagResource(_ context.Context, in *tagResourceInput) (*wire.Empty, error) {
	return nil, s.state.Update(func(st *state) error {
		name, a, err := s.alarmOf(*st, in.ResourceARN)
		if err != nil {
			return err
		}
		a.Tags, err = addTags(a.Tags, in.Tags)
		st.Alarms[name] = a
		return err
	})
}

type untagResourceInput struct {
	resourceInput
	TagKeys []string `query:"TagKeys" wire:"required"`
}

func (s *Service) untagResource(_ context.Context, in *untagResourceInput) (*wire.Empty, error) {
	return nil, s.state.Update(func(st *state) error {
		name, a, err := s.alarmOf(*st, in.ResourceARN)
		if err != nil {
			return err
		}
		for _, key := range in.TagKeys {
			delete(a.Tags, key)
		}
		st.Alarms[name] = a
		return nil
	})
}
