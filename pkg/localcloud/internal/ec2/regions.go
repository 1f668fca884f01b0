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
	for _, letter := range []string{"a", "b", "c"} {
		zones = append(zones, zone{s.region + letter, zoneID(s.region + letter), s.region})
	}
	return zones
}

// zoneID returns the ID of a zone.
func zoneID(name string) string {
	if name == "" {
		return ""
	}
	region, letter := name[:len(name)-1], name[len(name)-1]
	return shortRegion(region) + "-az" + string(rune('1'+letter-'a'))
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
	case "group-long-name", "message", "parent-zone-id", "parent-zone-name":
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
		"DescribeAvailabilityZones": wire.DoUnscoped(s.describeAvailabilityZones),
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
