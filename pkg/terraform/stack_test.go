package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"
)

// A test run with this variable is a terraform command: it notes its arguments and some of its environment in the
// folder that the variable names, and answers with the files SUBCOMMAND.stdout, .stderr and .exit there;
// SUBCOMMAND is show-text for a plan that is shown to people.
const fakeDir = "FAKE_TERRAFORM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(fakeDir); dir != "" {
		os.Exit(fakeTerraform(dir, os.Args[1:]))
	}
	os.Exit(m.Run())
}

func fakeTerraform(dir string, args []string) int {
	if args[0] == "version" {
		fmt.Println(`{"terraform_version": "1.11.4", "provider_selections": {}}`)
		return 0
	}
	work, _ := os.Getwd()
	call, _ := json.Marshal(fakeCall{
		Args: args, Dir: work, DataDir: os.Getenv("TF_DATA_DIR"), Checkpoint: os.Getenv("CHECKPOINT_DISABLE"),
		Variable: os.Getenv("TF_VAR_app"), Region: os.Getenv("AWS_REGION"), Cache: os.Getenv("TF_PLUGIN_CACHE_DIR"),
	})
	file, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(file, "%s\n", call)
	file.Close()
	isForeign := func(variable string) bool { return !strings.HasPrefix(variable, "AWS_") }
	seen := slices.Sorted(slices.Values(slices.DeleteFunc(os.Environ(), isForeign)))
	if err := os.WriteFile(filepath.Join(dir, "aws"), []byte(strings.Join(seen, "\n")), 0o644); err != nil {
		panic(err)
	}
	if wait, err := os.ReadFile(filepath.Join(dir, args[0]+".interrupt")); err == nil {
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		if err := os.WriteFile(string(wait), nil, 0o644); err != nil {
			panic(err)
		}
		<-interrupted
		fmt.Fprintln(os.Stderr, "Error: execution halted")
		return 1
	}
	if args[0] == "show" && args[1] != "-json" {
		args[0] = "show-text"
	}
	stdout, _ := os.ReadFile(filepath.Join(dir, args[0]+".stdout"))
	os.Stdout.Write(stdout)
	stderr, _ := os.ReadFile(filepath.Join(dir, args[0]+".stderr"))
	os.Stderr.Write(stderr)
	code := 0
	exit, _ := os.ReadFile(filepath.Join(dir, args[0]+".exit"))
	_, _ = fmt.Sscan(string(exit), &code)
	return code
}

type fakeCall struct {
	Args                                              []string
	Dir, DataDir, Checkpoint, Variable, Region, Cache string
}

// newStack returns a Stack over the fake command, below dir, with answers by file name.
func newStack(t *testing.T, dir string, answers map[string]string) *Stack {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range answers {
		writeFile(t, filepath.Join(dir, "fake", name), text)
	}
	writeFile(t, filepath.Join(dir, "fake", "README"), "")
	writeFile(t, filepath.Join(dir, "stack", "main.tf"), "# main")
	return &Stack{
		Command: self,
		Config:  os.DirFS(filepath.Join(dir, "stack")),
		DataDir: filepath.Join(dir, "data"),
		// With the race detector a process ends a second late, unless told otherwise.
		Env: []string{"GORACE=atexit_sleep_ms=0", fakeDir + "=" + filepath.Join(dir, "fake"), "AWS_REGION=us-west-1", "TF_VAR_app=sneaked-in"},
	}
}

// calls returns what the fake command was called with; DIR stands for dir, plan-N for the name of a plan.
func calls(t *testing.T, dir string) []fakeCall {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "fake", "calls"))
	if err != nil {
		t.Fatal(err)
	}
	var calls []fakeCall
	text := regexp.MustCompile(`plan-\d+`).ReplaceAllString(strings.ReplaceAll(string(data), dir, "DIR"), "plan-N")
	for line := range strings.Lines(text) {
		var call fakeCall
		if err := json.Unmarshal([]byte(line), &call); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, call)
	}
	return calls
}

func args(calls []fakeCall) []string {
	var all []string
	for _, call := range calls {
		all = append(all, strings.Join(call.Args, " "))
	}
	return all
}

func TestInit(t *testing.T) {
	t.Run("defaults", func(t *testing.T) {
		dir := t.TempDir()
		if err := newStack(t, dir, nil).Init(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]fakeCall{{
			Args: []string{"init", "-no-color", "-input=false", "-backend=true", "-get=true", "-upgrade=false", "-reconfigure"},
			Dir:  "DIR/data/stack", DataDir: "DIR/data/data", Checkpoint: "1", Region: "us-west-1",
		}}, calls(t, dir)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("everything", func(t *testing.T) {
		dir := t.TempDir()
		s := newStack(t, dir, nil)
		s.StatePath = filepath.Join(dir, "state", "hello.tfstate")
		s.PluginDir = "/mirror"
		s.CacheDir = filepath.Join(dir, "cache")
		s.Vars = map[string]any{"app": "hello", "min_size": 2, "released": true}
		if err := s.Init(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]fakeCall{{
			Args: []string{
				"init", "-no-color", "-input=false", "-backend=true", "-get=true", "-upgrade=false", "-reconfigure",
				"-backend-config=path=DIR/state/hello.tfstate", "-plugin-dir=/mirror",
			},
			Dir: "DIR/data/stack", DataDir: "DIR/data/data", Checkpoint: "1", Region: "us-west-1", Cache: "DIR/cache/terraform-providers",
		}}, calls(t, dir)); diff != "" {
			t.Error(diff)
		}
		vars, err := os.ReadFile(filepath.Join(dir, "data", "variables.tfvars.json"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff("{\n  \"app\": \"hello\",\n  \"min_size\": 2,\n  \"released\": true\n}\n", string(vars)); diff != "" {
			t.Error(diff)
		}
	})
}

// Terraform has the credentials, the region and the endpoint that were resolved here, and nothing that leads elsewhere.
func TestAWS(t *testing.T) {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "") // puts it back
			os.Unsetenv(name)
		}
	}
	t.Setenv("AWS_PROFILE", "work")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
	t.Setenv("AWS_MAX_ATTEMPTS", "3")
	dir := t.TempDir()
	s := newStack(t, dir, nil)
	s.Env = s.Env[:2]
	s.AWS = &aws.Config{Region: "eu-central-1", BaseEndpoint: aws.String("http://127.0.0.1:1"), Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIA1", SecretAccessKey: "s"}, nil
	})}
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "fake", "aws"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"AWS_ACCESS_KEY=", "AWS_ACCESS_KEY_ID=AKIA1", "AWS_CONTAINER_AUTHORIZATION_TOKEN=", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI=", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=", "AWS_DEFAULT_PROFILE=", "AWS_DEFAULT_REGION=eu-central-1",
		"AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_MAX_ATTEMPTS=3", "AWS_PROFILE=", "AWS_REGION=eu-central-1", "AWS_ROLE_ARN=",
		"AWS_SECRET_ACCESS_KEY=s", "AWS_SECRET_KEY=", "AWS_SECURITY_TOKEN=", "AWS_SESSION_TOKEN=", "AWS_WEB_IDENTITY_TOKEN_FILE=",
	}
	if diff := cmp.Diff(want, strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	s.AWS.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errors.New("sign in again")
	})
	if err := s.Init(t.Context()); err == nil || err.Error() != "terraform init: get AWS credentials: sign in again" {
		t.Errorf("error = %v", err)
	}
}

func TestWorkingCopy(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for _, name := range []string{"main.tf", "production.auto.tfvars", "modules/dns/main.tf", "tests/stack.tftest.hcl", ".terraform/providers/x", "terraform.tfstate"} {
		writeFile(t, filepath.Join(from, name), name)
	}
	for _, name := range []string{"removed.tf", "modules/old/main.tf", "modules/dns/removed.tf", lockFile} {
		writeFile(t, filepath.Join(to, name), name)
	}
	if err := copyConfiguration(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := filepath.WalkDir(to, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			got = append(got, strings.TrimPrefix(path, to+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{lockFile, "main.tf", "modules/dns/main.tf", "production.auto.tfvars"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPlanAndApply(t *testing.T) {
	dir := t.TempDir()
	s := newStack(t, dir, map[string]string{
		"plan.exit":        "2",
		"show.stdout":      strings.ReplaceAll(plannedChanges, "\n", ""),
		"show-text.stdout": "\nNo changes. Not really.\n",
		"apply.stdout":     `{"@level":"info","@message":"Apply complete!","type":"change_summary"}` + "\n",
	})
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	plan, err := s.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !plan.Changed || plan.Summary() != "2 to add, 1 to change, 2 to destroy" {
		t.Errorf("Plan = %+v", plan)
	}
	if text, err := s.ShowPlan(t.Context(), plan); text != "No changes. Not really." || err != nil {
		t.Errorf("ShowPlan = %q, %v", text, err)
	}
	if err := s.Apply(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if err := s.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	const (
		planned = "plan -no-color -input=false -detailed-exitcode -lock-timeout=30s -out=DIR/data/plan-N -var-file=DIR/data/variables.tfvars.json -lock=true -parallelism=10 -refresh=true"
		show    = "show -json -no-color DIR/data/plan-N"
		text    = "show -no-color DIR/data/plan-N"
		apply   = "apply -no-color -auto-approve -input=false -lock-timeout=30s -lock=true -parallelism=10 -refresh=true -json DIR/data/plan-N"
	)
	if diff := cmp.Diff([]string{planned, show, text, apply, planned + " -destroy", show, apply}, args(calls(t, dir))[1:]); diff != "" {
		t.Error(diff)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "data", "plan-*")); len(left) > 0 {
		t.Errorf("plans left behind: %q", left)
	}
}

func TestDestroyNothing(t *testing.T) {
	dir := t.TempDir()
	s := newStack(t, dir, map[string]string{"show.stdout": `{"format_version": "1.2"}`})
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, call := range args(calls(t, dir)) {
		if strings.HasPrefix(call, "apply") {
			t.Errorf("called %s", call)
		}
	}
}

func TestOutputs(t *testing.T) {
	dir := t.TempDir()
	s := newStack(t, dir, map[string]string{
		"output.stdout": `{"url": {"sensitive": false, "type": "string", "value": "http://hello"}, "subnet_ids": {"type": ["tuple", ["string"]], "value": ["subnet-1"]}}`,
	})
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Outputs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"url": "http://hello", "subnet_ids": []any{"subnet-1"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFailures(t *testing.T) {
	for _, test := range []struct {
		name    string
		answers map[string]string
		do      func(ctx context.Context, s *Stack) error
		want    string
	}{
		{
			name:    "init",
			answers: map[string]string{"init.stderr": "\nError: Invalid backend\n\nNo such path.\n", "init.exit": "1"},
			do:      func(ctx context.Context, s *Stack) error { return s.Init(ctx) },
			want:    "terraform init: Invalid backend: No such path. (see DIR/data/terraform.log)",
		},
		{
			name:    "init without a word",
			answers: map[string]string{"init.exit": "1"},
			do:      func(ctx context.Context, s *Stack) error { return s.Init(ctx) },
			want:    "terraform init: exit status 1 (see DIR/data/terraform.log)",
		},
		{
			name: "relative path",
			do: func(ctx context.Context, s *Stack) error {
				s.StatePath = "hello.tfstate"
				return s.Init(ctx)
			},
			want: `prepare Terraform's folder "DIR/data": "hello.tfstate" is not an absolute path`,
		},
		{
			name: "apply",
			answers: map[string]string{
				"apply.stdout": `{"@level":"error","@message":"Error: creating","type":"diagnostic","diagnostic":{"severity":"error","summary":"creating","detail":"quota","address":"aws_lb.app"}}` + "\n",
				"apply.exit":   "1",
			},
			do: func(ctx context.Context, s *Stack) error {
				return errors.Join(s.Init(ctx), s.Apply(ctx, &Plan{}))
			},
			want: "terraform apply: creating: quota (aws_lb.app) (see DIR/data/terraform.log)",
		},
		{
			name:    "validate",
			answers: map[string]string{"validate.stdout": `{"format_version":"1.0","valid":false,"error_count":1,"diagnostics":[{"severity":"error","summary":"Unsupported argument","range":{"filename":"main.tf","start":{"line":3,"column":1,"byte":9},"end":{"line":3,"column":2,"byte":10}}}]}`, "validate.exit": "1"},
			do: func(ctx context.Context, s *Stack) error {
				return errors.Join(s.Init(ctx), s.Validate(ctx))
			},
			want: "terraform validate: Unsupported argument (main.tf:3) (see DIR/data/terraform.log)",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			err := test.do(t.Context(), newStack(t, dir, test.answers))
			if diff := cmp.Diff(test.want, strings.ReplaceAll(message(err), dir, "DIR")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The end of the context interrupts Terraform, which then gives the state's lock back, and is waited for.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	s := newStack(t, dir, map[string]string{"apply.interrupt": started})
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop := errors.New("somebody pressed Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for {
			if _, err := os.Stat(started); err == nil {
				cancel(stop)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	err := s.Apply(ctx, &Plan{})
	if !errors.Is(err, stop) {
		t.Errorf("error = %v", err)
	}
	if diff := cmp.Diff("terraform apply: interrupted: somebody pressed Ctrl-C (see DIR/data/terraform.log)", strings.ReplaceAll(message(err), dir, "DIR")); diff != "" {
		t.Error(diff)
	}
	log, err := os.ReadFile(filepath.Join(dir, "data", "terraform.log"))
	if err != nil || !strings.Contains(string(log), "execution halted") {
		t.Errorf("log = %s, %v", log, err)
	}
}
