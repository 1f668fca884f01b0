package packer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/command"
)

// cleanupDelay is how long an interrupted Packer may take to remove what it made: it terminates its instance and waits for
// that, which on AWS takes two minutes at times.
const cleanupDelay = 4 * time.Minute

// Build is one build of an AMI.
type Build struct {
	Templates fs.FS  // the templates; their folder "plugins" names the plugins for versions that load them
	Name      string // the build block to run: "base" or "app"
	Variables Variables

	// Folder is for this build alone, and is made. It keeps the log, the variables, the templates as they were run, and the manifest.
	Folder string
	Env    []string // KEY=VALUE pairs added to the environment of this process

	// KMSKey is the ID, alias or ARN of the KMS key that encrypts the root volume, and so the AMI's snapshot; empty for the
	// account's default key.
	KMSKey string

	// Progress is told what Packer does now, in a few words. It may be nil.
	Progress func(step string)
	// Said is told each line that the provisioning script writes. It may be nil.
	Said func(line string)

	// Lock is a file that Packer has open for as long as it lives, which may be longer than this process. It may be nil.
	Lock *os.File
}

// Variables are the values that the templates take. Empty ones are left to the templates' defaults.
type Variables struct {
	Region            string            `json:"region"`
	Endpoint          string            `json:"endpoint,omitempty"` // URL of the EC2 API; empty for AWS
	SourceAMI         string            `json:"source_ami"`
	RootDevice        string            `json:"root_device,omitempty"` // of the source AMI
	InstanceType      string            `json:"instance_type,omitempty"`
	SSHUsername       string            `json:"ssh_username,omitempty"`
	SecurityGroup     string            `json:"security_group_id"` // of the machine that bakes: lets SSH in
	VPCID             string            `json:"vpc_id,omitempty"`
	SubnetID          string            `json:"subnet_id,omitempty"`
	AssociatePublicIP *bool             `json:"associate_public_ip,omitempty"` // nil leaves it to the subnet
	Encrypted         bool              `json:"encrypted"`
	PollingDelay      int               `json:"polling_delay_seconds,omitempty"`
	PollingAttempts   int               `json:"polling_max_attempts,omitempty"`
	AMIName           string            `json:"ami_name"`
	AMIDescription    string            `json:"ami_description,omitempty"`
	Tags              map[string]string `json:"tags,omitempty"`     // of the AMI and its snapshots
	RunTags           map[string]string `json:"run_tags,omitempty"` // of the machine that bakes and what belongs to it
	Run               string            `json:"run"`                // name of this run, in the temporary key pair's name
	Archive           string            `json:"archive"`            // path of the provisioning archive
	Inputs            map[string]string `json:"inputs,omitempty"`   // environment of provision.sh
	Manifest          string            `json:"manifest"`           // set by Build
	ManifestData      map[string]string `json:"manifest_data,omitempty"`
}

// files of a build, in its folder.
func (b Build) log() string       { return logFile(b.Folder) }
func (b Build) manifest() string  { return filepath.Join(b.Folder, "manifest.json") }
func (b Build) variables() string { return filepath.Join(b.Folder, "variables.json") }
func (b Build) templates() string { return filepath.Join(b.Folder, "templates") }
func (b Build) plugins() string   { return filepath.Join(b.Folder, "plugins") } // while Packer installs them
func (b Build) scratch() string   { return filepath.Join(b.Folder, "scratch") }

// args is Packer's command line.
func (b Build) args() []string {
	return []string{"build", "-color=false", "-only=" + b.Name + ".*", "-var-file=" + b.variables(), b.templates()}
}

// additions are what the build adds to the templates. A machine with CPU credits may use more of them than it has, for some
// cents: from 1.7 on Packer asks for the other mode, in which a new one begins with none, at a tenth of its speed.
func (b Build) additions() additions {
	return additions{kmsKey: b.KMSKey, unlimitedCredits: burstable.MatchString(b.Variables.InstanceType)}
}

// burstable are the types with CPU credits.
var burstable = regexp.MustCompile(`^t(2|3|3a|4g)\.`)

// env gives Packer folders of its own, so that builds at the same time do not meet.
func (b Build) env() []string {
	env := append(quietEnv(),
		"PACKER_CACHE_DIR="+filepath.Join(b.scratch(), "cache"),
		"PACKER_CONFIG_DIR="+filepath.Join(b.scratch(), "config"),
	)
	return append(env, b.Env...)
}

// Build builds an AMI and returns it. When ctx ends, Packer removes what it made before Build returns; an AMI that is being created
// at that moment stays, with the run's tags missing, and is for the caller to find by its name. Where Packer itself fails, the error
// is a *BuildError.
func (p *Packer) Build(ctx context.Context, b Build) (Artifact, error) {
	if err := b.prepare(capabilitiesOf(p.Version)); err != nil {
		return Artifact{}, fmt.Errorf("prepare packer build %q: %w", b.Name, err)
	}
	defer os.RemoveAll(b.scratch())
	if err := p.initBuild(ctx, b); err != nil {
		return Artifact{}, err
	}
	if err := p.run(ctx, b); err != nil {
		return Artifact{}, err
	}
	data, err := os.ReadFile(b.manifest())
	if err != nil {
		return Artifact{}, fmt.Errorf("read packer manifest: %w", err)
	}
	artifact, err := ParseManifest(data)
	if err != nil {
		return Artifact{}, err
	}
	if artifact.AMIs[b.Variables.Region] == "" {
		return Artifact{}, fmt.Errorf("packer build %q made no AMI in %q: see %s", b.Name, b.Variables.Region, b.log())
	}
	return artifact, nil
}

// prepare fills the build's folder.
func (b *Build) prepare(c capabilities) error {
	var err error
	if b.Folder, err = filepath.Abs(b.Folder); err != nil {
		return err
	}
	if err := os.MkdirAll(b.Folder, 0o755); err != nil {
		return err
	}
	// A manifest, or its lock, from a build before would be read, or waited on.
	for _, name := range []string{b.manifest(), b.manifest() + ".lock", b.templates()} {
		if err := os.RemoveAll(name); err != nil {
			return err
		}
	}
	for _, name := range []string{"cache", "config"} {
		if err := os.MkdirAll(filepath.Join(b.scratch(), name), 0o755); err != nil {
			return err
		}
	}
	b.Variables.Manifest = b.manifest()
	if b.Variables.Archive, err = filepath.Abs(b.Variables.Archive); err != nil {
		return err
	}
	variables, err := json.MarshalIndent(b.Variables, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(b.variables(), append(variables, '\n'), 0o600),
		renderTemplates(b.Templates, b.templates(), c, b.additions()),
	)
}

func (p *Packer) initBuild(ctx context.Context, b Build) error {
	if _, err := fs.Stat(b.Templates, "plugins"); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	plugins, err := fs.Sub(b.Templates, "plugins")
	if err == nil {
		err = os.CopyFS(b.plugins(), plugins)
	}
	if err != nil {
		return fmt.Errorf("install packer plugins: %w", err)
	}
	defer os.RemoveAll(b.plugins())
	return p.Init(ctx, b.plugins())
}

// run runs Packer, which writes into its log itself: so it ends its work even where this process is killed.
func (p *Packer) run(ctx context.Context, b Build) error {
	log, err := os.OpenFile(b.log(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("run packer build %q: %w", b.Name, err)
	}
	defer log.Close()
	c := command.Cmd{
		Path:      p.Path,
		Args:      b.args(),
		Env:       append(b.env(), p.pluginEnv()...),
		Stdout:    log,
		Stderr:    log,
		WaitDelay: cleanupDelay,
	}
	if b.Lock != nil {
		c.Files = []*os.File{b.Lock}
	}
	said := newOutput(b.Progress)
	said.said = b.Said
	ended := make(chan struct{})
	followed := make(chan error, 1)
	go func() { followed <- followFile(b.log(), said, ended) }()
	err = p.runner.Run(ctx, c)
	close(ended)
	if unread := <-followed; err == nil {
		err = unread
	}
	if err == nil {
		return nil
	}
	reason, last := said.failure()
	switch {
	case said.outOfMemory:
		reason, err = ErrOutOfMemory.Error()+": "+reason, fmt.Errorf("%w: %w", ErrOutOfMemory, err)
	case strings.Contains(reason, "Timeout waiting for SSH"):
		err = fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if cause := context.Cause(ctx); cause != nil {
		reason, last = cause.Error(), nil
	}
	return &BuildError{Build: b.Name, Reason: reason, Last: last, Log: b.log(), Err: err}
}

// What a *BuildError wraps where the cause is known.
var (
	// ErrOutOfMemory means that something on the machine that bakes was killed for want of memory.
	ErrOutOfMemory = errors.New("the machine that bakes ran out of memory")

	// ErrUnreachable means that the machine that bakes was not reached by SSH.
	ErrUnreachable = errors.New("the machine that bakes was not reached by SSH")
)

// BuildError is a build that Packer ended without an AMI.
type BuildError struct {
	Build  string
	Reason string   // Packer's reason; empty where it gave none
	Last   []string // what the build said last before it failed
	Log    string   // path of the whole log
	Err    error
}

// Error gives the reason, what was said before it, and where to read on.
func (e *BuildError) Error() string {
	reason := e.Reason
	if reason == "" {
		reason = e.Err.Error()
	}
	text := fmt.Sprintf("packer build %q: %s", e.Build, reason)
	for _, line := range e.Last {
		text += "\n  " + line
	}
	return text + "\nwhole log: " + e.Log
}

// Unwrap returns the error of the process, and so also the end of a context.
func (e *BuildError) Unwrap() error { return e.Err }
