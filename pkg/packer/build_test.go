package packer

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/command"
)

func testBuild(folder string) Build {
	return Build{
		Templates: os.DirFS(templates), Name: "app", Folder: folder, Env: []string{"AWS_REGION=us-west-1"},
		Variables: Variables{Region: "us-west-1", SourceAMI: "ami-1", SecurityGroup: "sg-1", AMIName: "hello", Run: "run-1", Archive: "app.tar.gz"},
	}
}

func TestArgs(t *testing.T) {
	want := []string{"build", "-color=false", "-only=app.*", "-var-file=/runs/1/variables.json", "/runs/1/templates"}
	if diff := cmp.Diff(want, testBuild("/runs/1").args()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestEnv(t *testing.T) {
	want := []string{
		"CHECKPOINT_DISABLE=1", "PACKER_LOG=0", "PACKER_NO_COLOR=1",
		"PACKER_CACHE_DIR=/runs/1/scratch/cache", "PACKER_CONFIG_DIR=/runs/1/scratch/config", "AWS_REGION=us-west-1",
	}
	if diff := cmp.Diff(want, testBuild("/runs/1").env()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// replay is a Packer that says what a log says, leaves a manifest, and ends.
func replay(t *testing.T, log, manifest string, end error) *command.Fake {
	t.Helper()
	said, err := os.ReadFile(filepath.Join("testdata", "log", log))
	if err != nil {
		t.Fatal(err)
	}
	return &command.Fake{Func: func(_ context.Context, c command.Cmd) error {
		if c.Args[0] != "build" {
			return nil
		}
		// In odd pieces, as a pipe delivers it.
		for piece := range slices.Chunk(said, 7) {
			c.Stdout.Write(piece)
		}
		if manifest != "" {
			folder := filepath.Dir(c.Args[len(c.Args)-1])
			data, err := os.ReadFile(filepath.Join("testdata", "manifest", manifest))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(folder, "manifest.json"), data, 0o644); err != nil {
				return err
			}
		}
		return end
	}}
}

func TestBuild(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, stale := range []string{"manifest.json", "manifest.json.lock"} {
		if err := os.WriteFile(filepath.Join(folder, stale), []byte("stale"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fake := replay(t, "success.log", "success.json", nil)
	p := &Packer{Path: "packer", Version: v("1.14.0"), runner: fake, plugins: filepath.Join(t.TempDir(), "plugins")}
	b := testBuild(folder)
	var steps []string
	b.Progress = func(step string) { steps = append(steps, step) }
	b.Lock = os.Stdin // any open file
	got, err := p.Build(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	want := Artifact{AMIs: map[string]string{"us-west-1": "ami-0123456789abcdef0"}, Data: map[string]string{"run": "20261122-1"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	wantSteps := []string{
		"checking the AMI name", "creating a key pair", "creating a security group", "opening port 22", "launching an instance",
		"waiting for the instance", "waiting for SSH", "connected", "uploading", "provisioning", "stopping the instance",
		"creating the AMI", "waiting for the AMI", "tagging", "cleaning up",
	}
	if diff := cmp.Diff(wantSteps, slices.Compact(steps)); diff != "" {
		t.Errorf("steps: -want +got\n%s", diff)
	}

	calls := fake.Calls()
	if len(calls) != 2 || calls[0].Args[0] != "init" || calls[0].Args[1] != filepath.Join(folder, "plugins") {
		t.Errorf("ran %v, want init and build", calls)
	}
	// Packer writes its log itself, and has the lock, so that both outlive this process.
	if log, ok := calls[1].Stdout.(*os.File); !ok || log.Name() != filepath.Join(folder, "packer.log") || calls[1].Stderr != calls[1].Stdout || !slices.Equal(calls[1].Files, []*os.File{b.Lock}) {
		t.Errorf("build writes to %v and %v, has %v", calls[1].Stdout, calls[1].Stderr, calls[1].Files)
	}
	if calls[1].WaitDelay != cleanupDelay || !slices.Contains(calls[1].Env, "PACKER_PLUGIN_PATH="+p.plugins) {
		t.Errorf("build runs with wait delay %s and %q", calls[1].WaitDelay, calls[1].Env)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var kept []string
	for _, entry := range entries {
		kept = append(kept, entry.Name())
	}
	if diff := cmp.Diff([]string{"manifest.json", "packer.log", "templates", "variables.json"}, kept); diff != "" {
		t.Errorf("kept: -want +got\n%s", diff)
	}
	data, err := os.ReadFile(filepath.Join(folder, "variables.json"))
	if err != nil {
		t.Fatal(err)
	}
	var variables map[string]any
	if err := json.Unmarshal(data, &variables); err != nil {
		t.Fatal(err)
	}
	if variables["manifest"] != filepath.Join(folder, "manifest.json") || !filepath.IsAbs(variables["archive"].(string)) || variables["encrypted"] != false {
		t.Errorf("variables %s", data)
	}
	if rendered, _ := os.ReadFile(filepath.Join(folder, "templates", "source.pkr.hcl")); !strings.Contains(string(rendered), "metadata_options") {
		t.Error("the templates are not rendered for this version")
	}
}

func TestBuildErrors(t *testing.T) {
	exit := errors.New("exit status 1")
	tests := []struct{ log, want string }{
		{"failing-compile.log", "packer build \"app\": Script exited with non-zero exit status: 1.Allowed exit codes are: [0]\n" +
			"  # broken\n  ./main.go:3:15: undefined: undefined\nwhole log: "},
		{"unknown-ami.log", "packer build \"app\": Error querying AMI: InvalidAMIID.NotFound: no\n\tstatus code: 400, request id:\nwhole log: "},
		{"wrong-variable.log", "packer build \"app\": Error: 1 error(s) occurred:\n* ami_name must be between 3 and 128 characters long\n" +
			"  on /tmp/run/templates/source.pkr.hcl line 4:\n  (source code not available)\nwhole log: "},
	}
	for _, test := range tests {
		t.Run(test.log, func(t *testing.T) {
			folder := t.TempDir()
			p := &Packer{Path: "packer", Version: v("1.6.6"), runner: replay(t, test.log, "", exit)}
			_, err := p.Build(t.Context(), testBuild(folder))
			if !errors.Is(err, exit) || !errors.As(err, new(*BuildError)) {
				t.Fatalf("error %v, want a *BuildError for %v", err, exit)
			}
			if diff := cmp.Diff(test.want+filepath.Join(folder, "packer.log"), err.Error()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// What a build died of is told apart where that can be mended.
func TestBuildErrorsWithACause(t *testing.T) {
	exit := errors.New("exit status 1")
	for log, tc := range map[string]struct {
		is   error
		want string
	}{
		"out-of-memory.log": {ErrOutOfMemory, "packer build \"app\": the machine that bakes ran out of memory: Script exited with non-zero exit status: 1.Allowed exit codes are: [0]\n" +
			"  large: /usr/lib/go-1.24/pkg/tool/linux_amd64/compile: signal: killed\nwhole log: "},
		"ssh-timeout.log": {ErrUnreachable, "packer build \"app\": Timeout waiting for SSH.\nwhole log: "},
	} {
		t.Run(log, func(t *testing.T) {
			folder := t.TempDir()
			p := &Packer{Path: "packer", Version: v("1.6.6"), runner: replay(t, log, "", exit)}
			_, err := p.Build(t.Context(), testBuild(folder))
			if !errors.Is(err, exit) || !errors.Is(err, tc.is) {
				t.Fatalf("error %v, want %v", err, tc.is)
			}
			if diff := cmp.Diff(tc.want+filepath.Join(folder, "packer.log"), err.Error()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestKilledForMemory(t *testing.T) {
	for line, want := range map[string]bool{
		"large: /usr/lib/go-1.24/pkg/tool/linux_amd64/compile: signal: killed":                          true,
		"/var/tmp/ingot/provision/app/app.sh: line 40:  1234 Killed                  go build -o out .": true,
		"app.service: Failed with result 'oom-kill'.":                                                   true,
		"[  93.1] Out of memory: Killed process 2211 (compile) total-vm:1806156kB":                      true,
		"fatal error: runtime: out of memory":                                                           true,
		"fork/exec /usr/lib/go-1.24/pkg/tool/linux_amd64/link: cannot allocate memory":                  true,
		"./main.go:3:15: undefined: killed":                                                             false,
		"signal: killed is what a test of ours looks for":                                               false,
		"--- FAIL: TestOutOfMemory":                                                                     false,
	} {
		o := newOutput(nil)
		o.Write([]byte("    app.amazon-ebs.debian: " + line + "\n"))
		if o.outOfMemory != want {
			t.Errorf("%q: out of memory = %t", line, o.outOfMemory)
		}
	}
}

func TestBuildCancelled(t *testing.T) {
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	p := &Packer{Path: "packer", Version: v("1.6.6"), runner: replay(t, "failing-compile.log", "", enough)}
	_, err := p.Build(ctx, testBuild(t.TempDir()))
	if !errors.Is(err, enough) || !strings.HasPrefix(err.Error(), "packer build \"app\": enough\nwhole log: ") {
		t.Errorf("error %v", err)
	}
}

func TestBuildWithoutAMI(t *testing.T) {
	p := &Packer{Path: "packer", Version: v("1.6.6"), runner: replay(t, "success.log", "", nil)}
	if _, err := p.Build(t.Context(), testBuild(t.TempDir())); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no manifest: %v", err)
	}
	p.runner = replay(t, "success.log", "success.json", nil)
	b := testBuild(t.TempDir())
	b.Variables.Region = "eu-west-1"
	if _, err := p.Build(t.Context(), b); err == nil || !strings.Contains(err.Error(), `made no AMI in "eu-west-1"`) {
		t.Errorf("another region: %v", err)
	}
}
