//go:build integration

package targets_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/internal/testrun"
	"github.com/ingot-build/ingot/pkg/localcloud"
	"github.com/ingot-build/ingot/pkg/probe"
)

func TestMain(m *testing.M) { os.Exit(testrun.Main(m)) }

// clone is a fresh copy of the repository with a cloud of its own, and its targets compiled.
type clone struct {
	dir, ingot string
	env        []string
}

// firstCommit is when every clone's files were committed.
const firstCommit = "2026-01-01T00:00:00Z"

func newClone(t *testing.T) *clone {
	t.Helper()
	for _, tool := range []string{"docker", "packer", "terraform", "aws", "git"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is missing; run: mage setup", tool)
			}
			t.Skipf("%s is missing; run: mage setup", tool)
		}
	}
	dir := testrun.Clone(t)
	root := filepath.Join("..", "..")
	files, err := exec.Command("git", "-C", root, "ls-files", "-co", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	tar := exec.Command("sh", "-c", `tar -C "$0" -c --ignore-failed-read -T - | tar -C "$1" -x`, root, dir)
	tar.Stdin = bytes.NewReader(files)
	// All clones have the same commit: the one of the release in a kept cloud.
	commit := exec.Command("git", "-C", dir, "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-qm", "fresh")
	commit.Env = append(os.Environ(), "GIT_AUTHOR_DATE="+firstCommit, "GIT_COMMITTER_DATE="+firstCommit)
	for _, c := range []*exec.Cmd{tar, exec.Command("git", "-C", dir, "init", "-q"), exec.Command("git", "-C", dir, "add", "-A"), commit} {
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c, err, out)
		}
	}
	c := &clone{dir: dir, ingot: filepath.Join(dir, "bin", "ingot")}
	compiled := testrun.Keep(t, "compiled", func(kept string) {
		// Here, and not in the clone, as Go's cache has every package of this folder.
		compile := exec.Command("go", "tool", "mage", "-compile", filepath.Join(kept, "ingot"))
		compile.Dir = root
		if out, err := compile.CombinedOutput(); err != nil {
			t.Fatalf("compile the targets: %v\n%s", err, out)
		}
	})
	if err := os.Mkdir(filepath.Dir(c.ingot), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(compiled, "ingot"), c.ingot); err != nil {
		t.Fatal(err)
	}
	c.purges(t)
	return c
}

// purges removes the clone's cloud when the test ends.
func (c *clone) purges(t *testing.T) {
	t.Cleanup(func() {
		if t.Failed() {
			if log, err := os.ReadFile(filepath.Join(c.dir, ".ingot", "local", "cloud.log")); err == nil {
				t.Logf("end of the cloud's log:\n%s", log[max(0, len(log)-8000):])
			}
		}
		if out, err := c.command(context.Background(), "local:down", "-purge").CombinedOutput(); err != nil {
			t.Errorf("purge: %v\n%s", err, out)
		}
	})
}

func (c *clone) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.ingot, args...)
	cmd.Dir = c.dir
	// Terraform and its provider spend a quarter of their processor time on collecting what little they leave.
	cmd.Env = append(append(os.Environ(), "GOGC=400"), c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// run runs targets and returns what they printed on stdout and stderr.
func (c *clone) run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	begin := time.Now()
	var out, progress bytes.Buffer
	cmd := c.command(t.Context(), args...)
	cmd.Stdout, cmd.Stderr = &out, &progress
	err = cmd.Run()
	t.Logf("ingot %s: %s, %v", strings.Join(args, " "), time.Since(begin).Round(100*time.Millisecond), err)
	return strings.TrimSpace(out.String()), progress.String(), err
}

// must is run for what has to end well.
func (c *clone) must(t *testing.T, args ...string) string {
	t.Helper()
	out, progress, err := c.run(t, args...)
	if err != nil {
		t.Fatalf("ingot %s: %v\n%s\n%s", strings.Join(args, " "), err, out, progress)
	}
	return out
}

// aws asks the local cloud with the AWS CLI, as somebody who has eval-ed local:env does.
func (c *clone) aws(t *testing.T, query string, args ...string) string {
	t.Helper()
	out, err := c.awsError(t, append(args, "--query", query, "--output", "json")...)
	if err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// awsError is what the AWS CLI prints, and with an error also what it and ingot say.
func (c *clone) awsError(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `eval "$("$0" local:env)" && exec aws "$@"`, c.ingot)
	cmd.Args = append(cmd.Args, args...)
	cmd.Dir = c.dir
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return strings.TrimSpace(out.String() + said.String()), err
	}
	return strings.TrimSpace(out.String()), nil
}

// list decodes a JSON list of strings.
func list(t *testing.T, text string) []string {
	t.Helper()
	var values []string
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return values
}

func (c *clone) bakes(t *testing.T) int {
	t.Helper()
	folders, err := filepath.Glob(filepath.Join(c.dir, ".ingot", "*", "*", "bakes", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(folders)
}

func (c *clone) edit(t *testing.T, name, pattern, with string) {
	t.Helper()
	path := filepath.Join(c.dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := regexp.MustCompile(pattern).ReplaceAll(data, []byte(with))
	if bytes.Equal(data, changed) {
		t.Fatalf("%s holds nothing like %s", name, pattern)
	}
	if err := os.WriteFile(path, changed, 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, url string) (body, release string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s %v", url, response.Status, err)
	}
	return string(data), response.Header.Get(probe.ReleaseHeader)
}

// machines are the cloud's, as far as it answers.
func (c *clone) machines() []localcloud.MachineStatus {
	var status localcloud.CloudStatus
	out, err := c.command(context.Background(), "local:status", "-json").Output()
	if err != nil || json.Unmarshal(out, &status) != nil {
		return nil
	}
	return status.Machines
}

// cloudID is in the names of everything that the clone's cloud has made.
func (c *clone) cloudID(t *testing.T) string {
	t.Helper()
	var id struct{ ID string }
	data, err := os.ReadFile(filepath.Join(c.dir, ".ingot", "local", "cloud.json"))
	if err == nil {
		err = json.Unmarshal(data, &id)
	}
	if err != nil || id.ID == "" {
		t.Fatalf("read the cloud's identity: %v", err)
	}
	return id.ID
}

// inside runs a command in every running instance of the fleet, and returns what each printed.
func (c *clone) inside(t *testing.T, script string) []string {
	t.Helper()
	ids := list(t, c.aws(t, "Reservations[].Instances[].InstanceId", "ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=running"))
	var outs []string
	for _, id := range ids {
		// A cloud that was loaded from the same kept one has an instance of the same ID.
		name, err := exec.Command("docker", "ps", "-q", "--filter", "name=ingot-"+c.cloudID(t)+"-"+id).Output()
		if err != nil || len(bytes.Fields(name)) != 1 {
			t.Fatalf("find the machine of %s: %q %v", id, name, err)
		}
		out, err := exec.Command("docker", "exec", strings.TrimSpace(string(name)), "bash", "-c", script).CombinedOutput()
		if err != nil {
			t.Fatalf("in %s: %v\n%s", id, err, out)
		}
		outs = append(outs, string(out))
	}
	return outs
}

const greetingFile = "service/main.go"

// TestIntegrationPipeline is the story that the README tells, with the real tools, from a fresh clone to an empty machine.
func TestIntegrationPipeline(t *testing.T) {
	t.Parallel()
	t.Run("rehearse", func(t *testing.T) {
		out, err := os.ReadFile(filepath.Join(released(t), rehearsal))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(out), "answers:") || !strings.Contains(string(out), "PHASE") {
			t.Errorf("rehearse printed:\n%s", out)
		}
		t.Logf("%s", out)
	})
	if t.Failed() {
		return
	}
	t.Run("releases", testReleases)
	t.Run("failures", testFailures)
}

// testReleases releases anew and goes back.
func testReleases(t *testing.T) {
	t.Parallel()
	c := newReleasedClone(t)
	url := c.must(t, "local", "url")
	_, firstRelease := get(t, url)
	if firstRelease == "" {
		t.Error("the answer names no release")
	}
	c.recorded(t, firstRelease)

	t.Run("plan is empty", func(t *testing.T) {
		if out := c.must(t, "local", "infra:plan"); out != "no changes" {
			t.Errorf("infra:plan printed %q", out)
		}
	})

	t.Run("again bakes nothing", func(t *testing.T) {
		bakes := c.bakes(t)
		c.must(t, "rehearse")
		before := c.must(t, "local", "base")
		if err := os.WriteFile(filepath.Join(c.dir, "README.md"), []byte("other words"), 0o644); err != nil {
			t.Fatal(err)
		}
		if after := c.must(t, "local", "base"); after != before || c.bakes(t) != bakes {
			t.Errorf("base is %s, was %s; %d bakes, were %d", after, before, c.bakes(t), bakes)
		}
	})

	t.Run("a new release, and no request fails", func(t *testing.T) {
		old := c.aws(t, "sort(Reservations[].Instances[].InstanceId)", "ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=running")
		c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good evening"`)
		ctx, stop := context.WithCancel(t.Context())
		reports := make(chan probe.Report)
		go func() { reports <- probe.Run(ctx, probe.Options{URL: url, Rate: 100}) }()
		c.must(t, "local", "prod")
		body, release := get(t, url)
		stop()
		report := <-reports
		if !strings.Contains(body, "Good evening") || release == firstRelease {
			t.Errorf("release %q answers %q", release, body)
		}
		t.Logf("%d requests, %v, 99th percentile %s", len(report.Answers), report.Releases(), report.Quantile(0.99))
		if failures := report.Failures(); len(failures) > 0 {
			t.Errorf("%d of %d requests failed; the first: %s", len(failures), len(report.Answers), failures[0])
		}
		if n := report.Releases(); n[firstRelease] == 0 || n[release] == 0 || len(n) != 2 {
			t.Errorf("answers by release: %v", n)
		}
		if now := c.aws(t, "sort(Reservations[].Instances[].InstanceId)", "ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=running"); now == old {
			t.Errorf("the instances are still %s", now)
		}
		if out := c.must(t, "local", "infra:plan"); out != "no changes" {
			t.Errorf("infra:plan printed %q", out)
		}
	})

	t.Run("instances came out of the image", func(t *testing.T) {
		c.inside(t, "test -s /etc/ingot/base && ! test -e /home/admin/.ssh/authorized_keys && ! test -e /root/.ssh/authorized_keys")
		for what, script := range map[string]string{"machine ID": "cat /etc/machine-id", "host key": "cat /etc/ssh/ssh_host_ed25519_key.pub"} {
			seen := map[string]bool{}
			values := c.inside(t, script)
			for _, v := range values {
				seen[v] = true
			}
			if len(values) < 2 || len(seen) != len(values) {
				t.Errorf("%s: %q", what, values)
			}
		}
	})

	t.Run("instances know themselves", func(t *testing.T) {
		// No curl is in the image, nor need be: bash and HTTP/1.0.
		const script = `ask() { exec 3<>/dev/tcp/169.254.169.254/80; printf "$1 HTTP/1.0\r\n$2\r\n" >&3; cat <&3; exec 3>&-; }
			ask 'GET /latest/meta-data/instance-id' | head -n 1 | tr -d '\r'
			token=$(ask 'PUT /latest/api/token' 'X-aws-ec2-metadata-token-ttl-seconds: 60\r\n' | tail -n 1)
			for path in instance-id iam/security-credentials/; do ask "GET /latest/meta-data/$path" "X-aws-ec2-metadata-token: $token\r\n" | tail -n 1; echo; done`
		ids := list(t, c.aws(t, "Reservations[].Instances[].InstanceId", "ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=running"))
		for i, out := range c.inside(t, script) {
			if got := strings.Join(strings.Fields(out), " "); !regexp.MustCompile(`^HTTP/1\.\d 401 Unauthorized ` + ids[i] + ` hello-instance-\w+$`).MatchString(got) {
				t.Errorf("%s knows itself as %q", ids[i], got)
			}
		}
	})

	t.Run("the AWS CLI sees what is there", func(t *testing.T) {
		checks := map[string]struct {
			args  []string
			query string
			want  string
		}{
			"images":    {[]string{"ec2", "describe-images", "--owners", "self"}, "length(Images[?State=='available'])", "3"},
			"group":     {[]string{"autoscaling", "describe-auto-scaling-groups"}, "AutoScalingGroups[0].Instances[].LifecycleState", `["InService","InService"]`},
			"refreshes": {[]string{"autoscaling", "describe-instance-refreshes", "--auto-scaling-group-name", "hello"}, "InstanceRefreshes[].Status", `["Successful"]`},
			"history":   {[]string{"ssm", "get-parameter-history", "--name", "/ingot/hello/release"}, "length(Parameters)", "2"},
		}
		for name, check := range checks {
			var got, want any
			if err := json.Unmarshal([]byte(c.aws(t, check.query, check.args...)), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(check.want), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		targetGroup := list(t, c.aws(t, "TargetGroups[].TargetGroupArn", "elbv2", "describe-target-groups"))[0]
		if got := list(t, c.aws(t, "TargetHealthDescriptions[].TargetHealth.State", "elbv2", "describe-target-health", "--target-group-arn", targetGroup)); !cmp.Equal(got, []string{"healthy", "healthy"}) {
			t.Errorf("targets: %v", got)
		}
		if out, err := c.awsError(t, "ec2", "describe-spot-price-history"); err == nil || !strings.Contains(out, "DescribeSpotPriceHistory") || !strings.Contains(out, "InvalidAction") {
			t.Errorf("an operation outside the set: %v\n%s", err, out)
		}
	})

	t.Run("a dead instance is replaced", func(t *testing.T) {
		id := list(t, c.aws(t, "Reservations[].Instances[].InstanceId", "ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=running"))[0]
		c.aws(t, "TerminatingInstances", "ec2", "terminate-instances", "--instance-ids", id)
		c.grows(t, 2, id)
	})

	t.Run("rollback", func(t *testing.T) {
		c.must(t, "local", "rollback")
		if body, release := get(t, url); release != firstRelease || strings.Contains(body, "Good evening") {
			t.Errorf("release %q answers %q", release, body)
		}
		if lines := strings.Split(c.must(t, "local", "releases"), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[1], firstRelease) || !strings.Contains(lines[1], "live") {
			t.Errorf("releases:\n%s", strings.Join(lines, "\n"))
		}
		if out := c.must(t, "local", "infra:plan"); out != "no changes" {
			t.Errorf("infra:plan printed %q", out)
		}
	})
}

// testFailures has the pipeline fail and be interrupted, ends the cloud and starts it again, and removes everything.
func testFailures(t *testing.T) {
	t.Parallel()
	c := newReleasedClone(t)
	url := c.must(t, "local", "url")

	t.Run("the development machine is like an instance", c.parity)

	t.Run("a service that does not compile", func(t *testing.T) {
		path := filepath.Join(c.dir, "service", "broken.go")
		if err := os.WriteFile(path, []byte("package main\n\nfunc broken() { return 1 }\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, stderr, err := c.run(t, "local", "prod")
		if err == nil || !strings.Contains(stderr, "broken.go:3") {
			t.Errorf("error %v\n%s", err, stderr)
		}
		c.nothingHalfMade(t)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("an interrupt leaves nothing", func(t *testing.T) {
		c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good night"`)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		cmd := c.command(ctx, "local", "prod")
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = io.Discard, &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for running := false; !running; time.Sleep(200 * time.Millisecond) {
			running = slices.ContainsFunc(c.machines(), func(m localcloud.MachineStatus) bool {
				return strings.HasPrefix(m.Name, "bake") && m.State == "running"
			})
		}
		if err := syscall.Kill(cmd.Process.Pid, syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != 130 {
			t.Errorf("exit code %d\n%s", code, stderr.String())
		}
		c.nothingHalfMade(t)
		c.must(t, "local", "prod")
		if body, _ := get(t, url); !strings.Contains(body, "Good night") {
			t.Errorf("the page is %q", body)
		}
	})

	t.Run("the state survives", func(t *testing.T) {
		_, release := get(t, url)
		c.must(t, "local:down")
		if _, err := http.Get(url); err == nil {
			t.Error("something answers while the cloud is down")
		}
		c.must(t, "local")
		deadline := time.Now().Add(time.Minute)
		for {
			response, err := http.Get(url)
			if err == nil {
				response.Body.Close()
				if response.StatusCode == http.StatusOK && response.Header.Get(probe.ReleaseHeader) == release {
					break
				}
			}
			if time.Now().After(deadline) {
				t.Fatalf("after a restart: %v %v", response, err)
			}
			time.Sleep(200 * time.Millisecond)
		}
	})

	t.Run("destroy", func(t *testing.T) {
		if out, _, err := c.run(t, "local", "infra:destroy"); err == nil || !strings.Contains(out, "- aws_autoscaling_group.") {
			t.Errorf("without -yes: %v\n%s", err, out)
		}
		c.must(t, "local", "infra:destroy", "-yes")
		if n := c.aws(t, "length(Reservations[].Instances[])", "ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=pending,running,stopping,shutting-down"); n != "0" {
			t.Errorf("%s instances are left", n)
		}
		if _, stderr, err := c.run(t, "local", "prod"); err == nil || !strings.Contains(stderr, "mage local infra:apply") {
			t.Errorf("prod without infrastructure: %v\n%s", err, stderr)
		}
	})

	t.Run("purge", func(t *testing.T) {
		id := c.cloudID(t)
		c.must(t, "local:down", "-purge")
		for _, args := range [][]string{{"ps", "-aq"}, {"images", "-q"}, {"network", "ls", "-q"}, {"volume", "ls", "-q"}} {
			filters := []string{"--filter", "label=ingot.cloud=" + id}
			if args[0] == "images" {
				filters = []string{"--filter", "reference=ingot-" + id + "/*"}
			}
			if out, err := exec.Command("docker", append(args, filters...)...).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("docker %s: %s %v", strings.Join(args, " "), out, err)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(c.dir, ".ingot", "*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// nothingHalfMade checks that a failed bake left nothing on EC2.
func (c *clone) nothingHalfMade(t *testing.T) {
	t.Helper()
	for what, got := range map[string]string{
		"machines":        c.aws(t, "Reservations[].Instances[?starts_with(Tags[?Key=='Name']|[0].Value, 'bake')][].InstanceId", "ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=pending,running,stopping,stopped"),
		"key pairs":       c.aws(t, "KeyPairs[].KeyName", "ec2", "describe-key-pairs"),
		"security groups": c.aws(t, "SecurityGroups[?starts_with(GroupName, 'bake')].GroupName", "ec2", "describe-security-groups"),
		"images":          c.aws(t, "Images[?State!='available'].ImageId", "ec2", "describe-images", "--owners", "self"),
	} {
		if left := list(t, got); len(left) > 0 {
			t.Errorf("%s are left: %v", what, left)
		}
	}
}

// TestIntegrationBadInput: one line that says what is wrong and what to do, and an exit code other than 0.
func TestIntegrationBadInput(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	c.must(t, "local") // makes the machine image, which a subtest without mmdebstrap on its PATH could not
	set := func(t *testing.T, name, text string) {
		t.Helper()
		path := filepath.Join(c.dir, name)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.WriteFile(path, old, 0o644) })
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		settings string
		template string
		env      []string
		args     []string
		want     string
	}{
		"unknown key":    {settings: "app = \"hello\"\nfleet {\n  size = 3\n}\n", args: []string{"status"}, want: "ingot.hcl:3:3: Unsupported argument"},
		"out of range":   {settings: "app = \"hello\"\nfleet {\n  min = 0\n}\n", args: []string{"prod"}, want: "ingot.hcl:3:9: fleet.min is 0: allowed is 1 to 1000"},
		"no Docker":      {env: []string{"DOCKER_HOST=unix:///nonexistent/docker.sock"}, args: []string{"local", "base"}, want: "Docker"},
		"dev, no Docker": {env: []string{"DOCKER_HOST=unix:///nonexistent/docker.sock"}, args: []string{"dev"}, want: "no Docker engine answers at unix:///nonexistent/docker.sock (DOCKER_HOST): DOCKER_HOST says so"},
		"no machine":     {args: []string{"dev:shell"}, want: "start it with mage dev"},
		"no credentials": {env: []string{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_EC2_METADATA_DISABLED=true", "HOME=/nonexistent", "AWS_PROFILE="}, args: []string{"status"}, want: "no AWS credentials"},
		"no Packer":      {env: []string{"PATH=" + emptyPath(t, "git", "docker"), "XDG_CACHE_HOME=" + t.TempDir()}, args: []string{"local", "base"}, want: "mage setup"},
		"no Terraform":   {env: []string{"PATH=" + emptyPath(t, "git", "docker"), "XDG_CACHE_HOME=" + t.TempDir()}, args: []string{"local", "infra:plan"}, want: "terraform"},
		"no region":      {settings: "app = \"hello\"\nregion = \"mars-north-1\"\n", args: []string{"local", "base"}, want: "mars-north-1"},
		"bad template":   {template: "source \"amazon-ebs\" {\n", args: []string{"local", "base"}, want: "packer"},
		"before apply":   {args: []string{"local", "prod"}, want: "mage local infra:apply"},
		"no such flag":   {args: []string{"local", "infra:plan", "-json"}, want: "infra:plan takes no flag, and so not -json"},
		"no value":       {args: []string{"local", "prod", "-image="}, want: "the flag -image of prod has no value: -image=VALUE"},
		"a slip":         {args: []string{"local", "rehearse", "statsu"}, want: `there is no target "statsu": did you mean status?`},
		"no build":       {settings: "app = \"hello\"\nservice {\n  source = \"docs\"\n}\n", args: []string{"local", "app"}, want: "it has neither a go.mod nor an executable named build; a Go module is built by itself"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.settings != "" {
				set(t, "ingot.hcl", tc.settings)
			}
			if tc.template != "" {
				set(t, "packer/source.pkr.hcl", tc.template)
			}
			c.env = tc.env
			defer func() { c.env = nil }()
			_, stderr, err := c.run(t, tc.args...)
			if err == nil || !strings.Contains(stderr, tc.want) {
				t.Errorf("error %v, want one with %q\n%s", err, tc.want, stderr)
			}
		})
	}
	before := c.bakes(t)
	if help := c.must(t, "local", "rehearse", "--help"); !strings.Contains(help, "Usage:\n\n\tingot rehearse") {
		t.Errorf("help says\n%s", help)
	}
	if n := c.bakes(t); n != before {
		t.Errorf("%d bakes, were %d", n, before)
	}
}

// TestIntegrationAddressTaken: a cloud keeps its address, so another program on it is said and not worked around.
func TestIntegrationAddressTaken(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	c.must(t, "local")
	var status struct{ Endpoint string }
	if err := json.Unmarshal([]byte(c.must(t, "local:status", "-json")), &status); err != nil {
		t.Fatal(err)
	}
	c.must(t, "local:down")
	address := strings.TrimPrefix(status.Endpoint, "http://")
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if _, stderr, err := c.run(t, "local"); err == nil || !strings.Contains(stderr, address) {
		t.Errorf("error %v, want one with %s\n%s", err, address, stderr)
	}
}

// emptyPath is a PATH that holds these commands alone.
func emptyPath(t *testing.T, commands ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range commands {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return fmt.Sprint(dir)
}
