package targets

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/magefile/mage/mg"

	"github.com/ingot-build/ingot/internal/lag"
	"github.com/ingot-build/ingot/internal/loopback"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/rollout"
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
		i, err := p.infrastructure(ctx)
		if err != nil {
			return err
		}
		return i.plan(ctx)
	})
}

// Apply makes the infrastructure as terraform/ says.
//
// Creates and changes a network, a load balancer, an Auto Scaling group, CodeDeploy and roles; never the release that
// runs: a change that would take it out of service is refused. Moves a state that is still on this machine into state
// { bucket }, repairs the hook that holds new instances, and says which DNS record fleet { domain } wants. Where the
// release comes back with infrastructure that is made again, waits for it, and has it pass the gate. What would be
// destroyed it shows, and does nothing without -yes.
func (Infra) Apply(ctx context.Context,
	yes *bool, // destroy what is not wanted any more
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		if err := p.checkNotForgetful(ctx); err != nil {
			return fmt.Errorf("apply infrastructure: %w", err)
		}
		i, err := p.infrastructure(ctx)
		if err != nil {
			return err
		}
		return i.apply(ctx, value(yes))
	})
}

// Destroy removes the infrastructure, instances included.
//
// The images and the release history stay. Shows what it would remove, and removes it with -yes.
func (Infra) Destroy(ctx context.Context,
	yes *bool, // really remove it
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		if err := p.checkNotForgetful(ctx); err != nil {
			return fmt.Errorf("destroy infrastructure: %w", err)
		}
		i, err := p.infrastructure(ctx)
		if err != nil {
			return err
		}
		return i.destroy(ctx, value(yes))
	})
}

func (i *infrastructure) apply(ctx context.Context, yes bool) error {
	if err := i.pipeline.CheckChange(ctx); err != nil {
		return err
	}
	plan, err := i.stack.Plan(ctx)
	if err != nil {
		return err
	}
	if plan.Changed {
		if plan, err = i.adopt(ctx, plan); err != nil {
			return err
		}
	}
	if lost := plan.Destroys(); len(lost) > 0 && !yes {
		for _, c := range lost {
			fmt.Fprintln(i.out, c)
		}
		return fmt.Errorf("%s: nothing was changed; to destroy that, and to do the rest: mage infra:apply -yes", plan.Summary())
	}
	if plan.Changed {
		if err := i.stack.Apply(ctx, plan); err != nil {
			return err
		}
	}
	i.noteDomain(ctx)
	return errors.Join(i.pipeline.RepairGate(ctx), i.noteRoles(ctx))
}

// adopt returns a plan that makes nothing which there is already: what an apply that was killed had begun, and could not write into the
// state, comes into it. Names that are somebody else's, and infrastructure that another state knows, are refused before anything is made.
func (i *infrastructure) adopt(ctx context.Context, plan *terraform.Plan) (*terraform.Plan, error) {
	knowsNothing := plan.Creates("aws_vpc.app")
	if err := i.checkKnown(ctx, knowsNothing && plan.Creates("aws_autoscaling_group.app")); err != nil {
		return nil, err
	}
	existing, err := terraform.FindExisting(ctx, i.account.Config, i.account.id, i.App, plan)
	if err != nil || len(existing) == 0 {
		return plan, err
	}
	if knowsNothing {
		return nil, i.unknownError(existing[0].What)
	}
	for _, x := range existing {
		progress.Note(ctx, "the %s is there already and has this application's tag: it is adopted", x.What)
	}
	if err := i.stack.Adopt(existing); err != nil {
		return nil, err
	}
	return i.stack.Plan(ctx)
}

// noteDomain says which DNS record the service's domain wants, as long as it does not lead to the load balancer. It also
// waits until the fleet that was just made can be found, so that what comes next finds it.
func (i *infrastructure) noteDomain(ctx context.Context) {
	fleet, err := lag.Read(ctx, i.pipeline.Fleet, func(_ rollout.Fleet, err error) bool {
		_, incomplete := errors.AsType[*rollout.IncompleteError](err)
		return incomplete || errors.Is(err, rollout.ErrNoFleet)
	})
	made := i.Fleet.Zone != "" && !loopback.URL(aws.ToString(i.account.BaseEndpoint)) // the record is Terraform's
	if err != nil || i.Fleet.Domain == "" || made {
		return // the infrastructure is made all the same, and whoever needs the fleet says what is missing
	}
	if record := wantedRecord(ctx, net.DefaultResolver, i.Fleet.Domain, fleet.Balancer.Host); record != "" {
		progress.Note(ctx, "%s does not lead to the load balancer yet; it wants the DNS record:", i.Fleet.Domain)
		progress.Note(ctx, "  %s", record)
	}
}

// resolver looks host names up.
type resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// lookupLimit bounds the look-ups, which only tell whether something is to be said.
const lookupLimit = 10 * time.Second

// wantedRecord is the DNS record by which a domain would lead to a load balancer; empty where it does.
func wantedRecord(ctx context.Context, dns resolver, domain, balancer string) string {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	of, _ := dns.LookupHost(ctx, domain) // what is not found leads nowhere
	to, _ := dns.LookupHost(ctx, balancer)
	if slices.ContainsFunc(of, func(address string) bool { return slices.Contains(to, address) }) {
		return ""
	}
	if address := net.ParseIP(balancer); address != nil {
		return fmt.Sprintf("%s. A %s", domain, balancer)
	}
	return fmt.Sprintf("%s. CNAME %s. (at the top of a zone, which takes no CNAME: an alias record to the same name)", domain, balancer)
}

// noteRoles says which variables the repository on GitHub needs.
func (i *infrastructure) noteRoles(ctx context.Context) error {
	if i.GitHub.Repository == "" {
		return nil
	}
	outputs, err := i.stack.Outputs(ctx)
	if err != nil {
		return err
	}
	values := map[string]any{"AWS_ACCOUNT_ID": i.account.id, "AWS_REGION": i.account.Region}
	roles, _ := outputs["github_role_arns"].(map[string]any)
	for name, arn := range roles {
		values["INGOT_"+strings.ToUpper(name)+"_ROLE"] = arn
	}
	progress.Note(ctx, "the variables of %s that its workflows use:", i.GitHub.Repository)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		progress.Note(ctx, "  gh variable set %s --repo %s --body %v", name, i.GitHub.Repository, values[name])
	}
	return nil
}

// plan plans, prints what would change, and says what that is worth.
func (i *infrastructure) plan(ctx context.Context) error {
	plan, err := i.stack.Plan(ctx)
	if err != nil {
		return err
	}
	if i.forgetful(i.account.Config) {
		progress.Note(ctx, "a plan that begins from nothing: %s", forgetfulRemedy)
	}
	if err := i.summarizePlan(ctx, plan); err != nil {
		return err
	}
	for _, c := range plan.Changes {
		fmt.Fprintln(i.out, c)
	}
	return printLine(i.out, plan.Summary(), nil)
}

// summarizePlan puts a plan on the page of the workflow's run, where there is one.
func (i *infrastructure) summarizePlan(ctx context.Context, plan *terraform.Plan) error {
	if os.Getenv(githubSummary) == "" {
		return nil
	}
	text, err := i.stack.ShowPlan(ctx, plan)
	if err != nil {
		return err
	}
	markdown := plan.Markdown(text)
	if i.forgetful(i.account.Config) {
		markdown += "\n> This plan begins from nothing: " + forgetfulRemedy + ".\n"
	}
	return summarize(markdown)
}

func (i *infrastructure) destroy(ctx context.Context, yes bool) error {
	plan, err := i.stack.PlanDestroy(ctx)
	if err != nil {
		return err
	}
	if !plan.Changed {
		return i.checkKnown(ctx, true)
	}
	if yes {
		return i.stack.Apply(ctx, plan)
	}
	for _, c := range plan.Changes {
		fmt.Fprintln(i.out, c)
	}
	return fmt.Errorf("%s: nothing was removed; to remove it: mage infra:destroy -yes", plan.Summary())
}
