package autoscaling

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

type tagView struct {
	Key               string
	PropagateAtLaunch bool
	ResourceID        string `xml:"ResourceId"`
	ResourceType      string
	Value             string
}

func (t groupTag) view(group string) tagView {
	return tagView{Key: t.Key, PropagateAtLaunch: t.PropagateAtLaunch, ResourceID: group, ResourceType: "auto-scaling-group", Value: t.Value}
}

func (g *group) setTag(t groupTag) error {
	switch {
	case strings.HasPrefix(t.Key, "aws:"):
		return wire.Errorf("ValidationError", "aws: prefixed tag key names are not allowed for external use.")
	case t.ResourceID != "" && t.ResourceID != g.Name:
		return wire.Errorf("ValidationError", "The tag's ResourceId %s is not the group %s.", t.ResourceID, g.Name)
	case t.ResourceType != "" && t.ResourceType != "auto-scaling-group":
		return wire.Errorf("ValidationError", "The tag's ResourceType must be auto-scaling-group.")
	}
	if n := slices.IndexFunc(g.Tags, func(have groupTag) bool { return have.Key == t.Key }); n >= 0 {
		g.Tags[n] = t
		return nil
	}
	if len(g.Tags) == service.MaxTags {
		return wire.Errorf("LimitExceeded", "A group can have at most %d tags.", service.MaxTags)
	}
	g.Tags = append(g.Tags, t)
	slices.SortFunc(g.Tags, func(a, b groupTag) int { return cmp.Compare(a.Key, b.Key) })
	return nil
}

type tagsInput struct {
	Tags []groupTag `query:"Tags" wire:"required"`
}

func (s *Service) createOrUpdateTags(_ context.Context, in *tagsInput) (*wire.Empty, error) {
	return nil, s.changeTags(in, func(g *group, t groupTag) error { return g.setTag(t) })
}

func (s *Service) deleteTags(_ context.Context, in *tagsInput) (*wire.Empty, error) {
	return nil, s.changeTags(in, func(g *group, t groupTag) error {
		g.Tags = slices.DeleteFunc(g.Tags, func(have groupTag) bool { return have.Key == t.Key })
		return nil
	})
}

func (s *Service) changeTags(in *tagsInput, f func(*group, groupTag) error) error {
	return s.update(func(time.Time) error {
		for _, t := range in.Tags {
			g, err := s.group(t.ResourceID)
			if err != nil {
				return err
			}
			if err := f(g, t); err != nil {
				return err
			}
		}
		return nil
	})
}
