// Package s3 keeps buckets and objects: path-style addresses, the bucket settings that Terraform asks for, versions of objects,
// and conditional writes. Contents are files. Settings are kept and answered; those that would change what others may do have no
// effect, since the local cloud has one user. Multipart uploads, copies and access control lists are not there.
package s3

import (
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
	// maxObject is the largest object that one PUT may upload, as on AWS.
	maxObject = 5 << 30
	// maxDocument is the largest settings document; AWS's limit for a policy is 20 KiB, for a lifecycle configuration 1000 rules.
	maxDocument = 1 << 20
	// nullVersion is the version ID of objects of a bucket without versioning.
	nullVersion = "null"
)

// Options are the settings of a [Service].
type Options struct {
	// Account and Region are those of the buckets.
	Account, Region string
	// Store keeps everything but the contents of objects.
	Store store.Store
	// Dir is the folder for the contents of objects. It is made where there is none, and must be the service's alone.
	Dir string
}

// Service is Amazon S3.
type Service struct {
	options Options
	state   *store.Document[state]
}

type state struct {
	Buckets map[string]*bucket
}

type bucket struct {
	Created time.Time
	// Versioning is "", "Enabled" or "Suspended".
	Versioning string
	// Settings are the documents of sub-resources, such as "policy", as they were put.
	Settings map[string]string
	// TransitionMinimum is a header that belongs to the lifecycle document.
	TransitionMinimum string
	// Objects are the versions of each key, oldest first.
	Objects map[string][]object
}

type object struct {
	VersionID    string
	DeleteMarker bool `json:",omitempty"`
	Size         int64
	ETag         string // with quotes
	Modified     time.Time
	File         string            // its name in the folder of contents
	Headers      map[string]string // those that are answered as they were given
	Tags         map[string]string `json:",omitempty"`
}

// New returns the service with the state that the store has. It removes contents that no object has, as a kill can leave.
func New(options Options) (*Service, error) {
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for S3 objects: %w", err)
	}
	document, err := store.Open(options.Store, "s3", state{Buckets: map[string]*bucket{}})
	if err != nil {
		return nil, err
	}
	s := &Service{options: options, state: document}
	return s, s.removeOrphans()
}

func (s *Service) removeOrphans() error {
	entries, err := os.ReadDir(s.options.Dir)
	if err != nil {
		return fmt.Errorf("read the folder for S3 objects: %w", err)
	}
	used := map[string]bool{}
	s.state.View(func(st state) error {
		for _, b := range st.Buckets {
			for _, versions := range b.Objects {
				for _, o := range versions {
					used[o.File] = true
				}
			}
		}
		return nil
	})
	for _, entry := range entries {
		if !used[entry.Name()] {
			if err := os.Remove(s.file(entry.Name())); err != nil {
				return fmt.Errorf("remove what an S3 upload left: %w", err)
			}
		}
	}
	return nil
}

func (s *Service) file(name string) string { return filepath.Join(s.options.Dir, name) }

// API returns the service for wire.
func (s *Service) API() wire.Service {
	return wire.Service{Name: "s3", Protocol: wire.REST, Version: "2006-03-01", Namespace: namespace, Handler: http.HandlerFunc(s.serve)}
}

// request is one call.
type request struct {
	*http.Request
	bucket, key string
	query       url.Values
	// sub is the sub-resource that the query names, such as "versioning".
	sub string
}

// handler answers a call, or returns an error without having answered.
type handler func(w http.ResponseWriter, r *request) error

// parameters are the query parameters that are not sub-resources.
func isParameter(name string) bool {
	switch name {
	case "continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "list-type", "marker", "max-keys", "prefix",
		"start-after", "version-id-marker", "versionId", "x-id":
		return true
	}
	return strings.HasPrefix(strings.ToLower(name), "x-amz-")
}

func (s *Service) serve(w http.ResponseWriter, hr *http.Request) {
	r := &request{Request: hr, query: hr.URL.Query()}
	r.bucket, r.key, _ = strings.Cut(strings.TrimPrefix(hr.URL.Path, "/"), "/")
	for name := range r.query {
		if !isParameter(name) {
			r.sub = name
		}
	}
	requestID := wire.RequestID(hr.Context())
	w.Header().Set("X-Amz-Request-Id", requestID)
	w.Header().Set("Server", "AmazonS3")
	err := s.route(r)(w, r)
	if err == nil {
		return
	}
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		e = &wire.Error{Code: "InternalError", Message: err.Error(), Status: http.StatusInternalServerError}
	}
	if hr.Method == http.MethodHead || e.Status == http.StatusNotModified {
		w.WriteHeader(e.Status)
		return
	}
	wire.WriteRESTError(w, requestID, hr.URL.Path, e)
}

// route finds the handler of a call.
func (s *Service) route(r *request) handler {
	name := r.Method
	if r.sub != "" {
		name += " ?" + r.sub
	}
	routes := map[string]handler{}
	switch {
	case r.bucket == "":
		routes["GET"] = s.listBuckets
	case r.key == "":
		routes["DELETE"] = s.deleteBucket
		routes["GET"] = s.listObjects
		routes["GET ?versions"] = s.listVersions
		routes["HEAD"] = s.headBucket
		routes["POST ?delete"] = s.deleteObjects
		routes["PUT"] = s.createBucket
		if handle := s.settingRoute(r); handle != nil {
			routes[name] = handle
		}
	default:
		routes["DELETE"] = s.deleteObject
		routes["DELETE ?tagging"] = s.deleteObjectTagging
		routes["GET"] = s.getObject
		routes["GET ?tagging"] = s.getObjectTagging
		routes["HEAD"] = s.getObject
		routes["PUT"] = s.putObject
		routes["PUT ?tagging"] = s.putObjectTagging
	}
	if handle, ok := routes[name]; ok {
		return handle
	}
	return func(http.ResponseWriter, *request) error {
		what := name
		if r.query.Has("uploads") || r.query.Has("uploadId") {
			what = "multipart uploads (" + name + "); upload in one part"
		}
		return wire.NotImplemented(what, "s3")
	}
}

// find returns a bucket.
func (st state) find(name string) (*bucket, error) {
	b, ok := st.Buckets[name]
	if !ok {
		return nil, fail(http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist")
	}
	return b, nil
}

// view calls f with the bucket of the call.
func (s *Service) view(r *request, f func(*bucket) error) error {
	return s.state.View(func(st state) error {
		b, err := st.find(r.bucket)
		if err != nil {
			return err
		}
		return f(b)
	})
}

// update calls f with the bucket of the call, which f may change.
func (s *Service) update(r *request, f func(*bucket) error) error {
	return s.state.Update(func(st *state) error {
		b, err := st.find(r.bucket)
		if err != nil {
			return err
		}
		return f(b)
	})
}

func fail(status int, code, format string, args ...any) *wire.Error {
	return &wire.Error{Code: code, Message: fmt.Sprintf(format, args...), Status: status}
}

// document reads the body of a call that puts settings.
func (r *request) document() ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxDocument {
		return nil, fail(http.StatusBadRequest, "EntityTooLarge", "The document is larger than %d bytes", maxDocument)
	}
	return data, nil
}

// decode reads the body as XML with the root element that into names.
func (r *request) decode(into any) error {
	data, err := r.document()
	if err != nil {
		return err
	}
	if err := xml.Unmarshal(data, into); err != nil {
		return malformed()
	}
	return nil
}

func malformed() *wire.Error {
	return fail(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

// answer writes an XML document.
func answer(w http.ResponseWriter, document any) error {
	body, err := xml.Marshal(document)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return answerRaw(w, "application/xml", string(body))
}

func answerRaw(w http.ResponseWriter, contentType, body string) error {
	w.Header().Set("Content-Type", contentType)
	if contentType == "application/xml" {
		body = xml.Header + body
	}
	_, err := io.WriteString(w, body)
	return err
}

func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// newID returns a random name for a version or a file.
func newID() string { return rand.Text() }

// requireHeaders refuses headers that ask for what is not there.
func (r *request) requireHeaders() error {
	for name, allowed := range map[string][]string{
		"X-Amz-Acl":                                       {"", "private", "bucket-owner-full-control"},
		"X-Amz-Bucket-Object-Lock-Enabled":                {"", "false"},
		"X-Amz-Copy-Source":                               {""},
		"X-Amz-Object-Lock-Mode":                          {""},
		"X-Amz-Server-Side-Encryption":                    {"", "AES256"},
		"X-Amz-Server-Side-Encryption-Customer-Algorithm": {""},
		"X-Amz-Storage-Class":                             {"", "STANDARD"},
		"X-Amz-Website-Redirect-Location":                 {""},
		"X-Amz-Write-Offset-Bytes":                        {""},
	} {
		if value := r.Header.Get(name); !slices.Contains(allowed, value) {
			return wire.NotImplemented(fmt.Sprintf("%s: %s", strings.ToLower(name), value), "s3")
		}
	}
	return nil
}
