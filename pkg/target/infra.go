package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/magefile/mage/mg"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/terraform"
)

// Infra is the infrastructure, made by Terraform.
type Infra mg.Namespace

// Plan shows what infra:apply would change.
//
// Changes nothing; a state that is still on this machine moves into state { bucket } first. In GitHub Actions it is on
// the page of the workflow's run as well.
func (Infra) Plan(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		stack, _, err := p.stack(ctx)
		if err != nil {
			return err
		}
		plan, err := stack.Plan(ctx)
		if err != nil {
			return err
		}
		return p.printPlan(ctx, plan)
	})
}

// Apply makes the infrastructure as terraform/ says.
//
// Creates and changes a network, a load balancer, an Auto Scaling group, CodeDeploy and roles; never the release that
// runs. Moves a state that is still on this machine into state { bucket }, and repairs the hook that holds new instances.
func (Infra) Apply(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		if p.forgetful() {
			return fmt.Errorf("apply infrastructure: %s", forgetfulRemedy)
		}
		return p.applyInfra(ctx)
	})
}

// Destroy removes the infrastructure, instances included.
//
// The images and the release history stay. Shows what it would remove, and removes it with -yes.
func (Infra) Destroy(ctx context.Context,
	yes *bool, // really remove it
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		if p.forgetful() {
			return fmt.Errorf("destroy infrastructure: %s", forgetfulRemedy)
		}
		stack, a, err := p.stack(ctx)
		if err != nil {
			return err
		}
		return p.destroyInfra(ctx, a, stack, value(yes))
	})
}

func (p *project) applyInfra(ctx context.Context) error {
	stack, a, err := p.stack(ctx)
	if err != nil {
		return err
	}
	plan, err := stack.Plan(ctx)
	if err != nil {
		return err
	}
	if plan.Changed {
		if err := p.checkKnown(ctx, a, plan.Creates("aws_autoscaling_group.app")); err != nil {
			return err
		}
		if err := stack.Apply(ctx, plan); err != nil {
			return err
		}
	}
	if p.CodeDeploy.Enabled {
		if _, err := p.codeDeploy(a).RepairHook(ctx); err != nil {
			return err
		}
	}
	return p.noteRoles(ctx, a, stack)
}

// noteRoles says which variables the repository on GitHub needs.
func (p *project) noteRoles(ctx context.Context, a account, stack *terraform.Stack) error {
	if p.GitHub.Repository == "" {
		return nil
	}
	outputs, err := stack.Outputs(ctx)
	if err != nil {
		return err
	}
	values := map[string]any{"AWS_ACCOUNT_ID": a.id, "AWS_REGION": a.Region}
	roles, _ := outputs["github_role_arns"].(map[string]any)
	for name, arn := range roles {
		values["INGOT_"+strings.ToUpper(name)+"_ROLE"] = arn
	}
	progress.Note(ctx, "the variables of %s that its workflows use:", p.GitHub.Repository)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		progress.Note(ctx, "  gh variable set %s --repo %s --body %v", name, p.GitHub.Repository, values[name])
	}
	return nil
}

// printPlan prints a plan, and says what it is worth.
func (p *project) printPlan(ctx context.Context, plan *terraform.Plan) error {
	markdown := plan.Markdown()
	if p.forgetful() {
		progress.Note(ctx, "a plan that begins from nothing: %s", forgetfulRemedy)
		markdown += "\n> This plan begins from nothing: " + forgetfulRemedy + ".\n"
	}
	if err := summarize(markdown); err != nil {
		return err
	}
	for _, c := range plan.Changes {
		fmt.Fprintln(p.out, c)
	}
	return p.printLine(plan.Summary(), nil)
}

func (p *project) destroyInfra(ctx context.Context, a account, stack *terraform.Stack, yes bool) error {
	plan, err := stack.PlanDestroy(ctx)
	if err != nil {
		return err
	}
	if !plan.Changed {
		return p.checkKnown(ctx, a, true)
	}
	if yes {
		return stack.Apply(ctx, plan)
	}
	for _, c := range plan.Changes {
		fmt.Fprintln(p.out, c)
	}
	return fmt.Errorf("%s: nothing was removed; to remove it: mage infra:destroy -yes", plan.Summary())
}

// stack is the Terraform stack, ready to plan, and the account that it is for.
func (p *project) stack(ctx context.Context) (*terraform.Stack, account, error) {
	a, err := p.account(ctx)
	if err != nil {
		return nil, a, err
	}
	shared, err := p.sharedState(ctx, a)
	if err != nil {
		return nil, a, err
	}
	cache, err := toolCache()
	if err != nil {
		return nil, a, err
	}
	path, err := terraform.Find(ctx, cache)
	if err != nil {
		return nil, a, err
	}
	plugins, err := terraform.PluginDir(ctx, p.Terraform.PluginDir, cache)
	if err != nil {
		return nil, a, err
	}
	vars, err := p.stackVars(ctx, a)
	if err != nil {
		return nil, a, err
	}
	stack := &terraform.Stack{
		Command: path, Dir: p.path("terraform"), DataDir: filepath.Join(a.dir, "terraform"),
		StatePath: filepath.Join(a.dir, "terraform.tfstate"), S3: shared, Vars: vars, PluginDir: plugins, CacheDir: cache,
		Env: []string{"AWS_REGION=" + a.Region},
	}
	return stack, a, stack.Init(ctx)
}

func (p *project) stackVars(ctx context.Context, a account) (map[string]any, error) {
	image, released, err := p.firstImage(ctx, a)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"app":                  p.App,
		"port":                 p.Service.Port,
		"health_path":          p.Service.Health,
		"image_id":             image.ID,
		"released":             released,
		"architecture":         p.Image.Architecture,
		"instance_type":        p.Fleet.InstanceType,
		"min_size":             p.Fleet.Min,
		"max_size":             p.Fleet.Max,
		"warmup":               int(p.Rollout.WarmupDuration() / time.Second),
		"certificate_arn":      p.Fleet.CertificateARN,
		"alarms":               p.Rollout.Alarms,
		"codedeploy":           p.CodeDeploy.Enabled,
		"github_repository":    p.GitHub.Repository,
		"github_owner_id":      p.GitHub.OwnerID,
		"github_repository_id": p.GitHub.RepositoryID,
		"state_bucket":         p.State.Bucket,
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
