package target

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/magefile/mage/mg"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/terraform"
)

// Infra is the infrastructure, made by Terraform.
type Infra mg.Namespace

// Plan shows what infra:apply would change.
//
// Changes nothing.
func (Infra) Plan(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		stack, err := p.stack(ctx)
		if err != nil {
			return err
		}
		plan, err := stack.Plan(ctx)
		if err != nil {
			return err
		}
		for _, c := range plan.Changes {
			fmt.Fprintln(p.out, c)
		}
		return p.printLine(plan.Summary(), nil)
	})
}

// Apply makes the infrastructure as terraform/ says.
//
// Creates and changes a network, a load balancer, an Auto Scaling group and roles; never the release that runs.
func (Infra) Apply(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error { return p.applyInfra(ctx) })
}

// Destroy removes the infrastructure, instances included.
//
// The images and the release history stay. Shows what it would remove, and removes it with -yes.
func (Infra) Destroy(ctx context.Context,
	yes *bool, // really remove it
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		stack, err := p.stack(ctx)
		if err != nil {
			return err
		}
		return p.destroyInfra(ctx, stack, yes != nil && *yes)
	})
}

func (p *project) applyInfra(ctx context.Context) error {
	stack, err := p.stack(ctx)
	if err != nil {
		return err
	}
	plan, err := stack.Plan(ctx)
	if err != nil || !plan.Changed {
		return err
	}
	return stack.Apply(ctx, plan)
}

func (p *project) destroyInfra(ctx context.Context, stack *terraform.Stack, yes bool) error {
	plan, err := stack.PlanDestroy(ctx)
	if err != nil || !plan.Changed {
		return err
	}
	if yes {
		return stack.Apply(ctx, plan)
	}
	for _, c := range plan.Changes {
		fmt.Fprintln(p.out, c)
	}
	return fmt.Errorf("%s: nothing was removed; to remove it: mage infra:destroy -yes", plan.Summary())
}

// stack is the Terraform stack, ready to plan.
func (p *project) stack(ctx context.Context) (*terraform.Stack, error) {
	a, err := p.account(ctx)
	if err != nil {
		return nil, err
	}
	cache, err := toolCache()
	if err != nil {
		return nil, err
	}
	path, err := terraform.Find(ctx, cache)
	if err != nil {
		return nil, err
	}
	plugins, err := terraform.PluginDir(ctx, p.Terraform.PluginDir, cache)
	if err != nil {
		return nil, err
	}
	vars, err := p.stackVars(ctx, a)
	if err != nil {
		return nil, err
	}
	stack := &terraform.Stack{
		Command: path, Dir: p.path("terraform"), DataDir: filepath.Join(a.dir, "terraform"),
		StatePath: filepath.Join(a.dir, "terraform.tfstate"), Vars: vars, PluginDir: plugins, CacheDir: cache,
		Env: []string{"AWS_REGION=" + a.Region},
	}
	return stack, stack.Init(ctx)
}

func (p *project) stackVars(ctx context.Context, a account) (map[string]any, error) {
	image, released, err := p.firstImage(ctx, a)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"app":             p.App,
		"port":            p.Service.Port,
		"health_path":     p.Service.Health,
		"image_id":        image.ID,
		"released":        released,
		"architecture":    p.Image.Architecture,
		"instance_type":   p.Fleet.InstanceType,
		"min_size":        p.Fleet.Min,
		"max_size":        p.Fleet.Max,
		"warmup":          int(p.Rollout.WarmupDuration() / time.Second),
		"certificate_arn": p.Fleet.CertificateARN,
	}, nil
}

// firstImage is what a new launch template begins with: the current release, which infrastructure that was destroyed and
// made again then serves at once; else the public image, which serves nothing, so that the group has to stay empty.
func (p *project) firstImage(ctx context.Context, a account) (image ami.Image, released bool, err error) {
	catalogue := ami.New(ec2.NewFromConfig(a.Config))
	current, released, err := p.roller(a).Current(ctx)
	if err != nil {
		return ami.Image{}, false, err
	}
	if released {
		image, err = catalogue.Get(ctx, current.AMIID)
		if !errors.Is(err, ami.ErrNotFound) {
			return image, true, err
		}
	}
	image, err = p.debian(ctx, catalogue)
	return image, false, err
}
