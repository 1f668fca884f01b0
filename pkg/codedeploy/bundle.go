package codedeploy

import (
	"archive/zip"
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"time"
)

// files is the revision: the specification and the scripts that it names.
//
//go:embed revision
var files embed.FS

// modified is the time of every file in a bundle: the first that a zip file can tell.
var modified = time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC)

// makeBundle returns the revision as a zip file: appspec.yml, which copies no files, and the scripts that run the
// image's own self-check. It holds nothing of any release, so that it fits every image: instances that are launched
// while a release is rolled out are given the revision before. The bytes are always the same.
func makeBundle() ([]byte, error) {
	var buffer bytes.Buffer
	bundle := zip.NewWriter(&buffer)
	err := fs.WalkDir(files, "revision", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		// Not compressed: the few bytes that it would save are not worth depending on the compressor.
		header := &zip.FileHeader{Name: name[len("revision/"):], Method: zip.Store, Modified: modified}
		header.SetMode(0o644)
		if path.Ext(name) == ".sh" {
			header.SetMode(0o755)
		}
		w, err := bundle.CreateHeader(header)
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	})
	if err == nil {
		err = bundle.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("make the revision: %w", err)
	}
	return buffer.Bytes(), nil
}
