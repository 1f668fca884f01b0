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
	// maxSkew is how far a request's date may be from now, maxExpires how long one may be presigned for.
	maxSkew    = 15 * time.Minute
	maxExpires = 7 * 24 * time.Hour
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
	expires                            string // X-Amz-Expires of a presigned request
	token                              string // X-Amz-Security-Token
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
		s.time, s.token = r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Security-Token")
		if date, err := http.ParseTime(r.Header.Get("Date")); s.time == "" && err == nil {
			s.time = date.UTC().Format(timeFormat)
		}
	} else if query := r.URL.Query(); query.Get("X-Amz-Algorithm") == algorithm {
		credential = query.Get("X-Amz-Credential")
		s.signedHeaders = strings.Split(query.Get("X-Amz-SignedHeaders"), ";")
		s.hex = query.Get("X-Amz-Signature")
		s.time, s.token = query.Get("X-Amz-Date"), query.Get("X-Amz-Security-Token")
		s.presigned, s.expires = true, query.Get("X-Amz-Expires")
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

// checkHeaders checks what a signature says without the body: that it is of a key that there is, of now, of the cloud's region, and over
// all that it has to be over. It returns the session that the key belongs to, nil for the administrator.
func (s *Server) checkHeaders(r *http.Request, q *request, sig signature) (caller *Session, refused *Error) {
	if s.options.SecretAccessKey != "" {
		var token string
		if sig.accessKeyID != s.options.AccessKeyID {
			if caller = s.session(sig.accessKeyID); caller == nil {
				return nil, unknownKey(q.protocol, sig.service)
			}
			token = caller.Token
		}
		if !hmac.Equal([]byte(sig.token), []byte(token)) {
			return nil, unknownToken(q.protocol, sig.service)
		}
		if err := sig.checkTime(q.protocol, time.Now()); err != nil {
			return nil, err
		}
		if err := sig.checkSigned(r, q.protocol); err != nil {
			return nil, err
		}
	}
	return caller, s.checkRegion(q, sig)
}

// session returns the session that an access key ID belongs to, nil for none.
func (s *Server) session(accessKeyID string) *Session {
	if s.options.Identities == nil {
		return nil
	}
	found, ok := s.options.Identities.Session(accessKeyID)
	if !ok {
		return nil
	}
	return &found
}

// checkRegion checks that the request is signed for the cloud's region.
func (s *Server) checkRegion(q *request, sig signature) *Error {
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

// checkTime checks that the request was signed within [maxSkew], and that a presigned one has not expired. Only S3 wants to be told
// when that is; elsewhere it is as soon as any other request's.
func (s signature) checkTime(protocol Protocol, now time.Time) *Error {
	signed, err := time.Parse(timeFormat, s.time)
	if err != nil || s.date != signed.Format("20060102") {
		return badSignature(protocol, fmt.Sprintf("The request's date %q is missing, or not that of its credential scope, %q.", s.time, s.date))
	}
	valid := maxSkew
	if s.presigned && (s.expires != "" || protocol == REST) {
		seconds, err := strconv.Atoi(s.expires)
		if valid = time.Duration(seconds) * time.Second; err != nil || seconds < 0 || valid > maxExpires {
			return Errorf("AuthorizationQueryParametersError", "X-Amz-Expires must be a number of seconds, at most %d", int(maxExpires.Seconds()))
		}
	}
	switch {
	case !now.After(signed.Add(valid)) && !signed.After(now.Add(maxSkew)):
		return nil
	case s.presigned && protocol == REST:
		return &Error{Code: "AccessDenied", Message: "Request has expired, or is not valid yet", Status: http.StatusForbidden}
	case protocol == REST:
		return &Error{
			Code: "RequestTimeTooSkewed", Message: "The difference between the request time and the current time is too large.",
			Status: http.StatusForbidden,
		}
	case protocol == EC2Query:
		return Errorf("RequestExpired", "Request has expired.")
	case signed.After(now):
		return badSignature(protocol, fmt.Sprintf("Signature not yet current: %s is still later than %s (+ 15 min.)", s.time, now.UTC().Format(timeFormat)))
	}
	return badSignature(protocol, fmt.Sprintf("Signature expired: %s is now earlier than %s (- 15 min.)", s.time, now.UTC().Format(timeFormat)))
}

// checkSigned checks that the signature covers the host and all of AWS's headers.
func (s signature) checkSigned(r *http.Request, protocol Protocol) *Error {
	names := []string{"host"}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") {
			names = append(names, name)
		}
	}
	for _, name := range names {
		switch {
		case slices.Contains(s.signedHeaders, name):
		case protocol == REST:
			return &Error{
				Code: "AccessDenied", Message: "There were headers present in the request which were not signed: " + name,
				Status: http.StatusForbidden,
			}
		default:
			return badSignature(protocol, fmt.Sprintf("'%s' must be a 'SignedHeader' in the AWS Authorization.", name))
		}
	}
	return nil
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

// unknownToken returns the protocol's error for a session token that does not belong to the key, or that is missing.
func unknownToken(protocol Protocol, service string) *Error {
	if service == "s3" {
		return Errorf("InvalidToken", "The provided token is malformed or otherwise invalid.")
	}
	return unknownKey(protocol, service)
}

// expiredToken returns the protocol's error for a session that has ended.
func expiredToken(protocol Protocol) *Error {
	switch protocol {
	case EC2Query:
		return Errorf("RequestExpired", "Request has expired.")
	case JSON:
		return Errorf("ExpiredTokenException", "The security token included in the request is expired")
	case REST:
		return Errorf("ExpiredToken", "The provided token has expired.")
	}
	return &Error{Code: "ExpiredToken", Message: "The security token included in the request is expired", Status: http.StatusForbidden}
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

// verify computes the signature again and compares. Only a REST request's may say itself what its body is, or that it does not cover it.
func (s signature) verify(r *http.Request, q *request, secret string) bool {
	payloadHash := s.payloadHash
	if q.protocol != REST || payloadHash == "" {
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
	var pairs [][]string
	for name, values := range query {
		for _, value := range values {
			pairs = append(pairs, []string{escape(name, false), escape(value, false)})
		}
	}
	slices.SortFunc(pairs, slices.Compare) // by name: '=' is greater than the digits that a longer name may go on with
	parts := make([]string, len(pairs))
	for i, pair := range pairs {
		parts[i] = strings.Join(pair, "=")
	}
	return strings.Join(parts, "&")
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
