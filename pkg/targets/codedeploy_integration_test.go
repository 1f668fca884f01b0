//go:build integration

package targets_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ingot-build/ingot/pkg/codedeploy"
)

// TestIntegrationCodeDeploy sees the launch gate keep what is not fit from the load balancer, on real machines.
func TestIntegrationCodeDeploy(t *testing.T) {
	t.Parallel()
	c := newBriskClone(t)
	url := c.must(t, "local", "url")
	_, release := get(t, url)
	c.recorded(t, release)

	t.Run("a hook that is gone is put back", func(t *testing.T) {
		hooks := []string{"autoscaling", "describe-lifecycle-hooks", "--auto-scaling-group-name", "hello"}
		for _, hook := range list(t, c.aws(t, "LifecycleHooks[].LifecycleHookName", hooks...)) {
			c.aws(t, "@", "autoscaling", "delete-lifecycle-hook", "--auto-scaling-group-name", "hello", "--lifecycle-hook-name", hook)
		}
		c.must(t, "local", "infra:apply")
		if got := list(t, c.aws(t, "LifecycleHooks[].DefaultResult", hooks...)); !slices.Equal(got, []string{"ABANDON"}) {
			t.Errorf("after infra:apply, the hooks end with %q", got)
		}
	})

	t.Run("a new instance passes before it serves", func(t *testing.T) {
		old := c.fleet(t)
		gone := slices.Sorted(maps.Keys(old))[0]
		c.aws(t, "@", "autoscaling", "set-desired-capacity", "--auto-scaling-group-name", "hello", "--desired-capacity", "3")
		c.aws(t, "@", "ec2", "terminate-instances", "--instance-ids", gone)
		c.grows(t, 3, gone)
		for id := range c.fleet(t) {
			if _, known := old[id]; !known {
				c.passedTheGate(t, id)
			}
		}
	})

	t.Run("a release that fails its check", func(t *testing.T) {
		c.write(t, "service/bad.go", badSource(`return answer(503, h, always)`))
		c.edit(t, greetingFile, `newHandler\(log, release, host\)\)`, `bad(newHandler(log, release, host)))`)
		c.refuses(t, "ValidateService: scripts/check.sh: ScriptFailed")
		out := c.must(t, "local", "deployments")
		for _, want := range []string{"autoscaling", "ValidateService: scripts/check.sh: ScriptFailed", "[stderr]ingot-check: http://127.0.0.1:8080/healthz answers 503, want 200"} {
			if !strings.Contains(out, want) {
				t.Errorf("the deployments do not show %q:\n%s", want, out)
			}
		}
		c.edit(t, greetingFile, `bad\(newHandler\(log, release, host\)\)\)`, `newHandler(log, release, host))`)
		c.remove(t, "service/bad.go")
	})

	t.Run("a good release", func(t *testing.T) {
		c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good evening"`)
		c.underLoad(t, url, 0, func() { c.must(t, "local", "prod") })
		body, now := get(t, url)
		if !strings.Contains(body, "Good evening") || now == release {
			t.Errorf("release %q answers %q", now, body)
		}
		c.recorded(t, now)
		for id := range c.fleet(t) {
			c.passedTheGate(t, id)
		}
	})

	t.Run("bad revisions", func(t *testing.T) {
		c.underLoad(t, url, 0, func() { testRevisions(t, c) })
	})
}

// testRevisions deploys revisions made by hand over the fleet.
func testRevisions(t *testing.T, c *clone) {
	// Seconds: long enough that a script which ends at once does so on a busy machine.
	const timeout = 8
	spec := fmt.Sprintf("version: 0.0\nos: linux\nhooks:\n  ValidateService:\n    - location: check.sh\n      timeout: %d\n", timeout)
	script := func(mode fs.FileMode, text string) []byte {
		return bundle(t, map[string]string{"appspec.yml": spec, "check.sh": "#!/bin/sh\n" + text}, mode)
	}
	tests := []struct {
		name    string
		bundle  []byte
		failure codedeploy.Failure // zero for a success; Message and Log are part of the real ones
	}{
		{"corrupt", []byte("PK\x03\x04 and so on"), codedeploy.Failure{Event: "DownloadBundle", Code: "UnknownError"}},
		{"missing script", bundle(t, map[string]string{"appspec.yml": spec}, 0o755), codedeploy.Failure{
			Event: "ValidateService", Script: "check.sh", Code: "ScriptMissing", Message: "does not exist",
		}},
		// The agent makes it executable, and fails only where it cannot; as it is root, it always can.
		{"no run bit", script(0o644, "exit 0"), codedeploy.Failure{}},
		{"hangs", script(0o755, "echo waits; sleep 60"), codedeploy.Failure{
			Event: "ValidateService", Script: "check.sh", Code: "ScriptTimedOut", Message: fmt.Sprintf("failed to complete in %d seconds", timeout), Log: "[stdout]waits",
		}},
		{"leaves its output open", script(0o755, "echo starts; sleep 60 & exit 0"), codedeploy.Failure{
			Event: "ValidateService", Script: "check.sh", Message: "STDOUT", Log: "[stdout]starts",
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			d := c.deploy(t, tc.name, tc.bundle)
			if tc.failure == (codedeploy.Failure{}) {
				if d.Status != "Succeeded" || len(d.Failures) > 0 {
					t.Errorf("deployment %+v", d)
				}
				return
			}
			if d.Status != "Failed" || len(d.Failures) == 0 {
				t.Fatalf("deployment %+v", d)
			}
			got, want := d.Failures[0], tc.failure
			t.Log(got)
			if got.Event != want.Event || got.Script != want.Script || want.Code != "" && got.Code != want.Code ||
				!strings.Contains(got.Message, want.Message) || !strings.Contains(got.Log, want.Log) {
				t.Errorf("failure %+v\nwant %+v", got, want)
			}
		})
	}
}

// bundle zips files; all but the specification get the mode.
func bundle(t *testing.T, files map[string]string, mode fs.FileMode) []byte {
	t.Helper()
	var buffer bytes.Buffer
	w := zip.NewWriter(&buffer)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &zip.FileHeader{Name: name, Method: zip.Deflate}
		if header.SetMode(mode); name == "appspec.yml" {
			header.SetMode(0o644)
		}
		file, err := w.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// deploy deploys a bundle with the AWS CLI, and waits until it and what follows it have ended.
func (c *clone) deploy(t *testing.T, name string, bundle []byte) codedeploy.Deployment {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bundle.zip")
	if err := os.WriteFile(path, bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	var bucket, id string
	c.decode(t, &bucket, c.aws(t, "Parameter.Value", "ssm", "get-parameter", "--name", codedeploy.BucketParameter("hello")))
	key := strings.ReplaceAll(name, " ", "-") + ".zip"
	c.aws(t, "ETag", "s3api", "put-object", "--bucket", bucket, "--key", key, "--body", path)
	c.decode(t, &id, c.aws(t, "deploymentId", "deploy", "create-deployment", "--application-name", "hello", "--deployment-group-name", "hello",
		"--s3-location", fmt.Sprintf("bucket=%s,key=%s,bundleType=zip", bucket, key), "--description", name))
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		all := c.deployments(t)
		if slices.ContainsFunc(all, func(d codedeploy.Deployment) bool { return d.End.IsZero() }) {
			continue // it, or the rollback that follows it
		}
		if i := slices.IndexFunc(all, func(d codedeploy.Deployment) bool { return d.ID == id }); i >= 0 {
			return all[i]
		}
	}
	t.Fatalf("deployment %s does not end", id)
	return codedeploy.Deployment{}
}

// recorded sees that the last deployment records a release over the fleet.
func (c *clone) recorded(t *testing.T, release string) {
	t.Helper()
	if last := c.deployments(t)[0]; last.Status != "Succeeded" || last.Creator != "user" || last.Description != "release "+release {
		t.Fatalf("the release is recorded as %+v", last)
	}
}

func (c *clone) deployments(t *testing.T) []codedeploy.Deployment {
	t.Helper()
	var all []codedeploy.Deployment
	out, err := c.command(t.Context(), "local", "deployments", "-json").Output()
	if err != nil {
		t.Fatalf("list the deployments: %v", err)
	}
	c.decode(t, &all, string(out))
	return all
}

func (c *clone) decode(t *testing.T, into any, text string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// grows waits until so many instances are in service, and one that was terminated is not among them.
func (c *clone) grows(t *testing.T, instances int, gone string) {
	t.Helper()
	w := c.watch(t)
	var ids []string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Second) {
		ids = w.inService(t)
		if len(ids) == instances && !slices.Contains(ids, gone) {
			return
		}
	}
	t.Fatalf("in service are %q, want %d without %s", ids, instances, gone)
}

// passedTheGate sees that a deployment to an instance succeeded before Auto Scaling took it for launched.
func (c *clone) passedTheGate(t *testing.T, id string) {
	t.Helper()
	var launched []time.Time
	c.decode(t, &launched, c.aws(t, fmt.Sprintf("Activities[?contains(Description, '%s') && starts_with(Description, 'Launching')].EndTime", id),
		"autoscaling", "describe-scaling-activities", "--auto-scaling-group-name", "hello"))
	for _, d := range c.deployments(t) {
		if d.Creator != "autoscaling" || d.Status != "Succeeded" || !slices.Contains(list(t, c.aws(t, "targetIds", "deploy", "list-deployment-targets", "--deployment-id", d.ID)), id) {
			continue
		}
		if len(launched) != 1 || launched[0].Before(d.End.Truncate(time.Second)) {
			t.Errorf("%s was launched at %v, and passed the gate at %s", id, launched, d.End)
		}
		return
	}
	t.Errorf("no deployment to %s succeeded", id)
}
