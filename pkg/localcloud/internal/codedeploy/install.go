package codedeploy

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"path"
	"slices"
	"strings"
)

//go:embed guest/clean.sh
var cleanScript string

//go:embed guest/list.sh
var listScript string

//go:embed guest/kinds.sh
var kindsScript string

//go:embed guest/apply.sh
var applyScript string

// cleanupFile is the file that names what the last deployment of the group installed.
func (a *agent) cleanupFile() string { return instructionsFolder + "/" + a.groupID + "-cleanup" }

// install copies the revision's files to where the application specification wants them, after it has removed what the last deployment
// of the group put there.
func (a *agent) install(ctx context.Context) error {
	spec, folder, err := a.readSpec(ctx, install)
	if err != nil {
		return err
	}
	if folder == "" {
		return fmt.Errorf("the revision is not on the instance any more: %s is gone", a.archive())
	}
	if _, err := a.bash(ctx, "remove what the last deployment installed", cleanScript, nil, a.cleanupFile()); err != nil {
		return err
	}
	steps, err := a.plan(ctx, spec)
	if err != nil {
		return err
	}
	var records bytes.Buffer
	for _, s := range steps {
		fmt.Fprintf(&records, "%s\x00%s\x00%s\x00", s.verb, s.path, s.with)
	}
	_, err = a.bash(ctx, "install the files", applyScript, &records, a.cleanupFile(), a.lastInstall(), a.folder())
	return err
}

// plan asks the instance about everything that the files and permissions concern, and decides what is to be done.
func (a *agent) plan(ctx context.Context, spec *appSpec) ([]step, error) {
	if len(spec.Files) == 0 && len(spec.Permissions) == 0 {
		return nil, nil
	}
	out, err := a.bash(ctx, "list the revision", listScript, nil, a.archive())
	if err != nil {
		return nil, err
	}
	p := &planner{
		archive: a.archive(), fileExists: a.fileExists, entries: parsePairs(out), existing: map[string]string{},
		copied: map[string]string{}, made: map[string]bool{}, permitted: map[string]bool{},
	}
	if spec.FileExists != "" {
		p.fileExists = spec.FileExists
	}
	out, err = a.bash(ctx, "look at where the files go", kindsScript, strings.NewReader(strings.Join(p.asks(spec), "\x00")+"\x00"))
	if err != nil {
		return nil, err
	}
	p.existing = parsePairs(out)
	return p.plan(spec)
}

// parsePairs reads what kinds.sh and list.sh print: kinds (d, f) and paths, each ended by a zero byte.
func parsePairs(out []byte) map[string]string {
	pairs := map[string]string{}
	fields := strings.Split(string(out), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		pairs[fields[i+1]] = fields[i]
	}
	return pairs
}

// step is one thing to do on the instance: mkdir PATH; copy PATH from WITH; chmod PATH to WITH; chown PATH to WITH, which is
// OWNER:GROUP.
type step struct{ verb, path, with string }

// planner decides how a revision is installed.
type planner struct {
	archive    string            // the revision's folder
	fileExists string            // DISALLOW, OVERWRITE or RETAIN
	entries    map[string]string // kinds of what is in the revision, by path within it
	existing   map[string]string // kinds of what is on the instance, by absolute path

	steps     []step
	copied    map[string]string // sources by destination
	made      map[string]bool   // folders
	permitted map[string]bool   // objects whose permissions are set
}

// pairs calls f with each file and folder that a mapping installs, parents first: its path in the revision and on the instance.
func (p *planner) pairs(m fileMapping, f func(kind, from, to string) error) error {
	kind, ok := p.entries[m.Source]
	if m.Source == "." {
		kind, ok = "d", true
	}
	if !ok {
		return unknownError("No such file or directory - %s", path.Join(p.archive, m.Source))
	}
	if kind != "d" {
		return f(kind, m.Source, path.Join(m.Destination, path.Base(m.Source)))
	}
	if err := f("d", m.Source, m.Destination); err != nil {
		return err
	}
	for _, name := range sortedKeys(p.entries) {
		inside, ok := strings.CutPrefix(name, m.Source+"/")
		if m.Source == "." {
			inside, ok = name, true
		}
		if ok {
			if err := f(p.entries[name], name, path.Join(m.Destination, inside)); err != nil {
				return err
			}
		}
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// asks returns the paths on the instance that the plan depends on.
func (p *planner) asks(spec *appSpec) []string {
	wanted := map[string]string{}
	ask := func(at string) {
		for ; at != "/" && wanted[at] == ""; at = path.Dir(at) {
			wanted[at] = at
		}
	}
	for _, m := range spec.Files {
		_ = p.pairs(m, func(_, _, to string) error { // a source that is not there fails the plan
			ask(to)
			return nil
		})
	}
	for _, m := range spec.Permissions {
		ask(m.Object)
	}
	return sortedKeys(wanted)
}

func (p *planner) plan(spec *appSpec) ([]step, error) {
	for _, m := range spec.Files {
		err := p.pairs(m, func(kind, from, to string) error {
			p.makeParents(to)
			if kind == "d" {
				return p.makeFolder(to)
			}
			return p.copy(path.Join(p.archive, from), to)
		})
		if err != nil {
			return nil, err
		}
	}
	for _, m := range spec.Permissions {
		if err := p.permit(m); err != nil {
			return nil, err
		}
	}
	return p.steps, nil
}

func (p *planner) makeParents(of string) {
	if parent := path.Dir(of); parent != "/" && p.existing[parent] == "" && !p.made[parent] {
		p.makeParents(parent)
		p.made[parent] = true
		p.steps = append(p.steps, step{verb: "mkdir", path: parent})
	}
}

func (p *planner) makeFolder(at string) error {
	if _, isFile := p.copied[at]; isFile || p.existing[at] != "" && p.existing[at] != "d" {
		return unknownError("File exists - %s", at)
	}
	if at != "/" && p.existing[at] == "" && !p.made[at] {
		p.made[at] = true
		p.steps = append(p.steps, step{verb: "mkdir", path: at})
	}
	return nil
}

func (p *planner) copy(from, to string) error {
	if other, twice := p.copied[to]; twice {
		return unknownError("The deployment failed because the application specification file specifies two source files named %s and %s for the "+
			"same destination (%s). Remove one of the source file paths from the AppSpec file, and then try again.", from, other, to)
	}
	if p.made[to] || p.existing[to] == "d" {
		return unknownError("The deployment failed because the application specification file calls for installing the file %s, but a file with "+
			"that name already exists at the location (%s). Update your AppSpec file or directory structure, and then try again.", from, to)
	}
	if p.existing[to] != "" {
		switch p.fileExists {
		case "RETAIN":
			return nil
		case "DISALLOW":
			return unknownError("The deployment failed because a specified file already exists at this location: %s", to)
		}
	}
	p.copied[to] = from
	p.steps = append(p.steps, step{"copy", to, from})
	return nil
}

// permit sets the permissions of what the deployment installs; nothing else is touched.
func (p *planner) permit(m permission) error {
	if _, isFile := p.copied[m.Object]; isFile {
		if !slices.Contains(m.Types, "file") {
			return nil
		}
		if m.Pattern != "**" || len(m.Except) > 0 {
			return unknownError("The deployment failed because the application specification file includes an object (%s) with an invalid pattern "+
				"(%s), such as a pattern for a file applied to a directory. Correct the permissions section of the AppSpec file, and then try "+
				"again.", m.Object, m.Pattern)
		}
		return p.set(m, m.Object)
	}
	if !p.made[m.Object] && p.existing[m.Object] != "d" {
		return nil
	}
	var matches []string
	if slices.Contains(m.Types, "file") {
		matches = append(matches, sortedKeys(p.copied)...)
	}
	if slices.Contains(m.Types, "directory") {
		folders := map[string]string{}
		for folder := range p.made {
			folders[folder] = ""
		}
		matches = append(matches, sortedKeys(folders)...)
	}
	for _, at := range matches {
		inside, ok := strings.CutPrefix(at, strings.TrimSuffix(m.Object, "/")+"/")
		if !ok || m.Pattern != "**" && !matchesName(m.Pattern, inside) ||
			slices.ContainsFunc(m.Except, func(except string) bool { return matchesName(except, inside) }) {
			continue
		}
		if err := p.set(m, at); err != nil {
			return err
		}
	}
	return nil
}

func (p *planner) set(m permission, at string) error {
	if p.permitted[at] {
		return unknownError("The deployment failed because the permissions setting for (%s) is specified more than once in the application "+
			"specification file. Update the files section of the AppSpec file, and then try again.", at)
	}
	p.permitted[at] = true
	if m.Owner != "" || m.Group != "" {
		owner := m.Owner
		if m.Group != "" {
			owner += ":" + m.Group
		}
		p.steps = append(p.steps, step{"chown", at, owner}) // first: it takes away the bits that a mode may set
	}
	if m.Mode != "" {
		p.steps = append(p.steps, step{"chmod", at, m.Mode})
	}
	return nil
}

// matchesName reports whether a pattern, in which * stands for any characters, matches a name. It matches no path.
func matchesName(pattern, name string) bool {
	if strings.Contains(name, "/") {
		return false
	}
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return len(rest) >= len(last) && strings.HasSuffix(rest, last)
}
