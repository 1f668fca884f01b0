package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Debian's account, whose images the local cloud has one of.
const debianOwner = "136693071363"

// The source image's name and date are those of a Debian 13 release on EC2.
const debianBuild = "20251117-2299"

var debianDate = time.Date(2025, time.November, 17, 9, 0, 0, 0, time.UTC)

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
	Devices       []blockDevice
	IMDSSupport   string
	SourceImage   string
	SourceMachine string // the instance it is made of
	NoReboot      bool
	ClientToken   string `json:",omitempty"` // of the call that copied it
	Tags          tags
	Ref           string // compute's reference

	region string // what a filter asks for, filled in where images are filtered
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
	KMSKeyID            string `xml:"-" json:",omitempty"` // ARN of the customer's key; empty for EBS's own, and where nothing is encrypted
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

// root returns the image's root device, which is its only one.
func (i *image) root() blockDevice {
	if len(i.Devices) == 0 {
		return blockDevice{}
	}
	return i.Devices[0]
}

func (i *image) attribute(name string) ([]string, bool) {
	root := i.root()
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
	case "block-device-mapping.volume-size":
		return []string{fmt.Sprint(root.EBS.VolumeSize)}, true
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
		return []string{root.DeviceName}, true
	case "root-device-type":
		return []string{"ebs"}, true
	case "source-image-id":
		return single(i.SourceImage), true
	case "source-image-region":
		if i.SourceImage == "" {
			return nil, true
		}
		return single(i.region), true
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
		Name: i.Name, Description: i.Description, RootDeviceType: "ebs", RootDeviceName: i.root().DeviceName,
		VirtualizationType: "hvm", Hypervisor: "xen", ENASupport: true, BootMode: "uefi-preferred",
		IMDSSupport: i.IMDSSupport, SourceInstanceID: i.SourceMachine, SourceImageID: i.SourceImage,
		StateReason: i.Reason.reason(), Tags: i.Tags, Devices: i.Devices,
	}
	if i.OwnerID == s.account {
		v.DeregistrationProtection = "disabled"
	}
	if i.SourceImage != "" {
		v.SourceImageRegion = s.region
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
	KMSKeyID    string `json:",omitempty"` // the customer's
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
	KMSKeyID    string    `xml:"kmsKeyId,omitempty"`
	StorageTier string    `xml:"storageTier"`
	Tags        tags      `xml:"tagSet>item"`
}

func (s *Service) imageActions() map[string]wire.Action {
	return map[string]wire.Action{
		"CreateImage":          wire.Do(s.createImage, s.creatingImage),
		"CopyImage":            wire.Do(s.copyImage, s.copyingImage),
		"DeleteSnapshot":       wire.Do(s.deleteSnapshot, func(in *deleteSnapshotInput) []wire.Access { return s.onAll(in.SnapshotID) }),
		"DeregisterImage":      wire.Do(s.deregisterImage, s.deregistering),
		"DescribeImages":       wire.DoUnscoped(s.describeImages),
		"DescribeSnapshots":    wire.DoUnscoped(s.describeSnapshots),
		"ModifyImageAttribute": wire.Do(s.modifyImageAttribute, s.modifyingImage),
	}
}

// sourceImage finds compute's Debian image, which may take minutes, once for everyone who waits for it.
type sourceImage struct {
	lock lock
	id   string // guarded by lock; "" until found
}

// sourceID returns the ID of the Debian image, which it makes a record of. It is the same as long as compute has the same
// reference, also in a copy of the cloud, where the reference is another one: all that is made from it would be out of date.
func (s *Service) sourceID(ctx context.Context) (string, error) {
	if err := s.source.lock.take(ctx); err != nil {
		return "", err
	}
	defer s.source.lock.release()
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
		for id, i := range s.state.Images {
			switch {
			case i.OwnerID != debianOwner:
			case i.Ref == ref:
				made = i
			default: // what an older reference stood for
				delete(s.state.Images, id)
			}
		}
		s.state.Images[made.ID] = made
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
		Devices: []blockDevice{{DeviceName: s.shape.RootDevice(), EBS: imageEBS{
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

// image returns an image. The caller holds the lock.
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
	Filters           filters  `query:"Filter"`
	IncludeDeprecated bool     `query:"IncludeDeprecated"` // images are never deprecated here
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
	s.document.Lock()
	defer s.document.Unlock()
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
	all = slices.DeleteFunc(all, func(i *image) bool { return !s.owned(i, in.Owners) })
	for _, i := range all {
		i.region = s.region
	}
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
	if s.present != nil {
		s = s.present
	}
	if len(in.ImageIDs) > 0 {
		s.document.Lock()
		known := !slices.ContainsFunc(in.ImageIDs, func(id string) bool { return s.state.Images[id] == nil })
		s.document.Unlock()
		if known {
			return nil
		}
	}
	candidate := s.debianImage("")
	fs := slices.DeleteFunc(slices.Clone(in.Filters), func(f filter) bool {
		return f.Name == "image-id" || f.Name == "block-device-mapping.snapshot-id" // not known yet
	})
	if !s.owned(candidate, in.Owners) || !fs.match(candidate) {
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

// blockDeviceMapping is how requests declare a block device.
type blockDeviceMapping struct {
	DeviceName  *string     `query:"DeviceName" xml:"deviceName" json:",omitempty"`
	NoDevice    *string     `query:"NoDevice" xml:"noDevice" json:",omitempty" wire:"empty"`
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

// devices returns the volumes of an image with this root device after the mappings of a request, the root's first: they may change
// that, declare devices away, and add others, which are empty.
func (s *Service) devices(root blockDevice, mappings []blockDeviceMapping) ([]blockDevice, error) {
	all := []blockDevice{root}
	for _, m := range mappings {
		name := deref(m.DeviceName)
		switch {
		case m.NoDevice != nil || m.VirtualName != nil: // nothing, or an instance store that no type here has
			continue
		case name == root.DeviceName && m.EBS == nil:
			continue
		case name == root.DeviceName:
			changed, err := root.EBS.with(m.EBS)
			if err != nil {
				return nil, err
			}
			all[0].EBS = changed
			continue
		case m.EBS == nil || m.EBS.VolumeSize == nil && m.EBS.SnapshotID == nil:
			return nil, missing("size", "snapshotId")
		case m.EBS.SnapshotID != nil:
			return nil, wire.Errorf("Unsupported", "The local cloud's volumes beside the root volume %s cannot be made of a snapshot (requested: %s)", root.DeviceName, name)
		}
		added, err := imageEBS{VolumeType: "gp2"}.with(m.EBS) // AWS's default type
		if err != nil {
			return nil, err
		}
		all = append(all, blockDevice{name, added})
	}
	for n := range all {
		e := &all[n].EBS
		switch {
		case s.defaultKey != "" && (e.KMSKeyID == "" || strings.HasSuffix(s.defaultKey, "/"+e.KMSKeyID)): // none, or its ID
			e.Encrypted, e.KMSKeyID = true, s.defaultKey
		case s.defaultKey != "":
			e.Encrypted = true
		case e.KMSKeyID != "" && !e.Encrypted:
			return nil, wire.Errorf("InvalidParameterDependency", "The parameter [KmsKeyId] requires the parameter Encrypted to be set.")
		}
	}
	return all, nil
}

// with returns the volume as a request changes it.
func (root imageEBS) with(e *ebsRequest) (imageEBS, error) {
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
	if v := e.KMSKeyID; v != nil {
		root.KMSKeyID = *v
	}
	if v := e.DeleteOnTermination; v != nil {
		root.DeleteOnTermination = *v
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

func malformedImageName() error {
	return wire.Errorf("InvalidAMIName.Malformed", "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '[', ']', ' ', '.', '/', '-', \"'\", '@' and '_'")
}

// checkImageName checks that no image of the account has the name. The caller holds the lock.
func (s *Service) checkImageName(name string) error {
	for _, other := range s.state.Images {
		if other.OwnerID == s.account && other.Name == name {
			return wire.Errorf("InvalidAMIName.Duplicate", "AMI name %s is already in use by AMI %s", name, other.ID)
		}
	}
	return nil
}

// ofImage returns the tags of a new image and of its snapshot.
func (specs tagSpecifications) ofImage() (image, snapshot tags, err error) {
	if image, err = specs.of("image", "snapshot"); err != nil {
		return nil, nil, err
	}
	snapshot, err = specs.of("snapshot", "image")
	return image, snapshot, err
}

type copyImageInput struct {
	Name        string            `query:"Name" wire:"required"`
	SourceID    string            `query:"SourceImageId" wire:"required"`
	Region      string            `query:"SourceRegion" wire:"required"`
	ClientToken string            `query:"ClientToken"`
	Description string            `query:"Description"`
	Encrypted   *bool             `query:"Encrypted"`
	CopyTags    bool              `query:"CopyImageTags"`
	TagSpecs    tagSpecifications `query:"TagSpecification"`
}

// copyImage copies an image of the region, which is there at once: the two share a machine image until both are gone.
func (s *Service) copyImage(_ context.Context, in *copyImageInput) (*createImageOutput, error) {
	switch {
	case !imageName.MatchString(in.Name):
		return nil, malformedImageName()
	case in.Region != s.region:
		return nil, wire.Errorf("InvalidRequest", "The local cloud has the region %s, and no images of %s", s.region, in.Region)
	}
	imageTags, snapshotTags, err := in.TagSpecs.ofImage()
	if err != nil {
		return nil, err
	}
	out := &createImageOutput{}
	return out, s.change(func() error {
		for _, other := range s.state.Images {
			if in.ClientToken != "" && other.ClientToken == in.ClientToken {
				out.ImageID = other.ID
				return nil
			}
		}
		source, err := s.image(in.SourceID)
		if err != nil {
			return err
		}
		if source.State != "available" {
			return wire.Errorf("InvalidAMIID.Unavailable", "The image ID '%s' is not available: it is '%s'", source.ID, source.State)
		}
		if err := s.checkImageName(in.Name); err != nil {
			return err
		}
		made := *source
		made.ID, made.Name, made.Description, made.OwnerID, made.Public = newID("ami"), in.Name, in.Description, s.account, false
		made.Created, made.SourceImage, made.SourceMachine, made.ClientToken = time.Now().UTC(), source.ID, "", in.ClientToken
		if made.Tags = imageTags; in.CopyTags {
			made.Tags = source.Tags.with(imageTags)
		}
		made.Devices = slices.Clone(source.Devices)
		root := &made.Devices[0].EBS
		if in.Encrypted != nil {
			root.Encrypted = *in.Encrypted
		}
		snap := &snapshot{
			ID: newID("snap"), ImageID: made.ID, OwnerID: s.account, Size: root.VolumeSize, Encrypted: root.Encrypted, State: "completed",
			Started: made.Created, Tags: snapshotTags, Ref: made.Ref,
			Description: fmt.Sprintf("Copied for DestinationAmi %s from SourceAmi %s for SourceSnapshot %s.", made.ID, source.ID, root.SnapshotID),
		}
		root.SnapshotID = snap.ID
		s.state.Images[made.ID], s.state.Snapshots[snap.ID] = &made, snap
		out.ImageID = made.ID
		return nil
	})
}

// unused returns the reference of a machine image that is to go, or "" where a copy still has it. The caller holds the lock.
func (s *Service) unused(ref string) string {
	for _, i := range s.state.Images {
		if i.Ref == ref {
			return ""
		}
	}
	for _, sn := range s.state.Snapshots {
		if sn.Ref == ref {
			return ""
		}
	}
	return ref
}

func (s *Service) createImage(_ context.Context, in *createImageInput) (*createImageOutput, error) {
	if !imageName.MatchString(in.Name) {
		return nil, malformedImageName()
	}
	imageTags, snapshotTags, err := in.TagSpecs.ofImage()
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
		if err := s.checkImageName(in.Name); err != nil {
			return err
		}
		made.Architecture, made.SourceImage, made.IMDSSupport = inst.Architecture, inst.ImageID, inst.ImageIMDS
		root := imageEBS{VolumeSize: rootSize, VolumeType: "gp3", DeleteOnTermination: true, IOPS: 3000, Throughput: 125}
		vol := s.state.Volumes[inst.VolumeID]
		if vol != nil {
			root = vol.imageEBS
			root.SnapshotID = ""
		}
		devices, err := s.devices(blockDevice{inst.rootDevice(), root}, in.Devices)
		switch {
		case err != nil:
			return err
		case len(devices) > 1 || len(s.volumesOf(inst)) > 1:
			return wire.Errorf("Unsupported", "The local cloud's images have a root volume only: %s", inst.rootDevice())
		}
		root = devices[0].EBS
		snap := &snapshot{
			ID: newID("snap"), ImageID: made.ID, OwnerID: s.account, VolumeID: inst.VolumeID, Size: root.VolumeSize,
			Encrypted: root.Encrypted, KMSKeyID: root.KMSKeyID, State: "pending", Started: made.Created, Tags: snapshotTags,
			Description: fmt.Sprintf("Created by CreateImage(%s) for %s", inst.ID, made.ID),
		}
		root.SnapshotID = snap.ID
		made.Devices = []blockDevice{{inst.rootDevice(), root}}
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
	s.document.Lock()
	i := s.state.Images[id]
	if i == nil || i.State != "pending" {
		s.document.Unlock()
		return
	}
	machine, noReboot, throughput := i.SourceMachine, i.NoReboot, i.Devices[0].EBS.Throughput
	s.document.Unlock()

	unlock, ok := s.lockMachine(machine)
	if !ok {
		return // closing: the next start takes it up again
	}
	made, err := s.commitMachine(machine, id, noReboot)
	unlock()
	if err == nil && s.takeSnapshot != nil {
		err = s.takeSnapshot(s.ctx, made.Written, throughput)
	}
	if s.ctx.Err() != nil {
		return
	}
	orphan := false
	s.record(func() {
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
		i.State, i.Ref = "available", made.Ref
		if snap != nil {
			snap.State, snap.Ref = "completed", made.Ref
		}
	})
	if err != nil {
		s.log.Error("create image", "image", id, "instance", machine, "error", err)
	}
	if orphan && made.Ref != "" {
		s.removeImage(made.Ref)
	}
}

func (s *Service) removeImage(ref string) {
	if err := s.compute.RemoveImage(s.ctx, ref); err != nil {
		s.log.Warn("remove machine image", "image", ref, "error", err)
	}
}

// attributeValue is an attribute of one value in requests and answers.
type attributeValue struct {
	Value string `query:"Value" xml:"value"`
}

// attributeBool is an attribute that is true or false.
type attributeBool struct {
	Value bool `query:"Value" xml:"value"`
}

type modifyImageAttributeInput struct {
	ImageID     string          `query:"ImageId" wire:"required"`
	Description *attributeValue `query:"Description"`
	IMDSSupport *attributeValue `query:"ImdsSupport"`
}

func (s *Service) modifyImageAttribute(_ context.Context, in *modifyImageAttributeInput) (*wire.Return, error) {
	switch {
	case in.Description == nil && in.IMDSSupport == nil:
		return nil, missing("Description", "ImdsSupport")
	case in.IMDSSupport != nil && in.IMDSSupport.Value != "v2.0":
		return nil, wire.Errorf("InvalidParameterValue", "Value (%s) for parameter imdsSupport is invalid", in.IMDSSupport.Value)
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
		return nil
	})
	return &wire.Return{Return: true}, err
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
		}
		delete(s.state.Images, i.ID)
		snap := s.state.Snapshots[i.Devices[0].EBS.SnapshotID]
		switch {
		case snap == nil:
			ref = s.unused(i.Ref)
		case in.DeleteSnapshots:
			delete(s.state.Snapshots, snap.ID)
			out.Results = append(out.Results, snapshotResult{snap.ID, "success"})
			ref = s.unused(i.Ref)
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

type describeSnapshotsInput struct {
	SnapshotIDs []string `query:"SnapshotId"`
	Owners      []string `query:"Owner"`
	Filters     filters  `query:"Filter"`
	paging
}

type describeSnapshotsOutput struct {
	Snapshots []snapshotView `xml:"snapshotSet>item"`
	NextToken string         `xml:"nextToken,omitempty"`
}

func (s *Service) describeSnapshots(_ context.Context, in *describeSnapshotsInput) (*describeSnapshotsOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	all, err := find(s.state.Snapshots, in.SnapshotIDs, "InvalidSnapshot.NotFound", "snapshot")
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(sn *snapshot) bool {
		return len(in.Owners) > 0 && !slices.Contains(in.Owners, sn.OwnerID) && !(slices.Contains(in.Owners, "self") && sn.OwnerID == s.account)
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
			Encrypted: sn.Encrypted, KMSKeyID: sn.KMSKeyID, StorageTier: "standard", Tags: sn.Tags,
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
		ref = s.unused(sn.Ref)
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
