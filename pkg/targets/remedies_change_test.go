package targets

import (
	"errors"
	"testing"

	"github.com/ingot-build/ingot/pkg/pipeline"
)

// TestAdviseChange: what would take a release out of service is refused with the order that serves throughout.
func TestAdviseChange(t *testing.T) {
	port := pipeline.MismatchError{Setting: pipeline.SettingPort, Live: "8080", Want: "9090", Serves: true}
	first := pipeline.MismatchError{Setting: pipeline.SettingPort, Live: "8080", Want: "9090"}
	health := pipeline.MismatchError{Setting: pipeline.SettingHealth, Live: "/healthz", Want: "/health", Serves: true}
	const (
		portText    = "the load balancer goes by the port 8080, and the service has the port 9090"
		healthText  = "the load balancer goes by the health path /healthz, and the service has the health path /health"
		portOrder   = "\n  nothing was changed; a port stays as long as a release is live: set service { port = 8080 } again, and have the service listen on $PORT" + "\n  an order that serves throughout, where it must be 9090: another app = \"NAME\" in ingot.hcl, mage infra:apply prod, lead your domain there; then the app of before again, and mage infra:destroy -yes"
		healthOrder = "\n  nothing was changed; an order that serves throughout:" + "\n  1. service { health = \"/healthz\" }, a service that answers 200 at both paths, mage prod" + "\n  2. service { health = \"/health\" }, mage infra:apply, mage prod"
	)
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"a port, nothing live":             {&first, portText + ": run: mage infra:apply"},
		"a port":                           {&port, portText + portOrder},
		"a health path":                    {&health, healthText + healthOrder},
		"a port under a fleet":             {&pipeline.ChangeError{MismatchError: port}, "change the port of a fleet that serves: " + portText + portOrder},
		"a health path that is not served": {&pipeline.ChangeError{MismatchError: health, Err: errors.New("http://lb/health answered HTTP 404")}, "change the health path of a fleet that serves: " + healthText + ": http://lb/health answered HTTP 404" + healthOrder},
	} {
		if got := advise(tc.err); got.Error() != tc.want || !errors.Is(got, tc.err) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tc.want)
		}
	}
}
