package codedeploy

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tarball makes a tar archive of headers; a regular file's content is its own name.
func tarball(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, h.Name)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipball(t *testing.T, headers ...zip.FileHeader) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, h := range headers {
		f, err := w.CreateHeader(&h)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, "/") {
			io.WriteString(f, h.Name)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func repacked(t *testing.T, data []byte, bundleType string) (entries []string, err error) {
	t.Helper()
	var out bytes.Buffer
	if err := repack(&out, bytes.NewReader(data), int64(len(data)), bundleType); err != nil {
		return nil, err
	}
	in := tar.NewReader(&out)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, strings.TrimSpace(fmt.Sprintf("%c %s %o %s%s", h.Typeflag, h.Name, h.Mode, h.Linkname, content)))
	}
}

func TestRepack(t *testing.T) {
	archive := tarball(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeDir, Name: "./scripts/", Mode: 0o750},
		tar.Header{Typeflag: tar.TypeReg, Name: "./scripts/a.sh", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "scripts/b.sh", Linkname: "a.sh", Mode: 0o777},
		tar.Header{Typeflag: tar.TypeLink, Name: "c.sh", Linkname: "scripts/a.sh", Mode: 0o755},
	)
	want := []string{"5 scripts/ 750", "0 scripts/a.sh 755 ./scripts/a.sh", "2 scripts/b.sh 777 a.sh", "1 c.sh 755 scripts/a.sh"}
	for bundleType, data := range map[string][]byte{"tar": archive, "tgz": gzipped(t, archive)} {
		got, err := repacked(t, data, bundleType)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", bundleType, err, diff)
		}
	}
	script := zip.FileHeader{Name: "a.sh", Method: zip.Deflate}
	script.SetMode(0o755)
	link := zip.FileHeader{Name: "b"}
	link.SetMode(fs.ModeSymlink | 0o777)
	plain := zip.FileHeader{Name: "dir/c"}
	got, err := repacked(t, zipball(t, script, link, zip.FileHeader{Name: "dir/"}, plain), "zip")
	if diff := cmp.Diff([]string{"0 a.sh 755 a.sh", "2 b 777 b", "5 dir/ 755", "0 dir/c 644 dir/c"}, got); diff != "" || err != nil {
		t.Errorf("zip: %v (-want +got):\n%s", err, diff)
	}
}

func TestRepackErrors(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	for name, test := range map[string]struct {
		data []byte
		kind string
		want string
	}{
		"parent":      {tarball(t, file("../a")), "tar", `"../a": the path leads out of the bundle`},
		"inner":       {tarball(t, file("a/../../b")), "tar", `"a/../../b": the path leads out of the bundle`},
		"absolute":    {tarball(t, file("/etc/passwd")), "tar", `"/etc/passwd": the path leads out of the bundle`},
		"link out":    {tarball(t, link("a", "../../etc")), "tar", `"a": the link leads out of the bundle, to "../../etc"`},
		"link root":   {tarball(t, link("a", "/etc")), "tar", `"a": the link leads out of the bundle, to "/etc"`},
		"through":     {tarball(t, link("a", "b"), file("a/c")), "tar", `"a/c": the path leads through the link "a"`},
		"hard link":   {tarball(t, tar.Header{Typeflag: tar.TypeLink, Name: "a", Linkname: "/etc/shadow"}), "tar", `"/etc/shadow": the path leads out of the bundle`},
		"device":      {tarball(t, tar.Header{Typeflag: tar.TypeBlock, Name: "a"}), "tar", `"a": is neither a file nor a folder nor a link, but of the type '4'`},
		"zip parent":  {zipball(t, zip.FileHeader{Name: "../a"}), "zip", `"../a": "../a": the path leads out of the bundle`},
		"zip windows": {zipball(t, zip.FileHeader{Name: `a\b`}), "zip", `"a\\b": "a\\b": the path leads out of the bundle`},
		"no gzip":     {[]byte("plain text, and not compressed"), "tgz", "gzip: invalid header"},
		"cut off":     {gzipped(t, tarball(t, file("a")))[:40], "tgz", "unexpected EOF"},
		"unknown":     {nil, "rar", `"rar" is not a type of bundle`},
	} {
		if _, err := repacked(t, test.data, test.kind); err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", name, err, test.want)
		}
	}
}

func folders(n int) []tar.Header {
	all := make([]tar.Header, n)
	for i := range all {
		all[i] = tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprint(i)}
	}
	return all
}

// TestRepackBombs unpacks what claims to be, or is, larger than may be.
func TestRepackBombs(t *testing.T) {
	var huge bytes.Buffer
	w := tar.NewWriter(&huge)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a", Size: maxUnpacked + 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := repacked(t, huge.Bytes(), "tar"); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a huge file: %v", err)
	}
	four := gzipped(t, tarball(t, folders(4)...))
	for entries, wantErr := range map[int]bool{4: false, 3: true} {
		p := newPacker(io.Discard)
		p.entries = entries
		if err := p.pack(bytes.NewReader(four), int64(len(four)), "tgz"); (err != nil) != wantErr {
			t.Errorf("four of at most %d entries: %v", entries, err)
		}
	}
	// A zip archive whose directory understates a file.
	lying := zipball(t, zip.FileHeader{Name: "a", Method: zip.Deflate})
	at := bytes.LastIndex(lying, []byte("PK\x01\x02"))
	lying[at+24] = 0 // the uncompressed size in the central directory
	if _, err := repacked(t, lying, "zip"); err == nil {
		t.Error("a zip archive that lies about a size is unpacked")
	}
}
