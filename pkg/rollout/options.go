package rollout

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/ingot-build/ingot/pkg/probe"
)

// What zero options mean.
const (
	DefaultMin             = 2                // instances
	DefaultMinHealthy      = 100              // percent of the desired capacity
	DefaultMaxHealthy      = 200              // percent of the desired capacity
	DefaultWarmup          = 30 * time.Second // a small service serves in far less
	DefaultCheckpointDelay = 10 * time.Minute // long enough for a person to look at graphs
)

// MinUngatedWarmup is the shortest warm-up of instances that nothing holds until they serve, as CodeDeploy does: EC2 Auto
// Scaling counts one as in service as soon as it runs, before its system has booted, which takes up to a minute.
const MinUngatedWarmup = time.Minute

// Options say how a release is rolled out. All but App may be left zero.
type Options struct {
	App        string         // the value of the tag ingot:app
	Domain     string         // host name of the service, whether it leads to the load balancer yet or not; empty for the load balancer's own
	Worker     bool           // the service listens at no port: there is no load balancer, and an instance serves once it is in service
	Min        int            // instances that a group without a release gets with its first one; 0 for DefaultMin
	MinHealthy *int           // percent of the desired capacity that stays in service; nil for DefaultMinHealthy
	MaxHealthy int            // percent of the desired capacity that may run at once; 0 for DefaultMaxHealthy
	Warmup     *time.Duration // how long a new instance is in service before it counts; by then it has to be healthy; nil for DefaultWarmup

	// Checkpoints are percentages of the fleet, ascending, at which the refresh waits for CheckpointDelay; 100 is added
	// where it is missing. Like BakeTime and Alarms they hold up no way back to a release that was live.
	Checkpoints     []int
	CheckpointDelay *time.Duration // at most 48 hours; nil for DefaultCheckpointDelay
	BakeTime        time.Duration  // how long the refresh waits once everything is replaced; at most 48 hours
	Alarms          []string       // CloudWatch alarms, at most 10: one in state ALARM rolls back

	// ReplaceMatching replaces also the instances that run the release already. A fleet that runs it as a whole is left
	// alone in any case.
	ReplaceMatching bool
	Standby         string // instances in Standby: ignore (also when empty), terminate or wait
	Protected       string // instances protected from scale-in: refresh (also when empty), ignore or wait

	// VerifyPath is what the service is asked through the load balancer; empty for the path of its health check.
	VerifyPath string
	// VerifyStatuses are the answers to that which are good; nil for 200 to 399. No redirect is followed.
	VerifyStatuses probe.Statuses

	Wait              bool   // queue behind another refresh instead of returning ErrBusy
	CancelOnInterrupt bool   // when the context ends, roll back what runs in AWS instead of leaving it
	By                string // who does it: user@host, or the URL of a CI run; may be empty

	// Check is asked before anything is changed whether a release of the history may be rolled out; its error refuses it. It
	// may be nil.
	Check func(context.Context, Release) error
	// Confirm is asked once every target has served the release, before the pointer moves. An error that wraps ErrUnhealthy
	// takes the release back as if it had not served; after any other one it is left as it is. It may be nil.
	Confirm func(context.Context, Release) error

	// HTTP asks the load balancer for what it serves; nil for http.DefaultClient. Where there is a Domain and its transport
	// is a *http.Transport, a copy of it connects to the load balancer's own name.
	HTTP *http.Client
	// Observe gets what each look at the fleet showed; it may be nil.
	Observe func(Observation)
	// Explain says why instances never got into service, for an error message; several lines are fine. It may be nil.
	Explain func(ctx context.Context, instanceIDs []string) string
}

// withDefaults fills in what was left zero.
func (o Options) withDefaults() Options {
	o.Min = cmp.Or(o.Min, DefaultMin)
	o.MinHealthy = cmp.Or(o.MinHealthy, new(DefaultMinHealthy))
	o.MaxHealthy = cmp.Or(o.MaxHealthy, DefaultMaxHealthy)
	o.Warmup = cmp.Or(o.Warmup, new(DefaultWarmup))
	o.CheckpointDelay = cmp.Or(o.CheckpointDelay, new(DefaultCheckpointDelay))
	o.HTTP = cmp.Or(o.HTTP, http.DefaultClient)
	return o
}
