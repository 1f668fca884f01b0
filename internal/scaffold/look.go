package scaffold

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ingot-build/ingot/pkg/command"
)

// Service is what a repository's service looks like from outside.
type Service struct {
	What   string // what it was taken for, and why
	Source string // folder with the service's source, slash-separated; "." for the repository itself
	// Package is the main package of a Go module, such as "./cmd/hello"; empty for Source itself.
	Package string
	Port    int // 0 where nothing says

	Packages []string // Debian packages that it needs, where it is no Go module
	Prepare  string   // command of a shell that builds it in Source, where there is something to build
	Paths    string   // assignments of a shell that let it find what was built
	Command  string   // command of a shell that starts it in Source
}

// usual are the folders in which services lie, most usual first.
var usual = []string{"service", ".", "server", "app", "backend", "api", "src"}

// Look finds out what the service of a repository is. It returns nil where there is none.
func Look(root string) (*Service, error) {
	for _, folder := range usual {
		s, err := look(filepath.Join(root, folder))
		if err != nil {
			return nil, fmt.Errorf("look at %q: %w", folder, err)
		}
		if s != nil {
			s.Source = folder
			return s, nil
		}
	}
	return nil, nil
}

func look(dir string) (*Service, error) {
	has := func(name string) bool {
		info, err := os.Stat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular()
	}
	docker, err := readDockerfile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		return nil, err
	}
	var s *Service
	switch {
	case has("build"):
		s = &Service{What: "something that builds itself, by its file build"}
	case has("go.mod"):
		s, err = lookGo(dir)
	}
	if err != nil {
		return nil, err
	}
	builds := s != nil // by itself, or as a Go module
	switch {
	case builds:
	case has("package.json"):
		s, err = lookNode(dir)
	case has("requirements.txt"), has("pyproject.toml"), has("app.py"), has("main.py"), has("manage.py"):
		s = lookPython(has)
	case docker.command != "":
		s = &Service{What: "what its Dockerfile starts"}
	default:
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	s.Port = docker.port
	if docker.command != "" && !builds {
		s.Command = docker.command
	}
	return s, nil
}

// mainPackage is what a file of a main package begins with, comments aside.
var mainPackage = regexp.MustCompile(`(?m)^package main\b`)

// lookGo finds the main package of a Go module; nil where it has none, as a go.mod that only names tools.
func lookGo(dir string) (*Service, error) {
	var mains []string
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if name != dir && (err == nil || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || slices.Contains([]string{"magefiles", "vendor", "testdata", "node_modules"}, base)) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil || !mainPackage.Match(text) || bytes.HasPrefix(text, []byte("//go:build ignore")) || bytes.HasPrefix(text, []byte("//go:build mage")) {
			return err
		}
		folder, err := filepath.Rel(dir, filepath.Dir(name))
		if folder = filepath.ToSlash(folder); err == nil && !slices.Contains(mains, folder) {
			mains = append(mains, folder)
		}
		return err
	})
	if err != nil || len(mains) == 0 {
		return nil, err
	}
	s := &Service{What: "a Go module"}
	switch chosen := choose(mains); {
	case chosen == ".":
	case len(mains) > 1:
		s.Package = "./" + chosen
		s.What = fmt.Sprintf("a Go module with %d main packages (%s), of which %s is the service", len(mains), strings.Join(mains, ", "), chosen)
	default:
		s.Package = "./" + chosen
		s.What += " with its main package in " + chosen
	}
	return s, nil
}

// choose returns the main package that is most likely to be the service.
func choose(mains []string) string {
	if slices.Contains(mains, ".") {
		return "."
	}
	for _, name := range []string{"server", "service", "api", "web", "app"} {
		if i := slices.IndexFunc(mains, func(main string) bool { return path.Base(main) == name }); i >= 0 {
			return mains[i]
		}
	}
	slices.Sort(mains)
	return mains[0]
}

func lookNode(dir string) (*Service, error) {
	data, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return nil, err
	}
	var manifest struct {
		Main         string
		Scripts      map[string]string
		Dependencies map[string]string
	}
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("read package.json: %w", err)
	}
	s := &Service{What: "a Node service, by its package.json", Packages: []string{"nodejs"}, Command: "node " + cmp.Or(manifest.Main, "index.js")}
	if start := manifest.Scripts["start"]; start != "" {
		s.Command = start
	}
	if len(manifest.Dependencies) > 0 || manifest.Scripts["build"] != "" {
		s.Packages = append(s.Packages, "npm")
		s.Paths = "PATH=/opt/app/node_modules/.bin:$PATH"
		install := "ci"
		if _, err := os.Stat(filepath.Join(dir, "package-lock.json")); errors.Is(err, fs.ErrNotExist) {
			install = "install"
		}
		s.Prepare = "npm " + install + ` --no-audit --no-fund --cache "$CACHE/npm"`
		if manifest.Scripts["build"] != "" {
			s.Prepare += " && npm run build && npm prune --omit=dev"
		} else {
			s.Prepare += " --omit=dev"
		}
	}
	return s, nil
}

func lookPython(has func(name string) bool) *Service {
	s := &Service{What: "a Python service", Packages: []string{"python3"}}
	switch {
	case has("manage.py"):
		s.Command = "python3 manage.py runserver --noreload 0.0.0.0:$PORT"
	case has("main.py") && !has("app.py"):
		s.Command = "python3 main.py"
	default:
		s.Command = "python3 app.py"
	}
	what := ""
	switch {
	case has("requirements.txt"):
		what = "-r requirements.txt"
		s.What += ", by its requirements.txt"
	case has("pyproject.toml"):
		what = "."
		s.What += ", by its pyproject.toml"
	}
	if what != "" {
		s.Packages = append(s.Packages, "python3-pip")
		s.Prepare = `python3 -m pip install --quiet --no-input --cache-dir "$CACHE/pip" --target lib ` + what
		s.Paths = "PYTHONPATH=/opt/app/lib PATH=/opt/app/lib/bin:$PATH"
	}
	return s
}

// dockerfile is what a Dockerfile says of how a service is started.
type dockerfile struct {
	command string // CMD or ENTRYPOINT with it, for a shell
	port    int    // the first EXPOSE
}

// readDockerfile reads the last stage of a Dockerfile; it has nothing to say where there is none.
func readDockerfile(name string) (dockerfile, error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return dockerfile{}, nil
	}
	if err != nil {
		return dockerfile{}, err
	}
	return parseDockerfile(data), nil
}

func parseDockerfile(data []byte) dockerfile {
	var d dockerfile
	var entry, command string
	joined := regexp.MustCompile(`\\[ \t]*\r?\n`).ReplaceAll(data, []byte(" "))
	for scanner := bufio.NewScanner(bytes.NewReader(joined)); scanner.Scan(); {
		word, rest, _ := strings.Cut(strings.TrimSpace(scanner.Text()), " ")
		rest = strings.TrimSpace(rest)
		switch strings.ToUpper(word) {
		case "FROM":
			entry, command, d.port = "", "", 0
		case "EXPOSE":
			number, _, _ := strings.Cut(rest, "/")
			number, _, _ = strings.Cut(number, " ")
			if port, err := strconv.Atoi(number); err == nil && port > 0 && port <= 65535 && d.port == 0 {
				d.port = port
			}
		case "ENTRYPOINT":
			entry = shellCommand(rest)
		case "CMD":
			command = shellCommand(rest)
		}
	}
	d.command = strings.TrimSpace(entry + " " + command)
	return d
}

// shellCommand is a CMD in either of its forms as a shell writes it.
func shellCommand(text string) string {
	var words []string
	if json.Unmarshal([]byte(text), &words) != nil {
		return text
	}
	return command.Quote(words)
}
