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
func (s *Service) deployTo(ctx context.Context, d *deployment, instance string) {
	ctx, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	if !s.exists(instance) {
		s.lost(d, instance)
		return
	}
	go s.watchInstance(ctx, instance, lose)
	if s.options.Deployment != nil {
		_ = s.options.Deployment(ctx)
	}
	a := s.agentOf(d, instance)
	var events []event // as they are now; nobody else changes them
	_ = s.locked(func() error {
		if t := s.targetOf(d, instance); t != nil {
			for _, e := range t.Events {
				events = append(events, *e)
			}
		}
		return nil
	})
	err := s.waitBooted(ctx, instance)
	for _, e := range events {
		if e.Status == statusSucceeded || e.Status == statusFailed {
			continue // in an earlier process; an event that failed and does not matter
		}
		if err == nil {
			s.beginEvent(d, instance, e.Name)
			err = s.perform(ctx, d, a, e.Name, e.Status == statusInProgress)
		}
		if s.work.Closed() {
			return // the next process goes on
		}
		if cause := context.Cause(ctx); err != nil && cause != nil {
			err = cause
		}
		s.endEvent(d, instance, e.Name, err)
		if err != nil && d.IgnoreStop && runsPrevious(e.Name) && ctx.Err() == nil {
			err = nil
		}
		if err != nil {
			break
		}
	}
	if err != nil && d.Hook != "" {
		s.withdraw(d, instance)
	}
	s.endTarget(d, instance, err)
}

// targetOf returns the deployment's target, or nil; the caller holds the lock.
func (s *Service) targetOf(d *deployment, instance string) *target {
	kept := s.find(d.ID)
	if kept == nil {
		return nil
	}
	t, err := kept.target(instance)
	if err != nil {
		return nil
	}
	return t
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

// recordTarget records what happened to a target.
func (s *Service) recordTarget(d *deployment, instance string, f func(t *target, now time.Time)) {
	s.record(func(now time.Time) {
		if t := s.targetOf(d, instance); t != nil {
			t.Updated = now
			f(t, now)
		}
	})
}

// beginEvent records that an event runs.
func (s *Service) beginEvent(d *deployment, instance, name string) {
	s.recordTarget(d, instance, func(t *target, now time.Time) {
		e := t.event(name)
		e.Status, e.Started = statusInProgress, now
		t.Status = statusInProgress
	})
}

// endEvent records how an event ended.
func (s *Service) endEvent(d *deployment, instance, name string, err error) {
	s.recordTarget(d, instance, func(t *target, now time.Time) {
		e := t.event(name)
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
func (s *Service) endTarget(d *deployment, instance string, err error) {
	s.recordTarget(d, instance, func(t *target, now time.Time) {
		t.Status = statusSucceeded
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
func (s *Service) lost(d *deployment, instance string) {
	s.record(func(now time.Time) {
		if g := s.groupOf(d); g != nil {
			delete(g.Members, instance)
		}
		t := s.targetOf(d, instance)
		if t == nil {
			return
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

// withdraw takes a new instance that failed out of the target groups again: it is about to be terminated.
func (s *Service) withdraw(d *deployment, instance string) {
	arns, _ := s.targetGroups(d)
	for _, arn := range arns {
		if state, _, _ := s.options.Targets.TargetHealth(arn, instance); state == "" {
			continue
		}
		if err := s.options.Targets.Deregister(s.work.Context(), arn, instance); err != nil {
			s.log.Error("deregister an instance", "instance", instance, "error", err)
		}
	}
}
