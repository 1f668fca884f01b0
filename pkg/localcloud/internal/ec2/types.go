package ec2

import (
	"context"
	"slices"
	"strings"
	"time"
)

// instanceType is a type of instance. A machine gets no more memory and processors than it says.
type instanceType struct {
	name         string
	architecture string
	vcpus        int
	memory       int // MiB
}

// family is a family of instance types whose sizes differ in proportion.
type family struct {
	names        []string
	architecture string
	sizes        []size
}

type size struct {
	name   string
	vcpus  int
	memory int // MiB
}

// families are the types that services like these run on, from AWS's tables of January 2026.
func families() []family {
	const gib = 1024
	burstable := []size{
		{"nano", 2, gib / 2}, {"micro", 2, gib}, {"small", 2, 2 * gib}, {"medium", 2, 4 * gib}, {"large", 2, 8 * gib},
		{"xlarge", 4, 16 * gib}, {"2xlarge", 8, 32 * gib},
	}
	sized := func(first string, perCPU int) []size { // per virtual CPU, in GiB
		var sizes []size
		if first == "medium" {
			sizes = []size{{"medium", 1, perCPU * gib}}
		}
		for _, s := range []size{
			{"large", 2, 0}, {"xlarge", 4, 0}, {"2xlarge", 8, 0}, {"4xlarge", 16, 0}, {"8xlarge", 32, 0}, {"12xlarge", 48, 0},
			{"16xlarge", 64, 0},
		} {
			sizes = append(sizes, size{s.name, s.vcpus, s.vcpus * perCPU * gib})
		}
		return sizes
	}
	return []family{
		{[]string{"t2"}, "x86_64", []size{
			{"nano", 1, gib / 2}, {"micro", 1, gib}, {"small", 1, 2 * gib}, {"medium", 2, 4 * gib}, {"large", 2, 8 * gib},
			{"xlarge", 4, 16 * gib}, {"2xlarge", 8, 32 * gib},
		}},
		{[]string{"t3", "t3a"}, "x86_64", burstable},
		{[]string{"t4g"}, "arm64", burstable},
		{[]string{"m5", "m5a", "m6i", "m6a", "m7i"}, "x86_64", sized("large", 4)},
		{[]string{"c6i", "c6a", "c7i"}, "x86_64", sized("large", 2)},
		{[]string{"m6g", "m7g"}, "arm64", sized("medium", 4)},
		{[]string{"c6g", "c7g"}, "arm64", sized("medium", 2)},
		{[]string{"c5"}, "x86_64", []size{
			{"large", 2, 4 * gib}, {"xlarge", 4, 8 * gib}, {"2xlarge", 8, 16 * gib}, {"4xlarge", 16, 32 * gib},
			{"9xlarge", 36, 72 * gib}, {"12xlarge", 48, 96 * gib}, {"18xlarge", 72, 144 * gib},
		}},
	}
}

// instanceTypes returns the types in the order of their names.
func instanceTypes() []*instanceType {
	var types []*instanceType
	for _, f := range families() {
		for _, name := range f.names {
			for _, s := range f.sizes {
				types = append(types, &instanceType{name + "." + s.name, f.architecture, s.vcpus, s.memory})
			}
		}
	}
	slices.SortFunc(types, func(a, b *instanceType) int { return strings.Compare(a.name, b.name) })
	return types
}

func instanceTypeNamed(name string) (*instanceType, bool) {
	for _, t := range instanceTypes() {
		if t.name == name {
			return t, true
		}
	}
	return nil, false
}

// threads per core: x86 runs two, unless it has only one virtual CPU in all; Graviton one.
func (t *instanceType) threads() int {
	if t.architecture == "arm64" || t.vcpus == 1 || strings.HasPrefix(t.name, "t2.") {
		return 1
	}
	return 2
}

func (t *instanceType) cores() int { return t.vcpus / t.threads() }

// offering is a type in a place.
type offering struct {
	Type         string `xml:"instanceType"`
	LocationType string `xml:"locationType"`
	Location     string `xml:"location"`
}

func (o *offering) key() (time.Time, string) { return time.Time{}, o.Type + " " + o.Location }
func (o *offering) tagged() tags             { return nil }

func (o *offering) attribute(name string) ([]string, bool) {
	switch name {
	case "instance-type":
		return []string{o.Type}, true
	case "location":
		return []string{o.Location}, true
	}
	return nil, false
}

type describeOfferingsInput struct {
	LocationType string  `query:"LocationType" wire:"enum=region|availability-zone|availability-zone-id"`
	Filters      filters `query:"Filter"`
	paging
}

type describeOfferingsOutput struct {
	Offerings []*offering `xml:"instanceTypeOfferingSet>item"`
	NextToken string      `xml:"nextToken,omitempty"`
}

func (s *Service) describeInstanceTypeOfferings(_ context.Context, in *describeOfferingsInput) (*describeOfferingsOutput, error) {
	kind, locations := in.LocationType, []string(nil)
	switch kind {
	case "", "region":
		kind, locations = "region", []string{s.region}
	default:
		for _, z := range s.zones() {
			if kind == "availability-zone" {
				locations = append(locations, z.Name)
			} else {
				locations = append(locations, z.ID)
			}
		}
	}
	var all []*offering
	for _, t := range instanceTypes() {
		for _, l := range locations {
			if !slices.ContainsFunc(s.zones(), func(z zone) bool { return (z.Name == l || z.ID == l) && !s.shape.Offers(z.Name, t.name) }) {
				all = append(all, &offering{t.name, kind, l})
			}
		}
	}
	found, next, err := describe(in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	return &describeOfferingsOutput{Offerings: found, NextToken: next}, nil
}
