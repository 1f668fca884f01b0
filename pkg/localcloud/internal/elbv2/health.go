package elbv2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/ingot-build/ingot/internal/wait"
)

// firstChecks is how often a target is asked that has not passed a check yet: AWS does not wait a full interval either.
const firstChecks = time.Second

// backend is what this process knows of a target.
type backend struct {
	key       targetKey
	ctx       context.Context // ends when the target is gone
	stop      context.CancelFunc
	transport *http.Transport
	inFlight  int // requests under way

	passed, failed int // checks in a row
	countFailureAt time.Time
}

// matchBackends begins to check the targets that are new, and ends the checks, the connections, and the requests still under way of
// those that are no more. The caller holds the lock.
func (s *Service) matchBackends() {
	if s.work.Closed() {
		return
	}
	targets := map[targetKey]bool{}
	for _, g := range s.state.TargetGroups {
		for _, t := range g.Targets {
			key := g.key(t)
			targets[key] = true
			if _, ok := s.backends[key]; ok {
				continue
			}
			b := &backend{key: key, transport: s.transport(key)}
			b.ctx, b.stop = context.WithCancel(s.work.Context())
			s.backends[key] = b
			s.work.Go(func() { s.checks(b) })
		}
	}
	for key, b := range s.backends {
		if !targets[key] {
			b.stop()
			b.transport.CloseIdleConnections()
			delete(s.backends, key)
		}
	}
}

// verdict is what a look at a target found.
type verdict struct {
	state       health // healthy, unhealthy, unused; "" for a target that is no more
	reason      string
	description string
}

// checks asks a target for its health until it is gone.
func (s *Service) checks(b *backend) {
	client := &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, at string) (net.Conn, error) {
			to, err := netip.ParseAddrPort(at)
			if err != nil {
				return nil, err
			}
			return s.dial(ctx, to)
		}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if s.options.Registration != nil {
		_ = s.options.Registration(b.ctx)
	}
	for b.ctx.Err() == nil {
		v := s.look(b, client)
		_ = wait.For(b.ctx, s.judge(b, v))
	}
}

// look checks a target once.
func (s *Service) look(b *backend, client *http.Client) verdict {
	s.document.Lock()
	g, ok := s.state.TargetGroups[b.key.group]
	if !ok {
		s.document.Unlock()
		return verdict{}
	}
	check, port := g.Check, g.checkPort(&target{Port: b.key.port})
	users := s.users(g.ARN)
	s.document.Unlock()

	info, ok := s.options.Instances.Instance(b.key.id)
	switch {
	case !ok || info.State == "terminated":
		return verdict{}
	case info.State != "running":
		return verdict{unused, "Target.InvalidState", "Target is in the " + info.State + " state"}
	case len(users) == 0:
		return verdict{unused, "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"}
	case !s.admitted(info.SecurityGroups, port, users):
		return verdict{unhealthy, "Target.Timeout", "Request timed out"}
	}
	return check.ask(b.ctx, client, netip.AddrPortFrom(info.PrivateIP, uint16(port)))
}

// ask makes the request of a health check.
func (c *healthCheck) ask(ctx context.Context, client *http.Client, at netip.AddrPort) verdict {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.Timeout)*time.Second)
	defer cancel()
	failed := verdict{unhealthy, "Target.FailedHealthChecks", "Health checks failed"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+c.Path, nil)
	if err != nil {
		return failed
	}
	request.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	answer, err := client.Do(request)
	var slow net.Error
	switch {
	case errors.As(err, &slow) && slow.Timeout():
		return verdict{unhealthy, "Target.Timeout", "Request timed out"}
	case err != nil:
		return failed
	}
	io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<20))
	answer.Body.Close()
	codes, err := parseCodes(c.Matcher)
	if err == nil && slices.ContainsFunc(codes, func(r [2]int) bool { return answer.StatusCode >= r[0] && answer.StatusCode <= r[1] }) {
		return verdict{state: healthy}
	}
	return verdict{
		unhealthy, "Target.ResponseCodeMismatch", "Health checks failed with these codes: [" + strconv.Itoa(answer.StatusCode) + "]",
	}
}

// judge turns what was found into the target's state. It returns how long to wait until the next check.
func (s *Service) judge(b *backend, v verdict) time.Duration {
	s.document.Lock()
	defer s.document.Unlock()
	g, ok := s.state.TargetGroups[b.key.group]
	if !ok || s.work.Closed() || b.ctx.Err() != nil {
		return 0
	}
	t := g.target(b.key.id, b.key.port)
	if t == nil {
		return 0
	}
	interval := time.Duration(g.Check.Interval) * time.Second
	if t.State == draining {
		return interval
	}
	if v.state == "" {
		g.remove(t) // EC2 has no such instance any more.
		s.saveHealth()
		return 0
	}
	before := *t
	now := time.Now()
	switch v.state {
	case unused:
		b.passed, b.failed = 0, 0
		t.State, t.Reason, t.Description = v.state, v.reason, v.description
	case healthy:
		b.passed, b.failed = b.passed+1, 0
		if t.State != unhealthy || b.passed >= g.Check.HealthyThreshold {
			t.State, t.Reason, t.Description = healthy, "", ""
		}
	case unhealthy:
		b.passed = 0
		if t.State == unused || t.Reason == "Elb.RegistrationInProgress" {
			t.State, t.Reason, t.Description = initial, "Elb.InitialHealthChecking", "Initial health checks in progress"
			b.failed, b.countFailureAt = 0, time.Time{}
		}
		// The quick checks of a new target count against it only once an interval.
		if t.State != initial || !now.Before(b.countFailureAt) {
			b.failed++
			b.countFailureAt = now.Add(interval)
		}
		if b.failed >= g.Check.UnhealthyThreshold {
			t.State, t.Reason, t.Description = unhealthy, v.reason, v.description
		}
	}
	if *t != before {
		s.log.Debug("target", "group", g.Name, "instance", t.ID, "state", t.State, "reason", t.Reason)
		s.saveHealth()
	}
	if t.State == initial || t.State == unused {
		return min(firstChecks, interval)
	}
	return interval
}

var errNotAdmitted = fmt.Errorf("the target's security groups do not admit the load balancer: %w", context.DeadlineExceeded)
