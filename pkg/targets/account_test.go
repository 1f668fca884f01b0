package targets

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/progress"
)

// TestClockThatIsOff: AWS refuses what is signed too long ago; that it is the clock is said, and goes on with AWS's.
func TestClockThatIsOff(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"right": 0, "an hour behind": time.Hour, "an hour ahead": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				now := time.Now().Add(ahead)
				w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
				signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
				if err != nil || now.Sub(signed).Abs() > 5*time.Minute {
					w.WriteHeader(http.StatusForbidden)
					_, _ = io.WriteString(w, "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>Signature expired</Message></Error></ErrorResponse>")
					return
				}
				_, _ = io.WriteString(w, "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>012345678901</Account></GetCallerIdentityResult></GetCallerIdentityResponse>")
			}))
			defer server.Close()
			for variable, value := range map[string]string{
				"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-west-1", "AWS_CONFIG_FILE": "/nowhere",
			} {
				t.Setenv(variable, value)
			}
			var said bytes.Buffer
			settings := config.Default()
			settings.Root = t.TempDir()
			p := &project{Config: settings}
			a, err := p.signIn(progress.NewContext(t.Context(), progress.New(&said)))
			if err != nil || a.id != "012345678901" {
				t.Fatalf("account %q, %v", a.id, err)
			}
			if got := strings.Contains(said.String(), "set-ntp"); got != (ahead != 0) {
				t.Errorf("it says %q", said.String())
			}
		})
	}
}
