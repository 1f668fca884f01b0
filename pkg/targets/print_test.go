package targets

import (
	"strings"
	"testing"

	"github.com/ingot-build/ingot/pkg/rollout"
)

// TestPrintStatus: what came of the newest refresh is shown, after a rollback as well.
func TestPrintStatus(t *testing.T) {
	for want, x := range map[string]rollout.Refresh{
		"instance refresh x to release r2 by alice: RollbackSuccessful 100 %: asked for": {ID: "x", Release: "r2", By: "alice", Status: "RollbackSuccessful", Percentage: 100, Reason: "asked for"},
		"instance refresh x to release r2: InProgress 50 %":                              {ID: "x", Release: "r2", Status: "InProgress", Percentage: 50},
	} {
		var out strings.Builder
		if err := printStatus(&out, rollout.Status{Refresh: &x}); err != nil || !strings.Contains(out.String(), "\n"+want+"\n") {
			t.Errorf("%v, no %q in:\n%s", err, want, &out)
		}
	}
}
