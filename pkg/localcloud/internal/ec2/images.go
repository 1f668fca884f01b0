package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Debian's account, whose images the local cloud has one of.
const debianOwner = "136693071363"

// The source image's name and date are those of a Debian 13 release on EC2.
const debianBuild = "20251117-2299"

var debianDate = time.Date(2025, time.November, 17, 9, 0, 0, 0, time.UTC)

// rootDevice is the root device's name on Debian's images, and so on all that are made of them.
const rootDevice = "/dev/xvda"

// rootSize is the size of the root volume of Debian's images, in GiB.
const rootSize = 8

// image is an AMI.
type image struct {
	ID            string
	Name          string
	Description   string
	OwnerID       string
	Architecture  string
	Created       time.Time
	State         string // pending, available, failed
	Reason        stateReason
	Public        bool
	LaunchUsers   []string // accounts that may launch it
	LaunchGroups  []string // "all"
	Devices       []blockDevice
	IMDSSupport   string
	SourceImage   string
	SourceMachine string // the instance it is made of
	NoReboot      bool
	Protection    string // "", enabled, disabled
	Deprecation   *time.Time
	Tags          tags
	Ref           string // compute's reference
}

// blockDevice is a block device mapping of an image.
type blockDevice struct {
	DeviceName string   `xml:"deviceName"`
	EBS        imageEBS `xml:"ebs"`
}

type imageEBS struct {
	SnapshotID          string `xml:"snapshotId,omitempty"`
	VolumeSize          int    `xml:"volumeSize"`
	VolumeType          string `xml:"volumeType"`
	Encrypted           bool   `xml:"encrypted"`
	DeleteOnTermination bool   `xml:"deleteOnTermination"`
	IOPS                int    `xml:"iops,omitempty"`
	Throughput          int    `xml:"throughput,omitempty"`
}

// stateReason says why a resource is in its state.
type stateReason struct {
	Code    string `xml:"code" json:",omitempty"`
	Message string `xml:"message" json:",omitempty"`
}

// reason returns a state reason, or nil for none, so that its element is left out.
func (r stateReason) reason() *stateReason {
	if r == (stateReason{}) {
		return nil
	}
	return &r
}

func (i *image) key() (time.Time, string) { return i.Created, i.ID }
func (i *image) tagged() tags             { return i.Tags }

func (i *image) attribute(name string) ([]string, bool) {
	var root blockDevice
	if len(i.Devices) > 0 {
		root = i.Devices[0]
	}
	switch name {
	case "architecture":
		return []string{i.Architecture}, true
	case "block-device-mapping.delete-on-termination":
		return []string{boolString(root.EBS.DeleteOnTermination)}, true
	case "block-device-mapping.device-name":
		return []string{root.DeviceName}, true
	case "block-device-mapping.snapshot-id":
		return []string{root.EBS.SnapshotID}, true
	case "block-device-mapping.volume-type":
		return []string{root.EBS.VolumeType}, true
	case "block-device-mapping.encrypted":
		return []string{boolString(root.EBS.Encrypted)}, true
	case "creation-date":
		return []string{timestamp(i.Created)}, true
	case "description":
		return []string{i.Description}, true
	case "ena-support":
		return []string{"true"}, true
	case "hypervisor":
		return []string{"xen"}, true
	case "image-id":
		return []string{i.ID}, true
	case "image-type":
		return []string{"machine"}, true
	case "is-public":
		return []string{boolString(i.Public)}, true
	case "manifest-location":
		return []string{i.OwnerID + "/" + i.Name}, true
	case "name":
		return []string{i.Name}, true
	case "owner-alias", "platform", "product-code", "product-code.type", "kernel-id", "ramdisk-id":
		return nil, true // no image here has any
	case "owner-id":
		return []string{i.OwnerID}, true
	case "root-device-name":
		return []string{rootDevice}, true
	case "root-device-type":
		return []string{"ebs"}, true
	case "source-image-id":
		return single(i.SourceImage), true
	case "source-instance-id":
		return single(i.SourceMachine), true
	case "state":
		return []string{i.State}, true
	case "state-reason-code":
		return single(i.Reason.Code), true
	case "state-reason-message":
		return single(i.Reason.Message), true
	case "virtualization-type":
		return []string{"hvm"}, true
	}
	return nil, false
}

// imageView is an image as DescribeImages shows it.
type imageView struct {
	ImageID                  string        `xml:"imageId"`
	ImageLocation            string        `xml:"imageLocation"`
	State                    string        `xml:"imageState"`
	OwnerID                  string        `xml:"imageOwnerId"`
	CreationDate             string        `xml:"creationDate"`
	Public                   bool          `xml:"isPublic"`
	Architecture             string        `xml:"architecture"`
	ImageType                string        `xml:"imageType"`
	PlatformDetails          string        `xml:"platformDetails"`
	UsageOperation           string        `xml:"usageOperation"`
	SriovNetSupport          string        `xml:"sriovNetSupport"`
	Name                     string        `xml:"name"`
	Description              string        `xml:"description,omitempty"`
	RootDeviceType           string        `xml:"rootDeviceType"`
	RootDeviceName           string        `xml:"rootDeviceName"`
	Devices                  []blockDevice `xml:"blockDeviceMapping>item"`
	VirtualizationType       string        `xml:"virtualizationType"`
	Hypervisor               string        `xml:"hypervisor"`
	ENASupport               bool          `xml:"enaSupport"`
	BootMode                 string        `xml:"bootMode"`
	DeprecationTime          string        `xml:"deprecationTime,omitempty"`
	DeregistrationProtection string        `xml:"deregistrationProtection,omitempty"`
	IMDSSupport              string        `xml:"imdsSupport,omitempty"`
	SourceInstanceID         string        `xml:"sourceInstanceId,omitempty"`
	SourceImageID            string        `xml:"sourceImageId,omitempty"`
	SourceImageRegion        string        `xml:"sourceImageRegion,omitempty"`
	StateReason              *stateReason  `xml:"stateReason"`
	Tags                     tags          `xml:"tagSet>item"`
}

func (s *Service) viewImage(i *image) imageView {
	v := imageView{
		ImageID: i.ID, ImageLocation: i.OwnerID + "/" + i.Name, State: i.State, OwnerID: i.OwnerID,
		CreationDate: timestamp(i.Created), Public: i.Public, Architecture: i.Architecture, ImageType: "machine",
		PlatformDetails: "Linux/UNIX", UsageOperation: "RunInstances", SriovNetSupport: "simple",
		Name: i.Name, Description: i.Description, RootDeviceType: "ebs", RootDeviceName: rootDevice,
		VirtualizationType: "hvm", Hypervisor: "xen", ENASupport: true, BootMode: "uefi-preferred",
		IMDSSupport: i.IMDSSupport, SourceInstanceID: i.SourceMachine, SourceImageID: i.SourceImage,
		StateReason: i.Reason.reason(), Tags: i.Tags, Devices: i.Devices,
	}
	if i.OwnerID == s.account {
		v.DeregistrationProtection = i.Protection
		if v.DeregistrationProtection == "" {
			v.DeregistrationProtection = "disabled"
		}
	}
	if i.SourceImage != "" {
		v.SourceImageRegion = s.region
	}
	if i.Deprecation != nil {
		v.DeprecationTime = timestamp(*i.Deprecation)
	}
	return v
}

// snapshot is what an image's root device is made of.
type snapshot struct {
	ID          string
	ImageID     string // the image that it backs; "" once that is deregistered
	OwnerID     string
	Description string
	VolumeID    string
	Size        int // GiB
	Encrypted   bool
	State       string // pending, completed, error
	Message     string
	Started     time.Time
	Ref         string // compute's reference
	Tags        tags
}

func (sn *snapshot) key() (time.Time, string) { return sn.Started, sn.ID }
func (sn *snapshot) tagged() tags             { return sn.Tags }

func (sn *snapshot) progress() string {
	if sn.State == "completed" {
		return "100%"
	}
	return "0%"
}

func (sn *snapshot) attribute(name string) ([]string, bool) {
	switch name {
	case "description":
		return []string{sn.Description}, true
	case "encrypted":
		return []string{boolString(sn.Encrypted)}, true
	case "owner-alias":
		return nil, true
	case "owner-id":
		return []string{sn.OwnerID}, true
	case "progress":
		return []string{sn.progress()}, true
	case "snapshot-id":
		return []string{sn.ID}, true
	case "start-time":
		return []string{timestamp(sn.Started)}, true
	case "status":
		return []string{sn.State}, true
	case "storage-tier":
		return []string{"standard"}, true
	case "volume-id":
		return []string{sn.VolumeID}, true
	case "volume-size":
		return []string{fmt.Sprint(sn.Size)}, true
	}
	return nil, false
}

type snapshotView struct {
	SnapshotID  string    `xml:"snapshotId"`
	VolumeID    string    `xml:"volumeId"`
	State       string    `xml:"status"`
	Message     string    `xml:"statusMessage,omitempty"`
	StartTime   time.Time `xml:"startTime"`
	Progress    string    `xml:"progress"`
	OwnerID     string    `xml:"ownerId"`
	VolumeSize  int       `xml:"volumeSize"`
	Description string    `xml:"description"`
	Encrypted   bool      `xml:"encrypted"`
	StorageTier string    `xml:"storageTier"`
	Tags        tags      `xml:"tagSet>item"`
}

func (s *Service) imageActions() map[string]wire.Action {
	return map[string]wire.Action{
		"CreateImage":                          wire.Do(s.createImage),
		"DeleteSnapshot":                       wire.Do(s.deleteSnapshot),
		"DeregisterImage":                      wire.Do(s.deregisterImage),
		"DescribeImageAttribute":               wire.Do(s.describeImageAttribute),
		"DescribeImages":                       wire.Do(s.describeImages),
		"DescribeSnapshots":                    wire.Do(s.describeSnapshots),
		"DisableImageDeprecation":              wire.Do(s.disableImageDeprecation),
		"DisableImageDeregistrationProtection": wire.Do(s.disableImageProtection),
		"EnableImageDeprecation":               wire.Do(s.enableImageDeprecation),
		"EnableImageDeregistrationProtection":  wire.Do(s.enableImageProtection),
		"ModifyImageAttribute":                 wire.Do(s.modifyImageAttribute),
		"ModifySnapshotAttribute":              wire.Do(s.modifySnapshotAttribute),
	}
}

// sourceImage finds compute's Debian image, which may take minutes, once for everyone who waits for it.
type sourceImage struct {
	turn chan struct{} // holds one token while someone looks
	id   string        // guarded by turn; "" until found
}

// source returns the ID of the Debian image, which it makes a record of. The ID follows from compute's reference, so
// that it is the same until the image changes.
func (s *Service) sourceID(ctx context.Context) (string, error) {
	select {
	case s.source.turn <- struct{}{}:
		defer func() { <-s.source.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if s.source.id != "" {
		return s.source.id, nil
	}
	// Not the caller's context: who gives up waiting must not undo minutes of work.
	ref, err := s.compute.SourceImage(s.ctx, s.arch)
	if err != nil {
		return "", fmt.Errorf("prepare the Debian machine image: %w", err)
	}
	made := s.debianImage(ref)
	err = s.change(func() error {
		for id, i := range s.state.Images { // what an older reference stood for
			if i.OwnerID == debianOwner && i.Ref != ref {
				delete(s.state.Images, id)
			}
		}
		if s.state.Images[made.ID] == nil {
			s.state.Images[made.ID] = made
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	s.source.id = made.ID
	return made.ID, nil
}

// debianImage returns the record of the Debian image. Without a reference it has no ID.
func (s *Service) debianImage(ref string) *image {
	arch := "amd64"
	if s.arch == "arm64" {
		arch = "arm64"
	}
	i := &image{
		Name:         fmt.Sprintf("debian-13-%s-%s", arch, debianBuild),
		Description:  "Debian 13 (" + debianBuild + ")",
		OwnerID:      debianOwner,
		Architecture: s.arch,
		Created:      debianDate,
		State:        "available",
		Public:       true,
		IMDSSupport:  "v2.0",
		Ref:          ref,
		Devices: []blockDevice{{DeviceName: rootDevice, EBS: imageEBS{
			VolumeSize: rootSize, VolumeType: "gp3", DeleteOnTermination: true, IOPS: 3000, Throughput: 125,
		}}},
	}
	if ref != "" {
		sum := sha256.Sum256([]byte(ref))
		digits := hex.EncodeToString(sum[:])[:17]
		i.ID = "ami-" + digits
		i.Devices[0].EBS.SnapshotID = "snap-" + digits
	}
	return i
}

var imageID = regexp.MustCompile(`^ami-([0-9a-f]{8}|[0-9a-f]{17})$`)

// image returns an image. The caller holds s.mu.
func (s *Service) image(id string) (*image, error) {
	if !imageID.MatchString(id) {
		return nil, wire.Errorf("InvalidAMIID.Malformed", `Invalid id: "%s"`, id)
	}
	if i := s.state.Images[id]; i != nil {
		return i, nil
	}
	return nil, wire.Errorf("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
}

// ownImage returns an image of the account's own.
func (s *Service) ownImage(id string) (*image, error) {
	i, err := s.image(id)
	if err == nil && i.OwnerID != s.account {
		return nil, wire.Errorf("AuthFailure", "Not authorized for image:%s", id)
	}
	return i, err
}

type describeImagesInput struct {
	ImageIDs          []string `query:"ImageId"`
	Owners            []string `query:"Owner"`
	ExecutableBy      []string `query:"ExecutableBy"`
	Filters           filters  `query:"Filter"`
	IncludeDeprecated bool     `query:"IncludeDeprecated"`
	IncludeDisabled   bool     `query:"IncludeDisabled"` // images are never disabled here
	paging
}

type describeImagesOutput struct {
	Images    []imageView `xml:"imagesSet>item"`
	NextToken string      `xml:"nextToken,omitempty"`
}

func (s *Service) describeImages(ctx context.Context, in *describeImagesInput) (*describeImagesOutput, error) {
	if err := s.wantSource(ctx, in); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*image
	if len(in.ImageIDs) > 0 {
		for _, id := range in.ImageIDs {
			i, err := s.image(id)
			if err != nil {
				return nil, err
			}
			all = append(all, i)
		}
	} else {
		for _, i := range s.state.Images {
			all = append(all, i)
		}
	}
	all = slices.DeleteFunc(all, func(i *image) bool {
		if !s.owned(i, in.Owners) || !s.executable(i, in.ExecutableBy) {
			return true
		}
		// Others' images are hidden once deprecated; one's own never are.
		return i.Deprecation != nil && i.Deprecation.Before(time.Now()) && i.OwnerID != s.account && !in.IncludeDeprecated && len(in.ImageIDs) == 0
	})
	found, next, err := describe(in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeImagesOutput{NextToken: next}
	for _, i := range found {
		out.Images = append(out.Images, s.viewImage(i))
	}
	return out, nil
}

// wantSource makes sure that the Debian image has a record where the request may be for it.
func (s *Service) wantSource(ctx context.Context, in *describeImagesInput) error {
	if len(in.ImageIDs) > 0 {
		s.mu.Lock()
		known := !slices.ContainsFunc(in.ImageIDs, func(id string) bool { return s.state.Images[id] == nil })
		s.mu.Unlock()
		if known {
			return nil
		}
	}
	candidate := s.debianImage("")
	fs := slices.DeleteFunc(slices.Clone(in.Filters), func(f filter) bool {
		return f.Name == "image-id" || f.Name == "block-device-mapping.snapshot-id" // not known yet
	})
	if !s.owned(candidate, in.Owners) || !s.executable(candidate, in.ExecutableBy) || !fs.match(candidate) {
		return nil
	}
	_, err := s.sourceID(ctx)
	return err
}

// owned tells whether an image belongs to one of the owners: account numbers, self, or an alias.
func (s *Service) owned(i *image, owners []string) bool {
	return len(owners) == 0 || slices.ContainsFunc(owners, func(o string) bool {
		return o == i.OwnerID || o == "self" && i.OwnerID == s.account
	})
}

func (s *Service) executable(i *image, users []string) bool {
	return len(users) == 0 || slices.ContainsFunc(users, func(u string) bool {
		switch u {
		case "all":
			return i.Public
		case "self":
			return slices.Contains(i.LaunchUsers, s.account)
		}
		return slices.Contains(i.LaunchUsers, u)
	})
}

// blockDeviceMapping is how requests declare a block device.
type blockDeviceMapping struct {
	DeviceName  *string     `query:"DeviceName" xml:"deviceName" json:",omitempty"`
	NoDevice    *string     `query:"NoDevice" xml:"noDevice" json:",omitempty"`
	VirtualName *string     `query:"VirtualName" xml:"virtualName" json:",omitempty"`
	EBS         *ebsRequest `query:"Ebs" xml:"ebs" json:",omitempty"`
}

type ebsRequest struct {
	DeleteOnTermination      *bool   `query:"DeleteOnTermination" xml:"deleteOnTermination" json:",omitempty"`
	Encrypted                *bool   `query:"Encrypted" xml:"encrypted" json:",omitempty"`
	IOPS                     *int    `query:"Iops" xml:"iops" json:",omitempty"`
	KMSKeyID                 *string `query:"KmsKeyId" xml:"kmsKeyId" json:",omitempty"`
	SnapshotID               *string `query:"SnapshotId" xml:"snapshotId" json:",omitempty"`
	Throughput               *int    `query:"Throughput" xml:"throughput" json:",omitempty"`
	VolumeInitializationRate *int    `query:"VolumeInitializationRate" xml:"volumeInitializationRate" json:",omitempty"`
	VolumeSize               *int    `query:"VolumeSize" xml:"volumeSize" json:",omitempty"`
	VolumeType               *string `query:"VolumeType" xml:"volumeType" json:",omitempty" wire:"enum=gp2|gp3|io1|io2|st1|sc1|standard"`
}

// rootFrom returns the root device after the mappings of a request: they may change it, and declare devices away, but
// there are no other volumes.
func rootFrom(root imageEBS, mappings []blockDeviceMapping) (imageEBS, error) {
	for _, m := range mappings {
		switch {
		case m.NoDevice != nil || m.VirtualName != nil: // nothing, or an instance store that no type here has
			continue
		case deref(m.DeviceName) != rootDevice:
			return root, wire.Errorf("Unsupported", "The local cloud's instances have a root volume only: %s (requested: %s)", rootDevice, deref(m.DeviceName))
		case m.EBS == nil:
			continue
		}
		e := m.EBS
		if v := e.SnapshotID; v != nil && *v != root.SnapshotID {
			return root, wire.Errorf("InvalidBlockDeviceMapping", "snapshotId can only be modified on EBS devices")
		}
		if v := e.VolumeSize; v != nil {
			if *v < root.VolumeSize {
				return root, wire.Errorf("InvalidBlockDeviceMapping", "Volume of size %dGB is smaller than snapshot '%s', expect size >= %dGB", *v, root.SnapshotID, root.VolumeSize)
			}
			root.VolumeSize = *v
		}
		if v := e.VolumeType; v != nil && *v != root.VolumeType {
			root.VolumeType = *v
			root.IOPS, root.Throughput = 0, 0
			if *v == "gp3" {
				root.IOPS, root.Throughput = 3000, 125 // its baseline
			}
		}
		if v := e.IOPS; v != nil {
			root.IOPS = *v
		}
		if v := e.Throughput; v != nil {
			root.Throughput = *v
		}
		if v := e.Encrypted; v != nil {
			root.Encrypted = *v
		}
		if v := e.DeleteOnTermination; v != nil {
			root.DeleteOnTermination = *v
		}
	}
	return root, nil
}

type createImageInput struct {
	InstanceID string               `query:"InstanceId" wire:"required"`
	Name       string               `query:"Name" wire:"required"`
	Desc       string               `query:"Description"`
	NoReboot   bool                 `query:"NoReboot"`
	Devices    []blockDeviceMapping `query:"BlockDeviceMapping"`
	TagSpecs   tagSpecifications    `query:"TagSpecification"`
}

type createImageOutput struct {
	ImageID string `xml:"imageId"`
}

// AWS: 3 to 128 letters, digits, and these other characters.
var imageName = regexp.MustCompile(`^[a-zA-Z0-9()\[\] ./\-'@_]{3,128}$`)

func (s *Service) createImage(_ context.Context, in *createImageInput) (*createImageOutput, error) {
	if !imageName.MatchString(in.Name) {
		return nil, wire.Errorf("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '[', ']', ' ', '.', '/', '-', \"'\", '@' and '_'")
	}
	imageTags, err := in.TagSpecs.of("image", "snapshot")
	if err != nil {
		return nil, err
	}
	snapshotTags, err := in.TagSpecs.of("snapshot", "image")
	if err != nil {
		return nil, err
	}
	made := &image{
		ID: newID("ami"), Name: in.Name, Description: in.Desc, OwnerID: s.account, Created: time.Now().UTC(), State: "pending",
		SourceMachine: in.InstanceID, NoReboot: in.NoReboot, Tags: imageTags,
	}
	err = s.change(func() error {
		inst, err := s.instance(in.InstanceID)
		if err != nil {
			return err
		}
		if inst.State != stateRunning && inst.State != stateStopped {
			return wire.Errorf("IncorrectState", "Instance '%s' is not in the 'running' or 'stopped' state: it is '%s'", inst.ID, inst.State)
		}
		for _, other := range s.state.Images {
			if other.OwnerID == s.account && other.Name == in.Name {
				return wire.Errorf("InvalidAMIName.Duplicate", "AMI name %s is already in use by AMI %s", in.Name, other.ID)
			}
		}
		made.Architecture, made.SourceImage, made.IMDSSupport = inst.Architecture, inst.ImageID, inst.ImageIMDS
		root := imageEBS{VolumeSize: rootSize, VolumeType: "gp3", DeleteOnTermination: true, IOPS: 3000, Throughput: 125}
		vol := s.state.Volumes[inst.VolumeID]
		if vol != nil {
			root = imageEBS{
				VolumeSize: vol.VolumeSize, VolumeType: vol.VolumeType, IOPS: vol.IOPS, Throughput: vol.Throughput,
				Encrypted: vol.Encrypted, DeleteOnTermination: vol.DeleteOnTermination,
			}
		}
		if root, err = rootFrom(root, in.Devices); err != nil {
			return err
		}
		snap := &snapshot{
			ID: newID("snap"), ImageID: made.ID, OwnerID: s.account, VolumeID: inst.VolumeID, Size: root.VolumeSize,
			Encrypted: root.Encrypted, State: "pending", Started: made.Created, Tags: snapshotTags,
			Description: fmt.Sprintf("Created by CreateImage(%s) for %s", inst.ID, made.ID),
		}
		root.SnapshotID = snap.ID
		made.Devices = []blockDevice{{DeviceName: rootDevice, EBS: root}}
		s.state.Images[made.ID] = made
		s.state.Snapshots[snap.ID] = snap
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.work.Go(func() { s.commit(made.ID) })
	return &createImageOutput{ImageID: made.ID}, nil
}

// commit makes a pending image of its machine. A machine that runs is stopped for it and started again, unless the image
// was asked for without a reboot.
func (s *Service) commit(id string) {
	s.mu.Lock()
	i := s.state.Images[id]
	if i == nil || i.State != "pending" {
		s.mu.Unlock()
		return
	}
	machine, noReboot := i.SourceMachine, i.NoReboot
	s.mu.Unlock()

	unlock, ok := s.lockMachine(machine)
	if !ok {
		return // closing: the next start takes it up again
	}
	ref, err := s.commitMachine(machine, id, noReboot)
	unlock()
	if s.ctx.Err() != nil {
		return
	}
	orphan := false
	s.update(func() {
		i := s.state.Images[id]
		if i == nil { // deregistered meanwhile
			orphan = true
			return
		}
		snap := s.state.Snapshots[i.Devices[0].EBS.SnapshotID]
		if err != nil {
			i.State = "failed"
			i.Reason = stateReason{Code: "Server.InternalError", Message: err.Error()}
			if snap != nil {
				snap.State, snap.Message = "error", err.Error()
			}
			return
		}
		i.State, i.Ref = "available", ref
		if snap != nil {
			snap.State, snap.Ref = "completed", ref
		}
	})
	if err != nil {
		s.log.Error("create image", "image", id, "instance", machine, "error", err)
	}
	if orphan && ref != "" {
		s.removeImage(ref)
	}
}

func (s *Service) removeImage(ref string) {
	if err := s.compute.RemoveImage(s.ctx, ref); err != nil {
		s.log.Warn("remove machine image", "image", ref, "error", err)
	}
}

type describeImageAttributeInput struct {
	ImageID   string `query:"ImageId" wire:"required"`
	Attribute string `query:"Attribute" wire:"required,enum=description|launchPermission|blockDeviceMapping|imdsSupport|deregistrationProtection"`
}

// attributeValue is an attribute of one value in requests and answers.
type attributeValue struct {
	Value string `query:"Value" xml:"value"`
}

// attributeBool is an attribute that is true or false.
type attributeBool struct {
	Value bool `query:"Value" xml:"value"`
}

type launchPermission struct {
	UserID string `query:"UserId" xml:"userId,omitempty"`
	Group  string `query:"Group" xml:"group,omitempty" wire:"enum=all"`
}

type describeImageAttributeOutput struct {
	ImageID                  string             `xml:"imageId"`
	Description              *attributeValue    `xml:"description"`
	LaunchPermissions        []launchPermission `xml:"launchPermission>item"`
	Devices                  []blockDevice      `xml:"blockDeviceMapping>item"`
	IMDSSupport              *attributeValue    `xml:"imdsSupport"`
	DeregistrationProtection *attributeValue    `xml:"deregistrationProtection"`
}

func (s *Service) describeImageAttribute(_ context.Context, in *describeImageAttributeInput) (*describeImageAttributeOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.image(in.ImageID)
	if err != nil {
		return nil, err
	}
	out := &describeImageAttributeOutput{ImageID: i.ID}
	switch in.Attribute {
	case "description":
		out.Description = &attributeValue{i.Description}
	case "launchPermission":
		for _, user := range i.LaunchUsers {
			out.LaunchPermissions = append(out.LaunchPermissions, launchPermission{UserID: user})
		}
		if i.Public {
			out.LaunchPermissions = append(out.LaunchPermissions, launchPermission{Group: "all"})
		}
	case "blockDeviceMapping":
		out.Devices = i.Devices
	case "imdsSupport":
		out.IMDSSupport = &attributeValue{i.IMDSSupport}
	case "deregistrationProtection":
		out.DeregistrationProtection = &attributeValue{s.viewImage(i).DeregistrationProtection}
	}
	return out, nil
}

type modifyImageAttributeInput struct {
	ImageID       string          `query:"ImageId" wire:"required"`
	Attribute     string          `query:"Attribute" wire:"enum=description|launchPermission|imdsSupport"`
	Value         *string         `query:"Value"`
	Description   *attributeValue `query:"Description"`
	IMDSSupport   *attributeValue `query:"ImdsSupport"`
	OperationType string          `query:"OperationType" wire:"enum=add|remove"`
	UserIDs       []string        `query:"UserId"`
	UserGroups    []string        `query:"UserGroup" wire:"enum=all"`
	Permission    *struct {
		Add    []launchPermission `query:"Add"`
		Remove []launchPermission `query:"Remove"`
	} `query:"LaunchPermission"`
}

func (s *Service) modifyImageAttribute(_ context.Context, in *modifyImageAttributeInput) (*wire.Return, error) {
	// The old form names the attribute and gives a value, or an operation with users and groups.
	if in.Value != nil {
		switch in.Attribute {
		case "description":
			in.Description = &attributeValue{*in.Value}
		case "imdsSupport":
			in.IMDSSupport = &attributeValue{*in.Value}
		default:
			return nil, wire.Errorf("InvalidParameterCombination", "The parameter Value needs an Attribute of one value")
		}
	}
	if in.IMDSSupport != nil && in.IMDSSupport.Value != "v2.0" {
		return nil, wire.Errorf("InvalidParameterValue", "Value (%s) for parameter imdsSupport is invalid", in.IMDSSupport.Value)
	}
	var add, remove []launchPermission
	if in.Permission != nil {
		add, remove = in.Permission.Add, in.Permission.Remove
	}
	for _, user := range in.UserIDs {
		add = append(add, launchPermission{UserID: user})
	}
	for _, group := range in.UserGroups {
		add = append(add, launchPermission{Group: group})
	}
	if in.OperationType == "remove" {
		add, remove = nil, append(remove, add...)
	}
	if in.Description == nil && in.IMDSSupport == nil && add == nil && remove == nil {
		return nil, missing("Description", "LaunchPermission", "ImdsSupport")
	}
	err := s.change(func() error {
		i, err := s.ownImage(in.ImageID)
		if err != nil {
			return err
		}
		if in.Description != nil {
			i.Description = in.Description.Value
		}
		if in.IMDSSupport != nil {
			i.IMDSSupport = in.IMDSSupport.Value
		}
		for _, p := range add {
			if p.Group == "all" {
				i.Public = true
			} else if !slices.Contains(i.LaunchUsers, p.UserID) {
				i.LaunchUsers = append(i.LaunchUsers, p.UserID)
			}
		}
		for _, p := range remove {
			if p.Group == "all" {
				i.Public = false
			} else {
				i.LaunchUsers = slices.DeleteFunc(i.LaunchUsers, func(u string) bool { return u == p.UserID })
			}
		}
		return nil
	})
	return &wire.Return{Return: true}, err
}

type modifySnapshotAttributeInput struct {
	SnapshotID    string   `query:"SnapshotId" wire:"required"`
	Attribute     string   `query:"Attribute" wire:"enum=createVolumePermission"`
	OperationType string   `query:"OperationType" wire:"enum=add|remove"`
	UserIDs       []string `query:"UserId"`
	UserGroups    []string `query:"UserGroup"`
}

// modifySnapshotAttribute refuses: there is no other account to share a snapshot with, so nobody could see whether it
// was shared.
func (s *Service) modifySnapshotAttribute(context.Context, *modifySnapshotAttributeInput) (*wire.Return, error) {
	return nil, wire.Errorf("UnsupportedOperation", "The local cloud has one account: snapshots cannot be shared")
}

type deregisterImageInput struct {
	ImageID         string `query:"ImageId" wire:"required"`
	DeleteSnapshots bool   `query:"DeleteAssociatedSnapshots"`
}

type deregisterImageOutput struct {
	Return  bool             `xml:"return"`
	Results []snapshotResult `xml:"deleteSnapshotResultSet>item"`
}

type snapshotResult struct {
	SnapshotID string `xml:"snapshotId"`
	ReturnCode string `xml:"returnCode"`
}

func (s *Service) deregisterImage(_ context.Context, in *deregisterImageInput) (*deregisterImageOutput, error) {
	out := &deregisterImageOutput{Return: true}
	ref := ""
	err := s.change(func() error {
		i, err := s.ownImage(in.ImageID)
		switch {
		case code(err) == "InvalidAMIID.NotFound":
			return wire.Errorf("InvalidAMIID.Unavailable", "The image ID '%s' is no longer available", in.ImageID)
		case err != nil:
			return err
		case i.Protection == "enabled":
			return wire.Errorf("OperationNotPermitted", "The image '%s' cannot be deregistered while deregistration protection is enabled", i.ID)
		}
		delete(s.state.Images, i.ID)
		snap := s.state.Snapshots[i.Devices[0].EBS.SnapshotID]
		switch {
		case snap == nil:
			ref = i.Ref
		case in.DeleteSnapshots:
			delete(s.state.Snapshots, snap.ID)
			out.Results = append(out.Results, snapshotResult{snap.ID, "success"})
			ref = i.Ref
		default:
			snap.ImageID = ""
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Instances that run from the image keep what they need of it: that is compute's business.
	if ref != "" {
		s.work.Go(func() { s.removeImage(ref) })
	}
	return out, nil
}

type imageInput struct {
	ImageID string `query:"ImageId" wire:"required"`
}

type enableDeprecationInput struct {
	ImageID     string    `query:"ImageId" wire:"required"`
	DeprecateAt time.Time `query:"DeprecateAt" wire:"required"`
}

func (s *Service) enableImageDeprecation(_ context.Context, in *enableDeprecationInput) (*wire.Return, error) {
	if in.DeprecateAt.Before(time.Now()) {
		return nil, wire.Errorf("InvalidParameterValue", "The deprecation date must be in the future")
	}
	at := in.DeprecateAt.Round(time.Minute) // as AWS does
	return s.changeImage(in.ImageID, func(i *image) { i.Deprecation = &at })
}

func (s *Service) disableImageDeprecation(_ context.Context, in *imageInput) (*wire.Return, error) {
	return s.changeImage(in.ImageID, func(i *image) { i.Deprecation = nil })
}

type imageProtectionOutput struct {
	Return string `xml:"return"`
}

type enableProtectionInput struct {
	ImageID string `query:"ImageId" wire:"required"`
	// WithCooldown keeps the protection for 24 h after it is disabled, which nobody wants to wait for here.
	WithCooldown bool `query:"WithCooldown"`
}

func (s *Service) enableImageProtection(_ context.Context, in *enableProtectionInput) (*imageProtectionOutput, error) {
	if in.WithCooldown {
		return nil, wire.Errorf("UnsupportedOperation", "The local cloud has no deregistration protection with a cooldown")
	}
	_, err := s.changeImage(in.ImageID, func(i *image) { i.Protection = "enabled" })
	return &imageProtectionOutput{"enabled-without-cooldown"}, err
}

func (s *Service) disableImageProtection(_ context.Context, in *imageInput) (*imageProtectionOutput, error) {
	_, err := s.changeImage(in.ImageID, func(i *image) { i.Protection = "disabled" })
	return &imageProtectionOutput{"disabled"}, err
}

func (s *Service) changeImage(id string, f func(*image)) (*wire.Return, error) {
	err := s.change(func() error {
		i, err := s.ownImage(id)
		if err == nil {
			f(i)
		}
		return err
	})
	return &wire.Return{Return: true}, err
}

type describeSnapshotsInput struct {
	SnapshotIDs  []string `query:"SnapshotId"`
	Owners       []string `query:"Owner"`
	RestorableBy []string `query:"RestorableBy"`
	Filters      filters  `query:"Filter"`
	paging
}

type describeSnapshotsOutput struct {
	Snapshots []snapshotView `xml:"snapshotSet>item"`
	NextToken string         `xml:"nextToken,omitempty"`
}

func (s *Service) describeSnapshots(_ context.Context, in *describeSnapshotsInput) (*describeSnapshotsOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := find(s.state.Snapshots, in.SnapshotIDs, "InvalidSnapshot.NotFound", "snapshot")
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(sn *snapshot) bool {
		for _, owners := range [][]string{in.Owners, in.RestorableBy} {
			if len(owners) > 0 && !slices.Contains(owners, sn.OwnerID) && !(slices.Contains(owners, "self") && sn.OwnerID == s.account) {
				return true
			}
		}
		return false
	})
	found, next, err := describe(in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeSnapshotsOutput{NextToken: next}
	for _, sn := range found {
		out.Snapshots = append(out.Snapshots, snapshotView{
			SnapshotID: sn.ID, VolumeID: sn.VolumeID, State: sn.State, Message: sn.Message, StartTime: sn.Started,
			Progress: sn.progress(), OwnerID: sn.OwnerID, VolumeSize: sn.Size, Description: sn.Description,
			Encrypted: sn.Encrypted, StorageTier: "standard", Tags: sn.Tags,
		})
	}
	return out, nil
}

type deleteSnapshotInput struct {
	SnapshotID string `query:"SnapshotId" wire:"required"`
}

func (s *Service) deleteSnapshot(_ context.Context, in *deleteSnapshotInput) (*wire.Return, error) {
	ref := ""
	err := s.change(func() error {
		sn, err := get(s.state.Snapshots, in.SnapshotID, "InvalidSnapshot.NotFound", "snapshot")
		if err != nil {
			return err
		}
		if i := s.state.Images[sn.ImageID]; i != nil {
			return wire.Errorf("InvalidSnapshot.InUse", "The snapshot %s is currently in use by %s", sn.ID, i.ID)
		}
		delete(s.state.Snapshots, sn.ID)
		ref = sn.Ref
		return nil
	})
	if err != nil {
		return nil, err
	}
	if ref != "" {
		s.work.Go(func() { s.removeImage(ref) })
	}
	return &wire.Return{Return: true}, nil
}
