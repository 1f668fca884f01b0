//go:build integration

package targets_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestIntegrationInfraEverything makes the stack with all that it can have, from a state on this machine to one in S3.
func TestIntegrationInfraEverything(t *testing.T) {
	t.Parallel()
	c := newReleasedClone(t)
	settings := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(c.dir, "ingot.hcl"), []byte("app = \"hello\"\n"+text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fails := func(want string, args ...string) {
		t.Helper()
		out, stderr, err := c.run(t, args...)
		if err == nil || !strings.Contains(stderr, want) {
			t.Errorf("ingot %s: error %v, want one with %q\n%s\n%s", strings.Join(args, " "), err, want, out, stderr)
		}
	}
	const (
		state      = "state {\n  bucket = \"hello-state-test\"\n}\n"
		everything = state + "github {\n  repository = \"octo-org/octo-repo\"\n  owner_id = \"123456\"\n  repository_id = \"456789\"\n}\n" +
			"rollout {\n  alarms = [\"hello-errors\"]\n}\n"
		stateKey = "ingot/hello/us-west-1.tfstate"
	)

	t.Run("a name that is taken", func(t *testing.T) {
		c := newClone(t) // has a cloud with nothing in it
		c.must(t, "local")
		c.aws(t, "@", "deploy", "create-application", "--application-name", "hello")
		const want = `names that are taken, by what has no tag ingot:app=hello: CodeDeploy application "hello"`
		if _, said, err := c.run(t, "local", "infra:apply"); err == nil || !strings.Contains(said, want) {
			t.Errorf("%v, want %s\n%s", err, want, said)
		}
		if n := c.aws(t, "length(Vpcs[?IsDefault==`false`])", "ec2", "describe-vpcs"); n != "0" {
			t.Errorf("%s VPCs were made before it was said", n)
		}
	})

	t.Run("state on this machine", func(t *testing.T) {
		c.must(t, "local", "infra:apply")
		if out := c.must(t, "local", "infra:plan"); out != "no changes" {
			t.Errorf("infra:plan printed %q", out)
		}
	})
	if t.Failed() {
		return
	}

	t.Run("an apply that was killed", func(t *testing.T) {
		// What it had made and could not write down any more, of every kind that has its name only once.
		states, err := filepath.Glob(filepath.Join(c.dir, ".ingot", "[0-9]*", "*", "terraform.tfstate"))
		if err != nil || len(states) != 1 {
			t.Fatalf("states %q, %v", states, err)
		}
		lost := []string{
			"aws_lb.app[0]", "aws_launch_template.app", "aws_autoscaling_group.app", "aws_codedeploy_app.app[0]", "aws_codedeploy_deployment_group.app[0]",
			"aws_ssm_parameter.revisions[0]", "aws_security_group.instance", "aws_security_group.load_balancer[0]",
		}
		forget := exec.Command("terraform", append([]string{"state", "rm", "-state=" + states[0], "-backup=" + filepath.Join(t.TempDir(), "backup")}, lost...)...)
		forget.Dir = t.TempDir()
		if out, err := forget.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		defer os.Remove(states[0] + ".backup") // Terraform's own
		_, said, err := c.run(t, "local", "infra:apply")
		if err != nil || strings.Count(said, "it is adopted") != len(lost) {
			t.Fatalf("%v\n%s", err, said)
		}
		if out := c.must(t, "local", "infra:plan"); out != "no changes" {
			t.Errorf("infra:plan printed %q", out)
		}
	})
	if t.Failed() {
		return
	}

	t.Run("no bucket yet", func(t *testing.T) {
		settings("")
		fails("set state { bucket = \"hello-state-", "local", "infra:bootstrap")
		settings(everything)
		fails("mage local infra:bootstrap", "local", "infra:apply")
	})

	t.Run("bootstrap", func(t *testing.T) {
		for range 2 {
			if out := c.must(t, "local", "infra:bootstrap"); out != "hello-state-test" {
				t.Errorf("infra:bootstrap printed %q", out)
			}
		}
		for call, want := range map[string]string{
			"get-bucket-versioning Status": `"Enabled"`,
			"get-bucket-encryption ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm": `"AES256"`,
			"get-public-access-block PublicAccessBlockConfiguration.RestrictPublicBuckets":                                     "true",
			"get-bucket-tagging TagSet[0].Key":                         `"ingot:state"`,
			"get-bucket-policy contains(Policy,'aws:SecureTransport')": "true",
		} {
			action, query, _ := strings.Cut(call, " ")
			if got := c.aws(t, query, "s3api", action, "--bucket", "hello-state-test"); got != want {
				t.Errorf("%s: %s, want %s", call, got, want)
			}
		}
	})

	t.Run("everything on", func(t *testing.T) {
		c.forgetRelease(t)
		c.must(t, "local", "infra:apply")
		if moved, _ := filepath.Glob(filepath.Join(c.dir, ".ingot", "*", "*", "terraform.tfstate*")); len(moved) != 1 || !strings.HasSuffix(moved[0], ".moved-to-hello-state-test") {
			t.Errorf("the local state became %q", moved)
		}
		summary := filepath.Join(t.TempDir(), "summary.md")
		c.env = []string{"GITHUB_STEP_SUMMARY=" + summary}
		defer func() { c.env = nil }()
		if out := c.must(t, "local", "infra:plan"); out != "no changes" {
			t.Errorf("infra:plan printed %q", out)
		}
		if text, err := os.ReadFile(summary); err != nil || !strings.Contains(string(text), "### Infrastructure: no changes") {
			t.Errorf("summary %q, %v", text, err)
		}
		for query, args := range map[string][]string{
			"length(Roles[?contains(['hello-plan-us-west-1','hello-bake-us-west-1','hello-deploy-us-west-1'],RoleName)])==`3`": {"iam", "list-roles"},
			"length(OpenIDConnectProviderList)==`1`":                                          {"iam", "list-open-id-connect-providers"},
			"MetricAlarms[0].AlarmName=='hello-errors'":                                       {"cloudwatch", "describe-alarms"},
			"deploymentGroupInfo.deploymentStyle.deploymentOption=='WITHOUT_TRAFFIC_CONTROL'": {"deploy", "get-deployment-group", "--application-name", "hello", "--deployment-group-name", "hello"},
			"length(LifecycleHooks)==`0`":                                                     {"autoscaling", "describe-lifecycle-hooks", "--auto-scaling-group-name", "hello"},
			"starts_with(Parameter.Value,'hello-revisions-')":                                 {"ssm", "get-parameter", "--name", "/ingot/hello/revisions"},
		} {
			if got := c.aws(t, query, args...); got != "true" {
				t.Errorf("aws %s: %s is %s", strings.Join(args, " "), query, got)
			}
		}
	})
	if t.Failed() {
		return
	}

	t.Run("nothing is held before there is something to pass", func(t *testing.T) {
		c.aws(t, "@", "deploy", "update-deployment-group", "--application-name", "hello", "--current-deployment-group-name", "hello", "--auto-scaling-groups", "hello")
		if out := c.must(t, "local", "infra:plan"); out != "no changes" {
			t.Errorf("infra:plan printed %q", out)
		}
		c.must(t, "local", "infra:apply")
		if n := c.aws(t, "length(LifecycleHooks)", "autoscaling", "describe-lifecycle-hooks", "--auto-scaling-group-name", "hello"); n != "0" {
			t.Errorf("%s hooks", n)
		}
	})

	t.Run("another machine", func(t *testing.T) {
		folders, err := filepath.Glob(filepath.Join(c.dir, ".ingot", "[0-9]*"))
		if err != nil || len(folders) != 1 {
			t.Fatalf("folders %q, %v", folders, err)
		}
		kept := filepath.Join(t.TempDir(), "kept")
		if err := os.Rename(folders[0], kept); err != nil {
			t.Fatal(err)
		}
		if out := c.must(t, "local", "infra:plan"); out != "no changes" {
			t.Errorf("infra:plan printed %q", out)
		}
		settings("")
		fails("Terraform's state knows nothing of it", "local", "infra:apply")
		fails("Terraform's state knows nothing of it", "local", "infra:destroy", "-yes")
		if err := os.RemoveAll(folders[0]); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(kept, folders[0]); err != nil {
			t.Fatal(err)
		}
		fails("the state was moved to the bucket \"hello-state-test\"", "local", "infra:apply")
		settings(everything)
	})

	t.Run("one at a time", func(t *testing.T) {
		lock := filepath.Join(t.TempDir(), "lock")
		text := `{"ID":"c0ffee","Operation":"OperationTypeApply","Info":"","Who":"me@laptop","Version":"1.11.4","Created":"2026-01-02T03:04:05Z","Path":"x"}`
		if err := os.WriteFile(lock, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.aws(t, "ETag", "s3api", "put-object", "--bucket", "hello-state-test", "--key", stateKey+".tflock", "--body", lock)
		fails("locked by a run of me@laptop", "local", "infra:plan")
		c.aws(t, "@", "s3api", "delete-object", "--bucket", "hello-state-test", "--key", stateKey+".tflock")
	})

	t.Run("a CI system with a state of its own", func(t *testing.T) {
		settings("")
		// An account elsewhere, as far as the endpoint tells: the address that is no loopback address is never asked.
		c.env = []string{"CI=true", "AWS_ENDPOINT_URL=http://192.0.2.1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"}
		defer func() { c.env = nil; settings(everything) }()
		fails("which a CI system throws away", "infra:apply")
		fails("which a CI system throws away", "infra:destroy", "-yes")
	})

	t.Run("destroy", func(t *testing.T) {
		c.must(t, "local", "infra:destroy", "-yes")
		for query, args := range map[string][]string{
			"length(Roles)":                     {"iam", "list-roles"},
			"length(OpenIDConnectProviderList)": {"iam", "list-open-id-connect-providers"},
			"length(AutoScalingGroups)":         {"autoscaling", "describe-auto-scaling-groups"},
			"length(applications)":              {"deploy", "list-applications"},
			"length(MetricAlarms)":              {"cloudwatch", "describe-alarms"},
		} {
			if got := c.aws(t, query, args...); got != "0" {
				t.Errorf("aws %s: %s is %s", strings.Join(args, " "), query, got)
			}
		}
		if got := c.aws(t, "Buckets[].Name", "s3api", "list-buckets"); fmt.Sprint(list(t, got)) != "[hello-state-test]" {
			t.Errorf("buckets: %s", got)
		}
	})
}
