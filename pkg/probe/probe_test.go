package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			i := n.Add(1)
			time.Sleep(time.Duration(i) * 10 * time.Millisecond)
			switch {
			case i == 3:
				return nil, errors.New("connection refused")
			case i == 4:
				return &http.Response{StatusCode: 502, Body: io.NopCloser(strings.NewReader(""))}, nil
			case i > 5:
				return &http.Response{StatusCode: 200, Header: http.Header{"X-Release": {"two"}}, Body: io.NopCloser(strings.NewReader("hi"))}, nil
			}
			return &http.Response{StatusCode: 200, Header: http.Header{"X-Release": {"one"}}, Body: io.NopCloser(strings.NewReader("hi"))}, nil
		})}
		ctx, cancel := context.WithTimeout(t.Context(), 950*time.Millisecond)
		defer cancel()
		report := Run(ctx, Options{URL: "http://127.0.0.1/", Rate: 10, Client: client})
		if len(report.Answers) != 10 {
			t.Errorf("%d answers, want 10 in 0.95 s at 10 a second", len(report.Answers))
		}
		if diff := cmp.Diff(map[string]int{"one": 3, "two": 5}, report.Releases()); diff != "" {
			t.Error(diff)
		}
		var failures []string
		for _, f := range report.Failures() {
			failures = append(failures, f.String())
		}
		if diff := cmp.Diff([]string{`Get "http://127.0.0.1/": connection refused`, `HTTP 502 from release ""`}, failures); diff != "" {
			t.Error(diff)
		}
		if got := report.Quantile(0.5); got != 60*time.Millisecond {
			t.Errorf("median %s", got)
		}
	})
}

func TestGetTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		a := Get(t.Context(), client, Target{URL: "http://127.0.0.1/"}, 0)
		if !errors.Is(a.Err, context.DeadlineExceeded) || a.Latency != DefaultTimeout {
			t.Errorf("%+v", a)
		}
	})
}

func ok() *http.Response {
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(""))}
}

func TestStreamKeepsItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			time.Sleep(3 * time.Second)
			return ok(), nil
		})}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second-time.Millisecond)
		defer cancel()
		begin := time.Now()
		var n int
		Stream(ctx, Options{URL: "http://127.0.0.1/", Rate: 200, Client: client}, func(s Sample) {
			if want := begin.Add(time.Duration(n) * 5 * time.Millisecond); !s.At.Equal(want) || s.Latency != 3*time.Second {
				t.Errorf("sample %d at %s took %s, want at %s", n, s.At, s.Latency, want)
			}
			n++
		})
		if n != 2000 {
			t.Errorf("%d samples, want 2000 in 10 s at 200 a second", n)
		}
		if took := time.Since(begin); took >= 13*time.Second {
			t.Errorf("ended after %s: want the last request's end", took)
		}
	})
}

func TestStreamCountsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		client := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Second)
			return ok(), nil
		})}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second-time.Millisecond)
		defer cancel()
		var latencies []time.Duration
		Stream(ctx, Options{URL: "http://127.0.0.1/", Rate: 2, Concurrency: 1, Client: client}, func(s Sample) {
			latencies = append(latencies, s.Latency)
		})
		// Due at 0 s and 0.5 s; the second could be sent at 1 s.
		if diff := cmp.Diff([]time.Duration{time.Second, 1500 * time.Millisecond}, latencies); diff != "" {
			t.Error(diff)
		}
		if most.Load() != 1 {
			t.Errorf("%d requests under way at once", most.Load())
		}
	})
}

func TestStreamKeepsConnections(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(ReleaseHeader, "one")
		io.WriteString(w, "hello")
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	report := Run(ctx, Options{URL: server.URL, Rate: 200})
	if failures := report.Failures(); len(failures) > 0 {
		t.Errorf("%d failures; the first: %s", len(failures), failures[0])
	}
	if n := report.Releases()["one"]; n < 150 || n > 210 {
		t.Errorf("%d answers in a second", n)
	}
	if n := connections.Load(); n > 50 {
		t.Errorf("%d connections for %d requests", n, len(report.Answers))
	}
}

func TestStatuses(t *testing.T) {
	tests := []struct {
		text     string
		good     []int
		bad      []int
		wantText string // of the error
	}{
		{text: "200-399", good: []int{200, 301, 399}, bad: []int{199, 400, 404, 502}},
		{text: "200, 401,404", good: []int{200, 401, 404}, bad: []int{201, 301, 500}},
		{text: "", wantText: `parse HTTP statuses "": "" is neither a status from 100 to 599 nor a range of them`},
		{text: "2xx", wantText: `parse HTTP statuses "2xx": "2xx" is neither a status from 100 to 599 nor a range of them`},
		{text: "399-200", wantText: `parse HTTP statuses "399-200": "399-200" is neither a status from 100 to 599 nor a range of them`},
		{text: "200,", wantText: `parse HTTP statuses "200,": "" is neither a status from 100 to 599 nor a range of them`},
		{text: "200-999", wantText: `parse HTTP statuses "200-999": "200-999" is neither a status from 100 to 599 nor a range of them`},
	}
	for _, tc := range tests {
		statuses, err := ParseStatuses(tc.text)
		if got := fmt.Sprint(err); tc.wantText != "" && got != tc.wantText || tc.wantText == "" && err != nil {
			t.Errorf("%q: error = %v", tc.text, err)
		}
		for _, status := range tc.good {
			if !statuses.Has(status) {
				t.Errorf("%q lacks %d", tc.text, status)
			}
		}
		for _, status := range tc.bad {
			if statuses.Has(status) {
				t.Errorf("%q has %d", tc.text, status)
			}
		}
	}
	if none := Statuses(nil); !none.Has(200) || !none.Has(399) || none.Has(404) {
		t.Error("none said is not 200-399")
	}
}

// quietServer is a server, not yet started, whose complaints about clients nobody wants to read.
func quietServer(h http.Handler) *httptest.Server {
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	return server
}

// TestGetJudges: the answer of the service alone counts, by the statuses that are good; no redirect is followed.
func TestGetJudges(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("a redirect was followed")
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer elsewhere.Close()
	server := quietServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/login":
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
		case "/healthz":
			w.Header().Set(ReleaseHeader, "one")
		case "/broken":
			panic(http.ErrAbortHandler)
		default:
			http.NotFound(w, r)
		}
	}))
	server.Start()
	defer server.Close()
	tests := map[string]struct {
		path   string
		good   Statuses
		status int
		failed bool
	}{
		"a redirect counts by itself": {path: "/login", status: 302},
		"a redirect that is not good": {path: "/login", good: Statuses{{200, 299}}, status: 302, failed: true},
		"not there":                   {path: "/", status: 404, failed: true},
		"not there, which is good":    {path: "/", good: Statuses{{404, 404}}, status: 404},
		"there":                       {path: "/healthz", status: 200},
		"cut off":                     {path: "/broken", failed: true},
	}
	client := NewClient(http.DefaultClient, "", "")
	for name, tc := range tests {
		got := Get(t.Context(), client, Target{server.URL + tc.path, tc.good}, 0)
		if got.Status != tc.status || got.Failed() != tc.failed || got.Unreachable {
			t.Errorf("%s: %+v, failed %t", name, got, got.Failed())
		}
	}
}

// TestGetUnreachable: what never got as far as a request says nothing of the service.
func TestGetUnreachable(t *testing.T) {
	tls := quietServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	tls.StartTLS()
	defer tls.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	for name, url := range map[string]string{
		"nothing listens":                closed.URL,
		"no such name":                   "http://no-such-name.invalid",
		"a certificate of somebody else": tls.URL,
	} {
		if got := Get(t.Context(), NewClient(http.DefaultClient, "", ""), Target{URL: url}, 0); !got.Unreachable || !got.Failed() {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestNewClientAddress: the address is connected to, and the URL's host asked for, in the Host header as in TLS.
func TestNewClientAddress(t *testing.T) {
	var host, name string
	server := quietServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { host, name = r.Host, r.TLS.ServerName }))
	server.StartTLS()
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	base := server.Client() // the test server's certificate is of example.com
	base.Transport.(*http.Transport).DialContext = nil
	client := NewClient(base, "example.com", "127.0.0.1")
	got := Get(t.Context(), client, Target{URL: "https://example.com:" + port + "/"}, 0)
	if got.Failed() || host != "example.com:"+port || name != "example.com" {
		t.Errorf("%+v, host %q, name in TLS %q", got, host, name)
	}
	client = NewClient(base, "another.example", "127.0.0.1")
	if got := Get(t.Context(), client, Target{URL: "https://another.example:" + port + "/"}, 0); !got.Unreachable {
		t.Errorf("a certificate of another name is taken: %+v", got)
	}
}
