package ec2

import (
	"cmp"
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
	"github.com/ingot-build/ingot/pkg/localcloud/internal/shape"
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
	Device       string // name of the root device
	VolumeID     string // the root device's
	KeyRefused   bool   `json:",omitempty"` // whoever launched it may not use the key of its volumes
	WantsPublic  bool   // has a public address whenever it runs
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
	Monitoring            bool
	Tenancy               string
	Profile               *iamProfile
	Metadata              metadataOptions
	TemplateID            string
	TemplateVersion       int64
	Tags                  tags

	around surroundings
}

// surroundings are what filters ask of an instance and others keep. They are filled in where instances are filtered.
type surroundings struct {
	account, privateName string
	groups               []groupView
	volume               *volume
}

// surround fills in what filters ask of instances. The caller holds the lock.
func (s *Service) surround(all []*instance) {
	for _, i := range all {
		i.around = surroundings{s.account, s.privateName(i.PrivateIP), s.groupViews(i.Groups), s.state.Volumes[i.VolumeID]}
	}
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

// rootDevice returns the name of the root device, which instances of older versions have no record of.
func (i *instance) rootDevice() string { return cmp.Or(i.Device, shape.DefaultRoot) }

// spec is the machine to create for the instance.
func (i *instance) spec() compute.Spec {
	data, _ := base64.StdEncoding.DecodeString(i.UserData) // checked at the launch
	spec := compute.Spec{ID: i.ID, Image: i.ImageRef, Hostname: i.ID, AuthorizedKeys: i.PublicKeys, UserData: data}
	if t, ok := instanceTypeNamed(i.Type); ok {
		spec.CPUs, spec.Memory = t.vcpus, int64(t.memory)<<20
	}
	return spec
}

func (i *instance) attribute(name string) ([]string, bool) {
	here := func(v string) ([]string, bool) { // what a terminated instance no longer has
		if i.ended() {
			return nil, true
		}
		return single(v), true
	}
	if of, ok := strings.CutPrefix(name, "network-interface."); ok {
		if i.ended() {
			i = &instance{}
		}
		switch n := (&interfaceOf{i}); of {
		case "tag-key", "tag-value":
			var values []string
			for _, t := range n.tagged() {
				values = append(values, map[string]string{"tag-key": t.Key, "tag-value": t.Value}[of])
			}
			return values, true
		case "addresses.association.ip-owner-id":
			return n.attribute("association.ip-owner-id")
		case "addresses.private-dns-name":
			return n.attribute("private-dns-name")
		case "owner-id":
			return single(i.around.account), true
		default:
			if values, ok := filterable(n, of); ok {
				return values, true
			}
			return nil, false
		}
	}
	switch name {
	case "availability-zone-id":
		return single(zoneID(i.Zone)), true
	case "block-device-mapping.attach-time", "usage-operation-update-time":
		return []string{timestamp(i.Launched)}, true
	case "block-device-mapping.delete-on-termination":
		if v := i.around.volume; v != nil {
			return []string{boolString(v.DeleteOnTermination)}, true
		}
		return nil, true
	case "ebs-optimized":
		return []string{boolString(i.EBSOptimized)}, true
	case "iam-instance-profile.id":
		if i.Profile == nil {
			return nil, true
		}
		return []string{i.Profile.ID}, true
	case "instance.group-name":
		var names []string
		for _, g := range i.around.groups {
			names = append(names, g.Name)
		}
		return names, true
	case "metadata-options.http-endpoint":
		return here(i.Metadata.Endpoint)
	case "metadata-options.http-protocol-ipv6":
		return here(i.Metadata.ProtocolIPv6)
	case "metadata-options.http-put-response-hop-limit":
		return here(fmt.Sprint(i.Metadata.HopLimit))
	case "metadata-options.http-tokens":
		return here(i.Metadata.Tokens)
	case "metadata-options.instance-metadata-tags":
		return here(i.Metadata.InstanceTags)
	case "metadata-options.state":
		return here(i.Metadata.State)
	case "owner-id":
		return single(i.around.account), true
	case "private-dns-name":
		return here(i.around.privateName)
	case "reason":
		return single(i.Reason), true
	case "source-dest-check":
		return here("true")
	case "state-reason-message":
		return single(i.StateReason.Message), true
	case "affinity", "instance-lifecycle", "ipv6-address", "kernel-id", "platform", "product-code", "ramdisk-id":
		return nil, true // no instance here has any
	case "architecture":
		return []string{i.Architecture}, true
	case "availability-zone", "placement.availability-zone":
		return []string{i.Zone}, true
	case "block-device-mapping.device-name", "root-device-name":
		return []string{i.rootDevice()}, true
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
	case "ip-address":
		return addrStrings(i.PublicIP), true
	case "key-name":
		return single(i.KeyName), true
	case "launch-index":
		return []string{fmt.Sprint(i.Index)}, true
	case "launch-time":
		return []string{timestamp(i.Launched)}, true
	case "monitoring-state":
		return []string{monitoringState(i.Monitoring)}, true
	case "private-ip-address":
		return addrStrings(i.PrivateIP), true
	case "reservation-id":
		return []string{i.ReservationID}, true
	case "root-device-type":
		return []string{"ebs"}, true
	case "state-reason-code":
		return single(i.StateReason.Code), true
	case "subnet-id":
		return here(i.SubnetID)
	case "tenancy":
		return []string{i.Tenancy}, true
	case "virtualization-type":
		return []string{"hvm"}, true
	case "vpc-id":
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

// metadataOptions say how an instance is answered about itself.
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

// groupViews names groups. The caller holds the lock.
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

// viewInstance shows an instance. The caller holds the lock.
func (s *Service) viewInstance(i *instance) instanceView {
	v := instanceView{
		InstanceID: i.ID, ImageID: i.ImageID, State: viewState(i.State), Reason: i.Reason, StateReason: i.StateReason.reason(),
		KeyName: i.KeyName, Index: i.Index, Type: i.Type, LaunchTime: i.Launched,
		Placement: placementView{Zone: i.Zone, Tenancy: i.Tenancy}, Monitoring: stateView{monitoringState(i.Monitoring)},
		Architecture: i.Architecture, RootDeviceType: "ebs", RootDeviceName: i.rootDevice(), VirtualizationType: "hvm",
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
	v.SourceDestCheck = true
	v.Groups = s.groupViews(i.Groups)
	metadata := i.Metadata
	v.Metadata = &metadata
	v.Interfaces = []interfaceView{s.viewInterface(i)}
	for _, vol := range s.volumesOf(i) {
		d := instanceDevice{DeviceName: vol.device()}
		d.EBS.VolumeID, d.EBS.Status = vol.ID, "attached"
		d.EBS.AttachTime, d.EBS.DeleteOnTermination = vol.Created, vol.DeleteOnTermination
		v.Devices = append(v.Devices, d)
	}
	return v
}

// volumesOf returns an instance's volumes, the root device's first. The caller holds the lock.
func (s *Service) volumesOf(i *instance) []*volume {
	var all []*volume
	for _, v := range s.state.Volumes {
		if v.InstanceID == i.ID {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b *volume) int {
		if isRoot := (a.ID == i.VolumeID); isRoot != (b.ID == i.VolumeID) {
			if isRoot {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Device, b.Device)
	})
	return all
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

// reserve puts instances under their reservations. The caller holds the lock.
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
		"DescribeInstanceStatus":        wire.DoUnscoped(s.describeInstanceStatus),
		"DescribeInstanceTypeOfferings": wire.DoUnscoped(s.describeInstanceTypeOfferings),
		"DescribeInstanceTypes":         wire.DoUnscoped(s.describeInstanceTypes),
		"DescribeInstances":             wire.DoUnscoped(s.describeInstances),
		"DescribeNetworkInterfaces":     wire.DoUnscoped(s.describeNetworkInterfaces),
		"DescribeVolumes":               wire.DoUnscoped(s.describeVolumes),
		"GetConsoleOutput":              wire.Do(s.getConsoleOutput, func(in *getConsoleOutputInput) []wire.Access { return s.onAll(in.InstanceID) }),
		"RebootInstances":               wire.Do(s.rebootInstances, func(in *instanceIDsInput) []wire.Access { return s.onAll(in.InstanceIDs...) }),
		"RunInstances":                  wire.Do(s.runInstances, s.launching),
		"StartInstances":                wire.Do(s.startInstances, func(in *instanceIDsInput) []wire.Access { return s.onAll(in.InstanceIDs...) }),
		"StopInstances":                 wire.Do(s.stopInstances, func(in *stopInstancesInput) []wire.Access { return s.onAll(in.InstanceIDs...) }),
		"TerminateInstances":            wire.Do(s.terminateInstances, func(in *terminateInstancesInput) []wire.Access { return s.onAll(in.InstanceIDs...) }),
	}
}

func instanceNotFound(id string) error {
	return wire.Errorf("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
}

var instanceID = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)

// instance returns an instance. The caller holds the lock.
func (s *Service) instance(id string) (*instance, error) {
	if !instanceID.MatchString(id) {
		return nil, wire.Errorf("InvalidInstanceID.Malformed", `Invalid id: "%s"`, id)
	}
	if i := s.state.Instances[id]; i != nil {
		return i, nil
	}
	return nil, instanceNotFound(id)
}

// instances returns the instances with the given IDs. The caller holds the lock.
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

// selected returns the instances with the given IDs, or all for none. The caller holds the lock.
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

	systemTags  tags // with keys that only AWS may set
	autoScaling bool // EC2 Auto Scaling launches, with its service-linked role
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
	s.document.Lock()
	defer s.document.Unlock()
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
		room := s.shape.Quota() - s.runningVCPUs()
		for n := range in.MaxCount {
			i := plan.instance // a copy
			if room -= vcpusOf(i.Type); room < 0 {
				if n >= in.MinCount {
					break
				}
				return s.quotaExceeded()
			}
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
				return err
			}
			launched = append(launched, &i)
		}
		for _, i := range launched {
			s.state.Instances[i.ID] = i
			id := i.VolumeID
			for _, device := range plan.devices {
				s.state.Volumes[id] = &volume{
					ID: id, InstanceID: i.ID, Device: device.DeviceName, Zone: i.Zone, Created: i.Launched, Tags: plan.volumeTags, imageEBS: device.EBS,
				}
				id = newID("vol")
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if repeated {
		return launched, nil
	}
	for _, i := range launched {
		if info, ok := s.Instance(i.ID); ok {
			s.notify(info)
		}
		s.work.Go(func() { s.boot(i.ID) })
	}
	return launched, nil
}

// allocateAddress gives an instance that wants one a public address. The caller holds the lock.
func (s *Service) allocateAddress(i *instance) error {
	if !i.WantsPublic || i.PublicIP.IsValid() {
		return nil
	}
	addr, err := s.addresses.Allocate(i.ID)
	if err != nil {
		return wire.Errorf("InsufficientFreeAddressesInSubnet", "There are not enough free addresses in subnet '%s': %v", i.SubnetID, err)
	}
	i.PublicIP = addr
	s.allocated = append(s.allocated, addr)
	return nil
}

// macAddress derives a locally administered address from an ID.
func macAddress(id string) string {
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", sum[0], sum[1], sum[2], sum[3], sum[4])
}

// launchPlan is what a launch request comes to.
type launchPlan struct {
	instance   instance      // without what differs between the instances of one request
	devices    []blockDevice // the root device's first
	volumeTags tags
}

// plan checks a launch request. The caller holds the lock.
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
	if p.devices, err = s.devices(img.root(), data.Devices); err != nil {
		return nil, err
	}
	i.Device = p.devices[0].DeviceName
	i.KeyRefused = in.autoScaling && s.defaultKey != "" && slices.ContainsFunc(p.devices, func(d blockDevice) bool {
		return d.EBS.KMSKeyID == s.defaultKey && !s.mayUseKey(s.defaultKey)
	})
	i.Metadata = metadataOptions{
		State: "applied", Tokens: "optional", HopLimit: 1, Endpoint: "enabled", ProtocolIPv6: "disabled", InstanceTags: "disabled",
	}
	if img.IMDSSupport == "v2.0" {
		i.Metadata.Tokens, i.Metadata.HopLimit = "required", 2
	}
	i.Metadata = i.Metadata.with(data.Metadata)
	if profile := data.Profile; profile != nil && deref(profile.ARN)+deref(profile.Name) != "" {
		if i.Profile, err = s.instanceProfile(profile); err != nil {
			return nil, err
		}
	}
	i.ShutdownBehavior = "stop"
	if data.ShutdownBehavior != nil {
		i.ShutdownBehavior = *data.ShutdownBehavior
	}
	i.DisableAPITermination, i.DisableAPIStop = deref(data.DisableAPITermination), deref(data.DisableAPIStop)
	i.EBSOptimized = deref(data.EBSOptimized)
	i.Monitoring = data.Monitoring != nil && deref(data.Monitoring.Enabled)
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

// instanceProfile finds the instance profile of a launch.
func (s *Service) instanceProfile(in *profileRequest) (*iamProfile, error) {
	field, value := "name", deref(in.Name)
	if value == "" {
		field, value = "arn", deref(in.ARN)
	}
	var p iamProfile
	found, usable := false, false
	if s.profiles != nil {
		p.ARN, p.ID, found, usable = s.profiles.InstanceProfile(value)
	}
	switch {
	case !found:
		return nil, wire.Errorf("InvalidParameterValue", "Value (%s) for parameter iamInstanceProfile.%s is invalid. Invalid IAM Instance Profile %s",
			value, field, field)
	case !usable:
		return nil, wire.Errorf("InvalidParameterValue", "IAM Instance Profile %q has no associated IAM Roles", p.ARN)
	}
	return &p, nil
}

// planNetwork finds a launch's subnet and security groups. The caller holds the lock.
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
		if s.defaultVPC() == "" {
			return noDefaultVPC()
		}
		if net = s.defaultSubnet(zone, i.Type); net == nil {
			return wire.Errorf("MissingInput", "No subnets found for the default VPC '%s' in zone '%s'. Please specify a subnet.", s.defaultVPC(), zone)
		}
	}
	if !s.shape.Offers(net.Zone, i.Type) {
		return s.notOffered(net.Zone, i.Type)
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

// checkGroups checks that the security groups are there, in the VPC. The caller holds the lock.
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
	s.document.Lock()
	defer s.document.Unlock()
	all, err := s.selected(in.InstanceIDs)
	if err != nil {
		return nil, err
	}
	if len(in.Filters) > 0 {
		s.surround(all)
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
	case "availability-zone", "availability-zone-id", "instance-state-code", "instance-state-name":
		return i.instance.attribute(name)
	case "attached-ebs-status.status", "instance-status.status", "system-status.status":
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
	s.document.Lock()
	defer s.document.Unlock()
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
		room := s.shape.Quota() - s.runningVCPUs()
		for n, i := range instances {
			if states[n] != statePending || i.State == statePending {
				continue
			}
			if room -= vcpusOf(i.Type); room < 0 {
				return s.quotaExceeded()
			}
			if err := s.allocateAddress(i); err != nil { // it starts again
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
	err := s.change(func() error { // nothing but the check: what is under way is not kept
		instances, err := s.instances(in.InstanceIDs)
		for _, i := range instances {
			if err == nil && i.State != stateRunning {
				err = incorrectState(i, "rebooted")
			}
		}
		return err
	})
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
	s.document.Lock()
	_, err := s.instance(in.InstanceID)
	s.document.Unlock()
	if err != nil {
		return nil, err
	}
	out := &getConsoleOutputOutput{InstanceID: in.InstanceID, Timestamp: now()}
	console, failed := s.compute.Console(ctx, in.InstanceID)
	s.document.Lock()
	defer s.document.Unlock()
	i, err := s.instance(in.InstanceID)
	switch {
	case err != nil:
		return nil, err
	case i.Console != "":
		console, out.Timestamp = i.Console, i.ConsoleRead
	case i.ended() || i.State == statePending:
		return out, nil
	case failed != nil:
		return nil, fmt.Errorf("read console of instance %q: %w", i.ID, failed)
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

// volume is a volume of an instance.
type volume struct {
	ID         string
	InstanceID string
	Device     string
	Zone       string
	Created    time.Time
	Tags       tags
	imageEBS
}

// device returns the name under which the volume is attached, which root volumes of older versions have no record of.
func (v *volume) device() string { return cmp.Or(v.Device, shape.DefaultRoot) }

func (v *volume) key() (time.Time, string) { return v.Created, v.ID }
func (v *volume) tagged() tags             { return v.Tags }

func (v *volume) attribute(name string) ([]string, bool) {
	switch name {
	case "attachment.attach-time", "create-time":
		return []string{timestamp(v.Created)}, true
	case "attachment.delete-on-termination":
		return []string{boolString(v.DeleteOnTermination)}, true
	case "attachment.device":
		return []string{v.device()}, true
	case "attachment.instance-id":
		return []string{v.InstanceID}, true
	case "attachment.status":
		return []string{"attached"}, true
	case "availability-zone":
		return []string{v.Zone}, true
	case "availability-zone-id":
		return single(zoneID(v.Zone)), true
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
	KMSKeyID    string             `xml:"kmsKeyId,omitempty"`
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
	s.document.Lock()
	defer s.document.Unlock()
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
			VolumeType: v.VolumeType, IOPS: v.IOPS, Throughput: v.Throughput, Encrypted: v.Encrypted, KMSKeyID: v.KMSKeyID, Tags: v.Tags,
			Attachments: []volumeAttachment{{v.ID, v.InstanceID, v.device(), "attached", v.Created, v.DeleteOnTermination}},
		})
	}
	return out, nil
}
