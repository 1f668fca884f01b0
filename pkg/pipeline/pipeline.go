// Package pipeline is what Ingot does, for any program: it bakes the images of a service, rolls a release out over its
// fleet, takes it back, says how things stand, and clears away what killed bakes left.
//
//	p := pipeline.NewFromConfig(cfg, pipeline.Settings{App: "hello", Root: "."})
//	result, err := p.Release(ctx, pipeline.ReleaseOptions{})
//	fmt.Println(result.URL)
//
// The infrastructure has to be there already: package terraform makes it. What goes on is reported to the reporter of
// the context, see package progress. Errors that callers tell apart are those of the packages below (rollout.ErrNoFleet,
// codedeploy.ErrNotSetUp, packer.ErrNotFound …) and the ones of this package.
package pipeline

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/rollout"
)

// Settings say what is baked and how it is rolled out. All but App have a default, which a zero value means.
type Settings struct {
	App  string // names the application: the value of the tag ingot:app on everything that is its own
	Root string // the repository, which holds the service, and in provision/ and packer/ what lies over Ingot's own; empty for the working folder

	Image   BaseImage // what the base AMI is made from
	Service Service   // what the application AMI runs
	Bake    Bake      // where and how images are baked

	// Rollout is how instances are replaced. Its App is the one above; Wait, CancelOnInterrupt, Observe and Explain are the
	// pipeline's to set.
	Rollout rollout.Options

	// WithoutCodeDeploy leaves out the gate that each new instance passes before it serves, and the deployment that records
	// a release.
	WithoutCodeDeploy bool

	Folder  string // logs and working files; empty for .ingot below Root
	Reports string // a report of each rollout; empty for reports below Folder

	Runner command.Runner // runs git; nil for command.Exec

	// Warn is told of what went wrong without stopping anything, such as a *bake.LeftoverError; nil makes it a note of the
	// context's progress.
	Warn func(ctx context.Context, err error)
}

// BaseImage is the public image that the base AMI is made from: the newest one that matches.
type BaseImage struct {
	Owner        string // AWS account ID of 12 digits, amazon or self; empty for Debian's, 136693071363
	Name         string // with * and ? as wildcards; empty for debian-13-amd64-*
	User         string // whom SSH logs in as; empty for admin
	Architecture string // x86_64, also when empty, or arm64
}

// Bake is where and how images are baked. None of it but the key changes what an image is.
type Bake struct {
	InstanceType string   // empty for t3.medium, or t4g.medium for arm64: a compiler wants more than 1 GiB
	Subnet       string   // ID of the subnet to bake in; empty to find one, as ami.Client.FindNetwork does
	KMSKey       string   // ID, alias or ARN of the KMS key that encrypts images; empty for the account's default
	SSHCIDRs     []string // the addresses that may reach SSH on the machine that bakes; empty for this machine's
	Environment  []string // NAME=value, what provision.sh finds in its environment and does not make another image, such as proxies
}

// Service is what the application AMI runs.
type Service struct {
	Source  string // folder of a Go module, or of anything with an executable named build, relative to Root; empty for service
	Package string // path of a Go module's main package in Source, "./cmd/hello"; empty for Source itself
	Port    int    // TCP port that it listens on; 0 for 8080
	Worker  bool   // it listens at no port, and is well as long as its units are; needs CodeDeploy, which alone sees that
	Health  string // path that answers 200 once it can serve; empty for /healthz

	StartWithin time.Duration // how long it may take until it serves, in whole seconds; 0 for [DefaultStartWithin]
}

// DefaultStartWithin is how long a service may take until it serves, where nobody says otherwise; a small one takes far less.
const DefaultStartWithin = 30 * time.Second

// Pipeline bakes and releases one application in one region of one AWS account.
type Pipeline struct {
	cfg      aws.Config
	settings Settings
	images   *ami.Client
	gate     *codedeploy.Client // nil without CodeDeploy
}

// NewFromConfig returns the pipeline of an application, in the account and region of an AWS configuration. It asks
// nothing of AWS yet.
func NewFromConfig(cfg aws.Config, s Settings) *Pipeline {
	s.Root = cmp.Or(s.Root, ".")
	s.Image = BaseImage{
		Owner: cmp.Or(s.Image.Owner, "136693071363"), Name: cmp.Or(s.Image.Name, "debian-13-amd64-*"),
		User: cmp.Or(s.Image.User, "admin"), Architecture: cmp.Or(s.Image.Architecture, "x86_64"),
	}
	s.Service = Service{
		Source: cmp.Or(s.Service.Source, "service"), Package: s.Service.Package, Port: cmp.Or(s.Service.Port, 8080), Worker: s.Service.Worker,
		Health: cmp.Or(s.Service.Health, "/healthz"), StartWithin: cmp.Or(s.Service.StartWithin, DefaultStartWithin),
	}
	s.Bake.InstanceType = cmp.Or(s.Bake.InstanceType, map[string]string{"x86_64": "t3.medium", "arm64": "t4g.medium"}[s.Image.Architecture])
	s.Rollout.App, s.Rollout.Worker = s.App, s.Service.Worker
	if s.Service.Worker {
		s.Service.Port = 0
	}
	s.Folder = cmp.Or(s.Folder, filepath.Join(s.Root, ".ingot"))
	s.Reports = cmp.Or(s.Reports, filepath.Join(s.Folder, "reports"))
	if s.Runner == nil {
		s.Runner = command.Exec{}
	}
	p := &Pipeline{cfg: cfg, settings: s, images: ami.NewFromConfig(cfg)}
	if !s.WithoutCodeDeploy {
		p.gate = codedeploy.NewFromConfig(cfg, codedeploy.Options{App: s.App})
	}
	return p
}

// Settings are the pipeline's, with the defaults filled in.
func (p *Pipeline) Settings() Settings { return p.settings }

// roller looks at the fleet, and changes it as the options say.
func (p *Pipeline) roller(o rollout.Options) *rollout.Roller { return rollout.NewFromConfig(p.cfg, o) }

// path is a path inside the repository.
func (p *Pipeline) path(elements ...string) string {
	return filepath.Join(append([]string{p.settings.Root}, elements...)...)
}

// Fleet returns the fleet and where it answers. The error wraps rollout.ErrNoFleet where there is none.
func (p *Pipeline) Fleet(ctx context.Context) (rollout.Fleet, error) {
	return p.roller(p.settings.Rollout).Fleet(ctx)
}

// ProbeOptions are what a probe of the service asks as a rollout does; only the rate is to be added.
func (p *Pipeline) ProbeOptions(ctx context.Context) (probe.Options, error) {
	roller := p.roller(p.settings.Rollout)
	fleet, err := roller.Fleet(ctx)
	if err != nil {
		return probe.Options{}, err
	}
	return roller.ProbeOptions(fleet), nil
}

// Status returns the release that is live, the fleet, the newest instance refresh, and what disagrees among them.
func (p *Pipeline) Status(ctx context.Context) (rollout.Status, error) {
	return p.roller(p.settings.Rollout).Status(ctx)
}

// Releases returns the release history, the current one first.
func (p *Pipeline) Releases(ctx context.Context) ([]rollout.Pointer, error) {
	return p.roller(p.settings.Rollout).Releases(ctx)
}

// Deployments returns CodeDeploy's newest deployments of the application, also where this pipeline makes none.
func (p *Pipeline) Deployments(ctx context.Context) ([]codedeploy.Deployment, error) {
	return codedeploy.NewFromConfig(p.cfg, codedeploy.Options{App: p.settings.App}).Deployments(ctx)
}

// FirstImage is what a new launch template begins with: the current release, which infrastructure that was destroyed and
// made again then serves at once; else the public image, which serves nothing, so that the group has to stay empty.
func (p *Pipeline) FirstImage(ctx context.Context) (image ami.Image, released bool, err error) {
	current, released, err := p.roller(p.settings.Rollout).Current(ctx)
	if err != nil {
		return ami.Image{}, false, err
	}
	if released {
		image, err = p.images.Get(ctx, current.AMIID)
		if !errors.Is(err, ami.ErrNotFound) {
			return image, true, err
		}
	}
	image, err = p.publicImage(ctx)
	return image, false, err
}
