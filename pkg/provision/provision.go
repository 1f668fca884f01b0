// Package provision collects what turns a Debian machine into an image: the provisioning tree and the service's source. It tells
// which files belong to a stage, whether they changed (their fingerprint), and packs them for the machine that runs them.
package provision

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/internal/overlay"
	"github.com/ingot-build/ingot/pkg/command"
)

// Stage names what provision.sh is asked to do.
type Stage string

// The stages that make an image. Each image is also sealed, so the files of the seal stage belong to both.
const (
	Base Stage = "base"
	App  Stage = "app"
)

// seal is the stage that ends every bake.
const seal = "seal"

// Folders at the top of an archive.
const (
	Tree   = "provision" // Tree holds provision.sh and the stages.
	Source = "service"   // Source holds the service's source, in the archive of the App stage.
)

// Options say where the files are.
type Options struct {
	Dir     string // folder with provision.sh, or with what lies over Core; "provision" when empty
	Core    fs.FS  // files that are taken where Dir has none at their path; a script among them is executable. Nil for none
	Source  string // folder with the service's source, read for the App stage only; "service" when empty
	Package string // path of a Go module's main package in Source; empty for Source itself
	GOARCH  string // what the machine is, as Go calls it; "amd64" when empty

	Runner command.Runner // runs git and go; command.Exec{} when nil
}

// Bundle is everything that goes into a machine for one stage, as it was when it was loaded.
type Bundle struct {
	stage    Stage
	files    []file // sorted by name
	resolved bool   // the service's are those that the go command named, and not those that git has
}

// Load reads the files of a stage: those at the top of o.Dir, its folders of that stage and of seal, and for App the service's
// source. In a git work tree it takes what git tracks or would track, so ignored files are left out; elsewhere it takes everything
// but editors' leftovers.
//
// Of a Go module that requires others it takes what the build needs and nothing else, with the packages of the others as they are here,
// vendored: the go command finds them with the settings of whoever calls this, and the machine asks nobody for one. Where a module
// wants a newer Go than Debian's, that one is a file of the Base stage.
func Load(ctx context.Context, stage Stage, o Options) (*Bundle, error) {
	o.Dir, o.Source, o.GOARCH = cmp.Or(o.Dir, Tree), cmp.Or(o.Source, Source), cmp.Or(o.GOARCH, "amd64")
	if o.Runner == nil {
		o.Runner = command.Exec{}
	}
	if stage != Base && stage != App {
		return nil, fmt.Errorf("load provisioning stage %q: want %s or %s", stage, Base, App)
	}
	for _, folder := range []*string{&o.Dir, &o.Source} {
		if info, err := os.Lstat(*folder); err == nil && info.Mode().Type() == fs.ModeSymlink {
			if *folder, err = filepath.EvalSymlinks(*folder); err != nil {
				return nil, err
			}
		}
	}
	b := &Bundle{stage: stage}
	if err := b.addTree(ctx, o); err != nil {
		return nil, fmt.Errorf("load provisioning stage %q: %w", stage, err)
	}
	var err error
	if stage == App {
		err = b.addSource(ctx, o)
	} else {
		err = b.addGo(ctx, o)
	}
	if err != nil {
		return nil, fmt.Errorf("load the service's source: %w", err)
	}
	slices.SortFunc(b.files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return b, nil
}

func (b *Bundle) addTree(ctx context.Context, o Options) error {
	for _, name := range []string{"provision.sh", string(b.stage), seal} {
		if _, err := fs.Stat(overlay.FS(o.Core, o.Dir), name); err != nil {
			if at, ok := errors.AsType[*fs.PathError](err); ok {
				at.Path = filepath.Join(o.Dir, name)
			}
			return fmt.Errorf("a provisioning tree holds provision.sh, %s and %s: %w", b.stage, seal, err)
		}
	}
	wanted := func(name string) bool {
		top, _, nested := strings.Cut(name, "/")
		return !nested || top == string(b.stage) || top == seal
	}
	if _, err := os.Stat(o.Dir); o.Core == nil || !errors.Is(err, fs.ErrNotExist) {
		if err := b.add(ctx, o.Runner, o.Dir, Tree, wanted); err != nil {
			return err
		}
	}
	if o.Core == nil {
		return nil
	}
	return b.addCore(o.Core, wanted)
}

// addCore adds those files of a core that are wanted, and that no own file lies over.
func (b *Bundle) addCore(core fs.FS, wanted func(name string) bool) error {
	own, folders := map[string]bool{}, map[string]bool{}
	for _, f := range b.files {
		own[f.name] = true
		for dir := path.Dir(f.name); dir != "."; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	return fs.WalkDir(core, ".", func(name string, entry fs.DirEntry, err error) error {
		at := path.Join(Tree, name)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && own[at]:
			return fs.SkipDir
		case entry.IsDir() || own[at] || folders[at] || !wanted(name):
			return nil
		}
		data, err := fs.ReadFile(core, name)
		f := contents(at, data)
		f.executable = bytes.HasPrefix(data, []byte("#!"))
		b.files = append(b.files, f)
		return err
	})
}

func (b *Bundle) addSource(ctx context.Context, o Options) error {
	if info, err := os.Stat(o.Source); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%q is not a folder", o.Source)
	}
	before := len(b.files)
	wanted := func(string) bool { return true }
	if o.isRepository() {
		wanted = isService
	}
	if err := b.add(ctx, o.Runner, o.Source, Source, wanted); err != nil {
		return err
	}
	if o.isRepository() && isFile(filepath.Join(o.Source, build)) && !slices.ContainsFunc(b.files[before:], isGo) {
		b.files = slices.DeleteFunc(b.files, func(f file) bool { return f.name == Source+"/go.mod" || f.name == Source+"/go.sum" }) // the pipeline's
	}
	if len(b.files) == before {
		return fmt.Errorf("%q holds no files", o.Source)
	}
	m, err := readModule(o)
	if err != nil || m == nil || len(m.Require) == 0 {
		return err
	}
	b.resolved = true
	if err := b.CheckBuild(o); err != nil {
		return err
	}
	b.files = b.files[:before]
	return b.addModule(ctx, o, m)
}

// isRepository tells whether the service's source is the repository that the provisioning tree is in, and not a folder of it.
func (o Options) isRepository() bool {
	source, err := filepath.Abs(o.Source)
	if err != nil {
		return false
	}
	dir, err := filepath.Abs(o.Dir)
	return err == nil && filepath.Dir(dir) == source
}

// pipeline are the files and folders of a repository that are about its images and its infrastructure, and not its service's.
var pipeline = []string{Tree, "packer", "terraform", "magefiles", "ingot.hcl", ".ingot", ".github", ".gitignore"}

// isService tells whether a file at the top of a repository, or below, is its service's.
func isService(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return !slices.Contains(pipeline, top)
}

// build is what builds a service that is no Go module, in the folder of its source.
const build = "build"

// BuildError says that nobody knows how to build what is in a folder.
type BuildError struct {
	Source  string // the folder
	Problem string
}

// Error names the folder and the problem.
func (e *BuildError) Error() string { return fmt.Sprintf("build %q: %s", e.Source, e.Problem) }

// CheckBuild returns a *BuildError where the app stage could not build the service of a bundle that was loaded with o: it says before there
// is a machine what the stage would say there.
func (b *Bundle) CheckBuild(o Options) error {
	has := map[string]file{}
	main, goFiles := false, false
	folder := path.Join(Source, o.Package)
	for _, f := range b.files {
		has[f.name] = f
		goFiles = goFiles || isGo(f)
		main = main || path.Dir(f.name) == folder && isGo(f)
	}
	script, scripted := has[path.Join(Source, build)]
	_, module := has[path.Join(Source, "go.mod")]
	var problem string
	switch {
	case scripted && !script.executable && script.link == "":
		problem = "its file build is not executable"
	case scripted:
		return nil
	case !module && isFile(filepath.Join(o.Source, build)):
		problem = "git ignores its file build"
	case !module && isFile(filepath.Join(o.Source, "go.mod")):
		problem = "git ignores its go.mod"
	case !module:
		problem = "it has neither a go.mod nor an executable named build"
	case !goFiles:
		problem = "it has neither Go files nor an executable named build"
	case !main && o.Package == "":
		problem = "it has no Go files, so its main package is in another folder"
	case !main:
		problem = fmt.Sprintf("there are no Go files in %q", o.Package)
	default:
		if problem = b.ignored(o); problem == "" {
			return nil
		}
	}
	return &BuildError{Source: o.Source, Problem: problem}
}

// ignored says which Go file git ignores beside others of the service's, where the go command finds it here and would not there.
func (b *Bundle) ignored(o Options) string {
	if b.resolved {
		return ""
	}
	has, folders := map[string]bool{}, map[string]bool{}
	for _, f := range b.files {
		if has[f.name] = true; isGo(f) && !strings.HasPrefix(f.name, Source+"/vendor/") {
			folders[path.Dir(f.name)] = true
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(folders)) {
		inside := strings.TrimPrefix(strings.TrimPrefix(folder, Source), "/")
		files, _ := filepath.Glob(filepath.Join(o.Source, filepath.FromSlash(inside), "*.go"))
		for _, file := range files {
			name := filepath.Base(file)
			hidden := strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || strings.HasSuffix(name, "_test.go") || isEditorLeftover(name)
			if text, err := os.ReadFile(file); err == nil && !hidden && !has[path.Join(folder, name)] && !bytes.Contains(text, []byte("//go:build ")) {
				return fmt.Sprintf("git ignores its file %s, which the go command would build here", path.Join(inside, name))
			}
		}
	}
	return ""
}

func isGo(f file) bool { return strings.HasSuffix(f.name, ".go") }

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// add reads the files of a folder that are wanted, and files them under a prefix.
func (b *Bundle) add(ctx context.Context, runner command.Runner, dir, prefix string, wanted func(name string) bool) error {
	names, err := listFiles(ctx, runner, dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !wanted(name) {
			continue
		}
		f, err := readFile(filepath.Join(dir, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // git still tracks what was deleted
		}
		if err != nil {
			return err
		}
		f.name = path.Join(prefix, name)
		b.files = append(b.files, f)
	}
	return nil
}

// Stage is the stage that the bundle is for.
func (b *Bundle) Stage() Stage { return b.stage }

// Names lists the files as they are called in the archive, sorted.
func (b *Bundle) Names() []string {
	names := make([]string, len(b.files))
	for i, f := range b.files {
		names[i] = f.name
	}
	return names
}

// Path is where a file of the bundle lies on this machine's disk; empty for one that does not, as Ingot's own.
func (b *Bundle) Path(name string) string {
	at, found := slices.BinarySearchFunc(b.files, name, func(f file, name string) int { return strings.Compare(f.name, name) })
	if !found {
		return ""
	}
	return b.files[at].path
}

// Fingerprint is a SHA-256 digest in hex over the stage, the names, contents, executable bits and link targets of its files, and the
// given inputs, such as the parent AMI. It does not depend on where the files lie, on their times, or on the umask. The same
// fingerprint stands for the same image.
func (b *Bundle) Fingerprint(inputs map[string]string) string {
	digest := sha256.New()
	writeField(digest, "stage", string(b.stage))
	for _, f := range b.files {
		f.digest(digest)
	}
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		writeField(digest, "input", name, inputs[name])
	}
	return hex.EncodeToString(digest.Sum(nil))
}

// modified is the time of every file in an archive. GNU tar warns about times near 1970.
var modified = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// Archive writes a gzipped tar of exactly the files in the fingerprint, the same bytes for the same files. They belong to root.
func (b *Bundle) Archive(w io.Writer) error {
	zipped := gzip.NewWriter(w)
	archive := tar.NewWriter(zipped)
	for _, f := range b.files {
		if err := f.archive(archive); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), zipped.Close())
}
