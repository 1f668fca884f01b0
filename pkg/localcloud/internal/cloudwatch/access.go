package cloudwatch

import (
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// What calls need. See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazoncloudwatch.html.

// on returns the access to an alarm, whether there is one of that name or not.
func (s *Service) on(name string) wire.Access {
	a := wire.Access{Resource: s.arnPrefix() + name}
	s.state.View(func(st state) error {
		a.Keys = wire.ResourceKeys("", st.Alarms[name].Tags)
		return nil
	})
	return a
}

// onResource returns the access to what has the ARN.
func (s *Service) onResource(arn string) wire.Access {
	if name, ours := strings.CutPrefix(arn, s.arnPrefix()); ours {
		return s.on(name)
	}
	return wire.Access{Resource: arn}
}

func tagged(a wire.Access, tags []service.Tag) wire.Access {
	return a.With(wire.TagKeysOf(tags, service.Tag.Pair))
}

// putting needs the right to tag as well where it does.
func (s *Service) putting(in *putMetricAlarmInput) []wire.Access {
	a := tagged(s.on(in.AlarmName), in.Tags)
	needs := []wire.Access{a}
	if len(in.Tags) > 0 {
		a.Action = "cloudwatch:TagResource"
		needs = append(needs, a)
	}
	return needs
}

func (s *Service) deleting(in *deleteAlarmsInput) []wire.Access {
	var needs []wire.Access
	for _, name := range in.AlarmNames {
		needs = append(needs, s.on(name))
	}
	return needs
}
