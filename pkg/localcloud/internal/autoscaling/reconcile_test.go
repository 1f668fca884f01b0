package autoscaling

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

func TestCreateSpreadsOverSubnets(t *testing.T) {
	inBubble(t, 4, func(in *createInput) {
		in.Tags = []groupTag{{Key: "Name", Value: "web", PropagateAtLaunch: true}, {Key: "team", Value: "x"}}
	}, func(b *bench) {
		zones := map[string]int{}
		for _, i := range b.view().Instances.Members {
			zones[i.AvailabilityZone]++
		}
		if diff := cmp.Diff(map[string]int{"us-west-1a": 2, "us-west-1b": 2}, zones); diff != "" {
			t.Errorf("instances by zone:\n%s", diff)
		}
	})
}

func TestScaling(t *testing.T) {
	inBubble(t, 4, nil, func(b *bench) {
		id := b.view().Instances.Members[0].InstanceID
		_, err := b.setInstanceProtection(t.Context(), &protectionInput{Name: "web", InstanceIDs: []string{id}, Protected: new(true)})
		b.must(err)
		_, err = b.setDesiredCapacity(t.Context(), &setDesiredInput{Name: "web", DesiredCapacity: new(1)})
		b.must(err)
		b.until("one is left", time.Minute, func() bool { return len(b.view().Instances.Members) == 1 })
		if got := b.view().Instances.Members[0].InstanceID; got != id {
			t.Errorf("%s is left, want the protected %s", got, id)
		}
		if len(b.cloud.undrained) > 0 {
			t.Errorf("terminated before they had drained: %v", b.cloud.undrained)
		}
		_, err = b.updateAutoScalingGroup(t.Context(), &updateInput{Name: "web", MinSize: new(3)})
		b.must(err)
		b.until("three serve", time.Minute, func() bool { return b.serving() == 3 })
		_, err = b.setDesiredCapacity(t.Context(), &setDesiredInput{Name: "web", DesiredCapacity: new(4), HonorCooldown: true})
		if code(err) != "ScalingActivityInProgress" {
			t.Errorf("within the cooldown: %v", err)
		}
	})
}

func TestUnhealthyInstancesAreReplaced(t *testing.T) {
	tests := map[string]struct {
		breakIt func(b *bench, id string)
		cause   string
	}{
		"vanished": {func(b *bench, id string) {
			b.cloud.mu.Lock()
			delete(b.cloud.instances, id)
			b.cloud.mu.Unlock()
		}, "an EC2 health check indicating it has been terminated or stopped."},
		"stopped": {func(b *bench, id string) { b.cloud.set(id, "stopped") },
			"an EC2 health check indicating it has been terminated or stopped."},
		"unhealthy target": {func(b *bench, id string) {
			b.cloud.mu.Lock()
			b.cloud.targets[targetKey{targetGroup, id}] = "unhealthy"
			b.cloud.mu.Unlock()
		}, "an ELB system health check failure."},
		"set by a user": {func(b *bench, id string) {
			_, err := b.setInstanceHealth(b.t.Context(), &healthInput{InstanceID: id, HealthStatus: unhealthy})
			b.must(err)
		}, "a user health-check."},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 2, nil, func(b *bench) {
				id := b.view().Instances.Members[0].InstanceID
				test.breakIt(b, id)
				b.until("it is replaced", time.Minute, func() bool {
					return b.serving() == 2 && len(b.view().Instances.Members) == 2 && b.view().Instances.Members[0].InstanceID != id
				})
				if !slices.ContainsFunc(b.activities(), func(a activityView) bool {
					return a.Description == "Terminating EC2 instance: "+id && strings.HasSuffix(a.Cause, test.cause)
				}) {
					t.Errorf("no activity ends with %q", test.cause)
				}
				if !slices.ContainsFunc(b.activities(), func(a activityView) bool {
					return strings.HasSuffix(a.Cause, "in response to an unhealthy instance needing to be replaced.")
				}) {
					t.Error("no launch names the unhealthy instance")
				}
			})
		})
	}
}

func TestGracePeriod(t *testing.T) {
	inBubble(t, 1, func(in *createInput) { in.HealthCheckGracePeriod = new(300) }, func(b *bench) {
		id := b.view().Instances.Members[0].InstanceID
		b.cloud.mu.Lock()
		b.cloud.targets[targetKey{targetGroup, id}] = "unhealthy"
		b.cloud.mu.Unlock()
		took := b.until("it is replaced", time.Hour, func() bool { return len(b.cloud.ended()) > 0 })
		if took < 285*time.Second {
			t.Errorf("replaced after %v", took)
		}
	})
}

// TestGracePeriodAfterARestart: instances boot again with the cloud, long after they went into service.
func TestGracePeriodAfterARestart(t *testing.T) {
	inBubble(t, 1, func(in *createInput) { in.HealthCheckGracePeriod = new(300) }, func(b *bench) {
		id := b.view().Instances.Members[0].InstanceID
		time.Sleep(24 * time.Hour) // in the bubble
		b.cloud.mu.Lock()
		b.cloud.targets[targetKey{targetGroup, id}] = "unhealthy"
		b.cloud.mu.Unlock()
		b.restart()
		took := b.until("it is replaced", time.Hour, func() bool { return len(b.cloud.ended()) > 0 })
		if took < 285*time.Second {
			t.Errorf("replaced after %v", took)
		}
	})
}

// TestDeathWhilePending has an instance end before it serves: the activity says why, as on AWS.
func TestDeathWhilePending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newCloud(), store.Memory())
		defer b.Close()
		b.create(1, nil)
		b.until("it is pending", time.Minute, func() bool { _, ok := b.cloud.Instance("i-0001"); return ok })
		b.cloud.mu.Lock()
		b.cloud.instances["i-0001"].StateReason = "Server.InternalError: Internal error on launch"
		b.cloud.mu.Unlock()
		b.cloud.set("i-0001", "terminated")
		b.until("another one serves", time.Hour, func() bool { return b.serving() == 1 })
		first := b.activities()[len(b.activities())-1]
		const reason = "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: " +
			"Server.InternalError: Internal error on launch"
		if diff := cmp.Diff([]string{
			"Cancelled", "Launching a new EC2 instance: i-0001.  Status Reason: " + reason, reason,
		}, []string{first.StatusCode, first.Description, first.StatusMessage}); diff != "" {
			t.Errorf("activity:\n%s", diff)
		}
	})
}

func TestLaunchErrorsBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := newCloud()
		tries := 0
		cloud.launchErr = func(string) error {
			if tries++; tries > 6 {
				return nil
			}
			return wire.Errorf("InsufficientInstanceCapacity", "There is no Spot capacity available that matches your request.")
		}
		b := newBench(t, cloud, store.Memory())
		defer b.Close()
		b.create(2, nil)
		b.until("both serve", time.Hour, func() bool { return b.serving() == 2 })
		failed := b.activities()[len(b.activities())-1]
		if diff := cmp.Diff([]string{
			"Failed", "Launching a new EC2 instance.  Status Reason: There is no Spot capacity available that matches your request. Launching EC2 " +
				"instance failed.", "There is no Spot capacity available that matches your request. Launching EC2 instance failed.",
		}, []string{failed.StatusCode, failed.Description, failed.StatusMessage}); diff != "" {
			t.Errorf("activity:\n%s", diff)
		}
		if tries > 9 {
			t.Errorf("%d launches", tries)
		}
	})
}

func TestSuspendedProcesses(t *testing.T) {
	suspend := func(b *bench, process string) {
		_, err := b.suspendProcesses(b.t.Context(), &processesInput{Name: "web", ScalingProcesses: []string{process}})
		b.must(err)
	}
	desire := func(b *bench, n int) {
		_, err := b.setDesiredCapacity(b.t.Context(), &setDesiredInput{Name: "web", DesiredCapacity: &n})
		b.must(err)
	}
	tests := map[string]func(b *bench) (still bool){
		"Launch": func(b *bench) bool {
			desire(b, 4)
			time.Sleep(time.Minute)
			return len(b.view().Instances.Members) == 2
		},
		"Terminate": func(b *bench) bool { desire(b, 0); time.Sleep(time.Minute); return b.serving() == 2 },
		"HealthCheck": func(b *bench) bool {
			b.cloud.set("i-0001", "stopped")
			time.Sleep(time.Minute)
			return b.view().Instances.Members[0].HealthStatus == healthy
		},
		"ReplaceUnhealthy": func(b *bench) bool {
			b.cloud.set("i-0001", "stopped")
			time.Sleep(time.Minute)
			broken := b.members(func(i instanceView) bool { return i.HealthStatus == unhealthy && i.LifecycleState == inService })
			return len(broken) == 1 && len(b.view().Instances.Members) == 2
		},
		"AddToLoadBalancer": func(b *bench) bool {
			desire(b, 3)
			time.Sleep(time.Minute)
			return b.serving() == 2 && len(b.view().Instances.Members) == 3
		},
	}
	for process, test := range tests {
		t.Run(process, func(t *testing.T) {
			inBubble(t, 2, nil, func(b *bench) {
				suspend(b, process)
				if !test(b) {
					t.Error(b.dump())
				}
			})
		})
	}
}

func TestTerminateInstance(t *testing.T) {
	inBubble(t, 2, nil, func(b *bench) {
		out, err := b.terminateInstance(t.Context(), &terminateInput{InstanceID: "i-0001", Decrement: new(false)})
		b.must(err)
		if out.Activity.StatusCode != activityInProgress || !strings.HasSuffix(out.Activity.Cause, "in response to a user request.") {
			t.Errorf("activity %+v", out.Activity)
		}
		b.until("it is replaced", time.Minute, func() bool { return b.serving() == 2 && len(b.view().Instances.Members) == 2 })
		_, err = b.terminateInstance(t.Context(), &terminateInput{InstanceID: "i-0002", Decrement: new(true)})
		b.must(err)
		b.until("one is left", time.Minute, func() bool { return len(b.view().Instances.Members) == 1 })
		if got := b.view().DesiredCapacity; got != 1 {
			t.Errorf("desired capacity %d, want 1", got)
		}
	})
}

func TestStandby(t *testing.T) {
	inBubble(t, 2, nil, func(b *bench) {
		_, err := b.enterStandby(t.Context(), &enterStandbyInput{Name: "web", InstanceIDs: []string{"i-0001"}, Decrement: new(true)})
		b.must(err)
		b.until("it is in standby", time.Minute, func() bool {
			return len(b.members(func(i instanceView) bool { return i.LifecycleState == standby })) == 1
		})
		if state, _, _ := b.cloud.TargetHealth(targetGroup, "i-0001"); state != "" || b.view().DesiredCapacity != 1 {
			t.Errorf("target %q, desired %d", state, b.view().DesiredCapacity)
		}
		_, err = b.exitStandby(t.Context(), &exitStandbyInput{Name: "web", InstanceIDs: []string{"i-0001"}})
		b.must(err)
		b.until("both serve", time.Minute, func() bool { return b.serving() == 2 })
		if b.cloud.next != 2 {
			t.Errorf("%d launches, want 2", b.cloud.next)
		}
	})
}

func TestLifecycleHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newCloud(), store.Memory())
		defer func() { b.Close() }()
		var mu sync.Mutex
		announced := map[string]int{}
		listen := func() {
			b.OnLifecycleAction(func(a LifecycleAction) {
				mu.Lock()
				defer mu.Unlock()
				announced[a.Hook+" "+a.InstanceID]++
			})
		}
		listen()
		b.create(1, func(in *createInput) {
			in.Hooks = []hookInput{
				{Name: "up", Transition: launchingTransition, DefaultResult: resultContinue, Heartbeat: new(60)},
				{Name: "down", Transition: terminatingTransition, Heartbeat: new(60)},
			}
		})
		state := func(want lifecycle) func() bool {
			return func() bool { return len(b.members(func(i instanceView) bool { return i.LifecycleState == want })) == 1 }
		}
		b.until("it waits", time.Minute, state(pendingWait))
		if got, _, _ := b.cloud.TargetHealth(targetGroup, "i-0001"); got != "" {
			t.Errorf("registered while it waits: %q", got)
		}
		time.Sleep(50 * time.Second)
		err := b.Heartbeat("web", "up", "i-0001")
		b.must(err)
		b.restart()
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if !state(pendingWait)() {
			t.Error("the heartbeat did not help")
		}
		b.until("the timeout lets it go on", time.Minute, state(inService))
		listen()
		b.until("it serves", time.Minute, func() bool { return b.serving() == 1 })

		_, err = b.terminateInstance(t.Context(), &terminateInput{InstanceID: "i-0001", Decrement: new(true)})
		b.must(err)
		b.until("it drains, then waits", time.Minute, state(terminatingWait))
		if got, _, _ := b.cloud.TargetHealth(targetGroup, "i-0001"); got != "" {
			t.Errorf("target %q while the hook runs, want it drained", got)
		}
		b.must(b.CompleteLifecycleAction("web", "down", "i-0001", resultContinue))
		b.until("it is gone", time.Minute, func() bool { return len(b.view().Instances.Members) == 0 })

		_, err = b.setDesiredCapacity(t.Context(), &setDesiredInput{Name: "web", DesiredCapacity: new(1)})
		b.must(err)
		b.until("the next one waits", time.Minute, state(pendingWait))
		b.must(b.CompleteLifecycleAction("web", "up", "i-0002", resultAbandon))
		b.until("the launch is cancelled", time.Minute, func() bool {
			return slices.ContainsFunc(b.activities(), func(a activityView) bool {
				return a.StatusCode == activityCancelled && strings.Contains(a.Description, "i-0002.  Status Reason: Instance failed to complete user's Lifecycle Action") &&
					strings.HasSuffix(a.StatusMessage, "was abandoned: Lifecycle Action Completed with ABANDON Result")
			})
		})
		b.until("a third one waits", 5*time.Minute, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return announced["up i-0003"] == 1
		})
		if diff := cmp.Diff(map[string]int{"up i-0001": 1, "down i-0001": 1, "up i-0002": 1, "down i-0002": 1, "up i-0003": 1}, announced); diff != "" {
			t.Errorf("announcements:\n%s", diff)
		}
	})
}

func TestDelete(t *testing.T) {
	inBubble(t, 2, nil, func(b *bench) {
		if _, err := b.deleteAutoScalingGroup(t.Context(), &deleteInput{Name: "web"}); code(err) != "ResourceInUse" {
			t.Errorf("with instances: %v", err)
		}
		_, err := b.deleteAutoScalingGroup(t.Context(), &deleteInput{Name: "web", ForceDelete: true})
		b.must(err)
		if got := b.view().Status; got != "Delete in progress" {
			t.Errorf("status %q", got)
		}
		b.until("it is gone", time.Minute, func() bool { return b.view().AutoScalingGroupName == "" })
		if len(b.cloud.terminated) != 2 || len(b.cloud.undrained) != 0 {
			t.Errorf("terminated %v, not drained %v", b.cloud.terminated, b.cloud.undrained)
		}
		_, err = b.describeInstanceRefreshes(t.Context(), &describeRefreshesInput{Name: "web"})
		var e *wire.Error
		if !errors.As(err, &e) || e.Message != "AutoScalingGroup name not found - AutoScalingGroup web not found" {
			t.Errorf("error %v", err)
		}
	})
}

func TestRestartWhileLaunching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newCloud(), store.Memory())
		defer func() { b.Close() }()
		b.create(3, nil)
		for range 20 {
			time.Sleep(300 * time.Millisecond)
			b.restart()
		}
		b.until("all serve", time.Hour, func() bool { return b.serving() == 3 })
		if b.cloud.next != 3 {
			t.Errorf("%d launches, want 3", b.cloud.next)
		}
	})
}

func TestMaintenancePolicyLaunchesFirst(t *testing.T) {
	inBubble(t, 2, func(in *createInput) {
		in.InstanceMaintenancePolicy = &maintenancePolicy{MinHealthyPercentage: new(100), MaxHealthyPercentage: new(200)}
	}, func(b *bench) {
		_, err := b.setInstanceHealth(t.Context(), &healthInput{InstanceID: "i-0001", HealthStatus: unhealthy})
		b.must(err)
		b.cloud.watch()
		b.until("it is replaced", time.Minute, func() bool { return slices.Contains(b.cloud.ended(), "i-0001") && b.serving() == 2 })
		if b.cloud.floor < 2 {
			t.Errorf("only %d served", b.cloud.floor)
		}
	})
}

func TestValidation(t *testing.T) {
	tests := map[string]struct {
		change func(*createInput)
		code   string
	}{
		"twice":             {nil, "AlreadyExists"},
		"no template":       {func(in *createInput) { in.LaunchTemplate = nil }, "ValidationError"},
		"unknown template":  {func(in *createInput) { in.LaunchTemplate.LaunchTemplateID = "lt-9" }, "ValidationError"},
		"no subnet":         {func(in *createInput) { in.VPCZoneIdentifier = nil }, "ValidationError"},
		"unknown subnet":    {func(in *createInput) { in.VPCZoneIdentifier = new("subnet-9") }, "ValidationError"},
		"min above max":     {func(in *createInput) { in.MinSize = 9 }, "ValidationError"},
		"desired above max": {func(in *createInput) { in.DesiredCapacity = new(99) }, "ValidationError"},
		"health check type": {func(in *createInput) { in.HealthCheckType = "VPC_LATTICE" }, "ValidationError"},
		"reserved tag":      {func(in *createInput) { in.Tags = []groupTag{{Key: "aws:x"}} }, "ValidationError"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 0, nil, func(b *bench) {
				in := &createInput{Name: "web", MaxSize: 4, settings: settings{
					VPCZoneIdentifier: new("subnet-a"), LaunchTemplate: &templateSpec{LaunchTemplateID: "lt-1"},
				}}
				if test.change != nil {
					in.Name = "other"
					test.change(in)
				}
				if _, err := b.createAutoScalingGroup(t.Context(), in); code(err) != test.code {
					t.Errorf("error %v, want %s", err, test.code)
				}
			})
		})
	}
}
