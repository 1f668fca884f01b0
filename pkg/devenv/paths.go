package devenv

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ingot-build/ingot/pkg/provision"
)

// displayPath is a path as messages name it: relative to the working folder where it lies below that.
func (o Options) displayPath(path string) string {
	if o.WorkDir == "" {
		return path
	}
	short, err := filepath.Rel(o.WorkDir, path)
	if err != nil || short == ".." || strings.HasPrefix(short, ".."+string(filepath.Separator)) {
		return path
	}
	return short
}

// pathIn is where a file of one of the bundles lies on this machine's disk: a package of another module, for one, is not where the machine
// has it.
func (o Options) pathIn(name string, bundles ...*provision.Bundle) string {
	for _, b := range bundles {
		if path := b.Path(name); path != "" {
			return path
		}
	}
	return o.path(name)
}

// displayFile is a file or a folder of a bundle as messages name it: on this machine's disk, or as one of Ingot's own.
func (o Options) displayFile(name string) string {
	path := o.path(name)
	if inside, ok := strings.CutPrefix(name, provision.Tree+"/"); ok && o.Core != nil {
		if _, err := os.Lstat(path); err != nil {
			if _, err := fs.Stat(o.Core, inside); err == nil {
				return "Ingot's own " + name
			}
		}
	}
	return o.displayPath(path)
}

// position is how Go's commands name a place in the folder that they work in: "./main.go:12:3: …", "sub/x.go:4: …". The compiler's
// own paths are relative, as it runs in the source folder.
var position = regexp.MustCompile(`(?m)^([\t ]*(?:vet: )?)((?:\./)?[^\s:/][^\s:]*):(\d+)(:\d+)?:`)

// hostOutput puts the paths of this machine's disk in place of those that the machine knows, in a stage's output. The files, which are
// those of a bundle, are below folder there.
func (o Options) hostOutput(b *provision.Bundle, folder, output string) string {
	output = strings.ReplaceAll(output, "\r", "")
	output = position.ReplaceAllStringFunc(output, func(at string) string {
		m := position.FindStringSubmatch(at)
		if !strings.Contains(filepath.Base(m[2]), ".") { // "line 3:" and such
			return at
		}
		return m[1] + o.displayPath(o.pathIn(path.Join(provision.Source, m[2]), b)) + ":" + m[3] + m[4] + ":"
	})
	for _, name := range []string{provision.Source, provision.Tree} {
		inside := regexp.MustCompile(regexp.QuoteMeta(folder+"/"+name) + `(/[^\s:"']*)?`)
		output = inside.ReplaceAllStringFunc(output, func(path string) string {
			return o.displayFile(strings.TrimPrefix(path, folder+"/"))
		})
	}
	return output
}

// moduleLine is what names a module in its go.mod.
var moduleLine = regexp.MustCompile(`(?m)^module[ \t]+"?([^\s"]+)`)

// hostPaths returns what puts the paths of this machine's disk in place of those that a line of the journal names. The service knows its
// files by the module's path, as it is built with -trimpath: "example.com/hello/main.go:12" in a panic's trace or a log's source.
func (o Options) hostPaths() func(line string) string {
	data, _ := os.ReadFile(filepath.Join(o.Source, "go.mod"))
	m := moduleLine.FindSubmatch(data)
	if m == nil {
		return func(line string) string { return line }
	}
	// A module below this one's path has a version in its own: "example.com/hello/other@v1.2.3/x.go".
	file := regexp.MustCompile(`(^|[\s"'(=])` + regexp.QuoteMeta(string(m[1])) + `/([^\s:"'@]+\.go)\b`)
	return func(line string) string {
		return file.ReplaceAllStringFunc(line, func(at string) string {
			m := file.FindStringSubmatch(at)
			return m[1] + o.displayPath(filepath.Join(o.Source, filepath.FromSlash(m[2])))
		})
	}
}
