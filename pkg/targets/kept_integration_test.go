//go:build integration

package targets_test

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ingot-build/ingot/internal/testrun"
	"github.com/ingot-build/ingot/pkg/localcloud"
)

// rehearsal is what rehearse printed when it made the cloud of released.
const rehearsal = "rehearsal.txt"

// released returns where the cloud is kept that rehearse makes of a fresh clone, once for all tests of the run: infrastructure, both
// images, and a release.
func released(t *testing.T) (kept string) {
	t.Helper()
	return testrun.Keep(t, "released", func(kept string) {
		c := newClone(t)
		out := c.must(t, "rehearse")
		if err := os.WriteFile(filepath.Join(kept, rehearsal), []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
		c.keep(t, kept)
	})
}

// adapted returns where a cloud is kept that was made of released, once for all tests of the run, in a clone with other settings.
func adapted(t *testing.T, name string, settings func(t *testing.T, c *clone), targets ...string) (kept string) {
	t.Helper()
	from := released(t)
	return testrun.Keep(t, name, func(kept string) {
		c := newClone(t)
		c.load(t, from)
		settings(t, c)
		c.must(t, append([]string{"local"}, targets...)...)
		c.keep(t, kept)
	})
}

// newReleasedClone is a clone whose cloud has a release.
func newReleasedClone(t *testing.T) *clone {
	t.Helper()
	c := newClone(t)
	c.load(t, released(t))
	return c
}

// reset brings the clone's files back as they were committed, and writes settings. What git ignores stays, the cloud first of all.
func (c *clone) reset(t *testing.T, settings func(t *testing.T, c *clone)) {
	t.Helper()
	for _, args := range [][]string{{"checkout", "-q", "--", "."}, {"clean", "-fdq"}} {
		if out, err := exec.Command("git", append([]string{"-C", c.dir}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
	}
	settings(t, c)
}

// story is a part of a test that works on a cloud which another part leaves as it found it, with a release that serves.
type story struct {
	name string
	tell func(t *testing.T, c *clone)
}

// tell tells stories on one cloud, one after the other, each with the clone's files as they were committed and with settings.
func (c *clone) tell(t *testing.T, settings func(t *testing.T, c *clone), stories ...story) {
	t.Helper()
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			c.reset(t, settings)
			s.tell(t, c)
		})
	}
}

func (c *clone) stateDir() string { return filepath.Join(c.dir, ".ingot", "local") }

// accountFolders are the folders of what targets keep of a cloud's account.
func (c *clone) accountFolders(id string) map[string]string {
	return map[string]string{"account": filepath.Join(c.dir, ".ingot", id), "reports": filepath.Join(c.dir, ".ingot", "reports", id)}
}

// keep keeps the clone's cloud for load, and removes it.
func (c *clone) keep(t *testing.T, kept string) {
	t.Helper()
	status, err := localcloud.Status(t.Context(), c.stateDir())
	if err != nil {
		t.Fatal(err)
	}
	c.must(t, "local:down")
	begin := time.Now()
	err = localcloud.Save(t.Context(), localcloud.Options{StateDir: c.stateDir()}, testrun.Saved(kept), c.accountFolders(status.AccountID))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("saved in %s", time.Since(begin).Round(100*time.Millisecond))
	c.must(t, "local:down", "-purge")
}

// load brings a kept cloud back as the clone's, and waits until its release serves.
func (c *clone) load(t *testing.T, kept string) {
	t.Helper()
	begin := time.Now()
	c.restore(t, kept)
	restored := time.Since(begin)
	c.must(t, "local")
	serves(t, c.must(t, "local", "url"))
	t.Logf("the kept cloud was loaded in %s, and serves after %s", restored.Round(100*time.Millisecond), time.Since(begin).Round(100*time.Millisecond))
}

// restore brings a kept cloud back as the clone's, and does not start it.
func (c *clone) restore(t *testing.T, kept string) {
	t.Helper()
	saved, err := localcloud.Saved(testrun.Saved(kept))
	if err == nil {
		err = localcloud.Load(t.Context(), testrun.Saved(kept), c.stateDir(), c.accountFolders(saved.AccountID))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// serves waits until a URL answers well, whichever instance answers.
func serves(t *testing.T, url string) {
	t.Helper()
	const enough = 8 // the load balancer asks one target after the other
	good := 0
	for deadline := time.Now().Add(time.Minute); good < enough; {
		response, err := http.Get(url)
		if err == nil && response.StatusCode == http.StatusOK {
			response.Body.Close()
			good++
			continue
		}
		if err == nil {
			response.Body.Close()
			err = errors.New(response.Status)
		}
		good = 0
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer: %v", url, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
