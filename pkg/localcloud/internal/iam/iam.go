// Package iam keeps roles, policies, instance profiles and identity providers. They are what Terraform and EC2 ask for; nothing is enforced, since
// the local cloud has one user, who may do everything.
package iam

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Options are the settings of a [Service].
type Options struct {
	// Account is the ID of the account, 12 digits.
	Account string
	// Store keeps the state.
	Store store.Store
}

// Service is AWS Identity and Access Management.
type Service struct {
	account string
	state   *store.Document[state]
}

type state struct {
	Created          time.Time
	UserID           string
	Roles            map[string]role            // by name
	InstanceProfiles map[string]instanceProfile // by name
	Policies         map[string]policy          // by ARN; customer-managed ones
	OIDCProviders    map[string]oidcProvider    // by ARN
}

// New returns the service with the state that the store has.
func New(options Options) (*Service, error) {
	document, err := store.Open(options.Store, "iam", state{
		Created:          now(),
		UserID:           newID("AIDA"),
		Roles:            map[string]role{},
		InstanceProfiles: map[string]instanceProfile{},
		Policies:         map[string]policy{},
		OIDCProviders:    map[string]oidcProvider{},
	})
	if err != nil {
		return nil, err
	}
	s := &Service{account: options.Account, state: document}
	return s, s.state.Update(func(*state) error { return nil }) // keeps the user's ID
}

// API returns the operations for wire.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name:      "iam",
		Protocol:  wire.AWSQuery,
		Version:   "2010-05-08",
		Namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
		Global:    true,
		Actions: map[string]wire.Action{
			"AddClientIDToOpenIDConnectProvider":      wire.Do(s.addClientID),
			"AddRoleToInstanceProfile":                wire.Do(s.addRoleToInstanceProfile),
			"AttachRolePolicy":                        wire.Do(s.attachRolePolicy),
			"CreateInstanceProfile":                   wire.Do(s.createInstanceProfile),
			"CreateOpenIDConnectProvider":             wire.Do(s.createOIDCProvider),
			"CreatePolicy":                            wire.Do(s.createPolicy),
			"CreatePolicyVersion":                     wire.Do(s.createPolicyVersion),
			"CreateRole":                              wire.Do(s.createRole),
			"DeleteInstanceProfile":                   wire.Do(s.deleteInstanceProfile),
			"DeleteOpenIDConnectProvider":             wire.Do(s.deleteOIDCProvider),
			"DeletePolicy":                            wire.Do(s.deletePolicy),
			"DeletePolicyVersion":                     wire.Do(s.deletePolicyVersion),
			"DeleteRole":                              wire.Do(s.deleteRole),
			"DeleteRolePolicy":                        wire.Do(s.deleteRolePolicy),
			"DetachRolePolicy":                        wire.Do(s.detachRolePolicy),
			"GetInstanceProfile":                      wire.Do(s.getInstanceProfile),
			"GetOpenIDConnectProvider":                wire.Do(s.getOIDCProvider),
			"GetPolicy":                               wire.Do(s.getPolicy),
			"GetPolicyVersion":                        wire.Do(s.getPolicyVersion),
			"GetRole":                                 wire.Do(s.getRole),
			"GetRolePolicy":                           wire.Do(s.getRolePolicy),
			"GetUser":                                 wire.Do(s.getUser),
			"ListAttachedRolePolicies":                wire.Do(s.listAttachedRolePolicies),
			"ListInstanceProfileTags":                 wire.Do(s.listInstanceProfileTags),
			"ListInstanceProfiles":                    wire.Do(s.listInstanceProfiles),
			"ListInstanceProfilesForRole":             wire.Do(s.listInstanceProfilesForRole),
			"ListOpenIDConnectProviderTags":           wire.Do(s.listOIDCProviderTags),
			"ListOpenIDConnectProviders":              wire.Do(s.listOIDCProviders),
			"ListPolicies":                            wire.Do(s.listPolicies),
			"ListPolicyTags":                          wire.Do(s.listPolicyTags),
			"ListPolicyVersions":                      wire.Do(s.listPolicyVersions),
			"ListRolePolicies":                        wire.Do(s.listRolePolicies),
			"ListRoleTags":                            wire.Do(s.listRoleTags),
			"ListRoles":                               wire.Do(s.listRoles),
			"PutRolePolicy":                           wire.Do(s.putRolePolicy),
			"RemoveClientIDFromOpenIDConnectProvider": wire.Do(s.removeClientID),
			"RemoveRoleFromInstanceProfile":           wire.Do(s.removeRoleFromInstanceProfile),
			"TagInstanceProfile":                      wire.Do(s.tagInstanceProfile),
			"TagOpenIDConnectProvider":                wire.Do(s.tagOIDCProvider),
			"TagPolicy":                               wire.Do(s.tagPolicy),
			"TagRole":                                 wire.Do(s.tagRole),
			"UntagInstanceProfile":                    wire.Do(s.untagInstanceProfile),
			"UntagOpenIDConnectProvider":              wire.Do(s.untagOIDCProvider),
			"UntagPolicy":                             wire.Do(s.untagPolicy),
			"UntagRole":                               wire.Do(s.untagRole),
			"UpdateAssumeRolePolicy":                  wire.Do(s.updateAssumeRolePolicy),
			"UpdateOpenIDConnectProviderThumbprint":   wire.Do(s.updateThumbprint),
			"UpdateRole":                              wire.Do(s.updateRole),
			"UpdateRoleDescription":                   wire.Do(s.updateRoleDescription),
		},
	}
}

// arn returns the ARN of a resource of the account, such as role with /path/ and a name.
func (s *Service) arn(kind, path, name string) string {
	return fmt.Sprintf("arn:aws:iam::%s:%s%s%s", s.account, kind, path, name)
}

// tag is a tag as the API has it.
type tag struct {
	Key   string `query:"Key" wire:"required"`
	Value string `query:"Value" wire:"required"`
}

// tagList is how answers hold tags.
type tagList struct {
	Tags []tag `xml:"member"`
}

func newTagList(tags map[string]string) *tagList {
	if len(tags) == 0 {
		return nil
	}
	list := &tagList{}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list.Tags = append(list.Tags, tag{key, tags[key]})
	}
	return list
}

// setTags adds the tags to the map, which may be nil, and returns it. AWS allows 50 tags.
func setTags(tags map[string]string, list []tag) (map[string]string, error) {
	if tags == nil {
		tags = map[string]string{}
	}
	for _, t := range list {
		if t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256 {
			return nil, invalid("The tag %q is not valid: a key has 1 to 128 characters, a value up to 256.", t.Key)
		}
		tags[t.Key] = t.Value
	}
	if len(tags) > 50 {
		return nil, &wire.Error{
			Code: "LimitExceeded", Message: "The number of tags has reached the maximum limit.", Status: http.StatusConflict,
		}
	}
	return tags, nil
}

func removeTags(tags map[string]string, keys []string) {
	for _, key := range keys {
		delete(tags, key)
	}
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

// page returns the part of the list that is asked for. The marker is the number of items before it.
func page[T any](items []T, in pageInput) ([]T, pageOutput, error) {
	start, size := 0, 100
	if in.Marker != "" {
		n, err := strconv.Atoi(in.Marker)
		if err != nil || n < 0 {
			return nil, pageOutput{}, invalid("Invalid Marker.")
		}
		start = min(n, len(items))
	}
	if in.MaxItems != nil {
		if *in.MaxItems < 1 || *in.MaxItems > 1000 {
			return nil, pageOutput{}, invalid("Value '%d' at 'maxItems' must be between 1 and 1000", *in.MaxItems)
		}
		size = *in.MaxItems
	}
	end := min(start+size, len(items))
	if end == len(items) {
		return items[start:], pageOutput{}, nil
	}
	return items[start:end], pageOutput{IsTruncated: true, Marker: strconv.Itoa(end)}, nil
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

// checkName checks the name of a role, a policy or an instance profile.
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

// checkDocument checks that a policy document is JSON with statements. What they say is not looked at.
func checkDocument(document string) error {
	var parsed struct{ Statement json.RawMessage }
	if err := json.Unmarshal([]byte(document), &parsed); err != nil || len(parsed.Statement) == 0 {
		return wire.Errorf("MalformedPolicyDocument", "The policy document is not a JSON object with a Statement.")
	}
	return nil
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
