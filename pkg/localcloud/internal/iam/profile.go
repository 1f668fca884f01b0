package iam

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// instanceProfile is an instance profile. It holds one role at most, as on AWS.
type instanceProfile struct {
	Name, Path, ID string
	Role           string // its name, empty where there is none
	Created        time.Time
	Tags           map[string]string
}

// InstanceProfile is what EC2 asks about an instance profile.
type InstanceProfile struct {
	Name, ARN, ID string
	// Role is the name of its role; empty where it has none.
	Role string
}

// InstanceProfile returns the instance profile with the name or the ARN.
func (s *Service) InstanceProfile(nameOrARN string) (InstanceProfile, bool) {
	name := nameOrARN[strings.LastIndex(nameOrARN, "/")+1:]
	var found InstanceProfile
	s.state.View(func(st state) error {
		if p, ok := st.InstanceProfiles[name]; ok {
			found = InstanceProfile{Name: p.Name, ARN: s.arn("instance-profile", p.Path, p.Name), ID: p.ID, Role: p.Role}
		}
		return nil
	})
	if found.Name == "" || name != nameOrARN && found.ARN != nameOrARN {
		return InstanceProfile{}, false
	}
	return found, true
}

type instanceProfileResult struct {
	Path                string
	InstanceProfileName string
	InstanceProfileID   string `xml:"InstanceProfileId"`
	ARN                 string `xml:"Arn"`
	CreateDate          time.Time
	Roles               struct {
		Members []roleResult `xml:"member"`
	}
	Tags *tagList
}

func (s *Service) instanceProfileResult(st state, p instanceProfile) instanceProfileResult {
	result := instanceProfileResult{
		Path: p.Path, InstanceProfileName: p.Name, InstanceProfileID: p.ID, ARN: s.arn("instance-profile", p.Path, p.Name),
		CreateDate: p.Created, Tags: newTagList(p.Tags),
	}
	if r, ok := st.Roles[p.Role]; ok {
		result.Roles.Members = append(result.Roles.Members, s.roleResult(r))
	}
	return result
}

func (st state) instanceProfile(name string) (instanceProfile, error) {
	p, ok := st.InstanceProfiles[name]
	if !ok {
		return instanceProfile{}, noSuchEntity("Instance Profile %s cannot be found.", name)
	}
	return p, nil
}

func (s *Service) updateProfile(name string, change func(*state, *instanceProfile) error) error {
	return s.state.Update(func(st *state) error {
		p, err := st.instanceProfile(name)
		if err != nil {
			return err
		}
		if err := change(st, &p); err != nil {
			return err
		}
		st.InstanceProfiles[name] = p
		return nil
	})
}

type createInstanceProfileInput struct {
	InstanceProfileName string `query:"InstanceProfileName" wire:"required"`
	Path                string `query:"Path"`
	Tags                []tag  `query:"Tags"`
}

type instanceProfileOutput struct {
	InstanceProfile instanceProfileResult
}

func (s *Service) createInstanceProfile(_ context.Context, in *createInstanceProfileInput) (*instanceProfileOutput, error) {
	if err := checkName("instanceProfileName", in.InstanceProfileName, 128); err != nil {
		return nil, err
	}
	path, err := checkPath(in.Path)
	if err != nil {
		return nil, err
	}
	tags, err := setTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	p := instanceProfile{Name: in.InstanceProfileName, Path: path, ID: newID("AIPA"), Created: now(), Tags: tags}
	out := &instanceProfileOutput{}
	return out, s.state.Update(func(st *state) error {
		if _, ok := st.InstanceProfiles[p.Name]; ok {
			return alreadyExists("Instance Profile %s already exists.", p.Name)
		}
		st.InstanceProfiles[p.Name] = p
		out.InstanceProfile = s.instanceProfileResult(*st, p)
		return nil
	})
}

type instanceProfileNameInput struct {
	InstanceProfileName string `query:"InstanceProfileName" wire:"required"`
}

func (s *Service) getInstanceProfile(_ context.Context, in *instanceProfileNameInput) (*instanceProfileOutput, error) {
	out := &instanceProfileOutput{}
	return out, s.state.View(func(st state) error {
		p, err := st.instanceProfile(in.InstanceProfileName)
		out.InstanceProfile = s.instanceProfileResult(st, p)
		return err
	})
}

func (s *Service) deleteInstanceProfile(_ context.Context, in *instanceProfileNameInput) (*wire.Empty, error) {
	return nil, s.state.Update(func(st *state) error {
		p, err := st.instanceProfile(in.InstanceProfileName)
		if err != nil {
			return err
		}
		if p.Role != "" {
			return deleteConflict("Cannot delete entity, must remove roles from instance profile first.")
		}
		delete(st.InstanceProfiles, p.Name)
		return nil
	})
}

type profileRoleInput struct {
	InstanceProfileName string `query:"InstanceProfileName" wire:"required"`
	RoleName            string `query:"RoleName" wire:"required"`
}

func (s *Service) addRoleToInstanceProfile(_ context.Context, in *profileRoleInput) (*wire.Empty, error) {
	return nil, s.updateProfile(in.InstanceProfileName, func(st *state, p *instanceProfile) error {
		if _, err := st.role(in.RoleName); err != nil {
			return err
		}
		if p.Role != "" {
			return &wire.Error{
				Code: "LimitExceeded", Message: "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1",
				Status: http.StatusConflict,
			}
		}
		p.Role = in.RoleName
		return nil
	})
}

func (s *Service) removeRoleFromInstanceProfile(_ context.Context, in *profileRoleInput) (*wire.Empty, error) {
	return nil, s.updateProfile(in.InstanceProfileName, func(_ *state, p *instanceProfile) error {
		if p.Role != in.RoleName {
			return noSuchEntity("Role %s is not associated with Instance Profile %s.", in.RoleName, p.Name)
		}
		p.Role = ""
		return nil
	})
}

type listInstanceProfilesInput struct {
	PathPrefix string `query:"PathPrefix"`
	pageInput
}

type listInstanceProfilesOutput struct {
	InstanceProfiles struct {
		Members []instanceProfileResult `xml:"member"`
	}
	pageOutput
}

func (s *Service) listInstanceProfiles(_ context.Context, in *listInstanceProfilesInput) (*listInstanceProfilesOutput, error) {
	return s.findInstanceProfiles(in.pageInput, func(p instanceProfile) bool {
		return strings.HasPrefix(p.Path, pathPrefix(in.PathPrefix))
	}, nil)
}

type listInstanceProfilesForRoleInput struct {
	RoleName string `query:"RoleName" wire:"required"`
	pageInput
}

func (s *Service) listInstanceProfilesForRole(_ context.Context, in *listInstanceProfilesForRoleInput) (*listInstanceProfilesOutput, error) {
	return s.findInstanceProfiles(in.pageInput, func(p instanceProfile) bool { return p.Role == in.RoleName },
		func(st state) error {
			_, err := st.role(in.RoleName)
			return err
		})
}

func (s *Service) findInstanceProfiles(
	in pageInput, matches func(instanceProfile) bool, check func(state) error,
) (*listInstanceProfilesOutput, error) {
	out := &listInstanceProfilesOutput{}
	return out, s.state.View(func(st state) error {
		if check != nil {
			if err := check(st); err != nil {
				return err
			}
		}
		var found []instanceProfileResult
		for _, name := range slices.Sorted(maps.Keys(st.InstanceProfiles)) {
			if p := st.InstanceProfiles[name]; matches(p) {
				found = append(found, s.instanceProfileResult(st, p))
			}
		}
		var err error
		out.InstanceProfiles.Members, out.pageOutput, err = page(found, in)
		return err
	})
}

type tagInstanceProfileInput struct {
	InstanceProfileName string `query:"InstanceProfileName" wire:"required"`
	Tags                []tag  `query:"Tags" wire:"required"`
}

func (s *Service) tagInstanceProfile(_ context.Context, in *tagInstanceProfileInput) (*wire.Empty, error) {
	return nil, s.updateProfile(in.InstanceProfileName, func(_ *state, p *instanceProfile) (err error) {
		p.Tags, err = setTags(p.Tags, in.Tags)
		return err
	})
}

type untagInstanceProfileInput struct {
	InstanceProfileName string   `query:"InstanceProfileName" wire:"required"`
	TagKeys             []string `query:"TagKeys" wire:"required"`
}

func (s *Service) untagInstanceProfile(_ context.Context, in *untagInstanceProfileInput) (*wire.Empty, error) {
	return nil, s.updateProfile(in.InstanceProfileName, func(_ *state, p *instanceProfile) error {
		removeTags(p.Tags, in.TagKeys)
		return nil
	})
}

type listInstanceProfileTagsInput struct {
	InstanceProfileName string `query:"InstanceProfileName" wire:"required"`
	pageInput
}

func (s *Service) listInstanceProfileTags(_ context.Context, in *listInstanceProfileTagsInput) (*listTagsOutput, error) {
	out := &listTagsOutput{}
	return out, s.state.View(func(st state) error {
		p, err := st.instanceProfile(in.InstanceProfileName)
		out.set(p.Tags)
		return err
	})
}
