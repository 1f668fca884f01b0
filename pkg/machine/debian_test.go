package machine

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/docker/docker/pkg/jsonmessage"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/command"
)

func TestMmdebstrapArgs(t *testing.T) {
	tests := []struct {
		name string
		r    recipe
		want []string
	}{
		{"usual", recipe{architecture: "amd64", mirror: defaultMirror}, []string{
			"--variant=minbase",
			"--architectures=amd64",
			"--include=ca-certificates,dbus,iproute2,netbase,openssh-server,procps,sudo,systemd,systemd-sysv",
			"--dpkgopt=force-unsafe-io",
			"--customize-hook=tar-in /tmp/files.tar /",
			`--customize-hook=chroot "$1" /bin/sh /setup.sh`,
			`--customize-hook=rm "$1/setup.sh"`,
			"trixie", "-",
			"deb http://deb.debian.org/debian trixie main",
			"deb http://deb.debian.org/debian trixie-updates main",
			"deb http://deb.debian.org/debian-security trixie-security main",
		}},
		{"everything", recipe{architecture: "arm64", mirror: "http://mirror/debian", proxy: "http://proxy:3128"}, []string{
			"--variant=minbase",
			"--architectures=arm64",
			"--include=ca-certificates,dbus,iproute2,netbase,openssh-server,procps,sudo,systemd,systemd-sysv",
			"--dpkgopt=force-unsafe-io",
			"--customize-hook=tar-in /tmp/files.tar /",
			`--customize-hook=chroot "$1" /bin/sh /setup.sh`,
			`--customize-hook=rm "$1/setup.sh"`,
			`--aptopt=Acquire::http::Proxy "http://proxy:3128"`,
			"trixie", "-",
			"deb http://mirror/debian trixie main",
			"deb http://mirror/debian trixie-updates main",
			"deb http://deb.debian.org/debian-security trixie-security main",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, mmdebstrapArgs(tt.r, "/tmp/files.tar")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestFingerprintCoversEverything(t *testing.T) {
	base := recipe{architecture: "amd64", mirror: "m", registry: "r", setup: []byte("s"), files: []File{{Path: "/a", Data: []byte("b"), Mode: 0o644}}}
	seen := map[string]string{base.fingerprint(): "unchanged"}
	for name, change := range map[string]func(*recipe){
		"architecture": func(r *recipe) { r.architecture = "arm64" },
		"mirror":       func(r *recipe) { r.mirror = "n" },
		"registry":     func(r *recipe) { r.registry = "q" },
		"setup":        func(r *recipe) { r.setup = []byte("t") },
		"path":         func(r *recipe) { r.files = []File{{Path: "/b", Data: []byte("b"), Mode: 0o644}} },
		"content":      func(r *recipe) { r.files = []File{{Path: "/a", Data: []byte("c"), Mode: 0o644}} },
		"mode":         func(r *recipe) { r.files = []File{{Path: "/a", Data: []byte("b"), Mode: 0o755}} },
	} {
		r := base
		change(&r)
		if other, ok := seen[r.fingerprint()]; ok {
			t.Errorf("the recipe with another %s has the fingerprint of the one with %s", name, other)
		}
		seen[r.fingerprint()] = "another " + name
	}
	if same := base; same.fingerprint() != base.fingerprint() {
		t.Error("the fingerprint changes by itself")
	}
}

func TestRootFiles(t *testing.T) {
	files, err := rootFiles()
	if err != nil {
		t.Fatal(err)
	}
	modes := map[string]fs.FileMode{}
	for _, f := range files {
		modes[f.Path] = f.Mode
		if len(f.Data) == 0 {
			t.Errorf("%s is empty", f.Path)
		}
	}
	for path, want := range map[string]fs.FileMode{
		"/usr/lib/ingot/first-boot":                    0o755,
		"/usr/lib/ingot/user-data":                     0o755,
		"/usr/bin/cloud-init":                          0o755,
		"/etc/ssh/sshd_config.d/ingot.conf":            0o644,
		"/etc/systemd/system/ingot-user-data.service":  0o644,
		"/etc/systemd/system/ingot-first-boot.service": 0o644,
		"/etc/systemd/journald.conf.d/ingot.conf":      0o644,
		"/etc/sudoers.d/90-cloud-init-users":           0o644,
		"/etc/apt/apt.conf.d/90ingot":                  0o644,
		"/etc/systemd/system.conf.d/ingot.conf":        0o644,
	} {
		if modes[path] != want {
			t.Errorf("%s has mode %o, want %o", path, modes[path], want)
		}
	}
}

func TestAptFiles(t *testing.T) {
	paths := func(files []File) (p []string) {
		for _, f := range files {
			p = append(p, f.Path)
		}
		return p
	}
	const sources, proxy = "/etc/apt/sources.list.d/debian.sources", "/etc/apt/apt.conf.d/91proxy"
	for given, want := range map[string][]string{
		"":                          {sources},
		"http://proxy.example:3128": {sources, proxy},
		"http://127.0.0.1:3128":     {sources},
		"http://localhost:3128":     {sources},
		"http://[::1]:3128":         {sources},
	} {
		if diff := cmp.Diff(want, paths(aptFiles(defaultMirror, given))); diff != "" {
			t.Errorf("proxy %q (-want +got)\n%s", given, diff)
		}
	}
	text := string(aptFiles("http://mirror/debian", "")[0].Data)
	for _, want := range []string{"URIs: http://mirror/debian\n", "Suites: trixie trixie-updates\n", "Suites: trixie-security\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("sources lack %q:\n%s", want, text)
		}
	}
}

func TestHostProxy(t *testing.T) {
	tests := []struct {
		name, prints, env, want string
		err                     error
	}{
		{name: "apt's", prints: "proxy='http://apt.example:3142'\n", env: "http://other.example", want: "http://apt.example:3142"},
		{name: "the environment's", env: "http://env.example:3128", want: "http://env.example:3128"},
		{name: "no apt here", err: errors.New("not found"), env: "http://env.example:3128", want: "http://env.example:3128"},
		{name: "none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("http_proxy", tt.env)
			run := &command.Fake{Func: func(_ context.Context, c command.Cmd) error {
				_, _ = io.WriteString(c.Stdout, tt.prints)
				return tt.err
			}}
			if got := hostProxy(t.Context(), run); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSeedFiles(t *testing.T) {
	files := Seed{InstanceID: "i-1", AuthorizedKeys: []string{"ssh-ed25519 AAAA a", "ssh-rsa BBBB b"}, UserData: []byte("#!/bin/sh\n")}.Files()
	got := map[string]string{}
	for _, f := range files {
		got[f.Path] = string(f.Data)
	}
	want := map[string]string{
		"/etc/machine-id":                         "",
		"/var/lib/cloud/instance/instance-id":     "i-1\n",
		"/var/lib/cloud/instance/authorized-keys": "ssh-ed25519 AAAA a\nssh-rsa BBBB b\n",
		"/var/lib/cloud/instance/user-data":       "#!/bin/sh\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTarOf(t *testing.T) {
	type entry struct {
		Name string
		Mode int64
		Data string
		UID  int
	}
	var got []entry
	r := tar.NewReader(tarOf([]File{
		{Path: "/a/b/c", Data: []byte("one"), UID: 1000},
		{Path: "/a/b/d", Mode: 0o700},
		{Path: "e", Data: []byte("two")},
	}))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(r)
		got = append(got, entry{h.Name, h.Mode, string(data), h.Uid})
	}
	want := []entry{{"a/b/c", 0o644, "one", 1000}, {"a/b/d", 0o700, "", 0}, {"e", 0o644, "two", 0}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestReadMessages(t *testing.T) {
	var got []string
	err := readMessages(strings.NewReader(`{"status":"Pulling"}
{"status":"Downloading","id":"ab","progressDetail":{"current":1,"total":2}}
`), func(m jsonmessage.JSONMessage) { got = append(got, m.Status) })
	if err != nil || !slices.Equal(got, []string{"Pulling", "Downloading"}) {
		t.Errorf("got %q, %v", got, err)
	}
	for name, text := range map[string]string{
		"toomanyrequests": `{"status":"Pulling"}{"errorDetail":{"message":"toomanyrequests"},"error":"toomanyrequests"}`,
		"read the engine": `{"status":`,
	} {
		if err := readMessages(strings.NewReader(text), func(jsonmessage.JSONMessage) {}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %s", err, name)
		}
	}
}

func TestTemporaryRoot(t *testing.T) {
	good, missing := t.TempDir(), filepath.Join(t.TempDir(), "missing")
	for name, test := range map[string]struct {
		folders, want []string
	}{
		"the usual one":          {[]string{good, missing}, nil},
		"another one":            {[]string{missing, good}, []string{"TMPDIR=" + good}},
		"none, which it may say": {[]string{missing}, nil},
	} {
		if diff := cmp.Diff(test.want, temporaryRoot(test.folders...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(good, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
