package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// instance is what is known of an instance. What its machine is doing, compute knows.
type instance struct {
	ID            string
	ReservationID string
	Index         int
	ClientToken   string
	RequestDigest string // of the request that the client token stands for
	Launched      time.Time
	Ended         time.Time // when it was terminated
	Booted        bool      // it has been running

	ImageID      string
	ImageRef     string // compute's reference
	ImageIMDS    string
	Architecture string
	Type         string
	KeyName      string
	PublicKeys   []string
	UserData     string // base64
	VPCID        string
	SubnetID     string
	Zone         string
	Groups       []string
	Interface    networkInterface
	VolumeID     string
	WantsPublic  bool // has a public address whenever it runs
	PublicIP     netip.Addr
	PrivateIP    netip.Addr

	State       string
	StateReason stateReason
	Reason      string // of the last transition, in words

	Console     string    `json:",omitempty"` // its end, once the machine is gone
	ConsoleRead time.Time `json:",omitzero"`

	ShutdownBehavior      string
	DisableAPITermination bool
	DisableAPIStop        bool
	EBSOptimized          bool
	NoSourceDestCheck     bool
	Monitoring            bool
	CPUCredits            string
	Tenancy               string
	Profile               *iamProfile
	Metadata              metadataOptions
	TemplateID            string
	TemplateVersion       int64
	Tags                  tags
}

// networkInterface is an instance's only one.
type networkInterface struct {
	ID           string
	AttachmentID string
	MAC          string
	Description  string
	Tags         tags
}

// ended tells whether the instance is terminated, and only shown for a while.
func (i *instance) ended() bool { return i.State == stateTerminated }

func (i *instance) key() (time.Time, string) { return i.Launched, i.ID }
func (i *instance) tagged() tags             { return i.Tags }

// spec is the machine to create for the instance.
func (i *instance) spec() compute.Spec {
	data, _ := base64.StdEncoding.DecodeString(i.UserData) // checked at the launch
	return compute.Spec{
		ID: i.ID, Image: i.ImageRef, Hostname: i.ID, AuthorizedKeys: i.PublicKeys, UserData: data,
	}
}

func (i *instance) attribute(name string) ([]string, bool) {
	here := func(v string) ([]string, bool) { // what a terminated instance no longer has
		if i.ended() {
			return nil, true
		}
		return single(v), true
	}
	switch name {
	case "affinity", "instance-lifecycle", "ipv6-address", "kernel-id", "platform", "product-code", "ramdisk-id":
		return nil, true // no instance here has any
	case "architecture":
		return []string{i.Architecture}, true
	case "availability-zone", "placement.availability-zone":
		return []string{i.Zone}, true
	case "block-device-mapping.device-name", "root-device-name":
		return []string{rootDevice}, true
	case "block-device-mapping.volume-id":
		return here(i.VolumeID)
	case "client-token":
		return single(i.ClientToken), true
	case "dns-name":
		return nil, true
	case "group-id", "instance.group-id":
		if i.ended() {
			return nil, true
		}
		return i.Groups, true
	case "iam-instance-profile.arn":
		if i.Profile == nil {
			return nil, true
		}
		return []string{i.Profile.ARN}, true
	case "image-id":
		return []string{i.ImageID}, true
	case "instance-id":
		return []string{i.ID}, true
	case "instance-state-code":
		return []string{fmt.Sprint(stateCode(i.State))}, true
	case "instance-state-name":
		return []string{i.State}, true
	case "instance-type":
		return []string{i.Type}, true
	case "ip-address", "network-interface.addresses.association.public-ip":
		return addrStrings(i.PublicIP), true
	case "key-name":
		return single(i.KeyName), true
	case "launch-index":
		return []string{fmt.Sprint(i.Index)}, true
	case "launch-time":
		return []string{timestamp(i.Launched)}, true
	case "monitoring-state":
		return []string{monitoringState(i.Monitoring)}, true
	case "network-interface.network-interface-id":
		return here(i.Interface.ID)
	case "private-ip-address", "network-interface.addresses.private-ip-address":
		return addrStrings(i.PrivateIP), true
	case "reservation-id":
		return []string{i.ReservationID}, true
	case "root-device-type":
		return []string{"ebs"}, true
	case "state-reason-code":
		return single(i.StateReason.Code), true
	case "subnet-id", "network-interface.subnet-id":
		return here(i.SubnetID)
	case "tenancy":
		return []string{i.Tenancy}, true
	case "virtualization-type":
		return []string{"hvm"}, true
	case "vpc-id", "network-interface.vpc-id":
		return here(i.VPCID)
	}
	return nil, false
}

func addrStrings(a netip.Addr) []string {
	if !a.IsValid() {
		return nil
	}
	return []string{a.String()}
}

func addrString(a netip.Addr) string { return strings.Join(addrStrings(a), "") }

func monitoringState(on bool) string {
	if on {
		return "enabled"
	}
	return "disabled"
}

// stateCode is the number that EC2 gives a state.
func stateCode(state string) int {
	return slices.Index([]string{statePending, stateRunning, stateShuttingDown, stateTerminated, stateStopping, stateStopped}, state) * 16
}

type instanceState struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

func viewState(state string) instanceState { return instanceState{stateCode(state), state} }

type iamProfile struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

// metadataOptions are kept; there is no metadata service here.
type metadataOptions struct {
	State        string `xml:"state"`
	Tokens       string `xml:"httpTokens"`
	HopLimit     int    `xml:"httpPutResponseHopLimit"`
	Endpoint     string `xml:"httpEndpoint"`
	ProtocolIPv6 string `xml:"httpProtocolIpv6"`
	InstanceTags string `xml:"instanceMetadataTags"`
}

// with returns the options with those of a request on top.
func (m metadataOptions) with(r *metadataRequest) metadataOptions {
	if r == nil {
		return m
	}
	set := func(into *string, v *string) {
		if v != nil {
			*into = *v
		}
	}
	set(&m.Tokens, r.Tokens)
	set(&m.Endpoint, r.Endpoint)
	set(&m.ProtocolIPv6, r.ProtocolIPv6)
	set(&m.InstanceTags, r.InstanceTags)
	if r.HopLimit != nil {
		m.HopLimit = *r.HopLimit
	}
	return m
}

type groupView struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

// groupViews names groups. The caller holds s.mu.
func (s *Service) groupViews(ids []string) []groupView {
	var views []groupView
	for _, id := range ids {
		if g := s.state.Groups[id]; g != nil {
			views = append(views, groupView{g.ID, g.Name})
		}
	}
	return views
}

type instanceDevice struct {
	DeviceName string `xml:"deviceName"`
	EBS        struct {
		VolumeID            string    `xml:"volumeId"`
		Status              string    `xml:"status"`
		AttachTime          time.Time `xml:"attachTime"`
		DeleteOnTermination bool      `xml:"deleteOnTermination"`
	} `xml:"ebs"`
}

type placementView struct {
	Zone      string `xml:"availabilityZone"`
	GroupName string `xml:"groupName"`
	Tenancy   string `xml:"tenancy"`
}

type cpuOptionsView struct {
	Cores   int `xml:"coreCount"`
	Threads int `xml:"threadsPerCore"`
}

type enabledView struct {
	Enabled bool `xml:"enabled"`
}

type configuredView struct {
	Configured bool `xml:"configured"`
}

type stateView struct {
	State string `xml:"state"`
}

type instanceView struct {
	InstanceID         string           `xml:"instanceId"`
	ImageID            string           `xml:"imageId"`
	State              instanceState    `xml:"instanceState"`
	PrivateDNSName     string           `xml:"privateDnsName"`
	DNSName            string           `xml:"dnsName"`
	Reason             string           `xml:"reason"`
	StateReason        *stateReason     `xml:"stateReason"`
	KeyName            string           `xml:"keyName,omitempty"`
	Index              int              `xml:"amiLaunchIndex"`
	Type               string           `xml:"instanceType"`
	LaunchTime         time.Time        `xml:"launchTime"`
	Placement          placementView    `xml:"placement"`
	Monitoring         stateView        `xml:"monitoring"`
	SubnetID           string           `xml:"subnetId,omitempty"`
	VPCID              string           `xml:"vpcId,omitempty"`
	PrivateIP          string           `xml:"privateIpAddress,omitempty"`
	PublicIP           string           `xml:"ipAddress,omitempty"`
	SourceDestCheck    bool             `xml:"sourceDestCheck"`
	Groups             []groupView      `xml:"groupSet>item"`
	Architecture       string           `xml:"architecture"`
	RootDeviceType     string           `xml:"rootDeviceType"`
	RootDeviceName     string           `xml:"rootDeviceName"`
	Devices            []instanceDevice `xml:"blockDeviceMapping>item"`
	VirtualizationType string           `xml:"virtualizationType"`
	Hypervisor         string           `xml:"hypervisor"`
	ClientToken        string           `xml:"clientToken"`
	Tags               tags             `xml:"tagSet>item"`
	Interfaces         []interfaceView  `xml:"networkInterfaceSet>item"`
	Profile            *iamProfile      `xml:"iamInstanceProfile"`
	EBSOptimized       bool             `xml:"ebsOptimized"`
	ENASupport         bool             `xml:"enaSupport"`
	CPUOptions         cpuOptionsView   `xml:"cpuOptions"`
	Hibernation        configuredView   `xml:"hibernationOptions"`
	Enclave            enabledView      `xml:"enclaveOptions"`
	Metadata           *metadataOptions `xml:"metadataOptions"`
	BootMode           string           `xml:"bootMode"`
	PlatformDetails    string           `xml:"platformDetails"`
	UsageOperation     string           `xml:"usageOperation"`
}

// viewInstance shows an instance. The caller holds s.mu.
func (s *Service) viewInstance(i *instance) instanceView {
	v := instanceView{
		InstanceID: i.ID, ImageID: i.ImageID, State: viewState(i.State), Reason: i.Reason, StateReason: i.StateReason.reason(),
		KeyName: i.KeyName, Index: i.Index, Type: i.Type, LaunchTime: i.Launched,
		Placement: placementView{Zone: i.Zone, Tenancy: i.Tenancy}, Monitoring: stateView{monitoringState(i.Monitoring)},
		Architecture: i.Architecture, RootDeviceType: "ebs", RootDeviceName: rootDevice, VirtualizationType: "hvm",
		Hypervisor: "xen", ClientToken: i.ClientToken, Tags: i.Tags, Profile: i.Profile, EBSOptimized: i.EBSOptimized,
		ENASupport: true, BootMode: "uefi-preferred", PlatformDetails: "Linux/UNIX", UsageOperation: "RunInstances",
	}
	if t, ok := instanceTypeNamed(i.Type); ok {
		v.CPUOptions = cpuOptionsView{t.cores(), t.threads()}
	}
	if i.ended() {
		return v
	}
	v.SubnetID, v.VPCID = i.SubnetID, i.VPCID
	v.PrivateIP, v.PublicIP = addrString(i.PrivateIP), addrString(i.PublicIP)
	v.PrivateDNSName = s.privateName(i.PrivateIP)
	v.SourceDestCheck = !i.NoSourceDestCheck
	v.Groups = s.groupViews(i.Groups)
	metadata := i.Metadata
	v.Metadata = &metadata
	v.Interfaces = []interfaceView{s.viewInterface(i)}
	if vol := s.state.Volumes[i.VolumeID]; vol != nil {
		d := instanceDevice{DeviceName: rootDevice}
		d.EBS.VolumeID, d.EBS.Status = vol.ID, "attached"
		d.EBS.AttachTime, d.EBS.DeleteOnTermination = vol.Created, vol.DeleteOnTermination
		v.Devices = []instanceDevice{d}
	}
	return v
}

// privateName is the DNS name that EC2 would give to a private address.
func (s *Service) privateName(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	domain := s.region + ".compute.internal"
	if s.region == "us-east-1" {
		domain = "ec2.internal"
	}
	return "ip-" + strings.ReplaceAll(a.String(), ".", "-") + "." + domain
}

type reservationView struct {
	ReservationID string         `xml:"reservationId"`
	OwnerID       string         `xml:"ownerId"`
	Instances     []instanceView `xml:"instancesSet>item"`
}

// reserve puts instances under their reservations. The caller holds s.mu.
func (s *Service) reserve(instances []*instance) []reservationView {
	var views []reservationView
	for _, i := range instances {
		n := slices.IndexFunc(views, func(v reservationView) bool { return v.ReservationID == i.ReservationID })
		if n < 0 {
			n = len(views)
			views = append(views, reservationView{ReservationID: i.ReservationID, OwnerID: s.account})
		}
		views[n].Instances = append(views[n].Instances, s.viewInstance(i))
	}
	return views
}

func (s *Service) instanceActions() map[string]wire.Action {
	return map[string]wire.Action{
		"DescribeInstanceAttribute":            wire.Do(s.describeInstanceAttribute),
		"DescribeInstanceCreditSpecifications": wire.Do(s.describeCreditSpecifications),
		"DescribeInstanceStatus":               wire.Do(s.describeInstanceStatus),
		"DescribeInstanceTypeOfferings":        wire.Do(s.describeInstanceTypeOfferings),
		"DescribeInstanceTypes":                wire.Do(s.describeInstanceTypes),
		"DescribeInstances":                    wire.Do(s.describeInstances),
		"DescribeNetworkInterfaces":            wire.Do(s.describeNetworkInterfaces),
		"DescribeVolumes":                      wire.Do(s.describeVolumes),
		"GetConsoleOutput":                     wire.Do(s.getConsoleOutput),
		"ModifyInstanceAttribute":              wire.Do(s.modifyInstanceAttribute),
		"ModifyInstanceMetadataOptions":        wire.Do(s.modifyMetadataOptions),
		"MonitorInstances":                     wire.Do(s.monitorInstances),
		"RebootInstances":                      wire.Do(s.rebootInstances),
		"RunInstances":                         wire.Do(s.runInstances),
		"StartInstances":                       wire.Do(s.startInstances),
		"StopInstances":                        wire.Do(s.stopInstances),
		"TerminateInstances":                   wire.Do(s.terminateInstances),
		"UnmonitorInstances":                   wire.Do(s.unmonitorInstances),
	}
}

func instanceNotFound(id string) error {
	return wire.Errorf("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
}

var instanceID = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

// instance returns an instance. The caller holds s.mu.
func (s *Service) instance(id string) (*instance, error) {
	if !instanceID.MatchString(id) {
		return nil, wire.Errorf("InvalidInstanceID.Malformed", `Invalid id: "%s"`, id)
	}
	if i := s.state.Instances[id]; i != nil {
		return i, nil
	}
	return nil, instanceNotFound(id)
}

// instances returns the instances with the given IDs. The caller holds s.mu.
func (s *Service) instances(ids []string) ([]*instance, error) {
	var found []*instance
	for _, id := range ids {
		i, err := s.instance(id)
		if err != nil {
			return nil, err
		}
		found = append(found, i)
	}
	return found, nil
}

// selected returns the instances with the given IDs, or all for none. The caller holds s.mu.
func (s *Service) selected(ids []string) ([]*instance, error) {
	s.prune()
	if len(ids) > 0 {
		return s.instances(ids)
	}
	return find(s.state.Instances, nil, "", "")
}

// runInstancesInput has the parameters of a launch template's data, and its own.
type runInstancesInput struct {
	templateData
	MinCount       int                `query:"MinCount" wire:"required"`
	MaxCount       int                `query:"MaxCount" wire:"required"`
	ClientToken    string             `query:"ClientToken" json:"-"`
	LaunchTemplate *templateReference `query:"LaunchTemplate"`
	SubnetID       string             `query:"SubnetId"`

	systemTags tags // with keys that only AWS may set
}

// digest stands for the request, without its client token.
func (in *runInstancesInput) digest() string {
	data, _ := json.Marshal(in) // a struct of plain values
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (s *Service) runInstances(_ context.Context, in *runInstancesInput) (*reservationView, error) {
	launched, err := s.launch(in)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &s.reserve(launched)[0], nil
}

// launch makes the records of new instances and boots them in the background.
func (s *Service) launch(in *runInstancesInput) ([]*instance, error) {
	if in.MinCount < 1 || in.MaxCount < in.MinCount {
		return nil, wire.Errorf("InvalidParameterValue", "MinCount (%d) and MaxCount (%d) must be at least 1, in this order", in.MinCount, in.MaxCount)
	}
	var launched []*instance
	repeated := false
	err := s.change(func() error {
		digest := in.digest()
		if in.ClientToken != "" {
			for _, i := range s.state.Instances {
				if i.ClientToken == in.ClientToken {
					if i.RequestDigest != digest {
						return wire.Errorf("IdempotentParameterMismatch", "The client token '%s' was used with other parameters", in.ClientToken)
					}
					launched = append(launched, i)
				}
			}
			if repeated = launched != nil; repeated {
				slices.SortFunc(launched, func(a, b *instance) int { return a.Index - b.Index })
				return nil
			}
		}
		plan, err := s.plan(in)
		if err != nil {
			return err
		}
		reservation := newID("r")
		for n := range in.MaxCount {
			i := plan.instance // a copy
			i.ID, i.ReservationID, i.Index = newID("i"), reservation, n
			i.ClientToken, i.RequestDigest = in.ClientToken, digest
			i.Launched, i.State = now(), statePending
			i.Interface.ID, i.Interface.AttachmentID = newID("eni"), newID("eni-attach")
			i.Interface.MAC = macAddress(i.Interface.ID)
			i.VolumeID = newID("vol")
			if err := s.allocateAddress(&i); err != nil {
				if n >= in.MinCount {
					break
				}
				for _, i := range launched {
					s.releaseAddress(i)
				}
				launched = nil
				return err
			}
			launched = append(launched, &i)
		}
		for _, i := range launched {
			s.state.Instances[i.ID] = i
			s.state.Volumes[i.VolumeID] = &volume{
				ID: i.VolumeID, InstanceID: i.ID, Zone: i.Zone, Created: i.Launched, Tags: plan.volumeTags, imageEBS: plan.root,
			}
		}
		return nil
	})
	if err != nil || repeated {
		return launched, err
	}
	for _, i := range launched {
		if info, ok := s.Instance(i.ID); ok {
			s.notify(info)
		}
		s.work.Go(func() { s.boot(i.ID) })
	}
	return launched, nil
}

func (s *Service) allocateAddress(i *instance) error {
	if !i.WantsPublic || i.PublicIP.IsValid() {
		return nil
	}
	addr, err := s.addresses.Allocate(i.ID)
	if err != nil {
		return wire.Errorf("InsufficientFreeAddressesInSubnet", "There are not enough free addresses in subnet '%s': %v", i.SubnetID, err)
	}
	i.PublicIP = addr
	return nil
}

// macAddress derives a locally administered address from an ID.
func macAddress(id string) string {
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", sum[0], sum[1], sum[2], sum[3], sum[4])
}

// launchPlan is what a launch request comes to.
type launchPlan struct {
	instance   instance // without what differs between the instances of one request
	root       imageEBS
	volumeTags tags
}

// plan checks a launch request. The caller holds s.mu.
func (s *Service) plan(in *runInstancesInput) (*launchPlan, error) {
	data := in.templateData
	p := &launchPlan{}
	i := &p.instance
	if in.LaunchTemplate != nil {
		t, v, err := s.template(*in.LaunchTemplate)
		if err != nil {
			return nil, err
		}
		i.TemplateID, i.TemplateVersion = t.ID, v.Number
		data = v.Data.with(data)
		data.TagSpecs = slices.Concat(v.Data.TagSpecs, in.TagSpecs) // the only ones that add up
	}
	if err := data.launchable(); err != nil {
		return nil, err
	}
	if data.ImageID == nil {
		return nil, missing("ImageId")
	}
	img, err := s.image(*data.ImageID)
	if err != nil {
		return nil, err
	}
	if img.State != "available" {
		return nil, wire.Errorf("InvalidAMIID.Unavailable", "The image ID '%s' is not available: it is '%s'", img.ID, img.State)
	}
	i.ImageID, i.ImageRef, i.ImageIMDS, i.Architecture = img.ID, img.Ref, img.IMDSSupport, img.Architecture

	i.Type = "m1.small" // the API's default, which is of the past: refused below unless one is given
	if data.InstanceType != nil {
		i.Type = *data.InstanceType
	}
	kind, ok := instanceTypeNamed(i.Type)
	if !ok {
		return nil, wire.Errorf("InvalidParameterValue", "Invalid value '%s' for InstanceType.", i.Type)
	}
	if kind.architecture != img.Architecture {
		return nil, wire.Errorf("InvalidParameterValue", "The architecture '%s' of the specified instance type does not match the architecture '%s' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.", kind.architecture, img.Architecture)
	}
	if name := deref(data.KeyName); name != "" {
		pair := s.keyPairNamed(name)
		if pair == nil {
			return nil, wire.Errorf("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", name)
		}
		i.KeyName, i.PublicKeys = name, []string{pair.PublicKey}
	}
	if err := s.planNetwork(i, in, &data); err != nil {
		return nil, err
	}
	if i.UserData = deref(data.UserData); i.UserData != "" {
		decoded, err := base64.StdEncoding.DecodeString(i.UserData)
		if err != nil {
			return nil, wire.Errorf("InvalidParameterValue", "Invalid BASE64 encoding of user data")
		}
		if len(decoded) > 16<<10 { // AWS's limit
			return nil, wire.Errorf("InvalidParameterValue", "User data is limited to 16384 bytes")
		}
	}
	if p.root, err = rootFrom(img.Devices[0].EBS, data.Devices); err != nil {
		return nil, err
	}
	i.Metadata = metadataOptions{
		State: "applied", Tokens: "optional", HopLimit: 1, Endpoint: "enabled", ProtocolIPv6: "disabled", InstanceTags: "disabled",
	}
	if img.IMDSSupport == "v2.0" {
		i.Metadata.Tokens, i.Metadata.HopLimit = "required", 2
	}
	i.Metadata = i.Metadata.with(data.Metadata)
	if profile := data.Profile; profile != nil && deref(profile.ARN)+deref(profile.Name) != "" {
		arn := deref(profile.ARN)
		if arn == "" {
			arn = fmt.Sprintf("arn:aws:iam::%s:instance-profile/%s", s.account, deref(profile.Name))
		}
		sum := sha256.Sum256([]byte(arn))
		i.Profile = &iamProfile{ARN: arn, ID: "AIPA" + strings.ToUpper(hex.EncodeToString(sum[:]))[:17]}
	}
	i.ShutdownBehavior = "stop"
	if data.ShutdownBehavior != nil {
		i.ShutdownBehavior = *data.ShutdownBehavior
	}
	i.DisableAPITermination, i.DisableAPIStop = deref(data.DisableAPITermination), deref(data.DisableAPIStop)
	i.EBSOptimized = deref(data.EBSOptimized)
	i.Monitoring = data.Monitoring != nil && deref(data.Monitoring.Enabled)
	if kind.burstable() {
		i.CPUCredits = "unlimited"
		if strings.HasPrefix(i.Type, "t2.") {
			i.CPUCredits = "standard"
		}
		if data.Credits != nil {
			i.CPUCredits = deref(data.Credits.CPUCredits)
		}
	}
	i.Tenancy = "default"

	launches := []string{"instance", "volume", "network-interface", "spot-instances-request"}
	if i.Tags, err = data.TagSpecs.of("instance", launches...); err != nil {
		return nil, err
	}
	if p.volumeTags, err = data.TagSpecs.of("volume", launches...); err != nil {
		return nil, err
	}
	if i.Interface.Tags, err = data.TagSpecs.of("network-interface", launches...); err != nil {
		return nil, err
	}
	if in.LaunchTemplate != nil { // as EC2 tags what comes from a template
		i.Tags = i.Tags.with(tags{
			{"aws:ec2launchtemplate:id", i.TemplateID}, {"aws:ec2launchtemplate:version", fmt.Sprint(i.TemplateVersion)},
		})
	}
	i.Tags = i.Tags.with(in.systemTags)
	return p, nil
}

// planNetwork finds a launch's subnet and security groups. The caller holds s.mu.
func (s *Service) planNetwork(i *instance, in *runInstancesInput, data *templateData) error {
	subnetID, groups := in.SubnetID, data.SecurityGroupIDs
	var public *bool
	if len(data.Interfaces) > 0 {
		n := data.Interfaces[0]
		if len(data.SecurityGroupIDs) > 0 || len(data.SecurityGroups) > 0 {
			return wire.Errorf("InvalidParameterCombination", "Network interfaces and an instance-level security groups may not be specified on the same request")
		}
		if subnetID == "" {
			subnetID = deref(n.SubnetID)
		} else if n.SubnetID != nil && *n.SubnetID != subnetID || len(in.Interfaces) > 0 {
			return wire.Errorf("InvalidParameterCombination", "Network interfaces and an instance-level subnet ID may not be specified on the same request")
		}
		groups, public = n.Groups, n.AssociatePublicIP
		i.Interface.Description = deref(n.Description)
	}
	var net *subnet
	if subnetID != "" {
		if net = s.state.Subnets[subnetID]; net == nil {
			return subnetNotFound(subnetID)
		}
	} else {
		zone := ""
		if data.Placement != nil {
			zone = deref(data.Placement.Zone)
		}
		if net = s.defaultSubnet(zone); net == nil {
			return wire.Errorf("MissingInput", "No subnets found for the default VPC '%s' in zone '%s'. Please specify a subnet.", s.defaultVPC(), zone)
		}
	}
	i.SubnetID, i.VPCID, i.Zone = net.ID, net.VPCID, net.Zone
	i.WantsPublic = net.MapPublicIP
	if public != nil {
		i.WantsPublic = *public
	}
	groups = slices.Clone(groups)
	for _, name := range data.SecurityGroups {
		g := s.groupNamed(net.VPCID, name)
		if g == nil {
			return wire.Errorf("InvalidGroup.NotFound", "The security group '%s' does not exist in VPC '%s'", name, net.VPCID)
		}
		groups = append(groups, g.ID)
	}
	if len(groups) == 0 {
		groups = []string{s.groupNamed(net.VPCID, "default").ID}
	}
	if err := s.checkGroups(groups, net.VPCID); err != nil {
		return err
	}
	i.Groups = slices.Compact(groups)
	return nil
}

// checkGroups checks that the security groups are there, in the VPC. The caller holds s.mu.
func (s *Service) checkGroups(ids []string, vpcID string) error {
	for _, id := range ids {
		g := s.state.Groups[id]
		if g == nil {
			return groupNotFound(id)
		}
		if g.VPCID != vpcID {
			return wire.Errorf("InvalidParameter", "Security group %s and the subnet belong to different networks: %s and %s.", id, g.VPCID, vpcID)
		}
	}
	return nil
}

type describeInstancesInput struct {
	InstanceIDs []string `query:"InstanceId"`
	Filters     filters  `query:"Filter"`
	// IncludeManagedResources asks for instances that another AWS service runs, of which there are none.
	IncludeManagedResources bool `query:"IncludeManagedResources"`
	paging
}

type describeInstancesOutput struct {
	Reservations []reservationView `xml:"reservationSet>item"`
	NextToken    string            `xml:"nextToken,omitempty"`
}

func (s *Service) describeInstances(_ context.Context, in *describeInstancesInput) (*describeInstancesOutput, error) {
	if in.MaxResults != nil && len(in.InstanceIDs) > 0 {
		return nil, wire.Errorf("InvalidParameterCombination", "The parameter instancesSet cannot be used with the parameter maxResults")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.selected(in.InstanceIDs)
	if err != nil {
		return nil, err
	}
	found, next, err := describe(in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	return &describeInstancesOutput{Reservations: s.reserve(found), NextToken: next}, nil
}

// statusOf is an instance in DescribeInstanceStatus, with filters of its own.
type statusOf struct{ *instance }

func (i *statusOf) key() (time.Time, string) { return i.instance.key() }
func (i *statusOf) tagged() tags             { return i.Tags }

func (i *statusOf) attribute(name string) ([]string, bool) {
	if i.instance == nil {
		i = &statusOf{&instance{}}
	}
	status := "not-applicable"
	reachability := []string(nil)
	if i.State == stateRunning {
		status, reachability = "ok", []string{"passed"}
	}
	switch name {
	case "availability-zone", "instance-state-code", "instance-state-name":
		return i.instance.attribute(name)
	case "instance-status.status", "system-status.status":
		return []string{status}, true
	case "instance-status.reachability", "system-status.reachability":
		return reachability, true
	case "event.code", "event.description", "event.instance-event-id", "event.not-after", "event.not-before":
		return nil, true
	}
	return nil, false
}

type describeInstanceStatusInput struct {
	InstanceIDs []string `query:"InstanceId"`
	Filters     filters  `query:"Filter"`
	All         bool     `query:"IncludeAllInstances"`
	paging
}

type statusSummary struct {
	Status  string         `xml:"status"`
	Details []statusDetail `xml:"details>item"`
}

type statusDetail struct {
	Name   string `xml:"name"`
	Status string `xml:"status"`
}

type instanceStatus struct {
	InstanceID     string        `xml:"instanceId"`
	Zone           string        `xml:"availabilityZone"`
	State          instanceState `xml:"instanceState"`
	SystemStatus   statusSummary `xml:"systemStatus"`
	InstanceStatus statusSummary `xml:"instanceStatus"`
}

type describeInstanceStatusOutput struct {
	Statuses  []instanceStatus `xml:"instanceStatusSet>item"`
	NextToken string           `xml:"nextToken,omitempty"`
}

func (s *Service) describeInstanceStatus(_ context.Context, in *describeInstanceStatusInput) (*describeInstanceStatusOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	selected, err := s.selected(in.InstanceIDs)
	if err != nil {
		return nil, err
	}
	var all []*statusOf
	for _, i := range selected {
		if in.All || i.State == stateRunning {
			all = append(all, &statusOf{i})
		}
	}
	found, next, err := describe(in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeInstanceStatusOutput{NextToken: next}
	for _, i := range found {
		summary := statusSummary{Status: "not-applicable"}
		if i.State == stateRunning {
			summary = statusSummary{"ok", []statusDetail{{"reachability", "passed"}}}
		}
		out.Statuses = append(out.Statuses, instanceStatus{i.ID, i.Zone, viewState(i.State), summary, summary})
	}
	return out, nil
}

// stateChange is what the calls that change states answer for each instance.
type stateChange struct {
	InstanceID string        `xml:"instanceId"`
	Current    instanceState `xml:"currentState"`
	Previous   instanceState `xml:"previousState"`
}

type stateChanges struct {
	Instances []stateChange `xml:"instancesSet>item"`
}

// move changes the state of instances, all or none, and then does the work of each one that changed. f returns the new
// state, or an error if the instance may not go there.
func (s *Service) move(ids []string, f func(*instance) (string, error), work func(id string)) (*stateChanges, error) {
	out := &stateChanges{}
	var moved []InstanceInfo
	err := s.change(func() error {
		instances, err := s.instances(ids)
		if err != nil {
			return err
		}
		states := make([]string, len(instances))
		for n, i := range instances {
			if states[n], err = f(i); err != nil {
				return err
			}
		}
		for n, i := range instances {
			if states[n] != statePending || i.State == statePending {
				continue
			}
			if err := s.allocateAddress(i); err != nil { // it starts again
				for _, started := range instances[:n] {
					if started.State == stateStopped {
						s.releaseAddress(started)
					}
				}
				return err
			}
		}
		for n, i := range instances {
			out.Instances = append(out.Instances, stateChange{i.ID, viewState(states[n]), viewState(i.State)})
			if i.State == states[n] {
				continue
			}
			i.State, i.StateReason, i.Reason = states[n], stateReason{}, ""
			switch i.State {
			case statePending:
				i.Launched = now()
			case stateStopping, stateShuttingDown:
				i.StateReason = stateReason{"Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown"}
				i.Reason = "User initiated (" + time.Now().UTC().Format("2006-01-02 15:04:05") + " GMT)"
			}
			moved = append(moved, s.info(i))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.expose()
	s.notify(moved...)
	for _, i := range moved {
		s.work.Go(func() { work(i.ID) })
	}
	return out, nil
}

type instanceIDsInput struct {
	InstanceIDs []string `query:"InstanceId" wire:"required"`
}

func incorrectState(i *instance, verb string) error {
	return wire.Errorf("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be %s: it is '%s'.", i.ID, verb, i.State)
}

func (s *Service) startInstances(_ context.Context, in *instanceIDsInput) (*stateChanges, error) {
	return s.move(in.InstanceIDs, func(i *instance) (string, error) {
		switch i.State {
		case stateStopped:
			return statePending, nil
		case statePending, stateRunning:
			return i.State, nil
		}
		return "", incorrectState(i, "started")
	}, s.boot)
}

type stopInstancesInput struct {
	instanceIDsInput
	Force          bool `query:"Force"`          // a machine that does not shut down in order is forced anyway
	Hibernate      bool `query:"Hibernate"`      // refused
	SkipOSShutdown bool `query:"SkipOsShutdown"` // refused
}

func (s *Service) stopInstances(_ context.Context, in *stopInstancesInput) (*stateChanges, error) {
	if in.Hibernate || in.SkipOSShutdown {
		return nil, wire.Errorf("UnsupportedOperation", "The local cloud's instances cannot hibernate or skip the shutdown of their system")
	}
	return s.move(in.InstanceIDs, func(i *instance) (string, error) {
		switch {
		case i.State == stateRunning && i.DisableAPIStop:
			return "", wire.Errorf("OperationNotPermitted", "The instance '%s' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.", i.ID)
		case i.State == stateRunning:
			return stateStopping, nil
		case i.State == stateStopping || i.State == stateStopped:
			return i.State, nil
		}
		return "", incorrectState(i, "stopped")
	}, s.shutDown)
}

type terminateInstancesInput struct {
	instanceIDsInput
	Force          bool `query:"Force"`
	SkipOSShutdown bool `query:"SkipOsShutdown"` // refused
}

func (s *Service) terminateInstances(_ context.Context, in *terminateInstancesInput) (*stateChanges, error) {
	if in.SkipOSShutdown {
		return nil, wire.Errorf("UnsupportedOperation", "The local cloud's instances cannot skip the shutdown of their system")
	}
	return s.startTerminating(in.InstanceIDs, false)
}

// startTerminating terminates instances; termination protection is for API callers only.
func (s *Service) startTerminating(ids []string, protected bool) (*stateChanges, error) {
	return s.move(ids, func(i *instance) (string, error) {
		switch {
		case i.State == stateShuttingDown || i.ended():
			return i.State, nil
		case i.DisableAPITermination && !protected:
			return "", wire.Errorf("OperationNotPermitted", "The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", i.ID)
		}
		return stateShuttingDown, nil
	}, s.terminate)
}

func (s *Service) rebootInstances(_ context.Context, in *instanceIDsInput) (*wire.Return, error) {
	s.mu.Lock()
	instances, err := s.instances(in.InstanceIDs)
	for _, i := range instances {
		if err == nil && i.State != stateRunning {
			err = incorrectState(i, "rebooted")
		}
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	for _, id := range in.InstanceIDs {
		s.work.Go(func() { s.reboot(id) })
	}
	return &wire.Return{Return: true}, nil
}

type getConsoleOutputInput struct {
	InstanceID string `query:"InstanceId" wire:"required"`
	Latest     bool   `query:"Latest"` // it always is
}

type getConsoleOutputOutput struct {
	InstanceID string    `xml:"instanceId"`
	Timestamp  time.Time `xml:"timestamp"`
	Output     string    `xml:"output"`
}

func (s *Service) getConsoleOutput(ctx context.Context, in *getConsoleOutputInput) (*getConsoleOutputOutput, error) {
	s.mu.Lock()
	i, err := s.instance(in.InstanceID)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	out := &getConsoleOutputOutput{InstanceID: in.InstanceID, Timestamp: now()}
	console, err := s.compute.Console(ctx, i.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case i.Console != "":
		console, out.Timestamp = i.Console, i.ConsoleRead
	case i.ended() || i.State == statePending:
		return out, nil
	case err != nil:
		return nil, fmt.Errorf("read console of instance %q: %w", i.ID, err)
	}
	out.Output = base64.StdEncoding.EncodeToString([]byte(lastBytes(console, maxConsole)))
	return out, nil
}

const (
	// maxConsole is how much of a console's end GetConsoleOutput returns, as on AWS.
	maxConsole = 64 << 10
	// keptConsole is how much of it outlives the machine. AWS keeps all; here it is part of a document that is often saved.
	keptConsole = 16 << 10
)

// lastBytes returns the end of a text, whole lines where it has them.
func lastBytes(text string, n int) string {
	if len(text) <= n {
		return text
	}
	text = text[len(text)-n:]
	if _, rest, ok := strings.Cut(text, "\n"); ok {
		return rest
	}
	return text
}

type describeInstanceAttributeInput struct {
	InstanceID string `query:"InstanceId" wire:"required"`
	Attribute  string `query:"Attribute" wire:"required,enum=instanceType|userData|disableApiTermination|disableApiStop|instanceInitiatedShutdownBehavior|rootDeviceName|blockDeviceMapping|groupSet|ebsOptimized|sourceDestCheck|enaSupport|kernel|ramdisk|productCodes|sriovNetSupport"`
}

// optionalValue is an attribute that may have no value.
type optionalValue struct {
	Value string `xml:"value,omitempty"`
}

type describeInstanceAttributeOutput struct {
	InstanceID            string           `xml:"instanceId"`
	InstanceType          *optionalValue   `xml:"instanceType"`
	UserData              *optionalValue   `xml:"userData"`
	DisableAPITermination *attributeBool   `xml:"disableApiTermination"`
	DisableAPIStop        *attributeBool   `xml:"disableApiStop"`
	ShutdownBehavior      *optionalValue   `xml:"instanceInitiatedShutdownBehavior"`
	RootDeviceName        *optionalValue   `xml:"rootDeviceName"`
	Devices               []instanceDevice `xml:"blockDeviceMapping>item"`
	Groups                []groupView      `xml:"groupSet>item"`
	EBSOptimized          *attributeBool   `xml:"ebsOptimized"`
	SourceDestCheck       *attributeBool   `xml:"sourceDestCheck"`
	ENASupport            *attributeBool   `xml:"enaSupport"`
	Kernel                *optionalValue   `xml:"kernel"`
	Ramdisk               *optionalValue   `xml:"ramdisk"`
	SriovNetSupport       *optionalValue   `xml:"sriovNetSupport"`
}

func (s *Service) describeInstanceAttribute(_ context.Context, in *describeInstanceAttributeInput) (*describeInstanceAttributeOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.instance(in.InstanceID)
	if err != nil {
		return nil, err
	}
	out := &describeInstanceAttributeOutput{InstanceID: i.ID}
	switch in.Attribute {
	case "instanceType":
		out.InstanceType = &optionalValue{i.Type}
	case "userData":
		out.UserData = &optionalValue{i.UserData}
	case "disableApiTermination":
		out.DisableAPITermination = &attributeBool{i.DisableAPITermination}
	case "disableApiStop":
		out.DisableAPIStop = &attributeBool{i.DisableAPIStop}
	case "instanceInitiatedShutdownBehavior":
		out.ShutdownBehavior = &optionalValue{i.ShutdownBehavior}
	case "rootDeviceName":
		out.RootDeviceName = &optionalValue{rootDevice}
	case "blockDeviceMapping":
		out.Devices = s.viewInstance(i).Devices
	case "groupSet":
		out.Groups = s.groupViews(i.Groups)
	case "ebsOptimized":
		out.EBSOptimized = &attributeBool{i.EBSOptimized}
	case "sourceDestCheck":
		out.SourceDestCheck = &attributeBool{!i.NoSourceDestCheck}
	case "enaSupport":
		out.ENASupport = &attributeBool{true}
	case "kernel":
		out.Kernel = &optionalValue{}
	case "ramdisk":
		out.Ramdisk = &optionalValue{}
	case "sriovNetSupport":
		out.SriovNetSupport = &optionalValue{"simple"}
	}
	return out, nil
}

type modifyInstanceAttributeInput struct {
	InstanceID            string          `query:"InstanceId" wire:"required"`
	Attribute             string          `query:"Attribute" wire:"enum=instanceType|userData|disableApiTermination|disableApiStop|instanceInitiatedShutdownBehavior|ebsOptimized|sourceDestCheck"`
	Value                 *string         `query:"Value"`
	Groups                []string        `query:"GroupId"`
	InstanceType          *attributeValue `query:"InstanceType"`
	UserData              *attributeValue `query:"UserData"`
	ShutdownBehavior      *attributeValue `query:"InstanceInitiatedShutdownBehavior"`
	DisableAPITermination *attributeBool  `query:"DisableApiTermination"`
	DisableAPIStop        *attributeBool  `query:"DisableApiStop"`
	EBSOptimized          *attributeBool  `query:"EbsOptimized"`
	SourceDestCheck       *attributeBool  `query:"SourceDestCheck"`
}

// named moves the attribute of the old form, Attribute and Value, to its place in the new one.
func (in *modifyInstanceAttributeInput) named() error {
	if in.Value == nil {
		return nil
	}
	if in.Attribute == "" {
		return missing("Attribute")
	}
	value, flag := &attributeValue{*in.Value}, &attributeBool{*in.Value == "true"}
	switch in.Attribute {
	case "instanceType":
		in.InstanceType = value
	case "userData":
		in.UserData = value
	case "instanceInitiatedShutdownBehavior":
		in.ShutdownBehavior = value
	case "disableApiTermination":
		in.DisableAPITermination = flag
	case "disableApiStop":
		in.DisableAPIStop = flag
	case "ebsOptimized":
		in.EBSOptimized = flag
	case "sourceDestCheck":
		in.SourceDestCheck = flag
	}
	return nil
}

func (s *Service) modifyInstanceAttribute(_ context.Context, in *modifyInstanceAttributeInput) (*wire.Return, error) {
	if err := in.named(); err != nil {
		return nil, err
	}
	err := s.change(func() error {
		i, err := s.instance(in.InstanceID)
		if err != nil {
			return err
		}
		if i.ended() {
			return incorrectState(i, "modified")
		}
		if (in.InstanceType != nil || in.UserData != nil || in.EBSOptimized != nil) && i.State != stateStopped {
			return wire.Errorf("IncorrectInstanceState", "The instance '%s' is not in the 'stopped' state.", i.ID)
		}
		if in.InstanceType != nil {
			t, ok := instanceTypeNamed(in.InstanceType.Value)
			if !ok || t.architecture != i.Architecture {
				return wire.Errorf("InvalidParameterValue", "Invalid value '%s' for InstanceType.", in.InstanceType.Value)
			}
		}
		if in.ShutdownBehavior != nil && in.ShutdownBehavior.Value != "stop" && in.ShutdownBehavior.Value != "terminate" {
			return wire.Errorf("InvalidParameterValue", "Value (%s) for parameter instanceInitiatedShutdownBehavior is invalid", in.ShutdownBehavior.Value)
		}
		if in.UserData != nil {
			if i.Booted { // user data is part of a machine when it is created
				return wire.Errorf("UnsupportedOperation", "The local cloud cannot change the user data of an instance")
			}
			i.UserData = in.UserData.Value
		}
		if err := s.checkGroups(in.Groups, i.VPCID); err != nil {
			return err
		}
		if in.Groups != nil {
			i.Groups = in.Groups
		}
		if in.InstanceType != nil {
			i.Type = in.InstanceType.Value
		}
		if in.ShutdownBehavior != nil {
			i.ShutdownBehavior = in.ShutdownBehavior.Value
		}
		if in.DisableAPITermination != nil {
			i.DisableAPITermination = in.DisableAPITermination.Value
		}
		if in.DisableAPIStop != nil {
			i.DisableAPIStop = in.DisableAPIStop.Value
		}
		if in.EBSOptimized != nil {
			i.EBSOptimized = in.EBSOptimized.Value
		}
		if in.SourceDestCheck != nil {
			i.NoSourceDestCheck = !in.SourceDestCheck.Value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.expose()
	return &wire.Return{Return: true}, nil
}

type modifyMetadataInput struct {
	InstanceID string `query:"InstanceId" wire:"required"`
	metadataRequest
}

type modifyMetadataOutput struct {
	InstanceID string          `xml:"instanceId"`
	Metadata   metadataOptions `xml:"instanceMetadataOptions"`
}

func (s *Service) modifyMetadataOptions(_ context.Context, in *modifyMetadataInput) (*modifyMetadataOutput, error) {
	out := &modifyMetadataOutput{InstanceID: in.InstanceID}
	err := s.change(func() error {
		i, err := s.instance(in.InstanceID)
		if err != nil {
			return err
		}
		i.Metadata = i.Metadata.with(&in.metadataRequest)
		out.Metadata = i.Metadata
		return nil
	})
	return out, err
}

type monitoringView struct {
	InstanceID string    `xml:"instanceId"`
	Monitoring stateView `xml:"monitoring"`
}

type monitoringOutput struct {
	Instances []monitoringView `xml:"instancesSet>item"`
}

func (s *Service) monitorInstances(_ context.Context, in *instanceIDsInput) (*monitoringOutput, error) {
	return s.monitor(in.InstanceIDs, true)
}

func (s *Service) unmonitorInstances(_ context.Context, in *instanceIDsInput) (*monitoringOutput, error) {
	return s.monitor(in.InstanceIDs, false)
}

// monitor keeps whether detailed monitoring was asked for; there are no metrics here.
func (s *Service) monitor(ids []string, on bool) (*monitoringOutput, error) {
	out := &monitoringOutput{}
	err := s.change(func() error {
		instances, err := s.instances(ids)
		if err != nil {
			return err
		}
		for _, i := range instances {
			i.Monitoring = on
			out.Instances = append(out.Instances, monitoringView{i.ID, stateView{monitoringState(on)}})
		}
		return nil
	})
	return out, err
}

type describeCreditsInput struct {
	InstanceIDs []string `query:"InstanceId"`
	Filters     filters  `query:"Filter"`
	paging
}

type creditsView struct {
	InstanceID string `xml:"instanceId"`
	CPUCredits string `xml:"cpuCredits"`
}

type describeCreditsOutput struct {
	Instances []creditsView `xml:"instanceCreditSpecificationSet>item"`
	NextToken string        `xml:"nextToken,omitempty"`
}

func (s *Service) describeCreditSpecifications(_ context.Context, in *describeCreditsInput) (*describeCreditsOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.selected(in.InstanceIDs)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(i *instance) bool { return i.CPUCredits == "" || i.ended() })
	found, next, err := describe(in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeCreditsOutput{NextToken: next}
	for _, i := range found {
		out.Instances = append(out.Instances, creditsView{i.ID, i.CPUCredits})
	}
	return out, nil
}

// volume is an instance's root volume.
type volume struct {
	ID         string
	InstanceID string
	Zone       string
	Created    time.Time
	Tags       tags
	imageEBS
}

func (v *volume) key() (time.Time, string) { return v.Created, v.ID }
func (v *volume) tagged() tags             { return v.Tags }

func (v *volume) attribute(name string) ([]string, bool) {
	switch name {
	case "attachment.attach-time", "create-time":
		return []string{timestamp(v.Created)}, true
	case "attachment.delete-on-termination":
		return []string{boolString(v.DeleteOnTermination)}, true
	case "attachment.device":
		return []string{rootDevice}, true
	case "attachment.instance-id":
		return []string{v.InstanceID}, true
	case "attachment.status":
		return []string{"attached"}, true
	case "availability-zone":
		return []string{v.Zone}, true
	case "encrypted":
		return []string{boolString(v.Encrypted)}, true
	case "multi-attach-enabled", "fast-restored":
		return []string{"false"}, true
	case "size":
		return []string{fmt.Sprint(v.VolumeSize)}, true
	case "snapshot-id":
		return []string{v.SnapshotID}, true
	case "status":
		return []string{"in-use"}, true
	case "volume-id":
		return []string{v.ID}, true
	case "volume-type":
		return []string{v.VolumeType}, true
	}
	return nil, false
}

type volumeAttachment struct {
	VolumeID            string    `xml:"volumeId"`
	InstanceID          string    `xml:"instanceId"`
	Device              string    `xml:"device"`
	Status              string    `xml:"status"`
	AttachTime          time.Time `xml:"attachTime"`
	DeleteOnTermination bool      `xml:"deleteOnTermination"`
}

type volumeView struct {
	VolumeID    string             `xml:"volumeId"`
	Size        int                `xml:"size"`
	SnapshotID  string             `xml:"snapshotId"`
	Zone        string             `xml:"availabilityZone"`
	Status      string             `xml:"status"`
	CreateTime  time.Time          `xml:"createTime"`
	Attachments []volumeAttachment `xml:"attachmentSet>item"`
	VolumeType  string             `xml:"volumeType"`
	IOPS        int                `xml:"iops,omitempty"`
	Throughput  int                `xml:"throughput,omitempty"`
	Encrypted   bool               `xml:"encrypted"`
	MultiAttach bool               `xml:"multiAttachEnabled"`
	Tags        tags               `xml:"tagSet>item"`
}

type describeVolumesInput struct {
	VolumeIDs []string `query:"VolumeId"`
	Filters   filters  `query:"Filter"`
	paging
}

type describeVolumesOutput struct {
	Volumes   []volumeView `xml:"volumeSet>item"`
	NextToken string       `xml:"nextToken,omitempty"`
}

func (s *Service) describeVolumes(_ context.Context, in *describeVolumesInput) (*describeVolumesOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := find(s.state.Volumes, in.VolumeIDs, "InvalidVolume.NotFound", "volume")
	if err != nil {
		return nil, err
	}
	found, next, err := describe(in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeVolumesOutput{NextToken: next}
	for _, v := range found {
		out.Volumes = append(out.Volumes, volumeView{
			VolumeID: v.ID, Size: v.VolumeSize, SnapshotID: v.SnapshotID, Zone: v.Zone, Status: "in-use", CreateTime: v.Created,
			VolumeType: v.VolumeType, IOPS: v.IOPS, Throughput: v.Throughput, Encrypted: v.Encrypted, Tags: v.Tags,
			Attachments: []volumeAttachment{{v.ID, v.InstanceID, rootDevice, "attached", v.Created, v.DeleteOnTermination}},
		})
	}
	return out, nil
}
