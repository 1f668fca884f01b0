package apt

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/command"
)

func TestCommands(t *testing.T) {
	tests := map[string]struct {
		got  []string
		want []string
	}{
		"root": {installCmd(true, []string{"packer", "shellcheck"}).Argv(),
			[]string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "--no-install-recommends", "packer", "shellcheck"}},
		"user": {installCmd(false, []string{"packer"}).Argv(),
			[]string{"sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq", "--no-install-recommends", "packer"}},
		"update": {updateCmd(true).Argv(), []string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "update", "-qq"}},
	}
	for name, tc := range tests {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestInstall(t *testing.T) {
	const install, update = "env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends packer", "env DEBIAN_FRONTEND=noninteractive apt-get update -qq"
	const sudo, download, extract = "sudo -n true", "apt-get download -qq packer", "dpkg-deb --extract UNPACK/.download/packer_1.6.6_amd64.deb UNPACK"
	noLists := &command.Error{Argv: []string{"apt-get"}, Err: exitCode(t, 100)}
	denied := &command.Error{Argv: []string{"sudo"}, Stderr: "sudo: a password is required", Err: exitCode(t, 1)}
	tests := map[string]struct {
		missing, user, unpack bool
		results               map[string][]error // by command, one after the other
		want                  []string
		err                   error
		root                  bool // the error says what root has to do
	}{
		"as root":               {want: []string{install}},
		"with sudo":             {user: true, unpack: true, want: []string{sudo, "sudo -n " + install}},
		"no package lists yet":  {results: map[string][]error{install: {noLists}}, want: []string{install, update, install}},
		"no such package":       {results: map[string][]error{install: {noLists, noLists}}, want: []string{install, update, install}, err: noLists},
		"sudo wants a password": {user: true, results: map[string][]error{sudo: {denied}}, want: []string{sudo}, err: denied, root: true},
		"unpacked":              {user: true, unpack: true, results: map[string][]error{sudo: {denied}}, want: []string{sudo, download, extract}},
		"unknown to apt-get": {
			user: true, unpack: true, results: map[string][]error{sudo: {denied}, download: {noLists}}, want: []string{sudo, download},
			err: noLists, root: true,
		},
		"another distribution": {missing: true, err: ErrUnavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			plain := func(c command.Cmd) string {
				text := strings.ReplaceAll(strings.Join(c.Argv(), " "), dir, "UNPACK")
				return regexp.MustCompile(`\.download-\d+`).ReplaceAllString(text, ".download")
			}
			fake := &command.Fake{Func: func(_ context.Context, c command.Cmd) error {
				if results := test.results[plain(c)]; len(results) > 0 {
					test.results[plain(c)] = results[1:]
					return results[0]
				}
				if plain(c) == download {
					return os.WriteFile(filepath.Join(c.Dir, "packer_1.6.6_amd64.deb"), nil, 0o644)
				}
				return nil
			}}
			i := installer{runner: fake, root: !test.user, lookPath: func(name string) (string, error) {
				if test.missing {
					return "", exec.ErrNotFound
				}
				return "/usr/bin/" + name, nil
			}}
			if test.unpack {
				i.options.Unpack = dir
			}
			err := i.install(t.Context(), []string{"packer"})
			if !errors.Is(err, test.err) {
				t.Errorf("install = %v, want %v", err, test.err)
			}
			root := new(RootError)
			if errors.As(err, &root) != test.root {
				t.Errorf("what root has to do: %v", err)
			}
			if test.root && root.Command() != "sudo apt-get update && sudo apt-get install -y --no-install-recommends packer" {
				t.Errorf("Command = %q", root.Command())
			}
			var got []string
			for _, call := range fake.Calls() {
				got = append(got, plain(call))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, ".download-*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// exitCode is the error of a process that ended with a code.
func exitCode(t *testing.T, code int) error {
	t.Helper()
	err := exec.Command("sh", "-c", "exit "+strconv.Itoa(code)).Run()
	if err == nil {
		t.Fatal("no exit error")
	}
	return err
}
