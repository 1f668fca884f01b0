package provision

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot"
	"github.com/ingot-build/ingot/pkg/command"
)

// noGit is a machine without git.
var noGit = &command.Fake{Func: func(_ context.Context, c command.Cmd) error {
	return &command.Error{Argv: c.Argv(), Err: exec.ErrNotFound}
}}

// tree writes a provisioning tree and a service under a new folder; names that end in * are executable, "a -> b" is a link.
func tree(t *testing.T, extra ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range append([]string{
		"provision/provision.sh*", "provision/lib.sh", "provision/base/base.sh*", "provision/base/root/etc/motd",
		"provision/app/app.sh*", "provision/app/root/etc/systemd/system/app.service", "provision/seal/seal.sh*",
		"service/go.mod", "service/main.go", "service/static/current -> ../main.go",
	}, extra...) {
		write(t, root, name)
	}
	return root
}

func write(t *testing.T, root, name string) {
	t.Helper()
	mode := os.FileMode(0o644)
	if bare, ok := strings.CutSuffix(name, "*"); ok {
		name, mode = bare, 0o755
	}
	name, target, link := strings.Cut(name, " -> ")
	path := filepath.Join(root, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	if link {
		must(t, os.Symlink(target, path))
		return
	}
	must(t, os.WriteFile(path, []byte(contentsOf(name)), mode))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func options(root string) Options {
	return Options{Dir: filepath.Join(root, "provision"), Source: filepath.Join(root, "service"), Runner: noGit}
}

func load(t *testing.T, stage Stage, o Options) *Bundle {
	t.Helper()
	b, err := Load(t.Context(), stage, o)
	must(t, err)
	return b
}

func TestLoadNames(t *testing.T) {
	want := map[Stage][]string{
		Base: {
			"provision/base/base.sh", "provision/base/root/etc/motd", "provision/lib.sh", "provision/provision.sh",
			"provision/seal/seal.sh",
		},
		App: {
			"provision/app/app.sh", "provision/app/root/etc/systemd/system/app.service", "provision/lib.sh", "provision/provision.sh",
			"provision/seal/seal.sh", "service/go.mod", "service/main.go", "service/static/current",
		},
	}
	root := tree(t, "service/.git/HEAD", "service/main.go~", "service/.main.go.swp", "service/.#main.go -> nowhere")
	for stage, names := range want {
		if diff := cmp.Diff(names, load(t, stage, options(root)).Names()); diff != "" {
			t.Errorf("%s: -want +got\n%s", stage, diff)
		}
	}
}

// Git's own rules decide in a work tree: ignored files are out, untracked files are in, deleted files are gone, and another
// repository inside is part of the source.
func TestLoadGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	root := tree(t, "service/old.go", "service/service*", "service/deep/build.log", "service/vendored/lib.go", "service/vendored/debug.log")
	must(t, os.WriteFile(filepath.Join(root, ".gitignore"), []byte("*.log\n/service/service\n"), 0o644))
	git := func(dir string, args ...string) {
		t.Helper()
		must(t, command.Exec{}.Run(t.Context(), command.Cmd{Path: "git", Args: args, Dir: filepath.Join(root, dir)}))
	}
	git(".", "init", "-q")
	git("service/vendored", "init", "-q")
	git(".", "add", "service/old.go", "service/main.go")
	must(t, os.Remove(filepath.Join(root, "service/old.go")))

	o := options(root)
	o.Runner = nil
	want := []string{"service/go.mod", "service/main.go", "service/static/current", "service/vendored/debug.log", "service/vendored/lib.go"}
	if diff := cmp.Diff(want, load(t, App, o).Names()[5:]); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	// A folder that is ignored as a whole, such as a checkout below another one, is walked.
	must(t, os.WriteFile(filepath.Join(root, ".gitignore"), []byte("*\n"), 0o644))
	git(".", "rm", "-rq", "--cached", ".")
	if names := load(t, App, o).Names(); len(names) != 12 {
		t.Errorf("ignored folder: %d files, want 12: %q", len(names), names)
	}
}

func TestLoadGitFails(t *testing.T) {
	o := options(tree(t))
	o.Runner = &command.Fake{Func: func(_ context.Context, c command.Cmd) error {
		return &command.Error{Argv: c.Argv(), Stderr: "fatal: detected dubious ownership", Err: errors.New("exit status 128")}
	}}
	if _, err := Load(t.Context(), Base, o); err == nil || !strings.Contains(err.Error(), "dubious ownership") {
		t.Errorf("Load = %v, want git's own words", err)
	}
}

func TestLoadErrors(t *testing.T) {
	tests := []struct {
		name  string
		stage Stage
		spoil func(o *Options)
		want  string
	}{
		{"unknown stage", "seal", func(*Options) {}, `load provisioning stage "seal": want base or app`},
		{"no tree", Base, func(o *Options) { o.Dir += "/none" }, "provision/none/provision.sh"},
		{"no stage", Base, func(o *Options) { os.RemoveAll(o.Dir + "/base") }, "provision/base: no such file"},
		{"no seal", App, func(o *Options) { os.RemoveAll(o.Dir + "/seal") }, "provision/seal: no such file"},
		{"no source", App, func(o *Options) { o.Source += "/none" }, "service/none: no such file"},
		{"source is a file", App, func(o *Options) { o.Source += "/main.go" }, `service/main.go" is not a folder`},
		{"empty source", App, func(o *Options) { o.Source += "/empty"; os.Mkdir(o.Source, 0o755) }, `service/empty" holds no files`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := options(tree(t))
			test.spoil(&o)
			if _, err := Load(t.Context(), test.stage, o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Load = %v, want %q in it", err, test.want)
			}
		})
	}
}

// What must not change a fingerprint, and what must.
func TestFingerprint(t *testing.T) {
	inputs := map[string]string{"parent": "ami-1", "architecture": "x86_64"}
	const same, baseOnly, appOnly, both = "", "base", "app", "base app"
	tests := []struct {
		name    string
		change  func(root string) error
		changed string
	}{
		{"another path", func(string) error { return nil }, same},
		{"times", func(root string) error {
			return filepath.Walk(root, func(name string, _ os.FileInfo, _ error) error {
				return os.Chtimes(name, time.Time{}, time.Unix(1e9, 0))
			})
		}, same},
		{"umask", func(root string) error { return os.Chmod(root+"/provision/provision.sh", 0o700) }, same},
		{"empty folder", func(root string) error { return os.Mkdir(root+"/service/empty", 0o755) }, same},
		{"file beside", func(root string) error { return os.WriteFile(root+"/README.md", nil, 0o644) }, same},
		{"byte in common", func(root string) error { return os.WriteFile(root+"/provision/lib.sh", []byte("x"), 0o644) }, both},
		{"byte in seal", func(root string) error { return os.WriteFile(root+"/provision/seal/seal.sh", []byte("x"), 0o755) }, both},
		{"byte in base", func(root string) error { return os.WriteFile(root+"/provision/base/base.sh", []byte("x"), 0o755) }, baseOnly},
		{"byte in app", func(root string) error { return os.WriteFile(root+"/provision/app/app.sh", []byte("x"), 0o755) }, appOnly},
		{"byte in source", func(root string) error { return os.WriteFile(root+"/service/main.go", []byte("x"), 0o644) }, appOnly},
		{"new file", func(root string) error { return os.WriteFile(root+"/service/new.go", nil, 0o644) }, appOnly},
		{"renamed", func(root string) error { return os.Rename(root+"/service/main.go", root+"/service/program.go") }, appOnly},
		{"moved", func(root string) error { return os.Rename(root+"/service/main.go", root+"/service/static/main.go") }, appOnly},
		{"removed", func(root string) error { return os.Remove(root + "/service/main.go") }, appOnly},
		{"executable bit", func(root string) error { return os.Chmod(root+"/service/main.go", 0o755) }, appOnly},
		{"link target", func(root string) error {
			return errors.Join(os.Remove(root+"/service/static/current"), os.Symlink("../go.mod", root+"/service/static/current"))
		}, appOnly},
	}
	original := tree(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := tree(t)
			must(t, test.change(root))
			for _, stage := range []Stage{Base, App} {
				before := load(t, stage, options(original)).Fingerprint(inputs)
				after := load(t, stage, options(root)).Fingerprint(inputs)
				if want := strings.Contains(test.changed, string(stage)); (before != after) != want {
					t.Errorf("%s: changed = %v, want %v", stage, before != after, want)
				}
			}
		})
	}
}

// Values do not run into each other, and every input counts.
func TestFingerprintInputs(t *testing.T) {
	b := load(t, Base, options(tree(t)))
	seen := map[string]int{}
	for i, inputs := range []map[string]string{
		nil, {"a": ""}, {"a": "b"}, {"ab": ""}, {"": "ab"}, {"a": "b", "c": "d"}, {"a": "b1:c1:d"}, {"a": "bcd"},
	} {
		fingerprint := b.Fingerprint(inputs)
		if len(fingerprint) != 64 {
			t.Errorf("fingerprint %q is not 64 digits", fingerprint)
		}
		if other, ok := seen[fingerprint]; ok {
			t.Errorf("inputs %d and %d have the same fingerprint", other, i)
		}
		seen[fingerprint] = i
	}
}

// The fingerprint of a given tree never changes: images are found again by it.
func TestFingerprintIsStable(t *testing.T) {
	b := &Bundle{stage: Base, files: []file{
		{name: "provision/a", data: []byte("one")},
		{name: "provision/b", data: []byte("two"), executable: true},
		{name: "provision/c", link: "a"},
	}}
	const want = "22318c5f79540eb04cfb418fc52944b5f8fe2cc783ee7f63a26b2abbc288e449"
	if got := b.Fingerprint(map[string]string{"parent": "ami-1"}); got != want {
		t.Errorf("Fingerprint = %s, want %s", got, want)
	}
}

func TestArchive(t *testing.T) {
	root := tree(t)
	b := load(t, App, options(root))
	must(t, os.WriteFile(filepath.Join(root, "service/main.go"), []byte("changed after it was loaded"), 0o644))
	var first, second bytes.Buffer
	must(t, b.Archive(&first))
	must(t, load(t, App, options(tree(t))).Archive(&second))
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same tree at another path makes another archive")
	}

	type entry struct {
		Name, Link, Data string
		Mode             int64
	}
	var got []entry
	zipped, err := gzip.NewReader(&first)
	must(t, err)
	for archive := tar.NewReader(zipped); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		data, err := io.ReadAll(archive)
		must(t, err)
		if header.Uid != 0 || header.Gid != 0 || !header.ModTime.Equal(modified) {
			t.Errorf("%s: owner %d:%d, time %s", header.Name, header.Uid, header.Gid, header.ModTime)
		}
		got = append(got, entry{header.Name, header.Linkname, string(data), header.Mode})
	}
	want := []entry{
		{"provision/app/app.sh", "", contentsOf("provision/app/app.sh"), 0o755},
		{"provision/app/root/etc/systemd/system/app.service", "", contentsOf("provision/app/root/etc/systemd/system/app.service"), 0o644},
		{"provision/lib.sh", "", contentsOf("provision/lib.sh"), 0o644},
		{"provision/provision.sh", "", contentsOf("provision/provision.sh"), 0o755},
		{"provision/seal/seal.sh", "", contentsOf("provision/seal/seal.sh"), 0o755},
		{"service/go.mod", "", contentsOf("service/go.mod"), 0o644},
		{"service/main.go", "", contentsOf("service/main.go"), 0o644},
		{"service/static/current", "../main.go", "", 0o777},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestArchiveWriteError(t *testing.T) {
	b := load(t, Base, options(tree(t)))
	full := errors.New("disk full")
	if err := b.Archive(failing{full}); !errors.Is(err, full) {
		t.Errorf("Archive = %v, want %v", err, full)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestDigests(t *testing.T) {
	root := tree(t)
	before := load(t, App, options(root)).Digests()
	must(t, os.Chmod(filepath.Join(root, "service/main.go"), 0o755))
	must(t, os.WriteFile(filepath.Join(root, "provision/lib.sh"), []byte("other"), 0o644))
	must(t, os.Remove(filepath.Join(root, "service/static/current")))
	write(t, root, "service/new.go")
	after := load(t, App, options(root)).Digests()
	changes := map[string]bool{} // whether the file is there still
	for name, digest := range before {
		if now, ok := after[name]; !ok || now != digest {
			changes[name] = ok
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			changes[name] = true
		}
	}
	want := map[string]bool{"service/main.go": true, "provision/lib.sh": true, "service/static/current": false, "service/new.go": true}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestPatch(t *testing.T) {
	b := load(t, App, options(tree(t)))
	var out bytes.Buffer
	must(t, b.Patch(&out, []string{"service/static/current", "provision/provision.sh", "no such file"}))
	var got []string
	for r := tar.NewReader(&out); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		data, err := io.ReadAll(r)
		must(t, err)
		got = append(got, h.FileInfo().Mode().String()+" "+h.Name+" "+h.Linkname+string(data))
	}
	want := []string{"-rwxr-xr-x provision/provision.sh contents of provision/provision.sh\n", "Lrwxrwxrwx service/static/current ../main.go"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// Without options it is the tree and the service of the working folder.
func TestLoadDefaults(t *testing.T) {
	root := tree(t)
	t.Chdir(root)
	if diff := cmp.Diff(load(t, App, options(root)).Names(), load(t, App, Options{Runner: noGit}).Names()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// One's own files lie over a core, path by path. What a core holds has no permissions of its own: a script is executable.
func TestLoadCore(t *testing.T) {
	core := fstest.MapFS{}
	for name, data := range map[string]string{
		"provision.sh": "#!/bin/sh\n", "lib.sh": "core", "base/base.sh": "#!/bin/sh\n", "base/root/etc/motd": "core", "base/root/etc/issue/text": "core",
		"base/packages": "core", "app/app.sh": "#!/bin/sh\n", "seal/seal.sh": "#!/bin/sh\n",
	} {
		core[name] = &fstest.MapFile{Data: []byte(data)}
	}
	root := t.TempDir()
	o := options(root)
	o.Core = core
	all := load(t, Base, o) // there is no folder of one's own
	want := []string{"provision/base/base.sh", "provision/base/packages", "provision/base/root/etc/issue/text", "provision/base/root/etc/motd", "provision/lib.sh", "provision/provision.sh", "provision/seal/seal.sh"}
	if diff := cmp.Diff(want, all.Names()); diff != "" {
		t.Error(diff)
	}
	for _, f := range all.files {
		if script := strings.HasPrefix(string(f.data), "#!"); f.executable != script {
			t.Errorf("%s is executable: %t", f.name, f.executable)
		}
	}
	for _, name := range []string{"base/root/etc/motd", "base/root/etc/issue", "base/packages/a", "base/own"} {
		write(t, root, "provision/"+name)
	}
	got := map[string]string{}
	for _, f := range load(t, Base, o).files {
		got[f.name] = string(f.data)
	}
	mine := contentsOf
	wantData := map[string]string{"provision/base/base.sh": "#!/bin/sh\n", "provision/lib.sh": "core", "provision/provision.sh": "#!/bin/sh\n", "provision/seal/seal.sh": "#!/bin/sh\n"}
	for _, name := range []string{"provision/base/root/etc/motd", "provision/base/root/etc/issue", "provision/base/packages/a", "provision/base/own"} {
		wantData[name] = mine(name)
	}
	if diff := cmp.Diff(wantData, got); diff != "" {
		t.Error(diff)
	}
}

// This repository's own files are Ingot's, so they have the same fingerprints with Ingot's core below them and without; and so do those of
// a repository that has none of its own.
func TestCoreIsThisRepository(t *testing.T) {
	for _, stage := range []Stage{Base, App} {
		var prints []string
		for _, o := range []Options{
			{Dir: "../../provision", Source: "../../service"}, {Dir: "../../provision", Source: "../../service", Core: ingot.Provision()},
			{Dir: "nowhere", Source: "../../service", Core: ingot.Provision()},
		} {
			prints = append(prints, load(t, stage, o).Fingerprint(nil))
		}
		if prints[0] != prints[1] || prints[1] != prints[2] {
			t.Errorf("%s: fingerprints %q", stage, prints)
		}
	}
}

// What the app stage would refuse on a machine is said before there is one.
func TestCheckBuild(t *testing.T) {
	for name, tc := range map[string]struct {
		files   []string // of the source
		pkg     string
		ignored string // by git
		problem string
	}{
		"a module":                       {files: []string{"go.mod", "main.go"}},
		"a main package elsewhere":       {files: []string{"go.mod", "cmd/hello/main.go"}, pkg: "./cmd/hello"},
		"and nobody says where":          {files: []string{"go.mod", "cmd/hello/main.go"}, problem: "it has no Go files, so its main package is in another folder"},
		"or says it wrong":               {files: []string{"go.mod", "cmd/hello/main.go"}, pkg: "./cmd/hi", problem: `there are no Go files in "./cmd/hi"`},
		"a build":                        {files: []string{"build*", "app.py"}},
		"a build of a module":            {files: []string{"build*", "go.mod"}},
		"a build that cannot be run":     {files: []string{"build", "app.py"}, problem: "its file build is not executable"},
		"a link to a build":              {files: []string{"build -> make.sh", "make.sh*"}},
		"neither":                        {files: []string{"app.py"}, problem: "it has neither a go.mod nor an executable named build"},
		"a build that git ignores":       {files: []string{"build*", "app.py"}, ignored: "build", problem: "git ignores its file build"},
		"a go.mod that git ignores":      {files: []string{"go.mod", "main.go"}, ignored: "go.mod", problem: "git ignores its go.mod"},
		"a Go file that git ignores":     {files: []string{"go.mod", "main.go", "gen.go"}, ignored: "gen.go", problem: "git ignores its file gen.go, which the go command would build here"},
		"a test that git ignores":        {files: []string{"go.mod", "main.go", "gen_test.go"}, ignored: "gen_test.go"},
		"a folder that is named build":   {files: []string{"build/out", "app.py"}, problem: "it has neither a go.mod nor an executable named build"},
		"a module's build, ignored here": {files: []string{"go.mod", "main.go", "build*"}, ignored: "build"},
	} {
		t.Run(name, func(t *testing.T) {
			root := tree(t)
			must(t, os.RemoveAll(filepath.Join(root, "service")))
			for _, file := range tc.files {
				write(t, root, "service/"+file)
			}
			o := options(root)
			o.Package = tc.pkg
			if tc.ignored != "" {
				if _, err := exec.LookPath("git"); err != nil {
					t.Skip("needs git")
				}
				must(t, os.WriteFile(filepath.Join(root, ".gitignore"), []byte(tc.ignored+"\n"), 0o644))
				must(t, command.Exec{}.Run(t.Context(), command.Cmd{Path: "git", Args: []string{"init", "-q"}, Dir: root}))
				o.Runner = nil
			}
			err := load(t, App, o).CheckBuild(o)
			problem := ""
			if e, ok := errors.AsType[*BuildError](err); ok && e.Source == o.Source {
				problem = e.Problem
			} else if err != nil {
				t.Fatal(err)
			}
			if problem != tc.problem {
				t.Errorf("problem %q, want %q", problem, tc.problem)
			}
		})
	}
}

// contentsOf is what the tests' files hold.
func contentsOf(name string) string {
	if strings.HasSuffix(name, "go.mod") {
		return "// contents of " + name + "\n"
	}
	return "contents of " + name + "\n"
}
