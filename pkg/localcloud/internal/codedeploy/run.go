package codedeploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// pollInterval is how often a deployment looks at what it waits for at another service.
	pollInterval = time.Second
	// alarmInterval is how often a deployment looks at its alarms.
	alarmInterval = 10 * time.Second
	// bootLimit is how long an instance may take until it answers, as on AWS: an agent's time to respond.
	bootLimit = time.Hour
	// eventLimit is how long one lifecycle event may take, as on AWS.
	eventLimit = time.Hour
)

// failure is why a deployment failed.
type failure errorInformation

func (f *failure) Error() string { return f.Code + ": " + f.Message }

// Start goes on with the deployments that were under way when the last process ended.
func (s *Service) Start() {
	s.document.Lock()
	defer s.document.Unlock()
	for _, d := range s.state.Deployments {
		if !d.done() {
			s.begin(*d)
		}
	}
}

// begin starts the work of a deployment, which has a copy of what does not change; the caller holds the lock.
func (s *Service) begin(d deployment) {
	if s.closed {
		return
	}
	ctx, cancel := context.WithCancelCause(s.work.Context())
	s.running[d.ID] = cancel
	s.work.Go(func() {
		defer cancel(nil)
		s.run(ctx, &d)
	})
}

// run takes a deployment to its end, or to that of the service.
func (s *Service) run(ctx context.Context, d *deployment) {
	stopHeartbeats := s.heartbeats(ctx, d)
	defer stopHeartbeats()
	err := s.prepare(d)
	if err == nil {
		err = s.roll(ctx, d)
	}
	if s.work.Closed() {
		return // the next process goes on
	}
	status, ok := s.finish(d, err)
	if ok && d.Hook != "" {
		s.answer(d, status)
	}
}

// prepare finds the deployment's targets, unless an earlier process has.
func (s *Service) prepare(d *deployment) error {
	s.document.Lock()
	if d.Status != statusCreated {
		s.document.Unlock()
		return nil
	}
	g := s.groupOf(d)
	if g == nil {
		s.document.Unlock()
		return errGroupGone
	}
	scaling := slices.Clone(g.Scaling)
	s.document.Unlock()

	if err := s.checkAlarms(d); err != nil {
		return err
	}
	if _, err := s.targetGroups(d); err != nil {
		return err
	}
	ids, err := s.chooseInstances(d, scaling)
	if err != nil {
		return err
	}
	if d.healthy(len(ids)) >= len(ids) {
		return &failure{"HEALTH_CONSTRAINTS_INVALID", "The revision cannot be successfully deployed within the instance health constraints specified."}
	}
	return s.change(func() error {
		g, kept := s.groupOf(d), s.find(d.ID)
		if g == nil || kept == nil {
			return errGroupGone
		}
		s.sortByHealth(g, ids)
		kept.Targets = nil
		for _, id := range ids {
			kept.Targets = append(kept.Targets, newTarget(id, d.eventNames()))
		}
		kept.Status, kept.Started = statusInProgress, time.Now().UTC()
		return nil
	})
}

// groupOf returns the deployment's group, or nil once it is gone; the caller holds the lock.
func (s *Service) groupOf(d *deployment) *group {
	for _, a := range s.state.Applications {
		for _, g := range a.Groups {
			if g.ID == d.GroupID {
				return g
			}
		}
	}
	return nil
}

// chooseInstances returns the instances to deploy to. An Auto Scaling group without instances in service is a failure: "CodeDeploy
// needs at least one instance to be in the InService state".
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/troubleshooting-auto-scaling.html.
func (s *Service) chooseInstances(d *deployment, scaling []scalingGroup) ([]string, error) {
	if d.Hook != "" {
		return []string{d.Instance}, nil
	}
	var ids []string
	for _, a := range scaling {
		members, err := s.options.Groups.InService(a.Name)
		if err != nil {
			return nil, &failure{"AUTO_SCALING_CONFIGURATION", fmt.Sprintf("The Auto Scaling group %s is missing: %v", a.Name, err)}
		}
		ids = append(ids, members...)
	}
	if d.OutdatedOnly {
		_ = s.locked(func() error {
			ids = s.outdated(d, ids)
			return nil
		})
	}
	if len(ids) == 0 {
		return nil, &failure{"NO_INSTANCES", "The deployment failed because no instances were found for your deployment group. Check your " +
			"deployment group settings to make sure the tags for your EC2 instances or Auto Scaling groups correctly identify the instances you " +
			"want to deploy to, and then try again."}
	}
	return ids, nil
}

// outdated returns the instances that do not have the deployment's revision; the caller holds the lock.
func (s *Service) outdated(d *deployment, ids []string) []string {
	g := s.groupOf(d)
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		return g == nil || g.Members[id] != nil && g.Members[id].Revision.same(d.Revision)
	})
}

// sortByHealth puts the unhealthy instances first, then those with an unknown or an old revision, as AWS does; the caller holds the
// lock.
func (s *Service) sortByHealth(g *group, ids []string) {
	rank := func(id string) int {
		switch m := g.Members[id]; {
		case m == nil || !m.Healthy:
			return 0
		case m.Revision == nil:
			return 1
		case !m.Revision.same(g.Target):
			return 2
		}
		return 3
	}
	slices.SortStableFunc(ids, func(a, b string) int { return rank(a) - rank(b) })
}

func newTarget(id string, events []string) *target {
	t := &target{ID: id, Status: statusPending, Updated: time.Now().UTC()}
	for _, name := range events {
		t.Events = append(t.Events, &event{Name: name, Status: statusPending})
	}
	return t
}

// eventNames returns the lifecycle events in AWS's order.
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html.
func (d *deployment) eventNames() []string {
	names := []string{applicationStop, downloadBundle, beforeInstall, install, afterInstall, applicationStart, validateService}
	if !d.controlsTraffic() {
		return names
	}
	if d.Hook == "" { // a new instance has no traffic yet
		names = append([]string{beforeBlockTraffic, blockTraffic, afterBlockTraffic}, names...)
	}
	return append(names, beforeAllowTraffic, allowTraffic, afterAllowTraffic)
}

func (d *deployment) controlsTraffic() bool {
	return d.Style.Option == withTraffic && d.LoadBalancer != nil && len(d.LoadBalancer.TargetGroups) > 0
}

// healthy returns how many of n instances stay healthy during the deployment.
func (d *deployment) healthy(n int) int {
	if d.Hook != "" {
		return 0 // an instance that is launched is no loss to those that serve
	}
	c, err := findConfig(d.ConfigName)
	if err != nil {
		return n // the group's configuration was checked when it was set
	}
	return c.HealthyHosts.of(n)
}

// errTooFew is AWS's word for a deployment that failed on too many instances.
func errTooFew() error {
	return &failure{"HEALTH_CONSTRAINTS", "The overall deployment failed because too many individual instances failed deployment, too few " +
		"healthy instances are available for deployment, or some instances in your deployment group are experiencing problems."}
}

// roll deploys to the targets, as many at a time as the configuration allows, and begins no more once too many have failed. As on AWS
// a deployment succeeds though instances failed, as long as enough have not.
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/instances-health.html.
func (s *Service) roll(ctx context.Context, d *deployment) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go s.watchAlarms(ctx, d, stop)

	n := 0
	_ = s.locked(func() error {
		if kept := s.find(d.ID); kept != nil {
			n = len(kept.Targets)
		}
		return nil
	})
	healthy := d.healthy(n)
	ended := make(chan string)
	running, begun := 0, map[string]bool{}
	for {
		for ctx.Err() == nil && running < n-healthy {
			instance := s.next(d, begun, n-healthy)
			if instance == "" {
				break
			}
			begun[instance] = true
			running++
			go func() {
				s.deployTo(ctx, d, instance)
				ended <- instance
			}()
		}
		if running == 0 {
			break
		}
		<-ended
		running--
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return s.locked(func() error {
		kept := s.find(d.ID)
		if kept == nil {
			return errGroupGone
		}
		if o := kept.overview(); o.Pending > 0 || o.Succeeded < max(1, healthy) {
			return errTooFew()
		}
		return nil
	})
}

// next returns an instance that waits, or "" where there is none or where as many have failed as may.
func (s *Service) next(d *deployment, begun map[string]bool, mayFail int) string {
	s.document.Lock()
	defer s.document.Unlock()
	kept := s.find(d.ID)
	if kept == nil || kept.overview().Failed >= mayFail {
		return ""
	}
	for _, t := range kept.Targets {
		if !begun[t.ID] && (t.Status == statusPending || t.Status == statusInProgress) {
			return t.ID
		}
	}
	return ""
}

// watchAlarms stops the deployment once one of its alarms is active.
func (s *Service) watchAlarms(ctx context.Context, d *deployment, stop context.CancelCauseFunc) {
	if d.Alarms == nil || !d.Alarms.Enabled {
		return
	}
	ticker := time.NewTicker(alarmInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := s.checkAlarms(d); err != nil {
				stop(err)
				return
			}
		}
	}
}

func (s *Service) checkAlarms(d *deployment) error {
	if d.Alarms == nil || !d.Alarms.Enabled {
		return nil
	}
	for _, a := range d.Alarms.Alarms {
		state, found := s.options.Alarms.AlarmState(a.Name)
		if !found && !d.Alarms.IgnorePollFailure {
			return &stopError{"ALARM_ACTIVE", fmt.Sprintf("The state of the alarm %s could not be retrieved: there is no such alarm.", a.Name),
				d.AutoRollback.on(onAlarm)}
		}
		if state == "ALARM" {
			return &stopError{"ALARM_ACTIVE", "One or more alarms have been activated according to the Amazon CloudWatch metrics you selected, and " +
				"the affected deployments have been stopped. Activated alarms: " + a.Name, d.AutoRollback.on(onAlarm)}
		}
	}
	return nil
}

// finish records how a deployment ended, and begins what follows from that. It is not ok when the service closes first.
func (s *Service) finish(d *deployment, err error) (status string, ok bool) {
	members := s.outdatedCandidates(d, err)
	ok = s.record(func(now time.Time) {
		kept := s.find(d.ID)
		if kept == nil {
			return
		}
		kept.Completed = now
		for _, t := range kept.Targets {
			t.skip(now)
		}
		stopped, isStopped := errors.AsType[*stopError](err)
		failed, isFailure := errors.AsType[*failure](err)
		switch {
		case err == nil:
			kept.Status = statusSucceeded
		case isStopped:
			kept.Status, kept.Error = statusStopped, &errorInformation{stopped.code, stopped.message}
		case isFailure:
			kept.Status, kept.Error = statusFailed, (*errorInformation)(failed)
		case errors.Is(err, errGroupGone):
			kept.Status, kept.Error = statusFailed, &errorInformation{"DEPLOYMENT_GROUP_MISSING", "The deployment group was deleted."}
		default:
			kept.Status, kept.Error = statusFailed, &errorInformation{"INTERNAL_ERROR", err.Error()}
		}
		status = kept.Status
		g := s.groupOf(d)
		if g == nil {
			return
		}
		if err == nil {
			g.LastSuccessful = d.ID
		}
		switch {
		case d.Creator == byScaling:
		case err == nil:
			g.Target = d.Revision
			s.updateOutdated(g, d, members)
		case d.Creator == byUser && (isStopped && stopped.rollback || !isStopped && d.AutoRollback.on(onFailure)):
			s.rollBack(g, kept)
		}
	})
	s.document.Lock()
	delete(s.running, d.ID)
	s.document.Unlock()
	s.log.Info("deployment", "id", d.ID, "creator", d.Creator, "error", err)
	return status, ok
}

// skip marks what was not begun.
func (t *target) skip(now time.Time) {
	if t.Status != statusPending {
		return
	}
	t.Status, t.Updated = statusSkipped, now
	for _, e := range t.Events {
		if e.Status == statusPending {
			e.Status = statusSkipped
		}
	}
}

// rollBack deploys the group's last revision that succeeded as a new deployment, as AWS does; the caller holds the lock.
func (s *Service) rollBack(g *group, d *deployment) {
	if g.Target == nil {
		d.Rollback = &rollbackInfo{Message: "Nothing was rolled back: no deployment to the deployment group has succeeded before."}
		return
	}
	back := &deployment{
		Creator: byRollback, Revision: g.Target, ConfigName: d.ConfigName, FileExists: d.FileExists, IgnoreStop: d.IgnoreStop,
		Description: "Rollback of deployment " + d.ID, Rollback: &rollbackInfo{Triggering: d.ID},
	}
	s.add(g, back)
	d.Rollback = &rollbackInfo{ID: back.ID, Message: "The last revision that was deployed successfully is deployed again."}
}

// outdatedCandidates returns the instances that may have been launched during a deployment that succeeded.
func (s *Service) outdatedCandidates(d *deployment, err error) []string {
	if err != nil || d.Creator != byUser && d.Creator != byRollback {
		return nil
	}
	var scaling []scalingGroup
	had := map[string]bool{}
	_ = s.locked(func() error {
		if g := s.groupOf(d); g != nil && g.Outdated == "UPDATE" {
			scaling = slices.Clone(g.Scaling)
		}
		if kept := s.find(d.ID); kept != nil {
			for _, t := range kept.Targets {
				had[t.ID] = true
			}
		}
		return nil
	})
	var ids []string
	for _, a := range scaling {
		members, _ := s.options.Groups.InService(a.Name)
		for _, id := range members {
			if !had[id] {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// updateOutdated deploys to instances that were launched during the deployment and have another revision; the caller holds the lock.
func (s *Service) updateOutdated(g *group, d *deployment, members []string) {
	if len(s.outdated(d, members)) == 0 {
		return
	}
	s.add(g, &deployment{
		Creator: byAutoUpdate, Revision: d.Revision, ConfigName: d.ConfigName, FileExists: d.FileExists, OutdatedOnly: true, Root: d.ID,
		Description: "Update of the instances that were launched during deployment " + d.ID,
	})
}
