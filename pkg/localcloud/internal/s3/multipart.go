package s3

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	// maxParts is how many parts an upload has at most, minPart how large each is but the last.
	maxParts = 10_000
	minPart  = 5 << 20
	// checksumType is the header that says whether an object's checksum is that of its content or that of its parts' checksums.
	checksumType  = checksumPrefix + "Type"
	fullObject    = "FULL_OBJECT"
	composite     = "COMPOSITE"
	algorithmName = checksumPrefix + "Algorithm"
)

// multipart is an upload in parts that is not complete.
type multipart struct {
	Key     string
	Started time.Time
	Headers map[string]string // of the object to be
	Tags    map[string]string
	// Checksum is the header of the checksum that the object is to have, and Type its type; "" for none.
	Checksum, Type string
	Parts          map[int]object
}

// uploadOf returns the upload that a call names.
func (b *bucket) uploadOf(r *request) (*multipart, error) {
	u := b.Uploads[r.query.Get("uploadId")]
	if u == nil || u.Key != r.key {
		return nil, fail(http.StatusNotFound, "NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the "+
			"upload may have been aborted or completed.")
	}
	return u, nil
}

// files are those of the parts.
func (u *multipart) files() (names []string) {
	for _, p := range u.Parts {
		names = append(names, p.File)
	}
	return names
}

func (s *Service) createMultipartUpload(w http.ResponseWriter, r *request) error {
	if err := r.check(); err != nil {
		return err
	}
	tags, err := parseTagging(r.Header.Get("X-Amz-Tagging"))
	if err != nil {
		return err
	}
	u := &multipart{Key: r.key, Started: now(), Tags: tags, Parts: map[int]object{}}
	if u.Checksum, err = r.checksumAlgorithm(); err != nil {
		return err
	}
	if u.Checksum != "" {
		if u.Type = r.Header.Get(checksumType); u.Type == "" {
			u.Type = composite
			if u.Checksum == checksumPrefix+"Crc64nvme" {
				u.Type = fullObject
			}
		}
		if crc := strings.HasPrefix(u.Checksum, checksumPrefix+"Crc"); u.Type == fullObject && !crc || u.Type != fullObject && u.Type != composite {
			return fail(http.StatusBadRequest, "InvalidRequest", "The %s checksum type cannot be used with the %s checksum algorithm.", u.Type,
				strings.TrimPrefix(u.Checksum, checksumPrefix))
		}
		w.Header().Set(algorithmName, r.Header.Get(algorithmName))
		w.Header().Set(checksumType, u.Type)
	}
	o := object{Headers: map[string]string{}}
	o.keepHeaders(r)
	u.Headers = o.Headers
	id := newID()
	err = s.update(r, func(b *bucket) error {
		if b.Uploads == nil {
			b.Uploads = map[string]*multipart{}
		}
		b.Uploads[id] = u
		return nil
	})
	if err != nil {
		return err
	}
	w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
	return answer(w, struct {
		XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
		Bucket   string
		Key      string
		UploadID string `xml:"UploadId"`
	}{Bucket: r.bucket, Key: r.key, UploadID: id})
}

func (s *Service) uploadPart(w http.ResponseWriter, r *request) error {
	part, err := s.addPart(r, func(*multipart) (object, error) { return s.upload(r) })
	if err != nil {
		return err
	}
	w.Header().Set("ETag", part.ETag)
	w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
	setChecksums(w, part)
	return nil
}

func (s *Service) uploadPartCopy(w http.ResponseWriter, r *request) error {
	source, file, err := s.openSource(w, r)
	if err != nil {
		return err
	}
	defer file.Close()
	content := io.NewSectionReader(file, 0, source.Size)
	if given := r.Header.Get("X-Amz-Copy-Source-Range"); given != "" {
		var from, to int64
		if n, err := fmt.Sscanf(given, "bytes=%d-%d", &from, &to); n != 2 || err != nil || from < 0 || from > to || to >= source.Size {
			return fail(http.StatusBadRequest, "InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last where "+
				"first and last are the zero-based offsets of the first and last bytes to copy")
		}
		content = io.NewSectionReader(file, from, to-from+1)
	}
	part, err := s.addPart(r, func(u *multipart) (object, error) {
		if u.Checksum == "" {
			return s.write(content, nil)
		}
		return s.write(content, []string{u.Checksum})
	})
	if err != nil {
		return err
	}
	part.Modified = now()
	return answer(w, copied("CopyPartResult", part))
}

// addPart adds what make makes to the upload that the call names.
func (s *Service) addPart(r *request, make func(*multipart) (object, error)) (part object, err error) {
	number, err := strconv.Atoi(r.query.Get("partNumber"))
	if err != nil || number < 1 || number > maxParts {
		return object{}, fail(http.StatusBadRequest, "InvalidArgument", "Part number must be an integer between 1 and %d, inclusive", maxParts)
	}
	var to multipart
	err = s.view(r, func(b *bucket) error { // before the upload too, so that one that cannot succeed ends at once
		u, err := b.uploadOf(r)
		if err == nil {
			to = *u
		}
		return err
	})
	if err != nil {
		return object{}, err
	}
	if part, err = make(&to); err != nil {
		return object{}, err
	}
	var unused []string
	err = s.update(r, func(b *bucket) error {
		u, err := b.uploadOf(r)
		if err != nil {
			return err
		}
		if before, ok := u.Parts[number]; ok {
			unused = []string{before.File}
		}
		u.Parts[number] = part
		return nil
	})
	if err != nil {
		s.removeFiles([]string{part.File})
		return object{}, err
	}
	s.removeFiles(unused)
	return part, nil
}

func (s *Service) abortMultipartUpload(w http.ResponseWriter, r *request) error {
	var unused []string
	err := s.update(r, func(b *bucket) error {
		u, err := b.uploadOf(r)
		if err != nil {
			return err
		}
		unused = u.files()
		delete(b.Uploads, r.query.Get("uploadId"))
		return nil
	})
	return s.removed(w, unused, err)
}

// completion is the body of CompleteMultipartUpload. The checksums of its parts are not looked at: each was checked as it came.
type completion struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []struct {
		PartNumber int
		ETag       string
	} `xml:"Part"`
}

// choose returns the parts that the completion names, in order.
func (c *completion) choose(u *multipart) ([]object, error) {
	if len(c.Parts) == 0 {
		return nil, malformed()
	}
	var parts []object
	for i, p := range c.Parts[1:] {
		if p.PartNumber <= c.Parts[i].PartNumber {
			return nil, fail(http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
	}
	for i, p := range c.Parts {
		part, ok := u.Parts[p.PartNumber]
		switch {
		case !ok || strings.Trim(p.ETag, `"`) != strings.Trim(part.ETag, `"`):
			return nil, fail(http.StatusBadRequest, "InvalidPart", "One or more of the specified parts could not be found. The part may not have "+
				"been uploaded, or the specified entity tag may not match the part's entity tag.")
		case part.Size < minPart && i < len(c.Parts)-1:
			return nil, fail(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
		}
		parts = append(parts, part)
	}
	return parts, nil
}

func (s *Service) completeMultipartUpload(w http.ResponseWriter, r *request) error {
	var in completion
	if err := r.decode(&in); err != nil {
		return err
	}
	var parts []object
	var u multipart
	err := s.view(r, func(b *bucket) error {
		found, err := b.uploadOf(r)
		if err != nil {
			return err
		}
		if err := r.checkConditions(b); err != nil {
			return err
		}
		u = *found
		parts, err = in.choose(found)
		return err
	})
	if err != nil {
		return err
	}
	o, err := s.join(parts, &u)
	if err != nil {
		return err
	}
	var unused []string
	stored, err := s.store(w, r, o, func(b *bucket) error {
		now, err := b.uploadOf(r)
		if err == nil {
			unused = now.files()
			delete(b.Uploads, r.query.Get("uploadId"))
		}
		return err
	})
	if err != nil {
		return err
	}
	s.removeFiles(unused)
	w.Header().Del("ETag") // in the document
	return answer(w, struct {
		XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
		Location string
		Bucket   string
		Key      string
		ETag     string
		checksumResult
	}{Location: "http://" + r.Host + "/" + r.bucket + "/" + r.key, Bucket: r.bucket, Key: r.key, ETag: stored.ETag, checksumResult: checksumsOf(stored)})
}

// join makes one object of parts.
func (s *Service) join(parts []object, u *multipart) (object, error) {
	var files []io.Reader
	sums, checks := md5.New(), hash.Hash(nil)
	if u.Type == composite {
		checks = checksums()[strings.TrimPrefix(u.Checksum, checksumPrefix)]()
	}
	for _, part := range parts {
		file, err := os.Open(s.file(part.File))
		if err != nil {
			return object{}, fmt.Errorf("join an object of its parts: %w", err)
		}
		defer file.Close()
		files = append(files, file)
		sum, _ := hex.DecodeString(strings.Trim(part.ETag, `"`)) // which was encoded here
		sums.Write(sum)
		if checks != nil {
			check, err := base64.StdEncoding.DecodeString(part.Headers[u.Checksum])
			if err != nil || len(check) == 0 {
				return object{}, fail(http.StatusBadRequest, "InvalidRequest", "The upload was created using a checksum, and a part has none.")
			}
			checks.Write(check)
		}
	}
	var wanted []string
	if u.Type == fullObject {
		wanted = []string{u.Checksum}
	}
	o, err := s.write(io.MultiReader(files...), wanted)
	if err != nil {
		return object{}, err
	}
	suffix := fmt.Sprintf("-%d", len(parts))
	o.ETag, o.Tags = `"`+hex.EncodeToString(sums.Sum(nil))+suffix+`"`, u.Tags
	maps.Copy(o.Headers, u.Headers)
	if checks != nil {
		o.Headers[u.Checksum] = base64.StdEncoding.EncodeToString(checks.Sum(nil)) + suffix
	}
	if u.Type != "" {
		o.Headers[checksumType] = u.Type
	}
	return o, nil
}

// checksumResult is an object's checksums in a document.
type checksumResult struct {
	ChecksumCRC32     string `xml:",omitempty"`
	ChecksumCRC32C    string `xml:",omitempty"`
	ChecksumCRC64NVME string `xml:",omitempty"`
	ChecksumSHA1      string `xml:",omitempty"`
	ChecksumSHA256    string `xml:",omitempty"`
	ChecksumType      string `xml:",omitempty"`
}

func checksumsOf(o object) checksumResult {
	of := func(name string) string { return o.Headers[checksumPrefix+name] }
	return checksumResult{of("Crc32"), of("Crc32c"), of("Crc64nvme"), of("Sha1"), of("Sha256"), of("Type")}
}

// copySource returns the bucket, the key and the version that a copy is made of.
func (r *request) copySource() (from request, version string, err error) {
	path, query, _ := strings.Cut(r.Header.Get("X-Amz-Copy-Source"), "?versionId=")
	path, err = url.PathUnescape(strings.TrimPrefix(path, "/"))
	from.bucket, from.key, _ = strings.Cut(path, "/")
	if err != nil || from.bucket == "" || from.key == "" {
		return request{}, "", fail(http.StatusBadRequest, "InvalidArgument", "Invalid copy source object key")
	}
	return from, query, nil
}

// openSource opens what a copy is made of.
func (s *Service) openSource(w http.ResponseWriter, r *request) (source object, file *os.File, err error) {
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-Copy-Source-") && name != "X-Amz-Copy-Source-Range" && name != "X-Amz-Copy-Source-If-Match" {
			return object{}, nil, wire.NotImplemented(strings.ToLower(name), "s3")
		}
	}
	from, version, err := r.copySource()
	if err != nil {
		return object{}, nil, err
	}
	err = s.view(&from, func(b *bucket) (err error) {
		if source, err = b.version(from.key, version); err != nil {
			return err
		}
		if source.DeleteMarker {
			return fail(http.StatusBadRequest, "InvalidRequest", "The source of a copy request may not specifically refer to a delete marker by version id.")
		}
		if want := strings.Trim(r.Header.Get("X-Amz-Copy-Source-If-Match"), `"`); want != "" && want != "*" && want != strings.Trim(source.ETag, `"`) {
			return preconditionFailed()
		}
		if b.Versioning != "" {
			w.Header().Set("X-Amz-Copy-Source-Version-Id", source.VersionID)
		}
		file, err = os.Open(s.file(source.File)) // while the object is sure to be there
		return err
	})
	return source, file, err
}

func (s *Service) copyObject(w http.ResponseWriter, r *request) error {
	if err := r.check(); err != nil {
		return err
	}
	replace := map[string]bool{"": false, "COPY": false, "REPLACE": true}
	newHeaders, ok := replace[r.Header.Get("X-Amz-Metadata-Directive")]
	newTags, ok2 := replace[r.Header.Get("X-Amz-Tagging-Directive")]
	if !ok || !ok2 {
		return fail(http.StatusBadRequest, "InvalidArgument", "Unknown metadata or tagging directive.")
	}
	from, version, err := r.copySource()
	if err != nil {
		return err
	}
	if from.bucket == r.bucket && from.key == r.key && version == "" && !newHeaders {
		return fail(http.StatusBadRequest, "InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself "+
			"without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	tags, err := parseTagging(r.Header.Get("X-Amz-Tagging"))
	if err != nil {
		return err
	}
	algorithm, err := r.checksumAlgorithm()
	if err != nil {
		return err
	}
	source, file, err := s.openSource(w, r)
	if err != nil {
		return err
	}
	defer file.Close()
	var wanted []string
	for name := range source.Headers {
		if algorithm == "" && strings.HasPrefix(name, checksumPrefix) && name != checksumType {
			wanted = append(wanted, name)
		}
	}
	if algorithm != "" {
		wanted = []string{algorithm}
	}
	o, err := s.write(file, wanted)
	if err != nil {
		return err
	}
	if newHeaders {
		o.keepHeaders(r)
	} else {
		for name, value := range source.Headers {
			if !strings.HasPrefix(name, checksumPrefix) {
				o.Headers[name] = value
			}
		}
	}
	if o.Tags = source.Tags; newTags {
		o.Tags = tags
	}
	stored, err := s.store(w, r, o, nil)
	if err != nil {
		return err
	}
	w.Header().Del("ETag") // in the document
	return answer(w, copied("CopyObjectResult", stored))
}

// copyResult is what a copy answers.
type copyResult struct {
	XMLName      xml.Name
	LastModified time.Time
	ETag         string
	checksumResult
}

func copied(element string, o object) copyResult {
	return copyResult{xml.Name{Space: namespace, Local: element}, o.Modified, o.ETag, checksumsOf(o)}
}

// checksumAlgorithm returns the header of the checksum that the call asks for.
func (r *request) checksumAlgorithm() (string, error) {
	name := r.Header.Get(algorithmName)
	if name == "" {
		return "", nil
	}
	header := http.CanonicalHeaderKey(checksumPrefix + name)
	if !slices.Contains(slices.Collect(maps.Keys(checksums())), strings.TrimPrefix(header, checksumPrefix)) {
		return "", fail(http.StatusBadRequest, "InvalidRequest", "Checksum algorithm provided is unsupported.")
	}
	return header, nil
}

// write keeps content in a file of its own, as an object with the checksums whose headers are named.
func (s *Service) write(content io.Reader, wanted []string) (o object, err error) {
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
	for _, header := range wanted {
		hashes[header] = checksums()[strings.TrimPrefix(header, checksumPrefix)]()
		writers = append(writers, hashes[header])
	}
	if o.Size, err = io.Copy(io.MultiWriter(writers...), content); err != nil {
		return object{}, err
	}
	for header, h := range hashes {
		o.Headers[header] = base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	if err := file.Sync(); err != nil {
		return object{}, fmt.Errorf("keep the object: %w", err)
	}
	o.ETag = `"` + hex.EncodeToString(sum.Sum(nil)) + `"`
	return o, nil
}

// store makes what was written the newest version of the call's key, together with another change of the bucket, or removes it.
func (s *Service) store(w http.ResponseWriter, r *request, o object, change func(*bucket) error) (stored object, err error) {
	var unused []string
	err = s.update(r, func(b *bucket) error {
		if err := r.checkConditions(b); err != nil {
			return err
		}
		if change != nil {
			if err := change(b); err != nil {
				return err
			}
		}
		unused = b.add(r.key, o)
		stored = b.Objects[r.key][len(b.Objects[r.key])-1]
		setVersionHeader(w, b, stored)
		return nil
	})
	if err != nil {
		s.removeFiles([]string{o.File})
		return object{}, err
	}
	s.removeFiles(unused)
	w.Header().Set("ETag", stored.ETag)
	w.Header().Set("X-Amz-Server-Side-Encryption", "AES256")
	return stored, nil
}

// setChecksums answers an object's checksums.
func setChecksums(w http.ResponseWriter, o object) {
	for name, value := range o.Headers {
		if strings.HasPrefix(name, checksumPrefix) {
			w.Header().Set(name, value)
		}
	}
}
