package servicequotas

import (
	"errors"
	"testing"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

func TestGetServiceQuota(t *testing.T) {
	s := New(Options{Account: "000000000001", Region: "us-west-1", VCPUs: 5})
	out, err := s.getServiceQuota(t.Context(), &getServiceQuotaInput{"ec2", "L-1216C47A"})
	if err != nil || out.Quota.Value != 5 || out.Quota.QuotaArn != "arn:aws:servicequotas:us-west-1:000000000001:ec2/L-1216C47A" {
		t.Errorf("quota %+v, %v", out, err)
	}
	for _, in := range []getServiceQuotaInput{{"ec2", "L-34B43A08"}, {"s3", "L-1216C47A"}} {
		_, err := s.getServiceQuota(t.Context(), &in)
		if e, ok := errors.AsType[*wire.Error](err); !ok || e.Code != "NoSuchResourceException" {
			t.Errorf("%v: %v", in, err)
		}
	}
}
