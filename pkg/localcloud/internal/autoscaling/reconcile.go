package autoscaling

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// The first launch after a failure waits retryFirst, the next twice as long, and none longer than retryMost.
const (
	retryFirst = 10 * time.Second
	retryMost  = 5 * time.Minute
)

// loop keeps the groups as they should be.
func (s *Service) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.work.Context().Done():
			return
		case <-s.work.Woken():
		case <-timer.C:
		}
		if wait.For(s.work.Context(), settle) != nil {
			return
		}
		select {
		case <-s.work.Woken():
		default:
		}
		s.document.Lock()
		groups := slices.Sorted(maps.Keys(s.state.Groups))
		s.document.Unlock()
		interval := quietInterval
		for _, name := range groups {
			if s.reconcile(name) {
				interval = busyInterval
			}
		}
		timer.Reset(interval)
	}
}

// reconcile looks, decides, saves, and acts. It reports whether something is going on in the group.
func (s *Service) reconcile(name string) (busy bool) {
	if err := s.keepOutcomes(name); err != nil {
		s.log.Error("auto scaling", "group", name, "error", err)
		return true
	}
	seen, ok := s.look(name)
	if !ok {
		return false
	}
	s.document.Lock()
	g, ok := s.state.Groups[name]
	if !ok {
		s.document.Unlock()
		return false
	}
	p := &pass{group: g, now: time.Now(), started: s.started, seen: seen, launching: s.launching}
	p.run()
	if g.Deleting && len(g.Instances) == 0 {
		delete(s.state.Groups, name)
		g.dirty = true
	}
	if g.dirty {
		if err := s.document.Save(); err != nil {
			s.document.Unlock()
			s.log.Error("auto scaling", "group", name, "error", err)
			return true // the next pass decides again
		}
		g.dirty = false
	}
	s.announce(g, p.hooks)
	busy = g.busy()
	s.document.Unlock()
	for _, a := range p.acts {
		s.perform(name, a)
	}
	return busy
}

// busy reports whether the group is on the way to somewhere.
func (g *group) busy() bool {
	return g.Deleting || g.activeRefresh() != nil || g.count((*instance).active) != g.Desired ||
		slices.ContainsFunc(g.Instances, func(i *instance) bool {
			return i.State != inService && i.State != standby || i.Health != healthy
		})
}

type targetKey struct{ arn, instance string }

// sighting is what a look at the other services showed.
type sighting struct {
	asked     map[string]bool // the instances that were asked for; others got their ID since
	instances map[string]ec2.InstanceInfo
	targets   map[targetKey]string // the target's state; "" once it is gone
	alarms    map[string]string
}

// look asks the other services about a group's members, without the lock.
func (s *Service) look(name string) (sighting, bool) {
	seen := sighting{map[string]bool{}, map[string]ec2.InstanceInfo{}, map[targetKey]string{}, map[string]string{}}
	s.document.Lock()
	g, ok := s.state.Groups[name]
	if !ok {
		s.document.Unlock()
		return seen, false
	}
	var ids, watched []string
	var keys []targetKey
	for _, i := range g.Instances {
		if i.ID == "" {
			continue
		}
		ids = append(ids, i.ID)
		for _, arn := range i.Registered {
			keys = append(keys, targetKey{arn, i.ID})
		}
	}
	if r := g.activeRefresh(); r != nil {
		watched = r.Preferences.alarms()
	}
	s.document.Unlock()
	for _, id := range ids {
		seen.asked[id] = true
		if info, ok := s.options.Instances.Instance(id); ok {
			seen.instances[id] = info
		}
	}
	for _, key := range keys {
		seen.targets[key], _, _ = s.options.Targets.TargetHealth(key.arn, key.instance)
	}
	for _, alarm := range watched {
		if s.options.Alarms != nil {
			seen.alarms[alarm], _ = s.options.Alarms.AlarmState(alarm)
		}
	}
	return seen, true
}

// pass is one decision about a group.
type pass struct {
	*group
	now       time.Time
	started   time.Time // of the service
	seen      sighting
	launching map[string]bool
	acts      []act
	hooks     []LifecycleAction
}

type verb int

const (
	launch verb = iota
	register
	deregister
	end
)

// act is something to do at another service. All of them can be repeated.
type act struct {
	verb  verb
	id    string
	token string // of a launch
	arn   string // of a target group
}

// run moves every instance, then the refresh, then the group's size.
func (p *pass) run() {
	for _, i := range p.Instances {
		p.move(i)
	}
	p.sweep()
	p.checkHealth()
	t := p.refresh()
	p.replaceUnhealthy()
	p.shrink(t)
	p.grow(t)
	p.sweep()
}

// sweep removes the instances that are gone.
func (p *pass) sweep() {
	p.Instances = slices.DeleteFunc(p.Instances, func(i *instance) bool { return i.State == "" })
}

func (p *pass) setState(i *instance, to lifecycle) {
	i.State = to
	p.dirty = true
}

// dead reports whether EC2 has no such instance running or about to run.
func (p *pass) dead(i *instance) bool {
	info := p.seen.instances[i.ID]
	return p.seen.asked[i.ID] && info.State != "running" && info.State != "pending"
}

// move takes an instance as far along its lifecycle as it can go.
func (p *pass) move(i *instance) {
	switch i.State {
	case pending:
		p.movePending(i)
	case pendingWait:
		p.movePendingWait(i)
	case pendingProceed:
		p.serve(i)
	case inService:
		p.register(i)
	case terminating:
		p.moveTerminating(i)
	case terminatingWait:
		if p.dead(i) || i.awaited(p.now) != "" {
			i.Actions = nil
			p.progress(i, activityInProgress, 80)
			p.setState(i, terminatingProceed)
			p.move(i)
		}
	case terminatingProceed:
		state := p.seen.instances[i.ID].State
		switch {
		case !p.seen.asked[i.ID]:
		case state == "" || state == "terminated":
			p.end(i, p.now, activitySuccessful, "")
			p.setState(i, "")
		case !i.Ended || state != "shutting-down":
			p.acts = append(p.acts, act{verb: end, id: i.ID})
		}
	case enteringStandby:
		if p.drained(i) {
			p.end(i, p.now, activitySuccessful, "")
			p.setState(i, standby)
		}
	}
}

func (p *pass) movePending(i *instance) {
	switch info := p.seen.instances[i.ID]; {
	case i.ID == "":
		p.launch(i)
	case i.Standby:
		p.serve(i)
	case p.dead(i):
		p.discard(i)
		p.cancelLaunch(i)
	case info.State == "running":
		begun := p.await(i, p.now, launchingTransition)
		if len(begun) == 0 {
			p.setState(i, pendingProceed)
			p.serve(i)
			return
		}
		p.hooks = append(p.hooks, begun...)
		p.progress(i, activityWaiting, 60)
		p.setState(i, pendingWait)
	}
}

func (p *pass) movePendingWait(i *instance) {
	if p.dead(i) {
		p.discard(i)
		p.cancelLaunch(i)
		return
	}
	switch i.awaited(p.now) {
	case resultContinue:
		i.Actions = nil
		p.progress(i, activityInProgress, 80)
		p.setState(i, pendingProceed)
		p.serve(i)
	case resultAbandon:
		p.explain(i, activityCancelled, p.now, i.abandoned(p.now))
		p.backOff(p.now)
		p.retire(i, at(p.now, "an instance was taken out of service in response to a lifecycle action that was abandoned."))
	}
}

// discard has EC2 terminate an instance that was stopped before it entered service.
func (p *pass) discard(i *instance) {
	if strings.HasPrefix(p.seen.instances[i.ID].State, "stop") {
		p.acts = append(p.acts, act{verb: end, id: i.ID})
	}
}

// launch asks EC2 for an instance unless this process already does.
func (p *pass) launch(i *instance) {
	if !p.launching[i.Token] {
		p.acts = append(p.acts, act{verb: launch, token: i.Token})
	}
}

// serve registers a new instance at the target groups and puts it into service.
func (p *pass) serve(i *instance) {
	if p.suspended("AddToLoadBalancer") && !i.Standby {
		i.NoTargets = len(p.TargetGroups) > 0
	} else if p.register(i) > 0 {
		return
	}
	i.InService, i.Standby = p.now, false
	p.Failures, p.RetryAt = 0, time.Time{}
	p.Unsuited = slices.DeleteFunc(p.Unsuited, func(subnet string) bool { return subnet == i.Subnet })
	p.end(i, p.now, activitySuccessful, "")
	p.setState(i, inService)
}

// register registers an instance until it is at the group's target groups. It returns at how many it is still missing.
func (p *pass) register(i *instance) (missing int) {
	if !i.NoTargets && !p.suspended("AddToLoadBalancer") {
		for _, arn := range p.TargetGroups {
			if !slices.Contains(i.Registered, arn) {
				missing++
				p.acts = append(p.acts, act{verb: register, id: i.ID, arn: arn})
			}
		}
	}
	return missing
}

// drained deregisters the instance from its target groups and reports whether no request is left with it.
func (p *pass) drained(i *instance) (left bool) {
	left = true
	i.Registered = slices.DeleteFunc(i.Registered, func(arn string) bool {
		switch p.seen.targets[targetKey{arn, i.ID}] {
		case "":
			p.dirty = true
			return true
		case "draining":
		default:
			p.acts = append(p.acts, act{verb: deregister, id: i.ID, arn: arn})
		}
		left = false
		return false
	})
	return left
}

func (p *pass) moveTerminating(i *instance) {
	if i.ID == "" {
		p.launch(i) // A launch under way has to come to its end before it can be undone.
		return
	}
	drained := p.drained(i)
	if !drained && !p.dead(i) {
		p.progress(i, activityDraining, 50)
		return
	}
	i.Actions = nil
	next := terminatingProceed
	if !p.dead(i) {
		if begun := p.await(i, p.now, terminatingTransition); len(begun) > 0 {
			p.hooks = append(p.hooks, begun...)
			p.progress(i, activityWaiting, 60)
			next = terminatingWait
		}
	}
	p.setState(i, next)
	if next == terminatingProceed {
		p.move(i)
	}
}

// terminate begins to take an instance out of the group.
func (g *group) terminate(i *instance, now time.Time, causes ...string) *activity {
	if i.Activity != "" {
		g.end(i, now, activityCancelled, "The instance was terminated before the activity was over.")
	}
	a := g.begin(now, "Terminating EC2 instance: "+i.ID, causes...)
	a.Subnet, a.Zone, a.Progress = i.Subnet, i.Zone, 20
	i.State, i.Activity, i.Actions = terminating, a.ID, nil
	g.LastScaling = now
	g.dirty = true
	return a
}

// retire terminates an instance and takes the first step toward that, so that it is out of the load balancer before its
// replacement is launched.
func (p *pass) retire(i *instance, causes ...string) {
	p.terminate(i, p.now, causes...)
	p.move(i)
}

// failLaunch removes an instance that never entered service.
func (g *group) failLaunch(i *instance, now time.Time, reason string) {
	g.explain(i, activityFailed, now, sentence(reason)+" Launching EC2 instance failed.")
	i.State = ""
	if !slices.Contains(g.Unsuited, i.Subnet) {
		g.Unsuited = append(g.Unsuited, i.Subnet)
	}
	g.backOff(now)
}

// cancelLaunch removes an instance that died before it entered service.
func (p *pass) cancelLaunch(i *instance) {
	p.explain(i, activityCancelled, p.now, "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: "+
		cmp.Or(p.seen.instances[i.ID].StateReason, "Server.InternalError: there is no such instance any more"))
	p.setState(i, "")
	p.backOff(p.now)
}

// explain ends an instance's activity with a reason, which AWS puts into the description too.
func (g *group) explain(i *instance, status string, now time.Time, reason string) {
	g.activity(i.Activity).Description += ".  Status Reason: " + reason
	g.end(i, now, status, reason)
}

func sentence(s string) string { return strings.TrimRight(s, ". ") + "." }

func (g *group) backOff(now time.Time) {
	g.RetryAt = now.Add(min(retryFirst<<min(g.Failures, 10), retryMost))
	g.Failures++
	g.dirty = true
}

// checkHealth marks what EC2 or the load balancer calls broken.
func (p *pass) checkHealth() {
	if p.suspended("HealthCheck") {
		return
	}
	for _, i := range p.Instances {
		if i.State != inService || i.Health != healthy {
			continue
		}
		switch {
		case p.dead(i):
			i.Reason = "an EC2 health check indicating it has been terminated or stopped"
		case strings.Contains(p.HealthCheckType, "ELB") && !p.inGracePeriod(i) && p.worst(i) == "unhealthy":
			i.Reason = "an ELB system health check failure"
		default:
			continue
		}
		i.Health = unhealthy
		p.dirty = true
	}
}

// inGracePeriod reports whether the load balancer's verdict does not count yet. Instances boot again with the cloud, and are given as
// long for it as for their first boot.
func (p *pass) inGracePeriod(i *instance) bool {
	return p.now.Before(i.graceEnds(p.group)) || p.now.Before(p.started.Add(time.Duration(p.GracePeriod)*time.Second))
}

// worst is "unhealthy" when a target group says so, "initial" when one has no verdict yet, else "healthy".
func (p *pass) worst(i *instance) string {
	state := "healthy"
	for _, arn := range i.Registered {
		switch p.seen.targets[targetKey{arn, i.ID}] {
		case "unhealthy":
			return "unhealthy"
		case "healthy", "unused":
		default:
			state = "initial"
		}
	}
	return state
}

// serving reports whether the instance takes its share of the load.
func (p *pass) serving(i *instance) bool {
	return i.State == inService && i.Health == healthy && !p.dead(i) && p.worst(i) == "healthy"
}

// replaceUnhealthy terminates broken instances; growing replaces them. A maintenance policy that wants every instance in
// service has the replacement launched first, where the broken one is still there.
func (p *pass) replaceUnhealthy() {
	if p.suspended("ReplaceUnhealthy") || p.suspended("Terminate") {
		return
	}
	launchFirst := p.Maintenance != nil && *p.Maintenance.MinHealthyPercentage >= 100
	serving := p.count(p.serving)
	for _, i := range p.Instances {
		if i.State == inService && i.Health == unhealthy && (p.dead(i) || !launchFirst || serving >= p.Desired) {
			p.retire(i, at(p.now, "an instance was taken out of service in response to %s.", i.Reason))
			p.Replacing++
		}
	}
}

// size counts the instances toward the desired capacity.
func (p *pass) size() int {
	return p.count(func(i *instance) bool {
		return i.active() && (i.Health == healthy || p.suspended("ReplaceUnhealthy"))
	})
}

// shrink terminates what is too much.
func (p *pass) shrink(t *turnover) {
	if p.suspended("Terminate") {
		return
	}
	if p.Deleting {
		for _, i := range p.Instances {
			if !i.ending() {
				p.retire(i, p.Causes...)
			}
		}
		p.Causes = nil
		return
	}
	if t != nil {
		p.turnOver(t)
	}
	surplus := p.size() - p.Desired
	if t != nil {
		surplus -= p.ahead(t)
	}
	for size := p.size(); surplus > 0; surplus-- {
		i := p.victim()
		if i == nil {
			return
		}
		causes := p.Causes
		if size-p.Desired == surplus || len(causes) == 0 {
			causes = append(slices.Clip(causes), at(p.now, "an instance was taken out of service in response to a difference between desired "+
				"and actual capacity, shrinking the capacity from %d to %d.", size, p.Desired),
				at(p.now, "instance %s was selected for termination.", i.ID))
		}
		p.retire(i, causes...)
	}
	if p.size() == p.Desired && t == nil {
		p.Causes = nil
	}
	p.retireOld(t)
}

// retireOld replaces an instance that has reached the group's maximum lifetime, one at a time.
func (p *pass) retireOld(t *turnover) {
	if p.MaxInstanceLifetime == nil || t != nil || p.count(p.serving) < p.Desired {
		return
	}
	for _, i := range p.Instances {
		if i.State == inService && p.now.Sub(i.Launched) >= time.Duration(*p.MaxInstanceLifetime)*time.Second {
			p.retire(i, at(p.now, "an instance was taken out of service in response to a max instance lifetime replacement."))
			return
		}
	}
}

// victim chooses the instance that scaling in terminates: never a protected one, and first one that serves nobody. Then
// the group's termination policy decides. The default one takes, in this order, what a refresh that failed or was
// cancelled has left of another launch template version, the fullest zone, the oldest version, and the oldest instance.
func (p *pass) victim() *instance {
	zones := map[string]int{}
	var candidates []*instance
	for _, i := range p.Instances {
		if i.active() {
			zones[i.Zone]++
			if !i.Protected {
				candidates = append(candidates, i)
			}
		}
	}
	if len(candidates) == 0 {
		return nil
	}
	policy := p.TerminationPolicies[0]
	return slices.MinFunc(candidates, func(a, b *instance) int {
		age := a.Launched.Compare(b.Launched)
		if order := rank(p.serving(a), p.serving(b)); order != 0 {
			return order
		}
		switch policy {
		case "OldestInstance":
			return age
		case "NewestInstance":
			return -age
		}
		return cmp.Or(
			p.stray(a, b), cmp.Compare(zones[b.Zone], zones[a.Zone]), cmp.Compare(version(a), version(b)), age,
		)
	})
}

// stray orders instances of another generation, during a refresh, or of another version than the group's first.
func (p *pass) stray(a, b *instance) int {
	if p.activeRefresh() != nil {
		return cmp.Compare(a.Generation, b.Generation)
	}
	if _, err := strconv.Atoi(p.Template.Version); err != nil {
		return 0
	}
	return rank(a.Template == p.Template, b.Template == p.Template)
}

func version(i *instance) int {
	n, err := strconv.Atoi(i.Template.Version)
	if err != nil {
		return 0
	}
	return n
}

// grow launches what is missing. After a failed launch it waits, and then tries with a single one.
func (p *pass) grow(t *turnover) {
	if p.suspended("Launch") || p.now.Before(p.RetryAt) || p.Deleting {
		return
	}
	size := p.size()
	missing := p.Desired - size
	if t != nil {
		missing = max(missing, t.launches(size, p.count(p.fresh)))
	}
	if p.Failures > 0 {
		if p.count(func(i *instance) bool { return i.State == pending }) > 0 {
			return
		}
		missing = min(missing, 1)
	}
	for range missing {
		var causes []string
		switch {
		case p.Replacing > 0:
			p.Replacing--
			causes = []string{at(p.now, "an instance was launched in response to an unhealthy instance needing to be replaced.")}
		case t != nil:
			causes = []string{at(p.now, "an instance was launched in response to an instance refresh.")}
		default:
			causes = append(slices.Clone(p.Causes), at(p.now, "an instance was started in response to a difference between desired and actual "+
				"capacity, increasing the capacity from %d to %d.", size, p.Desired))
		}
		p.add(causes)
	}
	if missing > 0 {
		p.Causes = nil
	}
}

// add makes room for a new instance, in the subnet with the fewest. AWS's strategy balanced-best-effort, which is the default, goes on
// to another zone where a launch has failed.
func (p *pass) add(causes []string) {
	members := map[string]int{}
	zones := map[string]string{}
	for _, i := range p.Instances {
		if i.active() {
			members[i.Subnet]++
		}
		zones[i.Subnet] = i.Zone
	}
	subnets := slices.DeleteFunc(slices.Clone(p.Subnets), func(s string) bool { return slices.Contains(p.Unsuited, s) })
	if len(subnets) == 0 || p.Distribution != nil && p.Distribution.CapacityDistributionStrategy == "balanced-only" {
		subnets, p.Unsuited = p.Subnets, nil
	}
	subnet := slices.MinFunc(subnets, func(a, b string) int { return cmp.Compare(members[a], members[b]) })
	a := p.begin(p.now, "Launching a new EC2 instance", causes...)
	a.Subnet, a.Progress = subnet, 30
	i := &instance{
		Token: wire.UUID(), Subnet: subnet, Zone: zones[subnet], Template: p.launchTemplate(), State: pending, Health: healthy,
		Protected: p.ProtectNew, Generation: p.Generation, Launched: p.now, Activity: a.ID,
	}
	p.Instances = append(p.Instances, i)
	p.LastScaling = p.now
	p.launch(i)
}

// perform does one act and reports what came of it.
func (s *Service) perform(name string, a act) {
	var err error
	switch a.verb {
	case launch:
		s.document.Lock()
		s.launching[a.token] = true
		s.document.Unlock()
		s.work.Go(func() { s.launch(name, a.token) })
		return
	case register:
		err = s.options.Targets.Register(s.work.Context(), a.arn, a.id)
	case deregister:
		err = s.options.Targets.Deregister(s.work.Context(), a.arn, a.id)
	case end:
		err = s.options.Instances.Terminate(s.work.Context(), a.id)
	}
	if err != nil {
		s.log.Warn("auto scaling", "group", name, "instance", a.id, "error", err)
	}
	s.report(name, outcome{keep: func(g *group) {
		i := g.instance(a.id)
		switch {
		case i == nil:
		case err != nil:
			// The next pass tries again. Until then the activity says what is wrong.
			g.activity(i.Activity).Message = message(err)
		case a.verb == register && !slices.Contains(i.Registered, a.arn):
			i.Registered = append(i.Registered, a.arn)
		case a.verb == end:
			i.Ended = true
		}
	}})
	if err == nil {
		s.work.Wake()
	}
}

// outcome is what came of an act.
type outcome struct {
	token string // of a launch
	keep  func(*group)
}

// report has the next pass keep what came of an act: a thousand of them are saved at once. Where the process is killed before that,
// the act is decided on again, and can be repeated.
func (s *Service) report(name string, o outcome) {
	s.document.Lock()
	defer s.document.Unlock()
	s.outcomes[name] = append(s.outcomes[name], o)
}

// keepOutcomes saves what was reported. Where that fails, it stays reported.
func (s *Service) keepOutcomes(name string) error {
	s.document.Lock()
	defer s.document.Unlock()
	outcomes := s.outcomes[name]
	if len(outcomes) == 0 {
		return nil
	}
	err := s.document.UpdateLocked(func(st *state) error {
		if g, ok := st.Groups[name]; ok {
			for _, o := range outcomes {
				o.keep(g)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	delete(s.outcomes, name)
	for _, o := range outcomes {
		delete(s.launching, o.token)
	}
	return nil
}

// launch runs one launch to its end.
func (s *Service) launch(name, token string) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-s.work.Context().Done():
		return
	}
	spec, t, err := s.prepare(name, token)
	var id string
	if err == nil {
		id, err = s.options.Instances.LaunchFromTemplate(s.work.Context(), spec)
	}
	if s.work.Closed() {
		return // The next process repeats the launch with the same token.
	}
	now, zone := time.Now(), s.zone(spec.SubnetID)
	s.report(name, outcome{token, func(g *group) {
		i := g.instanceByToken(token)
		if i == nil {
			return
		}
		if err != nil {
			g.failLaunch(i, now, message(err))
			g.Instances = slices.DeleteFunc(g.Instances, func(i *instance) bool { return i.State == "" })
			return
		}
		i.ID, i.ImageID, i.Type = id, t.ImageID, t.InstanceType
		i.Zone = cmp.Or(i.Zone, zone)
		a := g.activity(i.Activity)
		a.Description += ": " + id
		a.Zone = i.Zone
	}})
	s.work.Wake()
}

func (s *Service) zone(subnet string) string {
	info, _ := s.options.Instances.Subnet(subnet)
	return info.AvailabilityZone
}

// prepare turns the template's version into a number and keeps it, so that repeating the launch asks for the same.
func (s *Service) prepare(name, token string) (ec2.LaunchSpec, ec2.TemplateInfo, error) {
	s.document.Lock()
	g, ok := s.state.Groups[name]
	if !ok {
		s.document.Unlock()
		return ec2.LaunchSpec{}, ec2.TemplateInfo{}, fmt.Errorf("the group %q is gone", name)
	}
	i := g.instanceByToken(token)
	if i == nil {
		s.document.Unlock()
		return ec2.LaunchSpec{}, ec2.TemplateInfo{}, fmt.Errorf("the launch %q is gone", token)
	}
	t := i.Template
	spec := ec2.LaunchSpec{SubnetID: i.Subnet, Tags: g.launchTags(), ClientToken: token}
	s.document.Unlock()
	info, err := s.options.Instances.ResolveTemplate(t.ID, t.Version)
	if err != nil {
		return spec, info, err
	}
	spec.TemplateID, spec.Version = info.ID, strconv.FormatInt(info.Version, 10)
	numbered := template{ID: info.ID, Name: info.Name, Version: spec.Version}
	if numbered == t {
		return spec, info, nil
	}
	return spec, info, s.document.Update(func(st *state) error {
		if g, ok := st.Groups[name]; ok {
			if i := g.instanceByToken(token); i != nil {
				i.Template = numbered
			}
		}
		return nil
	})
}
