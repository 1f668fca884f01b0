package codedeploy

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/smithy-go"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/autoscaling"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/s3"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	testRole   = "arn:aws:iam::000000000000:role/deploy"
	otherRole  = "arn:aws:iam::000000000000:role/other"
	targetARN  = "arn:aws:elasticloadbalancing:us-west-1:000000000000:targetgroup/web/1"
	healthTime = 3 * time.Second // from registration to the first verdict
	drainTime  = 4 * time.Second
)

// fakeCloud is the services beside CodeDeploy: one Auto Scaling group "web" and one target group "web".
type fakeCloud struct {
	dir string // of objects

	mu         sync.Mutex
	inService  []string
	hooks      map[string]autoscaling.Hook
	listener   func(autoscaling.LifecycleAction)
	completed  []string // "i-1 CONTINUE"
	heartbeats int
	states     map[string]string // of instances
	targets    map[string]string // health by instance
	traffic    []string          // "register i-1"
	alarms     map[string]string
	objects    map[string]*fakeObject
}

type fakeObject struct{ file, etag string }

func newCloud(t *testing.T, ids ...string) *fakeCloud {
	c := &fakeCloud{
		dir: t.TempDir(), inService: ids, hooks: map[string]autoscaling.Hook{}, states: map[string]string{}, targets: map[string]string{},
		alarms: map[string]string{}, objects: map[string]*fakeObject{},
	}
	for _, id := range ids {
		c.states[id], c.targets[id] = "running", "healthy"
	}
	return c
}

func (c *fakeCloud) PutHook(groupName string, h autoscaling.Hook) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if groupName != "web" {
		return errors.New("no such group")
	}
	c.hooks[h.Name] = h
	return nil
}

func (c *fakeCloud) DeleteHook(_, hookName string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.hooks, hookName)
	return nil
}

func (c *fakeCloud) HasHook(_, hookName string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.hooks[hookName]
	return ok
}

func (c *fakeCloud) InService(groupName string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if groupName != "web" {
		return nil, errors.New("no such group")
	}
	return slices.Clone(c.inService), nil
}

func (c *fakeCloud) OnLifecycleAction(f func(autoscaling.LifecycleAction)) { c.listener = f }

func (c *fakeCloud) Heartbeat(string, string, string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heartbeats++
	return nil
}

func (c *fakeCloud) CompleteLifecycleAction(_, _, instance, result string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.completed = append(c.completed, instance+" "+result)
	return nil
}

func (c *fakeCloud) Instance(id string) (ec2.InstanceInfo, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ec2.InstanceInfo{ID: id, State: c.states[id]}, c.states[id] != ""
}

func (c *fakeCloud) TargetGroupARN(name string) (string, bool) { return targetARN, name == "web" }

func (c *fakeCloud) Register(_ context.Context, _, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.traffic = append(c.traffic, "register "+id)
	c.targets[id] = "initial"
	time.AfterFunc(healthTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.targets[id] = "healthy"
	})
	return nil
}

func (c *fakeCloud) Deregister(_ context.Context, _, id string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.traffic = append(c.traffic, "deregister "+id)
	c.targets[id] = "draining"
	time.AfterFunc(drainTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.targets, id)
	})
	return nil
}

func (c *fakeCloud) TargetHealth(_, id string) (state, reason, description string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.targets[id], "", ""
}

func (c *fakeCloud) RoleTrusts(arn, service, _ string) (found, trusts bool) {
	return arn == testRole || arn == otherRole, arn == testRole && service == "codedeploy.amazonaws.com"
}

func (c *fakeCloud) RoleAllows(string, wire.Access) bool { return true }

func (c *fakeCloud) GroupNeeds(groupName string, actions ...string) []wire.Access {
	var needs []wire.Access
	for _, action := range actions {
		needs = append(needs, wire.Access{Action: action, Resource: groupName})
	}
	return needs
}

func (c *fakeCloud) AlarmState(name string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	state, ok := c.alarms[name]
	return state, ok
}

func (c *fakeCloud) Open(bucket, key, versionID string) (*s3.Object, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects[bucket+"/"+key]
	if o == nil || versionID != "" {
		return nil, wire.Errorf("NoSuchKey", "The specified key does not exist.")
	}
	file, err := os.Open(o.file)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	return &s3.Object{File: file, Size: info.Size(), ETag: o.etag}, err
}

func (c *fakeCloud) setState(id, state string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.states[id] = state
}

// put stores a revision, a zip archive of the files, and returns where it is. Files that begin with #! can be executed.
func (c *fakeCloud) put(t *testing.T, key string, files map[string]string) *revisionLocation {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range files {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o644)
		if strings.HasPrefix(content, "#!") {
			h.SetMode(0o755)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte(content))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return c.putBytes(t, key, "zip", b.Bytes())
}

func (c *fakeCloud) putBytes(t *testing.T, key, bundleType string, data []byte) *revisionLocation {
	t.Helper()
	file := filepath.Join(c.dir, key)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.objects["revisions/"+key] = &fakeObject{file, "etag-of-" + key}
	return &revisionLocation{Type: "S3", S3: &s3Location{Bucket: "revisions", Key: key, BundleType: bundleType}}
}

// host runs on this host what is to run in machines: each has a folder in place of /opt/codedeploy-agent.
type host struct {
	t    *testing.T
	root string
}

func (h *host) inside(id, text string) string {
	return strings.ReplaceAll(text, "/opt/codedeploy-agent", filepath.Join(h.root, id))
}

func (h *host) outside(id string, text []byte) []byte {
	return bytes.ReplaceAll(text, []byte(filepath.Join(h.root, id)), []byte("/opt/codedeploy-agent"))
}

func (h *host) run(ctx context.Context, id string, c compute.Command) error {
	args := slices.Clone(c.Args)
	for i := range args {
		args[i] = h.inside(id, args[i])
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Env = append(os.Environ(), c.Env...)
	if c.Stdin != nil {
		data, err := io.ReadAll(c.Stdin)
		if err != nil {
			return err
		}
		cmd.Stdin = strings.NewReader(h.inside(id, string(data)))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	for _, output := range []struct {
		to   io.Writer
		from *bytes.Buffer
	}{{c.Stdout, &stdout}, {c.Stderr, &stderr}} {
		if output.to != nil {
			output.to.Write(h.outside(id, output.from.Bytes()))
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("run %s: %w", args[0], context.Cause(ctx))
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return &compute.ExitError{Code: exit.ExitCode()}
	}
	return err
}

func (h *host) unpack(id, folder string, archive io.Reader) error {
	in := tar.NewReader(archive)
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		file := filepath.Join(h.inside(id, folder), header.Name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		switch header.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(file, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(header.Linkname, file)
		default:
			var data []byte
			if data, err = io.ReadAll(in); err == nil {
				err = os.WriteFile(file, data, header.FileInfo().Mode())
			}
		}
		if err != nil {
			return err
		}
	}
}

// bench is a service under test.
type bench struct {
	*Service
	t      *testing.T
	cloud  *fakeCloud
	memory *compute.Memory
	store  store.Store
}

// newBench makes a service whose machines run on this host.
func newBench(t *testing.T, ids ...string) *bench {
	t.Helper()
	h := &host{t, t.TempDir()}
	b := &bench{t: t, cloud: newCloud(t, ids...), memory: &compute.Memory{Run: h.run, Unpack: h.unpack}, store: store.Memory()}
	for _, id := range ids {
		b.boot(id)
	}
	b.start()
	return b
}

func (b *bench) boot(id string) {
	b.t.Helper()
	if _, err := b.memory.Create(b.t.Context(), compute.Spec{ID: id}); err != nil {
		b.t.Fatal(err)
	}
	b.cloud.setState(id, "running")
}

func (b *bench) start() {
	b.t.Helper()
	s, err := New(Options{
		AccountID: "000000000000", Region: "us-west-1", Store: b.store, Groups: b.cloud, Instances: b.cloud, Targets: b.cloud,
		Objects: b.cloud, Roles: b.cloud, Alarms: b.cloud, Machines: b.memory,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	s.Start()
	b.Service = s
}

// restart ends the service as a kill would, as far as its state goes, and starts another one on the same store.
func (b *bench) restart() {
	b.t.Helper()
	b.Close()
	b.start()
}

// group makes the application and the deployment group "web".
func (b *bench) group(adjust func(*createGroupInput)) {
	b.t.Helper()
	ctx := b.t.Context()
	if _, err := b.createApplication(ctx, &createApplicationInput{Name: "web"}); err != nil {
		b.t.Fatal(err)
	}
	in := &createGroupInput{Application: "web", Name: "web", groupInput: groupInput{
		RoleARN: testRole, AutoScalingGroups: []string{"web"}, ConfigName: allAtOnce,
	}}
	if adjust != nil {
		adjust(in)
	}
	if _, err := b.createDeploymentGroup(ctx, in); err != nil {
		b.t.Fatal(err)
	}
}

func withLoadBalancer(in *createGroupInput) {
	in.Style = &deploymentStyle{inPlace, withTraffic}
	in.LoadBalancer = &loadBalancerInfo{TargetGroups: []targetGroupInfo{{"web"}}}
}

// deploy begins a deployment and returns its ID.
func (b *bench) deploy(r *revisionLocation) string {
	b.t.Helper()
	out, err := b.createDeployment(b.t.Context(), &createDeploymentInput{Application: "web", Group: "web", Revision: r})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.ID
}

func (b *bench) info(id string) deploymentInfo {
	b.t.Helper()
	out, err := b.getDeployment(b.t.Context(), &deploymentID{id})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Info
}

func (b *bench) view(deployment, instance string) instanceTarget {
	b.t.Helper()
	out, err := b.getDeploymentTarget(b.t.Context(), &targetID{deployment, instance})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.Target.Instance
}

// ended waits for a deployment to end.
func (b *bench) ended(id string) deploymentInfo {
	b.t.Helper()
	b.until("deployment "+id+" has ended", func() bool { return b.info(id).CompleteTime != nil })
	return b.info(id)
}

// run deploys a revision and returns how that ended.
func (b *bench) run(r *revisionLocation) deploymentInfo {
	b.t.Helper()
	return b.ended(b.deploy(r))
}

// until waits for a condition, in fake time or in true time.
func (b *bench) until(what string, condition func() bool) {
	b.t.Helper()
	for range 100_000 {
		if condition() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("not yet so that %s", what)
}

// newest returns the ID of the newest deployment.
func (b *bench) newest() string {
	out, err := b.listDeployments(b.t.Context(), &listDeploymentsInput{})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.IDs[0]
}

// inBubble runs a test with fake time.
func inBubble(t *testing.T, ids []string, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, ids...)
		defer func() { b.Close() }()
		test(b)
	})
}

// client returns the SDK's client for the service.
func (b *bench) client() *sdk.Client {
	server := httptest.NewServer(wire.New(wire.Options{Region: "us-west-1", AccessKeyID: "AKIA", SecretAccessKey: "secret"}, b.API()))
	b.t.Cleanup(server.Close)
	return sdk.New(sdk.Options{
		Region: "us-west-1", BaseEndpoint: &server.URL, RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIA", SecretAccessKey: "secret"}, nil
		}),
	})
}

func errorCode(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
