package iam

import (
	"context"
	"net/http"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// instanceProfile is an instance profile. It holds one role at most, as on AWS.
type instanceProfile struct {
	Name, Path, ID string
	Role           string // its name, empty where there is none
	Created        time.Time
	Tags           map[string]string
}

type instanceProfileResult struct {
	Path                string
	InstanceProfileName string
	InstanceProfileID   string `xml:"InstanceProfileId"`
	ARN                 string `xml:"Arn"`
	CreateDate          time.Time
	Roles               service.List[roleResult]
	Tags                *service.List[service.Tag]
}

func (s *Service) instanceProfileResult(st state, p instanceProfile) instanceProfileResult {
	result := instanceProfileResult{
		Path: p.Path, InstanceProfileName: p.Name, InstanceProfileID: p.ID, ARN: s.arn("instance-profile", p.Path, p.Name),
		CreateDate: p.Created, Tags: tagList(p.Tags),
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

// InstanceProfile finds an instance profile by its name or its ARN. EC2 takes one only once it has a role.
func (s *Service) InstanceProfile(nameOrARN string) (arn, id string, found, usable bool) {
	s.state.View(func(st state) error {
		for _, p := range st.InstanceProfiles {
			if its := s.arn("instance-profile", p.Path, p.Name); nameOrARN == p.Name || nameOrARN == its {
				arn, id, found, usable = its, p.ID, true, p.Role != ""
			}
		}
		return nil
	})
	return arn, id, found, usable
}

type createInstanceProfileInput struct {
	InstanceProfileName string        `query:"InstanceProfileName" wire:"required"`
	Path                string        `query:"Path"`
	Tags                []service.Tag `query:"Tags"`
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
	tags, err := tagging().Set(nil, in.Tags)
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

type listInstanceProfilesOutput struct {
	InstanceProfiles service.List[instanceProfileResult]
	pageOutput
}

type listInstanceProfilesForRoleInput struct {
	RoleName string `query:"RoleName" wire:"required"`
	pageInput
}

func (s *Service) listInstanceProfilesForRole(_ context.Context, in *listInstanceProfilesForRoleInput) (*listInstanceProfilesOutput, error) {
	out := &listInstanceProfilesOutput{}
	return out, s.state.View(func(st state) error {
		if _, err := st.role(in.RoleName); err != nil {
			return err
		}
		var found []instanceProfileResult
		for _, p := range service.Sorted(st.InstanceProfiles) {
			if p.Role == in.RoleName {
				found = append(found, s.instanceProfileResult(st, p))
			}
		}
		var err error
		out.InstanceProfiles, out.pageOutput, err = page(found, in.pageInput)
		return err
	})
}

type tagInstanceProfileInput struct {
	InstanceProfileName string        `query:"InstanceProfileName" wire:"required"`
	Tags                []service.Tag `query:"Tags" wire:"required"`
}

func (s *Service) tagInstanceProfile(_ context.Context, in *tagInstanceProfileInput) (*wire.Empty, error) {
	return nil, s.updateProfile(in.InstanceProfileName, func(_ *state, p *instanceProfile) (err error) {
		p.Tags, err = tagging().Set(p.Tags, in.Tags)
		return err
	})
}

type untagInstanceProfileInput struct {
	InstanceProfileName string   `query:"InstanceProfileName" wire:"required"`
	TagKeys             []string `query:"TagKeys" wire:"required"`
}

func (s *Service) untagInstanceProfile(_ context.Context, in *untagInstanceProfileInput) (*wire.Empty, error) {
	return nil, s.updateProfile(in.InstanceProfileName, func(_ *state, p *instanceProfile) error {
		p.Tags = service.RemoveTags(p.Tags, in.TagKeys)
		return nil
	})
}
