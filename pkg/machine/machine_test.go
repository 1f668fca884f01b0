package machine

import (
	"net/netip"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/google/go-cmp/cmp"
)

// everything is a Spec that sets every field.
var everything = Spec{
	Name:     "m",
	Image:    "ingot-machine:test",
	Hostname: "host",
	Labels:   map[string]string{"k": "v"},
	Network:  "net",
	Memory:   1 << 30,
	CPUs:     2,
	Ports:    []Port{{Host: netip.MustParseAddrPort("127.0.0.1:8080"), Guest: 80}},
	Mounts: []Mount{
		{Volume: "cache", Target: "/var/cache/go"},
		{Path: "/src", Target: "/srv", ReadOnly: true},
		{Target: "/var/tmp"},
	},
}

func TestContainerConfig(t *testing.T) {
	init := []string{"/bin/sh", "-c", bootScript}
	remount := []string{"/bin/sh", "-c", "mount -o remount,bind,rw /sys/fs/cgroup || exit\n" + bootScript}
	tests := []struct {
		name     string
		spec     Spec
		cgroupV2 bool
		want     container.Config
	}{
		{"least", Spec{Image: "i"}, false, container.Config{Image: "i", Entrypoint: init, ExposedPorts: nat.PortSet{}}},
		{"least, cgroup v2", Spec{Image: "i"}, true, container.Config{Image: "i", Entrypoint: remount, ExposedPorts: nat.PortSet{}}},
		{"everything", everything, false, container.Config{
			Image: "ingot-machine:test", Entrypoint: init, Hostname: "host", Labels: map[string]string{"k": "v"},
			ExposedPorts: nat.PortSet{"80/tcp": {}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Cmd = []string{}
			tt.want.User, tt.want.WorkingDir, tt.want.Tty, tt.want.StopSignal = "0", "/", true, "SIGRTMIN+3"
			tt.want.Env = []string{"container=docker"}
			if diff := cmp.Diff(tt.want, *containerConfig(tt.spec, tt.cgroupV2)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestHostConfig(t *testing.T) {
	limited := host{memoryLimit: true, cpuLimit: true, cpus: 4}
	tests := []struct {
		name string
		spec Spec
		on   host
		want container.HostConfig
	}{
		{"least", Spec{}, host{}, container.HostConfig{PortBindings: nat.PortMap{}}},
		{"least, cgroup v2", Spec{}, host{cgroupV2: true}, container.HostConfig{PortBindings: nat.PortMap{}}},
		{"least, AppArmor", Spec{}, host{appArmor: true}, container.HostConfig{
			PortBindings: nat.PortMap{}, SecurityOpt: []string{"apparmor=unconfined"},
		}},
		{"an engine that cannot limit", Spec{Memory: 1 << 30, CPUs: 2}, host{cpus: 4}, container.HostConfig{PortBindings: nat.PortMap{}}},
		{"an engine with fewer processors", Spec{CPUs: 8}, limited, container.HostConfig{PortBindings: nat.PortMap{}}},
		{"everything", everything, limited, container.HostConfig{
			Resources:    container.Resources{Memory: 1 << 30, MemorySwap: 1 << 30, NanoCPUs: 2e9},
			NetworkMode:  "net",
			PortBindings: nat.PortMap{"80/tcp": {{HostIP: "127.0.0.1", HostPort: "8080"}}},
			Mounts: []mount.Mount{
				{Type: mount.TypeVolume, Source: "cache", Target: "/var/cache/go"},
				{Type: mount.TypeBind, Source: "/src", Target: "/srv", ReadOnly: true},
				{Type: mount.TypeVolume, Target: "/var/tmp"},
			},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.CapAdd, tt.want.CapDrop = []string{"SYS_ADMIN"}, []string{"NET_RAW"}
			tt.want.CgroupnsMode = "private"
			tt.want.Tmpfs = map[string]string{
				"/run":      "rw,nosuid,nodev,mode=755",
				"/run/lock": "rw,nosuid,nodev,noexec,mode=1777",
				"/tmp":      "rw,nosuid,nodev,exec,mode=1777",
			}
			tt.want.LogConfig = container.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "2m", "max-file": "2"}}
			tt.want.Sysctls = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}
			tt.want.SecurityOpt = append([]string{"no-new-privileges=false"}, tt.want.SecurityOpt...)
			got := hostConfig(tt.spec, tt.on)
			if diff := cmp.Diff(tt.want, *got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if got.Privileged {
				t.Error("a machine must not be privileged")
			}
		})
	}
}

func TestInfoOf(t *testing.T) {
	settings := &container.NetworkSettings{Networks: map[string]*network.EndpointSettings{"net": {IPAddress: "172.18.0.2"}}}
	settings.Ports = nat.PortMap{
		"80/tcp": {{HostIP: "127.0.0.1", HostPort: "8080"}},
		"22/tcp": {{HostIP: "127.0.0.1", HostPort: "2222"}},
		"25/tcp": nil,
	}
	inspect := func(status container.ContainerState) container.InspectResponse {
		return container.InspectResponse{
			ContainerJSONBase: &container.ContainerJSONBase{
				ID: "0123", Name: "/m", Image: "sha256:45",
				State: &container.State{Status: status, StartedAt: "2026-01-02T03:04:05.6Z"},
			},
			Config:          &container.Config{Image: "i", Labels: map[string]string{"k": "v"}},
			NetworkSettings: settings,
		}
	}
	base := Info{
		ID: "0123", Name: "m", Image: "i", ImageID: "sha256:45", Labels: map[string]string{"k": "v"},
		Started: time.Date(2026, 1, 2, 3, 4, 5, 600e6, time.UTC),
	}
	running, stopped, created := base, base, base
	running.State, stopped.State, created.State = Running, Stopped, Created
	running.Address = netip.MustParseAddr("172.18.0.2")
	running.Ports = []Port{
		{Host: netip.MustParseAddrPort("127.0.0.1:2222"), Guest: 22},
		{Host: netip.MustParseAddrPort("127.0.0.1:8080"), Guest: 80},
	}
	for status, want := range map[container.ContainerState]Info{
		container.StateRunning: running, container.StatePaused: running,
		container.StateExited: stopped, container.StateDead: stopped,
		container.StateCreated: created,
	} {
		if diff := cmp.Diff(want, infoOf(inspect(status)), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
			cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got)\n%s", status, diff)
		}
	}
}

func TestRelayConfig(t *testing.T) {
	r := Relay{
		Name: "r", Image: "i", Labels: map[string]string{"k": "v"},
		From: netip.MustParseAddrPort("127.1.2.3:80"), To: netip.MustParseAddrPort("127.0.0.1:40000"),
	}
	want := container.Config{
		Image:      "i",
		Entrypoint: []string{"/usr/bin/systemd-socket-activate", "--listen=127.1.2.3:80"},
		Cmd:        []string{"/usr/lib/systemd/systemd-socket-proxyd", "--connections-max=4096", "127.0.0.1:40000"},
		Tty:        true,
		StopSignal: "SIGTERM",
		Labels:     map[string]string{"k": "v"},
	}
	if diff := cmp.Diff(want, *relayConfig(r)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestExecOptions(t *testing.T) {
	tests := []struct {
		name string
		c    Command
		want container.ExecOptions
	}{
		{"least", Command{Args: []string{"true"}}, container.ExecOptions{
			Cmd: []string{"true"}, Env: []string{"INGOT_EXEC=t"}, AttachStdout: true, AttachStderr: true,
		}},
		{"everything", Command{Args: []string{"sh", "-l"}, Env: []string{"A=b"}, Dir: "/srv", User: "admin", Stdin: nil, TTY: true}, container.ExecOptions{
			Cmd: []string{"sh", "-l"}, Env: []string{"INGOT_EXEC=t", "A=b"}, WorkingDir: "/srv", User: "admin", Tty: true, AttachStdout: true,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, execOptions(tt.c, "t")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestExitError(t *testing.T) {
	tests := []struct {
		err  ExitError
		want string
	}{
		{ExitError{Args: []string{"false"}, Code: 1}, "false: exit status 1"},
		{ExitError{Args: []string{"ls", "a b"}, Code: 2, Stderr: "one\nls: a b: not there\n\n"}, "ls 'a b': exit status 2: ls: a b: not there"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func TestPlainText(t *testing.T) {
	terminal := "\x1b[0;1;31mFailed\x1b[0m to start.\r\n\x1b]0;title\x07Booted\r\n" +
		"[ 12.5] systemd[1]: Failed to create compat systemd cgroup '/init.scope', ignoring: Read-only file system\r\n" +
		"[ 12.6] (sshd)[48]: Failed to attach 48 to compat systemd cgroup '/system.slice/ssh.service', ignoring: No such file or directory\r\nend"
	if got, want := plainText(terminal), "Failed to start.\nBooted\nend"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTagsOf(t *testing.T) {
	got := tagsOf([]string{"a:b", "<none>:<none>", "ingot-removed:0123456789ab", "c:d"})
	if diff := cmp.Diff([]string{"a:b", "c:d"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
