//go:build integration

package provision

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/machine"
)

// debian is a machine that the stages run on.
type debian struct {
	t      *testing.T
	engine *machine.Engine
	name   string
}

func newDebian(t *testing.T) debian {
	t.Helper()
	ctx := t.Context()
	engine, err := machine.Connect(ctx)
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	image, err := engine.Image(ctx, machine.ImageOptions{})
	must(t, err)

	m := debian{t, engine, fmt.Sprintf("ingot-provision-%d-%s", os.Getpid(), strings.ToLower(t.Name()))}
	must(t, engine.Create(ctx, machine.Spec{
		Name: m.name, Image: image, Hostname: "web-1", Labels: map[string]string{"ingot-test": "provision"},
		Files: machine.Seed{InstanceID: "i-1", AuthorizedKeys: []string{"ssh-ed25519 AAAA test"}}.Files(),
	}))
	t.Cleanup(func() { engine.Remove(context.WithoutCancel(ctx), m.name) })
	must(t, engine.Start(ctx, m.name))
	failed, err := engine.WaitBooted(ctx, m.name)
	must(t, err)
	if len(failed) > 0 {
		t.Fatalf("units failed at boot: %q", failed)
	}
	return m
}

// run runs a line of bash and returns what it wrote to standard output.
func (m debian) run(line string, env ...string) (string, error) {
	var out bytes.Buffer
	started := time.Now()
	err := m.engine.Exec(m.t.Context(), m.name, machine.Command{Args: []string{"bash", "-c", line}, Env: env, Stdout: &out})
	m.t.Logf("%6.2fs  %s", time.Since(started).Seconds(), line)
	return strings.TrimSpace(out.String()), err
}

// must runs a line that succeeds.
func (m debian) must(t *testing.T, line string, env ...string) string {
	t.Helper()
	out, err := m.run(line, env...)
	if err != nil {
		failed := new(machine.ExitError)
		errors.As(err, &failed)
		t.Fatalf("%v\n%s", err, failed.Stderr)
	}
	return out
}

// mustFail runs a line that fails and returns what it wrote to standard error.
func (m debian) mustFail(t *testing.T, line string, env ...string) string {
	t.Helper()
	_, err := m.run(line, env...)
	failed := new(machine.ExitError)
	if !errors.As(err, &failed) {
		t.Fatalf("%s: %v, want it to fail", line, err)
	}
	return strings.ReplaceAll(failed.Stderr, "\r", "")
}

// state is every file on the disk, with its times and size.
func (m debian) state(t *testing.T) string {
	t.Helper()
	return m.must(t, `find /etc /home /opt /root /usr /var -xdev -type f -not -path '/var/log/*' -not -path '/var/tmp/*' -printf '%p %m %s %T@ %C@\n' | sort`)
}

// unpack puts the archive of each stage below /srv.
func (m debian) unpack(t *testing.T) {
	t.Helper()
	var archive, tree bytes.Buffer
	for _, stage := range []Stage{Base, App} {
		archive.Reset()
		tree.Reset()
		must(t, load(t, stage, Options{Dir: "../../provision", Source: "../../service"}).Archive(&archive))
		zipped, err := gzip.NewReader(&archive)
		must(t, err)
		_, err = tree.ReadFrom(zipped)
		must(t, err)
		m.must(t, "mkdir -p /srv/"+string(stage))
		must(t, m.engine.CopyIn(t.Context(), m.name, "/srv/"+string(stage), &tree))
	}
}

// Every stage, in the order of a bake, on one machine.
func TestStages(t *testing.T) {
	m := newDebian(t)
	m.unpack(t)
	const base = "/srv/base/provision/provision.sh base"
	const app = "/srv/app/provision/provision.sh app"
	const seal = "/srv/app/provision/provision.sh seal"
	env := func(changes ...string) []string {
		return append([]string{"RELEASE=r1", "PORT=8080", "HEALTH=/healthz", "SOURCE=/srv/app/service", "CACHE=/srv/cache"}, changes...)
	}

	t.Run("usage", func(t *testing.T) {
		for line, want := range map[string]string{
			"/srv/base/provision/provision.sh":                           "provision: usage: provision.sh base|app|seal\n",
			"/srv/base/provision/provision.sh paint":                     "provision: unknown stage \"paint\": want base, app or seal\n",
			"setpriv --reuid 1000 /srv/base/provision/provision.sh base": "provision: must run as root: try sudo\n",
			app: "provision: Go is missing: run provision.sh base first\n",
		} {
			if got := m.mustFail(t, line, env()...); got != want {
				t.Errorf("%s: %q, want %q", line, got, want)
			}
		}
	})

	t.Run("base", func(t *testing.T) {
		m.must(t, base, "FINGERPRINT=abc123")
		if got := m.must(t, "cat /etc/ingot/base"); got != "abc123" {
			t.Errorf("/etc/ingot/base = %q", got)
		}
		before := m.state(t)
		m.must(t, base, "FINGERPRINT=abc123")
		if diff := cmp.Diff(before, m.state(t)); diff != "" {
			t.Errorf("the second run changed something:\n%s", diff)
		}
	})

	t.Run("a base of one's own", func(t *testing.T) {
		// The package has a configuration file at the same path.
		m.must(t, `cd /srv/base/provision/base && printf 'nftables # a firewall\n\n  # nothing else\n' >packages && mkdir -p root/etc/alternatives root/srv &&
			echo '# mine' >root/etc/nftables.conf && ln -s ../nftables.conf root/etc/alternatives/firewall && ln -s nowhere "root/srv/a b" &&
			printf '#!/bin/sh\nset -e\npwd >/srv/setup-ran\nnft --version >>/srv/setup-ran\n' >setup`)
		if got := m.mustFail(t, base); !strings.HasSuffix(got, "\nprovision: provision/base/setup is not executable: chmod +x it\n") {
			t.Errorf("message %q", got)
		}
		m.must(t, "chmod +x /srv/base/provision/base/setup && "+base, "FINGERPRINT=abc123")
		m.must(t, `diff /etc/nftables.conf /srv/base/provision/base/root/etc/nftables.conf && [ "$(readlink /etc/alternatives/firewall)" = ../nftables.conf ] && [ "$(readlink "/srv/a b")" = nowhere ]`)
		if got := m.must(t, "cat /srv/setup-ran"); !strings.HasPrefix(got, "/srv/base/provision/base\nnftables v") {
			t.Errorf("setup said %q", got)
		}
	})

	t.Run("inputs", func(t *testing.T) {
		for _, test := range []struct{ input, want string }{
			{"RELEASE=", `RELEASE="" is not a name`}, {"RELEASE=a b", `RELEASE="a b" is not`}, {"RELEASE=$(id)", `RELEASE="$(id)" is not`},
			{"PORT=http", `PORT="http" is not a port`}, {"PORT=65536", `PORT="65536" is not a port`}, {"PORT=00", `PORT="00" is not a port`}, {"START_WITHIN=1m", `START_WITHIN="1m" is not a number of seconds`},
			{"HEALTH=healthz", `HEALTH="healthz" is not a URL path`}, {"HEALTH=/a\nb", "is not a URL path"},
			{"PACKAGE=cmd/x", `PACKAGE="cmd/x" is not a path`}, {"PACKAGE=./$(id)", `PACKAGE="./$(id)" is not a path`},
			{"SOURCE=/nowhere", `SOURCE="/nowhere" has neither a go.mod nor an executable named build`},
		} {
			if got := m.mustFail(t, app, env(test.input)...); !strings.Contains(got, test.want) {
				t.Errorf("%s: %q, want %q", test.input, got, test.want)
			}
		}
	})

	t.Run("app", func(t *testing.T) {
		m.must(t, app, env()...)
		m.must(t, "ingot-check")
		if got := m.must(t, "ls -A /opt/app /srv/cache"); got != "/opt/app:\nbin\n\n/srv/cache:\ngo-build" {
			t.Errorf("left behind: %s", got)
		}
	})

	t.Run("app again", func(t *testing.T) {
		before, pid := m.state(t), m.must(t, "systemctl show -P MainPID app")
		m.must(t, app, env()...)
		if diff := cmp.Diff(before, m.state(t)); diff != "" {
			t.Errorf("the second run changed something:\n%s", diff)
		}
		if got := m.must(t, "systemctl show -P MainPID app"); got != pid {
			t.Error("the second run restarted the service")
		}
	})

	t.Run("reproducible", func(t *testing.T) {
		before := m.must(t, "sha256sum </opt/app/bin/service")
		m.must(t, "mkdir -p /srv/else/where && cp -r /srv/app/service /srv/else/where/checkout && mv /var/cache/ingot /var/cache/aside && "+
			app, env("RELEASE=r2", "SOURCE=/srv/else/where/checkout", "CACHE=")...)
		m.must(t, "mv /var/cache/aside /var/cache/ingot")
		if got := m.must(t, "sha256sum </opt/app/bin/service"); got != before {
			t.Error("another folder, an empty cache and another release make another binary")
		}
		m.must(t, "ingot-check") // r2 is served
	})

	t.Run("failing compile", func(t *testing.T) {
		m.must(t, "sed -i 's/greeting = .*/greeting = 1/; $aoops' /srv/else/where/checkout/main.go")
		before := m.state(t)
		got := m.mustFail(t, app, env("RELEASE=r3", "SOURCE=/srv/else/where/checkout")...)
		if !strings.HasPrefix(got, "# github.com/ingot-build/ingot/service\n./main.go:") && !strings.HasPrefix(got, "main.go:") || strings.Contains(got, "provision:") {
			t.Errorf("want the compiler's message alone:\n%s", got)
		}
		m.must(t, "ingot-check 1") // r2 still is
		ignoreCache := func(state string) []string {
			var lines []string
			for line := range strings.Lines(state) {
				if !strings.HasPrefix(line, "/srv/") {
					lines = append(lines, line)
				}
			}
			return lines
		}
		if diff := cmp.Diff(ignoreCache(before), ignoreCache(m.state(t))); diff != "" {
			t.Errorf("a failing compile changed something:\n%s", diff)
		}
	})

	t.Run("not a program", func(t *testing.T) {
		m.must(t, "mkdir -p /srv/lib && cd /srv/lib && echo 'module lib' >go.mod && echo 'package lib' >lib.go")
		if got := m.mustFail(t, app, env("SOURCE=/srv/lib")...); got != "provision: SOURCE=\"/srv/lib\" is not a main package\n" {
			t.Errorf("message %q", got)
		}
	})

	t.Run("a main package elsewhere", func(t *testing.T) {
		m.must(t, `mkdir -p /srv/multi/cmd/hello && cp /srv/app/service/go.mod /srv/multi && cp /srv/app/service/*.go /srv/multi/cmd/hello`)
		before := m.must(t, "sha256sum </opt/app/bin/service")
		m.must(t, app, env("SOURCE=/srv/multi", "PACKAGE=./cmd/hello", "HEALTH=/healthz?a=b:c")...)
		m.must(t, "ingot-check")
		if got := m.must(t, "sha256sum </opt/app/bin/service"); got == before {
			t.Error("its package path is not in the binary")
		}
	})

	// Another language, with units of its own.
	t.Run("a build of one's own", func(t *testing.T) {
		m.must(t, `mkdir -p /srv/perl && cd /srv/perl && cat >build <<'END'
#!/bin/sh
set -eu
[ "$PWD" = "$SOURCE" ] && [ -d "$CACHE" ] && [ -n "$RELEASE" ]
cp server.pl "$OUT/bin/service" && chmod 755 "$OUT/bin/service" && mkdir -p "$OUT/lib/empty" && ln -s ../bin/service "$OUT/lib/again"
END
cat >server.pl <<'END'
#!/usr/bin/perl
use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 9, ReuseAddr => 1) or die $!;
while (my $c = $s->accept) { while (<$c>) { last if /^\r?$/ } print $c "HTTP/1.0 200 OK\r\nX-Release: $ENV{RELEASE}\r\n\r\nfrom Perl\n"; close $c }
END
cp -r /srv/app/provision /srv/perl-provision && cd /srv/perl-provision/app/root/etc/systemd/system && mkdir app.service.d &&
printf '[Unit]\nDescription=Worker\n[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >worker.service &&
printf '[Service]\nType=oneshot\nExecStart=/usr/bin/touch /run/ticked\n' >tick.service &&
printf '[Timer]\nOnActiveSec=1s\nAccuracySec=100ms\n[Install]\nWantedBy=timers.target\n' >tick.timer &&
printf '[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >template@.service`)
		const perl = "/srv/perl-provision/provision.sh app"
		e := env("RELEASE=r4", "SOURCE=/srv/perl")
		if got := m.mustFail(t, perl, e...); got != "provision: SOURCE=\"/srv/perl\" has a build that is not executable: chmod +x it\n" {
			t.Errorf("message %q", got)
		}
		m.must(t, "chmod +x /srv/perl/build && "+perl, e...)
		m.must(t, "ingot-check")
		if got := m.must(t, `cd /opt/app && find . -printf '%P %y %m\n' | sort`); got != "d 755\nbin d 755\nbin/service f 755\nlib d 755\nlib/again l 777\nlib/empty d 755" {
			t.Errorf("/opt/app holds\n%s", got)
		}
		m.must(t, `systemctl is-active worker.service tick.timer && systemctl is-enabled worker.service tick.timer && until [ -e /run/ticked ]; do sleep 0.1; done`)
		before, pids := m.state(t), m.must(t, "systemctl show -P MainPID app worker")
		m.must(t, perl, e...)
		if diff := cmp.Diff(before, m.state(t)); diff != "" {
			t.Errorf("the second run changed something:\n%s", diff)
		}
		if got := m.must(t, "systemctl show -P MainPID app worker"); got != pids {
			t.Error("the second run restarted a unit")
		}
		m.must(t, "sed -i s/infinity/1000/ /srv/perl-provision/app/root/etc/systemd/system/worker.service && "+perl, e...)
		m.must(t, `grep -q 1000 <(tr '\0' ' ' </proc/"$(systemctl show -P MainPID worker)"/cmdline)`)
		// A unit of the release that fails is the release's fault.
		m.must(t, "sed -i 's,/usr/bin/sleep 1000,/usr/bin/false,' /srv/perl-provision/app/root/etc/systemd/system/worker.service && "+perl, e...)
		if got := m.mustFail(t, "ingot-check 0"); !strings.HasSuffix(got, "ingot-check: failed units that the service needs: worker.service\n") {
			t.Errorf("message %q", got)
		}
		m.must(t, "sed -i 's/^cp /false /' /srv/perl/build")
		if got := m.mustFail(t, perl, e...); got != "" {
			t.Errorf("message %q", got)
		}
		m.must(t, `cd /srv/perl && cat >build <<'END'
#!/bin/sh
set -eu
hello >"$OUT/greeting"
install -m 755 server.pl "$OUT/bin/service"
END
printf 'hello # says it\n' >/srv/perl-provision/app/build-packages
printf '[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >/srv/perl-provision/app/root/etc/systemd/system/worker.service`)
		packages := m.must(t, "dpkg-query -W")
		// A bake has no cache.
		m.must(t, perl, append(e, "CACHE=")...)
		if got := m.must(t, "ingot-check; cat /opt/app/greeting"); got != "Hello, world!" {
			t.Errorf("it was built with %q", got)
		}
		if diff := cmp.Diff(packages, m.must(t, "dpkg-query -W")); diff != "" {
			t.Errorf("what the build needed is still there:\n%s", diff)
		}
		m.must(t, perl, append(e, "CACHE=/srv/cache")...)
		m.must(t, "hello && apt-get purge -qq hello")
		m.must(t, "systemctl disable --now --quiet worker.service tick.timer; rm /etc/systemd/system/{worker.service,tick.service,tick.timer,template@.service}; systemctl daemon-reload; systemctl reset-failed; "+app, env()...)
		m.must(t, "ingot-check")
	})

	t.Run("saved change", func(t *testing.T) {
		m.must(t, "sed -i 's/greeting = .*/greeting = \"Hallo\"/' /srv/app/service/main.go")
		m.must(t, app, env("RELEASE=r3")...)
		m.must(t, "ingot-check")
		if got := m.must(t, "exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3"); !strings.Contains(got, "Hallo\nrelease r3\nhost web-1") {
			t.Errorf("served %q", got)
		}
	})

	t.Run("confined", func(t *testing.T) {
		got := m.must(t, `pid=$(systemctl show -P MainPID app); (( $(ps -o uid= -p "$pid") >= 61184 )) && echo dynamic user; grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$pid/status"
			nsenter -t "$pid" -m sh -c 'for d in /etc /usr /var /opt/app; do touch $d/x 2>/dev/null && echo "writes to $d"; done; ls -A /root /home /tmp | grep admin; ls /dev/mem 2>/dev/null'; true`)
		// 61184 is the first of systemd's dynamic users, 0x400 CAP_NET_BIND_SERVICE; Seccomp 2 is a filter.
		want := "dynamic user\nCapEff:\t0000000000000400\nCapBnd:\t0000000000000400\nNoNewPrivs:\t1\nSeccomp:\t2"
		if diff := cmp.Diff(want, strings.ReplaceAll(got, "\r", "")); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("killed", func(t *testing.T) {
		for range 7 {
			m.must(t, "systemctl kill -s KILL app; sleep 0.05")
		}
		m.must(t, "ingot-check")
	})

	t.Run("port below 1024", func(t *testing.T) {
		m.must(t, app, env("PORT=80")...)
		m.must(t, "ingot-check")
	})

	t.Run("check", func(t *testing.T) {
		for _, test := range []struct{ name, break_, mend, want string }{
			{"stopped", "systemctl stop app", "systemctl start app", "app.service is inactive\n"},
			{"wrong path", `sed -i 's,/healthz,/nowhere,' /etc/ingot/release`, `sed -i 's,/nowhere,/healthz,' /etc/ingot/release`,
				"http://127.0.0.1:80/nowhere answers 404, want 200\n"},
			{"wrong port", `sed -i 's,"80",81,' /etc/ingot/release`, `sed -i 's,81,"80",' /etc/ingot/release`,
				"http://127.0.0.1:81/healthz: nothing listens\n"},
			{"wrong release", `sed -i 's,r1,r2,' /etc/ingot/release`, `sed -i 's,r2,r1,' /etc/ingot/release`,
				"http://127.0.0.1:80/healthz answers for release r1, want r2\n"},
			// It needs one unit through another.
			{"failed unit", `cd /run/systemd/system && mkdir app.service.d && printf '[Unit]\nRequires=lamp.service\n' >app.service.d/needs.conf
				printf '[Unit]\nRequires=wick.service\n[Service]\nExecStart=/usr/bin/sleep infinity\n' >lamp.service
				printf '[Service]\nType=oneshot\nExecStart=/usr/bin/false\n' >wick.service; systemctl daemon-reload; systemctl start wick || true`,
				`cd /run/systemd/system && rm -r app.service.d lamp.service wick.service; systemctl daemon-reload; systemctl reset-failed`,
				"failed units that the service needs: wick.service\n"},
		} {
			m.must(t, test.break_)
			if got := m.mustFail(t, "ingot-check 0"); !strings.HasSuffix(got, "ingot-check: "+test.want) {
				t.Errorf("%s: %q, want %q", test.name, got, test.want)
			}
			m.must(t, test.mend)
		}
		m.must(t, "ingot-check")
		if got, want := m.must(t, "systemd-run -q --unit broken false || true; sleep 0.2; ingot-check 0 2>&1"), "ingot-check: note: failed units that the service does not need: broken.service"; got != want {
			t.Errorf("another failed unit: %q, want %q", got, want)
		}
		m.must(t, "systemctl reset-failed")
	})

	t.Run("loopback alone", func(t *testing.T) {
		const dropin = "/run/systemd/system/app.service.d"
		m.must(t, "mkdir "+dropin+`; printf '[Service]\nEnvironment=HOST=127.0.0.1\n' >`+dropin+"/loopback.conf; systemctl daemon-reload; systemctl restart app; sleep 0.5")
		want := "ingot-check: http://" + strings.Fields(m.must(t, "hostname -I"))[0] + ":80/healthz: nothing listens\n"
		if got := m.mustFail(t, "ingot-check 1"); !strings.HasSuffix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		m.must(t, "rm -r "+dropin+"; systemctl daemon-reload; systemctl restart app; ingot-check")
	})

	t.Run("slow start", func(t *testing.T) {
		const dropin = "/run/systemd/system/app.service.d"
		m.must(t, "mkdir "+dropin+`; printf '[Service]\nExecStart=\nExecStart=/bin/sh -c "sleep 4; exec /opt/app/bin/service"\n' >`+dropin+"/slow.conf; systemctl daemon-reload; systemctl restart app")
		if got := m.mustFail(t, `sed -i 's,^START_WITHIN=.*,START_WITHIN="1",' /etc/ingot/release; ingot-check`); !strings.Contains(got, "nothing listens") {
			t.Errorf("it waits for more than it may: %q", got)
		}
		m.must(t, `sed -i 's,^START_WITHIN=.*,START_WITHIN="20",' /etc/ingot/release; ingot-check`)
		m.must(t, "rm -r "+dropin+"; systemctl daemon-reload; systemctl restart app; "+app, env("PORT=80", "START_WITHIN=120")...)
		if got := m.must(t, "grep START_WITHIN /etc/ingot/release; ingot-check; systemctl show -P TimeoutStartUSec app"); got != "START_WITHIN=\"120\"\n2min" {
			t.Errorf("recorded is %q", got)
		}
		// One that says when it is ready is waited for until it does.
		m.must(t, "mkdir "+dropin+`; printf '[Service]\nType=notify\nNotifyAccess=all\nExecStart=\nExecStart=/bin/sh -c "sleep 3; systemd-notify --ready; exec /opt/app/bin/service"\n' >`+
			dropin+"/notify.conf; systemctl daemon-reload; systemctl --no-block restart app; sleep 1")
		if got := m.mustFail(t, "ingot-check 0"); !strings.HasSuffix(got, "ingot-check: app.service is activating\n") {
			t.Errorf("before it is ready: %q", got)
		}
		m.must(t, "ingot-check 20")
		m.must(t, "rm -r "+dropin+"; systemctl daemon-reload; systemctl restart app; ingot-check")
	})

	t.Run("agent", func(t *testing.T) { testAgent(t, m) })

	t.Run("seal", func(t *testing.T) {
		m.must(t, `mkdir -p /root/.ssh /root/.cache/go-build; touch /root/.ssh/authorized_keys /home/admin/.bash_history /tmp/left /var/tmp/left /var/log/app.log`)
		m.must(t, `test -s /home/admin/.ssh/authorized_keys; test -e /etc/ssh/ssh_host_ed25519_key; test -s /etc/machine-id`)

		// What cannot be removed is noticed, and named.
		m.must(t, `printf '#!/bin/sh\n' >/usr/local/bin/cloud-init; chmod +x /usr/local/bin/cloud-init`)
		if got := m.mustFail(t, seal, env()...); got != "provision: not fit for an image; still there:\n/var/lib/cloud/instance\n" {
			t.Errorf("message %q", got)
		}
		m.must(t, `rm /usr/local/bin/cloud-init`)

		m.must(t, seal, env()...)
		left := m.must(t, `find /root/.ssh /home/*/.ssh /root/.cache /etc/ssh/ssh_host_* /tmp/* /var/tmp/* /home/admin/.bash_history \
			/srv/cache /var/log /var/lib/apt/lists /var/lib/cloud/instance -type f 2>/dev/null; cat /etc/machine-id`)
		if left != "" {
			t.Errorf("still there:\n%s", left)
		}
		if left := m.must(t, "find /opt/codedeploy-agent /var/log/aws -type f | sort"); left != "/opt/codedeploy-agent/bin/codedeploy-agent\n/opt/codedeploy-agent/package" {
			t.Errorf("the agent remembers: %s", left)
		}
		m.must(t, seal, env()...)
	})

	// What is left boots as another instance, and serves.
	t.Run("reboot", func(t *testing.T) {
		ctx := t.Context()
		must(t, m.engine.Stop(ctx, m.name, 10*time.Second))
		must(t, m.engine.Start(ctx, m.name))
		failed, err := m.engine.WaitBooted(ctx, m.name)
		must(t, err)
		if len(failed) > 0 {
			t.Errorf("units failed: %q", failed)
		}
		m.must(t, "ingot-check && test -s /etc/machine-id && test -e /etc/ssh/ssh_host_ed25519_key")
	})
}
