//go:build integration

package targets_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ingot-build/ingot/pkg/report"
)

// brisk are settings of a clone whose rollouts pass the gate and do not wait long.
func brisk(t *testing.T, c *clone) {
	c.hasten(t)
	c.settle(t, "")
}

// newBriskClone is a clone whose cloud has a release behind the gate, and whose rollouts do not wait long.
func newBriskClone(t *testing.T) *clone {
	t.Helper()
	c := newClone(t)
	c.load(t, adapted(t, "brisk", brisk, "infra:apply", "prod"))
	brisk(t, c)
	return c
}

// settle writes the settings, these and a short warm-up.
func (c *clone) settle(t *testing.T, settings string) {
	t.Helper()
	c.write(t, "ingot.hcl", "app = \"hello\"\nrollout {\n  warmup = \"5s\"\n}\n"+settings)
}

// pages has the service answer paths by itself: a Go expression of a status for each, and nothing but the health path's own
// handler beside.
func (c *clone) pages(t *testing.T, statuses string) {
	t.Helper()
	c.write(t, "service/pages.go", `package main

import "net/http"

func pages(h http.Handler) http.Handler {
	statuses := map[string]int{`+statuses+`}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := statuses[r.URL.Path]; status != 0 {
			w.Header().Set("Location", "http://no-such-name.invalid/")
			w.WriteHeader(status)
			return
		}
		h.ServeHTTP(w, r)
	})
}
`)
	if data, err := os.ReadFile(filepath.Join(c.dir, greetingFile)); err != nil || !strings.Contains(string(data), "pages(newHandler") {
		c.edit(t, greetingFile, `newHandler\(log, release, host\)\)`, `pages(newHandler(log, release, host)))`)
	}
}

// lastReport is the report of the newest rollout.
func (c *clone) lastReport(t *testing.T) report.Report {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dir, ".ingot", "reports", "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("reports %q, %v", files, err)
	}
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
	data, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// says runs targets that have to end well or badly, and whose progress holds texts.
func (c *clone) says(t *testing.T, good bool, texts []string, args ...string) {
	t.Helper()
	out, stderr, err := c.run(t, args...)
	if (err == nil) != good {
		t.Fatalf("ingot %s: %v\n%s\n%s", strings.Join(args, " "), err, out, stderr)
	}
	for _, text := range texts {
		if !strings.Contains(stderr, text) {
			t.Errorf("ingot %s does not say %q:\n%s", strings.Join(args, " "), text, stderr)
		}
	}
}

// TestIntegrationVerify: good releases are never rejected, on real machines.
func TestIntegrationVerify(t *testing.T) {
	t.Parallel()
	t.Run("what it answers", func(t *testing.T) {
		t.Parallel()
		newBriskClone(t).tell(t, brisk, story{"a service without a page", withoutPage}, story{"somebody else's pointer", foreignPointer},
			story{"another port and another health path", anotherPort})
	})
	t.Run("where it is reached", func(t *testing.T) {
		t.Parallel()
		newBriskClone(t).tell(t, brisk, story{"out of reach", outOfReach}, story{"a domain that leads nowhere", deadDomain})
	})
}

func withoutPage(t *testing.T, c *clone) {
	c.pages(t, `"/": 404`)
	c.must(t, "local", "prod")
	if out := c.must(t, "rehearse"); !strings.Contains(out, "/healthz answers:") {
		t.Errorf("rehearse printed:\n%s", out)
	}
	c.pages(t, `"/": 401, "/ready": 204`)
	c.settle(t, "verify {\n  path   = \"/\"\n  status = \"401\"\n}\n")
	c.must(t, "local", "prod")
}

func outOfReach(t *testing.T, c *clone) {
	const narrow = "terraform/narrow.auto.tfvars"
	c.write(t, narrow, "client_cidrs = [\"203.0.113.0/24\"]\n")
	c.says(t, false, []string{"nothing was changed; to destroy that, and to do the rest: mage local infra:apply -yes"}, "local", "infra:apply")
	c.must(t, "local", "infra:apply", "-yes")
	// To another host, which nobody may follow.
	c.pages(t, `"/": 302`)
	c.says(t, true, []string{"the load balancer cannot be reached from here", "not verified from here: "}, "local", "prod")
	if r := c.lastReport(t); r.Result != report.Succeeded || r.Unseen == "" || r.Totals.Requests != 0 {
		t.Errorf("the report says %s, unseen %q, %+v", r.Result, r.Unseen, r.Totals)
	}
	c.must(t, "local", "status")
	c.remove(t, narrow)
}

func deadDomain(t *testing.T, c *clone) {
	c.settle(t, "fleet {\n  domain = \"www.example.test\"\n}\n")
	c.says(t, true, []string{"www.example.test does not lead to the load balancer yet", "www.example.test. A 127."}, "local", "infra:apply", "-yes") // the rule of the story before goes
	c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good heavens"`)
	c.must(t, "local", "prod")
	if r := c.lastReport(t); r.Unseen != "" || r.Totals.Failed != 0 || r.Totals.Requests == 0 || r.URL != "http://www.example.test" && !strings.HasPrefix(r.URL, "http://www.example.test:") {
		t.Errorf("the report of %s: unseen %q, %+v", r.URL, r.Unseen, r.Totals)
	}
}

func anotherPort(t *testing.T, c *clone) {
	url := c.must(t, "local", "url")
	bakes := c.bakes(t)
	c.underLoad(t, url, 0, func() {
		c.settle(t, "service {\n  port = 9090\n}\n")
		c.says(t, false, []string{"goes by the port 8080, and the service has the port 9090", "set service { port = 8080 } again"}, "local", "prod")
		c.says(t, false, []string{"change the port of a fleet that serves", "an order that serves throughout"}, "local", "infra:apply")

		health := "service {\n  health = \"/health\"\n}\n"
		c.settle(t, health)
		c.says(t, false, []string{"goes by the health path /healthz, and the service has the health path /health"}, "local", "prod")
		c.says(t, false, []string{"/health answered HTTP 404", "a service that answers 200 at both paths"}, "local", "infra:apply")
		if c.bakes(t) != bakes {
			t.Errorf("%d bakes, were %d: it is said before the bake", c.bakes(t), bakes)
		}

		// The order that it says.
		c.settle(t, "")
		c.pages(t, `"/health": 200`)
		c.must(t, "local", "prod")
		c.settle(t, health)
		c.must(t, "local", "infra:apply", "prod")
	})
	if response, err := http.Get(url + "/health"); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("/health: %v %v", response, err)
	}
}

func foreignPointer(t *testing.T, c *clone) {
	c.aws(t, "@", "ssm", "put-parameter", "--name", "/ingot/hello/release", "--overwrite", "--type", "String", "--value", "ami-0123456789abcdef0")
	c.says(t, false, []string{`"ami-0123456789abcdef0", which is no release`}, "local", "status") // exit code 3: it disagrees
	c.says(t, true, []string{`left out: version `, "ami-0123456789abcdef0"}, "local", "releases")
	c.must(t, "local", "infra:apply", "prod")
	c.must(t, "local", "status")
}
