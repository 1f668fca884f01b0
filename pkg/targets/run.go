package targets

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/magefile/mage/mg"
	"golang.org/x/sys/unix"

	"github.com/ingot-build/ingot/internal/loopback"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/progress"
)

// folder is where everything that Ingot writes lies, below the root; it can be removed when nothing runs.
const folder = ".ingot"

// reports is the folder of the reports, with a folder for each account.
const reports = folder + "/reports"

// project is the repository that a target works on, and its settings.
type project struct {
	*config.Config
	runner command.Runner
	out    io.Writer // results
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return "ended by " + unix.SignalName(i.signal) }

// Run runs the body of a target, for magefiles that have targets of their own: with the settings of the nearest ingot.hcl, a
// context that ends on SIGINT and SIGTERM and reports progress to stderr, and an exit code that says which signal it
// was. Mage would give up on a target five seconds after a SIGINT, and at once on a SIGTERM, so both are taken from it.
func Run(ctx context.Context, body func(context.Context, *config.Config) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signal.Reset(syscall.SIGINT, syscall.SIGTERM)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	if progress.FromContext(ctx) == nil {
		ctx = progress.NewContext(ctx, progress.New(os.Stderr))
	}
	go func() {
		select {
		case s := <-signals:
			i := interrupted{s.(syscall.Signal)}
			progress.Note(ctx, "%v; clearing up", i) // which may take a while
			cancel(i)
		case <-ctx.Done():
		}
	}()
	if err := checkArguments(); err != nil {
		return err
	}
	settings, err := config.Find(".")
	if err != nil {
		return advise(err)
	}
	err = advise(body(ctx, settings))
	if i, ok := errors.AsType[interrupted](context.Cause(ctx)); ok && err != nil {
		return mg.Fatal(128+int(i.signal), err) // as a shell says it
	}
	if _, ok := errors.AsType[*pipeline.DeploymentError](err); ok {
		return mg.Fatal(notRecorded, err)
	}
	return err
}

// run gives a target its project.
func run(ctx context.Context, body func(context.Context, *project) error) error {
	return Run(ctx, func(ctx context.Context, settings *config.Config) error {
		return body(ctx, &project{Config: settings, runner: command.Exec{}, out: os.Stdout})
	})
}

// runPipeline gives a target its project and the pipeline of the AWS account that it signs in to.
func runPipeline(ctx context.Context, body func(context.Context, *project, *pipeline.Pipeline) error) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		a, err := p.signIn(ctx)
		if err != nil {
			return err
		}
		return body(ctx, p, p.pipeline(a))
	})
}

// pipeline is the one of an account, with the repository's settings.
func (p *project) pipeline(a account) *pipeline.Pipeline {
	return pipeline.NewFromConfig(a.Config, pipeline.Settings{
		App: p.App, Root: p.Root, Folder: a.folder, Reports: p.path(reports, a.id), Runner: p.runner,
		Image:   p.baseImage(),
		Service: p.service(),
		Bake:    pipeline.Bake{InstanceType: p.Image.InstanceType, Subnet: p.Image.Subnet, KMSKey: p.Image.KMSKey, SSHCIDRs: p.Image.SSHCIDRs, Environment: bakeEnvironment(a)},
		Rollout: p.rolloutOptions(), WithoutCodeDeploy: !p.CodeDeploy.Enabled,
		Warn: func(ctx context.Context, err error) { progress.Note(ctx, "%s", advise(err)) },
	})
}

// bakeEnvironment is what machines of the cloud on this machine need of its network. On AWS, its proxies are of no use.
func bakeEnvironment(a account) []string {
	if !loopback.URL(aws.ToString(a.BaseEndpoint)) {
		return nil
	}
	return machine.Proxies()
}

func (p *project) service() pipeline.Service {
	s := p.Service
	return pipeline.Service{Source: s.Source, Package: s.Package, Port: s.Port, Worker: s.Port == 0, Health: s.Health, StartWithin: s.StartWithin}
}

func (p *project) baseImage() pipeline.BaseImage {
	return pipeline.BaseImage{Owner: p.Image.Owner, Name: p.Image.Name, User: p.Image.User, Architecture: p.Image.Architecture}
}

// value is what an optional flag says.
func value[T any](flag *T) T {
	if flag == nil {
		return *new(T)
	}
	return *flag
}

// path is a path inside the repository.
func (p *project) path(elements ...string) string {
	return filepath.Join(append([]string{p.Root}, elements...)...)
}
