package packer

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-version"

	"github.com/ingot-build/ingot/pkg/apt"
	"github.com/ingot-build/ingot/pkg/command"
)

// commands is a machine on which these commands print these versions.
func commands(versions map[string]string) *command.Fake {
	return &command.Fake{Func: func(_ context.Context, c command.Cmd) error {
		out, ok := versions[c.Path]
		if !ok {
			return &command.Error{Argv: c.Argv(), Err: exec.ErrNotFound}
		}
		io.WriteString(c.Stdout, out)
		return nil
	}}
}

func v(text string) *version.Version { return version.Must(version.NewVersion(text)) }

func TestParseVersion(t *testing.T) {
	tests := []struct {
		output string
		want   *version.Version
	}{
		{"Packer v1.6.6\n", v("1.6.6")},
		{"Packer v1.6.6\n\nYour version of Packer is out of date! The latest version\nis 1.14.2. You can update by downloading from\nwww.packer.io/downloads\n", v("1.6.6")},
		{"Packer v1.15.0-dev (abc123)\r\n", v("1.15.0")},
		{"some warning\nPacker v1.11.2", v("1.11.2")},
	}
	for _, test := range tests {
		if got, err := parseVersion(test.output); err != nil || !got.Equal(test.want) {
			t.Errorf("parseVersion(%q) = %v, %v, want %v", test.output, got, err, test.want)
		}
	}
	for _, output := range []string{"", "1.6.6", "Packer v1.6", "Packer v99999999999999999999.0.0", "skipping line: version"} {
		if got, err := parseVersion(output); !errors.As(err, new(*VersionError)) {
			t.Errorf("parseVersion(%q) = %v, %v, want a *VersionError", output, got, err)
		}
	}
}

func TestCapabilities(t *testing.T) {
	all := capabilities{plugins: true, metadataOptions: true, ed25519: true, unlimitedCredits: true}
	for version, want := range map[string]capabilities{
		"1.6.6": {}, "1.6.99": {}, "1.7.0": all, "1.16.0": all, "2.0.0": all,
	} {
		if got := capabilitiesOf(v(version)); got != want {
			t.Errorf("%s: %+v, want %+v", version, got, want)
		}
	}
}

func TestFind(t *testing.T) {
	const cached = "/cache/packer"
	tests := []struct {
		name     string
		commands map[string]string
		path     string
		err      string
	}{
		{"on PATH", map[string]string{"packer": "Packer v1.6.6", cached: "Packer v1.14.0"}, "packer", ""},
		{"in the cache", map[string]string{cached: "Packer v1.14.0"}, cached, ""},
		{"another program on PATH", map[string]string{"packer": "12 words", cached: "Packer v1.14.0"}, cached, ""},
		{"another program alone", map[string]string{"packer": "12 words"}, "", `packer is not installed: the one on PATH is another program: no version of Packer in "12 words"`},
		{"too old", map[string]string{"packer": "Packer v1.3.4"}, "", "packer is not installed"},
		{"none", nil, "", "packer is not installed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := Find(t.Context(), commands(test.commands), "/cache")
			if test.err != "" {
				if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), test.err) {
					t.Errorf("Find = %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || p.Path != test.path {
				t.Errorf("Find = %+v, %v, want %s", p, err, test.path)
			}
		})
	}
}

func TestInit(t *testing.T) {
	cache := t.TempDir()
	fake := &command.Fake{}
	old := &Packer{Path: "packer", Version: v("1.6.6"), runner: fake, plugins: cache}
	if err := old.Init(t.Context(), "packer/plugins"); err != nil || len(fake.Calls()) != 0 {
		t.Errorf("1.6.6: %v, ran %v", err, fake.Calls())
	}
	current := &Packer{Path: "/cache/packer", Version: v("1.14.0"), runner: fake, plugins: filepath.Join(cache, "plugins")}
	if err := current.Init(t.Context(), "packer/plugins"); err != nil {
		t.Fatal(err)
	}
	call := fake.Calls()[0]
	if diff := cmp.Diff([]string{"/cache/packer", "init", "packer/plugins"}, call.Argv()); diff != "" {
		t.Error(diff)
	}
	if want := "PACKER_PLUGIN_PATH=" + cache + "/plugins"; !slices.Contains(call.Env, want) {
		t.Errorf("environment %q, want %s in it", call.Env, want)
	}
}

func TestInstallFallsBackToThePackage(t *testing.T) {
	offline, denied := errors.New("no route to host"), errors.New("a password is required")
	tests := map[string]struct {
		download, fallback error
		want               []error
	}{
		"downloads":     {nil, denied, nil},
		"package":       {offline, nil, nil},
		"neither works": {offline, denied, []error{offline, denied}},
		"not Debian":    {offline, apt.ErrUnavailable, []error{offline}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := installEither(t.Context(), func(context.Context) error { return test.download }, func(context.Context) error { return test.fallback })
			if (err == nil) != (len(test.want) == 0) {
				t.Errorf("installEither = %v, want %v", err, test.want)
			}
			for _, want := range test.want {
				if !errors.Is(err, want) {
					t.Errorf("installEither = %v, want %v", err, want)
				}
			}
		})
	}
}
