package targets_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/magefile/mage/parse"
	"go.yaml.in/yaml/v3"
)

// workflow is what the tests read of a workflow of GitHub Actions; actionlint, in "mage lint", reads the rest.
type workflow struct {
	Permissions map[string]string
	Jobs        map[string]struct {
		If             string
		TimeoutMinutes int `yaml:"timeout-minutes"`
		Permissions    map[string]string
		Steps          []step
	}
}

type step struct {
	ID, If, Uses, Run string
	Env, With         map[string]string
}

// workflows reads every workflow, by file name.
func workflows(t *testing.T) map[string]workflow {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", ".github", "workflows", "*.y*ml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	all := map[string]workflow{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var w workflow
		if err := yaml.Unmarshal(data, &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = w
	}
	return all
}

// targets are the names that mage takes in this repository, in lower case: everybody's, and its own chores.
func targets(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{"local": true, "dev": true} // the magefile's aliases
	for _, dir := range []string{".", filepath.Join("..", "..", "magefiles")} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range files {
			files[i] = filepath.Base(files[i])
		}
		files = slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
		info, err := parse.Package(dir, files, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range info.Funcs {
			names[strings.ToLower(f.TargetName())] = true
		}
	}
	return names
}

// targetStep is a step that runs targets, of a binary that takes signals itself: the shell would keep them.
var targetStep = regexp.MustCompile(`^exec bin/ingot (.+)$`)

const compileStep = `go tool mage -compile "$PWD/bin/ingot"`

func TestWorkflowStepsRunTargets(t *testing.T) {
	known := targets(t)
	for file, w := range workflows(t) {
		for name, job := range w.Jobs {
			for _, s := range job.Steps {
				m := targetStep.FindStringSubmatch(s.Run)
				switch {
				case s.Run == "" || s.Run == compileStep:
					continue
				case m == nil:
					t.Errorf("%s, job %s: a step runs %q, which is neither a target nor compiles them", file, name, s.Run)
					continue
				}
				for _, word := range strings.Fields(m[1]) {
					if !strings.HasPrefix(word, "-") && !known[word] {
						t.Errorf("%s, job %s: there is no target %q", file, name, word)
					}
				}
			}
		}
	}
}

func TestWorkflowsPinActions(t *testing.T) {
	pinned := regexp.MustCompile(`^[\w-]+/[\w./-]+@[0-9a-f]{40}$`)
	for file, w := range workflows(t) {
		for name, job := range w.Jobs {
			for _, s := range job.Steps {
				if s.Uses != "" && !pinned.MatchString(s.Uses) {
					t.Errorf("%s, job %s: %s is not pinned to a full SHA", file, name, s.Uses)
				}
				if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != "false" {
					t.Errorf("%s, job %s: the checkout leaves its token behind", file, name)
				}
			}
		}
	}
}

// A value that somebody outside chose, such as a branch's name, would become a part of the script.
func TestWorkflowsInterpolateNothingIntoShells(t *testing.T) {
	for file, w := range workflows(t) {
		for name, job := range w.Jobs {
			for _, s := range job.Steps {
				if strings.Contains(s.Run, "${{") {
					t.Errorf("%s, job %s: %q", file, name, s.Run)
				}
			}
		}
	}
}

func TestWorkflowsMayDoLittle(t *testing.T) {
	for file, w := range workflows(t) {
		if !maps.Equal(w.Permissions, map[string]string{"contents": "read"}) {
			t.Errorf("%s: permissions %v", file, w.Permissions)
		}
		for name, job := range w.Jobs {
			signsIn := slices.ContainsFunc(job.Steps, func(s step) bool { return strings.HasPrefix(s.Uses, "aws-actions/") })
			want := map[string]string(nil)
			if signsIn {
				want = map[string]string{"contents": "read", "id-token": "write"}
			}
			if !maps.Equal(job.Permissions, want) {
				t.Errorf("%s, job %s: permissions %v, want %v", file, name, job.Permissions, want)
			}
			if job.TimeoutMinutes == 0 {
				t.Errorf("%s, job %s: no time limit", file, name)
			}
		}
	}
}
