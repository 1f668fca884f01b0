package bake

import (
	"slices"
	"testing"
)

func TestSourceCIDRsOnThisMachine(t *testing.T) {
	for _, endpoint := range []string{"http://127.1.2.3:4566", "http://localhost:4566", "http://[::1]:4566"} {
		if got, err := sourceCIDRs(t.Context(), endpoint); err != nil || !slices.Equal(got, []string{"127.0.0.0/8"}) {
			t.Errorf("sourceCIDRs(%q) = %s, %v", endpoint, got, err)
		}
	}
}

func TestAddressCIDR(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1\n": "192.0.2.1/32", "2001:db8::1": "2001:db8::1/128", "": "", "<html>": "", "192.0.2.1/32": "",
	} {
		if got, err := addressCIDR(address); got != want || (err == nil) != (want != "") {
			t.Errorf("addressCIDR(%q) = %q, %v, want %q", address, got, err, want)
		}
	}
}
