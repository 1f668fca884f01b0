package iam

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/iam/policy"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// defaultMaxSession is the default of MaxSessionDuration, in seconds.
const defaultMaxSession = 3600

// role is a role with everything that is attached to it.
type role struct {
	Name, Path, ID, Description string
	Trust                       string // the trust policy's document
	MaxSessionSeconds           int
	Created                     time.Time
	Tags                        map[string]string
	Inline                      map[string]string // documents by policy name
	Attached                    []string          // ARNs of managed policies, sorted
}

// roleResult is a role as answers hold it.
type roleResult struct {
	Path                     string
	RoleName                 string
	RoleID                   string `xml:"RoleId"`
	ARN                      string `xml:"Arn"`
	CreateDate               time.Time
	AssumeRolePolicyDocument string
	Description              string `xml:",omitempty"`
	MaxSessionDuration       int
	Tags                     *service.List[service.Tag]
}

func (s *Service) roleResult(r role) roleResult {
	return roleResult{
		Path: r.Path, RoleName: r.Name, RoleID: r.ID, ARN: s.arn("role", r.Path, r.Name), CreateDate: r.Created,
		AssumeRolePolicyDocument: encodeDocument(r.Trust), Description: r.Description, MaxSessionDuration: r.MaxSessionSeconds,
		Tags: tagList(r.Tags),
	}
}

func (st state) role(name string) (role, error) {
	r, ok := st.Roles[name]
	if !ok {
		return role{}, noSuchEntity("The role with name %s cannot be found.", name)
	}
	return r, nil
}

// updateRoleState changes one role.
func (s *Service) updateRoleState(name string, change func(*role) error) error {
	return s.state.Update(func(st *state) error {
		r, err := st.role(name)
		if err != nil {
			return err
		}
		if err := change(&r); err != nil {
			return err
		}
		st.Roles[name] = r
		return nil
	})
}

type createRoleInput struct {
	RoleName                 string        `query:"RoleName" wire:"required"`
	AssumeRolePolicyDocument string        `query:"AssumeRolePolicyDocument" wire:"required"`
	Path                     string        `query:"Path"`
	Description              string        `query:"Description"`
	MaxSessionDuration       *int          `query:"MaxSessionDuration"`
	Tags                     []service.Tag `query:"Tags"`
}

type roleOutput struct {
	Role roleResult
}

func (s *Service) createRole(_ context.Context, in *createRoleInput) (*roleOutput, error) {
	if err := checkName("roleName", in.RoleName, 64); err != nil {
		return nil, err
	}
	path, err := checkPath(in.Path)
	if err != nil {
		return nil, err
	}
	if err := checkTrust(in.AssumeRolePolicyDocument); err != nil {
		return nil, err
	}
	session, err := checkMaxSession(in.MaxSessionDuration)
	if err != nil {
		return nil, err
	}
	tags, err := tagging().Set(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	r := role{
		Name: in.RoleName, Path: path, ID: newID("AROA"), Description: in.Description, Trust: in.AssumeRolePolicyDocument,
		MaxSessionSeconds: session, Created: now(), Tags: tags, Inline: map[string]string{},
	}
	err = s.state.Update(func(st *state) error {
		if _, ok := st.Roles[r.Name]; ok {
			return alreadyExists("Role with name %s already exists.", r.Name)
		}
		st.Roles[r.Name] = r
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &roleOutput{s.roleResult(r)}, nil
}

// checkMaxSession checks a session's duration in seconds, from an hour to twelve, and returns it or the default.
func checkMaxSession(seconds *int) (int, error) {
	switch {
	case seconds == nil:
		return defaultMaxSession, nil
	case *seconds < 3600 || *seconds > 43200:
		return 0, invalid("Value '%d' at 'maxSessionDuration' must be between 3600 and 43200", *seconds)
	}
	return *seconds, nil
}

type roleNameInput struct {
	RoleName string `query:"RoleName" wire:"required"`
}

func (s *Service) getRole(_ context.Context, in *roleNameInput) (*roleOutput, error) {
	out := &roleOutput{}
	return out, s.state.View(func(st state) error {
		r, err := st.role(in.RoleName)
		out.Role = s.roleResult(r)
		return err
	})
}

type listRolesInput struct {
	PathPrefix string `query:"PathPrefix"`
	pageInput
}

type listRolesOutput struct {
	Roles service.List[roleResult]
	pageOutput
}

func (s *Service) listRoles(_ context.Context, in *listRolesInput) (*listRolesOutput, error) {
	out := &listRolesOutput{}
	return out, s.state.View(func(st state) error {
		var found []roleResult
		for _, r := range service.Sorted(st.Roles) {
			if strings.HasPrefix(r.Path, pathPrefix(in.PathPrefix)) {
				result := s.roleResult(r)
				result.Tags = nil // ListRoles leaves the tags out, as on AWS
				found = append(found, result)
			}
		}
		var err error
		out.Roles, out.pageOutput, err = page(found, in.pageInput)
		return err
	})
}

type updateAssumeRolePolicyInput struct {
	RoleName       string `query:"RoleName" wire:"required"`
	PolicyDocument string `query:"PolicyDocument" wire:"required"`
}

func (s *Service) updateAssumeRolePolicy(_ context.Context, in *updateAssumeRolePolicyInput) (*wire.Empty, error) {
	if err := checkTrust(in.PolicyDocument); err != nil {
		return nil, err
	}
	return nil, s.updateRoleState(in.RoleName, func(r *role) error {
		r.Trust = in.PolicyDocument
		return nil
	})
}

func (s *Service) deleteRole(_ context.Context, in *roleNameInput) (*wire.Empty, error) {
	return nil, s.state.Update(func(st *state) error {
		r, err := st.role(in.RoleName)
		if err != nil {
			return err
		}
		switch {
		case len(r.Attached) > 0:
			return deleteConflict("Cannot delete entity, must detach all policies first.")
		case len(r.Inline) > 0:
			return deleteConflict("Cannot delete entity, must delete policies first.")
		}
		for _, profile := range st.InstanceProfiles {
			if profile.Role == r.Name {
				return deleteConflict("Cannot delete entity, must remove roles from instance profile first.")
			}
		}
		delete(st.Roles, r.Name)
		return nil
	})
}

type tagRoleInput struct {
	RoleName string        `query:"RoleName" wire:"required"`
	Tags     []service.Tag `query:"Tags" wire:"required"`
}

func (s *Service) tagRole(_ context.Context, in *tagRoleInput) (*wire.Empty, error) {
	return nil, s.updateRoleState(in.RoleName, func(r *role) (err error) {
		r.Tags, err = tagging().Set(r.Tags, in.Tags)
		return err
	})
}

type untagRoleInput struct {
	RoleName string   `query:"RoleName" wire:"required"`
	TagKeys  []string `query:"TagKeys" wire:"required"`
}

func (s *Service) untagRole(_ context.Context, in *untagRoleInput) (*wire.Empty, error) {
	return nil, s.updateRoleState(in.RoleName, func(r *role) error {
		r.Tags = service.RemoveTags(r.Tags, in.TagKeys)
		return nil
	})
}

type rolePolicyInput struct {
	RoleName   string `query:"RoleName" wire:"required"`
	PolicyName string `query:"PolicyName" wire:"required"`
}

type putRolePolicyInput struct {
	rolePolicyInput
	PolicyDocument string `query:"PolicyDocument" wire:"required"`
}

func (s *Service) putRolePolicy(_ context.Context, in *putRolePolicyInput) (*wire.Empty, error) {
	if err := checkName("policyName", in.PolicyName, 128); err != nil {
		return nil, err
	}
	if _, err := parse(in.PolicyDocument, policy.Identity); err != nil {
		return nil, err
	}
	return nil, s.updateRoleState(in.RoleName, func(r *role) error {
		r.Inline[in.PolicyName] = in.PolicyDocument
		size := 0
		for _, document := range r.Inline {
			size += documentSize(document)
		}
		if size > maxInline {
			return limitExceeded("Maximum policy size of %d bytes exceeded for role %s", maxInline, r.Name)
		}
		return nil
	})
}

func (r role) inline(name string) (string, error) {
	document, ok := r.Inline[name]
	if !ok {
		return "", noSuchEntity("The role policy with name %s cannot be found.", name)
	}
	return document, nil
}

type getRolePolicyOutput struct {
	RoleName       string
	PolicyName     string
	PolicyDocument string
}

func (s *Service) getRolePolicy(_ context.Context, in *rolePolicyInput) (*getRolePolicyOutput, error) {
	out := &getRolePolicyOutput{RoleName: in.RoleName, PolicyName: in.PolicyName}
	return out, s.state.View(func(st state) error {
		r, err := st.role(in.RoleName)
		if err != nil {
			return err
		}
		document, err := r.inline(in.PolicyName)
		out.PolicyDocument = encodeDocument(document)
		return err
	})
}

func (s *Service) deleteRolePolicy(_ context.Context, in *rolePolicyInput) (*wire.Empty, error) {
	return nil, s.updateRoleState(in.RoleName, func(r *role) error {
		_, err := r.inline(in.PolicyName)
		delete(r.Inline, in.PolicyName)
		return err
	})
}

type listRolePoliciesInput struct {
	RoleName string `query:"RoleName" wire:"required"`
	pageInput
}

type listRolePoliciesOutput struct {
	PolicyNames service.List[string]
	pageOutput
}

func (s *Service) listRolePolicies(_ context.Context, in *listRolePoliciesInput) (*listRolePoliciesOutput, error) {
	out := &listRolePoliciesOutput{}
	return out, s.state.View(func(st state) error {
		r, err := st.role(in.RoleName)
		if err != nil {
			return err
		}
		out.PolicyNames, out.pageOutput, err = page(slices.Sorted(maps.Keys(r.Inline)), in.pageInput)
		return err
	})
}

type attachRolePolicyInput struct {
	RoleName  string `query:"RoleName" wire:"required"`
	PolicyARN string `query:"PolicyArn" wire:"required"`
}

func (s *Service) attachRolePolicy(_ context.Context, in *attachRolePolicyInput) (*wire.Empty, error) {
	return nil, s.state.Update(func(st *state) error {
		r, err := st.role(in.RoleName)
		if err != nil {
			return err
		}
		if !isManagedPolicy(in.PolicyARN) {
			return noSuchEntity("Policy %s does not exist or is not attachable. (This local cloud knows those of AWS's policies that "+
				"instances and pipelines have, and no others.)", in.PolicyARN)
		}
		if !slices.Contains(r.Attached, in.PolicyARN) {
			r.Attached = append(r.Attached, in.PolicyARN)
			slices.Sort(r.Attached)
		}
		st.Roles[r.Name] = r
		return nil
	})
}

func (s *Service) detachRolePolicy(_ context.Context, in *attachRolePolicyInput) (*wire.Empty, error) {
	return nil, s.updateRoleState(in.RoleName, func(r *role) error {
		i := slices.Index(r.Attached, in.PolicyARN)
		if i < 0 {
			return noSuchEntity("Policy %s was not found.", in.PolicyARN)
		}
		r.Attached = slices.Delete(r.Attached, i, i+1)
		return nil
	})
}

type listAttachedRolePoliciesInput struct {
	RoleName   string `query:"RoleName" wire:"required"`
	PathPrefix string `query:"PathPrefix"`
	pageInput
}

type attachedPolicy struct {
	PolicyName string
	PolicyARN  string `xml:"PolicyArn"`
}

type listAttachedRolePoliciesOutput struct {
	AttachedPolicies service.List[attachedPolicy]
	pageOutput
}

func (s *Service) listAttachedRolePolicies(_ context.Context, in *listAttachedRolePoliciesInput) (*listAttachedRolePoliciesOutput, error) {
	out := &listAttachedRolePoliciesOutput{}
	return out, s.state.View(func(st state) error {
		r, err := st.role(in.RoleName)
		if err != nil {
			return err
		}
		var attached []attachedPolicy
		for _, arn := range r.Attached {
			_, pathAndName, _ := strings.Cut(arn, ":policy/")
			if strings.HasPrefix("/"+pathAndName, pathPrefix(in.PathPrefix)) {
				attached = append(attached, attachedPolicy{pathAndName[strings.LastIndex(pathAndName, "/")+1:], arn})
			}
		}
		out.AttachedPolicies, out.pageOutput, err = page(attached, in.pageInput)
		return err
	})
}
