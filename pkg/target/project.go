package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/magefile/mage/mg"
	"golang.org/x/sys/unix"

	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/progress"
)

// folder is where everything that Ingot writes lies, below the root; it can be removed when nothing runs.
const folder = ".ingot"

// project is what a target works on: the repository and its settings.
type project struct {
	*config.Config
	runner command.Runner
	out    io.Writer // results
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return "ended by " + unix.SignalName(i.signal) }

// run gives a target its project and a context that ends on SIGINT and SIGTERM, and turns its error into an exit code.
// Mage would give up on a target five seconds after a SIGINT, and at once on a SIGTERM, so both are taken from it.
func run(ctx context.Context, f func(context.Context, *project) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signal.Reset(syscall.SIGINT, syscall.SIGTERM)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	ended := ctx.Done() // ctx itself is replaced below
	go func() {
		select {
		case s := <-signals:
			cancel(interrupted{s.(syscall.Signal)})
		case <-ended:
		}
	}()
	if progress.FromContext(ctx) == nil {
		ctx = progress.NewContext(ctx, progress.New(os.Stderr))
	}
	settings, err := config.Find(".")
	if err != nil {
		return err
	}
	err = f(ctx, &project{Config: settings, runner: command.Exec{}, out: os.Stdout})
	if i, ok := errors.AsType[interrupted](context.Cause(ctx)); ok && err != nil {
		return mg.Fatal(128+int(i.signal), err) // as a shell says it
	}
	return explain(err)
}

// value is what an optional flag says.
func value[T any](flag *T) T {
	if flag == nil {
		return *new(T)
	}
	return *flag
}

// show prints a result as JSON where that is asked for, and otherwise for people.
func show[T any](p *project, json *bool, result T, print func(T) error) error {
	if value(json) {
		return p.printJSON(result)
	}
	return print(result)
}

// explain puts the remedy to errors of the AWS SDK that a user can mend.
func explain(err error) error {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		switch e.ErrorCode() {
		case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
			return fmt.Errorf("the AWS credentials have expired: sign in again and run the same command: %w", err)
		}
	}
	return err
}

// path is a path inside the repository.
func (p *project) path(elements ...string) string {
	return filepath.Join(append([]string{p.Root}, elements...)...)
}

// account is an AWS account and region that targets work in.
type account struct {
	aws.Config
	id  string
	dir string // what Ingot keeps of it on this machine: logs, working files, Terraform's state
}

// account signs in to AWS and finds out to whom.
func (p *project) account(ctx context.Context) (account, error) {
	cfg, err := p.awsConfig(ctx)
	if err != nil {
		return account{}, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return account{}, fmt.Errorf("no AWS credentials: sign in (aws configure, or aws sso login), or work on this machine alone (mage local TARGET): %s", oneLine(err))
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		if _, unknown := errors.AsType[*net.DNSError](err); unknown {
			return account{}, fmt.Errorf("reach AWS in region %q: is there such a region, and a network? %s", cfg.Region, oneLine(err))
		}
		return account{}, fmt.Errorf("sign in to AWS in region %q: %w", cfg.Region, explain(err))
	}
	a := account{Config: cfg, id: aws.ToString(who.Account)}
	a.dir = p.path(folder, a.id, cfg.Region)
	return a, os.MkdirAll(a.dir, 0o700)
}

// awsConfig is the usual AWS chain, in the region of the environment, of ingot.hcl, of the chain, or the default.
func (p *project) awsConfig(ctx context.Context) (aws.Config, error) {
	options := []func(*awsconfig.LoadOptions) error{
		// A fleet's worth of calls meets throttling some day; ten attempts with a rate that adapts outlast it.
		awsconfig.WithRetryMode(aws.RetryModeAdaptive), awsconfig.WithRetryMaxAttempts(10),
		awsconfig.WithDefaultRegion(config.DefaultRegion),
	}
	if p.Region != "" && os.Getenv("AWS_REGION") == "" {
		options = append(options, awsconfig.WithRegion(p.Region))
	}
	return awsconfig.LoadDefaultConfig(ctx, options...)
}

// egress is the address that this machine has towards an endpoint, as a CIDR block: what a bake's SSH port is opened
// to. Towards AWS it is what AWS itself says of us.
func egress(ctx context.Context, endpoint string) (string, error) {
	if loopback(endpoint) {
		return "127.0.0.0/8", nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://checkip.amazonaws.com", nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("find out this machine's public address: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64))
	if err != nil {
		return "", fmt.Errorf("find out this machine's public address: %w", err)
	}
	ip := net.ParseIP(strings.TrimSpace(string(body)))
	if ip == nil {
		return "", fmt.Errorf("find out this machine's public address: %q is none", body)
	}
	if ip.To4() == nil {
		return ip.String() + "/128", nil
	}
	return ip.String() + "/32", nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
