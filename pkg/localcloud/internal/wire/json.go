package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decodeJSON decodes a body of the JSON protocol into the struct that into points to and checks its constraints.
func decodeJSON(body []byte, into any) *Error {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
			return Errorf("ValidationException", "The parameter %s is not supported", strings.Trim(name, `"`))
		}
		if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return Errorf("SerializationException", "The parameter %s cannot be a %s", mismatch.Field, mismatch.Value)
		}
		return Errorf("SerializationException", "The body is not a JSON object: %v", err)
	}
	if decoder.More() {
		return Errorf("SerializationException", "The body is more than one JSON object")
	}
	var raw any
	if err := json.Unmarshal(body, &raw); err != nil {
		return Errorf("SerializationException", "The body is not a JSON object: %v", err)
	}
	return checkJSON(raw, reflect.TypeOf(into).Elem(), "")
}

// checkJSON checks the constraints that the wire tags of t state on the JSON value.
func checkJSON(raw any, t reflect.Type, path string) *Error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
		object, ok := raw.(map[string]any)
		if !ok {
			return nil
		}
		return checkJSONFields(object, t, path)
	case t.Kind() == reflect.Slice:
		list, _ := raw.([]any)
		for i, item := range list {
			if err := checkJSON(item, t.Elem(), join(path, strconv.Itoa(i+1)+".member")); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkJSONFields(object map[string]any, t reflect.Type, path string) *Error {
	for field := range t.Fields() {
		if field.Anonymous && field.Type.Kind() == reflect.Struct {
			if err := checkJSONFields(object, field.Type, path); err != nil {
				return err
			}
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" {
			name = field.Name
		}
		full := join(path, strings.ToLower(name[:1])+name[1:])
		limits := parseConstraint(field.Tag.Get("wire"))
		value, ok := object[name]
		if !ok || value == nil {
			if limits.required {
				return missingParameter(JSON, full)
			}
			continue
		}
		if value == "" && !limits.empty {
			if limits.required {
				return emptyParameter(JSON, full)
			}
			continue
		}
		if err := checkJSONEnum(value, full, limits.enum); err != nil {
			return err
		}
		if err := checkJSON(value, field.Type, full); err != nil {
			return err
		}
	}
	return nil
}

func checkJSONEnum(value any, path string, enum []string) *Error {
	if enum == nil {
		return nil
	}
	if list, ok := value.([]any); ok {
		for _, item := range list {
			if err := checkJSONEnum(item, path, enum); err != nil {
				return err
			}
		}
		return nil
	}
	if s := fmt.Sprint(value); !slices.Contains(enum, s) {
		return notInEnum(JSON, path, s, enum)
	}
	return nil
}
