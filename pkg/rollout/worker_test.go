package rollout

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/google/go-cmp/cmp"
)

// aWorker is a fleet that has no load balancer, with its release.
func aWorker() *world {
	w := old()
	w.worker = true
	w.fails = func(call string) error {
		if strings.Contains(call, "target") || strings.Contains(call, "balancer") || strings.Contains(call, "listener") {
			return apiError("AccessDenied")
		}
		return nil
	}
	w.ask = func(*http.Request) (*http.Response, error) { return nil, errors.New("nobody may be asked") }
	return w
}

// TestWorker: what listens nowhere is rolled out by what Auto Scaling says of its instances, and nobody else is asked.
func TestWorker(t *testing.T) {
	in(t, func(t *testing.T) {
		w := aWorker()
		w.step = func(w *world) {
			if w.steps == 5 {
				w.served(3, "r2")
			}
		}
		got, err := w.roller(Options{Worker: true}).Run(t.Context(), two)
		want := Result{Release: two, TemplateVersion: 3, Instances: 2, Replaced: true}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	})
}

// TestWorkerThatDies: instances that never get into service end the rollout, as everywhere.
func TestWorkerThatDies(t *testing.T) {
	in(t, func(t *testing.T) {
		w := aWorker()
		w.step = func(w *world) {
			if w.is(asgtypes.InstanceRefreshStatusRollbackInProgress) {
				w.running = serving(2, "i-1", "i-2")
				w.refresh().Status = asgtypes.InstanceRefreshStatusRollbackSuccessful
			}
			if !w.is(asgtypes.InstanceRefreshStatusInProgress) {
				return
			}
			// Each is held by a hook, abandoned, and replaced.
			age, lifecycle := time.Since(*w.refresh().StartTime), "Pending:Wait"
			if age%(40*time.Second) > 20*time.Second {
				lifecycle = "Terminating:Wait"
			}
			w.running = append(serving(2, "i-1", "i-2"), newcomer(fmt.Sprintf("i-new%d", age/(40*time.Second)), lifecycle, "Healthy", "", ""))
		}
		_, err := w.roller(Options{Worker: true}).Run(t.Context(), two)
		if !errors.Is(err, ErrUnhealthy) || !errors.Is(err, ErrReverted) {
			t.Errorf("%v", err)
		}
	})
}

// TestWorkerOrNot: a fleet that has lost its target group is no worker's.
func TestWorkerOrNot(t *testing.T) {
	in(t, func(t *testing.T) {
		_, err := aWorker().roller(Options{}).Run(t.Context(), two)
		if _, incomplete := errors.AsType[*IncompleteError](err); !incomplete {
			t.Errorf("%v", err)
		}
	})
}
