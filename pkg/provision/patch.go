package provision

import (
	"archive/tar"
	"crypto/sha256"
	"io"
)

// Digests are SHA-256 digests of the files, by their names in the archive: over the contents, the executable bit and the link target.
// A name whose digest differs between two bundles is a file that changed.
func (b *Bundle) Digests() map[string][sha256.Size]byte {
	digests := make(map[string][sha256.Size]byte, len(b.files))
	for _, f := range b.files {
		h := sha256.New()
		f.digest(h)
		digests[f.name] = [sha256.Size]byte(h.Sum(nil))
	}
	return digests
}

// Patch writes a tar, not compressed, of those of the bundle's files that are named.
func (b *Bundle) Patch(w io.Writer, names []string) error {
	wanted := make(map[string]bool, len(names))
	for _, name := range names {
		wanted[name] = true
	}
	archive := tar.NewWriter(w)
	for _, f := range b.files {
		if !wanted[f.name] {
			continue
		}
		if err := f.archive(archive); err != nil {
			return err
		}
	}
	return archive.Close()
}
