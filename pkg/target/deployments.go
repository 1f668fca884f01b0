package target

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	awscodedeploy "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ingot-build/ingot/pkg/codedeploy"
)

// Deployments lists the newest CodeDeploy deployments.
//
// Those of releases over the fleet, and those that a newly launched instance had to pass before it served; of a failure the
// event, the script and the end of its output. Changes nothing.
func Deployments(ctx context.Context,
	json *bool, // print JSON
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		a, err := p.account(ctx)
		if err != nil {
			return err
		}
		deployments, err := p.codeDeploy(a).Deployments(ctx)
		if err != nil {
			return err
		}
		return show(p, json, deployments, p.printDeployments)
	})
}

func (p *project) codeDeploy(a account) *codedeploy.Client {
	api := awscodedeploy.NewFromConfig(a.Config)
	return codedeploy.New(codedeploy.Clients{
		API: api, Groups: api,
		Hooks:      autoscaling.NewFromConfig(a.Config),
		Objects:    s3.NewFromConfig(a.Config),
		Parameters: ssm.NewFromConfig(a.Config),
	}, p.App)
}

// agentSource is the URL of the bucket that AWS serves the CodeDeploy agent of a region from. It is empty where no agent
// belongs into an image: without CodeDeploy, and where another API than AWS's is spoken to, as the agent obeys AWS alone.
func (p *project) agentSource(region, endpoint string) string {
	if !p.CodeDeploy.Enabled || endpoint != "" {
		return ""
	}
	domain := "amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain += ".cn"
	}
	return fmt.Sprintf("https://aws-codedeploy-%s.s3.%s.%s", region, region, domain)
}

const (
	// failureLines is how much of a script's output a listing shows of each failure.
	failureLines = 5

	// failureInstances is of how many instances: on the others the same fails, as a rule. With -json there are all.
	failureInstances = 3
)

func (p *project) printDeployments(deployments []codedeploy.Deployment) error {
	t := p.table()
	fmt.Fprintln(t, "DEPLOYMENT\tSTATUS\tBY\tBEGAN\tTOOK\tFOR")
	for _, d := range deployments {
		took := ""
		if !d.End.IsZero() {
			took = d.End.Sub(d.Begin).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, d.Status, d.Creator, d.Begin.UTC().Format(time.DateTime), took, d.Description)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, d := range deployments {
		if d.Code == "" && len(d.Failures) == 0 {
			continue
		}
		fmt.Fprintf(p.out, "\n%s: %s\n", d.ID, strings.Trim(d.Code+": "+d.Message, ": "))
		for i, f := range d.Failures {
			if i == failureInstances {
				fmt.Fprintf(p.out, "  and %d more\n", len(d.Failures)-i)
				break
			}
			fmt.Fprintf(p.out, "  %s\n", f.Summary())
			for _, line := range f.LastLines(failureLines) {
				fmt.Fprintf(p.out, "    %s\n", line)
			}
		}
	}
	return nil
}
