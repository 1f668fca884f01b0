package provision

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/ingot-build/ingot/pkg/command"
)

// listFiles names the files under dir, with slashes and relative to it, in no particular order. Some may have been deleted.
func listFiles(ctx context.Context, runner command.Runner, dir string) ([]string, error) {
	names, err := listGit(ctx, runner, dir)
	if errors.Is(err, errNoGit) {
		names, err = walkFiles(dir)
	}
	return names, err
}

// errNoGit means that git cannot say what is in a folder: there is no git, or no work tree, or the folder is ignored as a whole.
var errNoGit = errors.New("not in a git work tree")

// listGit names what git tracks or would track.
func listGit(ctx context.Context, runner command.Runner, dir string) ([]string, error) {
	out, err := command.Output(ctx, runner, command.Cmd{
		Path: "git",
		Args: []string{"ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "-z"},
		Dir:  dir,
		Env:  []string{"LC_ALL=C"},
	})
	if err != nil {
		failed := new(command.Error)
		if errors.Is(err, exec.ErrNotFound) || errors.As(err, &failed) && strings.Contains(failed.Stderr, "not a git repository") {
			return nil, errNoGit
		}
		return nil, fmt.Errorf("list files: %w", err)
	}
	var names []string
	for name := range strings.SplitSeq(out, "\x00") {
		if name == "" || isEditorLeftover(path.Base(name)) {
			continue
		}
		// A submodule, or another repository inside this one, is named as a folder: "sub" or "sub/".
		name = strings.TrimSuffix(name, "/")
		if info, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(name))); err == nil && info.IsDir() {
			nested, err := listFiles(ctx, runner, filepath.Join(dir, filepath.FromSlash(name)))
			if err != nil {
				return nil, err
			}
			for _, n := range nested {
				names = append(names, path.Join(name, n))
			}
			continue
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, errNoGit
	}
	return names, nil
}

// walkFiles names every file but those of git and leftovers.
func walkFiles(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.Name() == ".git": // a folder, or a file in a submodule
			if entry.IsDir() {
				return fs.SkipDir
			}
		case !entry.IsDir() && !isEditorLeftover(entry.Name()):
			relative, err := filepath.Rel(dir, name)
			if err != nil {
				return err
			}
			names = append(names, filepath.ToSlash(relative))
		}
		return nil
	})
	return names, err
}

// isEditorLeftover tells what editors and desktops drop beside the files that one edits.
func isEditorLeftover(base string) bool {
	for _, pattern := range []string{"*~", ".*.sw[a-p]", ".#*", "#*#", ".DS_Store"} {
		if matched, _ := path.Match(pattern, base); matched {
			return true
		}
	}
	return false
}
