package wire

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/google/go-cmp/cmp"
)

type things struct {
	Names   []string  `xml:"nameSet>item" json:"Names"`
	Created time.Time `xml:"created" json:"-"`
	At      Epoch     `xml:"-" json:"At"`
}

type findInput struct {
	Name string `query:"Name" json:"Name" wire:"required"`
}

func find(_ context.Context, in *findInput) (*things, error) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	switch in.Name {
	case "missing":
		return nil, &Error{Code: "NotFound", Message: "<none>", Status: http.StatusNotFound}
	case "broken":
		return nil, errors.New("no space left on device")
	}
	return &things{Names: []string{in.Name}, Created: at, At: Epoch{at}}, nil
}

func touch(context.Context, *Empty) (*Empty, error) { return nil, nil }

func testServices() []Service {
	actions := map[string]Action{"Find": DoUnscoped(find), "Touch": DoUnscoped(touch)}
	return []Service{
		{Name: "ec2", Protocol: EC2Query, Namespace: "http://ec2.example/", Actions: actions},
		{Name: "iam", Protocol: AWSQuery, Namespace: "http://iam.example/", Actions: actions, Global: true},
		{Name: "ssm", Protocol: JSON, Target: "AmazonSSM", Actions: actions},
		{Name: "s3", Protocol: REST, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				WriteRESTError(w, "id", r.URL.Path, asError(err))
				return
			}
			fmt.Fprintf(w, "%s %s %q %s", r.Method, r.URL.Path, body, r.Trailer.Get("X-Amz-Checksum-Crc32"))
		})},
	}
}

func testServer() *Server {
	return New(Options{Region: "us-west-1", AccessKeyID: "AKIA", SecretAccessKey: "secret"}, testServices()...)
}

// call is a request to be signed.
type call struct {
	service, region, key, secret string
	token                        string
	off                          time.Duration // of the client's clock
	method, path, body           string
	header                       map[string]string
	change                       func(*http.Request) // after signing
}

func (c call) do(t *testing.T, s *Server) (status int, header http.Header, body string) {
	t.Helper()
	for _, p := range []struct {
		value    *string
		fallback string
	}{
		{&c.region, "us-west-1"}, {&c.key, "AKIA"}, {&c.secret, "secret"}, {&c.method, http.MethodPost}, {&c.path, "/"},
	} {
		if *p.value == "" {
			*p.value = p.fallback
		}
	}
	req := httptest.NewRequest(c.method, "http://127.64.0.1:4566"+c.path, strings.NewReader(c.body))
	for name, value := range c.header {
		req.Header.Set(name, value)
	}
	hash := req.Header.Get("X-Amz-Content-Sha256")
	if hash == "" {
		hash = hashHex([]byte(c.body))
		if c.service == "s3" {
			req.Header.Set("X-Amz-Content-Sha256", hash)
		}
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = c.service == "s3" })
	key := aws.Credentials{AccessKeyID: c.key, SecretAccessKey: c.secret, SessionToken: c.token}
	if err := signer.SignHTTP(t.Context(), key, req, hash, c.service, c.region, time.Now().Add(c.off)); err != nil {
		t.Fatal(err)
	}
	if c.change != nil {
		c.change(req)
	}
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, req)
	id := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|[A-Za-z0-9+/]{75}=`)
	return recorder.Code, recorder.Header(), id.ReplaceAllString(recorder.Body.String(), "ID")
}

func TestProtocols(t *testing.T) {
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
	target := func(action string) map[string]string {
		return map[string]string{"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": action}
	}
	const xmlHeader = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	tests := []struct {
		name   string
		call   call
		status int
		body   string
	}{
		{
			"ec2", call{service: "ec2", header: form, body: "Action=Find&Version=2016-11-15&Name=a%26b"}, 200,
			xmlHeader + `<FindResponse xmlns="http://ec2.example/"><requestId>ID</requestId><nameSet><item>a&amp;b</item></nameSet><created>2026-01-02T03:04:05.678Z</created></FindResponse>`,
		},
		{
			"ec2 by GET", call{service: "ec2", method: "GET", path: "/?Action=Touch&Version=2016-11-15"}, 200,
			xmlHeader + `<TouchResponse xmlns="http://ec2.example/"><requestId>ID</requestId></TouchResponse>`,
		},
		{
			"ec2 error", call{service: "ec2", header: form, body: "Action=Find&Name=missing"}, 404,
			xmlHeader + `<Response><Errors><Error><Code>NotFound</Code><Message>&lt;none&gt;</Message></Error></Errors><RequestID>ID</RequestID></Response>`,
		},
		{
			"ec2 dry run", call{service: "ec2", header: form, body: "Action=Find&Name=x&DryRun=true"}, 412,
			xmlHeader + `<Response><Errors><Error><Code>DryRunOperation</Code><Message>Request would have succeeded, but DryRun flag is set.</Message></Error></Errors><RequestID>ID</RequestID></Response>`,
		},
		{
			"ec2 unsupported", call{service: "ec2", header: form, body: "Action=CopyImage"}, 400,
			xmlHeader + `<Response><Errors><Error><Code>InvalidAction</Code><Message>The action CopyImage is not valid for this web service. (This local cloud&#39;s ec2 does not have it.)</Message></Error></Errors><RequestID>ID</RequestID></Response>`,
		},
		{
			"query", call{service: "iam", header: form, body: "Action=Find&Name=a"}, 200,
			xmlHeader + `<FindResponse xmlns="http://iam.example/"><FindResult><nameSet><item>a</item></nameSet><created>2026-01-02T03:04:05.678Z</created></FindResult><ResponseMetadata><RequestId>ID</RequestId></ResponseMetadata></FindResponse>`,
		},
		{
			"query without a result", call{service: "iam", header: form, body: "Action=Touch"}, 200,
			xmlHeader + `<TouchResponse xmlns="http://iam.example/"><TouchResult></TouchResult><ResponseMetadata><RequestId>ID</RequestId></ResponseMetadata></TouchResponse>`,
		},
		{
			"query error", call{service: "iam", header: form, body: "Action=Find&Name=broken"}, 500,
			xmlHeader + `<ErrorResponse xmlns="http://iam.example/"><Error><Type>Receiver</Type><Code>InternalFailure</Code><Message>no space left on device</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
		{"json", call{service: "ssm", header: target("AmazonSSM.Find"), body: `{"Name":"a"}`}, 200, `{"Names":["a"],"At":1767323045.678}`},
		{"json without a result", call{service: "ssm", header: target("AmazonSSM.Touch"), body: `{}`}, 200, `{}`},
		{
			"json unsupported", call{service: "ssm", header: target("AmazonSSM.SendCommand"), body: `{}`}, 400,
			"{\"__type\":\"UnknownOperationException\",\"message\":\"The operation SendCommand is not valid. (This local cloud's ssm does not have it.)\"}",
		},
		{
			"json of another service", call{service: "ssm", header: target("CodeDeploy_20141006.Find"), body: `{}`}, 400,
			"{\"__type\":\"UnknownOperationException\",\"message\":\"The operation CodeDeploy_20141006.Find is not valid. (This local cloud's ssm does not have it.)\"}",
		},
		{
			"unknown query service", call{service: "sns", header: form, body: "Action=ListTopics"}, 400,
			xmlHeader + `<ErrorResponse><Error><Type>Sender</Type><Code>InvalidAction</Code><Message>The action ListTopics is not valid for this web service. (This local cloud&#39;s sns does not have it.)</Message></Error><RequestId>ID</RequestId></ErrorResponse>`,
		},
		{
			"unknown REST service", call{service: "lambda", method: "GET", path: "/2015-03-31/functions"}, 501,
			xmlHeader + `<Error><Code>NotImplemented</Code><Message>A header or request implies functionality that is not implemented: GET /2015-03-31/functions (service lambda).</Message><RequestId>ID</RequestId><HostId>ID</HostId></Error>`,
		},
		{"rest", call{service: "s3", method: "PUT", path: "/bucket/a%20b?x=1%2B2&a", body: "content"}, 200, `PUT /bucket/a b "content" `},
		{
			"rest unsigned body", call{
				service: "s3", method: "PUT", path: "/b/k", body: "content", header: map[string]string{"X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD"},
			}, 200, `PUT /b/k "content" `,
		},
		{
			"rest other body", call{
				service: "s3", method: "PUT", path: "/b/k", body: "content",
				change: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("CONTENT")) },
			}, 400, xmlHeader + `<Error><Code>XAmzContentSHA256Mismatch</Code><Message>The provided &#39;x-amz-content-sha256&#39; header does not match what was computed.</Message><Resource>/b/k</Resource><RequestId>id</RequestId><HostId>ID</HostId></Error>`,
		},
		{
			"rest in chunks", call{
				service: "s3", method: "PUT", path: "/b/k",
				body:   "4\r\nWiki\r\n5;chunk-signature=0\r\npedia\r\n0\r\nx-amz-checksum-crc32: sum\r\n\r\n",
				header: map[string]string{"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length": "9"},
			}, 200, `PUT /b/k "Wikipedia" sum`,
		},
		{
			"rest in chunks that end early", call{
				service: "s3", method: "PUT", path: "/b/k", body: "4\r\nWiki\r\n0\r\n\r\n",
				header: map[string]string{"X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length": "9"},
			}, 400, xmlHeader + `<Error><Code>IncompleteBody</Code><Message>The body is shorter than X-Amz-Decoded-Content-Length says.</Message><Resource>/b/k</Resource><RequestId>id</RequestId><HostId>ID</HostId></Error>`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			status, _, body := test.call.do(t, testServer())
			if status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			if diff := cmp.Diff(test.body, body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthentication(t *testing.T) {
	form := map[string]string{"Content-Type": "application/x-www-form-urlencoded"}
	json := map[string]string{"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "AmazonSSM.Touch"}
	calls := map[string]call{
		"ec2": {service: "ec2", header: form, body: "Action=Touch"},
		"iam": {service: "iam", header: form, body: "Action=Touch"},
		"ssm": {service: "ssm", header: json, body: "{}"},
		"s3":  {service: "s3", method: "GET", path: "/b"},
	}
	tests := []struct {
		name   string
		change func(*call)
		want   map[string]string // status and code by service
	}{
		{"right", func(*call) {}, map[string]string{"ec2": "200", "iam": "200", "ssm": "200", "s3": "200"}},
		{
			"another key", func(c *call) { c.key = "AKIB" }, map[string]string{
				"ec2": "401 AuthFailure", "iam": "403 InvalidClientTokenId", "ssm": "400 UnrecognizedClientException", "s3": "403 InvalidAccessKeyId",
			},
		},
		{
			"another secret", func(c *call) { c.secret = "other" }, map[string]string{
				"ec2": "401 AuthFailure", "iam": "403 SignatureDoesNotMatch", "ssm": "400 InvalidSignatureException", "s3": "403 SignatureDoesNotMatch",
			},
		},
		{
			"changed after signing", func(c *call) { c.change = func(r *http.Request) { r.Method, r.Host = "PUT", "127.64.0.1:1" } },
			map[string]string{
				"ec2": "401 AuthFailure", "iam": "403 SignatureDoesNotMatch", "ssm": "400 InvalidSignatureException", "s3": "403 SignatureDoesNotMatch",
			},
		},
		{
			"unsigned", func(c *call) { c.change = func(r *http.Request) { r.Header.Del("Authorization") } }, map[string]string{
				"ec2": "403 MissingAuthenticationToken", "iam": "403 MissingAuthenticationToken", "ssm": "403 MissingAuthenticationToken",
				"s3": "403 MissingAuthenticationToken",
			},
		},
		{
			"a slow clock", func(c *call) { c.off = -16 * time.Minute }, map[string]string{
				"ec2": "400 RequestExpired", "iam": "403 SignatureDoesNotMatch", "ssm": "400 InvalidSignatureException", "s3": "403 RequestTimeTooSkewed",
			},
		},
		{
			"a fast clock", func(c *call) { c.off = 16 * time.Minute }, map[string]string{
				"ec2": "400 RequestExpired", "iam": "403 SignatureDoesNotMatch", "ssm": "400 InvalidSignatureException", "s3": "403 RequestTimeTooSkewed",
			},
		},
		{
			"a clock that will do", func(c *call) { c.off = -14 * time.Minute }, map[string]string{"ec2": "200", "iam": "200", "ssm": "200", "s3": "200"},
		},
		{
			"a token that nobody gave out", func(c *call) { c.token = "token" }, map[string]string{
				"ec2": "401 AuthFailure", "iam": "403 InvalidClientTokenId", "ssm": "400 UnrecognizedClientException", "s3": "400 InvalidToken",
			},
		},
		{
			"a header of AWS's that is not signed",
			func(c *call) { c.change = func(r *http.Request) { r.Header.Set("X-Amz-Acl", "private") } }, map[string]string{
				"ec2": "401 AuthFailure", "iam": "403 SignatureDoesNotMatch", "ssm": "400 InvalidSignatureException", "s3": "403 AccessDenied",
			},
		},
		{
			"a body that is not signed", func(c *call) {
				c.header = maps.Clone(c.header)
				if c.header == nil {
					c.header = map[string]string{}
				}
				c.header["X-Amz-Content-Sha256"] = "UNSIGNED-PAYLOAD"
			}, map[string]string{
				"ec2": "401 AuthFailure", "iam": "403 SignatureDoesNotMatch", "ssm": "400 InvalidSignatureException", "s3": "200",
			},
		},
		{
			"another region", func(c *call) { c.region = "eu-west-1" }, map[string]string{
				"ec2": "401 AuthFailure", "iam": "403 SignatureDoesNotMatch", "ssm": "400 InvalidSignatureException", "s3": "400 AuthorizationHeaderMalformed",
			},
		},
		{
			"us-east-1", func(c *call) { c.region = "us-east-1" }, map[string]string{
				"ec2": "401 AuthFailure", "iam": "200", "ssm": "400 InvalidSignatureException", "s3": "400 AuthorizationHeaderMalformed",
			},
		},
	}
	code := regexp.MustCompile(`<Code>(\w+)</Code>|"__type":"(\w+)"`)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for service, c := range calls {
				test.change(&c)
				status, _, body := c.do(t, testServer())
				got := fmt.Sprint(status)
				if m := code.FindStringSubmatch(body); m != nil {
					got += " " + m[1] + m[2]
				}
				if got != test.want[service] {
					t.Errorf("%s: %s, want %s", service, got, test.want[service])
				}
			}
		})
	}
}

func TestRegionErrorSaysWhatToDo(t *testing.T) {
	for region, want := range map[string]string{
		"eu-west-1":    "This local cloud is the region us-west-1, and the request is signed for eu-west-1: set the region to us-west-1",
		"mars-north-1": "&#34;mars-north-1&#34; is not a region of AWS: set the region to us-west-1",
	} {
		_, _, body := call{service: "ec2", region: region, method: "GET", path: "/?Action=Touch"}.do(t, testServer())
		if !strings.Contains(body, want) {
			t.Errorf("%s: %s", region, body)
		}
	}
}

func TestPresigned(t *testing.T) {
	const bad = "400 AuthorizationQueryParametersError"
	for _, test := range []struct {
		service, expires string
		age              time.Duration
		token, want      string
	}{
		{"iam", "60", 0, "", "200 "},
		{"iam", "60", time.Hour, "", "403 SignatureDoesNotMatch"},
		{"iam", "", time.Minute, "", "200 "},
		{"iam", "", 16 * time.Minute, "", "403 SignatureDoesNotMatch"},
		{"iam", "60", -16 * time.Minute, "", "403 SignatureDoesNotMatch"},
		{"iam", "604801", 0, "", bad},
		{"iam", "60", 0, "token", "403 InvalidClientTokenId"},
		{"s3", "604800", 6 * 24 * time.Hour, "", "200 "},
		{"s3", "60", time.Hour, "", "403 AccessDenied"},
		{"s3", "60", -16 * time.Minute, "", "403 AccessDenied"},
		{"s3", "604801", 0, "", bad},
		{"s3", "-1", 0, "", bad},
		{"s3", "soon", 0, "", bad},
		{"s3", "", 0, "", bad},
		{"s3", "60", 0, "token", "400 InvalidToken"},
	} {
		query := url.Values{"Action": {"Touch"}}
		if test.expires != "" {
			query.Set("X-Amz-Expires", test.expires)
		}
		req := httptest.NewRequest(http.MethodGet, "http://127.64.0.1:4566/?"+query.Encode(), nil)
		key := aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret", SessionToken: test.token}
		hash := hashHex(nil)
		if test.service == "s3" {
			hash = unsignedPayload
		}
		signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), key, req, hash, test.service, "us-west-1", time.Now().Add(-test.age))
		if err != nil {
			t.Fatal(err)
		}
		recorder := httptest.NewRecorder()
		testServer().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, signed, nil))
		var answer struct {
			Code  string
			Inner string `xml:"Error>Code"`
		}
		_ = xml.Unmarshal(recorder.Body.Bytes(), &answer) // which S3's good answer is not
		if got := fmt.Sprint(recorder.Code, " ", answer.Code, answer.Inner); got != test.want {
			t.Errorf("%s, presigned %s ago for %q: %s, want %s", test.service, test.age, test.expires, got, test.want)
		}
	}
}

// TestQueryIsSortedByName signs a query of which one name begins with another: '1=' comes before '10=', though '0' before '='.
func TestQueryIsSortedByName(t *testing.T) {
	if got, want := canonicalQuery(url.Values{"V.10": {"j"}, "V.1": {"b", "a"}, "X-Amz-Signature": {"s"}}), "V.1=a&V.1=b&V.10=j"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	path := "/?Action=Find&Name=x"
	for i := range 12 {
		path += fmt.Sprintf("&Name.%d=x", i+1) // unknown to the action, and that is told only where the signature is right
	}
	if _, _, body := (call{service: "ec2", method: "GET", path: path}).do(t, testServer()); !strings.Contains(body, "UnknownParameter") {
		t.Error(body)
	}
}

// unreadable is a body that must not be read.
type unreadable struct{ t *testing.T }

func (b unreadable) Read([]byte) (int, error) {
	b.t.Error("the body is read")
	return 0, io.EOF
}

// TestBodyIsReadOnlyOfOwnRequests sends bodies with signatures that cannot be right.
func TestBodyIsReadOnlyOfOwnRequests(t *testing.T) {
	unread := func(r *http.Request) { r.Body = io.NopCloser(unreadable{t}) }
	for name, c := range map[string]call{
		"unsigned":       {change: func(r *http.Request) { unread(r); r.Header.Del("Authorization") }},
		"another key":    {key: "AKIB", change: unread},
		"an old date":    {off: -time.Hour, change: unread},
		"another region": {region: "eu-west-1", change: unread},
		"too large":      {change: func(r *http.Request) { unread(r); r.ContentLength = maxBody + 1 }},
	} {
		c.service, c.body = "ec2", "Action=Touch"
		if status, _, body := c.do(t, testServer()); status < 400 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	// S3's says in a header what the hash of the body is.
	status, _, body := call{service: "s3", method: "PUT", path: "/b/k", body: "x", secret: "other", change: unread}.do(t, testServer())
	if status != http.StatusForbidden {
		t.Errorf("s3: %d %s", status, body)
	}
}

// TestBodiesInFlight fills the room for bodies: another request waits until it has gone.
func TestBodiesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testServer()
		if !s.bodies.TryAcquire(maxBodies) {
			t.Fatal("no room at the start")
		}
		served := make(chan int)
		go func() {
			status, _, _ := call{service: "iam", method: "POST", path: "/", body: "Action=Touch"}.do(t, s)
			served <- status
		}()
		synctest.Wait()
		select {
		case status := <-served:
			t.Errorf("served with %d though there is no room", status)
		default:
		}
		s.bodies.Release(maxBodies)
		if status := <-served; status != http.StatusOK {
			t.Errorf("status %d", status)
		}
	})
}

// TestSlowBody begins a request and never ends it.
func TestSlowBody(t *testing.T) {
	for _, service := range []string{"iam", "s3"} {
		synctest.Test(t, func(t *testing.T) {
			body, writer := io.Pipe()
			defer writer.Close()
			late := &deadlined{ResponseRecorder: httptest.NewRecorder(), expire: func() { writer.CloseWithError(os.ErrDeadlineExceeded) }}
			req := httptest.NewRequest(http.MethodPut, "http://127.64.0.1:4566/b/k", body)
			req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=A/20260101/us-west-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
			begun := time.Now()
			New(Options{}, testServices()...).ServeHTTP(late, req)
			if took := time.Since(begun); took != bodyTimeout || late.Code != http.StatusBadRequest || !strings.Contains(late.Body.String(), "RequestTimeout") {
				t.Errorf("%s: after %s: %d %s", service, took, late.Code, late.Body)
			}
		})
	}
}

// deadlined is a response writer whose connection has a deadline.
type deadlined struct {
	*httptest.ResponseRecorder
	timer  *time.Timer
	expire func()
}

func (d *deadlined) SetReadDeadline(at time.Time) error {
	if d.timer != nil {
		d.timer.Stop()
	}
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), d.expire)
	}
	return nil
}

func TestLargeBody(t *testing.T) {
	status, _, body := call{
		service: "ec2", header: map[string]string{"Content-Type": "application/x-www-form-urlencoded"},
		body: "Action=Find&Name=" + strings.Repeat("x", maxBody),
	}.do(t, testServer())
	if status != http.StatusRequestEntityTooLarge {
		t.Errorf("%d %s", status, body)
	}
}

func TestLogAndFault(t *testing.T) {
	var calls []Call
	s := New(Options{
		Log: func(c Call) { calls = append(calls, c) },
		Fault: func(service, action string) Fault {
			if service == "ec2" && action == "Find" {
				return Throttled
			}
			return NoFault
		},
	}, testServices()...)
	call{service: "ec2", method: "GET", path: "/?Action=Find&Name=x"}.do(t, s)
	call{service: "ec2", method: "GET", path: "/?Action=Touch"}.do(t, s)
	var lines []string
	for _, c := range calls {
		c.Duration = 1500 * time.Microsecond
		lines = append(lines, c.String())
	}
	want := []string{`ec2 Find 503 1.5ms RequestLimitExceeded: "Request limit exceeded."`, "ec2 Touch 200 1.5ms"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestInvoke(t *testing.T) {
	s := testServer()
	var ec2 things
	if err := s.Invoke(t.Context(), "ec2", "Find", url.Values{"Name": {"a"}}, &ec2); err != nil {
		t.Fatal(err)
	}
	var iam struct {
		Names []string `xml:"FindResult>nameSet>item"`
	}
	if err := s.Invoke(t.Context(), "iam", "Find", url.Values{"Name": {"b"}}, &iam); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, append(ec2.Names, iam.Names...)); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	err := s.Invoke(t.Context(), "ec2", "Find", url.Values{"Name": {"missing"}}, &ec2)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != "NotFound" {
		t.Errorf("error = %v, want NotFound", err)
	}
}

// TestSignatureExample checks the example of AWS's documentation, which no client of ours computed.
// See https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "Example: GET Object".
func TestSignatureExample(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "http://examplebucket.s3.amazonaws.com/test.txt", nil)
	r.Header.Set("Range", "bytes=0-9")
	r.Header.Set("X-Amz-Content-Sha256", hashHex(nil))
	r.Header.Set("X-Amz-Date", "20130524T000000Z")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"+
		"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
	s, err := parseSignature(r)
	if err != nil {
		t.Fatal(err)
	}
	if !s.verify(r, &request{protocol: REST}, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY") {
		t.Error("the signature of the example is not accepted")
	}
	if s.verify(r, &request{protocol: REST}, "other") {
		t.Error("the signature is accepted with another key")
	}
}

// TestFaults answers a call of each protocol with each fault, as an SDK sees it.
func TestFaults(t *testing.T) {
	var fault, made atomic.Int32
	out := DoUnscoped(func(context.Context, *Empty) (*Empty, error) { made.Add(1); return nil, nil })
	actions := map[string]Action{"Go": out}
	server := httptest.NewServer(New(Options{Fault: func(string, string) Fault { return Fault(fault.Load()) }},
		Service{Name: "ec2", Protocol: EC2Query, Actions: actions},
		Service{Name: "iam", Protocol: AWSQuery, Actions: actions},
		Service{Name: "ssm", Protocol: JSON, Target: "SSM", Actions: actions},
		Service{Name: "s3", Protocol: REST, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { made.Add(1) })},
	))
	defer server.Close()
	send := func(service string) (status int, body string, err error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, strings.NewReader("Action=Go"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if service == "ssm" {
			r.Header.Set("X-Amz-Target", "SSM.Go")
			r.Body = io.NopCloser(strings.NewReader("{}"))
			r.ContentLength = 2
		}
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=A/20260101/us-west-1/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(text), err
	}
	for _, test := range []struct {
		service string
		fault   Fault
		status  int // 0: no answer
		body    string
		made    int32
	}{
		{"ec2", Throttled, 503, "<Code>RequestLimitExceeded</Code>", 0},
		{"iam", Throttled, 400, "<Code>Throttling</Code>", 0},
		{"ssm", Throttled, 400, `"__type":"ThrottlingException"`, 0},
		{"s3", Throttled, 503, "<Code>SlowDown</Code>", 0},
		{"ec2", Failed, 500, "<Code>InternalError</Code>", 0},
		{"iam", Failed, 500, "<Code>InternalFailure</Code>", 0},
		{"ssm", Failed, 500, `"__type":"InternalServerError"`, 0},
		{"s3", Failed, 500, "<Code>InternalError</Code>", 0},
		{"ec2", Dropped, 0, "", 0},
		{"ec2", Unanswered, 0, "", 1},
		{"s3", Dropped, 0, "", 0},
		{"s3", Unanswered, 0, "", 1},
		{"ssm", NoFault, 200, "{}", 1},
	} {
		fault.Store(int32(test.fault))
		made.Store(0)
		status, body, err := send(test.service)
		if status != test.status || (err != nil) != (test.status == 0) || !strings.Contains(body, test.body) || made.Load() != test.made {
			t.Errorf("%s, fault %d: %d %s %v, made %d times; want %d %s, %d", test.service, test.fault, status, body, err, made.Load(), test.status, test.body, test.made)
		}
	}
}
