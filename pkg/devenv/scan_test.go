package devenv

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/machine"
)

// What counts as a change, with real files and git.
func TestScan(t *testing.T) {
	root := t.TempDir()
	path := func(name string) string { return filepath.Join(root, filepath.FromSlash(name)) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string) error { return os.WriteFile(path(name), []byte("// "+name+"\n"), 0o600) }
	for _, folder := range []string{"provision/base/root/etc", "provision/app/root/etc", "provision/seal", "service/sub"} {
		must(os.MkdirAll(path(folder), 0o755))
	}
	for _, name := range []string{
		"provision/provision.sh", "provision/lib.sh", "provision/base/base.sh", "provision/app/app.sh", "provision/app/root/etc/motd",
		"provision/seal/seal.sh", "service/go.mod", "service/main.go", "service/sub/x.go",
	} {
		must(write(name))
	}
	must(exec.CommandContext(t.Context(), "git", "-C", root, "init", "-q").Run())
	must(os.WriteFile(path(".gitignore"), []byte("*.out\n/service/tmp/\n"), 0o600))

	d := &dev{Options: Options{Provision: path("provision"), Source: path("service"), Engine: new(machine.Engine), Runner: command.Exec{}}, debian: "debian"}
	type digests struct{ base, app string }
	look := func() digests {
		t.Helper()
		s, _, err := d.scan(t.Context())
		must(err)
		return digests{s.baseDigest, s.appDigest}
	}
	tests := []struct {
		name      string
		edit      func() error
		base, app bool // what changes
	}{
		{"nothing", func() error { return nil }, false, false},
		{"a source file", func() error { return os.WriteFile(path("service/main.go"), []byte("package main"), 0o600) }, false, true},
		{"the same again", func() error { return os.WriteFile(path("service/main.go"), []byte("package main"), 0o600) }, false, false},
		{"a new file", func() error { return write("service/new.go") }, false, true},
		{"a file in a new folder", func() error {
			return errors.Join(os.Mkdir(path("service/web"), 0o755), write("service/web/index.html"))
		}, false, true},
		{"a rename", func() error { return os.Rename(path("service/new.go"), path("service/newer.go")) }, false, true},
		{"a rename over a file", func() error { return os.Rename(path("service/newer.go"), path("service/sub/x.go")) }, false, true},
		{"a removed folder", func() error { return os.RemoveAll(path("service/sub")) }, false, true},
		{"a file of the app stage", func() error { return os.WriteFile(path("provision/app/root/etc/motd"), []byte("x"), 0o600) }, false, true},
		{"executable", func() error { return os.Chmod(path("provision/app/root/etc/motd"), 0o700) }, false, true},
		{"a file of the base stage", func() error { return write("provision/base/root/etc/issue") }, true, false},
		{"a file of both stages", func() error { return os.WriteFile(path("provision/lib.sh"), []byte("x"), 0o600) }, true, true},
		{"what git ignores", func() error { return write("service/build.out") }, false, false},
		{"an ignored folder", func() error { return errors.Join(os.Mkdir(path("service/tmp"), 0o755), write("service/tmp/main")) }, false, false},
		{"git's own files", func() error { return write(".git/index.lock.test") }, false, false},
		{"a swap file of vim", func() error { return write("service/.main.go.swp") }, false, false},
		{"a backup", func() error { return write("service/main.go~") }, false, false},
		{"an autosave of Emacs", func() error { return write("service/#main.go#") }, false, false},
		{"a lock of Emacs", func() error { return os.Symlink("me@host.1:2", path("service/.#main.go")) }, false, false},
		{"an empty folder", func() error { return os.Mkdir(path("service/empty"), 0o755) }, false, false},
	}
	was := look()
	for _, tt := range tests {
		must(tt.edit())
		is := look()
		if (is.base != was.base) != tt.base || (is.app != was.app) != tt.app {
			t.Errorf("%s: base changes %v, want %v; app changes %v, want %v", tt.name, is.base != was.base, tt.base, is.app != was.app, tt.app)
		}
		was = is
	}
}
