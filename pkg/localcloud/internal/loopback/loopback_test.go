package loopback

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChoose(t *testing.T) {
	first, err := Choose("/some/state/folder")
	if err != nil {
		t.Skipf("this system has no 127.0.0.0/8: %v", err)
	}
	if again, err := Choose("/some/state/folder"); err != nil || again != first {
		t.Errorf("Choose twice: %v, then %v, %v", first, again, err)
	}
	if other, err := Choose("/another"); err != nil || other == first {
		t.Errorf("Choose with another seed: %v, %v", other, err)
	}
	l, err := net.Listen("tcp4", first.Endpoint().String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if taken, err := Choose("/some/state/folder"); err != nil || taken == first {
		t.Errorf("Choose while the block is taken: %v, %v", taken, err)
	}
}

func TestParseBlock(t *testing.T) {
	for in, want := range map[string]string{
		"127.80.3.0/24": "",
		"127.80.3.1/24": "want 127.A.B.0/24",
		"127.80.0.0/16": "want 127.A.B.0/24",
		"10.0.0.0/24":   "want 127.A.B.0/24",
		"nonsense":      "parse loopback block",
	} {
		b, err := ParseBlock(in)
		if want == "" {
			if err != nil || b.String() != in || b.Endpoint().String() != "127.80.3.1:4566" {
				t.Errorf("ParseBlock(%q) = %v, %v", in, b, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseBlock(%q): error %v, want %q", in, err, want)
		}
	}
}

func TestBlockJSON(t *testing.T) {
	in := map[string]Block{"a": mustBlock(t), "none": {}}
	data, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]Block
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	if out["a"] != in["a"] || out["none"] != in["none"] {
		t.Errorf("got %v from %s", out, data)
	}
}

func mustBlock(t *testing.T) Block {
	t.Helper()
	b, err := ParseBlock("127.80.3.0/24")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// memory is a store whose saves can fail.
type memory struct {
	data []byte
	fail error
}

func (m *memory) Load(_ string, into any) (bool, error) {
	if m.data == nil {
		return false, nil
	}
	return true, json.Unmarshal(m.data, into)
}

func (m *memory) Save(_ string, from any) (err error) {
	if m.fail != nil {
		return m.fail
	}
	m.data, err = json.Marshal(from)
	return err
}

func TestPool(t *testing.T) {
	var s memory
	p, err := NewPool(mustBlock(t), &s)
	if err != nil {
		t.Fatal(err)
	}
	allocate := func(owner string) string {
		t.Helper()
		a, err := p.Allocate(owner)
		if err != nil {
			t.Fatal(err)
		}
		return a.String()
	}
	if got := allocate("i-1"); got != "127.80.3.2" {
		t.Errorf("first address %s", got)
	}
	if got := allocate("i-2"); got != "127.80.3.3" {
		t.Errorf("second address %s", got)
	}
	if err := p.Release(netip.MustParseAddr("127.80.3.2")); err != nil {
		t.Fatal(err)
	}
	if got := allocate("i-3"); got != "127.80.3.4" {
		t.Errorf("address after a release %s, want one that has rested", got)
	}

	p, err = NewPool(mustBlock(t), &s)
	if err != nil {
		t.Fatal(err)
	}
	want := map[netip.Addr]string{netip.MustParseAddr("127.80.3.3"): "i-2", netip.MustParseAddr("127.80.3.4"): "i-3"}
	if diff := cmp.Diff(want, p.state.Value().Owners, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("owners after a restart (-want +got):\n%s", diff)
	}

	s.fail = errors.New("disk full")
	if _, err := p.Allocate("i-4"); !errors.Is(err, s.fail) || len(p.state.Value().Owners) != 2 {
		t.Errorf("allocate that cannot be saved: %v, owners %v", err, p.state.Value().Owners)
	}
	s.fail = nil
	for range lastHost - firstHost + 1 - 2 {
		allocate("i-n")
	}
	if _, err := p.Allocate("i-late"); !errors.Is(err, ErrExhausted) {
		t.Errorf("allocate from a full pool: %v", err)
	}
	if err := p.Release(netip.MustParseAddr("127.80.3.200")); err != nil {
		t.Fatal(err)
	}
	if got := allocate("i-late"); got != "127.80.3.200" {
		t.Errorf("last free address %s", got)
	}
}

type fakeForwarder struct {
	from, to netip.AddrPort
	stopped  int
	err      error
}

func (f *fakeForwarder) Forward(_ context.Context, from, to netip.AddrPort) (func(), error) {
	f.from, f.to = from, to
	return func() { f.stopped++ }, f.err
}

func TestOpenForwardsPrivilegedPorts(t *testing.T) {
	at := netip.MustParseAddrPort("127.0.0.1:80")
	refuse := func(ctx context.Context, network, address string) (net.Listener, error) {
		if address == at.String() {
			return nil, &net.OpError{Op: "listen", Net: network, Err: os.NewSyscallError("bind", syscall.EACCES)}
		}
		return new(net.ListenConfig).Listen(ctx, network, address)
	}
	var f fakeForwarder
	l, err := opener(refuse, &f)(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if f.from != at || f.to.Addr() != at.Addr() || f.to.Port() < 1024 || l.Addr().String() != at.String() {
		t.Errorf("forwarded %s to %s, listener at %s", f.from, f.to, l.Addr())
	}
	l.Close()
	l.Close()
	if f.stopped != 1 {
		t.Errorf("stopped the forward %d times", f.stopped)
	}

	if _, err := opener(refuse, nil)(t.Context(), at); !errors.Is(err, syscall.EACCES) {
		t.Errorf("without a forwarder: %v", err)
	}
	f.err = errors.New("no container")
	if _, err := opener(refuse, &f)(t.Context(), at); !errors.Is(err, f.err) {
		t.Errorf("with a forwarder that fails: %v", err)
	}
	if _, err := Open(nil)(t.Context(), netip.MustParseAddrPort("0.0.0.0:0")); err == nil {
		t.Error("listened on 0.0.0.0")
	}
}
