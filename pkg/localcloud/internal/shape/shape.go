// Package shape is what the account of a local cloud is like where it differs from most: accounts on AWS have no default VPC, a small
// quota, or a key of their own for EBS, and a pipeline that was tried in one of them only fails in the next.
package shape

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Shape is what an account is like. The zero value is an account like most.
type Shape struct {
	// NoDefaultVPC says that the account has no default VPC.
	NoDefaultVPC bool
	// VCPUs is the quota of vCPUs of standard instances that run at once; 0 means [DefaultVCPUs].
	VCPUs int
	// Lacking are instance types that a zone does not offer.
	Lacking []ZoneType
	// Root is the device name of the root volume of Debian's image; "" means [DefaultRoot].
	Root string
	// CustomerKey says that EBS encrypts everything, with a KMS key of the customer's own.
	CustomerKey bool
}

const (
	// DefaultVCPUs is the quota of an account that has been used for a while.
	DefaultVCPUs = 1152
	// DefaultRoot is the root device of Debian's images on AWS.
	DefaultRoot = "/dev/xvda"
)

// ZoneType is an instance type in a zone.
type ZoneType struct{ Zone, Type string }

// String returns it as a shape's text has it.
func (z ZoneType) String() string { return z.Zone + ":" + z.Type }

var (
	validZoneType = regexp.MustCompile(`^([a-z0-9-]+):([a-z0-9-]+\.[a-z0-9-]+)$`)
	validDevice   = regexp.MustCompile(`^/dev/[a-z0-9]+$`)
)

// Parse reads a shape such as "no-default-vpc vcpus=5 zone-without-type=us-west-1b:t3.micro root=/dev/sda1 ebs-key=customer". Of
// zone-without-type there may be several. Empty is an account like most.
func Parse(text string) (Shape, error) {
	var s Shape
	for field := range strings.FieldsSeq(text) {
		if err := s.set(field); err != nil {
			return Shape{}, fmt.Errorf("read the shape of an account: %q: %w", field, err)
		}
	}
	return s, nil
}

func (s *Shape) set(field string) error {
	name, value, _ := strings.Cut(field, "=")
	switch name {
	case "no-default-vpc":
		if field != name {
			return fmt.Errorf("it takes no value")
		}
		s.NoDefaultVPC = true
	case "vcpus":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return fmt.Errorf("want a number of vCPUs, such as vcpus=5")
		}
		s.VCPUs = n
	case "zone-without-type":
		parts := validZoneType.FindStringSubmatch(value)
		if parts == nil {
			return fmt.Errorf("want a zone and an instance type, such as zone-without-type=us-west-1b:t3.micro")
		}
		if lacking := (ZoneType{parts[1], parts[2]}); !slices.Contains(s.Lacking, lacking) {
			s.Lacking = append(s.Lacking, lacking)
		}
	case "root":
		if !validDevice.MatchString(value) {
			return fmt.Errorf("want a device's name, such as root=/dev/sda1")
		}
		s.Root = value
	case "ebs-key":
		if value != "customer" {
			return fmt.Errorf("want ebs-key=customer")
		}
		s.CustomerKey = true
	default:
		return fmt.Errorf("there is no such word: known are no-default-vpc, vcpus, zone-without-type, root, ebs-key")
	}
	return nil
}

// String returns the shape as [Parse] reads it, "" for an account like most.
func (s Shape) String() string {
	var fields []string
	if s.NoDefaultVPC {
		fields = append(fields, "no-default-vpc")
	}
	if s.VCPUs != 0 {
		fields = append(fields, fmt.Sprintf("vcpus=%d", s.VCPUs))
	}
	for _, lacking := range s.Lacking {
		fields = append(fields, "zone-without-type="+lacking.String())
	}
	if s.Root != "" {
		fields = append(fields, "root="+s.Root)
	}
	if s.CustomerKey {
		fields = append(fields, "ebs-key=customer")
	}
	return strings.Join(fields, " ")
}

// Quota returns how many vCPUs of standard instances may run at once.
func (s Shape) Quota() int {
	if s.VCPUs == 0 {
		return DefaultVCPUs
	}
	return s.VCPUs
}

// RootDevice returns the device name of the root volume of Debian's image.
func (s Shape) RootDevice() string {
	if s.Root == "" {
		return DefaultRoot
	}
	return s.Root
}

// Offers reports whether a zone offers an instance type.
func (s Shape) Offers(zone, instanceType string) bool {
	return !slices.Contains(s.Lacking, ZoneType{zone, instanceType})
}
