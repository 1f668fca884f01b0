package loopback

import "testing"

func TestHost(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost:80": true, "127.0.0.1": true, "127.64.3.1:4566": true, "::1": true, "[::1]": true, "[::1]:80": true,
		"::ffff:127.0.0.1": true,
		"":                 false, ":80": false, "10.0.0.1": false, "example.org": false, "localhost.example.org": false,
		"127.0.0.1.example.org": false, "128.0.0.1:80": false, "0.0.0.0": false, "[]": false, "[": false, "2001:db8::1": false,
		"http://127.0.0.1": false,
	} {
		if got := Host(host); got != want {
			t.Errorf("Host(%q) = %v", host, got)
		}
	}
}

func TestURL(t *testing.T) {
	for text, want := range map[string]bool{
		"http://localhost:8080": true, "http://127.64.0.1:4566/path": true, "https://[::1]": true, "http://user:word@127.0.0.1:3128": true,
		"": false, "https://ec2.us-west-1.amazonaws.com": false, "http://127.0.0.1@example.org": false, "http://10.0.0.1:3128": false,
		"127.0.0.1:3128": false, "://": false,
	} {
		if got := URL(text); got != want {
			t.Errorf("URL(%q) = %v", text, got)
		}
	}
}
