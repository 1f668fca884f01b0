package rollout

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	"github.com/aws/smithy-go"
)

// world is the AWS that a rollout sees: a group, its refreshes, a launch template, and parameters. Time moves it: each
// look at the group is a step.
type world struct {
	groups   int  // how many are tagged
	worker   bool // there is no load balancer
	min      int
	desired  int
	version  string // the group's launch template version
	versions []templateVersion
	standard int // the launch template's default version

	standardBefore int // the one before, which is shown for as long as lateDefault says
	standardSet    time.Time
	lateDefault    time.Duration
	running        []Instance
	strays         []string
	refreshes      []*asgtypes.InstanceRefresh
	parameters     map[string][]string
	activities     []asgtypes.Activity
	hidden         time.Duration // how old a refresh is before it is shown
	consoles       map[string]string
	devices        map[string]string // root devices of images; /dev/xvda where nothing is said

	healthPath *string // of the target group
	interval   int32   // of its health checks, seconds

	answers func() string                               // X-Release that the load balancer answers; empty for HTTP 502
	ask     func(*http.Request) (*http.Response, error) // instead of answers; may be nil
	step    func(w *world)                              // what happens between two looks at the group
	steps   int                                         // looks at the group so far
	start   error                                       // of StartInstanceRefresh
	turn    error                                       // of RollbackInstanceRefresh
	fails   func(call string) error
	order   func([]ssmtypes.ParameterHistory) // of a parameter's history

	mu    sync.Mutex
	did   []string                               // calls that change something
	input *autoscaling.StartInstanceRefreshInput // of the newest StartInstanceRefresh
	token string                                 // of the newest CreateLaunchTemplateVersion
	asked map[string]int                         // calls of each kind
}

type templateVersion struct{ image, description, shape, device string }

func newWorld() *world {
	return &world{
		groups: 1, interval: 5, version: "1", standard: 1, versions: []templateVersion{{image: "ami-debian"}},
		asked: map[string]int{}, parameters: map[string][]string{}, consoles: map[string]string{},
		step: func(*world) {}, answers: func() string { return "" }, fails: func(string) error { return nil },
		order: func([]ssmtypes.ParameterHistory) {},
	}
}

const pointerName = "/ingot/hello/release"

// old is a fleet that serves release r1 from version 2 of its launch template.
func old() *world {
	w := newWorld()
	w.versions = append(w.versions, templateVersion{image: "ami-1", description: "release r1"})
	w.version, w.standard, w.desired, w.min = "2", 2, 2, 2
	w.answer("r1")
	w.running = serving(2, "i-1", "i-2")
	w.parameters[pointerName] = []string{`{"release":"r1","ami":"ami-1","template_version":2}`}
	return w
}

var (
	one = Release{Name: "r1", AMIID: "ami-1"}
	two = Release{Name: "r2", AMIID: "ami-2", Commit: "c0ffee"}
)

// serving makes instances of a version that the load balancer finds healthy.
func serving(version int, ids ...string) []Instance {
	var all []Instance
	for _, id := range ids {
		all = append(all, Instance{ID: id, TemplateVersion: TemplateVersion(version), Lifecycle: "InService", Health: "Healthy", Target: "healthy"})
	}
	return all
}

// fleet makes n instances of a version that the load balancer finds healthy.
func fleet(version, n int) []Instance {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("i-%d-%d", version, i))
	}
	return serving(version, ids...)
}

func (w *world) answer(release string) { w.answers = func() string { return release } }

// served is a world in which everything has become of a version that serves a release.
func (w *world) served(version int, release string) {
	w.running, w.version = fleet(version, w.desired), strconv.Itoa(version)
	w.answer(release)
	if r := w.refresh(); r != nil {
		r.Status, r.PercentageComplete = asgtypes.InstanceRefreshStatusSuccessful, aws.Int32(100)
	}
}

// refresh is the newest one.
func (w *world) refresh() *asgtypes.InstanceRefresh {
	if len(w.refreshes) == 0 {
		return nil
	}
	return w.refreshes[len(w.refreshes)-1]
}

// begin makes a refresh that runs.
func (w *world) begin(version string) *asgtypes.InstanceRefresh {
	r := &asgtypes.InstanceRefresh{
		InstanceRefreshId: aws.String(fmt.Sprintf("refresh-%d", len(w.refreshes)+1)), Status: asgtypes.InstanceRefreshStatusInProgress,
		StartTime: aws.Time(time.Now()), PercentageComplete: aws.Int32(0),
		DesiredConfiguration: &asgtypes.DesiredConfiguration{LaunchTemplate: &asgtypes.LaunchTemplateSpecification{Version: aws.String(version)}},
	}
	w.refreshes = append(w.refreshes, r)
	return r
}

func (w *world) runs() bool {
	r := w.refresh()
	return r != nil && !Refresh{ID: "x", Status: string(r.Status)}.Over()
}

// is tells whether the newest refresh has a status.
func (w *world) is(status asgtypes.InstanceRefreshStatus) bool {
	return w.refresh() != nil && w.refresh().Status == status
}

func (w *world) clients() clients {
	return clients{groups: w, refreshes: w, templates: w, instances: w, images: w, balancers: w, parameters: w}
}

func (w *world) roller(o Options) *Roller {
	o.App, o.HTTP = "hello", &http.Client{Transport: w}
	r := newRoller(w.clients(), o)
	r.random = func() float64 { return 0.5 }
	return r
}

// in runs a test in a bubble of time.
func in(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func (w *world) note(format string, args ...any) { w.did = append(w.did, fmt.Sprintf(format, args...)) }

// didStart tells whether a call that changes something begins with a text.
func (w *world) didStart(text string) bool {
	return slices.ContainsFunc(w.did, func(d string) bool { return strings.HasPrefix(d, text) })
}

// call counts a call, and returns the error that a test wants of it.
func (w *world) call(ctx context.Context, name string) error {
	if w.asked[name]++; w.asked[name] > 3000 {
		panic("the rollout does not end")
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return w.fails(name)
}

// pointers is how often the pointer was put.
func (w *world) pointers() int { return len(w.parameters[pointerName]) }

func apiError(code string) error { return &smithy.GenericAPIError{Code: code, Message: "said so"} }

func (w *world) RoundTrip(request *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ask != nil {
		return w.ask(request)
	}
	release, status := w.answers(), http.StatusOK
	if release == "" {
		status = http.StatusBadGateway
	}
	return &http.Response{StatusCode: status, Header: http.Header{"X-Release": {release}}, Body: io.NopCloser(strings.NewReader("hi"))}, nil
}

func (w *world) DescribeAutoScalingGroups(ctx context.Context, _ *autoscaling.DescribeAutoScalingGroupsInput, _ ...func(*autoscaling.Options)) (*autoscaling.DescribeAutoScalingGroupsOutput, error) {
	w.steps++
	w.step(w)
	if err := w.call(ctx, "groups"); err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeAutoScalingGroupsOutput{}
	for range w.groups {
		g := asgtypes.AutoScalingGroup{
			AutoScalingGroupName: aws.String("hello"), TargetGroupARNs: []string{"tg"},
			MinSize: aws.Int32(int32(w.min)), MaxSize: aws.Int32(4), DesiredCapacity: aws.Int32(int32(w.desired)),
			LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateId: aws.String("lt-1"), Version: aws.String(w.version)},
		}
		if w.worker {
			g.TargetGroupARNs = nil
		}
		for _, i := range w.running {
			g.Instances = append(g.Instances, asgtypes.Instance{
				InstanceId: aws.String(i.ID), LifecycleState: asgtypes.LifecycleState(i.Lifecycle), HealthStatus: aws.String(i.Health),
				ProtectedFromScaleIn: aws.Bool(i.Protected),
				LaunchTemplate:       &asgtypes.LaunchTemplateSpecification{Version: aws.String(i.TemplateVersion.String())},
			})
		}
		out.AutoScalingGroups = append(out.AutoScalingGroups, g)
	}
	return out, nil
}

func (w *world) UpdateAutoScalingGroup(ctx context.Context, in *autoscaling.UpdateAutoScalingGroupInput, _ ...func(*autoscaling.Options)) (*autoscaling.UpdateAutoScalingGroupOutput, error) {
	w.min, w.desired, w.version = int(*in.MinSize), int(*in.DesiredCapacity), *in.LaunchTemplate.Version
	w.note("capacity %d of version %s", w.desired, w.version)
	return nil, w.call(ctx, "update")
}

func (w *world) DescribeScalingActivities(ctx context.Context, _ *autoscaling.DescribeScalingActivitiesInput, _ ...func(*autoscaling.Options)) (*autoscaling.DescribeScalingActivitiesOutput, error) {
	return &autoscaling.DescribeScalingActivitiesOutput{Activities: w.activities}, w.call(ctx, "activities")
}

func (w *world) StartInstanceRefresh(ctx context.Context, in *autoscaling.StartInstanceRefreshInput, _ ...func(*autoscaling.Options)) (*autoscaling.StartInstanceRefreshOutput, error) {
	if err := w.call(ctx, "start"); err != nil {
		return nil, err
	}
	if w.start != nil {
		return nil, w.start
	}
	if w.runs() {
		return nil, &asgtypes.InstanceRefreshInProgressFault{}
	}
	w.input = in
	version := *in.DesiredConfiguration.LaunchTemplate.Version
	w.note("refresh to %s", version)
	r := w.begin(version)
	r.Preferences = in.Preferences
	return &autoscaling.StartInstanceRefreshOutput{InstanceRefreshId: r.InstanceRefreshId}, nil
}

func (w *world) DescribeInstanceRefreshes(ctx context.Context, in *autoscaling.DescribeInstanceRefreshesInput, _ ...func(*autoscaling.Options)) (*autoscaling.DescribeInstanceRefreshesOutput, error) {
	if err := w.call(ctx, "refreshes"); err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeInstanceRefreshesOutput{}
	for _, r := range slices.Backward(w.refreshes) {
		if time.Since(aws.ToTime(r.StartTime)) < w.hidden {
			continue
		}
		if len(in.InstanceRefreshIds) == 0 || slices.Contains(in.InstanceRefreshIds, *r.InstanceRefreshId) {
			out.InstanceRefreshes = append(out.InstanceRefreshes, *r)
		}
	}
	out.InstanceRefreshes = out.InstanceRefreshes[:min(1, len(out.InstanceRefreshes))]
	return out, nil
}

func (w *world) RollbackInstanceRefresh(ctx context.Context, _ *autoscaling.RollbackInstanceRefreshInput, _ ...func(*autoscaling.Options)) (*autoscaling.RollbackInstanceRefreshOutput, error) {
	if err := w.call(ctx, "rollback"); err != nil {
		return nil, err
	}
	if w.turn != nil {
		return nil, w.turn
	}
	if !w.runs() || w.is(asgtypes.InstanceRefreshStatusRollbackInProgress) {
		return nil, &asgtypes.ActiveInstanceRefreshNotFoundFault{}
	}
	w.note("rollback")
	w.refresh().Status = asgtypes.InstanceRefreshStatusRollbackInProgress
	w.refresh().RollbackDetails = &asgtypes.RollbackDetails{RollbackReason: aws.String("Rollback requested by user.")}
	return nil, nil
}

func (w *world) CancelInstanceRefresh(ctx context.Context, _ *autoscaling.CancelInstanceRefreshInput, _ ...func(*autoscaling.Options)) (*autoscaling.CancelInstanceRefreshOutput, error) {
	w.note("cancel")
	w.refresh().Status = asgtypes.InstanceRefreshStatusCancelling
	return nil, w.call(ctx, "cancel")
}

func (w *world) DescribeLaunchTemplateVersions(ctx context.Context, in *ec2.DescribeLaunchTemplateVersionsInput, _ ...func(*ec2.Options)) (*ec2.DescribeLaunchTemplateVersionsOutput, error) {
	if err := w.call(ctx, "template versions"); err != nil {
		return nil, err
	}
	standard := w.standard
	if time.Since(w.standardSet) < w.lateDefault {
		standard = w.standardBefore
	}
	wanted := map[string]bool{}
	for _, v := range in.Versions {
		switch v {
		case "$Latest":
			v = strconv.Itoa(len(w.versions))
		case "$Default":
			v = strconv.Itoa(standard)
		}
		wanted[v] = true
	}
	if in.MinVersion != nil {
		wanted[*in.MinVersion] = true
	}
	out := &ec2.DescribeLaunchTemplateVersionsOutput{}
	for n, v := range w.versions {
		if len(wanted) > 0 && !wanted[strconv.Itoa(n+1)] || len(in.Filters) > 0 && !slices.Contains(in.Filters[0].Values, v.image) {
			continue
		}
		out.LaunchTemplateVersions = append(out.LaunchTemplateVersions, ec2types.LaunchTemplateVersion{
			VersionNumber: aws.Int64(int64(n + 1)), VersionDescription: aws.String(v.description), DefaultVersion: aws.Bool(n+1 == standard),
			LaunchTemplateData: &ec2types.ResponseLaunchTemplateData{ImageId: aws.String(v.image), InstanceType: ec2types.InstanceType(v.shape)},
		})
		if v.device != "" {
			data := out.LaunchTemplateVersions[len(out.LaunchTemplateVersions)-1].LaunchTemplateData
			data.BlockDeviceMappings = []ec2types.LaunchTemplateBlockDeviceMapping{{
				DeviceName: aws.String(v.device), Ebs: &ec2types.LaunchTemplateEbsBlockDevice{Encrypted: aws.Bool(true)},
			}}
		}
	}
	return out, nil
}

func (w *world) CreateLaunchTemplateVersion(ctx context.Context, in *ec2.CreateLaunchTemplateVersionInput, _ ...func(*ec2.Options)) (*ec2.CreateLaunchTemplateVersionOutput, error) {
	from, _ := strconv.Atoi(*in.SourceVersion)
	v := templateVersion{*in.LaunchTemplateData.ImageId, *in.VersionDescription, w.versions[from-1].shape, w.versions[from-1].device}
	for _, m := range in.LaunchTemplateData.BlockDeviceMappings {
		v.device = *m.DeviceName
	}
	w.versions, w.token = append(w.versions, v), *in.ClientToken
	w.note("version %d of %s from %s: %s", len(w.versions), *in.LaunchTemplateData.ImageId, *in.SourceVersion, *in.VersionDescription)
	return &ec2.CreateLaunchTemplateVersionOutput{LaunchTemplateVersion: &ec2types.LaunchTemplateVersion{VersionNumber: aws.Int64(int64(len(w.versions)))}}, w.call(ctx, "create version")
}

func (w *world) DescribeImages(ctx context.Context, in *ec2.DescribeImagesInput, _ ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error) {
	if err := w.call(ctx, "images"); err != nil {
		return nil, err
	}
	device := cmp.Or(w.devices[in.ImageIds[0]], "/dev/xvda")
	return &ec2.DescribeImagesOutput{Images: []ec2types.Image{{ImageId: aws.String(in.ImageIds[0]), RootDeviceName: aws.String(device)}}}, nil
}

func (w *world) ModifyLaunchTemplate(ctx context.Context, in *ec2.ModifyLaunchTemplateInput, _ ...func(*ec2.Options)) (*ec2.ModifyLaunchTemplateOutput, error) {
	w.standardBefore, w.standardSet = w.standard, time.Now()
	w.standard, _ = strconv.Atoi(*in.DefaultVersion)
	w.note("default version %s", *in.DefaultVersion)
	return nil, w.call(ctx, "modify template")
}

func (w *world) GetConsoleOutput(ctx context.Context, in *ec2.GetConsoleOutputInput, _ ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error) {
	if err := w.call(ctx, "console"); err != nil {
		return nil, err
	}
	return &ec2.GetConsoleOutputOutput{Output: aws.String(base64.StdEncoding.EncodeToString([]byte(w.consoles[*in.InstanceId])))}, nil
}

func (w *world) DescribeTargetGroups(ctx context.Context, _ *elb.DescribeTargetGroupsInput, _ ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error) {
	return &elb.DescribeTargetGroupsOutput{TargetGroups: []elbtypes.TargetGroup{{
		LoadBalancerArns: []string{"lb"}, Port: aws.Int32(8080), HealthCheckPath: w.healthPath,
		HealthCheckIntervalSeconds: aws.Int32(w.interval), HealthyThresholdCount: aws.Int32(2),
	}}}, w.call(ctx, "target groups")
}

func (w *world) DescribeLoadBalancers(context.Context, *elb.DescribeLoadBalancersInput, ...func(*elb.Options)) (*elb.DescribeLoadBalancersOutput, error) {
	return &elb.DescribeLoadBalancersOutput{LoadBalancers: []elbtypes.LoadBalancer{{DNSName: aws.String("lb.example")}}}, nil
}

func (w *world) DescribeListeners(context.Context, *elb.DescribeListenersInput, ...func(*elb.Options)) (*elb.DescribeListenersOutput, error) {
	return &elb.DescribeListenersOutput{Listeners: []elbtypes.Listener{{Protocol: elbtypes.ProtocolEnumHttp, Port: aws.Int32(80)}}}, nil
}

func (w *world) DescribeTargetHealth(ctx context.Context, _ *elb.DescribeTargetHealthInput, _ ...func(*elb.Options)) (*elb.DescribeTargetHealthOutput, error) {
	if err := w.call(ctx, "target health"); err != nil {
		return nil, err
	}
	out := &elb.DescribeTargetHealthOutput{}
	add := func(id, state, reason string) {
		d := elbtypes.TargetHealthDescription{Target: &elbtypes.TargetDescription{Id: aws.String(id)}, TargetHealth: &elbtypes.TargetHealth{State: elbtypes.TargetHealthStateEnum(state)}}
		if reason != "" {
			d.TargetHealth.Reason, d.TargetHealth.Description = elbtypes.TargetHealthReasonEnum(reason), aws.String("said so")
		}
		out.TargetHealthDescriptions = append(out.TargetHealthDescriptions, d)
	}
	for _, i := range w.running {
		if i.Target != "" {
			add(i.ID, i.Target, i.Reason)
		}
	}
	for _, id := range w.strays {
		add(id, "healthy", "")
	}
	return out, nil
}

func (w *world) GetParameter(ctx context.Context, in *ssm.GetParameterInput, _ ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	if err := w.call(ctx, "get parameter"); err != nil {
		return nil, err
	}
	values := w.parameters[*in.Name]
	if len(values) == 0 {
		return nil, &ssmtypes.ParameterNotFound{}
	}
	return &ssm.GetParameterOutput{Parameter: &ssmtypes.Parameter{Value: aws.String(values[len(values)-1]), Version: int64(len(values))}}, nil
}

func (w *world) PutParameter(ctx context.Context, in *ssm.PutParameterInput, _ ...func(*ssm.Options)) (*ssm.PutParameterOutput, error) {
	if err := w.call(ctx, "put parameter"); err != nil {
		return nil, err
	}
	w.parameters[*in.Name] = append(w.parameters[*in.Name], *in.Value)
	w.note("put %s", *in.Name)
	return nil, nil
}

func (w *world) GetParameterHistory(_ context.Context, in *ssm.GetParameterHistoryInput, _ ...func(*ssm.Options)) (*ssm.GetParameterHistoryOutput, error) {
	out := &ssm.GetParameterHistoryOutput{}
	for n, v := range w.parameters[*in.Name] {
		out.Parameters = append(out.Parameters, ssmtypes.ParameterHistory{Value: aws.String(v), Version: int64(n + 1)})
	}
	w.order(out.Parameters)
	return out, nil
}
