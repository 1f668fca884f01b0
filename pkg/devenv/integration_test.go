//go:build integration

package devenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/machine"
)

// clone is a copy of the service and its provisioning, with a development machine of its own.
type clone struct {
	t     *testing.T
	o     Options
	saves chan Save
	ended chan error // Up, called by up
}

func newClone(t *testing.T) *clone {
	t.Helper()
	engine, err := machine.Connect(t.Context())
	must(t, err)
	t.Cleanup(func() { engine.Close() })
	root := t.TempDir()
	for _, name := range []string{"provision", "service"} {
		must(t, os.CopyFS(filepath.Join(root, name), os.DirFS(filepath.Join("..", "..", name))))
	}
	must(t, exec.CommandContext(t.Context(), "git", "-C", root, "init", "-q").Run())
	c := &clone{t: t, saves: make(chan Save, 100)}
	c.o = Options{
		Engine: engine, Root: root, App: "test", Provision: filepath.Join(root, "provision"), Source: filepath.Join(root, "service"),
		Port: 8080, Publish: freePort(t), Health: "/healthz", WorkDir: root, Saved: func(s Save) { c.saves <- s },
	}
	t.Cleanup(func() {
		if err := Down(context.WithoutCancel(t.Context()), c.o, true); err != nil {
			t.Error(err)
		}
	})
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// up follows changes until the returned function is called.
func (c *clone) up() (down func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	c.ended = make(chan error, 1)
	begin := time.Now()
	go func() { c.ended <- Up(ctx, c.o) }()
	select {
	case err := <-c.ended:
		c.t.Fatalf("it ended at once: %v", err)
	case s := <-c.saves:
		c.t.Logf("up after %s: %v", time.Since(begin).Round(10*time.Millisecond), s)
		if s.Err != nil {
			c.t.Fatal(s.Err)
		}
	}
	return func() {
		c.t.Helper()
		cancel()
		if err := <-c.ended; err != nil {
			c.t.Errorf("it ended with %v", err)
		}
	}
}

// next waits for a save to be dealt with.
func (c *clone) next() Save {
	c.t.Helper()
	select {
	case s := <-c.saves:
		c.t.Log(s)
		return s
	case <-time.After(10 * time.Minute):
		c.t.Fatal("nothing happened")
		return Save{}
	}
}

// serves waits for a save that is served, and checks what was noticed and what is answered.
func (c *clone) serves(want string, changed ...string) {
	c.t.Helper()
	s := c.next()
	if s.Err != nil {
		c.t.Fatal(s.Err)
	}
	if diff := cmp.Diff(changed, s.Changed); diff != "" {
		c.t.Errorf("changed (-want +got)\n%s", diff)
	}
	if got := c.get(); !strings.HasPrefix(got, want+"\nrelease "+s.Release+"\n") {
		c.t.Errorf("it answers %q, want %q of %s", got, want, s.Release)
	}
}

func (c *clone) get() string {
	c.t.Helper()
	response, err := http.Get(c.o.URL())
	must(c.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(c.t, err)
	return string(body)
}

// edit replaces text in a file, by a new file that is renamed over it, as most editors do.
func (c *clone) edit(name, from, to string) {
	c.t.Helper()
	path := filepath.Join(c.o.Root, name)
	data, err := os.ReadFile(path)
	must(c.t, err)
	if !bytes.Contains(data, []byte(from)) {
		c.t.Fatalf("%s has no %q", name, from)
	}
	must(c.t, os.WriteFile(path+"~", bytes.Replace(data, []byte(from), []byte(to), 1), 0o644))
	if strings.HasSuffix(name, ".sh") {
		must(c.t, os.Chmod(path+"~", 0o755))
	}
	must(c.t, os.Rename(path+"~", path))
}

func (c *clone) write(name, text string) {
	c.t.Helper()
	must(c.t, os.WriteFile(filepath.Join(c.o.Root, name), []byte(text), 0o644))
}

// run runs a line of bash in a machine.
func (c *clone) run(name, line string) string {
	c.t.Helper()
	var out bytes.Buffer
	must(c.t, c.o.Engine.Exec(c.t.Context(), name, machine.Command{Args: []string{"bash", "-c", line}, Stdout: &out}))
	return strings.TrimSpace(out.String())
}

// One story, as every first start takes most of a minute.
func TestIntegrationDev(t *testing.T) {
	c := newClone(t)
	down := c.up()
	const greeting = "Hello from Ingot"
	c.edit("service/main.go", greeting, "Hallo")
	c.serves("Hallo", "service/main.go")

	t.Log("a build that fails keeps the old one serving")
	c.edit("service/main.go", `"Hallo"`, `oops`)
	failed, ok := errors.AsType[*BuildError](c.next().Err)
	if !ok || !strings.Contains(failed.Output, "\nservice/main.go:22:18: undefined: oops") {
		t.Errorf("the build failed with %v", failed)
	}
	if got := c.get(); !strings.HasPrefix(got, "Hallo\n") {
		t.Errorf("it answers %q", got)
	}
	c.edit("service/main.go", `oops`, `"Servus"`)
	c.serves("Servus", "service/main.go")

	t.Log("a crash at start is shown")
	c.edit("service/main.go", "func main() {", "func main() {\n\tpanic(\"out of order\")")
	crashed, ok := errors.AsType[*CrashError](c.next().Err)
	if !ok || !strings.Contains(crashed.Journal, "panic: out of order") || !strings.Contains(crashed.Journal, "\tservice/main.go:28 ") {
		t.Errorf("the crash was %v", crashed)
	}
	c.edit("service/main.go", "\n\tpanic(\"out of order\")", "")
	c.serves("Servus", "service/main.go")

	t.Log("a new file, renamed and deleted")
	c.write("service/extra.go", "package main\n\nfunc init() { extra = \"extra\" }\n\nvar extra string\n")
	c.serves("Servus", "service/extra.go")
	must(t, os.Rename(filepath.Join(c.o.Source, "extra.go"), filepath.Join(c.o.Source, "other.go")))
	c.serves("Servus", "service/other.go", "-service/extra.go")
	must(t, os.Remove(filepath.Join(c.o.Source, "other.go")))
	c.serves("Servus", "-service/other.go")

	t.Log("a page that is open holds up nothing")
	const routes = "routes := http.NewServeMux()\n"
	c.edit("service/handler.go", routes, routes+
		"\troutes.HandleFunc(\"GET /stream\", func(w http.ResponseWriter, r *http.Request) {\n\t\tfmt.Fprintf(w, \"%8192d\", 0)\n\t\t<-r.Context().Done()\n\t})\n")
	c.serves("Servus", "service/handler.go")
	stream, err := http.Get(c.o.URL() + "/stream")
	must(t, err)
	c.edit("service/main.go", `"Servus"`, `"Servus!"`)
	c.serves("Servus!", "service/main.go")
	if _, err := io.ReadAll(stream.Body); err == nil {
		t.Error("the stream has ended well")
	}
	stream.Body.Close()
	c.edit("service/main.go", `"Servus!"`, `"Servus"`)
	c.serves("Servus", "service/main.go")

	t.Log("ignored files are nothing")
	c.write(".gitignore", "*.out\n")
	c.write("service/build.out", "ignored")

	t.Log("500 files at once")
	must(t, os.MkdirAll(filepath.Join(c.o.Source, "many"), 0o755))
	for i := range 500 {
		c.write(fmt.Sprintf("service/many/f%03d.go", i), fmt.Sprintf("package many\n\nconst F%d = %d\n", i, i))
	}
	for n := 0; n < 500; {
		s := c.next()
		if s.Err != nil {
			t.Fatal(s.Err)
		}
		n += len(s.Changed)
	}
	must(t, os.RemoveAll(filepath.Join(c.o.Source, "many")))
	for n := 0; n < 500; {
		n += len(c.next().Changed)
	}
	if got := c.run(c.o.name(), "ls "+folder+"/service"); got != "go.mod\nhandler.go\nmain.go\nmain_test.go" {
		t.Errorf("the machine has %s", got)
	}

	t.Log("a change of the unit")
	c.edit("provision/app/root/etc/systemd/system/app.service", "Description=The service", "Description=Another")
	c.serves("Servus", "provision/app/root/etc/systemd/system/app.service")
	if got := c.run(c.o.name(), "systemctl show -P Description app"); got != "Another" {
		t.Errorf("the unit's description is %q", got)
	}
	c.write("provision/app/root/etc/motd", "welcome\n")
	c.serves("Servus", "provision/app/root/etc/motd")
	must(t, os.Remove(filepath.Join(c.o.Root, "provision/app/root/etc/motd")))
	c.serves("Servus", "-provision/app/root/etc/motd")
	c.run(c.o.name(), "test ! -s /etc/motd || ! grep welcome /etc/motd")

	t.Log("a shell on a terminal")
	c.shell()

	t.Log("a second process is refused")
	if err := Up(t.Context(), c.o); !errors.Is(err, ErrRunning) {
		t.Errorf("a second process: %v", err)
	}

	t.Log("a quick restart")
	down()
	if i, err := c.o.Engine.Inspect(t.Context(), c.o.name()); err != nil || i.State != machine.Stopped {
		t.Errorf("the machine is %s, %v", i.State, err)
	}
	if err := Shell(t.Context(), c.o, openNull(t), io.Discard, io.Discard); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a shell in a stopped machine: %v", err)
	}
	begin := time.Now()
	c.up()
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}

	t.Log("a change of the base stage")
	cached := c.run(c.o.name(), "ls "+cacheFolder+"/go-build | wc -l")
	c.write("provision/base/root/etc/apt/apt.conf.d/91test", "// nothing\n")
	c.serves("Servus", "provision/base/root/etc/apt/apt.conf.d/91test")
	c.run(c.o.name(), "test -e /etc/apt/apt.conf.d/91test")
	if now := c.run(c.o.name(), "ls "+cacheFolder+"/go-build | wc -l"); now != cached {
		t.Errorf("the cache has %s folders, and had %s", now, cached)
	}

	t.Log("somebody stops the machine")
	must(t, c.o.Engine.Stop(t.Context(), c.o.name(), stopTimeout))
	if err := <-c.ended; !errors.Is(err, ErrStopped) || strings.Contains(err.Error(), "\n") {
		t.Errorf("it ended with %v", err)
	}

	t.Log("a port that is taken")
	taken, err := net.Listen("tcp", c.o.address().String())
	must(t, err)
	err = Up(t.Context(), c.o)
	if !errors.Is(err, machine.ErrPortTaken) || !strings.Contains(err.Error(), "publish the service on "+c.o.address().String()) {
		t.Errorf("a taken port: %v", err)
	}
	taken.Close()

	t.Log("nothing is left")
	must(t, Down(t.Context(), c.o, true))
	for _, args := range [][]string{
		{"ps", "--all", "--quiet", "--filter", "label=" + rootLabel + "=" + c.o.Root},
		{"volume", "ls", "--quiet", "--filter", "label=" + rootLabel + "=" + c.o.Root},
		{"images", "--all", "--quiet", "--filter", "label=" + rootLabel + "=" + c.o.Root},
		{"images", "--quiet", c.o.name()},
	} {
		if out, err := exec.CommandContext(t.Context(), "docker", args...).Output(); err != nil || len(out) > 0 {
			t.Errorf("docker %s: %s, %v", strings.Join(args, " "), out, err)
		}
	}
}

func openNull(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open(os.DevNull)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}
