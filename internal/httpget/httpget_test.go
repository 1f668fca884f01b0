package httpget

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGet(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Path", r.Method+" "+r.URL.Path)
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(strings.Repeat("tea ", 100_000)))
	}))
	defer server.Close()
	for name, test := range map[string]struct {
		options Options
		size    int
	}{
		"defaults":   {size: defaultLimit},
		"everything": {options: Options{Client: server.Client(), Timeout: time.Minute, Limit: 1 << 20}, size: 400_000},
		"little":     {options: Options{Limit: 3}, size: 3},
		"nothing":    {options: Options{Limit: -1}, size: 0},
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := Get(t.Context(), server.URL+"/pot", test.options)
			if err != nil {
				t.Fatal(err)
			}
			if len(answer.Body) != test.size || !strings.HasPrefix("tea", string(answer.Body[:min(3, len(answer.Body))])) {
				t.Errorf("body of %d bytes, want %d", len(answer.Body), test.size)
			}
			got := []any{answer.Code, answer.Status, answer.Header.Get("X-Path")}
			if diff := cmp.Diff([]any{418, "418 I'm a teapot", "GET /pot"}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGetFails(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	if _, err := Get(t.Context(), silent.URL, Options{Timeout: time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("time limit: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Get(ctx, silent.URL, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	if _, err := Get(t.Context(), "://", Options{}); err == nil {
		t.Error("no URL: no error")
	}
}
