package machine

import (
	"context"
	_ "embed" // boot.sh
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
)

// Spec describes a machine.
type Spec struct {
	Name     string // names the machine to the engine; unique there
	Image    string // an image that boots systemd, such as Image made
	Hostname string
	Labels   map[string]string
	Network  string // a network that CreateNetwork made; empty for the engine's default one
	// LinkLocal is a link-local address that the machine has beside the engine's, as any other on its network may have too: only the
	// machine itself reaches it. It needs a Network.
	LinkLocal netip.Addr
	// Memory bounds what the machine's processes take together, in bytes, and CPUs how many processors they have at a time. 0 means
	// all that the engine has; so does an engine that cannot bound it.
	Memory int64
	CPUs   int
	Ports  []Port
	Mounts []Mount
	Files  []File // put on the disk before the machine boots
}

// Port is a TCP port of a machine that is published on this host.
type Port struct {
	Host  netip.AddrPort // where this host listens; port 0 for one that the engine picks
	Guest uint16
}

// Mount is a volume of the engine, or a folder of this host, inside a machine. It is not part of the machine's images. With neither, it
// is a volume of the machine's own, which goes with it: a file system of the host's, where the machine's disk may be a slow one.
type Mount struct {
	Volume   string // a volume's name; made when it does not exist
	Path     string // or a folder on this host
	Target   string // the folder in the machine
	ReadOnly bool
}

// State is what a machine is doing.
type State string

// The states of a machine.
const (
	Created State = "created" // never started
	Running State = "running"
	Stopped State = "stopped"
)

// Info is a machine as it was last seen.
type Info struct {
	ID       string // the engine's own
	Name     string
	Image    string // as it was named when the machine was created
	ImageID  string
	State    State
	ExitCode int        // of a stopped machine's systemd
	Address  netip.Addr // on its network, reachable from a Linux host; the zero Addr unless running
	Ports    []Port     // as published; empty unless running
	Labels   map[string]string
	Started  time.Time // last start
}

// stopSignal makes systemd, as the first process of a container, shut the machine down in order (systemd(1), "Signals").
const stopSignal = "SIGRTMIN+3"

// consoleSize bounds what the engine keeps of a machine's console, per file, of which there are two.
const consoleSize = "2m"

// Create creates a machine and puts its files in place, and does not start it.
// It fails with ErrExists, ErrNoImage, ErrPortTaken or ErrNoSpace where that is the reason.
func (e *Engine) Create(ctx context.Context, s Spec) error {
	net := &network.NetworkingConfig{}
	if s.Network != "" {
		endpoint := &network.EndpointSettings{}
		if s.LinkLocal.IsValid() {
			endpoint.IPAMConfig = &network.EndpointIPAMConfig{LinkLocalIPs: []string{s.LinkLocal.String()}}
		}
		net.EndpointsConfig = map[string]*network.EndpointSettings{s.Network: endpoint}
	}
	_, err := e.api.ContainerCreate(ctx, containerConfig(s, e.host.cgroupV2), hostConfig(s, e.host), net, nil, s.Name)
	if err != nil {
		return explain("create machine", s.Name, err)
	}
	if len(s.Files) == 0 {
		return nil
	}
	if err := e.CopyIn(ctx, s.Name, "/", tarOf(s.Files)); err != nil {
		return errors.Join(err, e.Remove(context.WithoutCancel(ctx), s.Name))
	}
	return nil
}

// bootScript boots systemd.
//
//go:embed boot.sh
var bootScript string

// containerConfig is what a machine runs. It sets everything that an image could have set otherwise, so that a committed
// image boots whatever its configuration says.
func containerConfig(s Spec, cgroupV2 bool) *container.Config {
	boot := bootScript
	if cgroupV2 {
		// The engine mounts the machine's own cgroups read-only, and systemd must write to them. Only this mount of them changes: the
		// file system itself is not a rootless engine's to change.
		boot = "mount -o remount,bind,rw /sys/fs/cgroup || exit\n" + boot
	}
	exposed := nat.PortSet{}
	for _, p := range s.Ports {
		exposed[guestPort(p)] = struct{}{}
	}
	return &container.Config{
		Image:        s.Image,
		Hostname:     s.Hostname,
		Entrypoint:   []string{"/bin/sh", "-c", boot},
		Cmd:          []string{},
		User:         "0",
		WorkingDir:   "/",
		Env:          []string{"container=docker"}, // how systemd tells that it runs in a container
		Tty:          true,                         // the machine's console, which the engine records
		StopSignal:   stopSignal,
		Labels:       s.Labels,
		ExposedPorts: exposed,
	}
}

// hostConfig is what a machine may do: what systemd needs to boot, and no more. A machine is never privileged, and boot.sh takes most of
// this from what runs in it.
func hostConfig(s Spec, on host) *container.HostConfig {
	h := &container.HostConfig{
		CapAdd:       []string{"SYS_ADMIN"},
		CapDrop:      []string{"NET_RAW"}, // sees and forges what passes between other machines
		CgroupnsMode: container.CgroupnsModePrivate,
		Tmpfs: map[string]string{
			"/run":      "rw,nosuid,nodev,mode=755",
			"/run/lock": "rw,nosuid,nodev,noexec,mode=1777",
			"/tmp":      "rw,nosuid,nodev,exec,mode=1777", // scripts are uploaded to /tmp and run there
		},
		PortBindings: nat.PortMap{},
		// boot.sh leaves a machine no rights over its network, and services listen at ports below 1024.
		Sysctls: map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"},
		// Some engines deny new privileges to every container, and sudo would not work there.
		SecurityOpt: []string{"no-new-privileges=false"},
		LogConfig: container.LogConfig{
			Type:   "json-file",
			Config: map[string]string{"max-size": consoleSize, "max-file": "2"},
		},
	}
	if on.appArmor {
		// Docker's profile forbids all mounts, which systemd and the sandboxes of services are made of. Its seccomp filter allows them
		// with SYS_ADMIN, and stays.
		h.SecurityOpt = append(h.SecurityOpt, "apparmor=unconfined")
	}
	if on.memoryLimit {
		h.Memory, h.MemorySwap = s.Memory, s.Memory // together with swap, of which an instance has none
	}
	if on.cpuLimit && s.CPUs > 0 && s.CPUs < on.cpus {
		h.NanoCPUs = int64(s.CPUs) * 1e9
	}
	if s.Network != "" {
		h.NetworkMode = container.NetworkMode(s.Network)
	}
	for _, p := range s.Ports {
		h.PortBindings[guestPort(p)] = append(h.PortBindings[guestPort(p)], nat.PortBinding{
			HostIP: p.Host.Addr().String(), HostPort: strconv.Itoa(int(p.Host.Port())),
		})
	}
	for _, m := range s.Mounts {
		kind, source := mount.TypeVolume, m.Volume
		if m.Path != "" {
			kind, source = mount.TypeBind, m.Path
		}
		h.Mounts = append(h.Mounts, mount.Mount{Type: kind, Source: source, Target: m.Target, ReadOnly: m.ReadOnly})
	}
	return h
}

func guestPort(p Port) nat.Port { return nat.Port(strconv.Itoa(int(p.Guest)) + "/tcp") }

// Start starts a machine, and returns once it has an address, which is before it has booted. Starting a machine that runs
// changes nothing.
func (e *Engine) Start(ctx context.Context, name string) error {
	return explain("start machine", name, e.api.ContainerStart(ctx, name, container.StartOptions{}))
}

// WaitStopped returns once a machine does not run, or an error that wraps the context's.
func (e *Engine) WaitStopped(ctx context.Context, name string) error {
	stopped, failed := e.api.ContainerWait(ctx, name, container.WaitConditionNotRunning)
	select {
	case <-stopped:
		return nil
	case err := <-failed:
		return explain("wait for the end of machine", name, err)
	}
}

// Stop shuts a machine down in order, and by force once timeout is over, which is rounded up to seconds.
// Stopping a stopped machine changes nothing.
func (e *Engine) Stop(ctx context.Context, name string, timeout time.Duration) error {
	seconds := int((timeout + time.Second - 1) / time.Second)
	return explain("stop machine", name, e.api.ContainerStop(ctx, name, container.StopOptions{Timeout: &seconds}))
}

// rebootMark is the file that a machine leaves on its disk when it goes down to come up again (see system-shutdown/ingot in its image).
const rebootMark = "/var/lib/ingot/reboot"

// Reboot starts a stopped machine that went down to come up again, told so from inside, and reports whether it did. Nobody but the
// caller does that: to the engine, a machine that reboots is one that ends.
func (e *Engine) Reboot(ctx context.Context, name string) (bool, error) {
	mark, err := e.api.ContainerStatPath(ctx, name, rebootMark)
	if errdefs.IsNotFound(err) || err == nil && mark.Size == 0 {
		return false, nil
	}
	if err != nil {
		return false, explain("inspect machine", name, err)
	}
	// The machine takes the mark away when it boots, which it may not live to see.
	if err := e.CopyIn(ctx, name, "/", tarOf([]File{{Path: rebootMark}})); err != nil {
		return false, err
	}
	return true, e.Start(ctx, name)
}

// Remove removes a machine and its disk, whatever its state, but not its volumes. It is no error when the machine is gone.
func (e *Engine) Remove(ctx context.Context, name string) error {
	err := e.api.ContainerRemove(ctx, name, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	if errdefs.IsConflict(err) && strings.Contains(err.Error(), "removal of container") {
		return e.waitRemoved(ctx, name) // someone else removes it just now
	}
	return explain("remove machine", name, err)
}

func (e *Engine) waitRemoved(ctx context.Context, name string) error {
	removed, failed := e.api.ContainerWait(ctx, name, container.WaitConditionRemoved)
	select {
	case <-removed:
		return nil
	case err := <-failed:
		if errdefs.IsNotFound(err) {
			return nil
		}
		return explain("remove machine", name, err)
	}
}

// Inspect looks at a machine. It fails with ErrNotFound when there is none of that name.
func (e *Engine) Inspect(ctx context.Context, name string) (Info, error) {
	c, err := e.api.ContainerInspect(ctx, name)
	if err != nil {
		return Info{}, explain("inspect machine", name, err)
	}
	return infoOf(c), nil
}

func infoOf(c container.InspectResponse) Info {
	i := Info{
		ID: c.ID, Name: strings.TrimPrefix(c.Name, "/"), ImageID: c.Image, State: stateOf(c.State.Status), ExitCode: c.State.ExitCode,
	}
	if c.Config != nil {
		i.Image, i.Labels = c.Config.Image, c.Config.Labels
	}
	i.Started, _ = time.Parse(time.RFC3339Nano, c.State.StartedAt) // "0001-01-01T00:00:00Z" when it never ran
	if i.State != Running || c.NetworkSettings == nil {
		return i
	}
	// A machine is on one network; the order only makes the answer definite.
	for _, name := range slices.Sorted(maps.Keys(c.NetworkSettings.Networks)) {
		if a, err := netip.ParseAddr(c.NetworkSettings.Networks[name].IPAddress); err == nil && !i.Address.IsValid() {
			i.Address = a
		}
	}
	for guest, hosts := range c.NetworkSettings.Ports {
		for _, h := range hosts {
			if at, err := netip.ParseAddrPort(h.HostIP + ":" + h.HostPort); err == nil {
				i.Ports = append(i.Ports, Port{Host: at, Guest: uint16(guest.Int())})
			}
		}
	}
	slices.SortFunc(i.Ports, func(a, b Port) int { return int(a.Guest) - int(b.Guest) })
	return i
}

func stateOf(status container.ContainerState) State {
	switch status {
	case container.StateRunning, container.StatePaused, container.StateRestarting:
		return Running
	case container.StateCreated:
		return Created
	}
	return Stopped
}

// List returns the machines that have all of the labels, running or not, in the order of their names. An empty value asks for the
// label with any value.
func (e *Engine) List(ctx context.Context, labels map[string]string) ([]Info, error) {
	all, err := e.api.ContainerList(ctx, container.ListOptions{All: true, Filters: labelFilter(labels)})
	if err != nil {
		return nil, explain("list machines with labels", fmt.Sprint(labels), err)
	}
	var found []Info
	for _, c := range all {
		i, err := e.Inspect(ctx, c.ID)
		if errors.Is(err, ErrNotFound) {
			continue // removed since
		}
		if err != nil {
			return nil, err
		}
		found = append(found, i)
	}
	slices.SortFunc(found, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func labelFilter(labels map[string]string) filters.Args {
	f := filters.NewArgs()
	for key, value := range labels {
		if value != "" {
			key += "=" + value
		}
		f.Add("label", key)
	}
	return f
}
