package s3

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
)

// Rewrite edits the contents of all objects, and what is known of those that it changes: size, ETag and checksums. No service may
// use the store and the folder meanwhile.
func Rewrite(documents store.Store, dir string, edit func([]byte) []byte) error {
	document, err := store.Open(documents, "s3", state{Buckets: map[string]*bucket{}})
	if err != nil {
		return err
	}
	return document.Update(func(st *state) error {
		for _, b := range st.Buckets {
			for key, versions := range b.Objects {
				for i := range versions {
					if err := versions[i].rewrite(dir, edit); err != nil {
						return fmt.Errorf("rewrite the S3 object %q: %w", key, err)
					}
				}
			}
		}
		return nil
	})
}

func (o *object) rewrite(dir string, edit func([]byte) []byte) error {
	if o.DeleteMarker {
		return nil
	}
	path := filepath.Join(dir, o.File)
	before, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	data := edit(before)
	if bytes.Equal(data, before) {
		return nil
	}
	sum := md5.Sum(data)
	o.Size, o.ETag = int64(len(data)), `"`+hex.EncodeToString(sum[:])+`"`
	delete(o.Headers, checksumType) // in parts it may have been; it is whole now
	for name, make := range checksums() {
		if _, ok := o.Headers[checksumPrefix+name]; ok {
			h := make()
			h.Write(data)
			o.Headers[checksumPrefix+name] = base64.StdEncoding.EncodeToString(h.Sum(nil))
		}
	}
	return os.WriteFile(path, data, 0o600)
}
