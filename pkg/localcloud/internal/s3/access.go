package s3

import (
	"net/http"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// What calls need. Actions have other names than the operations, see
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html. Buckets' own policies decide nothing here.

// needs is what a call needs.
type needs func(*request) []wire.Access

func bucketARN(bucket string) string { return "arn:aws:s3:::" + bucket }

// onAccount is for what is about no bucket.
func onAccount(action string) needs {
	return func(*request) []wire.Access { return []wire.Access{{Action: action}} }
}

func onBucket(action string) needs {
	return func(r *request) []wire.Access { return []wire.Access{{Action: action, Resource: bucketARN(r.bucket)}} }
}

// listingNeeds is for lists of a bucket's keys.
func listingNeeds(action string) needs {
	return func(r *request) []wire.Access {
		keys := map[string][]string{}
		for _, name := range []string{"prefix", "delimiter"} {
			if r.query.Has(name) {
				keys["s3:"+name] = []string{r.query.Get(name)}
			}
		}
		return []wire.Access{{Action: action, Resource: bucketARN(r.bucket), Keys: keys}}
	}
}

// onObject is for what is about one object, or about one of its versions, which is another action.
func onObject(action, onVersion string) needs {
	return func(r *request) []wire.Access {
		return []wire.Access{objectAccess(action, onVersion, r.bucket, r.key, r.query.Get("versionId"))}
	}
}

func objectAccess(action, onVersion, bucket, key, version string) wire.Access {
	a := wire.Access{Action: action, Resource: bucketARN(bucket) + "/" + key}
	if version != "" {
		a.Action, a.Keys = onVersion, map[string][]string{"s3:VersionId": {version}}
	}
	return a
}

// deletingObject is what deleting needs.
func deletingObject(bucket, key, version string) wire.Access {
	return objectAccess("s3:DeleteObject", "s3:DeleteObjectVersion", bucket, key, version)
}

// putting needs the right to tag as well where it does.
func putting(r *request) []wire.Access {
	a := wire.Access{Action: "s3:PutObject", Resource: bucketARN(r.bucket) + "/" + r.key}
	all := []wire.Access{a}
	if r.Header.Get("X-Amz-Tagging") != "" {
		a.Action = "s3:PutObjectTagging"
		all = append(all, a)
	}
	return all
}

// copying is for what is made of another object.
func copying(r *request) []wire.Access {
	from, version, err := r.copySource()
	if err != nil { // the call is refused for that
		return putting(r)
	}
	return append([]wire.Access{objectAccess("s3:GetObject", "s3:GetObjectVersion", from.bucket, from.key, version)}, putting(r)...)
}

// copyingTags needs the rights to read and to set tags as well, where a copy gets those of what it is made of.
// See https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html.
func (s *Service) copyingTags(r *request) []wire.Access {
	needs := copying(r)
	from, version, err := r.copySource()
	if err != nil || r.Header.Get("X-Amz-Tagging-Directive") == "REPLACE" || r.Header.Get("X-Amz-Tagging") != "" {
		return needs
	}
	var source object
	_ = s.view(&from, func(b *bucket) (err error) {
		source, err = b.version(from.key, version)
		return err
	})
	if len(source.Tags) == 0 {
		return needs
	}
	return append(needs, objectAccess("s3:GetObjectTagging", "s3:GetObjectVersionTagging", from.bucket, from.key, version),
		wire.Access{Action: "s3:PutObjectTagging", Resource: bucketARN(r.bucket) + "/" + r.key})
}

// each is for calls of which each part is decided on for itself, while they are carried out.
func each(*request) []wire.Access { return nil }

// hide returns what a caller is told instead of that an object is not there: whoever may not list a bucket must not learn it.
// See https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html.
func hide(r *request, err *wire.Error) *wire.Error {
	if r.key == "" || err.Code != "NoSuchKey" {
		return err
	}
	bucket := r.bucket
	if from, _, wrong := r.copySource(); wrong == nil { // which is what is not there
		bucket = from.bucket
	}
	if denied := wire.Check(r.Context(), wire.Access{Action: "s3:ListBucket", Resource: bucketARN(bucket)}); denied != nil {
		return denied
	}
	return err
}

// needsOf returns what each operation needs, for wire.
func needsOf(operations map[string]operation) map[string]func(*http.Request) []wire.Access {
	all := map[string]func(*http.Request) []wire.Access{}
	for name, o := range operations {
		if o.needs != nil {
			all[name] = func(r *http.Request) []wire.Access { return o.needs(newRequest(r)) }
		}
	}
	return all
}
