package localcloud

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"
)

// codeOf is the code of an error of the API.
func codeOf(err error) string {
	if failed, ok := errors.AsType[smithy.APIError](err); ok {
		return failed.ErrorCode()
	}
	return fmt.Sprint(err)
}

func (a *account) makeRole(t *testing.T, name, trust, policy string) {
	t.Helper()
	made(t, a.admin.iam.CreateRole, &sdkiam.CreateRoleInput{
		RoleName: &name, AssumeRolePolicyDocument: aws.String(strings.ReplaceAll(trust, "ACCOUNT", a.id.AccountID)), MaxSessionDuration: aws.Int32(7200),
	})
	if policy != "" {
		made(t, a.admin.iam.PutRolePolicy, &sdkiam.PutRolePolicyInput{
			RoleName: &name, PolicyName: aws.String("policy"), PolicyDocument: aws.String(strings.ReplaceAll(policy, "ACCOUNT", a.id.AccountID)),
		})
	}
}

func (a *account) with(c *ststypes.Credentials) clients {
	return clientsOf(a.endpoint, a.id.Region, credentials.NewStaticCredentialsProvider(*c.AccessKeyId, *c.SecretAccessKey, *c.SessionToken))
}

func (a *account) assume(role string) *sdksts.AssumeRoleInput {
	return &sdksts.AssumeRoleInput{RoleArn: aws.String(a.role(role)), RoleSessionName: aws.String("session")}
}

// trusting is a trust policy for AssumeRole, with a condition or without.
func trusting(principal, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":` + principal + condition + `}}`
}

func TestAssumeRole(t *testing.T) {
	a := newAccount(t)
	account := `{"AWS":"arn:aws:iam::ACCOUNT:root"}`
	mayAssume := `{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"arn:aws:iam::ACCOUNT:role/*"}}`
	a.makeRole(t, "account", trusting(account, ""), "")
	a.makeRole(t, "chaining", trusting(account, ""), mayAssume)
	a.makeRole(t, "ec2", trusting(`{"Service":"ec2.amazonaws.com"}`, ""), "")
	a.makeRole(t, "user", trusting(`{"AWS":"arn:aws:iam::ACCOUNT:user/local"}`, ""), "")
	a.makeRole(t, "role", trusting(`{"AWS":"arn:aws:iam::ACCOUNT:role/account"}`, ""), "")
	a.makeRole(t, "external", trusting(account, `{"StringEquals":{"sts:ExternalId":"x"}}`), "")
	a.makeRole(t, "named", trusting(account, `{"StringLike":{"sts:RoleSessionName":"ann-*"}}`), "")
	a.makeRole(t, "arn", trusting(`{"AWS":"*"}`, `{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::ACCOUNT:role/chain*"}}`), "")

	out := made(t, a.admin.sts.AssumeRole, a.assume("account"))
	if lasts := time.Until(*out.Credentials.Expiration); lasts < 59*time.Minute || lasts > time.Hour {
		t.Errorf("the session lasts %s, want an hour", lasts)
	}
	who := made(t, a.with(out.Credentials).sts.GetCallerIdentity, &sdksts.GetCallerIdentityInput{})
	wantARN := "arn:aws:sts::" + a.id.AccountID + ":assumed-role/account/session"
	if *who.Arn != wantARN || *out.AssumedRoleUser.Arn != wantARN || *who.UserId != *out.AssumedRoleUser.AssumedRoleId || !strings.HasSuffix(*who.UserId, ":session") {
		t.Errorf("the session is %s, %s, and %s, %s", *who.Arn, *who.UserId, *out.AssumedRoleUser.Arn, *out.AssumedRoleUser.AssumedRoleId)
	}
	if who := made(t, a.admin.sts.GetCallerIdentity, &sdksts.GetCallerIdentityInput{}); *who.Arn != "arn:aws:iam::"+a.id.AccountID+":user/local" {
		t.Errorf("the administrator is %s", *who.Arn)
	}
	from := map[string]clients{
		"administrator": a.admin, "account": a.with(out.Credentials),
		"chaining": a.with(made(t, a.admin.sts.AssumeRole, a.assume("chaining")).Credentials),
	}
	for _, test := range []struct {
		from, role string
		change     func(*sdksts.AssumeRoleInput)
		want       string // "" for success
	}{
		{"administrator", "user", nil, ""},
		{"administrator", "ec2", nil, "AccessDenied"},
		{"administrator", "role", nil, "AccessDenied"},
		{"administrator", "none", nil, "AccessDenied"},
		{"administrator", "external", nil, "AccessDenied"},
		{"administrator", "external", func(in *sdksts.AssumeRoleInput) { in.ExternalId = aws.String("x") }, ""},
		{"administrator", "named", nil, "AccessDenied"},
		{"administrator", "named", func(in *sdksts.AssumeRoleInput) { in.RoleSessionName = aws.String("ann-1") }, ""},
		{"administrator", "account", func(in *sdksts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(7200) }, ""},
		{"administrator", "account", func(in *sdksts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(7201) }, "ValidationError"},
		{"administrator", "account", func(in *sdksts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(899) }, "ValidationError"},
		{"administrator", "account", func(in *sdksts.AssumeRoleInput) { in.RoleSessionName = aws.String("a b") }, "ValidationError"},
		{"account", "role", nil, ""},                 // the role trusts it by its name
		{"account", "chaining", nil, "AccessDenied"}, // it would need a policy of its own
		{"account", "user", nil, "AccessDenied"},
		{"account", "arn", nil, "AccessDenied"},
		{"chaining", "account", nil, ""},
		{"chaining", "arn", nil, ""},
		{"chaining", "role", nil, "AccessDenied"}, // its policy alone is not enough
		{"chaining", "account", func(in *sdksts.AssumeRoleInput) { in.DurationSeconds = aws.Int32(3601) }, "ValidationError"},
	} {
		in := a.assume(test.role)
		if test.change != nil {
			test.change(in)
		}
		err := call(from[test.from].sts.AssumeRole, in)
		if test.want == "" && err != nil || test.want != "" && codeOf(err) != test.want {
			t.Errorf("%s takes %s on: %v, want %q", test.from, test.role, err, test.want)
		}
	}

	// A role that is gone takes its sessions with it, also where there is a new one of its name.
	made(t, a.admin.iam.DeleteRole, &sdkiam.DeleteRoleInput{RoleName: aws.String("account")})
	if err := call(from["account"].sts.GetCallerIdentity, &sdksts.GetCallerIdentityInput{}); codeOf(err) != "InvalidClientTokenId" {
		t.Errorf("a session of a role that is gone: %v", err)
	}
	a.makeRole(t, "account", trusting(account, ""), "")
	if err := call(from["account"].sts.GetCallerIdentity, &sdksts.GetCallerIdentityInput{}); codeOf(err) != "InvalidClientTokenId" {
		t.Errorf("a session of another role of that name: %v", err)
	}
}

func TestAssumeRoleWithWebIdentity(t *testing.T) {
	a := newAccount(t)
	trust := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRoleWithWebIdentity",
		"Principal":{"Federated":"arn:aws:iam::ACCOUNT:oidc-provider/` + githubProvider + `"},
		"Condition":{"StringEquals":{"` + githubProvider + `:aud":"` + githubAudience + `","` + githubProvider + `:sub":"repo:a/b:environment:production"}}}}`
	a.makeRole(t, "deploy", trust, "")
	a.makeRole(t, "assumed", trusting(`{"AWS":"arn:aws:iam::ACCOUNT:root"}`, ""), "")
	const subject = "repo:a/b:environment:production"
	token := func(issuer, subject, audience string, lasts time.Duration) string {
		text, err := a.cloud.identities.IssueToken(issuer, subject, audience, lasts)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	nobody := clientsOf(a.endpoint, a.id.Region, aws.AnonymousCredentials{})
	assume := func(role, token string) (*sdksts.AssumeRoleWithWebIdentityOutput, error) {
		return nobody.sts.AssumeRoleWithWebIdentity(t.Context(), &sdksts.AssumeRoleWithWebIdentityInput{
			RoleArn: aws.String(a.role(role)), RoleSessionName: aws.String("run"), WebIdentityToken: &token,
		})
	}
	good := token(githubIssuer, subject, githubAudience, time.Minute)
	if _, err := assume("deploy", good); codeOf(err) != "InvalidIdentityToken" {
		t.Errorf("without a provider: %v", err)
	}
	made(t, a.admin.iam.CreateOpenIDConnectProvider, &sdkiam.CreateOpenIDConnectProviderInput{
		Url: aws.String(githubIssuer), ClientIDList: []string{githubAudience, "other"},
	})
	out, err := assume("deploy", good)
	if err != nil {
		t.Fatal(err)
	}
	if *out.SubjectFromWebIdentityToken != subject || *out.Audience != githubAudience || !strings.HasSuffix(*out.Provider, ":oidc-provider/"+githubProvider) {
		t.Errorf("the answer is about %s for %s of %s", *out.SubjectFromWebIdentityToken, *out.Audience, *out.Provider)
	}
	if who := made(t, a.with(out.Credentials).sts.GetCallerIdentity, &sdksts.GetCallerIdentityInput{}); !strings.HasSuffix(*who.Arn, ":assumed-role/deploy/run") {
		t.Errorf("the session is %s", *who.Arn)
	}
	parts := strings.Split(good, ".")
	encode := base64.RawURLEncoding.EncodeToString
	for name, test := range map[string]struct{ role, token, want string }{
		"another subject":              {"deploy", token(githubIssuer, "repo:a/b:pull_request", githubAudience, time.Minute), "AccessDenied"},
		"a subject that begins so":     {"deploy", token(githubIssuer, subject+"-2", githubAudience, time.Minute), "AccessDenied"},
		"an audience not trusted":      {"deploy", token(githubIssuer, subject, "other", time.Minute), "AccessDenied"},
		"an audience of nobody":        {"deploy", token(githubIssuer, subject, "none", time.Minute), "InvalidIdentityToken"},
		"another issuer":               {"deploy", token("https://issuer.example", subject, githubAudience, time.Minute), "InvalidIdentityToken"},
		"an issuer without TLS":        {"deploy", token("http://"+githubProvider, subject, githubAudience, time.Minute), "InvalidIdentityToken"},
		"one that has ended":           {"deploy", token(githubIssuer, subject, githubAudience, -time.Second), "ExpiredTokenException"},
		"a role that there is not":     {"none", good, "AccessDenied"},
		"a role for others":            {"assumed", good, "AccessDenied"},
		"no token":                     {"deploy", "x", "InvalidIdentityToken"},
		"three parts of nothing":       {"deploy", "a.b.c", "InvalidIdentityToken"},
		"another payload":              {"deploy", parts[0] + "." + encode([]byte(`{"iss":"`+githubIssuer+`","sub":"`+subject+`","aud":"`+githubAudience+`","exp":9999999999}`)) + "." + parts[2], "InvalidIdentityToken"},
		"the issuer's own key":         {"deploy", encode([]byte(`{"alg":"RS256","kid":"github"}`)) + "." + parts[1] + "." + parts[2], "InvalidIdentityToken"},
		"no signature":                 {"deploy", encode([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", "InvalidIdentityToken"},
		"a signature without the text": {"deploy", parts[0] + "." + parts[1] + ".", "InvalidIdentityToken"},
	} {
		if _, err := assume(test.role, test.token); codeOf(err) != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

// TestSessionsSurvive ends a cloud and starts it again.
func TestSessionsSurvive(t *testing.T) {
	a := newAccount(t)
	a.makeRole(t, "role", trusting(`{"AWS":"arn:aws:iam::ACCOUNT:root"}`, ""), `{"Statement":{"Effect":"Allow","Action":"ec2:DescribeVpcs","Resource":"*"}}`)
	c := a.with(made(t, a.admin.sts.AssumeRole, a.assume("role")).Credentials)
	token, err := a.cloud.identities.IssueToken(githubIssuer, "me", githubAudience, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	a.cloud.close()
	again, err := newCloud(t.Context(), a.folder, a.id, slog.New(slog.DiscardHandler), connectMemory)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	server := httptest.NewServer(again.server)
	defer server.Close()
	there := func(o *sdkec2.Options) { o.BaseEndpoint = &server.URL }
	if _, err := c.ec2.DescribeVpcs(t.Context(), &sdkec2.DescribeVpcsInput{}, there); err != nil {
		t.Error(err)
	}
	if _, err := c.ec2.DescribeSubnets(t.Context(), &sdkec2.DescribeSubnetsInput{}, there); codeOf(err) != "UnauthorizedOperation" {
		t.Errorf("what no policy allows: %v", err)
	}
	// So does the key of the tokens: one of before is still known.
	nobody := clientsOf(server.URL, a.id.Region, aws.AnonymousCredentials{})
	err = call(nobody.sts.AssumeRoleWithWebIdentity, &sdksts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(a.role("role")), RoleSessionName: aws.String("run"), WebIdentityToken: &token,
	})
	if codeOf(err) != "InvalidIdentityToken" || !strings.Contains(err.Error(), "No OpenIDConnect provider") {
		t.Errorf("a token of before: %v", err)
	}
}

// TestControlIsTheAdministrators has a role with every right call the cloud's own service.
func TestControlIsTheAdministrators(t *testing.T) {
	a := newAccount(t)
	a.makeRole(t, "all", trusting(`{"AWS":"arn:aws:iam::ACCOUNT:root"}`, ""), `{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`)
	c := made(t, a.admin.sts.AssumeRole, a.assume("all")).Credentials
	body := `{"Issuer":"https://a","Subject":"me","Audience":"you"}`
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", controlTarget+".IssueToken")
	sum := sha256.Sum256([]byte(body))
	key := aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken}
	if err := v4.NewSigner().SignHTTP(t.Context(), key, req, hex.EncodeToString(sum[:]), controlName, a.id.Region, time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("X-Amzn-Errortype"); resp.StatusCode != http.StatusBadRequest || got != "AccessDeniedException" {
		t.Errorf("a role with every right is answered %s %s", resp.Status, got)
	}
	var out issuedToken
	connection := Connection{Endpoint: a.endpoint, Region: a.id.Region}
	connection.AccessKeyID, connection.SecretAccessKey = a.id.AccessKeyID, a.id.SecretAccessKey
	if err := ask(t.Context(), connection, "IssueToken", IdentityToken{Issuer: githubIssuer, Subject: "me", Audience: "you"}, &out); err != nil || strings.Count(out.Token, ".") != 2 {
		t.Errorf("the administrator's token: %q, %v", out.Token, err)
	}
	for name, wrong := range map[string]IdentityToken{
		"no subject": {Issuer: githubIssuer, Audience: "you"}, "no https": {Issuer: "http://a", Subject: "me", Audience: "you"},
		"too long": {Issuer: githubIssuer, Subject: "me", Audience: "you", Lifetime: 2 * time.Hour},
	} {
		if err := ask(t.Context(), connection, "IssueToken", wrong, &out); err == nil {
			t.Errorf("%s: a token was issued", name)
		}
	}
}

// TestExplicitDeny words AWS's other refusal.
func TestExplicitDeny(t *testing.T) {
	a := newAccount(t)
	a.makeRole(t, "role", trusting(`{"AWS":"arn:aws:iam::ACCOUNT:root"}`, ""), `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Effect":"Deny","Action":"ec2:Describe*","Resource":"*","Condition":{"StringEquals":{"aws:RequestedRegion":"us-west-1"}}}]}`)
	c := a.with(made(t, a.admin.sts.AssumeRole, a.assume("role")).Credentials)
	err := call(c.ec2.DescribeVpcs, &sdkec2.DescribeVpcsInput{})
	if codeOf(err) != "UnauthorizedOperation" || !strings.Contains(err.Error(), "with an explicit deny in an identity-based policy") {
		t.Errorf("what a policy denies: %v", err)
	}
	if err := call(c.iam.ListRoles, &sdkiam.ListRolesInput{}); err != nil {
		t.Errorf("what it does not: %v", err)
	}
	if err := call(c.iam.GetUser, &sdkiam.GetUserInput{}); codeOf(err) != "ValidationError" {
		t.Errorf("a role asks which user it is: %v", err)
	}
}
