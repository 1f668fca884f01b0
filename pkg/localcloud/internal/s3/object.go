package s3

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"maps"
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

// checksumPrefix begins the headers of checksums.
const checksumPrefix = "X-Amz-Checksum-"

// upload writes the body to a file of its own and checks it against every checksum that came with it.
func (s *Service) upload(r *request) (o object, err error) {
	o = object{File: newID(), Headers: map[string]string{}}
	file, err := os.OpenFile(s.file(o.File), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return object{}, fmt.Errorf("keep the object: %w", err)
	}
	defer func() {
		err = errors.Join(err, file.Close())
		if err != nil {
			os.Remove(s.file(o.File))
		}
	}()
	sum := md5.New()
	writers := []io.Writer{file, sum}
	hashes := map[string]hash.Hash{}
	announced := r.Header.Get("X-Amz-Trailer") // the checksum that follows the body
	for name, make := range checksums() {
		header := checksumPrefix + name
		if r.Header.Get(header) != "" || strings.EqualFold(announced, header) {
			hashes[header] = make()
			writers = append(writers, hashes[header])
		}
	}
	o.Size, err = io.Copy(io.MultiWriter(writers...), io.LimitReader(r.Body, maxObject+1))
	if err != nil {
		return object{}, err
	}
	if o.Size > maxObject {
		return object{}, fail(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
	}
	if want := r.Header.Get("Content-Md5"); want != "" && want != base64.StdEncoding.EncodeToString(sum.Sum(nil)) {
		return object{}, fail(http.StatusBadRequest, "BadDigest", "The Content-MD5 you specified did not match what we received.")
	}
	for header, h := range hashes {
		want := r.Header.Get(header)
		if want == "" {
			want = r.Trailer.Get(header)
		}
		if got := base64.StdEncoding.EncodeToString(h.Sum(nil)); got != want {
			return object{}, fail(http.StatusBadRequest, "BadDigest", "The %s you specified did not match what we received.",
				strings.ToLower(header))
		}
		o.Headers[header] = want
	}
	if err := file.Sync(); err != nil {
		return object{}, fmt.Errorf("keep the object: %w", err)
	}
	o.ETag = `"` + hex.EncodeToString(sum.Sum(nil)) + `"`
	return o, nil
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
		case strings.HasPrefix(name, "X-Amz-Meta-"),
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
		return fail(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold")
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

// removeFiles removes contents that nothing refers to. What cannot be removed now is removed at the next start.
func (s *Service) removeFiles(names []string) {
	for _, name := range names {
		os.Remove(s.file(name))
	}
}

func (s *Service) putObject(w http.ResponseWriter, r *request) error {
	if err := r.requireHeaders(); err != nil {
		return err
	}
	if len(r.key) > 1024 {
		return fail(http.StatusBadRequest, "KeyTooLongError", "Your key is too long")
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
	var unused []string
	var stored object
	err = s.update(r, func(b *bucket) error {
		if err := r.checkConditions(b); err != nil {
			return err
		}
		unused = b.add(r.key, o)
		stored = b.Objects[r.key][len(b.Objects[r.key])-1]
		setVersionHeader(w, b, stored)
		return nil
	})
	if err != nil {
		s.removeFiles([]string{o.File})
		return err
	}
	s.removeFiles(unused)
	w.Header().Set("ETag", stored.ETag)
	w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
	for name, value := range stored.Headers {
		if strings.HasPrefix(name, checksumPrefix) {
			w.Header().Set(name, value)
		}
	}
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
	for name, value := range o.Headers {
		isChecksum := strings.HasPrefix(name, checksumPrefix)
		if !isChecksum || r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" && r.Header.Get("Range") == "" {
			w.Header().Set(name, value)
		}
	}
	if len(o.Tags) > 0 {
		w.Header().Set("X-Amz-Tagging-Count", fmt.Sprint(len(o.Tags)))
	}
	w.Header().Set("ETag", o.ETag)
	w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
	http.ServeContent(w, r.Request, "", o.Modified, file)
	return nil
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
	if err != nil {
		return err
	}
	s.removeFiles(unused)
	w.WriteHeader(http.StatusNoContent)
	return nil
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
	out := struct {
		XMLName xml.Name  `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
		Deleted []deleted `xml:"Deleted"`
	}{}
	var unused []string
	err := s.update(r, func(b *bucket) error {
		for _, o := range in.Objects {
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

// changeTags changes the tags of the version that the call is about.
func (s *Service) changeTags(r *request, tags map[string]string) error {
	return s.update(r, func(b *bucket) error {
		o, err := b.version(r.key, r.query.Get("versionId"))
		if err != nil {
			return err
		}
		for i := range b.Objects[r.key] {
			if b.Objects[r.key][i].VersionID == o.VersionID {
				b.Objects[r.key][i].Tags = tags
			}
		}
		return nil
	})
}

func (s *Service) putObjectTagging(_ http.ResponseWriter, r *request) error {
	var in struct {
		XMLName xml.Name `xml:"Tagging"`
		Tags    []tag    `xml:"TagSet>Tag"`
	}
	if err := r.decode(&in); err != nil {
		return err
	}
	if _, err := taggingDocument(in.Tags); err != nil {
		return err
	}
	tags := map[string]string{}
	for _, t := range in.Tags {
		tags[t.Key] = t.Value
	}
	return s.changeTags(r, tags)
}

func (s *Service) deleteObjectTagging(w http.ResponseWriter, r *request) error {
	if err := s.changeTags(r, nil); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Service) getObjectTagging(w http.ResponseWriter, r *request) error {
	var tags []tag
	err := s.view(r, func(b *bucket) error {
		o, err := b.version(r.key, r.query.Get("versionId"))
		for _, key := range slices.Sorted(maps.Keys(o.Tags)) {
			tags = append(tags, tag{key, o.Tags[key]})
		}
		return err
	})
	if err != nil {
		return err
	}
	document, err := taggingDocument(tags)
	if err != nil {
		return err
	}
	if len(tags) == 0 {
		document = `<Tagging xmlns="` + namespace + `"><TagSet></TagSet></Tagging>`
	}
	return answerRaw(w, "application/xml", document)
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
