package machine

import (
	"context"
	_ "embed" // dial.pl
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

//go:embed dial.pl
var dialScript string

// Routed tells whether this process reaches machines by their own addresses. It does where the engine runs on the same Linux and as
// root: a virtual machine such as Docker Desktop's, a rootless engine and one elsewhere have networks of their own.
func (e *Engine) Routed() bool { return e.host.routed }

// Place is where the engine is, and who says so. Local tells whether that is this machine, or a virtual machine of it that publishes its
// ports here.
func (e *Engine) Place() (place string, local bool) { return e.at.place(), e.at.local() }

// Dial connects to a TCP port at the address of a running machine, from wherever the engine can be reached: everything is carried by a
// program in the machine. It takes some 50 ms more than a connection to a machine of an engine that is Routed. The connection ends with
// the machine.
func (e *Engine) Dial(ctx context.Context, name string, to netip.AddrPort) (net.Conn, error) {
	c, err := newConnection(ctx, to, func(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
		return e.perl(ctx, name, "dial.pl", dialScript, stdin, stdout, to.Addr().String(), strconv.Itoa(int(to.Port())))
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s in machine %q: %w", to, name, err)
	}
	return c, nil
}

// newConnection returns a connection once the program that run runs, dial.pl, has made one.
func newConnection(ctx context.Context, to netip.AddrPort, run func(ctx context.Context, stdin io.Reader, stdout io.Writer) error) (net.Conn, error) {
	ours, theirs := net.Pipe()
	connected := make(chan struct{})
	ended := make(chan error, 1)
	// The connection outlives the call that makes it.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer cancel()
		err := run(running, ours, &greeted{to: ours, greeting: sync.OnceFunc(func() { close(connected) })})
		ended <- err
		ours.Close()
	}()
	select {
	case <-connected:
		return dialed{theirs, to}, nil
	case err := <-ended:
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	case <-ctx.Done():
		cancel()
		return nil, context.Cause(ctx)
	}
}

// greeted takes the first byte of what is written away.
type greeted struct {
	to       io.Writer
	greeting func()
	after    bool
}

func (g *greeted) Write(p []byte) (int, error) {
	if g.after || len(p) == 0 {
		return g.to.Write(p)
	}
	g.after = true
	g.greeting()
	if len(p) == 1 {
		return 1, nil
	}
	n, err := g.to.Write(p[1:])
	return n + 1, err
}

// dialed is a connection to a machine.
type dialed struct {
	net.Conn
	to netip.AddrPort
}

func (d dialed) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(d.to) }
