package iam

import (
	"testing"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
)

func TestRoleTrusts(t *testing.T) {
	s, err := New(Options{Account: "000000000000", Store: store.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.createRole(t.Context(), &createRoleInput{
		RoleName: "deploy", Path: "/ci/", AssumeRolePolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
			"Principal":{"Service":"codedeploy.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		arn, service  string
		found, trusts bool
	}{
		{"arn:aws:iam::000000000000:role/ci/deploy", "codedeploy.amazonaws.com", true, true},
		{"arn:aws:iam::000000000000:role/ci/deploy", "ec2.amazonaws.com", true, false},
		{"arn:aws:iam::000000000000:role/deploy", "codedeploy.amazonaws.com", false, false},
	} {
		if found, trusts := s.RoleTrusts(test.arn, test.service); found != test.found || trusts != test.trusts {
			t.Errorf("%s, %s: %v, %v", test.arn, test.service, found, trusts)
		}
	}
}
