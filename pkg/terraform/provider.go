package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/go-version"

	"github.com/ingot-build/ingot/internal/httpget"
	"github.com/ingot-build/ingot/internal/toolcache"
)

const (
	registryHost = "registry.terraform.io"

	// discoveryURL is where Terraform begins to talk to the registry, and hence the cheapest question to it.
	discoveryURL = "https://" + registryHost + "/.well-known/terraform.json"

	// discoveryTimeout is how long the registry may take to answer before a mirror is looked for.
	discoveryTimeout = 3 * time.Second

	// awsConstraint is the stack's own constraint; a test compares the two.
	awsConstraint = "~> 5.100"
)

// ErrNoMirror means that the registry cannot be reached and that no mirror was found instead.
var ErrNoMirror = errors.New("this machine has no provider mirror")

// MirrorError is a folder that was named as a provider mirror and lacks what the stack needs.
type MirrorError struct {
	Dir      string
	Platform string // such as "linux_amd64"
}

// Error says what the folder lacks.
func (e *MirrorError) Error() string {
	return fmt.Sprintf("provider mirror %q holds no %s/hashicorp/aws %s for %s", e.Dir, registryHost, awsConstraint, e.Platform)
}

// PluginDir returns the provider mirror for Stack.PluginDir: the folder that the settings name, none ("") where the
// registry answers, else the first mirror on this machine that holds the AWS provider. It looks in the folders that
// Terraform knows itself, in the provider cache below cacheDir (which is "ingot" in the user's cache folder when it is
// empty), and for a folder named registry.terraform.io near the top of the usual places for software. Its errors are a
// *MirrorError or wrap ErrNoMirror.
func PluginDir(ctx context.Context, setting, cacheDir string) (string, error) {
	cacheDir, err := toolcache.Dir(cacheDir)
	if err != nil {
		return "", fmt.Errorf("find a provider mirror: %w", err)
	}
	m := mirrors{
		discovery: discoveryURL,
		timeout:   discoveryTimeout,
		platform:  runtime.GOOS + "_" + runtime.GOARCH,
		dirs:      append(impliedMirrors(os.Getenv), providerCache(cacheDir)),
		roots:     []string{"/opt", "/usr/local", "/usr/share", "/var/lib"},
	}
	return m.find(ctx, setting)
}

// providerCache is where stacks with this CacheDir keep downloaded providers. It has the layout of a mirror.
func providerCache(cacheDir string) string { return filepath.Join(cacheDir, "terraform-providers") }

// impliedMirrors returns the folders that Terraform or its user already treats as provider mirrors, see
// https://developer.hashicorp.com/terraform/cli/config/config-file#implied-local-mirror-directories.
func impliedMirrors(getenv func(string) string) []string {
	var dirs []string
	add := func(base string, elements ...string) {
		if base != "" {
			dirs = append(dirs, filepath.Join(append([]string{base}, elements...)...))
		}
	}
	home := getenv("HOME")
	add(getenv("TF_PLUGIN_CACHE_DIR"))
	add(home, ".terraform.d", "plugins")
	if data := getenv("XDG_DATA_HOME"); data != "" {
		add(data, "terraform", "plugins")
	} else {
		add(home, ".local", "share", "terraform", "plugins")
	}
	shared := getenv("XDG_DATA_DIRS")
	if shared == "" {
		shared = "/usr/local/share:/usr/share"
	}
	for _, data := range filepath.SplitList(shared) {
		add(data, "terraform", "plugins")
	}
	add(home, "Library", "Application Support", "io.terraform", "plugins")
	add("/Library", "Application Support", "io.terraform", "plugins")
	return dirs
}

// mirrors is where PluginDir looks.
type mirrors struct {
	discovery string
	timeout   time.Duration
	platform  string   // GOOS_GOARCH
	dirs      []string // folders that may be mirrors
	roots     []string // folders that may hold a mirror, up to two levels down
}

func (m mirrors) find(ctx context.Context, setting string) (string, error) {
	if setting != "" {
		dir, err := filepath.Abs(setting)
		if err != nil {
			return "", err
		}
		if !m.holdsAWS(dir) {
			return "", &MirrorError{Dir: dir, Platform: m.platform}
		}
		return dir, nil
	}
	unreachable := m.askRegistry(ctx)
	if unreachable == nil {
		return "", nil
	}
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	dirs := m.dirs
	for _, root := range m.roots {
		for _, pattern := range []string{registryHost, "*/" + registryHost, "*/*/" + registryHost} {
			found, err := filepath.Glob(filepath.Join(root, pattern))
			if err != nil {
				return "", err
			}
			for _, host := range found {
				dirs = append(dirs, filepath.Dir(host))
			}
		}
	}
	for _, dir := range dirs {
		if m.holdsAWS(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("find the AWS provider %s: the Terraform registry cannot be reached (%w) and %w: make one with `terraform providers mirror DIR` where the registry can be reached",
		awsConstraint, unreachable, ErrNoMirror)
}

// askRegistry returns nil when the registry answers with its services.
func (m mirrors) askRegistry(ctx context.Context) error {
	answer, err := httpget.Get(ctx, m.discovery, httpget.Options{Timeout: m.timeout})
	if err != nil {
		return err
	}
	// A captive portal or a proxy answers too, but not with this.
	var services struct {
		Providers string `json:"providers.v1"`
	}
	if answer.Code != http.StatusOK || json.Unmarshal(answer.Body, &services) != nil || services.Providers == "" {
		return fmt.Errorf("%s answered %s, but not as a registry does", m.discovery, answer.Status)
	}
	return nil
}

// holdsAWS reports whether dir is a mirror, unpacked or packed, with an AWS provider that the stack accepts.
func (m mirrors) holdsAWS(dir string) bool {
	constraint := version.MustConstraints(version.NewConstraint(awsConstraint))
	accepts := func(text string) bool {
		v, err := version.NewVersion(text)
		return err == nil && constraint.Check(v)
	}
	provider := filepath.Join(dir, registryHost, "hashicorp", "aws")
	unpacked, _ := filepath.Glob(filepath.Join(provider, "*", m.platform, "terraform-provider-aws*"))
	for _, file := range unpacked {
		if accepts(filepath.Base(filepath.Dir(filepath.Dir(file)))) {
			return true
		}
	}
	packed, _ := filepath.Glob(filepath.Join(provider, "terraform-provider-aws_*_"+m.platform+".zip"))
	for _, file := range packed {
		name := strings.TrimPrefix(filepath.Base(file), "terraform-provider-aws_")
		if accepts(strings.TrimSuffix(name, "_"+m.platform+".zip")) {
			return true
		}
	}
	return false
}
