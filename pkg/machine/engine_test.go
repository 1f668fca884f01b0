package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/system"
)

func TestConnectWithoutEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix://"+t.TempDir()+"/docker.sock")
	_, err := Connect(t.Context())
	if !errors.Is(err, ErrNoEngine) {
		t.Fatalf("got %v, want ErrNoEngine", err)
	}
	if !strings.Contains(err.Error(), "DOCKER_HOST") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %q, want one line that says what to check", err)
	}
}

func TestDebianArchitecture(t *testing.T) {
	for name, want := range map[string]string{"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"} {
		if got, err := debianArchitecture(name); got != want || err != nil {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if _, err := debianArchitecture("riscv64"); err == nil {
		t.Error("riscv64: want an error")
	}
}

func TestAbout(t *testing.T) {
	got := about(system.Info{
		NCPU: 2, MemTotal: 25276510208, OperatingSystem: "Debian GNU/Linux 12 (bookworm)", KernelVersion: "6.1.0-44-cloud-amd64",
		ServerVersion: "20.10.24+dfsg1", Driver: "overlay2", CgroupVersion: "1",
	})
	want := "2 processors, 24 GB of memory, Debian GNU/Linux 12 (bookworm), Linux 6.1, Docker 20.10.24 with overlay2 and cgroup v1"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestExplain(t *testing.T) {
	tests := []struct {
		err  error
		want error
	}{
		{errors.New("Error response from daemon: write /var/lib/docker/x: no space left on device"), ErrNoSpace},
		{errors.New("driver failed programming external connectivity: Bind for 127.0.0.1:80 failed: port is already allocated"), ErrPortTaken},
		{errors.New("listen tcp4 127.0.0.1:80: bind: address already in use"), ErrPortTaken},
		{fmt.Errorf("No such image: x:latest: %w", errdefs.ErrNotFound), ErrNoImage},
		{fmt.Errorf("No such container: m: %w", errdefs.ErrNotFound), ErrNotFound},
		{fmt.Errorf(`The container name "/m" is already in use by container "0123": %w`, errdefs.ErrConflict), ErrExists},
		{fmt.Errorf("unable to remove repository reference: image is being used by running container: %w", errdefs.ErrConflict), ErrImageInUse},
		{fmt.Errorf("Container 0123 is not running: %w", errdefs.ErrConflict), ErrNotRunning},
		{errors.New("could not find an available, non-overlapping IPv4 address pool among the defaults"), ErrNoSubnet},
	}
	for _, tt := range tests {
		err := explain("do", "m", tt.err)
		if !errors.Is(err, tt.want) || !strings.HasPrefix(err.Error(), `do "m": `+tt.want.Error()) {
			t.Errorf("got %v, want %v", err, tt.want)
		}
	}
	if err := explain("do", "m", nil); err != nil {
		t.Error(err)
	}
	if err := explain("do", "m", fs.ErrInvalid); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("%v does not wrap its cause", err)
	}
}
