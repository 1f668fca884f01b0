package probe

import (
	"context"
	"errors"
	"io"
	"net/http"
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
		if !errors.Is(a.Err, context.DeadlineExceeded) || a.Elapsed != DefaultTimeout {
			t.Errorf("%+v", a)
		}
	})
}
