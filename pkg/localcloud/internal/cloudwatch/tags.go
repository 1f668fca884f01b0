package cloudwatch

import (
	"context"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// tagging returns how tags are refused.
func tagging() service.Tagging {
	return service.Tagging{
		Invalid: "InvalidParameterValue",
		TooMany: wire.Errorf("InvalidParameterValue", "An alarm can have at most %d tags.", service.MaxTags),
	}
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

type listTagsOutput struct{ Tags service.List[service.Tag] }

func (s *Service) listTagsForResource(_ context.Context, in *resourceInput) (*listTagsOutput, error) {
	out := &listTagsOutput{}
	return out, s.state.View(func(st state) error {
		_, a, err := s.alarmOf(st, in.ResourceARN)
		out.Tags.Members = service.Tags(a.Tags)
		return err
	})
}

type tagResourceInput struct {
	resourceInput
	Tags []service.Tag `query:"Tags" wire:"required"`
}

func (s *Service) tagResource(_ context.Context, in *tagResourceInput) (*wire.Empty, error) {
	return nil, s.state.Update(func(st *state) error {
		name, a, err := s.alarmOf(*st, in.ResourceARN)
		if err != nil {
			return err
		}
		a.Tags, err = tagging().Set(a.Tags, in.Tags)
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
		a.Tags = service.RemoveTags(a.Tags, in.TagKeys)
		st.Alarms[name] = a
		return nil
	})
}
