package ec2

import (
	"context"
	"encoding/base64"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// templateData is what a launch template holds, and what a launch can be given. It is read from requests, saved and
// answered in this one form, so that everything comes back as it was sent.
type templateData struct {
	Devices               []blockDeviceMapping `query:"BlockDeviceMapping" xml:"blockDeviceMappingSet>item" json:",omitempty"`
	CapacityReservation   *capacityReservation `query:"CapacityReservationSpecification" xml:"capacityReservationSpecification" json:",omitempty"`
	CPUOptions            *cpuOptionsRequest   `query:"CpuOptions" xml:"cpuOptions" json:",omitempty"`
	Credits               *creditSpecification `query:"CreditSpecification" xml:"creditSpecification" json:",omitempty"`
	DisableAPIStop        *bool                `query:"DisableApiStop" xml:"disableApiStop" json:",omitempty"`
	DisableAPITermination *bool                `query:"DisableApiTermination" xml:"disableApiTermination" json:",omitempty"`
	EBSOptimized          *bool                `query:"EbsOptimized" xml:"ebsOptimized" json:",omitempty"`
	Enclave               *enabledRequest      `query:"EnclaveOptions" xml:"enclaveOptions" json:",omitempty"`
	Hibernation           *configuredRequest   `query:"HibernationOptions" xml:"hibernationOptions" json:",omitempty"`
	Profile               *profileRequest      `query:"IamInstanceProfile" xml:"iamInstanceProfile" json:",omitempty"`
	ImageID               *string              `query:"ImageId" xml:"imageId" json:",omitempty"`
	ShutdownBehavior      *string              `query:"InstanceInitiatedShutdownBehavior" xml:"instanceInitiatedShutdownBehavior" json:",omitempty" wire:"enum=stop|terminate"`
	Market                *marketOptions       `query:"InstanceMarketOptions" xml:"instanceMarketOptions" json:",omitempty"`
	InstanceType          *string              `query:"InstanceType" xml:"instanceType" json:",omitempty"`
	KeyName               *string              `query:"KeyName" xml:"keyName" json:",omitempty"`
	Maintenance           *maintenanceOptions  `query:"MaintenanceOptions" xml:"maintenanceOptions" json:",omitempty"`
	Metadata              *metadataRequest     `query:"MetadataOptions" xml:"metadataOptions" json:",omitempty"`
	Monitoring            *enabledRequest      `query:"Monitoring" xml:"monitoring" json:",omitempty"`
	Interfaces            []interfaceRequest   `query:"NetworkInterface" xml:"networkInterfaceSet>item" json:",omitempty"`
	Placement             *placementRequest    `query:"Placement" xml:"placement" json:",omitempty"`
	PrivateDNSName        *privateDNSOptions   `query:"PrivateDnsNameOptions" xml:"privateDnsNameOptions" json:",omitempty"`
	SecurityGroupIDs      []string             `query:"SecurityGroupId" xml:"securityGroupIdSet>item" json:",omitempty"`
	SecurityGroups        []string             `query:"SecurityGroup" xml:"securityGroupSet>item" json:",omitempty"`
	TagSpecs              tagSpecifications    `query:"TagSpecification" xml:"tagSpecificationSet>item" json:",omitempty"`
	UserData              *string              `query:"UserData" xml:"userData" json:",omitempty"`
}

type capacityReservation struct {
	Preference *string `query:"CapacityReservationPreference" xml:"capacityReservationPreference" json:",omitempty" wire:"enum=open|none|capacity-reservations-only"`
}

type cpuOptionsRequest struct {
	AMDSEVSNP *string `query:"AmdSevSnp" xml:"amdSevSnp" json:",omitempty"`
	Cores     *int    `query:"CoreCount" xml:"coreCount" json:",omitempty"`
	Threads   *int    `query:"ThreadsPerCore" xml:"threadsPerCore" json:",omitempty"`
}

type creditSpecification struct {
	CPUCredits *string `query:"CpuCredits" xml:"cpuCredits" json:",omitempty" wire:"required,enum=standard|unlimited"`
}

type enabledRequest struct {
	Enabled *bool `query:"Enabled" xml:"enabled" json:",omitempty"`
}

type configuredRequest struct {
	Configured *bool `query:"Configured" xml:"configured" json:",omitempty"`
}

type profileRequest struct {
	ARN  *string `query:"Arn" xml:"arn" json:",omitempty"`
	Name *string `query:"Name" xml:"name" json:",omitempty"`
}

type marketOptions struct {
	MarketType *string `query:"MarketType" xml:"marketType" json:",omitempty" wire:"enum=spot|capacity-block"`
	Spot       *struct {
		BlockDuration *int    `query:"BlockDurationMinutes" xml:"blockDurationMinutes" json:",omitempty"`
		Interruption  *string `query:"InstanceInterruptionBehavior" xml:"instanceInterruptionBehavior" json:",omitempty"`
		MaxPrice      *string `query:"MaxPrice" xml:"maxPrice" json:",omitempty"`
		InstanceType  *string `query:"SpotInstanceType" xml:"spotInstanceType" json:",omitempty"`
	} `query:"SpotOptions" xml:"spotOptions" json:",omitempty"`
}

type maintenanceOptions struct {
	AutoRecovery *string `query:"AutoRecovery" xml:"autoRecovery" json:",omitempty" wire:"enum=default|disabled"`
}

type metadataRequest struct {
	Endpoint     *string `query:"HttpEndpoint" xml:"httpEndpoint" json:",omitempty" wire:"enum=enabled|disabled"`
	ProtocolIPv6 *string `query:"HttpProtocolIpv6" xml:"httpProtocolIpv6" json:",omitempty" wire:"enum=enabled|disabled"`
	HopLimit     *int    `query:"HttpPutResponseHopLimit" xml:"httpPutResponseHopLimit" json:",omitempty"`
	Tokens       *string `query:"HttpTokens" xml:"httpTokens" json:",omitempty" wire:"enum=required|optional"`
	InstanceTags *string `query:"InstanceMetadataTags" xml:"instanceMetadataTags" json:",omitempty" wire:"enum=enabled|disabled"`
}

type interfaceRequest struct {
	AssociatePublicIP   *bool    `query:"AssociatePublicIpAddress" xml:"associatePublicIpAddress" json:",omitempty"`
	DeleteOnTermination *bool    `query:"DeleteOnTermination" xml:"deleteOnTermination" json:",omitempty"`
	Description         *string  `query:"Description" xml:"description" json:",omitempty"`
	DeviceIndex         *int     `query:"DeviceIndex" xml:"deviceIndex" json:",omitempty"`
	Groups              []string `query:"SecurityGroupId" xml:"groupSet>groupId" json:",omitempty"`
	InterfaceType       *string  `query:"InterfaceType" xml:"interfaceType" json:",omitempty"`
	NetworkCardIndex    *int     `query:"NetworkCardIndex" xml:"networkCardIndex" json:",omitempty"`
	InterfaceID         *string  `query:"NetworkInterfaceId" xml:"networkInterfaceId" json:",omitempty"`
	PrivateIP           *string  `query:"PrivateIpAddress" xml:"privateIpAddress" json:",omitempty"`
	SubnetID            *string  `query:"SubnetId" xml:"subnetId" json:",omitempty"`
}

type placementRequest struct {
	Affinity  *string `query:"Affinity" xml:"affinity" json:",omitempty"`
	Zone      *string `query:"AvailabilityZone" xml:"availabilityZone" json:",omitempty"`
	GroupName *string `query:"GroupName" xml:"groupName" json:",omitempty"`
	HostID    *string `query:"HostId" xml:"hostId" json:",omitempty"`
	Tenancy   *string `query:"Tenancy" xml:"tenancy" json:",omitempty" wire:"enum=default|dedicated|host"`
}

type privateDNSOptions struct {
	AAAARecord   *bool   `query:"EnableResourceNameDnsAAAARecord" xml:"enableResourceNameDnsAAAARecord" json:",omitempty"`
	ARecord      *bool   `query:"EnableResourceNameDnsARecord" xml:"enableResourceNameDnsARecord" json:",omitempty"`
	HostnameType *string `query:"HostnameType" xml:"hostnameType" json:",omitempty" wire:"enum=ip-name|resource-name"`
}

// with returns the data with other data on top: what that has replaces the whole parameter.
func (d templateData) with(over templateData) templateData {
	to, from := reflect.ValueOf(&d).Elem(), reflect.ValueOf(over)
	for n := range from.NumField() {
		if f := from.Field(n); !f.IsNil() { // they are all pointers and slices
			to.Field(n).Set(f)
		}
	}
	return d
}

// launchable refuses what a template may hold but no instance here can have.
func (d templateData) launchable() error {
	refuse := func(what string) error {
		return wire.Errorf("Unsupported", "The local cloud's instances cannot have this: %s", what)
	}
	switch {
	case d.Market != nil && d.Market.MarketType != nil:
		return refuse("a market type of " + *d.Market.MarketType)
	case d.Enclave != nil && deref(d.Enclave.Enabled):
		return refuse("enclaves")
	case d.Hibernation != nil && deref(d.Hibernation.Configured):
		return refuse("hibernation")
	case d.CPUOptions != nil && deref(d.CPUOptions.AMDSEVSNP) == "enabled":
		return refuse("AMD SEV-SNP")
	case len(d.Interfaces) > 1:
		return refuse("more than one network interface")
	}
	for _, n := range d.Interfaces {
		switch {
		case deref(n.DeviceIndex) != 0:
			return wire.Errorf("InvalidParameterValue", "The first network interface must have device index 0")
		case n.InterfaceID != nil:
			return refuse("a network interface made before")
		case n.PrivateIP != nil:
			return refuse("a private address that the machine does not choose")
		}
	}
	if p := d.Placement; p != nil {
		switch {
		case p.Tenancy != nil && *p.Tenancy != "default":
			return refuse("a tenancy of " + *p.Tenancy)
		case deref(p.GroupName) != "" || deref(p.HostID) != "":
			return refuse("a placement group or host")
		}
	}
	return nil
}

// check refuses data that no launch could use.
func (d templateData) check() error {
	if d.UserData != nil {
		if _, err := base64.StdEncoding.DecodeString(*d.UserData); err != nil {
			return wire.Errorf("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
		}
	}
	if d.ImageID != nil && !imageID.MatchString(*d.ImageID) {
		return wire.Errorf("InvalidAMIID.Malformed", `The image ID '%s' is not valid. The expected format is ami-xxxxxxxx or ami-xxxxxxxxxxxxxxxxx.`, *d.ImageID)
	}
	for _, spec := range d.TagSpecs {
		if err := spec.Tags.check(); err != nil {
			return err
		}
	}
	return nil
}

// launchTemplate is a launch template with its versions.
type launchTemplate struct {
	ID          string
	Name        string
	ClientToken string
	Created     time.Time
	CreatedBy   string
	Default     int64
	Latest      int64 // the number of the last one made, which is not used again when that is deleted
	Versions    []*templateVersion
	Tags        tags
}

type templateVersion struct {
	Number      int64
	Description string
	ClientToken string
	Created     time.Time
	Data        templateData
}

func (t *launchTemplate) key() (time.Time, string) { return t.Created, t.ID }
func (t *launchTemplate) tagged() tags             { return t.Tags }

func (t *launchTemplate) attribute(name string) ([]string, bool) {
	switch name {
	case "create-time":
		return []string{timestamp(t.Created)}, true
	case "launch-template-name":
		return []string{t.Name}, true
	}
	return nil, false
}

func (t *launchTemplate) version(number int64) *templateVersion {
	for _, v := range t.Versions {
		if v.Number == number {
			return v
		}
	}
	return nil
}

// latest returns the number of the newest version that there is.
func (t *launchTemplate) latest() int64 { return t.Versions[len(t.Versions)-1].Number }

// resolve finds a version by its number, $Latest or $Default.
func (t *launchTemplate) resolve(version string) (*templateVersion, error) {
	var number int64
	switch version {
	case "", "$Default":
		number = t.Default
	case "$Latest":
		number = t.latest()
	default:
		n, err := strconv.ParseInt(version, 10, 64)
		if err != nil || n < 1 {
			return nil, wire.Errorf("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version %s for the launch template with ID %s.", version, t.ID)
		}
		number = n
	}
	v := t.version(number)
	if v == nil {
		return nil, wire.Errorf("InvalidLaunchTemplateId.VersionNotFound", "Could not find the specified version %d for the launch template with ID %s.", number, t.ID)
	}
	return v, nil
}

// templateReference names a version of a launch template in a launch.
type templateReference struct {
	ID      string `query:"LaunchTemplateId"`
	Name    string `query:"LaunchTemplateName"`
	Version string `query:"Version"`
}

func templateIDNotFound(id string) error {
	return notFound("InvalidLaunchTemplateId.NotFound", "launch template ID", id)
}

// template finds a version of a launch template. The caller holds the lock.
func (s *Service) template(ref templateReference) (*launchTemplate, *templateVersion, error) {
	t, err := s.templateNamed(ref.ID, ref.Name)
	if err != nil {
		return nil, nil, err
	}
	v, err := t.resolve(ref.Version)
	return t, v, err
}

// templateNamed finds a launch template by one of its ID and name. The caller holds the lock.
func (s *Service) templateNamed(id, name string) (*launchTemplate, error) {
	switch {
	case id == "" && name == "":
		return nil, missing("LaunchTemplateId", "LaunchTemplateName")
	case id != "" && name != "":
		return nil, wire.Errorf("InvalidParameterCombination", "The parameters LaunchTemplateId and LaunchTemplateName cannot be used together")
	case id != "":
		if t := s.state.Templates[id]; t != nil {
			return t, nil
		}
		return nil, templateIDNotFound(id)
	}
	for _, t := range s.state.Templates {
		if t.Name == name {
			return t, nil
		}
	}
	return nil, wire.Errorf("InvalidLaunchTemplateName.NotFoundException", "The specified launch template, with template name %s, does not exist.", name)
}

type templateView struct {
	ID        string    `xml:"launchTemplateId"`
	Name      string    `xml:"launchTemplateName"`
	Created   time.Time `xml:"createTime"`
	CreatedBy string    `xml:"createdBy"`
	Default   int64     `xml:"defaultVersionNumber"`
	Latest    int64     `xml:"latestVersionNumber"`
	Tags      tags      `xml:"tagSet>item"`
}

func viewTemplate(t *launchTemplate) templateView {
	return templateView{t.ID, t.Name, t.Created, t.CreatedBy, t.Default, t.latest(), t.Tags}
}

type versionView struct {
	TemplateID  string       `xml:"launchTemplateId"`
	Name        string       `xml:"launchTemplateName"`
	Number      int64        `xml:"versionNumber"`
	Description string       `xml:"versionDescription,omitempty"`
	Created     time.Time    `xml:"createTime"`
	CreatedBy   string       `xml:"createdBy"`
	Default     bool         `xml:"defaultVersion"`
	Data        templateData `xml:"launchTemplateData"`
}

func viewVersion(t *launchTemplate, v *templateVersion) versionView {
	return versionView{t.ID, t.Name, v.Number, v.Description, v.Created, t.CreatedBy, v.Number == t.Default, v.Data}
}

func (s *Service) launchTemplateActions() map[string]wire.Action {
	return map[string]wire.Action{
		"CreateLaunchTemplate": wire.Do(s.createLaunchTemplate, func(in *createLaunchTemplateInput) []wire.Access {
			return s.making("CreateLaunchTemplate", "launch-template", in.TagSpecs)
		}),
		"CreateLaunchTemplateVersion":    wire.Do(s.createLaunchTemplateVersion, func(in *createTemplateVersionInput) []wire.Access { return []wire.Access{s.onTemplate(in.ID, in.Name)} }),
		"DeleteLaunchTemplate":           wire.Do(s.deleteLaunchTemplate, func(in *templateChoice) []wire.Access { return []wire.Access{s.onTemplate(in.ID, in.Name)} }),
		"DescribeLaunchTemplateVersions": wire.DoUnscoped(s.describeLaunchTemplateVersions),
		"DescribeLaunchTemplates":        wire.DoUnscoped(s.describeLaunchTemplates),
		"ModifyLaunchTemplate":           wire.Do(s.modifyLaunchTemplate, func(in *modifyLaunchTemplateInput) []wire.Access { return []wire.Access{s.onTemplate(in.ID, in.Name)} }),
	}
}

type createLaunchTemplateInput struct {
	Name        string            `query:"LaunchTemplateName" wire:"required"`
	Description string            `query:"VersionDescription"`
	Data        templateData      `query:"LaunchTemplateData" wire:"required"`
	ClientToken string            `query:"ClientToken"`
	TagSpecs    tagSpecifications `query:"TagSpecification"`
}

type launchTemplateOutput struct {
	Template templateView `xml:"launchTemplate"`
}

var templateName = regexp.MustCompile(`^[a-zA-Z0-9().\-/_]{3,128}$`)

func (s *Service) createLaunchTemplate(_ context.Context, in *createLaunchTemplateInput) (*launchTemplateOutput, error) {
	if !templateName.MatchString(in.Name) {
		return nil, wire.Errorf("InvalidLaunchTemplateName.MalformedException", "Launch template names have 3 to 128 letters, numbers and the characters - ( ) . / _")
	}
	if err := in.Data.check(); err != nil {
		return nil, err
	}
	tagged, err := in.TagSpecs.of("launch-template")
	if err != nil {
		return nil, err
	}
	out := &launchTemplateOutput{}
	err = s.change(func() error {
		for _, t := range s.state.Templates {
			if in.ClientToken != "" && t.ClientToken == in.ClientToken {
				out.Template = viewTemplate(t)
				return nil
			}
			if t.Name == in.Name {
				return wire.Errorf("InvalidLaunchTemplateName.AlreadyExistsException", "Launch template name already in use.")
			}
		}
		t := &launchTemplate{
			ID: newID("lt"), Name: in.Name, ClientToken: in.ClientToken, Created: now(), CreatedBy: s.creator(),
			Default: 1, Latest: 1, Tags: tagged,
		}
		t.Versions = []*templateVersion{{Number: 1, Description: in.Description, Created: t.Created, Data: in.Data}}
		s.state.Templates[t.ID] = t
		out.Template = viewTemplate(t)
		return nil
	})
	return out, err
}

// creator is the ARN of who makes resources: the account's root user.
func (s *Service) creator() string { return "arn:aws:iam::" + s.account + ":root" }

// templateChoice names a launch template by ID or name.
type templateChoice struct {
	ID   string `query:"LaunchTemplateId"`
	Name string `query:"LaunchTemplateName"`
}

type createTemplateVersionInput struct {
	templateChoice
	Description   string       `query:"VersionDescription"`
	SourceVersion string       `query:"SourceVersion"`
	Data          templateData `query:"LaunchTemplateData"`
	ClientToken   string       `query:"ClientToken"`
	ResolveAlias  bool         `query:"ResolveAlias"` // no image here is an alias
}

type templateVersionOutput struct {
	Version versionView `xml:"launchTemplateVersion"`
}

func (s *Service) createLaunchTemplateVersion(_ context.Context, in *createTemplateVersionInput) (*templateVersionOutput, error) {
	if err := in.Data.check(); err != nil {
		return nil, err
	}
	out := &templateVersionOutput{}
	err := s.change(func() error {
		t, err := s.templateNamed(in.ID, in.Name)
		if err != nil {
			return err
		}
		for _, v := range t.Versions {
			if in.ClientToken != "" && v.ClientToken == in.ClientToken {
				out.Version = viewVersion(t, v)
				return nil
			}
		}
		data := in.Data
		if in.SourceVersion != "" {
			source, err := t.resolve(in.SourceVersion)
			if err != nil {
				return err
			}
			data = source.Data.with(data)
		}
		t.Latest++
		v := &templateVersion{Number: t.Latest, Description: in.Description, ClientToken: in.ClientToken, Created: now(), Data: data}
		t.Versions = append(t.Versions, v)
		out.Version = viewVersion(t, v)
		return nil
	})
	return out, err
}

type describeLaunchTemplatesInput struct {
	IDs     []string `query:"LaunchTemplateId"`
	Names   []string `query:"LaunchTemplateName"`
	Filters filters  `query:"Filter"`
	paging
}

type describeLaunchTemplatesOutput struct {
	Templates []templateView `xml:"launchTemplates>item"`
	NextToken string         `xml:"nextToken,omitempty"`
}

func (s *Service) describeLaunchTemplates(_ context.Context, in *describeLaunchTemplatesInput) (*describeLaunchTemplatesOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	var all []*launchTemplate
	for _, id := range in.IDs {
		t, err := s.templateNamed(id, "")
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	for _, name := range in.Names {
		t, err := s.templateNamed("", name)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	if len(in.IDs)+len(in.Names) == 0 {
		for _, t := range s.state.Templates {
			all = append(all, t)
		}
	}
	found, next, err := describe(in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeLaunchTemplatesOutput{NextToken: next}
	for _, t := range found {
		out.Templates = append(out.Templates, viewTemplate(t))
	}
	return out, nil
}

// versionOf is a version with its template, for filters and pages.
type versionOf struct {
	template *launchTemplate
	*templateVersion
}

// key sorts by number: the versions of one template come in their order.
func (v *versionOf) key() (time.Time, string) {
	return time.Time{}, fmt.Sprintf("%s %020d", v.template.ID, v.Number)
}
func (v *versionOf) tagged() tags { return nil }

func (v *versionOf) attribute(name string) ([]string, bool) {
	if v.template == nil {
		v = &versionOf{&launchTemplate{}, &templateVersion{}}
	}
	d := v.Data
	switch name {
	case "create-time":
		return []string{timestamp(v.Created)}, true
	case "ebs-optimized":
		return []string{boolString(deref(d.EBSOptimized))}, true
	case "image-id":
		return single(deref(d.ImageID)), true
	case "instance-type":
		return single(deref(d.InstanceType)), true
	case "is-default-version":
		return []string{boolString(v.Number == v.template.Default)}, true
	case "iam-instance-profile":
		if d.Profile == nil {
			return nil, true
		}
		return append(single(deref(d.Profile.ARN)), single(deref(d.Profile.Name))...), true
	case "http-endpoint", "http-tokens":
		switch {
		case d.Metadata == nil:
			return nil, true
		case name == "http-endpoint":
			return single(deref(d.Metadata.Endpoint)), true
		}
		return single(deref(d.Metadata.Tokens)), true
	case "kernel-id", "ram-disk-id":
		return nil, true
	}
	return nil, false
}

type describeTemplateVersionsInput struct {
	templateChoice
	Versions     []string `query:"LaunchTemplateVersion"`
	MinVersion   string   `query:"MinVersion"`
	MaxVersion   string   `query:"MaxVersion"`
	Filters      filters  `query:"Filter"`
	ResolveAlias bool     `query:"ResolveAlias"`
	paging
}

type describeTemplateVersionsOutput struct {
	Versions  []versionView `xml:"launchTemplateVersionSet>item"`
	NextToken string        `xml:"nextToken,omitempty"`
}

func (s *Service) describeLaunchTemplateVersions(_ context.Context, in *describeTemplateVersionsInput) (*describeTemplateVersionsOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	var all []*versionOf
	add := func(t *launchTemplate, v *templateVersion) {
		if !slices.ContainsFunc(all, func(o *versionOf) bool { return o.templateVersion == v }) { // $Latest may be $Default
			all = append(all, &versionOf{t, v})
		}
	}
	if in.ID == "" && in.Name == "" { // of all templates: only their latest or default versions
		if len(in.Versions) == 0 {
			return nil, missing("LaunchTemplateId", "LaunchTemplateName")
		}
		for _, version := range in.Versions {
			if version != "$Latest" && version != "$Default" {
				return nil, missing("LaunchTemplateId", "LaunchTemplateName")
			}
			for _, t := range s.state.Templates {
				v, err := t.resolve(version)
				if err != nil {
					return nil, err
				}
				add(t, v)
			}
		}
	} else {
		t, err := s.templateNamed(in.ID, in.Name)
		if err != nil {
			return nil, err
		}
		for _, version := range in.Versions {
			v, err := t.resolve(version)
			if err != nil {
				return nil, err
			}
			add(t, v)
		}
		if len(in.Versions) == 0 {
			low, high := int64(1), t.Latest
			for _, bound := range []struct {
				given string
				into  *int64
			}{{in.MinVersion, &low}, {in.MaxVersion, &high}} { // no map: both may be the same
				if bound.given == "" {
					continue
				}
				if *bound.into, err = strconv.ParseInt(bound.given, 10, 64); err != nil {
					return nil, wire.Errorf("InvalidParameterValue", "'%s' is no version number", bound.given)
				}
			}
			for _, v := range t.Versions {
				if low <= v.Number && v.Number <= high {
					add(t, v)
				}
			}
		}
	}
	found, next, err := describe(in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeTemplateVersionsOutput{NextToken: next}
	for _, v := range found {
		out.Versions = append(out.Versions, viewVersion(v.template, v.templateVersion))
	}
	return out, nil
}

type modifyLaunchTemplateInput struct {
	templateChoice
	DefaultVersion string `query:"SetDefaultVersion"`
	ClientToken    string `query:"ClientToken"` // doing it again changes nothing
}

func (s *Service) modifyLaunchTemplate(_ context.Context, in *modifyLaunchTemplateInput) (*launchTemplateOutput, error) {
	out := &launchTemplateOutput{}
	err := s.change(func() error {
		t, err := s.templateNamed(in.ID, in.Name)
		if err != nil {
			return err
		}
		if in.DefaultVersion != "" {
			v, err := t.resolve(in.DefaultVersion)
			if err != nil {
				return err
			}
			t.Default = v.Number
		}
		out.Template = viewTemplate(t)
		return nil
	})
	return out, err
}

func (s *Service) deleteLaunchTemplate(_ context.Context, in *templateChoice) (*launchTemplateOutput, error) {
	out := &launchTemplateOutput{}
	err := s.change(func() error {
		t, err := s.templateNamed(in.ID, in.Name)
		if err != nil {
			return err
		}
		delete(s.state.Templates, t.ID)
		out.Template = viewTemplate(t)
		return nil
	})
	return out, err
}
