package wire

import (
	"encoding"
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	// maxDepth bounds how many dots a parameter's name may have; EC2's deepest has eight.
	maxDepth = 16
	// maxList bounds an index, so that Filter.2000000000 costs nothing. EC2's own limits are 1000 and below.
	maxList = 10_000
)

// parameter is a node of the tree that dotted names make.
type parameter struct {
	value    string
	set      bool
	children map[string]*parameter
}

func (p *parameter) child(name string) *parameter {
	if p == nil {
		return nil
	}
	return p.children[name]
}

// isEmpty reports whether the parameter is there without a value. That is how the query protocol writes an empty list; any other
// parameter is as good as absent.
func (p *parameter) isEmpty() bool { return p.set && p.value == "" && len(p.children) == 0 }

// queryDecoder decodes the parameters of one request.
type queryDecoder struct{ protocol Protocol }

// decodeQuery decodes form parameters into the struct that into points to. Constraints are checked as in [checkTag].
func decodeQuery(protocol Protocol, form url.Values, into any) *Error {
	root := &parameter{}
	for _, key := range slices.Sorted(maps.Keys(form)) {
		if len(form[key]) > 1 {
			return queryError(protocol, "InvalidParameterCombination", "The parameter %s occurs more than once", key)
		}
		parts := strings.Split(key, ".")
		if len(parts) > maxDepth {
			return unknownParameter(key)
		}
		node := root
		for _, part := range parts {
			if part == "" {
				return unknownParameter(key)
			}
			if node.children == nil {
				node.children = map[string]*parameter{}
			}
			next, ok := node.children[part]
			if !ok {
				next = &parameter{}
				node.children[part] = next
			}
			node = next
		}
		node.value, node.set = form[key][0], true
	}
	return queryDecoder{protocol}.structure(root, reflect.ValueOf(into).Elem(), "")
}

func unknownParameter(path string) *Error {
	return Errorf("UnknownParameter", "The parameter %s is not recognized", path)
}

// queryError returns an error with EC2's code, or with ValidationError in the other query protocol.
func queryError(protocol Protocol, ec2Code, format string, args ...any) *Error {
	if protocol == EC2Query {
		return Errorf(ec2Code, format, args...)
	}
	return Errorf("ValidationError", format, args...)
}

func missingParameter(protocol Protocol, path string) *Error {
	switch protocol {
	case EC2Query:
		return Errorf("MissingParameter", "The request must contain the parameter %s", path)
	case AWSQuery:
		return Errorf("ValidationError", "%s", nullMessage(path))
	}
	return Errorf("ValidationException", "%s", nullMessage(path))
}

// emptyParameter is the error for a parameter that must be there and has no value.
func emptyParameter(protocol Protocol, path string) *Error {
	missing := missingParameter(protocol, path)
	if protocol != EC2Query {
		missing.Message = fmt.Sprintf("1 validation error detected: Value '' at '%s' failed to satisfy constraint: "+
			"Member must have length greater than or equal to 1", path)
	}
	return missing
}

func nullMessage(path string) string {
	return fmt.Sprintf("1 validation error detected: Value null at '%s' failed to satisfy constraint: Member must not be null", path)
}

func notInEnum(protocol Protocol, path, value string, enum []string) *Error {
	switch protocol {
	case EC2Query:
		return Errorf("InvalidParameterValue", "Value (%s) for parameter %s is invalid. It must be one of: %s", value, path,
			strings.Join(enum, ", "))
	case AWSQuery:
		return Errorf("ValidationError", "%s", enumMessage(path, value, enum))
	}
	return Errorf("ValidationException", "%s", enumMessage(path, value, enum))
}

func enumMessage(path, value string, enum []string) string {
	return fmt.Sprintf("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: "+
		"Member must satisfy enum value set: [%s]", value, path, strings.Join(enum, ", "))
}

// constraint is what a field's wire tag asks for.
type constraint struct {
	required bool
	empty    bool // an empty value is a value
	enum     []string
}

func parseConstraint(tag string) constraint {
	var c constraint
	for option := range strings.SplitSeq(tag, ",") {
		if values, ok := strings.CutPrefix(option, "enum="); ok {
			c.enum = strings.Split(values, "|")
		}
		c.required = c.required || option == "required"
		c.empty = c.empty || option == "empty"
	}
	return c
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// structure decodes the node's children into the struct's fields and refuses children that no field takes.
func (d queryDecoder) structure(p *parameter, v reflect.Value, path string) *Error {
	if p.set && path != "" {
		return unknownParameter(path)
	}
	taken := map[string]bool{}
	if err := d.fields(p, v, path, taken); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(p.children)) {
		if !taken[name] && !p.children[name].isEmpty() {
			return unknownParameter(p.children[name].firstLeaf(join(path, name)))
		}
	}
	return nil
}

// firstLeaf returns the whole name of the first parameter at or under the node.
func (p *parameter) firstLeaf(path string) string {
	for !p.set {
		name := slices.Min(slices.Collect(maps.Keys(p.children)))
		p, path = p.children[name], join(path, name)
	}
	return path
}

func (d queryDecoder) fields(p *parameter, v reflect.Value, path string, taken map[string]bool) *Error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous && field.Type.Kind() == reflect.Struct {
			if err := d.fields(p, v.Field(i), path, taken); err != nil {
				return err
			}
			continue
		}
		name := field.Tag.Get("query")
		if name == "" || name == "-" || !field.IsExported() {
			continue
		}
		taken[name] = true
		limits := parseConstraint(field.Tag.Get("wire"))
		full, child := join(path, name), p.child(name)
		if child == nil {
			if limits.required {
				return missingParameter(d.protocol, full)
			}
			continue
		}
		if child.isEmpty() && !limits.empty && !isList(field.Type) {
			if limits.required {
				return emptyParameter(d.protocol, full)
			}
			continue
		}
		if err := d.value(child, v.Field(i), full, limits); err != nil {
			return err
		}
	}
	return nil
}

func isList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8
}

func (d queryDecoder) value(p *parameter, v reflect.Value, path string, limits constraint) *Error {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		err := d.value(p, v.Elem(), path, limits)
		if v.Elem().Kind() == reflect.Struct && !isScalarStruct(v.Elem()) && v.Elem().IsZero() {
			v.SetZero() // nothing in it had a value
		}
		return err
	case isList(v.Type()):
		return d.list(p, v, path, limits)
	case v.Kind() == reflect.Struct && !isScalarStruct(v):
		return d.structure(p, v, path)
	}
	if !p.set || len(p.children) > 0 {
		for name, child := range p.children {
			return unknownParameter(child.firstLeaf(join(path, name)))
		}
	}
	if err := setScalar(v, p.value); err != nil {
		return queryError(d.protocol, "InvalidParameterValue", "Invalid value '%s' for parameter %s: %v", p.value, path, err)
	}
	if limits.enum != nil && !slices.Contains(limits.enum, p.value) {
		return notInEnum(d.protocol, path, p.value, limits.enum)
	}
	return nil
}

func (d queryDecoder) list(p *parameter, v reflect.Value, path string, limits constraint) *Error {
	if p.isEmpty() {
		if limits.required {
			return missingParameter(d.protocol, path)
		}
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return nil
	}
	if p.set {
		return unknownParameter(path)
	}
	if d.protocol == AWSQuery {
		for name, child := range p.children {
			if name != "member" {
				return unknownParameter(child.firstLeaf(join(path, name)))
			}
		}
		p, path = p.child("member"), join(path, "member")
		if p.isEmpty() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
			return nil
		}
		if p.set {
			return unknownParameter(path)
		}
	}
	indexes := map[int]*parameter{}
	for name, child := range p.children {
		index, err := strconv.Atoi(name)
		if err != nil || index < 0 || index > maxList || strconv.Itoa(index) != name {
			return unknownParameter(child.firstLeaf(join(path, name)))
		}
		indexes[index] = child
	}
	list := reflect.MakeSlice(v.Type(), len(indexes), len(indexes))
	for i, index := range slices.Sorted(maps.Keys(indexes)) {
		if err := d.value(indexes[index], list.Index(i), join(path, strconv.Itoa(index)), constraint{enum: limits.enum}); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

// isScalarStruct reports whether the struct is one value on the wire, as time.Time is.
func isScalarStruct(v reflect.Value) bool {
	_, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

func setScalar(v reflect.Value, s string) error {
	switch into := v.Addr().Interface().(type) {
	case *time.Time:
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return fmt.Errorf("expected a time such as 2006-01-02T15:04:05Z")
		}
		*into = t.UTC()
		return nil
	case encoding.TextUnmarshaler:
		return into.UnmarshalText([]byte(s))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		if s != "true" && s != "false" {
			return fmt.Errorf("expected true or false")
		}
		v.SetBool(s == "true")
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(s, 10, v.Type().Bits())
		if err != nil {
			return fmt.Errorf("expected a whole number of at most %d bits", v.Type().Bits())
		}
		v.SetInt(n)
	case reflect.Float64:
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("expected a number")
		}
		v.SetFloat(f)
	case reflect.Slice:
		data, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return fmt.Errorf("expected base64")
		}
		v.SetBytes(data)
	default:
		return fmt.Errorf("a field of type %s takes no parameter", v.Type())
	}
	return nil
}
