//go:build integration

package target_test

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
)

// TestIntegrationResume kills prod in each of its phases, as kill -9 does, and runs the same command again.
func TestIntegrationResume(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	// One instance after the other, so that a refresh has a half.
	settings := "app = \"hello\"\nrollout {\n  warmup      = \"1s\"\n  max_healthy = 150\n}\n"
	if err := os.WriteFile(filepath.Join(c.dir, "ingot.hcl"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	c.must(t, "rehearse")
	w := c.watch(t)
	url := c.must(t, "local", "url")

	// Each release is killed once while it is baked and once while it is rolled out.
	releases := [][]moment{
		{{name: "before Packer starts", now: says("packer.log")}, {name: "baked", now: says("✓ bake app AMI")}},
		{{name: "key pair made", packer: true, now: says("creating a key pair")}, {name: "launch template version made", now: versionMade}},
		{{name: "instance pending", packer: true, now: instanceIs("pending")}, {name: "refresh begun", now: refreshed(0)}},
		{{name: "SSH connecting", now: says("waiting for SSH")}, {name: "refresh at half", now: refreshed(50)}},
		{{name: "provisioning", packer: true, now: says("provisioning")}, {name: "all replaced, pointer not moved", now: refreshOver}},
		{{name: "instance stopping", now: says("stopping the instance")}, {name: "pointer moved", last: true, now: pointerMoved}},
		{{name: "AMI pending", packer: true, now: imageIs("pending")}},
		{{name: "AMI pending, Packer lives", now: imageIs("pending")}},
		{{name: "AMI available, not tagged", packer: true, now: imageIs("available")}},
		{{name: "Packer cleans up", now: says("cleaning up")}},
	}
	for n, moments := range releases {
		var names []string
		for _, m := range moments {
			names = append(names, m.name)
		}
		t.Run(strings.Join(names, " and "), func(t *testing.T) {
			greeting := "Resume " + strconv.Itoa(n)
			c.edit(t, greetingFile, `greeting = ".*"`, fmt.Sprintf("greeting = %q", greeting))
			before := w.now(t)
			for _, m := range moments {
				w.kill(t, m, before)
			}
			c.must(t, "local", "prod")
			w.oneMore(t, before)
			if body, _ := get(t, url); !strings.Contains(body, greeting) {
				t.Errorf("the page is %q", body)
			}
		})
	}

	t.Run("two at the same time", func(t *testing.T) {
		c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Two"`)
		before := w.now(t)
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if _, stderr, err := c.run(t, "local", "prod"); err != nil {
					t.Errorf("prod: %v\n%s", err, stderr)
				}
			})
		}
		both.Wait()
		w.oneMore(t, before)
	})

	t.Run("on another machine", func(t *testing.T) {
		c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Elsewhere"`)
		before := w.now(t)
		w.kill(t, moment{name: "AMI pending", packer: true, now: imageIs("pending")}, before)
		// Nothing but AWS knows of the dead run now.
		bakes, err := filepath.Glob(filepath.Join(c.dir, ".ingot", "*", "*", "bakes"))
		if err != nil || len(bakes) != 1 || os.RemoveAll(bakes[0]) != nil {
			t.Fatalf("remove %v: %v", bakes, err)
		}
		c.must(t, "local", "prod")
		if out := c.must(t, "local", "sweep"); out != "" {
			t.Errorf("sweep does not spare a young run of another machine:\n%s", out)
		}
		time.Sleep(time.Second)
		out, stderr, err := c.run(t, "local", "sweep", "-older=1s")
		for _, kind := range []string{ami.Instance, ami.SecurityGroup, ami.KeyPair} {
			if err == nil || !regexp.MustCompile(`(?m)^`+kind+` +\S+ +\d{8}-\d{6}-\w{6} .*began more than 1s ago$`).MatchString(out) {
				t.Errorf("sweep shows no %s: %v\n%s\n%s", kind, err, out, stderr)
			}
		}
		c.must(t, "local", "sweep", "-older=1s", "-yes")
		w.oneMore(t, before)
	})

	t.Run("other inputs", func(t *testing.T) {
		c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Never baked"`)
		before := w.now(t)
		w.kill(t, moment{name: "AMI available, not tagged", packer: true, now: imageIs("available")}, before)
		c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Baked"`)
		c.must(t, "local", "prod")
		w.oneMore(t, before)
	})
}

// moment is when prod is killed.
type moment struct {
	name   string
	packer bool // kill Packer too
	last   bool // prod may have ended before it is killed
	now    func(ctx context.Context, w *watch, stderr string, before state) (bool, error)
}

// watch looks at a cloud while prod works on it.
type watch struct {
	*clone
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
	return &watch{clone: c, ec2: ec2.NewFromConfig(cfg), asg: autoscaling.NewFromConfig(cfg), ssm: ssm.NewFromConfig(cfg)}
}

// state is what there is of everything of which prod makes one more.
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

// kill runs prod until a moment, and kills it then.
func (w *watch) kill(t *testing.T, m moment, before state) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := w.command(ctx, "local", "prod")
	var stderr lockedBuffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for now := false; !now; {
		select {
		case err := <-ended:
			t.Fatalf("%s: missed: prod has ended: %v\n%s", m.name, err, stderr.String())
		case <-time.After(20 * time.Millisecond):
		}
		var err error
		if now, err = m.now(ctx, w, stderr.String(), before); err != nil {
			t.Fatalf("%s: %v\n%s", m.name, err, stderr.String())
		}
	}
	packer, _ := exec.Command("pgrep", "-P", strconv.Itoa(cmd.Process.Pid), "-x", "packer").Output()
	if err := cmd.Process.Kill(); err != nil && !m.last {
		t.Fatalf("%s: missed: %v\n%s", m.name, err, stderr.String())
	}
	if m.packer {
		pid, err := strconv.Atoi(strings.TrimSpace(string(packer)))
		if err == nil {
			err = syscall.Kill(-pid, syscall.SIGKILL)
		}
		if err != nil {
			t.Errorf("%s: kill Packer: %v\n%s", m.name, err, stderr.String())
		}
	}
	err := <-ended
	t.Logf("%s: killed after %s, Packer %q killed: %t, %v", m.name, time.Since(begin).Round(time.Millisecond), bytes.TrimSpace(packer), m.packer, err)
	if err == nil && !m.last {
		t.Errorf("%s: missed: prod had ended\n%s", m.name, stderr.String())
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

// says is the moment at which prod says something of the application image.
func says(text string) func(context.Context, *watch, string, state) (bool, error) {
	return func(_ context.Context, _ *watch, stderr string, _ state) (bool, error) {
		_, app, _ := strings.Cut(stderr, "• bake app AMI")
		return strings.Contains(app, text), nil
	}
}

func instanceIs(name string) func(context.Context, *watch, string, state) (bool, error) {
	return func(ctx context.Context, w *watch, _ string, _ state) (bool, error) {
		out, err := w.ec2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []ec2types.Filter{
			{Name: aws.String("tag-key"), Values: []string{ami.TagRun}}, {Name: aws.String("instance-state-name"), Values: []string{name}},
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
	return !slices.ContainsFunc(i.Tags, func(t ec2types.Tag) bool { return aws.ToString(t.Key) == ami.TagFingerprint })
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

// oneMore checks that there is one new image, one new version, one refresh, one new release, and nothing that nobody needs.
func (w *watch) oneMore(t *testing.T, before state) {
	t.Helper()
	want := state{Images: before.Images + 1, Snapshots: before.Snapshots + 1, Versions: before.Versions + 1, Refreshes: before.Refreshes + 1, Pointer: before.Pointer + 1}
	if diff := cmp.Diff(want, w.now(t)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	left, err := ami.NewWorkshop(w.ec2).Leftovers(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range left {
		t.Errorf("%s %s of run %s is left", l.Kind, l.ID, l.Run)
	}
	keys, err := w.ec2.DescribeKeyPairs(t.Context(), &ec2.DescribeKeyPairsInput{})
	if err != nil || len(keys.KeyPairs) > 0 {
		t.Errorf("key pairs are left: %v, %v", keys, err)
	}
	if records, err := filepath.Glob(filepath.Join(w.dir, ".ingot", "*", "*", "bakes", "*", "run.json")); err != nil || len(records) > 0 {
		t.Errorf("records of runs are left: %v, %v", records, err)
	}
	if out := w.must(t, "local", "sweep"); out != "" {
		t.Errorf("sweep finds\n%s", out)
	}
}
