// Package overlay lays a folder of somebody's own over files that come with the program, path by path.
package overlay

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// FS are the files of core, and over them those of the folder dir: at a path that both have, dir's file counts. A file of dir's hides a
// folder of core's at the same path. Core may be nil, and dir need not be there.
func FS(core fs.FS, dir string) fs.FS { return overlay{core, os.DirFS(dir)} }

type overlay struct{ core, own fs.FS }

// Open opens a file or a folder; a folder has the entries of both.
func (o overlay) Open(name string) (fs.File, error) {
	f, err := o.own.Open(name)
	if o.core == nil || !errors.Is(err, fs.ErrNotExist) || o.hidden(name) {
		return f, err
	}
	return o.core.Open(name)
}

// hidden tells whether something of one's own takes the place of a folder above a path.
func (o overlay) hidden(name string) bool {
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if info, err := fs.Stat(o.own, dir); err == nil && !info.IsDir() {
			return true
		}
	}
	return false
}

// ReadDir lists a folder, sorted by name.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.own, name)
	if o.core == nil || err != nil && !errors.Is(err, fs.ErrNotExist) || o.hidden(name) {
		return entries, err
	}
	below, coreErr := fs.ReadDir(o.core, name)
	if err != nil {
		return below, coreErr
	}
	for _, e := range below {
		if !slices.ContainsFunc(entries, func(own fs.DirEntry) bool { return own.Name() == e.Name() }) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}
