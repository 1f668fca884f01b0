// Package dockercompute runs the local cloud's instances as machines on Docker.
//
// Everything that it makes carries the cloud's ID in its name and in a label, so that clouds can live side by side on one engine, and
// one can be removed without a trace.
package dockercompute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/machine"
)

// Labels of everything that a cloud makes.
const (
	cloudLabel    = "ingot.cloud"    // the cloud's ID
	instanceLabel = "ingot.instance" // the instance's ID; machines only
)

// stopTimeout is how long a machine may take to shut down before it is killed.
const stopTimeout = 10 * time.Second

// Options configure a Compute.
type Options struct {
	// CloudID names the cloud among all on the engine: lower-case letters, digits and dashes.
	CloudID string
	// Labels are added to everything that the cloud makes.
	Labels map[string]string
	// Image says how the machine image is made; the zero value is the usual one.
	Image machine.ImageOptions
}

// Compute runs machines on a Docker engine. It implements compute.Compute and loopback's Forwarder.
type Compute struct {
	engine  *machine.Engine
	options Options

	networking sync.Mutex // held while the network is made: the engine would make two of one name
}

var _ compute.Compute = (*Compute)(nil)

// New returns the Compute of a cloud.
func New(engine *machine.Engine, o Options) (*Compute, error) {
	if !validID.MatchString(o.CloudID) {
		return nil, fmt.Errorf("cloud ID %q: want lower-case letters, digits and dashes", o.CloudID)
	}
	return &Compute{engine: engine, options: o}, nil
}

// What the engine accepts in names, and in the names of images.
var (
	validID   = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	validName = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)
)

// prefix is what the names of everything that the cloud makes begin with.
func (c *Compute) prefix() string { return "ingot-" + c.options.CloudID }

func (c *Compute) machineName(id string) string { return c.prefix() + "-" + id }

func (c *Compute) labels(more map[string]string) map[string]string {
	all := map[string]string{cloudLabel: c.options.CloudID}
	for _, labels := range []map[string]string{c.options.Labels, more} {
		for key, value := range labels {
			all[key] = value
		}
	}
	return all
}

// SourceImage implements compute.Compute. The cloud's own tag on the image says that the cloud uses it.
func (c *Compute) SourceImage(ctx context.Context, architecture string) (string, error) {
	o := c.options.Image
	o.Architecture = architecture
	shared, err := c.engine.Image(ctx, o)
	if err != nil {
		return "", err
	}
	own := c.sourceTag()
	return own, c.engine.TagImage(ctx, shared, own)
}

func (c *Compute) sourceTag() string { return c.prefix() + "/source:" + c.engine.Architecture() }

// Create implements compute.Compute.
func (c *Compute) Create(ctx context.Context, s compute.Spec) (compute.Machine, error) {
	network, err := c.network(ctx)
	if err != nil {
		return compute.Machine{}, err
	}
	name := c.machineName(s.ID)
	err = c.engine.Create(ctx, machine.Spec{
		Name:     name,
		Image:    s.Image,
		Hostname: s.Hostname,
		Labels:   c.labels(map[string]string{instanceLabel: s.ID}),
		Network:  network,
		Files:    machine.Seed{InstanceID: s.ID, AuthorizedKeys: s.AuthorizedKeys, UserData: s.UserData}.Files(),
	})
	if err != nil {
		return compute.Machine{}, err
	}
	m, err := c.Start(ctx, s.ID)
	if err != nil {
		return compute.Machine{}, errors.Join(err, c.engine.Remove(context.WithoutCancel(ctx), name))
	}
	return m, nil
}

// network returns the cloud's network, which is made when it is needed first.
func (c *Compute) network(ctx context.Context) (string, error) {
	c.networking.Lock()
	defer c.networking.Unlock()
	return c.prefix(), c.engine.CreateNetwork(ctx, c.prefix(), c.labels(nil))
}

// Start implements compute.Compute.
func (c *Compute) Start(ctx context.Context, id string) (compute.Machine, error) {
	if err := c.engine.Start(ctx, c.machineName(id)); err != nil {
		return compute.Machine{}, err
	}
	return c.Inspect(ctx, id)
}

// Stop implements compute.Compute.
func (c *Compute) Stop(ctx context.Context, id string) error {
	return c.engine.Stop(ctx, c.machineName(id), stopTimeout)
}

// Kill implements compute.Compute.
func (c *Compute) Kill(ctx context.Context, id string) error {
	return c.engine.Stop(ctx, c.machineName(id), 0)
}

// Remove implements compute.Compute. With the last machine of an image that was removed before goes the image's disk.
func (c *Compute) Remove(ctx context.Context, id string) error {
	info, err := c.engine.Inspect(ctx, c.machineName(id))
	if errors.Is(err, machine.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := c.engine.Remove(ctx, info.Name); err != nil {
		return err
	}
	image, err := c.engine.InspectImage(ctx, info.ImageID)
	if errors.Is(err, machine.ErrNoImage) {
		return nil
	}
	if err != nil || len(image.Tags) > 0 {
		return err
	}
	return c.removeUntagged(ctx, image.ID)
}

// removeUntagged removes an image, unless a machine or another image is made of it.
func (c *Compute) removeUntagged(ctx context.Context, id string) error {
	err := c.engine.RemoveImage(ctx, id)
	if errors.Is(err, machine.ErrImageInUse) {
		return nil
	}
	return err
}

// Inspect implements compute.Compute.
func (c *Compute) Inspect(ctx context.Context, id string) (compute.Machine, error) {
	info, err := c.engine.Inspect(ctx, c.machineName(id))
	if errors.Is(err, machine.ErrNotFound) {
		return compute.Machine{ID: id, State: compute.Gone}, nil
	}
	if err != nil {
		return compute.Machine{}, err
	}
	return machineOf(info), nil
}

func machineOf(info machine.Info) compute.Machine {
	m := compute.Machine{ID: info.Labels[instanceLabel], State: compute.Stopped, Address: info.Address}
	if info.State == machine.Running {
		m.State = compute.Running
	}
	return m
}

// List implements compute.Compute.
func (c *Compute) List(ctx context.Context) ([]compute.Machine, error) {
	all, err := c.engine.List(ctx, c.instances())
	if err != nil {
		return nil, err
	}
	machines := make([]compute.Machine, len(all))
	for i, info := range all {
		machines[i] = machineOf(info)
	}
	return machines, nil
}

// instances are the labels of the cloud's machines, as opposed to its relays.
func (c *Compute) instances() map[string]string {
	return map[string]string{cloudLabel: c.options.CloudID, instanceLabel: ""}
}

// Commit implements compute.Compute. The name is made of lower-case letters, digits, and single dots, dashes and underscores between
// them. It makes an image of a running machine too, which is paused meanwhile.
func (c *Compute) Commit(ctx context.Context, id, name string) (string, error) {
	if !validName.MatchString(name) {
		return "", fmt.Errorf("image name %q: want lower-case letters, digits, and single dots, dashes and underscores between them", name)
	}
	tag := c.prefix() + "/" + name + ":latest"
	_, err := c.engine.Commit(ctx, c.machineName(id), tag, c.labels(nil))
	if err != nil {
		return "", err
	}
	return tag, nil
}

// RemoveImage implements compute.Compute. As on EC2, machines made of the image go on.
func (c *Compute) RemoveImage(ctx context.Context, ref string) error {
	return c.engine.RemoveImage(ctx, ref)
}

// Console implements compute.Compute.
func (c *Compute) Console(ctx context.Context, id string) (string, error) {
	return c.engine.Console(ctx, c.machineName(id))
}

// WaitBooted implements compute.Compute.
func (c *Compute) WaitBooted(ctx context.Context, id string) error {
	_, err := c.engine.WaitBooted(ctx, c.machineName(id))
	return err
}

// Exec implements compute.Compute.
func (c *Compute) Exec(ctx context.Context, id string, p compute.Command) error {
	err := c.engine.Exec(ctx, c.machineName(id), machine.Command{
		Args: p.Args, Env: p.Env, Stdin: p.Stdin, Stdout: p.Stdout, Stderr: p.Stderr,
	})
	if exit, ok := errors.AsType[*machine.ExitError](err); ok {
		return &compute.ExitError{Code: exit.Code}
	}
	return err
}

// CopyIn implements compute.Compute.
func (c *Compute) CopyIn(ctx context.Context, id, folder string, archive io.Reader) error {
	return c.engine.CopyIn(ctx, c.machineName(id), folder, archive)
}

// Forward relays TCP connections on this host from one address to another until stop is called. The engine listens, and may do so on
// ports below 1024. A relay outlives this process; a new one takes the place of an old one at the same address.
func (c *Compute) Forward(ctx context.Context, from, to netip.AddrPort) (stop func(), err error) {
	image, err := c.SourceImage(ctx, "")
	if err != nil {
		return nil, err
	}
	// The name must not hold the colons of an IPv6 address.
	name := fmt.Sprintf("%s-forward-%s-%d", c.prefix(), strings.ReplaceAll(from.Addr().String(), ":", "."), from.Port())
	err = c.engine.StartRelay(ctx, machine.Relay{Name: name, Image: image, Labels: c.labels(nil), From: from, To: to})
	if err != nil {
		return nil, err
	}
	return func() { _ = c.engine.Remove(context.WithoutCancel(ctx), name) }, nil
}
