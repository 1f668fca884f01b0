// Package wire speaks the protocols of the AWS APIs: it finds the service and the operation of an HTTP request, checks
// its signature, decodes the parameters into a struct, calls the operation, and encodes the result or the error in the
// shape that the service's clients expect.
//
// A service is a table of operations:
//
//	wire.Service{
//		Name: "sts", Protocol: wire.AWSQuery, Version: "2011-06-15",
//		Actions: map[string]wire.Action{
//			"AssumeRole": wire.Do(s.assumeRole, func(in *assumeRoleInput) []wire.Access {
//				return []wire.Access{{Resource: in.RoleARN}}
//			}),
//		},
//	}
//
// Beside each operation stands what it needs its caller to be allowed: see [Access].
//
// # Input
//
// In the query protocols an exported field takes the parameter that its query tag names: `query:"InstanceId"`. A struct
// takes Name.Field, a slice Name.1 (EC2) or Name.member.1 (the others), a pointer stays nil where the parameter is absent, and
// a []byte is base64. In the JSON protocol the json tag counts. In both, the wire tag states constraints:
// `wire:"required"`, `wire:"enum=a|b"`, `wire:"required,enum=a|b"`. A parameter without a value is absent, and so a required one
// is missing, unless the tag says that an empty value is one: `wire:"empty"`. A parameter that no field takes is an error:
// an emulator that ignores what it does not understand pretends success.
//
// # Output
//
// Results are encoded by encoding/xml (`xml:"instancesSet>item"`, `xml:"AutoScalingGroups>member"`) or encoding/json;
// JSON timestamps are of type [Epoch].
package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Protocol is how a service's requests and answers look.
type Protocol int

// The protocols, by the names of the Smithy specifications: ec2Query, awsQuery, awsJson1_1, and restXml.
const (
	EC2Query Protocol = iota
	AWSQuery
	JSON
	REST
)

// Service is one AWS API.
type Service struct {
	// Name is the service's name in a signature's credential scope, such as "elasticloadbalancing".
	Name string
	// Protocol is how its requests and answers look.
	Protocol Protocol
	// Version is the API version, such as "2016-11-15".
	Version string
	// Namespace is the XML namespace of the answers; empty where there is none.
	Namespace string
	// Target is the prefix of the X-Amz-Target header in the JSON protocol, such as "AmazonSSM". A service of a query
	// protocol that has one also answers requests of the JSON protocol, as CloudWatch does: its clients moved over the years.
	// What JSON may say, CBOR may: a request whose Smithy-Protocol header is rpc-v2-cbor has the target in its path.
	Target string
	// Prefix begins its actions in IAM's policies; empty for its name.
	Prefix string
	// Global services also answer requests that are signed for us-east-1, as clients sign for IAM in every region.
	Global bool
	// Actions are the operations by name.
	Actions map[string]Action
	// Unsigned are the operations of a query service that are called without a signature: what they are given says who calls.
	Unsigned []string
	// Past are the same operations on what the service held a while ago; nil for a service that is always consistent. Of what they
	// change nothing stays.
	Past map[string]Action
	// Handler serves a REST service. It gets the request with its signature checked and its body decoded, and answers
	// errors with [WriteRESTError].
	Handler http.Handler
	// Operations are the names of a REST service's operations, and Operation returns the one that a request is for, if any.
	Operations []string
	Operation  func(*http.Request) string
	// Needs is what the operations of a REST service need, by their names.
	Needs map[string]func(*http.Request) []Access
}

// OperationNames returns the names of the service's operations in alphabetical order.
func (s *Service) OperationNames() []string {
	return slices.Sorted(slices.Values(slices.AppendSeq(slices.Clone(s.Operations), maps.Keys(s.Actions))))
}

// protocolOf returns the protocol of a request to the service.
func (s *Service) protocolOf(r *http.Request) Protocol {
	if s.Target != "" && (r.Header.Get("X-Amz-Target") != "" || jsonType(r) == cborType) {
		return JSON
	}
	return s.Protocol
}

// Action is an operation of a query or JSON service, made by [Do] or [DoUnscoped].
type Action struct {
	// Input and Output are the types of what it takes and answers.
	Input, Output reflect.Type

	call  func(ctx context.Context, in any) (any, error)
	needs func(in any) []Access // nil where that is not known
}

// Do makes an operation of a function, and of another one that says what a call needs: where it returns nothing, everybody may make the
// call. With nil in its place the administrator alone may. An error that is not an [*Error] is answered as an internal error.
func Do[In, Out any](f func(ctx context.Context, in *In) (*Out, error), needs func(in *In) []Access) Action {
	a := Action{
		Input: reflect.TypeFor[In](), Output: reflect.TypeFor[Out](),
		call: func(ctx context.Context, in any) (any, error) {
			out, err := f(ctx, in.(*In))
			if err != nil {
				return nil, err
			}
			if out == nil {
				out = new(Out)
			}
			return out, nil
		},
	}
	if needs != nil {
		a.needs = func(in any) []Access { return needs(in.(*In)) }
	}
	return a
}

// DoUnscoped makes an operation that is about no resource in particular, such as a list: policies allow it on "*" alone.
func DoUnscoped[In, Out any](f func(ctx context.Context, in *In) (*Out, error)) Action {
	return Do(f, func(*In) []Access { return []Access{{}} })
}

// Empty is the input or output of an operation without fields.
type Empty struct{}

// Return is the output of EC2 operations that only say that they succeeded.
type Return struct {
	Return bool `xml:"return"`
}

// Error is an error of the AWS API.
type Error struct {
	// Code is AWS's code, such as "InvalidInstanceID.NotFound".
	Code string
	// Message is the text for a person.
	Message string
	// Status is the HTTP status; 0 means 400.
	Status int
}

// Errorf returns an error with the code and a formatted message, answered with status 400.
func Errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error returns the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

func (e *Error) status() int {
	if e.Status == 0 {
		return http.StatusBadRequest
	}
	return e.Status
}

// asError turns any error into one of the API. What is not an [*Error] is an internal one: the message is kept, since
// whoever reads it owns this cloud.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if errors.Is(err, syscall.ENOSPC) {
		// Not a status that clients try again for minutes.
		return &Error{Code: "DiskFull", Message: err.Error() + ": free some space on this machine and run the same command again", Status: http.StatusInsufficientStorage}
	}
	return &Error{Code: "InternalFailure", Message: err.Error(), Status: http.StatusInternalServerError}
}

// Epoch is a time that JSON holds as seconds since 1970, with milliseconds as the fraction.
type Epoch struct{ time.Time }

// MarshalJSON writes the seconds as a number.
func (e Epoch) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(e.UnixMilli())/1000, 'f', 3, 64), nil
}

// UnmarshalJSON reads the seconds from a number.
func (e *Epoch) UnmarshalJSON(data []byte) error {
	var seconds float64
	if err := json.Unmarshal(data, &seconds); err != nil {
		return err
	}
	e.Time = time.UnixMilli(int64(seconds * 1000)).UTC()
	return nil
}

type contextKey int

const (
	regionKey contextKey = iota
	requestIDKey
	gateKey
)

// Region returns the region of the request's signature.
func Region(ctx context.Context) string {
	region, _ := ctx.Value(regionKey).(string)
	return region
}

// RequestID returns the ID that the request's answer carries.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey).(string)
	return id
}

// Regions returns the names of the regions that exist on AWS, in alphabetical order.
func Regions() []string {
	return []string{
		"af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
		"ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6",
		"ap-southeast-7", "ca-central-1", "ca-west-1", "cn-north-1", "cn-northwest-1", "eu-central-1", "eu-central-2",
		"eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1",
		"me-south-1", "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-gov-east-1", "us-gov-west-1", "us-west-1",
		"us-west-2",
	}
}

// IsRegion reports whether AWS has a region of that name.
func IsRegion(name string) bool {
	_, found := slices.BinarySearch(Regions(), name)
	return found
}
