//go:build integration

package targets_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// same are what a development machine and an instance of the application AMI have in common: scripts that print the same in both.
var same = map[string]string{
	"packages":                "dpkg-query -W",
	"unit files":              "systemctl list-unit-files --no-legend",
	"the service's unit":      `systemctl cat app.service | sed '\,/zz-dev.conf$,,/^$/d' | grep .`, // which ends requests in flight at a save
	"how it runs":             "systemctl show app.service -p ActiveState,DynamicUser,ProtectSystem,CapabilityBoundingSet,SystemCallFilter,Restart",
	"users and groups":        "getent passwd; getent group",
	"the service":             "sha256sum /opt/app/bin/service",
	"programs":                "cd /usr && find . -xdev -type f -path '*bin/*' -exec sha256sum {} + | sort -k2",
	"locally installed":       "cd /usr/local && find . -type f -exec sha256sum {} + | sort -k2",
	"optional software":       "find /opt ! -path '/opt/codedeploy-agent*' -printf '%p %m %u %g\n' | sort",               // where deployments leave their scripts
	"listening TCP ports":     "ss -Htln | awk '{ print $4 }' | grep -v -e '^127.0.0.11:' -e '^169.254.169.254:' | sort", // but Docker's name server of a cloud's network, and EC2's metadata
	"settings":                "cd /etc && find . -type f " + except(ofOneMachine) + " -exec sha256sum {} + | sort -k2",
	"permissions of settings": "cd /etc && find . " + except(ofOneMachine) + " -printf '%p %m %u %g %l\n' | sort",
}

// ofOneMachine are the settings in which the two differ, as paths in /etc, and why. Nothing else may.
var ofOneMachine = map[string]string{
	"./ingot/release": "the release: a save's digest in one, the AMI's name in the other",
	"./ingot/base":    "the base image's fingerprint, which counts the parent AMI too",
	"./systemd/system/app.service.d/zz-dev.conf": "a save does not wait for requests in flight, as a release does",

	"./ssh/ssh_host_*": "seal removes host keys, and each machine makes its own at its first boot",
	"./machine-id":     "seal empties it, and each machine makes its own at its first boot",
	"./hostname":       "the network's name for the machine",
	"./hosts":          "the same, with its address",
	"./resolv.conf":    "the name server of the machine's network",
	"./*-":             "backups that programs make of the user database when they change it",
}

// except are the arguments with which find leaves paths out.
func except(paths map[string]string) string {
	var args []string
	for path := range paths {
		args = append(args, "! -path '"+path+"'")
	}
	return strings.Join(args, " ")
}

// develop starts a development machine of this clone, and waits until it serves at a URL. It and all that belongs to it go with stop.
func (c *clone) develop(t *testing.T) (url string, stop func()) {
	t.Helper()
	url, _, stop = c.developUntil(t, func(url, _ string) bool {
		response, err := http.Get(url + "/healthz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return url, stop
}

// developUntil is develop for what is ready otherwise: when the answer of a URL, or what dev has said so far, tells it.
func (c *clone) developUntil(t *testing.T, ready func(url, said string) bool) (url string, said func() string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	_, port, _ := net.SplitHostPort(address)
	dev := c.command(ctx, "dev", "-port="+port)
	dev.Cancel = func() error { return dev.Process.Signal(os.Interrupt) }
	dev.WaitDelay = time.Minute
	var stderr lockedBuffer
	dev.Stderr = &stderr
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = dev.Wait() }()
	stop = func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("mage dev said:\n%s", stderr.String())
		}
		c.must(t, "dev:down", "-purge")
	}
	for up := false; !up; time.Sleep(100 * time.Millisecond) {
		select {
		case <-ended:
			t.Fatalf("mage dev ended:\n%s", stderr.String())
		default:
		}
		up = ready("http://"+address, stderr.String())
	}
	return "http://" + address, stderr.String, stop
}

// parity compares a development machine of this clone with an instance of the fleet.
func (c *clone) parity(t *testing.T) {
	_, stop := c.develop(t)
	defer stop()
	machine, err := exec.Command("docker", "ps", "-q", "--filter", "label=ingot.dev="+c.dir).Output()
	if err != nil || len(bytes.Fields(machine)) != 1 {
		t.Fatalf("find the development machine: %q %v", machine, err)
	}
	script := "systemctl is-system-running --wait >/dev/null\n"
	for what, prints := range same {
		script += fmt.Sprintf("printf '\\0%%s\\n' %q\n%s\n", what, prints)
	}
	out, err := exec.Command("docker", "exec", strings.TrimSpace(string(machine)), "bash", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("in the development machine: %v\n%s", err, out)
	}
	got, want := answers(string(out)), answers(c.inside(t, script)[0])
	for what := range same {
		if want[what] == nil {
			t.Errorf("%s: an instance has none", what)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-instance +development machine)\n%s", diff)
	}
}

// answers are the lines that each script printed.
func answers(out string) map[string][]string {
	lines := map[string][]string{}
	for part := range strings.SplitSeq(out, "\x00") {
		if what, printed, _ := strings.Cut(part, "\n"); printed != "" {
			lines[what] = strings.Split(printed, "\n")
		}
	}
	return lines
}
