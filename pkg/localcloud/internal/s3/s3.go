// Package s3 keeps buckets and objects: path-style addresses, the bucket settings that Terraform asks for, versions of objects,
// and conditional writes. Contents are files. Settings are kept and answered; but for versioning they have no effect: nothing expires,
// and a bucket's policy decides nothing. Lists of uploads and of their parts, tags of objects to read, and access control lists to change
// are not there.
package s3

import (
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
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
	// Uploads are the uploads in parts under way, by ID.
	Uploads map[string]*multipart `json:",omitempty"`
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
			for _, u := range b.Uploads {
				for _, name := range u.files() {
					used[name] = true
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
	operations := s.operations()
	names := map[string]string{} // by route
	for name, o := range operations {
		names[o.route] = name
	}
	return wire.Service{
		Name: "s3", Protocol: wire.REST, Version: "2006-03-01", Namespace: namespace,
		Operations: slices.Collect(maps.Keys(operations)), Needs: needsOf(operations),
		Operation: func(r *http.Request) string { return names[newRequest(r).route()] },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, hr *http.Request) {
			r := newRequest(hr)
			s.serve(w, r, operations[names[r.route()]].handle)
		}),
	}
}

// operation is an operation of the API.
type operation struct {
	// route is what it is called on, the method, and the sub-resource that the query names.
	route  string
	handle handler
	needs  needs
}

// operations returns the operations by name.
func (s *Service) operations() map[string]operation {
	return map[string]operation{
		"ListBuckets": {"account GET", s.listBuckets, onAccount("s3:ListAllMyBuckets")},

		"CreateBucket":       {"bucket PUT", s.createBucket, onBucket("s3:CreateBucket")},
		"DeleteBucket":       {"bucket DELETE", s.deleteBucket, onBucket("s3:DeleteBucket")},
		"DeleteObjects":      {"bucket POST ?delete", s.deleteObjects, each},
		"HeadBucket":         {"bucket HEAD", s.headBucket, onBucket("s3:ListBucket")},
		"ListObjectVersions": {"bucket GET ?versions", s.listVersions, listingNeeds("s3:ListBucketVersions")},
		"ListObjectsV2":      {"bucket GET ?list-type=2", s.listObjects, listingNeeds("s3:ListBucket")},

		"GetBucketAccelerateConfiguration": {"bucket GET ?accelerate", s.getSetting, onBucket("s3:GetAccelerateConfiguration")},
		"GetBucketAcl":                     {"bucket GET ?acl", s.getSetting, onBucket("s3:GetBucketAcl")},
		"GetBucketCors":                    {"bucket GET ?cors", s.getSetting, onBucket("s3:GetBucketCORS")},
		"GetBucketEncryption":              {"bucket GET ?encryption", s.getSetting, onBucket("s3:GetEncryptionConfiguration")},
		"GetBucketLifecycleConfiguration":  {"bucket GET ?lifecycle", s.getSetting, onBucket("s3:GetLifecycleConfiguration")},
		"GetBucketLocation":                {"bucket GET ?location", s.getSetting, onBucket("s3:GetBucketLocation")},
		"GetBucketLogging":                 {"bucket GET ?logging", s.getSetting, onBucket("s3:GetBucketLogging")},
		"GetBucketPolicy":                  {"bucket GET ?policy", s.getSetting, onBucket("s3:GetBucketPolicy")},
		"GetBucketReplication":             {"bucket GET ?replication", s.getSetting, onBucket("s3:GetReplicationConfiguration")},
		"GetBucketRequestPayment":          {"bucket GET ?requestPayment", s.getSetting, onBucket("s3:GetBucketRequestPayment")},
		"GetBucketTagging":                 {"bucket GET ?tagging", s.getSetting, onBucket("s3:GetBucketTagging")},
		"GetBucketVersioning":              {"bucket GET ?versioning", s.getVersioning, onBucket("s3:GetBucketVersioning")},
		"GetBucketWebsite":                 {"bucket GET ?website", s.getSetting, onBucket("s3:GetBucketWebsite")},
		"GetObjectLockConfiguration":       {"bucket GET ?object-lock", s.getSetting, onBucket("s3:GetBucketObjectLockConfiguration")},
		"GetPublicAccessBlock":             {"bucket GET ?publicAccessBlock", s.getSetting, onBucket("s3:GetBucketPublicAccessBlock")},
		"PutBucketEncryption":              {"bucket PUT ?encryption", s.putSetting, onBucket("s3:PutEncryptionConfiguration")},
		"PutBucketLifecycleConfiguration":  {"bucket PUT ?lifecycle", s.putSetting, onBucket("s3:PutLifecycleConfiguration")},
		"PutBucketPolicy":                  {"bucket PUT ?policy", s.putSetting, onBucket("s3:PutBucketPolicy")},
		"PutBucketTagging":                 {"bucket PUT ?tagging", s.putSetting, onBucket("s3:PutBucketTagging")},
		"PutBucketVersioning":              {"bucket PUT ?versioning", s.putVersioning, onBucket("s3:PutBucketVersioning")},
		"PutPublicAccessBlock":             {"bucket PUT ?publicAccessBlock", s.putSetting, onBucket("s3:PutBucketPublicAccessBlock")},
		"DeleteBucketEncryption":           {"bucket DELETE ?encryption", s.deleteSetting, onBucket("s3:PutEncryptionConfiguration")},
		"DeleteBucketLifecycle":            {"bucket DELETE ?lifecycle", s.deleteSetting, onBucket("s3:PutLifecycleConfiguration")},
		"DeleteBucketPolicy":               {"bucket DELETE ?policy", s.deleteSetting, onBucket("s3:DeleteBucketPolicy")},
		"DeleteBucketTagging":              {"bucket DELETE ?tagging", s.deleteSetting, onBucket("s3:PutBucketTagging")},
		"DeletePublicAccessBlock":          {"bucket DELETE ?publicAccessBlock", s.deleteSetting, onBucket("s3:PutBucketPublicAccessBlock")},

		"AbortMultipartUpload":    {"object DELETE ?uploadId", s.abortMultipartUpload, onObject("s3:AbortMultipartUpload", "")},
		"CompleteMultipartUpload": {"object POST ?uploadId", s.completeMultipartUpload, onObject("s3:PutObject", "")},
		"CreateMultipartUpload":   {"object POST ?uploads", s.createMultipartUpload, putting},
		"UploadPart":              {"object PUT ?uploadId", s.uploadPart, onObject("s3:PutObject", "")},
		"UploadPartCopy":          {"object PUT ?uploadId of another", s.uploadPartCopy, copying},

		"CopyObject":   {"object PUT of another", s.copyObject, s.copyingTags},
		"DeleteObject": {"object DELETE", s.deleteObject, onObject("s3:DeleteObject", "s3:DeleteObjectVersion")},
		"GetObject":    {"object GET", s.getObject, onObject("s3:GetObject", "s3:GetObjectVersion")},
		"HeadObject":   {"object HEAD", s.getObject, onObject("s3:GetObject", "s3:GetObjectVersion")},
		"PutObject":    {"object PUT", s.putObject, putting},
	}
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
	case "continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "list-type", "marker", "max-keys", "partNumber",
		"prefix", "response-cache-control", "response-content-disposition", "response-content-encoding", "response-content-language",
		"response-content-type", "response-expires", "start-after", "version-id-marker", "versionId", "x-id":
		return true
	}
	return isHeader(name)
}

// isHeader reports whether a query parameter stands for a header.
func isHeader(name string) bool { return strings.HasPrefix(strings.ToLower(name), "x-amz-") }

func newRequest(hr *http.Request) *request {
	r := &request{Request: hr, query: hr.URL.Query()}
	r.bucket, r.key, _ = strings.Cut(strings.TrimPrefix(hr.URL.Path, "/"), "/")
	for name := range r.query {
		if !isParameter(name) {
			r.sub = name
		} else if isHeader(name) && r.Header.Get(name) == "" { // as presigned URLs have them
			r.Header.Set(name, r.query.Get(name))
		}
	}
	if r.key == "" && r.query.Get("list-type") == "2" {
		r.sub = "list-type=2"
	}
	return r
}

// route returns the route of the call's operation.
func (r *request) route() string {
	route := "object " + r.Method
	switch {
	case r.bucket == "":
		route = "account " + r.Method
	case r.key == "":
		route = "bucket " + r.Method
	}
	if r.sub != "" {
		route += " ?" + r.sub
	}
	if r.Header.Get("X-Amz-Copy-Source") != "" {
		route += " of another"
	}
	return route
}

// serve answers a call; handle is nil for what there is no operation for.
func (s *Service) serve(w http.ResponseWriter, r *request, handle handler) {
	w.Header().Set("Server", "AmazonS3")
	if handle == nil {
		handle = notImplemented
	}
	err := handle(w, r)
	if err == nil {
		return
	}
	e, ok := errors.AsType[*wire.Error](err)
	if !ok {
		e = &wire.Error{Code: "InternalError", Message: err.Error(), Status: http.StatusInternalServerError}
	}
	e = hide(r, e)
	if r.Method == http.MethodHead || e.Status == http.StatusNotModified {
		w.WriteHeader(e.Status)
		return
	}
	wire.WriteRESTError(w, wire.RequestID(r.Context()), r.URL.Path, e)
}

func notImplemented(_ http.ResponseWriter, r *request) error {
	_, what, _ := strings.Cut(r.route(), " ")
	return wire.NotImplemented(what, "s3")
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
