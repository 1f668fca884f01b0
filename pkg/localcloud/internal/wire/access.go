package wire

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Access is something that a call has to be allowed: an action on a resource, by the names that IAM's policies have for them. AWS lists
// them in https://docs.aws.amazon.com/service-authorization/latest/reference/.
type Access struct {
	// Action is such as "iam:PassRole"; empty for the operation itself.
	Action string
	// Resource is an ARN; empty for "*", which stands for no resource in particular.
	Resource string
	// Keys are the values of condition keys, beside those that every call has.
	Keys map[string][]string
	// Instead is answered where the access is not allowed; nil for the usual error.
	Instead *Error
}

// With returns the access with more condition keys.
func (a Access) With(keys map[string][]string) Access {
	merged := maps.Clone(a.Keys)
	if merged == nil {
		merged = map[string][]string{}
	}
	maps.Copy(merged, keys)
	a.Keys = merged
	return a
}

// Caller is who makes a call, beside the administrator, who has no policies.
type Caller struct {
	// ARN and ID are those of the session.
	ARN, ID string
	// Role is the name of the role that the session is of.
	Role string
}

// Session is temporary credentials.
type Session struct {
	Caller
	SecretAccessKey string
	// Token has to come with each request.
	Token   string
	Expires time.Time
}

// Decision is what comes of a request for access.
type Decision int

// The decisions.
const (
	NotAllowed Decision = iota // no policy allows it
	Allowed
	Denied // a policy denies it, whatever others allow
)

// Identities knows who there is beside the administrator, and what they may do.
type Identities interface {
	// Session returns the session that an access key ID belongs to.
	Session(accessKeyID string) (Session, bool)
	// Decide decides whether the caller has the access.
	Decide(Caller, Access) (Decision, error)
}

// gate lets the calls through that their caller may make.
type gate struct {
	identities Identities
	caller     Caller
	protocol   Protocol
	keys       map[string][]string // that every call has
}

// newGate returns the gate for a request.
func newGate(identities Identities, caller Caller, protocol Protocol, region string, r *http.Request) *gate {
	now := time.Now().UTC()
	g := &gate{identities: identities, caller: caller, protocol: protocol, keys: map[string][]string{
		"aws:RequestedRegion": {region},
		"aws:CurrentTime":     {now.Format(time.RFC3339)},
		"aws:EpochTime":       {strconv.FormatInt(now.Unix(), 10)},
		// On AWS the same client would use TLS; what is on loopback nobody else reads either.
		"aws:SecureTransport": {"true"},
	}}
	if host, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		g.keys["aws:SourceIp"] = []string{host}
	}
	if agent := r.UserAgent(); agent != "" {
		g.keys["aws:UserAgent"] = []string{agent}
	}
	return g
}

// check returns the error for the first access that the caller does not have, or nil.
func (g *gate) check(operation string, needs []Access) *Error {
	for _, need := range needs {
		need.Action, need.Resource = cmp.Or(need.Action, operation), cmp.Or(need.Resource, "*")
		decision, err := g.identities.Decide(g.caller, need.With(g.keys))
		switch {
		case err != nil:
			return asError(err)
		case decision == Allowed:
		case need.Instead != nil:
			return need.Instead
		default:
			return g.refusal(need, decision)
		}
	}
	return nil
}

// refusal words an error as AWS does.
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html.
func (g *gate) refusal(need Access, decision Decision) *Error {
	resource := " on resource: " + need.Resource
	switch {
	case g.protocol == EC2Query && need.Resource == "*":
		resource = ""
	case g.protocol == REST:
		resource = fmt.Sprintf(" on resource: %q", need.Resource)
	}
	why := fmt.Sprintf("because no identity-based policy allows the %s action", need.Action)
	if decision == Denied {
		why = "with an explicit deny in an identity-based policy"
	}
	return accessDenied(g.protocol, fmt.Sprintf("User: %s is not authorized to perform: %s%s %s", g.caller.ARN, need.Action, resource, why))
}

// accessDenied returns the protocol's error for what a caller may not do.
func accessDenied(protocol Protocol, message string) *Error {
	switch protocol {
	case EC2Query:
		return &Error{
			Code: "UnauthorizedOperation", Message: "You are not authorized to perform this operation. " + message, Status: http.StatusForbidden,
		}
	case JSON:
		return &Error{Code: "AccessDeniedException", Message: message}
	}
	return &Error{Code: "AccessDenied", Message: message, Status: http.StatusForbidden}
}

// authorize checks that the caller of an operation has what it needs. An operation that does not say what that is is the
// administrator's alone.
func (q *request) authorize(g *gate, needs func() []Access) *Error {
	if g == nil {
		return nil
	}
	name := q.service.prefix() + ":" + q.operation
	if needs == nil {
		return accessDenied(q.protocol, fmt.Sprintf("User: %s is not authorized to perform: %s, as this local cloud does not know what it "+
			"needs, and lets its administrator alone call it", g.caller.ARN, name))
	}
	return g.check(name, needs())
}

// CallerOf returns who makes the call, unless it is the administrator, or the cloud itself.
func CallerOf(ctx context.Context) (Caller, bool) {
	g, ok := ctx.Value(gateKey).(*gate)
	if !ok {
		return Caller{}, false
	}
	return g.caller, true
}

// Check returns the error for what the call's caller may not do, for needs that only show while a call is carried out. Each names its
// action.
func Check(ctx context.Context, needs ...Access) *Error {
	g, ok := ctx.Value(gateKey).(*gate)
	if !ok {
		return nil
	}
	return g.check("", needs)
}

// prefix begins the service's actions in policies.
func (s *Service) prefix() string { return cmp.Or(s.Prefix, s.Name) }

// Unguarded returns the operations that do not say what they need, in order.
func (s *Service) Unguarded() []string {
	return slices.DeleteFunc(s.OperationNames(), func(name string) bool { return s.Actions[name].needs != nil || s.Needs[name] != nil })
}

// TagKeys returns the condition keys for the tags that a request gives.
func TagKeys(tags map[string]string) map[string][]string {
	keys := map[string][]string{}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if key == "" { // which no tag can have
			continue
		}
		keys["aws:RequestTag/"+key] = []string{tags[key]}
		keys["aws:TagKeys"] = append(keys["aws:TagKeys"], key)
	}
	return keys
}

// TagKeysOf is TagKeys for a list, of whose tags pair returns the key and the value.
func TagKeysOf[T any](tags []T, pair func(T) (key, value string)) map[string][]string {
	given := map[string]string{}
	for _, t := range tags {
		key, value := pair(t)
		given[key] = value
	}
	return TagKeys(given)
}

// ResourceKeys returns the condition keys for the tags that a resource has, with the service's own names for them too where it has some.
func ResourceKeys(prefix string, tags map[string]string) map[string][]string {
	keys := map[string][]string{}
	for key, value := range tags {
		keys["aws:ResourceTag/"+key] = []string{value}
		if prefix != "" {
			keys[prefix+":ResourceTag/"+key] = []string{value}
		}
	}
	return keys
}

// PassRole is what a call needs that hands a role to a service, such as "ec2.amazonaws.com". Its conditions do not see the role's tags.
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html.
func PassRole(roleARN, service string) Access {
	return Access{Action: "iam:PassRole", Resource: roleARN, Keys: map[string][]string{"iam:PassedToService": {service}}}
}
