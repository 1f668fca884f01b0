package ec2

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ingot-build/ingot/internal/wait"
)

// maxRangePorts is how many ports a rule may open one by one.
const maxRangePorts = 64

// commonPorts are what a wider rule opens: SSH, HTTP, HTTPS, and the port that services here use by default.
func commonPorts() []int { return []int{22, 80, 443, 8080} }

// dialTimeout is how long a relay waits for the machine, which is close.
const dialTimeout = 5 * time.Second

// door is an open port of a public address.
type door struct {
	to   netip.AddrPort // where it leads
	from []netip.Prefix // who may come in
}

// expose opens and closes ports so that they match the instances and their security groups. It returns once they do.
func (s *Service) expose() { s.exposure.apply(s.doors) }

// doors returns what should be open, and the public addresses whose connections may live on though they take no new ones.
func (s *Service) doors() (open map[netip.AddrPort]door, alive map[netip.Addr]bool) {
	s.document.Lock()
	defer s.document.Unlock()
	open, alive = map[netip.AddrPort]door{}, map[netip.Addr]bool{}
	for _, i := range s.state.Instances {
		if !i.PublicIP.IsValid() {
			continue
		}
		alive[i.PublicIP] = true
		if i.State != stateRunning || !i.PrivateIP.IsValid() {
			continue
		}
		for _, id := range i.Groups {
			group := s.state.Groups[id]
			if group == nil {
				continue
			}
			for _, r := range group.Rules {
				for _, port := range r.exposes() {
					at := netip.AddrPortFrom(i.PublicIP, uint16(port))
					d := open[at]
					d.to = netip.AddrPortFrom(i.PrivateIP, uint16(port))
					d.from = append(d.from, netip.MustParsePrefix(r.CIDR))
					open[at] = d
				}
			}
		}
	}
	return open, alive
}

// exposes returns the ports that a rule opens on public addresses.
func (r *rule) exposes() []int {
	if r.Egress || r.Protocol != "tcp" && r.Protocol != "-1" {
		return nil
	}
	from, err := netip.ParsePrefix(r.CIDR) // "" for a rule that names a group
	if err != nil || !from.Overlaps(netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)) {
		return nil
	}
	low, high := 1, 65535
	if r.Protocol == "tcp" {
		low, high = max(r.From, 1), r.To
	}
	if high-low < maxRangePorts {
		var ports []int
		for port := low; port <= high; port++ {
			ports = append(ports, port)
		}
		return ports
	}
	return slices.DeleteFunc(commonPorts(), func(port int) bool { return port < low || port > high })
}

// exposure is the open ports.
type exposure struct {
	ctx  context.Context
	open func(ctx context.Context, at netip.AddrPort) (net.Listener, error)
	dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	log  *slog.Logger

	mu     sync.Mutex // held while ports open and close, so that the last call to apply has the last word
	relays map[netip.AddrPort]*relay
	work   sync.WaitGroup
}

func newExposure(ctx context.Context, o Options, log *slog.Logger) *exposure {
	e := &exposure{ctx: ctx, open: o.Open, dial: o.Dial, log: log, relays: map[netip.AddrPort]*relay{}}
	if e.dial == nil {
		e.dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", to.String())
		}
	}
	return e
}

// apply makes the open ports what wanted says.
func (e *exposure) apply(wanted func() (map[netip.AddrPort]door, map[netip.Addr]bool)) {
	if e.open == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	doors, alive := wanted()
	if e.ctx.Err() != nil {
		return
	}
	for at, r := range e.relays {
		if _, ok := doors[at]; !ok {
			r.close() // connections that are open stay, as tracked ones do on EC2
		}
		if !alive[at.Addr()] {
			r.cut()
			delete(e.relays, at)
		}
	}
	for at, d := range doors {
		r := e.relays[at]
		if r == nil {
			r = &relay{log: e.log, dial: e.dial, conns: map[net.Conn]bool{}}
			e.relays[at] = r
		}
		r.set(d)
		if r.listener != nil {
			continue
		}
		l, err := e.open(e.ctx, at)
		if err != nil {
			e.log.Error("open port of public address", "address", at, "error", err)
			continue
		}
		r.listener = l
		e.work.Go(func() { r.serve(e.ctx, l) })
	}
}

// close closes everything.
func (e *exposure) close() {
	e.mu.Lock()
	for at, r := range e.relays {
		r.close()
		r.cut()
		delete(e.relays, at)
	}
	e.mu.Unlock()
	e.work.Wait()
}

// relay passes on the connections to one port.
type relay struct {
	log      *slog.Logger
	dial     func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	listener net.Listener // nil while closed; guarded by exposure.mu

	mu    sync.Mutex
	door  door
	conns map[net.Conn]bool
	ended bool
}

func (r *relay) set(d door) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.door = d
}

// close takes no more connections.
func (r *relay) close() {
	if r.listener != nil {
		r.listener.Close()
		r.listener = nil
	}
}

// cut ends the connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	for c := range r.conns {
		c.Close()
	}
}

// track remembers a connection for cut; it is not ok once that has happened.
func (r *relay) track(c net.Conn) (ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.conns[c] = true
	return true
}

func (r *relay) forget(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

func (r *relay) serve(ctx context.Context, l net.Listener) {
	var work sync.WaitGroup
	defer work.Wait()
	for {
		client, err := l.Accept()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return
		}
		if err != nil { // out of file descriptors, or the client is gone again
			r.log.Warn("accept connection", "address", l.Addr(), "error", err)
			if wait.For(ctx, 50*time.Millisecond) != nil {
				return
			}
			continue
		}
		work.Go(func() { r.handle(ctx, client) })
	}
}

func (r *relay) handle(ctx context.Context, client net.Conn) {
	defer client.Close()
	r.mu.Lock()
	d := r.door
	r.mu.Unlock()
	if !d.admits(client.RemoteAddr()) {
		reset(client)
		return
	}
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	machine, err := r.dial(dialing, d.to)
	cancel()
	if err != nil { // nothing listens there yet, perhaps: the client shall see it as it would without a relay
		reset(client)
		return
	}
	defer machine.Close()
	for _, c := range []net.Conn{client, machine} {
		if !r.track(c) {
			return
		}
		defer r.forget(c)
	}
	var both sync.WaitGroup
	both.Go(func() { pass(machine, client) })
	both.Go(func() { pass(client, machine) })
	both.Wait()
}

// admits tells whether a client's address is in one of the door's CIDRs.
func (d door) admits(client net.Addr) bool {
	addr, err := netip.ParseAddrPort(client.String())
	if err != nil {
		return false
	}
	return slices.ContainsFunc(d.from, func(p netip.Prefix) bool { return p.Contains(addr.Addr().Unmap()) })
}

// pass copies one direction of a connection to its end, and then says so to the other side, which may still have to
// answer. After an error there is nothing more to come in either direction.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	half, ok := to.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		to.Close()
		from.Close()
	}
}

// reset closes a connection so that the client sees it refused instead of ended.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the close that follows is all that matters
	}
}
