package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/system"
)

func TestFindEndpoint(t *testing.T) {
	const (
		config = `{"currentContext":"colima"}`
		meta   = `{"Name":"colima","Endpoints":{"docker":{"Host":"unix:///home/me/.colima/docker.sock"}}}`
		remote = `{"Name":"remote","Endpoints":{"docker":{"Host":"tcp://build:2376","SkipTLSVerify":false}}}`
		// sha256 of "colima"
		colimaID = "f24fd3749c1368328e2b149bec149cb6795619f244c5b584e844961215dadd16"
	)
	files := map[string]string{
		"/home/me/.docker/config.json": config, "/home/me/.docker/contexts/meta/" + colimaID + "/meta.json": meta,
		"/home/broken/.docker/config.json": `{"currentContext":`,
		"/home/spoilt/.docker/config.json": config, "/home/spoilt/.docker/contexts/meta/" + colimaID + "/meta.json": "{",
		"/home/tls/.docker/config.json": config, "/home/tls/.docker/contexts/meta/" + colimaID + "/meta.json": remote,
		"/home/tls/.docker/contexts/tls/" + colimaID + "/docker": "",
		"/run/user/1000/docker.sock":                             "", "/home/orb/.orbstack/run/docker.sock": "", "/home/desk/.docker/desktop/docker.sock": "",
	}
	for name, test := range map[string]struct {
		env     map[string]string
		usual   bool // the usual socket is there
		want    endpoint
		wantErr string
	}{
		"current context": {
			env: map[string]string{"HOME": "/home/me"}, usual: true,
			want: endpoint{host: "unix:///home/me/.colima/docker.sock", from: `the docker context "colima"`},
		},
		"a context with certificates": {
			env: map[string]string{"HOME": "/home/tls"},
			want: endpoint{
				host: "tcp://build:2376", from: `the docker context "colima"`, tls: "/home/tls/.docker/contexts/tls/" + colimaID + "/docker",
			},
		},
		"another folder": {
			env:  map[string]string{"DOCKER_CONFIG": "/home/me/.docker"},
			want: endpoint{host: "unix:///home/me/.colima/docker.sock", from: `the docker context "colima"`},
		},
		"DOCKER_CONTEXT": {
			env: map[string]string{"HOME": "/home/me", "DOCKER_CONTEXT": "default"}, usual: true, want: endpoint{host: "unix:///var/run/docker.sock"},
		},
		"DOCKER_HOST wins": {
			env: map[string]string{"HOME": "/home/me", "DOCKER_HOST": "tcp://x"}, usual: true, want: endpoint{host: "tcp://x", from: "DOCKER_HOST"},
		},
		"an unknown context": {
			env: map[string]string{"HOME": "/home/you", "DOCKER_CONTEXT": "mine"}, usual: true,
			wantErr: `DOCKER_CONTEXT names the docker context "mine", which there is not`,
		},
		"settings that cannot be read": {env: map[string]string{"HOME": "/home/broken"}, usual: true, wantErr: "read /home/broken/.docker/config.json"},
		"a context that is spoilt":     {env: map[string]string{"HOME": "/home/spoilt"}, usual: true, wantErr: `read the docker context "colima"`},
		"the usual one":                {env: map[string]string{"HOME": "/home/you", "XDG_RUNTIME_DIR": "/run/user/1000"}, usual: true, want: endpoint{host: "unix:///var/run/docker.sock"}},
		"rootless":                     {env: map[string]string{"HOME": "/home/you", "XDG_RUNTIME_DIR": "/run/user/1000"}, want: endpoint{host: "unix:///run/user/1000/docker.sock"}},
		"OrbStack":                     {env: map[string]string{"HOME": "/home/orb"}, want: endpoint{host: "unix:///home/orb/.orbstack/run/docker.sock"}},
		"Docker Desktop on Linux":      {env: map[string]string{"HOME": "/home/desk"}, want: endpoint{host: "unix:///home/desk/.docker/desktop/docker.sock"}},
		"none":                         {env: map[string]string{"HOME": "/home/you"}},
		"not even a home":              {},
	} {
		t.Run(name, func(t *testing.T) {
			has := func(path string) bool {
				_, ok := files[path]
				return ok || test.usual && path == "/var/run/docker.sock"
			}
			got, err := findEndpoint(machineView{
				getenv: func(k string) string { return test.env[k] },
				readFile: func(name string) ([]byte, error) {
					if data, ok := files[name]; ok {
						return []byte(data), nil
					}
					return nil, &fs.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
				},
				exists: has,
				usable: has,
			})
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			if (err == nil) != (test.wantErr == "") || err != nil && (!strings.Contains(err.Error(), test.wantErr) || !errors.Is(err, ErrNoEngine)) {
				t.Errorf("got %v, want %s", err, test.wantErr)
			}
		})
	}
}

func TestEndpointExplains(t *testing.T) {
	t.Setenv("DOCKER_API_VERSION", "1.99")
	for name, test := range map[string]struct {
		at   endpoint
		err  error
		want string
	}{
		"no rights": {
			endpoint{host: "unix:///var/run/docker.sock"}, fmt.Errorf("dial: %w", fs.ErrPermission),
			"no Docker engine answers at unix:///var/run/docker.sock: this user may not use it: run sudo usermod -aG docker $USER, and log in again (dial: permission denied)",
		},
		"a version": {
			endpoint{host: "unix:///var/run/docker.sock"}, errors.New("client version 1.99 is too new. Maximum supported API version is 1.41"),
			"DOCKER_API_VERSION asks for a version that it does not know: unset it",
		},
		"ssh": {
			endpoint{host: "ssh://me@build", from: "DOCKER_HOST"}, errors.New("Permission denied (publickey): permission denied"),
			"check that this works, and asks for no password: ssh me@build docker version",
		},
		"DOCKER_HOST": {endpoint{host: "tcp://build:2375", from: "DOCKER_HOST"}, errors.New("refused"), "DOCKER_HOST says so: check that it names an engine that runs"},
		"a context": {
			endpoint{host: "tcp://build:2375", from: `the docker context "build"`}, errors.New("refused"),
			`at tcp://build:2375 (the docker context "build"): the docker context "build" says so: check`,
		},
		"nothing there": {endpoint{}, errors.New("no such file"), "at unix:///var/run/docker.sock: start it (sudo systemctl start docker), or install it"},
	} {
		err := test.at.explain(t.Context(), test.err)
		if !errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	err := endpoint{}.explain(ctx, ctx.Err())
	if !errors.Is(err, ErrSlowEngine) || errors.Is(err, ErrNoEngine) || !strings.Contains(err.Error(), "within 1m0s: it may be busy") {
		t.Errorf("a deadline: %v", err)
	}
}

func TestHostOf(t *testing.T) {
	here, there := endpoint{host: "unix:///var/run/docker.sock"}, endpoint{host: "ssh://me@build"}
	for name, test := range map[string]struct {
		info   system.Info
		at     endpoint
		routed bool
		armour bool
	}{
		"usual":          {system.Info{}, here, true, false},
		"default":        {system.Info{}, endpoint{}, true, false},
		"Ubuntu":         {system.Info{SecurityOptions: []string{"name=apparmor", "name=seccomp,profile=builtin"}}, here, true, true},
		"rootless":       {system.Info{SecurityOptions: []string{"name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"}}, here, false, false},
		"Docker Desktop": {system.Info{OperatingSystem: "Docker Desktop"}, here, false, false},
		"elsewhere":      {system.Info{}, there, false, false},
		"tcp, but here":  {system.Info{}, endpoint{host: "tcp://127.0.0.1:2375"}, true, false},
		"tcp":            {system.Info{}, endpoint{host: "tcp://10.0.0.7:2375"}, false, false},
	} {
		got := hostOf(test.info, test.at)
		if got.routed != test.routed || got.appArmor != test.armour {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The certificates of a context are used, and what is wrong with them is said.
func TestEndpointOptions(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := endpoint{host: "tcp://build:2376", tls: dir}.options()
	if err != nil || len(options) == 0 {
		t.Fatalf("%d options, %v", len(options), err)
	}
	if _, err := (endpoint{host: "ssh://:"}).options(); !errors.Is(err, ErrNoEngine) {
		t.Errorf("an address of nobody: %v", err)
	}
}
