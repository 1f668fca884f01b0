package packer

import (
	"context"
	"errors"
	"testing"

	"github.com/ingot-build/ingot/pkg/apt"
)

// The distribution's package is the second choice, and no reason of its own where there is none.
func TestInstallEither(t *testing.T) {
	offline, broken := errors.New("no such host"), errors.New("no such package")
	for name, test := range map[string]struct {
		downloaded, packaged error
		want                 []error // in the error; nil for success
	}{
		"downloaded":                    {},
		"offline, with a package":       {downloaded: offline},
		"offline, without one":          {downloaded: offline, packaged: broken, want: []error{offline, broken}},
		"offline, another distribution": {downloaded: offline, packaged: apt.ErrUnavailable, want: []error{offline}},
	} {
		packaged := false
		err := installEither(t.Context(), func(context.Context) error { return test.downloaded }, func(context.Context) error {
			packaged = true
			return test.packaged
		})
		if (err == nil) != (test.want == nil) || packaged != (test.downloaded != nil) {
			t.Errorf("%s: %v, package tried: %t", name, err, packaged)
		}
		for _, want := range test.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		if errors.Is(err, apt.ErrUnavailable) {
			t.Errorf("%s: %v speaks of apt-get", name, err)
		}
	}
}
