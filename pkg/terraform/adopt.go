package terraform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy"
	deploytypes "github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"

	"github.com/ingot-build/ingot/pkg/tag"
)

// Existing is something that there is already under a name that a plan would give to a new resource: an Apply that was killed made it and
// could not write it down any more, or it is somebody else's.
type Existing struct {
	Address string // of the resource in the configuration
	ID      string // by which Terraform imports it
	What    string // in words: load balancer "hello"
	Ours    bool   // it has the application's tag
}

// TakenError says which names are somebody else's. Nothing was made.
type TakenError struct {
	App      string
	Existing []Existing
}

// Error names all of them.
func (e *TakenError) Error() string {
	var taken []string
	for _, x := range e.Existing {
		taken = append(taken, x.What)
	}
	return fmt.Sprintf("the stack of %q would have names that are taken, by what has no tag %s=%s: %s", e.App, tag.App, e.App, strings.Join(taken, ", "))
}

// FindExisting looks for what a plan would make and what is there already, of all resources whose names the configuration chooses and
// AWS has only once in an account. The error is a *TakenError where any of it is somebody else's.
func FindExisting(ctx context.Context, cfg aws.Config, account, app string, plan *Plan) ([]Existing, error) {
	f := lookupOf(cfg, account, app)
	var all, foreign []Existing
	for _, c := range plan.Changes {
		look := f.look(c.Address)
		inNewVPC := strings.HasPrefix(c.Address, "aws_security_group.") && plan.Creates("aws_vpc.app") // where no name is taken
		if c.Action != Create || look == nil || inNewVPC {
			continue
		}
		x, err := look(ctx)
		if notFound(err) || err == nil && x.ID == "" {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for what %s would make: %w", c.Address, err)
		}
		x.Address = c.Address
		all = append(all, x)
		if !x.Ours {
			foreign = append(foreign, x)
		}
	}
	if len(foreign) > 0 {
		return nil, &TakenError{App: app, Existing: foreign}
	}
	return all, nil
}

// adoptFile holds the import blocks, beside the copy of the configuration.
const adoptFile = "ingot_adopt.tf"

// Adopt has the next plan take what exists into the state, instead of making it. Init forgets it again.
func (s *Stack) Adopt(existing []Existing) error {
	var text strings.Builder
	for _, x := range existing {
		fmt.Fprintf(&text, "import {\n  to = %s\n  id = %q\n}\n", x.Address, x.ID)
	}
	return os.WriteFile(filepath.Join(s.workDir(), adoptFile), []byte(text.String()), 0o600)
}

// lookup asks AWS.
type lookup struct {
	app       string
	deployARN string // how those of CodeDeploy begin in this account
	balancers *elb.Client
	groups    *autoscaling.Client
	ec2       *ec2.Client
	deploy    *codedeploy.Client
	ssm       *ssm.Client
}

func lookupOf(cfg aws.Config, account, app string) lookup {
	return lookup{
		app: app, deployARN: fmt.Sprintf("arn:%s:codedeploy:%s:%s:", partition(cfg.Region), cfg.Region, account), balancers: elb.NewFromConfig(cfg), groups: autoscaling.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg),
		deploy: codedeploy.NewFromConfig(cfg), ssm: ssm.NewFromConfig(cfg),
	}
}

// look is how to look for a resource by its address in the configuration; nil where its name is none that can be taken.
func (l lookup) look(address string) func(context.Context) (Existing, error) {
	resource, _, _ := strings.Cut(address, "[")
	return map[string]func(context.Context) (Existing, error){
		"aws_lb.app":                          l.balancer,
		"aws_launch_template.app":             l.template,
		"aws_autoscaling_group.app":           l.group,
		"aws_codedeploy_app.app":              l.application,
		"aws_codedeploy_deployment_group.app": l.deploymentGroup,
		"aws_ssm_parameter.revisions":         l.parameter,
		"aws_security_group.instance":         l.securityGroup("-instance"),
		"aws_security_group.load_balancer":    l.securityGroup("-load-balancer"),
	}[resource]
}

// notFound tells what AWS's services say of what is not there.
func notFound(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains([]string{
		"LoadBalancerNotFound", "InvalidLaunchTemplateName.NotFoundException", "ApplicationDoesNotExistException", "DeploymentGroupDoesNotExistException", "ParameterNotFound",
	}, e.ErrorCode())
}

func (l lookup) balancer(ctx context.Context) (Existing, error) {
	out, err := l.balancers.DescribeLoadBalancers(ctx, &elb.DescribeLoadBalancersInput{Names: []string{l.app}})
	if err != nil || len(out.LoadBalancers) == 0 {
		return Existing{}, err
	}
	arn := aws.ToString(out.LoadBalancers[0].LoadBalancerArn)
	x := Existing{ID: arn, What: fmt.Sprintf("load balancer %q", l.app)}
	tags, err := l.balancers.DescribeTags(ctx, &elb.DescribeTagsInput{ResourceArns: []string{arn}})
	if err != nil {
		return Existing{}, err
	}
	for _, of := range tags.TagDescriptions {
		for _, t := range of.Tags {
			x.Ours = x.Ours || l.isOurs(t.Key, t.Value)
		}
	}
	return x, nil
}

func (l lookup) template(ctx context.Context) (Existing, error) {
	out, err := l.ec2.DescribeLaunchTemplates(ctx, &ec2.DescribeLaunchTemplatesInput{LaunchTemplateNames: []string{l.app}})
	if err != nil || len(out.LaunchTemplates) == 0 {
		return Existing{}, err
	}
	t := out.LaunchTemplates[0]
	return Existing{ID: aws.ToString(t.LaunchTemplateId), What: fmt.Sprintf("launch template %q", l.app), Ours: l.areOurs(t.Tags)}, nil
}

func (l lookup) group(ctx context.Context) (Existing, error) {
	out, err := l.groups.DescribeAutoScalingGroups(ctx, &autoscaling.DescribeAutoScalingGroupsInput{AutoScalingGroupNames: []string{l.app}})
	if err != nil || len(out.AutoScalingGroups) == 0 {
		return Existing{}, err
	}
	ours := slices.ContainsFunc(out.AutoScalingGroups[0].Tags, func(t asgtypes.TagDescription) bool { return l.isOurs(t.Key, t.Value) })
	return Existing{ID: l.app, What: fmt.Sprintf("Auto Scaling group %q", l.app), Ours: ours}, nil
}

// securityGroup looks for one in any VPC: one of ours is in ours, and another's name is its own affair.
func (l lookup) securityGroup(suffix string) func(context.Context) (Existing, error) {
	return func(ctx context.Context) (Existing, error) {
		name := l.app + suffix
		out, err := l.ec2.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{
			{Name: aws.String("group-name"), Values: []string{name}}, {Name: aws.String("tag:" + tag.App), Values: []string{l.app}},
		}})
		if err != nil || len(out.SecurityGroups) != 1 {
			return Existing{}, err
		}
		return Existing{ID: aws.ToString(out.SecurityGroups[0].GroupId), What: fmt.Sprintf("security group %q", name), Ours: true}, nil
	}
}

func (l lookup) application(ctx context.Context) (Existing, error) {
	out, err := l.deploy.GetApplication(ctx, &codedeploy.GetApplicationInput{ApplicationName: aws.String(l.app)})
	if err != nil {
		return Existing{}, err
	}
	ours, err := l.deployTags(ctx, "application:"+l.app)
	return Existing{ID: aws.ToString(out.Application.ApplicationName), What: fmt.Sprintf("CodeDeploy application %q", l.app), Ours: ours}, err
}

func (l lookup) deploymentGroup(ctx context.Context) (Existing, error) {
	_, err := l.deploy.GetDeploymentGroup(ctx, &codedeploy.GetDeploymentGroupInput{ApplicationName: aws.String(l.app), DeploymentGroupName: aws.String(l.app)})
	if err != nil {
		return Existing{}, err
	}
	ours, err := l.deployTags(ctx, "deploymentgroup:"+l.app+"/"+l.app)
	return Existing{ID: l.app + ":" + l.app, What: fmt.Sprintf("CodeDeploy deployment group %q", l.app), Ours: ours}, err
}

// deployTags tells whether something of CodeDeploy's has the application's tag.
func (l lookup) deployTags(ctx context.Context, resource string) (ours bool, err error) {
	out, err := l.deploy.ListTagsForResource(ctx, &codedeploy.ListTagsForResourceInput{ResourceArn: aws.String(l.deployARN + resource)})
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(out.Tags, func(t deploytypes.Tag) bool { return l.isOurs(t.Key, t.Value) }), nil
}

func (l lookup) parameter(ctx context.Context) (Existing, error) {
	name := "/ingot/" + l.app + "/revisions"
	if _, err := l.ssm.GetParameter(ctx, &ssm.GetParameterInput{Name: &name}); err != nil {
		return Existing{}, err
	}
	x := Existing{ID: name, What: fmt.Sprintf("parameter %q", name)}
	out, err := l.ssm.ListTagsForResource(ctx, &ssm.ListTagsForResourceInput{ResourceType: ssmtypes.ResourceTypeForTaggingParameter, ResourceId: &name})
	if err != nil {
		return Existing{}, err
	}
	for _, t := range out.TagList {
		x.Ours = x.Ours || l.isOurs(t.Key, t.Value)
	}
	return x, nil
}

func (l lookup) isOurs(key, value *string) bool {
	return aws.ToString(key) == tag.App && aws.ToString(value) == l.app
}

func (l lookup) areOurs(tags []ec2types.Tag) bool {
	return slices.ContainsFunc(tags, func(t ec2types.Tag) bool { return l.isOurs(t.Key, t.Value) })
}
