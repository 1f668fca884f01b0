package autoscaling

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// What calls need. See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2autoscaling.html. Operations that
// describe know no resources.

const prefix = "autoscaling"

// on returns the access to a group, whether there is one of that name or not.
func (s *Service) on(name string) wire.Access {
	s.document.Lock()
	defer s.document.Unlock()
	g := s.state.Groups[name]
	if g == nil {
		return wire.Access{Resource: fmt.Sprintf("arn:aws:autoscaling:%s:%s:autoScalingGroup:*:autoScalingGroupName/%s",
			s.options.Region, s.options.AccountID, name)}
	}
	return wire.Access{Resource: g.ARN, Keys: wire.ResourceKeys(prefix, tagMap(g.Tags))}
}

// GroupNeeds returns what somebody needs who does something with a group.
func (s *Service) GroupNeeds(groupName string, actions ...string) []wire.Access {
	var needs []wire.Access
	for _, action := range actions {
		a := s.on(groupName)
		a.Action = action
		needs = append(needs, a)
	}
	return needs
}

// onInstance returns the access to the group of an instance, or for one that is in none, to all.
func (s *Service) onInstance(id string) wire.Access {
	s.document.Lock()
	var name string
	for _, g := range s.state.Groups {
		if slices.ContainsFunc(g.Instances, func(i *instance) bool { return i.ID == id }) {
			name = g.Name
		}
	}
	s.document.Unlock()
	if name == "" {
		return wire.Access{}
	}
	return s.on(name)
}

func tagMap(tags []groupTag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}

// keys returns the condition keys for the settings of a group.
func (in *settings) keys() map[string][]string {
	keys := map[string][]string{}
	if t := in.LaunchTemplate; t != nil {
		numbered := t.Version != "" && t.Version != "$Latest" && t.Version != "$Default"
		keys["autoscaling:LaunchTemplateVersionSpecified"] = []string{strconv.FormatBool(numbered)}
	}
	if in.VPCZoneIdentifier != nil {
		keys["autoscaling:VPCZoneIdentifiers"] = splitSubnets(*in.VPCZoneIdentifier)
	}
	return keys
}

func splitSubnets(list string) []string {
	var subnets []string
	for id := range strings.SplitSeq(list, ",") {
		if id = strings.TrimSpace(id); id != "" {
			subnets = append(subnets, id)
		}
	}
	return subnets
}

func (s *Service) creating(in *createInput) []wire.Access {
	keys := in.settings.keys()
	keys["autoscaling:MinSize"], keys["autoscaling:MaxSize"] = []string{strconv.Itoa(in.MinSize)}, []string{strconv.Itoa(in.MaxSize)}
	if len(in.TargetGroupARNs) > 0 {
		keys["autoscaling:TargetGroupARNs"] = in.TargetGroupARNs
	}
	a := s.on(in.Name).With(keys).With(wire.TagKeys(tagMap(in.Tags)))
	needs := []wire.Access{a}
	if len(in.Tags) > 0 {
		a.Action = prefix + ":CreateOrUpdateTags"
		needs = append(needs, a)
	}
	for _, h := range in.Hooks {
		needs = append(needs, passing(h.Role)...)
	}
	if in.VPCZoneIdentifier == nil {
		return append(needs, s.using(in.LaunchTemplate, nil, in.Tags)...)
	}
	return append(needs, s.using(in.LaunchTemplate, splitSubnets(*in.VPCZoneIdentifier), in.Tags)...)
}

func (s *Service) updating(in *updateInput) []wire.Access {
	keys := in.settings.keys()
	if in.MinSize != nil {
		keys["autoscaling:MinSize"] = []string{strconv.Itoa(*in.MinSize)}
	}
	if in.MaxSize != nil {
		keys["autoscaling:MaxSize"] = []string{strconv.Itoa(*in.MaxSize)}
	}
	needs := []wire.Access{s.on(in.Name).With(keys)}
	subnets, tags := s.launchesOf(in.Name)
	if in.VPCZoneIdentifier != nil {
		subnets = splitSubnets(*in.VPCZoneIdentifier)
	}
	return append(needs, s.using(in.LaunchTemplate, subnets, tags)...)
}

func (s *Service) refreshing(in *startRefreshInput) []wire.Access {
	needs := []wire.Access{s.on(in.Name)}
	if in.Desired == nil {
		return needs
	}
	subnets, tags := s.launchesOf(in.Name)
	return append(needs, s.using(in.Desired.LaunchTemplate, subnets, tags)...)
}

// launchesOf returns where a group launches instances and its tags.
func (s *Service) launchesOf(name string) (subnets []string, tags []groupTag) {
	s.document.Lock()
	defer s.document.Unlock()
	if g := s.state.Groups[name]; g != nil {
		return slices.Clone(g.Subnets), slices.Clone(g.Tags)
	}
	return nil, nil
}

// using returns what whoever names a launch template needs: all that it takes to launch its instances. Where it is missing, the error
// is Auto Scaling's own.
// See https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html.
func (s *Service) using(in *templateSpec, subnets []string, tags []groupTag) []wire.Access {
	if in == nil {
		return nil
	}
	name := cmp.Or(in.LaunchTemplateID, in.LaunchTemplateName)
	info, err := s.options.Instances.ResolveTemplate(name, cmp.Or(in.Version, "$Default"))
	if err != nil {
		return nil // the call is refused for that
	}
	propagated := slices.DeleteFunc(slices.Clone(tags), func(t groupTag) bool { return !t.PropagateAtLaunch })
	needs := s.options.Instances.LaunchNeeds(info.ID, strconv.FormatInt(info.Version, 10), subnets, tagMap(propagated))
	for i := range needs {
		needs[i].Instead = &wire.Error{
			Code: "AccessDenied", Message: "You are not authorized to use launch template: " + info.ID, Status: http.StatusForbidden,
		}
	}
	return needs
}

// passing returns what whoever gives Auto Scaling a role needs.
func passing(roleARN string) []wire.Access {
	if roleARN == "" {
		return nil
	}
	return []wire.Access{wire.PassRole(roleARN, "autoscaling.amazonaws.com")}
}

func (s *Service) putting(in *putHookInput) []wire.Access {
	return append([]wire.Access{s.on(in.Group)}, passing(in.Role)...)
}

// onPolicy returns the access to the group of a scaling policy, which may be named by its ARN.
func (s *Service) onPolicy(in *deletePolicyInput) []wire.Access {
	if in.Group != "" {
		return []wire.Access{s.on(in.Group)}
	}
	_, group, _ := strings.Cut(in.Name, "autoScalingGroupName/")
	group, _, _ = strings.Cut(group, ":")
	return []wire.Access{s.on(group)}
}

func (s *Service) tagging(in *tagsInput) []wire.Access {
	byGroup := map[string][]groupTag{}
	var names []string
	for _, t := range in.Tags {
		if byGroup[t.ResourceID] == nil {
			names = append(names, t.ResourceID)
		}
		byGroup[t.ResourceID] = append(byGroup[t.ResourceID], t)
	}
	var needs []wire.Access
	for _, name := range names {
		needs = append(needs, s.on(name).With(wire.TagKeys(tagMap(byGroup[name]))))
	}
	return needs
}
