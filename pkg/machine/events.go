package machine

import (
	"context"

	"github.com/docker/docker/api/types/events"
)

// Event is a machine that changed its state, for whatever reason.
type Event struct {
	Name   string
	Action Action
}

// Action is what happened to a machine.
type Action string

// What happens to machines.
const (
	Started Action = "start"
	Died    Action = "die" // stopped, in order or not
	Removed Action = "destroy"
)

// Events reports what happens to the machines that have all of the labels from now on. The stream ends with ctx, or when the engine
// ends it, which closes the channel: what happens after that is missed, so look at the machines anew before following again.
func (e *Engine) Events(ctx context.Context, labels map[string]string) <-chan Event {
	f := labelFilter(labels)
	f.Add("type", string(events.ContainerEventType))
	for _, a := range []Action{Started, Died, Removed} {
		f.Add("event", string(a))
	}
	ctx, cancel := context.WithCancel(ctx)
	messages, failed := e.api.Events(ctx, events.ListOptions{Filters: f})
	out := make(chan Event)
	go func() {
		defer close(out)
		defer cancel()
		for {
			select {
			case m := <-messages:
				select {
				case out <- Event{Name: m.Actor.Attributes["name"], Action: Action(m.Action)}:
				case <-ctx.Done():
					return
				}
			case <-failed:
				return
			}
		}
	}()
	return out
}
