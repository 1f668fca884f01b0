package targets

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/tag"
)

// Base bakes the base AMI, or finds the one these inputs made.
//
// Prints its ID. Runs an instance for some minutes; needs permission to run instances and to create images. After a kill
// it goes on from what is there, and removes the rest.
func Base(ctx context.Context,
	json *bool, // print JSON
) error {
	return runPipeline(ctx, func(ctx context.Context, p *project, line *pipeline.Pipeline) error {
		image, err := line.BakeBase(ctx)
		if err != nil {
			return err
		}
		return show(p.out, json, baked(image), printImage)
	})
}

// App bakes the application AMI, or finds the one these inputs made.
//
// Prints its ID. Bakes the base AMI first where it is missing or out of date. Rolls nothing out: that is for prod.
func App(ctx context.Context,
	json *bool, // print JSON
) error {
	return runPipeline(ctx, func(ctx context.Context, p *project, line *pipeline.Pipeline) error {
		image, err := line.BakeApp(ctx)
		if err != nil {
			return err
		}
		return errors.Join(show(p.out, json, baked(image), printImage), setOutput("image", image.ID))
	})
}

// bakedImage is an image as base and app show it.
type bakedImage struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	Stage       string    `json:"stage"`
	Release     string    `json:"release,omitempty"` // of an application AMI
	Commit      string    `json:"commit,omitempty"`
	Parent      string    `json:"parent"`
	Fingerprint string    `json:"fingerprint"`
	Created     time.Time `json:"created"`
}

func baked(i ami.Image) bakedImage {
	return bakedImage{
		ID: i.ID, Name: i.Name, Stage: string(i.Stage()), Release: i.Tags[tag.Release], Commit: i.Tags[tag.Commit],
		Parent: i.Tags[tag.Parent], Fingerprint: i.Tags[tag.Fingerprint], Created: i.Created,
	}
}

func printImage(w io.Writer, i bakedImage) error { return printLine(w, i.ID, nil) }
