//go:build integration

package targets_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ingot-build/ingot/internal/testrun"
)

// stranger is a repository of somebody's who has a service and has not heard of Ingot.
type stranger struct {
	name  string
	files map[string]string // the service's, and what its owner writes for Ingot
	own   []string          // which of them are for Ingot
	init  string            // what init takes it for

	greets, file string // what the service answers at /, and where that stands
	bad          string // a line that ends the service
	refuses      string // what is said then
}

const goGreets = `package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"private.example.org/greet"
)

const name = "Go"

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Release", os.Getenv("RELEASE"))
		fmt.Fprintln(w, greet.Greet(name))
	})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
`

var strangers = []stranger{
	{
		name: "Go, its main package below, a newer Go, and a private module that is vendored",
		files: map[string]string{
			"service/go.mod": "module example.org/hello\n\ngo 1.26.0\n\nrequire private.example.org/greet v1.0.0\n", "service/cmd/hello/main.go": goGreets,
			"service/vendor/modules.txt":                        "# private.example.org/greet v1.0.0\n## explicit; go 1.26.0\nprivate.example.org/greet\n",
			"service/vendor/private.example.org/greet/greet.go": "package greet\n\nfunc Greet(name string) string { return *new(\"Hello from \" + name) }\n", // which takes Go 1.26
		},
		init:   `a Go module with its main package in cmd/hello`,
		greets: "Hello from Go", file: "service/cmd/hello/main.go", bad: "\nvar _ = undefined\n", refuses: "undefined: undefined",
	},
	{
		name: "Python with gunicorn, behind nginx",
		files: map[string]string{
			"app.py":     "import os\n\ndef app(environ, start_response):\n    start_response(\"200 OK\", [(\"X-Release\", os.environ[\"RELEASE\"])])\n    return [b\"Hello from Python\\n\"]\n",
			"Dockerfile": "FROM python:3.13\nRUN pip install gunicorn\nCOPY app.py .\nCMD [\"gunicorn\", \"--bind\", \"127.0.0.1:8000\", \"app:app\"]\n",

			"provision/base/packages":                             "gunicorn\nnginx-light\n",
			"provision/base/root/etc/nginx/sites-enabled/default": "server {\n  listen 8080;\n  location / {\n    proxy_pass http://127.0.0.1:8000;\n  }\n}\n",
		},
		own:    []string{"provision/base/packages", "provision/base/root/etc/nginx/sites-enabled/default"},
		init:   `a Python service`,
		greets: "Hello from Python", file: "app.py", bad: "\nraise SystemExit(\"no database\")\n", refuses: "no database",
	},
	{
		name: "Node",
		files: map[string]string{
			"server/package.json": "{\"scripts\": {\"start\": \"node server.js\"}}\n",
			"server/server.js":    "const http = require(\"http\");\nhttp.createServer((request, response) => {\n  response.setHeader(\"X-Release\", process.env.RELEASE);\n  response.end(\"Hello from Node\\n\");\n}).listen(process.env.PORT);\n",
		},
		init:   `a Node service, by its package.json`,
		greets: "Hello from Node", file: "server/server.js", bad: "\nthrow new Error(\"no database\");\n", refuses: "no database",
	},
}

// What adoption may take: lines that somebody writes or has init write, and files of those, blank lines and the generated build aside.
const (
	maxOwnFiles = 2
	maxOwnLines = 20
)

// TestIntegrationAnybody begins with Ingot in repositories of strangers', and takes each of them through a release, a bad one, back, and the
// development machine.
func TestIntegrationAnybody(t *testing.T) {
	t.Parallel()
	for _, s := range strangers {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.adopts(t)
		})
	}
}

func (s stranger) adopts(t *testing.T) {
	c := s.begin(t)
	c.restore(t, released(t)) // infrastructure, as another service of the same name has it
	out := c.must(t, "rehearse")
	if !strings.Contains(out, s.greets) {
		t.Fatalf("rehearse prints\n%s", out)
	}
	url := c.must(t, "local", "url")
	_, first := get(t, url)

	fast := strings.Replace(s.greets, "Hello", "Good day", 1)
	t.Run("a save is served", func(t *testing.T) {
		dev, stop := c.develop(t)
		defer stop()
		comesToAnswer(t, dev, s.greets)
		c.greetsOtherwise(t, s, fast)
		comesToAnswer(t, dev, fast)
	})
	c.must(t, "local", "prod")
	if body, release := get(t, url); !strings.Contains(body, fast) || release == first {
		t.Errorf("release %q answers %q", release, body)
	}
	good, err := os.ReadFile(filepath.Join(c.dir, s.file))
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, s.file, string(good)+s.bad)
	if _, said, err := c.run(t, "local", "prod"); err == nil || !strings.Contains(said, s.refuses) {
		t.Errorf("a bad release: %v\n%s", err, said)
	}
	if body, _ := get(t, url); !strings.Contains(body, fast) {
		t.Errorf("after a bad release it answers %q", body)
	}
	c.must(t, "local", "rollback")
	if body, release := get(t, url); !strings.Contains(body, s.greets) || release != first {
		t.Errorf("rolled back to %q, which answers %q", release, body)
	}
}

// greetsOtherwise has the service of a repository greet otherwise.
func (c *clone) greetsOtherwise(t *testing.T, s stranger, with string) {
	t.Helper()
	if s.file == "service/cmd/hello/main.go" { // the greeting is another module's
		c.write(t, s.file, strings.NewReplacer("greet.Greet(name)", `strings.Replace(greet.Greet(name), "Hello", "Good day", 1)`, "\t\"os\"\n", "\t\"os\"\n\t\"strings\"\n").Replace(goGreets))
		return
	}
	c.edit(t, s.file, s.greets, with)
}

// comesToAnswer waits until a URL answers with a text.
func comesToAnswer(t *testing.T, url, want string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		response, err := http.Get(url)
		var body []byte
		if err == nil {
			body, err = io.ReadAll(response.Body)
			response.Body.Close()
		}
		if err == nil && strings.Contains(string(body), want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s answers %q, %v, want %q", url, body, err, want)
		}
	}
}

// begin makes the repository, and does what the documentation says one begins with.
func (s stranger) begin(t *testing.T) *clone {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	c := &clone{dir: testrun.Clone(t)}
	c.ingot = filepath.Join(c.dir, "bin", "ingot")
	for name, text := range s.files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(c.dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		c.write(t, name, text)
	}
	do := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir = c.dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	const module = "github.com/ingot-build/ingot"
	do("git", "init", "-q")
	do("go", "mod", "init", "example.org/hello/pipeline")
	// What "go get -tool" does, but for the download.
	do("go", "mod", "edit", "-require="+module+"@v0.0.0", "-replace="+module+"="+root, "-tool="+module+"/pkg/mage")
	do("go", "list", "-mod=mod", "-deps", module+"/pkg/mage")
	if said := do("go", "tool", "mage", "init", "-app=hello"); !strings.Contains(said, "this takes it for "+s.init+".\n") {
		t.Errorf("init says\n%s", said)
	}
	own := append([]string{"ingot.hcl", "magefiles/magefile.go"}, s.own...)
	lines := 0
	for _, name := range own {
		text, err := os.ReadFile(filepath.Join(c.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line := strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				lines++
			}
		}
	}
	t.Logf("%d lines in %q", lines, own)
	if len(s.own) > maxOwnFiles || lines > maxOwnLines {
		t.Errorf("adoption takes %d files of one's own, and %d lines with those that init writes: %q", len(s.own), lines, own)
	}
	do("git", "add", "-A")
	do("git", "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-qm", "begin with Ingot")
	do("go", "tool", "mage", "-compile", c.ingot)
	for _, folder := range []string{"packer", "terraform"} {
		if _, err := os.Stat(filepath.Join(c.dir, folder)); err == nil {
			t.Errorf("there is a folder %s", folder)
		}
	}
	c.purges(t)
	return c
}

const workerSource = `package main

import (
	"fmt"
	"os"
	"time"
)

const greeting = "Hello from a worker"

func main() {
	if len(os.Args) > 1 {
		fmt.Println("reporting:", greeting)
		return
	}
	for {
		fmt.Println("working:", greeting)
		time.Sleep(time.Second)
	}
}
`

// TestIntegrationWorker has a service that listens nowhere, and a timer beside it, through the same: there is no load balancer, and its
// units tell whether it works.
func TestIntegrationWorker(t *testing.T) {
	t.Parallel()
	const units = "provision/app/root/etc/systemd/system/"
	s := stranger{
		files: map[string]string{
			"service/go.mod": "module example.org/worker\n\ngo 1.24\n", "service/main.go": workerSource,
			units + "report.timer":   "[Timer]\nOnActiveSec=1s\nOnUnitActiveSec=5s\n[Install]\nWantedBy=timers.target\n",
			units + "report.service": "[Service]\nType=oneshot\nExecStart=/opt/app/bin/service report\n",
		},
		own: []string{units + "report.timer", units + "report.service"}, init: "a Go module",
	}
	c := s.begin(t)
	c.write(t, "ingot.hcl", "app = \"hello\"\n\nservice {\n  port = 0\n}\n")
	if out := c.must(t, "rehearse"); !strings.Contains(out, "works on every instance") {
		t.Errorf("rehearse prints\n%s", out)
	}
	works := func(greeting string) {
		t.Helper()
		script := "systemctl is-active report.timer; for unit in app report; do timeout 20 bash -c \"until journalctl -o cat -u $unit | grep -q '" + greeting +
			"'; do sleep 0.3; done\" && echo $unit says so; done; ingot-check"
		for _, out := range c.inside(t, script) {
			if out != "active\napp says so\nreport says so\n" {
				t.Errorf("in an instance: %s, want %q", out, greeting)
			}
		}
	}
	works("Hello from a worker")
	if n := c.aws(t, "length(LoadBalancers)", "elbv2", "describe-load-balancers"); n != "0" {
		t.Errorf("%s load balancers", n)
	}
	if _, said, err := c.run(t, "local", "url"); err == nil || !strings.Contains(said, "a worker has no URL") {
		t.Errorf("url: %v\n%s", err, said)
	}
	if out := c.must(t, "local", "infra:plan"); out != "no changes" {
		t.Errorf("infra:plan printed %q", out)
	}

	t.Run("a save works", func(t *testing.T) {
		_, said, stop := c.developUntil(t, func(_, said string) bool { return strings.Contains(said, "working: Hello from a worker") })
		defer stop()
		c.edit(t, "service/main.go", "Hello from", "Good day from")
		for _, want := range []string{"working: Good day from a worker", "reporting: Good day from a worker", "✓ service/main.go: built in "} {
			for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(said(), want); time.Sleep(100 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("it does not say %q:\n%s", want, said())
				}
			}
		}
	})
	c.must(t, "local", "prod")
	works("Good day from a worker")

	c.write(t, "service/main.go", strings.Replace(workerSource, "	for {", "	panic(\"no queue\")\n	for {", 1))
	if _, said, err := c.run(t, "local", "prod"); err == nil || !strings.Contains(said, "panic: no queue") {
		t.Errorf("a worker that dies: %v\n%s", err, said)
	}
	c.must(t, "local", "rollback")
	works("Hello from a worker")
	c.must(t, "local", "status")
}
