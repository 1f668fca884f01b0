package rollout

import (
	"context"
	"net/http"
	"time"

	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	// Before a rollout the load balancer is asked reachAttempts times whether it can be reached from here, for at most
	// reachLimit each: a packet that a security group drops is never answered.
	reachAttempts = 2
	reachLimit    = 5 * time.Second
)

// door is how the service is asked through its load balancer.
type door struct {
	client *http.Client
	target probe.Target

	// reached: the load balancer has taken a connection from here. It takes one whatever its targets do. Where it never
	// has, from a machine outside client ranges or outside an internal balancer's network, say, no request tells anything
	// of a release.
	reached bool
}

// ProbeOptions are what a probe of a fleet's service asks as a rollout does; only the rate is to be added. A worker's has no URL.
func (r *Roller) ProbeOptions(f Fleet) probe.Options {
	if f.URL == "" {
		return probe.Options{}
	}
	path := r.options.VerifyPath
	if path == "" {
		path = f.Balancer.HealthCheck.Path
	}
	return probe.Options{URL: f.URL + path, Good: r.options.VerifyStatuses, Address: f.Balancer.Host}
}

func (r *Roller) doorOf(f Fleet) door {
	o := r.ProbeOptions(f)
	return door{client: probe.NewClient(r.options.HTTP, r.options.Domain, o.Address), target: probe.Target{URL: o.URL, Good: o.Good}}
}

// ask asks the service once. A zero limit is the probe's.
func (d door) ask(ctx context.Context, limit time.Duration) probe.Sample {
	return probe.Get(ctx, d.client, d.target, limit)
}

// tryDoor finds out, before a rollout, whether the load balancer can be reached from here.
func (r *Roller) tryDoor(ctx context.Context, d door) door {
	if d.target.URL == "" {
		return d // a worker's
	}
	var err error
	for range reachAttempts {
		s := d.ask(ctx, reachLimit)
		if d.reached = !s.Unreachable; d.reached || ctx.Err() != nil {
			return d
		}
		err = s.Err
	}
	progress.Note(ctx, "the load balancer cannot be reached from here, so that the health of its targets decides: %v", err)
	return d
}
