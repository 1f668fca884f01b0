package s3

import (
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxKeys is how many keys a list has at most.
const maxKeys = 1000

// listing is the part of a bucket's keys that a call asks for.
type listing struct {
	prefix, delimiter, after string
	limit                    int
	encode                   func(string) string

	keys      []string
	prefixes  []string
	truncated bool
	last      string // the last key or prefix that is listed
}

func newListing(r *request, after string) (*listing, error) {
	l := &listing{
		prefix: r.query.Get("prefix"), delimiter: r.query.Get("delimiter"), after: after, limit: maxKeys,
		encode: func(s string) string { return s },
	}
	if given := r.query.Get("max-keys"); given != "" {
		n, err := strconv.Atoi(given)
		if err != nil || n < 0 {
			return nil, fail(http.StatusBadRequest, "InvalidArgument", "Provided max-keys not an integer or within integer range")
		}
		l.limit = min(n, maxKeys)
	}
	switch r.query.Get("encoding-type") {
	case "":
	case "url":
		l.encode = func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	default:
		return nil, fail(http.StatusBadRequest, "InvalidArgument", "Invalid Encoding Method specified in Request")
	}
	return l, nil
}

// fill chooses from the keys, which are in order. Keys that have the delimiter after the prefix are listed once, as a prefix.
func (l *listing) fill(keys []string) {
	for _, key := range keys {
		rest, ok := strings.CutPrefix(key, l.prefix)
		if !ok || key <= l.after {
			continue
		}
		common := ""
		if l.delimiter != "" {
			if head, _, found := strings.Cut(rest, l.delimiter); found {
				common = l.prefix + head + l.delimiter
			}
		}
		if common != "" && (common == l.after || slices.Contains(l.prefixes, common)) {
			continue
		}
		if len(l.keys)+len(l.prefixes) >= l.limit {
			l.truncated = l.limit > 0
			return
		}
		if common != "" {
			l.prefixes, l.last = append(l.prefixes, common), common
		} else {
			l.keys, l.last = append(l.keys, key), key
		}
	}
}

func (l *listing) commonPrefixes() (prefixes []commonPrefix) {
	for _, p := range l.prefixes {
		prefixes = append(prefixes, commonPrefix{l.encode(p)})
	}
	return prefixes
}

type commonPrefix struct {
	Prefix string
}

type content struct {
	Key          string
	LastModified time.Time
	ETag         string
	Size         int64
	StorageClass string
	Owner        *owner `xml:",omitempty"`
}

func (s *Service) listObjects(w http.ResponseWriter, r *request) error {
	after := r.query.Get("start-after")
	if token := r.query.Get("continuation-token"); token != "" {
		after = token
	}
	l, err := newListing(r, after)
	if err != nil {
		return err
	}
	out := struct {
		XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
		Name                  string
		Prefix                string
		Delimiter             string `xml:",omitempty"`
		StartAfter            string `xml:",omitempty"`
		ContinuationToken     string `xml:",omitempty"`
		NextContinuationToken string `xml:",omitempty"`
		EncodingType          string `xml:",omitempty"`
		KeyCount              int
		MaxKeys               int
		IsTruncated           bool
		Contents              []content
		CommonPrefixes        []commonPrefix
	}{
		Name: r.bucket, Prefix: l.encode(l.prefix), Delimiter: l.encode(l.delimiter), EncodingType: r.query.Get("encoding-type"),
		StartAfter: l.encode(r.query.Get("start-after")), ContinuationToken: r.query.Get("continuation-token"), MaxKeys: l.limit,
	}
	err = s.view(r, func(b *bucket) error {
		var keys []string
		for _, key := range slices.Sorted(maps.Keys(b.Objects)) {
			if _, err := b.current(key); err == nil {
				keys = append(keys, key)
			}
		}
		l.fill(keys)
		for _, key := range l.keys {
			o, _ := b.current(key)
			c := content{Key: l.encode(key), LastModified: o.Modified, ETag: o.ETag, Size: o.Size, StorageClass: "STANDARD"}
			if r.query.Get("fetch-owner") == "true" {
				c.Owner = s.owner()
			}
			out.Contents = append(out.Contents, c)
		}
		return nil
	})
	if err != nil {
		return err
	}
	out.CommonPrefixes, out.IsTruncated = l.commonPrefixes(), l.truncated
	out.KeyCount = len(l.keys) + len(l.prefixes)
	if l.truncated {
		out.NextContinuationToken = l.last
	}
	return answer(w, out)
}

func (s *Service) listVersions(w http.ResponseWriter, r *request) error {
	if r.query.Get("version-id-marker") != "" {
		return fail(http.StatusBadRequest, "InvalidArgument", "A version-id-marker is not one that this local cloud has given.")
	}
	l, err := newListing(r, r.query.Get("key-marker"))
	if err != nil {
		return err
	}
	type version struct {
		content
		VersionID string `xml:"VersionId"`
		IsLatest  bool
	}
	type marker struct {
		Key          string
		LastModified time.Time
		Owner        *owner
		VersionID    string `xml:"VersionId"`
		IsLatest     bool
	}
	out := struct {
		XMLName        xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListVersionsResult"`
		Name           string
		Prefix         string
		KeyMarker      string
		NextKeyMarker  string `xml:",omitempty"`
		Delimiter      string `xml:",omitempty"`
		EncodingType   string `xml:",omitempty"`
		MaxKeys        int
		IsTruncated    bool
		Versions       []version `xml:"Version"`
		DeleteMarkers  []marker  `xml:"DeleteMarker"`
		CommonPrefixes []commonPrefix
	}{
		Name: r.bucket, Prefix: l.encode(l.prefix), KeyMarker: l.encode(l.after), Delimiter: l.encode(l.delimiter),
		EncodingType: r.query.Get("encoding-type"), MaxKeys: l.limit,
	}
	err = s.view(r, func(b *bucket) error {
		l.fill(slices.Sorted(maps.Keys(b.Objects)))
		for _, key := range l.keys {
			// All versions of a key are listed together, so that the key alone says where the next list begins.
			for i, o := range slices.Backward(b.Objects[key]) {
				latest := i == len(b.Objects[key])-1
				if o.DeleteMarker {
					out.DeleteMarkers = append(out.DeleteMarkers, marker{l.encode(key), o.Modified, s.owner(), o.VersionID, latest})
					continue
				}
				out.Versions = append(out.Versions, version{
					content{l.encode(key), o.Modified, o.ETag, o.Size, "STANDARD", s.owner()}, o.VersionID, latest,
				})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	out.CommonPrefixes, out.IsTruncated = l.commonPrefixes(), l.truncated
	if l.truncated {
		out.NextKeyMarker = l.encode(l.last)
	}
	return answer(w, out)
}
