package ssm

import (
	"strconv"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// What calls need. See https://docs.aws.amazon.com/service-authorization/latest/reference/list_awssystemsmanager.html.

// on returns the access to a parameter that is given by its name or ARN, with a selector or without.
func (s *Service) on(nameAndSelector string) wire.Access {
	name, _ := s.splitSelector(nameAndSelector)
	a := wire.Access{Resource: s.arn(name)}
	s.state.View(func(st state) error {
		a.Keys = wire.ResourceKeys("ssm", st.Parameters[name].Tags)
		return nil
	})
	return a
}

func tagged(a wire.Access, tags []service.Tag) wire.Access {
	return a.With(wire.TagKeysOf(tags, service.Tag.Pair))
}

// putting needs the right to tag as well where it does.
func (s *Service) putting(in *putParameterInput) []wire.Access {
	a := tagged(s.on(in.Name), in.Tags).With(map[string][]string{"ssm:Overwrite": {strconv.FormatBool(in.Overwrite)}})
	needs := []wire.Access{a}
	if len(in.Tags) > 0 {
		a.Action = "ssm:AddTagsToResource"
		needs = append(needs, a)
	}
	return needs
}

// onPath returns the access to a path, which stands for all parameters below it.
func (s *Service) onPath(in *getParametersByPathInput) []wire.Access {
	return []wire.Access{{Resource: s.arn(in.Path)}}
}
