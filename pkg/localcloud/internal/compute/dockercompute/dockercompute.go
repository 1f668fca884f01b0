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
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/ingot-build/ingot/internal/lines"
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

	addresses  sync.Map   // of machines: netip.Addr to the engine's name, where they are not this host's to reach
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
	files := machine.Seed{InstanceID: s.ID, AuthorizedKeys: s.AuthorizedKeys, UserData: s.UserData}.Files()
	if err := c.create(ctx, s, files); err != nil {
		return compute.Machine{}, err
	}
	m, err := c.Start(ctx, s.ID)
	if err == nil {
		err = c.survives(ctx, s.ID)
	}
	if err != nil {
		return compute.Machine{}, errors.Join(err, c.engine.Remove(context.WithoutCancel(ctx), c.machineName(s.ID)))
	}
	return m, nil
}

// infancy is how long a new machine is looked after: one that the engine cannot boot has ended by then.
const infancy = 250 * time.Millisecond

// survives returns what a new machine died of, where it did.
func (c *Compute) survives(ctx context.Context, id string) error {
	young, cancel := context.WithTimeout(ctx, infancy)
	defer cancel()
	if err := c.engine.WaitStopped(young, c.machineName(id)); err != nil {
		return ctx.Err() // it lives
	}
	text, err := c.engine.Console(ctx, c.machineName(id))
	return fmt.Errorf("the machine ended as it booted: %s", errors.Join(err, errors.New(strings.Join(lines.Last(text, 3), "; "))))
}

// create makes a machine and does not start it.
func (c *Compute) create(ctx context.Context, s compute.Spec, files []machine.File) error {
	network, err := c.network(ctx)
	if err != nil {
		return err
	}
	return c.engine.Create(ctx, machine.Spec{
		Name:     c.machineName(s.ID),
		Image:    s.Image,
		Hostname: s.Hostname,
		Labels:   c.labels(map[string]string{instanceLabel: s.ID}),
		Network:  network,
		Files:    files,
		Memory:   s.Memory,
		CPUs:     s.CPUs,

		LinkLocal: compute.LinkLocal,
	})
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
	c.remember(info)
	return machineOf(info), nil
}

func (c *Compute) remember(info machine.Info) {
	if info.Address.IsValid() && !c.engine.Routed() {
		c.addresses.Store(info.Address, info.Name)
	}
}

// Dial connects to the address of a machine.
func (c *Compute) Dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if c.engine.Routed() {
		return new(net.Dialer).DialContext(ctx, "tcp", to.String())
	}
	name, known := c.addresses.Load(to.Addr())
	if !known {
		return nil, fmt.Errorf("connect to %s: no machine has that address", to)
	}
	return c.engine.Dial(ctx, name.(string), to)
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
		c.remember(info)
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
func (c *Compute) Commit(ctx context.Context, id, name string) (compute.Image, error) {
	if !validName.MatchString(name) {
		return compute.Image{}, fmt.Errorf("image name %q: want lower-case letters, digits, and single dots, dashes and underscores between them", name)
	}
	tag := c.prefix() + "/" + name + ":latest"
	from, err := c.engine.Inspect(ctx, c.machineName(id))
	if err != nil {
		return compute.Image{}, err
	}
	made, err := c.engine.Commit(ctx, c.machineName(id), tag, c.labels(nil))
	if err != nil {
		return compute.Image{}, err
	}
	image := compute.Image{Ref: tag}
	// Both are there but for one that somebody removes meanwhile, of which the size is not worth an error.
	if before, err := c.engine.InspectImage(ctx, from.ImageID); err == nil {
		if after, err := c.engine.InspectImage(ctx, made); err == nil {
			image.Written = max(0, after.Size-before.Size)
		}
	}
	return image, nil
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

// Listen implements compute.Compute.
func (c *Compute) Listen(ctx context.Context, id string, at netip.AddrPort, hops int) (net.Listener, error) {
	return c.engine.Listen(ctx, c.machineName(id), at, hops)
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
