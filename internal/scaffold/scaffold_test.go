package scaffold

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLook(t *testing.T) {
	const toolOnly = "module x\n\ngo 1.26\n\ntool github.com/ingot-build/ingot/pkg/mage\n"
	const main = "package main\n\nfunc main() {}\n"
	for name, test := range map[string]struct {
		files map[string]string
		want  *Service
		fails string
	}{
		"nothing":             {},
		"a tool":              {files: map[string]string{"go.mod": toolOnly, "magefiles/magefile.go": main}},
		"a service's folder":  {files: map[string]string{"go.mod": toolOnly, "service/go.mod": "module y\n", "service/main.go": main}, want: &Service{What: "a Go module", Source: "service"}},
		"a module":            {files: map[string]string{"go.mod": toolOnly, "main.go": "// Hello.\n" + main}, want: &Service{What: "a Go module", Source: "."}},
		"a main package":      {files: map[string]string{"go.mod": toolOnly, "cmd/hello/main.go": main, "x/x.go": "package x\n", "vendor/y/main.go": main}, want: &Service{What: "a Go module with its main package in cmd/hello", Source: ".", Package: "./cmd/hello"}},
		"some main packages":  {files: map[string]string{"go.mod": toolOnly, "cmd/admin/main.go": main, "cmd/server/main.go": main}, want: &Service{What: "a Go module with 2 main packages (cmd/admin, cmd/server), of which cmd/server is the service", Source: ".", Package: "./cmd/server"}},
		"a generator beside":  {files: map[string]string{"go.mod": toolOnly, "gen.go": "//go:build ignore\n\n" + main, "cmd/x/main.go": main}, want: &Service{What: "a Go module with its main package in cmd/x", Source: ".", Package: "./cmd/x"}},
		"its own build":       {files: map[string]string{"service/build": "#!/bin/sh\n", "service/go.mod": "module y\n"}, want: &Service{What: "something that builds itself, by its file build", Source: "service"}},
		"Node, without more":  {files: map[string]string{"package.json": `{"main": "server.js"}`}, want: &Service{What: "a Node service, by its package.json", Source: ".", Packages: []string{"nodejs"}, Command: "node server.js"}},
		"Node, with packages": {files: map[string]string{"package.json": `{"scripts": {"start": "next start"}, "dependencies": {"next": "1"}}`, "package-lock.json": "{}"}, want: &Service{What: "a Node service, by its package.json", Source: ".", Packages: []string{"nodejs", "npm"}, Prepare: `npm ci --no-audit --no-fund --cache "$CACHE/npm" --omit=dev`, Paths: "PATH=/opt/app/node_modules/.bin:$PATH", Command: "next start"}},
		"a broken manifest":   {files: map[string]string{"package.json": `{`}, fails: "read package.json"},
		"Python":              {files: map[string]string{"app.py": ""}, want: &Service{What: "a Python service", Source: ".", Packages: []string{"python3"}, Command: "python3 app.py"}},
		"Python, with a Dockerfile": {
			files: map[string]string{"server/requirements.txt": "flask\n", "server/Dockerfile": "FROM python:3 AS build\nEXPOSE 1\nCMD x\nFROM python:3\nEXPOSE 3000/tcp\nENTRYPOINT [\"gunicorn\"]\nCMD [\"--bind\", \"0.0.0.0:3000\", \"app:make app()\"]\n"},
			want: &Service{
				What: "a Python service, by its requirements.txt", Source: "server", Port: 3000, Packages: []string{"python3", "python3-pip"}, Paths: "PYTHONPATH=/opt/app/lib PATH=/opt/app/lib/bin:$PATH",
				Prepare: `python3 -m pip install --quiet --no-input --cache-dir "$CACHE/pip" --target lib -r requirements.txt`, Command: "gunicorn --bind 0.0.0.0:3000 'app:make app()'",
			},
		},
		"Python, with a tool's go.mod": {files: map[string]string{"go.mod": toolOnly, "app.py": "", "Dockerfile": "CMD gunicorn app"}, want: &Service{What: "a Python service", Source: ".", Packages: []string{"python3"}, Command: "gunicorn app"}},
		"a Dockerfile alone":           {files: map[string]string{"Dockerfile": "FROM x\ncmd exec ./run \\\n  --now\n"}, want: &Service{What: "what its Dockerfile starts", Source: ".", Command: "exec ./run    --now"}},
		"a Dockerfile that is none":    {files: map[string]string{"Dockerfile": "EXPOSE\nEXPOSE x\nCMD\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, test.files)
			got, err := Look(root)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("Look: %v, want %q", err, test.fails)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
				t.Errorf("%v -want +got\n%s", err, diff)
			}
		})
	}
}

func FuzzDockerfile(f *testing.F) {
	for _, text := range []string{"FROM x\nCMD [\"a\", \"b c\"]\nEXPOSE 80 81\n", "CMD a \\\n b", "EXPOSE 99999", "ENTRYPOINT [\n", "from\ncmd\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := parseDockerfile(data)
		if d.port < 0 || d.port > 65535 {
			t.Errorf("port %d", d.port)
		}
	})
}

// TestBuildScripts runs what is written for a service, and starts what that makes.
func TestBuildScripts(t *testing.T) {
	s := &Service{Prepare: "touch prepared", Paths: `GREETING=hello`, Command: "sh ./start.sh"}
	source, out := t.TempDir(), t.TempDir()
	write(t, source, map[string]string{"start.sh": `echo "$GREETING from $0"`, "build": s.build()})
	build := exec.Command("sh", "./build")
	build.Dir = source
	build.Env = append(os.Environ(), "OUT="+out)
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if _, err := os.Stat(filepath.Join(out, "prepared")); err != nil {
		t.Error(err)
	}
	script, err := os.ReadFile(filepath.Join(out, "bin", "service"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(script, []byte("\nexec sh ./start.sh\n")) {
		t.Errorf("it is not the service that gets the signals:\n%s", script)
	}
	start := exec.Command("sh", "-c", strings.ReplaceAll(string(script), "/opt/app", out))
	if text, err := start.CombinedOutput(); err != nil || string(text) != "hello from ./start.sh\n" {
		t.Errorf("%v: %s", err, text)
	}
}

func TestInit(t *testing.T) {
	root := filepath.Join(t.TempDir(), "My Service")
	write(t, root, map[string]string{
		"app.py": "", "go.mod": "module x\n\ntool github.com/ingot-build/ingot/pkg/mage\n", ".gitignore": "*.pyc", "provision/base/packages": "python3-flask\n",
	})
	// The go command is not what this is about.
	bin := t.TempDir()
	write(t, bin, map[string]string{"go": "#!/bin/sh\necho \"$@\" >>\"$0.log\"\n"})
	if err := os.Chmod(filepath.Join(bin, "go"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	var said strings.Builder
	for range 2 {
		if err := Init(t.Context(), Options{Root: root, Out: &said}); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"ingot.hcl":  "app = \"my-service\"\n\nservice {\n  source = \".\"\n}\n",
		".gitignore": "*.pyc\n/.ingot/\n/bin/\n", "provision/base/packages": "python3-flask\n",
	} {
		if got, err := os.ReadFile(filepath.Join(root, name)); string(got) != want || err != nil {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
	if info, err := os.Stat(filepath.Join(root, "build")); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("build is not executable: %v, %v", info, err)
	}
	if asked, err := os.ReadFile(filepath.Join(bin, "go.log")); err != nil || strings.Contains(string(asked), "get -tool") || !strings.Contains(string(asked), "./magefiles") {
		t.Errorf("go %s, %v", asked, err)
	}
	for _, want := range []string{"a Python service", "wrote  build\n", "kept   provision/base/packages\n"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, said.String())
		}
	}
	if err := Init(t.Context(), Options{Root: root, App: "X", Out: &said}); err == nil {
		t.Error("X is taken for a name")
	}
}

func TestAppName(t *testing.T) {
	for folder, want := range map[string]string{
		"hello": "hello", "My Service!": "my-service", "2048": "service", "x": "x-service", "a-very-long-name-of-a-folder": "a-very-long-name-of-a-fo", "ü": "service", "": "service",
	} {
		if got := appName(folder); got != want || !appPattern.MatchString(got) {
			t.Errorf("%q is %q, want %q", folder, got, want)
		}
	}
}

// TestSample: what is written where there is no service is one.
func TestSample(t *testing.T) {
	root := t.TempDir()
	for name, text := range sample("hello") {
		write(t, root, map[string]string{name: text})
	}
	build := exec.Command("go", "build", "-o", os.DevNull, ".")
	build.Dir = filepath.Join(root, "service")
	build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOPROXY=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
