package wire

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// decodeBody makes the body of a REST request the plain content: without the aws-chunked encoding, and failing at its end
// where it is not what the signature states. Trailers of the aws-chunked encoding are in r.Trailer once the body is read.
func decodeBody(r *http.Request, s signature) *Error {
	switch {
	case strings.HasPrefix(s.payloadHash, streamingPrefix):
		length, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
		if err != nil || length < 0 {
			return &Error{
				Code: "MissingContentLength", Message: "The request has no valid X-Amz-Decoded-Content-Length header.",
				Status: http.StatusLengthRequired,
			}
		}
		trailer := http.Header{}
		r.Body = readCloser{&chunkedReader{r: bufio.NewReader(r.Body), want: length, trailer: trailer}, r.Body}
		r.Trailer, r.ContentLength = trailer, length
	case s.payloadHash != unsignedPayload && s.payloadHash != "":
		r.Body = readCloser{&hashedReader{r: r.Body, h: sha256.New(), want: s.payloadHash}, r.Body}
	}
	return nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// hashedReader fails at the end of what it reads where the hash is another.
type hashedReader struct {
	r    io.Reader
	h    hash.Hash
	want string
}

func (h *hashedReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.h.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(h.h.Sum(nil)) != h.want {
		return n, Errorf("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return n, err
}

// chunkedReader decodes the aws-chunked encoding: chunks of a size in hexadecimal, extensions after a semicolon, and the data; then
// trailers. The signatures of single chunks are not checked.
// See https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html.
type chunkedReader struct {
	r       *bufio.Reader
	left    int64 // of the chunk
	read    int64
	want    int64
	trailer http.Header
	begun   bool
	err     error
}

func (c *chunkedReader) Read(p []byte) (int, error) {
	for c.err == nil && c.left == 0 {
		c.err = c.nextChunk()
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	c.read += int64(n)
	if err != nil {
		c.err = malformedChunk("the body ends early")
	}
	return n, c.err
}

// nextChunk reads a chunk's header; at the end it reads the trailers and returns io.EOF.
func (c *chunkedReader) nextChunk() error {
	if c.begun {
		if line, err := c.line(); err != nil || line != "" {
			return malformedChunk("a chunk does not end where its size says")
		}
	}
	c.begun = true
	line, err := c.line()
	if err != nil {
		return err
	}
	size, _, _ := strings.Cut(line, ";")
	c.left, err = strconv.ParseInt(size, 16, 64)
	if err != nil || c.left < 0 || c.read+c.left > c.want {
		return malformedChunk(fmt.Sprintf("%.20q is not the size of a chunk", size))
	}
	if c.left > 0 {
		return nil
	}
	if c.read != c.want {
		return &Error{Code: "IncompleteBody", Message: "The body is shorter than X-Amz-Decoded-Content-Length says."}
	}
	for {
		line, err := c.line()
		if err != nil || line == "" {
			return io.EOF
		}
		if name, value, ok := strings.Cut(line, ":"); ok {
			c.trailer.Set(name, strings.TrimSpace(value))
		}
	}
}

// line reads a line without its end. The reader's buffer bounds its length.
func (c *chunkedReader) line() (string, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return "", malformedChunk("a line has no end")
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

func malformedChunk(why string) error {
	return Errorf("InvalidChunkSizeError", "The body is not in the aws-chunked encoding: %s.", why)
}
