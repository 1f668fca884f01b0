package iam

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// maxPolicyVersions is how many versions a managed policy may have.
const maxPolicyVersions = 5

// policy is a customer-managed policy.
type policy struct {
	Name, Path, ID, Description string
	Created                     time.Time
	Default                     string // version ID
	NextVersion                 int
	Versions                    []policyVersion
	Tags                        map[string]string
}

type policyVersion struct {
	ID, Document string
	Created      time.Time
}

// isAWSManaged reports whether AWS owns the policy. Which ones exist is not known here, so each is taken to.
func isAWSManaged(arn string) bool { return strings.HasPrefix(arn, "arn:aws:iam::aws:policy/") }

func (st state) policy(arn string) (policy, error) {
	p, ok := st.Policies[arn]
	if !ok {
		return policy{}, noSuchEntity("Policy %s does not exist or is not attachable.", arn)
	}
	return p, nil
}

// attachments counts the roles that have the policy.
func (st state) attachments(arn string) int {
	n := 0
	for _, r := range st.Roles {
		if slices.Contains(r.Attached, arn) {
			n++
		}
	}
	return n
}

func (p policy) version(id string) (policyVersion, error) {
	for _, v := range p.Versions {
		if v.ID == id {
			return v, nil
		}
	}
	return policyVersion{}, noSuchEntity("Policy version %s does not exist.", id)
}

func (s *Service) updatePolicy(arn string, change func(*policy) error) error {
	return s.state.Update(func(st *state) error {
		p, err := st.policy(arn)
		if err != nil {
			return err
		}
		if err := change(&p); err != nil {
			return err
		}
		st.Policies[arn] = p
		return nil
	})
}

type policyResult struct {
	PolicyName       string
	PolicyID         string `xml:"PolicyId"`
	ARN              string `xml:"Arn"`
	Path             string
	DefaultVersionID string `xml:"DefaultVersionId"`
	AttachmentCount  int
	IsAttachable     bool
	Description      string `xml:",omitempty"`
	CreateDate       time.Time
	UpdateDate       time.Time
	Tags             *tagList
}

func newPolicyResult(st state, arn string, p policy) policyResult {
	return policyResult{
		PolicyName: p.Name, PolicyID: p.ID, ARN: arn, Path: p.Path, DefaultVersionID: p.Default,
		AttachmentCount: st.attachments(arn), IsAttachable: true, Description: p.Description, CreateDate: p.Created,
		UpdateDate: p.Versions[len(p.Versions)-1].Created, Tags: newTagList(p.Tags),
	}
}

type policyVersionResult struct {
	Document         string `xml:",omitempty"`
	VersionID        string `xml:"VersionId"`
	IsDefaultVersion bool
	CreateDate       time.Time
}

type createPolicyInput struct {
	PolicyName     string `query:"PolicyName" wire:"required"`
	PolicyDocument string `query:"PolicyDocument" wire:"required"`
	Path           string `query:"Path"`
	Description    string `query:"Description"`
	Tags           []tag  `query:"Tags"`
}

type policyOutput struct {
	Policy policyResult
}

func (s *Service) createPolicy(_ context.Context, in *createPolicyInput) (*policyOutput, error) {
	if err := checkName("policyName", in.PolicyName, 128); err != nil {
		return nil, err
	}
	path, err := checkPath(in.Path)
	if err != nil {
		return nil, err
	}
	if err := checkDocument(in.PolicyDocument); err != nil {
		return nil, err
	}
	tags, err := setTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	arn := s.arn("policy", path, in.PolicyName)
	p := policy{
		Name: in.PolicyName, Path: path, ID: newID("ANPA"), Description: in.Description, Created: now(), Default: "v1", NextVersion: 2,
		Versions: []policyVersion{{ID: "v1", Document: in.PolicyDocument, Created: now()}}, Tags: tags,
	}
	out := &policyOutput{}
	return out, s.state.Update(func(st *state) error {
		if _, ok := st.Policies[arn]; ok {
			return alreadyExists("A policy called %s already exists. Duplicate names are not allowed.", p.Name)
		}
		st.Policies[arn] = p
		out.Policy = newPolicyResult(*st, arn, p)
		return nil
	})
}

type policyARNInput struct {
	PolicyARN string `query:"PolicyArn" wire:"required"`
}

func (s *Service) getPolicy(_ context.Context, in *policyARNInput) (*policyOutput, error) {
	out := &policyOutput{}
	return out, s.state.View(func(st state) error {
		p, err := st.policy(in.PolicyARN)
		if err != nil {
			return err
		}
		out.Policy = newPolicyResult(st, in.PolicyARN, p)
		return nil
	})
}

func (s *Service) deletePolicy(_ context.Context, in *policyARNInput) (*wire.Empty, error) {
	return nil, s.state.Update(func(st *state) error {
		p, err := st.policy(in.PolicyARN)
		if err != nil {
			return err
		}
		if st.attachments(in.PolicyARN) > 0 {
			return deleteConflict("Cannot delete a policy attached to entities.")
		}
		if len(p.Versions) > 1 {
			return deleteConflict("This policy has more than one version. Before you delete a policy, you must delete the " +
				"policy's versions. The default version is deleted with the policy.")
		}
		delete(st.Policies, in.PolicyARN)
		return nil
	})
}

type listPoliciesInput struct {
	Scope        string `query:"Scope" wire:"enum=All|AWS|Local"`
	OnlyAttached bool   `query:"OnlyAttached"`
	PathPrefix   string `query:"PathPrefix"`
	pageInput
}

type listPoliciesOutput struct {
	Policies struct {
		Members []policyResult `xml:"member"`
	}
	pageOutput
}

func (s *Service) listPolicies(_ context.Context, in *listPoliciesInput) (*listPoliciesOutput, error) {
	if in.Scope != "Local" {
		return nil, invalid("This local cloud does not know the policies that AWS manages: list with the scope Local.")
	}
	out := &listPoliciesOutput{}
	return out, s.state.View(func(st state) error {
		var found []policyResult
		for _, arn := range slices.Sorted(maps.Keys(st.Policies)) {
			result := newPolicyResult(st, arn, st.Policies[arn])
			if strings.HasPrefix(result.Path, pathPrefix(in.PathPrefix)) && (!in.OnlyAttached || result.AttachmentCount > 0) {
				result.Tags = nil // ListPolicies leaves the tags out, as on AWS
				found = append(found, result)
			}
		}
		var err error
		out.Policies.Members, out.pageOutput, err = page(found, in.pageInput)
		return err
	})
}

type createPolicyVersionInput struct {
	PolicyARN      string `query:"PolicyArn" wire:"required"`
	PolicyDocument string `query:"PolicyDocument" wire:"required"`
	SetAsDefault   bool   `query:"SetAsDefault"`
}

type policyVersionOutput struct {
	PolicyVersion policyVersionResult
}

func (s *Service) createPolicyVersion(_ context.Context, in *createPolicyVersionInput) (*policyVersionOutput, error) {
	if err := checkDocument(in.PolicyDocument); err != nil {
		return nil, err
	}
	out := &policyVersionOutput{}
	return out, s.updatePolicy(in.PolicyARN, func(p *policy) error {
		if len(p.Versions) >= maxPolicyVersions {
			return &wire.Error{
				Code: "LimitExceeded",
				Message: fmt.Sprintf("A managed policy can have up to %d versions. Before you create a new version, you must delete an "+
					"existing version.", maxPolicyVersions),
				Status: http.StatusConflict,
			}
		}
		v := policyVersion{ID: fmt.Sprintf("v%d", p.NextVersion), Document: in.PolicyDocument, Created: now()}
		p.NextVersion++
		p.Versions = append(p.Versions, v)
		if in.SetAsDefault {
			p.Default = v.ID
		}
		out.PolicyVersion = policyVersionResult{VersionID: v.ID, IsDefaultVersion: in.SetAsDefault, CreateDate: v.Created}
		return nil
	})
}

type policyVersionInput struct {
	PolicyARN string `query:"PolicyArn" wire:"required"`
	VersionID string `query:"VersionId" wire:"required"`
}

func (s *Service) getPolicyVersion(_ context.Context, in *policyVersionInput) (*policyVersionOutput, error) {
	out := &policyVersionOutput{}
	return out, s.state.View(func(st state) error {
		p, err := st.policy(in.PolicyARN)
		if err != nil {
			return err
		}
		v, err := p.version(in.VersionID)
		out.PolicyVersion = policyVersionResult{encodeDocument(v.Document), v.ID, v.ID == p.Default, v.Created}
		return err
	})
}

func (s *Service) deletePolicyVersion(_ context.Context, in *policyVersionInput) (*wire.Empty, error) {
	return nil, s.updatePolicy(in.PolicyARN, func(p *policy) error {
		if _, err := p.version(in.VersionID); err != nil {
			return err
		}
		if in.VersionID == p.Default {
			return deleteConflict("Cannot delete the default version of a policy.")
		}
		p.Versions = slices.DeleteFunc(p.Versions, func(v policyVersion) bool { return v.ID == in.VersionID })
		return nil
	})
}

type listPolicyVersionsInput struct {
	PolicyARN string `query:"PolicyArn" wire:"required"`
	pageInput
}

type listPolicyVersionsOutput struct {
	Versions struct {
		Members []policyVersionResult `xml:"member"`
	}
	pageOutput
}

func (s *Service) listPolicyVersions(_ context.Context, in *listPolicyVersionsInput) (*listPolicyVersionsOutput, error) {
	out := &listPolicyVersionsOutput{}
	return out, s.state.View(func(st state) error {
		p, err := st.policy(in.PolicyARN)
		if err != nil {
			return err
		}
		var all []policyVersionResult
		for _, v := range slices.Backward(p.Versions) {
			all = append(all, policyVersionResult{VersionID: v.ID, IsDefaultVersion: v.ID == p.Default, CreateDate: v.Created})
		}
		out.Versions.Members, out.pageOutput, err = page(all, in.pageInput)
		return err
	})
}

type tagPolicyInput struct {
	PolicyARN string `query:"PolicyArn" wire:"required"`
	Tags      []tag  `query:"Tags" wire:"required"`
}

func (s *Service) tagPolicy(_ context.Context, in *tagPolicyInput) (*wire.Empty, error) {
	return nil, s.updatePolicy(in.PolicyARN, func(p *policy) (err error) {
		p.Tags, err = setTags(p.Tags, in.Tags)
		return err
	})
}

type untagPolicyInput struct {
	PolicyARN string   `query:"PolicyArn" wire:"required"`
	TagKeys   []string `query:"TagKeys" wire:"required"`
}

func (s *Service) untagPolicy(_ context.Context, in *untagPolicyInput) (*wire.Empty, error) {
	return nil, s.updatePolicy(in.PolicyARN, func(p *policy) error {
		removeTags(p.Tags, in.TagKeys)
		return nil
	})
}

type listPolicyTagsInput struct {
	PolicyARN string `query:"PolicyArn" wire:"required"`
	pageInput
}

func (s *Service) listPolicyTags(_ context.Context, in *listPolicyTagsInput) (*listTagsOutput, error) {
	out := &listTagsOutput{}
	return out, s.state.View(func(st state) error {
		p, err := st.policy(in.PolicyARN)
		out.set(p.Tags)
		return err
	})
}
