package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/report"
	"github.com/ingot-build/ingot/pkg/rollout"
)

// TestReleaseSteps: the documentation lists the steps that progress and reports show.
func TestReleaseSteps(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "docs", "releases.md"))
	if err != nil {
		t.Fatal(err)
	}
	var listed []Step
	for _, m := range regexp.MustCompile(`(?m)^[0-9]+\. \*\*([^*]+)\*\*: (.*)\.$`).FindAllStringSubmatch(string(readme), -1) {
		listed = append(listed, Step{Name: m[1], Does: m[2]})
	}
	if diff := cmp.Diff(ReleaseSteps(), listed); diff != "" {
		t.Errorf("docs/releases.md lists other steps (-code +docs):\n%s", diff)
	}
}

// TestDo: a release stops at the step that fails, and is reported from the moment on at which the fleet may have changed.
func TestDo(t *testing.T) {
	broken := errors.New("broken")
	const live = "hello-2"
	tests := map[string]struct {
		fails      Step
		err        error
		withoutCD  bool
		unchanged  bool // the fleet ran the release already
		wantSteps  []string
		wantResult report.Result // empty without a report
	}{
		"good": {wantSteps: []string{"find the fleet", "prepare the gate", "bake the images", "roll out", "record the deployment"}, wantResult: report.Succeeded},
		"without CodeDeploy": {
			withoutCD: true, wantSteps: []string{"find the fleet", "bake the images", "roll out"}, wantResult: report.Succeeded,
		},
		"nothing to replace": {
			unchanged: true, wantSteps: []string{"find the fleet", "prepare the gate", "bake the images", "roll out", "record the deployment"},
		},
		"no fleet":  {fails: findFleet, err: rollout.ErrNoFleet, wantSteps: []string{"find the fleet"}},
		"no image":  {fails: bakeImages, err: broken, wantSteps: []string{"find the fleet", "prepare the gate", "bake the images"}},
		"bad image": {fails: rollOut, err: rollout.ErrUnhealthy, wantSteps: []string{"find the fleet", "prepare the gate", "bake the images", "roll out"}, wantResult: report.Failed},
		"taken back": {
			fails: rollOut, err: errors.Join(rollout.ErrUnhealthy, rollout.ErrReverted),
			wantSteps: []string{"find the fleet", "prepare the gate", "bake the images", "roll out"}, wantResult: report.Reverted,
		},
		"serves, not recorded": {
			fails: recordDeployment, err: &DeploymentError{live, broken},
			wantSteps: []string{"find the fleet", "prepare the gate", "bake the images", "roll out", "record the deployment"}, wantResult: report.Undeployed,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			reports := t.TempDir()
			r := NewFromConfig(aws.Config{Region: "us-west-1"}, Settings{App: "hello", Root: t.TempDir(), Reports: reports, WithoutCodeDeploy: tt.withoutCD}).
				newRelease(ReleaseOptions{})
			var took []string
			var actions []action
			for _, step := range ReleaseSteps() {
				actions = append(actions, action{step, func(context.Context) error {
					took = append(took, step.Name)
					if step == rollOut {
						r.recorder = report.New(live, "hello-1", time.Now())
						r.result.Replaced = !tt.unchanged
					}
					if step == tt.fails {
						return tt.err
					}
					return nil
				}})
			}
			result, err := r.do(t.Context(), actions)
			if !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.wantSteps, took); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if tt.wantResult == "" {
				if result.Report != nil || result.Page != "" {
					t.Errorf("there is a report: %v", result.Report)
				}
				return
			}
			if result.Report == nil {
				t.Fatal("there is no report")
			}
			if result.Report.Result != tt.wantResult {
				t.Errorf("the report says %q, want %q", result.Report.Result, tt.wantResult)
			}
			var phases []string
			for _, p := range result.Report.Phases {
				phases = append(phases, p.Name)
			}
			if diff := cmp.Diff(tt.wantSteps, phases); diff != "" {
				t.Errorf("phases of the report (-want +got):\n%s", diff)
			}
			if _, err := os.Stat(result.Page); err != nil {
				t.Error(err)
			}
		})
	}
}
