// Package config reads ingot.hcl, the one settings file: typed, with a default for everything but the name of the
// application, and with errors that say which line is wrong and what is allowed there.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"

	"github.com/ingot-build/ingot/pkg/probe"
)

// File is the name of the settings file, at the root of the repository.
const File = "ingot.hcl"

// DefaultRegion is used where neither ingot.hcl nor the AWS configuration names a region.
const DefaultRegion = "us-west-1"

// ErrNotFound is returned by Find where no folder up to the root has an ingot.hcl.
var ErrNotFound = errors.New("no " + File)

// Config is what ingot.hcl says, with the defaults filled in. A field with the tag "tfvar" is the input variable of that
// name in terraform/variables.tf; TerraformVariables collects them.
type Config struct {
	// App names everything that is made: images, templates, groups, parameters. 3–24 lower-case letters, digits
	// and hyphens: a load balancer's name may have 32 characters (ELBv2), and the names of security groups add a suffix; a
	// launch template's has at least 3 (EC2).
	App string `hcl:"app" tfvar:"app"`

	// Region is an AWS region, or empty for the usual AWS chain. AWS_REGION in the environment goes before it.
	Region string `hcl:"region,optional"`

	Image      *Image      `hcl:"image,block"`
	Service    *Service    `hcl:"service,block"`
	Verify     *Verify     `hcl:"verify,block"`
	Fleet      *Fleet      `hcl:"fleet,block"`
	Rollout    *Rollout    `hcl:"rollout,block"`
	CodeDeploy *CodeDeploy `hcl:"codedeploy,block"`
	GitHub     *GitHub     `hcl:"github,block"`
	State      *State      `hcl:"state,block"`
	Terraform  *Terraform  `hcl:"terraform,block"`

	// Root is the folder that holds the file.
	Root string
}

// Image is the public image that the base AMI is made from, the newest one that matches; and where and how images are made.
type Image struct {
	Owner        string `hcl:"owner,optional"`                             // AWS account ID, 12 digits
	Name         string `hcl:"name,optional"`                              // name, with * and ? as wildcards
	User         string `hcl:"user,optional"`                              // the user that SSH logs in as
	Architecture string `hcl:"architecture,optional" tfvar:"architecture"` // x86_64 or arm64

	// InstanceType is what images are baked on, with at least 2 GiB of memory; empty for t3.medium, or t4g.medium for arm64.
	InstanceType string `hcl:"instance_type,optional"`

	// Subnet is the ID of the one to bake in; empty for a public one of the stack, or else of the default VPC.
	Subnet string `hcl:"subnet,optional"`

	KMSKey   string   `hcl:"kms_key,optional"`   // ID, alias or ARN of the key that encrypts images; empty for the account's default
	SSHCIDRs []string `hcl:"ssh_cidrs,optional"` // who may reach a baking machine's SSH; empty for this machine's address
}

// Service is what the application AMI runs.
type Service struct {
	// Source is the folder of a Go module, or of anything with an executable named build, relative to the root.
	Source  string `hcl:"source,optional"`
	Package string `hcl:"package,optional"` // path of a Go module's main package in Source, "./cmd/hello"; empty for Source itself

	Port   int    `hcl:"port,optional" tfvar:"port"`          // TCP port that it listens on; 0 for a worker, which listens nowhere
	Health string `hcl:"health,optional" tfvar:"health_path"` // path that answers 200 once it can serve

	// StartWithin is how long it may take from its start until it serves: whole seconds, up to an hour. The bake, the gate and the
	// development machine wait so long, and rollout.warmup is no shorter by itself.
	StartWithin time.Duration `hcl:"start_within,optional" tfvar:"start_within"`
}

// Verify says what a rollout asks the service through the load balancer, and which answers are good. No redirect is
// followed: it counts by its own status.
type Verify struct {
	Path   string `hcl:"path,optional"`   // empty for the health path
	Status string `hcl:"status,optional"` // statuses and ranges of them with commas between, "200,300-399"; empty for 200-399; see Statuses
}

// Statuses are the answers that Status says; nil where it says none.
func (v *Verify) Statuses() probe.Statuses {
	statuses, _ := probe.ParseStatuses(v.Status) // validated when the file was read
	return statuses
}

// Fleet is the Auto Scaling group and its load balancer.
type Fleet struct {
	InstanceType   string `hcl:"instance_type,optional" tfvar:"instance_type"`
	Min            int    `hcl:"min,optional" tfvar:"min_size"`                    // instances
	Max            int    `hcl:"max,optional" tfvar:"max_size"`                    // instances
	CertificateARN string `hcl:"certificate_arn,optional" tfvar:"certificate_arn"` // ACM certificate; with it the load balancer speaks HTTPS
	Domain         string `hcl:"domain,optional" tfvar:"domain"`                   // host name that leads to the load balancer; a certificate needs one

	// Zone is a public Route 53 zone, such as example.com, in which Domain's record and its certificate are made; empty for none.
	Zone string `hcl:"zone,optional" tfvar:"zone"`

	// Private has the fleet in private subnets, behind a NAT gateway in each zone.
	Private bool `hcl:"private,optional" tfvar:"private"`

	CPUTarget   int      `hcl:"cpu_target,optional" tfvar:"cpu_target,unless zero"`     // percent of average CPU that scaling aims at, 10–90; 0 for 60
	DiskSize    int      `hcl:"disk_size,optional" tfvar:"disk_size,unless zero"`       // GiB of the instances' root volumes; 0 for the image's
	ClientCIDRs []string `hcl:"client_cidrs,optional" tfvar:"client_cidrs,unless zero"` // who may reach the load balancer; none for everybody
	EgressPorts []int    `hcl:"egress_ports,optional" tfvar:"egress_ports,unless zero"` // TCP ports that instances may reach, beside 443
}

// Rollout says how instances are replaced.
type Rollout struct {
	MinHealthy int           `hcl:"min_healthy,optional" tfvar:"min_healthy_percentage"` // percent of the desired capacity, 0–100
	MaxHealthy int           `hcl:"max_healthy,optional" tfvar:"max_healthy_percentage"` // percent, 100–200, at most 100 above MinHealthy
	Warmup     time.Duration `hcl:"warmup,optional" tfvar:"warmup"`                      // whole seconds, at most one hour; at least rollout.MinUngatedWarmup, which is the default then, without CodeDeploy

	// Checkpoints are percentages of the fleet, ascending, at each of which a rollout waits for CheckpointDelay.
	Checkpoints     []int         `hcl:"checkpoints,optional"`
	CheckpointDelay time.Duration `hcl:"checkpoint_delay,optional"` // whole seconds, at most 48 hours

	// BakeTime is how long the whole new fleet is watched before the old release is given up: whole seconds, at most 48
	// hours.
	BakeTime time.Duration `hcl:"bake_time,optional"`

	// Alarms are names of CloudWatch alarms, at most 10. One in state ALARM rolls back.
	Alarms []string `hcl:"alarms,optional"`

	SkipMatching bool   `hcl:"skip_matching,optional"` // leave instances alone that run the release already
	Standby      string `hcl:"standby,optional"`       // instances in Standby: ignore, terminate or wait
	Protected    string `hcl:"protected,optional"`     // instances protected from scale-in: refresh, ignore or wait
}

// CodeDeploy says whether every new instance passes a CodeDeploy deployment before it serves.
type CodeDeploy struct {
	Enabled bool `hcl:"enabled,optional" tfvar:"codedeploy"`
}

// GitHub makes the roles that GitHub Actions takes on. Without a repository nothing is made.
type GitHub struct {
	Repository string `hcl:"repository,optional" tfvar:"github_repository"` // ORG/REPO
	// OwnerID and RepositoryID are the numbers in the subject of newer repositories' tokens, repo:ORG@OWNERID/REPO@REPOID.
	OwnerID      string `hcl:"owner_id,optional" tfvar:"github_owner_id"`
	RepositoryID string `hcl:"repository_id,optional" tfvar:"github_repository_id"`
}

// State says where Terraform's state is kept.
type State struct {
	Bucket string `hcl:"bucket,optional" tfvar:"state_bucket"` // S3 bucket; empty for a file on this machine
}

// Terraform says where the terraform command finds things.
type Terraform struct {
	// PluginDir is a folder with an unpacked provider mirror (it holds registry.terraform.io). Without it the
	// registry is used, and where that cannot be reached, a mirror in one of the usual places.
	PluginDir string `hcl:"plugin_dir,optional"`
}

// Default returns the settings of a file that says nothing but the application's name.
func Default() *Config {
	return &Config{
		Image:   &Image{Owner: "136693071363", Name: "debian-13-amd64-*", User: "admin", Architecture: "x86_64"},
		Service: &Service{Source: "service", Port: 8080, Health: "/healthz", StartWithin: 30 * time.Second},
		Verify:  &Verify{},
		Fleet:   &Fleet{InstanceType: "t3.micro", Min: 2, Max: 4},
		Rollout: &Rollout{
			MinHealthy: 100, MaxHealthy: 200, Warmup: 30 * time.Second, CheckpointDelay: 10 * time.Minute,
			SkipMatching: true, Standby: "ignore", Protected: "refresh",
		},
		CodeDeploy: &CodeDeploy{Enabled: true},
		GitHub:     &GitHub{},
		State:      &State{},
		Terraform:  &Terraform{},
	}
}

// Find reads the ingot.hcl of dir or of the nearest folder above it.
func Find(dir string) (*Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for at := dir; ; at = filepath.Dir(at) {
		c, err := Load(filepath.Join(at, File))
		if !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
		if at == filepath.Dir(at) {
			return nil, fmt.Errorf("%w in %q or above it", ErrNotFound, dir)
		}
	}
}

// Load reads one file. Its errors are of type *Error, or wrap fs.ErrNotExist.
func Load(path string) (*Config, error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	c, err := Parse(src, filepath.Base(path))
	if err != nil {
		return nil, err
	}
	c.Root = filepath.Dir(path)
	return c, nil
}

// Parse reads settings; name is how errors call the file. Its errors are of type *Error.
func Parse(src []byte, name string) (*Config, error) {
	file, diags := hclparse.NewParser().ParseHCL(src, name)
	if diags.HasErrors() {
		return nil, newError(diags)
	}
	at := positions(file.Body)
	c := Default()
	durations, diags := c.takeDurations(file.Body)
	if diags := append(gohcl.DecodeBody(file.Body, nil, c), diags...); diags.HasErrors() {
		return nil, newError(diags)
	}
	if diags := c.validate(at, durations); diags.HasErrors() {
		return nil, newError(diags)
	}
	return c, nil
}

// Error is everything that is wrong with a settings file, a line each: file:line:column: what, and what is allowed.
type Error struct{ Problems []string }

func (e *Error) Error() string { return strings.Join(e.Problems, "\n") }

func newError(diags hcl.Diagnostics) *Error {
	e := &Error{}
	for _, d := range diags {
		at := ""
		if d.Subject != nil {
			at = fmt.Sprintf("%s:%d:%d: ", d.Subject.Filename, d.Subject.Start.Line, d.Subject.Start.Column)
		}
		text := d.Summary
		if d.Detail != "" {
			text += ": " + strings.ReplaceAll(d.Detail, "\n", " ")
		}
		e.Problems = append(e.Problems, at+text)
	}
	return e
}
