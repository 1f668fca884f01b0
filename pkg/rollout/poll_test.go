package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestCalls: how many calls a rollout of ten minutes makes does not depend on the number of instances, and its end is
// seen soon.
func TestCalls(t *testing.T) {
	var first map[string]int
	for _, instances := range []int{2, 100, 1000} {
		in(t, func(t *testing.T) {
			w := old()
			w.desired, w.running = instances, fleet(2, instances)
			w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
			end := time.Now().Add(10 * time.Minute)
			late := time.Duration(0)
			w.fails = func(string) error {
				if w.runs() && !time.Now().Before(end) {
					w.served(3, "r2")
				}
				return nil
			}
			var lastMinute, looks int
			begin := time.Now()
			watch := func(o Observation) {
				looks++
				if since := o.At.Sub(begin); since > 9*time.Minute && since <= 10*time.Minute {
					lastMinute++
				}
				if o.Refresh.Status == "Successful" && late == 0 {
					late = o.At.Sub(end)
				}
			}
			if _, err := w.roller(Options{Observe: watch}).Run(t.Context(), two); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = w.asked
			}
			if diff := cmp.Diff(first, w.asked); diff != "" {
				t.Errorf("%d instances: %s", instances, diff)
			}
			if lastMinute > 4 {
				t.Errorf("%d looks a minute", lastMinute)
			}
			if late > 20*time.Second {
				t.Errorf("the end was seen %s late", late)
			}
			t.Logf("%d instances: %d looks in 10 min, %d in the last minute, the end seen %s late, calls %v", instances, looks, lastMinute, late, w.asked)
		})
	}
}

// TestGap: the end is seen within a tenth of the time that has passed, or within two seconds.
func TestGap(t *testing.T) {
	tests := []struct {
		elapsed time.Duration
		random  float64
		want    time.Duration
	}{
		{0, 0, 2 * time.Second},
		{0, 0.5, 1750 * time.Millisecond},
		{20 * time.Second, 0, 2 * time.Second},
		{time.Minute, 0, 6 * time.Second},
		{time.Minute, 0.999, 4501500 * time.Microsecond},
		{time.Hour, 0, 20 * time.Second},
	}
	for _, tc := range tests {
		r := &Roller{random: func() float64 { return tc.random }}
		if got := r.gap(tc.elapsed); got != tc.want {
			t.Errorf("gap(%s) at %v = %s, want %s", tc.elapsed, tc.random, got, tc.want)
		}
	}
}

func TestTransient(t *testing.T) {
	tests := map[string]struct {
		err  error
		want bool
	}{
		"throttled":            {apiError("Throttling"), true},
		"request limit":        {apiError("RequestLimitExceeded"), true},
		"after ten attempts":   {fmt.Errorf("call: %w", &retry.MaxAttemptsError{Attempt: 10, Err: apiError("ThrottlingException")}), true},
		"fault of the service": {&smithy.GenericAPIError{Code: "InternalFailure", Fault: smithy.FaultServer}, true},
		"cut off":              {fmt.Errorf("read: %w", io.ErrUnexpectedEOF), true},
		"a look took too long": {context.DeadlineExceeded, true},
		"refused":              {apiError("AccessDenied"), false},
		"expired":              {apiError("ExpiredToken"), false},
		"another":              {errors.New("no"), false},
	}
	for name, tc := range tests {
		if got := transient(tc.err); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestFaultsPass: looks that fail for a while do not end the watch, wherever they fail.
func TestFaultsPass(t *testing.T) {
	for _, call := range []string{"refreshes", "groups", "target health"} {
		t.Run(call, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := old()
				n := 0
				w.fails = func(name string) error {
					if name != call || !w.runs() && n == 0 {
						return nil
					}
					if n++; n < failLimit {
						return apiError("Throttling")
					}
					return nil
				}
				w.step = func(w *world) {
					if w.runs() && time.Since(*w.refresh().StartTime) > time.Minute {
						w.served(3, "r2")
					}
				}
				if _, err := w.roller(Options{}).Run(t.Context(), two); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestInterrupted: what ends the watch before the refresh does says what goes on in AWS.
func TestInterrupted(t *testing.T) {
	stop := errors.New("ended by SIGINT")
	tests := map[string]struct {
		options   Options
		fail      error // of every look
		interrupt bool
		want      string
		left      InterruptedError
		is        error
		did       string // the last thing
	}{
		"interrupted": {
			interrupt: true, is: stop, did: "refresh to 3",
			want: `roll out release "r2": ended by SIGINT; instance refresh refresh-1 to release r2 goes on in AWS`,
			left: InterruptedError{State: GoesOn, Resumable: true, Stoppable: true},
		},
		"interrupted, and to be rolled back": {
			options: Options{CancelOnInterrupt: true}, interrupt: true, is: stop, did: "rollback",
			want: `roll out release "r2": ended by SIGINT; instance refresh refresh-1 to release r2 is being rolled back in AWS`,
			left: InterruptedError{State: RollingBack},
		},
		"credentials expired": {
			fail: apiError("ExpiredToken"), is: ErrExpired, did: "refresh to 3",
			want: `roll out release "r2": AWS credentials have expired (describe instance refreshes of "hello": api error ExpiredToken: said so); instance refresh refresh-1 to release r2 goes on in AWS`,
			left: InterruptedError{State: GoesOn, Resumable: true, Stoppable: true},
		},
		"throttled for ever": {
			fail: apiError("Throttling"), did: "refresh to 3",
			want: `roll out release "r2": describe instance refreshes of "hello": api error Throttling: said so; instance refresh refresh-1 to release r2 goes on in AWS`,
			left: InterruptedError{State: GoesOn, Resumable: true, Stoppable: true},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := old()
				ctx, cancel := context.WithCancelCause(t.Context())
				w.fails = func(call string) error {
					if call == "refreshes" && w.runs() {
						return tc.fail
					}
					return nil
				}
				w.step = func(w *world) {
					if tc.interrupt && w.steps == 4 {
						cancel(stop)
					}
				}
				_, err := w.roller(tc.options).Run(ctx, two)
				if err == nil || err.Error() != tc.want {
					t.Errorf("error = %v\nwant    %s", err, tc.want)
				}
				checkLeft(t, err, tc.left)
				if tc.is != nil && !errors.Is(err, tc.is) {
					t.Errorf("error is not %v", tc.is)
				}
				if last := w.did[len(w.did)-1]; last != tc.did {
					t.Errorf("did %q", w.did)
				}
			})
		})
	}
}

// checkLeft compares what an error says of what is left behind, but for its texts.
func checkLeft(t *testing.T, err error, want InterruptedError) {
	t.Helper()
	e, ok := errors.AsType[*InterruptedError](err)
	if !ok {
		t.Errorf("error %#v is no InterruptedError", err)
		return
	}
	if diff := cmp.Diff(want, *e, cmpopts.IgnoreFields(InterruptedError{}, "Err", "What")); diff != "" {
		t.Error(diff)
	}
}

// TestInterruptedAtAnEdge: the refresh has just ended, or has perhaps just begun.
func TestInterruptedAtAnEdge(t *testing.T) {
	tests := map[string]struct {
		set  func(w *world, cancel func())
		want string
		left InterruptedError
	}{
		"over already": {
			set: func(w *world, cancel func()) {
				w.turn = &asgtypes.ActiveInstanceRefreshNotFoundFault{}
				w.step = func(w *world) {
					if w.steps == 4 {
						cancel()
					}
				}
			},
			want: `roll out release "r2": context canceled; instance refresh refresh-1 to release r2 is over already`,
			left: InterruptedError{State: Ended},
		},
		"while it is being started": {
			set: func(w *world, cancel func()) {
				w.fails = func(call string) error {
					if call == "start" {
						cancel()
						return context.Canceled
					}
					return nil
				}
			},
			want: `context canceled; an instance refresh of "hello" was being started`,
			left: InterruptedError{State: Unknown},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := old()
				ctx, cancel := context.WithCancel(t.Context())
				tc.set(w, cancel)
				_, err := w.roller(Options{CancelOnInterrupt: true}).Run(ctx, two)
				if err == nil || err.Error() != tc.want || !errors.Is(err, context.Canceled) {
					t.Errorf("error = %v\nwant    %s", err, tc.want)
				}
				checkLeft(t, err, tc.left)
			})
		})
	}
}

func TestInterruptedLaunch(t *testing.T) {
	left := map[bool]InterruptedError{false: {State: GoesOn, Resumable: true}, true: {State: TakenBack}}
	for cancelToo, want := range map[bool]string{
		false: `launch release "r2": context canceled; the launch of release r2 goes on in AWS`,
		true:  `launch release "r2": context canceled; the launch of release r2 was taken back: the group becomes empty again`,
	} {
		in(t, func(t *testing.T) {
			w := newWorld()
			ctx, cancel := context.WithCancel(t.Context())
			w.step = func(w *world) {
				if w.steps == 4 {
					cancel()
				}
			}
			_, err := w.roller(Options{CancelOnInterrupt: cancelToo}).Run(ctx, two)
			if err == nil || err.Error() != want {
				t.Errorf("error = %v\nwant    %s", err, want)
			}
			checkLeft(t, err, left[cancelToo])
			if (w.desired == 0) != cancelToo {
				t.Errorf("did %q", w.did)
			}
		})
	}
}

// TestInterruptedVerification: everything is replaced, and nothing is proved.
func TestInterruptedVerification(t *testing.T) {
	left := map[bool]InterruptedError{false: {State: Unverified}, true: {State: RollingBack}}
	for cancelToo, want := range map[bool]string{
		false: "every instance of hello runs release r2, which is not verified",
		true:  "instance refresh refresh-2 to release r1 takes it back",
	} {
		in(t, func(t *testing.T) {
			w := old()
			ctx, cancel := context.WithCancel(t.Context())
			w.step = func(w *world) {
				if w.steps == 3 {
					w.served(3, "r2")
					w.running[0].Target = "unhealthy"
				}
				if w.steps == 6 {
					cancel()
				}
			}
			_, err := w.roller(Options{CancelOnInterrupt: cancelToo}).Run(ctx, two)
			if err == nil || !strings.HasSuffix(err.Error(), want) || !errors.Is(err, context.Canceled) {
				t.Errorf("error = %v\nwant    … %s", err, want)
			}
			checkLeft(t, err, left[cancelToo])
			if w.pointers() != 1 {
				t.Error("the pointer moved")
			}
		})
	}
}
