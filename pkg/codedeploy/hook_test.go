package codedeploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/google/go-cmp/cmp"
)

// hooks are what CodeDeploy believes to have installed, and what is there.
type hooks struct {
	none      bool // there is no deployment group
	attempted *types.LastDeploymentInfo
	succeeded *types.LastDeploymentInfo
	believed  []types.AutoScalingGroup
	there     []asgtypes.LifecycleHook
	seen      time.Time                             // none is seen before
	update    func(h *hooks, groups []string) error // after CodeDeploy's own
	updated   [][]string
}

func (h *hooks) BatchGetDeploymentGroups(context.Context, *sdk.BatchGetDeploymentGroupsInput, ...func(*sdk.Options)) (*sdk.BatchGetDeploymentGroupsOutput, error) {
	if h.none {
		return &sdk.BatchGetDeploymentGroupsOutput{ErrorMessage: aws.String("no such group")}, nil
	}
	return &sdk.BatchGetDeploymentGroupsOutput{DeploymentGroupsInfo: []types.DeploymentGroupInfo{{
		AutoScalingGroups: h.believed, LastAttemptedDeployment: h.attempted, LastSuccessfulDeployment: h.succeeded,
	}}}, nil
}

// UpdateDeploymentGroup puts a hook on what comes, takes it from what goes, and leaves alone what stays.
func (h *hooks) UpdateDeploymentGroup(ctx context.Context, in *sdk.UpdateDeploymentGroupInput, _ ...func(*sdk.Options)) (*sdk.UpdateDeploymentGroupOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h.updated = append(h.updated, in.AutoScalingGroups)
	known := func(name string) func(types.AutoScalingGroup) bool {
		return func(g types.AutoScalingGroup) bool { return *g.Name == name }
	}
	if in.AutoScalingGroups != nil {
		h.believed = slices.DeleteFunc(h.believed, func(g types.AutoScalingGroup) bool {
			gone := !slices.Contains(in.AutoScalingGroups, *g.Name)
			if gone {
				h.there = slices.DeleteFunc(h.there, func(hook asgtypes.LifecycleHook) bool { return *hook.LifecycleHookName == *g.Hook })
			}
			return gone
		})
	}
	for _, name := range in.AutoScalingGroups {
		if !slices.ContainsFunc(h.believed, known(name)) {
			h.believed = append(h.believed, believe(name, "new")...)
			h.there = append(h.there, there("new", "ABANDON")...)
		}
	}
	if h.update != nil {
		return &sdk.UpdateDeploymentGroupOutput{}, h.update(h, in.AutoScalingGroups)
	}
	return &sdk.UpdateDeploymentGroupOutput{}, nil
}

func (h *hooks) DescribeLifecycleHooks(context.Context, *autoscaling.DescribeLifecycleHooksInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeLifecycleHooksOutput, error) {
	if time.Now().Before(h.seen) {
		return &autoscaling.DescribeLifecycleHooksOutput{}, nil
	}
	return &autoscaling.DescribeLifecycleHooksOutput{LifecycleHooks: h.there}, nil
}

func believe(group, hook string) []types.AutoScalingGroup {
	return []types.AutoScalingGroup{{Name: aws.String(group), Hook: aws.String(hook)}}
}

func there(name, result string) []asgtypes.LifecycleHook {
	return []asgtypes.LifecycleHook{{LifecycleHookName: aws.String(name), DefaultResult: aws.String(result)}}
}

func last(id string, status types.DeploymentStatus) *types.LastDeploymentInfo {
	return &types.LastDeploymentInfo{DeploymentId: aws.String(id), Status: status}
}

func TestGuard(t *testing.T) {
	succeeded := last("d-1", "Succeeded")
	twoCalls := [][]string{{}, {"hello"}}
	denied := errors.New("denied")
	tests := map[string]struct {
		hooks    *hooks
		guarded  bool
		updated  [][]string
		err      string
		notSetUp bool
	}{
		"all is well": {hooks: &hooks{succeeded: succeeded, believed: believe("hello", "hook"), there: there("hook", "ABANDON")}, guarded: true},
		"it is missing": {
			hooks:   &hooks{succeeded: succeeded, believed: believe("hello", "hook"), there: there("mine", "ABANDON")},
			guarded: true, updated: twoCalls,
		},
		"it was never there": {hooks: &hooks{succeeded: succeeded, believed: believe("hello", "")}, guarded: true, updated: twoCalls},
		"it lets everybody pass": {
			hooks:   &hooks{succeeded: succeeded, believed: believe("hello", "hook"), there: there("hook", "CONTINUE")},
			guarded: true, updated: twoCalls,
		},
		"it is on a group that was replaced": {
			hooks:   &hooks{succeeded: succeeded, believed: believe("other", "hook"), there: there("hook", "ABANDON")},
			guarded: true, updated: twoCalls,
		},
		"detached, as a run ended in between": {hooks: &hooks{succeeded: succeeded}, guarded: true, updated: [][]string{{"hello"}}},
		"it cannot be repaired": {
			hooks: &hooks{succeeded: succeeded, believed: believe("hello", "hook"), update: func(h *hooks, _ []string) error {
				h.there = nil
				return nil
			}},
			guarded: true, updated: twoCalls, err: `launching hook "new" is missing on "hello", even after "hello" was detached from deployment group "hello" and attached again`,
		},
		"it cannot be attached": {
			hooks:   &hooks{succeeded: succeeded, update: func(*hooks, []string) error { return denied }},
			guarded: true, updated: [][]string{{"hello"}}, err: `attach "hello": new instances serve unchecked: update deployment group "hello": denied`,
		},
		"no deployment yet": {hooks: &hooks{}},
		"no deployment yet, and attached": {
			hooks: &hooks{believed: believe("hello", "hook"), there: there("hook", "ABANDON")}, updated: [][]string{{}},
		},
		"none has succeeded": {
			hooks: &hooks{attempted: last("d-1", "Failed"), believed: believe("hello", "hook")}, updated: [][]string{{}},
		},
		"there is no group": {hooks: &hooks{none: true}, err: "CodeDeploy is not set up", notSetUp: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				guarded, err := newClient(clients{groups: test.hooks, hooks: test.hooks}, Options{App: "hello"}).Guard(t.Context(), "hello")
				if guarded != test.guarded || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Errorf("guarded %t, %v", guarded, err)
				}
				if errors.Is(err, ErrNotSetUp) != test.notSetUp {
					t.Errorf("error %v", err)
				}
				if diff := cmp.Diff(test.updated, test.hooks.updated); diff != "" {
					t.Error(diff)
				}
				if attached := len(test.hooks.believed) > 0; attached != (test.guarded && test.hooks.succeeded != nil) {
					t.Errorf("attached: %t", attached)
				}
			})
		})
	}
}

// A hook that was just put may take some seconds to be seen.
func TestGuardWaitsForHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hooks{succeeded: last("d-1", "Succeeded")}
		h.update = func(h *hooks, _ []string) error {
			h.seen = time.Now().Add(5 * time.Second)
			return nil
		}
		if guarded, err := newClient(clients{groups: h, hooks: h}, Options{App: "hello"}).Guard(t.Context(), "hello"); !guarded || err != nil {
			t.Errorf("guarded %t, %v", guarded, err)
		}
		if diff := cmp.Diff([][]string{{"hello"}}, h.updated); diff != "" {
			t.Error(diff)
		}
	})
}

// A group that was detached to repair its hook does not stay so because somebody lost patience meanwhile.
func TestGuardInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := &hooks{succeeded: last("d-1", "Succeeded"), believed: believe("hello", "hook"), update: func(*hooks, []string) error {
		cancel()
		return nil
	}}
	if guarded, err := newClient(clients{groups: h, hooks: h}, Options{App: "hello"}).Guard(ctx, "hello"); !guarded || err != nil {
		t.Errorf("guarded %t, %v", guarded, err)
	}
	if diff := cmp.Diff([][]string{{}, {"hello"}}, h.updated); diff != "" {
		t.Error(diff)
	}
}

func TestCheckHook(t *testing.T) {
	succeeded := last("d-1", "Succeeded")
	tests := map[string]struct {
		hooks *hooks
		want  []string
		err   error
	}{
		"all is well":       {hooks: &hooks{succeeded: succeeded, believed: believe("hello", "hook"), there: there("hook", "ABANDON")}},
		"it is missing":     {hooks: &hooks{succeeded: succeeded, believed: believe("hello", "hook")}, want: []string{`launching hook "hook" is missing on "hello"`}},
		"it is detached":    {hooks: &hooks{succeeded: succeeded}, want: []string{`deployment group "hello" has no Auto Scaling group`}},
		"no deployment yet": {hooks: &hooks{}, want: []string{`no deployment of "hello" has succeeded yet`}},
		"there is no group": {hooks: &hooks{none: true}, err: ErrNotSetUp},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := newClient(clients{groups: test.hooks, hooks: test.hooks}, Options{App: "hello"}).CheckHook(t.Context())
			if !errors.Is(err, test.err) || len(test.hooks.updated) > 0 {
				t.Errorf("%v after %q", err, test.hooks.updated)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What comes of a first deployment that an earlier run left under way decides.
func TestGuardAwaitsFirstDeployment(t *testing.T) {
	for _, end := range []types.DeploymentStatus{types.DeploymentStatusSucceeded, types.DeploymentStatusFailed} {
		t.Run(string(end), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hooks{attempted: last("d-1", "InProgress"), believed: believe("hello", "hook"), there: there("hook", "ABANDON")}
				s := &service{step: after(3, func(d *types.DeploymentInfo) {
					d.Status = end
					if end == types.DeploymentStatusSucceeded {
						h.succeeded = last("d-1", end)
					}
				})}
				s.add("user", "InProgress", "one.zip", "release r1")
				guarded, err := newClient(clients{deployments: s, groups: h, hooks: h}, Options{App: "hello"}).Guard(t.Context(), "hello")
				if want := end == types.DeploymentStatusSucceeded; guarded != want || err != nil {
					t.Errorf("guarded %t, %v", guarded, err)
				}
				if attached := len(h.believed) > 0; attached != guarded {
					t.Errorf("attached: %t", attached)
				}
			})
		})
	}
}

func TestDeployFirst(t *testing.T) {
	tests := map[string]struct {
		before   func(s *service)
		step     func(s *service, cancel func())
		create   error
		updated  [][]string
		attached bool
		err      string
	}{
		"it passes": {step: func(s *service, _ func()) { succeed(s.deployments[0]) }, updated: [][]string{{"hello"}}, attached: true},
		"it passed in a deployment group that is no more, and does not in this one": {
			before: func(s *service) { s.add("user", "Succeeded", "one.zip", "release r1") },
			step: func(s *service, _ func()) {
				if len(s.deployments) > 1 {
					s.deployments[1].Status = types.DeploymentStatusFailed
				}
			},
			updated: [][]string{{"hello"}, {}}, err: "ended as Failed",
		},
		"it fails": {
			step:    func(s *service, _ func()) { s.deployments[0].Status = types.DeploymentStatusFailed },
			updated: [][]string{{"hello"}, {}}, err: "ended as Failed",
		},
		"one instance fails, which CodeDeploy does not mind": {
			step: func(s *service, _ func()) {
				s.deployments[0].Status, s.deployments[0].DeploymentOverview = types.DeploymentStatusSucceeded, &types.DeploymentOverview{Succeeded: 1, Failed: 1}
			},
			updated: [][]string{{"hello"}, {}}, err: "ended as Succeeded",
		},
		"it cannot be made":                       {create: errors.New("denied"), updated: [][]string{{"hello"}, {}}, err: "create deployment: denied"},
		"it goes on when somebody loses patience": {step: func(_ *service, cancel func()) { cancel() }, updated: [][]string{{"hello"}}, attached: true, err: "goes on in AWS"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				h, s := &hooks{}, &service{create: func(*sdk.CreateDeploymentInput) error {
					return test.create
				}}
				if test.before != nil {
					test.before(s)
				}
				s.step = func(s *service) { test.step(s, cancel) }
				_, err := newClient(clients{deployments: s, groups: h, hooks: h}, Options{App: "hello"}).DeployFirst(ctx, "hello", one, "release r1")
				if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v", err)
				}
				if diff := cmp.Diff(test.updated, h.updated); diff != "" {
					t.Error(diff)
				}
				if attached := len(h.believed) > 0; attached != test.attached {
					t.Errorf("attached: %t", attached)
				}
			})
		})
	}
}
