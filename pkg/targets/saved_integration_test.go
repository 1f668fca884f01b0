//go:build integration

package targets_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestIntegrationSavedCloud saves a cloud, changes it, and brings it back as it was.
func TestIntegrationSavedCloud(t *testing.T) {
	t.Parallel()
	c := newReleasedClone(t)
	url := c.must(t, "local", "url")
	_, first := get(t, url)

	// It was brought back at other addresses already, which Terraform and the targets must not notice.
	if out := c.must(t, "local", "infra:plan"); out != "no changes" {
		t.Errorf("infra:plan printed %q", out)
	}
	if out := c.must(t, "local", "status"); !strings.Contains(out, first) || !strings.Contains(out, url) {
		t.Errorf("status printed\n%s", out)
	}

	c.must(t, "local:save", "finished")
	serves(t, url)
	if _, stderr, err := c.run(t, "local:save", "finished"); err == nil || !strings.Contains(stderr, "mage local:save finished -delete") {
		t.Errorf("saving it again: %v\n%s", err, stderr)
	}

	// Nothing that is made from a copy's images is out of date.
	bakes := c.bakes(t)
	if c.must(t, "local", "base"); c.bakes(t) != bakes {
		t.Errorf("%d bakes, were %d", c.bakes(t), bakes)
	}
	c.aws(t, "@", "ssm", "put-parameter", "--name", "/afterwards", "--type", "String", "--value", "here")
	if _, stderr, err := c.run(t, "local:load", "finished"); err == nil || !strings.Contains(stderr, "mage local:load finished -yes") {
		t.Errorf("loading in place of a cloud that runs: %v\n%s", err, stderr)
	}
	if _, stderr, err := c.run(t, "local:load", "another", "-yes"); err == nil || !strings.Contains(stderr, "there are: finished") {
		t.Errorf("loading what is not there: %v\n%s", err, stderr)
	}
	c.must(t, "local:load", "finished", "-yes")
	url = c.must(t, "local", "url")
	serves(t, url)
	if _, release := get(t, url); release != first {
		t.Errorf("release %q answers, want %q", release, first)
	}
	if out, err := c.awsError(t, "ssm", "get-parameter", "--name", "/afterwards"); err == nil {
		t.Errorf("what came after it was saved is there: %s", out)
	}

	// It goes on as if nothing had happened, and does not mind that this machine sleeps for a while.
	c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good evening"`)
	if body, release := get(t, c.sleepsDuring(t, ": InProgress 0 %", "local", "prod")); release == first || !strings.Contains(body, "Good evening") {
		t.Errorf("release %q answers %q", release, body)
	}
	c.must(t, "local", "rollback")
	if body, release := get(t, url); release != first || strings.Contains(body, "Good evening") {
		t.Errorf("release %q answers %q", release, body)
	}

	// A purge leaves what was saved, and that alone; and it can be loaded where nothing is.
	c.must(t, "local:down", "-purge")
	if left, _ := filepath.Glob(filepath.Join(c.dir, ".ingot", "*")); len(left) != 1 || filepath.Base(left[0]) != "saved" {
		t.Errorf("left: %v", left)
	}
	if out := c.must(t, "local:status"); !strings.Contains(out, "finished") {
		t.Errorf("local:status does not show what was saved:\n%s", out)
	}
	c.must(t, "local:load", "finished")
	serves(t, c.must(t, "local", "url"))
	c.must(t, "local:save", "finished", "-delete")
	c.must(t, "local:down", "-purge")
	if _, err := os.Stat(filepath.Join(c.dir, ".ingot")); err == nil {
		t.Error("something is left in .ingot")
	}
}
