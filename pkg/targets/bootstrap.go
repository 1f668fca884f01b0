package targets

import (
	"context"
	"fmt"

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
		a, err := p.signIn(ctx)
		if err != nil {
			return err
		}
		return printLine(p.out, p.State.Bucket, p.bootstrap(ctx, a))
	})
}

func (p *project) bootstrap(ctx context.Context, a account) (err error) {
	if p.State.Bucket == "" {
		return fmt.Errorf("no bucket is set: choose a name that nobody has, and set state { bucket = %q } in ingot.hcl", p.App+"-state-"+a.id)
	}
	stage := progress.Start(ctx, "make the state's bucket")
	made, err := terraform.MakeBucket(ctx, a.Config, p.State.Bucket, a.id)
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
