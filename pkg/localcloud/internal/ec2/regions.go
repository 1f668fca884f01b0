package ec2

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// zone is an availability zone.
type zone struct {
	Name   string
	ID     string
	region string
}

// zones returns the zones, three in every region.
func (s *Service) zones() []zone {
	var zones []zone
	for n, letter := range []string{"a", "b", "c"} {
		zones = append(zones, zone{s.region + letter, shortRegion(s.region) + "-az" + string(rune('1'+n)), s.region})
	}
	return zones
}

// shortRegion abbreviates a region as zone IDs do: us-west-1 is usw1, ap-southeast-2 apse2.
func shortRegion(region string) string {
	parts := strings.Split(region, "-")
	if len(parts) < 3 {
		return region
	}
	middle := strings.Join(parts[1:len(parts)-1], "")
	short := strings.NewReplacer("north", "n", "south", "s", "east", "e", "west", "w", "central", "c", "gov", "g").Replace(middle)
	return parts[0] + short + parts[len(parts)-1]
}

func (z *zone) key() (time.Time, string) { return time.Time{}, z.Name }
func (z *zone) tagged() tags             { return nil }

func (z *zone) attribute(name string) ([]string, bool) {
	switch name {
	case "group-name", "network-border-group", "region-name":
		return []string{z.region}, true
	case "message", "parent-zone-id", "parent-zone-name":
		return nil, true
	case "opt-in-status":
		return []string{"opt-in-not-required"}, true
	case "state":
		return []string{"available"}, true
	case "zone-id":
		return []string{z.ID}, true
	case "zone-name":
		return []string{z.Name}, true
	case "zone-type":
		return []string{"availability-zone"}, true
	}
	return nil, false
}

func (s *Service) regionActions() map[string]wire.Action {
	return map[string]wire.Action{
		"DescribeAccountAttributes":  wire.Do(s.describeAccountAttributes),
		"DescribeAvailabilityZones":  wire.Do(s.describeAvailabilityZones),
		"DescribeManagedPrefixLists": wire.Do(s.describeManagedPrefixLists),
		"DescribePrefixLists":        wire.Do(s.describePrefixLists),
		"DescribeRegions":            wire.Do(s.describeRegions),
	}
}

type zoneView struct {
	Name          string `xml:"zoneName"`
	State         string `xml:"zoneState"`
	Region        string `xml:"regionName"`
	ID            string `xml:"zoneId"`
	OptIn         string `xml:"optInStatus"`
	Group         string `xml:"groupName"`
	BorderGroup   string `xml:"networkBorderGroup"`
	Type          string `xml:"zoneType"`
	GroupLongName string `xml:"groupLongName,omitempty"`
}

type describeZonesInput struct {
	Names   []string `query:"ZoneName"`
	IDs     []string `query:"ZoneId"`
	Filters filters  `query:"Filter"`
	All     bool     `query:"AllAvailabilityZones"` // there are no others
}

type describeZonesOutput struct {
	Zones []zoneView `xml:"availabilityZoneInfo>item"`
}

func (s *Service) describeAvailabilityZones(_ context.Context, in *describeZonesInput) (*describeZonesOutput, error) {
	var all []*zone
	zones := s.zones()
	for _, wanted := range slices.Concat(in.Names, in.IDs) {
		if !slices.ContainsFunc(zones, func(z zone) bool { return z.Name == wanted || z.ID == wanted }) {
			return nil, wire.Errorf("InvalidParameterValue", "Invalid availability zone: [%s]", wanted)
		}
	}
	for n := range zones {
		z := &zones[n]
		if len(in.Names)+len(in.IDs) == 0 || slices.Contains(in.Names, z.Name) || slices.Contains(in.IDs, z.ID) {
			all = append(all, z)
		}
	}
	found, err := match(in.Filters, all)
	if err != nil {
		return nil, err
	}
	out := &describeZonesOutput{}
	for _, z := range found {
		out.Zones = append(out.Zones, zoneView{
			Name: z.Name, State: "available", Region: s.region, ID: z.ID, OptIn: "opt-in-not-required", Group: s.region,
			BorderGroup: s.region, Type: "availability-zone",
		})
	}
	return out, nil
}

// region is the only region.
type region struct {
	Name     string `xml:"regionName"`
	Endpoint string `xml:"regionEndpoint"`
	OptIn    string `xml:"optInStatus"`
}

func (r *region) key() (time.Time, string) { return time.Time{}, r.Name }
func (r *region) tagged() tags             { return nil }

func (r *region) attribute(name string) ([]string, bool) {
	switch name {
	case "endpoint":
		return []string{r.Endpoint}, true
	case "opt-in-status":
		return []string{r.OptIn}, true
	case "region-name":
		return []string{r.Name}, true
	}
	return nil, false
}

type describeRegionsInput struct {
	Names   []string `query:"RegionName"`
	Filters filters  `query:"Filter"`
	All     bool     `query:"AllRegions"` // there are no others
}

type describeRegionsOutput struct {
	Regions []*region `xml:"regionInfo>item"`
}

func (s *Service) describeRegions(_ context.Context, in *describeRegionsInput) (*describeRegionsOutput, error) {
	for _, name := range in.Names {
		if name != s.region {
			return nil, wire.Errorf("InvalidParameterValue", "Invalid region provided: [%s]", name)
		}
	}
	found, err := match(in.Filters, []*region{{s.region, "ec2." + s.region + ".amazonaws.com", "opt-in-not-required"}})
	return &describeRegionsOutput{found}, err
}

type describeAccountAttributesInput struct {
	Names []string `query:"AttributeName" wire:"enum=supported-platforms|default-vpc"`
}

type accountAttribute struct {
	Name   string                  `xml:"attributeName"`
	Values []accountAttributeValue `xml:"attributeValueSet>item"`
}

type accountAttributeValue struct {
	Value string `xml:"attributeValue"`
}

type describeAccountAttributesOutput struct {
	Attributes []accountAttribute `xml:"accountAttributeSet>item"`
}

func (s *Service) describeAccountAttributes(_ context.Context, in *describeAccountAttributesInput) (*describeAccountAttributesOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	vpcID := s.defaultVPC()
	if vpcID == "" {
		vpcID = "none"
	}
	out := &describeAccountAttributesOutput{}
	for _, a := range [][2]string{{"supported-platforms", "VPC"}, {"default-vpc", vpcID}} {
		if len(in.Names) == 0 || slices.Contains(in.Names, a[0]) {
			out.Attributes = append(out.Attributes, accountAttribute{a[0], []accountAttributeValue{{a[1]}}})
		}
	}
	return out, nil
}

type describePrefixListsInput struct {
	IDs     []string `query:"PrefixListId"`
	Filters filters  `query:"Filter"`
	paging
}

// none is the answer of a Describe call for what is never there.
type none struct {
	PrefixLists []wire.Empty `xml:"prefixListSet>item"`
}

func (s *Service) describePrefixLists(ctx context.Context, in *describePrefixListsInput) (*none, error) {
	return s.describeManagedPrefixLists(ctx, in)
}

func (s *Service) describeManagedPrefixLists(_ context.Context, in *describePrefixListsInput) (*none, error) {
	if len(in.IDs) > 0 {
		return nil, wire.Errorf("InvalidPrefixListID.NotFound", "The prefix list ID '%s' does not exist", in.IDs[0])
	}
	return &none{}, nil
}
