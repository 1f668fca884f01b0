package arrows

import (
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	root   = "../.."
	module = "github.com/ingot-build/ingot"

	// targets is the package that knows mage, the settings file and what a user types.
	targets = "targets"
)

func TestModule(t *testing.T) {
	sources, err := Sources(root)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(root + "/CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("imports are as in CONTRIBUTING.md", func(t *testing.T) { importsAreAsDrawn(t, sources, string(text)) })
	t.Run("exported fields have exported types", func(t *testing.T) {
		for _, field := range Hidden(sources) {
			if !strings.Contains(field, "/internal/") {
				t.Error(field)
			}
		}
	})
	t.Run("libraries speak to programs", func(t *testing.T) { librariesSpeakToPrograms(t, sources) })
}

func importsAreAsDrawn(t *testing.T, sources []Source, contributing string) {
	imports := Imports(module, sources)
	for kind, check := range map[string]func(string, map[string][]string) []string{"arrows": CheckArrows, "doors": CheckDoors} {
		text, err := Block(contributing, kind)
		if err != nil {
			t.Fatal(err)
		}
		for _, wrong := range check(text, imports) {
			t.Errorf("%s: %s", kind, wrong)
		}
	}
}

// exceptions are strings below the targets that may speak as these do, by what they contain, and why.
var exceptions = map[string]string{
	`"ingot.hcl"`: "config: the name of the file that it reads",
}

// What a user can do about an error with a target, a flag or a setting is put to it in the targets: a program that uses a
// library has none of these.
func librariesSpeakToPrograms(t *testing.T, sources []Source) {
	names, flags := Commands(sources, targets)
	commands := spoken(names, flags)
	used := map[string]bool{}
	for _, l := range Literals(sources) {
		if slices.Contains([]string{targets, "mage", "magefiles", "internal/scaffold"}, l.Package) || !commands.MatchString(l.Text) {
			continue
		}
		excepted := false
		for text := range exceptions {
			if strings.Contains(l.Text, text) {
				excepted, used[text] = true, true
			}
		}
		if !excepted {
			t.Errorf("%s says %s", l.At, l.Text)
		}
	}
	for text, reason := range exceptions {
		if !used[text] {
			t.Errorf("nothing says %s any more, which was excepted as %s", text, reason)
		}
	}
}

// spoken matches text that names mage, the settings file, a target of a namespace, or a flag among other words.
func spoken(names, flags []string) *regexp.Regexp {
	var spaced []string
	for _, name := range names {
		if strings.Contains(name, ":") {
			spaced = append(spaced, name)
		}
	}
	return regexp.MustCompile(`\bmage\b|\bingot\.hcl\b|\b(?:` + strings.Join(spaced, "|") + `)\b|[^"` + "`" + `] -(?:` + strings.Join(flags, "|") + `)\b`)
}

func TestSpoken(t *testing.T) {
	commands := spoken([]string{"prod", "infra:apply"}, []string{"yes", "to"})
	for text, want := range map[string]bool{
		`"run: mage prod"`: true, `"set it in ingot.hcl"`: true, `"infra:apply makes it"`: true, `"sweep -yes removes it"`: true, "`again: rollback -to=R`": true,
		`"-yes"`: false, `"image"`: false, `"damage done"`: false, `"an -example"`: false, `"the prod stage"`: false, `"-json -yesterday"`: false,
	} {
		if got := commands.MatchString(text); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

func TestCheckArrows(t *testing.T) {
	imports := map[string][]string{
		"top": {"left", "bottom", "fmt"}, "left": {"bottom"}, "right": {"bottom"}, "bottom": nil,
	}
	const picture = "top\n  → left, right\n  → bottom"
	for name, test := range map[string]struct {
		picture string
		change  func(map[string][]string)
		want    []string
	}{
		"as drawn": {picture: picture},
		"up":       {picture: picture, change: func(i map[string][]string) { i["bottom"] = []string{"top"} }, want: []string{"bottom imports top, which is above it"}},
		"sideways": {picture: picture, change: func(i map[string][]string) { i["left"] = []string{"right"} }, want: []string{"left imports right, which is beside it"}},
		"missing":  {picture: picture, change: func(i map[string][]string) { i["new"] = nil; i["top"] = []string{"new"} }, want: []string{"new is not in the picture"}},
		"gone":     {picture: picture, change: func(i map[string][]string) { delete(i, "right") }, want: []string{"right stands in the picture and is not there"}},
		"twice":    {picture: picture + ", left", change: func(i map[string][]string) { i["top"], i["left"] = nil, nil }, want: []string{"left stands in the picture twice"}},
	} {
		t.Run(name, func(t *testing.T) {
			changed := map[string][]string{}
			for name, of := range imports {
				changed[name] = of
			}
			if test.change != nil {
				test.change(changed)
			}
			if diff := cmp.Diff(test.want, CheckArrows(test.picture, changed)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheckDoors(t *testing.T) {
	imports := map[string][]string{
		"machine": {"example.com/engine/client"}, "cloud": {"machine", "example.com/engine-tools"}, "target": {"example.com/engine/client", "config"},
	}
	got := CheckDoors("example.com/engine ← machine\nconfig ← target, cloud\n", imports)
	want := []string{"target imports example.com/engine/client, which only machine may", "cloud may import config and does not"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBlock(t *testing.T) {
	const text = "# A\n\n```\nother\n```\n\n```arrows\na\n  → b\n```\n"
	if got, err := Block(text, "arrows"); got != "a\n  → b" || err != nil {
		t.Errorf("Block = %q, %v", got, err)
	}
	if got, err := Block(text, "doors"); err == nil {
		t.Errorf("a block that is not there is %q", got)
	}
}

func TestPackageName(t *testing.T) {
	for folder, want := range map[string]string{
		"magefiles": "magefiles", "pkg/rollout": "rollout", "pkg/localcloud/internal/wire": "localcloud", "pkg/a/b": "a/b", "internal/wait": "internal/wait", ".": ".",
	} {
		if got := packageName(folder); got != want {
			t.Errorf("packageName(%s) = %s, want %s", folder, got, want)
		}
	}
}

func TestHidden(t *testing.T) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "x.go", `package x

type Client struct {
	API, Other api
	Map map[string]*thing
	Call func(api) error
	Name string
	Context ctx.Context
	private api
}

type hidden struct{ API api }
`, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := Hidden([]Source{{Package: "x", Path: "x.go", File: file, Set: set}})
	want := []string{"x.go:4: Client.API is of type api", "x.go:4: Client.Other is of type api", "x.go:5: Client.Map is of type thing"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCommandsAndLiterals(t *testing.T) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "x.go", `package target

import "a path"

type Infra struct{}

func (Infra) Apply(ctx Context, yes *bool, name string) error { return Error("infra:apply") }
func Prod(ctx Context, to *string, yes *bool) error { return Error(`+"`raw`"+`) }
func private(other *int) {}
`, 0)
	if err != nil {
		t.Fatal(err)
	}
	sources := []Source{{Package: "target", Path: "x.go", File: file, Set: set}}
	names, flags := Commands(sources, "target")
	if diff := cmp.Diff([][]string{{"infra:apply", "prod"}, {"to", "yes"}}, [][]string{names, flags}); diff != "" {
		t.Error(diff)
	}
	want := []Literal{{"target", "x.go:7", `"infra:apply"`}, {"target", "x.go:8", "`raw`"}}
	if diff := cmp.Diff(want, Literals(sources)); diff != "" {
		t.Error(diff)
	}
}
