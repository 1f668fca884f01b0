package s3

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// checksums returns the checksums that S3 knows beside MD5, by the end of their headers' names.
func checksums() map[string]func() hash.Hash {
	return map[string]func() hash.Hash{
		"Crc32":     func() hash.Hash { return crc32.NewIEEE() },
		"Crc32c":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
		"Crc64nvme": func() hash.Hash { return &nvme{table: crc64.MakeTable(0x9a6c9329ac4bc9b5)} },
		"Sha1":      sha1.New,
		"Sha256":    sha256.New,
	}
}

// nvme is CRC-64/NVME, which hash/crc64 computes with the polynomial's reflected form.
type nvme struct {
	table *crc64.Table
	sum   uint64
}

func (n *nvme) Write(p []byte) (int, error) {
	n.sum = crc64.Update(n.sum, n.table, p)
	return len(p), nil
}
func (n *nvme) Sum(b []byte) []byte { return binary.BigEndian.AppendUint64(b, n.sum) }
func (n *nvme) Reset()              { n.sum = 0 }
func (n *nvme) Size() int           { return crc64.Size }
func (n *nvme) BlockSize() int      { return 1 }

// What the headers of checksums and of metadata begin with.
const (
	checksumPrefix = "X-Amz-Checksum-"
	metadataPrefix = "X-Amz-Meta-"
)

// upload writes the body to a file of its own and checks it against every checksum that came with it.
func (s *Service) upload(r *request) (object, error) {
	var sent []string
	announced := r.Header.Get("X-Amz-Trailer") // the checksum that follows the body
	for name := range checksums() {
		if header := checksumPrefix + name; r.Header.Get(header) != "" || strings.EqualFold(announced, header) {
			sent = append(sent, header)
		}
	}
	o, err := s.write(io.LimitReader(r.Body, maxObject+1), sent)
	if err != nil {
		return object{}, err
	}
	if err := r.checkContent(o); err != nil {
		s.removeFiles([]string{o.File})
		return object{}, err
	}
	return o, nil
}

// checkContent checks what was written against what the call says of it.
func (r *request) checkContent(o object) error {
	if o.Size > maxObject {
		return fail(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
	}
	if want, err := base64.StdEncoding.DecodeString(r.Header.Get("Content-Md5")); err != nil || len(want) > 0 && `"`+hex.EncodeToString(want)+`"` != o.ETag {
		return fail(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
	}
	for header, got := range o.Headers {
		want := r.Header.Get(header)
		if want == "" {
			want = r.Trailer.Get(header)
		}
		if got != want {
			return fail(http.StatusBadRequest, "BadDigest", "The %s you specified did not match what we received.", strings.ToLower(header))
		}
	}
	return nil
}

// keepHeaders keeps the headers that a later GET answers.
func (o *object) keepHeaders(r *request) {
	o.Headers["Content-Type"] = "binary/octet-stream" // S3's default
	for name, values := range r.Header {
		switch {
		case name == "Content-Encoding":
			kept := slices.DeleteFunc(strings.Split(values[0], ","), func(s string) bool { return strings.TrimSpace(s) == "aws-chunked" })
			if encoding := strings.TrimSpace(strings.Join(kept, ",")); encoding != "" {
				o.Headers[name] = encoding
			}
		case strings.HasPrefix(name, metadataPrefix),
			slices.Contains([]string{"Content-Type", "Cache-Control", "Content-Disposition", "Content-Language", "Expires"}, name):
			o.Headers[name] = strings.Join(values, ",")
		}
	}
}

// checkConditions checks the If-Match and If-None-Match headers of a call that changes an object.
func (r *request) checkConditions(b *bucket) error {
	current, err := b.current(r.key)
	exists := err == nil
	if r.Header.Get("If-None-Match") != "" && r.Header.Get("If-None-Match") != "*" {
		return wire.NotImplemented("If-None-Match with an ETag", "s3")
	}
	match := r.Header.Get("If-Match")
	other := match != "" && match != "*" && strings.Trim(match, `"`) != strings.Trim(current.ETag, `"`)
	if exists && (other || r.Header.Get("If-None-Match") == "*") {
		return preconditionFailed()
	}
	if !exists && match != "" {
		return noSuchKey()
	}
	return nil
}

func noSuchKey() *wire.Error {
	return fail(http.StatusNotFound, "NoSuchKey", "The specified key does not exist.")
}

// current returns the newest version of an object, unless that is a delete marker.
func (b *bucket) current(key string) (object, error) {
	versions := b.Objects[key]
	if len(versions) == 0 || versions[len(versions)-1].DeleteMarker {
		return object{}, noSuchKey()
	}
	return versions[len(versions)-1], nil
}

// version returns the version that a call is about, of which the last may be a delete marker.
func (b *bucket) version(key, id string) (object, error) {
	if id == "" {
		return b.current(key)
	}
	for _, o := range b.Objects[key] {
		if o.VersionID == id {
			return o, nil
		}
	}
	return object{}, fail(http.StatusNotFound, "NoSuchVersion", "The specified version does not exist.")
}

// add makes the version the newest one of the key. It returns the files that nothing refers to any more.
func (b *bucket) add(key string, o object) (unused []string) {
	o.Modified = now()
	versions := b.Objects[key]
	if o.VersionID = newID(); b.Versioning != "Enabled" {
		o.VersionID = nullVersion // which takes the place of another one
		versions, unused = without(versions, nullVersion)
	}
	b.Objects[key] = append(versions, o)
	return unused
}

// without returns the versions without one of them, and its file.
func without(versions []object, id string) (kept []object, unused []string) {
	for _, o := range versions {
		if o.VersionID != id {
			kept = append(kept, o)
		} else if o.File != "" {
			unused = append(unused, o.File)
		}
	}
	return kept, unused
}

// removed answers a call that removes something, unless it failed, and removes the contents that nothing refers to then.
func (s *Service) removed(w http.ResponseWriter, unused []string, err error) error {
	if err != nil {
		return err
	}
	s.removeFiles(unused)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// removeFiles removes contents that nothing refers to. What cannot be removed now is removed at the next start.
func (s *Service) removeFiles(names []string) {
	for _, name := range names {
		os.Remove(s.file(name))
	}
}

// check refuses a call that would make an object which there cannot be.
func (r *request) check() error {
	if len(r.key) > 1024 {
		return fail(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
	}
	return r.requireHeaders()
}

func (s *Service) putObject(w http.ResponseWriter, r *request) error {
	if err := r.check(); err != nil {
		return err
	}
	tags, err := parseTagging(r.Header.Get("X-Amz-Tagging"))
	if err != nil {
		return err
	}
	// Checked before the upload too, so that one that cannot succeed ends at once.
	if err := s.view(r, r.checkConditions); err != nil {
		return err
	}
	o, err := s.upload(r)
	if err != nil {
		return err
	}
	o.keepHeaders(r)
	o.Tags = tags
	stored, err := s.store(w, r, o, nil)
	if err != nil {
		return err
	}
	setChecksums(w, stored)
	return nil
}

// parseTagging parses the header that holds tags as a query string.
func parseTagging(header string) (map[string]string, error) {
	values, err := url.ParseQuery(header)
	if err != nil {
		return nil, fail(http.StatusBadRequest, "InvalidArgument", "The header 'x-amz-tagging' shall be encoded as UTF-8 "+
			"then URLEncoded URL query parameters without tag name duplicates.")
	}
	tags := map[string]string{}
	for key := range values {
		tags[key] = values.Get(key)
	}
	return tags, nil
}

func setVersionHeader(w http.ResponseWriter, b *bucket, o object) {
	if b.Versioning != "" {
		w.Header().Set("X-Amz-Version-Id", o.VersionID)
	}
}

func (s *Service) getObject(w http.ResponseWriter, r *request) error {
	if r.query.Has("partNumber") {
		return wire.NotImplemented("parts of an object", "s3")
	}
	var o object
	var file *os.File
	err := s.view(r, func(b *bucket) (err error) {
		if versions := b.Objects[r.key]; r.query.Get("versionId") == "" && len(versions) > 0 && versions[len(versions)-1].DeleteMarker {
			w.Header().Set("X-Amz-Delete-Marker", "true")
		}
		if o, err = b.version(r.key, r.query.Get("versionId")); err != nil {
			return err
		}
		setVersionHeader(w, b, o)
		if o.DeleteMarker {
			w.Header().Set("X-Amz-Delete-Marker", "true")
			return fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.")
		}
		file, err = os.Open(s.file(o.File)) // while the object is sure to be there
		return err
	})
	if err != nil {
		return err
	}
	defer file.Close()
	if strings.Contains(r.Header.Get("Range"), ",") { // S3 has no answers of several parts
		r.Header.Del("Range")
	}
	for name, value := range o.Headers {
		isChecksum := strings.HasPrefix(name, checksumPrefix)
		if !isChecksum || r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" && r.Header.Get("Range") == "" {
			w.Header().Set(name, value)
		}
		if strings.HasPrefix(name, metadataPrefix) { // clients that take names as they are want them so
			w.Header().Del(name)
			w.Header()[strings.ToLower(name)] = []string{value}
		}
	}
	for name := range r.query {
		if header, ok := strings.CutPrefix(name, "response-"); ok {
			w.Header().Set(header, r.query.Get(name))
		}
	}
	if len(o.Tags) > 0 {
		w.Header().Set("X-Amz-Tagging-Count", fmt.Sprint(len(o.Tags)))
	}
	w.Header().Set("ETag", o.ETag)
	w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
	content := &contentWriter{ResponseWriter: w, object: o}
	http.ServeContent(content, r.Request, "", o.Modified, file)
	switch content.refused {
	case http.StatusPreconditionFailed:
		return preconditionFailed()
	case http.StatusRequestedRangeNotSatisfiable:
		return fail(content.refused, "InvalidRange", "The requested range is not satisfiable")
	}
	return nil
}

// contentWriter answers with an object's content, and takes back what headers say of that where there is none.
type contentWriter struct {
	http.ResponseWriter
	object  object
	refused int // status of an error that is still to be answered
}

func (w *contentWriter) WriteHeader(status int) {
	if status < http.StatusMultipleChoices {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	for name := range w.object.Headers {
		if status != http.StatusNotModified || strings.HasPrefix(name, checksumPrefix) {
			w.Header().Del(name)
			delete(w.Header(), strings.ToLower(name))
		}
	}
	if status == http.StatusNotModified {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = status
}

func (w *contentWriter) Write(p []byte) (int, error) {
	if w.refused != 0 {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

func preconditionFailed() *wire.Error {
	return fail(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
}

// remove deletes an object as a call without or with a version ID asks. It returns the delete marker or the version that it is about.
func (b *bucket) remove(key, versionID string) (about object, unused []string) {
	if versionID != "" {
		about, _ = b.version(key, versionID)
		b.Objects[key], unused = without(b.Objects[key], versionID)
	} else if b.Versioning == "" {
		b.Objects[key], unused = without(b.Objects[key], nullVersion)
	} else {
		unused = b.add(key, object{DeleteMarker: true})
		about = b.Objects[key][len(b.Objects[key])-1]
	}
	if len(b.Objects[key]) == 0 {
		delete(b.Objects, key)
	}
	return about, unused
}

func (s *Service) deleteObject(w http.ResponseWriter, r *request) error {
	var unused []string
	err := s.update(r, func(b *bucket) error {
		if err := r.checkConditions(b); err != nil {
			return err
		}
		var about object
		about, unused = b.remove(r.key, r.query.Get("versionId"))
		if about.VersionID != "" {
			setVersionHeader(w, b, about)
		}
		if about.DeleteMarker {
			w.Header().Set("X-Amz-Delete-Marker", "true")
		}
		return nil
	})
	return s.removed(w, unused, err)
}

func (s *Service) deleteObjects(w http.ResponseWriter, r *request) error {
	var in struct {
		XMLName xml.Name `xml:"Delete"`
		Quiet   bool
		Objects []struct {
			Key       string
			VersionID string `xml:"VersionId"`
		} `xml:"Object"`
	}
	if err := r.decode(&in); err != nil {
		return err
	}
	if len(in.Objects) == 0 || len(in.Objects) > 1000 {
		return malformed()
	}
	type deleted struct {
		Key                   string
		VersionID             string `xml:"VersionId,omitempty"`
		DeleteMarker          bool   `xml:",omitempty"`
		DeleteMarkerVersionID string `xml:"DeleteMarkerVersionId,omitempty"`
	}
	type refused struct {
		Key, Code, Message string
		VersionID          string `xml:"VersionId,omitempty"`
	}
	out := struct {
		XMLName xml.Name  `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
		Deleted []deleted `xml:"Deleted"`
		Errors  []refused `xml:"Error"`
	}{}
	var unused []string
	err := s.update(r, func(b *bucket) error {
		for _, o := range in.Objects {
			if denied := wire.Check(r.Context(), deletingObject(r.bucket, o.Key, o.VersionID)); denied != nil {
				out.Errors = append(out.Errors, refused{o.Key, denied.Code, denied.Message, o.VersionID})
				continue
			}
			about, files := b.remove(o.Key, o.VersionID)
			unused = append(unused, files...)
			d := deleted{Key: o.Key, VersionID: o.VersionID, DeleteMarker: about.DeleteMarker}
			if about.DeleteMarker {
				d.DeleteMarkerVersionID = about.VersionID
			}
			if !in.Quiet {
				out.Deleted = append(out.Deleted, d)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.removeFiles(unused)
	return answer(w, out)
}

// Object is an object's content as the other services see it. The caller closes it.
type Object struct {
	*os.File
	Size int64
	ETag string // without quotes
}

// Open opens an object, or one of its versions where a version ID is given. The error is a *wire.Error with S3's code where
// there is none.
func (s *Service) Open(bucketName, key, versionID string) (*Object, error) {
	var found *Object
	return found, s.state.View(func(st state) error {
		b, err := st.find(bucketName)
		if err != nil {
			return err
		}
		o, err := b.version(key, versionID)
		if err != nil {
			return err
		}
		if o.DeleteMarker {
			return noSuchKey()
		}
		file, err := os.Open(s.file(o.File)) // while the object is sure to be there
		if err != nil {
			return fmt.Errorf("open the object %q: %w", key, err)
		}
		found = &Object{File: file, Size: o.Size, ETag: strings.Trim(o.ETag, `"`)}
		return nil
	})
}
