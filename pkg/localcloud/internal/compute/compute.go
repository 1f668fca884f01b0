// Package compute is what the local cloud's instances run on: machines that boot, stop and become images.
//
// [Compute] is the interface; [Memory] implements it without running anything, for tests.
package compute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// State is what a machine is doing.
type State string

// The states of a machine.
const (
	Running State = "running"
	Stopped State = "stopped" // its disk is kept, and it can be started again
	Gone    State = "gone"    // it does not exist, or no longer
)

// ErrUnsupported is what a Compute answers when it cannot do what was asked, as opposed to not having managed to.
var ErrUnsupported = errors.New("not supported by this machine back end")

// Spec describes a machine to create.
type Spec struct {
	ID             string   // instance ID, i-…; it names the machine in every other call
	Image          string   // an image reference, as Commit or SourceImage returned it
	Hostname       string   // the machine's own name
	AuthorizedKeys []string // for the image's login user ("admin"), in authorized_keys form
	UserData       []byte   // decoded
	Memory         int64    // bytes; 0 for as much as there is
	CPUs           int      // 0 for as many as there are
}

// LinkLocal is an address that every machine has beside its own, which only the machine itself reaches: EC2's for what instances ask
// about themselves.
var LinkLocal = netip.MustParseAddr("169.254.169.254")

// Machine is a machine as it was last seen.
type Machine struct {
	ID      string
	State   State
	Address netip.Addr // private address, reachable from this host; the zero Addr unless running
}

// Image is an image that was made of a machine's disk.
type Image struct {
	Ref     string // names it in other calls
	Written int64  // bytes in which it differs from the image that the machine was made of
}

// Compute runs machines. Its methods may be called at the same time; calls for one machine come one after the other.
type Compute interface {
	// SourceImage returns the reference of the Debian machine image, which is found, pulled or made.
	// The architecture is EC2's word for it: x86_64 or arm64.
	SourceImage(ctx context.Context, architecture string) (ref string, err error)
	// Create creates and starts a machine, and returns once it has an address, which is before it has booted.
	Create(ctx context.Context, s Spec) (Machine, error)
	// Start starts a stopped machine; starting one that runs changes nothing.
	Start(ctx context.Context, id string) (Machine, error)
	// Stop shuts a machine down in order, and by force after about 10 s.
	Stop(ctx context.Context, id string) error
	// Kill ends a machine at once, as a power cut does. Its disk is kept.
	Kill(ctx context.Context, id string) error
	// Remove removes a machine and its disk, whatever its state. It is no error when the machine is gone.
	Remove(ctx context.Context, id string) error
	// Inspect looks at one machine; one that does not exist is [Gone], and no error.
	Inspect(ctx context.Context, id string) (Machine, error)
	// List returns all of this cloud's machines.
	List(ctx context.Context) ([]Machine, error)
	// Watch reports changes of state seen from outside: a machine died, or was stopped. The channel closes with ctx.
	Watch(ctx context.Context) <-chan Machine
	// Commit makes an image of a stopped machine's disk. Where the back end cannot do that to a running machine it
	// answers [ErrUnsupported].
	Commit(ctx context.Context, id, name string) (Image, error)
	// RemoveImage removes an image. It is no error when the image is gone.
	RemoveImage(ctx context.Context, ref string) error
	// Console returns the end of a machine's boot console or journal.
	Console(ctx context.Context, id string) (string, error)
	// WaitBooted waits until a running machine has booted: until everything that starts at boot is up, or has failed.
	WaitBooted(ctx context.Context, id string) error
	// Exec runs a program in a running machine, as root, to its end. Another exit code than 0 is an [*ExitError]. When ctx ends,
	// everything that the program started is killed, and the error wraps the context's cause.
	Exec(ctx context.Context, id string, c Command) error
	// Listen listens at an address of a running machine, such as LinkLocal, and nowhere else; what is sent from there reaches so many hops. The
	// listener ends with the machine and with ctx. A back end without a network in its machines answers [ErrUnsupported].
	Listen(ctx context.Context, id string, at netip.AddrPort, hops int) (net.Listener, error)
	// CopyIn unpacks a tar archive into a folder of a machine, which must exist.
	CopyIn(ctx context.Context, id, folder string, archive io.Reader) error
}

// Command is a program to run in a machine.
type Command struct {
	Args   []string  // name and arguments
	Env    []string  // KEY=VALUE pairs added to the machine's
	Stdin  io.Reader // nil for none
	Stdout io.Writer // nil to discard it
	Stderr io.Writer // likewise
}

// ExitError is a program that ended with another exit code than 0.
type ExitError struct{ Code int }

// Error names the exit code.
func (e *ExitError) Error() string { return fmt.Sprintf("exit status %d", e.Code) }
