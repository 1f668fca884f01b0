//go:build integration

package targets_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/localcloud"
)

// TestIntegrationOddMachines works as it does anywhere, or says in a line why it does not, where little is as usual. What comes here
// is quick; the engines' test has a path with blanks, umask 077, a noexec TMPDIR and an engine that restarts.
func TestIntegrationOddMachines(t *testing.T) {
	t.Parallel()
	c := newReleasedClone(t)
	image := c.must(t, "local", "app")
	socket := "/var/run/docker.sock"
	busy := relayed(t, "unix", filepath.Join(t.TempDir(), "engine.sock"), socket, 6*time.Second)
	// This machine answers at 0.0.0.0 too, which may be any other as far as anybody can tell.
	_, port, err := net.SplitHostPort(relayed(t, "tcp", "127.0.0.1:0", socket, 0))
	if err != nil {
		t.Fatal(err)
	}
	tools := t.TempDir()
	for _, tool := range []string{"docker", "packer", "terraform", "aws", "apt-config"} {
		if path, err := exec.LookPath(tool); err == nil {
			if err := os.Symlink(path, filepath.Join(tools, tool)); err != nil {
				t.Fatal(err)
			}
		}
	}
	sixOnly := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(sixOnly, []byte("::1 localhost\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, odd := range []struct {
		name    string
		env     []string
		within  []string // a command of root's that runs another one
		targets string   // "local app" where empty
		says    string   // on standard error
		fails   bool
	}{
		{name: "a home that may not be written", env: []string{"HOME=/proc", "XDG_CACHE_HOME="}},
		{name: "no home", env: []string{"HOME=", "XDG_CACHE_HOME=", "XDG_CONFIG_HOME="}},
		{name: "temporary files have no folder", env: []string{"TMPDIR=/nowhere"}},
		{name: "proxies that are dead", env: []string{"http_proxy=http://127.0.0.1:9", "https_proxy=http://127.0.0.1:9", "HTTP_PROXY=http://127.0.0.1:9", "HTTPS_PROXY=http://127.0.0.1:9"}},
		{name: "a Turkish locale and no terminal to speak of", env: []string{"LC_ALL=tr_TR.UTF-8", "TERM=dumb"}},
		{name: "no git", env: []string{"PATH=" + tools}},
		{
			name: "a localhost that has no IPv4 address", targets: "local infra:plan",
			within: []string{"unshare", "--mount", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, sixOnly},
		},
		{name: "an engine that is busy", env: []string{"DOCKER_HOST=unix://" + busy}, targets: "dev:down", says: "takes its time"},
		{name: "no such engine", env: []string{"DOCKER_HOST=unix:///nowhere.sock"}, targets: "dev", says: "no Docker engine answers at unix:///nowhere.sock (DOCKER_HOST): ", fails: true},
		{name: "no such context", env: []string{"DOCKER_CONTEXT=nowhere"}, targets: "dev", says: `DOCKER_CONTEXT names the docker context "nowhere", which there is not`, fails: true},
		{name: "a version that is to come", env: []string{"DOCKER_API_VERSION=1.99"}, targets: "dev", says: "unset it", fails: true},
		{name: "an engine on another machine", env: []string{"DOCKER_HOST=tcp://0.0.0.0:" + port}, targets: "dev", says: "a development machine needs a Docker engine on this machine; this one is tcp://0.0.0.0:" + port, fails: true},
		{name: "an account of no service", env: []string{"AWS_PROFILE=nobody", "AWS_CONFIG_FILE=/nowhere"}, targets: "status", says: "nobody", fails: true},
	} {
		t.Run(odd.name, func(t *testing.T) {
			c := &clone{c.dir, c.ingot, odd.env}
			if odd.within != nil {
				c.ingot = within(t, c.ingot, odd.within...)
			}
			targets := strings.Fields(odd.targets)
			if len(targets) == 0 {
				targets = []string{"local", "app"}
			}
			out, said, err := c.run(t, targets...)
			if (err != nil) != odd.fails || !strings.Contains(said, odd.says) || odd.targets == "" && out != image {
				t.Errorf("%v, prints %q, says\n%s", err, out, said)
			}
			if lines := regexp.MustCompile(`(?m)^Error: .*$`).FindAllString(said, -1); odd.fails && (len(lines) != 1 || strings.Count(said, "\n") > 2) {
				t.Errorf("it takes more than a line to say so:\n%s", said)
			}
		})
	}

	t.Run("somebody else at the same engine", func(t *testing.T) { testSomebodyElse(t, c) })
	t.Run("a work tree that is a shallow clone", func(t *testing.T) {
		// In a work tree, .git is a file.
		bare := filepath.Join(t.TempDir(), "elsewhere.git")
		for _, args := range [][]string{
			{"git", "clone", "-q", "--bare", "--depth=1", "file://" + c.dir, bare}, {"rm", "-rf", filepath.Join(c.dir, ".git")},
			{"sh", "-c", `echo "gitdir: $1" >"$0"`, filepath.Join(c.dir, ".git"), bare}, {"git", "-C", c.dir, "config", "core.bare", "false"},
			{"git", "-C", c.dir, "reset", "-q"},
		} {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%q: %v\n%s", args, err, out)
			}
		}
		if out := c.must(t, "local", "app"); out != image {
			t.Errorf("another image is baked: %s", out)
		}
	})
}

// within is a program that runs another one within a command of root's.
func within(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := append(asRoot(t.Context(), args...).Args, program)
	script := filepath.Join(t.TempDir(), filepath.Base(program))
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec "+command.Quote(cmd)+` "$@"`+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return script
}

// testSomebodyElse: another user has a cloud at the same engine, one whom no list of users has, who may use the engine and nothing
// else, and neither's is in the other's way.
func testSomebodyElse(t *testing.T, c *clone) {
	const somebody = "54321" // is nobody on this machine
	info, err := os.Stat("/var/run/docker.sock")
	if err != nil {
		t.Fatal(err)
	}
	engine := info.Sys().(*syscall.Stat_t).Gid
	theirs := newClone(t)
	theirs.restore(t, released(t))
	home := filepath.Join(theirs.dir, "home")
	for _, args := range [][]string{
		{"mkdir", home}, {"chmod", "711", filepath.Dir(theirs.dir), filepath.Dir(filepath.Dir(theirs.dir))},
		{"cp", "--remove-destination", c.ingot, theirs.ingot}, {"chown", "-R", somebody, theirs.dir},
	} {
		if out, err := asRoot(t.Context(), args...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	own := theirs.ingot
	t.Cleanup(func() { // before the clone is purged
		theirs.ingot = own
		if out, err := asRoot(context.Background(), "chown", "-R", fmt.Sprint(os.Getuid()), theirs.dir).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	theirs.ingot = within(t, theirs.ingot, "setpriv", "--reuid="+somebody, fmt.Sprintf("--regid=%d", engine), "--clear-groups",
		"--inh-caps=-all", "env", "HOME="+home, "USER=", localcloud.CallsVariable+"=") // what is called is told to nobody else
	theirs.must(t, "local")
	url := theirs.must(t, "local", "url")
	serves(t, url)
	ours := c.must(t, "local", "url")
	if url == ours {
		t.Errorf("both have %s", url)
	}
	theirs.must(t, "local:down", "-purge")
	serves(t, ours)
	if _, err := http.Get(url); err == nil {
		t.Errorf("%s still answers", url)
	}
}

// relayed listens at an address and passes what comes on to the engine at a socket, the first connection only after a while.
func relayed(t *testing.T, network, address, socket string, after time.Duration) (at string) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			wait := after
			after = 0
			go func() {
				defer from.Close()
				time.Sleep(wait)
				to, err := net.Dial("unix", socket)
				if err != nil {
					return
				}
				defer to.Close()
				go func() {
					_, _ = io.Copy(to, from)
					_ = to.(*net.UnixConn).CloseWrite()
				}()
				_, _ = io.Copy(from, to)
			}()
		}
	}()
	return l.Addr().String()
}

// sleepsDuring runs targets and has this machine sleep in the middle of it, the cloud with it, as a laptop whose lid is closed.
func (c *clone) sleepsDuring(t *testing.T, says string, targets ...string) (out string) {
	t.Helper()
	cloud, err := localcloud.Status(t.Context(), c.stateDir())
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr lockedBuffer
	cmd := c.command(t.Context(), targets...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(5 * time.Minute); !strings.Contains(stderr.String(), says); {
		select {
		case err := <-ended:
			t.Fatalf("%q: ended before it says %q: %v\n%s", targets, says, err, stderr.String())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q does not say %q:\n%s", targets, says, stderr.String())
		}
	}
	everybody := []int{-cmd.Process.Pid, cloud.PID}
	for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		for _, pid := range everybody {
			if err := syscall.Kill(pid, signal); err != nil {
				t.Errorf("%s to %d: %v", signal, pid, err)
			}
		}
		if signal == syscall.SIGSTOP {
			time.Sleep(20 * time.Second)
		}
	}
	if err := <-ended; err != nil {
		t.Fatalf("%q: %v\n%s", targets, err, stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}
