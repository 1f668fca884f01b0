//go:build integration

package targets_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestIntegrationGate has a real alarm go off with the gate on, which must not keep anything from coming back; and a first
// release pass the gate, or not, on real machines.
func TestIntegrationGate(t *testing.T) {
	t.Parallel()
	c := newBriskClone(t)
	settings := func(more string) {
		c.write(t, "ingot.hcl", "app = \"hello\"\n\nrollout {\n  warmup = \"5s\"\n"+more+"}\n")
	}
	const alarm = "hello-lost-orders"
	url := c.must(t, "local", "url")

	t.Run("an installation with an alarm on the deployment group", func(t *testing.T) {
		group := []string{"--application-name", "hello", "--deployment-group-name", "hello"}
		c.aws(t, "@", "deploy", "update-deployment-group", "--application-name", "hello", "--current-deployment-group-name", "hello",
			"--alarm-configuration", "enabled=true,alarms=[{name=hello-errors}]",
			"--auto-rollback-configuration", "enabled=true,events=DEPLOYMENT_FAILURE,DEPLOYMENT_STOP_ON_ALARM")
		if out := c.must(t, "local", "infra:plan"); !strings.Contains(out, "~ aws_codedeploy_deployment_group.app") || strings.Contains(out, "\n-") || strings.HasPrefix(out, "-") {
			t.Errorf("infra:plan printed\n%s", out)
		}
		c.must(t, "local", "infra:apply", "prod")
		if got := c.aws(t, "deploymentGroupInfo.alarmConfiguration.enabled || `false`", append([]string{"deploy", "get-deployment-group"}, group...)...); got != "false" {
			t.Errorf("an alarm stops deployments: %s", got)
		}
		if out := c.must(t, "local", "infra:plan"); out != "no changes" {
			t.Errorf("infra:plan printed %q", out)
		}
	})
	if t.Failed() {
		return
	}

	t.Run("an alarm in the middle of a rollout", func(t *testing.T) {
		c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good morning"`)
		c.must(t, "local", "prod")
		settings("  bake_time = \"2m\"\n  alarms = [\"" + alarm + "\"]\n")
		c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good grief"`)
		c.aws(t, "@", "cloudwatch", "put-metric-alarm", "--alarm-name", alarm, "--namespace", "Shop", "--metric-name", "LostOrders",
			"--statistic", "Sum", "--period", "60", "--evaluation-periods", "1", "--threshold", "0", "--comparison-operator", "GreaterThanThreshold")
		set := make(chan error, 1)
		w := c.watch(t)
		go func() { set <- c.alarm(t.Context(), w, alarm) }()
		c.refuses(t, alarm)
		if err := <-set; err != nil {
			t.Fatal(err)
		}
		for id := range c.fleet(t) {
			c.passedTheGate(t, id)
		}
	})
	if t.Failed() {
		return
	}
	inAlarm := func(t *testing.T) {
		t.Helper()
		if state := c.aws(t, "MetricAlarms[0].StateValue", "cloudwatch", "describe-alarms", "--alarm-names", alarm); state != `"ALARM"` {
			t.Fatalf("the alarm is %s", state)
		}
	}

	t.Run("in alarm, more instances and one that dies", func(t *testing.T) {
		inAlarm(t)
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

	t.Run("in alarm, a rollback", func(t *testing.T) {
		inAlarm(t)
		_, before := get(t, url)
		c.underLoad(t, url, 0, func() { c.must(t, "local", "rollback") })
		body, now := get(t, url)
		if now == before || strings.Contains(body, "Good morning") {
			t.Errorf("after rollback from %q, %q answers %q", before, now, body)
		}
		c.recorded(t, now)
	})

	settings("")
	hooks := func(t *testing.T) string {
		t.Helper()
		return c.aws(t, "length(LifecycleHooks)", "autoscaling", "describe-lifecycle-hooks", "--auto-scaling-group-name", "hello")
	}

	t.Run("infrastructure that is made again", func(t *testing.T) {
		_, release := get(t, url)
		c.must(t, "local", "infra:destroy", "-yes")
		c.must(t, "local", "infra:apply")
		url = c.must(t, "local", "url")
		if _, now := get(t, url); now != release {
			t.Errorf("release %q serves, want %q", now, release)
		}
		c.recorded(t, release)
		if n := hooks(t); n != "1" {
			t.Errorf("%s hooks hold new instances, want 1", n)
		}
		if out := c.must(t, "local", "infra:plan"); out != "no changes" {
			t.Errorf("infra:plan printed %q", out)
		}
	})

	t.Run("a first release that does not pass", func(t *testing.T) {
		c.must(t, "local", "infra:destroy", "-yes")
		c.aws(t, "@", "ssm", "delete-parameter", "--name", "/ingot/hello/release")
		c.must(t, "local", "infra:apply")
		if n := hooks(t); n != "0" {
			t.Fatalf("%s hooks before the first release", n)
		}
		// It answers the load balancer well; only the machine's own check knows.
		unit := filepath.Join("provision", "app", "root", "etc", "systemd", "system", "app.service")
		plain, err := os.ReadFile(filepath.Join(c.dir, unit))
		if err != nil {
			t.Fatal(err)
		}
		lamp := filepath.Join(filepath.Dir(unit), "lamp.service")
		c.write(t, lamp, "[Unit]\nAfter=app.service\nConditionPathExists=!"+baking+"\n[Service]\nType=oneshot\nExecStart=/bin/false\n")
		c.edit(t, unit, `\[Service\]`, "[Unit]\nRequires=lamp.service\n\n[Service]")
		_, stderr, err := c.run(t, "local", "prod")
		if err == nil || !strings.Contains(stderr, "did not pass the gate") || !strings.Contains(stderr, "failed units that the service needs: lamp.service") || !strings.Contains(stderr, "empty again") {
			t.Errorf("prod ends with %v:\n%s", err, stderr)
		}
		if n := hooks(t); n != "0" {
			t.Errorf("%s hooks after a first release that did not pass", n)
		}
		if out := c.must(t, "local", "releases", "-json"); strings.Contains(out, "ami-") {
			t.Errorf("there are releases: %s", out)
		}
		c.write(t, unit, string(plain))
		c.remove(t, lamp)
	})

	t.Run("a first release that passes", func(t *testing.T) {
		c.must(t, "local", "prod")
		_, release := get(t, c.must(t, "local", "url"))
		c.recorded(t, release)
		if n := hooks(t); n != "1" {
			t.Errorf("%s hooks hold new instances, want 1", n)
		}
		if out := c.must(t, "local", "infra:plan"); out != "no changes" {
			t.Errorf("infra:plan printed %q", out)
		}
	})
}
