package autoscaling

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	bootTime  = 5 * time.Second
	checkTime = 3 * time.Second // from registration to the first verdict
	drainTime = 4 * time.Second
)

// fakeCloud is EC2 and a load balancer whose instances boot, turn healthy, drain and end after fixed times.
type fakeCloud struct {
	mu        sync.Mutex
	next      int
	instances map[string]*ec2.InstanceInfo
	tokens    map[string]string
	versions  map[string]string // instance → template version
	targets   map[targetKey]string
	listeners []func(ec2.InstanceInfo)
	alarms    map[string]string

	latest     int64
	image      string
	launchErr  func(version string) error
	broken     func(version string) bool // its instances fail their health checks
	terminated []string
	leaving    map[string]bool
	undrained  []string // terminated while a target group still had them
	floor      int      // the fewest instances that were healthy at the load balancer since watch
	ceiling    int      // the most instances that were pending or running and not leaving
	watching   bool
}

func newCloud() *fakeCloud {
	return &fakeCloud{
		instances: map[string]*ec2.InstanceInfo{}, tokens: map[string]string{}, versions: map[string]string{},
		targets: map[targetKey]string{}, alarms: map[string]string{}, leaving: map[string]bool{}, latest: 3, image: "ami-1",
	}
}

func (c *fakeCloud) LaunchFromTemplate(_ context.Context, spec ec2.LaunchSpec) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.launchErr != nil {
		if err := c.launchErr(spec.Version); err != nil {
			return "", err
		}
	}
	if id, again := c.tokens[spec.ClientToken]; again {
		return id, nil
	}
	c.next++
	id := fmt.Sprintf("i-%04d", c.next)
	c.tokens[spec.ClientToken] = id
	c.versions[id] = spec.Version
	c.instances[id] = &ec2.InstanceInfo{ID: id, State: "pending", SubnetID: spec.SubnetID}
	c.after(bootTime, id, "running")
	return id, nil
}

func (c *fakeCloud) after(d time.Duration, id, state string) {
	time.AfterFunc(d, func() { c.set(id, state) })
}

func (c *fakeCloud) set(id, state string) {
	c.mu.Lock()
	i := c.instances[id]
	if i.State == "terminated" || i.State == "shutting-down" && state == "running" {
		c.mu.Unlock()
		return
	}
	i.State = state
	info, listeners := *i, slices.Clone(c.listeners)
	c.measure()
	c.mu.Unlock()
	for _, f := range listeners {
		f(info)
	}
}

func (c *fakeCloud) Terminate(_ context.Context, ids ...string) error {
	for _, id := range ids {
		c.mu.Lock()
		for key := range c.targets {
			if key.instance == id {
				c.undrained = append(c.undrained, id)
			}
		}
		c.terminated = append(c.terminated, id)
		c.mu.Unlock()
		c.set(id, "shutting-down")
		c.after(2*time.Second, id, "terminated")
	}
	return nil
}

func (c *fakeCloud) Instance(id string) (ec2.InstanceInfo, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, ok := c.instances[id]
	if !ok {
		return ec2.InstanceInfo{}, false
	}
	return *i, true
}

// LaunchNeeds is for callers with policies, whom the tests here do without.
func (c *fakeCloud) LaunchNeeds(string, string, []string, map[string]string) []wire.Access {
	return nil
}

func (c *fakeCloud) ResolveTemplate(idOrName, version string) (ec2.TemplateInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if idOrName != "lt-1" && idOrName != "web" {
		return ec2.TemplateInfo{}, wire.Errorf("InvalidLaunchTemplateId.NotFound", "The launch template '%s' does not exist.", idOrName)
	}
	info := ec2.TemplateInfo{ID: "lt-1", Name: "web", Default: 1, Latest: c.latest, ImageID: c.image, InstanceType: "t3.micro"}
	switch version {
	case "$Latest":
		info.Version = info.Latest
	case "$Default":
		info.Version = info.Default
	default:
		if _, err := fmt.Sscan(version, &info.Version); err != nil || info.Version > c.latest {
			return info, wire.Errorf("InvalidLaunchTemplateId.VersionNotFound", "Could not find the version %s.", version)
		}
	}
	return info, nil
}

func (c *fakeCloud) Subnet(id string) (ec2.SubnetInfo, bool) {
	zones := map[string]string{"subnet-a": "us-west-1a", "subnet-b": "us-west-1b"}
	return ec2.SubnetInfo{ID: id, VPCID: "vpc-1", AvailabilityZone: zones[id]}, zones[id] != ""
}

func (c *fakeCloud) OnStateChange(f func(ec2.InstanceInfo)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, f)
}

func (c *fakeCloud) Register(_ context.Context, arn, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := targetKey{arn, id}
	c.targets[key] = "initial"
	time.AfterFunc(checkTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.targets[key] == "initial" {
			c.targets[key] = "healthy"
			if c.broken != nil && c.broken(c.versions[id]) {
				c.targets[key] = "unhealthy"
			}
			c.measure()
		}
	})
	return nil
}

func (c *fakeCloud) HasTargetGroup(arn string) bool { return arn == targetGroup }

func (c *fakeCloud) Deregister(_ context.Context, arn, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := targetKey{arn, id}
	if c.targets[key] == "" || c.targets[key] == "draining" {
		return nil
	}
	c.targets[key] = "draining"
	c.leaving[id] = true
	c.measure()
	time.AfterFunc(drainTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.targets, key)
	})
	return nil
}

func (c *fakeCloud) TargetHealth(arn, id string) (state, reason, description string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.targets[targetKey{arn, id}], "", ""
}

func (c *fakeCloud) AlarmState(name string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	state, ok := c.alarms[name]
	return state, ok
}

// ended returns the instances that EC2 was told to terminate.
func (c *fakeCloud) ended() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.terminated)
}

// watch begins to keep the floor and the ceiling.
func (c *fakeCloud) watch() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watching, c.floor, c.ceiling = true, 1<<30, 0
	c.measure()
}

func (c *fakeCloud) measure() {
	if !c.watching {
		return
	}
	healthy := 0
	for key, state := range c.targets {
		if state == "healthy" && c.instances[key.instance].State == "running" {
			healthy++
		}
	}
	there := 0
	for id, i := range c.instances {
		if (i.State == "pending" || i.State == "running") && !c.leaving[id] {
			there++
		}
	}
	c.floor, c.ceiling = min(c.floor, healthy), max(c.ceiling, there)
}

// running counts the running instances by template version.
func (c *fakeCloud) running() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	count := map[string]int{}
	for id, i := range c.instances {
		if i.State == "running" {
			count[c.versions[id]]++
		}
	}
	return count
}

const targetGroup = "arn:aws:elasticloadbalancing:us-west-1:000000000000:targetgroup/web/1"

// bench is a service under test.
type bench struct {
	*Service
	t     *testing.T
	cloud *fakeCloud
	store store.Store
}

func newBench(t *testing.T, cloud *fakeCloud, st store.Store) *bench {
	t.Helper()
	s, err := New(Options{
		Region: "us-west-1", AccountID: "000000000000", Store: st, Instances: cloud, Targets: cloud, Alarms: cloud,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	return &bench{s, t, cloud, st}
}

// restart ends the service as a kill would, as far as its state goes, and starts another one on the same store.
func (b *bench) restart() {
	b.t.Helper()
	b.Close()
	b.cloud.mu.Lock()
	b.cloud.listeners = nil
	b.cloud.mu.Unlock()
	*b = *newBench(b.t, b.cloud, b.store)
}

// inBubble runs a test with fake time and a group "web" of the size, in service.
func inBubble(t *testing.T, size int, adjust func(*createInput), test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, newCloud(), store.Memory())
		defer func() { b.Close() }()
		b.create(size, adjust)
		b.until("the group is in service", time.Hour, func() bool { return b.serving() == b.view().DesiredCapacity })
		test(b)
	})
}

func (b *bench) create(size int, adjust func(*createInput)) {
	b.t.Helper()
	in := &createInput{
		Name: "web", MinSize: 0, MaxSize: 2*size + 2, TargetGroupARNs: []string{targetGroup},
		settings: settings{
			DesiredCapacity: new(size), VPCZoneIdentifier: new("subnet-a,subnet-b"), HealthCheckType: "ELB",
			LaunchTemplate: &templateSpec{LaunchTemplateID: "lt-1", Version: "1"}, DefaultInstanceWarmup: new(10),
		},
	}
	if adjust != nil {
		adjust(in)
	}
	if _, err := b.createAutoScalingGroup(b.t.Context(), in); err != nil {
		b.t.Fatal(err)
	}
}

// until turns the clock until the condition holds.
func (b *bench) until(what string, within time.Duration, condition func() bool) time.Duration {
	b.t.Helper()
	synctest.Wait()
	start := time.Now()
	for !condition() {
		if time.Since(start) > within {
			b.t.Fatalf("after %v: not yet so that %s\n%s", within, what, b.dump())
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
	}
	return time.Since(start)
}

func (b *bench) dump() string {
	var s strings.Builder
	v := b.view()
	fmt.Fprintf(&s, "desired %d, template %s\n", v.DesiredCapacity, v.LaunchTemplate.Version)
	for _, i := range v.Instances.Members {
		state, _, _ := b.cloud.TargetHealth(targetGroup, i.InstanceID)
		fmt.Fprintf(&s, "%s v%s %s %s target %q\n", i.InstanceID, i.LaunchTemplate.Version, i.LifecycleState, i.HealthStatus, state)
	}
	for _, r := range b.refreshes() {
		fmt.Fprintf(&s, "refresh %s %d%% to update %d: %s\n", r.Status, r.PercentageComplete, r.InstancesToUpdate, r.StatusReason)
	}
	return s.String()
}

func (b *bench) view() groupView {
	b.t.Helper()
	out, err := b.describeAutoScalingGroups(b.t.Context(), &describeGroupsInput{Names: []string{"web"}})
	if err != nil {
		b.t.Fatal(err)
	}
	if len(out.Groups.Members) == 0 {
		return groupView{}
	}
	return out.Groups.Members[0]
}

// serving counts the instances that are in service and healthy at the load balancer.
func (b *bench) serving() int {
	n := 0
	for _, i := range b.view().Instances.Members {
		state, _, _ := b.cloud.TargetHealth(targetGroup, i.InstanceID)
		if i.LifecycleState == inService && i.HealthStatus == healthy && state == "healthy" {
			n++
		}
	}
	return n
}

func (b *bench) refreshes() []refreshView {
	b.t.Helper()
	out, err := b.describeInstanceRefreshes(b.t.Context(), &describeRefreshesInput{Name: "web"})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Refreshes.Members
}

func (b *bench) status() string {
	if all := b.refreshes(); len(all) > 0 {
		return all[0].Status
	}
	return ""
}

func (b *bench) hasStatus(status string) func() bool {
	return func() bool { return b.status() == status }
}

// roll starts a refresh to the version; "" means without a desired configuration.
func (b *bench) roll(version string, prefs preferences) error {
	b.t.Helper()
	in := &startRefreshInput{Name: "web", Preferences: &prefs}
	if version != "" {
		in.Desired = &desiredConfiguration{&templateSpec{LaunchTemplateID: "lt-1", Version: version}}
	}
	_, err := b.startInstanceRefresh(b.t.Context(), in)
	return err
}

func (b *bench) activities() []activityView {
	b.t.Helper()
	out, err := b.describeScalingActivities(b.t.Context(), &describeActivitiesInput{Name: "web"})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Activities.Members
}

func (b *bench) members(is func(instanceView) bool) []string {
	var ids []string
	for _, i := range b.view().Instances.Members {
		if is(i) {
			ids = append(ids, i.InstanceID)
		}
	}
	return ids
}

// must fails the test on an error.
func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// code is an error's code.
func code(err error) string {
	if e, ok := err.(*wire.Error); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}
