package machine

import (
	"bufio"
	"context"
	_ "embed" // listen.pl
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
)

//go:embed listen.pl
var listenScript string

const (
	// maxFrame is more than listen.pl reads at a time, in bytes.
	maxFrame = 64 << 10
	// maxUnread is how many frames a connection keeps that nobody reads, before it is given up: the others must not wait for it.
	maxUnread = 64
)

// Listen listens at an IPv4 address that a running machine has, such as its Spec.LinkLocal. What is sent from there reaches so many
// hops, as the time to live of its packets. The listener ends with the machine, with ctx, and when it is closed; Accept then returns
// an error that wraps net.ErrClosed.
//
// No route leads from a machine to this process, nor need there be one: everything is carried by a program in the machine.
func (e *Engine) Listen(ctx context.Context, name string, at netip.AddrPort, hops int) (net.Listener, error) {
	l, err := newListener(ctx, at, func(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
		return e.perl(ctx, name, "listen.pl", listenScript, stdin, stdout, at.Addr().String(), strconv.Itoa(int(at.Port())), strconv.Itoa(hops))
	})
	if err != nil {
		return nil, fmt.Errorf("listen at %s in machine %q: %w", at, name, err)
	}
	return l, nil
}

// perl runs a script in a machine, which errors call by the name of its file.
func (e *Engine) perl(ctx context.Context, name, file, script string, stdin io.Reader, stdout io.Writer, args ...string) error {
	err := e.Exec(ctx, name, Command{Args: append([]string{"perl", "-e", script}, args...), Stdin: stdin, Stdout: stdout})
	if exit, ended := errors.AsType[*ExitError](err); ended {
		exit.Args = []string{file} // and not the whole script
	}
	return err
}

// listener is the end of listen.pl's standard input and output on this side.
type listener struct {
	at       netip.AddrPort
	accepted chan net.Conn
	done     <-chan struct{} // closed at the end
	end      context.CancelFunc

	sending sync.Mutex
	stdin   io.Writer
}

// newListener returns a listener once the program that run runs listens.
func newListener(ctx context.Context, at netip.AddrPort, run func(ctx context.Context, stdin io.Reader, stdout io.Writer) error) (*listener, error) {
	ctx, cancel := context.WithCancel(ctx)
	requests, stdin := io.Pipe()
	stdout, answers := io.Pipe()
	l := &listener{at: at, accepted: make(chan net.Conn), done: ctx.Done(), end: cancel, stdin: stdin}
	go func() {
		err := errors.Join(run(ctx, requests, answers), net.ErrClosed)
		requests.CloseWithError(err)
		answers.CloseWithError(err)
		cancel()
	}()
	in := bufio.NewReader(stdout)
	if _, _, err := readFrame(in); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer cancel()
		l.receive(in)
	}()
	return l, nil
}

// readFrame reads a frame as listen.pl describes it.
func readFrame(r io.Reader) (number uint32, data []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[4:])
	if length > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes, at most %d are allowed", length, maxFrame)
	}
	data = make([]byte, length)
	_, err = io.ReadFull(r, data)
	return binary.BigEndian.Uint32(head[:4]), data, err
}

func (l *listener) send(number uint32, data []byte) error {
	frame := binary.BigEndian.AppendUint32(nil, number)
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(data)))
	l.sending.Lock()
	defer l.sending.Unlock()
	_, err := l.stdin.Write(append(frame, data...))
	return err
}

// receive gives what comes to the connections, until the program ends. They begin in the order of their numbers.
func (l *listener) receive(in io.Reader) {
	unread, last := map[uint32]chan []byte{}, uint32(0)
	defer func() {
		for _, u := range unread {
			close(u)
		}
	}()
	for {
		number, data, err := readFrame(in)
		if err != nil {
			return
		}
		if number > last {
			last = number
			unread[number] = make(chan []byte, maxUnread)
			go l.carry(number, unread[number])
			continue
		}
		u, open := unread[number]
		if !open {
			continue
		}
		if len(data) > 0 {
			select {
			case u <- data:
				continue
			default: // nobody reads
			}
		}
		close(u)
		delete(unread, number)
	}
}

// carry carries one connection: what comes to whoever accepts it, and what they write to the machine.
func (l *listener) carry(number uint32, unread <-chan []byte) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	select {
	case l.accepted <- connection{theirs, l.at}:
	case <-l.done:
		return
	}
	go func() {
		defer func() { _ = l.send(number, nil) }()
		buffer := make([]byte, maxFrame)
		for {
			n, err := ours.Read(buffer)
			if err != nil || l.send(number, buffer[:n]) != nil {
				return
			}
		}
	}()
	for data := range unread {
		if _, err := ours.Write(data); err != nil {
			return
		}
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accepted:
		return c, nil
	case <-l.done:
		return nil, fmt.Errorf("accept at %s: %w", l.at, net.ErrClosed)
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.end()
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.at) }

// connection is one from inside the machine, of which no more is known than where it leads.
type connection struct {
	net.Conn
	at netip.AddrPort
}

func (c connection) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.at) }
func (c connection) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.at) }
