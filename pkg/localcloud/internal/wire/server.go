package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxBody is the size that the body of a query or JSON request may have. The largest real ones are user data (16 KiB) and
// parameters (8 KiB) in base64.
const maxBody = 1 << 20

// Options are the settings of a [Server]. The zero value serves every region and checks no signature, which suits tests.
type Options struct {
	// Region is the region that requests must be signed for; empty means any.
	Region string
	// AccessKeyID and SecretAccessKey are the key that requests must be signed with; empty means that signatures are not
	// checked.
	AccessKeyID, SecretAccessKey string
	// Log is called after each call.
	Log func(Call)
	// Fault decides what goes wrong with a call; nil for nothing.
	Fault func(service, action string) Fault
}

// Call is what a [Server] did with one request.
type Call struct {
	Service, Action, RequestID string
	Status                     int
	// Err is the error that was answered, if any.
	Err      *Error
	Duration time.Duration
}

// String returns the call as a line of a log.
func (c Call) String() string {
	line := fmt.Sprintf("%s %s %d %s", c.Service, c.Action, c.Status, c.Duration.Round(100*time.Microsecond))
	if c.Err != nil {
		line += fmt.Sprintf(" %s: %q", c.Err.Code, c.Err.Message)
	}
	return line
}

// Server answers the requests of several services at one address.
type Server struct {
	options  Options
	services map[string]*Service
}

// New returns a server for the services.
func New(options Options, services ...Service) *Server {
	s := &Server{options: options, services: map[string]*Service{}}
	for _, service := range services {
		s.services[service.Name] = &service
	}
	return s
}

// Handler returns a server that checks no signatures, for tests.
func Handler(services ...Service) http.Handler { return New(Options{}, services...) }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	q := &request{id: newRequestID(), protocol: guessProtocol(r)}
	recorder := &statusRecorder{ResponseWriter: w}
	err := s.serve(recorder, r, q)
	cut := q.fault.cut()
	switch {
	case cut != nil:
		err, recorder.code = cut, cut.Status
		defer panic(http.ErrAbortHandler) // which closes the connection without a word
	case err != nil:
		writeError(recorder, q.protocol, q.namespace(), q.id, err)
	default:
		err = recorder.err
	}
	if s.options.Log != nil {
		s.options.Log(Call{
			Service: q.serviceName, Action: q.action, RequestID: q.id, Status: recorder.status(), Err: err,
			Duration: time.Since(start),
		})
	}
}

// request is what is known about a request while it is served.
type request struct {
	id          string
	protocol    Protocol
	service     *Service // nil until it is found
	serviceName string
	action      string
	form        url.Values
	body        []byte
	fault       Fault
}

func (q *request) namespace() string {
	if q.service == nil {
		return ""
	}
	return q.service.Namespace
}

// serve finds and makes the call. It has written the answer unless it returns an error.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, q *request) *Error {
	signature, err := parseSignature(r)
	if err != nil {
		return err
	}
	q.serviceName = signature.service
	if service, ok := s.services[signature.service]; ok {
		q.service, q.protocol = service, service.protocolOf(r)
	}
	if q.protocol == REST {
		q.action = r.Method + " " + r.URL.Path
		if r.URL.RawQuery != "" && !signature.presigned { // whose query is as good as a key
			q.action += "?" + r.URL.RawQuery
		}
	} else if err := q.readBody(w, r); err != nil {
		return err
	}
	if err := s.authenticate(r, q, signature); err != nil {
		return err
	}
	if q.service == nil {
		return unsupported(q.protocol, q.action, signature.service)
	}
	if s.options.Fault != nil {
		q.fault = s.options.Fault(q.serviceName, q.action)
	}
	switch err := q.fault.answer(q.protocol); {
	case err != nil:
		return err
	case q.fault == Dropped:
		return nil
	case q.fault == Unanswered:
		w = &buffer{header: http.Header{}}
	}
	// A call that has begun runs to its end, as on AWS, whether or not the client still waits.
	ctx := context.WithoutCancel(r.Context())
	ctx = context.WithValue(ctx, regionKey, signature.region)
	ctx = context.WithValue(ctx, requestIDKey, q.id)
	if q.protocol == REST {
		if err := decodeBody(r, signature); err != nil {
			return err
		}
		q.service.Handler.ServeHTTP(w, r.WithContext(ctx))
		return nil
	}
	return q.perform(ctx, w)
}

// perform makes the call of a query or JSON service.
func (q *request) perform(ctx context.Context, w http.ResponseWriter) *Error {
	action, ok := q.service.Actions[q.action]
	if !ok {
		return unsupported(q.protocol, q.action, q.serviceName)
	}
	in := action.newInput()
	if err := q.decode(in); err != nil {
		return err
	}
	out, err := action.call(ctx, in)
	if err != nil {
		return asError(err)
	}
	if err := q.writeResult(w, out); err != nil {
		return asError(err)
	}
	return nil
}

// decode decodes the parameters into in.
func (q *request) decode(in any) *Error {
	if q.protocol == JSON {
		return decodeJSON(q.body, in)
	}
	parameters := url.Values{}
	for name, values := range q.form {
		if name != "Action" && name != "Version" && !strings.HasPrefix(name, "X-Amz-") {
			parameters[name] = values
		}
	}
	dryRun := q.protocol == EC2Query && parameters.Get("DryRun") == "true"
	if q.protocol == EC2Query {
		parameters.Del("DryRun")
	}
	if err := decodeQuery(q.protocol, parameters, in); err != nil {
		return err
	}
	if dryRun {
		return &Error{
			Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.",
			Status: http.StatusPreconditionFailed,
		}
	}
	return nil
}

// readBody reads the body of a query or JSON request and finds its action.
func (q *request) readBody(w http.ResponseWriter, r *http.Request) *Error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return &Error{
				Code: "RequestEntityTooLarge", Message: fmt.Sprintf("The request is larger than %d bytes", maxBody),
				Status: http.StatusRequestEntityTooLarge,
			}
		}
		return Errorf("IncompleteBody", "The request's body could not be read: %v", err)
	}
	q.body = body
	if q.protocol == JSON {
		prefix, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		q.action = action
		if q.service != nil && prefix != q.service.Target {
			q.action = r.Header.Get("X-Amz-Target")
		}
		return nil
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return Errorf("MalformedQueryString", "The request's body is not a form: %v", err)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Errorf("MalformedQueryString", "The query string is not a form: %v", err)
	}
	for name, values := range query {
		form[name] = append(form[name], values...)
	}
	q.form, q.action = form, form.Get("Action")
	return nil
}

// guessProtocol tells the protocol of a request whose service is not known, so that even that error can be read.
func guessProtocol(r *http.Request) Protocol {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Header.Get("X-Amz-Target") != "", strings.HasPrefix(mediaType, "application/x-amz-json"),
		mediaType == "application/json":
		return JSON
	case mediaType == "application/x-www-form-urlencoded", r.URL.Query().Has("Action"):
		return AWSQuery
	}
	return REST
}

// unsupported returns AWS's error for an operation that does not exist.
func unsupported(protocol Protocol, action, service string) *Error {
	if action == "" {
		return Errorf("MissingAction", "The request names no action of the service %q.", service)
	}
	switch protocol {
	case EC2Query, AWSQuery:
		return Errorf("InvalidAction", "The action %s is not valid for this web service. (This local cloud's %s does not have it.)",
			action, service)
	case JSON:
		return Errorf("UnknownOperationException", "The operation %s is not valid. (This local cloud's %s does not have it.)",
			action, service)
	}
	return NotImplemented(action, service)
}

// NotImplemented returns the error of a REST service for something that it does not do.
func NotImplemented(what, service string) *Error {
	return &Error{
		Code:    "NotImplemented",
		Message: fmt.Sprintf("A header or request implies functionality that is not implemented: %s (service %s).", what, service),
		Status:  http.StatusNotImplemented,
	}
}

// newRequestID returns a random UUID, as AWS uses for requests.
func newRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// statusRecorder remembers the status that was written.
type statusRecorder struct {
	http.ResponseWriter
	code int
	err  *Error // that a REST service answered
}

func (r *statusRecorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *statusRecorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *statusRecorder) status() int {
	if r.code == 0 {
		return http.StatusOK
	}
	return r.code
}

// ActionNames returns the names of the service's operations in alphabetical order.
func (s *Service) ActionNames() []string {
	names := make([]string, 0, len(s.Actions))
	for name := range s.Actions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
