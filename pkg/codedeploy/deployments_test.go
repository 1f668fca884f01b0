package codedeploy

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/google/go-cmp/cmp"
)

func history() *service {
	s := &service{targets: map[string][]types.InstanceTarget{
		"d-2": {target("arn:aws:codedeploy:us-west-1:123456789012:instance/i-2", "Failed", "ValidateService", "Failed", unhealthy())},
		"d-4": {target("i-4", "Failed", "ApplicationStart", "Failed", &types.Diagnostics{ErrorCode: "ScriptTimedOut"})},
	}}
	s.add("user", "Succeeded", "one.zip", "release r1").CompleteTime = aws.Time(time.Date(2026, 1, 1, 1, 0, 0, 0, time.UTC))
	s.add("autoscaling", "Failed", "one.zip", "")
	s.add("autoscaling", "Succeeded", "one.zip", "")
	s.add("autoscaling", "Failed", "one.zip", "").ErrorInformation = &types.ErrorInformation{Code: "HEALTH_CONSTRAINTS", Message: aws.String("too few")}
	s.add("user", "InProgress", "one.zip", "release r2")
	return s
}

func TestDeployments(t *testing.T) {
	got, err := history().client().Deployments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := func(minute int) time.Time { return time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC) }
	d := unhealthy()
	want := []Deployment{
		{ID: "d-5", Status: "InProgress", Creator: "user", Description: "release r2", Begin: at(4)},
		{ID: "d-4", Status: "Failed", Creator: "autoscaling", Begin: at(3), Code: "HEALTH_CONSTRAINTS", Message: "too few", Failures: []Failure{
			{Instance: "i-4", Event: "ApplicationStart", Code: "ScriptTimedOut"},
		}},
		{ID: "d-3", Status: "Succeeded", Creator: "autoscaling", Begin: at(2)},
		{ID: "d-2", Status: "Failed", Creator: "autoscaling", Begin: at(1), Failures: []Failure{
			{Instance: "i-2", Event: "ValidateService", Script: *d.ScriptName, Code: "ScriptFailed", Message: *d.Message, Log: *d.LogTail},
		}},
		{ID: "d-1", Status: "Succeeded", Creator: "user", Description: "release r1", Begin: at(0), End: at(60)},
	}
	for i := range want {
		want[i].Revision = "s3://b/one.zip"
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The list has no order that is documented, pages, and an entry for every instance that was ever launched.
func TestNewestDeployments(t *testing.T) {
	tests := map[string]struct {
		ages   []time.Duration // of the deployments
		want   int
		newest time.Duration
	}{
		"none":                    {},
		"a few, long ago":         {ages: []time.Duration{900 * 24 * time.Hour, 500 * 24 * time.Hour}, want: 2, newest: 500 * 24 * time.Hour},
		"many, the newest hidden": {ages: append(slices.Repeat([]time.Duration{2 * time.Hour}, 30), slices.Repeat([]time.Duration{time.Hour}, 30)...), want: 25, newest: time.Hour},
		"many, but not today":     {ages: append([]time.Duration{time.Hour}, slices.Repeat([]time.Duration{48 * time.Hour}, 40)...), want: 25, newest: time.Hour},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service{}
				for _, age := range test.ages {
					s.add("autoscaling", "Succeeded", "one.zip", "").CreateTime = aws.Time(time.Now().Add(-age))
				}
				infos, err := s.client().newestDeployments(t.Context())
				if err != nil || len(infos) != test.want {
					t.Fatalf("%d deployments, %v", len(infos), err)
				}
				if len(infos) > 0 && time.Since(*infos[0].CreateTime) != test.newest {
					t.Errorf("the newest is %s old", time.Since(*infos[0].CreateTime))
				}
				if !slices.IsSortedFunc(infos, newestFirst) {
					t.Error("they are not in order")
				}
			})
		})
	}
}

func TestExplain(t *testing.T) {
	second := `i-2: ValidateService: scripts/check.sh: ScriptFailed: Script at specified location: scripts/check.sh failed with exit code 1
    [stderr]panic: no database
    [stderr]ingot-check: nothing listens`
	tests := map[string]struct {
		ids  []string
		want string
	}{
		"one of them":           {ids: []string{"i-2"}, want: second},
		"all":                   {want: "i-4: ApplicationStart: ScriptTimedOut\n" + second},
		"one that never failed": {ids: []string{"i-3"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, history().client().Explain(t.Context(), test.ids)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
