package wire

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// people are identities for tests.
type people struct {
	sessions map[string]Session
	decide   func(Access) Decision
	asked    []Access
}

func (p *people) Session(key string) (Session, bool) {
	s, ok := p.sessions[key]
	return s, ok
}

func (p *people) Decide(_ Caller, a Access) (Decision, error) {
	p.asked = append(p.asked, a)
	return p.decide(a), nil
}

const sessionARN = "arn:aws:sts::1:assumed-role/r/s"

// guardedServer has a service of each protocol, with a session ASIA1 that is good and one ASIA2 that has ended.
func guardedServer(decide func(Access) Decision) (*Server, *people) {
	p := &people{decide: decide, sessions: map[string]Session{
		"ASIA1": {Caller: Caller{ARN: sessionARN, ID: "AROA:s", Role: "r"}, SecretAccessKey: "s1", Token: "t1", Expires: time.Now().Add(time.Hour)},
		"ASIA2": {SecretAccessKey: "s2", Token: "t2", Expires: time.Now().Add(-time.Second)},
	}}
	find := func(context.Context, *findInput) (*Empty, error) { return nil, nil }
	actions := map[string]Action{
		"Find": Do(find, func(in *findInput) []Access {
			return []Access{{Resource: "arn:aws:x:::" + in.Name, Keys: map[string][]string{"x:Name": {in.Name}}}, {Action: "iam:PassRole", Resource: "arn:aws:x:::role"}}
		}),
		"List":  DoUnscoped(find),
		"Open":  Do(find, func(*findInput) []Access { return nil }),
		"Admin": Do(find, nil),
		"Own": Do(find, func(*findInput) []Access {
			return []Access{{Resource: "arn:aws:x:::y", Instead: Errorf("Own", "an error of its own")}}
		}),
		"Late": Do(func(ctx context.Context, in *findInput) (*Empty, error) {
			if err := Check(ctx, Access{Action: "x:Late", Resource: "arn:aws:x:::" + in.Name}); err != nil {
				return nil, err
			}
			return nil, nil
		}, func(*findInput) []Access { return nil }),
	}
	return New(Options{Region: "us-west-1", AccessKeyID: "AKIA", SecretAccessKey: "secret", Identities: p},
		Service{Name: "ec2", Protocol: EC2Query, Actions: actions},
		Service{Name: "iam", Prefix: "identity", Protocol: AWSQuery, Actions: actions, Unsigned: []string{"Open"}},
		Service{Name: "ssm", Protocol: JSON, Target: "AmazonSSM", Actions: actions},
		Service{
			Name: "s3", Protocol: REST, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
			Operation: func(r *http.Request) string { return map[string]string{"/b/k": "GetObject", "/b": "Other"}[r.URL.Path] },
			Needs: map[string]func(*http.Request) []Access{
				"GetObject": func(r *http.Request) []Access {
					return []Access{{Action: "s3:GetObject", Resource: "arn:aws:s3:::" + r.URL.Path[1:]}}
				},
			},
		}), p
}

func callOf(service, action string) call {
	c := call{service: service, key: "ASIA1", secret: "s1", token: "t1"}
	switch service {
	case "ssm":
		c.header = map[string]string{"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonSSM." + action}
		c.body = `{"Name":"a"}`
	case "s3":
		c.method, c.path = http.MethodGet, "/b/k"
	default:
		c.header = map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
		c.body = "Action=" + action + "&Name=a"
	}
	return c
}

func TestRefusals(t *testing.T) {
	nothing := func(Access) Decision { return NotAllowed }
	find := func(a Access) Decision {
		if strings.HasSuffix(a.Action, ":Find") {
			return Allowed
		}
		return NotAllowed
	}
	denied := func(Access) Decision { return Denied }
	why := func(action string) string { return "because no identity-based policy allows the " + action + " action" }
	for _, test := range []struct {
		service, action string
		decide          func(Access) Decision
		status          int
		want            string
	}{
		{"ec2", "Find", nothing, 403, "<Code>UnauthorizedOperation</Code><Message>You are not authorized to perform this operation. User: " + sessionARN +
			" is not authorized to perform: ec2:Find on resource: arn:aws:x:::a " + why("ec2:Find") + "</Message>"},
		{"ec2", "List", nothing, 403, "User: " + sessionARN + " is not authorized to perform: ec2:List " + why("ec2:List")},
		{"ec2", "Find", find, 403, "is not authorized to perform: iam:PassRole on resource: arn:aws:x:::role " + why("iam:PassRole")},
		{"ec2", "Find", denied, 403, "ec2:Find on resource: arn:aws:x:::a with an explicit deny in an identity-based policy"},
		{"ec2", "Own", nothing, 400, "<Code>Own</Code>"},
		{"ec2", "Late", nothing, 403, "is not authorized to perform: x:Late on resource: arn:aws:x:::a"},
		{"ec2", "Admin", func(Access) Decision { return Allowed }, 403, "does not know what it needs"},
		{"iam", "Find", nothing, 403, "<Code>AccessDenied</Code><Message>User: " + sessionARN +
			" is not authorized to perform: identity:Find on resource: arn:aws:x:::a " + why("identity:Find")},
		{"iam", "List", nothing, 403, "identity:List on resource: * " + why("identity:List")},
		{"ssm", "Find", nothing, 400, `"__type":"AccessDeniedException","message":"User: ` + sessionARN +
			` is not authorized to perform: ssm:Find on resource: arn:aws:x:::a ` + why("ssm:Find")},
		{"ssm", "Find", denied, 400, "with an explicit deny in an identity-based policy"},
		{"s3", "", nothing, 403, "<Code>AccessDenied</Code><Message>User: " + sessionARN +
			" is not authorized to perform: s3:GetObject on resource: &#34;arn:aws:s3:::b/k&#34; " + why("s3:GetObject")},
		{"ec2", "Open", nothing, 200, ""},
	} {
		s, _ := guardedServer(test.decide)
		status, _, body := callOf(test.service, test.action).do(t, s)
		if status != test.status || !strings.Contains(body, test.want) {
			t.Errorf("%s %s: %d %s\nwant %d %s", test.service, test.action, status, body, test.status, test.want)
		}
		// The administrator may.
		administrator := callOf(test.service, test.action)
		administrator.key, administrator.secret, administrator.token = "", "", ""
		if status, _, body := administrator.do(t, s); status != 200 {
			t.Errorf("%s %s: the administrator: %d %s", test.service, test.action, status, body)
		}
	}
	s, _ := guardedServer(nothing)
	c := callOf("s3", "")
	c.path = "/b"
	if status, _, body := c.do(t, s); status != 403 || !strings.Contains(body, "does not know what it needs") {
		t.Errorf("an operation of S3 that does not say what it needs: %d %s", status, body)
	}
}

func TestDryRun(t *testing.T) {
	for decision, want := range map[Decision]string{Allowed: "DryRunOperation", NotAllowed: "UnauthorizedOperation"} {
		s, _ := guardedServer(func(Access) Decision { return decision })
		c := callOf("ec2", "Find")
		c.body += "&DryRun=true"
		if _, _, body := c.do(t, s); !strings.Contains(body, want) {
			t.Errorf("%d: %s, want %s", decision, body, want)
		}
	}
}

func TestKeysOfEveryCall(t *testing.T) {
	s, p := guardedServer(func(Access) Decision { return Allowed })
	c := callOf("ec2", "Find")
	c.change = func(r *http.Request) { r.Header.Set("User-Agent", "me"); r.RemoteAddr = "127.0.0.9:1234" }
	if status, _, body := c.do(t, s); status != 200 {
		t.Fatal(body)
	}
	if len(p.asked) != 2 {
		t.Fatalf("asked %v", p.asked)
	}
	for key, want := range map[string]string{
		"aws:RequestedRegion": "us-west-1", "aws:SourceIp": "127.0.0.9", "aws:SecureTransport": "true", "aws:UserAgent": "me", "x:Name": "a",
	} {
		if got := p.asked[0].Keys[key]; len(got) != 1 || got[0] != want {
			t.Errorf("%s = %q, want %q", key, got, want)
		}
	}
	if got := p.asked[1].Keys["x:Name"]; got != nil {
		t.Errorf("a key of another access: %q", got)
	}
}

// TestSessions is about keys and tokens.
func TestSessions(t *testing.T) {
	codes := func(ec2, query, json, rest string) map[string]string {
		return map[string]string{"ec2": ec2, "iam": query, "ssm": json, "s3": rest}
	}
	unknown := codes("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId")
	wrong := codes("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidToken")
	ended := codes("RequestExpired", "ExpiredToken", "ExpiredTokenException", "ExpiredToken")
	signature := codes("AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException", "SignatureDoesNotMatch")
	for name, test := range map[string]struct {
		change func(*call)
		want   map[string]string
	}{
		"a key that there is not":      {func(c *call) { c.key = "ASIA9" }, unknown},
		"no token":                     {func(c *call) { c.token = "" }, wrong},
		"another token":                {func(c *call) { c.token = "t2" }, wrong},
		"another secret":               {func(c *call) { c.secret = "s2" }, signature},
		"a session that has ended":     {func(c *call) { c.key, c.secret, c.token = "ASIA2", "s2", "t2" }, ended},
		"ended, and another's secret":  {func(c *call) { c.key, c.token = "ASIA2", "t2" }, signature},
		"the administrator's, a token": {func(c *call) { c.key, c.secret = "AKIA", "secret" }, wrong},
	} {
		s, _ := guardedServer(func(Access) Decision { return Allowed })
		for service, want := range test.want {
			c := callOf(service, "Find")
			if status, _, body := c.do(t, s); status != 200 {
				t.Fatalf("%s: %d %s", service, status, body)
			}
			c = callOf(service, "Find")
			test.change(&c)
			if status, _, body := c.do(t, s); status == 200 || !strings.Contains(body, want) {
				t.Errorf("%s, %s: %d %s, want %s", name, service, status, body, want)
			}
		}
	}
	// Presigned, the token is in the query.
	s, _ := guardedServer(func(Access) Decision { return Allowed })
	for query, want := range map[string]int{"": http.StatusBadRequest, "&X-Amz-Security-Token=t1": http.StatusForbidden} { // the signature is none
		r := httptest.NewRequest(http.MethodGet, "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIA1/20260101/us-west-1/s3/aws4_request&X-Amz-Date="+
			time.Now().UTC().Format(timeFormat)+"&X-Amz-SignedHeaders=host&X-Amz-Signature=0"+query, nil)
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); w.Code != want {
			t.Errorf("presigned%s: %d %s, want %d", query, w.Code, w.Body, want)
		}
	}
}

func TestUnsigned(t *testing.T) {
	s, _ := guardedServer(func(Access) Decision { return NotAllowed })
	for action, want := range map[string]string{"Open": "<OpenResponse>", "Find": "MissingAuthenticationToken", "": "MissingAuthenticationToken"} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(fmt.Sprintf("Action=%s&Name=a", action)))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		if s.ServeHTTP(w, r); !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q: %d %s, want %s", action, w.Code, w.Body, want)
		}
	}
}
