package provision

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strconv"
)

// file is a file of a bundle.
type file struct {
	name       string // slash-separated, in the archive
	executable bool
	link       string // target of a symbolic link; empty for a regular file

	path string // where it lies on this machine's disk; empty for what does not
	data []byte // what is in it; nil where it is large
	size int64
	sum  [sha256.Size]byte // of what is in a large one
}

// large is the size in bytes from which on a file's contents are read again when they are wanted, and not kept.
const large = 1 << 20

// readFile reads a file that lies on this machine's disk.
func readFile(name string) (file, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return file{}, err
	}
	// Git keeps no other permission, and the owner's survives every umask.
	f := file{path: name, executable: info.Mode()&0o100 != 0, size: info.Size()}
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		f.executable, f.size = false, 0
		f.link, err = os.Readlink(name)
		return f, err
	case 0:
		if f.size >= large {
			err = f.measure()
			return f, err
		}
		f.data, err = os.ReadFile(name)
		f.size = int64(len(f.data))
		return f, err
	}
	return file{}, fmt.Errorf("%q is neither a file nor a symbolic link: remove it, or let git ignore it", name)
}

// contents is a file that is made and not read.
func contents(name string, data []byte) file {
	return file{name: name, data: data, size: int64(len(data))}
}

// measure finds out a large file's digest and size.
func (f *file) measure() (err error) {
	opened, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer opened.Close()
	h := sha256.New()
	f.size, err = io.Copy(h, opened)
	f.sum = [sha256.Size]byte(h.Sum(nil))
	return err
}

// isLarge tells whether the contents are on the disk alone.
func (f file) isLarge() bool { return f.link == "" && f.data == nil && f.size >= large }

// copyTo writes what is in the file, and fails where a large one has changed since.
func (f file) copyTo(w io.Writer) error {
	if !f.isLarge() {
		_, err := io.Copy(w, bytes.NewReader(f.data))
		return err
	}
	opened, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer opened.Close()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(opened, f.size)); err != nil {
		return err
	}
	if [sha256.Size]byte(h.Sum(nil)) != f.sum {
		return fmt.Errorf("%q has changed meanwhile", f.path)
	}
	return nil
}

// digest writes all that a file is.
func (f file) digest(digest hash.Hash) {
	kind := "file"
	if f.executable {
		kind = "executable"
	}
	switch {
	case f.link != "":
		writeField(digest, "link", f.name, f.link)
	case f.isLarge():
		writeField(digest, "large "+kind, f.name, string(f.sum[:]))
	default:
		writeField(digest, kind, f.name, string(f.data))
	}
}

// writeField writes values with their lengths, so that no two lists of values are written alike.
func writeField(digest hash.Hash, values ...string) {
	for _, value := range values {
		io.WriteString(digest, strconv.Itoa(len(value))+":"+value)
	}
}

// archive adds the file to an archive.
func (f file) archive(w *tar.Writer) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Size: f.size, Mode: 0o644, ModTime: modified}
	if f.executable {
		header.Mode = 0o755
	}
	if f.link != "" {
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, f.link, 0o777
	}
	if err := w.WriteHeader(header); err != nil {
		return fmt.Errorf("archive %q: %w", f.name, err)
	}
	if err := f.copyTo(w); err != nil {
		return fmt.Errorf("archive %q: %w", f.name, err)
	}
	return nil
}
