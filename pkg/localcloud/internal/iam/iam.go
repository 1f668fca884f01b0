// Package iam keeps roles, instance profiles and identity providers, lets callers and services take roles on, and decides what a role
// may do. The account's one user is its administrator, who may do everything: nobody asks about him.
//
// Known gaps: permissions boundaries, session policies and session tags, policies of the account's own, groups and more users. The
// policies of S3 buckets are kept and shown, and decide nothing.
package iam

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/iam/policy"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Options are the settings of a [Service].
type Options struct {
	// Account is the ID of the account, 12 digits.
	Account string
	// Store keeps the state.
	Store store.Store
	// Lag says how old reads are that lag; nil where none does.
	Lag func() time.Duration
}

// Service is AWS Identity and Access Management.
type Service struct {
	account string
	state   *store.Document[state]
	past    *Service // this service as it was a while ago; nil where nobody looks
}

type state struct {
	Created          time.Time
	UserID           string
	Roles            map[string]role            // by name
	InstanceProfiles map[string]instanceProfile // by name
	OIDCProviders    map[string]oidcProvider    // by ARN
	Sessions         map[string]session         // by access key ID
	TokenKey         []byte                     // signs the tokens of identity providers
}

// New returns the service with the state that the store has.
func New(options Options) (*Service, error) {
	document, err := store.Open(options.Store, "iam", state{
		Created:          now(),
		UserID:           newID("AIDA"),
		Roles:            map[string]role{},
		InstanceProfiles: map[string]instanceProfile{},
		OIDCProviders:    map[string]oidcProvider{},
		Sessions:         map[string]session{},
	})
	if err != nil {
		return nil, err
	}
	s := &Service{account: options.Account, state: document}
	if options.Lag != nil {
		s.past = &Service{account: options.Account, state: document.Past(options.Lag, nil)}
	}
	return s, s.state.Update(func(st *state) (err error) { // keeps the user's ID
		if st.TokenKey == nil {
			st.TokenKey, err = newTokenKey()
		}
		return err
	})
}

// API returns the operations for wire.
func (s *Service) API() wire.Service {
	api := wire.Service{
		Name:      "iam",
		Protocol:  wire.AWSQuery,
		Version:   "2010-05-08",
		Namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
		Global:    true,
		Actions:   s.actions(),
	}
	if s.past != nil {
		api.Past = s.past.actions()
	}
	return api
}

func (s *Service) actions() map[string]wire.Action {
	return map[string]wire.Action{
		"AddRoleToInstanceProfile": wire.Do(s.addRoleToInstanceProfile, s.addRole),
		"AttachRolePolicy":         wire.Do(s.attachRolePolicy, s.managedOfRole),
		"CreateInstanceProfile": wire.Do(s.createInstanceProfile, func(in *createInstanceProfileInput) []wire.Access {
			return s.creating("instance-profile", in.Path, in.InstanceProfileName, in.Tags)
		}),
		"CreateOpenIDConnectProvider": wire.Do(s.createOIDCProvider, func(in *createOIDCProviderInput) []wire.Access {
			return s.creating("oidc-provider", "", strings.TrimPrefix(in.URL, "https://"), in.Tags)
		}),
		"CreateRole":                    wire.Do(s.createRole, func(in *createRoleInput) []wire.Access { return s.creating("role", in.Path, in.RoleName, in.Tags) }),
		"DeleteInstanceProfile":         wire.Do(s.deleteInstanceProfile, s.profileNamed),
		"DeleteOpenIDConnectProvider":   wire.Do(s.deleteOIDCProvider, s.providerNamed),
		"DeleteRole":                    wire.Do(s.deleteRole, s.roleNamed),
		"DeleteRolePolicy":              wire.Do(s.deleteRolePolicy, s.policyOfRole),
		"DetachRolePolicy":              wire.Do(s.detachRolePolicy, s.managedOfRole),
		"GetInstanceProfile":            wire.Do(s.getInstanceProfile, s.profileNamed),
		"GetOpenIDConnectProvider":      wire.Do(s.getOIDCProvider, s.providerNamed),
		"GetRole":                       wire.Do(s.getRole, s.roleNamed),
		"GetRolePolicy":                 wire.Do(s.getRolePolicy, s.policyOfRole),
		"GetUser":                       wire.Do(s.getUser, func(in *getUserInput) []wire.Access { return []wire.Access{{Resource: s.UserARN()}} }),
		"ListAttachedRolePolicies":      wire.Do(s.listAttachedRolePolicies, func(in *listAttachedRolePoliciesInput) []wire.Access { return []wire.Access{s.onRole(in.RoleName)} }),
		"ListInstanceProfilesForRole":   wire.Do(s.listInstanceProfilesForRole, func(in *listInstanceProfilesForRoleInput) []wire.Access { return []wire.Access{s.onRole(in.RoleName)} }),
		"ListOpenIDConnectProviders":    wire.DoUnscoped(s.listOIDCProviders),
		"ListRolePolicies":              wire.Do(s.listRolePolicies, func(in *listRolePoliciesInput) []wire.Access { return []wire.Access{s.onRole(in.RoleName)} }),
		"ListRoles":                     wire.DoUnscoped(s.listRoles),
		"PutRolePolicy":                 wire.Do(s.putRolePolicy, func(in *putRolePolicyInput) []wire.Access { return []wire.Access{s.onRole(in.RoleName)} }),
		"RemoveRoleFromInstanceProfile": wire.Do(s.removeRoleFromInstanceProfile, func(in *profileRoleInput) []wire.Access { return []wire.Access{s.onProfile(in.InstanceProfileName)} }),
		"TagInstanceProfile": wire.Do(s.tagInstanceProfile, func(in *tagInstanceProfileInput) []wire.Access {
			return tagged(s.onProfile(in.InstanceProfileName), in.Tags)
		}),
		"TagOpenIDConnectProvider": wire.Do(s.tagOIDCProvider, func(in *tagOIDCProviderInput) []wire.Access { return tagged(s.onProvider(in.ARN), in.Tags) }),
		"TagRole":                  wire.Do(s.tagRole, func(in *tagRoleInput) []wire.Access { return tagged(s.onRole(in.RoleName), in.Tags) }),
		"UntagInstanceProfile": wire.Do(s.untagInstanceProfile, func(in *untagInstanceProfileInput) []wire.Access {
			return untagged(s.onProfile(in.InstanceProfileName), in.TagKeys)
		}),
		"UntagOpenIDConnectProvider": wire.Do(s.untagOIDCProvider, func(in *untagOIDCProviderInput) []wire.Access { return untagged(s.onProvider(in.ARN), in.TagKeys) }),
		"UntagRole":                  wire.Do(s.untagRole, func(in *untagRoleInput) []wire.Access { return untagged(s.onRole(in.RoleName), in.TagKeys) }),
		"UpdateAssumeRolePolicy":     wire.Do(s.updateAssumeRolePolicy, func(in *updateAssumeRolePolicyInput) []wire.Access { return []wire.Access{s.onRole(in.RoleName)} }),
	}
}

// arn returns the ARN of a resource of the account, such as role with /path/ and a name.
func (s *Service) arn(kind, path, name string) string {
	return fmt.Sprintf("arn:aws:iam::%s:%s%s%s", s.account, kind, path, name)
}

// tagging returns how tags are refused.
func tagging() service.Tagging {
	return service.Tagging{Invalid: "ValidationError", TooMany: &wire.Error{
		Code: "LimitExceeded", Message: "The number of tags has reached the maximum limit.", Status: http.StatusConflict,
	}}
}

// tagList returns tags as answers hold them; nil where there are none.
func tagList(tags map[string]string) *service.List[service.Tag] {
	if len(tags) == 0 {
		return nil
	}
	return &service.List[service.Tag]{Members: service.Tags(tags)}
}

// pageInput is how callers ask for a part of a list.
type pageInput struct {
	Marker   string `query:"Marker"`
	MaxItems *int   `query:"MaxItems"`
}

// pageOutput says whether there is more of a list.
type pageOutput struct {
	IsTruncated bool
	Marker      string `xml:",omitempty"`
}

// page returns the part of the list that is asked for.
func page[T any](items []T, in pageInput) (service.List[T], pageOutput, error) {
	size := 100
	if in.MaxItems != nil {
		if size = *in.MaxItems; size < 1 || size > 1000 {
			return service.List[T]{}, pageOutput{}, invalid("Value '%d' at 'maxItems' must be between 1 and 1000", size)
		}
	}
	part, next, ok := service.Page(items, in.Marker, size)
	if !ok {
		return service.List[T]{}, pageOutput{}, invalid("Invalid Marker.")
	}
	return service.List[T]{Members: part}, pageOutput{IsTruncated: next != "", Marker: next}, nil
}

func invalid(format string, args ...any) *wire.Error {
	return wire.Errorf("ValidationError", format, args...)
}

func noSuchEntity(format string, args ...any) *wire.Error {
	return &wire.Error{Code: "NoSuchEntity", Message: fmt.Sprintf(format, args...), Status: http.StatusNotFound}
}

func alreadyExists(format string, args ...any) *wire.Error {
	return &wire.Error{Code: "EntityAlreadyExists", Message: fmt.Sprintf(format, args...), Status: http.StatusConflict}
}

func deleteConflict(format string, args ...any) *wire.Error {
	return &wire.Error{Code: "DeleteConflict", Message: fmt.Sprintf(format, args...), Status: http.StatusConflict}
}

// checkName checks the name of a role, an inline policy or an instance profile.
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
func checkName(field, name string, limit int) error {
	if len(name) > limit || !regexp.MustCompile(`^[\w+=,.@-]+$`).MatchString(name) {
		return invalid("The specified value for %s is invalid. It must contain only alphanumeric characters and/or the following: "+
			"+=,.@_-, and have at most %d of them.", field, limit)
	}
	return nil
}

// checkPath checks a path and returns it, or the root where it is empty.
func checkPath(path string) (string, error) {
	if path == "" {
		return "/", nil
	}
	if !strings.HasPrefix(path, "/") || !strings.HasSuffix(path, "/") || len(path) > 512 {
		return "", invalid("The specified value for path is invalid. It must begin and end with / and contain only alphanumeric " +
			"characters and/or / characters.")
	}
	return path, nil
}

// The sizes that policies of a role can have, without white space. See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html.
const (
	maxInline = 10240 // all inline ones together
	maxTrust  = 2048
)

// checkTrust checks a trust policy's document.
func checkTrust(document string) error {
	if _, err := parse(document, policy.Trust); err != nil {
		return err
	}
	if documentSize(document) > maxTrust {
		return limitExceeded("Cannot exceed quota for ACLSizePerRole: %d", maxTrust)
	}
	return nil
}

// documentSize returns the size of a document without white space.
func documentSize(document string) int { return len(strings.Join(strings.Fields(document), "")) }

func limitExceeded(format string, args ...any) *wire.Error {
	return &wire.Error{Code: "LimitExceeded", Message: fmt.Sprintf(format, args...), Status: http.StatusConflict}
}

// encodeDocument encodes a policy document as answers hold it: percent-encoded by RFC 3986.
func encodeDocument(document string) string {
	return strings.ReplaceAll(url.QueryEscape(document), "+", "%20")
}

// newID returns a unique ID with AWS's prefix for the kind of resource, such as AROA for a role, 21 characters long.
func newID(prefix string) string { return prefix + rand.Text()[:17] }

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

func pathPrefix(prefix string) string {
	if prefix == "" {
		return "/"
	}
	return prefix
}
