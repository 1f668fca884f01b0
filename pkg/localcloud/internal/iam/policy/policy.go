// Package policy reads IAM's policy documents and decides by them, and does nothing else. What a document says that it does not
// understand is an error when the document is read: a statement that is not understood must not be left out of a decision.
//
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html.
package policy

import (
	"slices"
	"strings"
)

// Kind is what a document is attached to.
type Kind int

// Identity documents say what the role that has them may do, Trust documents who may take a role on.
const (
	Identity Kind = iota
	Trust
)

// Keys are the values of a request's condition keys, by name. The names are those that [Name] returns.
type Keys map[string][]string

// Name returns the form of a condition key's name that [Keys] has: names differ in case and are the same.
func Name(key string) string { return strings.ToLower(key) }

// Principal is one of the names of who makes a request, such as the service codedeploy.amazonaws.com.
type Principal struct {
	// Kind is AWS, Service or Federated.
	Kind string
	// Name is an ARN, or the name of a service.
	Name string
}

// Request is what somebody wants to do.
type Request struct {
	// Action is such as "ec2:RunInstances".
	Action string
	// Resource is an ARN, or "*" for what is about no resource in particular. It does not matter to a trust document.
	Resource string
	// Principals are the names of who asks, for trust documents.
	Principals []Principal
	// Keys are the condition keys.
	Keys Keys
}

// Decision is what comes of a request.
type Decision int

// The decisions. What no statement allows is denied; what a statement denies, none can allow.
const (
	NotAllowed Decision = iota
	Allowed
	Denied
)

// Decide decides on a request by all documents together.
func Decide(documents []*Document, r Request) Decision {
	decision := NotAllowed
	for _, d := range documents {
		for _, s := range d.Statements {
			switch {
			case !s.applies(r):
			case s.deny:
				return Denied
			default:
				decision = Allowed
			}
		}
	}
	return decision
}

// Document is a policy document.
type Document struct {
	Statements []Statement
}

// Statement is a statement of a document.
type Statement struct {
	// SID is its name; it may have none.
	SID string

	deny         bool
	actions      []pattern
	notActions   bool // all actions but these
	resources    []pattern
	notResources bool
	principals   []Principal // of a trust document; the name is * for all
	conditions   []condition
}

func (s *Statement) applies(r Request) bool {
	if s.principals != nil {
		if !slices.ContainsFunc(s.principals, func(p Principal) bool { return p.among(r.Principals) }) {
			return false
		}
	} else if s.names(s.resources, r.Keys, r.Resource, arnMatch) == s.notResources {
		return false
	}
	if s.names(s.actions, r.Keys, strings.ToLower(r.Action), stringMatch) == s.notActions {
		return false
	}
	return !slices.ContainsFunc(s.conditions, func(c condition) bool { return !c.holds(r.Keys) })
}

// names reports whether one of the patterns matches the text.
func (s *Statement) names(patterns []pattern, keys Keys, text string, match func([]rune, string) bool) bool {
	return slices.ContainsFunc(patterns, func(p pattern) bool {
		expanded, ok := p.expand(keys)
		return ok && match(expanded, text)
	})
}

// among reports whether the principal of a statement is one of the names.
func (p Principal) among(names []Principal) bool {
	return slices.ContainsFunc(names, func(n Principal) bool {
		return (p.Kind == n.Kind || p.Kind == "") && (p.Name == "*" || p.Name == n.Name)
	})
}
