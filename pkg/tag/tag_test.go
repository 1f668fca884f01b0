package tag

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Keys in Terraform files and Packer templates are those of the vocabulary, and Go code takes them from here.
func TestOneVocabulary(t *testing.T) {
	const root = "../.."
	keys := literals(t, "tag.go")
	pattern := regexp.MustCompile(`ingot:[a-z_-]+`)
	used := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); name != ".." && strings.HasPrefix(name, ".") || name == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		switch name := entry.Name(); {
		case strings.HasSuffix(name, ".tf"), strings.HasSuffix(name, ".hcl"):
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, key := range pattern.FindAllString(string(data), -1) {
				used[key] = true
				if !slices.Contains(keys, key) {
					t.Errorf("%s: %s is no tag", path, key)
				}
			}
		case strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && filepath.Dir(path) != filepath.Join(root, "pkg", "tag"):
			for _, text := range literals(t, path) {
				if pattern.MatchString(text) {
					t.Errorf("%s: %q: the key of a tag is a constant of pkg/tag", path, text)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// By the first the fleet is found; by both a bake's things are told from the fleet's.
	if !used[App] || !used[Run] {
		t.Errorf("terraform/ uses %v, not %s and %s", used, App, Run)
	}
}

// literals returns the string literals of a Go file.
func literals(t *testing.T, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			return n.Tag == nil // a struct's tags are no text of ours
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				text, _ := strconv.Unquote(n.Value) // the parser has read it
				found = append(found, text)
			}
		}
		return true
	})
	return found
}
