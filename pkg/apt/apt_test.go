package apt

import (
	"context"
	"errors"
	"os/exec"
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
	noLists := &command.Error{Argv: []string{"apt-get"}, Err: exitCode(t, 100)}
	denied := &command.Error{Argv: []string{"sudo"}, Stderr: "sudo: a password is required", Err: exitCode(t, 1)}
	tests := map[string]struct {
		missing, user bool
		results       []error
		want          []string
		err           error
	}{
		"as root":               {want: []string{install}},
		"with sudo":             {user: true, want: []string{"sudo -n " + install}},
		"no package lists yet":  {results: []error{noLists}, want: []string{install, update, install}},
		"no such package":       {results: []error{noLists, nil, noLists}, want: []string{install, update, install}, err: noLists},
		"sudo wants a password": {user: true, results: []error{denied}, want: []string{"sudo -n " + install}, err: denied},
		"another distribution":  {missing: true, err: ErrUnavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			results := test.results
			fake := &command.Fake{Func: func(context.Context, command.Cmd) error {
				if len(results) == 0 {
					return nil
				}
				result := results[0]
				results = results[1:]
				return result
			}}
			i := installer{runner: fake, root: !test.user, lookPath: func(name string) (string, error) {
				if test.missing {
					return "", exec.ErrNotFound
				}
				return "/usr/bin/" + name, nil
			}}
			if err := i.install(t.Context(), []string{"packer"}); !errors.Is(err, test.err) {
				t.Errorf("install = %v, want %v", err, test.err)
			}
			var got []string
			for _, call := range fake.Calls() {
				got = append(got, strings.Join(call.Argv(), " "))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
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
