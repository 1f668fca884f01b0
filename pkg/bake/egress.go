package bake

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/ingot-build/ingot/internal/httpget"
	"github.com/ingot-build/ingot/internal/loopback"
)

// addressURL answers with the public address of who asks. AWS keeps it.
const addressURL = "https://checkip.amazonaws.com"

// sourceCIDRs is the address that this machine has towards an endpoint, as a CIDR block: what a bake's SSH port is opened
// to. Towards AWS it is what AWS itself says of us.
func sourceCIDRs(ctx context.Context, endpoint string) ([]string, error) {
	if loopback.URL(endpoint) {
		return []string{"127.0.0.0/8"}, nil
	}
	answer, err := httpget.Get(ctx, addressURL, httpget.Options{})
	if err != nil {
		return nil, fmt.Errorf("find out this machine's public address: %w", err)
	}
	cidr, err := addressCIDR(string(answer.Body))
	if err != nil {
		return nil, fmt.Errorf("find out this machine's public address: %w", err)
	}
	return []string{cidr}, nil
}

// addressCIDR is the block that holds one address alone.
func addressCIDR(address string) (string, error) {
	ip := net.ParseIP(strings.TrimSpace(address))
	switch {
	case ip == nil:
		return "", fmt.Errorf("%.64q is none", address)
	case ip.To4() == nil:
		return ip.String() + "/128", nil
	}
	return ip.String() + "/32", nil
}
