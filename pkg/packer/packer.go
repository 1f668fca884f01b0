// Package packer runs the packer command: finds or installs it, builds an AMI with it, and reads what it built. It suits every
// version from 1.6.6, which Debian ships, to the current one.
package packer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/go-version"

	"github.com/ingot-build/ingot/internal/toolcache"
	"github.com/ingot-build/ingot/pkg/command"
)

// ErrNotFound means that there is no packer command; Install gets one.
var ErrNotFound = errors.New("packer is not installed")

// Packer is an installed packer command.
type Packer struct {
	Path    string
	Version *version.Version // without pre-release parts

	runner  command.Runner
	plugins string // folder for plugins, shared by all builds
}

// Find returns the packer command on PATH, or else the one that Install put into the cache folder; that is "ingot" in the
// user's cache folder when cache is empty. A nil runner is command.Exec{}. Without a command, the error wraps ErrNotFound.
func Find(ctx context.Context, runner command.Runner, cache string) (*Packer, error) {
	if runner == nil {
		runner = command.Exec{}
	}
	cache, err := toolcache.Dir(cache)
	if err != nil {
		return nil, fmt.Errorf("find packer: %w", err)
	}
	var other error
	// The last one is where Ingot kept it before it pinned versions.
	for _, path := range []string{
		"packer", toolcache.Path(cache, "packer"), filepath.Join(toolcache.Unpacked(cache), "usr", "bin", "packer"), filepath.Join(cache, "packer"),
	} {
		p, err := openCommand(ctx, runner, path, cache)
		if err == nil {
			return p, nil
		}
		// Another program may have the name: cracklib's does on Red Hat.
		if unknown := new(VersionError); errors.As(err, &unknown) {
			other = err
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("find packer: %w", err)
		}
	}
	if other != nil {
		return nil, fmt.Errorf("%w: the one on PATH is another program: %w", ErrNotFound, other)
	}
	return nil, ErrNotFound
}

// openCommand asks the command at path for its version.
func openCommand(ctx context.Context, runner command.Runner, path, cache string) (*Packer, error) {
	out, err := command.Output(ctx, runner, command.Cmd{Path: path, Args: []string{"version"}, Env: quietEnv()})
	if err != nil {
		return nil, err
	}
	v, err := parseVersion(out)
	if err != nil {
		return nil, err
	}
	if v.LessThan(version.Must(version.NewVersion(minVersion))) {
		return nil, fmt.Errorf("packer %s is too old: %s or newer is needed", v, minVersion)
	}
	return &Packer{Path: path, Version: v, runner: runner, plugins: filepath.Join(cache, "packer-plugins")}, nil
}

// Init installs the plugins that the templates in a folder require. Before 1.7, Packer has all of them built in, and Init does
// nothing.
func (p *Packer) Init(ctx context.Context, dir string) error {
	if !capabilitiesOf(p.Version).plugins {
		return nil
	}
	if err := os.MkdirAll(p.plugins, 0o755); err != nil {
		return fmt.Errorf("install packer plugins: %w", err)
	}
	err := p.runner.Run(ctx, command.Cmd{Path: p.Path, Args: []string{"init", dir}, Env: append(quietEnv(), p.pluginEnv()...)})
	if err != nil {
		return fmt.Errorf("install packer plugins: %w", err)
	}
	return nil
}

func (p *Packer) pluginEnv() []string {
	if !capabilitiesOf(p.Version).plugins {
		return nil
	}
	return []string{"PACKER_PLUGIN_PATH=" + p.plugins}
}

// quietEnv keeps Packer from asking HashiCorp for news, from logging its own workings, and from colours.
func quietEnv() []string {
	return []string{"CHECKPOINT_DISABLE=1", "PACKER_LOG=0", "PACKER_NO_COLOR=1"}
}
