package autoscaling

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// maxTags is how many tags a group can have.
const maxTags = 50

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
	if len(g.Tags) == maxTags {
		return wire.Errorf("LimitExceeded", "A group can have at most %d tags.", maxTags)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range in.Tags {
		g, err := s.group(t.ResourceID)
		if err != nil {
			return err
		}
		if err := f(g, t); err != nil {
			return err
		}
	}
	return s.save()
}

type describeTagsInput struct {
	Filters    []filter `query:"Filters"`
	MaxRecords *int     `query:"MaxRecords"`
	NextToken  string   `query:"NextToken"`
}

type describeTagsOutput struct {
	Tags      list[tagView]
	NextToken string `xml:"NextToken,omitempty"`
}

func (s *Service) describeTags(_ context.Context, in *describeTagsInput) (*describeTagsOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []tagView
	for _, g := range s.sortedGroups() {
		for _, t := range g.Tags {
			match, err := t.matches(g.Name, in.Filters)
			if err != nil {
				return nil, err
			}
			if match {
				found = append(found, t.view(g.Name))
			}
		}
	}
	part, next, err := page(found, in.MaxRecords, in.NextToken, 100)
	if err != nil {
		return nil, err
	}
	return &describeTagsOutput{Tags: list[tagView]{part}, NextToken: next}, nil
}

func (t groupTag) matches(group string, filters []filter) (bool, error) {
	for _, f := range filters {
		var value string
		switch f.Name {
		case "auto-scaling-group":
			value = group
		case "key":
			value = t.Key
		case "value":
			value = t.Value
		case "propagate-at-launch":
			value = map[bool]string{true: "true", false: "false"}[t.PropagateAtLaunch]
		default:
			return false, wire.Errorf("ValidationError", "Filter type %s is not correct. Allowed filters are: auto-scaling-group, key, value, "+
				"propagate-at-launch", f.Name)
		}
		if !slices.Contains(f.Values, value) {
			return false, nil
		}
	}
	return true, nil
}
