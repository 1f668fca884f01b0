package target

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/terraform"
)

// Test runs every test: first the quick ones, then those with real tools.
//
// The latter start machines with Docker and clean up after themselves. Prints what fails and every test that is skipped.
func Test(ctx context.Context,
	unit *bool, // only the tests that need neither Docker nor a network
) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		if err := p.unitTests(ctx); err != nil || value(unit) {
			return err
		}
		return p.integrationTests(ctx)
	})
}

// Lint checks the form of everything: Go, shell, HCL, workflows.
//
// gofmt, go vet, staticcheck, shellcheck, shfmt, terraform fmt and validate, packer fmt and validate, actionlint. Changes
// nothing.
func Lint(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		var errs []error
		for _, check := range []func(context.Context) error{p.lintGo, p.lintShell, p.lintTerraform, p.lintPacker, p.lintWorkflows} {
			errs = append(errs, check(ctx))
		}
		return errors.Join(errs...)
	})
}

func (p *project) unitTests(ctx context.Context) error {
	if err := p.goTest(ctx, "unit tests", p.Root, "-race", "./..."); err != nil {
		return err
	}
	return p.goTest(ctx, "service tests", p.path(p.Service.Source), "-race", "./...")
}

// integrationTests come one package at a time, and two at a time where they say that they may: they share the machine's
// processors, and some wait for real time to pass.
func (p *project) integrationTests(ctx context.Context) error {
	return p.goTest(ctx, "tests with real tools", p.Root, "-tags=integration", "-p=1", "-parallel=2", "-count=1", "-timeout=75m", "./...")
}

// goTest runs go test and shows the output of tests that fail, and the reason of those that are skipped.
func (p *project) goTest(ctx context.Context, name, dir string, args ...string) (err error) {
	stage := progress.Start(ctx, "%s", name)
	defer stage.End(&err)
	report := &testReport{stage: stage, note: func(line string) { progress.Note(ctx, "%s", line) }, output: map[string][]string{}}
	var stderr bytes.Buffer
	err = p.runner.Run(ctx, command.Cmd{
		Path: "go", Args: append([]string{"test", "-json"}, args...), Dir: dir, Stdout: &command.Lines{Each: report.event}, Stderr: &stderr,
		WaitDelay: 3 * time.Minute, // tests that are interrupted remove their machines
	})
	if err != nil {
		return fmt.Errorf("%s: %w\n%s%s", name, err, stderr.String(), strings.Join(report.failed, ""))
	}
	return nil
}

// testReport follows the events of "go test -json".
type testReport struct {
	stage  *progress.Stage
	note   func(string)
	output map[string][]string // by package and test, until it ends
	failed []string
}

func (r *testReport) event(line string) {
	var e struct{ Action, Package, ImportPath, Test, Output string }
	if json.Unmarshal([]byte(line), &e) != nil {
		r.failed = append(r.failed, line+"\n")
		return
	}
	key := e.Package + e.ImportPath + " " + e.Test
	switch e.Action {
	case "start":
		r.stage.Update("%s", e.Package)
	case "output", "build-output":
		r.output[key] = append(r.output[key], e.Output)
	case "skip":
		if e.Test != "" {
			r.note("skipped: " + strings.TrimSpace(strings.Join(r.output[key], " ")))
		}
		delete(r.output, key)
	case "fail", "build-fail":
		r.failed = append(r.failed, r.output[key]...)
		delete(r.output, key)
	case "pass":
		delete(r.output, key)
	}
}

func (p *project) lintGo(ctx context.Context) error {
	files, err := p.files(".go")
	if err != nil {
		return err
	}
	unformatted, err := command.Output(ctx, p.runner, command.Cmd{Path: "gofmt", Args: append([]string{"-l"}, files...), Dir: p.Root})
	if err == nil && unformatted != "" {
		err = fmt.Errorf("not formatted; run gofmt -w on them:\n%s", unformatted)
	}
	service := p.path(p.Service.Source)
	return errors.Join(err,
		p.check(ctx, p.Root, "go", "vet", "-tags=integration,mage", "./..."),
		p.check(ctx, p.Root, "go", "tool", "staticcheck", "-tags=integration,mage", "./..."),
		p.check(ctx, service, "go", "vet", "./..."),
	)
}

func (p *project) lintShell(ctx context.Context) error {
	scripts, err := p.files(".sh")
	if err != nil {
		return err
	}
	if err := need("shellcheck"); err != nil {
		return err
	}
	return errors.Join(
		p.check(ctx, p.Root, "shellcheck", append([]string{"-x"}, scripts...)...),
		p.check(ctx, p.Root, "go", append([]string{"tool", "shfmt", "-d"}, scripts...)...),
	)
}

func (p *project) lintTerraform(ctx context.Context) error {
	cache, err := toolCache()
	if err != nil {
		return err
	}
	path, err := terraform.Find(ctx, cache)
	if err != nil {
		return err
	}
	plugins, err := terraform.PluginDir(ctx, p.Terraform.PluginDir, cache)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "ingot-lint-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	stack := &terraform.Stack{Command: path, Dir: p.path("terraform"), DataDir: work, StatePath: filepath.Join(work, "state"), PluginDir: plugins, CacheDir: cache}
	err = stack.Init(ctx)
	if err == nil {
		err = stack.Validate(ctx)
	}
	return errors.Join(err, p.check(ctx, p.Root, path, "fmt", "-check", "-diff", "-recursive", "terraform"))
}

func (p *project) lintPacker(ctx context.Context) error {
	found, err := p.packer(ctx)
	if err != nil {
		return err
	}
	if err := found.Init(ctx, p.path("packer", "plugins")); err != nil {
		return err
	}
	return errors.Join(
		p.check(ctx, p.Root, found.Path, "fmt", "-check", "-diff", "packer"),
		p.check(ctx, p.Root, found.Path, "validate", "-syntax-only", "packer"),
	)
}

func (p *project) lintWorkflows(ctx context.Context) error {
	return p.check(ctx, p.Root, "go", "tool", "actionlint")
}

// check runs a command and shows what it said where it fails.
func (p *project) check(ctx context.Context, dir, name string, args ...string) (err error) {
	stage := progress.Start(ctx, "%s", strings.Join(append([]string{filepath.Base(name)}, firstWords(args)...), " "))
	defer stage.End(&err)
	var out bytes.Buffer
	if err := p.runner.Run(ctx, command.Cmd{Path: name, Args: args, Dir: dir, Stdout: &out, Stderr: &out}); err != nil {
		return fmt.Errorf("%w\n%s", err, out.String())
	}
	return nil
}

// firstWords leaves the files out of a command line that is shown.
func firstWords(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.ContainsAny(a, "./=,") && a != "./..." })
}

// files lists the repository's files with an extension, without what Ingot itself writes.
func (p *project) files(extension string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(p.Root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == folder) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) == extension || extension == ".sh" && isScript(path, entry) {
			name, _ := filepath.Rel(p.Root, path)
			found = append(found, name)
		}
		return nil
	})
	return found, err
}

// isScript tells whether a file without an extension is a shell script.
func isScript(path string, entry fs.DirEntry) bool {
	if filepath.Ext(path) != "" || !entry.Type().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	first, _ := bufio.NewReader(f).ReadString('\n')
	return strings.HasPrefix(first, "#!") && strings.HasSuffix(strings.TrimSpace(first), "sh")
}
