package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"

	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/localcloud"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/report"
)

// rolloutRounds is how many releases are rolled out; each takes about a minute.
const rolloutRounds = 3

// packerPhase is how a report calls the time that Packer takes.
const packerPhase = "build with Packer"

// split is where the time of a release went.
type split struct{ packer, refresh, deployment, total time.Duration }

func (s split) ours() time.Duration { return s.total - s.packer - s.refresh - s.deployment }

// benchRollout rolls releases out on a local cloud of its own, and splits their time.
func (p *project) benchRollout(ctx context.Context) (text string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "ingot-bench-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	copied := "git ls-files -co --exclude-standard -z | tar -c --null --ignore-failed-read -T - | tar -C \"$0\" -x && git -C \"$0\" init --quiet"
	if err := p.runner.Run(ctx, command.Cmd{Path: "sh", Args: []string{"-c", copied, dir}, Dir: p.Root}); err != nil {
		return "", err
	}
	target := func(ctx context.Context, args ...string) (string, error) {
		var stderr bytes.Buffer
		out, err := command.Output(ctx, p.runner, command.Cmd{Path: self, Args: args, Dir: dir, Stderr: &stderr})
		if err != nil {
			return "", fmt.Errorf("%w\n%s", err, stderr.String())
		}
		return out, nil
	}
	defer func() {
		_, purged := target(context.WithoutCancel(ctx), "local:down", "-purge")
		err = errors.Join(err, purged)
	}()
	stage := progress.Start(ctx, "measure rollouts")
	defer stage.End(&err)
	stage.Update("rehearse")
	if _, err := target(ctx, "rehearse"); err != nil {
		return "", err
	}
	at := p.localOptions()
	at.StateDir, at.Command = filepath.Join(dir, folder, "local"), []string{self, "local:serve"}
	cloud, err := localcloud.Start(ctx, at) // it runs: this finds out how to connect
	if err != nil {
		return "", err
	}
	groups := autoscaling.New(autoscaling.Options{
		Region: cloud.Region, BaseEndpoint: &cloud.Endpoint,
		Credentials: credentials.NewStaticCredentialsProvider(cloud.AccessKeyID, cloud.SecretAccessKey, ""),
	})
	var rounds []split
	for n := range rolloutRounds {
		stage.Update("release %d of %d", n+1, rolloutRounds)
		change := fmt.Sprintf("package main\n\n// Release %d of the benchmark.\n", n+1)
		if err := os.WriteFile(filepath.Join(dir, p.Service.Source, "bench.go"), []byte(change), 0o644); err != nil {
			return "", err
		}
		begin := time.Now()
		if _, err := target(ctx, "local", "prod"); err != nil {
			return "", err
		}
		s := split{total: time.Since(begin)}
		if err := s.read(ctx, dir, p.App, groups, target); err != nil {
			return "", err
		}
		rounds = append(rounds, s)
	}
	calls, err := p.benchCalls(ctx)
	if err != nil {
		return "", err
	}
	return rolloutSection(rounds, calls), nil
}

// read fills in what others took: Packer says our report, the refresh EC2 Auto Scaling, the deployment CodeDeploy.
func (s *split) read(ctx context.Context, dir, app string, groups *autoscaling.Client, target func(context.Context, ...string) (string, error)) error {
	files, err := filepath.Glob(filepath.Join(dir, reports, "*", "*.json"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no report in %s: %w", dir, err)
	}
	data, err := os.ReadFile(files[len(files)-1]) // names sort by time
	if err != nil {
		return err
	}
	var r report.Report
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	for _, phase := range r.Phases {
		if phase.Name == packerPhase {
			s.packer += time.Duration(phase.Seconds * float64(time.Second))
		}
	}
	refreshes, err := groups.DescribeInstanceRefreshes(ctx, &autoscaling.DescribeInstanceRefreshesInput{AutoScalingGroupName: &app})
	if err != nil {
		return err
	}
	if len(refreshes.InstanceRefreshes) == 0 {
		return errors.New("there has been no instance refresh")
	}
	newest := refreshes.InstanceRefreshes[0]
	s.refresh = aws.ToTime(newest.EndTime).Sub(aws.ToTime(newest.StartTime))
	out, err := target(ctx, "local", "deployments", "-json")
	if err != nil {
		return err
	}
	var deployments []codedeploy.Deployment
	if err := json.Unmarshal([]byte(out), &deployments); err != nil {
		return err
	}
	for _, d := range deployments {
		if d.Description == "release "+r.Release {
			s.deployment = d.End.Sub(d.Begin)
		}
	}
	return nil
}

// benchCalls has the test that counts calls say what it counted.
func (p *project) benchCalls(ctx context.Context) ([]string, error) {
	out, err := command.Output(ctx, p.runner, command.Cmd{
		Path: "go", Args: []string{"test", "-count=1", "-v", "-run=^TestCalls$", "./pkg/rollout"}, Dir: p.Root,
	})
	if err != nil {
		return nil, fmt.Errorf("count calls: %w", err)
	}
	var counted []string
	for _, m := range regexp.MustCompile(`: (\d+ instances: .*)`).FindAllStringSubmatch(out, -1) {
		counted = append(counted, m[1])
	}
	if len(counted) == 0 {
		return nil, errors.New("count calls: the test says nothing")
	}
	return counted, nil
}

// rolloutSection is the page's section.
func rolloutSection(rounds []split, calls []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Made by `go tool mage bench -only=rollout`: `prod` on a local cloud, after a change of the service, with two instances and\n"+
		"the settings that Ingot comes with. Goal: what is neither Packer nor AWS takes at most 5 %% of the time.\n\n"+
		"| release | Packer | instance refresh | deployment | everything of ours | in total | ours |\n|---|---|---|---|---|---|---|\n")
	for n, s := range rounds {
		fmt.Fprintf(&text, "| %d | %.1f s | %.1f s | %.1f s | %.1f s | %.1f s | %.1f %% |\n", n+1, s.packer.Seconds(), s.refresh.Seconds(),
			s.deployment.Seconds(), s.ours().Seconds(), s.total.Seconds(), 100*s.ours().Seconds()/s.total.Seconds())
	}
	text.WriteString("\nThe calls of a rollout of ten minutes, counted by `TestCalls` of `pkg/rollout`; one look is three calls:\n\n")
	for _, line := range calls {
		fmt.Fprintf(&text, "- %s\n", line)
	}
	return text.String()
}
