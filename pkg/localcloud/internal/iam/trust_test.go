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
			"Principal":{"Service":"codedeploy.amazonaws.com"},"Action":"sts:AssumeRole",
			"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:codedeploy:us-west-1:000000000000:deploymentgroup:a/b"}}}]}`,
	})
	if err != nil {
		t.Fatal(err)
	}
	const ours = "arn:aws:codedeploy:us-west-1:000000000000:deploymentgroup:a/b"
	for _, test := range []struct {
		arn, service, source string
		found, trusts        bool
	}{
		{"arn:aws:iam::000000000000:role/ci/deploy", "codedeploy.amazonaws.com", ours, true, true},
		{"arn:aws:iam::000000000000:role/ci/deploy", "codedeploy.amazonaws.com", ours + "-other", true, false},
		{"arn:aws:iam::000000000000:role/ci/deploy", "codedeploy.amazonaws.com", "", true, false},
		{"arn:aws:iam::000000000000:role/ci/deploy", "ec2.amazonaws.com", ours, true, false},
		{"arn:aws:iam::000000000000:role/deploy", "codedeploy.amazonaws.com", ours, false, false},
	} {
		if found, trusts := s.RoleTrusts(test.arn, test.service, test.source); found != test.found || trusts != test.trusts {
			t.Errorf("%s, %s, %s: %v, %v", test.arn, test.service, test.source, found, trusts)
		}
	}
}
