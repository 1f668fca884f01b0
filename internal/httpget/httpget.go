// Package httpget asks for small things over HTTP, with a limit to everything.
package httpget

import (
	"context"
	"io"
	"net/http"
	"time"
)

const (
	defaultTimeout = 10 * time.Second
	defaultLimit   = 64 << 10
)

// Options bound a request. Zero ones are those of http.DefaultClient, 10 seconds and 64 KiB.
type Options struct {
	Client  *http.Client
	Timeout time.Duration // from the first byte sent to the last one read
	Limit   int64         // how much of the body is read, in bytes; negative for nothing of it
}

// Answer is what a server said.
type Answer struct {
	Code   int    // such as 200
	Status string // such as "200 OK"
	Header http.Header
	Body   []byte
}

// Get sends a GET request and reads the answer, whatever its status.
func Get(ctx context.Context, url string, o Options) (Answer, error) {
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Limit == 0 {
		o.Limit = defaultLimit
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Answer{}, err
	}
	response, err := o.Client.Do(request)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, o.Limit))
	return Answer{Code: response.StatusCode, Status: response.Status, Header: response.Header, Body: body}, err
}
