// Package doctor looks at an AWS account and at this machine for what would stop a release, before one is tried: each
// check says what it found, how bad that is, and under which key a caller has words for the remedy. It changes nothing.
package doctor

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/aws/smithy-go"
)

// Level says how good or bad a finding is.
type Level string

// The levels of a finding.
const (
	OK      Level = "ok"
	Warn    Level = "warn"    // may stop a release some day, or cannot be known
	Stop    Level = "stop"    // would stop the next release
	Unasked Level = "unasked" // this account's API does not have the question
)

// Remedy is a key for what there is to do about a finding; a caller has the words.
type Remedy string

// The remedies.
const (
	SignIn         Remedy = "sign in"
	RenewSession   Remedy = "renew session"  // use credentials that renew themselves
	LeaveRoot      Remedy = "leave root"     // use another user than the account's root
	SetSubnet      Remedy = "set subnet"     // or make the stack's
	RaiseQuota     Remedy = "raise quota"    // of vCPUs
	GrantKey       Remedy = "grant key"      // let whoever bakes and Auto Scaling use the key
	AllowMetadata  Remedy = "allow metadata" // by default, for instances that say nothing of it
	ChooseType     Remedy = "choose type"    // of instances, which the zones offer
	RecordDigest   Remedy = "record digest"  // of the CodeDeploy agent
	Apply          Remedy = "apply"          // the infrastructure
	Release        Remedy = "release"        // or roll back
	Install        Remedy = "install"        // a tool
	SetClock       Remedy = "set clock"      // of this machine
	AskForTheRight Remedy = "ask for the right"
)

// Result is what a check found.
type Result struct {
	Check   string `json:"check"`
	Level   Level  `json:"level"`
	Finding string `json:"finding"`
	Remedy  Remedy `json:"remedy,omitempty"` // empty where there is nothing to do
	Err     error  `json:"-"`                // behind the finding; nil where there was none
}

// Check is one thing to look at.
type Check struct {
	Name string
	Run  func(ctx context.Context) Result // fills in everything but the check's name
}

// Run runs checks side by side and returns what they found, in their order.
func Run(ctx context.Context, checks []Check) []Result {
	results := make([]Result, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() {
			results[i] = c.Run(ctx)
			results[i].Check = c.Name
		})
	}
	all.Wait()
	return results
}

func ok(finding string) Result { return Result{Level: OK, Finding: finding} }

func warn(finding string, remedy Remedy) Result {
	return Result{Level: Warn, Finding: finding, Remedy: remedy}
}

func stop(finding string, remedy Remedy) Result {
	return Result{Level: Stop, Finding: finding, Remedy: remedy}
}

// unanswered is the result of a check that got no answer. Who may not ask, or is not answered, knows no more than before:
// that stops no release. A service, or an operation of it, that is not there cannot be asked: AWS's protocols have several
// codes for that.
func unanswered(err error) Result {
	r := Result{Level: Warn, Finding: oneLine(err), Err: err}
	e, isAPI := errors.AsType[smithy.APIError](err)
	switch {
	case !isAPI:
	case slices.Contains([]string{"InvalidAction", "UnknownOperation", "UnknownOperationException", "UnsupportedOperation"}, e.ErrorCode()):
		r.Level, r.Finding = Unasked, "cannot be asked here"
	case slices.Contains([]string{"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}, e.ErrorCode()):
		r.Finding, r.Remedy = "may not be asked: "+e.ErrorCode(), AskForTheRight
	}
	return r
}
