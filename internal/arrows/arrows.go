// Package arrows holds the module against the picture of its packages in CONTRIBUTING.md: its tests fail where an import
// goes up or sideways, and where a library speaks of what only the targets know.
package arrows

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Source is a Go file of the module, but a test's.
type Source struct {
	Package string // as the picture names it
	Path    string // below the module's root, with slashes
	File    *ast.File
	Set     *token.FileSet
}

// Sources parses the module in a folder. Modules inside it, testdata and what begins with a dot are not part of it.
func Sources(root string) ([]Source, error) {
	var all []Source
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			hidden := strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"
			if relative != "." && (hidden || err == nil) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse %s: %w", relative, err)
		}
		relative = filepath.ToSlash(relative)
		all = append(all, Source{Package: packageName(path.Dir(relative)), Path: relative, File: file, Set: set})
		return nil
	})
	return all, err
}

// packageName is what the picture calls the package in a folder of the module: without pkg/, and what is internal to a package
// is a part of that. The one in the module's root is ".".
func packageName(folder string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(folder, "pkg/"), "/internal/")
	return name
}

// Imports are the imports of each package: those of the module as the picture names them, others by their path.
func Imports(module string, sources []Source) map[string][]string {
	sets := map[string]map[string]bool{}
	for _, s := range sources {
		if sets[s.Package] == nil {
			sets[s.Package] = map[string]bool{}
		}
		for _, spec := range s.File.Imports {
			name := strings.Trim(spec.Path.Value, `"`)
			if folder, ok := strings.CutPrefix(name, module+"/"); ok {
				name = packageName(folder)
			}
			if name != s.Package {
				sets[s.Package][name] = true
			}
		}
	}
	imports := map[string][]string{}
	for name, set := range sets {
		imports[name] = slices.Sorted(maps.Keys(set))
	}
	return imports
}

// Block is the text of the block of a Markdown file that is fenced as of that kind.
func Block(markdown, kind string) (string, error) {
	_, rest, found := strings.Cut(markdown, "\n```"+kind+"\n")
	text, _, ended := strings.Cut(rest, "\n```")
	if !found || !ended {
		return "", fmt.Errorf("find the block %q: there is none", kind)
	}
	return text, nil
}

// CheckArrows returns what is not as in the picture: a line for each layer, from top to bottom, with the packages in it, after an
// arrow that is for the reader. A package imports only from the lines below its own, and every package stands in one line.
func CheckArrows(picture string, imports map[string][]string) []string {
	layer := map[string]int{}
	var wrong []string
	for i, line := range strings.Split(picture, "\n") {
		for _, name := range list(strings.TrimPrefix(strings.TrimSpace(line), "→")) {
			if _, twice := layer[name]; twice {
				wrong = append(wrong, name+" stands in the picture twice")
			}
			if _, exists := imports[name]; !exists {
				wrong = append(wrong, name+" stands in the picture and is not there")
			}
			layer[name] = i
		}
	}
	for _, name := range slices.Sorted(maps.Keys(imports)) {
		at, drawn := layer[name]
		if !drawn {
			wrong = append(wrong, name+" is not in the picture")
			continue
		}
		for _, imported := range imports[name] {
			below, drawn := layer[imported]
			switch {
			case !drawn: // of another module, or told already
			case below == at:
				wrong = append(wrong, fmt.Sprintf("%s imports %s, which is beside it", name, imported))
			case below < at:
				wrong = append(wrong, fmt.Sprintf("%s imports %s, which is above it", name, imported))
			}
		}
	}
	return wrong
}

// CheckDoors returns who imports what others alone may. A line of the list is a package, or the beginning of an import path up to
// a slash, then ← and who may.
func CheckDoors(doors string, imports map[string][]string) []string {
	var wrong []string
	for line := range strings.Lines(doors) {
		inside, outside, _ := strings.Cut(line, "←")
		inside = strings.TrimSpace(inside)
		may := list(outside)
		uses := map[string]bool{}
		for _, name := range slices.Sorted(maps.Keys(imports)) {
			for _, imported := range imports[name] {
				if imported != inside && !strings.HasPrefix(imported, inside+"/") {
					continue
				}
				uses[name] = true
				if !slices.Contains(may, name) {
					wrong = append(wrong, fmt.Sprintf("%s imports %s, which only %s may", name, imported, strings.Join(may, ", ")))
				}
			}
		}
		for _, name := range may {
			if !uses[name] {
				wrong = append(wrong, fmt.Sprintf("%s may import %s and does not", name, inside))
			}
		}
	}
	return wrong
}

// list is what stands between commas.
func list(text string) []string {
	var names []string
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// Literal is a string in a program's text.
type Literal struct {
	Package string
	At      string // file:line
	Text    string // as it is written
}

// Literals returns the strings of sources, but the paths of imports.
func Literals(sources []Source) []Literal {
	var all []Literal
	for _, s := range sources {
		ast.Inspect(s.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.BasicLit:
				if n.Kind == token.STRING {
					at := fmt.Sprintf("%s:%d", s.Path, s.Set.Position(n.Pos()).Line)
					all = append(all, Literal{Package: s.Package, At: at, Text: n.Value})
				}
			}
			return true
		})
	}
	slices.SortStableFunc(all, func(a, b Literal) int { return cmp.Compare(a.Package, b.Package) })
	return all
}

// Hidden returns what a program could not name the type of: exported fields of exported structs whose
// type is an unexported one of the package.
func Hidden(sources []Source) []string {
	var hidden []string
	for _, s := range sources {
		ast.Inspect(s.File, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			of, ok := spec.Type.(*ast.StructType)
			if !ok || !spec.Name.IsExported() {
				return false
			}
			for _, field := range of.Fields.List {
				unexported := unexportedType(field.Type)
				for _, name := range field.Names {
					if name.IsExported() && unexported != "" {
						at := s.Set.Position(name.Pos()).Line
						hidden = append(hidden, fmt.Sprintf("%s:%d: %s.%s is of type %s", s.Path, at, spec.Name.Name, name.Name, unexported))
					}
				}
			}
			return false
		})
	}
	return hidden
}

// unexportedType is the first type in an expression that only its package can name; empty for none.
func unexportedType(e ast.Expr) (name string) {
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr, *ast.FieldList: // of another package; parameters and methods have names that are no types
			return false
		case *ast.Ident:
			if !n.IsExported() && types.Universe.Lookup(n.Name) == nil {
				name = cmp.Or(name, n.Name)
			}
		}
		return true
	})
	return name
}

// Commands are what a user types: the targets of the package, such as "infra:apply", and their flags, such as "purge".
func Commands(sources []Source, targets string) (names, flags []string) {
	for _, s := range sources {
		if s.Package != targets {
			continue
		}
		for _, d := range s.File.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			if f.Recv == nil {
				names = append(names, strings.ToLower(f.Name.Name))
			} else if space, ok := f.Recv.List[0].Type.(*ast.Ident); ok {
				names = append(names, strings.ToLower(space.Name+":"+f.Name.Name))
			}
			for _, p := range f.Type.Params.List {
				if _, optional := p.Type.(*ast.StarExpr); optional {
					for _, name := range p.Names {
						flags = append(flags, name.Name)
					}
				}
			}
		}
	}
	slices.Sort(flags)
	return names, slices.Compact(flags)
}
