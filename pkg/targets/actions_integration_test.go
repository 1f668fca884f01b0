//go:build integration

package targets_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ingot-build/ingot/internal/testrun"
)

// github runs jobs as GitHub Actions does, as far as our workflows go: each in a fresh checkout, a step after the other
// in a shell of its own. What an action does is done here; an action that is not known fails the test.
type github struct {
	work   string            // where the next job works: Go's cache has what the last one compiled in the same place
	origin string            // the repository that is checked out
	cloud  []string          // the environment that points at the cloud, as NAME=value
	state  string            // the cloud's folder
	values map[string]string // what expressions give, by name: needs.JOB.outputs.NAME, vars.NAME, …
	kept   string            // a kept cloud that a checkout begins with; empty for none
}

// job is a job that has run.
type job struct {
	dir     string
	summary string // Markdown for the run's page
	log     string
}

var expression = regexp.MustCompile(`\$\{\{ *([\w.-]+) *\}\}`)

func (g *github) expand(t *testing.T, text string) string {
	t.Helper()
	return expression.ReplaceAllStringFunc(text, func(e string) string {
		name := expression.FindStringSubmatch(e)[1]
		value, ok := g.values[name]
		if !ok {
			t.Fatalf("the expression %q has no value", name)
		}
		return value
	})
}

// run runs a job's steps, without those that skip names.
func (g *github) run(t *testing.T, name string, steps []step, skip ...string) job {
	t.Helper()
	temp := t.TempDir()
	j := job{dir: g.work}
	var log bytes.Buffer
	env := append(os.Environ(), "CI=true", "GITHUB_ACTIONS=true", "GITHUB_SHA=0", "GITHUB_REPOSITORY=example/hello",
		"GITHUB_RUN_ID=1", "GITHUB_SERVER_URL=https://github.com", "GITHUB_ACTOR=octocat", "GITHUB_STEP_SUMMARY="+filepath.Join(temp, "summary"))
	failed := false
	for i, s := range steps {
		if failed && s.If != "always()" || slices.Contains(skip, s.Run) {
			continue
		}
		action, _, _ := strings.Cut(s.Uses, "@")
		switch action {
		case "":
		case "actions/checkout":
			if err := os.RemoveAll(j.dir); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command("git", "clone", "-q", g.origin, j.dir).CombinedOutput(); err != nil {
				t.Fatalf("check out: %v\n%s", err, out)
			}
			if g.kept != "" {
				(&clone{dir: j.dir}).restore(t, g.kept)
			}
			continue
		case "actions/setup-go":
			continue // Go runs this test
		case "aws-actions/configure-aws-credentials":
			role := regexp.MustCompile(`INGOT_(\w+)_ROLE`).FindStringSubmatch(s.With["role-to-assume"])
			if role == nil {
				t.Fatalf("job %s signs in as %q", name, s.With["role-to-assume"])
			}
			env = append(env, takeOn(t, g.state, g.cloud, strings.ToLower(role[1]))...)
			continue
		case "actions/upload-artifact":
			if entries, err := os.ReadDir(filepath.Join(j.dir, s.With["path"])); err != nil || len(entries) == 0 {
				t.Errorf("job %s: nothing to upload in %s: %v", name, s.With["path"], err)
			}
			continue
		default:
			t.Fatalf("job %s: the test does not know what %s does", name, s.Uses)
		}
		output := filepath.Join(temp, "output", s.ID)
		if err := os.MkdirAll(filepath.Dir(output), 0o755); err != nil {
			t.Fatal(err)
		}
		script := filepath.Join(temp, "step.sh")
		if err := os.WriteFile(script, []byte(s.Run+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		cmd := exec.CommandContext(ctx, "bash", "-e", script)
		cmd.Dir, cmd.Stdout, cmd.Stderr = j.dir, &log, &log
		cmd.Env = append(slices.Clone(env), "GITHUB_OUTPUT="+output)
		for key, value := range s.Env {
			cmd.Env = append(cmd.Env, key+"="+g.expand(t, value))
		}
		begin := time.Now()
		err := cmd.Run()
		cancel()
		t.Logf("job %s, step %d: %s: %s, %v", name, i+1, s.Run, time.Since(begin).Round(100*time.Millisecond), err)
		if err != nil {
			failed = true
			t.Errorf("job %s: %s: %v\n%s", name, s.Run, err, log.Bytes())
		}
		lines, _ := os.ReadFile(output)
		for line := range strings.Lines(string(lines)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			g.values["steps."+s.ID+".outputs."+key] = value
		}
	}
	summary, _ := os.ReadFile(filepath.Join(temp, "summary"))
	j.summary, j.log = string(summary), log.String()
	if failed {
		t.FailNow()
	}
	return j
}

// TestIntegrationWorkflows runs every job of the workflows, read from the files, on a local cloud: the one of the
// job "rehearse", which begins with a finished one, is the account of the others, whose roles they take on.
func TestIntegrationWorkflows(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	settings, err := os.OpenFile(filepath.Join(c.dir, "ingot.hcl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// No job has the folder of another one, so the state has to be in a bucket.
	if _, err := settings.WriteString("\nstate {\n  bucket = \"hello-state\"\n}\n\ngithub {\n  repository = \"" + octoRepo + "\"\n}\n\nrollout {\n  warmup = \"1s\"\n}\n"); err != nil {
		t.Fatal(err)
	}
	if err := settings.Close(); err != nil {
		t.Fatal(err)
	}
	c.letPackerBake(t)
	push := func(message string) {
		for _, args := range [][]string{{"add", "-A"}, {"-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-qm", message}} {
			if out, err := exec.Command("git", append([]string{"-C", c.dir}, args...)...).CombinedOutput(); err != nil {
				t.Fatalf("git %q: %v\n%s", args, err, out)
			}
		}
	}
	push("keep the state in a bucket")
	files := workflows(t)
	own, ci, deploy := files["test.yml"].Jobs, files["ci.yml"].Jobs, files["deploy.yml"].Jobs
	if len(files) != 3 || len(own) != 1 || len(ci) != 2 || len(deploy) != 2 {
		t.Fatalf("there are jobs that this test does not run: %v", files)
	}
	g := &github{origin: c.dir, values: map[string]string{}, work: filepath.Join(testrun.Clone(t), "work")}

	g.kept = released(t)
	rehearsed := g.run(t, "rehearse", ci["rehearse"].Steps)
	g.kept, g.work = "", filepath.Join(testrun.Clone(t), "work") // the cloud stays where it is
	binary := filepath.Join(rehearsed.dir, "bin", "ingot")
	t.Cleanup(func() {
		cmd := exec.Command(binary, "local:down", "-purge")
		cmd.Dir = rehearsed.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("purge: %v\n%s", err, out)
		}
	})
	g.cloud, g.state = cloudEnv(t, rehearsed.dir, binary), (&clone{dir: rehearsed.dir}).stateDir()

	// Its step "test" is what runs this test.
	g.run(t, "test", own["test"].Steps, "exec bin/ingot setup test")

	plan := g.run(t, "plan", ci["plan"].Steps)
	if !strings.Contains(strings.ToLower(plan.summary), "no changes") {
		t.Errorf("the summary of the plan:\n%s\n%s", plan.summary, plan.log)
	}

	c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Pushed"`)
	push("greet otherwise")
	bake := g.run(t, "bake", deploy["bake"].Steps)
	image := g.values["steps.bake.outputs.image"]
	if !strings.HasPrefix(image, "ami-") {
		t.Fatalf("the job hands over the image %q\n%s", image, bake.log)
	}
	g.values["needs.bake.outputs.image"] = image
	rollOut := g.run(t, "roll-out", deploy["roll-out"].Steps)
	for _, want := range []string{image, "greet otherwise"} {
		if !strings.Contains(rollOut.summary, want) {
			t.Errorf("the summary of the rollout does not say %q:\n%s", want, rollOut.summary)
		}
	}
	if body, _ := get(t, g.values["steps.prod.outputs.url"]); !strings.Contains(body, "Pushed") {
		t.Errorf("the URL answers %q", body)
	}
}
