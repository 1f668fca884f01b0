//go:build mage

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ingot-build/ingot/internal/lines"
	"github.com/ingot-build/ingot/internal/testrun"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/localcloud"
	"github.com/ingot-build/ingot/pkg/progress"
)

// Test runs every test: first the quick ones, then those with real tools.
//
// The latter start machines with Docker and clean up after themselves. Prints what fails, every test that is skipped, and where
// the time went. Fails where the local cloud has an operation that pkg/localcloud/testdata/calls.txt lists and nothing called.
func Test(ctx context.Context,
	unit *bool, // only the tests that need neither Docker nor a network
	calls *bool, // write that list anew
) error {
	return run(ctx, func(ctx context.Context, c *chores) error {
		var took timings
		err := c.test(ctx, &took, unit != nil && *unit, calls != nil && *calls)
		return errors.Join(err, took.print(os.Stdout))
	})
}

func (c *chores) test(ctx context.Context, took *timings, unit, writeCalls bool) (err error) {
	if unit {
		return c.unitTests(ctx, took)
	}
	if err := c.needForTests(ctx); err != nil {
		return err
	}
	tests, err := testrun.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tests.End(context.WithoutCancel(ctx))) }()
	// Making the machine image is mostly waiting, and the compiler has the processors.
	both, bothCtx := errgroup.WithContext(ctx)
	both.Go(func() error { return tests.Prepare(bothCtx) })
	both.Go(func() error { return c.unitTests(bothCtx, took) })
	if err := both.Wait(); err != nil {
		return err
	}
	calls, err := os.MkdirTemp("", "ingot-calls-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(calls)
	if err := c.integrationTests(ctx, took, tests.Env(), localcloud.CallsVariable+"="+calls); err != nil {
		return err
	}
	return c.checkCalls(ctx, calls, writeCalls)
}

// needForTests installs what tests call beside what setup gets.
func (c *chores) needForTests(ctx context.Context) error {
	needs := [][]string{{"awscli", "aws"}, {"mmdebstrap", "mmdebstrap"}}
	if os.Getenv("CI") == "true" { // it is large, and one test skips without it
		needs = append(needs, append([]string{"chromium"}, browsers...))
	}
	for _, n := range needs {
		if err := c.need(ctx, n[0], n[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// checkCalls compares the operations that clouds recorded in a folder with the list in the repository, or writes that anew.
func (c *chores) checkCalls(ctx context.Context, folder string, write bool) error {
	recorded, err := localcloud.RecordedCalls(folder)
	if err != nil {
		return err
	}
	path := c.path("pkg", "localcloud", "testdata", "calls.txt")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, list := splitCalls(string(data))
	if write {
		return os.WriteFile(path, []byte(head+strings.Join(recorded, "\n")+"\n"), 0o644)
	}
	missing, unused := localcloud.CompareCalls(list, recorded)
	const anew = "to write it anew: mage test -calls"
	if len(missing) > 0 { // and so in the other list, which may be more than it needs
		progress.Note(ctx, "%s lacks %q, which the tests call; %s", path, missing, anew)
	}
	if len(unused) > 0 {
		return fmt.Errorf("%s lists %q, which no test calls: take them out of the local cloud, or give the reason in uncalled.txt beside it; %s", path, unused, anew)
	}
	return nil
}

// splitCalls returns the comments at the head of a list of operations, and the operations.
func splitCalls(text string) (head string, list []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			head += line
		} else if call := strings.TrimSpace(line); call != "" {
			list = append(list, call)
		}
	}
	return head, list
}

func (c *chores) unitTests(ctx context.Context, took *timings) error {
	if err := c.goTest(ctx, took, "unit tests", c.Root, nil, "-race", "-tags=mage", "./..."); err != nil {
		return err
	}
	return c.goTest(ctx, took, "service tests", c.path(c.Service.Source), nil, "-race", "./...")
}

// testsAtOnce is how many tests with real tools run at once: with two for each processor those are idle for a third of the time, and with
// three a test that has to wait for a compiler may wait for minutes.
func testsAtOnce() int { return runtime.NumCPU() * 5 / 2 }

// integrationTests run those packages that have tests with real tools. Those of the targets take the longest by far, so the others run
// beside them. Most of what they do is to wait, so more of them run at a time than there are processors.
func (c *chores) integrationTests(ctx context.Context, took *timings, env ...string) error {
	packages, err := c.integrationPackages(ctx)
	if err != nil {
		return err
	}
	args := []string{"-tags=integration", "-p=2", fmt.Sprintf("-parallel=%d", testsAtOnce()), "-count=1", "-timeout=45m"}
	return c.goTest(ctx, took, "tests with real tools", c.Root, env, append(args, packages...)...)
}

// integrationPackages are the packages with tests that need real tools, those of the targets first.
func (c *chores) integrationPackages(ctx context.Context) ([]string, error) {
	const tests = "{{.ImportPath}} {{.TestGoFiles}} {{.XTestGoFiles}}"
	list := func(args ...string) ([]string, error) {
		out, err := command.Output(ctx, c.runner, command.Cmd{Path: "go", Args: append([]string{"list", "-f", tests}, args...), Dir: c.Root})
		return strings.Split(out, "\n"), err
	}
	without, err := list("./...")
	if err != nil {
		return nil, err
	}
	with, err := list("-tags=integration", "./...")
	if err != nil {
		return nil, err
	}
	return morePackages(without, with, "/pkg/targets"), nil
}

// goTest runs go test and shows the output of tests that fail, and the reason of those that are skipped.
func (c *chores) goTest(ctx context.Context, took *timings, name, dir string, env []string, args ...string) (err error) {
	stage := progress.Start(ctx, "%s", name)
	defer stage.End(&err)
	report := newTestReport(func(line string) { progress.Note(ctx, "%s", line) })
	report.started = func(name string) { stage.Update("%s", name) }
	var stderr bytes.Buffer
	begin := time.Now()
	// The compiler, Terraform and the cloud leave less garbage than it costs to collect so often.
	env = append([]string{"GOGC=400"}, env...)
	err = c.runner.Run(ctx, command.Cmd{
		// Vetting is lint's.
		Path: "go", Args: append([]string{"test", "-json", "-vet=off"}, args...), Dir: dir, Env: env, Stdout: &lines.Writer{Each: report.event}, Stderr: &stderr,
		WaitDelay: 3 * time.Minute, // tests that are interrupted remove their machines
	})
	took.add(name, time.Since(begin), report)
	if err != nil {
		return fmt.Errorf("%s: %w\n%s%s", name, err, stderr.String(), strings.Join(report.failed, ""))
	}
	return nil
}
