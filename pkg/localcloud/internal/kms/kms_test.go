package kms

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// TestGrantingNeeds is about a key that is named by its ID and by its ARN.
func TestGrantingNeeds(t *testing.T) {
	s, err := New(Options{Account: "000000000001", Region: "us-west-1", CustomerKey: true, Store: store.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	want := []wire.Access{{Resource: s.KeyARN(), Keys: map[string][]string{
		"kms:CallerAccount": {"000000000001"}, "kms:GranteePrincipal": {"arn:aws:iam::000000000001:role/r"}, "kms:GrantOperations": {"Decrypt", "DescribeKey"},
	}}}
	for _, key := range []string{s.KeyARN(), s.keyID()} {
		got := s.granting(&createGrantInput{KeyID: key, GranteePrincipal: "arn:aws:iam::000000000001:role/r", Operations: []string{"Decrypt", "DescribeKey"}})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", key, diff)
		}
	}
}
