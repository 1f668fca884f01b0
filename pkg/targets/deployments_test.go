package targets

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/codedeploy"
)

func TestPrintDeployments(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var out bytes.Buffer
	err := printDeployments(&out, []codedeploy.Deployment{
		{ID: "d-3", Status: "InProgress", Creator: "user", Description: "release r2", Begin: begin},
		{ID: "d-2", Status: "Failed", Creator: "autoscaling", Begin: begin, End: begin.Add(31 * time.Second), Code: "HEALTH_CONSTRAINTS", Message: "too many failed", Failures: []codedeploy.Failure{
			{Instance: "i-1", Event: "ValidateService", Script: "scripts/check.sh", Code: "ScriptFailed", Message: "exit code 1", Log: "1\n2\n3\n\n4\n5\n6\n"},
			{Instance: "i-2"}, {Instance: "i-3"}, {Instance: "i-4"}, {Instance: "i-5"},
		}},
		{ID: "d-1", Status: "Succeeded", Creator: "user", Description: "release r1", Begin: begin, End: begin.Add(2 * time.Minute)},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `DEPLOYMENT  STATUS      BY           BEGAN                TOOK  FOR
d-3         InProgress  user         2026-01-02 03:04:05        release r2
d-2         Failed      autoscaling  2026-01-02 03:04:05  31s   
d-1         Succeeded   user         2026-01-02 03:04:05  2m0s  release r1

d-2: HEALTH_CONSTRAINTS: too many failed
  i-1: ValidateService: scripts/check.sh: ScriptFailed: exit code 1
    2
    3
    4
    5
    6
  i-2: no script ran
  i-3: no script ran
  and 2 more
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
