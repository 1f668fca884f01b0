package dockercompute

import (
	"context"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/machine"
)

// watchRetry is the time between two attempts to follow the engine's events, after the engine ended the stream.
const watchRetry = time.Second

// Watch implements compute.Compute. It also reports machines that it has not seen change, whenever it had to begin anew.
func (c *Compute) Watch(ctx context.Context) <-chan compute.Machine {
	out := make(chan compute.Machine)
	go func() {
		defer close(out)
		for ctx.Err() == nil {
			c.follow(ctx, out)
			select {
			case <-ctx.Done():
			case <-time.After(watchRetry):
			}
		}
	}()
	return out
}

// follow reports all machines as they are, and then what happens to them, until the engine or ctx ends that.
func (c *Compute) follow(ctx context.Context, out chan<- compute.Machine) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	report := func(m compute.Machine) {
		select {
		case out <- m:
		case <-ctx.Done():
		}
	}
	events := c.engine.Events(ctx, c.instances()) // first, so that nothing is missed between the list and the events
	machines, err := c.List(ctx)
	if err != nil {
		return
	}
	for _, m := range machines {
		report(m)
	}
	for event := range events {
		id := strings.TrimPrefix(event.Name, c.prefix()+"-")
		if event.Action == machine.Removed {
			report(compute.Machine{ID: id, State: compute.Gone})
			continue
		}
		if event.Action == machine.Died {
			// As EC2 does. When it cannot be, the machine is reported as it is: stopped.
			if rebooted, err := c.engine.Reboot(ctx, event.Name); rebooted && err == nil {
				continue // its start is an event of its own
			}
		}
		// The event may be old news by now: report what is, not what was.
		if m, err := c.Inspect(ctx, id); err == nil {
			report(m)
		}
	}
}
