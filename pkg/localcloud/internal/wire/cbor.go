package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/aws/smithy-go/encoding/cbor"
)

// The Smithy RPC v2 protocol: a call's name is in its path, and what JSON would hold is CBOR. It is decoded to JSON and encoded from it.
// See https://smithy.io/2.0/additional-specs/protocols/smithy-rpc-v2.html.
const (
	cborProtocol = "rpc-v2-cbor" // in the header Smithy-Protocol
	cborType     = "application/cbor"
	// epochTag is the tag of a time in seconds since 1970, by RFC 8949.
	epochTag = 1
)

// cborToJSON returns a body in CBOR as JSON.
func cborToJSON(body []byte) ([]byte, *Error) {
	if len(body) == 0 {
		return nil, nil
	}
	value, err := cbor.Decode(body)
	if err != nil {
		return nil, Errorf("SerializationException", "The body is not CBOR: %v", err)
	}
	document, err := json.Marshal(fromCBOR(value))
	if err != nil {
		return nil, Errorf("SerializationException", "The body is not an object: %v", err)
	}
	return document, nil
}

func fromCBOR(value cbor.Value) any {
	switch value := value.(type) {
	case cbor.Map:
		object := map[string]any{}
		for name, item := range value {
			object[name] = fromCBOR(item)
		}
		return object
	case cbor.List:
		list := make([]any, len(value))
		for i, item := range value {
			list[i] = fromCBOR(item)
		}
		return list
	case cbor.NegInt:
		return json.Number("-" + strconv.FormatUint(uint64(value), 10))
	case *cbor.Tag:
		return fromCBOR(value.Value)
	case *cbor.Nil, *cbor.Undefined:
		return nil
	}
	return value // whose kind encoding/json knows
}

// encodeCBOR encodes an answer.
func encodeCBOR(out any) ([]byte, error) {
	document, err := json.Marshal(out)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.UseNumber()
	var raw any
	if err := decoder.Decode(&raw); err != nil {
		return nil, err
	}
	return cbor.Encode(toCBOR(raw, reflect.TypeOf(out))), nil
}

// toCBOR turns a JSON value that was encoded from the type into CBOR: JSON tells neither times nor whole numbers apart.
func toCBOR(raw any, t reflect.Type) cbor.Value {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch raw := raw.(type) {
	case bool:
		return cbor.Bool(raw)
	case string:
		return cbor.String(raw)
	case json.Number:
		seconds, _ := raw.Float64()
		switch whole, err := raw.Int64(); {
		case t == reflect.TypeFor[Epoch]():
			return &cbor.Tag{ID: epochTag, Value: cbor.Float64(seconds)}
		case err != nil || t != nil && t.Kind() == reflect.Float64:
			return cbor.Float64(seconds)
		case whole < 0:
			return cbor.NegInt(-whole)
		default:
			return cbor.Uint(whole)
		}
	case []any:
		list := make(cbor.List, len(raw))
		for i, item := range raw {
			list[i] = toCBOR(item, elementOf(t))
		}
		return list
	case map[string]any:
		object := cbor.Map{}
		for name, item := range raw {
			object[name] = toCBOR(item, memberOf(t, name))
		}
		return object
	}
	return &cbor.Nil{}
}

// elementOf returns the type of a list's elements; a struct that is a list in JSON has them in its one field.
func elementOf(t reflect.Type) reflect.Type {
	if t != nil && t.Kind() == reflect.Struct && t.NumField() == 1 {
		t = t.Field(0).Type
	}
	if t == nil || t.Kind() != reflect.Slice {
		return nil
	}
	return t.Elem()
}

// memberOf returns the type of an object's member.
func memberOf(t reflect.Type, name string) reflect.Type {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	for _, field := range reflect.VisibleFields(t) {
		tagged, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.Anonymous && (tagged == name || tagged == "" && field.Name == name) {
			return field.Type
		}
	}
	return nil
}
