package wire

import "net/http"

// Fault is what is to go wrong with a call.
type Fault int

// The faults. A call that was dropped was not made, one that was left unanswered was; to the client both look the same.
const (
	NoFault    Fault = iota
	Throttled        // as each protocol words it; clients try again
	Failed           // an internal error, which clients try again
	Dropped          // the connection is closed instead of making the call
	Unanswered       // the connection is closed instead of answering the call
)

// answer returns the error that a call is answered with instead of being made, or nil.
func (f Fault) answer(p Protocol) *Error {
	switch {
	case f == Throttled && p == EC2Query:
		return &Error{Code: "RequestLimitExceeded", Message: "Request limit exceeded.", Status: http.StatusServiceUnavailable}
	case f == Throttled && p == AWSQuery:
		return &Error{Code: "Throttling", Message: "Rate exceeded"}
	case f == Throttled && p == JSON:
		return &Error{Code: "ThrottlingException", Message: "Rate exceeded"}
	case f == Throttled:
		return &Error{Code: "SlowDown", Message: "Please reduce your request rate.", Status: http.StatusServiceUnavailable}
	case f != Failed:
		return nil
	}
	failed := &Error{Code: "InternalFailure", Message: "An internal error has occurred", Status: http.StatusInternalServerError}
	switch p {
	case EC2Query, REST:
		failed.Code = "InternalError"
	case JSON:
		failed.Code = "InternalServerError"
	}
	return failed
}

// cut is the error that a log shows for a connection that was closed on purpose.
func (f Fault) cut() *Error {
	switch f {
	case Dropped:
		return &Error{Code: "Dropped", Message: "The connection was closed, the call was not made.", Status: http.StatusServiceUnavailable}
	case Unanswered:
		return &Error{Code: "Unanswered", Message: "The connection was closed after the call.", Status: http.StatusServiceUnavailable}
	}
	return nil
}
