package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Vocabulary says of a condition key, by its [Name], whether a request can have it, and whether with many values.
type Vocabulary func(key string) (many, known bool)

// Parse reads a document. It fails on whatever it does not understand, a condition key outside of the vocabulary included.
func Parse(text string, kind Kind, vocabulary Vocabulary) (*Document, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	root, err := decode(decoder, 0)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after the document")
	}
	object, ok := root.(map[string]any)
	if !ok {
		return nil, errors.New("the document is not a JSON object")
	}
	p := parser{kind: kind, vocabulary: vocabulary}
	if err := only(object, "Version", "Id", "Statement"); err != nil {
		return nil, err
	}
	switch version := object["Version"]; version {
	case "2012-10-17":
		p.variables = true
	case "2008-10-17", nil:
	default:
		return nil, fmt.Errorf("there is no Version %v", version)
	}
	if id, given := object["Id"]; given {
		if _, ok := id.(string); !ok {
			return nil, errors.New("the Id is not a text")
		}
	}
	statements, ok := object["Statement"].([]any)
	if !ok {
		statements = []any{object["Statement"]}
	}
	d := &Document{}
	for n, raw := range statements {
		s, err := p.statement(raw)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", n+1, err)
		}
		if s.SID != "" && slices.ContainsFunc(d.Statements, func(other Statement) bool { return other.SID == s.SID }) {
			return nil, fmt.Errorf("two statements have the Sid %s", s.SID)
		}
		d.Statements = append(d.Statements, s)
	}
	if len(d.Statements) == 0 {
		return nil, errors.New("the document has no Statement")
	}
	return d, nil
}

// maxDepth is how deep a document is nested at most: a condition's value is the deepest.
const maxDepth = 8

// decode reads a JSON value. Unlike encoding/json it refuses an object that has a name twice, of which one would be ignored.
func decode(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("the document is nested too deep")
	}
	token, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("the document is not JSON: %w", err)
	}
	switch token {
	case json.Delim('['):
		list := []any{}
		for d.More() {
			item, err := decode(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		_, err := d.Token()
		return list, err
	case json.Delim('{'):
		object := map[string]any{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, fmt.Errorf("the document is not JSON: %w", err)
			}
			key, _ := name.(string) // whatever comes before a colon is
			if _, twice := object[key]; twice {
				return nil, fmt.Errorf("%s is there twice", key)
			}
			if object[key], err = decode(d, depth+1); err != nil {
				return nil, err
			}
		}
		_, err := d.Token()
		return object, err
	}
	return token, nil
}

// only checks that an object has no other names.
func only(object map[string]any, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no element %s here", name)
		}
	}
	return nil
}

type parser struct {
	kind       Kind
	vocabulary Vocabulary
	variables  bool
}

var validSID = regexp.MustCompile(`^[A-Za-z0-9]*$`)

func (p *parser) statement(raw any) (s Statement, err error) {
	object, ok := raw.(map[string]any)
	if !ok {
		return s, errors.New("it is not a JSON object")
	}
	about := []string{"Sid", "Effect", "Action", "NotAction", "Condition"}
	if p.kind == Trust {
		about = append(about, "Principal")
	} else {
		about = append(about, "Resource", "NotResource")
	}
	if err := only(object, about...); err != nil {
		return s, err
	}
	if sid, given := object["Sid"]; given {
		if s.SID, ok = sid.(string); !ok || !validSID.MatchString(s.SID) {
			return s, errors.New("the Sid has to be letters and digits")
		}
	}
	switch object["Effect"] {
	case "Allow":
	case "Deny":
		s.deny = true
	default:
		return s, errors.New("the Effect has to be Allow or Deny")
	}
	if s.actions, s.notActions, err = p.patterns(object, "Action", p.action); err != nil {
		return s, err
	}
	if p.kind == Trust {
		s.principals, err = principals(object["Principal"])
	} else {
		s.resources, s.notResources, err = p.patterns(object, "Resource", p.resource)
	}
	if err != nil {
		return s, err
	}
	s.conditions, err = p.conditions(object["Condition"])
	return s, err
}

// patterns reads an element that has to be there, or its opposite.
func (p *parser) patterns(object map[string]any, name string, read func(string) (pattern, error)) (all []pattern, not bool, err error) {
	raw, given := object[name]
	opposite, not := object["Not"+name]
	if given == not {
		return nil, false, fmt.Errorf("it needs one of %s and Not%[1]s", name)
	}
	if not {
		raw = opposite
	}
	values, err := texts(raw, false)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", name, err)
	}
	for _, value := range values {
		read, err := read(value)
		if err != nil {
			return nil, false, fmt.Errorf("%s %q: %w", name, value, err)
		}
		all = append(all, read)
	}
	return all, not, nil
}

// texts returns the texts of a value: one, or a list of one or more. Numbers and truth values are texts where they may be.
func texts(raw any, scalars bool) ([]string, error) {
	list, ok := raw.([]any)
	if !ok {
		list = []any{raw}
	}
	var all []string
	for _, item := range list {
		switch item := item.(type) {
		case string:
			all = append(all, item)
			continue
		case bool, json.Number:
			if scalars {
				all = append(all, fmt.Sprint(item))
				continue
			}
		}
		return nil, errors.New("a value is not a text")
	}
	if len(all) == 0 {
		return nil, errors.New("there is no value")
	}
	return all, nil
}

var validAction = regexp.MustCompile(`^(\*|\*:\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+)$`)

func (p *parser) action(text string) (pattern, error) {
	if !validAction.MatchString(text) {
		return nil, errors.New("an action has the form service:Action")
	}
	return parsePattern(strings.ToLower(text), true, false, p.vocabulary)
}

func (p *parser) resource(text string) (pattern, error) {
	if text != "*" && (!strings.HasPrefix(text, "arn:") || strings.Count(text, ":") < arnParts-1) {
		return nil, errors.New("a resource is an ARN, or *")
	}
	return parsePattern(text, true, p.variables, p.vocabulary)
}

var accountID = regexp.MustCompile(`^[0-9]{12}$`)

// principals reads who a trust document is about.
func principals(raw any) ([]Principal, error) {
	if raw == "*" {
		return []Principal{{Name: "*"}}, nil
	}
	object, ok := raw.(map[string]any)
	if !ok {
		return nil, errors.New("it needs a Principal")
	}
	if err := only(object, "AWS", "Service", "Federated"); err != nil {
		return nil, err
	}
	var all []Principal
	for _, kind := range slices.Sorted(maps.Keys(object)) {
		names, err := texts(object[kind], false)
		if err != nil {
			return nil, fmt.Errorf("Principal %s: %w", kind, err)
		}
		for _, name := range names {
			switch {
			case kind == "AWS" && accountID.MatchString(name):
				name = "arn:aws:iam::" + name + ":root"
			case name == "" || name != "*" && strings.ContainsAny(name, "*?"):
				return nil, fmt.Errorf("the principal %q cannot have a wildcard in it", name)
			case kind == "Service" && !strings.HasSuffix(name, ".amazonaws.com"):
				return nil, fmt.Errorf("the principal %q is not a service", name)
			}
			all = append(all, Principal{Kind: kind, Name: name})
		}
	}
	if len(all) == 0 {
		return nil, errors.New("it needs a Principal")
	}
	return all, nil
}

func (p *parser) conditions(raw any) ([]condition, error) {
	if raw == nil {
		return nil, nil
	}
	operators, ok := raw.(map[string]any)
	if !ok {
		return nil, errors.New("the Condition is not a JSON object")
	}
	var all []condition
	for _, name := range slices.Sorted(maps.Keys(operators)) {
		keys, ok := operators[name].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("condition %s: it is not a JSON object", name)
		}
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			c, err := p.condition(name, key, keys[key])
			if err != nil {
				return nil, fmt.Errorf("condition %s of %s: %w", name, key, err)
			}
			if slices.ContainsFunc(all, func(other condition) bool { return other.name == name && other.key == c.key }) {
				return nil, fmt.Errorf("condition %s of %s is there twice", name, key)
			}
			all = append(all, c)
		}
	}
	return all, nil
}

func (p *parser) condition(name, key string, raw any) (condition, error) {
	c := condition{key: Name(key), name: name}
	rest, ifExists := strings.CutSuffix(name, "IfExists")
	for prefix, quantifier := range map[string]quantifier{"ForAllValues:": forAll, "ForAnyValue:": forAny} {
		if after, ok := strings.CutPrefix(rest, prefix); ok {
			rest, c.quantifier = after, quantifier
		}
	}
	found, ok := findOperator(rest)
	if !ok || found.null && (ifExists || c.quantifier != single) {
		return c, errors.New("there is no such operator")
	}
	c.operator, c.ifExists = found, ifExists
	many, known := p.vocabulary(c.key)
	switch {
	case !known:
		return c, errors.New("there is no such condition key here")
	case many && c.quantifier == single && !found.null:
		return c, errors.New("the key has many values, so that the operator needs ForAllValues or ForAnyValue before it")
	}
	values, err := texts(raw, true)
	if err != nil {
		return c, err
	}
	for _, value := range values {
		if found.check != nil {
			if err := found.check(value); err != nil {
				return c, err
			}
		}
		read, err := parsePattern(value, found.wildcards, p.variables && found.text, p.vocabulary)
		if err != nil {
			return c, fmt.Errorf("%q: %w", value, err)
		}
		c.values = append(c.values, read)
	}
	return c, nil
}
