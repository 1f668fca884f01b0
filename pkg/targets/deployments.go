package targets

import (
	"context"

	"github.com/ingot-build/ingot/pkg/pipeline"
)

// Deployments lists the newest CodeDeploy deployments.
//
// Those of releases over the fleet, and those that a newly launched instance had to pass before it served; of a failure the
// event, the script and the end of its output. Changes nothing.
func Deployments(ctx context.Context,
	json *bool, // print JSON
) error {
	return runPipeline(ctx, func(ctx context.Context, p *project, line *pipeline.Pipeline) error {
		deployments, err := line.Deployments(ctx)
		if err != nil {
			return err
		}
		return show(p.out, json, deployments, printDeployments)
	})
}
