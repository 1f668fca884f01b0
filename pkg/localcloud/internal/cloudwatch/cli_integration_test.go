//go:build integration

package cloudwatch

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
)

// TestIntegrationCLI is what a person types to see a release stopped by an alarm.
func TestIntegrationCLI(t *testing.T) {
	path, err := exec.LookPath("aws")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip("the AWS CLI is not installed")
	} else if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, newService(t, store.Memory()))
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), path, append([]string{"cloudwatch", "--output", "text"}, args...)...)
		cmd.Env = append(os.Environ(), "AWS_ENDPOINT_URL="+c.url, "AWS_DEFAULT_REGION=us-west-1", "AWS_ACCESS_KEY_ID=AKIA", "AWS_SECRET_ACCESS_KEY=secret")
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return stderr.String()
		}
		return strings.TrimSpace(string(out))
	}
	for _, step := range []struct {
		want string
		args []string
	}{
		{"", []string{"put-metric-alarm", "--alarm-name", "fives", "--namespace", "AWS/ApplicationELB", "--metric-name", "HTTPCode_Target_5XX_Count",
			"--dimensions", "Name=LoadBalancer,Value=app/hello/1", "--statistic", "Sum", "--period", "60", "--evaluation-periods", "1", "--threshold", "1",
			"--comparison-operator", "GreaterThanThreshold", "--tags", "Key=ingot:app,Value=hello"}},
		{"INSUFFICIENT_DATA", []string{"describe-alarms", "--query", "MetricAlarms[].StateValue"}},
		{"", []string{"set-alarm-state", "--alarm-name", "fives", "--state-value", "ALARM", "--state-reason", "a test"}},
		{"ALARM\ta test", []string{"describe-alarms", "--alarm-names", "fives", "--query", "MetricAlarms[].[StateValue,StateReason]"}},
		{"hello", []string{"list-tags-for-resource", "--resource-arn", "arn:aws:cloudwatch:us-west-1:012345678901:alarm:fives", "--query", "Tags[].Value"}},
		{"(ResourceNotFound)", []string{"set-alarm-state", "--alarm-name", "sixes", "--state-value", "OK", "--state-reason", "a test"}},
		{"", []string{"delete-alarms", "--alarm-names", "fives"}},
		{"", []string{"describe-alarms", "--query", "MetricAlarms[].StateValue"}},
	} {
		if got := run(step.args...); got != step.want && (step.want == "" || !strings.Contains(got, step.want)) {
			t.Errorf("aws cloudwatch %s: %q, want %q", strings.Join(step.args, " "), got, step.want)
		}
	}
}
