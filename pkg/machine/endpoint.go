package machine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/docker/cli/cli/connhelper"
	"github.com/docker/docker/client"
	"golang.org/x/sys/unix"

	"github.com/ingot-build/ingot/internal/loopback"
)

// endpoint is where an engine is to be, and who says so.
type endpoint struct {
	host string // a URL: unix://…, tcp://…, ssh://…; empty for the client's default
	from string // "DOCKER_HOST", or "the docker context …"; empty where nobody says
	tls  string // folder with ca.pem, cert.pem and key.pem; empty for none but what the environment says
}

// machineView is what finding an endpoint sees of this machine.
type machineView struct {
	getenv   func(string) string
	readFile func(string) ([]byte, error)
	exists   func(path string) bool
	usable   func(path string) bool // a socket that this user may connect to
}

func thisMachine() machineView {
	return machineView{
		getenv: os.Getenv, readFile: os.ReadFile,
		exists: func(path string) bool {
			_, err := os.Stat(path)
			return err == nil
		},
		usable: func(path string) bool { return unix.Access(path, unix.R_OK|unix.W_OK) == nil },
	}
}

// findEndpoint does what the docker command does, and where that has only a default without a socket, looks where other engines have
// theirs: rootless Docker, Docker Desktop, Colima, OrbStack, Rancher Desktop.
func findEndpoint(on machineView) (endpoint, error) {
	if host := on.getenv("DOCKER_HOST"); host != "" {
		return endpoint{host: host, from: "DOCKER_HOST"}, nil
	}
	folder := on.getenv("DOCKER_CONFIG")
	if folder == "" {
		folder = filepath.Join(on.getenv("HOME"), ".docker")
	}
	name, from := on.getenv("DOCKER_CONTEXT"), "DOCKER_CONTEXT"
	if name == "" {
		from = filepath.Join(folder, "config.json")
		var settings struct {
			CurrentContext string `json:"currentContext"`
		}
		data, err := on.readFile(from)
		switch {
		case err == nil:
			if err := json.Unmarshal(data, &settings); err != nil {
				return endpoint{}, fmt.Errorf("%w: read %s: %w", ErrNoEngine, from, err)
			}
		case !errors.Is(err, fs.ErrNotExist):
			return endpoint{}, fmt.Errorf("%w: read %s: %w", ErrNoEngine, from, err)
		}
		name = settings.CurrentContext
	}
	if name != "" && name != "default" {
		return contextEndpoint(on, folder, name, from)
	}
	// The usual one may be there for others, beside a rootless one of this user's.
	for _, path := range sockets(on) {
		if on.usable(path) {
			return endpoint{host: "unix://" + path}, nil
		}
	}
	return endpoint{}, nil
}

// sockets are where engines listen on this machine, the usual one first.
func sockets(on machineView) []string {
	home, runtimeDir := on.getenv("HOME"), on.getenv("XDG_RUNTIME_DIR")
	var paths []string
	for _, p := range []struct{ folder, path string }{
		{"/", "var/run/docker.sock"}, {runtimeDir, "docker.sock"}, {home, ".docker/run/docker.sock"}, {home, ".docker/desktop/docker.sock"},
		{home, ".colima/default/docker.sock"}, {home, ".orbstack/run/docker.sock"}, {home, ".rd/docker.sock"},
	} {
		if p.folder != "" {
			paths = append(paths, filepath.Join(p.folder, p.path))
		}
	}
	return paths
}

// contextEndpoint is where a context of the docker command's leads.
func contextEndpoint(on machineView, folder, name, from string) (endpoint, error) {
	// The docker command keeps a context in a folder named by the digest of the context's name.
	digest := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(digest[:])
	data, err := on.readFile(filepath.Join(folder, "contexts", "meta", id, "meta.json"))
	if err != nil {
		return endpoint{}, fmt.Errorf("%w: %s names the docker context %q, which there is not: docker context ls lists those that there are", ErrNoEngine, from, name)
	}
	var meta struct {
		Endpoints map[string]struct{ Host string }
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return endpoint{}, fmt.Errorf("%w: read the docker context %q: %w", ErrNoEngine, name, err)
	}
	e := endpoint{host: meta.Endpoints["docker"].Host, from: fmt.Sprintf("the docker context %q", name)}
	if tls := filepath.Join(folder, "contexts", "tls", id, "docker"); on.exists(tls) {
		e.tls = tls
	}
	return e, nil
}

// options are the client's, for an endpoint.
func (e endpoint) options() ([]client.Opt, error) {
	options := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if e.host == "" {
		return options, nil
	}
	helper, err := connhelper.GetConnectionHelper(e.host)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoEngine, e.place(), err)
	}
	if helper != nil { // ssh
		transport := &http.Transport{DialContext: helper.Dialer}
		return []client.Opt{
			client.WithHTTPClient(&http.Client{Transport: transport}), client.WithHost(helper.Host), client.WithDialContext(helper.Dialer),
			client.WithVersionFromEnv(), client.WithAPIVersionNegotiation(),
		}, nil
	}
	options = append(options, client.WithHost(e.host))
	if e.tls != "" {
		options = append(options, client.WithTLSClientConfig(filepath.Join(e.tls, "ca.pem"), filepath.Join(e.tls, "cert.pem"), filepath.Join(e.tls, "key.pem")))
	}
	return options, nil
}

// local tells whether the engine runs on this machine or in a virtual machine of it, so that it may see this machine's folders and
// publish ports here.
func (e endpoint) local() bool {
	u, err := url.Parse(e.host)
	return e.host == "" || err == nil && (u.Scheme == "unix" || u.Scheme == "npipe" || loopback.Host(u.Hostname()))
}

// place is the endpoint in an error.
func (e endpoint) place() string {
	switch {
	case e.host == "":
		return client.DefaultDockerHost
	case e.from == "":
		return e.host
	}
	return e.host + " (" + e.from + ")"
}

// explain says why an engine could not be reached, and what to do.
func (e endpoint) explain(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w at %s within %s: it may be busy; try again, or start it anew", ErrSlowEngine, e.place(), connectTimeout)
	}
	remedy := "start it (sudo systemctl start docker), or install it (sudo apt-get install docker.io)"
	switch version := os.Getenv("DOCKER_API_VERSION"); {
	case version != "" && strings.Contains(err.Error(), "version "+version):
		remedy = "DOCKER_API_VERSION asks for a version that it does not know: unset it"
	case errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "permission denied") && e.local():
		remedy = "this user may not use it: run sudo usermod -aG docker $USER, and log in again"
	case strings.HasPrefix(e.host, "ssh://"):
		remedy = "check that this works, and asks for no password: ssh " + strings.TrimPrefix(e.host, "ssh://") + " docker version"
	case e.from != "":
		remedy = e.from + " says so: check that it names an engine that runs"
	case runtime.GOOS == "darwin":
		remedy = "start Docker Desktop, or colima start"
	}
	return fmt.Errorf("%w at %s: %s (%s)", ErrNoEngine, e.place(), remedy, oneLine(err))
}
