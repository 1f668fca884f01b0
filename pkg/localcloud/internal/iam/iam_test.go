package iam_test

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/iam"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const trust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// inlinePolicy has characters that documents in answers are encoded for.
const inlinePolicy = `{"Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/a + b"}]}`

// client calls a service as an SDK does.
type client struct {
	*iam.Service
	t   *testing.T
	url string
}

func start(t *testing.T, docs store.Store) client {
	t.Helper()
	service, err := iam.New(iam.Options{Account: "012345678901", Store: docs})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(wire.Handler(service.API()))
	t.Cleanup(server.Close)
	return client{service, t, server.URL}
}

// call makes a call with parameters in pairs of name and value and returns the answer's document.
func (c client) call(action string, parameters ...string) (status int, document string) {
	c.t.Helper()
	form := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
	for i := 0; i < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, c.url, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// must makes a call that has to succeed.
func (c client) must(action string, parameters ...string) string {
	c.t.Helper()
	status, document := c.call(action, parameters...)
	if status != http.StatusOK {
		c.t.Fatalf("%s: %d %s", action, status, document)
	}
	return document
}

// values returns the text of the elements of a name, in order.
func values(t *testing.T, document, name string) (found []string) {
	t.Helper()
	decoder := xml.NewDecoder(strings.NewReader(document))
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == name {
			var text string
			if err := decoder.DecodeElement(&text, &start); err != nil {
				t.Fatal(err)
			}
			found = append(found, text)
		}
	}
}

func (c client) createRole(name string) {
	c.t.Helper()
	c.must("CreateRole", "RoleName", name, "AssumeRolePolicyDocument", trust)
}

func TestRoleLifeCycle(t *testing.T) {
	docs := store.Memory()
	c := start(t, docs)
	c.must("CreateRole", "RoleName", "web", "Path", "/ingot/", "AssumeRolePolicyDocument", trust, "Tags.member.1.Key", "k", "Tags.member.1.Value", "v")
	c.must("PutRolePolicy", "RoleName", "web", "PolicyName", "inline", "PolicyDocument", inlinePolicy)
	c.must("AttachRolePolicy", "RoleName", "web", "PolicyArn", "arn:aws:iam::aws:policy/service-role/AmazonEC2RoleforSSM")
	c.must("CreateInstanceProfile", "InstanceProfileName", "web")
	c.must("AddRoleToInstanceProfile", "InstanceProfileName", "web", "RoleName", "web")

	c = start(t, docs) // the state survives
	role := c.must("GetRole", "RoleName", "web")
	if diff := cmp.Diff([]string{"arn:aws:iam::012345678901:role/ingot/web"}, values(t, role, "Arn")); diff != "" {
		t.Errorf("ARN (-want +got):\n%s", diff)
	}
	document, err := url.PathUnescape(values(t, role, "AssumeRolePolicyDocument")[0])
	if err != nil || document != trust {
		t.Errorf("trust policy %q, %v", document, err)
	}
	if !regexp.MustCompile(`^AROA[A-Z2-7]{17}$`).MatchString(values(t, role, "RoleId")[0]) {
		t.Errorf("role ID %s", values(t, role, "RoleId"))
	}
	inline := values(t, c.must("GetRolePolicy", "RoleName", "web", "PolicyName", "inline"), "PolicyDocument")[0]
	for name, decode := range map[string]func(string) (string, error){"path": url.PathUnescape, "query": url.QueryUnescape} {
		if got, err := decode(inline); err != nil || got != inlinePolicy {
			t.Errorf("inline policy, decoded as a %s: %q, %v", name, got, err)
		}
	}
	for _, step := range []struct {
		action, want string
		parameters   []string
	}{
		{"ListRolePolicies", "PolicyNames", []string{"RoleName", "web"}},
		{"ListInstanceProfilesForRole", "InstanceProfileName", []string{"RoleName", "web"}},
		{"ListAttachedRolePolicies", "PolicyArn", []string{"RoleName", "web"}},
	} {
		if got := values(t, c.must(step.action, step.parameters...), step.want); len(got) != 1 {
			t.Errorf("%s: %d of %s, want 1", step.action, len(got), step.want)
		}
	}
	conflict := func() {
		t.Helper()
		if status, document := c.call("DeleteRole", "RoleName", "web"); status != http.StatusConflict || values(t, document, "Code")[0] != "DeleteConflict" {
			t.Errorf("delete of a role in use: %d %s", status, document)
		}
	}
	conflict()
	c.must("DetachRolePolicy", "RoleName", "web", "PolicyArn", "arn:aws:iam::aws:policy/service-role/AmazonEC2RoleforSSM")
	conflict()
	c.must("DeleteRolePolicy", "RoleName", "web", "PolicyName", "inline")
	conflict()
	c.must("RemoveRoleFromInstanceProfile", "InstanceProfileName", "web", "RoleName", "web")
	c.must("DeleteRole", "RoleName", "web")
	c.must("DeleteInstanceProfile", "InstanceProfileName", "web")
}

func TestOIDCProvider(t *testing.T) {
	docs := store.Memory()
	c := start(t, docs)
	const arn = "arn:aws:iam::012345678901:oidc-provider/token.example.com/tenant"
	made := c.must("CreateOpenIDConnectProvider", "Url", "https://token.example.com/tenant", "ClientIDList.member.1", "sts.amazonaws.com",
		"ThumbprintList.member.1", strings.Repeat("a", 40), "Tags.member.1.Key", "k", "Tags.member.1.Value", "v")
	if got := values(t, made, "OpenIDConnectProviderArn"); len(got) != 1 || got[0] != arn {
		t.Errorf("ARN %q, want %q", got, arn)
	}
	c.must("TagOpenIDConnectProvider", "OpenIDConnectProviderArn", arn, "Tags.member.1.Key", "more", "Tags.member.1.Value", "v")
	c.must("UntagOpenIDConnectProvider", "OpenIDConnectProviderArn", arn, "TagKeys.member.1", "k")

	c = start(t, docs) // the state survives
	got := c.must("GetOpenIDConnectProvider", "OpenIDConnectProviderArn", arn)
	if diff := cmp.Diff([]string{"token.example.com/tenant"}, values(t, got, "Url")); diff != "" {
		t.Errorf("URL (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"sts.amazonaws.com", strings.Repeat("a", 40)}, values(t, got, "member")[:2]); diff != "" {
		t.Errorf("client IDs and thumbprints (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"more"}, values(t, got, "Key")); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{arn}, values(t, c.must("ListOpenIDConnectProviders"), "Arn")); diff != "" {
		t.Errorf("providers (-want +got):\n%s", diff)
	}
	c.must("DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", arn)
	c.must("DeleteOpenIDConnectProvider", "OpenIDConnectProviderArn", arn)
	if status, _ := c.call("GetOpenIDConnectProvider", "OpenIDConnectProviderArn", arn); status != http.StatusNotFound {
		t.Errorf("get of a deleted provider: %d", status)
	}
}

func TestPages(t *testing.T) {
	c := start(t, store.Memory())
	for i := range 5 {
		c.createRole(fmt.Sprintf("role-%d", i))
	}
	var names []string
	parameters := []string{"MaxItems", "2"}
	for {
		document := c.must("ListRoles", parameters...)
		names = append(names, values(t, document, "RoleName")...)
		if values(t, document, "IsTruncated")[0] == "false" {
			break
		}
		parameters = []string{"MaxItems", "2", "Marker", values(t, document, "Marker")[0]}
	}
	if diff := cmp.Diff([]string{"role-0", "role-1", "role-2", "role-3", "role-4"}, names); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	c := start(t, store.Memory())
	c.createRole("r")
	c.must("CreateInstanceProfile", "InstanceProfileName", "p")
	c.must("AddRoleToInstanceProfile", "InstanceProfileName", "p", "RoleName", "r")
	c.must("CreateOpenIDConnectProvider", "Url", "https://token.example.com")
	tests := []struct {
		status     int
		code       string
		action     string
		parameters []string
	}{
		{404, "NoSuchEntity", "GetRole", []string{"RoleName", "x"}},
		{404, "NoSuchEntity", "GetInstanceProfile", []string{"InstanceProfileName", "x"}},
		{404, "NoSuchEntity", "GetRolePolicy", []string{"RoleName", "r", "PolicyName", "x"}},
		{404, "NoSuchEntity", "AttachRolePolicy", []string{"RoleName", "r", "PolicyArn", "arn:aws:iam::012345678901:policy/x"}},
		{404, "NoSuchEntity", "GetUser", []string{"UserName", "x"}},
		{409, "EntityAlreadyExists", "CreateRole", []string{"RoleName", "r", "AssumeRolePolicyDocument", trust}},
		{409, "EntityAlreadyExists", "CreateOpenIDConnectProvider", []string{"Url", "https://token.example.com"}},
		{409, "LimitExceeded", "AddRoleToInstanceProfile", []string{"InstanceProfileName", "p", "RoleName", "r"}},
		{400, "MalformedPolicyDocument", "CreateRole", []string{"RoleName", "x", "AssumeRolePolicyDocument", "{"}},
		{400, "ValidationError", "CreateRole", []string{"RoleName", "a b", "AssumeRolePolicyDocument", trust}},
		{400, "ValidationError", "CreateRole", []string{"RoleName", "x"}},
		{400, "ValidationError", "CreateRole", []string{"RoleName", "x", "AssumeRolePolicyDocument", trust, "MaxSessionDuration", "1"}},
		{400, "ValidationError", "CreateOpenIDConnectProvider", []string{"Url", "http://token.example.com"}},
		{400, "ValidationError", "CreateOpenIDConnectProvider", []string{"Url", "https://t.example.com", "ThumbprintList.member.1", "short"}},
		{400, "UnknownParameter", "CreateRole", []string{"RoleName", "x", "AssumeRolePolicyDocument", trust, "PermissionsBoundary", "arn"}},
		{400, "InvalidAction", "CreateUser", []string{"UserName", "x"}},
	}
	for _, test := range tests {
		status, document := c.call(test.action, test.parameters...)
		if got := values(t, document, "Code"); status != test.status || len(got) != 1 || got[0] != test.code {
			t.Errorf("%s %v: %d %v, want %d %s", test.action, test.parameters, status, got, test.status, test.code)
		}
	}
}

func TestUserIsKept(t *testing.T) {
	docs := store.Memory()
	first, again := start(t, docs), start(t, docs)
	if first.UserID() != again.UserID() {
		t.Errorf("user ID %s became %s", first.UserID(), again.UserID())
	}
	if got := values(t, first.must("GetUser"), "Arn"); got[0] != first.UserARN() {
		t.Errorf("GetUser's ARN %s, want %s", got, first.UserARN())
	}
}

// TestPolicies has policies checked: their grammar, and whether AWS has them.
func TestPolicies(t *testing.T) {
	c := start(t, store.Memory())
	c.createRole("web")
	const malformed = "MalformedPolicyDocument"
	statement := func(s string) string { return `{"Version":"2012-10-17","Statement":[` + s + `]}` }
	for _, test := range []struct{ action, parameter, value, want string }{
		{"UpdateAssumeRolePolicy", "PolicyDocument", trust, ""},
		{"UpdateAssumeRolePolicy", "PolicyDocument", strings.NewReplacer("[", "", "]", "").Replace(trust), ""},
		{"UpdateAssumeRolePolicy", "PolicyDocument", strings.Replace(trust, "Allow", "Perhaps", 1), malformed},
		{"UpdateAssumeRolePolicy", "PolicyDocument", strings.Replace(trust, "2012", "2013", 1), malformed},
		{"UpdateAssumeRolePolicy", "PolicyDocument", strings.Replace(trust, `"Action"`, `"Resource":"*","Action"`, 1), malformed},
		{"UpdateAssumeRolePolicy", "PolicyDocument", statement(`{"Effect":"Allow","Action":"sts:AssumeRole"}`), malformed},
		{"UpdateAssumeRolePolicy", "PolicyDocument", statement(`{"Principal":"*","Action":"sts:AssumeRole"}`), malformed},
		{"UpdateAssumeRolePolicy", "PolicyDocument", statement(`{"Effect":"Allow","Principal":"*"}`), malformed},
		{"UpdateAssumeRolePolicy", "PolicyDocument", statement(`"Allow"`), malformed},
		{"UpdateAssumeRolePolicy", "PolicyDocument", `{}`, malformed},
		{"UpdateAssumeRolePolicy", "PolicyDocument", "", "ValidationError"},
		{"PutRolePolicy", "PolicyDocument", statement(`{"Effect":"Deny","NotAction":"s3:*","Resource":"*"}`), ""},
		{"PutRolePolicy", "PolicyDocument", statement(`{"Effect":"Deny","NotAction":"s3:*"}`), malformed},
		{"PutRolePolicy", "PolicyDocument", trust, malformed},
		{"AttachRolePolicy", "PolicyArn", "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore", ""},
		{"AttachRolePolicy", "PolicyArn", "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRole", ""},
		{"AttachRolePolicy", "PolicyArn", "arn:aws:iam::aws:policy/AWSCodeDeployRole", "NoSuchEntity"},
		{"AttachRolePolicy", "PolicyArn", "arn:aws:iam::aws:policy/NoSuchPolicy", "NoSuchEntity"},
		{"AttachRolePolicy", "PolicyArn", "arn:aws:iam::012345678901:policy/AmazonSSMManagedInstanceCore", "NoSuchEntity"},
	} {
		parameters := []string{"RoleName", "web", test.parameter, test.value}
		if test.action == "PutRolePolicy" {
			parameters = append(parameters, "PolicyName", "inline")
		}
		_, document := c.call(test.action, parameters...)
		if got := strings.Join(values(t, document, "Code"), " "); got != test.want {
			t.Errorf("%s %s: %q, want %q", test.action, test.value, got, test.want)
		}
	}
}

func TestInstanceProfileForEC2(t *testing.T) {
	c := start(t, store.Memory())
	c.createRole("web")
	c.must("CreateInstanceProfile", "InstanceProfileName", "web", "Path", "/ci/")
	const arn = "arn:aws:iam::012345678901:instance-profile/ci/web"
	for _, usable := range []bool{false, true} {
		for _, name := range []string{"web", arn} {
			if got, id, found, ready := c.InstanceProfile(name); got != arn || id == "" || !found || ready != usable {
				t.Errorf("%s: %s %s %v %v", name, got, id, found, ready)
			}
		}
		if !usable {
			c.must("AddRoleToInstanceProfile", "InstanceProfileName", "web", "RoleName", "web")
		}
	}
	if _, _, found, _ := c.InstanceProfile("other"); found {
		t.Error("a profile that there is not is found")
	}
}
