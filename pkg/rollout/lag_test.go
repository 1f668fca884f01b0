package rollout

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/internal/lag"
)

// TestReadsLag: what was just made is looked for again, and nothing is given up or taken back for it.
func TestReadsLag(t *testing.T) {
	// Auto Scaling hands on what EC2 says.
	unknown := &smithy.GenericAPIError{Code: "ValidationError", Message: "You must use a valid fully-formed launch template. Could not find the specified version 3 for the launch template with ID lt-1."}
	noImage := &smithy.GenericAPIError{Code: "ValidationError", Message: "You must use a valid fully-formed launch template. The image id '[ami-2]' does not exist"}
	tests := map[string]struct {
		first bool // a first release
		call  string
		err   error // of the call, until it is over
	}{
		"the refresh":                         {call: "this refresh", err: errNoRefresh},
		"the version":                         {call: "template versions", err: apiError(versionNotFound)},
		"the version, for Auto Scaling":       {call: "start", err: unknown},
		"the image, for Auto Scaling":         {call: "start", err: noImage},
		"the version, for the group":          {call: "update", first: true, err: unknown},
		"the image":                           {call: "images", err: apiError("InvalidAMIID.NotFound")},
		"the refresh that is in the way":      {call: "start", err: &asgtypes.InstanceRefreshInProgressFault{}},
		"the version, for the first launch":   {call: "template versions", first: true, err: apiError(versionNotFound)},
		"the image, as nothing but a refusal": {call: "update", first: true, err: noImage},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := firstOrNext(tc.first)
				next := w.step
				w.step = func(w *world) {
					if !w.runs() || time.Since(*w.refresh().StartTime) > 25*time.Second {
						next(w)
					}
				}
				var began time.Time
				w.fails = func(call string) error {
					made := len(w.versions) > 1 && w.versions[len(w.versions)-1].image == "ami-2"
					if call != tc.call || !made && call == "template versions" {
						return nil
					}
					if began.IsZero() {
						began = time.Now()
					}
					if time.Since(began) < 20*time.Second {
						return tc.err
					}
					return nil
				}
				if tc.call == "this refresh" {
					w.hidden = 20 * time.Second
				}
				got, err := w.roller(Options{}).Run(t.Context(), two)
				if err != nil || !got.Replaced {
					t.Fatalf("%+v, %v after %q", got, err, w.did)
				}
				made := 0
				for _, did := range w.did {
					if strings.HasPrefix(did, "version ") {
						made++
					}
				}
				if made != 1 || w.didStart("rollback") || w.didStart("capacity 0") || w.did[len(w.did)-1] != "put "+pointerName {
					t.Errorf("did %q", w.did)
				}
			})
		})
	}
}

// TestDefaultVersionLags: whoever asks for the status after a rollout sees the default version that it has set.
func TestDefaultVersionLags(t *testing.T) {
	in(t, func(t *testing.T) {
		w := firstOrNext(false)
		w.lateDefault = 5 * time.Second
		if _, err := w.roller(Options{}).Run(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		s, err := w.roller(Options{}).Status(t.Context())
		if err != nil || len(s.Disagreements) > 0 {
			t.Errorf("right after the rollout: %v, %v", s.Disagreements, err)
		}
	})
}

// TestReadsDoNotLagForEver: what is not there after half a minute is not there.
func TestReadsDoNotLagForEver(t *testing.T) {
	refused := &smithy.GenericAPIError{Code: "ValidationError", Message: "You must use a valid fully-formed launch template. The image id '[ami-2]' does not exist"}
	for call, err := range map[string]error{"start": refused, "images": apiError("InvalidAMIID.NotFound"), "refresh": &asgtypes.InstanceRefreshInProgressFault{}} {
		in(t, func(t *testing.T) {
			w := old()
			w.fails = func(name string) error {
				if name == call || call == "refresh" && name == "start" {
					return err
				}
				return nil
			}
			begin := time.Now()
			_, got := w.roller(Options{}).Run(t.Context(), two)
			if !errors.Is(got, err) || time.Since(begin) > lag.Limit+time.Second {
				t.Errorf("%s: error = %v after %s", call, got, time.Since(begin))
			}
		})
	}
}

// TestTurnsAfterAll: a refresh that is not known yet cannot be rolled back yet; it is asked for again.
func TestTurnsAfterAll(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.step = func(w *world) {
			switch {
			case w.is(asgtypes.InstanceRefreshStatusInProgress):
				w.running = append(serving(2, "i-1", "i-2"), serving(3, "i-3", "i-4")...)
				w.answer("r0")
			case w.is(asgtypes.InstanceRefreshStatusRollbackInProgress):
				w.running = serving(2, "i-1", "i-2")
				w.refresh().Status = asgtypes.InstanceRefreshStatusRollbackSuccessful
			}
		}
		w.fails = func(call string) error {
			if call == "rollback" && time.Since(*w.refresh().StartTime) < 10*time.Second {
				return &asgtypes.ActiveInstanceRefreshNotFoundFault{}
			}
			return nil
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrReverted) || w.did[len(w.did)-1] != "rollback" {
			t.Errorf("did %q, error = %v", w.did, err)
		}
	})
}

// TestIrreversible: a refresh that AWS cannot roll back is cancelled, and the error says what is left.
func TestIrreversible(t *testing.T) {
	bad := func(w *world) {
		w.turn = &asgtypes.IrreversibleInstanceRefreshFault{Message: aws.String("no launch template version to go back to")}
		w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
		w.begin("3") // somebody else's
		w.step = func(w *world) {
			switch {
			case w.is(asgtypes.InstanceRefreshStatusInProgress):
				w.running = append(serving(2, "i-1", "i-2"), serving(3, "i-3", "i-4")...)
				w.answer("r0")
			case w.is(asgtypes.InstanceRefreshStatusCancelling):
				w.refresh().Status = asgtypes.InstanceRefreshStatusCancelled
			}
		}
	}
	in(t, func(t *testing.T) {
		w := old()
		bad(w)
		_, err := w.roller(Options{}).Run(t.Context(), two)
		want := `AWS cannot roll back a refresh of this kind, so it was cancelled; instance refresh refresh-1 ended as Cancelled, with both releases in the fleet`
		if !errors.Is(err, ErrMixed) || errors.Is(err, ErrReverted) || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v", err)
		}
		if diff := cmp.Diff([]string{"cancel"}, w.did); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		in(t, func(t *testing.T) {
			w := old()
			bad(w)
			ctx, cancel := context.WithCancel(t.Context())
			w.step = func(w *world) {
				if w.steps == 4 {
					cancel()
				}
			}
			_, err := w.roller(Options{CancelOnInterrupt: true}).Run(ctx, two)
			checkLeft(t, err, InterruptedError{State: Ended})
			if !strings.HasSuffix(err.Error(), "instance refresh refresh-1 to release r2, which AWS cannot roll back, was cancelled and may leave both releases in the fleet") {
				t.Errorf("error = %v", err)
			}
		})
	})
}

// TestClientToken: the same release of the same template is made once, and another template's is another one.
func TestClientToken(t *testing.T) {
	token := clientToken("lt-0123456789abcdef0", "1", "ami-0123456789abcdef0")
	if len(token) > 64 || token != clientToken("lt-0123456789abcdef0", "1", "ami-0123456789abcdef0") {
		t.Errorf("token %q of %d characters", token, len(token))
	}
	for _, other := range []string{
		clientToken("lt-0123456789abcdef1", "1", "ami-0123456789abcdef0"), clientToken("lt-0123456789abcdef0", "2", "ami-0123456789abcdef0"),
		clientToken("lt-0123456789abcdef0", "1", "ami-0123456789abcdef1"),
	} {
		if token == other {
			t.Errorf("the same token %q", token)
		}
	}
	in(t, func(t *testing.T) {
		w := firstOrNext(false)
		if _, err := w.roller(Options{}).Run(t.Context(), two); err != nil || w.token != clientToken("lt-1", "2", "ami-2") {
			t.Errorf("token %q, %v", w.token, err)
		}
	})
}

// TestRootDevice: the launch template's root device is the release's image's.
func TestRootDevice(t *testing.T) {
	for name, tc := range map[string]struct{ template, image, want string }{
		"the same":            {"/dev/xvda", "/dev/xvda", "/dev/xvda"},
		"another":             {"/dev/xvda", "/dev/sda1", "/dev/sda1"},
		"and back":            {"/dev/sda1", "/dev/xvda", "/dev/xvda"},
		"none":                {"", "/dev/sda1", ""},
		"none that we know":   {"/dev/sdh", "/dev/sda1", "/dev/sdh"},
		"one that is unusual": {"/dev/xvda", "/dev/nvme0", "/dev/nvme0"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := firstOrNext(false)
				w.versions[1].device = tc.template
				w.devices = map[string]string{"ami-2": tc.image}
				if _, err := w.roller(Options{}).Run(t.Context(), two); err != nil || w.versions[2].device != tc.want {
					t.Errorf("%+v, %v", w.versions, err)
				}
			})
		})
	}
	// Everything else of a mapping is kept: what EC2 adds to it one day has to be copied as well.
	from, to := reflect.TypeFor[ec2types.LaunchTemplateEbsBlockDevice](), reflect.TypeFor[ec2types.LaunchTemplateEbsBlockDeviceRequest]()
	mapping := ec2types.LaunchTemplateBlockDeviceMapping{DeviceName: aws.String("/dev/xvda"), Ebs: &ec2types.LaunchTemplateEbsBlockDevice{}}
	e := reflect.ValueOf(mapping.Ebs).Elem()
	for i := range from.NumField() {
		field := from.Field(i)
		if !field.IsExported() {
			continue
		}
		if _, ok := to.FieldByName(field.Name); !ok {
			t.Errorf("a request has no %s", field.Name)
		}
		if f := e.Field(i); f.Kind() == reflect.Pointer {
			f.Set(reflect.New(f.Type().Elem()))
		} else {
			f.SetString("gp3")
		}
	}
	moved := rootDeviceMoved(ec2types.LaunchTemplateVersion{LaunchTemplateData: &ec2types.ResponseLaunchTemplateData{
		BlockDeviceMappings: []ec2types.LaunchTemplateBlockDeviceMapping{mapping},
	}}, "/dev/sda1")
	copied := reflect.ValueOf(*moved[0].Ebs)
	for i := range from.NumField() {
		if name := from.Field(i).Name; from.Field(i).IsExported() && copied.FieldByName(name).IsZero() {
			t.Errorf("%s is lost", name)
		}
	}
}

// TestSameButForTheRootDevice: a version of another image that differs in nothing else is taken again.
func TestSameButForTheRootDevice(t *testing.T) {
	in(t, func(t *testing.T) {
		w := firstOrNext(false)
		w.versions[1].device = "/dev/xvda"
		w.versions = append(w.versions, templateVersion{image: "ami-2", device: "/dev/sda1"}, templateVersion{image: "ami-9", device: "/dev/xvda"})
		w.step = func(w *world) {
			if w.runs() && w.steps >= 5 {
				w.served(3, "r2")
			}
		}
		if _, err := w.roller(Options{}).Run(t.Context(), two); err != nil || w.didStart("version") {
			t.Errorf("did %q, %v", w.did, err)
		}
	})
}

// TestLimits: what is late follows from how often the load balancer asks.
func TestLimits(t *testing.T) {
	tests := map[string]struct {
		check                    HealthCheck
		lateness, verify, launch time.Duration
	}{
		"every 5 s, twice":   {HealthCheck{Interval: 5 * time.Second, Threshold: 2}, 15 * time.Second, 2 * time.Minute, 15 * time.Minute},
		"every 10 s, twice":  {HealthCheck{Interval: 10 * time.Second, Threshold: 2}, 25 * time.Second, 140 * time.Second, 15 * time.Minute},
		"every 300 s, twice": {HealthCheck{Interval: 300 * time.Second, Threshold: 2}, 605 * time.Second, 1300 * time.Second, 25 * time.Minute},
		"not said":           {HealthCheck{}, 5 * time.Second, 100 * time.Second, 15 * time.Minute},
	}
	for name, tc := range tests {
		if got := []time.Duration{tc.check.lateness(), tc.check.verifyLimit(), tc.check.launchLimit()}; !slices.Equal(got, []time.Duration{tc.lateness, tc.verify, tc.launch}) {
			t.Errorf("%s: %s", name, got)
		}
	}
	in(t, func(t *testing.T) {
		w := old()
		w.interval = 30 // an instance may well need a minute beyond its warm-up then
		w.step = func(w *world) {
			if !w.runs() {
				return
			}
			target := "initial"
			age := time.Since(*w.refresh().StartTime)
			if age > 80*time.Second {
				target = "healthy"
			}
			w.running = append(serving(2, "i-1", "i-2"), newcomer("i-3", "InService", "Healthy", target, ""), newcomer("i-4", "InService", "Healthy", target, ""))
			w.answer("r1")
			if age > 2*time.Minute {
				w.served(3, "r2")
			}
		}
		if _, err := w.roller(Options{}).Run(t.Context(), two); err != nil {
			t.Error(err)
		}
	})
}

// TestReappears: an old answer did not know an instance, and it has not failed for it.
func TestReappears(t *testing.T) {
	c, at := newCohort(3, 0, 0), time.Now()
	there := Fleet{Instances: []Instance{newcomer("i", "Pending", "Healthy", "", "")}}
	for _, f := range []Fleet{there, {}, there} {
		c.look(f, at)
	}
	if failed := c.failed(); len(failed) > 0 {
		t.Errorf("%q", c.describe(failed[0]))
	}
}

// TestMalformedPointer: what somebody else put into the parameter is left out, wherever it stands, and does not stay the
// current release.
func TestMalformedPointer(t *testing.T) {
	for name, tc := range map[string]struct {
		values []string
		now    bool // the newest one is malformed
	}{
		"the newest": {[]string{`{"release":"r1","ami":"ami-1","template_version":2}`, `{"release":"r2","ami":"ami-2","template_version":3}`, "ami-0123456789abcdef0"}, true},
		"one before": {[]string{`{"release":"r1","ami":"ami-1","template_version":2}`, "ami-0123456789abcdef0", `{"release":"r2","ami":"ami-2","template_version":3}`}, false},
		"the first":  {[]string{"{}", `{"release":"r1","ami":"ami-1","template_version":2}`, `{"release":"r2","ami":"ami-2","template_version":3}`}, false},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := live()
				w.parameters[pointerName] = tc.values
				r := w.roller(Options{})
				if current, found, err := r.Current(t.Context()); err != nil || !found || current.Release != "r2" {
					t.Errorf("current %+v, %t, %v", current, found, err)
				}
				releases, err := r.Releases(t.Context())
				if err != nil || len(releases) != 2 || releases[0].Release != "r2" || releases[1].Release != "r1" {
					t.Errorf("releases %+v, %v", releases, err)
				}
				s, err := r.Status(t.Context())
				if err != nil || s.Current == nil || s.Current.Release != "r2" {
					t.Errorf("status %+v, %v", s, err)
				}
				want := []Disagreement{}
				if tc.now {
					want = []Disagreement{{PointerSubject, `"ami-0123456789abcdef0", which is no release`, "the one that is live"}}
				}
				if diff := cmp.Diff(want, s.Disagreements); diff != "" {
					t.Error(diff)
				}
				// The same release again replaces nothing, and puts the pointer right.
				if got, err := r.Run(t.Context(), two); err != nil || got.Replaced || slices.Contains(w.did, "put "+pointerName) != tc.now {
					t.Errorf("%+v, %v, did %q", got, err, w.did)
				}
				if got, err := r.Rollback(t.Context(), ""); err != nil || got.Release.Name != "r1" {
					t.Errorf("rollback: %+v, %v", got, err)
				}
			})
		})
	}
	t.Run("nothing else", func(t *testing.T) {
		w := old()
		w.parameters[pointerName] = []string{"null"}
		if current, found, err := w.roller(Options{}).Current(t.Context()); err != nil || found {
			t.Errorf("%+v, %t, %v", current, found, err)
		}
	})
	t.Run("who started", func(t *testing.T) {
		w := live()
		w.step = func(*world) {}
		w.begin("3")
		w.parameters["/ingot/hello/rollout"] = []string{"me"}
		if s, err := w.roller(Options{}).Status(t.Context()); err != nil || s.Refresh.By != "" {
			t.Errorf("%+v, %v", s, err)
		}
	})
}

// TestHistoryInAnyOrder: no document says in which order a history comes.
func TestHistoryInAnyOrder(t *testing.T) {
	w := old()
	for n := range 3 {
		w.parameters[pointerName] = append(w.parameters[pointerName], fmt.Sprintf(`{"release":"r%d","ami":"ami-2","template_version":3}`, n+2))
	}
	w.order = func(history []ssmtypes.ParameterHistory) {
		slices.Reverse(history)
		history[0], history[1] = history[1], history[0]
	}
	releases, err := w.roller(Options{}).Releases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range releases {
		got = append(got, p.Release)
	}
	if diff := cmp.Diff([]string{"r4", "r3", "r2", "r1"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestOutcome: what came of a refresh is said.
func TestOutcome(t *testing.T) {
	tests := map[string]Refresh{
		"RollbackSuccessful 100 %: Rollback requested by user.": {ID: "x", Status: "RollbackSuccessful", Percentage: 100, rollbackReason: "Rollback requested by user."},
		"Failed 50 %: no capacity":                              {ID: "x", Status: "Failed", Percentage: 50, Reason: "no capacity"},
		"Successful 100 %":                                      {ID: "x", Status: "Successful", Percentage: 100},
	}
	for want, x := range tests {
		if got := x.Progress(); got != want {
			t.Errorf("progress = %q, want %q", got, want)
		}
	}
}
