package compute

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ingot-build/ingot/internal/wait"
)

// Memory is a Compute without machines: it keeps records of them and takes as long as it is told to. It uses the
// plain time package, so that under testing/synctest its delays take no time at all. The zero value is ready to use.
//
// The fields may be set before the first call; the functions may be called at the same time.
type Memory struct {
	CreateDelay time.Duration // how long Create takes
	StopDelay   time.Duration // how long Stop takes
	CommitDelay time.Duration // how long Commit takes
	Written     int64         // of every image that Commit makes

	// CommitRunning lets Commit take a running machine.
	CommitRunning bool

	// Failures, each nil for none: an error they return is what the call fails with, after its delay.
	FailCreate func(Spec) error
	FailStart  func(id string) error
	FailStop   func(id string) error
	FailCommit func(id, name string) error

	// BootDelay is how long WaitBooted takes.
	BootDelay time.Duration
	// Run is what Exec does; nil does nothing, with success. It gets the context that ends the program.
	Run func(ctx context.Context, id string, c Command) error
	// Unpack is what CopyIn does; nil reads the archive and forgets it.
	Unpack func(id, folder string, archive io.Reader) error

	// Listener is what Listen does; nil answers ErrUnsupported.
	Listener func(id string, at netip.AddrPort, hops int) (net.Listener, error)

	// Address chooses a machine's address; nil counts up from 10.254.0.1. A test that listens on loopback gives an
	// address there.
	Address func(Spec) netip.Addr

	mu       sync.Mutex
	machines map[string]*memoryMachine
	images   map[string]string // reference to the machine it was made of
	watchers map[chan Machine]bool
	next     uint32
}

type memoryMachine struct {
	spec  Spec
	state State
	addr  netip.Addr
}

func (m *memoryMachine) seen() Machine {
	seen := Machine{ID: m.spec.ID, State: m.state}
	if m.state == Running {
		seen.Address = m.addr
	}
	return seen
}

var _ Compute = (*Memory)(nil)

// SourceImage returns a fixed reference per architecture.
func (m *Memory) SourceImage(_ context.Context, architecture string) (string, error) {
	if architecture != "x86_64" && architecture != "arm64" {
		return "", fmt.Errorf("find source image: unknown architecture %q", architecture)
	}
	return "memory:debian-" + architecture, nil
}

// Create implements [Compute].
func (m *Memory) Create(ctx context.Context, s Spec) (Machine, error) {
	if err := wait.For(ctx, m.CreateDelay); err != nil {
		return Machine{}, fmt.Errorf("create machine %q: %w", s.ID, err)
	}
	if m.FailCreate != nil {
		if err := m.FailCreate(s); err != nil {
			return Machine{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.machines[s.ID] != nil {
		return Machine{}, fmt.Errorf("create machine %q: it exists already", s.ID)
	}
	if m.machines == nil {
		m.machines = map[string]*memoryMachine{}
	}
	addr := m.nextAddress()
	if m.Address != nil {
		addr = m.Address(s)
	}
	machine := &memoryMachine{spec: s, state: Running, addr: addr}
	m.machines[s.ID] = machine
	return machine.seen(), nil
}

func (m *Memory) nextAddress() netip.Addr {
	m.next++
	n := m.next
	return netip.AddrFrom4([4]byte{10, 254, byte(n >> 8), byte(n)})
}

// Start implements [Compute].
func (m *Memory) Start(_ context.Context, id string) (Machine, error) {
	if m.FailStart != nil {
		if err := m.FailStart(id); err != nil {
			return Machine{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	machine := m.machines[id]
	if machine == nil {
		return Machine{}, fmt.Errorf("start machine %q: there is none", id)
	}
	machine.state = Running
	return machine.seen(), nil
}

// Stop implements [Compute].
func (m *Memory) Stop(ctx context.Context, id string) error {
	if err := wait.For(ctx, m.StopDelay); err != nil {
		return fmt.Errorf("stop machine %q: %w", id, err)
	}
	if m.FailStop != nil {
		if err := m.FailStop(id); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	machine := m.machines[id]
	if machine == nil {
		return fmt.Errorf("stop machine %q: there is none", id)
	}
	machine.state = Stopped
	m.report(machine.seen())
	return nil
}

// Remove implements [Compute].
func (m *Memory) Remove(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.machines[id] != nil {
		delete(m.machines, id)
		m.report(Machine{ID: id, State: Gone})
	}
	return nil
}

// Inspect implements [Compute].
func (m *Memory) Inspect(_ context.Context, id string) (Machine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if machine := m.machines[id]; machine != nil {
		return machine.seen(), nil
	}
	return Machine{ID: id, State: Gone}, nil
}

// List implements [Compute]; the machines come in the order of their IDs.
func (m *Memory) List(context.Context) ([]Machine, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Machine
	for _, id := range slices.Sorted(maps.Keys(m.machines)) {
		all = append(all, m.machines[id].seen())
	}
	return all, nil
}

// Watch implements [Compute]. Like a real one it also reports what Stop and Remove did.
func (m *Memory) Watch(ctx context.Context) <-chan Machine {
	ch := make(chan Machine, 1024)
	m.mu.Lock()
	if m.watchers == nil {
		m.watchers = map[chan Machine]bool{}
	}
	m.watchers[ch] = true
	m.mu.Unlock()
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, ch)
		close(ch)
	})
	return ch
}

// report tells the watchers. One that does not read loses reports, as it would from a real back end.
func (m *Memory) report(machine Machine) {
	for ch := range m.watchers {
		select {
		case ch <- machine:
		default:
		}
	}
}

// Kill implements [Compute].
func (m *Memory) Kill(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	machine := m.machines[id]
	if machine == nil {
		return fmt.Errorf("kill machine %q: there is none", id)
	}
	machine.state = Stopped
	m.report(machine.seen())
	return nil
}

// Lose makes a machine vanish as if someone had removed it by hand.
func (m *Memory) Lose(id string) { _ = m.Remove(context.Background(), id) }

// Spec returns what a machine was created from.
func (m *Memory) Spec(id string) (Spec, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if machine := m.machines[id]; machine != nil {
		return machine.spec, true
	}
	return Spec{}, false
}

// Images returns the references of the images that Commit made and that were not removed.
func (m *Memory) Images() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.images))
}

// Commit implements [Compute].
func (m *Memory) Commit(ctx context.Context, id, name string) (Image, error) {
	if err := wait.For(ctx, m.CommitDelay); err != nil {
		return Image{}, fmt.Errorf("commit machine %q: %w", id, err)
	}
	if m.FailCommit != nil {
		if err := m.FailCommit(id, name); err != nil {
			return Image{}, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	machine := m.machines[id]
	switch {
	case machine == nil:
		return Image{}, fmt.Errorf("commit machine %q: there is none", id)
	case machine.state == Running && !m.CommitRunning:
		return Image{}, fmt.Errorf("commit machine %q: it is running: %w", id, ErrUnsupported)
	}
	if m.images == nil {
		m.images = map[string]string{}
	}
	ref := "memory:" + name
	m.images[ref] = id
	return Image{Ref: ref, Written: m.Written}, nil
}

// RemoveImage implements [Compute].
func (m *Memory) RemoveImage(_ context.Context, ref string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.images, ref)
	return nil
}

// Console implements [Compute].
func (m *Memory) Console(_ context.Context, id string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	machine := m.machines[id]
	if machine == nil {
		return "", fmt.Errorf("read console of machine %q: there is none", id)
	}
	return fmt.Sprintf("Debian GNU/Linux 13 %s console\n", machine.spec.Hostname), nil
}

// WaitBooted implements [Compute].
func (m *Memory) WaitBooted(ctx context.Context, id string) error {
	if err := wait.For(ctx, m.BootDelay); err != nil {
		return fmt.Errorf("wait until machine %q has booted: %w", id, err)
	}
	return m.mustRun("wait for", id)
}

// Exec implements [Compute].
func (m *Memory) Exec(ctx context.Context, id string, c Command) error {
	if err := m.mustRun("run "+c.Args[0]+" in", id); err != nil || m.Run == nil {
		return err
	}
	return m.Run(ctx, id, c)
}

// Listen implements [Compute].
func (m *Memory) Listen(_ context.Context, id string, at netip.AddrPort, hops int) (net.Listener, error) {
	if m.Listener == nil {
		return nil, ErrUnsupported
	}
	if err := m.mustRun("listen in", id); err != nil {
		return nil, err
	}
	return m.Listener(id, at, hops)
}

// CopyIn implements [Compute].
func (m *Memory) CopyIn(_ context.Context, id, folder string, archive io.Reader) error {
	if err := m.mustRun("copy files to", id); err != nil {
		return err
	}
	if m.Unpack != nil {
		return m.Unpack(id, folder, archive)
	}
	_, err := io.Copy(io.Discard, archive)
	return err
}

// mustRun is an error unless the machine runs.
func (m *Memory) mustRun(what, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if machine := m.machines[id]; machine == nil || machine.state != Running {
		return fmt.Errorf("%s machine %q: it does not run", what, id)
	}
	return nil
}
