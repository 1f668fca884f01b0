// Package machine makes Debian machines that boot systemd, on Docker: the development machine and the instances of the
// local cloud are both of this kind, so that what works in one works in the other.
//
// An [Engine] makes the machine image with [Engine.Image], and creates, starts, stops, copies and commits machines.
// Machines are addressed by the name that they were created with. It is the only package that knows Docker.
package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"
)

// connectTimeout is how long Connect waits for the engine's first answer.
const connectTimeout = 10 * time.Second

// Engine is a connection to a Docker engine. Its methods may be called at the same time.
type Engine struct {
	api          *client.Client
	host         string
	cgroupV2     bool
	architecture string // Debian's word for it: amd64, arm64
	about        string

	making sync.Mutex // held while the machine image is made, so that it is made once
}

// Connect connects to the Docker engine that DOCKER_HOST names, else to the one of the docker command's current context,
// else to the one on this machine. It fails with ErrNoEngine and what to do about it when no engine answers there.
func Connect(ctx context.Context) (*Engine, error) {
	options := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if host := contextHost(os.Getenv, os.ReadFile); host != "" {
		options = append(options, client.WithHost(host))
	}
	api, err := client.NewClientWithOpts(options...)
	if err != nil {
		return nil, fmt.Errorf("configure the Docker client: %w", err)
	}
	e := &Engine{api: api, host: api.DaemonHost()}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	info, err := api.Info(ctx)
	if err != nil {
		_ = api.Close()
		return nil, explainConnect(e.host, err)
	}
	e.cgroupV2 = info.CgroupVersion == "2"
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

// explainConnect says why an engine could not be reached, and what to do.
func explainConnect(host string, err error) error {
	remedy := "start it (sudo systemctl start docker), or install it (sudo apt-get install docker.io)"
	switch {
	case errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "permission denied"):
		remedy = "this user may not use it: run sudo usermod -aG docker $USER, and log in again"
	case os.Getenv("DOCKER_HOST") != "":
		remedy = "DOCKER_HOST is set: check that it names an engine that runs"
	case runtime.GOOS == "darwin":
		remedy = "start Docker Desktop, or colima start"
	}
	return fmt.Errorf("%w at %s: %s (%s)", ErrNoEngine, host, remedy, oneLine(err))
}

// contextHost returns the address of the docker command's current context, or "" where DOCKER_HOST or the default decides.
func contextHost(getenv func(string) string, readFile func(string) ([]byte, error)) string {
	if getenv("DOCKER_HOST") != "" {
		return ""
	}
	folder := getenv("DOCKER_CONFIG")
	if folder == "" {
		folder = filepath.Join(getenv("HOME"), ".docker")
	}
	name := getenv("DOCKER_CONTEXT")
	if name == "" {
		var settings struct {
			CurrentContext string `json:"currentContext"`
		}
		data, err := readFile(filepath.Join(folder, "config.json"))
		if err != nil || json.Unmarshal(data, &settings) != nil {
			return ""
		}
		name = settings.CurrentContext
	}
	if name == "" || name == "default" {
		return ""
	}
	// The docker command keeps a context in a folder named by the digest of the context's name.
	digest := sha256.Sum256([]byte(name))
	var meta struct {
		Endpoints map[string]struct{ Host string }
	}
	data, err := readFile(filepath.Join(folder, "contexts", "meta", hex.EncodeToString(digest[:]), "meta.json"))
	if err != nil || json.Unmarshal(data, &meta) != nil {
		return ""
	}
	return meta.Endpoints["docker"].Host
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
