// Package probe sends HTTP requests at a steady rate and tells what came of them: which release answered, how fast,
// and what failed.
//
// No redirect is followed: its answer counts by its own status. What another place answers, such as the page where one
// signs in, says nothing of the service that sends people there.
package probe

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
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

	// Unreachable: no request could be sent at all, since the name was not found, or nothing took the connection, or TLS
	// did not come about. That says nothing of the service, only of the way to it.
	Unreachable bool

	good Statuses
}

// Failed tells whether the answer is not one of those that are good.
func (s Sample) Failed() bool { return s.Err != nil || !s.good.Has(s.Status) }

// String says what was wrong with, or right about, an answer.
func (s Sample) String() string {
	if s.Err != nil {
		return s.Err.Error()
	}
	return fmt.Sprintf("HTTP %d from release %q", s.Status, s.Release)
}

// Target is what is asked.
type Target struct {
	URL  string
	Good Statuses // the answers that are good; nil for 200 to 399
}

// Options say what is asked and how often.
type Options struct {
	URL         string
	Good        Statuses      // the answers that are good; nil for 200 to 399
	Rate        float64       // requests a second, more than none
	Timeout     time.Duration // of one request; zero for DefaultTimeout
	Concurrency int           // requests under way at most; zero for DefaultConcurrency
	Client      *http.Client  // nil for one with connections of its own
	Address     string        // what is connected to in place of the URL's host, see NewClient; only without a Client
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
		host := ""
		if u, err := url.Parse(o.URL); err == nil {
			host = u.Hostname()
		}
		o.Client = NewClient(&http.Client{Transport: transport}, host, o.Address)
		defer o.Client.CloseIdleConnections()
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
			s := Get(context.WithoutCancel(ctx), o.Client, Target{o.URL, o.Good}, o.Timeout)
			<-free
			s.At, s.Latency = due, s.Latency+s.At.Sub(due)
			one.Lock()
			defer one.Unlock()
			each(s)
		})
	}
}

// NewClient returns a client that follows no redirects. Where there is an address, it connects to that for a URL's host,
// which stays in the Host header and in TLS, where the certificate is checked against it: so a load balancer is asked
// for a domain that does not lead there yet. A base whose transport is not a *http.Transport connects as it does by
// itself, and where the environment names a proxy, that finds the host.
func NewClient(base *http.Client, host, address string) *http.Client {
	client := *base
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if client.Transport == nil {
		client.Transport = http.DefaultTransport
	}
	transport, ok := client.Transport.(*http.Transport)
	if !ok || host == "" || address == "" || address == host {
		return &client
	}
	transport = transport.Clone()
	dial := transport.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	transport.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		if name, port, err := net.SplitHostPort(to); err == nil && name == host {
			to = net.JoinHostPort(address, port)
		}
		return dial(ctx, network, to)
	}
	client.Transport = transport
	return &client
}

// Get sends one request, by a client that NewClient made. A zero timeout is DefaultTimeout.
func Get(ctx context.Context, client *http.Client, target Target, timeout time.Duration) Sample {
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	s := Sample{At: time.Now(), good: target.Good}
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.URL, nil)
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
	s.Unreachable = response == nil && !connected.Load()
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
