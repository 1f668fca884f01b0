package ssm

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// result is a parameter as answers hold it.
type result struct {
	ARN              string
	DataType         string
	LastModifiedDate wire.Epoch `json:",omitzero"`
	Name             string
	Selector         string `json:",omitempty"`
	Type             string
	Value            string
	Version          int64
}

func (s *Service) result(name, selector string, p parameter, v version, decrypt bool) result {
	return result{
		ARN: s.arn(name), DataType: v.DataType, LastModifiedDate: wire.Epoch{Time: v.Modified}, Name: name, Selector: selector,
		Type: p.Type, Value: shown(p.Type, v.Value, decrypt), Version: v.Number,
	}
}

// shown returns the value as an answer may show it. A SecureString that is not decrypted is shown as something that looks
// encrypted and is not the value: there is no key behind it.
func shown(kind, value string, decrypt bool) string {
	if kind != typeSecureString || decrypt {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return "AQICAHh" + base64.StdEncoding.EncodeToString(sum[:])
}

type getParameterInput struct {
	Name           string `wire:"required"`
	WithDecryption bool
}

type getParameterOutput struct {
	Parameter result
}

func (s *Service) getParameter(ctx context.Context, in *getParameterInput) (*getParameterOutput, error) {
	r, err := s.get(ctx, in.Name, in.WithDecryption)
	if err != nil {
		return nil, err
	}
	return &getParameterOutput{r}, nil
}

// get returns one parameter, of the account or public.
func (s *Service) get(ctx context.Context, nameAndSelector string, decrypt bool) (result, error) {
	if isPublic(nameAndSelector) {
		value, found, err := s.options.Public(ctx, nameAndSelector)
		switch {
		case err != nil:
			return result{}, err
		case !found:
			return result{}, notFound(nameAndSelector)
		}
		return s.result(nameAndSelector, "", parameter{Type: typeString}, version{Number: 1, Value: value, DataType: "text"}, true), nil
	}
	var r result
	return r, s.state.View(func(st state) error {
		name, p, v, err := s.find(st, nameAndSelector)
		if err != nil {
			return err
		}
		_, selector := s.splitSelector(nameAndSelector)
		r = s.result(name, selector, p, v, decrypt)
		return nil
	})
}

// pageInput is how callers ask for a part of a list.
type pageInput struct {
	MaxResults *int
	NextToken  string
}

// page returns the part of the list that is asked for and the token of the next part. It has at most limit items, as many by default.
func page[T any](items []T, in pageInput, limit int) ([]T, string, error) {
	size := limit
	if in.MaxResults != nil {
		if size = *in.MaxResults; size < 1 || size > limit {
			return nil, "", invalid("1 validation error detected: Value '%d' at 'maxResults' failed to satisfy constraint: Member must "+
				"have value between 1 and %d", size, limit)
		}
	}
	part, next, ok := service.Page(items, in.NextToken, size)
	if !ok {
		return nil, "", wire.Errorf("InvalidNextToken", "The specified token is not valid.")
	}
	return part, next, nil
}

// metadata is a parameter or one of its versions without, or in a history with, its value.
type metadata struct {
	ARN              string `json:",omitempty"`
	AllowedPattern   string `json:",omitempty"`
	DataType         string
	Description      string     `json:",omitempty"`
	KeyID            string     `json:"KeyId,omitempty"`
	Labels           []string   `json:",omitempty"`
	LastModifiedDate wire.Epoch `json:",omitzero"`
	LastModifiedUser string
	Name             string
	Policies         []wire.Empty
	Tier             string
	Type             string
	Value            string `json:",omitempty"`
	Version          int64
}

func (s *Service) metadata(name string, p parameter, v version) metadata {
	m := metadata{
		ARN: s.arn(name), AllowedPattern: v.AllowedPattern, DataType: v.DataType, Description: v.Description,
		LastModifiedDate: wire.Epoch{Time: v.Modified}, LastModifiedUser: s.options.UserARN, Name: name, Policies: []wire.Empty{}, Tier: v.Tier,
		Type: p.Type, Version: v.Number,
	}
	if p.Type == typeSecureString {
		m.KeyID = "alias/aws/ssm"
	}
	return m
}

type getParameterHistoryInput struct {
	Name           string `wire:"required"`
	WithDecryption bool
	pageInput
}

type listOutput struct {
	Parameters []metadata
	NextToken  string `json:",omitempty"`
}

func (s *Service) getParameterHistory(_ context.Context, in *getParameterHistoryInput) (*listOutput, error) {
	out := &listOutput{}
	return out, s.state.View(func(st state) error {
		name, p, _, err := s.find(st, in.Name)
		if err != nil {
			return err
		}
		for _, v := range p.Versions {
			m := s.metadata(name, p, v)
			m.ARN, m.Value, m.Labels = "", shown(p.Type, v.Value, in.WithDecryption), []string{}
			out.Parameters = append(out.Parameters, m)
		}
		out.Parameters, out.NextToken, err = page(out.Parameters, in.pageInput, 50)
		return err
	})
}

// filter is a condition on parameters.
type filter struct {
	Key    string `wire:"required"`
	Option string `wire:"enum=Equals|BeginsWith|Contains|Recursive|OneLevel"`
	Values []string
}

// matches reports whether the parameter satisfies the condition.
func (f filter) matches(name string, p parameter) (bool, error) {
	var value string
	switch key, isTag := strings.CutPrefix(f.Key, "tag:"); {
	case isTag:
		var ok bool
		if value, ok = p.Tags[key]; !ok || len(f.Values) == 0 {
			return ok, nil
		}
	case f.Key == "Name":
		value = name
	case f.Key == "Path":
		return f.matchesPath(name)
	case f.Key == "Type":
		value = p.Type
	case f.Key == "Tier":
		value = p.latest().Tier
	case f.Key == "DataType":
		value = p.latest().DataType
	default:
		return false, wire.Errorf("InvalidFilterKey", "This local cloud has no filter %s.", f.Key)
	}
	for _, want := range f.Values {
		switch f.Option {
		case "", "Equals":
			if value == want {
				return true, nil
			}
		case "BeginsWith":
			if strings.HasPrefix(value, want) {
				return true, nil
			}
		case "Contains":
			if strings.Contains(value, want) {
				return true, nil
			}
		default:
			return false, wire.Errorf("InvalidFilterOption", "The option %s does not fit the filter %s.", f.Option, f.Key)
		}
	}
	return false, nil
}

func (f filter) matchesPath(name string) (bool, error) {
	if f.Option != "" && f.Option != "OneLevel" && f.Option != "Recursive" {
		return false, wire.Errorf("InvalidFilterOption", "The option %s does not fit the filter Path.", f.Option)
	}
	return slices.ContainsFunc(f.Values, func(path string) bool { return under(path, name, f.Option == "Recursive") }), nil
}

// under reports whether the name is in the path, directly or, recursively, at any depth.
func under(path, name string, recursive bool) bool {
	rest, ok := strings.CutPrefix(name, strings.TrimSuffix(path, "/")+"/")
	return ok && (recursive || !strings.Contains(rest, "/"))
}

// selectParameters returns the names of the parameters that satisfy all conditions, in order.
func selectParameters(st state, filters []filter) ([]string, error) {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(st.Parameters)) {
		all := true
		for _, f := range filters {
			ok, err := f.matches(name, st.Parameters[name])
			if err != nil {
				return nil, err
			}
			all = all && ok
		}
		if all {
			names = append(names, name)
		}
	}
	return names, nil
}

type describeParametersInput struct {
	ParameterFilters []filter
	Filters          []struct {
		Key    string   `wire:"required,enum=Name|Type"`
		Values []string `wire:"required"`
	}
	Shared bool
	pageInput
}

func (s *Service) describeParameters(_ context.Context, in *describeParametersInput) (*listOutput, error) {
	filters := in.ParameterFilters
	for _, f := range in.Filters {
		filters = append(filters, filter{Key: f.Key, Option: "BeginsWith", Values: f.Values})
	}
	if in.Shared {
		return nil, invalid("This local cloud has one account, which shares nothing.")
	}
	out := &listOutput{Parameters: []metadata{}}
	return out, s.state.View(func(st state) error {
		names, err := selectParameters(st, filters)
		if err != nil {
			return err
		}
		for _, name := range names {
			p := st.Parameters[name]
			out.Parameters = append(out.Parameters, s.metadata(name, p, p.latest()))
		}
		out.Parameters, out.NextToken, err = page(out.Parameters, in.pageInput, 50)
		return err
	})
}

type getParametersByPathInput struct {
	Path             string `wire:"required"`
	Recursive        bool
	ParameterFilters []filter
	WithDecryption   bool
	pageInput
}

type getParametersByPathOutput struct {
	Parameters []result
	NextToken  string `json:",omitempty"`
}

func (s *Service) getParametersByPath(_ context.Context, in *getParametersByPathInput) (*getParametersByPathOutput, error) {
	if !strings.HasPrefix(in.Path, "/") {
		return nil, invalid("The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward " +
			"slash \"/\".")
	}
	if isPublic(in.Path) {
		return nil, invalid("This local cloud does not list public parameters: get them by name.")
	}
	path := filter{Key: "Path", Option: "OneLevel", Values: []string{in.Path}}
	if in.Recursive {
		path.Option = "Recursive"
	}
	out := &getParametersByPathOutput{Parameters: []result{}}
	return out, s.state.View(func(st state) error {
		names, err := selectParameters(st, append([]filter{path}, in.ParameterFilters...))
		if err != nil {
			return err
		}
		for _, name := range names {
			p := st.Parameters[name]
			out.Parameters = append(out.Parameters, s.result(name, "", p, p.latest(), in.WithDecryption))
		}
		out.Parameters, out.NextToken, err = page(out.Parameters, in.pageInput, 10)
		return err
	})
}
