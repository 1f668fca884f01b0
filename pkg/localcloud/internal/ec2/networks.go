package ec2

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// vpc is a VPC.
type vpc struct {
	ID            string
	CIDR          string
	AssociationID string
	Tenancy       string
	Default       bool
	DNSSupport    bool
	DNSHostnames  bool
	UsageMetrics  bool
	DHCPOptionsID string
	Created       time.Time
	Tags          tags
}

func (v *vpc) key() (time.Time, string) { return v.Created, v.ID }
func (v *vpc) tagged() tags             { return v.Tags }

func (v *vpc) attribute(name string) ([]string, bool) {
	switch name {
	case "cidr", "cidr-block-association.cidr-block":
		return []string{v.CIDR}, true
	case "cidr-block-association.association-id":
		return []string{v.AssociationID}, true
	case "cidr-block-association.state":
		return []string{"associated"}, true
	case "dhcp-options-id":
		return []string{v.DHCPOptionsID}, true
	case "ipv6-cidr-block-association.ipv6-cidr-block":
		return nil, true
	case "is-default", "isDefault":
		return []string{boolString(v.Default)}, true
	case "state":
		return []string{"available"}, true
	case "vpc-id":
		return []string{v.ID}, true
	}
	return nil, false
}

type vpcView struct {
	ID           string            `xml:"vpcId"`
	OwnerID      string            `xml:"ownerId"`
	State        string            `xml:"state"`
	CIDR         string            `xml:"cidrBlock"`
	Associations []cidrAssociation `xml:"cidrBlockAssociationSet>item"`
	DHCPOptions  string            `xml:"dhcpOptionsId"`
	Tenancy      string            `xml:"instanceTenancy"`
	Default      bool              `xml:"isDefault"`
	Tags         tags              `xml:"tagSet>item"`
}

type cidrAssociation struct {
	ID    string    `xml:"associationId"`
	CIDR  string    `xml:"cidrBlock"`
	State stateView `xml:"cidrBlockState"`
}

func (s *Service) viewVPC(v *vpc) vpcView {
	return vpcView{
		v.ID, s.account, "available", v.CIDR, []cidrAssociation{{v.AssociationID, v.CIDR, stateView{"associated"}}},
		v.DHCPOptionsID, v.Tenancy, v.Default, v.Tags,
	}
}

// subnet is a subnet.
type subnet struct {
	ID          string
	VPCID       string
	CIDR        string
	Zone        string
	ZoneID      string
	Default     bool // its zone's default subnet
	MapPublicIP bool
	Created     time.Time
	Tags        tags

	// What filters ask for, filled in where subnets are filtered.
	arn  string
	free int
}

func (n *subnet) key() (time.Time, string) { return n.Created, n.ID }
func (n *subnet) tagged() tags             { return n.Tags }

func (n *subnet) attribute(name string) ([]string, bool) {
	switch name {
	case "availability-zone", "availabilityZone":
		return []string{n.Zone}, true
	case "availability-zone-id", "availabilityZoneId":
		return []string{n.ZoneID}, true
	case "cidr-block", "cidr", "cidrBlock":
		return []string{n.CIDR}, true
	case "available-ip-address-count":
		return []string{strconv.Itoa(n.free)}, true
	case "default-for-az", "defaultForAz":
		return []string{boolString(n.Default)}, true
	case "ipv6-cidr-block-association.ipv6-cidr-block", "outpost-arn":
		return nil, true
	case "ipv6-native":
		return []string{"false"}, true
	case "map-public-ip-on-launch":
		return []string{boolString(n.MapPublicIP)}, true
	case "state":
		return []string{"available"}, true
	case "subnet-arn":
		return single(n.arn), true
	case "subnet-id":
		return []string{n.ID}, true
	case "vpc-id":
		return []string{n.VPCID}, true
	}
	return nil, false
}

type subnetView struct {
	ID                string         `xml:"subnetId"`
	ARN               string         `xml:"subnetArn"`
	State             string         `xml:"state"`
	OwnerID           string         `xml:"ownerId"`
	VPCID             string         `xml:"vpcId"`
	CIDR              string         `xml:"cidrBlock"`
	Free              int            `xml:"availableIpAddressCount"`
	Zone              string         `xml:"availabilityZone"`
	ZoneID            string         `xml:"availabilityZoneId"`
	Default           bool           `xml:"defaultForAz"`
	MapPublicIP       bool           `xml:"mapPublicIpOnLaunch"`
	MapCustomerOwned  bool           `xml:"mapCustomerOwnedIpOnLaunch"`
	AssignIPv6        bool           `xml:"assignIpv6AddressOnCreation"`
	DNS64             bool           `xml:"enableDns64"`
	IPv6Native        bool           `xml:"ipv6Native"`
	PrivateDNSOptions dnsOptionsView `xml:"privateDnsNameOptionsOnLaunch"`
	Tags              tags           `xml:"tagSet>item"`
}

type dnsOptionsView struct {
	HostnameType string `xml:"hostnameType"`
	ARecord      bool   `xml:"enableResourceNameDnsARecord"`
	AAAARecord   bool   `xml:"enableResourceNameDnsAAAARecord"`
}

// reserved is how many addresses of each subnet AWS keeps for itself.
const reserved = 5

// viewSubnet shows a subnet. The caller holds the lock.
func (s *Service) viewSubnet(n *subnet) subnetView {
	free := 1<<(32-netip.MustParsePrefix(n.CIDR).Bits()) - reserved
	for _, i := range s.state.Instances {
		if !i.ended() && i.SubnetID == n.ID {
			free--
		}
	}
	return subnetView{
		ID: n.ID, ARN: s.arn("subnet", n.ID), State: "available", OwnerID: s.account, VPCID: n.VPCID, CIDR: n.CIDR, Free: free,
		Zone: n.Zone, ZoneID: n.ZoneID, Default: n.Default, MapPublicIP: n.MapPublicIP,
		PrivateDNSOptions: dnsOptionsView{HostnameType: "ip-name"}, Tags: n.Tags,
	}
}

// internetGateway is an internet gateway, which is attached to a VPC or to none.
type internetGateway struct {
	ID      string
	VPCID   string
	Created time.Time
	Tags    tags
}

func (g *internetGateway) key() (time.Time, string) { return g.Created, g.ID }
func (g *internetGateway) tagged() tags             { return g.Tags }

func (g *internetGateway) attribute(name string) ([]string, bool) {
	switch name {
	case "attachment.state":
		if g.VPCID == "" {
			return nil, true
		}
		return []string{"available"}, true
	case "attachment.vpc-id":
		return single(g.VPCID), true
	case "internet-gateway-id":
		return []string{g.ID}, true
	case "owner-id":
		return nil, true // see withoutOwner
	}
	return nil, false
}

type gatewayView struct {
	ID          string              `xml:"internetGatewayId"`
	OwnerID     string              `xml:"ownerId"`
	Attachments []gatewayAttachment `xml:"attachmentSet>item"`
	Tags        tags                `xml:"tagSet>item"`
}

type gatewayAttachment struct {
	VPCID string `xml:"vpcId"`
	State string `xml:"state"`
}

func (s *Service) viewGateway(g *internetGateway) gatewayView {
	v := gatewayView{ID: g.ID, OwnerID: s.account, Tags: g.Tags}
	if g.VPCID != "" {
		v.Attachments = []gatewayAttachment{{g.VPCID, "available"}}
	}
	return v
}

// networkACL is a VPC's only network ACL. Its entries are records: it lets everything through, also once they are deleted.
type networkACL struct {
	ID      string
	VPCID   string
	Created time.Time
	Tags    tags
	// Closed are the directions of which the entry that lets everything through is deleted.
	Closed struct{ Ingress, Egress bool }
}

// entries returns the entries: for each direction the one that lets everything through, and the one that AWS shows as *.
func (a *networkACL) entries() []aclEntry {
	var all []aclEntry
	for _, egress := range []bool{true, false} {
		if closed := egress && a.Closed.Egress || !egress && a.Closed.Ingress; !closed {
			all = append(all, aclEntry{openRule, "-1", "allow", egress, "0.0.0.0/0"})
		}
		all = append(all, aclEntry{32767, "-1", "deny", egress, "0.0.0.0/0"})
	}
	return all
}

// openRule is the number of the entry of a new ACL.
const openRule = 100

type deleteACLEntryInput struct {
	ID     string `query:"NetworkAclId" wire:"required"`
	Number int    `query:"RuleNumber" wire:"required"`
	Egress *bool  `query:"Egress" wire:"required"`
}

func (s *Service) deleteNetworkACLEntry(_ context.Context, in *deleteACLEntryInput) (*wire.Return, error) {
	return &wire.Return{Return: true}, s.change(func() error {
		a, err := get(s.state.ACLs, in.ID, "InvalidNetworkAclID.NotFound", "networkAcl ID")
		if err != nil {
			return err
		}
		closed := &a.Closed.Ingress
		if *in.Egress {
			closed = &a.Closed.Egress
		}
		if in.Number != openRule || *closed {
			return wire.Errorf("InvalidNetworkAclEntry.NotFound", "The network ACL '%s' has no rule %d in that direction", in.ID, in.Number)
		}
		*closed = true
		return nil
	})
}

func (a *networkACL) key() (time.Time, string) { return a.Created, a.ID }
func (a *networkACL) tagged() tags             { return a.Tags }

func (a *networkACL) attribute(name string) ([]string, bool) {
	switch name {
	case "default":
		return []string{"true"}, true
	case "entry.cidr", "entry.egress", "entry.protocol", "entry.rule-action", "entry.rule-number":
		var values []string
		for _, e := range a.entries() {
			values = append(values, map[string]string{
				"entry.cidr": e.CIDR, "entry.egress": boolString(e.Egress), "entry.protocol": e.Protocol, "entry.rule-action": e.Action,
				"entry.rule-number": strconv.Itoa(e.Number),
			}[name])
		}
		return values, true
	case "network-acl-id":
		return []string{a.ID}, true
	case "association.subnet-id", "association.association-id", "association.network-acl-id", "owner-id":
		return nil, true // see describeNetworkACLs
	case "vpc-id":
		return []string{a.VPCID}, true
	}
	return nil, false
}

func vpcNotFound(id string) error {
	return wire.Errorf("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", id)
}

func subnetNotFound(id string) error {
	return wire.Errorf("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
}

func gatewayNotFound(id string) error {
	return wire.Errorf("InvalidInternetGatewayID.NotFound", "The internetGateway ID '%s' does not exist", id)
}

func (s *Service) networkActions() map[string]wire.Action {
	return map[string]wire.Action{
		"AssociateRouteTable":   wire.Do(s.associateRouteTable, func(in *associateInput) []wire.Access { return s.onAll(in.TableID, in.SubnetID) }),
		"AttachInternetGateway": wire.Do(s.attachInternetGateway, func(in *gatewayVPCInput) []wire.Access { return s.onAll(in.ID, in.VPCID) }),
		"CreateDefaultVpc": wire.Do(s.createDefaultVpc, func(*wire.Empty) []wire.Access {
			return []wire.Access{{Keys: map[string][]string{"ec2:Region": {s.region}}}}
		}),
		"CreateInternetGateway": wire.Do(s.createInternetGateway, func(in *createGatewayInput) []wire.Access {
			return s.making("CreateInternetGateway", "internet-gateway", in.TagSpecs)
		}),
		"CreateRoute": wire.Do(s.createRoute, func(in *routeInput) []wire.Access { return s.onAll(in.TableID) }),
		"CreateRouteTable": wire.Do(s.createRouteTable, func(in *createRouteTableInput) []wire.Access {
			return s.making("CreateRouteTable", "route-table", in.TagSpecs, in.VPCID)
		}),
		"CreateSubnet": wire.Do(s.createSubnet, func(in *createSubnetInput) []wire.Access {
			return s.making("CreateSubnet", "subnet", in.TagSpecs, in.VPCID)
		}),
		"CreateVpc":                wire.Do(s.createVPC, func(in *createVPCInput) []wire.Access { return s.making("CreateVpc", "vpc", in.TagSpecs) }),
		"DeleteInternetGateway":    wire.Do(s.deleteInternetGateway, func(in *gatewayIDInput) []wire.Access { return s.onAll(in.ID) }),
		"DeleteNetworkAclEntry":    wire.Do(s.deleteNetworkACLEntry, func(in *deleteACLEntryInput) []wire.Access { return s.onAll(in.ID) }),
		"DeleteRoute":              wire.Do(s.deleteRoute, func(in *deleteRouteInput) []wire.Access { return s.onAll(in.TableID) }),
		"DeleteRouteTable":         wire.Do(s.deleteRouteTable, func(in *routeTableIDInput) []wire.Access { return s.onAll(in.ID) }),
		"DeleteSubnet":             wire.Do(s.deleteSubnet, func(in *subnetIDInput) []wire.Access { return s.onAll(in.ID) }),
		"DeleteVpc":                wire.Do(s.deleteVPC, func(in *vpcIDInput) []wire.Access { return s.onAll(in.ID) }),
		"DescribeInternetGateways": wire.DoUnscoped(s.describeInternetGateways),
		"DescribeNetworkAcls":      wire.DoUnscoped(s.describeNetworkACLs),
		"DescribeRouteTables":      wire.DoUnscoped(s.describeRouteTables),
		"DescribeSubnets":          wire.DoUnscoped(s.describeSubnets),
		"DescribeVpcAttribute":     wire.Do(s.describeVPCAttribute, func(in *describeVPCAttributeInput) []wire.Access { return s.onAll(in.ID) }),
		"DescribeVpcs":             wire.DoUnscoped(s.describeVPCs),
		"DetachInternetGateway":    wire.Do(s.detachInternetGateway, func(in *gatewayVPCInput) []wire.Access { return s.onAll(in.ID, in.VPCID) }),
		"DisassociateRouteTable":   wire.Do(s.disassociateRouteTable, func(in *associationIDInput) []wire.Access { return s.onTables(in.ID) }),
		"ModifySubnetAttribute":    wire.Do(s.modifySubnetAttribute, func(in *modifySubnetAttributeInput) []wire.Access { return s.onAll(in.ID) }),
		"ModifyVpcAttribute":       wire.Do(s.modifyVPCAttribute, func(in *modifyVPCAttributeInput) []wire.Access { return s.onAll(in.ID) }),
	}
}

// createDefaultVPC makes the VPC that most accounts have, with a public subnet in each zone.
func (s *Service) createDefaultVPC() *vpc {
	v := s.newVPC("172.31.0.0/16", "default", nil)
	v.Default, v.DNSHostnames = true, true
	gateway := &internetGateway{ID: newID("igw"), VPCID: v.ID, Created: v.Created}
	s.state.Gateways[gateway.ID] = gateway
	main := s.mainTable(v.ID)
	main.Routes = append(main.Routes, route{Destination: "0.0.0.0/0", GatewayID: gateway.ID, Origin: "CreateRoute"})
	for n, z := range s.zones() {
		made := s.newSubnet(v.ID, fmt.Sprintf("172.31.%d.0/20", n*16), z, true)
		made.Created = v.Created.Add(time.Duration(n) * time.Millisecond) // listed in this order
	}
	return v
}

// createDefaultVpc makes a default VPC where it was deleted.
func (s *Service) createDefaultVpc(context.Context, *wire.Empty) (*vpcOutput, error) {
	out := &vpcOutput{}
	return out, s.change(func() error {
		if id := s.defaultVPC(); id != "" {
			return wire.Errorf("DefaultVpcAlreadyExists", "A Default VPC already exists for this account in this region: %s.", id)
		}
		out.VPC = s.viewVPC(s.createDefaultVPC())
		return nil
	})
}

// newVPC makes a VPC with what comes with it. The caller holds the lock.
func (s *Service) newVPC(cidr, tenancy string, tagged tags) *vpc {
	v := &vpc{
		ID: newID("vpc"), CIDR: cidr, AssociationID: newID("vpc-cidr-assoc"), Tenancy: tenancy, DNSSupport: true,
		DHCPOptionsID: "dopt-" + s.account[:8], Created: time.Now().UTC(), Tags: tagged,
	}
	s.state.VPCs[v.ID] = v
	t := &routeTable{
		ID: newID("rtb"), VPCID: v.ID, Created: v.Created,
		Routes:       []route{{Destination: cidr, GatewayID: "local", Origin: "CreateRouteTable"}},
		Associations: []routeAssociation{{ID: newID("rtbassoc"), Main: true}},
	}
	s.state.RouteTables[t.ID] = t
	a := &networkACL{ID: newID("acl"), VPCID: v.ID, Created: v.Created}
	s.state.ACLs[a.ID] = a
	g := s.newGroup(v.ID, "default", "default VPC security group", nil)
	g.Rules = append(g.Rules, &rule{ID: newID("sgr"), Protocol: "-1", From: -1, To: -1, Group: g.ID})
	return v
}

func (s *Service) newSubnet(vpcID, cidr string, z zone, isDefault bool) *subnet {
	n := &subnet{
		ID: newID("subnet"), VPCID: vpcID, CIDR: cidr, Zone: z.Name, ZoneID: z.ID, Default: isDefault, MapPublicIP: isDefault,
		Created: time.Now().UTC(),
	}
	s.state.Subnets[n.ID] = n
	return n
}

// defaultVPC returns the ID of the default VPC, or "". The caller holds the lock.
func (s *Service) defaultVPC() string {
	for _, v := range s.state.VPCs {
		if v.Default {
			return v.ID
		}
	}
	return ""
}

// defaultSubnet returns a zone's default subnet, or for "" the first one whose zone offers the instance type. The caller holds the lock.
func (s *Service) defaultSubnet(zone, instanceType string) *subnet {
	var found *subnet
	for _, n := range s.state.Subnets {
		suits := n.Zone == zone || zone == "" && s.shape.Offers(n.Zone, instanceType)
		if n.Default && suits && (found == nil || n.Zone < found.Zone) {
			found = n
		}
	}
	return found
}

// cidrOfNetwork checks the CIDR of a VPC or subnet.
func cidrOfNetwork(cidr, rangeCode string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(cidr)
	if err != nil || !p.Addr().Is4() {
		return p, wire.Errorf("InvalidParameterValue", "Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", cidr)
	}
	if p.Bits() < 16 || p.Bits() > 28 {
		return p, wire.Errorf(rangeCode, "The CIDR '%s' is invalid.", cidr)
	}
	return p.Masked(), nil
}

type createVPCInput struct {
	CIDR     string            `query:"CidrBlock" wire:"required"`
	Tenancy  string            `query:"InstanceTenancy" wire:"enum=default"`
	IPv6     bool              `query:"AmazonProvidedIpv6CidrBlock"`
	TagSpecs tagSpecifications `query:"TagSpecification"`
}

type vpcOutput struct {
	VPC vpcView `xml:"vpc"`
}

func (s *Service) createVPC(_ context.Context, in *createVPCInput) (*vpcOutput, error) {
	if in.IPv6 {
		return nil, wire.Errorf("UnsupportedOperation", "The local cloud has no IPv6")
	}
	cidr, err := cidrOfNetwork(in.CIDR, "InvalidVpc.Range")
	if err != nil {
		return nil, err
	}
	tagged, err := in.TagSpecs.of("vpc")
	if err != nil {
		return nil, err
	}
	out := &vpcOutput{}
	err = s.change(func() error {
		out.VPC = s.viewVPC(s.newVPC(cidr.String(), "default", tagged))
		return nil
	})
	return out, err
}

type vpcIDInput struct {
	ID string `query:"VpcId" wire:"required"`
}

func (s *Service) deleteVPC(_ context.Context, in *vpcIDInput) (*wire.Return, error) {
	err := s.change(func() error {
		v := s.state.VPCs[in.ID]
		if v == nil {
			return vpcNotFound(in.ID)
		}
		dependent := wire.Errorf("DependencyViolation", "The vpc '%s' has dependencies and cannot be deleted.", v.ID)
		for _, n := range s.state.Subnets {
			if n.VPCID == v.ID {
				return dependent
			}
		}
		for _, g := range s.state.Gateways {
			if g.VPCID == v.ID {
				return dependent
			}
		}
		for _, g := range s.state.Groups {
			if g.VPCID == v.ID && g.Name != "default" {
				return dependent
			}
		}
		for _, t := range s.state.RouteTables {
			if t.VPCID == v.ID && !t.main() {
				return dependent
			}
		}
		delete(s.state.VPCs, v.ID)
		deleteOf(s.state.Groups, func(g *securityGroup) bool { return g.VPCID == v.ID })
		deleteOf(s.state.RouteTables, func(t *routeTable) bool { return t.VPCID == v.ID })
		deleteOf(s.state.ACLs, func(a *networkACL) bool { return a.VPCID == v.ID })
		return nil
	})
	return &wire.Return{Return: true}, err
}

func deleteOf[T any](m map[string]T, which func(T) bool) {
	for id, r := range m {
		if which(r) {
			delete(m, id)
		}
	}
}

type describeVPCsInput struct {
	IDs     []string `query:"VpcId"`
	Filters filters  `query:"Filter"`
	paging
}

type describeVPCsOutput struct {
	VPCs      []vpcView `xml:"vpcSet>item"`
	NextToken string    `xml:"nextToken,omitempty"`
}

func (s *Service) describeVPCs(_ context.Context, in *describeVPCsInput) (*describeVPCsOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	all, err := find(s.state.VPCs, in.IDs, "InvalidVpcID.NotFound", "vpc ID")
	if err != nil {
		return nil, err
	}
	found, next, err := describeOwned(s.account, in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeVPCsOutput{NextToken: next}
	for _, v := range found {
		out.VPCs = append(out.VPCs, s.viewVPC(v))
	}
	return out, nil
}

type describeVPCAttributeInput struct {
	ID        string `query:"VpcId" wire:"required"`
	Attribute string `query:"Attribute" wire:"required,enum=enableDnsSupport|enableDnsHostnames|enableNetworkAddressUsageMetrics"`
}

type describeVPCAttributeOutput struct {
	ID           string         `xml:"vpcId"`
	DNSSupport   *attributeBool `xml:"enableDnsSupport"`
	DNSHostnames *attributeBool `xml:"enableDnsHostnames"`
	UsageMetrics *attributeBool `xml:"enableNetworkAddressUsageMetrics"`
}

func (s *Service) describeVPCAttribute(_ context.Context, in *describeVPCAttributeInput) (*describeVPCAttributeOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	v := s.state.VPCs[in.ID]
	if v == nil {
		return nil, vpcNotFound(in.ID)
	}
	out := &describeVPCAttributeOutput{ID: v.ID}
	switch in.Attribute {
	case "enableDnsSupport":
		out.DNSSupport = &attributeBool{v.DNSSupport}
	case "enableDnsHostnames":
		out.DNSHostnames = &attributeBool{v.DNSHostnames}
	case "enableNetworkAddressUsageMetrics":
		out.UsageMetrics = &attributeBool{v.UsageMetrics}
	}
	return out, nil
}

type modifyVPCAttributeInput struct {
	ID           string         `query:"VpcId" wire:"required"`
	DNSSupport   *attributeBool `query:"EnableDnsSupport"`
	DNSHostnames *attributeBool `query:"EnableDnsHostnames"`
	UsageMetrics *attributeBool `query:"EnableNetworkAddressUsageMetrics"`
}

func (s *Service) modifyVPCAttribute(_ context.Context, in *modifyVPCAttributeInput) (*wire.Return, error) {
	err := s.change(func() error {
		v := s.state.VPCs[in.ID]
		if v == nil {
			return vpcNotFound(in.ID)
		}
		for _, change := range []struct {
			to   *attributeBool
			into *bool
		}{{in.DNSSupport, &v.DNSSupport}, {in.DNSHostnames, &v.DNSHostnames}, {in.UsageMetrics, &v.UsageMetrics}} {
			if change.to != nil {
				*change.into = change.to.Value
			}
		}
		return nil
	})
	return &wire.Return{Return: true}, err
}

type createSubnetInput struct {
	VPCID    string            `query:"VpcId" wire:"required"`
	CIDR     string            `query:"CidrBlock" wire:"required"`
	Zone     string            `query:"AvailabilityZone"`
	ZoneID   string            `query:"AvailabilityZoneId"`
	TagSpecs tagSpecifications `query:"TagSpecification"`
}

type subnetOutput struct {
	Subnet subnetView `xml:"subnet"`
}

func (s *Service) createSubnet(_ context.Context, in *createSubnetInput) (*subnetOutput, error) {
	cidr, err := cidrOfNetwork(in.CIDR, "InvalidSubnet.Range")
	if err != nil {
		return nil, err
	}
	tagged, err := in.TagSpecs.of("subnet")
	if err != nil {
		return nil, err
	}
	zones := s.zones()
	n := 0
	if in.Zone != "" || in.ZoneID != "" {
		n = slices.IndexFunc(zones, func(z zone) bool {
			return (in.Zone == "" || z.Name == in.Zone) && (in.ZoneID == "" || z.ID == in.ZoneID)
		})
		if n < 0 {
			var names []string
			for _, z := range zones {
				names = append(names, z.Name)
			}
			return nil, wire.Errorf("InvalidParameterValue", "Value (%s) for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: %s.", in.Zone+in.ZoneID, strings.Join(names, ", "))
		}
	}
	out := &subnetOutput{}
	err = s.change(func() error {
		v := s.state.VPCs[in.VPCID]
		if v == nil {
			return vpcNotFound(in.VPCID)
		}
		whole := netip.MustParsePrefix(v.CIDR)
		if cidr.Bits() < whole.Bits() || !whole.Contains(cidr.Addr()) {
			return wire.Errorf("InvalidSubnet.Range", "The CIDR '%s' is invalid.", in.CIDR)
		}
		for _, other := range s.state.Subnets {
			if other.VPCID == v.ID && netip.MustParsePrefix(other.CIDR).Overlaps(cidr) {
				return wire.Errorf("InvalidSubnet.Conflict", "The CIDR '%s' conflicts with another subnet", in.CIDR)
			}
		}
		made := s.newSubnet(v.ID, cidr.String(), zones[n], false)
		made.Tags = tagged
		out.Subnet = s.viewSubnet(made)
		return nil
	})
	return out, err
}

type subnetIDInput struct {
	ID string `query:"SubnetId" wire:"required"`
}

func (s *Service) deleteSubnet(_ context.Context, in *subnetIDInput) (*wire.Return, error) {
	err := s.change(func() error {
		n := s.state.Subnets[in.ID]
		if n == nil {
			return subnetNotFound(in.ID)
		}
		for _, i := range s.state.Instances {
			if !i.ended() && i.SubnetID == n.ID {
				return wire.Errorf("DependencyViolation", "The subnet '%s' has dependencies and cannot be deleted.", n.ID)
			}
		}
		delete(s.state.Subnets, n.ID)
		for _, t := range s.state.RouteTables {
			t.Associations = slices.DeleteFunc(slices.Clone(t.Associations), func(a routeAssociation) bool { return a.SubnetID == n.ID })
		}
		return nil
	})
	return &wire.Return{Return: true}, err
}

type describeSubnetsInput struct {
	IDs     []string `query:"SubnetId"`
	Filters filters  `query:"Filter"`
	paging
}

type describeSubnetsOutput struct {
	Subnets   []subnetView `xml:"subnetSet>item"`
	NextToken string       `xml:"nextToken,omitempty"`
}

func (s *Service) describeSubnets(_ context.Context, in *describeSubnetsInput) (*describeSubnetsOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	all, err := find(s.state.Subnets, in.IDs, "InvalidSubnetID.NotFound", "subnet ID")
	if err != nil {
		return nil, err
	}
	for _, n := range all {
		n.arn, n.free = s.arn("subnet", n.ID), s.viewSubnet(n).Free
	}
	found, next, err := describeOwned(s.account, in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeSubnetsOutput{NextToken: next}
	for _, n := range found {
		out.Subnets = append(out.Subnets, s.viewSubnet(n))
	}
	return out, nil
}

type modifySubnetAttributeInput struct {
	ID          string         `query:"SubnetId" wire:"required"`
	MapPublicIP *attributeBool `query:"MapPublicIpOnLaunch"`
}

func (s *Service) modifySubnetAttribute(_ context.Context, in *modifySubnetAttributeInput) (*wire.Return, error) {
	err := s.change(func() error {
		n := s.state.Subnets[in.ID]
		switch {
		case n == nil:
			return subnetNotFound(in.ID)
		case in.MapPublicIP == nil:
			return missing("MapPublicIpOnLaunch")
		}
		n.MapPublicIP = in.MapPublicIP.Value
		return nil
	})
	return &wire.Return{Return: true}, err
}

type createGatewayInput struct {
	TagSpecs tagSpecifications `query:"TagSpecification"`
}

type gatewayOutput struct {
	Gateway gatewayView `xml:"internetGateway"`
}

func (s *Service) createInternetGateway(_ context.Context, in *createGatewayInput) (*gatewayOutput, error) {
	tagged, err := in.TagSpecs.of("internet-gateway")
	if err != nil {
		return nil, err
	}
	out := &gatewayOutput{}
	err = s.change(func() error {
		g := &internetGateway{ID: newID("igw"), Created: time.Now().UTC(), Tags: tagged}
		s.state.Gateways[g.ID] = g
		out.Gateway = s.viewGateway(g)
		return nil
	})
	return out, err
}

type gatewayIDInput struct {
	ID string `query:"InternetGatewayId" wire:"required"`
}

func (s *Service) deleteInternetGateway(_ context.Context, in *gatewayIDInput) (*wire.Return, error) {
	err := s.change(func() error {
		g := s.state.Gateways[in.ID]
		switch {
		case g == nil:
			return gatewayNotFound(in.ID)
		case g.VPCID != "":
			return wire.Errorf("DependencyViolation", "The internetGateway '%s' has dependencies and cannot be deleted.", g.ID)
		}
		delete(s.state.Gateways, g.ID)
		return nil
	})
	return &wire.Return{Return: true}, err
}

type gatewayVPCInput struct {
	ID    string `query:"InternetGatewayId" wire:"required"`
	VPCID string `query:"VpcId" wire:"required"`
}

func (s *Service) attachInternetGateway(_ context.Context, in *gatewayVPCInput) (*wire.Return, error) {
	err := s.change(func() error {
		g := s.state.Gateways[in.ID]
		switch {
		case g == nil:
			return gatewayNotFound(in.ID)
		case s.state.VPCs[in.VPCID] == nil:
			return vpcNotFound(in.VPCID)
		case g.VPCID != "":
			return wire.Errorf("Resource.AlreadyAssociated", "resource %s is already attached to network %s", g.ID, g.VPCID)
		}
		for _, other := range s.state.Gateways {
			if other.VPCID == in.VPCID {
				return wire.Errorf("InvalidParameterValue", "Network %s already has an internet gateway attached", in.VPCID)
			}
		}
		g.VPCID = in.VPCID
		return nil
	})
	return &wire.Return{Return: true}, err
}

func (s *Service) detachInternetGateway(_ context.Context, in *gatewayVPCInput) (*wire.Return, error) {
	err := s.change(func() error {
		g := s.state.Gateways[in.ID]
		switch {
		case g == nil:
			return gatewayNotFound(in.ID)
		case g.VPCID != in.VPCID:
			return wire.Errorf("Gateway.NotAttached", "resource %s is not attached to network %s", g.ID, in.VPCID)
		}
		for _, i := range s.state.Instances {
			if i.VPCID == g.VPCID && i.PublicIP.IsValid() {
				return wire.Errorf("DependencyViolation", "Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", g.VPCID)
			}
		}
		g.VPCID = ""
		return nil
	})
	return &wire.Return{Return: true}, err
}

type describeGatewaysInput struct {
	IDs     []string `query:"InternetGatewayId"`
	Filters filters  `query:"Filter"`
	paging
}

type describeGatewaysOutput struct {
	Gateways  []gatewayView `xml:"internetGatewaySet>item"`
	NextToken string        `xml:"nextToken,omitempty"`
}

func (s *Service) describeInternetGateways(_ context.Context, in *describeGatewaysInput) (*describeGatewaysOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	all, err := find(s.state.Gateways, in.IDs, "InvalidInternetGatewayID.NotFound", "internetGateway ID")
	if err != nil {
		return nil, err
	}
	found, next, err := describeOwned(s.account, in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeGatewaysOutput{NextToken: next}
	for _, g := range found {
		out.Gateways = append(out.Gateways, s.viewGateway(g))
	}
	return out, nil
}

type aclEntry struct {
	Number   int    `xml:"ruleNumber"`
	Protocol string `xml:"protocol"`
	Action   string `xml:"ruleAction"`
	Egress   bool   `xml:"egress"`
	CIDR     string `xml:"cidrBlock"`
}

type aclAssociation struct {
	ID       string `xml:"networkAclAssociationId"`
	ACLID    string `xml:"networkAclId"`
	SubnetID string `xml:"subnetId"`
}

type aclView struct {
	ID           string           `xml:"networkAclId"`
	VPCID        string           `xml:"vpcId"`
	OwnerID      string           `xml:"ownerId"`
	Default      bool             `xml:"default"`
	Entries      []aclEntry       `xml:"entrySet>item"`
	Associations []aclAssociation `xml:"associationSet>item"`
	Tags         tags             `xml:"tagSet>item"`
}

type describeACLsInput struct {
	IDs     []string `query:"NetworkAclId"`
	Filters filters  `query:"Filter"`
	paging
}

type describeACLsOutput struct {
	ACLs      []aclView `xml:"networkAclSet>item"`
	NextToken string    `xml:"nextToken,omitempty"`
}

func (s *Service) describeNetworkACLs(_ context.Context, in *describeACLsInput) (*describeACLsOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	all, err := find(s.state.ACLs, in.IDs, "InvalidNetworkAclID.NotFound", "networkAcl ID")
	if err != nil {
		return nil, err
	}
	// Every subnet of a VPC is associated with the VPC's ACL.
	rest := slices.DeleteFunc(slices.Clone(in.Filters), func(f filter) bool {
		if f.Name != "association.subnet-id" {
			return false
		}
		all = slices.DeleteFunc(all, func(a *networkACL) bool {
			return !slices.ContainsFunc(f.Values, func(id string) bool {
				n := s.state.Subnets[id]
				return n != nil && n.VPCID == a.VPCID
			})
		})
		return true
	})
	found, next, err := describeOwned(s.account, rest, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeACLsOutput{NextToken: next}
	for _, a := range found {
		v := aclView{ID: a.ID, VPCID: a.VPCID, OwnerID: s.account, Default: true, Entries: a.entries(), Tags: a.Tags}
		for _, n := range s.state.Subnets {
			if n.VPCID == a.VPCID {
				v.Associations = append(v.Associations, aclAssociation{
					"aclassoc-" + strings.TrimPrefix(n.ID, "subnet-"), a.ID, n.ID,
				})
			}
		}
		slices.SortFunc(v.Associations, func(x, y aclAssociation) int { return strings.Compare(x.ID, y.ID) })
		out.ACLs = append(out.ACLs, v)
	}
	return out, nil
}
