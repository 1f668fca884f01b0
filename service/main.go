// Service is the example that Ingot bakes and rolls out: a small HTTP server that says which release it is.
//
// Replace it with your own. What Ingot asks of a service is little: listen on PORT, answer 200 on the health path once it can
// serve, and finish the requests in flight on SIGTERM. Saying the release in X-Release there lets a rollout see it at the load
// balancer.
package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// greeting is what a visitor reads first. Change it, save, and reload.
const greeting = "Hello from Ingot"

// shutdownTimeout is how long requests in flight may take to end after SIGTERM. The unit's TimeoutStopSec is longer.
const shutdownTimeout = 25 * time.Second

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()

	if err := run(ctx, log, os.Getenv); err != nil {
		log.Error("service ended", "error", err)
		os.Exit(1)
	}
}

// run listens where HOST and PORT say (every address, 8080) and serves RELEASE until ctx ends.
func run(ctx context.Context, log *slog.Logger, getenv func(string) string) error {
	release := cmp.Or(getenv("RELEASE"), "unreleased")
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(getenv("HOST"), cmp.Or(getenv("PORT"), "8080")))
	if err != nil {
		return err
	}
	log.Info("serving", "address", listener.Addr().String(), "release", release)
	return serve(ctx, log, listener, newHandler(log, release, host))
}

// serve answers requests until ctx ends, then takes no new ones and waits for those in flight.
func serve(ctx context.Context, log *slog.Logger, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		// Longer than a load balancer keeps idle connections (60 s on AWS), so that it never sends a request into a closing one.
		IdleTimeout: 75 * time.Second,
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	// From here on, responses carry "Connection: close" and idle connections are closed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errors.Join(err, server.Close())
	}
	log.Info("stopped")
	return nil
}
