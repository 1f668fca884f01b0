package provision

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/command"
)

// writeFiles writes files below a folder, by their slash-separated names.
func writeFiles(t *testing.T, dir string, files map[string]string) {
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

const mainOf = "package main\n\nimport %q\n\nfunc main() { println(x.Name) }\n"

// TestModules: whatever a module requires arrives with it, and builds where nobody can be asked for anything.
func TestModules(t *testing.T) {
	library := map[string]string{
		"x.go":         "package x\n\nimport (\n\t_ \"embed\"\n\n\t\"example.org/x/inner\"\n)\n\n//go:embed name.txt\nvar text string\n\nvar Name = text + inner.Name\n",
		"name.txt":     "x",
		"inner/i.go":   "package inner\n\nconst Name = \"i\"\n",
		"unused/u.go":  "package unused\n",
		"x_windows.go": "package x\n\nvar Name = 1\n",
		"x_test.go":    "package x\n",
	}
	below := func(dir string, more ...map[string]string) map[string]string {
		files := map[string]string{}
		for _, m := range more {
			for name, text := range m {
				files[dir+name] = text
			}
		}
		return files
	}
	withMod := map[string]string{"go.mod": "module example.org/x\n\ngo 1.22\n"}
	const hello = "module example.org/hello\n\ngo 1.24\n\nrequire example.org/x v1.2.3\n"
	vendored := []string{
		"service/go.mod", "service/main.go", "service/vendor/example.org/x/inner/i.go", "service/vendor/example.org/x/name.txt",
		"service/vendor/example.org/x/x.go", "service/vendor/modules.txt",
	}
	for name, test := range map[string]struct {
		files []map[string]string
		pkg   string
		want  []string
		fails string
	}{
		"a folder beside it": {
			files: []map[string]string{below("library/", library, withMod), {
				"service/go.mod": hello + "\nreplace example.org/x => ../library\n", "service/main.go": fmt.Sprintf(mainOf, "example.org/x"),
				"service/README.md": "", "service/main_test.go": "package main\n", "service/other/o.go": "package other\n",
			}},
			want: vendored,
		},
		"a workspace": {
			files: []map[string]string{below("library/", library, withMod), {
				"go.work": "go 1.24\n\nuse ./service\nuse ./library\n", "service/go.mod": "module example.org/hello\n\ngo 1.24\n\nrequire example.org/x v0.0.0\n",
				"service/main.go": fmt.Sprintf(mainOf, "example.org/x"),
			}},
			want: vendored,
		},
		"vendored, and ignored by git": {
			files: []map[string]string{below("service/vendor/example.org/x/", library), {
				".gitignore": "vendor\ngen.go\n", "service/go.mod": hello, "service/main.go": fmt.Sprintf(mainOf, "example.org/x"), "service/gen.go": "package main\n",
				"service/vendor/modules.txt": "# example.org/x v1.2.3\n## explicit; go 1.22\nexample.org/x\nexample.org/x/inner\n",
			}},
			want: append([]string{"service/gen.go"}, vendored...),
		},
		"a main package below, and a package of its own": {
			files: []map[string]string{below("library/", library, withMod), {
				"service/go.mod":            hello + "\nreplace example.org/x => ../library\n",
				"service/cmd/hello/main.go": fmt.Sprintf(mainOf, "example.org/hello/x"), "service/x/x.go": "package x\n\nimport \"example.org/x/inner\"\n\nconst Name = inner.Name\n",
			}},
			pkg: "./cmd/hello",
			want: []string{
				"service/cmd/hello/main.go", "service/go.mod", "service/vendor/example.org/x/inner/i.go", "service/vendor/modules.txt", "service/x/x.go",
			},
		},
		"a module that there is nowhere": {
			files: []map[string]string{{"service/go.mod": hello, "service/main.go": fmt.Sprintf(mainOf, "example.org/x")}},
			fails: "example.org/x",
		},
		"a main package that there is not": {
			files: []map[string]string{{"service/go.mod": hello, "service/main.go": fmt.Sprintf(mainOf, "example.org/x")}},
			pkg:   "./cmd/hello", fails: `there are no Go files in "./cmd/hello"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			// Nothing is asked of anybody.
			t.Setenv("GOPROXY", "off")
			t.Setenv("GOFLAGS", "")
			root := t.TempDir()
			if out, err := exec.Command("git", "-C", root, "init", "-q").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			for _, files := range test.files {
				writeFiles(t, root, files)
			}
			writeFiles(t, root, map[string]string{"provision/provision.sh": "", "provision/app/app.sh": "", "provision/seal/seal.sh": ""})
			b, err := Load(t.Context(), App, Options{Dir: filepath.Join(root, "provision"), Source: filepath.Join(root, "service"), Package: test.pkg})
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Fatalf("Load: %v, want %q", err, test.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := slices.DeleteFunc(b.Names(), func(name string) bool { return strings.HasPrefix(name, Tree) })
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("files -want +got\n%s", diff)
			}
			buildElsewhere(t, b, test.pkg)
		})
	}
}

// buildElsewhere builds the service of a bundle with nothing but what is in it.
func buildElsewhere(t *testing.T, b *Bundle, pkg string) {
	t.Helper()
	dir := t.TempDir()
	unpack := exec.Command("tar", "-xz", "-C", dir)
	var archive bytes.Buffer
	if err := b.Archive(&archive); err != nil {
		t.Fatal(err)
	}
	unpack.Stdin = &archive
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if pkg == "" {
		pkg = "."
	}
	build := exec.Command("go", "build", "-trimpath", "-o", os.DevNull, pkg)
	build.Dir = filepath.Join(dir, Source)
	build.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GOMODCACHE="+t.TempDir())
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// fakeGo answers for the go command, and has others run.
type fakeGo struct {
	command.Exec
	asked  []string
	answer string
}

func (f *fakeGo) Run(ctx context.Context, c command.Cmd) error {
	if c.Path != "go" {
		return f.Exec.Run(ctx, c)
	}
	f.asked = append(f.asked, strings.Join(c.Args, " "))
	_, err := io.WriteString(c.Stdout, f.answer)
	return err
}

// TestGoVersion: the base stage gets the Go that go.mod asks for, and none where nobody does.
func TestGoVersion(t *testing.T) {
	zip := filepath.Join(t.TempDir(), "toolchain.zip")
	writeFiles(t, filepath.Dir(zip), map[string]string{filepath.Base(zip): "a toolchain"})
	for name, test := range map[string]struct {
		files map[string]string
		asks  string // for a version
		adds  string
	}{
		"Debian's":              {files: map[string]string{"go.mod": "module x\n\ngo 1.24\n"}},
		"Debian's exactly":      {files: map[string]string{"go.mod": "module x\n\ngo 1.24.4\n"}},
		"an old one":            {files: map[string]string{"go.mod": "module x\n"}},
		"a wish for a newer":    {files: map[string]string{"go.mod": "module x\n\ngo 1.24\n\ntoolchain go1.26.8\n"}},
		"a newer":               {files: map[string]string{"go.mod": "module x\n\ngo 1.26.1\n"}, asks: "go1.26.1", adds: ownGo},
		"a newer patch":         {files: map[string]string{"go.mod": "module x\n\ngo 1.24.9\n"}, asks: "go1.24.9", adds: ownGo},
		"a newer language":      {files: map[string]string{"go.mod": "module x\n\ngo 1.26\n"}, asks: "go1.26.0", adds: ownGo},
		"a newer and a wish":    {files: map[string]string{"go.mod": "module x\n\ngo 1.26\n\ntoolchain go1.26.8\n"}, asks: "go1.26.8", adds: ownGo},
		"something else":        {files: map[string]string{"build": "#!/bin/sh\n", "app.py": ""}, adds: noGo},
		"a module with a build": {files: map[string]string{"build": "#!/bin/sh\n", "go.mod": "module x\n\ngo 1.26\n"}, adds: noGo},
		"nobody knows yet":      {files: map[string]string{"app.py": ""}},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			source := map[string]string{}
			for name, text := range test.files {
				source["service/"+name] = text
			}
			maps.Copy(source, map[string]string{"provision/provision.sh": "", "provision/base/base.sh": "", "provision/seal/seal.sh": ""})
			writeFiles(t, root, source)
			command := &fakeGo{answer: fmt.Sprintf("{\"Zip\": %q}", zip)}
			b, err := Load(t.Context(), Base, Options{Dir: filepath.Join(root, "provision"), Source: filepath.Join(root, "service"), GOARCH: "arm64", Runner: command})
			if err != nil {
				t.Fatal(err)
			}
			var asked []string
			if test.asks != "" {
				asked = []string{"mod download -json golang.org/toolchain@v0.0.1-" + test.asks + ".linux-arm64"}
			}
			if diff := cmp.Diff(asked, command.asked); diff != "" {
				t.Errorf("asks for -want +got\n%s", diff)
			}
			added := slices.DeleteFunc(b.Names(), func(name string) bool { return strings.HasSuffix(name, ".sh") })
			if test.adds != "" && !slices.Equal(added, []string{test.adds}) || test.adds == "" && len(added) > 0 {
				t.Errorf("adds %q, want %q", added, test.adds)
			}
		})
	}
}

// TestLargeFile: a large file is not kept in memory, arrives whole, and is not taken for what it was when it changes meanwhile.
func TestLargeFile(t *testing.T) {
	root := t.TempDir()
	text := strings.Repeat("a large file\n", 5*large/13)
	writeFiles(t, root, map[string]string{"service/data": text, "service/go.mod": "module x\n", "provision/provision.sh": "", "provision/app/app.sh": "", "provision/seal/seal.sh": ""})
	load := func() *Bundle {
		t.Helper()
		b, err := Load(t.Context(), App, Options{Dir: filepath.Join(root, "provision"), Source: filepath.Join(root, "service")})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := load()
	for _, f := range b.files {
		if len(f.data) >= large {
			t.Errorf("%d bytes of %s are in memory", len(f.data), f.name)
		}
	}
	var archive, patch bytes.Buffer
	if err := b.Archive(&archive); err != nil {
		t.Fatal(err)
	}
	unpack := exec.Command("tar", "-xzO", Source+"/data")
	unpack.Stdin = &archive
	if out, err := unpack.Output(); err != nil || string(out) != text {
		t.Errorf("%d bytes arrive, %v, want %d", len(out), err, len(text))
	}
	if load().Fingerprint(nil) != b.Fingerprint(nil) {
		t.Error("the same file has two fingerprints")
	}
	writeFiles(t, root, map[string]string{"service/data": strings.Replace(text, "large", "Large", 1)})
	if load().Fingerprint(nil) == b.Fingerprint(nil) {
		t.Error("another file has the same fingerprint")
	}
	for _, err := range []error{b.Archive(&archive), b.Patch(&patch, []string{Source + "/data"})} {
		if err == nil || !strings.Contains(err.Error(), "changed meanwhile") {
			t.Errorf("a file that changes: %v", err)
		}
	}
}
