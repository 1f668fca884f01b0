package codedeploy

import (
	"testing"
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
