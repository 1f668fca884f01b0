//go:build integration

package targets_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ingot-build/ingot/internal/testrun"
)

// TestIntegrationEngines has somebody who may use no engine of this machine's rehearse, release and develop on another one: with cgroup
// v2, a newer Docker engine that is rootless and that systemd starts, and temporary files where no program may lie. Nothing of it stays.
func TestIntegrationEngines(t *testing.T) {
	t.Parallel()
	l := bootLaptop(t)
	a := l.home(t)
	a.startsEngine(t, "start")
	_, said, err := a.run(t, "rehearse")
	const remedy = "this user may not listen at ports 22 and 80, and a Docker engine that is rootless, in a virtual machine or elsewhere cannot do so instead: " +
		"allow it until the next boot with: sudo sysctl net.ipv4.ip_unprivileged_port_start=22"
	if err == nil || !strings.Contains(said, remedy) {
		t.Fatalf("where it may not listen at low ports: %v\n%s", err, said)
	}
	l.root(t, "sysctl", "-qw", "net.ipv4.ip_unprivileged_port_start=22")
	a.must(t, "setup", "rehearse")
	a.write(t, "service/bad.go", "package main\n\nvar _ = theDatabase\n")
	if _, said, err := a.run(t, "local", "prod"); err == nil || !strings.Contains(said, "undefined: theDatabase") {
		t.Errorf("a release that fails its bake: %v\n%s", err, said)
	}
	url := a.must(t, "local", "url")
	a.serves(t, url, "Hello from Ingot")
	a.startsEngine(t, "restart")
	a.serves(t, url, "Hello from Ingot")
	a.develops(t)
	a.leavesNothing(t)
}

// laptop is a machine within this one, as testdata/laptop.sh makes it.
type laptop struct{ folder, pid string }

// bootLaptop makes one and boots it, until the test ends.
func bootLaptop(t *testing.T) *laptop {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("testdata", "laptop.sh"))
	if err != nil {
		t.Fatal(err)
	}
	l := &laptop{folder: filepath.Join(testrun.Clone(t), "root")}
	begin := time.Now()
	if out, err := asRoot(t.Context(), script, "make", l.folder).CombinedOutput(); err != nil {
		t.Fatalf("make a laptop: %v\n%s", err, out)
	}
	t.Logf("made in %s", time.Since(begin).Round(time.Second))
	name, network := fmt.Sprintf("ingot%d", os.Getpid()), fmt.Sprint(os.Getpid()%256)
	begin = time.Now()
	var said bytes.Buffer
	boot := asRoot(context.Background(), script, "boot", l.folder, name, network)
	boot.Stdout, boot.Stderr = &said, &said
	boot.WaitDelay = 10 * time.Second
	wanted, err := boot.StdinPipe()
	if err == nil {
		err = boot.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's is over
		if err := errors.Join(wanted.Close(), boot.Wait()); err != nil {
			t.Errorf("end the laptop: %v\n%s", err, said.String())
		}
		if out, err := asRoot(ctx, "rm", "-rf", "--one-file-system", l.folder).CombinedOutput(); err != nil {
			t.Errorf("remove the laptop: %v\n%s", err, out)
		}
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if data, err := os.ReadFile(filepath.Join(l.folder, "pid")); err == nil {
			l.pid = strings.TrimSpace(string(data))
			// Until it has its own root, what is seen from inside is this machine.
			own := append(l.enter(), "sh", "-c", "test -e /laptop && exec docker version")
			if out, err := asRoot(t.Context(), own...).CombinedOutput(); err == nil {
				t.Logf("booted in %s:\n%s", time.Since(begin).Round(100*time.Millisecond), out)
				return l
			}
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(l.folder, "var", "log", "init.log"))
			t.Fatalf("the laptop does not boot: %s\n%s", said.String(), log[max(0, len(log)-4000):])
		}
	}
}

// asRoot is a command of root's.
func asRoot(ctx context.Context, args ...string) *exec.Cmd {
	if os.Geteuid() != 0 {
		args = append([]string{"sudo", "-n"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

func (l *laptop) enter() []string { return []string{"nsenter", "--target", l.pid, "--all"} }

// root runs a command as the laptop's root.
func (l *laptop) root(t *testing.T, args ...string) string {
	t.Helper()
	out, err := asRoot(t.Context(), append(l.enter(), args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return string(out)
}

// account is somebody's on a laptop, with a clone of the repository.
type account struct {
	*clone
	laptop *laptop
}

// user is nobody special, uid and engine are whose they are.
const (
	user   = "me"
	uid    = "1000"
	engine = "unix:///run/user/" + uid + "/docker.sock"
)

func (l *laptop) home(t *testing.T) *account {
	t.Helper()
	c := newClone(t)
	dir := filepath.Join(l.folder, "home", user, cloneFolder)
	if out, err := asRoot(t.Context(), "cp", "-a", c.dir, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l.root(t, "chown", "-R", user+":", "/home/"+user)
	l.root(t, "chmod", "-R", "a+rwX", "/home/"+user) // this test writes there too, and may be nobody special either
	return &account{&clone{dir: dir}, l}
}

// cloneFolder is what some people call theirs.
const cloneFolder = "ein schöner Klon"

// as is the command line of one of the account's, who shares no file with anybody and has temporary ones where no program may lie.
func (a *account) as(args ...string) []string {
	script := fmt.Sprintf("umask 077; cd \"$HOME/%s\" && exec \"$@\"", cloneFolder)
	return append(append(a.laptop.enter(), "runuser", "--user", user, "--", "sh", "-c", script, "sh"), args...)
}

// command runs targets; the environment has what a login gives.
func (a *account) command(ctx context.Context, args ...string) *exec.Cmd {
	env := []string{
		"env", "-i", "HOME=/home/" + user, "USER=" + user, "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin", "GOGC=400", "TMPDIR=/noexec",
		"XDG_RUNTIME_DIR=/run/user/" + uid, "DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/" + uid + "/bus",
	}
	return asRoot(ctx, a.as(append(env, args...)...)...)
}

func (a *account) run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	begin := time.Now()
	var out, said bytes.Buffer
	cmd := a.command(t.Context(), append([]string{"bin/ingot"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	t.Logf("ingot %s: %s, %v", strings.Join(args, " "), time.Since(begin).Round(100*time.Millisecond), err)
	return strings.TrimSpace(out.String()), said.String(), err
}

func (a *account) must(t *testing.T, args ...string) string {
	t.Helper()
	out, said, err := a.run(t, args...)
	if err != nil {
		t.Fatalf("ingot %s: %v\n%s\n%s", strings.Join(args, " "), err, out, said)
	}
	return out
}

// startsEngine starts the account's rootless engine, or starts it anew.
func (a *account) startsEngine(t *testing.T, verb string) {
	t.Helper()
	if out, err := a.command(t.Context(), "systemctl", "--user", verb, "docker").CombinedOutput(); err != nil {
		t.Fatalf("%s a rootless engine: %v\n%s", verb, err, out)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out, err := a.command(t.Context(), "docker", "--host", engine, "version").CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			log, _ := a.command(t.Context(), "journalctl", "--user", "--no-pager", "--lines=20").CombinedOutput()
			t.Fatalf("the rootless engine does not start: %s\n%s", out, log)
		}
	}
}

// serves checks what answers at a URL of the laptop's.
func (a *account) serves(t *testing.T, url, want string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) {
		out, err := a.command(t.Context(), "curl", "-sS", url).CombinedOutput()
		if err == nil && strings.Contains(string(out), want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s answers %q, %v, want %q", url, out, err, want)
		}
	}
}

// develops has a save served by a development machine.
func (a *account) develops(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var said lockedBuffer
	dev := a.command(ctx, "bin/ingot", "dev")
	dev.Stdout, dev.Stderr = &said, &said
	dev.Cancel = func() error {
		return asRoot(context.Background(), "pkill", "-INT", "--parent", fmt.Sprint(dev.Process.Pid)).Run()
	}
	dev.WaitDelay = 30 * time.Second
	if err := dev.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = dev.Wait()
	}()
	answers := func(within time.Duration, want string) {
		t.Helper()
		for deadline := time.Now().Add(within); ; time.Sleep(200 * time.Millisecond) {
			out, _ := a.command(ctx, "curl", "-s", "http://127.0.0.1:8080/").Output()
			if strings.Contains(string(out), want) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("dev answers %q, and says\n%s", out, said.String())
			}
		}
	}
	a.clone.write(t, "service/bad.go", "package main\n")
	answers(10*time.Minute, "Hello from Ingot") // makes the development machine's image first
	a.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Hello from dev"`)
	answers(2*time.Minute, "Hello from dev")
}

// leavesNothing purges what the account has on its engine, and checks that nothing is left.
func (a *account) leavesNothing(t *testing.T) {
	t.Helper()
	a.must(t, "dev:down", "-purge")
	a.must(t, "local:down", "-purge")
	for _, args := range [][]string{{"ps", "-aq"}, {"images", "-aq"}, {"volume", "ls", "-q"}, {"network", "ls", "-q", "--filter", "type=custom"}} {
		out, err := a.command(t.Context(), append([]string{"docker", "--host", engine}, args...)...).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != "" {
			t.Errorf("docker %s: left behind: %s, %v", strings.Join(args, " "), out, err)
		}
	}
	if _, err := os.Stat(filepath.Join(a.dir, ".ingot")); err == nil {
		t.Error(".ingot is left behind")
	}
}
