package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// listenHere runs listen.pl on this machine.
func listenHere(t *testing.T, at string) (net.Listener, error) {
	t.Helper()
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("needs perl, which every machine has")
	}
	address := netip.MustParseAddrPort(at)
	return newListener(t.Context(), address, func(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
		cmd := exec.CommandContext(ctx, "perl", "-e", listenScript, address.Addr().String(), fmt.Sprint(address.Port()), "1")
		cmd.Stdout = stdout
		var stderr strings.Builder
		cmd.Stderr = &stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go func() { _, _ = io.Copy(in, stdin) }() // Run would wait for it
		err = cmd.Run()
		return fmt.Errorf("%s: %w", strings.TrimSpace(stderr.String()), err)
	})
}

// freeAddress is a loopback address at which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestListen(t *testing.T) {
	at := freeAddress(t)
	l, err := listenHere(t, at)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, body)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	long := strings.Repeat("x", 100_000) // many frames
	var clients sync.WaitGroup
	for n := range 20 {
		clients.Go(func() {
			response, err := http.Post(fmt.Sprintf("http://%s/%d", at, n), "text/plain", strings.NewReader(long))
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			if got, err := io.ReadAll(response.Body); string(got) != fmt.Sprintf("/%d %s", n, long) || err != nil {
				t.Errorf("client %d: %d bytes, %v", n, len(got), err)
			}
		})
	}
	clients.Wait()

	if again, err := listenHere(t, at); err == nil || !strings.Contains(err.Error(), "cannot listen at "+at) {
		t.Errorf("a second listener: %v, %v", again, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Errorf("it ended with %v", err)
	}
}
