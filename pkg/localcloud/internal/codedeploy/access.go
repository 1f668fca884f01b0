package codedeploy

import (
	"cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// What calls need. See https://docs.aws.amazon.com/service-authorization/latest/reference/list_awscodedeploy.html.

// on returns the access to an application ("application:NAME") or a deployment group ("deploymentgroup:APPLICATION/GROUP"), whether it is
// there or not.
func (s *Service) on(resource string) wire.Access {
	a := wire.Access{Resource: s.arn(resource)}
	_ = s.locked(func() error {
		tags, err := s.tagsOf(a.Resource)
		if err == nil {
			a.Keys = wire.ResourceKeys("", *tags)
		}
		return err
	})
	return a
}

func (s *Service) onApplication(name string) wire.Access { return s.on("application:" + name) }

func (s *Service) onGroup(application, name string) wire.Access {
	return s.on("deploymentgroup:" + application + "/" + name)
}

// onDeployment returns the access to the group of a deployment, or for one that there is not, to all.
func (s *Service) onDeployment(id string) wire.Access {
	var application, name string
	_ = s.locked(func() error {
		if d := s.find(id); d != nil {
			application, name = d.Application, d.Group
		}
		return nil
	})
	if application == "" {
		return wire.Access{}
	}
	return s.onGroup(application, name)
}

func (s *Service) onResource(arn string) wire.Access {
	a := wire.Access{Resource: arn}
	_ = s.locked(func() error {
		tags, err := s.tagsOf(arn)
		if err == nil {
			a.Keys = wire.ResourceKeys("", *tags)
		}
		return err
	})
	return a
}

func tagged(a wire.Access, tags []tag) wire.Access {
	return a.With(wire.TagKeysOf(tags, tag.pair))
}

// passRole is needed by whoever says which role CodeDeploy takes on.
func passRole(roleARN string) wire.Access { return wire.PassRole(roleARN, "codedeploy.amazonaws.com") }

func (s *Service) creatingGroup(in *createGroupInput) []wire.Access {
	return []wire.Access{tagged(s.onGroup(in.Application, in.Name), in.Tags), passRole(in.RoleARN)}
}

// updatingGroup passes the role on as well, the one that the group has where the call names none: with it the change is carried out.
func (s *Service) updatingGroup(in *updateGroupInput) []wire.Access {
	needs := []wire.Access{s.onGroup(in.Application, in.Name)}
	role := in.RoleARN
	_ = s.locked(func() error {
		g, err := s.group(in.Application, in.Name)
		if err == nil {
			role = cmp.Or(role, g.RoleARN)
		}
		return err
	})
	if role == "" { // there is no such group
		return needs
	}
	return append(needs, passRole(role))
}

// creatingDeployment looks at the configuration, and registers and looks at the revision.
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/auth-and-access-control-permissions-reference.html.
func (s *Service) creatingDeployment(in *createDeploymentInput) []wire.Access {
	config := in.ConfigName
	_ = s.locked(func() error {
		g, err := s.group(in.Application, in.Group)
		if err == nil {
			config = cmp.Or(config, g.ConfigName)
		}
		return err
	})
	get, register := s.onApplication(in.Application), s.onApplication(in.Application)
	get.Action, register.Action = "codedeploy:GetApplicationRevision", "codedeploy:RegisterApplicationRevision"
	return []wire.Access{
		s.onGroup(in.Application, in.Group), get, register,
		{Action: "codedeploy:GetDeploymentConfig", Resource: s.arn("deploymentconfig:" + cmp.Or(config, oneAtATime))},
	}
}

func (s *Service) onGroups(in *batchGetGroupsInput) []wire.Access {
	var needs []wire.Access
	for _, name := range in.Names {
		needs = append(needs, s.onGroup(in.Application, name))
	}
	return needs
}

func (s *Service) onDeployments(in *batchGetDeploymentsInput) []wire.Access {
	var needs []wire.Access
	for _, id := range in.IDs {
		needs = append(needs, s.onDeployment(id))
	}
	return needs
}

func (t tag) pair() (key, value string) { return t.Key, t.Value }
