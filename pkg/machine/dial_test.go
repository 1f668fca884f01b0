package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// dialHere runs dial.pl on this machine.
func dialHere(t *testing.T, ctx context.Context, to string) (net.Conn, error) {
	t.Helper()
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("needs perl, which every machine has")
	}
	address := netip.MustParseAddrPort(to)
	return newConnection(ctx, address, func(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
		cmd := exec.CommandContext(ctx, "perl", "-e", dialScript, address.Addr().String(), fmt.Sprint(address.Port()))
		cmd.Stdout = stdout
		var stderr strings.Builder
		cmd.Stderr = &stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go func() { // Run would wait for it
			_, _ = io.Copy(in, stdin)
			_ = in.Close()
		}()
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(stderr.String()), err)
		}
		return nil
	})
}

func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan string, 3)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // says everything back, and ends after "end"
				defer c.Close()
				var all bytes.Buffer
				buffer := make([]byte, 1<<16)
				for {
					n, err := c.Read(buffer)
					all.Write(buffer[:n])
					if _, writeErr := c.Write(buffer[:n]); err != nil || writeErr != nil || bytes.HasSuffix(all.Bytes(), []byte("end")) {
						ended <- fmt.Sprint(all.Len())
						return
					}
				}
			}()
		}
	}()

	// Much more than any buffer holds, and the other side ends it.
	c, err := dialHere(t, t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if c.RemoteAddr().String() != l.Addr().String() {
		t.Errorf("it leads to %s", c.RemoteAddr())
	}
	sent := append(bytes.Repeat([]byte("0123456789abcdef"), 1<<18), "end"...)
	go func() { _, _ = c.Write(sent) }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(sent), err)
	}
	if n := <-ended; n != fmt.Sprint(len(sent)) {
		t.Errorf("%s bytes arrived", n)
	}

	// This side ends it, which the other one sees; deadlines hold.
	c, err = dialHere(t, t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var late net.Error
	if _, err := c.Read(make([]byte, 1)); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("Read after the deadline: %v", err)
	}
	_ = c.Close()
	if n := <-ended; n != "0" {
		t.Errorf("%s bytes arrived", n)
	}
}

func TestDialFails(t *testing.T) {
	_, err := dialHere(t, t.Context(), freeAddress(t))
	if err == nil || !strings.Contains(err.Error(), "Connection refused") {
		t.Errorf("a port where nothing listens: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("nobody wants it any more")
	cancel(gone)
	_, err = newConnection(ctx, netip.MustParseAddrPort("127.0.0.1:1"), func(ctx context.Context, _ io.Reader, _ io.Writer) error {
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, gone) {
		t.Errorf("a call that is given up: %v", err)
	}
}
