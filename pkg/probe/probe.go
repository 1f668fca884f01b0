// Package probe sends HTTP requests at a steady rate and tells what came of them: which release answered, how fast,
// and what failed.
package probe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// ReleaseHeader is the response header in which a service says which release it is.
const ReleaseHeader = "X-Release"

// DefaultTimeout bounds one request; a load balancer that holds a request longer has failed it for a person.
const DefaultTimeout = 10 * time.Second

// DefaultConcurrency bounds the requests under way: five seconds of a service that answers nothing at 200 requests a
// second, and no more connections than a process may have open by default.
const DefaultConcurrency = 1000

// Sample is what came of one request.
type Sample struct {
	At      time.Time     // when it was due
	Latency time.Duration // from then until the whole body had arrived
	Status  int           // HTTP status; 0 where no response came
	Release string        // ReleaseHeader of the response, empty without one
	Err     error         // why no whole response came
}

// Failed tells whether a user would have seen an error.
func (s Sample) Failed() bool { return s.Err != nil || s.Status < 200 || s.Status > 399 }

// String says what was wrong with, or right about, an answer.
func (s Sample) String() string {
	if s.Err != nil {
		return s.Err.Error()
	}
	return fmt.Sprintf("HTTP %d from release %q", s.Status, s.Release)
}

// Options say what is asked and how often.
type Options struct {
	URL         string
	Rate        float64       // requests a second, more than none
	Timeout     time.Duration // of one request; zero for DefaultTimeout
	Concurrency int           // requests under way at most; zero for DefaultConcurrency
	Client      *http.Client  // nil for one with connections of its own
}

// Stream sends requests until ctx ends and passes what came of each to a function, one at a time, in the order in which
// they end. It returns once the requests that are under way have ended too, at most a timeout later.
//
// Each request has a time at which it is due, which no answer moves: a slow service is asked as often as a quick one.
// Where as many requests are under way as may be, the next ones are late, and their latency counts from when they were
// due, as it would for the people whom they stand for.
func Stream(ctx context.Context, o Options, each func(Sample)) {
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.Client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		// Connections are kept, so that no answer waits for a handshake that its user would not have waited for.
		transport.MaxIdleConns, transport.MaxIdleConnsPerHost = o.Concurrency, o.Concurrency
		defer transport.CloseIdleConnections()
		o.Client = &http.Client{Transport: transport}
	}
	var (
		one  sync.Mutex
		wg   sync.WaitGroup
		free = make(chan struct{}, o.Concurrency)
		gap  = time.Duration(float64(time.Second) / o.Rate)
	)
	defer wg.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now(); ; due = due.Add(gap) {
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case <-ctx.Done():
			return
		case free <- struct{}{}:
		}
		wg.Go(func() {
			// The end of the probe must not look like a failure of the service.
			s := Get(context.WithoutCancel(ctx), o.Client, o.URL, o.Timeout)
			<-free
			s.At, s.Latency = due, s.Latency+s.At.Sub(due)
			one.Lock()
			defer one.Unlock()
			each(s)
		})
	}
}

// Get sends one request. A zero timeout is DefaultTimeout.
func Get(ctx context.Context, client *http.Client, url string, timeout time.Duration) Sample {
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s := Sample{At: time.Now()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		s.Err = err
		return s
	}
	response, err := client.Do(request)
	if err == nil {
		s.Status, s.Release = response.StatusCode, response.Header.Get(ReleaseHeader)
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	s.Err = err
	s.Latency = time.Since(s.At)
	return s
}

// Report is what a probe saw, in the order in which the requests were due.
type Report struct{ Answers []Sample }

// Run is Stream with every sample kept, for probes of minutes.
func Run(ctx context.Context, o Options) Report {
	var report Report
	Stream(ctx, o, func(s Sample) { report.Answers = append(report.Answers, s) })
	slices.SortFunc(report.Answers, func(a, b Sample) int { return a.At.Compare(b.At) })
	return report
}

// Failures are the answers that a user would have seen as errors.
func (r Report) Failures() []Sample {
	var failures []Sample
	for _, s := range r.Answers {
		if s.Failed() {
			failures = append(failures, s)
		}
	}
	return failures
}

// Releases counts the answers of each release that did not fail.
func (r Report) Releases() map[string]int {
	counts := map[string]int{}
	for _, s := range r.Answers {
		if !s.Failed() {
			counts[s.Release]++
		}
	}
	return counts
}

// Quantile returns the time within which a share q (0–1) of the answers came; zero without answers.
func (r Report) Quantile(q float64) time.Duration {
	if len(r.Answers) == 0 {
		return 0
	}
	times := make([]time.Duration, len(r.Answers))
	for i, s := range r.Answers {
		times[i] = s.Latency
	}
	slices.Sort(times)
	return times[min(len(times)-1, int(q*float64(len(times))))]
}
