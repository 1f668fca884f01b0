package elbv2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	// provisioningTime is how long a new load balancer says that it is not active yet.
	provisioningTime = time.Second
	// hostedZone is the Route 53 zone of application load balancers; clients only show it.
	hostedZone = "Z368ELLRRE2KJ0"
)

// loadBalancer is an application load balancer as the store keeps it.
type loadBalancer struct {
	ARN            string            `json:"arn"`
	ID             string            `json:"id"` // the end of the ARN
	Name           string            `json:"name"`
	Created        time.Time         `json:"created"`
	Address        netip.Addr        `json:"address"`
	Scheme         string            `json:"scheme"`
	VPCID          string            `json:"vpc"`
	Subnets        []zone            `json:"subnets"`
	SecurityGroups []string          `json:"securityGroups"`
	Attributes     map[string]string `json:"attributes"`
	Tags           map[string]string `json:"tags"`
}

type zone struct {
	SubnetID string `json:"subnet" xml:"SubnetId"`
	ZoneName string `json:"zone"`
}

func (lb *loadBalancer) created() time.Time { return lb.Created }

func (s *Service) loadBalancer(arn string) (*loadBalancer, error) {
	lb, ok := s.state.LoadBalancers[arn]
	if !ok {
		return nil, absent("load balancer", arn)
	}
	return lb, nil
}

type subnetMapping struct {
	SubnetID string `query:"SubnetId" wire:"required"`
}

type createLoadBalancerInput struct {
	Name           string          `query:"Name" wire:"required"`
	IPAddressType  string          `query:"IpAddressType" wire:"enum=ipv4"`
	Scheme         string          `query:"Scheme" wire:"enum=internet-facing|internal"`
	SecurityGroups []string        `query:"SecurityGroups"`
	SubnetMappings []subnetMapping `query:"SubnetMappings"`
	Subnets        []string        `query:"Subnets"`
	Tags           []keyValue      `query:"Tags"`
	Type           string          `query:"Type" wire:"enum=application|network|gateway"`
}

type loadBalancersOutput struct {
	LoadBalancers service.List[loadBalancerView]
	NextMarker    string `xml:",omitempty"`
}

type loadBalancerView struct {
	AvailabilityZones     service.List[zone]
	CanonicalHostedZoneID string `xml:"CanonicalHostedZoneId"`
	CreatedTime           *time.Time
	DNSName               string
	IPAddressType         string `xml:"IpAddressType"`
	LoadBalancerARN       string `xml:"LoadBalancerArn"`
	LoadBalancerName      string
	Scheme                string
	SecurityGroups        service.List[string]
	State                 struct{ Code string }
	Type                  string
	VPCID                 string `xml:"VpcId"`
}

func (lb *loadBalancer) view() loadBalancerView {
	v := loadBalancerView{
		AvailabilityZones: service.List[zone]{Members: lb.Subnets}, CanonicalHostedZoneID: hostedZone,
		CreatedTime: new(lb.Created.UTC().Truncate(time.Millisecond)), DNSName: lb.Address.String(), IPAddressType: "ipv4",
		LoadBalancerARN: lb.ARN, LoadBalancerName: lb.Name, Scheme: lb.Scheme, SecurityGroups: service.List[string]{Members: lb.SecurityGroups},
		Type: "application", VPCID: lb.VPCID,
	}
	if v.State.Code = "active"; time.Since(lb.Created) < provisioningTime {
		v.State.Code = "provisioning"
	}
	return v
}

// checkName checks the name of a load balancer or target group.
func checkName(kind, name string) error {
	if ok, err := regexp.MatchString(`^[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?$`, name); err != nil || !ok {
		return wire.Errorf("ValidationError", "%s name '%s' must have at most 32 letters, digits and hyphens, and must not begin or end "+
			"with a hyphen", kind, name)
	}
	return nil
}

// zones checks a load balancer's subnets: at least two, of one VPC, each in a zone of its own.
func (s *Service) zones(subnets []string, mappings []subnetMapping) (zones []zone, vpc string, err error) {
	for _, m := range mappings {
		subnets = append(subnets, m.SubnetID)
	}
	for _, id := range subnets {
		info, ok := s.options.Instances.Subnet(id)
		if !ok {
			return nil, "", wire.Errorf("SubnetNotFound", "The subnet ID '%s' does not exist", id)
		}
		if vpc != "" && vpc != info.VPCID {
			return nil, "", wire.Errorf("InvalidConfigurationRequest", "All subnets must belong to the same VPC: '%s'", vpc)
		}
		vpc = info.VPCID
		if slices.ContainsFunc(zones, func(z zone) bool { return z.ZoneName == info.AvailabilityZone }) {
			return nil, "", wire.Errorf("InvalidConfigurationRequest",
				"A load balancer cannot be attached to multiple subnets in the same Availability Zone")
		}
		zones = append(zones, zone{id, info.AvailabilityZone})
	}
	if len(zones) < 2 {
		return nil, "", wire.Errorf("ValidationError", "At least two subnets in two different Availability Zones must be specified")
	}
	return zones, vpc, nil
}

func (s *Service) createLoadBalancer(_ context.Context, in *createLoadBalancerInput) (*loadBalancersOutput, error) {
	if in.Type != "" && in.Type != "application" {
		return nil, wire.Errorf("InvalidConfigurationRequest", "Load balancers of type '%s' are not supported: the local cloud has application "+
			"load balancers", in.Type)
	}
	if err := checkName("Load balancer", in.Name); err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	zones, vpc, err := s.zones(in.Subnets, in.SubnetMappings)
	if err != nil {
		return nil, err
	}
	for _, id := range in.SecurityGroups {
		if !s.options.Instances.HasSecurityGroup(vpc, id) {
			return nil, wire.Errorf("InvalidSecurityGroup", "One or more security groups are invalid: '%s'", id)
		}
	}
	lb := &loadBalancer{
		ID: newID(), Name: in.Name, Created: time.Now(), Scheme: in.Scheme, VPCID: vpc, Subnets: zones, SecurityGroups: in.SecurityGroups,
		Attributes: defaults(loadBalancerAttributes()), Tags: tags,
	}
	if lb.Scheme == "" {
		lb.Scheme = "internet-facing"
	}
	lb.ARN = s.arn("loadbalancer/app/%s/%s", lb.Name, lb.ID)
	out := &loadBalancersOutput{}
	err = s.change(func() error {
		for _, other := range s.state.LoadBalancers {
			if other.Name != lb.Name {
				continue
			}
			if other.Scheme != lb.Scheme || !slices.Equal(other.Subnets, lb.Subnets) || !slices.Equal(other.SecurityGroups, lb.SecurityGroups) {
				return wire.Errorf("DuplicateLoadBalancerName",
					"A load balancer with the same name '%s' exists, but with different settings", lb.Name)
			}
			out.LoadBalancers.Members = []loadBalancerView{other.view()}
			return nil
		}
		address, err := s.options.Addresses.Allocate(lb.ARN)
		if err != nil {
			return fmt.Errorf("create load balancer %q: %w", lb.Name, err)
		}
		lb.Address = address
		s.state.LoadBalancers[lb.ARN] = lb
		out.LoadBalancers.Members = []loadBalancerView{lb.view()}
		return nil
	})
	if err != nil && lb.Address.IsValid() {
		return nil, errors.Join(err, s.options.Addresses.Release(lb.Address))
	}
	return out, err
}

// UsesSecurityGroup reports whether a load balancer has the security group.
func (s *Service) UsesSecurityGroup(id string) bool {
	s.document.Lock()
	defer s.document.Unlock()
	for _, lb := range s.state.LoadBalancers {
		if slices.Contains(lb.SecurityGroups, id) {
			return true
		}
	}
	return false
}

func (s *Service) deleteLoadBalancer(_ context.Context, in *loadBalancerARN) (*wire.Empty, error) {
	var address netip.Addr
	err := s.change(func() error {
		lb, ok := s.state.LoadBalancers[in.ARN]
		if !ok {
			return nil // as on AWS
		}
		if lb.Attributes[deletionProtection] == "true" {
			return wire.Errorf("OperationNotPermitted",
				"Load balancer '%s' cannot be deleted because deletion protection is enabled", lb.ARN)
		}
		for arn, l := range s.state.Listeners {
			if l.LoadBalancer == lb.ARN {
				s.shut(arn)
				delete(s.state.Listeners, arn)
			}
		}
		delete(s.state.LoadBalancers, lb.ARN)
		address = lb.Address
		return nil
	})
	if err != nil || !address.IsValid() {
		return nil, err
	}
	if err := s.options.Addresses.Release(address); err != nil {
		return nil, fmt.Errorf("delete load balancer %q: %w", in.ARN, err)
	}
	return nil, nil
}

type describeLoadBalancersInput struct {
	ARNs  []string `query:"LoadBalancerArns"`
	Names []string `query:"Names"`
	paging
}

func (s *Service) describeLoadBalancers(_ context.Context, in *describeLoadBalancersInput) (*loadBalancersOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	var found []loadBalancerView
	missing := slices.Concat(in.ARNs, in.Names)
	for _, lb := range sorted(s.state.LoadBalancers) {
		if len(in.ARNs)+len(in.Names) == 0 || slices.Contains(in.ARNs, lb.ARN) || slices.Contains(in.Names, lb.Name) {
			found = append(found, lb.view())
		}
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == lb.ARN || name == lb.Name })
	}
	if len(missing) > 0 && slices.Contains(in.ARNs, missing[0]) {
		return nil, absent("load balancer", missing[0])
	}
	if len(missing) > 0 {
		return nil, wire.Errorf("LoadBalancerNotFound", "Load balancers '[%s]' not found", missing[0])
	}
	part, next, err := page(found, in.paging)
	return &loadBalancersOutput{part, next}, err
}

type capacityOutput struct {
	CapacityReservationState  service.List[string]
	DecreaseRequestsRemaining int
}

// describeCapacityReservation answers that there is none.
func (s *Service) describeCapacityReservation(_ context.Context, in *loadBalancerARN) (*capacityOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	_, err := s.loadBalancer(in.ARN)
	return &capacityOutput{DecreaseRequestsRemaining: 1}, err
}
