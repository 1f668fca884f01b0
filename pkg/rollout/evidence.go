package rollout

import (
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/ingot-build/ingot/internal/lines"
)

type instanceAPI interface {
	GetConsoleOutput(context.Context, *ec2.GetConsoleOutputInput, ...func(*ec2.Options)) (*ec2.GetConsoleOutputOutput, error)
}

const (
	shownInstances = 3  // that failed; the others are counted
	consoleLines   = 20 // of the end of a console's output
)

// evidence is what is known of the cause of a failure. It is kept as it comes up, since instances do not stay.
type evidence struct {
	gathered bool
	late     bool // instances were not healthy within their warm-up
	lines    []string
	asked    []string // instances that were asked for their consoles
	from     string   // the instance whose console said something
	console  []string
}

// withEvidence adds what is known of the cause to an error.
func (w *watch) withEvidence(ctx context.Context, err error) error {
	w.evidence.gather(ctx, w)
	known := slices.Clone(w.evidence.lines)
	if w.refresh.Status == string(asgtypes.InstanceRefreshStatusRollbackSuccessful) {
		known = append(known, "the release before serves on every instance again")
	}
	return &EvidenceError{Err: err, Evidence: known, Late: w.evidence.late}
}

// gather asks, once, those who know something: Auto Scaling, Options.Explain, and the console of an instance. Who does
// not answer is left out, as the cause of the failure is what matters.
func (e *evidence) gather(ctx context.Context, w *watch) {
	if e.gathered || ctx.Err() != nil {
		return
	}
	e.gathered = true
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	failed := w.cohort.failed()
	for n, id := range failed {
		if n == shownInstances {
			e.lines = append(e.lines, fmt.Sprintf("and %d more instances", len(failed)-n))
			break
		}
		e.lines = append(e.lines, w.cohort.describe(id))
	}
	e.late = slices.ContainsFunc(failed, func(id string) bool { return w.cohort.members[id].late })
	if activities, err := w.activities(ctx); err == nil {
		e.lines = append(e.lines, explainingActivities(activities, failed)...)
	}
	if w.options.Explain != nil && len(failed) > 0 {
		if text := strings.TrimSpace(w.options.Explain(ctx, failed)); text != "" {
			e.lines = append(e.lines, strings.Split(text, "\n")...)
		}
	}
	e.keepConsole(ctx, w)
	if len(e.console) > 0 {
		e.lines = append(e.lines, fmt.Sprintf("the end of the console of %s:", e.from))
		for _, line := range e.console {
			e.lines = append(e.lines, "  "+line)
		}
	}
}

// keepConsole reads the console of the first instance that has failed and whose console says something, while it is
// there.
func (e *evidence) keepConsole(ctx context.Context, w *watch) {
	for _, id := range w.cohort.failed() {
		if len(e.console) > 0 || len(e.asked) == shownInstances {
			return
		}
		if !slices.Contains(e.asked, id) {
			e.asked = append(e.asked, id)
			e.from, e.console = id, w.console(ctx, id)
		}
	}
}

// console returns the end of an instance's console, nothing where there is none.
func (w *watch) console(ctx context.Context, id string) []string {
	in := &ec2.GetConsoleOutputInput{InstanceId: aws.String(id), Latest: aws.Bool(true)}
	out, err := w.instances.GetConsoleOutput(ctx, in)
	if errorCode(err) == "UnsupportedOperation" { // only instances on Nitro have more than the console of their boot
		in.Latest = nil
		out, err = w.instances.GetConsoleOutput(ctx, in)
	}
	if err != nil {
		return nil
	}
	text, err := base64.StdEncoding.DecodeString(aws.ToString(out.Output))
	if err != nil {
		return nil
	}
	return consoleEnd(string(text))
}

// escapes are what colours a terminal or moves its cursor.
var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)

// consoleEnd returns the last lines of a console that say something, without what only a terminal understands.
func consoleEnd(text string) []string {
	text = strings.Map(func(c rune) rune {
		if c < ' ' && c != '\t' && c != '\n' || c == '\x7f' {
			return -1
		}
		return c
	}, escapes.ReplaceAllString(text, ""))
	return lines.LastFunc(text, consoleLines, func(line string) bool { return line != "" })
}

// activities returns the scaling activities since the refresh or the launch began, the newest first.
func (w *watch) activities(ctx context.Context) ([]asgtypes.Activity, error) {
	out, err := w.groups.DescribeScalingActivities(ctx, &autoscaling.DescribeScalingActivitiesInput{
		AutoScalingGroupName: aws.String(w.now.Group), MaxRecords: aws.Int32(100), // a page is as much as AWS gives at once
	})
	if err != nil {
		return nil, fmt.Errorf("describe scaling activities of %q: %w", w.now.Group, err)
	}
	begin := w.begin
	if w.refresh.ID != "" && w.refresh.Begin.Before(begin) {
		begin = w.refresh.Begin
	}
	var all []asgtypes.Activity
	for _, a := range out.Activities {
		if a.StartTime == nil || !a.StartTime.Before(begin.Truncate(1e9)) { // AWS says whole seconds
			all = append(all, a)
		}
	}
	return all, nil
}

// failedLaunches returns the launches that failed since the last one that did not.
func failedLaunches(activities []asgtypes.Activity) []asgtypes.Activity {
	var failed []asgtypes.Activity
	for _, a := range activities {
		if !strings.HasPrefix(aws.ToString(a.Description), "Launching") {
			continue
		}
		switch a.StatusCode {
		case asgtypes.ScalingActivityStatusCodeFailed:
			failed = append(failed, a)
		case asgtypes.ScalingActivityStatusCodeSuccessful:
			return failed
		}
	}
	return failed
}

// explainingActivities returns the newest activity that failed, and the newest that tells why one of the failed
// instances had to go.
func explainingActivities(activities []asgtypes.Activity, failed []string) (told []string) {
	for _, a := range activities {
		if a.StatusCode == asgtypes.ScalingActivityStatusCodeFailed || a.StatusCode == asgtypes.ScalingActivityStatusCodeCancelled {
			told = append(told, fmt.Sprintf("scaling activity: %s: %s", aws.ToString(a.Description), aws.ToString(a.StatusMessage)))
			break
		}
	}
	for _, a := range activities {
		for _, id := range failed {
			if description := aws.ToString(a.Description); strings.HasPrefix(description, "Terminating") && strings.Contains(description, id) {
				return append(told, fmt.Sprintf("scaling activity: %s: %s", description, aws.ToString(a.Cause)))
			}
		}
	}
	return told
}
