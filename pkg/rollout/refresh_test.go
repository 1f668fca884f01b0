package rollout

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/progress"
)

// TestBusy: another refresh is refused with who and since when, and before anything is made.
func TestBusy(t *testing.T) {
	in(t, func(t *testing.T) {
		tests := map[string]struct {
			note   string
			status asgtypes.InstanceRefreshStatus
			by     string
			want   string
		}{
			"unknown": {
				status: asgtypes.InstanceRefreshStatusInProgress,
				want:   `another release rolls: instance refresh refresh-1 to launch template version 7 of "hello" is InProgress at 50 % since 2000-01-01T00:00:00Z`,
			},
			"signed": {
				note:   `{"refresh":"refresh-1","release":"r7","by":"alice@host"}`,
				status: asgtypes.InstanceRefreshStatusRollbackInProgress,
				by:     "alice@host",
				want:   `another release rolls: instance refresh refresh-1 to release r7 by alice@host of "hello" is RollbackInProgress at 50 % since 2000-01-01T00:00:00Z`,
			},
			"signed by an earlier one": {
				note:   `{"refresh":"refresh-0","release":"r6","by":"bob@host"}`,
				status: asgtypes.InstanceRefreshStatusCancelling,
				want:   `another release rolls: instance refresh refresh-1 to launch template version 7 of "hello" is Cancelling at 50 % since 2000-01-01T00:00:00Z`,
			},
		}
		for name, tc := range tests {
			w := old()
			r := w.begin("7")
			r.Status, r.PercentageComplete = tc.status, aws.Int32(50)
			if tc.note != "" {
				w.parameters["/ingot/hello/rollout"] = []string{tc.note}
			}
			_, err := w.roller(Options{}).Run(t.Context(), two)
			if !errors.Is(err, ErrBusy) || err.Error() != tc.want || len(w.did) > 0 {
				t.Errorf("%s: did %q, error = %v\nwant %s", name, w.did, err, tc.want)
			}
			if e, ok := errors.AsType[*BusyError](err); !ok || e.Group != "hello" || e.Refresh.ID != "refresh-1" || e.Refresh.By != tc.by || e.Refresh.TemplateVersion != 7 {
				t.Errorf("%s: error %#v", name, err)
			}
		}
	})
}

// TestOwnReleaseRollsBack: the refresh to the same version is not adopted once it goes back.
func TestOwnReleaseRollsBack(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
		w.begin("3").Status = asgtypes.InstanceRefreshStatusRollbackInProgress
		if _, err := w.roller(Options{}).Run(t.Context(), two); !errors.Is(err, ErrBusy) {
			t.Errorf("error = %v", err)
		}
	})
}

// TestForeignRefresh: a refresh that somebody else started without naming a version is nobody's release, also not one's
// that has no version yet.
func TestForeignRefresh(t *testing.T) {
	in(t, func(t *testing.T) {
		for text, desired := range map[string]*asgtypes.DesiredConfiguration{
			"":                                     nil,
			" to launch template version $Default": {LaunchTemplate: &asgtypes.LaunchTemplateSpecification{}},
			" to launch template version $Latest":  {LaunchTemplate: &asgtypes.LaunchTemplateSpecification{Version: aws.String("$Latest")}},
		} {
			w := old()
			w.begin("").DesiredConfiguration = desired
			_, err := w.roller(Options{}).Run(t.Context(), two)
			if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "instance refresh refresh-1"+text+" of") || len(w.did) > 0 {
				t.Errorf("%q: did %q, error = %v", text, w.did, err)
			}
		}
	})
}

// TestBusyAfterAll: somebody starts a refresh between our look and our start.
func TestBusyAfterAll(t *testing.T) {
	for version, adopted := range map[string]bool{"3": true, "7": false} {
		in(t, func(t *testing.T) {
			w := old()
			w.fails = func(call string) error {
				if call == "start" && !w.runs() && len(w.refreshes) == 0 {
					w.begin(version)
				}
				return nil
			}
			w.step = func(w *world) {
				if w.runs() && w.steps > 4 {
					w.served(3, "r2")
				}
			}
			_, err := w.roller(Options{}).Run(t.Context(), two)
			if adopted && err != nil || !adopted && !errors.Is(err, ErrBusy) || w.didStart("refresh") {
				t.Errorf("version %s: did %q, error = %v", version, w.did, err)
			}
		})
	}
}

// TestQueue: with Options.Wait, a rollout begins once the other one is over, whatever it ends as, and has had the time to
// move the pointer.
func TestQueue(t *testing.T) {
	for _, status := range []asgtypes.InstanceRefreshStatus{
		asgtypes.InstanceRefreshStatusInProgress, asgtypes.InstanceRefreshStatusCancelling, asgtypes.InstanceRefreshStatusRollbackInProgress,
	} {
		t.Run(string(status), func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := old()
				w.begin("2").Status = status
				over := time.Now().Add(3 * time.Minute)
				w.fails = func(call string) error {
					switch {
					case call == "refreshes" && time.Now().Before(over) && w.asked["refreshes"]%7 == 0:
						return apiError("Throttling")
					case len(w.refreshes) == 1 && !time.Now().Before(over):
						w.refreshes[0].Status = asgtypes.InstanceRefreshStatusCancelled
					}
					return nil
				}
				w.step = func(w *world) {
					if len(w.refreshes) == 2 {
						w.served(3, "r2")
					}
				}
				if _, err := w.roller(Options{Wait: true}).Run(t.Context(), two); err != nil {
					t.Fatal(err)
				}
				if w.refreshes[1].StartTime.Sub(over) < pointerGrace {
					t.Errorf("began %s after the other's end", w.refreshes[1].StartTime.Sub(over))
				}
				if diff := cmp.Diff([]string{"version 3 of ami-2 from 2: release r2", "refresh to 3", "default version 3", "put " + pointerName}, w.did); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestLine(t *testing.T) {
	p := asgtypes.RefreshPreferences{CheckpointPercentages: []int32{20, 50, 100}, CheckpointDelay: aws.Int32(600), BakeTime: aws.Int32(3600)}
	tests := map[string]Refresh{
		"InProgress 30 %": {Status: "InProgress", Percentage: 30, preferences: p},
		"InProgress 25 %, waits 10m0s at the checkpoint of 20 %: so": {Status: "InProgress", Percentage: 25, Reason: "so", preferences: p, waits: 20},
		"Baking 100 %, watched for 1h0m0s before it is over":         {Status: "Baking", Percentage: 100, preferences: p},
		"RollbackInProgress 30 %: alarm":                             {Status: "RollbackInProgress", Percentage: 30, Reason: "alarm", preferences: p},
	}
	for want, x := range tests {
		if got := x.Progress(); got != want {
			t.Errorf("line = %q, want %q", got, want)
		}
	}
}

// TestCheckpoint: a wait is said while it lasts, and is no stall.
func TestCheckpoint(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		var began time.Time
		w.step = func(w *world) {
			if !w.runs() {
				return
			}
			switch since := time.Since(*w.refresh().StartTime); {
			case since > 8*time.Minute:
				w.served(3, "r2")
			case since > time.Minute:
				w.refresh().PercentageComplete = aws.Int32(50)
				if began.IsZero() {
					began = time.Now()
				}
			}
		}
		var said []bool
		observe := func(o Observation) {
			if o.Refresh.Percentage == 50 && o.Refresh.Status == "InProgress" {
				said = append(said, strings.Contains(o.Refresh.Progress(), "waits 5m0s at the checkpoint of 50 %"))
			}
		}
		o := Options{Checkpoints: []int{50}, CheckpointDelay: new(5 * time.Minute), Observe: observe}
		if _, err := w.roller(o).Run(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		if !said[0] || said[len(said)-1] {
			t.Errorf("said %v", said)
		}
		// One minute before the checkpoint, and from the end of its wait.
		if n := w.asked["activities"]; n > 3 {
			t.Errorf("asked for activities %d times", n)
		}
	})
}

// TestPlainProgress is what a log shows.
func TestPlainProgress(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.step = func(w *world) {
			switch w.steps {
			case 3:
				w.running = append(w.running, newcomer("i-3", "Pending", "Healthy", "", ""))
			case 4:
				w.running[2] = newcomer("i-3", "InService", "Healthy", "initial", "")
				w.refresh().PercentageComplete, w.refresh().StatusReason = aws.Int32(50), aws.String("Waiting for instances to warm up.")
			case 5:
				w.running[2].Target = "healthy"
				w.answers = func() string { return "r2" }
			case 6:
				w.served(3, "r2")
			}
		}
		var out bytes.Buffer
		ctx := progress.NewContext(t.Context(), progress.New(&out))
		if _, err := w.roller(Options{}).Run(ctx, two); err != nil {
			t.Fatal(err)
		}
		want := `• replace 2 instances of hello by release r2
  replace 2 instances of hello by release r2: Pending 0 %
  replace 2 instances of hello by release r2: InProgress 0 %
  instance i-3 new, Pending
  instance i-3 Pending → InService, target none → initial
  instance i-3 target initial → healthy
  replace 2 instances of hello by release r2: InProgress 50 %: Waiting for instances to warm up.
  instance i-3-0 new, InService, target healthy
  instance i-3-1 new, InService, target healthy
  instance i-1 gone
  instance i-2 gone
  instance i-3 gone
  replace 2 instances of hello by release r2: Successful 100 %: Waiting for instances to warm up.
✓ replace 2 instances of hello by release r2 (11s)
• see release r2 through the load balancer
✓ see release r2 through the load balancer (0.0s)
`
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Error(diff)
		}
	})
}
