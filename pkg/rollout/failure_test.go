package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// newcomer is an instance of version 3.
func newcomer(id, lifecycle, health, target, reason string) Instance {
	return Instance{ID: id, TemplateVersion: 3, Lifecycle: lifecycle, Health: health, Target: target, Reason: reason}
}

// TestBadReleases: each ends with the old release everywhere, an error that names the cause, and in bounded time.
func TestBadReleases(t *testing.T) {
	failedLaunch := func(n int) asgtypes.Activity {
		return asgtypes.Activity{
			StatusCode: asgtypes.ScalingActivityStatusCodeFailed, Description: aws.String("Launching a new EC2 instance.  Status Reason: no quota."),
			StatusMessage: aws.String("You have requested more vCPU capacity than your current limit."), StartTime: aws.Time(time.Now().Add(time.Duration(n) * time.Second)),
		}
	}
	tests := map[string]struct {
		behave func(w *world, age time.Duration) // age of the refresh
		within time.Duration
		want   []string // texts of the error
		late   bool     // the warm-up was too short
	}{
		"crashes at start": {
			behave: func(w *world, age time.Duration) {
				n := int(age / (40 * time.Second)) // each is held by a hook, abandoned, and replaced
				lifecycle := "Pending:Wait"
				if age%(40*time.Second) > 20*time.Second {
					lifecycle = "Terminating:Wait"
				}
				w.running = append(serving(2, "i-1", "i-2"), newcomer(fmt.Sprintf("i-new%d", n), lifecycle, "Healthy", "", ""))
			},
			within: 2 * time.Minute,
			want:   []string{"release never served: 2 new instances failed: instance i-new0 never got into service", "CodeDeploy says no of i-new0"},
		},
		"never becomes healthy": {
			behave: func(w *world, age time.Duration) {
				lifecycle, health := "InService", "Healthy"
				if age > 25*time.Second { // the grace period
					lifecycle, health = "Terminating", "Unhealthy"
				}
				w.running = append(serving(2, "i-1", "i-2"), newcomer("i-3", lifecycle, health, "unhealthy", "Target.FailedHealthChecks"), newcomer("i-4", lifecycle, health, "unhealthy", "Target.Timeout"))
			},
			within: time.Minute,
			want:   []string{"2 new instances failed: instance i-3 never became healthy", "Target.FailedHealthChecks: said so", "Target.Timeout: said so", "the end of the console of i-3:\n    booting\n    panic: no port\n"},
		},
		"answers as another release": {
			behave: func(w *world, age time.Duration) {
				w.running = append(serving(2, "i-1", "i-2"), serving(3, "i-3", "i-4")...)
				n := 0
				w.answers = func() string { n++; return []string{"r1", "r0"}[n%2] }
			},
			within: 30 * time.Second,
			want:   []string{`a new instance answers at http://lb.example as release "r0" instead of "r2"`},
		},
		"healthy only after the warm-up": {
			behave: func(w *world, age time.Duration) {
				target := "initial"
				if age > time.Minute {
					target = "healthy"
				}
				w.running = append(serving(2, "i-1", "i-2"), newcomer("i-3", "InService", "Healthy", target, ""), newcomer("i-4", "InService", "Healthy", target, ""))
			},
			within: time.Minute,
			want:   []string{"was not healthy within its warm-up of 30s"},
			late:   true,
		},
		"dies after it was healthy": {
			behave: func(w *world, age time.Duration) {
				target := "healthy"
				if age > 10*time.Second {
					target = "unhealthy"
				}
				w.running = append(serving(2, "i-1", "i-2"), newcomer("i-3", "InService", "Healthy", target, ""), newcomer("i-4", "InService", "Healthy", target, ""))
			},
			within: 30 * time.Second,
			want:   []string{"instance i-3 became unhealthy after it had served"},
		},
		"dies again and again, unseen by health checks": {
			behave: func(w *world, age time.Duration) {
				w.running = append(serving(2, "i-1", "i-2"), serving(3, "i-3", "i-4")...)
				n := 0
				w.answers = func() string { n++; return []string{"r1", "r2", "r1", "r1", ""}[n%5] }
			},
			within: 30 * time.Second,
			want:   []string{`requests to http://lb.example fail since new instances serve, the last of 3 with HTTP 502`},
		},
		"cannot be launched": {
			behave: func(w *world, age time.Duration) {
				if age > time.Minute {
					w.activities = []asgtypes.Activity{failedLaunch(3), failedLaunch(2), failedLaunch(1)}
				}
			},
			within: 4 * time.Minute,
			want:   []string{"instances cannot be launched: You have requested more vCPU capacity", "scaling activity: Launching a new EC2 instance"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := old()
				w.consoles["i-3"] = "\x1b[0mbooting\r\n\n\x07panic: no port\n"
				w.step = func(w *world) {
					switch {
					case w.is(asgtypes.InstanceRefreshStatusInProgress):
						tc.behave(w, time.Since(*w.refresh().StartTime))
					case w.is(asgtypes.InstanceRefreshStatusRollbackInProgress):
						w.running = serving(2, "i-1", "i-2")
						w.refresh().Status = asgtypes.InstanceRefreshStatusRollbackSuccessful
					}
				}
				begin := time.Now()
				explain := func(_ context.Context, ids []string) string { return "CodeDeploy says no of " + ids[0] }
				_, err := w.roller(Options{Explain: explain}).Run(t.Context(), two)
				if !errors.Is(err, ErrReverted) || !errors.Is(err, ErrUnhealthy) {
					t.Fatalf("error = %v", err)
				}
				for _, text := range append(tc.want, "release was rolled back by instance refresh refresh-1\n", "the release before serves on every instance again") {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("no %q in error:\n%v", text, err)
					}
				}
				if e, ok := errors.AsType[*EvidenceError](err); !ok || e.Late != tc.late {
					t.Errorf("late: %t, error = %#v", !tc.late, err)
				}
				if took := time.Since(begin); took > tc.within {
					t.Errorf("took %s", took)
				}
				if diff := cmp.Diff([]string{"version 3 of ami-2 from 2: release r2", "refresh to 3", "rollback"}, w.did); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestFirstReleaseNeverHealthy(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld()
		w.step = func(w *world) {
			if w.desired == 0 {
				return
			}
			// Auto Scaling replaces what the load balancer finds unhealthy, without an end.
			id := fmt.Sprintf("i-%d", w.steps/4)
			w.running = []Instance{{ID: id, TemplateVersion: 2, Lifecycle: "InService", Target: "unhealthy", Reason: "Target.ResponseCodeMismatch"}}
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrUnhealthy) || errors.Is(err, ErrReverted) || !strings.Contains(err.Error(), "Target.ResponseCodeMismatch: said so") {
			t.Errorf("error = %v", err)
		}
		if last := w.did[len(w.did)-1]; last != "capacity 0 of version 1" || w.pointers() != 0 {
			t.Errorf("did %q", w.did)
		}
	})
}

func TestFirstReleaseTakesForEver(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld()
		begin := time.Now()
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrUnhealthy) || !strings.Contains(err.Error(), "within 15m0s: 0 new, 0 healthy") || time.Since(begin) > 15*time.Minute+lastGap {
			t.Errorf("after %s: error = %v", time.Since(begin), err)
		}
	})
}

func TestRolledBackByAWS(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.step = func(w *world) {
			if w.steps == 3 {
				w.refresh().Status, w.refresh().StatusReason = asgtypes.InstanceRefreshStatusRollbackSuccessful, aws.String("alarm errors went into ALARM")
			}
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		want := `roll out release "r2": release never served: alarm errors went into ALARM; release was rolled back by instance refresh refresh-1
  the release before serves on every instance again`
		if !errors.Is(err, ErrReverted) || err.Error() != want {
			t.Errorf("error = %v\nwant    %s", err, want)
		}
		if w.pointers() != 1 {
			t.Error("the pointer moved")
		}
	})
}

// TestNoise: requests that failed before any new instance served say nothing about the new release.
func TestNoise(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		n := 0
		w.answers = func() string { n++; return []string{"r1", ""}[n%2] }
		w.step = func(w *world) {
			switch {
			case w.steps == 4:
				w.running = append(serving(2, "i-1", "i-2"), serving(3, "i-3", "i-4")...)
			case w.steps == 12:
				w.served(3, "r2")
			}
		}
		if _, err := w.roller(Options{}).Run(t.Context(), two); err != nil {
			t.Error(err)
		}
	})
}

// TestCohort: what counts as failed, and what does not.
func TestCohort(t *testing.T) {
	look := func(i ...Instance) Fleet { return Fleet{Instances: i} }
	i := func(lifecycle, health, target string) Instance { return newcomer("i", lifecycle, health, target, "") }
	tests := map[string]struct {
		looks []Fleet // ten seconds apart
		want  string
	}{
		"still starts":          {looks: []Fleet{look(i("Pending", "Healthy", "")), look(i("InService", "Healthy", "initial"))}},
		"serves":                {looks: []Fleet{look(i("InService", "Healthy", "initial")), look(i("InService", "Healthy", "healthy"))}},
		"scaled in":             {looks: []Fleet{look(i("InService", "Healthy", "healthy")), look(i("Terminating", "Healthy", "draining")), look()}},
		"scaled in unseen":      {looks: []Fleet{look(i("InService", "Healthy", "healthy")), look()}},
		"killed while it boots": {looks: []Fleet{look(i("Pending", "Healthy", "")), look()}, want: "never got into service, and was taken out as Pending"},
		"given up by a hook":    {looks: []Fleet{look(i("Pending:Wait", "Healthy", "")), look(i("Terminating", "Healthy", ""))}, want: "never got into service, and was taken out as Terminating"},
		"never healthy":         {looks: []Fleet{look(i("InService", "Healthy", "initial")), look(i("Terminating", "Unhealthy", "draining"))}, want: "never became healthy, and was taken out"},
		"terminated by hand":    {looks: []Fleet{look(i("InService", "Healthy", "healthy")), look(i("Terminating", "Unhealthy", "unused"))}, want: "served, died and was taken out"},
		"sick":                  {looks: []Fleet{look(i("InService", "Healthy", "healthy")), look(i("InService", "Healthy", "unhealthy"))}, want: "became unhealthy after it had served"},
		"late":                  {looks: slices.Repeat([]Fleet{look(i("InService", "Healthy", "unhealthy"))}, 6), want: "was not healthy within its warm-up of 30s"},
		"another version":       {looks: []Fleet{look(Instance{ID: "i", TemplateVersion: 2}), look()}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, at := newCohort(3, 30*time.Second, 15*time.Second), time.Now()
			for _, f := range tc.looks {
				c.look(f, at)
				at = at.Add(10 * time.Second)
			}
			got := ""
			if m := c.members["i"]; m != nil {
				got = m.trouble
			}
			if got != tc.want {
				t.Errorf("trouble %q, want %q", got, tc.want)
			}
		})
	}
}

// TestHopeless: an accident or two among many do not end a good release.
func TestHopeless(t *testing.T) {
	for desired, want := range map[int]int{1: 1, 2: 2, 10: 2, 100: 2, 200: 4, 1000: 20} {
		c := newCohort(3, 0, 0)
		for n := range want {
			if c.hopeless(desired) {
				t.Errorf("%d of %d instances end it", n, desired)
			}
			c.members[fmt.Sprint(n)] = &member{trouble: "x"}
		}
		if !c.hopeless(desired) {
			t.Errorf("%d of %d instances do not end it", want, desired)
		}
	}
}

func TestConsoleEnd(t *testing.T) {
	long := strings.Repeat("line\n", 30)
	if got := consoleEnd(long); len(got) != consoleLines {
		t.Errorf("%d lines", len(got))
	}
	if diff := cmp.Diff([]string{"a\tb", "c"}, consoleEnd("\x1b[2Ja\tb  \r\n \r\n\nc")); diff != "" {
		t.Error(diff)
	}
	if got := consoleEnd(""); len(got) > 0 {
		t.Errorf("%q", got)
	}
}

// TestResumedLaunchFails: the run that began the launch was killed; the group becomes empty all the same, and launches
// what it would have before.
func TestResumedLaunchFails(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld()
		w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
		w.version, w.min, w.desired = "2", 2, 2
		w.running = []Instance{{ID: "i-1", TemplateVersion: 2, Lifecycle: "Pending"}, {ID: "i-2", TemplateVersion: 2, Lifecycle: "Pending"}}
		w.step = func(w *world) {
			if w.steps == 3 {
				w.running = nil
			}
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrUnhealthy) || !errors.Is(err, ErrEmptied) || !strings.HasSuffix(err.Error(), "hello is empty again, as nothing served before") {
			t.Errorf("error = %v", err)
		}
		if diff := cmp.Diff([]string{"capacity 0 of version 1"}, w.did); diff != "" {
			t.Error(diff)
		}
	})
}

// TestResumedReleaseDies: the refresh was over when the run that began it was killed; then the instances died.
func TestResumedReleaseDies(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
		w.served(3, "r2")
		w.step = func(w *world) {
			switch {
			case w.runs():
				w.served(2, "r1")
			case w.steps == 2:
				for i := range w.running {
					w.running[i].Target = "unhealthy"
				}
			}
		}
		w.running[0].Target = "initial"
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrReverted) || !slices.Contains(w.did, "refresh to 2") || w.pointers() != 1 {
			t.Errorf("did %q, error = %v", w.did, err)
		}
	})
}

// TestEndsBadly: a refresh that neither succeeds nor goes back says what is left.
func TestEndsBadly(t *testing.T) {
	for _, status := range []asgtypes.InstanceRefreshStatus{
		asgtypes.InstanceRefreshStatusFailed, asgtypes.InstanceRefreshStatusRollbackFailed, asgtypes.InstanceRefreshStatusCancelled,
	} {
		in(t, func(t *testing.T) {
			w := old()
			w.step = func(w *world) {
				if w.steps == 3 {
					w.refresh().Status, w.refresh().StatusReason = status, aws.String("so it is")
				}
			}
			_, err := w.roller(Options{}).Run(t.Context(), two)
			want := fmt.Sprintf(`roll out release "r2": release never served: so it is; instance refresh refresh-1 ended as %s, with both releases in the fleet`, status)
			if err == nil || err.Error() != want || errors.Is(err, ErrReverted) || !errors.Is(err, ErrMixed) {
				t.Errorf("error = %v\nwant    %s", err, want)
			}
		})
	}
}

// TestExpiredWhileVerifying: nothing is reverted for want of an answer.
func TestExpiredWhileVerifying(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.step = func(w *world) {
			if w.steps == 3 {
				w.served(3, "r2")
				w.fails = func(call string) error {
					if call == "groups" && w.steps > 4 {
						return apiError("ExpiredToken")
					}
					return nil
				}
			}
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrExpired) || !strings.Contains(err.Error(), "which is not verified") {
			t.Errorf("error = %v", err)
		}
		if diff := cmp.Diff([]string{"version 3 of ami-2 from 2: release r2", "refresh to 3"}, w.did); diff != "" {
			t.Error(diff)
		}
	})
}

// TestConsole: what is not there, or cannot be had, is no error.
func TestConsole(t *testing.T) {
	w := newWorld()
	w.consoles["i-1"] = "hello\n"
	tests := map[string]struct {
		fails func(call string) error
		id    string
		want  []string
	}{
		"there":    {id: "i-1", want: []string{"hello"}},
		"empty":    {id: "i-2"},
		"refused":  {id: "i-1", fails: func(string) error { return apiError("UnauthorizedOperation") }},
		"not live": {id: "i-1", want: []string{"hello"}},
	}
	for name, tc := range tests {
		w.fails = func(string) error { return nil }
		if tc.fails != nil {
			w.fails = tc.fails
		}
		if name == "not live" {
			once := false
			w.fails = func(string) error {
				if once {
					return nil
				}
				once = true
				return apiError("UnsupportedOperation")
			}
		}
		got := (&watch{Roller: w.roller(Options{})}).console(t.Context(), tc.id)
		if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
