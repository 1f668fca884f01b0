package rollout

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/google/go-cmp/cmp"
)

func TestFirstRelease(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld()
		w.step = func(w *world) {
			if w.steps == 4 {
				w.running = fleet(2, 2)
				w.answer("r2")
			}
		}
		r := w.roller(Options{By: "alice@host"})
		got, err := r.Run(t.Context(), two)
		if err != nil {
			t.Fatal(err)
		}
		want := Result{URL: "http://lb.example", Release: two, TemplateVersion: 2, Instances: 2, Replaced: true}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		did := []string{"version 2 of ami-2 from 1: release r2", "capacity 2 of version 2", "default version 2", "put " + pointerName}
		if diff := cmp.Diff(did, w.did); diff != "" {
			t.Error(diff)
		}
		releases, err := r.Releases(t.Context())
		if err != nil || len(releases) != 1 || releases[0].Release != "r2" || releases[0].Commit != "c0ffee" || releases[0].Since.IsZero() || releases[0].By != "alice@host" {
			t.Errorf("releases %+v, %v", releases, err)
		}
	})
}

func TestRefresh(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.step = func(w *world) {
			if w.steps == 5 {
				w.served(3, "r2")
			}
		}
		var seen []Observation
		got, err := w.roller(Options{By: "alice", Observe: func(o Observation) { seen = append(seen, o) }}).Run(t.Context(), two)
		if err != nil || !got.Replaced || got.TemplateVersion != 3 {
			t.Fatalf("%+v, %v", got, err)
		}
		did := []string{"version 3 of ami-2 from 2: release r2", "refresh to 3", "put /ingot/hello/rollout", "default version 3", "put " + pointerName}
		if diff := cmp.Diff(did, w.did); diff != "" {
			t.Error(diff)
		}
		if w.asked["target groups"] != 1 {
			t.Errorf("asked for what does not change %d times", w.asked["target groups"])
		}
		// The first one shows the fleet before anything happened, the last one the fleet that was verified.
		first, last := seen[0], seen[len(seen)-1]
		if first.Refresh.ID != "refresh-1" || first.Fleet.Instances[0].Release != "r1" || !first.Fleet.Instances[0].Since.IsZero() {
			t.Errorf("first observation %+v", first)
		}
		if last.Fleet.Instances[0].Release != "r2" || !last.At.After(first.At) {
			t.Errorf("last observation %+v", last)
		}
	})
}

func TestSameReleaseAgainChangesNothing(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		got, err := w.roller(Options{}).Run(t.Context(), one)
		if err != nil || got.Replaced || got.Instances != 2 {
			t.Fatalf("%+v, %v", got, err)
		}
		if diff := cmp.Diff([]string{"default version 2"}, w.did); diff != "" {
			t.Error(diff)
		}
	})
}

// TestVersionIsMadeOnce: an unused version of an earlier run is taken again, unless the infrastructure has changed since.
func TestVersionIsMadeOnce(t *testing.T) {
	tests := map[string]struct {
		versions []templateVersion
		want     string
	}{
		"latest":                {[]templateVersion{{image: "ami-2"}}, "refresh to 3"},
		"another came between":  {[]templateVersion{{image: "ami-2"}, {image: "ami-9"}}, "refresh to 3"},
		"a new shape came":      {[]templateVersion{{image: "ami-2"}, {image: "ami-9", shape: "t3.large"}}, "version 5 of ami-2 from 4"},
		"a new shape with ours": {[]templateVersion{{image: "ami-2"}, {image: "ami-2", shape: "t3.large"}}, "refresh to 4"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := old()
				w.versions = append(w.versions, tc.versions...)
				w.start = apiError("Stop")
				w.step = func(w *world) {}
				_, _ = w.roller(Options{}).Run(t.Context(), two)
				w.start = nil
				w.step = func(w *world) {
					if w.runs() {
						w.served(int(mustAtoi(*w.refresh().DesiredConfiguration.LaunchTemplate.Version)), "r2")
					}
				}
				if _, err := w.roller(Options{}).Run(t.Context(), two); err != nil {
					t.Fatal(err)
				}
				if !strings.HasPrefix(w.did[0], tc.want) {
					t.Errorf("did %q", w.did)
				}
				made := 0
				for _, d := range w.did {
					if strings.HasPrefix(d, "version ") {
						made++
					}
				}
				if made > 1 {
					t.Errorf("made %d versions: %q", made, w.did)
				}
			})
		})
	}
}

func mustAtoi(s string) (n int) {
	if _, err := fmt.Sscan(s, &n); err != nil {
		panic(err)
	}
	return n
}

// TestResume: a run was killed at a moment; the same call goes on, and makes nothing twice.
func TestResume(t *testing.T) {
	tests := map[string]struct {
		left func() *world
		want []string
	}{
		"the version was made": {
			left: func() *world {
				w := old()
				w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
				return w
			},
			want: []string{"refresh to 3", "default version 3", "put " + pointerName},
		},
		"the refresh runs": {
			left: func() *world {
				w := old()
				w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
				w.begin("3")
				return w
			},
			want: []string{"default version 3", "put " + pointerName},
		},
		"the refresh is over": {
			left: func() *world {
				w := old()
				w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
				w.begin("3")
				w.served(3, "r2")
				return w
			},
			want: []string{"default version 3", "put " + pointerName},
		},
		"the default version was set": {
			left: func() *world {
				w := old()
				w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
				w.begin("3")
				w.served(3, "r2")
				w.standard = 3
				return w
			},
			want: []string{"default version 3", "put " + pointerName},
		},
		"the pointer was put": {
			left: func() *world {
				w := old()
				w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
				w.served(3, "r2")
				w.parameters[pointerName] = append(w.parameters[pointerName], `{"release":"r2","ami":"ami-2","template_version":3}`)
				return w
			},
			want: []string{"default version 3"},
		},
		"the first launch has begun": {
			left: func() *world {
				w := newWorld()
				w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
				w.version, w.min, w.desired = "2", 2, 2
				w.step = func(w *world) {
					if w.steps == 4 {
						w.served(2, "r2")
					}
				}
				return w
			},
			want: []string{"default version 2", "put " + pointerName},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := tc.left()
				first := w.step
				w.step = func(w *world) {
					first(w)
					if w.runs() && w.steps >= 3 {
						w.served(3, "r2")
					}
				}
				if _, err := w.roller(Options{}).Run(t.Context(), two); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, w.did); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestWrongReleaseIsTakenBack(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.versions[1].description = "" // so that nothing can be told before the end
		w.step = func(w *world) {
			switch {
			case len(w.refreshes) == 1 && w.steps == 3:
				w.served(3, "r0")
			case len(w.refreshes) == 2 && w.runs():
				w.served(2, "r1")
			}
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrReverted) || !strings.Contains(err.Error(), `answered HTTP 200 from release "r0"`) || w.pointers() != 1 {
			t.Errorf("error = %v, %d pointers", err, w.pointers())
		}
		if last := w.did[len(w.did)-1]; last != "refresh to 2" {
			t.Errorf("did %q", w.did)
		}
	})
}

// TestWrongReleaseAfterResume: what served before is known from the pointer, as the group says the new version already.
func TestWrongReleaseAfterResume(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
		w.begin("3")
		w.served(3, "r0")
		w.step = func(w *world) {
			if w.runs() {
				w.served(2, "r1")
			}
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrReverted) {
			t.Errorf("error = %v", err)
		}
		if diff := cmp.Diff([]string{"refresh to 2"}, w.did); diff != "" {
			t.Error(diff)
		}
	})
}

// TestFirstReleaseIsWrong: nothing served before, so the group becomes empty again, and as it was.
func TestFirstReleaseIsWrong(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld()
		w.step = func(w *world) {
			if w.desired > 0 {
				w.served(2, "r0")
			}
		}
		if _, err := w.roller(Options{}).Run(t.Context(), two); !errors.Is(err, ErrUnhealthy) {
			t.Errorf("error = %v", err)
		}
		if last := w.did[len(w.did)-1]; last != "capacity 0 of version 1" || w.min != 0 || w.pointers() != 0 {
			t.Errorf("did %q", w.did)
		}
	})
}

// TestVerifyKeepsProtected: what the options leave alone may go on serving the old release.
func TestVerifyKeepsProtected(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.running[0].Protected = true
		n := 0
		w.step = func(w *world) {
			if w.runs() && w.steps >= 3 {
				kept := w.running[0]
				w.served(3, "r2")
				w.running[0] = kept
				w.answers = func() string { n++; return []string{"r1", "r2"}[n%2] }
			}
		}
		if _, err := w.roller(Options{Protected: "ignore"}).Run(t.Context(), two); err != nil {
			t.Error(err)
		}
	})
}

func TestVerifyIsBounded(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.answer("r0")
		begin := time.Now()
		_, err := w.roller(Options{}).Run(t.Context(), one)
		if !errors.Is(err, ErrUnhealthy) || len(w.did) > 0 {
			t.Errorf("error = %v, did %q", err, w.did)
		}
		if took := time.Since(begin); took > 2*time.Minute+verifyGap {
			t.Errorf("took %s", took)
		}
	})
}

// TestVerifyAsks: as many requests as tell something, however large the fleet is.
func TestVerifyAsks(t *testing.T) {
	for instances, want := range map[int]int{1: 10, 2: 10, 100: 500, 1000: 1000} {
		in(t, func(t *testing.T) {
			w := old()
			w.desired, w.running = instances, fleet(2, instances)
			n := 0
			w.answers = func() string { n++; return "r1" }
			if _, err := w.roller(Options{}).Run(t.Context(), one); err != nil || n != want {
				t.Errorf("%d instances: %d requests, %v", instances, n, err)
			}
		})
	}
}

func TestNoFleet(t *testing.T) {
	w := newWorld()
	w.groups = 0
	if _, err := w.roller(Options{}).Run(t.Context(), two); !errors.Is(err, ErrNoFleet) || err.Error() != "no Auto Scaling group is tagged ingot:app=hello" {
		t.Errorf("error = %v", err)
	}
	w.groups = 2
	if _, err := w.roller(Options{}).Run(t.Context(), two); err == nil || errors.Is(err, ErrNoFleet) {
		t.Errorf("error = %v", err)
	}
}

// TestIncomplete: what is missing is said by a type of its own, and nothing is made.
func TestIncomplete(t *testing.T) {
	w := old()
	w.versions = nil
	_, err := w.roller(Options{}).Run(t.Context(), two)
	if e, ok := errors.AsType[*IncompleteError](err); !ok || e.Lack != `launch template "lt-1" has no version` || len(w.did) > 0 {
		t.Errorf("did %q, error = %v", w.did, err)
	}
}

// TestPointerRefused: a release that serves is told from one that does not, and the same call sets the pointer.
func TestPointerRefused(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.step = func(w *world) {
			if w.steps == 3 {
				w.served(3, "r2")
			}
		}
		w.fails = func(call string) error {
			if call == "put parameter" {
				return apiError("AccessDenied")
			}
			return nil
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		want := `release "r2" serves, but is not noted as the current one: put parameter "/ingot/hello/release": api error AccessDenied: said so`
		if e, ok := errors.AsType[*PointerError](err); !ok || e.Release != "r2" || err.Error() != want {
			t.Errorf("error = %v\nwant    %s", err, want)
		}
		w.fails = func(string) error { return nil }
		if got, err := w.roller(Options{}).Run(t.Context(), two); err != nil || got.Replaced || w.pointers() != 2 {
			t.Errorf("%+v, %v, %d pointers", got, err, w.pointers())
		}
	})
}

func TestListenerURL(t *testing.T) {
	http80 := elbtypes.Listener{Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(80)}
	https443 := elbtypes.Listener{Protocol: elbtypes.ProtocolEnumHttps, Port: aws.Int32(443)}
	odd := elbtypes.Listener{Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(8080)}
	tests := map[string][]elbtypes.Listener{
		"http://h":      {http80},
		"https://h":     {http80, https443},
		"http://h:8080": {odd},
	}
	for want, listeners := range tests {
		if got := listenerURL("h", listeners); got != want {
			t.Errorf("listenerURL = %s, want %s", got, want)
		}
	}
}

func TestPreferences(t *testing.T) {
	base := asgtypes.RefreshPreferences{
		AutoRollback: aws.Bool(true), InstanceWarmup: aws.Int32(30), MinHealthyPercentage: aws.Int32(100), MaxHealthyPercentage: aws.Int32(200),
		SkipMatching: aws.Bool(true), StandbyInstances: asgtypes.StandbyInstancesIgnore, ScaleInProtectedInstances: asgtypes.ScaleInProtectedInstancesRefresh,
	}
	with := func(change func(p *asgtypes.RefreshPreferences)) asgtypes.RefreshPreferences {
		p := base
		change(&p)
		return p
	}
	tests := map[string]struct {
		options Options
		back    bool
		want    asgtypes.RefreshPreferences
	}{
		"defaults": {want: base},
		"everything": {
			options: Options{
				Checkpoints: []int{20, 50}, CheckpointDelay: new(10 * time.Minute), BakeTime: time.Hour, Alarms: []string{"errors"},
				Standby: "terminate", Protected: "ignore",
			},
			want: with(func(p *asgtypes.RefreshPreferences) {
				p.CheckpointPercentages, p.CheckpointDelay = []int32{20, 50, 100}, aws.Int32(600)
				p.BakeTime, p.AlarmSpecification = aws.Int32(3600), &asgtypes.AlarmSpecification{Alarms: []string{"errors"}}
				p.StandbyInstances, p.ScaleInProtectedInstances = asgtypes.StandbyInstancesTerminate, asgtypes.ScaleInProtectedInstancesIgnore
			}),
		},
		"the way back": {
			options: Options{Checkpoints: []int{20}, CheckpointDelay: new(time.Minute), BakeTime: time.Hour, Alarms: []string{"errors"}},
			back:    true, want: base,
		},
		"a delay alone says nothing": {options: Options{CheckpointDelay: new(time.Minute)}, want: base},
		"checkpoints that end at 100": {
			options: Options{Checkpoints: []int{50, 100}, CheckpointDelay: new(time.Minute), Standby: "wait", Protected: "wait"},
			want: with(func(p *asgtypes.RefreshPreferences) {
				p.CheckpointPercentages, p.CheckpointDelay = []int32{50, 100}, aws.Int32(60)
				p.StandbyInstances, p.ScaleInProtectedInstances = asgtypes.StandbyInstancesWait, asgtypes.ScaleInProtectedInstancesWait
			}),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := *newWorld().roller(tc.options).preferences(tc.back)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(asgtypes.RefreshPreferences{}, asgtypes.AlarmSpecification{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}
