package iam

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/iam/policy"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const account = "000000000000"

// withProfile returns a service with a profile "web", whose role trusts a service.
func withProfile(t *testing.T, trusted string) *Service {
	t.Helper()
	s, err := New(Options{Account: account, Store: store.Memory()})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, err = s.createRole(ctx, &createRoleInput{RoleName: "web", AssumeRolePolicyDocument: `{"Version":"2012-10-17","Statement":{"Effect":"Allow",
		"Principal":{"Service":"` + trusted + `"},"Action":"sts:AssumeRole"}}`})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.createInstanceProfile(ctx, &createInstanceProfileInput{InstanceProfileName: "web", Path: "/a/"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.addRoleToInstanceProfile(ctx, &profileRoleInput{"web", "web"}); err != nil {
		t.Fatal(err)
	}
	return s
}

const profileARN = "arn:aws:iam::" + account + ":instance-profile/a/web"

func TestInstanceCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withProfile(t, "ec2.amazonaws.com")
		get := func(instance string) Credentials {
			t.Helper()
			c, err := s.InstanceCredentials(profileARN, instance)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		first := get("i-1")
		if want := "arn:aws:sts::" + account + ":assumed-role/web/i-1"; first.ARN != want || time.Until(first.Expires) != 6*time.Hour {
			t.Errorf("%s until %s, want %s", first.ARN, first.Expires, want)
		}
		if again := get("i-1"); again != first {
			t.Errorf("again: %+v, want %+v", again, first)
		}
		if other := get("i-2"); other.AccessKeyID == first.AccessKeyID {
			t.Error("two instances have the same key")
		}
		time.Sleep(3*time.Hour + time.Second)
		second := get("i-1")
		if second.AccessKeyID == first.AccessKeyID {
			t.Error("the credentials are the same after half of their time")
		}
		if _, ok := s.Session(first.AccessKeyID); !ok {
			t.Error("the first ones are gone before their end")
		}
		time.Sleep(24 * time.Hour)
		get("i-1")
		if of, ok := s.Session(first.AccessKeyID); !ok || time.Now().Before(of.Expires) {
			t.Error("of a session that has ended lately nothing is known")
		}
		time.Sleep(24 * time.Hour)
		get("i-1")
		if _, ok := s.Session(first.AccessKeyID); ok {
			t.Error("a session is kept for ever")
		}
	})
}

func TestInstanceCredentialsNeedTrust(t *testing.T) {
	s := withProfile(t, "codedeploy.amazonaws.com")
	for profile, want := range map[string]string{profileARN: "AccessDenied", "arn:aws:iam::" + account + ":instance-profile/none": "NoSuchEntity"} {
		if _, err := s.InstanceCredentials(profile, "i-1"); err == nil || !strings.HasPrefix(err.Error(), want+":") {
			t.Errorf("%s: %v, want %s", profile, err, want)
		}
	}
	if role, ok := s.ProfileRole(profileARN); !ok || role != "arn:aws:iam::"+account+":role/web" {
		t.Errorf("the profile's role is %s, %v", role, ok)
	}
}

func TestRoleAllows(t *testing.T) {
	s := withProfile(t, "ec2.amazonaws.com")
	role := "arn:aws:iam::" + account + ":role/web"
	hold := wire.Access{Action: "autoscaling:PutLifecycleHook", Resource: "arn:aws:autoscaling:r:1:g"}
	if s.RoleAllows(role, hold) {
		t.Error("a role without a policy may something")
	}
	if _, err := s.attachRolePolicy(t.Context(), &attachRolePolicyInput{"web", "arn:aws:iam::aws:policy/AdministratorAccess"}); err != nil {
		t.Fatal(err)
	}
	if !s.RoleAllows(role, hold) || s.RoleAllows(role+"-other", hold) {
		t.Error("a policy of AWS's does not do what it says")
	}
	const unknown = "arn:aws:iam::aws:policy/ReadOnlyAccess" // which nobody here knows the document of
	if _, err := s.attachRolePolicy(t.Context(), &attachRolePolicyInput{"web", unknown}); err != nil {
		t.Fatal(err)
	}
	if !s.RoleAllows(role, hold) {
		t.Error("a policy whose document is not known takes away what another one allows")
	}
	if _, err := s.detachRolePolicy(t.Context(), &attachRolePolicyInput{"web", "arn:aws:iam::aws:policy/AdministratorAccess"}); err != nil {
		t.Fatal(err)
	}
	decision, err := s.Decide(wire.Caller{Role: "web"}, hold)
	if e, ok := errors.AsType[*wire.Error](err); decision == wire.Allowed || !ok || e.Code != "NotImplemented" || !strings.Contains(e.Message, unknown) {
		t.Errorf("what nobody knows is decided: %v, %v", decision, err)
	}
	for arn, document := range managedPolicies() {
		if _, err := parse(document, policy.Identity); err != nil {
			t.Errorf("%s: %v", arn, err)
		}
	}
}

// TestPoliciesAreUnderstood puts policies: what has no effect here is refused.
func TestPoliciesAreUnderstood(t *testing.T) {
	s := withProfile(t, "ec2.amazonaws.com")
	put := func(condition string) error {
		_, err := s.putRolePolicy(t.Context(), &putRolePolicyInput{rolePolicyInput{"web", "p"}, `{"Version":"2012-10-17","Statement":{"Effect":"Allow",
			"Action":"*","Resource":"*","Condition":` + condition + `}}`})
		return err
	}
	for _, known := range []string{
		`{}`, `{"StringEquals":{"aws:ResourceTag/ingot:app":"hello"}}`, `{"StringEquals":{"EC2:resourcetag/x":"hello"}}`,
		`{"ForAllValues:StringLike":{"aws:TagKeys":["Name","ingot:*"]}}`, `{"Bool":{"autoscaling:LaunchTemplateVersionSpecified":"true"}}`,
		`{"StringEquals":{"kms:ViaService":"ec2.us-west-1.amazonaws.com"}}`, `{"ForAllValues:StringEquals":{"kms:GrantOperations":["Decrypt"]}}`,
		`{"StringEquals":{"kms:CallerAccount":"1","kms:GranteePrincipal":"arn:aws:iam::1:role/r"}}`, `{"StringEquals":{"sqs:any":"a"}}`,
		`{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}`,
	} {
		if err := put(known); err != nil {
			t.Errorf("%s: %v", known, err)
		}
	}
	for _, unknown := range []string{
		`{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`, `{"StringEquals":{"aws:PrincipalTag/team":"a"}}`, `{"StringEquals":{"ec2:Tenancy":"default"}}`,
		`{"StringEquals":{"aws:ResourceTag/":"a"}}`, `{"StringEquals":{"aws:TagKeys":"a"}}`, `{"StringEquals":{"nonsense":"a"}}`,
		`{"StringEquals":{"token.example.com:repository":"a"}}`, `{"StringMatches":{"aws:SourceIp":"a"}}`,
	} {
		if err := put(unknown); err == nil || !strings.HasPrefix(err.Error(), "MalformedPolicyDocument:") {
			t.Errorf("%s: %v", unknown, err)
		}
	}
	long := strings.Repeat("x", 10240)
	_, err := s.putRolePolicy(t.Context(), &putRolePolicyInput{
		rolePolicyInput{"web", "q"}, `{"Statement":{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/` + long + `"}}`,
	})
	if err == nil || !strings.HasPrefix(err.Error(), "LimitExceeded:") {
		t.Errorf("a policy that is too long: %v", err)
	}
	for _, trust := range []string{
		`{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole"}}`,
		`{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"*","Condition":{"StringEquals":{"token.example.com:repository":"a"}}}}`,
	} {
		if _, err := s.updateAssumeRolePolicy(t.Context(), &updateAssumeRolePolicyInput{"web", trust}); err == nil {
			t.Errorf("the trust policy %s was taken", trust)
		}
	}
}
