package rollout

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestZeroOptions: whoever says nothing but the application gets the defaults, and not zeros.
func TestZeroOptions(t *testing.T) {
	tests := map[string]struct {
		options Options
		want    asgtypes.RefreshPreferences
	}{
		"nothing said": {
			options: Options{App: "x"},
			want: asgtypes.RefreshPreferences{
				AutoRollback: aws.Bool(true), InstanceWarmup: aws.Int32(30),
				MinHealthyPercentage: aws.Int32(100), MaxHealthyPercentage: aws.Int32(200), SkipMatching: aws.Bool(true),
				StandbyInstances: asgtypes.StandbyInstancesIgnore, ScaleInProtectedInstances: asgtypes.ScaleInProtectedInstancesRefresh,
			},
		},
		"checkpoints, and no delay said": {
			options: Options{App: "x", Checkpoints: []int{50}},
			want: asgtypes.RefreshPreferences{
				AutoRollback: aws.Bool(true), InstanceWarmup: aws.Int32(30),
				MinHealthyPercentage: aws.Int32(100), MaxHealthyPercentage: aws.Int32(200), SkipMatching: aws.Bool(true),
				StandbyInstances: asgtypes.StandbyInstancesIgnore, ScaleInProtectedInstances: asgtypes.ScaleInProtectedInstancesRefresh,
				CheckpointPercentages: []int32{50, 100}, CheckpointDelay: aws.Int32(600),
			},
		},
		"zeros said": {
			options: Options{App: "x", MinHealthy: new(0), MaxHealthy: 100, Warmup: new(time.Duration(0)), ReplaceMatching: true, Checkpoints: []int{50}, CheckpointDelay: new(time.Duration(0))},
			want: asgtypes.RefreshPreferences{
				AutoRollback: aws.Bool(true), InstanceWarmup: aws.Int32(0),
				MinHealthyPercentage: aws.Int32(0), MaxHealthyPercentage: aws.Int32(100), SkipMatching: aws.Bool(false),
				StandbyInstances: asgtypes.StandbyInstancesIgnore, ScaleInProtectedInstances: asgtypes.ScaleInProtectedInstancesRefresh,
				CheckpointPercentages: []int32{50, 100}, CheckpointDelay: aws.Int32(0),
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := old()
				w.step = func(w *world) {
					if w.steps == 3 {
						w.served(3, "r2")
					}
				}
				tc.options.HTTP = &http.Client{Transport: w}
				if _, err := newRoller(w.clients(), tc.options).Run(t.Context(), two); err != nil {
					t.Fatal(err)
				}
				want := &autoscaling.StartInstanceRefreshInput{
					AutoScalingGroupName: aws.String("hello"), Strategy: asgtypes.RefreshStrategyRolling,
					DesiredConfiguration: &asgtypes.DesiredConfiguration{
						LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1"), Version: aws.String("3")},
					},
					Preferences: &tc.want,
				}
				if diff := cmp.Diff(want, w.input, cmpopts.IgnoreUnexported(
					autoscaling.StartInstanceRefreshInput{}, asgtypes.DesiredConfiguration{}, asgtypes.LaunchTemplateSpecification{}, asgtypes.RefreshPreferences{},
				)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestZeroMin: a first release gets two instances where nothing else is said.
func TestZeroMin(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld()
		w.step = func(w *world) {
			if w.desired > 0 {
				w.served(2, "r2")
			}
		}
		if _, err := newRoller(w.clients(), Options{App: "hello", HTTP: &http.Client{Transport: w}}).Run(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		if !w.didStart("capacity 2 of version 2") {
			t.Errorf("did %q", w.did)
		}
	})
}
