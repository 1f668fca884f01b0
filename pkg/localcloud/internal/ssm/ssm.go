// Package ssm is the Parameter Store of AWS Systems Manager: parameters with their versions, tags and paths, and the public
// parameters that an option resolves.
package ssm

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Limits of AWS: https://docs.aws.amazon.com/general/latest/gr/ssm.html.
const (
	maxVersions      = 100
	maxLevels        = 15
	maxStandardValue = 4096
	maxAdvancedValue = 8192
)

// Types of parameters.
const (
	typeString       = "String"
	typeStringList   = "StringList"
	typeSecureString = "SecureString"
)

// Options are the settings of a [Service].
type Options struct {
	// Account and Region are those of the ARNs.
	Account, Region string
	// UserARN is who changes parameters.
	UserARN string
	// Store keeps the state.
	Store store.Store
	// Public returns the value of a public parameter, whose name begins with /aws/, or false where there is none. Nil means that
	// there are none.
	Public func(ctx context.Context, name string) (value string, found bool, err error)
}

// Service is the Parameter Store.
type Service struct {
	options Options
	state   *store.Document[state]
}

type state struct {
	Parameters map[string]parameter
}

// parameter is a parameter with its versions, oldest first.
type parameter struct {
	Type     string
	Versions []version
	Tags     map[string]string
}

type version struct {
	Number                                             int64
	Value, Description, Tier, AllowedPattern, DataType string
	Modified                                           time.Time
}

func (p parameter) latest() version { return p.Versions[len(p.Versions)-1] }

// New returns the service with the state that the store has.
func New(options Options) (*Service, error) {
	document, err := store.Open(options.Store, "ssm", state{Parameters: map[string]parameter{}})
	if err != nil {
		return nil, err
	}
	if options.Public == nil {
		options.Public = func(context.Context, string) (string, bool, error) { return "", false, nil }
	}
	return &Service{options: options, state: document}, nil
}

// API returns the operations for wire.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name:     "ssm",
		Protocol: wire.JSON,
		Version:  "2014-11-06",
		Target:   "AmazonSSM",
		Actions: map[string]wire.Action{
			"AddTagsToResource":   wire.Do(s.addTagsToResource, func(in *addTagsInput) []wire.Access { return []wire.Access{tagged(s.on(in.ResourceID), in.Tags)} }),
			"DeleteParameter":     wire.Do(s.deleteParameter, func(in *deleteParameterInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
			"DescribeParameters":  wire.DoUnscoped(s.describeParameters),
			"GetParameter":        wire.Do(s.getParameter, func(in *getParameterInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
			"GetParameterHistory": wire.Do(s.getParameterHistory, func(in *getParameterHistoryInput) []wire.Access { return []wire.Access{s.on(in.Name)} }),
			"GetParametersByPath": wire.Do(s.getParametersByPath, s.onPath),
			"ListTagsForResource": wire.Do(s.listTagsForResource, func(in *resourceInput) []wire.Access { return []wire.Access{s.on(in.ResourceID)} }),
			"PutParameter":        wire.Do(s.putParameter, s.putting),
			"RemoveTagsFromResource": wire.Do(s.removeTagsFromResource, func(in *removeTagsInput) []wire.Access {
				return []wire.Access{s.on(in.ResourceID).With(map[string][]string{"aws:TagKeys": in.TagKeys})}
			}),
		},
	}
}

// tagging returns how tags are refused.
func tagging() service.Tagging {
	return service.Tagging{
		Invalid: "ValidationException",
		TooMany: wire.Errorf("TooManyTagsError", "A resource can have at most %d tags.", service.MaxTags),
	}
}

type putParameterInput struct {
	Name           string `wire:"required"`
	Value          string `wire:"required"`
	Type           string `wire:"enum=String|StringList|SecureString"`
	Description    *string
	AllowedPattern *string
	DataType       string `wire:"enum=text|aws:ec2:image"`
	KeyID          string `json:"KeyId"`
	Overwrite      bool
	Tags           []service.Tag
	Tier           string `wire:"enum=Standard|Advanced|Intelligent-Tiering"`
}

type putParameterOutput struct {
	Tier    string
	Version int64
}

func (s *Service) putParameter(_ context.Context, in *putParameterInput) (*putParameterOutput, error) {
	name := s.nameOf(in.Name)
	if err := checkName(name); err != nil {
		return nil, err
	}
	if in.KeyID != "" && in.KeyID != "alias/aws/ssm" {
		return nil, invalid("This local cloud has no key but alias/aws/ssm.")
	}
	if in.Overwrite && len(in.Tags) > 0 {
		return nil, invalid("Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please " +
			"remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource.")
	}
	out := &putParameterOutput{}
	return out, s.state.Update(func(st *state) error {
		p, exists := st.Parameters[name]
		next := version{Number: 1, DataType: "text", Tier: "Standard"}
		switch {
		case exists && !in.Overwrite:
			return wire.Errorf("ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite "+
				"option in the request to true.")
		case exists:
			next = p.latest()
			next.Number++
			if in.Type != "" && in.Type != p.Type {
				return wire.Errorf("HierarchyTypeMismatchException", "The parameter is of the type %s, which cannot be changed.", p.Type)
			}
		case in.Type == "":
			return invalid("A parameter type is required when you create a parameter.")
		default:
			p.Type = in.Type
		}
		if err := in.apply(&next); err != nil {
			return err
		}
		if err := checkValue(p.Type, next); err != nil {
			return err
		}
		var err error
		if p.Tags, err = tagging().Set(p.Tags, in.Tags); err != nil {
			return err
		}
		p.Versions = append(p.Versions, next)
		if extra := len(p.Versions) - maxVersions; extra > 0 {
			p.Versions = slices.Delete(p.Versions, 0, extra)
		}
		st.Parameters[name] = p
		out.Tier, out.Version = next.Tier, next.Number
		return nil
	})
}

// apply puts what the call gives into the version, which holds what it does not.
func (in *putParameterInput) apply(v *version) error {
	v.Value, v.Modified = in.Value, service.Millis()
	if in.Description != nil {
		v.Description = *in.Description
	}
	if in.AllowedPattern != nil {
		v.AllowedPattern = *in.AllowedPattern
	}
	if in.DataType != "" {
		v.DataType = in.DataType
	}
	switch {
	case in.Tier == "Intelligent-Tiering" && len(in.Value) > maxStandardValue:
		v.Tier = "Advanced"
	case in.Tier == "Standard" && v.Tier == "Advanced":
		return invalid("This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter " +
			"tier to the standard-parameter tier.")
	case in.Tier == "Standard" || in.Tier == "Advanced":
		v.Tier = in.Tier
	}
	return nil
}

func checkValue(kind string, v version) error {
	limit := maxStandardValue
	if v.Tier == "Advanced" {
		limit = maxAdvancedValue
	}
	if v.Value == "" {
		return invalid("1 validation error detected: Value '' at 'value' failed to satisfy constraint: Member must have length " +
			"greater than or equal to 1")
	}
	if len(v.Value) > limit {
		return invalid("%s tier parameters support a maximum parameter value of %d characters.", v.Tier, limit)
	}
	if v.DataType == "aws:ec2:image" && (kind != typeString || !regexp.MustCompile(`^ami-[0-9a-f]{8,17}$`).MatchString(v.Value)) {
		return invalid("The parameter value is not valid for the data type aws:ec2:image: a String that is an AMI ID is needed.")
	}
	if v.AllowedPattern == "" {
		return nil
	}
	pattern, err := regexp.Compile("^(?:" + v.AllowedPattern + ")$")
	if err != nil {
		return wire.Errorf("InvalidAllowedPatternException", "The AllowedPattern is not a regular expression.")
	}
	values := []string{v.Value}
	if kind == typeStringList {
		values = strings.Split(v.Value, ",")
	}
	for _, value := range values {
		if !pattern.MatchString(value) {
			return wire.Errorf("ParameterPatternMismatchException", "Parameter value, cannot be validated against allowedPattern: %s",
				v.AllowedPattern)
		}
	}
	return nil
}

// checkName checks a name for writing.
// See https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html.
func checkName(name string) error {
	if len(name) > 1011 || !regexp.MustCompile(`^[\w./-]+$`).MatchString(name) {
		return invalid("Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of " +
			"sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_")
	}
	if !strings.HasPrefix(name, "/") && strings.Contains(name, "/") {
		return invalid("Parameter name must be a fully qualified name.")
	}
	if strings.Contains(name, "//") || strings.HasSuffix(name, "/") {
		return invalid("Parameter name must not have an empty level.")
	}
	if strings.Count(name, "/") > maxLevels {
		return wire.Errorf("HierarchyLevelLimitExceededException", "A hierarchy can have a maximum of %d levels.", maxLevels)
	}
	first := strings.ToLower(strings.TrimPrefix(name, "/"))
	if strings.HasPrefix(first, "aws") {
		return wire.Errorf("AccessDeniedException", "No access to reserved parameter name: %s.", name)
	}
	if strings.HasPrefix(first, "ssm") {
		return invalid("Parameter name: can't be prefixed with \"ssm\" (case-insensitive).")
	}
	return nil
}

// nameOf returns the name of a parameter that is given by its name or its ARN.
func (s *Service) nameOf(nameOrARN string) string {
	rest, ok := strings.CutPrefix(nameOrARN, fmt.Sprintf("arn:aws:ssm:%s:%s:parameter/", s.options.Region, s.options.Account))
	if !ok {
		return nameOrARN
	}
	if strings.Contains(rest, "/") {
		return "/" + rest
	}
	return rest
}

func (s *Service) arn(name string) string {
	account := s.options.Account
	if isPublic(name) {
		account = ""
	}
	return fmt.Sprintf("arn:aws:ssm:%s:%s:parameter/%s", s.options.Region, account, strings.TrimPrefix(name, "/"))
}

// isPublic reports whether the name is one of those that AWS publishes.
func isPublic(name string) bool { return strings.HasPrefix(name, "/aws/") }

// splitSelector splits a name into the name and the selector that follows a colon, such as a version.
func (s *Service) splitSelector(nameAndSelector string) (name, selector string) {
	name = nameAndSelector
	if arn := strings.HasPrefix(name, "arn:"); arn && strings.Count(name, ":") > 5 || !arn && strings.Contains(name, ":") {
		i := strings.LastIndex(name, ":")
		name, selector = name[:i], name[i:]
	}
	return s.nameOf(name), selector
}

// find returns the version of a parameter that a name with or without a selector is about.
func (s *Service) find(st state, nameAndSelector string) (string, parameter, version, error) {
	name, selector := s.splitSelector(nameAndSelector)
	p, ok := st.Parameters[name]
	if !ok {
		return name, parameter{}, version{}, notFound(name)
	}
	if selector == "" {
		return name, p, p.latest(), nil
	}
	number, err := strconv.ParseInt(selector[1:], 10, 64)
	for _, v := range p.Versions {
		if err == nil && v.Number == number {
			return name, p, v, nil
		}
	}
	return name, parameter{}, version{}, wire.Errorf("ParameterVersionNotFound", "Systems Manager could not find version %s of %s.",
		selector[1:], name)
}

func notFound(name string) *wire.Error {
	return wire.Errorf("ParameterNotFound", "The parameter %s does not exist.", name)
}

func invalid(format string, args ...any) *wire.Error {
	return wire.Errorf("ValidationException", format, args...)
}

type deleteParameterInput struct {
	Name string `wire:"required"`
}

func (s *Service) deleteParameter(_ context.Context, in *deleteParameterInput) (*wire.Empty, error) {
	return nil, s.state.Update(func(st *state) error {
		name := s.nameOf(in.Name)
		if _, ok := st.Parameters[name]; !ok {
			return notFound(name)
		}
		delete(st.Parameters, name)
		return nil
	})
}

type resourceInput struct {
	ResourceType string `wire:"required,enum=Parameter"`
	ResourceID   string `json:"ResourceId" wire:"required"`
}

// updateResource changes the tags of a parameter.
func (s *Service) updateResource(in resourceInput, change func(*parameter) error) error {
	return s.state.Update(func(st *state) error {
		name := s.nameOf(in.ResourceID)
		p, ok := st.Parameters[name]
		if !ok {
			return wire.Errorf("InvalidResourceId", "The resource ID %q is not valid. Verify that you entered the correct ID and try again.",
				in.ResourceID)
		}
		if err := change(&p); err != nil {
			return err
		}
		st.Parameters[name] = p
		return nil
	})
}

type addTagsInput struct {
	resourceInput
	Tags []service.Tag `wire:"required"`
}

func (s *Service) addTagsToResource(_ context.Context, in *addTagsInput) (*wire.Empty, error) {
	return nil, s.updateResource(in.resourceInput, func(p *parameter) (err error) {
		p.Tags, err = tagging().Set(p.Tags, in.Tags)
		return err
	})
}

type removeTagsInput struct {
	resourceInput
	TagKeys []string `wire:"required"`
}

func (s *Service) removeTagsFromResource(_ context.Context, in *removeTagsInput) (*wire.Empty, error) {
	return nil, s.updateResource(in.resourceInput, func(p *parameter) error {
		p.Tags = service.RemoveTags(p.Tags, in.TagKeys)
		return nil
	})
}

type listTagsOutput struct {
	TagList []service.Tag
}

func (s *Service) listTagsForResource(_ context.Context, in *resourceInput) (*listTagsOutput, error) {
	out := &listTagsOutput{}
	return out, s.state.View(func(st state) error {
		p, ok := st.Parameters[s.nameOf(in.ResourceID)]
		if !ok {
			return wire.Errorf("InvalidResourceId", "The resource ID %q is not valid. Verify that you entered the correct ID and try again.",
				in.ResourceID)
		}
		out.TagList = service.Tags(p.Tags)
		return nil
	})
}
