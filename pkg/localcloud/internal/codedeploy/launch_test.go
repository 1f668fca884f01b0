package codedeploy

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/autoscaling"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
)

// launchInstance has an instance wait for the group's hook, as Auto Scaling does.
func (b *bench) launchInstance(id string) {
	b.t.Helper()
	b.boot(id)
	b.announce(id)
}

func (b *bench) announce(id string) {
	hook := ""
	_ = b.locked(func() error {
		hook = b.state.Applications["web"].Groups["web"].hookOf("web")
		return nil
	})
	b.cloud.listener(autoscaling.LifecycleAction{
		Group: "web", Hook: hook, InstanceID: id, Transition: "autoscaling:EC2_INSTANCE_LAUNCHING",
	})
}

func (b *bench) answers() []string {
	b.cloud.mu.Lock()
	defer b.cloud.mu.Unlock()
	return append([]string{}, b.cloud.completed...)
}

func TestLaunch(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(withLoadBalancer)
		healthy := true
		b.stub(func(ctx context.Context, s scriptRun) error {
			if s.event == validateService && !healthy {
				return &compute.ExitError{Code: 1}
			}
			return sleep(ctx, 4*time.Minute)
		})
		// Nothing was deployed yet: there is nothing that the instance could pass.
		b.launchInstance("i-2")
		b.until("the first instance is abandoned", func() bool { return len(b.answers()) == 1 })
		if diff := cmp.Diff([]string{"i-2 ABANDON"}, b.answers()); diff != "" {
			t.Fatal(diff)
		}
		good := b.run(b.revision())

		b.memory.BootDelay = time.Minute
		b.launchInstance("i-3")
		b.until("the instance passes", func() bool { return len(b.answers()) == 2 })
		id := b.newest()
		d := b.info(id)
		if b.answers()[1] != "i-3 CONTINUE" || d.Creator != byScaling || d.Status != statusSucceeded || !d.Revision.same(good.Revision) {
			t.Errorf("%v, %+v", b.answers(), d)
		}
		want := []string{
			applicationStop, downloadBundle, beforeInstall, install, afterInstall, applicationStart, validateService, beforeAllowTraffic,
			allowTraffic, afterAllowTraffic,
		}
		for i := range want {
			want[i] += " " + statusSucceeded
		}
		if diff := cmp.Diff(want, summary(b.view(id, "i-3"))); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		// Six scripts of 4 minutes each, and a beat every 5.
		if b.cloud.heartbeats != 5 {
			t.Errorf("%d heartbeats", b.cloud.heartbeats)
		}
		if state, _, _ := b.cloud.TargetHealth(targetARN, "i-3"); state != "healthy" {
			t.Errorf("the instance is %q at the load balancer", state)
		}

		healthy = false
		b.launchInstance("i-4")
		b.until("the instance is abandoned", func() bool { return len(b.answers()) == 3 })
		if b.answers()[2] != "i-4 ABANDON" || b.info(b.newest()).Status != statusFailed {
			t.Errorf("%v", b.answers())
		}
		info, err := b.getDeploymentGroup(t.Context(), &groupName{"web", "web"})
		if err != nil || info.Info.LastAttempted.ID != b.newest() || info.Info.LastSuccessful.ID != id || !info.Info.Target.same(good.Revision) {
			t.Errorf("%+v, %v", info.Info, err)
		}
	})
}

// TestLaunchFailsLate has an instance that fails once it is at the load balancer: it must leave that again.
func TestLaunchFailsLate(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(withLoadBalancer)
		b.stub(func(_ context.Context, s scriptRun) error {
			if s.event == afterAllowTraffic && s.instance != "i-1" {
				return &compute.ExitError{Code: 1}
			}
			return nil
		})
		b.run(b.revision())
		b.launchInstance("i-2")
		b.until("the instance is abandoned", func() bool { return len(b.answers()) == 1 })
		if state, _, _ := b.cloud.TargetHealth(targetARN, "i-2"); state != "draining" {
			t.Errorf("the instance is %q at the load balancer", state)
		}
	})
}

func TestLaunchOverRestart(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(nil)
		b.stub(func(ctx context.Context, _ scriptRun) error { return sleep(ctx, time.Minute) })
		b.run(b.revision())
		b.launchInstance("i-2")
		time.Sleep(90 * time.Second)
		b.restart()
		b.announce("i-2") // Auto Scaling tells again who waits.
		b.until("the instance passes", func() bool { return len(b.answers()) == 1 })
		time.Sleep(time.Hour)
		if diff := cmp.Diff([]string{"i-2 CONTINUE"}, b.answers()); diff != "" {
			t.Error(diff)
		}
		// The answer was lost with the process: the deployment is over, and the instance still waits.
		b.announce("i-2")
		b.until("the instance passes", func() bool { return len(b.answers()) == 2 })
		out, err := b.listDeployments(t.Context(), &listDeploymentsInput{Application: "web", Group: "web"})
		if err != nil || len(out.IDs) != 2 {
			t.Errorf("deployments: %v, %v", out, err)
		}
	})
}

func TestLaunchOfOthers(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.group(nil)
		b.cloud.listener(autoscaling.LifecycleAction{Group: "web", Hook: "mine", InstanceID: "i-1"})
		time.Sleep(time.Minute)
		if len(b.answers()) > 0 {
			t.Errorf("answered for a hook that is not CodeDeploy's: %v", b.answers())
		}
	})
}

// TestOutdatedInstances has an instance enter service with the old revision while the new one is deployed.
func TestOutdatedInstances(t *testing.T) {
	for strategy, want := range map[string]int{"UPDATE": 1, "IGNORE": 0} {
		inBubble(t, []string{"i-1"}, func(b *bench) {
			b.group(func(in *createGroupInput) { in.Outdated = strategy })
			b.stub(func(ctx context.Context, _ scriptRun) error { return sleep(ctx, time.Minute) })
			b.run(b.revision())
			id := b.deploy(b.revision())
			b.launchInstance("i-2")
			b.until("the instance passes", func() bool { return len(b.answers()) == 1 })
			b.cloud.mu.Lock()
			b.cloud.inService = append(b.cloud.inService, "i-2")
			b.cloud.mu.Unlock()
			root := b.ended(id)
			if root.Related == nil && want > 0 {
				t.Fatalf("%s: nothing follows", strategy)
			}
			if want == 0 {
				if root.Related != nil {
					t.Errorf("%s: %+v follows", strategy, root.Related)
				}
				return
			}
			d := b.ended(root.Related.Followers[0])
			if d.Creator != byAutoUpdate || d.Overview.Succeeded != 1 || b.view(d.ID, "i-2").Status != statusSucceeded || !d.Revision.same(root.Revision) {
				t.Errorf("%+v", d)
			}
		})
	}
}
