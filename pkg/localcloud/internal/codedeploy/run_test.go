package codedeploy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
)

// spec is an AppSpec file that runs the given script for each event.
func spec(scripts ...string) string {
	var b strings.Builder
	b.WriteString("version: 0.0\nos: linux\nhooks:\n")
	for i := 0; i < len(scripts); i += 2 {
		fmt.Fprintf(&b, "  %s:\n    - location: %s\n", scripts[i], scripts[i+1])
	}
	return b.String()
}

// everyEvent is an AppSpec file that runs one script for every event.
func everyEvent(script string) string {
	var args []string
	for _, event := range []string{
		beforeBlockTraffic, afterBlockTraffic, applicationStop, beforeInstall, afterInstall, applicationStart, validateService,
		beforeAllowTraffic, afterAllowTraffic,
	} {
		args = append(args, event, script)
	}
	return spec(args...)
}

// summary tells how the events of a target ended.
func summary(t instanceTarget) (events []string) {
	for _, e := range t.Events {
		events = append(events, e.Name+" "+e.Status)
	}
	return events
}

// inPlaceOrder is the order of events with a load balancer.
func inPlaceOrder() []string {
	return []string{
		beforeBlockTraffic, blockTraffic, afterBlockTraffic, applicationStop, downloadBundle, beforeInstall, install, afterInstall,
		applicationStart, validateService, beforeAllowTraffic, allowTraffic, afterAllowTraffic,
	}
}

func TestDeploymentInPlace(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(withLoadBalancer)
		log := t.TempDir() + "/log"
		revision := func(name string) *revisionLocation {
			return b.cloud.put(t, name+".zip", map[string]string{
				"appspec.yml": everyEvent("scripts/log.sh"),
				"scripts/log.sh": "#!/bin/sh\necho " + name + " $LIFECYCLE_EVENT $APPLICATION_NAME $DEPLOYMENT_GROUP_NAME $BUNDLE_BUCKET/$BUNDLE_KEY " +
					"${DEPLOYMENT_ID:?} ${DEPLOYMENT_GROUP_ID:?} >>" + log + "\n",
			})
		}
		begin := time.Now()
		first := b.run(revision("one"))
		if first.Status != statusSucceeded || first.Creator != byUser || first.Overview.Succeeded != 1 {
			t.Fatalf("deployment: %+v, %+v", first, first.Error)
		}
		// The first revision is not on the instance before DownloadBundle, so nothing runs before.
		if took := time.Since(begin); took < healthTime+drainTime || took > 2*(healthTime+drainTime) {
			t.Errorf("took %v", took)
		}
		var want []string
		for _, event := range inPlaceOrder() {
			want = append(want, event+" "+statusSucceeded)
		}
		if diff := cmp.Diff(want, summary(b.view(first.ID, "i-1"))); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"deregister i-1", "register i-1"}, b.cloud.traffic); diff != "" {
			t.Errorf("traffic (-want +got):\n%s", diff)
		}
		success := b.view(first.ID, "i-1").Events[5].Diagnostics
		if diff := cmp.Diff(&diagnostics{Code: codeSuccess, Message: "Succeeded"}, success); diff != "" {
			t.Errorf("diagnostics (-want +got):\n%s", diff)
		}

		second := b.run(revision("two"))
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(readFile(t, log)), "\n") {
			fields := strings.Fields(line)
			got = append(got, strings.Join(fields[:2], " "))
			if fields[2] != "web" || fields[3] != "web" || fields[4] != "revisions/"+map[bool]string{true: "one.zip", false: "two.zip"}[fields[5] == first.ID] {
				t.Errorf("environment: %s", line)
			}
		}
		wantLog := []string{
			"one BeforeInstall", "one AfterInstall", "one ApplicationStart", "one ValidateService", "one BeforeAllowTraffic", "one AfterAllowTraffic",
			"one BeforeBlockTraffic", "one AfterBlockTraffic", "one ApplicationStop",
			"two BeforeInstall", "two AfterInstall", "two ApplicationStart", "two ValidateService", "two BeforeAllowTraffic", "two AfterAllowTraffic",
		}
		if diff := cmp.Diff(wantLog, got); diff != "" {
			t.Errorf("scripts (-want +got):\n%s", diff)
		}
		if !second.Previous.same(first.Revision) {
			t.Errorf("previous revision: %+v", second.Previous)
		}
	})
}

// stub replaces the machines with ones whose scripts are a function. It returns who ran which event, in order.
func (b *bench) stub(script func(ctx context.Context, s scriptRun) error) *recorder {
	r := &recorder{}
	b.memory.Unpack = nil
	b.memory.Run = func(ctx context.Context, id string, c compute.Command) error {
		switch c.Args[2] {
		case readSpecScript:
			if c.Args[5] == "" || slices.Contains(r.seen(), id) {
				io.WriteString(c.Stdout, rootFolder+"/group/deployment\nappspec.yml\n"+everyEvent("script.sh"))
			}
		case runScript:
			run := scriptRun{id, strings.TrimPrefix(c.Env[0], "LIFECYCLE_EVENT="), strings.TrimPrefix(c.Env[1], "DEPLOYMENT_ID=")}
			r.add(run)
			return script(ctx, run)
		}
		return nil
	}
	return r
}

// scriptRun is a script that is run.
type scriptRun struct{ instance, event, deployment string }

type recorder struct {
	mu  sync.Mutex
	ids []string
	all []string
}

func (r *recorder) add(s scriptRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids, r.all = append(r.ids, s.instance), append(r.all, s.instance+" "+s.event)
}

func (r *recorder) seen() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

func (b *bench) revision() *revisionLocation {
	b.cloud.mu.Lock()
	name := fmt.Sprintf("r%d.zip", len(b.cloud.objects)) // the time stands still in a bubble, and a file that is read must not be written
	b.cloud.mu.Unlock()
	return b.cloud.put(b.t, name, map[string]string{"a": ""})
}

func TestMinimumHealthyHosts(t *testing.T) {
	for _, test := range []struct {
		name, config string
		failing      []string
		status       string
		overview     overview
		atOnce       int
	}{
		{"one at a time", oneAtATime, nil, statusSucceeded, overview{Succeeded: 4}, 1},
		{"one at a time, the first fails", oneAtATime, []string{"i-1"}, statusFailed, overview{Failed: 1, Skipped: 3}, 1},
		{"one at a time, the last fails", oneAtATime, []string{"i-4"}, statusSucceeded, overview{Succeeded: 3, Failed: 1}, 1},
		{"half at a time", halfAtATime, []string{"i-3"}, statusSucceeded, overview{Succeeded: 3, Failed: 1}, 2},
		{"half at a time, half fails", halfAtATime, []string{"i-1", "i-2"}, statusFailed, overview{Succeeded: 1, Failed: 2, Skipped: 1}, 2},
		{"all at once", allAtOnce, []string{"i-1", "i-2", "i-3"}, statusSucceeded, overview{Succeeded: 1, Failed: 3}, 4},
		{"all at once, all fail", allAtOnce, []string{"i-1", "i-2", "i-3", "i-4"}, statusFailed, overview{Failed: 4}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, []string{"i-1", "i-2", "i-3", "i-4"}, func(b *bench) {
				b.group(func(in *createGroupInput) { in.ConfigName = test.config })
				var mu sync.Mutex
				now, most := 0, 0
				b.stub(func(_ context.Context, s scriptRun) error {
					if i := slices.Index(test.failing, s.instance); i >= 0 {
						time.Sleep(time.Duration(i) * time.Second)
						return &compute.ExitError{Code: 1}
					}
					if s.event != validateService {
						return nil
					}
					mu.Lock()
					now++
					most = max(most, now)
					mu.Unlock()
					time.Sleep(time.Minute)
					mu.Lock()
					now--
					mu.Unlock()
					return nil
				})
				d := b.run(b.revision())
				if d.Status != test.status {
					t.Errorf("status %s, want %s: %+v", d.Status, test.status, d.Error)
				}
				if diff := cmp.Diff(&test.overview, d.Overview); diff != "" {
					t.Errorf("overview (-want +got):\n%s", diff)
				}
				if len(test.failing) == 0 && most != test.atOnce {
					t.Errorf("%d at once, want %d", most, test.atOnce)
				}
			})
		})
	}
}

func TestRefusedDeployments(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.group(nil)
		d := b.run(b.revision())
		if d.Status != statusFailed || d.Error.Code != "NO_INSTANCES" {
			t.Errorf("to nothing: %s, %+v", d.Status, d.Error)
		}
		_, err := b.listDeploymentTargets(t.Context(), &listTargetsInput{Deployment: d.ID})
		if err != nil {
			t.Error(err)
		}
		for want, change := range map[string]func(*createDeploymentInput){
			"RevisionRequiredException":             func(in *createDeploymentInput) { in.Revision = nil },
			"InvalidRevisionException":              func(in *createDeploymentInput) { in.Revision = &revisionLocation{Type: "GitHub"} },
			"DeploymentGroupDoesNotExistException":  func(in *createDeploymentInput) { in.Group = "none" },
			"DeploymentConfigDoesNotExistException": func(in *createDeploymentInput) { in.ConfigName = "none" },
			"InvalidFileExistsBehaviorException":    func(in *createDeploymentInput) { in.FileExists = "none" },
			"DescriptionTooLongException":           func(in *createDeploymentInput) { in.Description = strings.Repeat("a", 1001) },
			"ValidationException":                   func(in *createDeploymentInput) { in.Mode = "RESTART" },
			"InvalidAutoRollbackConfigException":    func(in *createDeploymentInput) { in.AutoRollback = &autoRollback{Enabled: true} },
		} {
			in := &createDeploymentInput{Application: "web", Group: "web", Revision: b.revision()}
			change(in)
			if _, err := b.createDeployment(t.Context(), in); errorCode(err) != want {
				t.Errorf("got %v, want %s", err, want)
			}
		}
	})
}

func TestOneDeploymentAtATime(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(nil)
		b.stub(func(ctx context.Context, _ scriptRun) error { return sleep(ctx, time.Minute) })
		first := b.deploy(b.revision())
		_, err := b.createDeployment(t.Context(), &createDeploymentInput{Application: "web", Group: "web", Revision: b.revision()})
		want := "DeploymentLimitExceededException: The Deployment Group 'web' is already deploying deployment '" + first + "'"
		if err == nil || err.Error() != want {
			t.Errorf("a second deployment: %v", err)
		}
		b.ended(first)
		if d := b.run(b.revision()); d.Status != statusSucceeded {
			t.Errorf("the next deployment: %+v", d.Error)
		}
	})
}

// sleep waits, as a script does that is killed when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("run script: %w", context.Cause(ctx))
	case <-time.After(d):
		return nil
	}
}

func TestRollback(t *testing.T) {
	inBubble(t, []string{"i-1", "i-2"}, func(b *bench) {
		b.group(func(in *createGroupInput) {
			in.AutoRollback = &autoRollback{Enabled: true, Events: []string{onFailure}}
		})
		bad := map[string]bool{}
		b.stub(func(ctx context.Context, s scriptRun) error {
			if err := sleep(ctx, time.Minute); err != nil {
				return err
			}
			if bad[s.deployment] {
				return &compute.ExitError{Code: 1}
			}
			return nil
		})
		id := b.deploy(b.revision())
		bad[id] = true
		first := b.ended(id)
		if first.Status != statusFailed || first.Rollback == nil || first.Rollback.ID != "" {
			t.Errorf("a first deployment that fails: %s, %+v", first.Status, first.Rollback)
		}
		good := b.run(b.revision())
		id = b.deploy(b.revision())
		bad[id] = true
		failed := b.ended(id)
		back := b.ended(failed.Rollback.ID)
		if back.Creator != byRollback || !back.Revision.same(good.Revision) || back.Rollback.Triggering != failed.ID || back.Status != statusSucceeded {
			t.Errorf("rollback: %+v, %+v", back, back.Rollback)
		}
		info, err := b.getDeploymentGroup(t.Context(), &groupName{"web", "web"})
		if err != nil || !info.Info.Target.same(good.Revision) || info.Info.LastSuccessful.ID != back.ID {
			t.Errorf("group: %+v, %v", info, err)
		}
	})
}

func TestStop(t *testing.T) {
	inBubble(t, []string{"i-1", "i-2"}, func(b *bench) {
		b.group(func(in *createGroupInput) { in.ConfigName = oneAtATime })
		b.stub(func(ctx context.Context, _ scriptRun) error { return sleep(ctx, 10*time.Minute) })
		id := b.deploy(b.revision())
		time.Sleep(time.Minute)
		if _, err := b.stopDeployment(t.Context(), &stopInput{ID: id}); err != nil {
			t.Fatal(err)
		}
		d := b.ended(id)
		if d.Status != statusStopped || d.Error.Code != "MANUAL_STOP" || d.Overview.Failed != 1 || d.Overview.Skipped != 1 {
			t.Errorf("%s, %+v, %+v", d.Status, d.Error, d.Overview)
		}
		_, err := b.stopDeployment(t.Context(), &stopInput{ID: id})
		if errorCode(err) != "DeploymentAlreadyCompletedException" {
			t.Errorf("stop it again: %v", err)
		}
	})
}

func TestAlarms(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.cloud.alarms["errors"] = "OK"
		b.group(func(in *createGroupInput) {
			in.Alarms = &alarmConfiguration{Enabled: true, Alarms: []alarm{{"errors"}}}
			in.AutoRollback = &autoRollback{Enabled: true, Events: []string{onAlarm}}
		})
		b.stub(func(ctx context.Context, _ scriptRun) error { return sleep(ctx, time.Minute) })
		good := b.run(b.revision())
		id := b.deploy(b.revision())
		time.Sleep(time.Minute)
		b.cloud.mu.Lock()
		b.cloud.alarms["errors"] = "ALARM"
		b.cloud.mu.Unlock()
		d := b.ended(id)
		if d.Status != statusStopped || d.Error.Code != "ALARM_ACTIVE" || d.Rollback == nil {
			t.Fatalf("%s, %+v, %+v", d.Status, d.Error, d.Rollback)
		}
		back := b.ended(d.Rollback.ID)
		if !back.Revision.same(good.Revision) || back.Status != statusStopped {
			t.Errorf("rollback while the alarm is active: %s, %+v", back.Status, back.Error)
		}
	})
}

func TestTerminatedInstances(t *testing.T) {
	inBubble(t, []string{"i-1", "i-2", "i-3"}, func(b *bench) {
		b.group(func(in *createGroupInput) { in.ConfigName = oneAtATime })
		b.stub(func(ctx context.Context, _ scriptRun) error { return sleep(ctx, 4*time.Minute) })
		id := b.deploy(b.revision())
		time.Sleep(time.Minute)
		b.cloud.setState("i-3", "terminated") // before its part began
		d := b.ended(id)
		if d.Status != statusSucceeded || d.Overview.Succeeded != 2 || d.Overview.Skipped != 1 {
			t.Errorf("%s, %+v", d.Status, d.Overview)
		}
		id = b.deploy(b.revision())
		time.Sleep(time.Minute)
		b.cloud.setState("i-1", "shutting-down")
		begin := time.Now()
		b.until("the instance's part is over", func() bool { return b.view(id, "i-1").Status == statusFailed })
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %v to see that the instance is gone", took)
		}
		if got := b.view(id, "i-1").Events[0]; got.Diagnostics.Code != codeUnknown || !strings.Contains(got.Diagnostics.Message, "i-1 was stopped or terminated") {
			t.Errorf("%+v", got.Diagnostics)
		}
	})
}

// TestRestart ends the process in the middle of a script.
func TestRestart(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(nil)
		ran := b.stub(func(ctx context.Context, _ scriptRun) error { return sleep(ctx, time.Minute) })
		id := b.deploy(b.revision())
		time.Sleep(90 * time.Second)
		b.restart()
		d := b.ended(id)
		if d.Status != statusSucceeded {
			t.Fatalf("%s, %+v", d.Status, d.Error)
		}
		// The event that was under way is the only one that ran twice.
		want := []string{
			"i-1 BeforeInstall", "i-1 AfterInstall", "i-1 AfterInstall", "i-1 ApplicationStart", "i-1 ValidateService",
		}
		if diff := cmp.Diff(want, ran.all); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		// An instance that went while no process was there.
		id = b.deploy(b.revision())
		time.Sleep(90 * time.Second)
		b.Close()
		b.cloud.setState("i-1", "terminated")
		b.start()
		if d := b.ended(id); d.Status != statusFailed || b.view(id, "i-1").Status != statusFailed {
			t.Errorf("%s, %+v", d.Status, b.view(id, "i-1"))
		}
	})
}

func TestGroupIsDeletedMeanwhile(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(nil)
		b.stub(func(ctx context.Context, _ scriptRun) error { return sleep(ctx, time.Minute) })
		id := b.deploy(b.revision())
		time.Sleep(time.Second)
		if _, err := b.deleteApplication(t.Context(), &applicationName{"web"}); err != nil {
			t.Fatal(err)
		}
		if d := b.ended(id); d.Status != statusFailed || d.Error.Code != "DEPLOYMENT_GROUP_MISSING" {
			t.Errorf("%s, %+v", d.Status, d.Error)
		}
	})
}

// TestBootFailure deploys to a machine that does not answer.
func TestBootFailure(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(nil)
		b.memory.BootDelay = 2 * time.Hour
		begin := time.Now()
		d := b.run(b.revision())
		if d.Status != statusFailed || time.Since(begin) < bootLimit || time.Since(begin) > bootLimit+time.Minute {
			t.Errorf("%s after %v", d.Status, time.Since(begin))
		}
		if e := b.view(d.ID, "i-1").Events[0]; e.Status != statusFailed || !strings.Contains(e.Diagnostics.Message, "not able to receive the lifecycle event") {
			t.Errorf("%+v: %+v", e, e.Diagnostics)
		}
	})
}

func TestIgnoreApplicationStopFailures(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(nil)
		b.stub(func(_ context.Context, s scriptRun) error {
			if s.event == applicationStop {
				return &compute.ExitError{Code: 1}
			}
			return nil
		})
		b.run(b.revision())
		if d := b.run(b.revision()); d.Status != statusFailed {
			t.Errorf("with the failure: %s", d.Status)
		}
		out, err := b.createDeployment(t.Context(), &createDeploymentInput{Application: "web", Group: "web", Revision: b.revision(), IgnoreStop: true})
		if err != nil {
			t.Fatal(err)
		}
		if d := b.ended(out.ID); d.Status != statusSucceeded {
			t.Errorf("without it: %s, %v", d.Status, summary(b.view(out.ID, "i-1")))
		}
	})
}

// TestStoreFails has no room for the state.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, "i-1")
		defer b.Close()
		b.store = &full{Store: b.store}
		b.restart()
		b.group(nil)
		b.store.(*full).on = true
		_, err := b.createDeployment(t.Context(), &createDeploymentInput{Application: "web", Group: "web", Revision: b.revision()})
		if err == nil {
			t.Error("a deployment was begun that cannot be kept")
		}
		if len(b.state.Deployments) > 0 || len(b.running) > 0 {
			t.Errorf("what could not be kept is still there: %v", b.state.Deployments)
		}
	})
}

// full is a store that has no room once it is on.
type full struct {
	store.Store
	on bool
}

func (f *full) Save(name string, from any) error {
	if f.on {
		return errors.New("no space left on device")
	}
	return f.Store.Save(name, from)
}
