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
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
)

// maxBody is the size that the body of a query or JSON request may have. The largest real ones are user data (16 KiB) and
// parameters (8 KiB) in base64.
const maxBody = 1 << 20

const (
	// maxBodies bounds the bodies of all query and JSON requests that are served at once.
	maxBodies = 64 * maxBody
	// bodyTimeout is how long such a body may take to arrive, and how long nothing may arrive of one of a REST request.
	bodyTimeout = 30 * time.Second
)

// Options are the settings of a [Server]. The zero value serves every region and checks no signature, which suits tests.
type Options struct {
	// Region is the region that requests must be signed for; empty means any.
	Region string
	// AccessKeyID and SecretAccessKey are the administrator's key, who may do everything; empty means that signatures are not
	// checked.
	AccessKeyID, SecretAccessKey string
	// Identities are who else may call, and what they may do; nil for nobody.
	Identities Identities
	// Log is called after each call.
	Log func(Call)
	// Fault decides what goes wrong with a call; nil for nothing.
	Fault func(service, action string) Fault
	// Lags decides whether a call meets a service's past: reads are of that, and what is not in it cannot be named. Nil for no call.
	Lags func(service, action string) bool
}

// Call is what a [Server] did with one request.
type Call struct {
	Service, Action, RequestID string
	// Operation is the operation that the service has; of a REST service, whose Action is a method and a path, its name.
	// It is empty where there is none.
	Operation string
	Status    int
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
	bodies   *semaphore.Weighted // the bytes that are left of maxBodies
}

// New returns a server for the services.
func New(options Options, services ...Service) *Server {
	s := &Server{options: options, services: map[string]*Service{}, bodies: semaphore.NewWeighted(maxBodies)}
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
	q := &request{id: UUID(), protocol: guessProtocol(r), mediaType: jsonType(r)}
	recorder := &statusRecorder{ResponseWriter: w}
	err := s.serve(recorder, r, q)
	cut := q.fault.cut()
	switch {
	case cut != nil:
		err, recorder.code = cut, cut.Status
		defer panic(http.ErrAbortHandler) // which closes the connection without a word
	case err != nil:
		q.writeError(recorder, err)
	default:
		err = recorder.err
	}
	if s.options.Log != nil {
		s.options.Log(Call{
			Service: q.serviceName, Action: q.action, Operation: q.operation, RequestID: q.id, Status: recorder.status(), Err: err,
			Duration: time.Since(start),
		})
	}
}

// request is what is known about a request while it is served.
type request struct {
	id          string
	protocol    Protocol
	mediaType   string   // of the answer, in the JSON protocol
	service     *Service // nil until it is found
	serviceName string
	action      string
	operation   string // of the service's; "" for none
	form        url.Values
	body        []byte
	fault       Fault
	lags        bool
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
		return s.serveUnsigned(w, r, q, err)
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
	}
	caller, err := s.checkHeaders(r, q, signature)
	if err != nil {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close") // instead of reading a body that nobody wants
		}
		return err
	}
	if q.protocol != REST {
		release, err := s.receive(w, r, q)
		if err != nil {
			return err
		}
		defer release()
	}
	secret := s.options.SecretAccessKey
	if caller != nil {
		secret = caller.SecretAccessKey
	}
	if s.options.SecretAccessKey != "" && !signature.verify(r, q, secret) {
		return badSignature(q.protocol, "The request signature we calculated does not match the signature you provided. "+
			"Check your secret access key.")
	}
	if caller != nil && !time.Now().Before(caller.Expires) {
		return expiredToken(q.protocol)
	}
	if q.service == nil {
		return unsupported(q.protocol, q.action, signature.service)
	}
	w, proceed, err := s.fail(w, q)
	if !proceed {
		return err
	}
	q.lags = s.options.Lags != nil && s.options.Lags(q.serviceName, q.action)
	ctx := q.context(r.Context(), signature.region)
	var gate *gate
	if caller != nil {
		gate = newGate(s.options.Identities, caller.Caller, q.protocol, signature.region, r)
		ctx = context.WithValue(ctx, gateKey, gate)
	}
	if q.protocol == REST {
		if q.service.Operation != nil {
			q.operation = q.service.Operation(r)
		}
		if q.operation != "" || q.service.Operation == nil { // another one is refused by the service
			var needs func() []Access
			if of := q.service.Needs[q.operation]; of != nil {
				needs = func() []Access { return of(r) }
			}
			if err := q.authorize(gate, needs); err != nil {
				return err
			}
		}
		r.Body = &patientBody{r.Body, http.NewResponseController(w)}
		if err := decodeBody(r, signature); err != nil {
			return err
		}
		setRESTHeaders(w, q.id)
		q.service.Handler.ServeHTTP(w, r.WithContext(ctx))
		return nil
	}
	return q.perform(ctx, w, gate)
}

// serveUnsigned makes the call of a request without a signature, where it is for an operation that needs none. For others the answer is
// what is wrong with the signature.
func (s *Server) serveUnsigned(w http.ResponseWriter, r *http.Request, q *request, wrong *Error) *Error {
	if q.protocol != AWSQuery || wrong.Code != "MissingAuthenticationToken" {
		return wrong
	}
	release, err := s.receive(w, r, q)
	if err != nil {
		return err
	}
	defer release()
	for _, service := range s.services {
		if service.Protocol == AWSQuery && slices.Contains(service.Unsigned, q.action) {
			q.service, q.serviceName = service, service.Name
		}
	}
	if q.service == nil {
		return wrong
	}
	w, proceed, err := s.fail(w, q)
	if !proceed {
		return err
	}
	return q.perform(q.context(r.Context(), s.options.Region), w, nil)
}

// fail decides what goes wrong with a call. It does not proceed where the call is not to be made, and where that is so because of an
// error, that is to be answered.
func (s *Server) fail(w http.ResponseWriter, q *request) (to http.ResponseWriter, proceed bool, err *Error) {
	if s.options.Fault != nil {
		q.fault = s.options.Fault(q.serviceName, q.action)
	}
	switch err := q.fault.answer(q.protocol); {
	case err != nil:
		return w, false, err
	case q.fault == Dropped:
		return w, false, nil
	case q.fault == Unanswered:
		w = &buffer{header: http.Header{}}
	}
	return w, true, nil
}

// context returns the context of a call. One that has begun runs to its end, as on AWS, whether or not the client still waits.
func (q *request) context(ctx context.Context, region string) context.Context {
	ctx = context.WithoutCancel(ctx)
	ctx = context.WithValue(ctx, regionKey, region)
	return context.WithValue(ctx, requestIDKey, q.id)
}

// perform makes the call of a query or JSON service. Without a gate it is the administrator's.
func (q *request) perform(ctx context.Context, w http.ResponseWriter, gate *gate) *Error {
	action, ok := q.service.Actions[q.action]
	if !ok {
		return unsupported(q.protocol, q.action, q.serviceName)
	}
	q.operation = q.action
	out, err := q.call(ctx, action, gate)
	if err != nil {
		return asError(err)
	}
	if err := q.writeResult(w, out); err != nil {
		return asError(err)
	}
	return nil
}

// call calls the action, which its caller has to be allowed. Where the service lags, a read is one of its past, and a change is first
// tried there: it has to be about what is in it.
func (q *request) call(ctx context.Context, action Action, gate *gate) (any, error) {
	in := reflect.New(action.Input).Interface()
	dryRun, refused := q.decode(in)
	if refused != nil {
		return nil, refused
	}
	var needs func() []Access
	if action.needs != nil {
		needs = func() []Access { return action.needs(in) }
	}
	if err := q.authorize(gate, needs); err != nil {
		return nil, err
	}
	if dryRun {
		return nil, &Error{
			Code: "DryRunOperation", Message: "Request would have succeeded, but DryRun flag is set.",
			Status: http.StatusPreconditionFailed,
		}
	}
	if past, ok := q.service.Past[q.action]; ok && q.lags {
		seen := reflect.New(past.Input).Interface() // of its own, as a call may change what it gets
		if _, err := q.decode(seen); err != nil {
			return nil, err
		}
		if out, err := past.call(ctx, seen); isRead(q.action) || isAbsent(err) {
			return out, err
		}
	}
	return action.call(ctx, in)
}

// isRead tells an operation that only reads by its name.
func isRead(action string) bool {
	return slices.ContainsFunc([]string{"Describe", "Get", "List"}, func(verb string) bool { return strings.HasPrefix(action, verb) })
}

// isAbsent tells whether an error says that what a request names is not there.
func isAbsent(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code != "ValidationError" { // Auto Scaling's code for everything
		return ok && (strings.Contains(e.Code, "NotFound") || e.Code == "NoSuchEntity")
	}
	return slices.ContainsFunc([]string{"not found", "Could not find", "does not exist"}, func(text string) bool { return strings.Contains(e.Message, text) })
}

// decode decodes the parameters into in, and tells whether the call is not to be made but only looked at.
func (q *request) decode(in any) (dryRun bool, err *Error) {
	if q.protocol == JSON {
		body := q.body
		if q.mediaType == cborType {
			if body, err = cborToJSON(body); err != nil {
				return false, err
			}
		}
		return false, decodeJSON(body, in)
	}
	parameters := url.Values{}
	for name, values := range q.form {
		if name != "Action" && name != "Version" && !strings.HasPrefix(name, "X-Amz-") {
			parameters[name] = values
		}
	}
	dryRun = q.protocol == EC2Query && parameters.Get("DryRun") == "true"
	if q.protocol == EC2Query {
		parameters.Del("DryRun")
	}
	return dryRun, decodeQuery(q.protocol, parameters, in)
}

// receive reads a query or JSON request's body, for which there is room until release is called.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, q *request) (release func(), err *Error) {
	size, err := s.admit(r)
	if err != nil {
		return nil, err
	}
	release = func() { s.bodies.Release(size) }
	if err := q.readBody(w, r); err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// admit waits until there is room for a request's body, which it returns the size of.
func (s *Server) admit(r *http.Request) (size int64, refused *Error) {
	size = r.ContentLength
	switch {
	case size > maxBody:
		return 0, tooLarge()
	case size < 0:
		size = maxBody
	}
	if err := s.bodies.Acquire(r.Context(), size); err != nil {
		return 0, Errorf("IncompleteBody", "The client has gone: %v", err)
	}
	return size, nil
}

func tooLarge() *Error {
	return &Error{
		Code: "RequestEntityTooLarge", Message: fmt.Sprintf("The request is larger than %d bytes", maxBody),
		Status: http.StatusRequestEntityTooLarge,
	}
}

// patientBody is a body whose next bytes may take [bodyTimeout] to arrive.
type patientBody struct {
	io.ReadCloser
	connection *http.ResponseController
}

func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.connection.SetReadDeadline(time.Now().Add(bodyTimeout)) // where there is a connection
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.connection.SetReadDeadline(time.Time{})
	}
	return n, bodyError(err)
}

// bodyError says that a body took too long.
func bodyError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return Errorf("RequestTimeout", "Your socket connection to the server was not read from or written to within the timeout period.")
	}
	return err
}

// readBody reads the body of a query or JSON request and finds its action.
func (q *request) readBody(w http.ResponseWriter, r *http.Request) *Error {
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(time.Now().Add(bodyTimeout)) // where there is a connection
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	_ = connection.SetReadDeadline(time.Time{})
	if err := bodyError(err); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return tooLarge()
		}
		if late, ok := errors.AsType[*Error](err); ok {
			return late
		}
		return Errorf("IncompleteBody", "The request's body could not be read: %v", err)
	}
	q.body = body
	if q.mediaType == cborType {
		if target, action, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/service/"), "/operation/"); q.service != nil && ok && target == q.service.Target {
			q.action = action
		}
		return nil
	}
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

// jsonType returns the media type that a request of the JSON protocol is answered in: the protocol's versions differ in nothing else.
func jsonType(r *http.Request) string {
	const newest, older = "application/x-amz-json-1.1", "application/x-amz-json-1.0"
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Header.Get("Smithy-Protocol") == cborProtocol:
		return cborType
	case mediaType == older:
		return older
	}
	return newest
}

// guessProtocol tells the protocol of a request whose service is not known, so that even that error can be read.
func guessProtocol(r *http.Request) Protocol {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Header.Get("X-Amz-Target") != "", jsonType(r) == cborType, strings.HasPrefix(mediaType, "application/x-amz-json"),
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

// UUID returns a random UUID, as AWS uses for requests and more.
func UUID() string {
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
