package target

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/terraform"
)

// Bootstrap makes the S3 bucket for Terraform's state.
//
// Its name is state { bucket } in ingot.hcl. It keeps every version of a state, takes TLS only, and is closed to the
// public. Prints its name. A bucket that is there already is finished, or left as it is where somebody else made it;
// the next infra:apply moves a state from this machine into it.
func (Infra) Bootstrap(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		a, err := p.account(ctx)
		if err != nil {
			return err
		}
		return p.printLine(p.State.Bucket, p.bootstrap(ctx, a))
	})
}

func (p *project) bootstrap(ctx context.Context, a account) (err error) {
	if p.State.Bucket == "" {
		return fmt.Errorf("no bucket is set: choose a name that nobody has, and set state { bucket = %q } in ingot.hcl", p.App+"-state-"+a.id)
	}
	stage := progress.Start(ctx, "make the state's bucket")
	made, err := terraform.MakeBucket(ctx, s3.NewFromConfig(a.Config), p.State.Bucket, a.id, a.Region)
	switch {
	case err != nil:
		stage.Fail(err)
	case made:
		stage.Done("%s", p.State.Bucket)
	default:
		stage.Done("%s is there, made by somebody else of this account, and stays as it is", p.State.Bucket)
	}
	return err
}

// sharedState is where the state lies for everybody; nil where it lies on this machine.
func (p *project) sharedState(ctx context.Context, a account) (*terraform.S3, error) {
	if p.State.Bucket == "" {
		return nil, nil
	}
	region, err := terraform.FindBucket(ctx, s3.NewFromConfig(a.Config), p.State.Bucket, a.id)
	if errors.Is(err, terraform.ErrNoBucket) {
		return nil, fmt.Errorf("%w; make it with: mage infra:bootstrap", err)
	}
	if err != nil {
		return nil, err
	}
	// The plan role of terraform/github.tf may read this key and no other.
	return &terraform.S3{Bucket: p.State.Bucket, Key: fmt.Sprintf("ingot/%s/%s.tfstate", p.App, a.Region), Region: region}, nil
}

// forgetful reports whether the state would be lost with this machine while the infrastructure lives on: a job of a CI
// system begins on a new machine each time. An endpoint on this machine goes the same way as the state.
func (p *project) forgetful() bool {
	return os.Getenv("CI") == "true" && p.State.Bucket == "" && !loopback(os.Getenv("AWS_ENDPOINT_URL"))
}

const forgetfulRemedy = "the state is a file on this machine, which a CI system throws away: share it with state { bucket = \"NAME\" } in ingot.hcl and mage infra:bootstrap, then run mage infra:apply once where the state is now"

// checkKnown refuses to go on with a state that knows nothing where the infrastructure is there: the state that does lies
// elsewhere. Terraform itself would make half of it a second time and then stumble over a name that is taken, or say
// that there is nothing to destroy.
func (p *project) checkKnown(ctx context.Context, a account, nothingKnown bool) error {
	if !nothingKnown {
		return nil
	}
	fleet, err := p.roller(a).Fleet(ctx)
	if err != nil {
		return nil //nolint:nilerr // there is none, or none that works: Terraform's business
	}
	where := "a file on another machine, or in a bucket that state { bucket } in ingot.hcl should name"
	if p.State.Bucket != "" {
		where = "in another bucket, or still a file on the machine that ran infra:apply so far, where the next one moves it"
	}
	return fmt.Errorf("the Auto Scaling group %q is there, and Terraform's state knows nothing of it: the state that does is %s", fleet.Group, where)
}
