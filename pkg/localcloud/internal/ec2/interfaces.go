package ec2

import (
	"context"
	"maps"
	"slices"
	"time"
)

// An instance has one network interface, which comes and goes with it.

type interfaceAttachment struct {
	ID                  string    `xml:"attachmentId"`
	InstanceID          string    `xml:"instanceId,omitempty"` // in DescribeNetworkInterfaces
	InstanceOwnerID     string    `xml:"instanceOwnerId,omitempty"`
	DeviceIndex         int       `xml:"deviceIndex"`
	NetworkCardIndex    int       `xml:"networkCardIndex"`
	Status              string    `xml:"status"`
	AttachTime          time.Time `xml:"attachTime"`
	DeleteOnTermination bool      `xml:"deleteOnTermination"`
}

type addressAssociation struct {
	PublicIP  string `xml:"publicIp"`
	PublicDNS string `xml:"publicDnsName"`
	OwnerID   string `xml:"ipOwnerId"`
}

type privateAddress struct {
	IP          string              `xml:"privateIpAddress"`
	DNSName     string              `xml:"privateDnsName,omitempty"`
	Primary     bool                `xml:"primary"`
	Association *addressAssociation `xml:"association"`
}

type interfaceView struct {
	ID              string              `xml:"networkInterfaceId"`
	SubnetID        string              `xml:"subnetId"`
	VPCID           string              `xml:"vpcId"`
	Zone            string              `xml:"availabilityZone,omitempty"` // in DescribeNetworkInterfaces
	Description     string              `xml:"description"`
	OwnerID         string              `xml:"ownerId"`
	Status          string              `xml:"status"`
	MAC             string              `xml:"macAddress"`
	PrivateIP       string              `xml:"privateIpAddress,omitempty"`
	PrivateDNSName  string              `xml:"privateDnsName,omitempty"`
	SourceDestCheck bool                `xml:"sourceDestCheck"`
	InterfaceType   string              `xml:"interfaceType"`
	Groups          []groupView         `xml:"groupSet>item"`
	Attachment      interfaceAttachment `xml:"attachment"`
	Association     *addressAssociation `xml:"association"`
	Addresses       []privateAddress    `xml:"privateIpAddressesSet>item"`
	Tags            tags                `xml:"tagSet>item"`
}

// viewInterface shows an instance's network interface. The caller holds the lock.
func (s *Service) viewInterface(i *instance) interfaceView {
	v := interfaceView{
		ID: i.Interface.ID, SubnetID: i.SubnetID, VPCID: i.VPCID, Description: i.Interface.Description, OwnerID: s.account,
		Status: "in-use", MAC: i.Interface.MAC, PrivateIP: addrString(i.PrivateIP), PrivateDNSName: s.privateName(i.PrivateIP),
		SourceDestCheck: true, InterfaceType: "interface", Groups: s.groupViews(i.Groups),
		Attachment: interfaceAttachment{
			ID: i.Interface.AttachmentID, Status: "attached", AttachTime: i.Launched, DeleteOnTermination: true,
		},
	}
	if i.PublicIP.IsValid() {
		v.Association = &addressAssociation{PublicIP: i.PublicIP.String(), OwnerID: "amazon"}
	}
	if i.PrivateIP.IsValid() {
		v.Addresses = []privateAddress{{v.PrivateIP, v.PrivateDNSName, true, v.Association}}
	}
	return v
}

// interfaceOf is an instance's network interface, for filters and pages.
type interfaceOf struct{ *instance }

func (n *interfaceOf) key() (time.Time, string) { return n.Launched, n.Interface.ID }
func (n *interfaceOf) tagged() tags             { return n.Interface.Tags }

func (n *interfaceOf) attribute(name string) ([]string, bool) {
	if n.instance == nil {
		n = &interfaceOf{&instance{}}
	}
	i := n.instance
	switch name {
	case "addresses.association.owner-id", "association.ip-owner-id":
		if !i.PublicIP.IsValid() {
			return nil, true
		}
		return []string{"amazon"}, true
	case "addresses.association.public-ip", "association.public-ip":
		return addrStrings(i.PublicIP), true
	case "addresses.private-ip-address", "private-ip-address":
		return addrStrings(i.PrivateIP), true
	case "attachment.attach-time":
		return []string{timestamp(i.Launched)}, true
	case "attachment.attachment-id":
		return []string{i.Interface.AttachmentID}, true
	case "attachment.device-index":
		return []string{"0"}, true
	case "attachment.instance-id":
		return []string{i.ID}, true
	case "attachment.instance-owner-id":
		return single(i.around.account), true
	case "attachment.status":
		return []string{"attached"}, true
	case "availability-zone":
		return []string{i.Zone}, true
	case "availability-zone-id":
		return single(zoneID(i.Zone)), true
	case "description":
		return []string{i.Interface.Description}, true
	case "group-id":
		return i.Groups, true
	case "group-name":
		var names []string
		for _, g := range i.around.groups {
			names = append(names, g.Name)
		}
		return names, true
	case "interface-type":
		return []string{"interface"}, true
	case "mac-address":
		return []string{i.Interface.MAC}, true
	case "network-interface-id":
		return []string{i.Interface.ID}, true
	case "private-dns-name":
		return single(i.around.privateName), true
	case "requester-id":
		return nil, true
	case "requester-managed":
		return []string{"false"}, true
	case "source-dest-check":
		return []string{"true"}, true
	case "status":
		return []string{"in-use"}, true
	case "subnet-id":
		return []string{i.SubnetID}, true
	case "vpc-id":
		return []string{i.VPCID}, true
	}
	return nil, false
}

type describeInterfacesInput struct {
	IDs     []string `query:"NetworkInterfaceId"`
	Filters filters  `query:"Filter"`
	paging
}

type describeInterfacesOutput struct {
	Interfaces []interfaceView `xml:"networkInterfaceSet>item"`
	NextToken  string          `xml:"nextToken,omitempty"`
}

func (s *Service) describeNetworkInterfaces(_ context.Context, in *describeInterfacesInput) (*describeInterfacesOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	byID := map[string]*interfaceOf{}
	s.surround(slices.Collect(maps.Values(s.state.Instances)))
	for _, i := range s.state.Instances {
		if !i.ended() {
			byID[i.Interface.ID] = &interfaceOf{i}
		}
	}
	all, err := find(byID, in.IDs, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID")
	if err != nil {
		return nil, err
	}
	found, next, err := describeOwned(s.account, in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeInterfacesOutput{NextToken: next}
	for _, n := range found {
		v := s.viewInterface(n.instance)
		v.Zone, v.Tags = n.Zone, n.Interface.Tags
		v.Attachment.InstanceID, v.Attachment.InstanceOwnerID = n.ID, s.account
		out.Interfaces = append(out.Interfaces, v)
	}
	return out, nil
}
