package rollout

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
)

const (
	// The gap between two looks is a share of the time that has passed. So the end is seen within that share of the whole,
	// on average within half of it, and the number of looks grows with the logarithm of the time, up to lastGap: then it
	// is three or four looks a minute, of three calls each, however many instances there are.
	gapShare = 10
	firstGap = 2 * time.Second // nothing of a fleet changes more quickly
	lastGap  = 20 * time.Second

	// jitter is the share of a gap by which chance shortens it, so that several rollouts do not look at the same moment.
	jitter = 0.25

	// lookLimit bounds one look: a connection that was dropped in silence must not hold the rollout. The SDK's own
	// attempts, with their waits, fit into it.
	lookLimit = 2 * time.Minute

	// failLimit is how many looks in a row may fail for reasons that pass.
	failLimit = 10
)

// gap is the time until the next look.
func (r *Roller) gap(elapsed time.Duration) time.Duration {
	d := min(max(elapsed/gapShare, firstGap), lastGap)
	return d - time.Duration(r.random()*jitter*float64(d))
}

// faults counts looks in a row that failed for reasons that pass.
type faults struct{ inARow int }

// tolerate takes in what came of a look, and returns the error to stop with; nil to go on.
func (f *faults) tolerate(ctx context.Context, err error) error {
	switch {
	case err == nil:
		f.inARow = 0
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if f.inARow++; !transient(err) || f.inARow >= failLimit {
		return err
	}
	return nil
}

// transient tells whether the cause of a failed call may pass: throttling, a fault of the service, a connection that broke.
func transient(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return true
	}
	if e, ok := errors.AsType[smithy.APIError](err); ok && e.ErrorFault() == smithy.FaultServer {
		return true
	}
	return retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err) == aws.TrueTernary
}

// expired tells whether a call was refused because the credentials are no longer good.
func expired(err error) bool {
	switch errorCode(err) {
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return true
	}
	return false
}

// errorCode is the code of an error that AWS returned, empty for another one.
func errorCode(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}
