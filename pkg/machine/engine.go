// Package machine makes Debian machines that boot systemd, on Docker: the development machine and the instances of the
// local cloud are both of this kind, so that what works in one works in the other.
//
// An [Engine] makes the machine image with [Engine.Image], and creates, starts, stops, copies and commits machines.
// Machines are addressed by the name that they were created with. It is the only package that knows Docker.
package machine

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"

	"github.com/ingot-build/ingot/pkg/progress"
)

// connectTimeout is how long Connect waits for the engine's first answer, and slowAnswer after which time it says that it waits. An
// engine that is busy with images takes ten seconds and more at times.
const (
	connectTimeout = time.Minute
	slowAnswer     = 5 * time.Second
)

// Engine is a connection to a Docker engine. Its methods may be called at the same time.
type Engine struct {
	api          *client.Client
	at           endpoint
	host         host
	architecture string // Debian's word for it: amd64, arm64
	about        string

	making sync.Mutex // held while the machine image is made, so that it is made once
}

// host is what machines depend on of where the engine runs.
type host struct {
	cgroupV2              bool
	appArmor              bool
	memoryLimit, cpuLimit bool // the engine can bound what a machine takes
	cpus                  int
	routed                bool // machines' addresses are this host's to reach
}

func hostOf(i system.Info, at endpoint) host {
	has := func(option string) bool {
		return slices.ContainsFunc(i.SecurityOptions, func(o string) bool { return strings.HasPrefix(o, "name="+option) })
	}
	return host{
		cgroupV2: i.CgroupVersion == "2", memoryLimit: i.MemoryLimit, cpuLimit: i.CPUCfsQuota, cpus: i.NCPU,
		appArmor: has("apparmor"),
		routed:   runtime.GOOS == "linux" && at.local() && !has("rootless") && i.OperatingSystem != "Docker Desktop",
	}
}

// Connect connects to the Docker engine that DOCKER_HOST names, else to the one of the docker command's current context, else to the
// one on this machine, be it Docker's own, a rootless one, or that of Docker Desktop, Colima, OrbStack or Rancher Desktop. It fails with
// ErrNoEngine and what to do about it when no engine answers there, and with ErrSlowEngine when one does not within a minute.
func Connect(ctx context.Context) (*Engine, error) {
	at, err := findEndpoint(thisMachine())
	if err != nil {
		return nil, err
	}
	options, err := at.options()
	if err != nil {
		return nil, err
	}
	api, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("%w: configure the Docker client for %s: %w", ErrNoEngine, at.place(), err)
	}
	e := &Engine{api: api, at: at}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	slow := time.AfterFunc(slowAnswer, func() { progress.Note(ctx, "the Docker engine at %s takes its time", at.place()) })
	defer slow.Stop()
	info, err := api.Info(ctx)
	if err != nil {
		_ = api.Close()
		return nil, at.explain(ctx, err)
	}
	if info.CgroupDriver == "none" {
		_ = api.Close()
		return nil, fmt.Errorf("%w at %s", ErrNoCgroups, at.place())
	}
	e.host = hostOf(info, at)
	e.about = about(info)
	e.architecture, err = debianArchitecture(info.Architecture)
	if err != nil {
		_ = api.Close()
		return nil, err
	}
	return e, nil
}

// Close closes the connection.
func (e *Engine) Close() error { return e.api.Close() }

// Architecture is the architecture of the engine's machines, in Debian's word: amd64 or arm64.
func (e *Engine) Architecture() string { return e.architecture }

// About says in a line what the speed of machines depends on: the engine's processors, memory, kernel, version and storage.
func (e *Engine) About() string { return e.about }

func about(i system.Info) string {
	major, rest, _ := strings.Cut(i.KernelVersion, ".")
	minor, _, _ := strings.Cut(rest, ".")
	version, _, _ := strings.Cut(i.ServerVersion, "+")
	return fmt.Sprintf("%d processors, %.0f GB of memory, %s, Linux %s.%s, Docker %s with %s and cgroup v%s",
		i.NCPU, float64(i.MemTotal)/(1<<30), i.OperatingSystem, major, minor, version, i.Driver, i.CgroupVersion)
}

// debianArchitecture translates the kernel's and EC2's words for an architecture into Debian's.
func debianArchitecture(name string) (string, error) {
	switch name {
	case "x86_64", "amd64":
		return "amd64", nil
	case "aarch64", "arm64":
		return "arm64", nil
	}
	return "", fmt.Errorf("architecture %q is not one that machines are made for: amd64 or arm64", name)
}
