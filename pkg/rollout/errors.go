package rollout

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors that callers tell apart with errors.Is. None says what to do about it, since only the caller knows what people
// call it by: the comments say what to advise.
var (
	// ErrNoFleet: no Auto Scaling group has the application's tag, or it is gone. Make the infrastructure. Where only a
	// part is missing, the error is an *IncompleteError.
	ErrNoFleet = errors.New("no Auto Scaling group")

	// ErrBusy: an instance refresh to another version is under way, and nothing was begun. It comes as a *BusyError. Wait
	// for its end, as Options.Wait does, or stop it with Rollback.
	ErrBusy = errors.New("another release rolls")

	// ErrUnhealthy: the new instances do not live, or serve something else. An *EvidenceError around it says what is known
	// of the cause; ErrReverted, ErrEmptied or ErrMixed beside it says what serves now.
	ErrUnhealthy = errors.New("release never served")

	// ErrReverted: the old release serves again. Mend the new one, and roll it out again.
	ErrReverted = errors.New("release was rolled back")

	// ErrEmptied: a first release failed, and its instances are gone again. Mend the release, and roll it out again.
	ErrEmptied = errors.New("empty again, as nothing served before")

	// ErrMixed: an instance refresh ended halfway, neither forward nor back. Go back with Rollback.
	ErrMixed = errors.New("both releases in the fleet")

	// ErrExpired: the AWS credentials have expired in the middle, and the instance refresh goes on in AWS. Sign in again,
	// and then as for the *InterruptedError around it.
	ErrExpired = errors.New("AWS credentials have expired")

	// ErrNoRelease: there is no release to go back to. It comes as a *NoReleaseError.
	ErrNoRelease = errors.New("no such release")
)

// IncompleteError is infrastructure that lacks what a rollout needs. Make it anew.
type IncompleteError struct {
	Lack string // what is missing where
}

func (e *IncompleteError) Error() string { return e.Lack }

// BusyError is an instance refresh that is in the way. It wraps ErrBusy.
type BusyError struct {
	Group   string  // name of the Auto Scaling group
	Refresh Refresh // its By and Release say who rolls out what, where that is known, and its Begin since when
}

func (e *BusyError) Error() string {
	x := e.Refresh
	return fmt.Sprintf("%v: %s of %q is %s at %d %% since %s", ErrBusy, x, e.Group, x.Status, x.Percentage, x.Begin.UTC().Format(time.RFC3339))
}

func (e *BusyError) Unwrap() error { return ErrBusy }

// NoReleaseError is a release that cannot be gone back to. It wraps ErrNoRelease.
type NoReleaseError struct {
	// Name is the release that was asked for. It has never been live: list the releases. Where it is empty, the one before
	// the current one was asked for.
	Name string
	// Current is the current release, where there is none before it. One that was rolled back from is not on the way back
	// any more; it can be gone back to by its name. Where both are empty, there has been no release at all.
	Current string
}

func (e *NoReleaseError) Error() string {
	switch {
	case e.Name != "":
		return fmt.Sprintf("roll back to %q: %v", e.Name, ErrNoRelease)
	case e.Current != "":
		return fmt.Sprintf("roll back: %v: there is none before %q", ErrNoRelease, e.Current)
	}
	return fmt.Sprintf("roll back: %v: there has been none", ErrNoRelease)
}

func (e *NoReleaseError) Unwrap() error { return ErrNoRelease }

// MalformedError is a value of the parameter that points to the current release which is no pointer: somebody has put it
// there. It is named and left out, and ends nothing.
type MalformedError struct {
	Parameter string
	Version   int64 // of the parameter
	Value     string
	Err       error // what is wrong with it
}

func (e *MalformedError) Error() string {
	return fmt.Sprintf("version %d of parameter %q is %q, which is no release: %v", e.Version, e.Parameter, e.Value, e.Err)
}

func (e *MalformedError) Unwrap() error { return e.Err }

// PointerError is a release that serves, but could not be made the current one. Roll it out again: nothing but the
// pointer is left to do.
type PointerError struct {
	Release string
	Err     error
}

func (e *PointerError) Error() string {
	return fmt.Sprintf("release %q serves, but is not noted as the current one: %v", e.Release, e.Err)
}

func (e *PointerError) Unwrap() error { return e.Err }

// EvidenceError is a failure with what is known of its cause.
type EvidenceError struct {
	Err error
	// Evidence is text, a line each: what became of instances, scaling activities, what Options.Explain says, and the
	// end of a console. It is below the first line of the error's text.
	Evidence []string
	// Late: instances were not healthy within their warm-up. A service that needs longer to start needs a longer
	// Options.Warmup.
	Late bool
}

func (e *EvidenceError) Error() string {
	return strings.Join(append([]string{e.Err.Error()}, e.Evidence...), "\n  ")
}

func (e *EvidenceError) Unwrap() error { return e.Err }

// InterruptedError is the end of watching, as the context ended or AWS no longer answers, while something goes on in AWS.
type InterruptedError struct {
	Err   error     // why nobody watches: the context's cause, ErrExpired, or what AWS answered
	What  string    // what is left behind, as a clause: "instance refresh ID to release r2 goes on in AWS"
	State Remainder // the same, for a program
	// Resumable: the same call watches it again, and finishes what is left. Only with GoesOn.
	Resumable bool
	// Stoppable: Rollback stops it. Only with GoesOn.
	Stoppable bool
}

func (e *InterruptedError) Error() string { return fmt.Sprintf("%v; %s", e.Err, e.What) }

func (e *InterruptedError) Unwrap() error { return e.Err }

// Remainder is what an interrupted rollout leaves behind.
type Remainder int

// What may be left behind.
const (
	GoesOn      Remainder = iota // AWS goes on with it; Status shows it. See Resumable and Stoppable
	RollingBack                  // it is being taken back; Status shows how far that is
	TakenBack                    // it was taken back: nothing is left to do
	Ended                        // it was over already; Status shows how
	Unverified                   // the release is everywhere, and nobody has seen it serve: the same call does, Rollback goes back
	Unknown                      // it may have begun or not; Status shows whether it runs
)
