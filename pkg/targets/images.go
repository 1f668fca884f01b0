package targets

import (
	"context"

	"github.com/ingot-build/ingot/pkg/pipeline"
)

// Base bakes the base AMI, or finds the one these inputs made.
//
// Prints its ID. Runs an instance for some minutes; needs permission to run instances and to create images. After a kill
// it goes on from what is there, and removes the rest.
func Base(ctx context.Context) error {
	return runPipeline(ctx, func(ctx context.Context, p *project, line *pipeline.Pipeline) error {
		image, err := line.BakeBase(ctx)
		return printLine(p.out, image.ID, err)
	})
}

// App bakes the application AMI, or finds the one these inputs made.
//
// Prints its ID. Bakes the base AMI first where it is missing or out of date. Rolls nothing out: that is for prod.
func App(ctx context.Context) error {
	return runPipeline(ctx, func(ctx context.Context, p *project, line *pipeline.Pipeline) error {
		image, err := line.BakeApp(ctx)
		if err != nil {
			return err
		}
		return printLine(p.out, image.ID, setOutput("image", image.ID))
	})
}
