package report

import (
	"cmp"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/rollout"
)

// State is what an instance does for the service, from its life cycle in the group and its health behind the load
// balancer.
type State string

// The states of an instance, in the order of a life.
const (
	Pending     State = "pending"     // it boots
	Held        State = "held"        // a launch hook has not let it into service yet
	Warming     State = "warming up"  // in service, and the load balancer has not found it healthy yet
	Healthy     State = "healthy"     // it serves
	Unhealthy   State = "unhealthy"   // in service, and found unhealthy
	Standby     State = "standby"     // kept out of service
	Draining    State = "draining"    // it finishes the requests that it has
	Terminating State = "terminating" // it goes
)

// states in the order in which a legend shows them.
var states = []State{Pending, Held, Warming, Healthy, Unhealthy, Standby, Draining, Terminating}

func state(i rollout.Instance) State {
	switch lifecycle := i.Lifecycle; {
	case strings.HasPrefix(lifecycle, "Terminating") && i.Target != "draining":
		return Terminating
	case i.Target == "draining":
		return Draining
	case lifecycle == "Pending:Wait":
		return Held
	case strings.HasPrefix(lifecycle, "Pending"):
		return Pending
	case lifecycle != "InService":
		return Standby
	case i.Health == "Unhealthy" || i.Target == "unhealthy":
		return Unhealthy
	case i.Target == "healthy":
		return Healthy
	}
	return Warming
}

// track is an instance that is being watched.
type track struct {
	Instance
	seen float64 // when it was last there
	gone bool
}

func (t *track) look(at float64, i rollout.Instance) {
	t.seen, t.gone = at, false
	now := state(i)
	reason := i.Reason
	if now != Unhealthy && now != Warming {
		reason = "" // the load balancer's words for a target that starts or goes say no more than the state
	}
	if n := len(t.Spans); n > 0 {
		last := &t.Spans[n-1]
		last.To = at
		if last.State == now {
			last.Reason = cmp.Or(reason, last.Reason)
			return
		}
	}
	t.Spans = append(t.Spans, Span{State: now, From: at, To: at, Reason: reason})
}

// endUnlessSeen ends an instance that a look at a time has not seen.
func (t *track) endUnlessSeen(at float64) {
	if t.seen < at && !t.gone {
		t.gone = true
		t.Spans[len(t.Spans)-1].To = at
	}
}

// endingAt is the instance as it was, if it was still there, at the end.
func (t *track) endingAt(end float64) Instance {
	i := t.Instance
	i.Spans = slices.Clone(t.Spans)
	if !t.gone {
		last := &i.Spans[len(i.Spans)-1]
		last.To = max(last.To, end)
	}
	return i
}

// sortInstances puts those of the release before first and those of this one last, each in the order in which they came.
func (r *Report) sortInstances() {
	slices.SortStableFunc(r.Instances, func(a, b Instance) int {
		return cmp.Or(cmp.Compare(r.rank(a.Release), r.rank(b.Release)), cmp.Compare(a.Spans[0].From, b.Spans[0].From), cmp.Compare(a.ID, b.ID))
	})
}

// role is what a release is to this rollout.
func (r Report) role(release string) string {
	switch release {
	case r.Release:
		return "new"
	case "":
		return "none"
	case r.Previous:
		return "old"
	}
	return "other"
}

// roles in the order in which releases follow one another.
var roles = []string{"old", "other", "none", "new"}

// rank orders releases by their role.
func (r Report) rank(release string) int { return slices.Index(roles, r.role(release)) }

// Called is what a release is called in a sentence.
func (r Report) Called(release string) string {
	if release == "" {
		return "an unnamed release"
	}
	return "release " + release
}
