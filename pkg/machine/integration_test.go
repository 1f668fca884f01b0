//go:build integration

package machine

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// testLabel is the label of everything that the tests make.
const testLabel = "ingot.test"

// unique makes a name for something of this run's: another run may be going on beside it.
func unique(name string) string { return fmt.Sprintf("ingot-test-%d-%s", os.Getpid(), name) }

// engine connects to the engine and returns the machine image. Everything that carries the test's label is removed at its end.
func engine(t *testing.T) (e *Engine, image string, labels map[string]string) {
	t.Helper()
	e, err := Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	image, err = e.Image(t.Context(), ImageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	labels = map[string]string{testLabel: unique(strings.ToLower(t.Name()))}
	t.Cleanup(func() {
		ctx := context.Background() // the test's is over
		machines, err := e.List(ctx, labels)
		errs := []error{err}
		for _, m := range machines {
			errs = append(errs, e.Remove(ctx, m.Name))
		}
		images, err := e.Images(ctx, labels)
		errs = append(errs, err)
		for _, i := range images {
			errs = append(errs, e.RemoveImage(ctx, i.ID))
		}
		errs = append(errs, e.RemoveVolumes(ctx, labels), e.RemoveNetworks(ctx, labels), e.Close())
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	})
	return e, image, labels
}

// boot creates a machine of the test's and waits until it has booted.
func boot(t *testing.T, e *Engine, s Spec) Info {
	t.Helper()
	ctx := t.Context()
	begin := time.Now()
	if err := e.Create(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(ctx, s.Name); err != nil {
		t.Fatal(err)
	}
	failed, err := e.WaitBooted(ctx, s.Name)
	if err != nil {
		t.Fatal(err)
	}
	if len(failed) > 0 {
		text, _ := e.Console(ctx, s.Name)
		t.Fatalf("units failed: %v\n%s", failed, text)
	}
	t.Logf("%s booted %v after its creation began", s.Name, time.Since(begin).Round(time.Millisecond))
	i, err := e.Inspect(ctx, s.Name)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// run returns what a program in a machine writes.
func run(t *testing.T, e *Engine, name string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := e.Exec(t.Context(), name, Command{Args: args, Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

func TestMachineLooksLikeAnInstance(t *testing.T) {
	e, image, labels := engine(t)
	name := unique("instance")
	network, linkLocal := unique("network"), netip.MustParseAddr("169.254.169.254")
	if err := e.CreateNetwork(t.Context(), network, labels); err != nil {
		t.Fatal(err)
	}
	i := boot(t, e, Spec{Name: name, Image: image, Hostname: "ip-10-0-0-7", Labels: labels, Network: network, LinkLocal: linkLocal})
	if !i.Address.IsValid() || i.State != Running {
		t.Errorf("got %+v", i)
	}
	l, err := e.Listen(t.Context(), name, netip.AddrPortFrom(linkLocal, 80), 2)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "asked for %s", r.URL.Path) }))
	}()
	for _, tt := range []struct{ command, want string }{
		{`bash -c 'exec 3<>/dev/tcp/169.254.169.254/80; printf "GET /latest HTTP/1.0\r\n\r\n" >&3; tail -n 1 <&3'`, "asked for /latest"},
		{"hostname", "ip-10-0-0-7"},
		{"systemctl is-active ssh", "active"},
		{". /etc/os-release; echo $ID$VERSION_ID", "debian13"},
		{"runuser -u admin -- sudo -n id -u", "0"},
		{"getent shadow admin root | cut -d: -f2 | cut -c1 | sort -u", "!\n*"},
		{"sshd -T | grep -i ^passwordauthentication", "passwordauthentication no"},
		{"cloud-init status --wait", "status: done"},
		{"cloud-init init 2>&1 || echo $?", "cloud-init: this machine knows the commands status and clean only, not 'init'\n2"},
		{"wc -c </etc/machine-id", "33"},
		{"printf '#!/bin/sh\necho ran\n' >/tmp/script; chmod +x /tmp/script; /tmp/script", "ran"},
		{"stat -c %a:%U /etc/systemd/journald.conf.d /etc/sudoers.d /usr/lib/ingot /root /etc/sudoers.d/90-cloud-init-users", "755:root\n750:root\n755:root\n700:root\n440:root"},
		{"locale 2>&1 | head -1", "LANG="},
		{"find /usr/sbin/policy-rc.d /etc/apt/sources.list /var/lib/apt/lists -type f ! -name lock 2>/dev/null || true", ""},
		{"ls /etc/ssh/ssh_host_*_key | wc -l", "3"},
	} {
		if got := run(t, e, name, "sh", "-c", tt.command); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.command, got, tt.want)
		}
	}
}

func TestExec(t *testing.T) {
	e, image, labels := engine(t)
	name := unique("exec")
	boot(t, e, Spec{Name: name, Image: image, Labels: labels})

	t.Run("streams", func(t *testing.T) {
		var out, errOut bytes.Buffer
		err := e.Exec(t.Context(), name, Command{
			Args:  []string{"sh", "-c", `cat; echo "$GREETING from $PWD as $(id -un)"; echo problem >&2; exit 3`},
			Env:   []string{"GREETING=hello"},
			Dir:   "/srv",
			User:  "admin",
			Stdin: strings.NewReader("in\n"), Stdout: &out, Stderr: &errOut,
		})
		exit, ok := errors.AsType[*ExitError](err)
		if !ok || exit.Code != 3 || exit.Stderr != "problem\n" {
			t.Errorf("got %v", err)
		}
		if got, want := out.String(), "in\nhello from /srv as admin\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if errOut.String() != "problem\n" {
			t.Errorf("got %q", errOut.String())
		}
	})
	t.Run("terminal", func(t *testing.T) {
		var out bytes.Buffer
		sizes := make(chan Size, 1)
		sizes <- Size{Columns: 101, Rows: 42}
		err := e.Exec(t.Context(), name, Command{
			Args: []string{"sh", "-c", "while [ \"$(stty size)\" = '0 0' ]; do :; done; stty size"}, Stdout: &out, TTY: true, Resizes: sizes,
		})
		if err != nil || strings.TrimSpace(out.String()) != "42 101" {
			t.Errorf("got %q, %v", out.String(), err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		go func() {
			_, _ = io.ReadFull(r, make([]byte, 5)) // it runs
			cancel()
		}()
		err := e.Exec(ctx, name, Command{Args: []string{"sh", "-c", "sleep 4711 & echo runs; trap '' TERM; sleep 4712; wait"}, Stdout: w})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if left := run(t, e, name, "sh", "-c", "pgrep -fx 'sleep 471[12]' || true"); left != "" {
			t.Errorf("processes are left: %s", left)
		}
	})
	t.Run("no such machine", func(t *testing.T) {
		if err := e.Exec(t.Context(), unique("none"), Command{Args: []string{"true"}}); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no such program", func(t *testing.T) {
		if err := e.Exec(t.Context(), name, Command{Args: []string{"no-such-program"}}); err == nil {
			t.Error("want an error")
		}
	})
	t.Run("machine stops meanwhile", func(t *testing.T) {
		done := make(chan error, 1)
		go func() { done <- e.Exec(t.Context(), name, Command{Args: []string{"sleep", "1000"}}) }()
		if err := e.Stop(t.Context(), name, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err == nil {
			t.Error("want an error")
		}
		if err := e.Exec(t.Context(), name, Command{Args: []string{"true"}}); !errors.Is(err, ErrNotRunning) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFilesSurviveAStop(t *testing.T) {
	e, image, labels := engine(t)
	ctx := t.Context()
	name := unique("files")
	if err := e.CreateVolume(ctx, name, labels); err != nil {
		t.Fatal(err)
	}
	boot(t, e, Spec{
		Name: name, Image: image, Labels: labels,
		Mounts: []Mount{{Volume: name, Target: "/data"}},
		Files:  []File{{Path: "/srv/new/before", Data: []byte("boot"), Mode: 0o640, UID: 1000, GID: 1000}},
	})
	if got := run(t, e, name, "stat", "-c", "%a %U:%G", "/srv/new/before"); got != "640 admin:admin" {
		t.Errorf("got %s", got)
	}
	run(t, e, name, "touch", "/data/kept")
	if err := e.CopyIn(ctx, name, "/srv", tarOf([]File{{Path: "in", Data: []byte("copied")}})); err != nil {
		t.Fatal(err)
	}
	run(t, e, name, "logger", "last words")
	run(t, e, name, "sync")
	begin := time.Now()
	if err := e.Stop(ctx, name, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the machine took %v to shut down", took)
	}
	if text, err := e.Console(ctx, name); err != nil || !strings.Contains(text, "last words") || !strings.Contains(text, "Halting system") {
		t.Errorf("the console of the stopped machine lacks what it said: %v\n%s", err, text)
	}
	archive, _, err := e.api.CopyFromContainer(ctx, name, "/srv/in")
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	r := tar.NewReader(archive)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); string(data) != "copied" || err != nil {
		t.Errorf("got %q, %v", data, err)
	}
	if err := e.Start(ctx, name); err != nil {
		t.Fatal(err)
	}
	if _, err := e.WaitBooted(ctx, name); err != nil {
		t.Fatal(err)
	}
	run(t, e, name, "test", "-e", "/data/kept")
}

func TestPorts(t *testing.T) {
	e, image, labels := engine(t)
	ctx := t.Context()
	any := Port{Host: netip.MustParseAddrPort("127.0.0.1:0"), Guest: 22}
	i := boot(t, e, Spec{Name: unique("port-1"), Image: image, Labels: labels, Ports: []Port{any}})
	if len(i.Ports) != 1 || i.Ports[0].Guest != 22 || i.Ports[0].Host.Port() == 0 {
		t.Fatalf("got %+v", i.Ports)
	}
	err := e.Create(ctx, Spec{Name: unique("port-2"), Image: image, Labels: labels, Ports: i.Ports})
	if err == nil {
		err = e.Start(ctx, unique("port-2"))
	}
	if !errors.Is(err, ErrPortTaken) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want ErrPortTaken on one line", err)
	}
}

func TestMissing(t *testing.T) {
	e, image, labels := engine(t)
	ctx := t.Context()
	if err := e.Create(ctx, Spec{Name: unique("missing"), Image: "ingot-machine:none", Labels: labels}); !errors.Is(err, ErrNoImage) {
		t.Errorf("got %v", err)
	}
	if _, err := e.Inspect(ctx, unique("missing")); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if err := e.Remove(ctx, unique("missing")); err != nil {
		t.Error(err)
	}
	if err := e.RemoveImage(ctx, "ingot-machine:none"); err != nil {
		t.Error(err)
	}
	s := Spec{Name: unique("twice"), Image: image, Labels: labels}
	if err := e.Create(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := e.Create(ctx, s); !errors.Is(err, ErrExists) {
		t.Errorf("got %v", err)
	}
}

func TestEvents(t *testing.T) {
	e, image, labels := engine(t)
	ctx, cancel := context.WithCancel(t.Context())
	name := unique("events")
	events := e.Events(ctx, labels)
	boot(t, e, Spec{Name: name, Image: image, Labels: labels})
	run(t, e, name, "systemctl", "poweroff")
	var got []Action
	for len(got) < 2 {
		ev := <-events
		if ev.Name != name {
			t.Errorf("got %+v", ev)
		}
		got = append(got, ev.Action)
	}
	if want := []Action{Started, Died}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	cancel()
	if _, open := <-events; open {
		t.Error("the channel is open after its context ended")
	}
}

func TestWaitBootedSaysWhatFailed(t *testing.T) {
	e, image, labels := engine(t)
	ctx := t.Context()
	name := unique("degraded")
	unit := "[Service]\nType=oneshot\nExecStart=/bin/false\n"
	err := e.Create(ctx, Spec{Name: name, Image: image, Labels: labels, Files: []File{
		{Path: "/etc/systemd/system/broken.service", Data: []byte(unit)},
		{Path: "/etc/systemd/system/multi-user.target.d/broken.conf", Data: []byte("[Unit]\nWants=broken.service\n")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(ctx, name); err != nil {
		t.Fatal(err)
	}
	failed, err := e.WaitBooted(ctx, name)
	if err != nil || !slices.Equal(failed, []string{"broken.service"}) {
		t.Errorf("got %v, %v", failed, err)
	}
	if err := e.Stop(ctx, name, time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := e.WaitBooted(ctx, name); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "console ends with:\n") {
		t.Errorf("got %v, want ErrNotRunning and the console's end", err)
	}
}

func TestReboot(t *testing.T) {
	e, image, labels := engine(t)
	ctx := t.Context()
	name := unique("reboot")
	events := e.Events(ctx, labels)
	boot(t, e, Spec{Name: name, Image: image, Labels: labels})
	for _, tt := range []struct {
		verb string
		want bool
	}{{"reboot", true}, {"poweroff", false}} {
		run(t, e, name, "systemctl", tt.verb)
		for ev := range events {
			if ev.Action == Died {
				break
			}
		}
		if got, err := e.Reboot(ctx, name); got != tt.want || err != nil {
			t.Errorf("%s: got %v, %v", tt.verb, got, err)
		}
		if err := e.Start(ctx, name); err != nil {
			t.Fatal(err)
		}
		if _, err := e.WaitBooted(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRemoveUnused(t *testing.T) {
	e, image, labels := engine(t)
	ctx := t.Context()
	name, tag, other := unique("unused"), imageName+unique("unused"), unique("other")+":latest"
	if err := e.Create(ctx, Spec{Name: name, Image: image, Labels: labels}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(ctx, name, tag, labels); err != nil {
		t.Fatal(err)
	}
	check := func(why string, want bool) {
		t.Helper()
		if err := e.RemoveUnused(ctx, []string{tag, other}); err != nil {
			t.Fatal(err)
		}
		if got, err := e.ImageExists(ctx, tag); got != want || err != nil {
			t.Errorf("%s: the image exists: %v, %v; want %v", why, got, err, want)
		}
	}
	if err := e.TagImage(ctx, tag, other); err != nil {
		t.Fatal(err)
	}
	check("with another tag", true)
	if err := e.RemoveImage(ctx, other); err != nil {
		t.Fatal(err)
	}
	user := unique("unused-2")
	if err := e.Create(ctx, Spec{Name: user, Image: tag, Labels: labels}); err != nil {
		t.Fatal(err)
	}
	check("with a machine made of it", true)
	if _, err := e.Commit(ctx, user, other, labels); err != nil {
		t.Fatal(err)
	}
	if err := e.Remove(ctx, user); err != nil {
		t.Fatal(err)
	}
	check("with an image made of it", true)
	if err := e.RemoveImage(ctx, other); err != nil {
		t.Fatal(err)
	}
	check("unused", false)
}
