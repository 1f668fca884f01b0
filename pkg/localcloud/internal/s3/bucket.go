package s3

import (
	"encoding/json"
	"encoding/xml"
	"maps"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// owner is the account as S3 names it.
type owner struct {
	ID string
}

func (s *Service) owner() *owner { return &owner{ID: s.options.Account} }

func (s *Service) listBuckets(w http.ResponseWriter, r *request) error {
	type item struct {
		Name         string
		CreationDate time.Time
		BucketRegion string
	}
	document := struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListAllMyBucketsResult"`
		Owner   *owner
		Buckets []item `xml:"Buckets>Bucket"`
	}{Owner: s.owner()}
	err := s.state.View(func(st state) error {
		for _, name := range slices.Sorted(maps.Keys(st.Buckets)) {
			if strings.HasPrefix(name, r.query.Get("prefix")) {
				document.Buckets = append(document.Buckets, item{name, st.Buckets[name].Created, s.options.Region})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return answer(w, document)
}

// checkBucketName checks a name by AWS's rules.
// See https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html.
func checkBucketName(name string) error {
	_, err := netip.ParseAddr(name)
	if err == nil || !regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`).MatchString(name) || strings.Contains(name, "..") {
		return fail(http.StatusBadRequest, "InvalidBucketName", "The specified bucket is not valid.")
	}
	return nil
}

func (s *Service) createBucket(w http.ResponseWriter, r *request) error {
	if err := checkBucketName(r.bucket); err != nil {
		return err
	}
	if err := r.requireHeaders(); err != nil {
		return err
	}
	body, err := r.document()
	if err != nil {
		return err
	}
	var configuration struct {
		XMLName            xml.Name `xml:"CreateBucketConfiguration"`
		LocationConstraint string
		Tags               []tag     `xml:"Tags>Tag"`
		Location           *struct{} `xml:"Location"`
		Bucket             *struct{} `xml:"Bucket"`
	}
	if len(body) > 0 {
		if err := xml.Unmarshal(body, &configuration); err != nil {
			return malformed()
		}
	}
	location := configuration.LocationConstraint
	switch {
	case configuration.Location != nil || configuration.Bucket != nil:
		return wire.NotImplemented("directory buckets", "s3")
	case location == "" && s.options.Region != "us-east-1":
		return fail(http.StatusBadRequest, "IllegalLocationConstraintException",
			"The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.")
	case location != "" && location != s.options.Region:
		return fail(http.StatusBadRequest, "IllegalLocationConstraintException",
			"The %s location constraint is incompatible for the region specific endpoint this request was sent to.", location)
	}
	created := &bucket{
		Created: now(), Objects: map[string][]object{},
		// The settings that AWS gives every new bucket.
		Settings: map[string]string{
			"publicAccessBlock": "<PublicAccessBlockConfiguration xmlns=\"" + namespace + "\"><BlockPublicAcls>true</BlockPublicAcls>" +
				"<IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>" +
				"<RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>",
		},
	}
	if len(configuration.Tags) > 0 {
		if created.Settings["tagging"], err = taggingDocument(configuration.Tags); err != nil {
			return err
		}
	}
	err = s.state.Update(func(st *state) error {
		if _, ok := st.Buckets[r.bucket]; ok {
			return fail(http.StatusConflict, "BucketAlreadyOwnedByYou",
				"Your previous request to create the named bucket succeeded and you already own it.")
		}
		st.Buckets[r.bucket] = created
		return nil
	})
	if err != nil {
		return err
	}
	w.Header().Set("Location", "/"+r.bucket)
	return nil
}

func (s *Service) headBucket(w http.ResponseWriter, r *request) error {
	return s.view(r, func(*bucket) error {
		w.Header().Set("X-Amz-Bucket-Region", s.options.Region)
		return nil
	})
}

func (s *Service) deleteBucket(w http.ResponseWriter, r *request) error {
	var unused []string
	err := s.state.Update(func(st *state) error {
		b, err := st.find(r.bucket)
		if err != nil {
			return err
		}
		for _, u := range b.Uploads {
			unused = append(unused, u.files()...)
		}
		if len(b.Objects) > 0 {
			message := "The bucket you tried to delete is not empty"
			if b.Versioning != "" {
				message += ". You must delete all versions in the bucket."
			}
			return fail(http.StatusConflict, "BucketNotEmpty", "%s", message)
		}
		delete(st.Buckets, r.bucket)
		return nil
	})
	return s.removed(w, unused, err)
}

// setting is a sub-resource of a bucket whose document is kept as it is.
type setting struct {
	// root is the name of the document's root element; empty where the document is JSON.
	root string
	// fixed is the document that is answered always; nothing can be put.
	fixed string
	// initial is the document that is answered where none was put.
	initial string
	// missing and message are the error where there is no document.
	missing, message string
}

// setting returns a sub-resource of a bucket.
func (s *Service) setting(name string) setting {
	return map[string]setting{
		"accelerate": {fixed: "<AccelerateConfiguration xmlns=\"" + namespace + "\"/>"},
		"acl": {fixed: "<AccessControlPolicy xmlns=\"" + namespace + "\"><Owner><ID>" + s.options.Account + "</ID></Owner><AccessControlList>" +
			"<Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>" + s.options.Account +
			"</ID></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>"},
		"cors": {missing: "NoSuchCORSConfiguration", message: "The CORS configuration does not exist"},
		"encryption": {
			root: "ServerSideEncryptionConfiguration",
			initial: "<ServerSideEncryptionConfiguration xmlns=\"" + namespace + "\"><Rule><ApplyServerSideEncryptionByDefault>" +
				"<SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule>" +
				"</ServerSideEncryptionConfiguration>",
		},
		"lifecycle": {
			root: "LifecycleConfiguration", missing: "NoSuchLifecycleConfiguration", message: "The lifecycle configuration does not exist",
		},
		"location": {fixed: "<LocationConstraint xmlns=\"" + namespace + "\">" + locationOf(s.options.Region) + "</LocationConstraint>"},
		"logging":  {fixed: "<BucketLoggingStatus xmlns=\"" + namespace + "\"/>"},
		"object-lock": {
			missing: "ObjectLockConfigurationNotFoundError", message: "Object Lock configuration does not exist for this bucket",
		},
		"policy": {missing: "NoSuchBucketPolicy", message: "The bucket policy does not exist"},
		"publicAccessBlock": {
			root: "PublicAccessBlockConfiguration", missing: "NoSuchPublicAccessBlockConfiguration",
			message: "The public access block configuration was not found",
		},
		"replication": {
			missing: "ReplicationConfigurationNotFoundError", message: "The replication configuration was not found",
		},
		"requestPayment": {
			fixed: "<RequestPaymentConfiguration xmlns=\"" + namespace + "\"><Payer>BucketOwner</Payer></RequestPaymentConfiguration>",
		},
		"tagging": {root: "Tagging", missing: "NoSuchTagSet", message: "The TagSet does not exist"},
		"website": {
			missing: "NoSuchWebsiteConfiguration", message: "The specified bucket does not have a website configuration",
		},
	}[name]
}

func locationOf(region string) string {
	if region == "us-east-1" {
		return ""
	}
	return region
}

func (s *Service) getSetting(w http.ResponseWriter, r *request) error {
	of := s.setting(r.sub)
	var document string
	err := s.view(r, func(b *bucket) error {
		document = of.fixed
		if put, ok := b.Settings[r.sub]; ok {
			document = put
		} else if document == "" {
			document = of.initial
		}
		if document == "" {
			return fail(http.StatusNotFound, of.missing, "%s", of.message)
		}
		if r.sub == "lifecycle" {
			w.Header().Set("X-Amz-Transition-Default-Minimum-Object-Size", b.TransitionMinimum)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r.sub == "policy" {
		return answerRaw(w, "application/json", document)
	}
	return answerRaw(w, "application/xml", document)
}

func (s *Service) putSetting(w http.ResponseWriter, r *request) error {
	of := s.setting(r.sub)
	data, err := r.document()
	if err != nil {
		return err
	}
	document := strings.TrimPrefix(strings.TrimSpace(string(data)), strings.TrimSpace(xml.Header))
	if r.sub == "policy" {
		if !json.Valid(data) {
			return fail(http.StatusBadRequest, "MalformedPolicy", "Policies must be valid JSON and the first byte must be '{'")
		}
	} else {
		var root struct {
			XMLName xml.Name
			Tags    []tag `xml:"TagSet>Tag"`
		}
		if err := xml.Unmarshal(data, &root); err != nil || root.XMLName.Local != of.root {
			return malformed()
		}
		if r.sub == "tagging" {
			if document, err = taggingDocument(root.Tags); err != nil {
				return err
			}
		}
	}
	minimum := r.Header.Get("X-Amz-Transition-Default-Minimum-Object-Size")
	if minimum == "" {
		minimum = "all_storage_classes_128K"
	}
	err = s.update(r, func(b *bucket) error {
		b.Settings[r.sub] = document
		if r.sub == "lifecycle" {
			b.TransitionMinimum = minimum
			w.Header().Set("X-Amz-Transition-Default-Minimum-Object-Size", minimum)
		}
		return nil
	})
	if err == nil && (r.sub == "policy" || r.sub == "tagging") {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

func (s *Service) deleteSetting(w http.ResponseWriter, r *request) error {
	err := s.update(r, func(b *bucket) error {
		delete(b.Settings, r.sub)
		return nil
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type versioning struct {
	XMLName   xml.Name `xml:"VersioningConfiguration"`
	Namespace string   `xml:"xmlns,attr,omitempty"`
	Status    string   `xml:",omitempty"`
	MFADelete string   `xml:"MfaDelete,omitempty"`
}

func (s *Service) getVersioning(w http.ResponseWriter, r *request) error {
	document := versioning{Namespace: namespace}
	err := s.view(r, func(b *bucket) error {
		document.Status = b.Versioning
		return nil
	})
	if err != nil {
		return err
	}
	return answer(w, document)
}

func (s *Service) putVersioning(_ http.ResponseWriter, r *request) error {
	var document versioning
	if err := r.decode(&document); err != nil {
		return err
	}
	if document.Status != "Enabled" && document.Status != "Suspended" {
		return malformed()
	}
	if document.MFADelete == "Enabled" {
		return wire.NotImplemented("MfaDelete", "s3")
	}
	return s.update(r, func(b *bucket) error {
		b.Versioning = document.Status
		return nil
	})
}

// tag is a tag of a bucket or an object.
type tag struct {
	Key   string
	Value string
}

// taggingDocument checks tags and returns them as a document.
func taggingDocument(tags []tag) (string, error) {
	seen := map[string]bool{}
	for _, t := range tags {
		if t.Key == "" || len(t.Key) > 128 || len(t.Value) > 256 || seen[t.Key] {
			return "", fail(http.StatusBadRequest, "InvalidTag", "The tag %q is not valid.", t.Key)
		}
		seen[t.Key] = true
	}
	body, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ Tagging"`
		Tags    []tag    `xml:"TagSet>Tag"`
	}{Tags: tags})
	return string(body), err
}
