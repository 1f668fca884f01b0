package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	// unsignedPayload is the payload hash of a request whose body the signature does not cover.
	unsignedPayload = "UNSIGNED-PAYLOAD"
	// streamingPrefix begins the payload hash of a body in the aws-chunked encoding.
	streamingPrefix = "STREAMING-"
	// timeFormat is the form of X-Amz-Date.
	timeFormat = "20060102T150405Z"
)

// signature is the Signature Version 4 of a request.
// See https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
type signature struct {
	accessKeyID, date, region, service string
	signedHeaders                      []string
	hex                                string
	time                               string // X-Amz-Date
	payloadHash                        string // as stated; "" means the hash of the body
	presigned                          bool
}

func (s signature) scope() string {
	return strings.Join([]string{s.date, s.region, s.service, "aws4_request"}, "/")
}

// parseSignature finds the signature in the Authorization header or, presigned, in the query string.
func parseSignature(r *http.Request) (signature, *Error) {
	var s signature
	var credential string
	if fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" "); ok {
		for field := range strings.SplitSeq(fields, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
			switch name {
			case "Credential":
				credential = value
			case "SignedHeaders":
				s.signedHeaders = strings.Split(value, ";")
			case "Signature":
				s.hex = value
			}
		}
		s.time = r.Header.Get("X-Amz-Date")
	} else if query := r.URL.Query(); query.Get("X-Amz-Algorithm") == algorithm {
		credential = query.Get("X-Amz-Credential")
		s.signedHeaders = strings.Split(query.Get("X-Amz-SignedHeaders"), ";")
		s.hex = query.Get("X-Amz-Signature")
		s.time = query.Get("X-Amz-Date")
		s.presigned = true
		if err := checkExpiry(s.time, query.Get("X-Amz-Expires")); err != nil {
			return signature{}, err
		}
	} else {
		return signature{}, &Error{
			Code: "MissingAuthenticationToken", Message: "The request has no Signature Version 4.", Status: http.StatusForbidden,
		}
	}
	parts := strings.Split(credential, "/")
	if len(parts) != 5 || parts[4] != "aws4_request" || s.hex == "" {
		return signature{}, &Error{
			Code: "IncompleteSignature", Message: "The request's signature is not a Signature Version 4.", Status: http.StatusForbidden,
		}
	}
	s.accessKeyID, s.date, s.region, s.service = parts[0], parts[1], parts[2], parts[3]
	s.payloadHash = r.Header.Get("X-Amz-Content-Sha256")
	if s.payloadHash == "" && s.presigned && s.service == "s3" {
		s.payloadHash = unsignedPayload
	}
	return s, nil
}

func checkExpiry(date, expires string) *Error {
	signed, err := time.Parse(timeFormat, date)
	seconds, err2 := strconv.Atoi(expires)
	if err != nil || err2 != nil && expires != "" {
		return Errorf("AuthorizationQueryParametersError", "X-Amz-Date or X-Amz-Expires is not valid")
	}
	if expires != "" && time.Now().After(signed.Add(time.Duration(seconds)*time.Second)) {
		return &Error{Code: "AccessDenied", Message: "Request has expired", Status: http.StatusForbidden}
	}
	return nil
}

// authenticate checks that the request is signed with the cloud's key and for its region.
func (s *Server) authenticate(r *http.Request, q *request, sig signature) *Error {
	if s.options.SecretAccessKey != "" {
		if sig.accessKeyID != s.options.AccessKeyID {
			return unknownKey(q.protocol, sig.service)
		}
		if !slices.Contains(sig.signedHeaders, "host") || !sig.verify(r, q, s.options.SecretAccessKey) {
			return badSignature(q.protocol, "The request signature we calculated does not match the signature you provided. "+
				"Check your secret access key.")
		}
	}
	if s.options.Region == "" || sig.region == s.options.Region || sig.region == "us-east-1" && q.service != nil && q.service.Global {
		return nil
	}
	problem := fmt.Sprintf("This local cloud is the region %s, and the request is signed for %s", s.options.Region, sig.region)
	if !IsRegion(sig.region) {
		problem = fmt.Sprintf("%q is not a region of AWS", sig.region)
	}
	problem += fmt.Sprintf(": set the region to %s, for example with AWS_REGION=%[1]s.", s.options.Region)
	if q.protocol == REST {
		return Errorf("AuthorizationHeaderMalformed", "%s", problem)
	}
	return badSignature(q.protocol, problem)
}

// unknownKey returns the protocol's error for an access key ID that does not exist.
func unknownKey(protocol Protocol, service string) *Error {
	const message = "The security token included in the request is invalid. (This local cloud has a key of its own: " +
		"see the credentials that it printed when it started.)"
	switch {
	case protocol == EC2Query:
		return &Error{
			Code: "AuthFailure", Message: "AWS was not able to validate the provided access credentials", Status: http.StatusUnauthorized,
		}
	case protocol == JSON:
		return Errorf("UnrecognizedClientException", message)
	case service == "s3":
		return &Error{
			Code:    "InvalidAccessKeyId",
			Message: "The AWS Access Key Id you provided does not exist in our records.", Status: http.StatusForbidden,
		}
	}
	return &Error{Code: "InvalidClientTokenId", Message: message, Status: http.StatusForbidden}
}

// badSignature returns the protocol's error for a signature that is not right.
func badSignature(protocol Protocol, message string) *Error {
	switch protocol {
	case EC2Query:
		return &Error{Code: "AuthFailure", Message: message, Status: http.StatusUnauthorized}
	case JSON:
		return Errorf("InvalidSignatureException", "%s", message)
	}
	return &Error{Code: "SignatureDoesNotMatch", Message: message, Status: http.StatusForbidden}
}

// verify computes the signature again and compares.
func (s signature) verify(r *http.Request, q *request, secret string) bool {
	payloadHash := s.payloadHash
	if q.protocol != REST && payloadHash != unsignedPayload || payloadHash == "" {
		payloadHash = hashHex(q.body)
	}
	canonical := strings.Join([]string{
		r.Method, canonicalPath(r.URL, s.service), canonicalQuery(r.URL.Query()), canonicalHeaders(r, s.signedHeaders),
		strings.Join(s.signedHeaders, ";"), payloadHash,
	}, "\n")
	toSign := strings.Join([]string{algorithm, s.time, s.scope(), hashHex([]byte(canonical))}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.date, s.region, s.service, "aws4_request", toSign} {
		key = hmacSHA256(key, part)
	}
	return hmac.Equal([]byte(hex.EncodeToString(key)), []byte(s.hex))
}

func canonicalPath(u *url.URL, service string) string {
	path := escape(u.Path, true)
	if path == "" {
		path = "/"
	}
	if service != "s3" { // S3 alone signs the path as it is sent; the others escape it once more.
		path = escape(path, true)
	}
	return path
}

func canonicalQuery(query url.Values) string {
	query.Del("X-Amz-Signature")
	var pairs []string
	for name, values := range query {
		for _, value := range values {
			pairs = append(pairs, escape(name, false)+"="+escape(value, false))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

func canonicalHeaders(r *http.Request, names []string) string {
	var b strings.Builder
	for _, name := range names {
		values := r.Header.Values(name)
		switch {
		case name == "host":
			values = []string{r.Host}
		case name == "content-length" && values == nil:
			values = []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		trimmed := make([]string, len(values))
		for i, value := range values {
			trimmed[i] = strings.Join(strings.Fields(value), " ")
		}
		b.WriteString(name + ":" + strings.Join(trimmed, ",") + "\n")
	}
	return b.String()
}

// escape percent-encodes everything but the unreserved characters of RFC 3986.
func escape(s string, keepSlash bool) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0,
			c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func hashHex(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func hmacSHA256(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}
