//go:build integration

package terraform

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/command"
)

const stackDir = "../../terraform"

// realStack returns the stack in a folder to work in, initialised with the real command and provider. There is no
// reason to skip: where one of them cannot be had, so cannot the product.
func realStack(t *testing.T) *Stack {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "ingot")
	path, err := Find(t.Context(), cache)
	if err != nil {
		t.Fatal(err)
	}
	mirror, err := PluginDir(t.Context(), "", cache)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &Stack{
		Command:   path,
		Config:    os.DirFS(stackDir),
		DataDir:   filepath.Join(dir, "data"),
		StatePath: filepath.Join(dir, "state", "hello.tfstate"),
		PluginDir: mirror,
		CacheDir:  cache,
		Vars:      map[string]any{"app": "hello", "image_id": "ami-0123456789abcdef0"},
		// Nothing listens there: the provider must not find an account by accident.
		Env: []string{"AWS_ENDPOINT_URL=http://127.0.0.1:1", "AWS_REGION=us-west-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_MAX_ATTEMPTS=1"},
	}
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStackIsValid(t *testing.T) {
	before := listing(t, stackDir)
	s := realStack(t)
	if err := s.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	// Again, as every later run does: the providers and the lock file are there.
	if err := s.Init(t.Context()); err != nil {
		t.Error(err)
	}
	outputs, err := s.Outputs(t.Context())
	if err != nil || len(outputs) != 0 {
		t.Errorf("Outputs before the first apply = %v, %v", outputs, err)
	}
	if diff := cmp.Diff(before, listing(t, stackDir)); diff != "" {
		t.Errorf("the stack's folder changed:\n%s", diff)
	}
}

func TestStackIsFormatted(t *testing.T) {
	path, err := Find(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.Output(t.Context(), command.Exec{}, command.Cmd{Path: path, Args: []string{"fmt", "-check", "-recursive"}, Dir: stackDir})
	if err != nil {
		t.Errorf("terraform fmt -check: %v\n%s", err, out)
	}
}

// The stack's own tests run on a copy, since they write beside the configuration too.
func TestStackTests(t *testing.T) {
	s := realStack(t)
	if err := os.CopyFS(filepath.Join(s.workDir(), "tests"), os.DirFS(filepath.Join(stackDir, "tests"))); err != nil {
		t.Fatal(err)
	}
	env := []string{"TF_DATA_DIR=" + filepath.Join(s.DataDir, "data")}
	out, err := command.Output(t.Context(), command.Exec{}, command.Cmd{Path: s.Command, Args: []string{"test", "-no-color"}, Dir: s.workDir(), Env: append(env, s.Env...)})
	if err != nil {
		t.Errorf("terraform test: %v\n%s", err, out)
	}
}

func TestUnreachableCloud(t *testing.T) {
	s := realStack(t)
	_, err := s.Plan(t.Context())
	if err == nil {
		t.Fatal("planned without a cloud")
	}
	for _, part := range []string{"terraform plan: ", "connection refused", "versions.tf:", s.logFile()} {
		if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error = %v\nwithout %q", err, part)
		}
	}
}

// listing returns the names of the files below dir.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
