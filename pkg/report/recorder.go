package report

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/rollout"
)

const (
	// firstWidth is how long a bucket is at first: a rollout on the local cloud takes about a minute.
	firstWidth = 250 * time.Millisecond

	// maxBuckets is more than a drawing can show apart on most screens. When there would be more, two become one.
	maxBuckets = 240

	// fewRequests are too few for shares: of two requests, the shares of two releases jump between none, half and all. Buckets
	// become wider until they hold more, as long as at least minBuckets are left.
	fewRequests = 8
	minBuckets  = 16

	// maxKinds bounds the releases and the failures that are told apart; a rollout has two of the one and few of the other.
	maxKinds = 12

	// theRest is what those beyond are counted under.
	theRest = "others"
)

// Outcome is how a rollout ended, with what a report shows of it besides. All but App may be empty.
type Outcome struct {
	App         string
	Image       string // ID of the application AMI
	Commit      string
	By          string // who rolled it out: a person, or the URL of a CI run
	URL         string // where the service answers
	Changes     []string
	Phases      []progress.Phase
	Err         error  // why it did not succeed
	Interrupted bool   // Err means only that watching it has ended
	Unseen      string // why the load balancer could not be asked from here, and its targets' health decided; empty where it was
	Serves      bool   // Err came only after the release was seen to serve: its deployment failed
}

// Recorder keeps what happens during a rollout. How much memory it takes does not depend on how long that is. Its
// methods may be called at the same time.
type Recorder struct {
	mu                sync.Mutex
	release, previous string
	begin             time.Time

	origin   time.Time     // begin of the first bucket: the first sample
	width    time.Duration // of a bucket
	slots    []*slot       // nil where there was no request
	served   map[string]*Served
	failures map[string]*Failure
	slowest  time.Duration

	steps     []Step
	instances map[string]*track
	order     []string // of the instances, as they were first seen
}

// slot is a bucket that is being filled.
type slot struct {
	requests, failed int
	releases         map[string]int
	latencies        histogram
}

// New returns a Recorder for the rollout of a release after a previous one, which may be empty.
func New(release, previous string, begin time.Time) *Recorder {
	return &Recorder{
		release: release, previous: previous, begin: begin, width: firstWidth,
		served: map[string]*Served{}, failures: map[string]*Failure{}, instances: map[string]*track{},
	}
}

// Sample records what came of a request.
func (r *Recorder) Sample(s probe.Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slot := r.slot(s.At)
	slot.requests++
	slot.latencies.add(s.Latency)
	r.slowest = max(r.slowest, s.Latency)
	at := r.since(s.At)
	if s.Failed() {
		slot.failed++
		f := boundedEntry(r.failures, failureKind(s))
		if f.Count++; f.Count == 1 || at < f.First {
			f.First = at
		}
		f.Last = max(f.Last, at)
		return
	}
	served := boundedEntry(r.served, s.Release)
	if served.Requests++; served.Requests == 1 || at < served.First {
		served.First = at
	}
	served.Last = max(served.Last, at)
	if _, known := r.served[s.Release]; !known {
		s.Release = theRest
	}
	slot.releases[s.Release]++
}

// boundedEntry is a value of a map that holds a bounded number of them.
func boundedEntry[V any](m map[string]*V, key string) *V {
	if m[key] == nil {
		if len(m) >= maxKinds {
			key = theRest
		}
		if m[key] == nil {
			m[key] = new(V)
		}
	}
	return m[key]
}

// failureKind says how a request failed, without what makes each failure different: the port that it came from.
func failureKind(s probe.Sample) string {
	if s.Err == nil {
		return fmt.Sprintf("HTTP %d", s.Status)
	}
	if timeout, ok := errors.AsType[net.Error](s.Err); ok && timeout.Timeout() {
		return "no answer within the time limit"
	}
	err := s.Err
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}

// slot is the bucket that a time lies in. Requests end in another order than they were due, so the first one to end may
// not be the first.
func (r *Recorder) slot(at time.Time) *slot {
	if r.origin.IsZero() {
		r.origin = at
	}
	i := max(0, int(at.Sub(r.origin)/r.width))
	for ; i >= maxBuckets; i /= 2 {
		r.halve()
	}
	for len(r.slots) <= i {
		r.slots = append(r.slots, nil)
	}
	if r.slots[i] == nil {
		r.slots[i] = &slot{releases: map[string]int{}}
	}
	return r.slots[i]
}

// widen makes buckets wide enough for shares.
func (r *Recorder) widen() {
	requests := 0
	for _, s := range r.slots {
		if s != nil {
			requests += s.requests
		}
	}
	for len(r.slots) >= 2*minBuckets && requests < fewRequests*len(r.slots) {
		r.halve()
	}
}

// halve makes one bucket out of every two.
func (r *Recorder) halve() {
	r.width *= 2
	var half []*slot
	for pair := range slices.Chunk(r.slots, 2) {
		one := pair[0]
		if len(pair) == 2 && one == nil {
			one = pair[1]
		} else if len(pair) == 2 && pair[1] != nil {
			one.merge(pair[1])
		}
		half = append(half, one)
	}
	r.slots = half
}

func (s *slot) merge(other *slot) {
	s.requests += other.requests
	s.failed += other.failed
	for release, n := range other.releases {
		s.releases[release] += n
	}
	s.latencies.merge(&other.latencies)
}

// Observe records a look at the fleet and its instance refresh.
func (r *Recorder) Observe(o rollout.Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.since(o.At)
	if o.Refresh.ID != "" {
		step := Step{At: at, ID: o.Refresh.ID, Status: o.Refresh.Status, Percentage: o.Refresh.Percentage, Reason: o.Refresh.Reason}
		if last := r.lastStep(); last.ID != step.ID || last.Status != step.Status || last.Percentage != step.Percentage || last.Reason != step.Reason {
			r.steps = append(r.steps, step)
		}
	}
	for _, i := range o.Fleet.Instances {
		t := r.instances[i.ID]
		if t == nil {
			t = &track{Instance: Instance{ID: i.ID, Zone: i.Zone}}
			r.instances[i.ID] = t
			r.order = append(r.order, i.ID)
		}
		t.Release = cmp.Or(i.Release, t.Release)
		t.look(at, i)
	}
	for _, t := range r.instances {
		t.endUnlessSeen(at)
	}
}

func (r *Recorder) lastStep() Step {
	if len(r.steps) == 0 {
		return Step{}
	}
	return r.steps[len(r.steps)-1]
}

// since is a time as reports say it.
func (r *Recorder) since(at time.Time) float64 { return seconds(at.Sub(r.begin)) }

func seconds(d time.Duration) float64 { return round(d.Seconds(), 2) }

// Finish returns the report of a rollout that ends now.
func (r *Recorder) Finish(o Outcome) Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := r.since(time.Now())
	r.widen()
	report := Report{
		App: o.App, Release: r.release, Previous: r.previous, Image: o.Image, Commit: o.Commit, By: o.By, URL: o.URL,
		Unseen: o.Unseen, Begin: r.begin.UTC(), Seconds: end, Changes: o.Changes, Width: seconds(r.width),
		Phases: []Phase{}, Buckets: []Bucket{}, Failures: []Failure{}, Instances: []Instance{}, Refresh: append([]Step{}, r.steps...),
	}
	report.Result, report.Cause = o.result()
	for _, p := range o.Phases {
		report.Phases = append(report.Phases, Phase{Name: p.Name, At: r.since(p.Begin), Seconds: seconds(p.Elapsed), Failed: p.Failed, Depth: p.Depth})
	}
	slices.SortStableFunc(report.Phases, func(a, b Phase) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Depth, b.Depth)) })
	r.buckets(&report)
	for what, f := range r.failures {
		f.What = what
		report.Failures = append(report.Failures, *f)
	}
	slices.SortFunc(report.Failures, func(a, b Failure) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.What, b.What)) })
	for _, id := range r.order {
		report.Instances = append(report.Instances, r.instances[id].endingAt(end))
	}
	report.sortInstances()
	return report
}

func (o Outcome) result() (Result, string) {
	switch {
	case o.Err == nil:
		return Succeeded, ""
	case o.Interrupted:
		return Interrupted, o.Err.Error()
	case o.Serves:
		return Undeployed, o.Err.Error()
	case errors.Is(o.Err, rollout.ErrReverted):
		return Reverted, o.Err.Error()
	}
	return Failed, o.Err.Error()
}

// buckets puts what came of the requests into a report.
func (r *Recorder) buckets(report *Report) {
	var all histogram
	for i, s := range r.slots {
		if s == nil {
			continue
		}
		all.merge(&s.latencies)
		report.Totals.Requests += s.requests
		report.Totals.Failed += s.failed
		report.Buckets = append(report.Buckets, Bucket{
			At: r.since(r.origin.Add(time.Duration(i) * r.width)), Requests: s.requests, Failed: s.failed, Releases: s.releases,
			Median: s.latencies.quantile(0.5), P99: s.latencies.quantile(0.99),
		})
	}
	t := &report.Totals
	t.Median, t.P99, t.Slowest = all.quantile(0.5), all.quantile(0.99), round(r.slowest.Seconds()*1000, 2)
	t.Releases = []Served{}
	for name, s := range r.served {
		s.Release = name
		t.Releases = append(t.Releases, *s)
	}
	slices.SortFunc(t.Releases, func(a, b Served) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Release, b.Release)) })
}
