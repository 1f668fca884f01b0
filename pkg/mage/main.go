// Mage is magefile/mage for repositories whose magefiles import Ingot's targets: "go tool mage" with a go.mod that has this package as a
// tool.
//
// It compiles the targets when a file of the repository has changed, one process at a time, says that it does and how long that took
// the last time, and otherwise runs what it compiled before. Everything else is mage's own: the flags, the list of targets, the help.
//
// It is what a fresh clone compiles before anything can be said, so it imports next to nothing.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/magefile/mage/mage"

	"github.com/ingot-build/ingot/internal/lockfile"
	"github.com/ingot-build/ingot/internal/scaffold"
)

func main() {
	args := os.Args[1:]
	if !hasMagefiles(".") {
		var err error
		root := rootOf(".")
		inside := root != "" && len(args) > 0 && args[0] != "init" // a folder of a repository's
		if inside {
			err = os.Chdir(root)
		} else {
			err = begin(args)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "Error:", err)
			os.Exit(1)
		}
		if !inside {
			return
		}
	}
	about := helpWanted(args)
	lists := slices.Equal(args, []string{"-l"}) || len(args) == 0
	if !runsTargets(args) && about == "" && !lists {
		os.Exit(mage.Main())
	}
	path, err := find(".")
	if err == nil && !lists {
		err = compile(context.Background(), path)
	} else if err == nil && !exists(path) {
		err = errUnknown // mage lists them from the source, and need not wait for the compiler
	}
	if errors.Is(err, errUnknown) {
		os.Exit(mage.Main())
	}
	if err == nil && about != "" {
		args = []string{"-h", helpName(path, about)}
	}
	if err == nil {
		err = syscall.Exec(path, append([]string{"mage"}, args...), os.Environ())
	}
	fmt.Fprintln(os.Stderr, "Error:", err)
	os.Exit(1)
}

// rootOf is the nearest folder above one that has settings and magefiles; empty where there is none.
func rootOf(dir string) string {
	dir, err := filepath.Abs(dir)
	for err == nil && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir)
		if _, err := os.Stat(filepath.Join(dir, "ingot.hcl")); err == nil && hasMagefiles(dir) {
			return dir
		}
	}
	return ""
}

// hasMagefiles tells whether there is something to compile in a folder.
func hasMagefiles(dir string) bool {
	if info, err := os.Stat(filepath.Join(dir, "magefiles")); err == nil && info.IsDir() {
		return true
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.go"))
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && regexp.MustCompile(`(?m)^//(go:build|\s*\+build).*\bmage\b`).Match(text)
	})
}

// begin is the target init, which has to work before there are targets.
func begin(args []string) error {
	if len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "-l" { // of mage's own: another folder, its version
		os.Exit(mage.Main())
	}
	if len(args) == 0 || args[0] != "init" {
		return errors.New("there are no targets here, nor in a folder above: begin with \"go tool mage init\"")
	}
	flags := flag.NewFlagSet("init", flag.ContinueOnError)
	app := flags.String("app", "", "the application's `name`; the folder's by default")
	if err := flags.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("init takes no %q", flags.Arg(0))
	}
	if err := scaffold.Init(context.Background(), scaffold.Options{Root: ".", App: *app, Out: os.Stderr}); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "Next, the whole pipeline on this machine: go tool mage setup rehearse")
	return nil
}

// runsTargets tells whether arguments are of the kind that the compiled targets take: mage's own flags come first, and -t and -v are
// theirs as well.
func runsTargets(args []string) bool {
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "-v":
		case args[i] == "-t":
			i++
		default:
			return !strings.HasPrefix(args[i], "-")
		}
	}
	return false
}

// helpWanted is what arguments ask help about: mage takes them as "-h TARGET", and people write "TARGET --help" as well, which mage would
// understand too late or not at all. Empty where they ask for none.
func helpWanted(args []string) string {
	isHelp := func(arg string) bool { return slices.Contains([]string{"-h", "-help", "--help"}, arg) }
	if len(args) == 2 && isHelp(args[0]) {
		return args[1]
	}
	for i := slices.IndexFunc(args, isHelp) - 1; i >= 0; i-- {
		if !strings.HasPrefix(args[i], "-") {
			return args[i]
		}
	}
	return ""
}

// helpName is the name of a target for mage's help, which does not know the bare word of a namespace.
func helpName(path, name string) string {
	up := name + ":up"
	if exec.Command(path, "-h", name).Run() != nil && exec.Command(path, "-h", up).Run() == nil {
		return up
	}
	return name
}

// errUnknown means that what the targets are made of cannot be told from the repository's files alone.
var errUnknown = errors.New("the targets depend on other files than the repository's")

// kept is how many compiled versions of a repository's targets are kept: a local cloud or a development machine may still run an old one.
const kept = 4

// find returns the path of the compiled targets of the repository in a folder, where they are or are to be.
func find(root string) (path string, err error) {
	root, err = filepath.Abs(root)
	if err != nil {
		return "", err
	}
	key, err := keyOf(root)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", errUnknown // mage has its own idea of where to put things
	}
	name := sha256.Sum256([]byte(root))
	return filepath.Join(cache, "ingot", "targets", hex.EncodeToString(name[:8]), key, "mage"), nil // its help calls it by this name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// compile makes the compiled targets of the repository in the working folder, where they are not there already.
func compile(ctx context.Context, path string) error {
	if exists(path) {
		return nil
	}
	dir := filepath.Dir(filepath.Dir(path))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Two at once would write and remove the same generated file in the repository.
	lock, err := lockfile.Wait(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	if exists(path) {
		return nil
	}
	begin := time.Now()
	took := filepath.Join(dir, "took")
	saying := time.AfterFunc(time.Second, func() { fmt.Fprintln(os.Stderr, say(took)) })
	defer saying.Stop()
	fresh := filepath.Dir(path) + ".new"
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		return err
	}
	if code := mage.ParseAndRun(os.Stderr, os.Stderr, os.Stdin, []string{"-compile", filepath.Join(fresh, filepath.Base(path))}); code != 0 {
		os.Exit(code) // the compiler has said why
	}
	if err := os.Rename(fresh, filepath.Dir(path)); err != nil {
		return err
	}
	if d := time.Since(begin).Round(time.Second); d >= 5*time.Second { // the rest is no news
		fmt.Fprintf(os.Stderr, "✓ compiled the targets (%s)\n", d)
		_ = os.WriteFile(took, []byte(d.String()), 0o644)
	}
	return prune(dir)
}

// say is what a person reads while the targets are compiled.
func say(took string) string {
	if last, err := os.ReadFile(took); err == nil {
		return fmt.Sprintf("• compiling the targets (%s the last time that it took long)", last)
	}
	return "• compiling the targets, which takes some minutes the first time"
}

// prune removes all but the newest compiled versions.
func prune(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	type version struct {
		path string
		made time.Time
	}
	var versions []version
	for _, e := range entries {
		if info, err := e.Info(); err == nil && len(e.Name()) == hex.EncodedLen(keySize) {
			versions = append(versions, version{filepath.Join(dir, e.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(versions, func(a, b version) int { return b.made.Compare(a.made) })
	for _, old := range versions[min(kept, len(versions)):] {
		if err := os.RemoveAll(old.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// keySize is the length of a key in bytes.
const keySize = 16

// isModule tells whether a folder is a module of its own, as the service's is: the targets have nothing of it.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// keyOf is a digest of what the targets of a repository are compiled from and with: the times and sizes of the files of its module, the
// Go version and its settings. It fails with errUnknown where go.mod takes code from folders outside, or there is no magefiles folder.
func keyOf(root string) (string, error) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", errUnknown
	}
	if info, err := os.Stat(filepath.Join(root, "magefiles")); err != nil || !info.IsDir() {
		return "", errUnknown
	}
	for line := range strings.Lines(string(mod)) {
		if _, to, ok := strings.Cut(line, "=>"); ok && strings.HasPrefix(strings.TrimSpace(to), ".") || ok && filepath.IsAbs(strings.TrimSpace(to)) {
			return "", errUnknown
		}
	}
	for dir := root; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return "", errUnknown
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), root)
	for _, name := range []string{"GOFLAGS", "GOOS", "GOARCH", "GOEXPERIMENT", "CGO_ENABLED", "GOTOOLCHAIN", "GOWORK"} {
		fmt.Fprintf(h, "%s=%s\n", name, os.Getenv(name))
	}
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
				return nil
			}
			return err
		}
		name := e.Name()
		if e.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || isModule(path)) {
				return filepath.SkipDir
			}
			return nil
		}
		if !e.Type().IsRegular() || name == "mage_output_file.go" {
			return nil
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %d %d\n", path, info.Size(), info.ModTime().UnixNano())
		return nil
	})
	return hex.EncodeToString(h.Sum(nil)[:keySize]), err
}
