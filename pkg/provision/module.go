package provision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"

	"github.com/ingot-build/ingot/pkg/command"
)

// debianGo is the Go of Debian 13, which the base stage installs where no newer one is asked for.
const debianGo = "go1.24.4"

// How the base stage is told which Go to install: by one of these files beside it. Without either it is Debian's.
const (
	ownGo = Tree + "/base/go.zip" // a toolchain as Go's module proxies have it
	noGo  = Tree + "/base/no-go"  // the service is no Go module
)

// readModule reads the go.mod of the service's source; nil where there is none, or where the source builds itself.
func readModule(o Options) (*modfile.File, error) {
	name := filepath.Join(o.Source, "go.mod")
	if isFile(filepath.Join(o.Source, build)) {
		return nil, nil
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return modfile.Parse(name, data, nil)
}

// goVersion is the Go that a module asks for, such as "go1.26.0".
func goVersion(m *modfile.File) string {
	wanted := ""
	if m.Go != nil {
		wanted = "go" + m.Go.Version
	}
	if m.Toolchain != nil && version.Compare(m.Toolchain.Name, wanted) > 0 && version.Compare(wanted, debianGo) > 0 {
		wanted = m.Toolchain.Name
	}
	if wanted == version.Lang(wanted) && version.Compare(wanted, "go1.21") >= 0 {
		wanted += ".0" // the language of that name is that of its first release
	}
	return wanted
}

// addGo adds to the base stage what it installs Go with, or what tells it to install none.
func (b *Bundle) addGo(ctx context.Context, o Options) error {
	if isFile(filepath.Join(o.Source, build)) {
		b.files = append(b.files, contents(noGo, []byte("The service builds itself.\n")))
		return nil
	}
	m, err := readModule(o)
	if err != nil || m == nil {
		return err
	}
	wanted := goVersion(m)
	if version.Compare(wanted, debianGo) <= 0 {
		return nil
	}
	// The go command checks it against the checksum database. Outside every module, as it is none of the service's.
	out, err := goOutput(ctx, o, os.TempDir(), []string{"GOFLAGS=", "GOWORK=off"}, "mod", "download", "-json", "golang.org/toolchain@v0.0.1-"+wanted+".linux-"+o.GOARCH)
	if err != nil {
		return fmt.Errorf("get %s, which %s asks for, as Debian's is %s: %w", wanted, filepath.Join(o.Source, "go.mod"), debianGo, err)
	}
	var toolchain struct{ Zip string }
	if err := json.Unmarshal([]byte(out), &toolchain); err != nil {
		return fmt.Errorf("get %s: %w", wanted, err)
	}
	f, err := readFile(toolchain.Zip)
	f.name, f.executable = ownGo, false
	b.files = append(b.files, f)
	return err
}

// goOutput runs the go command with the settings of whoever calls this, and returns what it prints.
func goOutput(ctx context.Context, o Options, dir string, env []string, args ...string) (string, error) {
	out, err := command.Output(ctx, o.Runner, command.Cmd{Path: "go", Args: args, Dir: dir, Env: env})
	if failed, ok := errors.AsType[*command.Error](err); ok {
		return "", errors.New(strings.TrimSpace(failed.Stderr))
	}
	return out, err
}

// goPackage is a package as "go list" has it.
type goPackage struct {
	ImportPath, Dir                                string
	Standard                                       bool
	GoFiles, HFiles, SFiles, SysoFiles, EmbedFiles []string
	Module                                         *goModule
}

type goModule struct {
	Path, Version, GoVersion string
	Replace                  *goModule
}

// addModule adds the packages that the main package needs: those of its own module where they are, and those of others in the
// folder vendor, with a go.mod that requires just them.
func (b *Bundle) addModule(ctx context.Context, o Options, m *modfile.File) error {
	main := "."
	if o.Package != "" {
		main = o.Package
	}
	env := []string{"GOOS=linux", "GOARCH=" + o.GOARCH, "CGO_ENABLED=0"}
	out, err := goOutput(ctx, o, o.Source, env, "list", "-deps", "-json=ImportPath,Dir,Standard,Module,GoFiles,HFiles,SFiles,SysoFiles,EmbedFiles", "--", main)
	if err != nil {
		return fmt.Errorf("find the packages that %q is built from: %w", filepath.Join(o.Source, o.Package), err)
	}
	root, err := filepath.Abs(o.Source)
	if err != nil {
		return err
	}
	v := vendored{modules: map[string]*goModule{}, packages: map[string][]string{}}
	for packages := json.NewDecoder(strings.NewReader(out)); ; {
		var p goPackage
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if p.Standard || p.Module == nil {
			continue
		}
		folder := path.Join(Source, "vendor", p.ImportPath)
		if p.Module.Path == m.Module.Mod.Path {
			inside, err := filepath.Rel(root, p.Dir)
			if err != nil {
				return err
			}
			folder = path.Join(Source, filepath.ToSlash(inside))
		} else {
			v.add(p)
		}
		if err := b.addPackage(p, folder); err != nil {
			return err
		}
	}
	mod, err := v.goMod(m)
	if err != nil {
		return err
	}
	b.files = append(b.files, contents(Source+"/go.mod", mod))
	if len(v.modules) > 0 {
		b.files = append(b.files, contents(Source+"/vendor/modules.txt", v.list()))
	}
	return nil
}

// addPackage adds the files of a package that a build reads.
func (b *Bundle) addPackage(p goPackage, folder string) error {
	for _, name := range slices.Concat(p.GoFiles, p.HFiles, p.SFiles, p.SysoFiles, p.EmbedFiles) {
		// A link would lead somewhere else there.
		at, err := filepath.EvalSymlinks(filepath.Join(p.Dir, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		f, err := readFile(at)
		if err != nil {
			return err
		}
		f.name, f.executable = path.Join(folder, name), false
		b.files = append(b.files, f)
	}
	return nil
}

// vendored are the modules in a folder vendor, by path, and the packages of each.
type vendored struct {
	modules  map[string]*goModule
	packages map[string][]string
}

func (v vendored) add(p goPackage) {
	if p.Module.Version == "" { // one of a workspace
		p.Module.Version = "v0.0.0"
	}
	v.modules[p.Module.Path] = p.Module
	v.packages[p.Module.Path] = append(v.packages[p.Module.Path], p.ImportPath)
}

// goMod is a go.mod that requires what is vendored, and no more: of what else the service's has, nothing goes into the build.
func (v vendored) goMod(m *modfile.File) ([]byte, error) {
	mod := new(modfile.File)
	err := mod.AddModuleStmt(m.Module.Mod.Path)
	if m.Go != nil {
		err = errors.Join(err, mod.AddGoStmt(m.Go.Version))
	}
	for _, debug := range m.Godebug {
		err = errors.Join(err, mod.AddGodebug(debug.Key, debug.Value))
	}
	for _, name := range slices.Sorted(maps.Keys(v.modules)) {
		required := v.modules[name]
		mod.AddNewRequire(name, required.Version, false)
		if r := required.Replace; r != nil && r.Version != "" { // a folder has another name on every machine
			err = errors.Join(err, mod.AddReplace(name, required.Version, r.Path, r.Version))
		}
	}
	mod.Cleanup()
	text, formatErr := mod.Format()
	return text, errors.Join(err, formatErr)
}

// list is the file vendor/modules.txt, which the go command compares with go.mod.
func (v vendored) list() []byte {
	var text bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(v.modules)) {
		m := v.modules[name]
		fmt.Fprintf(&text, "# %s %s", name, m.Version)
		if r := m.Replace; r != nil && r.Version != "" {
			fmt.Fprintf(&text, " => %s %s", r.Path, r.Version)
		}
		text.WriteString("\n## explicit")
		if m.GoVersion != "" {
			fmt.Fprintf(&text, "; go %s", m.GoVersion)
		}
		text.WriteByte('\n')
		for _, p := range slices.Sorted(slices.Values(v.packages[name])) {
			fmt.Fprintln(&text, p)
		}
	}
	return text.Bytes()
}
