package fault

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

func TestParse(t *testing.T) {
	tests := map[string]struct {
		want Spec
		text string // where it is not the input
	}{
		"":    {},
		"off": {text: "off"},
		"throttle=20% errors=5% drop=1% service=ec2 action=Describe*": {want: Spec{Throttle: 20, Errors: 5, Drop: 1, Service: "ec2", Action: "Describe*"}},
		"pace=aws":           {want: Spec{Pace: "aws"}},
		"service=iam lag=2s": {want: Spec{Service: "iam", Lag: 2 * time.Second}},
		"boot-delay=1m30s boot-fail=50% image-delay=20s image-fail=100% seed=7": {want: Spec{
			BootDelay: 90 * time.Second, BootFail: 50, ImageDelay: 20 * time.Second, ImageFail: 100, Seed: 7,
		}},
	}
	for text, tc := range tests {
		got, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
		if again := got.String(); again != strings.TrimSuffix(text, tc.text) {
			t.Errorf("%q is written as %q", text, again)
		}
	}
}

func TestParseErrors(t *testing.T) {
	if got, err := Parse("kill=i-1 kill=i-2"); err != nil || !cmp.Equal(got, Spec{Kill: []string{"i-1", "i-2"}}) || got.String() != "" {
		t.Errorf("kill: %+v, %v", got, err)
	}
	for text, want := range map[string]string{
		"throttle":                "has no value",
		"throttle=20":             "percentage",
		"throttle=101%":           "percentage",
		"throttle=60% errors=41%": "101%",
		"image-delay=20":          "duration",
		"image-delay=-1s":         "duration",
		"kill=":                   "ID of an instance",
		"seed=x":                  "number",
		"service=[":               "pattern",
		"pace=azure":              "want one of aws, aws-best",
		"pace=":                   "want one of",
		"colour=red":              "known are throttle, errors",
		"off throttle=20%":        "off alone",
	} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", text, err, want)
		}
	}
}

func open(t *testing.T, st store.Store, text string) *Faults {
	t.Helper()
	f, err := Open(st)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := Parse(text)
	if err == nil {
		err = f.Set(spec)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// draws are the faults of n calls.
func draws(f *Faults, n int, action string) []wire.Fault {
	var faults []wire.Fault
	for range n {
		faults = append(faults, f.Call("ec2", action))
	}
	return faults
}

func TestCalls(t *testing.T) {
	const n = 2000
	st := store.Memory()
	f := open(t, st, "throttle=20% errors=5% drop=2% service=ec2 action=Run*")
	counts := map[wire.Fault]int{}
	first := draws(f, n, "RunInstances")
	for _, fault := range first {
		counts[fault]++
	}
	for fault, percent := range map[wire.Fault]int{wire.Throttled: 20, wire.Failed: 5, wire.NoFault: 73} {
		if got := counts[fault]; got < n*(percent-2)/100 || got > n*(percent+2)/100 {
			t.Errorf("fault %d: %d of %d calls, want about %d%%", fault, got, n, percent)
		}
	}
	if counts[wire.Dropped] == 0 || counts[wire.Unanswered] == 0 {
		t.Errorf("%d dropped and %d unanswered calls, want some of both", counts[wire.Dropped], counts[wire.Unanswered])
	}
	for _, call := range [][2]string{{"autoscaling", "RunInstances"}, {"ec2", "DescribeInstances"}} {
		for range 100 {
			if fault := f.Call(call[0], call[1]); fault != wire.NoFault {
				t.Fatalf("%v: fault %d", call, fault)
			}
		}
	}

	// The next process goes on with the same spec, and the same draws, whatever else is called in between.
	again, err := Open(st)
	if err != nil {
		t.Fatal(err)
	}
	var second []wire.Fault
	for range n {
		second = append(second, again.Call("ec2", "RunInstances"))
		again.Call("ec2", "RunScheduledInstances")
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error("the same seed has other calls fail")
	}
	if other := draws(open(t, st, f.Spec().String()+" seed=1"), n, "RunInstances"); cmp.Equal(first, other) {
		t.Error("another seed has the same calls fail")
	}
	if off := draws(open(t, st, "off"), 1000, "RunInstances"); len(off) != 1000 || cmp.Equal(off, first[:1000]) {
		t.Error("off has calls fail")
	}
}

func TestCompute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, store.Memory(), "boot-delay=30s image-delay=20s")
		c := f.Compute(&compute.Memory{CommitRunning: true})
		took := func(do func() error) (time.Duration, error) {
			start := time.Now()
			err := do()
			return time.Since(start), err
		}
		create := func(id string) func() error {
			return func() error { _, err := c.Create(t.Context(), compute.Spec{ID: id}); return err }
		}
		if after, err := took(create("i-1")); after != 30*time.Second || err != nil {
			t.Errorf("boot: %s, %v", after, err)
		}
		commit := func() error { _, err := c.Commit(t.Context(), "i-1", "image"); return err }
		if after, err := took(commit); after != 20*time.Second || err != nil {
			t.Errorf("image: %s, %v", after, err)
		}
		// What is under way ends when the fault does.
		time.AfterFunc(5*time.Second, func() {
			if err := f.Set(Spec{}); err != nil {
				t.Error(err)
			}
		})
		if after, err := took(commit); after != 5*time.Second || err != nil {
			t.Errorf("image: %s, %v", after, err)
		}
		if err := f.Set(Spec{BootFail: 100, ImageFail: 100}); err != nil {
			t.Fatal(err)
		}
		for _, do := range []func() error{create("i-2"), commit} {
			if _, err := took(do); !errors.Is(err, errAsked) {
				t.Errorf("a fault that was asked for: %v", err)
			}
		}
		if err := f.Set(Spec{BootDelay: time.Hour}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := c.Create(ctx, compute.Spec{ID: "i-2"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a boot that was given up: %v", err)
		}
	})
}

func TestPace(t *testing.T) {
	const written = 250 << 20 // takes 10 s at a fifth of 125 MiB/s
	synctest.Test(t, func(t *testing.T) {
		f := open(t, store.Memory(), "pace=aws boot-delay=3s")
		memory := &compute.Memory{CommitRunning: true}
		c := f.Compute(memory)
		ctx := t.Context()
		steps := []struct {
			name string
			do   func() error
			aws  time.Duration
		}{
			{"create", func() error { _, err := c.Create(ctx, compute.Spec{ID: "i-1"}); return err }, 20 * time.Second},
			{"stop", func() error { return c.Stop(ctx, "i-1") }, time.Minute},
			{"start", func() error { _, err := c.Start(ctx, "i-1"); return err }, 17 * time.Second},
			{"snapshot", func() error { return f.Snapshot(ctx, written, 125) }, 70 * time.Second},
			{"snapshot of a quick volume", func() error { return f.Snapshot(ctx, written, 1000) }, 61250 * time.Millisecond},
			{"snapshot of a volume without a throughput", func() error { return f.Snapshot(ctx, written, 0) }, time.Minute},
			{"registration", func() error { return f.Registration(ctx) }, 10 * time.Second},
			{"deployment", func() error { return f.Deployment(ctx) }, 5 * time.Second},
			{"terminate", func() error { return c.Remove(ctx, "i-1") }, time.Minute},
			{"terminate what is gone", func() error { return c.Remove(ctx, "i-1") }, 0},
		}
		for _, pace := range []string{"aws", "off"} {
			for _, s := range steps {
				begin := time.Now()
				err := s.do()
				want := s.aws
				if pace == "off" {
					want = 0
				}
				if took := time.Since(begin); took != want || err != nil {
					t.Errorf("%s at %s: %s, %v, want %s", s.name, pace, took, err, want)
				}
			}
			if err := f.Set(Spec{}); err != nil {
				t.Fatal(err)
			}
		}
	})
	paces := Paces()
	for name, times := range map[string][2]time.Duration{
		"boot": {paces["aws-best"].Boot, paces["aws"].Boot}, "stop": {paces["aws-best"].Stop, paces["aws"].Stop},
		"snapshot": {paces["aws-best"].Snapshot, paces["aws"].Snapshot}, "registration": {paces["aws-best"].Registration, paces["aws"].Registration},
	} {
		if times[0] >= times[1] {
			t.Errorf("%s takes %s at best, and %s otherwise", name, times[0], times[1])
		}
	}
}

func TestLags(t *testing.T) {
	f, err := Open(store.Memory())
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][2]bool{"off": {}, "lag=2s": {true, true}, "lag=2s service=iam": {false, true}, "service=iam": {}} {
		spec, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Set(spec); err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{f.Lags("ec2", "DescribeImages"), f.Lags("iam", "GetRole")}; got != want || f.Lag() != spec.Lag {
			t.Errorf("%s: EC2 and IAM lag: %v, by %s", text, got, f.Lag())
		}
	}
}
