//go:build integration

package targets_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/tag"
)

// TestIntegrationResume kills prod and app in each of their phases, as kill -9 does, and runs the same command again.
func TestIntegrationResume(t *testing.T) {
	t.Parallel()
	// One instance after the other, so that a refresh has a half.
	settings := func(t *testing.T, c *clone) {
		c.write(t, "ingot.hcl", "app = \"hello\"\nrollout {\n  warmup      = \"1s\"\n  max_healthy = 150\n}\n")
	}
	// A bake that dies with its Packer begins anew and can be killed again; one whose Packer lives, or whose image is begun, goes on.
	clouds := map[string][]story{
		"a release": {
			killed("prod", moment{name: "key pair made", packer: true, now: says("creating a key pair")},
				moment{name: "instance pending", packer: true, now: instanceIs("pending")}, moment{name: "SSH connecting", now: says("waiting for SSH")},
				moment{name: "launch template version made", now: versionMade}, moment{name: "refresh at half", now: refreshed(50)},
				moment{name: "pointer moved", last: true, now: pointerMoved}),
			killed("prod", moment{name: "provisioning", packer: true, now: says("provisioning")}, moment{name: "instance stopping", now: says("stopping the instance")},
				moment{name: "baked", now: says("✓ bake app AMI")}, moment{name: "refresh begun", now: refreshed(0)},
				moment{name: "all replaced, pointer not moved", now: refreshOver}),
			{"two at the same time", twoAtOnce},
		},
		"an image": {
			killed("app", moment{name: "before Packer starts", now: says("packer.log")}),
			killed("app", moment{name: "AMI pending", packer: true, now: imageIs("pending")}),
			killed("app", moment{name: "AMI pending, Packer lives", now: imageIs("pending")}),
			killed("app", moment{name: "AMI available, not tagged", packer: true, now: imageIs("available")}),
			killed("app", moment{name: "Packer cleans up", now: says("cleaning up")}),
			{"on another machine", onAnotherMachine},
			{"other inputs", otherInputs},
		},
	}
	for name, stories := range clouds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newReleasedClone(t)
			settings(t, c)
			c.must(t, "local", "infra:apply")
			c.tell(t, settings, stories...)
		})
	}
}

// killed makes something new with a target, which is killed at moments and ends well when it is run once more.
func killed(target string, moments ...moment) story {
	var names []string
	for _, m := range moments {
		names = append(names, m.name)
	}
	name := strings.Join(names, ", ")
	return story{name, func(t *testing.T, c *clone) {
		w, before := c.greets(t, name)
		for _, m := range moments {
			w.kill(t, target, m, before)
		}
		w.must(t, "local", target)
		w.oneMore(t, target, before)
		if target != "prod" {
			return
		}
		if body, _ := get(t, w.must(t, "local", "url")); !strings.Contains(body, name) {
			t.Errorf("the page is %q", body)
		}
	}}
}

// greets makes another release of the clone's files, and tells what there is before it is released.
func (c *clone) greets(t *testing.T, greeting string) (*watch, state) {
	t.Helper()
	c.edit(t, greetingFile, `greeting = ".*"`, fmt.Sprintf("greeting = %q", greeting))
	w := c.watch(t)
	return w, w.now(t)
}

func twoAtOnce(t *testing.T, c *clone) {
	w, before := c.greets(t, "Two")
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if _, stderr, err := w.run(t, "local", "prod"); err != nil {
				t.Errorf("prod: %v\n%s", err, stderr)
			}
		})
	}
	both.Wait()
	w.oneMore(t, "prod", before)
}

func onAnotherMachine(t *testing.T, c *clone) {
	w, before := c.greets(t, "Elsewhere")
	w.kill(t, "app", moment{name: "AMI pending", packer: true, now: imageIs("pending")}, before)
	// Nothing but AWS knows of the dead run now.
	bakes, err := filepath.Glob(filepath.Join(w.dir, ".ingot", "*", "*", "bakes"))
	if err != nil || len(bakes) != 1 || os.RemoveAll(bakes[0]) != nil {
		t.Fatalf("remove %v: %v", bakes, err)
	}
	w.must(t, "local", "app")
	if out := w.must(t, "local", "sweep"); out != "" {
		t.Errorf("sweep does not spare a young run of another machine:\n%s", out)
	}
	time.Sleep(time.Second)
	out, stderr, err := w.run(t, "local", "sweep", "-older=1s")
	for _, kind := range []string{ami.Instance, ami.SecurityGroup, ami.KeyPair} {
		if err == nil || !regexp.MustCompile(`(?m)^`+kind+` +\S+ +\d{8}-\d{6}-\w{6} .*began more than 1s ago$`).MatchString(out) {
			t.Errorf("sweep shows no %s: %v\n%s\n%s", kind, err, out, stderr)
		}
	}
	w.must(t, "local", "sweep", "-older=1s", "-yes")
	w.oneMore(t, "app", before)
}

func otherInputs(t *testing.T, c *clone) {
	w, before := c.greets(t, "Never baked")
	w.kill(t, "app", moment{name: "AMI available, not tagged", packer: true, now: imageIs("available")}, before)
	w.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Baked"`)
	w.must(t, "local", "app")
	w.oneMore(t, "app", before)
}

// moment is when a target is killed.
type moment struct {
	name   string
	packer bool // kill Packer too
	last   bool // the target may have ended before it is killed
	now    func(ctx context.Context, w *watch, stderr string, before state) (bool, error)
}

// watch looks at a cloud while a target works on it.
type watch struct {
	*clone
	ami *ami.Client
	ec2 *ec2.Client
	asg *autoscaling.Client
	ssm *ssm.Client
}

func (c *clone) watch(t *testing.T) *watch {
	t.Helper()
	env := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^export (\w+)='?([^'\n]*)'?$`).FindAllStringSubmatch(c.must(t, "local:env"), -1) {
		env[found[1]] = found[2]
	}
	cfg, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithRegion(env["AWS_REGION"]), awsconfig.WithBaseEndpoint(env["AWS_ENDPOINT_URL"]),
		awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], "")))
	if err != nil {
		t.Fatal(err)
	}
	return &watch{clone: c, ami: ami.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg), asg: autoscaling.NewFromConfig(cfg), ssm: ssm.NewFromConfig(cfg)}
}

// state is what there is of everything of which prod makes one more, and app of the first two.
type state struct {
	Images, Snapshots int
	Versions, Pointer int64 // of the launch template and of the parameter
	Refreshes         int
}

func (w *watch) now(t *testing.T) state {
	t.Helper()
	s, err := w.state(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (w *watch) state(ctx context.Context) (s state, err error) {
	images, err := w.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}})
	if err != nil {
		return s, err
	}
	snapshots, err := w.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}})
	if err != nil {
		return s, err
	}
	refreshes, err := w.refreshes(ctx)
	if err != nil {
		return s, err
	}
	s = state{Images: len(images.Images), Snapshots: len(snapshots.Snapshots), Refreshes: len(refreshes)}
	if s.Versions, err = w.versions(ctx); err != nil {
		return s, err
	}
	s.Pointer, err = w.pointer(ctx)
	return s, err
}

// versions is the number of the launch template's newest version.
func (w *watch) versions(ctx context.Context) (int64, error) {
	out, err := w.ec2.DescribeLaunchTemplateVersions(ctx, &ec2.DescribeLaunchTemplateVersionsInput{Versions: []string{"$Latest"}})
	if err != nil || len(out.LaunchTemplateVersions) != 1 {
		return 0, fmt.Errorf("describe the launch template: %v, %w", out, err)
	}
	return aws.ToInt64(out.LaunchTemplateVersions[0].VersionNumber), nil
}

// pointer is how often the pointer to the current release has been set.
func (w *watch) pointer(ctx context.Context) (int64, error) {
	out, err := w.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String("/ingot/hello/release")})
	if err != nil {
		return 0, err
	}
	return out.Parameter.Version, nil
}

// refreshes are the group's, the newest first.
func (w *watch) refreshes(ctx context.Context) ([]asgtypes.InstanceRefresh, error) {
	out, err := w.asg.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: aws.String("hello")})
	if err != nil {
		return nil, err
	}
	return out.InstanceRefreshes, nil
}

// inService are the instances of the group that are.
func (w *watch) inService(t *testing.T) []string {
	t.Helper()
	out, err := w.asg.DescribeAutoScalingGroups(t.Context(), &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{"hello"}})
	if err != nil || len(out.AutoScalingGroups) != 1 {
		t.Fatalf("describe the group: %v, %v", out, err)
	}
	var ids []string
	for _, i := range out.AutoScalingGroups[0].Instances {
		if i.LifecycleState == asgtypes.LifecycleStateInService {
			ids = append(ids, aws.ToString(i.InstanceId))
		}
	}
	return ids
}

// kill runs a target until a moment, and kills it then.
func (w *watch) kill(t *testing.T, target string, m moment, before state) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := w.command(ctx, "local", target)
	var stderr lockedBuffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var packer string
	for now := false; !now; {
		select {
		case err := <-ended:
			t.Fatalf("%s: missed: it has ended: %v\n%s", m.name, err, stderr.String())
		case <-time.After(20 * time.Millisecond):
		}
		var err error
		if now, err = m.now(ctx, w, stderr.String(), before); err != nil {
			t.Fatalf("%s: %v\n%s", m.name, err, stderr.String())
		}
		out, _ := exec.Command("pgrep", "-P", strconv.Itoa(cmd.Process.Pid), "-x", "packer").Output()
		packer = strings.TrimSpace(string(out))
		// What there is while this run has no Packer yet is that of the run before.
		now = now && (packer != "" || !m.packer)
	}
	if err := cmd.Process.Kill(); err != nil && !m.last {
		t.Fatalf("%s: missed: %v\n%s", m.name, err, stderr.String())
	}
	if m.packer {
		pid, err := strconv.Atoi(packer)
		if err == nil {
			err = syscall.Kill(-pid, syscall.SIGKILL)
		}
		if err != nil {
			t.Errorf("%s: kill Packer: %v\n%s", m.name, err, stderr.String())
		}
	}
	err := <-ended
	t.Logf("%s: killed after %s, Packer %q killed: %t, %v", m.name, time.Since(begin).Round(time.Millisecond), packer, m.packer, err)
	if err == nil && !m.last {
		t.Errorf("%s: missed: it had ended\n%s", m.name, stderr.String())
	}
}

type lockedBuffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// says is the moment at which something is said of the application image.
func says(text string) func(context.Context, *watch, string, state) (bool, error) {
	return func(_ context.Context, _ *watch, stderr string, _ state) (bool, error) {
		_, app, _ := strings.Cut(stderr, "• bake app AMI")
		return strings.Contains(app, text), nil
	}
}

func instanceIs(name string) func(context.Context, *watch, string, state) (bool, error) {
	return func(ctx context.Context, w *watch, _ string, _ state) (bool, error) {
		out, err := w.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
			{Name: aws.String("tag-key"), Values: []string{tag.Run}}, {Name: aws.String("instance-state-name"), Values: []string{name}},
		}})
		return err == nil && len(out.Reservations) > 0, err
	}
}

// imageIs is the moment at which an image that is not finished is in a state.
func imageIs(name string) func(context.Context, *watch, string, state) (bool, error) {
	return func(ctx context.Context, w *watch, _ string, _ state) (bool, error) {
		out, err := w.ec2.DescribeImages(ctx, &ec2.DescribeImagesInput{Owners: []string{"self"}, Filters: []ec2types.Filter{{Name: aws.String("state"), Values: []string{name}}}})
		return err == nil && slices.ContainsFunc(out.Images, unfinished), err
	}
}

func unfinished(i ec2types.Image) bool {
	return !slices.ContainsFunc(i.Tags, func(t ec2types.Tag) bool { return aws.ToString(t.Key) == tag.Fingerprint })
}

func versionMade(ctx context.Context, w *watch, _ string, before state) (bool, error) {
	versions, err := w.versions(ctx)
	return versions > before.Versions, err
}

// refreshed is the moment at which the instance refresh has got that far.
func refreshed(percent int32) func(context.Context, *watch, string, state) (bool, error) {
	return func(ctx context.Context, w *watch, _ string, before state) (bool, error) {
		refreshes, err := w.refreshes(ctx)
		return len(refreshes) > before.Refreshes && aws.ToInt32(refreshes[0].PercentageComplete) >= percent, err
	}
}

func refreshOver(ctx context.Context, w *watch, _ string, before state) (bool, error) {
	refreshes, err := w.refreshes(ctx)
	return len(refreshes) > before.Refreshes && refreshes[0].Status == asgtypes.InstanceRefreshStatusSuccessful, err
}

func pointerMoved(ctx context.Context, w *watch, _ string, before state) (bool, error) {
	pointer, err := w.pointer(ctx)
	return pointer > before.Pointer, err
}

// logged are the lines of the cloud's log with a text.
func (w *watch) logged(t *testing.T, text string) string {
	t.Helper()
	data, err := os.ReadFile(w.cloudLog())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(slices.DeleteFunc(strings.Split(string(data), "\n"), func(line string) bool { return !strings.Contains(line, text) }), "\n")
}

// oneMore checks that a target has made one new image, and prod one new version, one refresh and one new release of it, and that
// there is nothing that nobody needs.
func (w *watch) oneMore(t *testing.T, target string, before state) {
	t.Helper()
	want := before
	want.Images, want.Snapshots = before.Images+1, before.Snapshots+1
	if target == "prod" {
		want.Versions, want.Refreshes, want.Pointer = before.Versions+1, before.Refreshes+1, before.Pointer+1
	}
	if diff := cmp.Diff(want, w.now(t)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	left, err := w.ami.Leftovers(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		t.Errorf("%s %s of run %s is left", l.Kind, l.ID, l.Run)
	}
	keys, err := w.ec2.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
	if err != nil || len(keys.KeyPairs) > 0 {
		t.Errorf("%d key pairs are left, %v:\n%s", len(keys.KeyPairs), err, w.logged(t, "KeyPair"))
	}
	if records, err := filepath.Glob(filepath.Join(w.dir, ".ingot", "*", "*", "bakes", "*", "run.json")); err != nil || len(records) > 0 {
		t.Errorf("records of runs are left: %v, %v", records, err)
	}
	if out := w.must(t, "local", "sweep"); out != "" {
		t.Errorf("sweep finds\n%s", out)
	}
}
