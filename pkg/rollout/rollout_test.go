package rollout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/google/go-cmp/cmp"
)

// world is the AWS that a rollout sees: a group, its refreshes, a launch template whose versions are images, and a
// pointer. Time moves it: each look at the group is a step.
type world struct {
	groups    int // how many are tagged
	desired   int
	version   string // the group's launch template version
	images    []string
	running   []Instance
	refreshes []*asgtypes.InstanceRefresh
	pointer   []string
	serves    string         // X-Release that the load balancer answers
	step      func(w *world) // what happens between two looks
	did       []string       // calls that change something
	steps     int            // looks at the group so far
	startErr  error          // of StartInstanceRefresh
	asked     map[string]int // calls of each kind
	activity  asgtypes.Activity
}

func newWorld() *world {
	return &world{groups: 1, version: "1", images: []string{"ami-debian"}, asked: map[string]int{}, step: func(*world) {}}
}

func (w *world) roller(o Options) *Roller {
	o.App, o.Min, o.Warmup, o.MinHealthy, o.MaxHealthy = "hello", 2, 30*time.Second, 100, 200
	return New(Clients{Groups: w, Refreshes: w, Templates: w, Balancers: w, Parameters: w, HTTP: &http.Client{Transport: w}}, o)
}

func (w *world) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"X-Release": {w.serves}}, Body: io.NopCloser(strings.NewReader("hi"))}, nil
}

func (w *world) DescribeAutoScalingGroups(context.Context, *autoscaling.DescribeAutoScalingGroupsInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeAutoScalingGroupsOutput, error) {
	w.asked["groups"]++
	w.steps++
	w.step(w)
	out := &autoscaling.DescribeAutoScalingGroupsOutput{}
	for range w.groups {
		g := asgtypes.AutoScalingGroup{
			AutoScalingGroupName: aws.String("hello"), TargetGroupARNs: []string{"tg"},
			MinSize: aws.Int32(int32(w.desired)), MaxSize: aws.Int32(4), DesiredCapacity: aws.Int32(int32(w.desired)),
			LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1"), Version: aws.String(w.version)},
		}
		for _, i := range w.running {
			g.Instances = append(g.Instances, asgtypes.Instance{
				InstanceId: aws.String(i.ID), LifecycleState: asgtypes.LifecycleState(i.Lifecycle),
				LaunchTemplate: &asgtypes.LaunchTemplateSpecification{Version: aws.String(i.TemplateVersion)},
			})
		}
		out.AutoScalingGroups = append(out.AutoScalingGroups, g)
	}
	return out, nil
}

func (w *world) UpdateAutoScalingGroup(_ context.Context, in *autoscaling.UpdateAutoScalingGroupInput, _ ...func(*autoscaling.Options)) (*autoscaling.UpdateAutoScalingGroupOutput, error) {
	w.desired, w.version = int(*in.DesiredCapacity), *in.LaunchTemplate.Version
	w.did = append(w.did, fmt.Sprintf("capacity %d of version %s", w.desired, w.version))
	return nil, nil
}

func (w *world) DescribeScalingActivities(context.Context, *autoscaling.DescribeScalingActivitiesInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeScalingActivitiesOutput, error) {
	return &autoscaling.DescribeScalingActivitiesOutput{Activities: []asgtypes.Activity{w.activity}}, nil
}

func (w *world) StartInstanceRefresh(_ context.Context, in *autoscaling.StartInstanceRefreshInput, _ ...func(*autoscaling.Options)) (*autoscaling.StartInstanceRefreshOutput, error) {
	if w.startErr != nil {
		return nil, w.startErr
	}
	version := *in.DesiredConfiguration.LaunchTemplate.Version
	p := in.Preferences
	w.did = append(w.did, fmt.Sprintf("refresh to %s, %d-%d%%, warm-up %d, auto-rollback %t", version, *p.MinHealthyPercentage, *p.MaxHealthyPercentage, *p.InstanceWarmup, *p.AutoRollback))
	w.begin(version)
	return &autoscaling.StartInstanceRefreshOutput{InstanceRefreshId: aws.String("refresh-1")}, nil
}

func (w *world) begin(version string) {
	w.refreshes = append(w.refreshes, &asgtypes.InstanceRefresh{
		InstanceRefreshId: aws.String("refresh-1"), Status: asgtypes.InstanceRefreshStatusInProgress, StartTime: aws.Time(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		DesiredConfiguration: &asgtypes.DesiredConfiguration{LaunchTemplate: &asgtypes.LaunchTemplateSpecification{Version: aws.String(version)}},
	})
}

func (w *world) DescribeInstanceRefreshes(context.Context, *autoscaling.DescribeInstanceRefreshesInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeInstanceRefreshesOutput, error) {
	w.asked["refreshes"]++
	return &autoscaling.DescribeInstanceRefreshesOutput{InstanceRefreshes: []asgtypes.InstanceRefresh{*w.refreshes[len(w.refreshes)-1]}}, nil
}

func (w *world) RollbackInstanceRefresh(context.Context, *autoscaling.RollbackInstanceRefreshInput, ...func(*autoscaling.Options)) (*autoscaling.RollbackInstanceRefreshOutput, error) {
	w.did = append(w.did, "rollback")
	w.refreshes[len(w.refreshes)-1].Status = asgtypes.InstanceRefreshStatusRollbackInProgress
	return nil, nil
}

func (w *world) DescribeLaunchTemplateVersions(_ context.Context, in *ec2.DescribeLaunchTemplateVersionsInput, _ ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplateVersionsOutput, error) {
	number := len(w.images)
	if in.MinVersion != nil {
		number, _ = strconv.Atoi(*in.MinVersion)
	}
	out := &ec2.DescribeLaunchTemplateVersionsOutput{}
	if number <= len(w.images) {
		out.LaunchTemplateVersions = []ec2types.LaunchTemplateVersion{{
			VersionNumber: aws.Int64(int64(number)), LaunchTemplateData: &ec2types.ResponseLaunchTemplateData{ImageId: aws.String(w.images[number-1])},
		}}
	}
	return out, nil
}

func (w *world) CreateLaunchTemplateVersion(_ context.Context, in *ec2.CreateLaunchTemplateVersionInput, _ ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateVersionOutput, error) {
	w.images = append(w.images, *in.LaunchTemplateData.ImageId)
	w.did = append(w.did, fmt.Sprintf("version %d of %s from %s: %s", len(w.images), *in.LaunchTemplateData.ImageId, *in.SourceVersion, *in.VersionDescription))
	return &ec2.CreateLaunchTemplateVersionOutput{LaunchTemplateVersion: &ec2types.LaunchTemplateVersion{VersionNumber: aws.Int64(int64(len(w.images)))}}, nil
}

func (w *world) ModifyLaunchTemplate(_ context.Context, in *ec2.ModifyLaunchTemplateInput, _ ...func(*ec2.Options)) (*ec2.ModifyLaunchTemplateOutput, error) {
	w.did = append(w.did, "default version "+*in.DefaultVersion)
	return nil, nil
}

func (w *world) DescribeTargetGroups(context.Context, *elb.DescribeTargetGroupsInput, ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error) {
	w.asked["target groups"]++
	return &elb.DescribeTargetGroupsOutput{TargetGroups: []elbtypes.TargetGroup{{LoadBalancerArns: []string{"lb"}}}}, nil
}

func (w *world) DescribeLoadBalancers(context.Context, *elb.DescribeLoadBalancersInput, ...func(*elb.Options)) (*elb.DescribeLoadBalancersOutput, error) {
	return &elb.DescribeLoadBalancersOutput{LoadBalancers: []elbtypes.LoadBalancer{{DNSName: aws.String("lb.example")}}}, nil
}

func (w *world) DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error) {
	return &elb.DescribeListenersOutput{Listeners: []elbtypes.Listener{{Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(80)}}}, nil
}

func (w *world) DescribeTargetHealth(context.Context, *elb.DescribeTargetHealthInput, ...func(*elb.Options)) (*elb.DescribeTargetHealthOutput, error) {
	w.asked["target health"]++
	out := &elb.DescribeTargetHealthOutput{}
	for _, i := range w.running {
		if i.Target == "" {
			continue
		}
		d := elbtypes.TargetHealthDescription{Target: &elbtypes.TargetDescription{Id: aws.String(i.ID)}, TargetHealth: &elbtypes.TargetHealth{State: elbtypes.TargetHealthStateEnum(i.Target)}}
		if i.Reason != "" {
			d.TargetHealth.Reason, d.TargetHealth.Description = elbtypes.TargetHealthReasonEnum(i.Reason), aws.String("said so")
		}
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, d)
	}
	return out, nil
}

func (w *world) GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	if len(w.pointer) == 0 {
		return nil, &ssmtypes.ParameterNotFound{}
	}
	return &ssm.GetParameterOutput{Parameter: &ssmtypes.Parameter{Value: aws.String(w.pointer[len(w.pointer)-1])}}, nil
}

func (w *world) PutParameter(_ context.Context, in *ssm.PutParameterInput, _ ...func(*ssm.Options)) (*ssm.PutParameterOutput, error) {
	w.pointer = append(w.pointer, *in.Value)
	w.did = append(w.did, "point "+*in.Name)
	return nil, nil
}

func (w *world) GetParameterHistory(context.Context, *ssm.GetParameterHistoryInput, ...func(*ssm.Options)) (*ssm.GetParameterHistoryOutput, error) {
	out := &ssm.GetParameterHistoryOutput{}
	for _, v := range w.pointer {
		out.Parameters = append(out.Parameters, ssmtypes.ParameterHistory{Value: aws.String(v)})
	}
	return out, nil
}

// serving makes n instances of a version that the load balancer finds healthy.
func serving(version int, ids ...string) []Instance {
	var all []Instance
	for _, id := range ids {
		all = append(all, Instance{ID: id, TemplateVersion: strconv.Itoa(version), Lifecycle: "InService", Target: "healthy"})
	}
	return all
}

var two = Release{Name: "r2", AMIID: "ami-2", Commit: "c0ffee"}

// old is a fleet that serves release r1 from version 2 of its launch template.
func old() *world {
	w := newWorld()
	w.images, w.version, w.desired, w.serves = []string{"ami-debian", "ami-1"}, "2", 2, "r1"
	w.running = serving(2, "i-1", "i-2")
	w.pointer = []string{`{"release":"r1","ami":"ami-1","template_version":2}`}
	return w
}

func TestFirstRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.step = func(w *world) {
			if w.steps == 4 {
				w.running, w.serves = serving(2, "i-1", "i-2"), "r2"
			}
		}
		got, err := w.roller(Options{}).Run(t.Context(), two)
		if err != nil {
			t.Fatal(err)
		}
		want := Result{URL: "http://lb.example", Release: two, TemplateVersion: 2, Instances: 2, Replaced: true}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		did := []string{"version 2 of ami-2 from 1: release r2", "capacity 2 of version 2", "default version 2", "point /ingot/hello/release"}
		if diff := cmp.Diff(did, w.did); diff != "" {
			t.Error(diff)
		}
		releases, err := w.roller(Options{}).Releases(t.Context())
		if err != nil || len(releases) != 1 || releases[0].Release != "r2" || releases[0].Commit != "c0ffee" || releases[0].Since.IsZero() {
			t.Errorf("releases %+v, %v", releases, err)
		}
	})
}

func TestFirstReleaseNeverHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.step = func(w *world) {
			// Auto Scaling replaces what the load balancer finds unhealthy, without an end.
			id := fmt.Sprintf("i-%d", w.steps/2)
			w.running = []Instance{{ID: id, TemplateVersion: "2", Lifecycle: "InService", Target: "unhealthy", Reason: "Target.ResponseCodeMismatch"}}
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrUnhealthy) || !strings.Contains(err.Error(), "Target.ResponseCodeMismatch: said so") {
			t.Errorf("error = %v", err)
		}
		if last := w.did[len(w.did)-1]; last != "capacity 0 of version 2" || len(w.pointer) != 0 {
			t.Errorf("did %q, pointer %q", w.did, w.pointer)
		}
	})
}

func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := old()
		w.step = func(w *world) {
			if w.steps == 5 {
				w.running, w.serves, w.version = serving(3, "i-3", "i-4"), "r2", "3"
				w.refreshes[0].Status = asgtypes.InstanceRefreshStatusSuccessful
			}
		}
		got, err := w.roller(Options{}).Run(t.Context(), two)
		if err != nil || !got.Replaced || got.TemplateVersion != 3 {
			t.Fatalf("%+v, %v", got, err)
		}
		did := []string{"version 3 of ami-2 from 2: release r2", "refresh to 3, 100-200%, warm-up 30, auto-rollback true", "default version 3", "point /ingot/hello/release"}
		if diff := cmp.Diff(did, w.did); diff != "" {
			t.Error(diff)
		}
		if w.asked["target groups"] != 1 {
			t.Errorf("asked for what does not change %d times", w.asked["target groups"])
		}
	})
}

func TestSameReleaseAgainChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := old()
		got, err := w.roller(Options{}).Run(t.Context(), Release{Name: "r1", AMIID: "ami-1"})
		if err != nil || got.Replaced || got.Instances != 2 {
			t.Fatalf("%+v, %v", got, err)
		}
		if diff := cmp.Diff([]string{"default version 2"}, w.did); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRolledBackByAWS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := old()
		w.activity = asgtypes.Activity{StatusCode: asgtypes.ScalingActivityStatusCodeFailed, Description: aws.String("Launching a new EC2 instance"), StatusMessage: aws.String("no capacity")}
		w.step = func(w *world) {
			if w.steps == 3 {
				w.refreshes[0].Status, w.refreshes[0].StatusReason = asgtypes.InstanceRefreshStatusRollbackSuccessful, aws.String("alarm")
			}
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		want := `roll out release "r2": release was rolled back by instance refresh refresh-1: alarm; Launching a new EC2 instance: no capacity`
		if !errors.Is(err, ErrReverted) || err.Error() != want {
			t.Errorf("error = %v\nwant    %s", err, want)
		}
		if slices.Contains(w.did, "point /ingot/hello/release") {
			t.Error("the pointer moved")
		}
	})
}

func TestLostInstancesAreRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := old()
		w.step = func(w *world) {
			if len(w.refreshes) == 0 {
				return
			}
			if w.refreshes[0].Status == asgtypes.InstanceRefreshStatusRollbackInProgress {
				w.running = serving(2, "i-1", "i-2")
				w.refreshes[0].Status = asgtypes.InstanceRefreshStatusRollbackSuccessful
				return
			}
			w.running = append(serving(2, "i-1", "i-2"), Instance{ID: fmt.Sprintf("i-new%d", w.steps), TemplateVersion: "3", Lifecycle: "Pending"})
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrReverted) || !slices.Contains(w.did, "rollback") {
			t.Errorf("error = %v after %q", err, w.did)
		}
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := old()
		w.begin("7")
		w.startErr = &asgtypes.InstanceRefreshInProgressFault{}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "version 7 is InProgress since 2026-01-01") {
			t.Errorf("error = %v", err)
		}
	})
}

func TestAdoptsItsOwnRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := old()
		w.images = append(w.images, "ami-2") // a run that was killed made the version and started the refresh
		w.begin("3")
		w.startErr = &asgtypes.InstanceRefreshInProgressFault{}
		w.step = func(w *world) {
			if w.steps == 3 {
				w.running, w.serves, w.version = serving(3, "i-3", "i-4"), "r2", "3"
				w.refreshes[0].Status = asgtypes.InstanceRefreshStatusSuccessful
			}
		}
		if _, err := w.roller(Options{}).Run(t.Context(), two); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"default version 3", "point /ingot/hello/release"}, w.did); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWrongReleaseIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := old()
		w.step = func(w *world) {
			switch {
			case len(w.refreshes) == 1 && w.steps == 3:
				w.running, w.serves, w.version = serving(3, "i-3", "i-4"), "r0", "3"
				w.refreshes[0].Status = asgtypes.InstanceRefreshStatusSuccessful
			case len(w.refreshes) == 2:
				w.running, w.serves, w.version = serving(2, "i-5", "i-6"), "r1", "2"
				w.refreshes[1].Status = asgtypes.InstanceRefreshStatusSuccessful
			}
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if !errors.Is(err, ErrReverted) || !strings.Contains(err.Error(), `answered HTTP 200 from release "r0"`) || len(w.pointer) != 1 {
			t.Errorf("error = %v, pointer %q", err, w.pointer)
		}
		if last := w.did[len(w.did)-1]; !strings.HasPrefix(last, "refresh to 2,") {
			t.Errorf("did %q", w.did)
		}
	})
}

func TestRollback(t *testing.T) {
	history := []string{`{"release":"r0","ami":"ami-0","template_version":9}`, `{"release":"r1","ami":"ami-1","template_version":2}`, `{"release":"r2","ami":"ami-2","template_version":3}`}
	tests := map[string]struct {
		to   string
		want string
	}{
		"to the one before":            {want: "refresh to 2,"},
		"to a named one":               {to: "r1", want: "refresh to 2,"},
		"to one whose version is gone": {to: "r0", want: "refresh to 4,"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := old()
				w.images, w.version, w.serves, w.pointer = []string{"ami-debian", "ami-1", "ami-2"}, "3", "r2", slices.Clone(history)
				w.running = serving(3, "i-1", "i-2")
				w.step = func(w *world) {
					if len(w.refreshes) == 1 && w.refreshes[0].Status == asgtypes.InstanceRefreshStatusInProgress {
						w.refreshes[0].Status = asgtypes.InstanceRefreshStatusSuccessful
						w.version = *w.refreshes[0].DesiredConfiguration.LaunchTemplate.Version
						w.serves = map[string]string{"2": "r1", "4": "r0"}[w.version]
						number, _ := strconv.Atoi(w.version)
						w.running = serving(number, "i-3", "i-4")
					}
				}
				if _, err := w.roller(Options{}).Rollback(t.Context(), tc.to); err != nil {
					t.Fatal(err)
				}
				if !slices.ContainsFunc(w.did, func(d string) bool { return strings.HasPrefix(d, tc.want) }) || len(w.pointer) != 4 {
					t.Errorf("did %q", w.did)
				}
			})
		})
	}
}

func TestRollbackToNothing(t *testing.T) {
	one := []Pointer{{Release: "r1"}}
	for name, tc := range map[string]struct {
		releases []Pointer
		to       string
	}{"none yet": {}, "only one": {releases: one}, "unknown": {releases: one, to: "r9"}} {
		if _, err := earlier(tc.releases, tc.to); !errors.Is(err, ErrNoRelease) {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

func TestInterruptSaysWhatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := old()
		stop := errors.New("interrupted")
		ctx, cancel := context.WithCancelCause(t.Context())
		w.step = func(w *world) {
			if w.steps == 4 {
				cancel(stop)
			}
		}
		_, err := w.roller(Options{}).Run(ctx, two)
		if !errors.Is(err, stop) || !strings.Contains(err.Error(), "instance refresh refresh-1 goes on in AWS") {
			t.Errorf("error = %v", err)
		}
	})
}

func TestNoFleet(t *testing.T) {
	w := newWorld()
	w.groups = 0
	if _, err := w.roller(Options{}).Run(t.Context(), two); !errors.Is(err, ErrNoFleet) || !strings.HasSuffix(err.Error(), "run: mage infra:apply") {
		t.Errorf("error = %v", err)
	}
	w.groups = 2
	if _, err := w.roller(Options{}).Run(t.Context(), two); err == nil || errors.Is(err, ErrNoFleet) {
		t.Errorf("error = %v", err)
	}
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
