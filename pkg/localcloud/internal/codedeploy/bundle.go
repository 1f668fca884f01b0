package codedeploy

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
)

const (
	// maxUnpacked is how large a bundle may be once it is unpacked, in bytes.
	maxUnpacked = 2 << 30
	// maxEntries is how many files and folders a bundle may have.
	maxEntries = 100_000
)

// source is a bundle's file.
type source interface {
	io.Reader
	io.ReaderAt
}

// repack writes a bundle as a plain tar archive that is safe to unpack as root: of files, folders and links alone, none of which leads
// out of the folder that it is unpacked to, and of a size that fits.
func repack(to io.Writer, from source, size int64, bundleType string) error {
	return newPacker(to).pack(from, size, bundleType)
}

type packer struct {
	out     *tar.Writer
	left    int64           // bytes that may still come
	entries int             // entries that may still come
	links   map[string]bool // symbolic links by name
}

func newPacker(to io.Writer) *packer {
	return &packer{out: tar.NewWriter(to), left: maxUnpacked, entries: maxEntries, links: map[string]bool{}}
}

func (p *packer) pack(from source, size int64, bundleType string) (err error) {
	switch bundleType {
	case "zip":
		err = p.zip(from, size)
	case "tar":
		err = p.tar(from)
	case "tgz":
		var plain *gzip.Reader
		if plain, err = gzip.NewReader(from); err == nil {
			err = p.tar(plain)
		}
	default:
		err = fmt.Errorf("%q is not a type of bundle", bundleType)
	}
	if err != nil {
		return err
	}
	return p.out.Close()
}

// tar packs a tar archive.
func (p *packer) tar(from io.Reader) error {
	// Headers and padding count too: an archive of nothing but headers can be as long as one likes.
	in := tar.NewReader(io.LimitReader(from, 2*maxUnpacked))
	for {
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue // a comment, as git archive writes it
		}
		if err := p.add(header, in); err != nil {
			return err
		}
	}
}

// zip packs a zip archive, whose owner is root.
func (p *packer) zip(from io.ReaderAt, size int64) error {
	in, err := zip.NewReader(from, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // insecure paths are refused below, by their name
		return err
	}
	for _, f := range in.File {
		if err := p.addZipped(f); err != nil {
			return fmt.Errorf("%q: %w", f.Name, err)
		}
	}
	return nil
}

// Systems whose zip archives hold file modes: PKWARE's application note, 4.4.2.2.
const (
	zipUnix  = 3
	zipMacOS = 19
)

func (p *packer) addZipped(f *zip.File) error {
	content, err := f.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	mode := f.Mode()
	header := &tar.Header{Name: f.Name, Mode: int64(mode.Perm()), ModTime: f.Modified}
	switch mode.Type() {
	case fs.ModeDir:
		header.Typeflag = tar.TypeDir
	case fs.ModeSymlink:
		to, err := io.ReadAll(io.LimitReader(content, maxLink+1))
		if err != nil {
			return err
		}
		header.Typeflag, header.Linkname = tar.TypeSymlink, string(to)
	case 0:
		header.Typeflag, header.Size = tar.TypeReg, int64(f.UncompressedSize64)
	default:
		return fmt.Errorf("is neither a file nor a folder nor a link, but %v", mode.Type())
	}
	if creator := f.CreatorVersion >> 8; creator != zipUnix && creator != zipMacOS || header.Mode == 0 {
		header.Mode = 0o644
		if header.Typeflag == tar.TypeDir {
			header.Mode = 0o755
		}
	}
	return p.add(header, content)
}

// maxLink is the longest target of a symbolic link, Linux's PATH_MAX.
const maxLink = 4096

// add checks an entry and writes it.
func (p *packer) add(h *tar.Header, content io.Reader) error {
	if p.entries--; p.entries < 0 {
		return fmt.Errorf("it has more than %d entries", maxEntries)
	}
	name, err := p.safeName(h.Name)
	if err != nil {
		return err
	}
	if name == "." {
		return nil
	}
	out := &tar.Header{Typeflag: h.Typeflag, Name: name, Mode: h.Mode & 0o7777, Uid: h.Uid, Gid: h.Gid, ModTime: h.ModTime}
	switch h.Typeflag {
	case tar.TypeDir:
		out.Name += "/"
		return p.out.WriteHeader(out)
	case tar.TypeSymlink:
		if path.IsAbs(h.Linkname) || len(h.Linkname) > maxLink || !isInside(path.Join(path.Dir(name), h.Linkname)) {
			return fmt.Errorf("%q: the link leads out of the bundle, to %q", h.Name, h.Linkname)
		}
		p.links[name] = true
		out.Linkname = h.Linkname
		return p.out.WriteHeader(out)
	case tar.TypeLink:
		if out.Linkname, err = p.safeName(h.Linkname); err != nil {
			return err
		}
		return p.out.WriteHeader(out)
	case tar.TypeReg:
	default:
		return fmt.Errorf("%q: is neither a file nor a folder nor a link, but of the type %q", h.Name, h.Typeflag)
	}
	if h.Size < 0 || h.Size > p.left {
		return fmt.Errorf("it is larger than %d bytes once it is unpacked", maxUnpacked)
	}
	p.left -= h.Size
	out.Size = h.Size
	delete(p.links, name)
	if err := p.out.WriteHeader(out); err != nil {
		return err
	}
	if _, err := io.CopyN(p.out, content, h.Size); err != nil {
		return fmt.Errorf("%q: %w", h.Name, err)
	}
	// A zip archive's checksum is compared at the end of the content, which must come now.
	n, err := io.Copy(io.Discard, io.LimitReader(content, 1))
	if n > 0 {
		err = errors.New("it is longer than the archive says")
	}
	if err != nil {
		return fmt.Errorf("%q: %w", h.Name, err)
	}
	return nil
}

// safeName returns an entry's path within the bundle. One that leads out of it, or through a link, is an error.
func (p *packer) safeName(name string) (string, error) {
	clean := path.Clean(strings.TrimSuffix(name, "/"))
	if name == "" || strings.ContainsAny(name, "\x00\\") || path.IsAbs(clean) || !isInside(clean) {
		return "", fmt.Errorf("%q: the path leads out of the bundle", name)
	}
	for dir := path.Dir(clean); dir != "."; dir = path.Dir(dir) {
		if p.links[dir] {
			return "", fmt.Errorf("%q: the path leads through the link %q", name, dir)
		}
	}
	return clean, nil
}

func isInside(relative string) bool { return relative == "." || filepath.IsLocal(relative) }
