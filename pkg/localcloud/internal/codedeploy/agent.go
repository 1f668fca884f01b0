package codedeploy

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// The agent's folders on an instance, by the names that they have with the real agent: scripts know them.
const (
	rootFolder         = "/opt/codedeploy-agent/deployment-root"
	instructionsFolder = rootFolder + "/deployment-instructions"
)

//go:embed guest/read-spec.sh
var readSpecScript string

//go:embed guest/prepare.sh
var prepareScript string

//go:embed guest/check-script.sh
var checkScript string

//go:embed guest/run-script.sh
var runScript string

//go:embed guest/kill.sh
var killScript string

// agent does on one instance, for one deployment, what a CodeDeploy agent does.
type agent struct {
	machines machines
	objects  objects
	id       string // the instance's

	groupID    string
	deployment string // its ID
	revision   s3Location
	fileExists string
	env        []string // of scripts, but for the event
}

func (s *Service) agentOf(d *deployment, instance string) *agent {
	r := *d.Revision.S3
	env := []string{
		"DEPLOYMENT_ID=" + d.ID, "APPLICATION_NAME=" + d.Application, "DEPLOYMENT_GROUP_NAME=" + d.Group, "DEPLOYMENT_GROUP_ID=" + d.GroupID,
		"BUNDLE_BUCKET=" + r.Bucket, "BUNDLE_KEY=" + r.Key,
	}
	if r.Version != "" {
		env = append(env, "BUNDLE_VERSION="+r.Version)
	}
	if r.ETag != "" {
		env = append(env, "BUNDLE_ETAG="+r.ETag)
	}
	return &agent{
		machines: s.options.Machines, objects: s.options.Objects, id: instance, groupID: d.GroupID, deployment: d.ID, revision: r,
		fileExists: d.FileExists, env: env,
	}
}

// folder is the deployment's own folder.
func (a *agent) folder() string { return rootFolder + "/" + a.groupID + "/" + a.deployment }

func (a *agent) archive() string { return archiveOf(a.folder()) }

func archiveOf(folder string) string { return folder + "/deployment-archive" }

// lastInstall is the file that names the folder of the last deployment of the group that was installed.
func (a *agent) lastInstall() string {
	return instructionsFolder + "/" + a.groupID + "_last_successful_install"
}

// bash runs a Bash script with arguments and returns what it wrote to standard output.
func (a *agent) bash(ctx context.Context, what, script string, stdin io.Reader, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	err := a.machines.Exec(ctx, a.id, compute.Command{
		Args: append([]string{"/bin/bash", "-c", script, "codedeploy"}, args...), Stdin: stdin, Stdout: &stdout, Stderr: &stderr,
	})
	if err != nil {
		if text := strings.TrimSpace(stderr.String()); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return stdout.Bytes(), nil
}

// download fetches the revision and unpacks it on the instance.
func (a *agent) download(ctx context.Context) error {
	object, err := a.objects.Open(a.revision.Bucket, a.revision.Key, a.revision.Version)
	if refused, ok := errors.AsType[*wire.Error](err); ok {
		return unknownError("%s", refused.Message)
	}
	if err != nil {
		return err
	}
	defer object.Close()
	if want := a.revision.ETag; want != "" && want != object.ETag {
		return unknownError("Expected deployment artifact bundle etag %s but was actually %s", want, object.ETag)
	}
	// Unpacked here, where sizes and paths are checked, before anything reaches the instance.
	plain, err := os.CreateTemp("", "ingot-bundle-*.tar")
	if err != nil {
		return fmt.Errorf("unpack the bundle: %w", err)
	}
	defer os.Remove(plain.Name())
	defer plain.Close()
	if err := repack(plain, object.File, object.Size, a.revision.BundleType); err != nil {
		return fmt.Errorf("unpack the bundle %s: %w", a.revision.Key, err)
	}
	if _, err := plain.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("unpack the bundle: %w", err)
	}
	if _, err := a.bash(ctx, "make the deployment's folder", prepareScript, nil, a.archive(), instructionsFolder); err != nil {
		return err
	}
	return a.machines.CopyIn(ctx, a.id, a.archive(), plain)
}

// readSpec reads the application specification that an event runs. The folder is that of the deployment that it belongs to, "" where
// there is none.
func (a *agent) readSpec(ctx context.Context, event string) (spec *appSpec, folder string, err error) {
	last := "" // without it the script looks at this deployment only
	if runsPrevious(event) {
		last = a.lastInstall()
	}
	out, err := a.bash(ctx, "read the AppSpec file", readSpecScript, nil, a.folder(), last)
	if err != nil {
		return nil, "", err
	}
	folder, rest, _ := strings.Cut(string(out), "\n")
	if folder == "" {
		return nil, "", nil
	}
	name, text, found := strings.Cut(rest, "\n")
	if !found {
		return nil, "", unknownError("The CodeDeploy agent did not find an AppSpec file within the unpacked revision directory at "+
			"revision-relative path \"appspec.yml\". The revision was unpacked to directory %q, and the AppSpec file was expected but not found "+
			"at path %q.", archiveOf(folder), archiveOf(folder)+"/appspec.yml")
	}
	spec, err = parseAppSpec(name, []byte(text))
	return spec, folder, err
}

// runHooks runs the scripts of an event, one after the other. The event may have begun already, in an earlier process.
func (a *agent) runHooks(ctx context.Context, event string, again bool) error {
	spec, folder, err := a.readSpec(ctx, event)
	if err != nil || folder == "" {
		return err
	}
	env := append([]string{"LIFECYCLE_EVENT=" + event}, a.env...)
	if again {
		if _, err := a.bash(ctx, "end what an earlier run left", killScript, nil, env[0], env[1]); err != nil {
			return err
		}
	}
	log := &scriptLog{}
	log.add("LifecycleEvent - " + event)
	for _, script := range spec.Hooks[event] {
		if err := a.runScript(ctx, env, folder, script, log); err != nil {
			return err
		}
	}
	return nil
}

// scriptError is a script that could not be run or failed.
type scriptError diagnostics

func (e *scriptError) Error() string { return e.Code + ": " + e.Message }

// Exit codes of check-script.sh.
const (
	exitMissing       = 3
	exitNotExecutable = 4
)

// unknownError is an error that the agent words.
func unknownError(format string, args ...any) error {
	return &scriptError{Code: codeUnknown, Message: fmt.Sprintf(format, args...)}
}

// errScriptTimeout is why a script is killed that takes longer than it may.
var errScriptTimeout = errors.New("the script's time is up")

// runScript runs one script, as the agent does: one without its run bit gets it.
func (a *agent) runScript(ctx context.Context, env []string, folder string, script hookScript, log *scriptLog) error {
	fail := func(code, format string, args ...any) error {
		return &scriptError{Code: code, Script: script.Location, Message: fmt.Sprintf(format, args...), LogTail: log.String()}
	}
	file := path.Join(archiveOf(folder), script.Location)
	_, err := a.bash(ctx, "look at the script", checkScript, nil, file)
	if exit, ok := errors.AsType[*compute.ExitError](err); ok && exit.Code == exitMissing {
		return fail(codeMissing, "Script does not exist at specified location: %s", file)
	} else if ok && exit.Code == exitNotExecutable {
		return fail(codeNotExecutable, "Unable to set script at specified location: %s as executable", script.Location)
	}
	if err != nil {
		return err
	}
	log.add("Script - " + script.Location)
	timed, cancel := context.WithTimeoutCause(ctx, time.Duration(script.Timeout)*time.Second, errScriptTimeout)
	defer cancel()
	stdout, stderr := log.lines("[stdout]"), log.lines("[stderr]")
	state := a.folder() + "/script"
	err = a.machines.Exec(timed, a.id, compute.Command{
		Args: []string{"/bin/bash", "-c", runScript, "codedeploy", state, script.RunAs, file}, Env: env, Stdout: stdout, Stderr: stderr,
	})
	stdout.Flush()
	stderr.Flush()
	if err == nil {
		return nil
	}
	if exit, ok := errors.AsType[*compute.ExitError](err); ok {
		location := script.Location
		if script.RunAs != "" {
			location += " run as user " + script.RunAs
		}
		return fail(codeFailed, "Script at specified location: %s failed with exit code %d", location, exit.Code)
	}
	if cause := context.Cause(timed); cause != errScriptTimeout && cause != errEventTimeout {
		return err // the deployment or the instance came to its end
	}
	// The script may have ended and left a process behind that holds its output open; the agent waits for that too.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer cancel()
	left, err := a.bash(ctx, "look at what the script left", `cat -- "$1"/left 2>/dev/null || true`, nil, state)
	if err != nil {
		return err
	}
	if open := strings.Fields(string(left)); len(open) > 0 {
		// The API has no code of its own for it.
		return fail(codeUnknown, "Script at specified location: %s failed to close %s", script.Location, open[0])
	}
	return fail(codeTimedOut, "Script at specified location: %s failed to complete in %d seconds", script.Location, script.Timeout)
}

// lookTimeout is how long it may take to find out why a script's time ran out.
const lookTimeout = time.Minute
