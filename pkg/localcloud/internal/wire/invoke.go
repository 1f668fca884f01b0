package wire

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
)

// Invoke makes a call of a query service from within the process, without a signature. The answer's XML document, EC2's response or
// the others' with its result, is decoded into out. Errors of the API are of type [*Error].
func (s *Server) Invoke(ctx context.Context, service, action string, parameters url.Values, out any) error {
	found, ok := s.services[service]
	if !ok || found.Protocol == JSON || found.Protocol == REST {
		return fmt.Errorf("call %s of %s: there is no such query service", action, service)
	}
	q := &request{
		id: UUID(), protocol: found.Protocol, service: found, serviceName: service, action: action, form: parameters,
	}
	ctx = context.WithValue(ctx, regionKey, s.options.Region)
	ctx = context.WithValue(ctx, requestIDKey, q.id)
	answer := &buffer{header: http.Header{}}
	if err := q.perform(ctx, answer, nil); err != nil {
		return fmt.Errorf("call %s of %s: %w", action, service, err)
	}
	if err := xml.Unmarshal(answer.Bytes(), out); err != nil {
		return fmt.Errorf("call %s of %s: decode the answer: %w", action, service, err)
	}
	return nil
}

// buffer is a response writer that keeps the body.
type buffer struct {
	bytes.Buffer
	header http.Header
}

func (b *buffer) Header() http.Header { return b.header }
func (b *buffer) WriteHeader(int)     {}
