//go:build integration

package targets_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"

	"github.com/ingot-build/ingot/pkg/probe"
)

const (
	// loadRate is how many requests a second users send, and lightRate how many where it only matters that none fails: every request
	// is a line in a journal and on a console, which costs more than the answer.
	loadRate  = 200
	lightRate = 50
	// loadRequests is how many a good release must not lose one of.
	loadRequests = 10_000
)

// baking is a file that is there while an image is baked, and not on the instances that boot from it: /run is not kept.
// A release that is bad only without it passes the bake's own check.
const baking = "/run/baking"

// lag is how old reads are while releases are rolled out, as AWS's may be.
const lag = "lag=2s"

// TestIntegrationRollouts rolls good and bad releases out on real machines, under load, where reads lag. What users may see of a bad one
// is nothing: the old release serves on, no request fails, and the error names the cause.
func TestIntegrationRollouts(t *testing.T) {
	t.Parallel()
	hasten := func(t *testing.T, c *clone) { c.hasten(t) }
	// A handler is the body of a function that gets the service's, h, and returns another one; it is called where the image is not
	// being baked. The load balancer asks every five seconds, and two good answers make an instance healthy.
	clouds := map[string][]story{
		"good and almost good": {
			{"GoodReleaseUnderLoad", goodUnderLoad},
			{"a rollback", backUnderLoad},
			{"fails its bake", failsItsBake},
			bad("crashes at start", `panic("the database is not there")`, "the database is not there"),
			bad("answers as another release", `return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				h.ServeHTTP(other{w}, r)
			})`, `"other"`),
			{"Faults", underFaults},
		},
		"ill": {
			bad("never becomes healthy", `return answer(503, h, always)`, "codes: [503]"),
			bad("becomes healthy after the warm-up", `return answer(500, h, func(asked time.Duration) bool { return asked < 3*time.Minute })`, "was not healthy within its warm-up"),
			// A warm-up has to last until the load balancer has noticed, or the rollout, which asks the same path.
			bad("falls ill 5 s after becoming healthy", `return answer(500, h, func(asked time.Duration) bool { return asked > 10*time.Second })`, "codes: [500]", "HTTP 500"),
		},
		"dead": {
			{"cannot boot", cannotBoot},
			{"AnInstanceDies", anInstanceDies},
			{"sets an alarm off", setsAnAlarmOff},
		},
	}
	for name, stories := range clouds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClone(t)
			c.load(t, adapted(t, "hasty", hasten, "infra:apply", "-yes", "prod"))
			c.must(t, "local:fault", lag)
			c.tell(t, hasten, stories...)
		})
	}
}

func goodUnderLoad(t *testing.T, c *clone) {
	url := c.must(t, "local", "url")
	_, before := get(t, url)
	c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good evening"`)
	report := c.underLoad(t, url, loadRequests, func() { c.must(t, "local", "prod") })
	body, after := get(t, url)
	if !strings.Contains(body, "Good evening") || after == before {
		t.Errorf("release %q answers %q", after, body)
	}
	if n := report.Releases(); n[before] == 0 || n[after] == 0 || len(n) != 2 {
		t.Errorf("answers by release: %v", n)
	}
}

func underFaults(t *testing.T, c *clone) {
	url := c.must(t, "local", "url")
	c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good night"`)
	c.must(t, "local:fault", "throttle=20% errors=5% "+lag)
	defer c.must(t, "local:fault", lag)
	report := c.underLoad(t, url, 0, func() { c.must(t, "local", "prod") })
	if body, release := get(t, url); !strings.Contains(body, "Good night") || report.Releases()[release] == 0 {
		t.Errorf("release %q answers %q", release, body)
	}
}

func anInstanceDies(t *testing.T, c *clone) {
	c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good bye"`)
	old := c.fleet(t)
	killed := make(chan string, 1)
	go func() { killed <- c.killNew(old) }()
	c.must(t, "local", "prod")
	if id := <-killed; id == "" {
		t.Error("no new instance was killed")
	}
	for id := range c.fleet(t) {
		if _, left := old[id]; left {
			t.Errorf("%s is still in the fleet", id)
		}
	}
	if body, _ := get(t, c.must(t, "local", "url")); !strings.Contains(body, "Good bye") {
		t.Errorf("the page is %q", body)
	}
}

// bad is a release whose service is wrapped by a handler, and that is refused for any of some reasons.
func bad(name, handler string, reasons ...string) story {
	return story{name, func(t *testing.T, c *clone) {
		c.write(t, "service/bad.go", badSource(handler))
		c.edit(t, greetingFile, `newHandler\(log, release, host\)\)`, `bad(newHandler(log, release, host)))`)
		c.refuses(t, reasons...)
	}}
}

func failsItsBake(t *testing.T, c *clone) {
	c.write(t, "service/bad.go", "package main\n\nfunc init() { panic(\"the database is not there\") }\n")
	c.refuses(t, "the database is not there")
}

func cannotBoot(t *testing.T, c *clone) {
	c.write(t, "provision/app/root/etc/systemd/system/lamp.service", `[Unit]
Before=app.service
ConditionPathExists=!`+baking+`
[Service]
Type=oneshot
ExecStart=/usr/bin/systemctl poweroff --force
ExecStart=/usr/bin/sleep infinity
[Install]
WantedBy=multi-user.target
`)
	c.edit(t, "provision/app/app.sh", `(  start "\$changed"\n)`, "$1  systemctl enable lamp.service\n")
	c.refuses(t, "has been terminated or stopped")
}

func setsAnAlarmOff(t *testing.T, c *clone) {
	c.configure(t, quick+"\n  bake_time = \"2m\"\n  alarms = [\"hello-lost-orders\"]")
	c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good grief"`)
	c.aws(t, "@", "cloudwatch", "put-metric-alarm", "--alarm-name", "hello-lost-orders", "--namespace", "Shop", "--metric-name", "LostOrders",
		"--statistic", "Sum", "--period", "60", "--evaluation-periods", "1", "--threshold", "0", "--comparison-operator", "GreaterThanThreshold")
	set := make(chan error, 1)
	w := c.watch(t)
	go func() { set <- c.alarm(t.Context(), w, "hello-lost-orders") }()
	c.refuses(t, "hello-lost-orders")
	if err := <-set; err != nil {
		t.Error(err)
	}
}

// badSource is a Go file with a function bad that wraps the service's handler.
func badSource(body string) string {
	return `package main

import (
	"net/http"
	"os"
	"sync"
	"time"
)

func bad(h http.Handler) http.Handler {
	if _, err := os.Stat("` + baking + `"); err == nil {
		return h
	}
	` + body + `
}

func always(time.Duration) bool { return true }

// answer answers the health path with a status while it was asked first certain times ago.
func answer(status int, h http.Handler, ill func(asked time.Duration) bool) http.Handler {
	first := sync.OnceValue(time.Now)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && ill(time.Since(first())) {
			w.WriteHeader(status)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// other says that the answer comes from another release.
type other struct{ http.ResponseWriter }

func (o other) WriteHeader(status int) {
	o.Header().Set("X-Release", "other")
	o.ResponseWriter.WriteHeader(status)
}

func (o other) Write(p []byte) (int, error) {
	o.Header().Set("X-Release", "other")
	return o.ResponseWriter.Write(p)
}
`
}

// refuses rolls out what is in the working tree, and sees that it fails for a reason and that users notice nothing.
func (c *clone) refuses(t *testing.T, reasons ...string) {
	t.Helper()
	url := c.must(t, "local", "url")
	_, before := get(t, url)
	version := c.version(t)
	c.underLoad(t, url, 0, func() {
		_, stderr, err := c.run(t, "local", "prod")
		t.Logf("prod says:\n%s", stderr[max(0, len(stderr)-3000):])
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() <= 0 {
			t.Errorf("prod ends with %v, want an exit code other than 0", err)
		}
		if !slices.ContainsFunc(reasons, func(r string) bool { return strings.Contains(stderr, r) }) {
			t.Errorf("prod does not name the cause: want one of %q", reasons)
		}
	})
	if now := c.version(t); now != version {
		t.Errorf("the group is at launch template version %s, was at %s", now, version)
	}
	for id, of := range c.fleet(t) {
		if of != version {
			t.Errorf("%s runs launch template version %s, want %s everywhere", id, of, version)
		}
	}
	for range 50 {
		if _, release := get(t, url); release != before {
			t.Fatalf("release %q serves, want %q everywhere", release, before)
		}
	}
}

// underLoad does something while users send requests, and goes on until they have sent so many, if any number is wanted. None may fail.
func (c *clone) underLoad(t *testing.T, url string, requests int, do func()) probe.Report {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	reports := make(chan probe.Report, 1)
	rate := float64(lightRate)
	if requests > 0 {
		rate = loadRate
	}
	begin := time.Now()
	go func() { reports <- probe.Run(ctx, probe.Options{URL: url, Rate: rate}) }()
	do()
	if left := time.Duration(requests)*time.Second/loadRate + time.Second - time.Since(begin); left > 0 {
		time.Sleep(left)
	}
	stop()
	report := <-reports
	t.Logf("%d requests, %v, 99th percentile %s", len(report.Answers), report.Releases(), report.Quantile(0.99))
	if failures := report.Failures(); len(failures) > 0 {
		t.Errorf("%d of %d requests failed; the first: %s", len(failures), len(report.Answers), failures[0])
	}
	if len(report.Answers) < requests {
		t.Errorf("%d requests, want at least %d", len(report.Answers), requests)
	}
	return report
}

// hasten shortens what a rollout waits for, and marks machines on which an image is baked.
func (c *clone) hasten(t *testing.T) {
	t.Helper()
	c.configure(t, quick)
	for variable, seconds := range map[string]string{"health_check_interval": "5", "deregistration_delay": "5"} {
		c.edit(t, "terraform/variables.tf", `(variable "`+variable+`" \{[^}]*?default +=) \d+`, "${1} "+seconds)
	}
	c.edit(t, "provision/app/app.sh", `(  start "\$changed"\n)`, "  touch "+baking+"\n$1")
}

// quick are rollout settings that do not wait longer for a good release than they must without CodeDeploy.
const quick = `warmup = "1m"`

// configure writes the settings, with these in the rollout block. CodeDeploy would keep most bad releases from the load
// balancer, and this is about the rollout.
func (c *clone) configure(t *testing.T, rollout string) {
	t.Helper()
	c.write(t, "ingot.hcl", "app = \"hello\"\n\nrollout {\n  "+rollout+"\n}\n\ncodedeploy {\n  enabled = false\n}\n")
}

func (c *clone) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (c *clone) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(c.dir, name)); err != nil {
		t.Error(err)
	}
}

// version is the launch template version of the group.
func (c *clone) version(t *testing.T) string {
	t.Helper()
	return c.aws(t, "AutoScalingGroups[0].LaunchTemplate.Version", "autoscaling", "describe-auto-scaling-groups")
}

// fleet is the launch template version of every instance of the group, in JSON as version returns it.
func (c *clone) fleet(t *testing.T) map[string]string {
	t.Helper()
	out := c.aws(t, "AutoScalingGroups[0].Instances[].[InstanceId,LaunchTemplate.Version]", "autoscaling", "describe-auto-scaling-groups")
	var pairs [][2]string
	if err := json.Unmarshal([]byte(out), &pairs); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	versions := map[string]string{}
	for _, p := range pairs {
		versions[p[0]] = fmt.Sprintf("%q", p[1])
	}
	return versions
}

// alarm sets an alarm off once an instance refresh bakes: every instance is new, and only the alarm can stop it.
func (c *clone) alarm(ctx context.Context, w *watch, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for baking := false; !baking; time.Sleep(time.Second) {
		refreshes, err := w.refreshes(ctx)
		if err != nil {
			return fmt.Errorf("set the alarm %q off: %w", name, err)
		}
		baking = len(refreshes) > 0 && refreshes[0].Status == asgtypes.InstanceRefreshStatusBaking
	}
	const script = `eval "$("$0" local:env)" && aws cloudwatch set-alarm-state --alarm-name "$1" --state-value ALARM --state-reason test`
	cmd := exec.CommandContext(ctx, "sh", "-c", script, c.ingot, name)
	cmd.Dir = c.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("set the alarm %q off: %w: %s", name, err, out)
	}
	return nil
}

// killNew cuts the power of the first instance that joins the group, and returns its ID; "" where there is none in time.
func (c *clone) killNew(old map[string]string) string {
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(500 * time.Millisecond) {
		for _, m := range c.machines() {
			if _, known := old[m.ID]; known || m.State != "running" || m.Name != "hello" {
				continue
			}
			if c.command(context.Background(), "local:fault", "kill="+m.ID).Run() == nil {
				return m.ID
			}
		}
	}
	return ""
}
