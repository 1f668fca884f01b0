// Package loopback tells what is on this machine's loopback, and so is out of reach for every other machine.
package loopback

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// Host reports whether a host, with or without a port, is "localhost" or a loopback address: 127.0.0.0/8 or ::1. Other
// names are not looked up, and are none.
func Host(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

// URL reports whether the host of a URL, such as an endpoint or a proxy, is one for Host. What is no URL is none.
func URL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && Host(u.Host)
}
