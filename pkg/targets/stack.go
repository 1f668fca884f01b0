package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ingot-build/ingot"
	"github.com/ingot-build/ingot/internal/loopback"
	"github.com/ingot-build/ingot/internal/overlay"
	"github.com/ingot-build/ingot/internal/toolcache"
	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/terraform"
)

// infrastructure is a project's Terraform stack in an account, ready to plan.
type infrastructure struct {
	*project
	account  account
	pipeline *pipeline.Pipeline
	stack    *terraform.Stack
}

func (p *project) infrastructure(ctx context.Context) (*infrastructure, error) {
	a, err := p.signIn(ctx)
	if err != nil {
		return nil, err
	}
	shared, err := p.sharedState(ctx, a)
	if err != nil {
		return nil, err
	}
	i := &infrastructure{project: p, account: a, pipeline: p.pipeline(a)}
	if i.stack, err = p.stack(ctx, filepath.Join(a.folder, "terraform"), filepath.Join(a.folder, "terraform.tfstate")); err != nil {
		return nil, err
	}
	i.stack.S3, i.stack.AWS = shared, &a.Config
	if i.stack.Vars, err = i.variables(ctx); err != nil {
		return nil, err
	}
	return i, i.stack.Init(ctx)
}

// stack is the repository's Terraform stack, with its working files and its state at those paths.
func (p *project) stack(ctx context.Context, dataDir, statePath string) (*terraform.Stack, error) {
	cache, err := toolcache.Dir("")
	if err != nil {
		return nil, err
	}
	path, err := terraform.Find(ctx, cache)
	if err != nil {
		return nil, err
	}
	plugins, err := terraform.PluginDir(ctx, p.Terraform.PluginDir, cache)
	return &terraform.Stack{
		Command: path, Config: overlay.FS(ingot.Terraform(), p.path("terraform")), DataDir: dataDir, StatePath: statePath, PluginDir: plugins, CacheDir: cache,
	}, err
}

// variables are the stack's: the settings, and what a new launch template begins with.
func (i *infrastructure) variables(ctx context.Context) (map[string]any, error) {
	image, released, err := i.pipeline.FirstImage(ctx)
	if err != nil {
		return nil, err
	}
	variables := i.TerraformVariables()
	variables["image_id"], variables["released"] = image.ID, released
	variables["local"] = loopback.URL(aws.ToString(i.account.BaseEndpoint))
	if image.RootDevice != "" {
		variables["root_device"] = image.RootDevice
	}
	return variables, nil
}

// sharedState is where the state lies for everybody; nil where it lies on this machine.
func (p *project) sharedState(ctx context.Context, a account) (*terraform.S3, error) {
	if p.State.Bucket == "" {
		return nil, nil
	}
	region, err := terraform.FindBucket(ctx, a.Config, p.State.Bucket, a.id)
	if err != nil {
		return nil, err
	}
	// The plan role of terraform/github.tf may read this key and no other.
	return &terraform.S3{Bucket: p.State.Bucket, Key: fmt.Sprintf("ingot/%s/%s.tfstate", p.App, a.Region), Region: region}, nil
}

// forgetful reports whether the state would be lost with this machine while the infrastructure lives on: a job of a CI
// system begins on a new machine each time. An endpoint on this machine goes the same way as the state.
func (p *project) forgetful(cfg aws.Config) bool {
	return os.Getenv("CI") == "true" && p.State.Bucket == "" && !loopback.URL(aws.ToString(cfg.BaseEndpoint))
}

// checkNotForgetful refuses what would lose the state, before anything is asked of AWS.
func (p *project) checkNotForgetful(ctx context.Context) error {
	cfg, err := p.awsConfig(ctx)
	if err == nil && p.forgetful(cfg) {
		err = errors.New(forgetfulRemedy)
	}
	return err
}

const forgetfulRemedy = "the state is a file on this machine, which a CI system throws away: share it with state { bucket = \"NAME\" } in ingot.hcl and mage infra:bootstrap, then run mage infra:apply once where the state is now"

// checkKnown refuses to go on with a state that knows nothing where the infrastructure is there: the state that does lies
// elsewhere. Terraform itself would make half of it a second time and then stumble over a name that is taken, or say
// that there is nothing to destroy.
func (i *infrastructure) checkKnown(ctx context.Context, nothingKnown bool) error {
	if !nothingKnown {
		return nil
	}
	fleet, err := i.pipeline.Fleet(ctx)
	if err != nil {
		return nil //nolint:nilerr // there is none, or none that works: Terraform's business
	}
	return i.unknownError(fmt.Sprintf("Auto Scaling group %q", fleet.Group))
}

// unknownError says that something of this application's is there which the state does not know.
func (i *infrastructure) unknownError(what string) error {
	where := "a file on another machine, or in a bucket that state { bucket } in ingot.hcl should name"
	if i.State.Bucket != "" {
		where = "in another bucket, or still a file on the machine that ran infra:apply so far, where the next one moves it"
	}
	return fmt.Errorf("the %s is there, and Terraform's state knows nothing of it: the state that does is %s", what, where)
}
