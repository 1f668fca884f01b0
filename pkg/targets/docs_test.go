package targets_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ingot-build/ingot/pkg/config"
)

// pages are the project's Markdown files, by their paths in the repository.
func pages(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Join("..", "..")
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.ToSlash(name)] = string(text)
		}
	}
	if len(all) < 5 {
		t.Fatalf("there are %d pages", len(all))
	}
	return all
}

// anchors are what a page's headings can be linked by, as GitHub makes them.
func anchors(page string) []string {
	var all []string
	for _, m := range regexp.MustCompile("(?m)^#+ (.+)$").FindAllStringSubmatch(page, -1) {
		anchor := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(anchor, " ", "-"))
	}
	return all
}

// TestLinks: what a page links to within the repository is there.
func TestLinks(t *testing.T) {
	all := pages(t)
	linked := 0
	for name, page := range all {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(page, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			linked++
			file, anchor, _ := strings.Cut(m[1], "#")
			at := name
			if file != "" {
				at = filepath.ToSlash(filepath.Join(filepath.Dir(name), file))
			}
			if _, err := os.Stat(filepath.Join("..", "..", at)); err != nil {
				t.Errorf("%s links to %s, which there is not", name, m[1])
			}
			if anchor != "" && !slices.Contains(anchors(all[at]), anchor) {
				t.Errorf("%s links to %s, and %s has no such heading", name, m[1], at)
			}
		}
	}
	if linked < 10 {
		t.Errorf("%d links are found", linked)
	}
}

// inPages is a command as pages write it; what is in italics or brackets is no target.
var inPages = regexp.MustCompile("(?m)(?:^|[ `(])(?:go tool mage|mage) ([a-z][a-z:]*[a-z])")

// TestCommandsOfPages: the targets that pages name are there.
func TestCommandsOfPages(t *testing.T) {
	known := targets(t)
	named := 0
	for name, page := range pages(t) {
		for _, m := range inPages.FindAllStringSubmatch(page, -1) {
			if word := m[1]; !known[word] && !slices.Contains([]string{"in", "itself", "works", "where", "alone", "and"}, word) { // mage as a word of a sentence
				t.Errorf("%s names the target %q", name, word)
			}
			named++
		}
	}
	if named < 30 {
		t.Errorf("%d commands are found", named)
	}
}

// TestSettingsPage: the page of settings has every one, with its default.
func TestSettingsPage(t *testing.T) {
	m := regexp.MustCompile("(?s)```hcl\n(.*?)```").FindStringSubmatch(pages(t)["docs/settings.md"])
	if m == nil {
		t.Fatal("docs/settings.md has no block of settings")
	}
	got, err := config.Parse([]byte(m[1]), config.File)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.App, want.Region, want.Image.InstanceType = got.App, got.Region, "t3.medium" // which follows from the architecture
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the page says other defaults (-default +page)\n%s", diff)
	}
	for _, name := range settings(reflect.TypeFor[config.Config]()) {
		if !regexp.MustCompile(`(?m)^\s*` + name + `\s*[={]`).MatchString(m[1]) {
			t.Errorf("the page leaves out %s", name)
		}
	}
}

// settings are the names of the blocks and of the settings in them.
func settings(of reflect.Type) (names []string) {
	for field := range of.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("hcl"), ",")
		if name == "" {
			continue
		}
		names = append(names, name)
		if field.Type.Kind() == reflect.Pointer {
			names = append(names, settings(field.Type.Elem())...)
		}
	}
	return names
}
