package codedeploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxAppSpec is the largest application specification that is read, in bytes.
const maxAppSpec = 1 << 20

// appSpec is an application specification for EC2.
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file.html.
type appSpec struct {
	Files       []fileMapping
	FileExists  string // DISALLOW, OVERWRITE, RETAIN, or "" for what the deployment says
	Permissions []permission
	Hooks       map[string][]hookScript // by lifecycle event
}

type fileMapping struct {
	Source      string // within the revision; "." is all of it
	Destination string // an absolute folder
}

type permission struct {
	Object       string // absolute
	Pattern      string // "**" for everything beneath
	Except       []string
	Owner, Group string
	Mode         string // octal
	Types        []string
}

type hookScript struct {
	Location string // within the revision
	Timeout  int    // seconds
	RunAs    string
}

// defaultScriptTimeout is how long a script may take that does not say, in seconds, as on AWS.
const defaultScriptTimeout = 3600

// parseAppSpec reads an application specification, more strictly than the agent does: what it does not know is an error, with the
// line.
func parseAppSpec(name string, data []byte) (*appSpec, error) {
	p := &specParser{name: name}
	spec, err := p.parse(data)
	if err != nil {
		return nil, err
	}
	return spec, nil
}

type specParser struct{ name string }

func (p *specParser) errorf(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.name, n.Line, fmt.Sprintf(format, args...))
}

func (p *specParser) parse(data []byte) (*appSpec, error) {
	if len(data) > maxAppSpec {
		return nil, fmt.Errorf("%s: it is larger than %d bytes", p.name, maxAppSpec)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) || err == nil && len(document.Content) == 0 {
		return nil, fmt.Errorf("%s: it is empty: version and os are needed at least", p.name)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s", p.name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: it has more than one document", p.name)
	}
	root := document.Content[0]
	spec := &appSpec{Hooks: map[string][]hookScript{}}
	seen, err := p.fields(root, map[string]func(*yaml.Node) error{
		"version":              p.version,
		"os":                   p.os,
		"files":                func(n *yaml.Node) error { return p.list(n, func(n *yaml.Node) error { return p.file(n, spec) }) },
		"file_exists_behavior": func(n *yaml.Node) error { return p.fileExists(n, spec) },
		"permissions":          func(n *yaml.Node) error { return p.list(n, func(n *yaml.Node) error { return p.permission(n, spec) }) },
		"hooks":                func(n *yaml.Node) error { return p.hooks(n, spec) },
	})
	if err != nil {
		return nil, err
	}
	for _, needed := range []string{"version", "os"} {
		if !seen[needed] {
			return nil, p.errorf(root, "%s is missing", needed)
		}
	}
	return spec, nil
}

// fields calls the function of each key of a mapping. It returns the keys that there are.
func (p *specParser) fields(n *yaml.Node, known map[string]func(*yaml.Node) error) (map[string]bool, error) {
	seen := map[string]bool{}
	return seen, p.mapping(n, func(key, value *yaml.Node) error {
		parse, ok := known[key.Value]
		if !ok {
			return p.errorf(key, "unknown key %q", key.Value)
		}
		seen[key.Value] = true
		return parse(value)
	})
}

// mapping calls f for each key of a mapping, none of which may come twice.
func (p *specParser) mapping(n *yaml.Node, f func(key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return p.errorf(n, "want keys with values")
	}
	seen := map[string]bool{}
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.Tag != "!!str" {
			return p.errorf(key, "a key is not a text")
		}
		if seen[key.Value] {
			return p.errorf(key, "the key %q comes twice", key.Value)
		}
		seen[key.Value] = true
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

// list calls f for each item of a list, which may be empty.
func (p *specParser) list(n *yaml.Node, f func(*yaml.Node) error) error {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return p.errorf(n, "want a list")
	}
	for _, item := range n.Content {
		if err := f(item); err != nil {
			return err
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// text returns a text that is not empty.
func (p *specParser) text(n *yaml.Node, what string, into *string) error {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Value == "" {
		return p.errorf(n, "%s: want a text", what)
	}
	if strings.ContainsAny(n.Value, "\x00\n") {
		return p.errorf(n, "%s: it has more than one line", what)
	}
	*into = n.Value
	return nil
}

// oneOf returns a text that is one of a few.
func (p *specParser) oneOf(n *yaml.Node, what string, known []string, into *string) error {
	if err := p.text(n, what, into); err != nil {
		return err
	}
	if !slices.Contains(known, *into) {
		return p.errorf(n, "%s: %q is not one of %s", what, *into, strings.Join(known, ", "))
	}
	return nil
}

func (p *specParser) version(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!float" || n.Value != "0.0" {
		return p.errorf(n, "version: want 0.0, without quotes")
	}
	return nil
}

func (p *specParser) os(n *yaml.Node) error {
	var name string
	return p.oneOf(n, "os", []string{"linux"}, &name)
}

func (p *specParser) fileExists(n *yaml.Node, spec *appSpec) error {
	return p.oneOf(n, "file_exists_behavior", []string{"DISALLOW", "OVERWRITE", "RETAIN"}, &spec.FileExists)
}

func (p *specParser) file(n *yaml.Node, spec *appSpec) error {
	var f fileMapping
	seen, err := p.fields(n, map[string]func(*yaml.Node) error{
		"source":      func(n *yaml.Node) error { return p.inRevision(n, "source", &f.Source) },
		"destination": func(n *yaml.Node) error { return p.absolute(n, "destination", &f.Destination) },
	})
	if err != nil {
		return err
	}
	if !seen["source"] || !seen["destination"] {
		return p.errorf(n, "a file needs source and destination")
	}
	spec.Files = append(spec.Files, f)
	return nil
}

// inRevision returns a path within the revision. As with the agent a leading slash is the revision's root.
func (p *specParser) inRevision(n *yaml.Node, what string, into *string) error {
	if err := p.text(n, what, into); err != nil {
		return err
	}
	local := strings.TrimLeft(*into, "/")
	if local == "" {
		local = "."
	}
	if !filepath.IsLocal(local) {
		return p.errorf(n, "%s: %q is outside of the revision", what, *into)
	}
	*into = path.Clean(local)
	return nil
}

func (p *specParser) absolute(n *yaml.Node, what string, into *string) error {
	if err := p.text(n, what, into); err != nil {
		return err
	}
	if !path.IsAbs(*into) {
		return p.errorf(n, "%s: %q does not begin with /", what, *into)
	}
	*into = path.Clean(*into)
	return nil
}

var (
	validMode = regexp.MustCompile(`^[0-7]{1,4}$`)
	validUser = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*\$?$|^[0-9]+$`)
)

func (p *specParser) permission(n *yaml.Node, spec *appSpec) error {
	m := permission{Pattern: "**", Types: []string{"file", "directory"}}
	refuse := func(n *yaml.Node) error {
		return p.errorf(n, "acls and context are not available: this local cloud's machines have neither")
	}
	seen, err := p.fields(n, map[string]func(*yaml.Node) error{
		"object":  func(n *yaml.Node) error { return p.absolute(n, "object", &m.Object) },
		"pattern": func(n *yaml.Node) error { return p.text(n, "pattern", &m.Pattern) },
		"except": func(n *yaml.Node) error {
			return p.list(n, func(n *yaml.Node) error {
				var one string
				err := p.text(n, "except", &one)
				m.Except = append(m.Except, one)
				return err
			})
		},
		"owner": func(n *yaml.Node) error { return p.user(n, "owner", &m.Owner) },
		"group": func(n *yaml.Node) error { return p.user(n, "group", &m.Group) },
		"mode":  func(n *yaml.Node) error { return p.mode(n, &m) },
		"type": func(n *yaml.Node) error {
			m.Types = nil
			return p.list(n, func(n *yaml.Node) error {
				var one string
				err := p.oneOf(n, "type", []string{"file", "directory"}, &one)
				m.Types = append(m.Types, one)
				return err
			})
		},
		"acls": refuse, "context": refuse,
	})
	if err != nil {
		return err
	}
	if !seen["object"] {
		return p.errorf(n, "a permission needs an object")
	}
	spec.Permissions = append(spec.Permissions, m)
	return nil
}

func (p *specParser) user(n *yaml.Node, what string, into *string) error {
	if err := p.text(n, what, into); err != nil {
		return err
	}
	if !validUser.MatchString(*into) {
		return p.errorf(n, "%s: %q is not a name", what, *into)
	}
	return nil
}

// mode reads a file mode. The agent takes the number that YAML makes of it for octal digits, so a leading zero, which makes YAML read
// it as octal itself, gives another mode than it says.
func (p *specParser) mode(n *yaml.Node, m *permission) error {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!str" || !validMode.MatchString(n.Value) {
		return p.errorf(n, "mode: want up to four octal digits")
	}
	if n.Tag == "!!int" && len(n.Value) > 1 && n.Value[0] == '0' {
		return p.errorf(n, "mode: %s is read as another number: write %s", n.Value, strings.TrimLeft(n.Value, "0"))
	}
	m.Mode = n.Value
	return nil
}

func (p *specParser) hooks(n *yaml.Node, spec *appSpec) error {
	if isNull(n) {
		return nil
	}
	return p.mapping(n, func(key, value *yaml.Node) error {
		if !isScripted(key.Value) {
			return p.errorf(key, "%q is not a lifecycle event that runs scripts", key.Value)
		}
		return p.list(value, func(n *yaml.Node) error {
			script, err := p.script(n)
			spec.Hooks[key.Value] = append(spec.Hooks[key.Value], script)
			return err
		})
	})
}

func (p *specParser) script(n *yaml.Node) (hookScript, error) {
	s := hookScript{Timeout: defaultScriptTimeout}
	seen, err := p.fields(n, map[string]func(*yaml.Node) error{
		"location": func(n *yaml.Node) error { return p.inRevision(n, "location", &s.Location) },
		"runas":    func(n *yaml.Node) error { return p.user(n, "runas", &s.RunAs) },
		"timeout": func(n *yaml.Node) (err error) {
			s.Timeout, err = strconv.Atoi(n.Value)
			if err != nil || n.Kind != yaml.ScalarNode || n.Tag != "!!int" || s.Timeout < 1 || s.Timeout > defaultScriptTimeout {
				return p.errorf(n, "timeout: want a number of seconds from 1 to %d", defaultScriptTimeout)
			}
			return nil
		},
	})
	if err != nil {
		return s, err
	}
	if !seen["location"] {
		return s, p.errorf(n, "a script needs a location")
	}
	return s, nil
}
