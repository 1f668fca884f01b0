package autoscaling

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBounds(t *testing.T) {
	tests := []struct {
		desired      int
		low          int
		high         *int
		lower, upper int
	}{
		{10, 90, nil, 9, 10},
		{10, 100, new(200), 10, 20},
		{10, 90, new(110), 9, 11},
		{10, 0, new(100), 0, 10},
		{10, 100, nil, 9, 10},       // no room, omitted: below
		{10, 100, new(100), 10, 11}, // no room, explicit: above
		{1, 90, nil, 0, 1},
		{1, 90, new(100), 1, 2},
		{2, 100, new(110), 2, 3}, // rounding leaves no room
		{3, 50, new(150), 2, 4},
		{0, 90, nil, 0, 0},
	}
	for _, test := range tests {
		prefs := preferences{MinHealthyPercentage: &test.low, MaxHealthyPercentage: test.high}
		lower, upper := bounds(test.desired, &prefs)
		if lower != test.lower || upper != test.upper {
			t.Errorf("%d instances, %d to %v percent: %d to %d, want %d to %d", test.desired, test.low, test.high, lower, upper,
				test.lower, test.upper)
		}
	}
}

func TestRefreshKeepsItsBounds(t *testing.T) {
	tests := []struct {
		name           string
		size           int
		prefs          preferences
		floor, ceiling int
	}{
		{"100 to 200", 4, preferences{MinHealthyPercentage: new(100), MaxHealthyPercentage: new(200)}, 4, 8},
		{"100 to 110", 10, preferences{MinHealthyPercentage: new(100), MaxHealthyPercentage: new(110)}, 10, 11},
		{"90 to 110", 10, preferences{MinHealthyPercentage: new(90), MaxHealthyPercentage: new(110)}, 9, 11},
		{"90 and omitted", 10, preferences{MinHealthyPercentage: new(90)}, 9, 10},
		{"defaults", 2, preferences{}, 1, 2},
		{"100 and an explicit 100", 2, preferences{MinHealthyPercentage: new(100), MaxHealthyPercentage: new(100)}, 2, 3},
		{"100 and omitted", 2, preferences{MinHealthyPercentage: new(100)}, 1, 2},
		{"0 to 100", 4, preferences{MinHealthyPercentage: new(0), MaxHealthyPercentage: new(100)}, 0, 4},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, test.size, nil, func(b *bench) {
				b.cloud.watch()
				b.must(b.roll("2", test.prefs))
				b.until("the refresh succeeded", time.Hour, b.hasStatus(statusSuccessful))
				if diff := cmp.Diff(map[string]int{"2": test.size}, b.cloud.running()); diff != "" {
					t.Errorf("running instances by version:\n%s", diff)
				}
				if b.cloud.floor < test.floor || b.cloud.ceiling > test.ceiling {
					t.Errorf("between %d healthy and %d instances, want %d and %d", b.cloud.floor, b.cloud.ceiling, test.floor, test.ceiling)
				}
				if len(b.cloud.undrained) > 0 {
					t.Errorf("terminated before they had drained: %v", b.cloud.undrained)
				}
				if got := b.view().LaunchTemplate.Version; got != "2" {
					t.Errorf("the group's version is %s, want 2", got)
				}
				r := b.refreshes()[0]
				if r.PercentageComplete != 100 || r.InstancesToUpdate != 0 || r.EndTime == nil || r.StatusReason != "" {
					t.Errorf("%d%%, %d to update, ended %v, reason %q", r.PercentageComplete, r.InstancesToUpdate, r.EndTime, r.StatusReason)
				}
			})
		})
	}
}

func TestRefreshTakesWarmupIntoAccount(t *testing.T) {
	for _, test := range []struct {
		name   string
		warmup *int
		want   time.Duration
	}{{"of the group", nil, 10 * time.Second}, {"of the request", new(120), 120 * time.Second}} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, 1, nil, func(b *bench) {
				b.must(b.roll("2", preferences{MinHealthyPercentage: new(100), MaxHealthyPercentage: new(200), InstanceWarmup: test.warmup}))
				b.until("an instance warms up", time.Minute, func() bool {
					return strings.HasPrefix(b.refreshes()[0].StatusReason, "Waiting for instances to warm up before continuing. For example: i-0002")
				})
				// It entered service when it was registered, and has been checked since.
				took := checkTime + b.until("the old instance leaves", time.Hour, func() bool {
					return len(b.members(func(i instanceView) bool { return i.LifecycleState == terminating })) > 0
				})
				if took < test.want-2*time.Second || took > test.want+3*time.Second {
					t.Errorf("replaced after %v, want %v", took, test.want)
				}
			})
		})
	}
}

func TestRefreshCheckpoints(t *testing.T) {
	inBubble(t, 10, nil, func(b *bench) {
		b.must(b.roll("2", preferences{
			MinHealthyPercentage: new(100), MaxHealthyPercentage: new(200), CheckpointPercentages: []int{20, 50, 100}, CheckpointDelay: new(7200),
		}))
		for _, want := range []int{2, 5} {
			b.until("the refresh waits", time.Hour, func() bool {
				return strings.Contains(b.refreshes()[0].StatusReason, fmt.Sprintf("checkpoint delay of 7200 seconds at %d percent", want*10))
			})
			time.Sleep(90 * time.Minute) // longer than a refresh may go without progress
			if diff := cmp.Diff(map[string]int{"1": 10 - want, "2": want}, b.cloud.running()); diff != "" {
				t.Errorf("running instances by version:\n%s", diff)
			}
			if got := b.refreshes()[0]; got.PercentageComplete != want*10 || got.InstancesToUpdate != 10-want {
				t.Errorf("%d%%, %d to update", got.PercentageComplete, got.InstancesToUpdate)
			}
		}
		b.until("the refresh succeeded", 3*time.Hour, b.hasStatus(statusSuccessful))
	})
}

// TestRefreshSkipsCheckpoints passes two checkpoints with one instance, and waits once.
func TestRefreshSkipsCheckpoints(t *testing.T) {
	inBubble(t, 2, nil, func(b *bench) {
		b.must(b.roll("2", preferences{
			MinHealthyPercentage: new(100), MaxHealthyPercentage: new(200), CheckpointPercentages: []int{10, 40, 100}, CheckpointDelay: new(3600),
		}))
		b.until("the refresh waits", time.Hour, func() bool {
			return strings.Contains(b.refreshes()[0].StatusReason, "checkpoint delay of 3600 seconds at ")
		})
		if reason := b.refreshes()[0].StatusReason; !strings.Contains(reason, "at 40 percent") {
			t.Error(reason)
		}
		if took := b.until("the refresh succeeded", 3*time.Hour, b.hasStatus(statusSuccessful)); took < time.Hour || took > 90*time.Minute {
			t.Errorf("the rest took %v, want one wait of an hour", took)
		}
	})
}

// TestRefreshScalesIn makes a group smaller while it is refreshed, at a checkpoint and on the way.
func TestRefreshScalesIn(t *testing.T) {
	for _, test := range []struct {
		name        string
		checkpoints []int
		to          int
	}{
		{"to nothing at a checkpoint", []int{50, 100}, 0},
		{"to less at a checkpoint", []int{50, 100}, 2},
		{"to nothing on the way", nil, 0},
		{"to less on the way", nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, 4, nil, func(b *bench) {
				prefs := preferences{MinHealthyPercentage: new(100), MaxHealthyPercentage: new(200), CheckpointPercentages: test.checkpoints}
				b.must(b.roll("2", prefs))
				b.until("half is new", time.Hour, func() bool { return b.cloud.running()["2"] >= 2 })
				if test.checkpoints != nil {
					b.until("the refresh waits", time.Hour, func() bool {
						return strings.Contains(b.refreshes()[0].StatusReason, "checkpoint") && b.cloud.running()["1"] == 2
					})
				}
				_, err := b.updateAutoScalingGroup(t.Context(), &updateInput{
					Name: "web", MinSize: new(test.to), MaxSize: new(test.to), settings: settings{DesiredCapacity: new(test.to)},
				})
				b.must(err)
				b.until("the group is smaller", 10*time.Minute, func() bool {
					total := 0
					for _, n := range b.cloud.running() {
						total += n
					}
					return total == test.to
				})
				if test.checkpoints == nil {
					b.until("the refresh succeeded", time.Hour, b.hasStatus(statusSuccessful))
				} else if !b.hasStatus(statusInProgress)() {
					t.Errorf("the refresh is %s", b.refreshes()[0].Status)
				}
			})
		})
	}
}

func TestRefreshBakes(t *testing.T) {
	inBubble(t, 2, nil, func(b *bench) {
		b.must(b.roll("2", preferences{MinHealthyPercentage: new(100), MaxHealthyPercentage: new(200), BakeTime: new(600)}))
		b.until("the refresh bakes", time.Hour, b.hasStatus(statusBaking))
		if got := b.view().LaunchTemplate.Version; got != "1" {
			t.Errorf("the group's version is %s while baking, want 1", got)
		}
		if took := b.until("the refresh succeeded", time.Hour, b.hasStatus(statusSuccessful)); took < 10*time.Minute {
			t.Errorf("baked for %v", took)
		}
	})
}

func TestRefreshFailsWithoutProgress(t *testing.T) {
	for _, automatic := range []bool{false, true} {
		t.Run(fmt.Sprint("automatic rollback ", automatic), func(t *testing.T) {
			inBubble(t, 4, func(in *createInput) { in.HealthCheckGracePeriod = new(120) }, func(b *bench) {
				b.cloud.broken = func(version string) bool { return version == "2" }
				b.cloud.watch()
				b.must(b.roll("2", preferences{MinHealthyPercentage: new(100), MaxHealthyPercentage: new(200), AutoRollback: new(automatic)}))
				want := statusFailed
				if automatic {
					want = statusRollbackSuccessful
				}
				took := b.until("the refresh is over", 3*time.Hour, b.hasStatus(want))
				if took < refreshPatience {
					t.Errorf("over after %v", took)
				}
				if b.cloud.floor < 4 {
					t.Errorf("only %d instances served", b.cloud.floor)
				}
				if got := b.view().LaunchTemplate.Version; got != "1" {
					t.Errorf("the group's version is %s, want 1", got)
				}
				if automatic {
					if diff := cmp.Diff(map[string]int{"1": 4}, b.cloud.running()); diff != "" {
						t.Errorf("running instances by version:\n%s", diff)
					}
					if r := b.refreshes()[0]; r.RollbackDetails == nil || !strings.Contains(r.RollbackDetails.RollbackReason, "no progress") {
						t.Errorf("rollback details %+v", r.RollbackDetails)
					}
				}
			})
		})
	}
}

func TestRollback(t *testing.T) {
	inBubble(t, 4, nil, func(b *bench) {
		b.must(b.roll("2", preferences{MinHealthyPercentage: new(75), MaxHealthyPercentage: new(125)}))
		b.until("half is replaced", time.Hour, func() bool { return b.refreshes()[0].PercentageComplete >= 50 })
		b.cloud.watch()
		if _, err := b.rollbackInstanceRefresh(t.Context(), &rollbackRefreshInput{Name: "web"}); err != nil {
			t.Fatal(err)
		}
		percent := 100
		b.until("the rollback succeeded", time.Hour, func() bool {
			r := b.refreshes()[0]
			if r.PercentageComplete > percent {
				t.Errorf("the percentage went up from %d to %d", percent, r.PercentageComplete)
			}
			percent = r.PercentageComplete
			return r.Status == statusRollbackSuccessful
		})
		if diff := cmp.Diff(map[string]int{"1": 4}, b.cloud.running()); diff != "" {
			t.Errorf("running instances by version:\n%s", diff)
		}
		r := b.refreshes()[0]
		if percent != 0 || r.RollbackDetails.PercentageCompleteOnRollback < 50 || r.RollbackDetails.RollbackReason == "" {
			t.Errorf("at the end %d%%, details %+v", percent, r.RollbackDetails)
		}
		if b.cloud.floor < 3 {
			t.Errorf("only %d instances served", b.cloud.floor)
		}
	})
}

func TestCancel(t *testing.T) {
	inBubble(t, 4, nil, func(b *bench) {
		b.must(b.roll("2", preferences{MinHealthyPercentage: new(75)}))
		b.until("one is replaced", time.Hour, func() bool { return b.refreshes()[0].PercentageComplete >= 25 })
		if _, err := b.cancelInstanceRefresh(t.Context(), &cancelRefreshInput{Name: "web"}); err != nil {
			t.Fatal(err)
		}
		b.until("the refresh is cancelled", time.Hour, b.hasStatus(statusCancelled))
		before := b.cloud.running()
		time.Sleep(time.Hour)
		if diff := cmp.Diff(before, b.cloud.running()); diff != "" || before["2"] == 0 || before["1"] == 0 {
			t.Errorf("running %v; an hour later:\n%s", before, diff)
		}
		if r := b.refreshes()[0]; r.StatusReason != "Cancelled due to user request." || b.view().LaunchTemplate.Version != "1" {
			t.Errorf("reason %q, version %s", r.StatusReason, b.view().LaunchTemplate.Version)
		}
	})
}

func TestSkipMatching(t *testing.T) {
	inBubble(t, 3, nil, func(b *bench) {
		b.must(b.roll("1", preferences{SkipMatching: new(true)}))
		b.until("the refresh succeeded", time.Minute, b.hasStatus(statusSuccessful))
		if len(b.cloud.terminated) > 0 {
			t.Errorf("terminated %v", b.cloud.terminated)
		}
		b.must(b.roll("", preferences{MinHealthyPercentage: new(0)}))
		b.until("the refresh without a desired configuration succeeded", time.Hour, b.hasStatus(statusSuccessful))
		if len(b.cloud.terminated) != 3 {
			t.Errorf("terminated %v, want all three", b.cloud.terminated)
		}
	})
}

func TestProtectedInstances(t *testing.T) {
	for _, test := range []struct {
		choice, status string
		old            int
	}{{"Refresh", statusSuccessful, 0}, {"Ignore", statusSuccessful, 1}, {"Wait", statusFailed, 1}, {"", statusFailed, 1}} {
		t.Run(test.choice, func(t *testing.T) {
			inBubble(t, 3, nil, func(b *bench) {
				id := b.view().Instances.Members[0].InstanceID
				_, err := b.setInstanceProtection(t.Context(), &protectionInput{Name: "web", InstanceIDs: []string{id}, Protected: new(true)})
				b.must(err)
				b.must(b.roll("2", preferences{MinHealthyPercentage: new(50), ScaleInProtectedInstances: test.choice}))
				b.until("the refresh is over", 2*time.Hour, b.hasStatus(test.status))
				if got := b.cloud.running()["1"]; got != test.old {
					t.Errorf("%d old instances, want %d", got, test.old)
				}
			})
		})
	}
}

func TestStandbyInstances(t *testing.T) {
	for _, test := range []struct {
		choice, status string
		old            int
	}{{"Terminate", statusSuccessful, 0}, {"Ignore", statusSuccessful, 1}, {"Wait", statusFailed, 1}} {
		t.Run(test.choice, func(t *testing.T) {
			inBubble(t, 3, nil, func(b *bench) {
				id := b.view().Instances.Members[0].InstanceID
				_, err := b.enterStandby(t.Context(), &enterStandbyInput{Name: "web", InstanceIDs: []string{id}, Decrement: new(true)})
				b.must(err)
				b.until("it is in standby", time.Minute, func() bool {
					return len(b.members(func(i instanceView) bool { return i.LifecycleState == standby })) == 1
				})
				b.must(b.roll("2", preferences{MinHealthyPercentage: new(50), StandbyInstances: test.choice}))
				b.until("the refresh is over", 2*time.Hour, b.hasStatus(test.status))
				if got := b.cloud.running()["1"]; got != test.old {
					t.Errorf("%d old instances, want %d", got, test.old)
				}
			})
		})
	}
}

func TestRefreshAlarm(t *testing.T) {
	inBubble(t, 2, nil, func(b *bench) {
		watched := &alarmSpecification{Alarms: []string{"errors"}}
		if err := b.roll("2", preferences{AlarmSpecification: watched}); code(err) != "ValidationError" {
			t.Errorf("unknown alarm: %v", err)
		}
		b.cloud.alarms["errors"] = "OK"
		b.must(b.roll("2", preferences{AlarmSpecification: watched, BakeTime: new(600), AutoRollback: new(true)}))
		b.until("the refresh bakes", time.Hour, b.hasStatus(statusBaking))
		b.cloud.mu.Lock()
		b.cloud.alarms["errors"] = "ALARM"
		b.cloud.mu.Unlock()
		b.until("the refresh is rolled back", time.Hour, b.hasStatus(statusRollbackSuccessful))
		if diff := cmp.Diff(map[string]int{"1": 2}, b.cloud.running()); diff != "" {
			t.Errorf("running instances by version:\n%s", diff)
		}
	})
}

func TestRefreshRules(t *testing.T) {
	inBubble(t, 2, nil, func(b *bench) {
		rollback := func() string {
			_, err := b.rollbackInstanceRefresh(t.Context(), &rollbackRefreshInput{Name: "web"})
			return code(err)
		}
		cancel := func() string {
			_, err := b.cancelInstanceRefresh(t.Context(), &cancelRefreshInput{Name: "web"})
			return code(err)
		}
		want := func(what, got, code string) {
			t.Helper()
			if got != code {
				t.Errorf("%s: %s, want %s", what, got, code)
			}
		}
		want("rollback without a refresh", rollback(), "ActiveInstanceRefreshNotFound")
		want("cancel without a refresh", cancel(), "ActiveInstanceRefreshNotFound")
		for name, prefs := range map[string]preferences{
			"percentage":             {MinHealthyPercentage: new(101)},
			"maximum alone":          {MaxHealthyPercentage: new(150)},
			"too far apart":          {MinHealthyPercentage: new(0), MaxHealthyPercentage: new(150)},
			"descending checkpoints": {CheckpointPercentages: []int{50, 20, 100}},
			"checkpoints below 100":  {CheckpointPercentages: []int{50}},
			"delay alone":            {CheckpointDelay: new(60)},
			"too many alarms":        {AlarmSpecification: &alarmSpecification{make([]string, 11)}},
		} {
			want(name, code(b.roll("2", prefs)), "ValidationError")
		}
		want("automatic rollback without a desired configuration", code(b.roll("", preferences{AutoRollback: new(true)})), "ValidationError")
		want("unknown version", code(b.roll("99", preferences{})), "ValidationError")

		b.must(b.roll("", preferences{}))
		want("a second refresh", code(b.roll("2", preferences{})), "InstanceRefreshInProgress")
		want("rollback without a desired configuration", rollback(), "IrreversibleInstanceRefresh")
		want("cancel", cancel(), "<nil>")
		want("cancel twice", cancel(), "ActiveInstanceRefreshNotFound")
		b.until("the refresh is cancelled", time.Hour, b.hasStatus(statusCancelled))

		b.cloud.image = "resolve:ssm:/ami"
		b.must(b.roll("2", preferences{}))
		want("rollback with an SSM image", rollback(), "IrreversibleInstanceRefresh")
		b.until("the refresh succeeded", time.Hour, b.hasStatus(statusSuccessful))
		want("rollback after success", rollback(), "ActiveInstanceRefreshNotFound")

		b.cloud.image = "ami-1"
		_, err := b.updateAutoScalingGroup(t.Context(), &updateInput{Name: "web", settings: settings{
			LaunchTemplate: &templateSpec{LaunchTemplateName: "web", Version: "$Latest"},
		}})
		b.must(err)
		want("automatic rollback with $Latest", code(b.roll("3", preferences{AutoRollback: new(true)})), "ValidationError")
		b.must(b.roll("2", preferences{}))
		want("rollback with $Latest", rollback(), "IrreversibleInstanceRefresh")
	})
}

func TestRefreshSurvivesRestarts(t *testing.T) {
	for _, every := range []time.Duration{700 * time.Millisecond, 3 * time.Second, 11 * time.Second} {
		t.Run(every.String(), func(t *testing.T) {
			inBubble(t, 4, nil, func(b *bench) {
				b.cloud.watch()
				b.must(b.roll("2", preferences{MinHealthyPercentage: new(100), MaxHealthyPercentage: new(150), CheckpointPercentages: []int{50, 100},
					CheckpointDelay: new(60), BakeTime: new(30)}))
				for n := 0; b.status() != statusSuccessful; n++ {
					if n > 1000 {
						t.Fatal(b.dump())
					}
					b.restart()
					time.Sleep(every)
					synctest.Wait()
				}
				if diff := cmp.Diff(map[string]int{"2": 4}, b.cloud.running()); diff != "" {
					t.Errorf("running instances by version:\n%s", diff)
				}
				if b.cloud.floor < 4 || b.cloud.next != 8 || len(b.cloud.undrained) > 0 {
					t.Errorf("%d served at least, %d were launched, %v were not drained", b.cloud.floor, b.cloud.next, b.cloud.undrained)
				}
			})
		})
	}
}

func TestRefreshOfAThousand(t *testing.T) {
	inBubble(t, 1000, nil, func(b *bench) {
		b.cloud.watch()
		b.must(b.roll("2", preferences{MinHealthyPercentage: new(90), MaxHealthyPercentage: new(110)}))
		took := b.until("the refresh succeeded", 5*time.Hour, b.hasStatus(statusSuccessful))
		if b.cloud.floor < 900 || len(b.cloud.undrained) > 0 {
			t.Errorf("%d served at least, %d were not drained", b.cloud.floor, len(b.cloud.undrained))
		}
		if diff := cmp.Diff(map[string]int{"2": 1000}, b.cloud.running()); diff != "" {
			t.Errorf("running instances by version:\n%s", diff)
		}
		t.Logf("took %v", took)
	})
}

func TestRefreshSuspended(t *testing.T) {
	inBubble(t, 2, nil, func(b *bench) {
		in := &processesInput{Name: "web", ScalingProcesses: []string{"InstanceRefresh"}}
		_, err := b.suspendProcesses(t.Context(), in)
		b.must(err)
		b.must(b.roll("2", preferences{}))
		time.Sleep(10 * time.Minute)
		if b.status() != statusPending || b.cloud.running()["1"] != 2 {
			t.Errorf("status %s, running %v", b.status(), b.cloud.running())
		}
		_, err = b.resumeProcesses(t.Context(), in)
		b.must(err)
		b.until("the refresh succeeded", time.Hour, b.hasStatus(statusSuccessful))
	})
}

func TestRefreshOfAnEmptyGroup(t *testing.T) {
	inBubble(t, 0, nil, func(b *bench) {
		b.must(b.roll("2", preferences{}))
		b.until("the refresh succeeded", time.Minute, b.hasStatus(statusSuccessful))
		if got := b.view().LaunchTemplate.Version; got != "2" {
			t.Errorf("the group's version is %s, want 2", got)
		}
	})
}

// TestRefreshWithScaling changes the desired capacity in the middle.
func TestRefreshWithScaling(t *testing.T) {
	for _, to := range []int{2, 6} {
		t.Run(fmt.Sprint("to ", to), func(t *testing.T) {
			inBubble(t, 4, nil, func(b *bench) {
				b.must(b.roll("2", preferences{MinHealthyPercentage: new(75)}))
				b.until("one is replaced", time.Hour, func() bool { return b.refreshes()[0].PercentageComplete >= 25 })
				_, err := b.setDesiredCapacity(t.Context(), &setDesiredInput{Name: "web", DesiredCapacity: new(to)})
				b.must(err)
				b.until("the refresh succeeded", time.Hour, b.hasStatus(statusSuccessful))
				if diff := cmp.Diff(map[string]int{"2": to}, b.cloud.running()); diff != "" {
					t.Errorf("running instances by version:\n%s", diff)
				}
			})
		})
	}
}

func TestRefreshActivities(t *testing.T) {
	inBubble(t, 1, nil, func(b *bench) {
		b.must(b.roll("2", preferences{MinHealthyPercentage: new(100), MaxHealthyPercentage: new(200)}))
		b.until("the refresh succeeded", time.Hour, b.hasStatus(statusSuccessful))
		var got []string
		for _, a := range slices.Backward(b.activities()) {
			cause := a.Cause
			for _, t := range []time.Time{*a.StartTime} {
				cause = strings.ReplaceAll(cause, t.UTC().Format(time.RFC3339), "T")
			}
			got = append(got, a.StatusCode+" | "+a.Description+" | "+cause)
		}
		want := []string{
			"Successful | Launching a new EC2 instance: i-0001 | At T a user request created an AutoScalingGroup changing the desired " +
				"capacity from 0 to 1.  At T an instance was started in response to a difference between desired and actual capacity, increasing the " +
				"capacity from 0 to 1.",
			"Successful | Launching a new EC2 instance: i-0002 | At T an instance was launched in response to an instance refresh.",
			"Successful | Terminating EC2 instance: i-0001 | At T an instance was taken out of service in response to an instance refresh.  At T " +
				"instance i-0001 was selected for termination.",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("activities:\n%s", diff)
		}
	})
}
