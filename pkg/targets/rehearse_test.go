package targets

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ingot-build/ingot/pkg/probe"
)

// TestAsk: a service without a page is shown by what a rollout sees of it.
func TestAsk(t *testing.T) {
	statuses := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if statuses[r.URL.Path] == http.StatusFound {
			w.Header().Set("Location", "http://no-such-name.invalid")
		}
		w.WriteHeader(statuses[r.URL.Path])
		if statuses[r.URL.Path] == http.StatusOK {
			fmt.Fprintf(w, "this is %s\nand that is all\n", r.URL.Path)
		}
	}))
	defer server.Close()
	page, health := server.URL, server.URL+"/healthz"
	for name, tc := range map[string]struct {
		root, health int
		good         probe.Statuses
		want         string
		wantErr      bool
	}{
		"a page":             {root: 200, health: 200, want: page + " answers:\n\n  this is /\n  and that is all\n"},
		"no page":            {root: 404, health: 200, want: health + " answers:\n\n  this is /healthz\n  and that is all\n"},
		"a page elsewhere":   {root: 302, health: 200, want: health + " answers:\n\n  this is /healthz\n  and that is all\n"},
		"nothing but health": {root: 401, health: 204, want: health + " answers:\n\n  204 No Content\n"},
		"what is good":       {root: 401, health: 401, good: probe.Statuses{{From: 401, To: 401}}, want: health + " answers:\n\n  401 Unauthorized\n"},
		"nothing":            {root: 502, health: 502, wantErr: true},
	} {
		statuses["/"], statuses["/healthz"] = tc.root, tc.health
		got, err := ask(t.Context(), page, probe.Options{URL: health, Good: tc.good})
		if got != tc.want || (err != nil) != tc.wantErr {
			t.Errorf("%s: %q, %v, want %q", name, got, err, tc.want)
		}
	}
}
