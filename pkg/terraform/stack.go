// Package terraform runs the terraform command on a stack: it finds or downloads the command, finds a provider mirror
// where the registry cannot be reached, and plans, applies and destroys with progress per resource and errors of one
// line each.
package terraform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/hashicorp/terraform-exec/tfexec"

	"github.com/ingot-build/ingot/internal/awsenv"
	"github.com/ingot-build/ingot/internal/lines"
	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	// interruptWait is how long Terraform may take to write its state and release its lock once it was interrupted. It
	// finishes or abandons the resources that it is working on first, and a load balancer takes a while.
	interruptWait = 2 * time.Minute

	// lockTimeout is how long to wait for another run to release the state: long enough for one that was just interrupted.
	lockTimeout = "30s"
)

// Stack is a Terraform configuration together with a state, variables and a folder to work in. Init comes before
// everything else. All paths are absolute, since Terraform has a working folder of its own.
type Stack struct {
	Command string // path of the terraform command, as Find returns it
	Config  fs.FS  // the configuration; os.DirFS of its folder, for one

	// DataDir receives everything that Terraform writes except the state: a working copy of the configuration with its
	// dependency lock file, providers, variables, plans. It can be removed at any time.
	DataDir string

	// StatePath is the state file. With S3 it is the file of the time before that, which Init moves there; empty where Config
	// configures a backend of its own.
	StatePath string
	S3        *S3 // shared state; nil for StatePath

	Vars      map[string]any // input variables; anything that encodes to JSON
	PluginDir string         // provider mirror, as PluginDir returns it; empty for the registry
	CacheDir  string         // downloaded providers are kept below, for all stacks that share it; may be empty
	Log       string         // file that Terraform's output is appended to; empty for terraform.log in DataDir
	Env       []string       // KEY=VALUE pairs added to the environment of this process

	// AWS is where Terraform, its provider and its backend work: they get the credentials, new ones while they run where
	// those end, the region and the endpoints. Nil leaves all that to the environment.
	AWS *aws.Config
}

// Init prepares the folder to work in: it copies the configuration, writes the variables, and has Terraform fetch or link
// the provider and configure the backend. With S3 it moves a local state there. It changes nothing that runs.
func (s *Stack) Init(ctx context.Context) (err error) {
	stage := progress.Start(ctx, "prepare Terraform")
	defer stage.End(&err)
	if s.S3 == nil {
		if err := s.checkMoved(); err != nil {
			return err
		}
	}
	if err := s.prepare(); err != nil {
		return fmt.Errorf("prepare Terraform's folder %q: %w", s.DataDir, err)
	}
	err = s.run(ctx, "init", func(tf *session) error {
		return tf.Init(ctx, s.initOptions()...)
	})
	if err != nil || s.S3 == nil {
		return err
	}
	return s.moveState(ctx)
}

// prepare makes the folders and files that Terraform reads. Terraform keeps the dependency lock file beside the
// configuration, with the checksums of this platform's provider alone when that came from a mirror; on a working copy it
// cannot break another platform's, and the configuration's folder stays as clean as it was.
func (s *Stack) prepare() error {
	for _, path := range []string{s.DataDir, s.StatePath, s.PluginDir, s.CacheDir, s.Log} {
		if path != "" && !filepath.IsAbs(path) {
			return fmt.Errorf("%q is not an absolute path", path)
		}
	}
	// The variables and the plans may hold secrets.
	if err := os.MkdirAll(s.DataDir, 0o700); err != nil {
		return err
	}
	if s.StatePath != "" {
		if err := os.MkdirAll(filepath.Dir(s.StatePath), 0o700); err != nil {
			return err
		}
	}
	if s.CacheDir != "" {
		if err := os.MkdirAll(providerCache(s.CacheDir), 0o755); err != nil {
			return err
		}
	}
	if err := copyConfiguration(s.workDir(), s.Config); err != nil {
		return err
	}
	if s.S3 != nil {
		backend, err := s.S3.override()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.workDir(), backendFile), append(backend, '\n'), 0o600); err != nil {
			return err
		}
	}
	vars := s.Vars
	if vars == nil {
		vars = map[string]any{}
	}
	data, err := json.MarshalIndent(vars, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(s.varFile(), append(data, '\n'), 0o600)
}

// Apply carries out plan and nothing else: when the state has changed since, it is an error.
func (s *Stack) Apply(ctx context.Context, plan *Plan) (err error) {
	name := "apply infrastructure"
	if plan.destroys {
		name = "destroy infrastructure"
	}
	stage := progress.Start(ctx, "%s", name)
	defer func() {
		if err != nil {
			stage.Fail(err)
			return
		}
		stage.Done("%s", plan.done())
	}()
	return s.run(ctx, "apply", func(tf *session) error {
		file, err := s.temporary("plan-*", plan.data)
		if err != nil {
			return err
		}
		defer os.Remove(file)
		events := &events{log: tf.log, total: plan.steps(), update: func(text string) { stage.Update("%s", text) }}
		err = tf.ApplyJSON(ctx, &lines.Writer{Each: events.line}, applyOptions(file)...)
		if err != nil && len(events.problems) > 0 {
			err = &Error{Problems: events.problems, Err: err}
		}
		return err
	})
}

// Destroy removes everything that the state holds.
func (s *Stack) Destroy(ctx context.Context) error {
	plan, err := s.plan(ctx, true)
	if err != nil || !plan.Changed {
		return err
	}
	return s.Apply(ctx, plan)
}

// Outputs returns the values of the stack's outputs as the state has them: string, float64, bool, []any or
// map[string]any. They are empty before the first Apply.
func (s *Stack) Outputs(ctx context.Context) (map[string]any, error) {
	values := map[string]any{}
	err := s.run(ctx, "output", func(tf *session) error {
		tf.SetStdout(io.Discard) // outputs may be secrets
		outputs, err := tf.Output(ctx)
		if err != nil {
			return err
		}
		for name, output := range outputs {
			var value any
			if err := json.Unmarshal(output.Value, &value); err != nil {
				return fmt.Errorf("read output %q: %w", name, err)
			}
			values[name] = value
		}
		return nil
	})
	return values, err
}

// Validate checks the configuration without looking at the state or at anything that runs.
func (s *Stack) Validate(ctx context.Context) error {
	return s.run(ctx, "validate", func(tf *session) error {
		result, err := tf.Validate(ctx)
		if err != nil {
			return err
		}
		if result.Valid {
			return nil
		}
		e := &Error{}
		for _, d := range result.Diagnostics {
			if d.Severity == "error" {
				e.Problems = append(e.Problems, diagnosticLine(d))
			}
		}
		return e
	})
}

func (s *Stack) workDir() string   { return filepath.Join(s.DataDir, "stack") }
func (s *Stack) tfDataDir() string { return filepath.Join(s.DataDir, "data") }
func (s *Stack) varFile() string   { return filepath.Join(s.DataDir, "variables.tfvars.json") }

func (s *Stack) logFile() string {
	if s.Log != "" {
		return s.Log
	}
	return filepath.Join(s.DataDir, "terraform.log")
}

// temporary writes data to a new file in DataDir and returns its path.
func (s *Stack) temporary(pattern string, data []byte) (string, error) {
	file, err := os.CreateTemp(s.DataDir, pattern)
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	return file.Name(), errors.Join(err, file.Close())
}

func (s *Stack) initOptions() []tfexec.InitOption {
	// The saved backend configuration may be of another state path; the state itself is never moved.
	options := []tfexec.InitOption{tfexec.Reconfigure(true)}
	if s.S3 == nil && s.StatePath != "" {
		options = append(options, tfexec.BackendConfig("path="+s.StatePath))
	}
	if s.PluginDir != "" {
		options = append(options, tfexec.PluginDir(s.PluginDir))
	}
	return options
}

func (s *Stack) planOptions(file string, destroy bool) []tfexec.PlanOption {
	return []tfexec.PlanOption{
		tfexec.Out(file),
		tfexec.VarFile(s.varFile()),
		tfexec.LockTimeout(lockTimeout),
		tfexec.Destroy(destroy),
	}
}

func applyOptions(file string) []tfexec.ApplyOption {
	return []tfexec.ApplyOption{tfexec.LockTimeout(lockTimeout), tfexec.DirOrPlan(file)}
}

// environment returns the environment that Terraform runs in: base without the variables that would change what it is
// told here (TF_VAR_…, TF_CLI_ARGS, TF_WORKSPACE and the like), and with our own.
func (s *Stack) environment(base []string) map[string]string {
	env := map[string]string{}
	for _, pair := range append(base[:len(base):len(base)], s.Env...) {
		key, value, _ := strings.Cut(pair, "=")
		env[key] = value
	}
	env = tfexec.CleanEnv(env)
	env["TF_DATA_DIR"] = s.tfDataDir()
	env["CHECKPOINT_DISABLE"] = "1"
	if s.CacheDir != "" && env["TF_PLUGIN_CACHE_DIR"] == "" {
		env["TF_PLUGIN_CACHE_DIR"] = providerCache(s.CacheDir)
		// A provider from the cache lacks other platforms' checksums in the lock file. Ours is for this machine alone.
		env["TF_PLUGIN_CACHE_MAY_BREAK_DEPENDENCY_LOCK_FILE"] = "1"
	}
	return env
}

// run calls f with a Terraform for one subcommand whose output goes to the log, and explains its error.
func (s *Stack) run(ctx context.Context, operation string, f func(tf *session) error) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("terraform %s: %w", operation, err)
	}
	if err := os.MkdirAll(filepath.Dir(s.logFile()), 0o700); err != nil {
		return fmt.Errorf("make the folder of Terraform's log: %w", err)
	}
	file, err := os.OpenFile(s.logFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open Terraform's log: %w", err)
	}
	defer file.Close()
	tf, err := tfexec.NewTerraform(s.workDir(), s.Command)
	if err != nil {
		return fmt.Errorf("terraform %s: %w", operation, err)
	}
	env, stop, err := s.sharedAWS(ctx)
	if err != nil {
		return fmt.Errorf("terraform %s: %w", operation, err)
	}
	defer stop()
	if err := tf.SetEnv(s.environment(append(os.Environ(), env...))); err != nil {
		return fmt.Errorf("terraform %s: %w", operation, err)
	}
	// Not on Windows, where Terraform cannot be interrupted; then it is killed.
	_ = tf.SetWaitDelay(interruptWait)
	var stderr bytes.Buffer
	tf.SetLogger(log.New(file, "\n", log.LstdFlags)) // heads the output of each command with its arguments
	tf.SetStdout(file)
	tf.SetStderr(io.MultiWriter(file, &stderr))
	err = f(&session{Terraform: tf, log: file})
	if err == nil {
		return nil
	}
	explained, ok := errors.AsType[*Error](err)
	if !ok {
		explained = &Error{Problems: parseErrors(stderr.String()), Err: err}
	}
	if cause := context.Cause(ctx); cause != nil {
		// What Terraform says after an interrupt is about the interrupt, and the library's own error may have no text.
		explained = &Error{Err: fmt.Errorf("interrupted: %w", cause)}
	}
	for i, problem := range explained.Problems {
		explained.Problems[i] = s.withRemedy(problem)
	}
	explained.Operation, explained.Log = operation, s.logFile()
	return explained
}

// sharedAWS are the variables that AWS becomes, until stop is called.
func (s *Stack) sharedAWS(ctx context.Context) (env []string, stop func(), err error) {
	if s.AWS == nil {
		return nil, func() {}, nil
	}
	return awsenv.Share(ctx, *s.AWS)
}

// session is one use of the terraform command.
type session struct {
	*tfexec.Terraform
	log io.Writer
}
