package targets

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"os/user"
	"strings"

	"github.com/magefile/mage/mg"

	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/rollout"
)

// Exit codes of their own, for scripts; README.md lists them.
const (
	disagreement = 3 // of status: something is not as the current release says; of doctor: something would stop a release
	notRecorded  = 4 // the release serves and is the current one, but its CodeDeploy deployment failed
)

// Prod bakes the application AMI and rolls it out.
//
// Prints the URL, of a worker the release. Bakes the base AMI first where it is missing or out of date; replaces every instance of the Auto
// Scaling group; needs infra:apply before. Exits with 4 where the release serves but its CodeDeploy deployment failed.
func Prod(ctx context.Context,
	image *string, // roll out this AMI, which "app" baked, and bake nothing
	wait *bool, // queue behind a rollout that is under way
	cancelOnInterrupt *bool, // on a signal go back, instead of leaving the rollout to AWS
	json *bool, // print JSON
) error {
	return runPipeline(ctx, func(ctx context.Context, p *project, line *pipeline.Pipeline) error {
		result, err := line.Release(ctx, pipeline.ReleaseOptions{Image: value(image), Wait: value(wait), CancelOnInterrupt: value(cancelOnInterrupt)})
		if err = errors.Join(err, summarizeReport(result)); err != nil {
			return err
		}
		return errors.Join(show(p.out, json, result, printWhere), setOutput("url", result.URL))
	})
}

// Rollback rolls the release before the current one out again.
//
// Prints the URL. Replaces every instance; "mage releases" lists what there is to go back to. Exits with 4 where the
// release serves but its CodeDeploy deployment failed.
func Rollback(ctx context.Context,
	to *string, // the release to go back to
	json *bool, // print JSON
) error {
	return runPipeline(ctx, func(ctx context.Context, p *project, line *pipeline.Pipeline) error {
		result, err := line.Rollback(ctx, value(to))
		if err := errors.Join(err, summarizeReport(result)); err != nil {
			return err
		}
		return show(p.out, json, result, printWhere)
	})
}

// Url prints the URL of the load balancer.
func Url(ctx context.Context, //nolint:revive // mage makes "url" of it
	json *bool, // print JSON
) error {
	return runPipeline(ctx, func(ctx context.Context, p *project, line *pipeline.Pipeline) error {
		fleet, err := line.Fleet(ctx)
		if err == nil && fleet.URL == "" {
			err = errors.New("a worker has no URL: service { port = 0 }")
		}
		if err != nil {
			return err
		}
		return show(p.out, json, serving{fleet.URL}, func(w io.Writer, s serving) error { return printLine(w, s.URL, nil) })
	})
}

// serving is where a service answers.
type serving struct {
	URL string `json:"url"`
}

// printWhere prints the URL at which a release serves, or its name where it serves at none.
func printWhere(w io.Writer, r pipeline.Result) error {
	return printLine(w, cmp.Or(r.URL, r.Release.Name), nil)
}

// Status shows the release that is live and the fleet.
//
// Changes nothing. Exits with 3 where release pointer, launch template, group and instances disagree.
func Status(ctx context.Context,
	json *bool, // print JSON
) error {
	return runPipeline(ctx, func(ctx context.Context, p *project, line *pipeline.Pipeline) error {
		s, err := line.Status(ctx)
		if err != nil {
			return err
		}
		return cmp.Or(show(p.out, json, s, printStatus), agreement(s))
	})
}

// Releases lists the release history, the current one first.
//
// Changes nothing.
func Releases(ctx context.Context,
	json *bool, // print JSON
) error {
	return runPipeline(ctx, func(ctx context.Context, p *project, line *pipeline.Pipeline) error {
		releases, err := line.Releases(ctx)
		if err != nil {
			return err
		}
		return show(p.out, json, releases, printReleases)
	})
}

// agreement is an error, and an exit code of its own, where a status has disagreements.
func agreement(s rollout.Status) error {
	if len(s.Disagreements) == 0 {
		return nil
	}
	var lines []string
	for _, d := range s.Disagreements {
		line := "  " + d.String()
		if d.Subject == rollout.PointerSubject {
			line += ": mage prod"
		}
		lines = append(lines, line)
	}
	return mg.Fatal(disagreement, "not everything is as it should be; mage prod or mage rollback sets it right:\n"+strings.Join(lines, "\n"))
}

// summarizeReport puts the report of a rollout onto the page of the workflow's run.
func summarizeReport(r pipeline.Result) error {
	if r.Report == nil {
		return nil
	}
	return summarize(r.Report.Markdown())
}

// author is who runs this: the run of a workflow, or a person.
func author() string {
	if run := workflowRun(); run != "" {
		return run
	}
	host, _ := os.Hostname()
	if who, err := user.Current(); err == nil {
		return who.Username + "@" + host
	}
	return host
}

// rolloutOptions are what the settings say of a rollout.
func (p *project) rolloutOptions() rollout.Options {
	r := p.Rollout
	return rollout.Options{
		Domain: p.Fleet.Domain, Min: p.Fleet.Min, By: author(),
		MinHealthy: &r.MinHealthy, MaxHealthy: r.MaxHealthy, Warmup: &r.Warmup,
		Checkpoints: r.Checkpoints, CheckpointDelay: &r.CheckpointDelay, BakeTime: r.BakeTime, Alarms: r.Alarms,
		ReplaceMatching: !r.SkipMatching, Standby: r.Standby, Protected: r.Protected,
		VerifyPath: p.Verify.Path, VerifyStatuses: p.Verify.Statuses(),
	}
}
