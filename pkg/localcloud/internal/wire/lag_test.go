package wire

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestLag(t *testing.T) {
	type named struct {
		Value string `xml:"value"`
	}
	var did []string
	answers := func(when string, err error) Action {
		return DoUnscoped(func(context.Context, *Empty) (*named, error) {
			did = append(did, when)
			return &named{when}, err
		})
	}
	now := map[string]Action{"DescribeThing": answers("now", nil), "ChangeThing": answers("now", nil)}
	for name, test := range map[string]struct {
		action string
		past   error // what the past says
		lags   bool
		did    string
		answer string // a part of it
	}{
		"a read":                              {action: "DescribeThing", lags: true, did: "then", answer: "<value>then</value>"},
		"a read of what is not there yet":     {action: "DescribeThing", past: Errorf("InvalidThing.NotFound", "no"), lags: true, did: "then", answer: "InvalidThing.NotFound"},
		"a change":                            {action: "ChangeThing", past: errors.New("the past cannot be changed"), lags: true, did: "then now", answer: "<value>now</value>"},
		"a change of what is not there yet":   {action: "ChangeThing", past: Errorf("InvalidThing.NotFound", "no"), lags: true, did: "then", answer: "InvalidThing.NotFound"},
		"of IAM's":                            {action: "ChangeThing", past: Errorf("NoSuchEntity", "no"), lags: true, did: "then", answer: "NoSuchEntity"},
		"of Auto Scaling's":                   {action: "ChangeThing", past: Errorf("ValidationError", "Could not find the version"), lags: true, did: "then", answer: "Could not find"},
		"a change that the past would refuse": {action: "ChangeThing", past: Errorf("ValidationError", "It is too large"), lags: true, did: "then now", answer: "<value>now</value>"},
		"a call that does not lag":            {action: "DescribeThing", did: "now", answer: "<value>now</value>"},
	} {
		did = nil
		then := map[string]Action{"DescribeThing": answers("then", test.past), "ChangeThing": answers("then", test.past)}
		server := New(Options{Lags: func(service, action string) bool { return test.lags && service == "ec2" && action == test.action }},
			Service{Name: "ec2", Protocol: EC2Query, Actions: now, Past: then})
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("Action="+test.action))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=A/20260101/us-west-1/ec2/aws4_request, SignedHeaders=host, Signature=0")
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		if got := strings.Join(did, " "); got != test.did || !strings.Contains(w.Body.String(), test.answer) {
			t.Errorf("%s: did %q, want %q: %s", name, got, test.did, w.Body)
		}
	}
}

// TestLagIsAuthorized asks the past and changes the present as somebody who has to be allowed both.
func TestLagIsAuthorized(t *testing.T) {
	for name, test := range map[string]struct {
		action   string
		decision Decision
		did      string
		answer   string // a part of it
	}{
		"a read":                   {"DescribeThing", Allowed, "then", "DescribeThingResponse"},
		"a read that is denied":    {"DescribeThing", NotAllowed, "", "UnauthorizedOperation"},
		"a change":                 {"ChangeThing", Allowed, "then now", "ChangeThingResponse"},
		"a change that is denied":  {"ChangeThing", NotAllowed, "", "UnauthorizedOperation"},
		"a change that is a trial": {"ChangeThing&DryRun=true", Allowed, "", "DryRunOperation"},
	} {
		var did []string
		of := func(when string) Action {
			return DoUnscoped(func(context.Context, *Empty) (*Empty, error) {
				did = append(did, when)
				return nil, nil
			})
		}
		_, p := guardedServer(func(Access) Decision { return test.decision })
		s := New(Options{
			Region: "us-west-1", AccessKeyID: "AKIA", SecretAccessKey: "secret", Identities: p, Lags: func(string, string) bool { return true },
		}, Service{
			Name: "ec2", Protocol: EC2Query,
			Actions: map[string]Action{"DescribeThing": of("now"), "ChangeThing": of("now")},
			Past:    map[string]Action{"DescribeThing": of("then"), "ChangeThing": of("then")},
		})
		c := callOf("ec2", "")
		c.body = "Action=" + test.action
		_, _, body := c.do(t, s)
		if got := strings.Join(did, " "); got != test.did || !strings.Contains(body, test.answer) {
			t.Errorf("%s: did %q, want %q: %s", name, got, test.did, body)
		}
		if want := strings.TrimSuffix("ec2:"+test.action, "&DryRun=true"); len(p.asked) != 1 || p.asked[0].Action != want {
			t.Errorf("%s: asked %v, want once for %s", name, p.asked, want)
		}
	}
}
