// Package owned tells which of the files that come with Ingot a repository has as its own, and makes one its own.
package owned

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/aymanbagabas/go-udiff"

	"github.com/ingot-build/ingot/internal/scaffold"
)

// Eject writes a file of core's, or all of a folder's, at the same path below root, where it is the repository's own from then on. It
// keeps what is there and fails then, before it has written anything.
func Eject(core fs.FS, root, name string, out io.Writer) error {
	name = path.Clean(filepath.ToSlash(name))
	files := map[string]string{}
	err := fs.WalkDir(core, name, func(at string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if _, err := os.Lstat(filepath.Join(root, filepath.FromSlash(at))); err == nil {
			return fmt.Errorf("%q is there already", at)
		}
		data, err := fs.ReadFile(core, at)
		files[at] = string(data)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return fmt.Errorf("there is no %q of Ingot's; is it %q?", name, nearest(core, name))
	}
	if err != nil {
		return err
	}
	return scaffold.Write(root, files, out)
}

// nearest is the path of core's that is most like a name.
func nearest(core fs.FS, name string) (found string) {
	best := -1.0
	_ = fs.WalkDir(core, ".", func(at string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			if like := levenshtein.Similarity(at, name, nil); like > best {
				best, found = like, at
			}
		}
		return nil
	})
	return found
}

// Diff tells how the files below root differ from those of core's at the same paths, as a unified diff, and which are the same.
func Diff(core fs.FS, root string) (text string, same []string, err error) {
	var all strings.Builder
	err = fs.WalkDir(core, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		own, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		data, err := fs.ReadFile(core, name)
		if string(data) == string(own) {
			same = append(same, name)
		}
		all.WriteString(udiff.Unified("Ingot's "+name, name, string(data), string(own)))
		return err
	})
	return all.String(), same, err
}
