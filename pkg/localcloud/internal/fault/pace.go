package fault

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Pace is how long AWS takes for what machines of this host do at once. The zero value adds nothing.
type Pace struct {
	// Boot is from the start of an instance until its kernel runs. What the machine then needs itself, it needs here as well.
	Boot time.Duration
	// Stop is from a call that stops or terminates a running instance until it is stopped or terminated.
	Stop time.Duration
	// Snapshot is what a snapshot takes that has nothing to copy. Copying what was written comes on top of it, with SnapshotShare of
	// the volume's throughput.
	Snapshot      time.Duration
	SnapshotShare float64
	// Registration is from the registration of a target to its first health check.
	Registration time.Duration
	// Deployment is from a deployment's start until the agent of an instance begins.
	Deployment time.Duration
}

// Paces are those that a spec knows by name. AWS itself publishes next to nothing of this, so there are two: aws-best has the lowest and
// aws the highest figure of each, and what takes as long at both does not hang on what nobody knows.
//
//   - Boot: RunInstances until an instance serves took 7.84 s on average with the quickest images in the field (runs-on, 2026-08), and
//     kernel and services of a stock image 8.8 s of their own after that start (Depot, 2025-05).
//   - Stop: 15 to 60 s for small types; no published figure.
//   - Snapshot: 10 to 16 GiB written to a gp3 volume took 9 min with 125 MiB/s and 1 min with 1,000 MiB/s (supabase, postgres 2457), in
//     both cases about a fifth of the throughput. Only blocks that changed since the volume's own snapshot are copied (EC2 guide). What
//     it takes to begin and end one: no published figure, 5 to 60 s.
//   - Registration: no published figure, up to 10 s. That one passed check is enough for a new target is as in the ELB guide anyway.
//   - Deployment: agents poll for 35 to 50 s at a time, so an order comes soon (agents' logs made public); up to 5 s.
//
// What a volume from a snapshot takes to be read for the first time, about 5 MiB/s, is within the figures of booting; no machine is made
// slower for it.
func Paces() map[string]Pace {
	return map[string]Pace{
		"aws-best": {Boot: 8 * time.Second, Stop: 15 * time.Second, Snapshot: 5 * time.Second, SnapshotShare: 0.2},
		"aws": {
			Boot: 17 * time.Second, Stop: time.Minute, Snapshot: time.Minute, SnapshotShare: 0.2,
			Registration: 10 * time.Second, Deployment: 5 * time.Second,
		},
	}
}

// paceName is the name of one of [Paces], or empty.
type paceName string

func (p *paceName) set(text string) error {
	paces := Paces()
	if _, ok := paces[text]; !ok {
		return fmt.Errorf("want one of %s", strings.Join(slices.Sorted(maps.Keys(paces)), ", "))
	}
	*p = paceName(text)
	return nil
}

func (s Spec) pace() Pace { return Paces()[string(s.Pace)] }

// snapshot is how long a snapshot takes of a volume with a throughput in MiB/s, for so many bytes that were written.
func (p Pace) snapshot(written int64, throughput int) time.Duration {
	if p.SnapshotShare == 0 || throughput <= 0 {
		return p.Snapshot
	}
	return p.Snapshot + time.Duration(float64(written)/(p.SnapshotShare*float64(throughput)*(1<<20))*float64(time.Second))
}

// Snapshot waits as long as AWS takes for a snapshot of a volume with a throughput in MiB/s, for so many bytes that were written.
func (f *Faults) Snapshot(ctx context.Context, written int64, throughput int) error {
	return f.wait(ctx, func(s Spec) time.Duration { return s.pace().snapshot(written, throughput) })
}

// Registration waits as long as AWS takes until a new target has its first health check.
func (f *Faults) Registration(ctx context.Context) error {
	return f.wait(ctx, func(s Spec) time.Duration { return s.pace().Registration })
}

// Deployment waits as long as AWS takes until an instance's agent begins with a deployment.
func (f *Faults) Deployment(ctx context.Context) error {
	return f.wait(ctx, func(s Spec) time.Duration { return s.pace().Deployment })
}
