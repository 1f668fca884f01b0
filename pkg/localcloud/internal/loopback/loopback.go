// Package loopback gives a local cloud addresses of its own in 127.0.0.0/8, which no other host can reach.
//
// A cloud owns a [Block] 127.A.B.0/24: its .1 is the endpoint, the rest are the public addresses of instances and load
// balancers, which a [Pool] hands out.
package loopback

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
)

// EndpointPort is the port of a cloud's endpoint, the one that AWS emulators have in common.
const EndpointPort = 4566

// Candidates for a block: 127.A.B with A in [firstA, firstA+spanA). That leaves out 127.0.0.0/16, where resolvers and
// Debian's own host name live, and the ends of the range, which people use by hand.
const (
	firstA = 64
	spanA  = 128
)

// attempts is how many blocks Choose tries. Each one is taken only when another cloud runs in it.
const attempts = 256

// Block is a cloud's own 127.A.B.0/24. Its text form is the prefix, so that it can be saved and kept: choosing again
// while the endpoint is up gives another block.
type Block struct{ prefix netip.Prefix }

// Choose returns the first block whose endpoint can be bound, starting at one that follows from the seed, which is the
// path of the cloud's state folder.
func Choose(seed string) (Block, error) {
	h := fnv.New32a()
	h.Write([]byte(seed))
	start := h.Sum32() % (spanA * 256)
	var last error
	for i := range uint32(attempts) {
		b := numbered((start + i) % (spanA * 256))
		l, err := net.Listen("tcp4", b.Endpoint().String())
		if err == nil {
			l.Close()
			return b, nil
		}
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			return Block{}, fmt.Errorf("choose loopback block: bind %s: %w: this system does not route all of 127.0.0.0/8 to itself; run the local cloud on Linux", b.Endpoint(), err)
		}
		last = err
	}
	return Block{}, fmt.Errorf("choose loopback block: none of %d is free: %w", attempts, last)
}

func numbered(n uint32) Block {
	return Block{netip.PrefixFrom(netip.AddrFrom4([4]byte{127, byte(firstA + n/256), byte(n % 256), 0}), 24)}
}

// ParseBlock reads a block's text form, for example "127.80.12.0/24".
func ParseBlock(s string) (Block, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return Block{}, fmt.Errorf("parse loopback block %q: %w", s, err)
	}
	if !p.Addr().Is4() || p.Bits() != 24 || p != p.Masked() || !p.Addr().IsLoopback() {
		return Block{}, fmt.Errorf("parse loopback block %q: want 127.A.B.0/24", s)
	}
	return Block{p}, nil
}

// String returns the block's prefix.
func (b Block) String() string { return b.prefix.String() }

// Prefix returns what the text form of every address of the block begins with, such as "127.80.12.".
func (b Block) Prefix() string { return strings.TrimSuffix(b.prefix.Addr().String(), "0") }

// MarshalText implements encoding.TextMarshaler.
func (b Block) MarshalText() ([]byte, error) {
	if !b.prefix.IsValid() {
		return nil, nil
	}
	return []byte(b.String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Block) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*b = Block{}
		return nil
	}
	parsed, err := ParseBlock(string(text))
	if err != nil {
		return err
	}
	*b = parsed
	return nil
}

// Endpoint returns the address of the cloud's endpoint.
func (b Block) Endpoint() netip.AddrPort { return netip.AddrPortFrom(b.host(1), EndpointPort) }

// Contains tells whether an address is one of the block's.
func (b Block) Contains(a netip.Addr) bool { return b.prefix.Contains(a) }

func (b Block) host(n int) netip.Addr {
	a := b.prefix.Addr().As4()
	a[3] = byte(n)
	return netip.AddrFrom4(a)
}

// The last octets that a pool hands out: .0 and .255 are no hosts', .1 is the endpoint.
const (
	firstHost = 2
	lastHost  = 254
)

// ErrExhausted says that every address of the block is taken.
var ErrExhausted = errors.New("no free address in the cloud's block")

const storeName = "addresses"

// Pool hands out a block's addresses. It remembers them in its store.
type Pool struct {
	block Block
	state *store.Document[poolState]
}

type poolState struct {
	Owners map[netip.Addr]string `json:"owners"`
	// Last is the octet handed out last. The next search starts behind it, so that an address rests before it serves
	// another owner, whom clients could take for the old one.
	Last int `json:"last"`
}

// NewPool returns the pool of a block, with what was handed out before.
func NewPool(block Block, s store.Store) (*Pool, error) {
	state, err := store.Open(s, storeName, poolState{Owners: map[netip.Addr]string{}})
	if err != nil {
		return nil, fmt.Errorf("load addresses: %w", err)
	}
	maps.DeleteFunc(state.Value().Owners, func(addr netip.Addr, _ string) bool {
		return !block.Contains(addr) // of a block that the cloud has left
	})
	return &Pool{block, state}, nil
}

// Allocate returns a free address and remembers its owner, which may hold several.
// It fails with [ErrExhausted] when there is none.
func (p *Pool) Allocate(owner string) (netip.Addr, error) {
	const span = lastHost - firstHost + 1
	var found netip.Addr
	err := p.state.Update(func(st *poolState) error {
		start := max(st.Last+1, firstHost) - firstHost
		for i := range span {
			n := firstHost + (start+i)%span
			addr := p.block.host(n)
			if _, taken := st.Owners[addr]; !taken {
				st.Owners[addr], st.Last, found = owner, n, addr
				return nil
			}
		}
		return ErrExhausted
	})
	if err != nil {
		return netip.Addr{}, fmt.Errorf("allocate address for %q: %w", owner, err)
	}
	return found, nil
}

// Release gives an address back. Releasing one that is free changes nothing.
func (p *Pool) Release(addr netip.Addr) error {
	err := p.state.Update(func(st *poolState) error {
		delete(st.Owners, addr)
		return nil
	})
	if err != nil {
		return fmt.Errorf("release address %s: %w", addr, err)
	}
	return nil
}

// Opener listens on a TCP address.
type Opener func(ctx context.Context, at netip.AddrPort) (net.Listener, error)

// Forwarder relays TCP from an address that this process may not bind to one that it has bound.
type Forwarder interface {
	Forward(ctx context.Context, from, to netip.AddrPort) (stop func(), err error)
}

// listenFunc is net.ListenConfig's Listen.
type listenFunc func(ctx context.Context, network, address string) (net.Listener, error)

// Open returns an opener. Ports below 1024 may be out of reach for an ordinary user; for those it listens on a free port
// of the same address and has the forwarder relay to that. A relayed connection comes from the forwarder's address, not
// from the client's. The forwarder may be nil: then such a port is an error.
func Open(f Forwarder) Opener {
	var lc net.ListenConfig
	return opener(lc.Listen, f)
}

func opener(listen listenFunc, f Forwarder) Opener {
	return func(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
		if !at.Addr().IsLoopback() {
			return nil, fmt.Errorf("listen on %s: it is no loopback address", at)
		}
		l, err := listen(ctx, "tcp4", at.String())
		if err == nil {
			return l, nil
		}
		if at.Port() >= 1024 || !errors.Is(err, syscall.EACCES) || f == nil {
			return nil, err // net's error names the address
		}
		l, err = listen(ctx, "tcp4", netip.AddrPortFrom(at.Addr(), 0).String())
		if err != nil {
			return nil, err
		}
		to := l.Addr().(*net.TCPAddr).AddrPort()
		stop, err := f.Forward(ctx, at, to)
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("forward %s to %s: %w", at, to, err)
		}
		return &forwarded{Listener: l, at: net.TCPAddrFromAddrPort(at), stop: sync.OnceFunc(stop)}, nil
	}
}

// forwarded is a listener that a forwarder relays to.
type forwarded struct {
	net.Listener
	at   *net.TCPAddr
	stop func()
}

// Addr returns the address that clients connect to.
func (l *forwarded) Addr() net.Addr { return l.at }

func (l *forwarded) Close() error {
	l.stop()
	return l.Listener.Close()
}
