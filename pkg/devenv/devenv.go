// Package devenv is the development machine: a Debian machine like production's, made by the same provisioning stages, in which the
// service is built and restarted whenever a file changes.
//
// [Up] creates the machine, serves, and follows changes until its context ends; the machine then stops and is kept for a quick next
// start. [Down] removes it. Everything is named and labelled after the folder that it belongs to, so that two clones of a repository
// do not meet.
package devenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ingot-build/ingot/internal/lockfile"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/machine"
)

// Labels of what belongs to a development machine.
const (
	rootLabel = "ingot.dev"      // the folder that it belongs to
	baseLabel = "ingot.dev.base" // fingerprint of the base stage in it
	portLabel = "ingot.dev.port" // where it is published, and the service's own port
)

// ErrNotRunning is returned where there is no machine to work in.
var ErrNotRunning = errors.New("the development machine does not run")

// ErrRunning is returned by Up where another process already follows changes.
var ErrRunning = errors.New("the development machine is in use")

// ErrElsewhere is returned by Up where the engine runs on another machine: the service would be published there.
var ErrElsewhere = errors.New("a development machine needs a Docker engine on this machine")

// ErrStopped is wrapped by what Up returns where the machine stopped without having been told to by Up.
var ErrStopped = errors.New("the development machine stopped")

// PortError is returned by Up where the service cannot be published, as something else listens there. It wraps
// machine.ErrPortTaken.
type PortError struct{ Address netip.AddrPort }

// Error names the address.
func (e *PortError) Error() string {
	return fmt.Sprintf("publish the service on %s: %v", e.Address, machine.ErrPortTaken)
}

// Unwrap returns machine.ErrPortTaken.
func (e *PortError) Unwrap() error { return machine.ErrPortTaken }

// Options describe a development machine.
type Options struct {
	Engine *machine.Engine
	Root   string // the folder that the machine belongs to; absolute
	App    string // the application's name, for people to recognise machines by

	Provision string // folder with provision.sh, or with what lies over Core
	Core      fs.FS  // provisioning files that are taken where Provision has none at their path; nil for none
	Source    string // folder with the service's source
	Package   string // path of a Go module's main package in Source; empty for Source itself
	Port      int    // where the service listens, inside; zero for a worker, which listens nowhere
	Health    string // path that answers 200 once the service can serve

	StartWithin time.Duration // how long a service that runs may take until it serves; zero for 30 s

	Publish int            // port on 127.0.0.1 where the service is published; zero for Port
	Ready   func(string)   // called with the service's URL, a worker's is empty, when the machine has been started for the first time; may be nil
	Saved   func(Save)     // called after every change has been dealt with; may be nil
	Poll    time.Duration  // time between two looks at all files, which find what no event told of; zero for 2 s
	WorkDir string         // folder that paths in messages are relative to; empty for absolute paths
	Runner  command.Runner // runs git; nil for command.Exec
}

// Save is a change and what became of it.
type Save struct {
	Changed []string // what changed, as paths on this machine; those that were removed begin with "-"
	Release string
	Built   time.Duration // that the app stage took
	Serving time.Duration // from the change to an answer of the new release
	Err     error         // why it is not served
}

// name is what the machine is called, and what everything that belongs to it begins with.
func (o Options) name() string {
	digest := sha256.Sum256([]byte(o.Root))
	return fmt.Sprintf("ingot-dev-%s-%s", o.App, hex.EncodeToString(digest[:4]))
}

func (o Options) cache() string { return o.name() + "-cache" }

// address is where the service is published.
func (o Options) address() netip.AddrPort {
	port := o.Publish
	if port == 0 {
		port = o.Port
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
}

// URL is where the service answers.
func (o Options) URL() string {
	if o.Port == 0 {
		return ""
	}
	return "http://" + o.address().String()
}

func (o Options) labels() map[string]string { return map[string]string{rootLabel: o.Root} }

// machineLabels are the machine's own; one with others is of no use.
func (o Options) machineLabels(base string) map[string]string {
	return map[string]string{rootLabel: o.Root, baseLabel: base, portLabel: o.address().String() + ":" + strconv.Itoa(o.Port)}
}

// lock makes sure that one process at a time follows a folder's changes.
func (o Options) lock() (unlock func(), err error) {
	folder, err := os.UserCacheDir()
	if err != nil {
		folder = os.TempDir()
	}
	folder = filepath.Join(folder, "ingot")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("lock the development machine: %w", err)
	}
	file, err := lockfile.Try(filepath.Join(folder, o.name()+".lock"))
	switch {
	case errors.Is(err, lockfile.ErrLocked):
		return nil, ErrRunning
	case err != nil:
		return nil, fmt.Errorf("lock the development machine: %w", err)
	}
	return func() { _ = lockfile.Remove(file) }, nil // who comes next does not need the file
}

// Down removes the machine. With purge, its images and its cache go too, and nothing is left.
func Down(ctx context.Context, o Options, purge bool) error {
	all, err := o.Engine.List(ctx, o.labels())
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range all {
		errs = append(errs, o.Engine.Remove(ctx, m.Name))
	}
	if purge {
		errs = append(errs, o.removeImages(ctx, ""), o.Engine.RemoveVolumes(ctx, o.labels()))
	}
	return errors.Join(errs...)
}

// stopTimeout is how long the machine may take to shut down, with the service's requests in flight, before it is stopped by force.
const stopTimeout = 10 * time.Second

// Up creates or starts the machine, builds and starts the service in it, and follows changes until ctx ends. Then it stops the
// machine and returns nil. Progress goes to the context's progress.Reporter, the service's journal too. Errors are, or wrap,
// ErrRunning, ErrElsewhere, ErrStopped, a *PortError, and those of the engine.
func Up(ctx context.Context, o Options) (err error) {
	if place, local := o.Engine.Place(); !local {
		return fmt.Errorf("%w; this one is %s", ErrElsewhere, place)
	}
	unlock, err := o.lock()
	if err != nil {
		return err
	}
	defer unlock()
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := &dev{Options: o, cancel: cancel}
	defer func() { err = errors.Join(err, d.stop(context.WithoutCancel(ctx))) }()
	err = d.follow(inner)
	if ctx.Err() != nil {
		return nil // as asked for
	}
	if cause := context.Cause(inner); cause != nil {
		return cause // what ended it is more than what broke then
	}
	return err
}

// stop stops the machine and keeps it.
func (d *dev) stop(ctx context.Context) error {
	if d.detach != nil {
		d.detach()
	}
	err := d.Engine.Stop(ctx, d.name(), stopTimeout)
	if errors.Is(err, machine.ErrNotFound) {
		return nil
	}
	return err
}
