package ec2

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// routeTable is a route table. Routes are records: machines reach each other and the Internet without them.
type routeTable struct {
	ID           string
	VPCID        string
	Created      time.Time
	Routes       []route
	Associations []routeAssociation
	Tags         tags
}

type route struct {
	Destination string `xml:"destinationCidrBlock"`
	GatewayID   string `xml:"gatewayId"` // local, or an internet gateway
	State       string `xml:"state"`     // filled in when shown
	Origin      string `xml:"origin"`
}

// routeAssociation ties a table to a subnet, or to all subnets that no other table has.
type routeAssociation struct {
	ID       string
	SubnetID string
	Main     bool
}

func (t *routeTable) key() (time.Time, string) { return t.Created, t.ID }
func (t *routeTable) tagged() tags             { return t.Tags }

func (t *routeTable) main() bool {
	return slices.ContainsFunc(t.Associations, func(a routeAssociation) bool { return a.Main })
}

func (t *routeTable) attribute(name string) ([]string, bool) {
	var values []string
	switch name {
	case "association.gateway-id", "owner-id", "route.destination-ipv6-cidr-block", "route.destination-prefix-list-id",
		"route.egress-only-internet-gateway-id", "route.instance-id", "route.nat-gateway-id", "route.transit-gateway-id",
		"route.vpc-peering-connection-id":
	case "association.main":
		for _, a := range t.Associations {
			values = append(values, boolString(a.Main))
		}
	case "association.route-table-association-id":
		for _, a := range t.Associations {
			values = append(values, a.ID)
		}
	case "association.route-table-id":
		if len(t.Associations) > 0 {
			values = []string{t.ID}
		}
	case "association.subnet-id":
		for _, a := range t.Associations {
			values = append(values, a.SubnetID)
		}
	case "route-table-id":
		values = []string{t.ID}
	case "route.destination-cidr-block":
		for _, r := range t.Routes {
			values = append(values, r.Destination)
		}
	case "route.gateway-id":
		for _, r := range t.Routes {
			values = append(values, r.GatewayID)
		}
	case "route.origin":
		for _, r := range t.Routes {
			values = append(values, r.Origin)
		}
	case "route.state":
		values = []string{"active"}
	case "vpc-id":
		values = []string{t.VPCID}
	default:
		return nil, false
	}
	return values, true
}

func routeTableNotFound(id string) error {
	return notFound("InvalidRouteTableID.NotFound", "routeTable ID", id)
}

// mainTable returns a VPC's main route table. The caller holds the lock.
func (s *Service) mainTable(vpcID string) *routeTable {
	for _, t := range s.state.RouteTables {
		if t.VPCID == vpcID && t.main() {
			return t
		}
	}
	return nil
}

type routeAssociationView struct {
	ID       string    `xml:"routeTableAssociationId"`
	TableID  string    `xml:"routeTableId"`
	SubnetID string    `xml:"subnetId,omitempty"`
	Main     bool      `xml:"main"`
	State    stateView `xml:"associationState"`
}

type routeTableView struct {
	ID           string                 `xml:"routeTableId"`
	VPCID        string                 `xml:"vpcId"`
	OwnerID      string                 `xml:"ownerId"`
	Routes       []route                `xml:"routeSet>item"`
	Associations []routeAssociationView `xml:"associationSet>item"`
	Tags         tags                   `xml:"tagSet>item"`
}

// viewTable shows a route table. The caller holds the lock.
func (s *Service) viewTable(t *routeTable) routeTableView {
	v := routeTableView{ID: t.ID, VPCID: t.VPCID, OwnerID: s.account, Tags: t.Tags}
	for _, r := range t.Routes {
		r.State = "active"
		if g := s.state.Gateways[r.GatewayID]; r.GatewayID != "local" && (g == nil || g.VPCID != t.VPCID) {
			r.State = "blackhole"
		}
		v.Routes = append(v.Routes, r)
	}
	for _, a := range t.Associations {
		v.Associations = append(v.Associations, routeAssociationView{a.ID, t.ID, a.SubnetID, a.Main, stateView{"associated"}})
	}
	return v
}

type createRouteTableInput struct {
	VPCID       string            `query:"VpcId" wire:"required"`
	ClientToken string            `query:"ClientToken"`
	TagSpecs    tagSpecifications `query:"TagSpecification"`
}

type routeTableOutput struct {
	Table routeTableView `xml:"routeTable"`
}

func (s *Service) createRouteTable(_ context.Context, in *createRouteTableInput) (*routeTableOutput, error) {
	tagged, err := in.TagSpecs.of("route-table")
	if err != nil {
		return nil, err
	}
	out := &routeTableOutput{}
	err = s.change(func() error {
		v := s.state.VPCs[in.VPCID]
		if v == nil {
			return vpcNotFound(in.VPCID)
		}
		t := &routeTable{
			ID: newID("rtb"), VPCID: v.ID, Created: time.Now().UTC(), Tags: tagged,
			Routes: []route{{Destination: v.CIDR, GatewayID: "local", Origin: "CreateRouteTable"}},
		}
		s.state.RouteTables[t.ID] = t
		out.Table = s.viewTable(t)
		return nil
	})
	return out, err
}

type routeTableIDInput struct {
	ID string `query:"RouteTableId" wire:"required"`
}

func (s *Service) deleteRouteTable(_ context.Context, in *routeTableIDInput) (*wire.Return, error) {
	err := s.change(func() error {
		t := s.state.RouteTables[in.ID]
		switch {
		case t == nil:
			return routeTableNotFound(in.ID)
		case len(t.Associations) > 0:
			return wire.Errorf("DependencyViolation", "The routeTable '%s' has dependencies and cannot be deleted.", t.ID)
		}
		delete(s.state.RouteTables, t.ID)
		return nil
	})
	return &wire.Return{Return: true}, err
}

type describeRouteTablesInput struct {
	IDs     []string `query:"RouteTableId"`
	Filters filters  `query:"Filter"`
	paging
}

type describeRouteTablesOutput struct {
	Tables    []routeTableView `xml:"routeTableSet>item"`
	NextToken string           `xml:"nextToken,omitempty"`
}

func (s *Service) describeRouteTables(_ context.Context, in *describeRouteTablesInput) (*describeRouteTablesOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	all, err := find(s.state.RouteTables, in.IDs, "InvalidRouteTableID.NotFound", "routeTable ID")
	if err != nil {
		return nil, err
	}
	found, next, err := describeOwned(s.account, in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeRouteTablesOutput{NextToken: next}
	for _, t := range found {
		out.Tables = append(out.Tables, s.viewTable(t))
	}
	return out, nil
}

type routeInput struct {
	TableID     string `query:"RouteTableId" wire:"required"`
	Destination string `query:"DestinationCidrBlock" wire:"required"`
	GatewayID   string `query:"GatewayId" wire:"required"`
}

// changeRoutes changes a table's routes. f gets the index of the route to the destination, or -1.
func (s *Service) changeRoutes(tableID, destination string, f func(t *routeTable, destination string, index int) error) error {
	p, err := netip.ParsePrefix(destination)
	if err != nil || !p.Addr().Is4() {
		return wire.Errorf("InvalidParameterValue", "Value (%s) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.", destination)
	}
	destination = p.Masked().String()
	return s.change(func() error {
		t := s.state.RouteTables[tableID]
		if t == nil {
			return routeTableNotFound(tableID)
		}
		return f(t, destination, slices.IndexFunc(t.Routes, func(r route) bool { return r.Destination == destination }))
	})
}

// routeTarget checks that a gateway can be a route's target. The caller holds the lock.
func (s *Service) routeTarget(t *routeTable, id string) error {
	g := s.state.Gateways[id]
	switch {
	case g == nil:
		return wire.Errorf("InvalidGatewayID.NotFound", "The gateway ID '%s' does not exist", id)
	case g.VPCID != t.VPCID:
		return wire.Errorf("InvalidParameterValue", "route table %s and network gateway %s belong to different networks", t.ID, id)
	}
	return nil
}

func (s *Service) createRoute(_ context.Context, in *routeInput) (*wire.Return, error) {
	err := s.changeRoutes(in.TableID, in.Destination, func(t *routeTable, destination string, index int) error {
		if err := s.routeTarget(t, in.GatewayID); err != nil {
			return err
		}
		if index >= 0 {
			if t.Routes[index].GatewayID == in.GatewayID {
				return nil
			}
			return wire.Errorf("RouteAlreadyExists", "The route identified by %s already exists.", destination)
		}
		t.Routes = append(t.Routes, route{Destination: destination, GatewayID: in.GatewayID, Origin: "CreateRoute"})
		return nil
	})
	return &wire.Return{Return: true}, err
}

func routeNotFound(t *routeTable, destination string) error {
	return wire.Errorf("InvalidRoute.NotFound", "no route with destination-cidr-block %s in route table %s", destination, t.ID)
}

type deleteRouteInput struct {
	TableID     string `query:"RouteTableId" wire:"required"`
	Destination string `query:"DestinationCidrBlock" wire:"required"`
}

func (s *Service) deleteRoute(_ context.Context, in *deleteRouteInput) (*wire.Return, error) {
	err := s.changeRoutes(in.TableID, in.Destination, func(t *routeTable, destination string, index int) error {
		switch {
		case index < 0:
			return routeNotFound(t, destination)
		case t.Routes[index].GatewayID == "local":
			return wire.Errorf("InvalidParameterValue", "cannot remove local route %s in route table %s", destination, t.ID)
		}
		t.Routes = slices.Delete(slices.Clone(t.Routes), index, index+1)
		return nil
	})
	return &wire.Return{Return: true}, err
}

type associateInput struct {
	TableID  string `query:"RouteTableId" wire:"required"`
	SubnetID string `query:"SubnetId" wire:"required"`
}

type associateOutput struct {
	ID    string    `xml:"associationId"`
	State stateView `xml:"associationState"`
}

func (s *Service) associateRouteTable(_ context.Context, in *associateInput) (*associateOutput, error) {
	out := &associateOutput{State: stateView{"associated"}}
	err := s.change(func() error {
		t, n := s.state.RouteTables[in.TableID], s.state.Subnets[in.SubnetID]
		switch {
		case t == nil:
			return routeTableNotFound(in.TableID)
		case n == nil:
			return subnetNotFound(in.SubnetID)
		case n.VPCID != t.VPCID:
			return wire.Errorf("InvalidParameterValue", "Route table %s and subnet %s belong to different networks", t.ID, n.ID)
		}
		for _, other := range s.state.RouteTables {
			for _, a := range other.Associations {
				if a.SubnetID != n.ID {
					continue
				}
				if other == t {
					out.ID = a.ID
					return nil
				}
				return wire.Errorf("Resource.AlreadyAssociated", "the specified association for route table %s conflicts with an existing association", t.ID)
			}
		}
		out.ID = newID("rtbassoc")
		t.Associations = append(t.Associations, routeAssociation{ID: out.ID, SubnetID: n.ID})
		return nil
	})
	return out, err
}

// association finds an association of a route table. The caller holds the lock.
func (s *Service) association(id string) (*routeTable, routeAssociation, error) {
	for _, t := range s.state.RouteTables {
		for _, a := range t.Associations {
			if a.ID == id {
				return t, a, nil
			}
		}
	}
	return nil, routeAssociation{}, wire.Errorf("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", id)
}

func (t *routeTable) dissociate(id string) {
	t.Associations = slices.DeleteFunc(slices.Clone(t.Associations), func(a routeAssociation) bool { return a.ID == id })
}

type associationIDInput struct {
	ID string `query:"AssociationId" wire:"required"`
}

func (s *Service) disassociateRouteTable(_ context.Context, in *associationIDInput) (*wire.Return, error) {
	err := s.change(func() error {
		t, a, err := s.association(in.ID)
		switch {
		case err != nil:
			return err
		case a.Main:
			return wire.Errorf("InvalidParameterValue", "cannot disassociate the main route table association %s", a.ID)
		}
		t.dissociate(a.ID)
		return nil
	})
	return &wire.Return{Return: true}, err
}
