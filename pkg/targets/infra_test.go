package targets

import (
	"context"
	"errors"
	"testing"
)

// names are host names with their addresses.
type names map[string][]string

func (n names) LookupHost(_ context.Context, host string) ([]string, error) {
	if n[host] == nil {
		return nil, errors.New("no such host")
	}
	return n[host], nil
}

func TestWantedRecord(t *testing.T) {
	const domain, balancer = "www.example.com", "hello-1.us-west-1.elb.amazonaws.com"
	const cname = "www.example.com. CNAME hello-1.us-west-1.elb.amazonaws.com. (at the top of a zone, which takes no CNAME: an alias record to the same name)"
	addresses := []string{"192.0.2.1", "192.0.2.2"}
	for name, tc := range map[string]struct {
		dns      names
		balancer string
		want     string
	}{
		"leads there":      {names{domain: {"192.0.2.2"}, balancer: addresses}, balancer, ""},
		"leads nowhere":    {names{balancer: addresses}, balancer, cname},
		"leads elsewhere":  {names{domain: {"198.51.100.1"}, balancer: addresses}, balancer, cname},
		"nothing is known": {names{}, balancer, cname},
		"an address":       {names{"127.1.2.3": {"127.1.2.3"}}, "127.1.2.3", "www.example.com. A 127.1.2.3"},
	} {
		if got := wantedRecord(t.Context(), tc.dns, domain, tc.balancer); got != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}
