package probe

import (
	"context"
	"errors"
	"io"
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
		a := Get(t.Context(), client, "http://127.0.0.1/", 0)
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
