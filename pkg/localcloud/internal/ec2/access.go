package ec2

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// What calls need: the resources of each and the condition keys that they have.
// See https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html. Operations that describe know no resources
// on AWS, but for DescribeVpcAttribute.

// kinds are the types of resources by the beginnings of their IDs.
func kinds() map[string]string {
	return map[string]string{
		"acl": "network-acl", "ami": "image", "eni": "network-interface", "i": "instance", "igw": "internet-gateway", "key": "key-pair",
		"lt": "launch-template", "rtb": "route-table", "sg": "security-group", "sgr": "security-group-rule", "snap": "snapshot",
		"subnet": "subnet", "vol": "volume", "vpc": "vpc",
	}
}

// resourceARN returns the ARN of a resource by its type and its ID, or its name where it has one. Those of images and snapshots have no
// account.
func (s *Service) resourceARN(kind, id string) string {
	arn := s.arn(kind, id)
	if kind == "image" || kind == "snapshot" {
		arn = strings.Replace(arn, ":"+s.account+":", "::", 1)
	}
	return arn
}

// on returns the access to the resource of an ID. One that there is not has no tags, so that no condition on them holds.
func (s *Service) on(id string) wire.Access {
	s.document.Lock()
	defer s.document.Unlock()
	return s.onLocked(id)
}

func (s *Service) onLocked(id string) wire.Access {
	prefix, _, _ := strings.Cut(id, "-")
	kind := cmp.Or(kinds()[prefix], "*")
	a := wire.Access{Resource: s.resourceARN(kind, id), Keys: map[string][]string{"ec2:Region": {s.region}}}
	tagged := map[string]string{}
	if place, _, err := s.tagsOf(id); err == nil {
		for _, t := range *place {
			tagged[t.Key] = t.Value
		}
	}
	a = a.With(wire.ResourceKeys("ec2", tagged))
	switch st := s.state; kind {
	case "image":
		if r := st.Images[id]; r != nil {
			a.Keys["ec2:Owner"], a.Keys["ec2:Public"] = []string{r.OwnerID}, []string{boolString(r.Public)}
		}
	case "snapshot":
		if r := st.Snapshots[id]; r != nil {
			a.Keys["ec2:Owner"] = []string{r.OwnerID}
		}
	case "instance":
		if r := st.Instances[id]; r != nil {
			a.Keys["ec2:InstanceType"], a.Keys["ec2:AvailabilityZone"] = []string{r.Type}, []string{r.Zone}
			a.Keys["ec2:MetadataHttpTokens"] = []string{r.Metadata.Tokens}
			if r.Profile != nil {
				a.Keys["ec2:InstanceProfile"] = []string{r.Profile.ARN}
			}
		}
	case "key-pair":
		if r := st.KeyPairs[id]; r != nil {
			a.Resource = s.resourceARN(kind, r.Name)
		}
	case "subnet":
		if r := st.Subnets[id]; r != nil {
			a.Keys["ec2:Vpc"], a.Keys["ec2:AvailabilityZone"] = []string{s.resourceARN("vpc", r.VPCID)}, []string{r.Zone}
		}
	case "security-group":
		if r := st.Groups[id]; r != nil {
			a.Keys["ec2:Vpc"] = []string{s.resourceARN("vpc", r.VPCID)}
		}
	}
	return a
}

// onAll returns the accesses to several resources.
func (s *Service) onAll(ids ...string) []wire.Access {
	var needs []wire.Access
	for _, id := range ids {
		if id != "" {
			needs = append(needs, s.on(id))
		}
	}
	return needs
}

// made returns the access to a resource that the call makes, which has no ID yet, with the tags that it gets.
func (s *Service) made(kind string, specs tagSpecifications) wire.Access {
	a := wire.Access{Resource: s.resourceARN(kind, "*"), Keys: map[string][]string{"ec2:Region": {s.region}}}
	return a.With(wire.TagKeys(specs.given(kind)))
}

// given returns the tags for a kind of resource.
func (specs tagSpecifications) given(kind string) map[string]string {
	given := map[string]string{}
	for _, spec := range specs {
		if spec.ResourceType == kind {
			for _, t := range spec.Tags {
				given[t.Key] = t.Value
			}
		}
	}
	return given
}

// tagging returns the accesses that a call needs which tags what it makes.
// See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/supported-iam-actions-tagging.html.
func (s *Service) tagging(operation string, specs tagSpecifications) []wire.Access {
	var needs []wire.Access
	var seen []string
	for _, spec := range specs {
		if len(spec.Tags) == 0 || slices.Contains(seen, spec.ResourceType) {
			continue
		}
		seen = append(seen, spec.ResourceType)
		a := s.made(spec.ResourceType, specs)
		a.Action, a.Keys["ec2:CreateAction"] = "ec2:CreateTags", []string{operation}
		needs = append(needs, a)
	}
	return needs
}

// making returns what a call needs that makes one resource, in or of others.
func (s *Service) making(operation, kind string, specs tagSpecifications, others ...string) []wire.Access {
	return slices.Concat([]wire.Access{s.made(kind, specs)}, s.onAll(others...), s.tagging(operation, specs))
}

// keys returns the condition keys for tags that a call gives.
func (ts tags) keys() map[string][]string {
	return wire.TagKeysOf(ts, func(t tag) (key, value string) { return t.Key, t.Value })
}

func (s *Service) creatingTags(in *createTagsInput) []wire.Access {
	var needs []wire.Access
	for _, a := range s.onAll(in.Resources...) {
		needs = append(needs, a.With(in.Tags.keys()))
	}
	return needs
}

func (s *Service) deletingTags(in *deleteTagsInput) []wire.Access {
	keys := map[string][]string{}
	for _, t := range in.Tags {
		keys["aws:TagKeys"] = append(keys["aws:TagKeys"], t.Key)
	}
	var needs []wire.Access
	for _, a := range s.onAll(in.Resources...) {
		needs = append(needs, a.With(keys))
	}
	return needs
}

func (s *Service) creatingImage(in *createImageInput) []wire.Access {
	return slices.Concat(
		[]wire.Access{s.made("image", in.TagSpecs), s.on(in.InstanceID), s.made("snapshot", in.TagSpecs)}, s.tagging("CreateImage", in.TagSpecs))
}

// copyingImage needs the right to tag as well where the copy gets the tags that its source has.
// See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/copy-ami-permissions.html.
func (s *Service) copyingImage(in *copyImageInput) []wire.Access {
	specs := in.TagSpecs
	s.document.Lock()
	if i := s.state.Images[in.SourceID]; i != nil && in.CopyTags {
		specs = append(tagSpecifications{{ResourceType: "image", Tags: slices.Clone(i.Tags)}}, in.TagSpecs...)
	}
	s.document.Unlock()
	return slices.Concat(
		[]wire.Access{s.made("image", in.TagSpecs), s.on(in.SourceID), s.made("snapshot", in.TagSpecs)}, s.tagging("CopyImage", specs))
}

// deregistering deletes the image's snapshot as well, where it is asked to.
func (s *Service) deregistering(in *deregisterImageInput) []wire.Access {
	needs := []wire.Access{s.on(in.ImageID)}
	s.document.Lock()
	defer s.document.Unlock()
	if i := s.state.Images[in.ImageID]; i != nil && in.DeleteSnapshots {
		for _, d := range i.Devices {
			a := s.onLocked(d.EBS.SnapshotID)
			a.Action = "ec2:DeleteSnapshot"
			needs = append(needs, a)
		}
	}
	return needs
}

func (s *Service) modifyingImage(in *modifyImageAttributeInput) []wire.Access {
	attribute := "imdsSupport"
	if in.Description != nil {
		attribute = "description"
	}
	return []wire.Access{s.on(in.ImageID).With(map[string][]string{"ec2:Attribute": {attribute}})}
}

// onKeyPair returns the access to a key pair by its name, which is what policies know, or its ID.
func (s *Service) onKeyPair(name, id string) wire.Access {
	s.document.Lock()
	defer s.document.Unlock()
	if k := s.keyPairNamed(name); k != nil {
		id = k.ID
	}
	if s.state.KeyPairs[id] != nil {
		return s.onLocked(id)
	}
	return wire.Access{Resource: s.resourceARN("key-pair", cmp.Or(name, id))}
}

func (s *Service) creatingKeyPair(in *createKeyPairInput) []wire.Access {
	a := s.made("key-pair", in.TagSpecs)
	a.Resource = s.resourceARN("key-pair", in.Name)
	needs := []wire.Access{a}
	for _, tagging := range s.tagging("CreateKeyPair", in.TagSpecs) {
		tagging.Resource = a.Resource
		needs = append(needs, tagging)
	}
	return needs
}

// onGroup returns the access to a security group by its ID or, in the default VPC, its name.
func (s *Service) onGroup(id, name string) wire.Access {
	s.document.Lock()
	defer s.document.Unlock()
	if g := s.groupNamed(s.defaultVPC(), name); id == "" && g != nil {
		id = g.ID
	}
	return s.onLocked(cmp.Or(id, "sg-"+name))
}

func (s *Service) creatingGroup(in *createSecurityGroupInput) []wire.Access {
	s.document.Lock()
	vpc := cmp.Or(in.VPCID, s.defaultVPC())
	s.document.Unlock()
	return s.making("CreateSecurityGroup", "security-group", in.TagSpecs, vpc)
}

func (s *Service) authorizing(operation string) func(*authorizeInput) []wire.Access {
	return func(in *authorizeInput) []wire.Access {
		return append([]wire.Access{s.onGroup(in.ID, in.Name)}, s.tagging(operation, in.TagSpecs)...)
	}
}

func (s *Service) revoking(in *revokeInput) []wire.Access {
	return []wire.Access{s.onGroup(in.ID, in.Name)}
}

func (s *Service) modifyingRules(in *modifyRulesInput) []wire.Access {
	needs := []wire.Access{s.on(in.GroupID)}
	for _, r := range in.Rules {
		needs = append(needs, s.on(r.ID))
	}
	return needs
}

// onTemplate returns the access to a launch template by its ID or its name.
func (s *Service) onTemplate(id, name string) wire.Access {
	s.document.Lock()
	defer s.document.Unlock()
	if t, err := s.templateNamed(id, name); err == nil {
		id = t.ID
	}
	return s.onLocked(cmp.Or(id, "lt-"+name))
}

func (s *Service) onTables(associationID string) []wire.Access {
	s.document.Lock()
	defer s.document.Unlock()
	for _, table := range s.state.RouteTables {
		for _, a := range table.Associations {
			if a.ID == associationID {
				return []wire.Access{s.onLocked(table.ID), s.onLocked(a.SubnetID)}
			}
		}
	}
	return []wire.Access{{Resource: s.resourceARN("route-table", "*")}}
}

// launching returns what RunInstances needs. What a launch template says and the call does not is marked as the template's own.
func (s *Service) launching(in *runInstancesInput) []wire.Access {
	s.document.Lock()
	defer s.document.Unlock()
	data, given := in.templateData, in.templateData
	var ofTemplate templateData
	common := map[string][]string{"ec2:Region": {s.region}}
	var needs []wire.Access
	if in.LaunchTemplate != nil {
		if t, v, err := s.template(*in.LaunchTemplate); err == nil {
			ofTemplate = v.Data
			data = ofTemplate.with(data)
			data.TagSpecs = slices.Concat(ofTemplate.TagSpecs, given.TagSpecs)
			common["ec2:LaunchTemplate"] = []string{s.resourceARN("launch-template", t.ID)}
			needs = append(needs, s.onLocked(t.ID))
		} else {
			needs = append(needs, s.onLocked(cmp.Or(in.LaunchTemplate.ID, "lt-"+in.LaunchTemplate.Name)))
		}
	}
	// add adds an access; own is whether the template alone says what it is to.
	add := func(a wire.Access, own bool) {
		common["ec2:IsLaunchTemplateResource"] = []string{boolString(own && in.LaunchTemplate != nil)}
		needs = append(needs, a.With(common))
	}
	for i := range needs {
		needs[i] = needs[i].With(common)
	}
	add(s.launchedInstance(data), !given.changesInstance())
	add(s.made("volume", data.TagSpecs), given.Devices == nil)
	add(s.made("network-interface", data.TagSpecs), given.Interfaces == nil && ofTemplate.Interfaces != nil)
	add(s.onLocked(deref(data.ImageID)), given.ImageID == nil)
	for _, d := range data.Devices {
		if d.EBS != nil && d.EBS.SnapshotID != nil {
			add(s.onLocked(*d.EBS.SnapshotID), given.Devices == nil)
		}
	}
	if name := deref(data.KeyName); name != "" {
		a := wire.Access{Resource: s.resourceARN("key-pair", name)}
		if k := s.keyPairNamed(name); k != nil {
			a = s.onLocked(k.ID)
		}
		add(a, given.KeyName == nil)
	}
	plan := instance{Type: deref(data.InstanceType)}
	if err := s.planNetwork(&plan, in, &data); err == nil {
		add(s.onLocked(plan.SubnetID), in.SubnetID == "" && given.Interfaces == nil && ofTemplate.Interfaces != nil)
		for _, id := range plan.Groups {
			add(s.onLocked(id), given.SecurityGroupIDs == nil && given.SecurityGroups == nil && given.Interfaces == nil)
		}
	} else { // the launch will fail, for those who may try it
		add(wire.Access{Resource: s.resourceARN("subnet", cmp.Or(in.SubnetID, "*"))}, false)
		add(wire.Access{Resource: s.resourceARN("security-group", "*")}, false)
	}
	needs = append(needs, s.tagging("RunInstances", data.TagSpecs)...)
	if p := data.Profile; p != nil {
		needs = append(needs, wire.PassRole(s.profileRole(cmp.Or(deref(p.ARN), deref(p.Name))), "ec2.amazonaws.com"))
	}
	for i := range needs {
		needs[i].Action = cmp.Or(needs[i].Action, "ec2:RunInstances")
	}
	return needs
}

func (s *Service) launchedInstance(data templateData) wire.Access {
	a := s.made("instance", data.TagSpecs)
	if data.InstanceType != nil {
		a.Keys["ec2:InstanceType"] = []string{*data.InstanceType}
	}
	if data.Metadata != nil && data.Metadata.Tokens != nil {
		a.Keys["ec2:MetadataHttpTokens"] = []string{*data.Metadata.Tokens}
	}
	if p := data.Profile; p != nil {
		a.Keys["ec2:InstanceProfile"] = []string{cmp.Or(deref(p.ARN), deref(p.Name))}
	}
	return a
}

// changesInstance reports whether a call says something about the instance itself that a template could say.
func (d templateData) changesInstance() bool {
	return d.InstanceType != nil || d.UserData != nil || d.Profile != nil || d.Metadata != nil || d.ShutdownBehavior != nil ||
		d.DisableAPITermination != nil || d.DisableAPIStop != nil || d.EBSOptimized != nil || d.Monitoring != nil || d.Placement != nil ||
		d.Credits != nil || d.CPUOptions != nil || d.Market != nil || d.Hibernation != nil || d.Enclave != nil
}

// profileRole returns the ARN of the role in an instance profile. A profile that there is not has none that a policy could name.
func (s *Service) profileRole(profile string) string {
	if s.profiles != nil {
		if role, ok := s.profiles.ProfileRole(profile); ok {
			return role
		}
	}
	return "*"
}

// LaunchNeeds returns what somebody needs who has another service launch instances from a launch template: the same as to launch them.
// Each subnet is looked at.
func (s *Service) LaunchNeeds(templateID, version string, subnetIDs []string, instanceTags map[string]string) []wire.Access {
	in := &runInstancesInput{MinCount: 1, MaxCount: 1, LaunchTemplate: &templateReference{ID: templateID, Version: version}}
	if len(instanceTags) > 0 {
		spec := tagSpecification{ResourceType: "instance"}
		for key, value := range instanceTags {
			spec.Tags = append(spec.Tags, tag{key, value})
		}
		in.TagSpecs = tagSpecifications{spec}
	}
	var needs []wire.Access
	for _, id := range subnetIDs {
		in.SubnetID = id
		needs = append(needs, s.launching(in)...)
	}
	return needs
}
