//go:build mage

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/smithy-go/middleware"

	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/localcloud"
	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/report"
)

// rolloutRounds is how many releases are rolled out; each takes about a minute.
const rolloutRounds = 3

// packerPhase is how a report calls the time that Packer takes.
const packerPhase = "build with Packer"

// split is where the time of a release went, and the calls that it made itself.
type split struct {
	packer, refresh, deployment, total time.Duration
	calls                              map[string]int // by service and operation
}

func (s split) ours() time.Duration { return s.total - s.packer - s.refresh - s.deployment }

// callCounter counts the calls of AWS clients, by service and operation.
type callCounter struct {
	mu    sync.Mutex
	calls map[string]int
}

// take returns what was counted, and begins anew.
func (n *callCounter) take() map[string]int {
	n.mu.Lock()
	defer n.mu.Unlock()
	counted := n.calls
	n.calls = map[string]int{}
	return counted
}

// count is an option of AWS clients that has their calls counted; a call that is tried again is one.
func (n *callCounter) count(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("count", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
		n.mu.Lock()
		n.calls[awsmiddleware.GetServiceID(ctx)+" "+awsmiddleware.GetOperationName(ctx)]++
		n.mu.Unlock()
		return next.HandleInitialize(ctx, in)
	}), middleware.After)
}

// benchRollout rolls releases out on a local cloud of its own, and splits their time.
func (c *chores) benchRollout(ctx context.Context) (text string, err error) {
	stage := progress.Start(ctx, "measure rollouts")
	defer stage.End(&err)
	b, err := c.newBenchCloud(ctx, stage)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, b.end(context.WithoutCancel(ctx))) }()
	var rounds []split
	for n := range rolloutRounds {
		stage.Update("release %d of %d", n+1, rolloutRounds)
		s, err := b.release(ctx, n+1)
		if err != nil {
			return "", err
		}
		rounds = append(rounds, s)
	}
	return rolloutSection(rounds), nil
}

// benchCloud is a copy of the repository, with a local cloud of its own that a release has been rehearsed in.
type benchCloud struct {
	dir     string
	app     string
	service config.Service
	cfg     aws.Config
	line    *pipeline.Pipeline
	counter callCounter
	target  func(ctx context.Context, args ...string) error // runs a mage target in the copy
	end     func(ctx context.Context) error                 // removes copy and cloud
}

func (c *chores) newBenchCloud(ctx context.Context, stage *progress.Stage) (b *benchCloud, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "ingot-bench-")
	if err != nil {
		return nil, err
	}
	b = &benchCloud{dir: dir, app: c.App, service: *c.Service, counter: callCounter{calls: map[string]int{}}}
	b.target = func(ctx context.Context, args ...string) error {
		var stderr bytes.Buffer
		if _, err := command.Output(ctx, c.runner, command.Cmd{Path: self, Args: args, Dir: dir, Stderr: &stderr}); err != nil {
			return fmt.Errorf("%w\n%s", err, stderr.String())
		}
		return nil
	}
	b.end = func(ctx context.Context) error {
		return errors.Join(b.target(ctx, "local:down", "-purge"), os.RemoveAll(dir))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.end(context.WithoutCancel(ctx)))
		}
	}()
	copied := "git ls-files -co --exclude-standard -z | tar -c --null --ignore-failed-read -T - | tar -C \"$0\" -x && git -C \"$0\" init --quiet"
	if err := c.runner.Run(ctx, command.Cmd{Path: "sh", Args: []string{"-c", copied, dir}, Dir: c.Root}); err != nil {
		return nil, err
	}
	stage.Update("rehearse")
	if err := b.target(ctx, "rehearse"); err != nil {
		return nil, err
	}
	cloud, err := localcloud.Start(ctx, localcloud.Options{ // it runs: this finds out how to connect
		StateDir: filepath.Join(dir, folder, "local"), Region: cmp.Or(c.Region, config.DefaultRegion), Command: []string{self, "local:serve"},
	})
	if err != nil {
		return nil, err
	}
	if err := cloud.Setenv(); err != nil {
		return nil, err
	}
	b.cfg, err = awsconfig.LoadDefaultConfig(ctx, awsconfig.WithAPIOptions([]func(*middleware.Stack) error{b.counter.count}))
	if err != nil {
		return nil, err
	}
	b.line = pipeline.NewFromConfig(b.cfg, pipeline.Settings{App: c.App, Root: dir, Service: pipeline.Service{Port: c.Service.Port, Health: c.Service.Health}})
	return b, nil
}

// change makes another release of the copy.
func (b *benchCloud) change(n int) error {
	text := fmt.Sprintf("package main\n\n// Release %d of the benchmark.\n", n)
	return os.WriteFile(filepath.Join(b.dir, b.service.Source, "bench.go"), []byte(text), 0o644)
}

// release changes the service, releases it, and tells where the time went.
func (b *benchCloud) release(ctx context.Context, n int) (s split, err error) {
	if err := b.change(n); err != nil {
		return s, err
	}
	b.counter.take()
	begin := time.Now()
	result, err := b.line.Release(ctx, pipeline.ReleaseOptions{})
	if err != nil {
		return s, err
	}
	s = split{total: time.Since(begin), calls: b.counter.take()}
	return s, s.read(ctx, b.app, result.Report, b.cfg, b.line)
}

// read fills in what others took: Packer says our report, the refresh EC2 Auto Scaling, the deployment CodeDeploy.
func (s *split) read(ctx context.Context, app string, r *report.Report, cfg aws.Config, line *pipeline.Pipeline) error {
	for _, phase := range r.Phases {
		if phase.Name == packerPhase {
			s.packer += time.Duration(phase.Seconds * float64(time.Second))
		}
	}
	refreshes, err := autoscaling.NewFromConfig(cfg).DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: &app})
	if err != nil {
		return err
	}
	if len(refreshes.InstanceRefreshes) == 0 {
		return errors.New("there has been no instance refresh")
	}
	newest := refreshes.InstanceRefreshes[0]
	s.refresh = aws.ToTime(newest.EndTime).Sub(aws.ToTime(newest.StartTime))
	deployments, err := line.Deployments(ctx)
	if err != nil {
		return err
	}
	for _, d := range deployments {
		if d.Description == "release "+r.Release {
			s.deployment = d.End.Sub(d.Begin)
		}
	}
	return nil
}

// rolloutSection is the page's section.
func rolloutSection(rounds []split) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Made by `go tool mage bench -only=rollout`: what `prod` does, on a local cloud, after a change of the service, with two\n"+
		"instances and the settings that Ingot comes with. Goal: what is neither Packer nor AWS takes at most 5 %% of the time.\n\n"+
		"| release | Packer | instance refresh | deployment | everything of ours | in total | ours |\n|---|---|---|---|---|---|---|\n")
	for n, s := range rounds {
		fmt.Fprintf(&text, "| %d | %.1f s | %.1f s | %.1f s | %.1f s | %.1f s | %.1f %% |\n", n+1, s.packer.Seconds(), s.refresh.Seconds(),
			s.deployment.Seconds(), s.ours().Seconds(), s.total.Seconds(), 100*s.ours().Seconds()/s.total.Seconds())
	}
	text.WriteString("\nThe calls of each release, apart from Packer's. How many there are depends on how long it takes and not on the number\n" +
		"of instances, which `TestCalls` of `pkg/rollout` holds for up to 1,000 of them:\n\n")
	text.WriteString(callTable(rounds))
	return text.String()
}

// callTable has a row for each operation and a column for each release.
func callTable(rounds []split) string {
	operations := map[string]bool{}
	head, rule := "| call |", "|---|"
	for n, s := range rounds {
		head, rule = head+fmt.Sprintf(" release %d |", n+1), rule+"--:|"
		for operation := range s.calls {
			operations[operation] = true
		}
	}
	rows := []string{head, rule}
	totals := make([]int, len(rounds))
	for _, operation := range slices.Sorted(maps.Keys(operations)) {
		row := "| " + operation + " |"
		for n, s := range rounds {
			row += fmt.Sprintf(" %d |", s.calls[operation])
			totals[n] += s.calls[operation]
		}
		rows = append(rows, row)
	}
	total := "| all |"
	for _, n := range totals {
		total += fmt.Sprintf(" %d |", n)
	}
	return strings.Join(append(rows, total), "\n") + "\n"
}
