package ec2

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// InstanceInfo is an instance as the other services see it.
type InstanceInfo struct {
	ID               string
	ImageID          string
	InstanceType     string
	State            string // pending, running, shutting-down, terminated, stopping, stopped
	StateReason      string // why, in words; "" for nothing to say
	PrivateIP        netip.Addr
	PublicIP         netip.Addr
	SubnetID         string
	AvailabilityZone string
	VPCID            string
	SecurityGroups   []string
	LaunchTime       time.Time
}

// info describes an instance. The caller holds the lock.
func (s *Service) info(i *instance) InstanceInfo {
	return InstanceInfo{
		ID: i.ID, ImageID: i.ImageID, InstanceType: i.Type, State: i.State, StateReason: i.StateReason.Message,
		PrivateIP: i.PrivateIP, PublicIP: i.PublicIP, SubnetID: i.SubnetID, AvailabilityZone: i.Zone, VPCID: i.VPCID,
		SecurityGroups: slices.Clone(i.Groups), LaunchTime: i.Launched,
	}
}

// AsItWas returns the service as it was as long ago as reads lag, for others to look things up; itself where none does.
func (s *Service) AsItWas() *Service {
	if s.past == nil {
		return s
	}
	return s.past
}

// OnStateChange has f called after each change of an instance's state. The calls come one after the other for one
// instance, may come at the same time for several, and hold up the instance: f must not wait for one.
func (s *Service) OnStateChange(f func(InstanceInfo)) {
	s.document.Lock()
	defer s.document.Unlock()
	s.listeners = append(s.listeners, f)
}

func (s *Service) notify(infos ...InstanceInfo) {
	s.document.Lock()
	listeners := slices.Clone(s.listeners)
	s.document.Unlock()
	for _, info := range infos {
		for _, f := range listeners {
			f(info)
		}
	}
}

// LaunchSpec is what to launch.
type LaunchSpec struct {
	TemplateID  string
	Version     string // a number, $Latest or $Default; "" means $Default
	SubnetID    string
	Tags        map[string]string // on top of the template's
	ClientToken string            // launching again with the same one returns the instance of the first time
}

// LaunchFromTemplate launches one instance, which is pending when it returns. Unlike the API's callers, it may set tags
// whose keys start with "aws:". The error is a *wire.Error with EC2's code.
func (s *Service) LaunchFromTemplate(_ context.Context, in LaunchSpec) (string, error) {
	run := &runInstancesInput{
		MinCount: 1, MaxCount: 1, ClientToken: in.ClientToken,
		LaunchTemplate: &templateReference{ID: in.TemplateID, Version: in.Version},
		SubnetID:       in.SubnetID, autoScaling: true,
	}
	for _, key := range slices.Sorted(maps.Keys(in.Tags)) {
		run.systemTags = append(run.systemTags, tag{key, in.Tags[key]})
	}
	launched, err := s.launch(run)
	if err != nil {
		return "", err
	}
	return launched[0].ID, nil
}

// Terminate terminates instances in the background: they are shutting down when it returns. Those that are terminated
// already stay so. The error is a *wire.Error with EC2's code.
func (s *Service) Terminate(_ context.Context, ids ...string) error {
	_, err := s.startTerminating(ids, true)
	return err
}

// Instance returns an instance; not ok for one that there is not, or no longer.
func (s *Service) Instance(id string) (InstanceInfo, bool) {
	s.document.Lock()
	defer s.document.Unlock()
	i := s.state.Instances[id]
	if i == nil {
		return InstanceInfo{}, false
	}
	return s.info(i), true
}

// SubnetInfo is a subnet as the other services see it.
type SubnetInfo struct {
	ID               string
	VPCID            string
	AvailabilityZone string
}

// Subnet returns a subnet; not ok for one that there is not.
func (s *Service) Subnet(id string) (SubnetInfo, bool) {
	s.document.Lock()
	defer s.document.Unlock()
	n := s.state.Subnets[id]
	if n == nil {
		return SubnetInfo{}, false
	}
	return SubnetInfo{n.ID, n.VPCID, n.Zone}, true
}

// HasVPC reports whether there is a VPC.
func (s *Service) HasVPC(id string) bool {
	s.document.Lock()
	defer s.document.Unlock()
	return s.state.VPCs[id] != nil
}

// HasSecurityGroup reports whether a VPC has a security group.
func (s *Service) HasSecurityGroup(vpcID, id string) bool {
	s.document.Lock()
	defer s.document.Unlock()
	return s.checkGroups([]string{id}, vpcID) == nil
}

// SecurityGroupAllows tells whether a group's ingress rules let TCP to a port in, from an address, which may be the zero
// Addr, or from members of other groups.
func (s *Service) SecurityGroupAllows(groupID string, port int, from netip.Addr, fromGroups []string) bool {
	s.document.Lock()
	defer s.document.Unlock()
	group := s.state.Groups[groupID]
	if group == nil {
		return false
	}
	return slices.ContainsFunc(group.Rules, func(r *rule) bool {
		if r.Egress || r.Protocol != "-1" && (r.Protocol != "tcp" || port < r.From || port > r.To) {
			return false
		}
		if r.Group != "" {
			return slices.Contains(fromGroups, r.Group)
		}
		p, err := netip.ParsePrefix(r.CIDR + r.CIDR6) // one of them is ""
		return err == nil && from.IsValid() && p.Contains(from)
	})
}

// HoldSecurityGroups has holds asked whether another service uses a security group, which then cannot be deleted.
func (s *Service) HoldSecurityGroups(holds func(groupID string) bool) {
	s.document.Lock()
	defer s.document.Unlock()
	s.holders = append(s.holders, holds)
}

// TemplateInfo is a version of a launch template as the other services see it.
type TemplateInfo struct {
	ID, Name        string
	Version         int64 // resolved
	Default, Latest int64
	ImageID         string
	InstanceType    string
}

// ResolveTemplate finds a version of a launch template: a number, $Latest or $Default; "" means $Default.
// The error is a *wire.Error with EC2's code.
func (s *Service) ResolveTemplate(idOrName, version string) (TemplateInfo, error) {
	s.document.Lock()
	defer s.document.Unlock()
	ref := templateReference{ID: idOrName, Version: version}
	if s.state.Templates[idOrName] == nil {
		for _, t := range s.state.Templates {
			if t.Name == idOrName {
				ref.ID = t.ID
			}
		}
	}
	t, v, err := s.template(ref)
	if err != nil {
		return TemplateInfo{}, err
	}
	return TemplateInfo{
		ID: t.ID, Name: t.Name, Version: v.Number, Default: t.Default, Latest: t.Latest,
		ImageID: deref(v.Data.ImageID), InstanceType: deref(v.Data.InstanceType),
	}, nil
}
