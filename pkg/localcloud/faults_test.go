package localcloud

import (
	"strings"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

func TestSetFaults(t *testing.T) {
	o := testOptions(t)
	if _, err := SetFaults(t.Context(), o.StateDir, "off"); err == nil || !strings.Contains(err.Error(), "does not run") {
		t.Errorf("faults of a cloud that does not run: %v", err)
	}
	c, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	get := func() error {
		client := parameters(c)
		_, err := client.GetParametersByPath(t.Context(), &ssm.GetParametersByPathInput{Path: aws.String("/")}, func(o *ssm.Options) { o.RetryMaxAttempts = 1 })
		return err
	}
	const throttled = "throttle=100% service=ssm"
	if now, err := SetFaults(t.Context(), o.StateDir, "service=ssm  throttle=100%"); err != nil || now != throttled {
		t.Fatalf("set faults: %q, %v", now, err)
	}
	if err := get(); err == nil || !strings.Contains(err.Error(), "ThrottlingException") {
		t.Errorf("a throttled call: %v", err)
	}
	// It survives the process, and the cloud can still be asked.
	if err := syscall.Kill(serverPID(t, o), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if status, err := Status(t.Context(), o.StateDir); err != nil || status.Faults != throttled {
		t.Errorf("after a restart: %q, %v", status.Faults, err)
	}
	for text, want := range map[string]string{"throttle": "has no value", "colour=red": "image-fail, lag, pace, seed, kill", "kill=i-1": "no such machine"} {
		if _, err := SetFaults(t.Context(), o.StateDir, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", text, err, want)
		}
	}
	if now, err := SetFaults(t.Context(), o.StateDir, "off"); err != nil || now != "" {
		t.Errorf("end the faults: %q, %v", now, err)
	}
	if err := get(); err != nil {
		t.Errorf("without faults: %v", err)
	}
}
