package service

import (
	"maps"
	"slices"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// MaxTags is how many tags a resource of any service can have.
const MaxTags = 50

// Tag is a tag as most APIs have it.
type Tag struct {
	Key   string `query:"Key" wire:"required"`
	Value string `query:"Value" wire:"required,empty"`
}

// Pair returns the key and the value.
func (t Tag) Pair() (key, value string) { return t.Key, t.Value }

// Tagging is how a service refuses tags.
type Tagging struct {
	// Invalid is the code for a tag that is not valid.
	Invalid string
	// TooMany is the error for a resource that would have more than [MaxTags].
	TooMany *wire.Error
}

// Set returns the tags with those of the list set on top. The tags may be nil and stay as they are.
func (t Tagging) Set(tags map[string]string, list []Tag) (map[string]string, error) {
	set := maps.Clone(tags)
	if set == nil {
		set = map[string]string{}
	}
	for _, tag := range list {
		if tag.Key == "" || len(tag.Key) > 128 || len(tag.Value) > 256 {
			return nil, wire.Errorf(t.Invalid, "The tag %q is not valid: a key has 1 to 128 characters, a value up to 256.", tag.Key)
		}
		set[tag.Key] = tag.Value
	}
	if len(set) > MaxTags {
		return nil, t.TooMany
	}
	return set, nil
}

// RemoveTags returns the tags without those of the keys. The tags stay as they are.
func RemoveTags(tags map[string]string, keys []string) map[string]string {
	left := maps.Clone(tags)
	for _, key := range keys {
		delete(left, key)
	}
	return left
}

// Tags returns the tags in the order of their keys.
func Tags(tags map[string]string) []Tag {
	list := make([]Tag, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, Tag{key, tags[key]})
	}
	return list
}
