package ec2

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/shape"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// CheckShape checks that an account of that shape can be in the region: that there are the zones and the instance types it speaks of.
func CheckShape(region string, of shape.Shape) error {
	zones := (&Service{region: region}).zones()
	for _, lacking := range of.Lacking {
		if !slices.ContainsFunc(zones, func(z zone) bool { return z.Name == lacking.Zone }) {
			return fmt.Errorf("the local cloud has no zone %s: it has %s", lacking.Zone, zoneNames(zones))
		}
		if _, ok := instanceTypeNamed(lacking.Type); !ok {
			return fmt.Errorf("the local cloud has no instance type %s", lacking.Type)
		}
	}
	return nil
}

func zoneNames(zones []zone) string {
	var names []string
	for _, z := range zones {
		names = append(names, z.Name)
	}
	return strings.Join(names, ", ")
}

// noDefaultVPC is the error of a request that names no network where there is no default one.
func noDefaultVPC() error { return wire.Errorf("VPCIdNotSpecified", "No default VPC for this user") }

// notOffered is the error of a launch in a zone that lacks the instance type.
func (s *Service) notOffered(zoneName, instanceType string) error {
	others := slices.DeleteFunc(s.zones(), func(z zone) bool { return !s.shape.Offers(z.Name, instanceType) })
	return wire.Errorf("Unsupported", "Your requested instance type (%s) is not supported in your requested Availability Zone (%s). "+
		"Please retry your request by not specifying an Availability Zone or choosing %s.", instanceType, zoneName, zoneNames(others))
}

func vcpusOf(instanceType string) int {
	if t, ok := instanceTypeNamed(instanceType); ok {
		return t.vcpus
	}
	return 0
}

// runningVCPUs returns what counts against the quota: all types here are standard instances. The caller holds the lock.
func (s *Service) runningVCPUs() int {
	sum := 0
	for _, i := range s.state.Instances {
		if i.State == statePending || i.State == stateRunning {
			sum += vcpusOf(i.Type)
		}
	}
	return sum
}

func (s *Service) quotaExceeded() error {
	return wire.Errorf("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of %d allows for the instance bucket "+
		"that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.", s.shape.Quota())
}

// keyReason is why an instance ends whose volumes have a key that may not be used.
func keyReason() stateReason {
	const code = "Client.InvalidKMSKey.InvalidState"
	return stateReason{code, code + ": The KMS key provided is in an incorrect state"}
}

func (s *Service) accountActions() map[string]wire.Action {
	return map[string]wire.Action{
		"GetEbsDefaultKmsKeyId":     wire.DoUnscoped(s.getEBSDefaultKey),
		"GetEbsEncryptionByDefault": wire.DoUnscoped(s.getEBSEncryptionByDefault),
	}
}

type ebsDefaultKeyOutput struct {
	KMSKeyID string `xml:"kmsKeyId"`
}

func (s *Service) getEBSDefaultKey(context.Context, *wire.Empty) (*ebsDefaultKeyOutput, error) {
	if s.defaultKey == "" {
		return &ebsDefaultKeyOutput{"alias/aws/ebs"}, nil
	}
	return &ebsDefaultKeyOutput{s.defaultKey}, nil
}

type ebsEncryptionOutput struct {
	Encrypted bool `xml:"ebsEncryptionByDefault"`
}

func (s *Service) getEBSEncryptionByDefault(context.Context, *wire.Empty) (*ebsEncryptionOutput, error) {
	return &ebsEncryptionOutput{s.defaultKey != ""}, nil
}

type vcpuInfoView struct {
	VCPUs   int `xml:"defaultVCpus"`
	Cores   int `xml:"defaultCores"`
	Threads int `xml:"defaultThreadsPerCore"`
}

// instanceTypeView has of an instance type what the pipeline asks.
type instanceTypeView struct {
	Name     string       `xml:"instanceType"`
	VCPUInfo vcpuInfoView `xml:"vCpuInfo"`
}

func (t *instanceType) key() (time.Time, string) { return time.Time{}, t.name }
func (t *instanceType) tagged() tags             { return nil }

func (t *instanceType) attribute(name string) ([]string, bool) {
	if name == "instance-type" {
		return []string{t.name}, true
	}
	return nil, false
}

type describeInstanceTypesInput struct {
	Names   []string `query:"InstanceType"`
	Filters filters  `query:"Filter"`
	paging
}

type describeInstanceTypesOutput struct {
	Types     []instanceTypeView `xml:"instanceTypeSet>item"`
	NextToken string             `xml:"nextToken,omitempty"`
}

func (s *Service) describeInstanceTypes(_ context.Context, in *describeInstanceTypesInput) (*describeInstanceTypesOutput, error) {
	all := instanceTypes()
	if len(in.Names) > 0 {
		all = nil
		for _, name := range in.Names {
			t, ok := instanceTypeNamed(name)
			if !ok {
				return nil, wire.Errorf("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", name)
			}
			all = append(all, t)
		}
	}
	found, next, err := describe(in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeInstanceTypesOutput{NextToken: next}
	for _, t := range found {
		out.Types = append(out.Types, instanceTypeView{t.name, vcpuInfoView{t.vcpus, t.cores(), t.threads()}})
	}
	return out, nil
}
