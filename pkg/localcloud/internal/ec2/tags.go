package ec2

import (
	"context"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// tag is a resource's tag.
type tag struct {
	Key   string `query:"Key" xml:"key"`
	Value string `query:"Value" xml:"value"`
}

// tags are a resource's tags, in the order of their keys.
type tags []tag

func (ts tags) get(key string) (string, bool) {
	for _, t := range ts {
		if t.Key == key {
			return t.Value, true
		}
	}
	return "", false
}

// with returns the tags with others set on top.
func (ts tags) with(set tags) tags {
	merged := slices.Clone(ts)
	for _, t := range set {
		if i := slices.IndexFunc(merged, func(m tag) bool { return m.Key == t.Key }); i >= 0 {
			merged[i].Value = t.Value
		} else {
			merged = append(merged, t)
		}
	}
	slices.SortFunc(merged, func(a, b tag) int { return strings.Compare(a.Key, b.Key) })
	return merged
}

// maxTags is AWS's quota of tags per resource.
const maxTags = 50

// check validates keys and values as AWS does.
func (ts tags) check() error {
	for _, t := range ts {
		switch {
		case t.Key == "":
			return wire.Errorf("InvalidParameterValue", "Tag keys must not be empty")
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return wire.Errorf("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		case len([]rune(t.Key)) > 128 || len([]rune(t.Value)) > 256:
			return wire.Errorf("InvalidParameterValue", "Tag '%s': keys have at most 128 characters and values 256", t.Key)
		}
	}
	if len(ts) > maxTags {
		return wire.Errorf("TagLimitExceeded", "The maximum number of Tags for a resource has been reached")
	}
	return nil
}

// tagSpecification gives tags to one kind of resource at its creation.
type tagSpecification struct {
	ResourceType string `query:"ResourceType" xml:"resourceType" json:",omitempty"`
	Tags         tags   `query:"Tag" xml:"tagSet>item" json:",omitempty"`
}

type tagSpecifications []tagSpecification

// of returns the tags for one kind of resource, or an error for a kind that is not among those the call creates.
func (specs tagSpecifications) of(kind string, created ...string) (tags, error) {
	var found tags
	for _, spec := range specs {
		if spec.ResourceType != kind && !slices.Contains(created, spec.ResourceType) {
			return nil, wire.Errorf("InvalidParameterValue", "'%s' is not a valid taggable resource type for this operation.", spec.ResourceType)
		}
		if err := spec.Tags.check(); err != nil {
			return nil, err
		}
		if spec.ResourceType == kind {
			found = found.with(spec.Tags)
		}
	}
	return found, nil
}

func (s *Service) tagActions() map[string]wire.Action {
	return map[string]wire.Action{
		"CreateTags": wire.Do(s.createTags, s.creatingTags),
		"DeleteTags": wire.Do(s.deleteTags, s.deletingTags),
	}
}

// tagsOf returns where the tags of a resource are, and its type. The caller holds the lock.
func (s *Service) tagsOf(id string) (place *tags, kind string, err error) {
	st := s.state
	prefix, _, _ := strings.Cut(id, "-")
	switch prefix {
	case "ami":
		if r, ok := st.Images[id]; ok {
			return &r.Tags, "image", nil
		}
		return nil, "", wire.Errorf("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
	case "snap":
		if r, ok := st.Snapshots[id]; ok {
			return &r.Tags, "snapshot", nil
		}
		return nil, "", notFound("InvalidSnapshot.NotFound", "snapshot", id)
	case "i":
		if r, ok := st.Instances[id]; ok {
			return &r.Tags, "instance", nil
		}
		return nil, "", instanceNotFound(id)
	case "vol":
		if r, ok := st.Volumes[id]; ok {
			return &r.Tags, "volume", nil
		}
		return nil, "", notFound("InvalidVolume.NotFound", "volume", id)
	case "eni":
		for _, r := range st.Instances {
			if r.Interface.ID == id && !r.ended() {
				return &r.Interface.Tags, "network-interface", nil
			}
		}
		return nil, "", notFound("InvalidNetworkInterfaceID.NotFound", "networkInterface ID", id)
	case "key":
		if r, ok := st.KeyPairs[id]; ok {
			return &r.Tags, "key-pair", nil
		}
		return nil, "", wire.Errorf("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", id)
	case "sg":
		if r, ok := st.Groups[id]; ok {
			return &r.Tags, "security-group", nil
		}
		return nil, "", groupNotFound(id)
	case "sgr":
		for _, g := range st.Groups {
			for _, r := range g.Rules {
				if r.ID == id {
					return &r.Tags, "security-group-rule", nil
				}
			}
		}
		return nil, "", notFound("InvalidSecurityGroupRuleId.NotFound", "security group rule ID", id)
	case "vpc":
		if r, ok := st.VPCs[id]; ok {
			return &r.Tags, "vpc", nil
		}
		return nil, "", vpcNotFound(id)
	case "subnet":
		if r, ok := st.Subnets[id]; ok {
			return &r.Tags, "subnet", nil
		}
		return nil, "", subnetNotFound(id)
	case "igw":
		if r, ok := st.Gateways[id]; ok {
			return &r.Tags, "internet-gateway", nil
		}
		return nil, "", gatewayNotFound(id)
	case "rtb":
		if r, ok := st.RouteTables[id]; ok {
			return &r.Tags, "route-table", nil
		}
		return nil, "", routeTableNotFound(id)
	case "acl":
		if r, ok := st.ACLs[id]; ok {
			return &r.Tags, "network-acl", nil
		}
		return nil, "", wire.Errorf("InvalidNetworkAclID.NotFound", "The networkAcl ID '%s' does not exist", id)
	case "lt":
		if r, ok := st.Templates[id]; ok {
			return &r.Tags, "launch-template", nil
		}
		return nil, "", templateIDNotFound(id)
	}
	return nil, "", wire.Errorf("InvalidID", "The ID '%s' is not valid", id)
}

type createTagsInput struct {
	Resources []string `query:"ResourceId" wire:"required"`
	Tags      tags     `query:"Tag" wire:"required"`
}

func (s *Service) createTags(_ context.Context, in *createTagsInput) (*wire.Return, error) {
	if err := in.Tags.check(); err != nil {
		return nil, err
	}
	err := s.change(func() error {
		var places []*tags
		for _, id := range in.Resources { // all or none
			place, _, err := s.tagsOf(id)
			if err != nil {
				return err
			}
			if len(place.with(in.Tags)) > maxTags {
				return wire.Errorf("TagLimitExceeded", "The maximum number of Tags for a resource has been reached")
			}
			places = append(places, place)
		}
		for _, place := range places {
			*place = place.with(in.Tags)
		}
		return nil
	})
	return &wire.Return{Return: true}, err
}

type deleteTag struct {
	Key   string  `query:"Key"`
	Value *string `query:"Value" wire:"empty"` // nil: whatever the value
}

type deleteTagsInput struct {
	Resources []string    `query:"ResourceId" wire:"required"`
	Tags      []deleteTag `query:"Tag"` // none: all of the tags
}

func (s *Service) deleteTags(_ context.Context, in *deleteTagsInput) (*wire.Return, error) {
	err := s.change(func() error {
		var places []*tags
		for _, id := range in.Resources {
			place, _, err := s.tagsOf(id)
			if err != nil {
				return err
			}
			places = append(places, place)
		}
		for _, place := range places {
			*place = slices.DeleteFunc(slices.Clone(*place), func(t tag) bool {
				return len(in.Tags) == 0 || slices.ContainsFunc(in.Tags, func(d deleteTag) bool {
					return d.Key == t.Key && (d.Value == nil || *d.Value == t.Value)
				})
			})
		}
		return nil
	})
	return &wire.Return{Return: true}, err
}
