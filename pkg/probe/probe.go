// Package probe sends HTTP requests at a steady rate and keeps what came of them: which release answered, how fast,
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

// Answer is what came of one request.
type Answer struct {
	At      time.Time     // when it was sent
	Elapsed time.Duration // until the whole body had arrived
	Status  int           // HTTP status; 0 where no response came
	Release string        // ReleaseHeader of the response, empty without one
	Err     error         // why no whole response came
}

// Failed tells whether a user would have seen an error.
func (a Answer) Failed() bool { return a.Err != nil || a.Status < 200 || a.Status > 399 }

// String says what was wrong with, or right about, an answer.
func (a Answer) String() string {
	if a.Err != nil {
		return a.Err.Error()
	}
	return fmt.Sprintf("HTTP %d from release %q", a.Status, a.Release)
}

// Options say what is asked and how often.
type Options struct {
	URL     string
	Rate    float64       // requests a second
	Timeout time.Duration // of one request; zero for DefaultTimeout
	Client  *http.Client  // nil for one with connections of its own
}

// Report is what a probe saw, in the order in which the requests were sent.
type Report struct{ Answers []Answer }

// Run sends requests until ctx ends, waits for those that are under way, and returns what it saw. A slow answer does
// not hold the next request back.
func Run(ctx context.Context, o Options) Report {
	client := o.Client
	if client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConnsPerHost = 256 // enough for the requests of a second, so that none waits for a handshake
		defer transport.CloseIdleConnections()
		client = &http.Client{Transport: transport}
	}
	var (
		mu     sync.Mutex
		wg     sync.WaitGroup
		report Report
	)
	ticker := time.NewTicker(time.Duration(float64(time.Second) / o.Rate))
	defer ticker.Stop()
	for ctx.Err() == nil {
		wg.Go(func() {
			// The end of the probe must not look like a failure of the service.
			a := Get(context.WithoutCancel(ctx), client, o.URL, o.Timeout)
			mu.Lock()
			report.Answers = append(report.Answers, a)
			mu.Unlock()
		})
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
	wg.Wait()
	slices.SortFunc(report.Answers, func(a, b Answer) int { return a.At.Compare(b.At) })
	return report
}

// Get sends one request. A zero timeout is DefaultTimeout.
func Get(ctx context.Context, client *http.Client, url string, timeout time.Duration) Answer {
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	a := Answer{At: time.Now()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		a.Err = err
		return a
	}
	response, err := client.Do(request)
	if err == nil {
		a.Status, a.Release = response.StatusCode, response.Header.Get(ReleaseHeader)
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	a.Err = err
	a.Elapsed = time.Since(a.At)
	return a
}

// Failures are the answers that a user would have seen as errors.
func (r Report) Failures() []Answer {
	var failures []Answer
	for _, a := range r.Answers {
		if a.Failed() {
			failures = append(failures, a)
		}
	}
	return failures
}

// Releases counts the answers of each release that did not fail.
func (r Report) Releases() map[string]int {
	counts := map[string]int{}
	for _, a := range r.Answers {
		if !a.Failed() {
			counts[a.Release]++
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
	for i, a := range r.Answers {
		times[i] = a.Elapsed
	}
	slices.Sort(times)
	return times[min(len(times)-1, int(q*float64(len(times))))]
}
