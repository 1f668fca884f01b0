package terraform

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// lockFile is Terraform's dependency lock file.
const lockFile = ".terraform.lock.hcl"

// copyConfiguration makes the folder to equal to the configuration in from, except that a lock file which Terraform wrote
// there stays, so that the provider's version does not move between two runs. Files that are equal already are not
// touched: another run may be reading them.
func copyConfiguration(to string, from fs.FS) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	wanted := map[string]bool{".": true, lockFile: true}
	err := fs.WalkDir(from, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if staysBehind(name) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		target := filepath.Join(to, filepath.FromSlash(name))
		wanted[filepath.FromSlash(name)] = true
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		if old, err := os.ReadFile(target); err == nil && bytes.Equal(old, data) {
			return nil
		}
		return os.WriteFile(target, data, 0o600)
	})
	if err != nil {
		return err
	}
	return filepath.WalkDir(to, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(to, path)
		if err != nil || wanted[name] {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}

// staysBehind reports whether a file or folder stays behind: what Terraform wrote when somebody ran it by hand there, and the
// configuration's tests, which are no part of the stack and need a newer Terraform than it does.
func staysBehind(name string) bool {
	base := filepath.Base(name)
	return base == ".terraform" || strings.Contains(base, ".tfstate") || name == "tests"
}
