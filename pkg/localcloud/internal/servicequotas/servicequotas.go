// Package servicequotas says what the account's quotas are: of those that a release can meet, the one of vCPUs.
package servicequotas

import (
	"context"
	"fmt"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Options are the settings of a [Service].
type Options struct {
	// Account is the ID of the account, 12 digits.
	Account string
	// Region is the AWS region that the cloud is.
	Region string
	// VCPUs is the quota of vCPUs of standard instances, which EC2 keeps to.
	VCPUs int
}

// Service is AWS Service Quotas.
type Service struct{ options Options }

// New returns the service.
func New(options Options) *Service { return &Service{options: options} }

// API returns the operations for wire.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name: "servicequotas", Protocol: wire.JSON, Version: "2019-06-24", Target: "ServiceQuotasV20190624",
		Actions: map[string]wire.Action{"GetServiceQuota": wire.DoUnscoped(s.getServiceQuota)},
	}
}

// The one quota. See https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html.
const (
	ec2Code      = "ec2"
	standardCode = "L-1216C47A"
	standardName = "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"
)

type getServiceQuotaInput struct {
	ServiceCode string `wire:"required"`
	QuotaCode   string `wire:"required"`
}

type getServiceQuotaOutput struct{ Quota quota }

type quota struct {
	ServiceCode string
	ServiceName string
	QuotaArn    string
	QuotaCode   string
	QuotaName   string
	Value       float64
	Unit        string
	Adjustable  bool
	GlobalQuota bool
}

func (s *Service) getServiceQuota(_ context.Context, in *getServiceQuotaInput) (*getServiceQuotaOutput, error) {
	if in.ServiceCode != ec2Code || in.QuotaCode != standardCode {
		return nil, wire.Errorf("NoSuchResourceException", "The request failed because the specified service does not exist, or the local cloud does not have its quota %s.", in.QuotaCode)
	}
	return &getServiceQuotaOutput{quota{
		ServiceCode: ec2Code, ServiceName: "Amazon Elastic Compute Cloud (Amazon EC2)", QuotaCode: standardCode, QuotaName: standardName,
		QuotaArn: fmt.Sprintf("arn:aws:servicequotas:%s:%s:%s/%s", s.options.Region, s.options.Account, ec2Code, standardCode),
		Value:    float64(s.options.VCPUs), Unit: "None", Adjustable: true,
	}}, nil
}
