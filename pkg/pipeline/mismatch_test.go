package pipeline

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/rollout"
	"github.com/ingot-build/ingot/pkg/tag"
)

// TestMismatch: what the load balancer goes by is compared with the service, and a change that would take a release out of
// service is refused.
func TestMismatch(t *testing.T) {
	notThere := errors.New("http://lb.example/health answered HTTP 404")
	port := MismatchError{SettingPort, "8080", "9090", true}
	health := MismatchError{SettingHealth, "/healthz", "/health", true}
	tests := map[string]struct {
		service Service
		empty   bool  // no release is live
		asked   error // what is live answers at the new health path
		want    *MismatchError
		change  *ChangeError
		asks    bool
	}{
		"as it is":                          {service: Service{Port: 8080, Health: "/healthz"}},
		"defaults":                          {},
		"another port":                      {service: Service{Port: 9090}, want: &port, change: &ChangeError{MismatchError: port}},
		"another port, nothing live":        {service: Service{Port: 9090}, empty: true, want: &MismatchError{SettingPort, "8080", "9090", false}},
		"another health path, answered":     {service: Service{Health: "/health"}, want: &health, asks: true},
		"another health path, not answered": {service: Service{Health: "/health"}, asked: notThere, want: &health, change: &ChangeError{health, notThere}, asks: true},
		"another health path, nothing live": {service: Service{Health: "/health"}, empty: true, want: &MismatchError{SettingHealth, "/healthz", "/health", false}},
		"both":                              {service: Service{Port: 9090, Health: "/health"}, want: &port, change: &ChangeError{MismatchError: port}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := NewFromConfig(aws.Config{Region: "us-west-1"}, Settings{App: "hello", Service: tc.service})
			f := rollout.Fleet{Desired: 2, Balancer: rollout.Balancer{Port: 8080, HealthCheck: rollout.HealthCheck{Path: "/healthz"}}}
			if tc.empty {
				f.Desired = 0
			}
			if diff := cmp.Diff(tc.want, p.mismatch(f)); diff != "" {
				t.Error(diff)
			}
			asks := false
			err := p.changeProblem(f, func() error { asks = true; return tc.asked })
			change, _ := errors.AsType[*ChangeError](err)
			if asks != tc.asks || (change == nil) != (tc.change == nil) || change != nil && *change != *tc.change || (err == nil) != (change == nil) {
				t.Errorf("asks %t, error = %v", asks, err)
			}
		})
	}
}

// TestUnknownImage: what was just baked may not be found yet, or have no tags.
func TestUnknownImage(t *testing.T) {
	tests := map[string]struct {
		image ami.Image
		err   error
		want  bool
	}{
		"not found":        {err: ami.ErrNotFound, want: true},
		"refused":          {err: errors.New("access denied")},
		"new, no tags":     {image: ami.Image{Created: time.Now()}, want: true},
		"old, no tags":     {image: ami.Image{Created: time.Now().Add(-time.Hour)}},
		"new and finished": {image: ami.Image{Created: time.Now(), Tags: map[string]string{tag.Fingerprint: "x"}}},
	}
	for name, tc := range tests {
		if got := unknownImage(tc.image, tc.err); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestOnceReached: a load balancer that this machine cannot reach fails no user's request; one that it could, does.
func TestOnceReached(t *testing.T) {
	var got []int
	each := onceReached(func(s probe.Sample) { got = append(got, s.Status) })
	for _, s := range []probe.Sample{{Unreachable: true}, {Unreachable: true}, {Status: 200}, {Unreachable: true}} {
		each(s)
	}
	if diff := cmp.Diff([]int{200, 0}, got); diff != "" {
		t.Error(diff)
	}
}
