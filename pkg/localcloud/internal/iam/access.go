package iam

import (
	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// What calls need. See https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html.

// onRole returns the access to a role, whether there is one of that name or not.
func (s *Service) onRole(name string) wire.Access {
	a := wire.Access{Resource: s.arn("role", "/", name)}
	s.state.View(func(st state) error {
		if r, ok := st.Roles[name]; ok {
			a = wire.Access{Resource: s.arn("role", r.Path, name), Keys: wire.ResourceKeys("iam", r.Tags)}
		}
		return nil
	})
	return a
}

func (s *Service) onProfile(name string) wire.Access {
	a := wire.Access{Resource: s.arn("instance-profile", "/", name)}
	s.state.View(func(st state) error {
		if p, ok := st.InstanceProfiles[name]; ok {
			a = wire.Access{Resource: s.arn("instance-profile", p.Path, name), Keys: wire.ResourceKeys("iam", p.Tags)}
		}
		return nil
	})
	return a
}

func (s *Service) onProvider(arn string) wire.Access {
	a := wire.Access{Resource: arn}
	s.state.View(func(st state) error {
		a.Keys = wire.ResourceKeys("iam", st.OIDCProviders[arn].Tags)
		return nil
	})
	return a
}

// tagged returns the access with the keys for the tags that the call gives.
func tagged(a wire.Access, tags []service.Tag) []wire.Access {
	return []wire.Access{a.With(wire.TagKeysOf(tags, service.Tag.Pair))}
}

// untagged returns the access with the keys of the tags that the call takes away.
func untagged(a wire.Access, keys []string) []wire.Access {
	return []wire.Access{a.With(map[string][]string{"aws:TagKeys": keys})}
}

// creating returns the access to what is to be made.
func (s *Service) creating(kind, path, name string, tags []service.Tag) []wire.Access {
	return tagged(wire.Access{Resource: s.arn(kind, pathPrefix(path), name)}, tags)
}

func (s *Service) roleNamed(in *roleNameInput) []wire.Access {
	return []wire.Access{s.onRole(in.RoleName)}
}

func (s *Service) profileNamed(in *instanceProfileNameInput) []wire.Access {
	return []wire.Access{s.onProfile(in.InstanceProfileName)}
}

func (s *Service) providerNamed(in *oidcProviderInput) []wire.Access {
	return []wire.Access{s.onProvider(in.ARN)}
}

func (s *Service) policyOfRole(in *rolePolicyInput) []wire.Access {
	return []wire.Access{s.onRole(in.RoleName)}
}

func (s *Service) managedOfRole(in *attachRolePolicyInput) []wire.Access {
	return []wire.Access{s.onRole(in.RoleName)}
}

// addRole puts a role into the hands of whoever may use the profile.
func (s *Service) addRole(in *profileRoleInput) []wire.Access {
	pass := s.onRole(in.RoleName)
	return []wire.Access{s.onProfile(in.InstanceProfileName), wire.PassRole(pass.Resource, "ec2.amazonaws.com")}
}
