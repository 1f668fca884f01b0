package localcloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/ingot-build/ingot/internal/loopback"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	// shutdownTimeout is how long calls under way may take once the server is to end.
	shutdownTimeout = 5 * time.Second
	// bindTimeout is how long the server tries to listen, since an address can be busy for a moment after a process died.
	bindTimeout = 2 * time.Second
	// maxConnections is how many connections are served at once; others wait to be accepted. Terraform has a few dozen.
	maxConnections = 512
)

// Serve runs a cloud until the context ends or the process is told to, with SIGINT or SIGTERM. Machines keep running; the next
// server takes them over. It is an error when the folder's cloud is served already.
func Serve(ctx context.Context, options Options) error {
	return serveFolder(ctx, options, connectDocker)
}

func serveFolder(ctx context.Context, options Options, connect connector) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	f, err := openFolder(options.StateDir)
	if err != nil {
		return err
	}
	lockCtx, cancel := context.WithTimeout(ctx, bindTimeout)
	defer cancel()
	unlock, err := f.lockFile(lockCtx, serverLock)
	if err != nil {
		return fmt.Errorf("serve the local cloud in %q: it is served already: %w", f, err)
	}
	defer unlock()
	id, err := f.identify(options)
	if err != nil {
		return err
	}
	return serve(ctx, f, id, options.Log, connect)
}

// serve runs the cloud whose lock is held.
func serve(ctx context.Context, f folder, id identity, log io.Writer, connect connector) error {
	if log == nil {
		log = io.Discard
	}
	logger := slog.New(slog.NewTextHandler(log, nil))
	listener, err := listen(ctx, id.Block.Endpoint())
	if err != nil {
		return fmt.Errorf("serve the local cloud in %q: %w", f, err)
	}
	defer listener.Close()
	cloud, err := newCloud(ctx, f, id, logger, connect)
	if err != nil {
		return fmt.Errorf("serve the local cloud in %q: %w", f, err)
	}
	defer cloud.close()
	if err := f.announce(id); err != nil {
		return err
	}
	defer os.Remove(f.join(serverName + ".json"))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go f.endWithFolder(ctx, cancel)
	logger.Info("serving", "endpoint", id.connection().Endpoint, "region", id.Region, "account", id.AccountID)

	server := &http.Server{
		Handler:           onlyLoopback(cloud.server),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelError),
	}
	ended := context.AfterFunc(ctx, func() {
		logger.Info("ending")
		shutdown, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := server.Shutdown(shutdown); err != nil {
			server.Close()
		}
	})
	defer ended()
	if err := server.Serve(&limited{listener, make(chan struct{}, maxConnections)}); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the local cloud in %q: %w", f, err)
	}
	return nil
}

// folderInterval is how often a server looks whether its state folder is still there.
const folderInterval = 2 * time.Second

// endWithFolder ends the server of a folder that somebody removed: nobody could find it any more.
func (f folder) endWithFolder(ctx context.Context, end func()) {
	ticker := time.NewTicker(folderInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if _, err := os.Stat(f.join(serverName + ".json")); errors.Is(err, fs.ErrNotExist) {
				end()
				return
			}
		}
	}
}

// announce writes which process serves the cloud.
func (f folder) announce(id identity) error {
	build, err := ownDigest()
	if err != nil {
		return fmt.Errorf("find this executable: %w", err)
	}
	return f.store().Save(serverName, instance{PID: os.Getpid(), Build: build, Endpoint: id.connection().Endpoint})
}

// listen listens on the cloud's endpoint, which is a loopback address.
func listen(ctx context.Context, at netip.AddrPort) (net.Listener, error) {
	if !at.Addr().IsLoopback() {
		return nil, fmt.Errorf("listen on %s: only loopback addresses are served", at)
	}
	deadline := time.Now().Add(bindTimeout)
	for {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp4", at.String())
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(deadline) {
			return l, err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (c *cloud) wireOptions(id identity, logger *slog.Logger) wire.Options {
	return wire.Options{
		Region: id.Region, AccessKeyID: id.AccessKeyID, SecretAccessKey: id.SecretAccessKey, Identities: c.identities, Fault: c.fault,
		Lags: c.faults.Lags,
		Log: func(call wire.Call) {
			c.calls.add(call)
			level := slog.LevelInfo
			if call.Status >= http.StatusInternalServerError {
				level = slog.LevelError
			}
			logger.Log(context.Background(), level, call.String(), "request", call.RequestID)
		},
	}
}

// onlyLoopback refuses requests whose Host header is not a loopback address: a page in a browser can make its own name
// resolve to one, and then send requests here.
func onlyLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopback.Host(r.Host) {
			http.Error(w, "this local cloud answers only to its loopback address", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// limited is a listener that has as many connections open at once as there is room in the channel.
type limited struct {
	net.Listener
	open chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.open <- struct{}{}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.open
		return nil, err
	}
	return &limitedConn{conn, sync.OnceFunc(func() { <-l.open })}, nil
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
