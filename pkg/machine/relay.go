package machine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// Relay is a TCP relay on this host's own network. The engine may bind ports below 1024, which a user usually may not.
type Relay struct {
	Name   string // like a machine's; List, Inspect and Remove know relays too
	Image  string // the machine image
	Labels map[string]string
	From   netip.AddrPort // where it listens
	To     netip.AddrPort // where it connects to
}

// StartRelay starts a relay in place of the one of that name, and returns once it listens. Remove ends it. It fails with ErrPortTaken
// when something else listens there.
func (e *Engine) StartRelay(ctx context.Context, r Relay) error {
	if err := e.Remove(ctx, r.Name); err != nil {
		return err
	}
	_, err := e.api.ContainerCreate(ctx, relayConfig(r), relayHostConfig(), nil, nil, r.Name)
	if err != nil {
		return explain("create relay", r.Name, err)
	}
	err = e.Start(ctx, r.Name)
	if err == nil {
		err = e.waitListening(ctx, r)
	}
	if err != nil {
		return errors.Join(err, e.Remove(context.WithoutCancel(ctx), r.Name))
	}
	return nil
}

func relayConfig(r Relay) *container.Config {
	return &container.Config{
		Image:      r.Image,
		Entrypoint: []string{"/usr/bin/systemd-socket-activate", "--listen=" + r.From.String()},
		Cmd:        []string{"/usr/lib/systemd/systemd-socket-proxyd", "--connections-max=4096", r.To.String()},
		Tty:        true, // makes the log plain lines
		StopSignal: "SIGTERM",
		Labels:     r.Labels,
	}
}

func relayHostConfig() *container.HostConfig {
	return &container.HostConfig{
		NetworkMode: "host",
		UsernsMode:  "host", // where the engine remaps users, or it could not have the host's network
		// An engine that is started anew has it listen again. Stopped relays stay so.
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyUnlessStopped},
		CapDrop:       []string{"ALL"},
		CapAdd:        []string{"NET_BIND_SERVICE"},
		SecurityOpt:   []string{"no-new-privileges"},
	}
}

// waitListening waits until systemd-socket-activate says that it listens, which it does before the first connection starts the proxy.
func (e *Engine) waitListening(ctx context.Context, r Relay) error {
	log, err := e.api.ContainerLogs(ctx, r.Name, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if err != nil {
		return explain("start relay", r.Name, err)
	}
	defer func() { _ = log.Close() }()
	said := ""
	for lines := bufio.NewScanner(log); lines.Scan(); {
		said = strings.TrimSpace(lines.Text())
		if strings.HasPrefix(said, "Listening on") {
			return nil
		}
	}
	if strings.Contains(said, "Address already in use") {
		return fmt.Errorf("relay %v to %v: %w", r.From, r.To, ErrPortTaken)
	}
	return fmt.Errorf("relay %v to %v: %s", r.From, r.To, said)
}
