package ec2

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// filter selects the resources of which an attribute has one of the values.
type filter struct {
	Name   string   `query:"Name" wire:"required"`
	Values []string `query:"Value"`
}

// filters all have to match.
type filters []filter

// resource is what filters select from. Pages come in the order of creation.
type resource interface {
	// key returns the time of creation and the ID.
	key() (time.Time, string)
	// attribute returns the values of the attribute of a filter's name, and whether there is a filter of that name,
	// which must not depend on the resource: the zero resource answers, too.
	attribute(name string) (values []string, ok bool)
	// tagged returns the resource's tags.
	tagged() tags
}

// match returns those of all that the filters select, in the order of their creation.
func match[T any, R interface {
	*T
	resource
}](fs filters, all []R) ([]R, error) {
	for _, f := range fs { // refused even where there is nothing to filter
		if !strings.HasPrefix(f.Name, "tag:") && f.Name != "tag-key" && f.Name != "tag-value" {
			if _, ok := filterable(R(new(T)), f.Name); !ok {
				return nil, wire.Errorf("InvalidParameterValue", "The filter '%s' is invalid", f.Name)
			}
		}
		if len(f.Values) == 0 {
			return nil, wire.Errorf("InvalidParameterValue", "The filter '%s' must have a value", f.Name)
		}
	}
	var found []R
	for _, r := range all {
		if fs.match(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b R) int { return strings.Compare(sortKey(a), sortKey(b)) })
	return found, nil
}

func sortKey(r resource) string {
	created, id := r.key()
	return created.UTC().Format("20060102150405.000") + " " + id
}

func (fs filters) match(r resource) bool {
	for _, f := range fs {
		var values []string
		if name, ok := strings.CutPrefix(f.Name, "tag:"); ok {
			if v, ok := r.tagged().get(name); ok {
				values = []string{v}
			}
		} else if f.Name == "tag-key" {
			for _, t := range r.tagged() {
				values = append(values, t.Key)
			}
		} else if f.Name == "tag-value" {
			for _, t := range r.tagged() {
				values = append(values, t.Value)
			}
		} else {
			values, _ = filterable(r, f.Name)
		}
		if !slices.ContainsFunc(values, func(v string) bool {
			return slices.ContainsFunc(f.Values, func(pattern string) bool { return glob(pattern, v) })
		}) {
			return false
		}
	}
	return true
}

// glob matches EC2's wildcards: * for any number of characters, ? for one, and \ before one that is meant as it is.
func glob(pattern, s string) bool {
	for pattern != "" {
		switch c := pattern[0]; c {
		case '*':
			pattern = strings.TrimLeft(pattern, "*")
			if pattern == "" {
				return true
			}
			for i := range len(s) + 1 {
				if glob(pattern, s[i:]) {
					return true
				}
			}
			return false
		case '?':
			if s == "" {
				return false
			}
			pattern, s = pattern[1:], s[1:]
		default:
			if c == '\\' && len(pattern) > 1 {
				pattern = pattern[1:]
				c = pattern[0]
			}
			if s == "" || s[0] != c {
				return false
			}
			pattern, s = pattern[1:], s[1:]
		}
	}
	return s == ""
}

// paging is what a call that answers in pages takes.
type paging struct {
	MaxResults *int   `query:"MaxResults"`
	NextToken  string `query:"NextToken"`
}

// page cuts one page out of sorted resources and returns the token for the next, "" for the last one. A token stands for
// the resource that the page before ended with, so that it stays good when resources come and go.
func page[R resource](p paging, all []R) ([]R, string, error) {
	if p.NextToken != "" {
		last, err := base64.RawURLEncoding.DecodeString(p.NextToken)
		if err != nil || len(last) < len("20060102150405.000 ") {
			return nil, "", wire.Errorf("InvalidParameterValue", "Unable to parse pagination token")
		}
		i, found := slices.BinarySearchFunc(all, string(last), func(r R, key string) int { return cmp.Compare(sortKey(r), key) })
		if found {
			i++
		}
		all = all[i:]
	}
	if p.MaxResults == nil {
		return all, "", nil
	}
	if *p.MaxResults < 1 {
		return nil, "", wire.Errorf("InvalidParameterValue", "Value (%d) for parameter maxResults is invalid", *p.MaxResults)
	}
	if len(all) <= *p.MaxResults {
		return all, "", nil
	}
	all = all[:*p.MaxResults]
	return all, base64.RawURLEncoding.EncodeToString([]byte(sortKey(all[len(all)-1]))), nil
}

// describe is what most Describe calls do: match, then cut a page.
func describe[T any, R interface {
	*T
	resource
}](fs filters, p paging, all []R) ([]R, string, error) {
	found, err := match(fs, all)
	if err != nil {
		return nil, "", err
	}
	return page(p, found)
}

// describeOwned is describe for resources that a filter can ask for by their owner, which is the same account for all.
func describeOwned[T any, R interface {
	*T
	resource
}](account string, fs filters, p paging, all []R) ([]R, string, error) {
	rest, matches := fs.withoutOwner(account)
	found, next, err := describe(rest, p, all)
	if err != nil || !matches {
		return nil, "", err
	}
	return found, next, nil
}

// withoutOwner takes the filter on the owner out, since everything here has the same one. Nothing matches when that is
// not the owner asked for.
func (fs filters) withoutOwner(account string) (rest filters, matches bool) {
	matches = true
	rest = slices.DeleteFunc(slices.Clone(fs), func(f filter) bool {
		if f.Name != "owner-id" {
			return false
		}
		matches = matches && slices.ContainsFunc(f.Values, func(p string) bool { return glob(p, account) })
		return true
	})
	return rest, matches
}
