//go:build integration

package codedeploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute/dockercompute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/machine"
)

// TestIntegrationDeployment deploys to a real machine.
func TestIntegrationDeployment(t *testing.T) {
	ctx := t.Context()
	engine, err := machine.Connect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The machine image stays for the next test: this tag says that it is in use.
	keep := fmt.Sprintf("ingot-test-codedeploy-%d:latest", os.Getpid())
	image, err := engine.Image(ctx, machine.ImageOptions{})
	if err == nil {
		err = engine.TagImage(ctx, image, keep)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := dockercompute.New(engine, dockercompute.Options{CloudID: fmt.Sprintf("codedeploy-%d", os.Getpid())})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's is over
		if err := errors.Join(c.Purge(ctx), engine.RemoveImage(ctx, keep), engine.Close()); err != nil {
			t.Error(err)
		}
	})
	source, err := c.SourceImage(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	const id = "i-1"
	if _, err := c.Create(ctx, compute.Spec{ID: id, Image: source, Hostname: id}); err != nil {
		t.Fatal(err)
	}
	output := func(script string) string {
		t.Helper()
		var out bytes.Buffer
		if err := c.Exec(ctx, id, compute.Command{Args: []string{"/bin/bash", "-c", script}, Stdout: &out}); err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		return strings.TrimSpace(out.String())
	}

	b := &bench{t: t, cloud: newCloud(t, id), store: store.Memory()}
	s, err := New(Options{
		AccountID: "000000000000", Region: "us-west-1", Store: b.store, Groups: b.cloud, Instances: b.cloud, Targets: b.cloud,
		Objects: b.cloud, Roles: b.cloud, Alarms: b.cloud, Machines: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Service = s
	defer b.Close()
	b.group(nil)

	d := b.run(b.cloud.put(t, "good.zip", map[string]string{
		"appspec.yml": `version: 0.0
os: linux
files:
- {source: content, destination: /srv/app}
permissions:
- {object: /srv/app, owner: admin, mode: 640, type: [file]}
hooks:
  BeforeInstall:
  - {location: scripts/as root.sh}
  ValidateService:
  - {location: scripts/as admin.sh, runas: admin}
`,
		"content/a b":         "content",
		"scripts/as root.sh":  "#!/bin/sh\necho $LIFECYCLE_EVENT $(id -un) $(pwd) >/run/root\nsystemctl is-system-running\ntrue\n",
		"scripts/as admin.sh": "#!/bin/sh\necho $LIFECYCLE_EVENT $(id -un) $DEPLOYMENT_GROUP_NAME $(cat '/srv/app/a b') >/tmp/admin\n",
	}))
	if d.Status != statusSucceeded {
		for _, e := range b.view(d.ID, id).Events {
			t.Errorf("%s %s %+v", e.Name, e.Status, e.Diagnostics)
		}
		t.FailNow()
	}
	for script, want := range map[string]string{
		"cat /run/root":                  "BeforeInstall root /",
		"cat /tmp/admin":                 "ValidateService admin web content",
		"stat -c '%U %a' '/srv/app/a b'": "admin 640",
	} {
		if got := output(script); got != want {
			t.Errorf("%s: %q, want %q", script, got, want)
		}
	}

	const limited = "version: 0.0\nos: linux\nhooks:\n  AfterInstall:\n  - {location: a.sh, timeout: 3}\n"
	for script, want := range map[string]diagnostics{
		// Even a child in a session of its own does not outlive the script's time.
		"#!/bin/sh\necho hangs\nsetsid sleep 1000 &\nexec sleep 1000\n": {codeTimedOut, "a.sh", "Script at specified location: a.sh failed to complete in 3 seconds", ""},
		"#!/bin/sh\necho hangs\nsleep 1000 &\n":                         {codeUnknown, "a.sh", "Script at specified location: a.sh failed to close STDOUT", ""},
		"#!/bin/sh\necho hangs\nexit 3\n":                               {codeFailed, "a.sh", "Script at specified location: a.sh failed with exit code 3", ""},
	} {
		d := b.run(b.cloud.put(t, "bad.zip", map[string]string{"appspec.yml": limited, "a.sh": script}))
		want.LogTail = "LifecycleEvent - AfterInstall\nScript - a.sh\n[stdout]hangs\n"
		if got := *b.view(d.ID, id).Events[4].Diagnostics; got != want {
			t.Errorf("%q: %+v, want %+v", script, got, want)
		}
	}
	if got := output("pgrep -c sleep || true"); got != "0" {
		t.Errorf("%s programs are left over", got)
	}
}
