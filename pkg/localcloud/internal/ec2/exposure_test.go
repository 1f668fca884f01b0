package ec2

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// echo is a machine that answers with what it was sent, once it has been sent everything.
func echo(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				data, _ := io.ReadAll(c)
				c.Write(append([]byte("you said "), data...))
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// exposed opens one port that leads to a machine, to clients of a CIDR.
// at returns its address, which is another one each time that it opens.
func exposed(t *testing.T, to netip.AddrPort, from string) (e *exposure, at func() netip.AddrPort) {
	t.Helper()
	var last atomic.Pointer[net.TCPAddr]
	ctx, cancel := context.WithCancel(context.Background())
	// The port that is asked for does not matter: the system gives one.
	e = newExposure(ctx, Options{Open: func(context.Context, netip.AddrPort) (net.Listener, error) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err == nil {
			last.Store(l.Addr().(*net.TCPAddr))
		}
		return l, err
	}}, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		cancel()
		e.close()
	})
	e.apply(doors(to, from))
	return e, func() netip.AddrPort { return last.Load().AddrPort() }
}

var public = netip.MustParseAddrPort("127.80.0.2:80")

func doors(to netip.AddrPort, from ...string) func() (map[netip.AddrPort]door, map[netip.Addr]bool) {
	d := door{to: to}
	for _, cidr := range from {
		d.from = append(d.from, netip.MustParsePrefix(cidr))
	}
	return func() (map[netip.AddrPort]door, map[netip.Addr]bool) {
		return map[netip.AddrPort]door{public: d}, map[netip.Addr]bool{public.Addr(): true}
	}
}

func dial(t *testing.T, at netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp4", at.String(), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

func TestRelay(t *testing.T) {
	_, at := exposed(t, echo(t), "127.0.0.1/32")
	var clients sync.WaitGroup
	for range 50 {
		c := dial(t, at())
		clients.Go(func() {
			text := strings.Repeat("hello ", 10_000)
			if _, err := io.WriteString(c, text); err != nil {
				t.Error(err)
			}
			c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || string(got) != "you said "+text {
				t.Errorf("%d bytes of answer, %v", len(got), err)
			}
		})
	}
	clients.Wait()
}

func TestRelayRefuses(t *testing.T) {
	refused := func(at netip.AddrPort) error {
		c, err := net.Dial("tcp4", at.String())
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		_, err = c.Read(make([]byte, 1))
		return err
	}
	_, at := exposed(t, echo(t), "127.99.0.0/16")
	if err := refused(at()); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a client of another CIDR: %v, want a reset", err)
	}
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 99, 0, 1)}}
	if c, err := from.Dial("tcp4", at().String()); err != nil {
		t.Logf("this system cannot send from 127.99.0.1: %v", err)
	} else {
		defer c.Close()
		c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); err != nil || string(got) != "you said " {
			t.Errorf("a client of the CIDR: %q, %v", got, err)
		}
	}

	_, at = exposed(t, netip.MustParseAddrPort("127.0.0.1:1"), "0.0.0.0/0")
	if err := refused(at()); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a machine that does not listen: %v, want a reset", err)
	}
}

func TestRelayCloses(t *testing.T) {
	e, at := exposed(t, echo(t), "0.0.0.0/0")
	open := dial(t, at())
	io.WriteString(open, "hello")
	for len(connections(e)) < 2 { // both sides of it: one that nobody has taken yet goes with the listener
		time.Sleep(time.Millisecond)
	}

	// The rule goes: no new connections, but the open one goes on.
	e.apply(func() (map[netip.AddrPort]door, map[netip.Addr]bool) {
		return nil, map[netip.Addr]bool{public.Addr(): true}
	})
	if c, err := net.Dial("tcp4", at().String()); err == nil {
		c.Close()
		t.Error("connected to a closed port")
	}
	open.CloseWrite()
	if got, err := io.ReadAll(open); err != nil || string(got) != "you said hello" {
		t.Errorf("the open connection: %q, %v", got, err)
	}

	// The instance goes: its connections, too.
	e.apply(doors(echo(t), "0.0.0.0/0"))
	open = dial(t, at())
	io.WriteString(open, "hello")
	for len(connections(e)) < 2 { // both sides of it
		time.Sleep(time.Millisecond)
	}
	e.apply(func() (map[netip.AddrPort]door, map[netip.Addr]bool) { return nil, nil })
	if got, err := io.ReadAll(open); len(got) > 0 {
		t.Errorf("the connection to an instance that is gone: %q, %v", got, err)
	}
}

func connections(e *exposure) []net.Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []net.Conn
	for _, r := range e.relays {
		r.mu.Lock()
		for c := range r.conns {
			all = append(all, c)
		}
		r.mu.Unlock()
	}
	return all
}
