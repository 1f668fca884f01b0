package codedeploy

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The lifecycle events of a deployment to EC2. All but blockTraffic, downloadBundle, install and allowTraffic run scripts.
const (
	beforeBlockTraffic = "BeforeBlockTraffic"
	blockTraffic       = "BlockTraffic"
	afterBlockTraffic  = "AfterBlockTraffic"
	applicationStop    = "ApplicationStop"
	downloadBundle     = "DownloadBundle"
	beforeInstall      = "BeforeInstall"
	install            = "Install"
	afterInstall       = "AfterInstall"
	applicationStart   = "ApplicationStart"
	validateService    = "ValidateService"
	beforeAllowTraffic = "BeforeAllowTraffic"
	allowTraffic       = "AllowTraffic"
	afterAllowTraffic  = "AfterAllowTraffic"
)

// isScripted reports whether an event runs the revision's scripts.
func isScripted(name string) bool {
	switch name {
	case beforeBlockTraffic, afterBlockTraffic, applicationStop, beforeInstall, afterInstall, applicationStart, validateService,
		beforeAllowTraffic, afterAllowTraffic:
		return true
	}
	return false
}

// runsPrevious reports whether an event runs the scripts of the revision that the instance had before.
func runsPrevious(name string) bool {
	return name == beforeBlockTraffic || name == afterBlockTraffic || name == applicationStop
}

// deployTo takes one instance through the events that it has not been through.
func (s *Service) deployTo(ctx context.Context, d *deployment, t *target) {
	ctx, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	if !s.exists(t.ID) {
		s.lost(d, t)
		return
	}
	go s.watchInstance(ctx, t.ID, lose)
	a := s.agentOf(d, t.ID)
	err := s.waitBooted(ctx, t.ID)
	for _, e := range t.Events {
		if e.Status == statusSucceeded || e.Status == statusFailed {
			continue // in an earlier process; an event that failed and does not matter
		}
		if err == nil {
			again := e.Status == statusInProgress
			s.beginEvent(t, e)
			err = s.perform(ctx, d, a, e.Name, again)
		}
		if s.ctx.Err() != nil {
			return // the next process goes on
		}
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		s.endEvent(t, e, err)
		if err != nil && d.IgnoreStop && runsPrevious(e.Name) && ctx.Err() == nil {
			err = nil
		}
		if err != nil {
			break
		}
	}
	if err != nil && d.Hook != "" {
		s.withdraw(d, t.ID)
	}
	s.endTarget(d, t, err)
}

// exists reports whether the instance runs.
func (s *Service) exists(id string) bool {
	info, found := s.options.Instances.Instance(id)
	return found && info.State == "running"
}

// watchInstance ends the instance's part once it does not run any more.
func (s *Service) watchInstance(ctx context.Context, id string, lose context.CancelCauseFunc) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if !s.exists(id) {
				lose(fmt.Errorf("the instance %s was stopped or terminated during the deployment", id))
				return
			}
		}
	}
}

// waitBooted waits until the instance is up.
func (s *Service) waitBooted(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	if err := s.options.Machines.WaitBooted(ctx, id); err != nil {
		return fmt.Errorf("the instance was not able to receive the lifecycle event: %w", err)
	}
	return nil
}

// errEventTimeout is why an event is ended that takes longer than it may.
var errEventTimeout = fmt.Errorf("the event did not end within %v", eventLimit)

// perform makes one event happen. It may have begun already, in an earlier process.
func (s *Service) perform(ctx context.Context, d *deployment, a *agent, name string, again bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, eventLimit, errEventTimeout)
	defer cancel()
	switch name {
	case blockTraffic:
		return s.blockTraffic(ctx, d, a.id)
	case allowTraffic:
		return s.allowTraffic(ctx, d, a.id)
	case downloadBundle:
		return a.download(ctx)
	case install:
		return a.install(ctx)
	}
	return a.runHooks(ctx, name, again)
}

// beginEvent records that an event runs.
func (s *Service) beginEvent(t *target, e *event) {
	s.record(func(now time.Time) {
		e.Status, e.Started = statusInProgress, now
		t.Status, t.Updated = statusInProgress, now
	})
}

// endEvent records how an event ended.
func (s *Service) endEvent(t *target, e *event, err error) {
	s.record(func(now time.Time) {
		t.Updated = now
		if e.Started.IsZero() {
			e.Started = now
		}
		e.Status, e.Ended = statusSucceeded, now
		if err == nil && (isScripted(e.Name) || e.Name == downloadBundle || e.Name == install) {
			e.Diagnostics = &diagnostics{Code: codeSuccess, Message: "Succeeded"}
		}
		if err != nil {
			e.Status, e.Diagnostics = statusFailed, &diagnostics{Code: codeUnknown, Message: err.Error()}
			if script, ok := errors.AsType[*scriptError](err); ok {
				e.Diagnostics = (*diagnostics)(script)
			}
		}
	})
}

// endTarget records how the instance's part ended.
func (s *Service) endTarget(d *deployment, t *target, err error) {
	s.record(func(now time.Time) {
		t.Status, t.Updated = statusSucceeded, now
		if err != nil {
			t.Status = statusFailed
		}
		for _, e := range t.Events {
			if e.Status == statusPending {
				e.Status = statusSkipped
			}
		}
		g := s.groupOf(d)
		if g == nil {
			return
		}
		m := g.Members[t.ID]
		if m == nil {
			m = &member{}
			g.Members[t.ID] = m
		}
		m.Healthy = err == nil
		if err == nil {
			m.Revision = d.Revision
		}
	})
}

// lost records that the instance was gone before its part of the deployment began, or while no process was there to see it.
func (s *Service) lost(d *deployment, t *target) {
	s.record(func(now time.Time) {
		if g := s.groupOf(d); g != nil {
			delete(g.Members, t.ID)
		}
		t.skip(now)
		if t.Status != statusInProgress {
			return
		}
		t.Status, t.Updated = statusFailed, now
		for _, e := range t.Events {
			switch e.Status {
			case statusInProgress:
				e.Status, e.Ended = statusFailed, now
				e.Diagnostics = &diagnostics{Code: codeUnknown, Message: fmt.Sprintf("the instance %s was stopped or terminated", t.ID)}
			case statusPending:
				e.Status = statusSkipped
			}
		}
	})
}

// record changes the state and saves it.
func (s *Service) record(f func(now time.Time)) {
	err := s.change(func() error {
		f(time.Now().UTC())
		return nil
	})
	if err != nil {
		s.log.Error("record a deployment", "error", err)
	}
}

// withdraw takes a new instance that failed out of the target groups again: it is about to be terminated.
func (s *Service) withdraw(d *deployment, instance string) {
	arns, _ := s.targetGroups(d)
	for _, arn := range arns {
		if state, _, _ := s.options.Targets.TargetHealth(arn, instance); state == "" {
			continue
		}
		if err := s.options.Targets.Deregister(s.ctx, arn, instance); err != nil {
			s.log.Error("deregister an instance", "instance", instance, "error", err)
		}
	}
}
