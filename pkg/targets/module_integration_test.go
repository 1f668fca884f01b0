//go:build integration

package targets_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// module makes a Go module of its own in a folder: what somebody writes who uses Ingot from another repository.
func module(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	const path = "github.com/ingot-build/ingot"
	// The versions of this checkout, as "go get" would choose them, and the checkout itself in place of a download.
	files["go.mod"] = strings.Replace(string(mod), "module "+path, "module example.org/other", 1) +
		"\nrequire " + path + " v0.0.0\n\nreplace " + path + " => " + root + "\n"
	files["go.sum"] = string(sum)
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// maxProgram is how many lines a program over pkg/pipeline may need for a release with report and rollback.
const maxProgram = 20

// TestIntegrationModule uses Ingot from other repositories: as a package of a program, and in a magefile.
func TestIntegrationModule(t *testing.T) {
	t.Parallel()
	c := newReleasedClone(t)
	t.Run("a program", func(t *testing.T) { testProgram(t, c) })
	t.Run("a magefile", func(t *testing.T) { testOtherMagefile(t, c) })
}

// testProgram: a program of another module releases and rolls back over pkg/pipeline.
func testProgram(t *testing.T, c *clone) {
	source, err := os.ReadFile(filepath.Join("..", "pipeline", "testdata", "prod", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(regexp.MustCompile(`(?m)^.*\S.*$`).FindAll(source, -1)); n > maxProgram {
		t.Errorf("the program has %d lines, want at most %d", n, maxProgram)
	}
	_, first := get(t, c.must(t, "local", "url"))

	dir := t.TempDir()
	module(t, dir, map[string]string{"main.go": string(source)})
	program := filepath.Join(dir, "program")
	build := exec.Command("go", "build", "-mod=mod", "-o", program, ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := func(verb string) (url, release string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `eval "$("$0" local:env)" && cd / && exec "$@"`, c.ingot, program, verb, c.dir)
		cmd.Dir = c.dir
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s%s", verb, err, out, stderr.String())
		}
		fields := strings.Fields(string(out))
		if len(fields) != 4 || fields[3] != "<nil>" {
			t.Fatalf("%s says %s", verb, out)
		}
		if _, err := os.Stat(fields[2]); err != nil || filepath.Ext(fields[2]) != ".html" {
			t.Errorf("the report of %s: %v", verb, err)
		}
		return fields[0], fields[1]
	}

	c.edit(t, greetingFile, `"Hello[^"]*"`, `"Hello from another module"`)
	url, second := run("prod")
	body, serves := get(t, url)
	if second == first || serves != second || !strings.Contains(body, "Hello from another module") {
		t.Errorf("release %q serves %q as %q, after %q", second, body, serves, first)
	}
	url, back := run("rollback")
	if _, serves := get(t, url); back != first || serves != first {
		t.Errorf("rolled back to %q, which serves as %q, want %q", back, serves, first)
	}
	if status := c.must(t, "local", "status"); !strings.Contains(status, first) {
		t.Errorf("status says %s", status)
	}
}

// testOtherMagefile: the magefile of another repository gets the targets with one import, and none of this repository's own
// chores.
func testOtherMagefile(t *testing.T, c *clone) {
	if err := os.RemoveAll(filepath.Join(c.dir, "magefiles")); err != nil {
		t.Fatal(err)
	}
	// What is Ingot's comes with the module, and makes the same images.
	for _, own := range []string{"pkg", "internal", "provision", "packer", "terraform"} {
		if err := os.RemoveAll(filepath.Join(c.dir, own)); err != nil {
			t.Fatal(err)
		}
	}
	magefile := "//go:build mage\n\npackage main\n\nimport (\n\t//mage:import\n\t\"github.com/ingot-build/ingot/pkg/targets\"\n)\n\n" +
		"var Aliases = map[string]any{\"dev\": targets.Dev.Up, \"local\": targets.Local.Up}\n"
	module(t, c.dir, map[string]string{"magefiles/magefile.go": magefile})
	if err := os.Remove(c.ingot); err != nil { // other clones have the same file
		t.Fatal(err)
	}
	compile := exec.Command("go", "tool", "mage", "-compile", c.ingot)
	compile.Dir = c.dir
	compile.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("compile the targets: %v\n%s", err, out)
	}
	listed := c.must(t, "-l")
	for _, target := range []string{"base", "app", "prod", "rollback", "status", "releases", "dev:up", "local:up", "infra:apply", "rehearse", "setup"} {
		if !regexp.MustCompile(`(?m)^\s+` + target + `\*?\s`).MatchString(listed) {
			t.Errorf("%s is not listed", target)
		}
	}
	for _, chore := range []string{"test", "lint", "bench"} {
		if regexp.MustCompile(`(?m)^\s+` + chore + `\s`).MatchString(listed) {
			t.Errorf("%s is listed, which only works in Ingot's own repository", chore)
		}
	}
	bakes := c.bakes(t)
	defer func() {
		if more := c.bakes(t) - bakes; more != 0 {
			t.Errorf("%d images are baked anew", more)
		}
	}()
	if out := c.must(t, "local", "infra:plan"); out != "no changes" {
		t.Errorf("infra:plan printed %q", out)
	}
	// The release that the program made before it went back.
	if body, _ := get(t, c.must(t, "local", "prod")); !strings.Contains(body, "Hello from another module") {
		t.Errorf("prod serves %q", body)
	}
}
