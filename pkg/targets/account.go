package targets

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/doctor"
	"github.com/ingot-build/ingot/pkg/progress"
)

// account is an AWS account and region that targets work in.
type account struct {
	aws.Config
	id     string
	folder string // what Ingot keeps of it on this machine: logs, working files, Terraform's state
}

// signIn signs in to AWS and finds out to whom.
func (p *project) signIn(ctx context.Context) (account, error) {
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
		return account{}, fmt.Errorf("sign in to AWS in region %q: %w", cfg.Region, err)
	}
	if skew := doctor.ClockSkew(who.ResultMetadata); skew.Abs() >= doctor.MaxClockSkew {
		progress.Note(ctx, "AWS's clock is %s ahead of this machine's, and AWS refuses what Packer and Terraform sign with such a time: %s", skew, setClock)
	}
	a := account{Config: cfg, id: aws.ToString(who.Account)}
	a.folder = p.path(folder, a.id, cfg.Region)
	return a, os.MkdirAll(a.folder, 0o700)
}

// awsConfig is the usual AWS chain, in the region of the environment, of ingot.hcl, of the chain, or the default.
func (p *project) awsConfig(ctx context.Context) (aws.Config, error) {
	options := []func(*awsconfig.LoadOptions) error{
		// A fleet's worth of calls meets throttling some day; ten attempts with a rate that adapts outlast it.
		awsconfig.WithRetryMode(aws.RetryModeAdaptive), awsconfig.WithRetryMaxAttempts(10),
		awsconfig.WithDefaultRegion(config.DefaultRegion),
		// The SDK would write its own warnings to stderr, of polls that end early for one; what fails is an error anyway.
		awsconfig.WithLogger(logging.Nop{}),
	}
	if p.Region != "" && os.Getenv("AWS_REGION") == "" {
		options = append(options, awsconfig.WithRegion(p.Region))
	}
	return awsconfig.LoadDefaultConfig(ctx, options...)
}

// setClock is what there is to do about a clock that is off.
const setClock = "set it, for example with: sudo timedatectl set-ntp true"

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
