// Package codedeploy is the gate that no instance passes unchecked. It keeps a small revision in S3 whose scripts run the
// self-check that is baked into every image, so that CodeDeploy lets a new instance of the Auto Scaling group serve only
// once that check has passed; and it deploys the revision over the fleet, which records each release.
//
// The application and its deployment group have the name that the images are tagged with, and the revisions' bucket is
// named by an SSM parameter, so that nothing but the application's name is needed.
package codedeploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/ingot-build/ingot/internal/lines"
)

// ErrNotSetUp means that the application, its deployment group or the bucket of its revisions is not there. Make the
// infrastructure.
var ErrNotSetUp = errors.New("CodeDeploy is not set up")

// deploymentAPI is what a deployment is made and watched with.
type deploymentAPI interface {
	CreateDeployment(context.Context, *sdk.CreateDeploymentInput, ...func(*sdk.Options)) (*sdk.CreateDeploymentOutput, error)
	ListDeployments(context.Context, *sdk.ListDeploymentsInput, ...func(*sdk.Options)) (*sdk.ListDeploymentsOutput, error)
	BatchGetDeployments(context.Context, *sdk.BatchGetDeploymentsInput, ...func(*sdk.Options)) (*sdk.BatchGetDeploymentsOutput, error)
	ListDeploymentTargets(context.Context, *sdk.ListDeploymentTargetsInput, ...func(*sdk.Options)) (*sdk.ListDeploymentTargetsOutput, error)
	BatchGetDeploymentTargets(context.Context, *sdk.BatchGetDeploymentTargetsInput, ...func(*sdk.Options)) (*sdk.BatchGetDeploymentTargetsOutput, error)
}

// clients are the AWS services that a Client talks to.
type clients struct {
	deployments deploymentAPI // CodeDeploy
	groups      groupAPI      // CodeDeploy too: its deployment groups
	hooks       hookAPI       // EC2 Auto Scaling
	objects     objectAPI     // S3
	parameters  parameterAPI  // SSM
}

// Options say what a Client deploys.
type Options struct {
	App string // the name of the CodeDeploy application and of its deployment group
}

// Client deploys one application.
type Client struct {
	clients
	app string
}

// NewFromConfig returns a Client for the account and region of an AWS configuration.
func NewFromConfig(cfg aws.Config, o Options) *Client {
	deployments := sdk.NewFromConfig(cfg)
	return newClient(clients{
		deployments: deployments, groups: deployments,
		hooks:      autoscaling.NewFromConfig(cfg),
		objects:    s3.NewFromConfig(cfg),
		parameters: ssm.NewFromConfig(cfg),
	}, o)
}

func newClient(c clients, o Options) *Client { return &Client{clients: c, app: o.App} }

// Deployment is one deployment of a revision: to the whole fleet, or to one instance that was being launched.
type Deployment struct {
	ID          string    `json:"id"`
	Status      string    `json:"status"`  // as CodeDeploy names it: Created, Queued, InProgress, Baking, Ready, Succeeded, Failed or Stopped
	Creator     string    `json:"creator"` // user, autoscaling, codeDeployRollback …
	Revision    string    `json:"revision"`
	Description string    `json:"description,omitempty"`
	Begin       time.Time `json:"begin,omitzero"`
	End         time.Time `json:"end,omitzero"`
	Code        string    `json:"error_code,omitempty"` // why it ended badly, such as HEALTH_CONSTRAINTS
	Message     string    `json:"error,omitempty"`
	Failures    []Failure `json:"failures,omitempty"` // also of one that CodeDeploy calls Succeeded
}

// Failure is an instance on which a deployment failed. Where no event of it ran, Event is empty.
type Failure struct {
	Instance string `json:"instance"`
	Event    string `json:"event,omitempty"`  // the lifecycle event, such as ValidateService
	Script   string `json:"script,omitempty"` // its path in the revision
	Code     string `json:"code,omitempty"`   // ScriptMissing, ScriptNotExecutable, ScriptTimedOut, ScriptFailed or UnknownError
	Message  string `json:"message,omitempty"`
	Log      string `json:"log,omitempty"` // the end of what the script wrote, at most 4 KB
}

// logLines is how much of a script's output an error shows: enough for the self-check's reason and the service's last
// words.
const logLines = 12

// Summary says in one line what failed where.
func (f Failure) Summary() string {
	parts := []string{f.Instance, f.Event, f.Script, f.Code, f.Message}
	if f.Event == "" {
		parts = append(parts, "no script ran")
	}
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ": ")
}

// String is the summary followed by the end of the script's output, indented.
func (f Failure) String() string {
	return strings.Join(append([]string{f.Summary()}, f.LastLines(logLines)...), "\n    ")
}

// LastLines returns the end of the log, at most n lines, without empty ones and the agent's headings, which repeat the
// event and the script.
func (f Failure) LastLines(n int) []string {
	return lines.LastFunc(f.Log, n, func(line string) bool {
		return line != "" && line != "LifecycleEvent - "+f.Event && line != "Script - "+f.Script
	})
}

// FailedError is a deployment that ended badly. A deployment copies nothing, so that the fleet serves what it
// served before it; what the scripts found wrong is in the deployment's Failures.
type FailedError struct{ Deployment Deployment }

// Error names the deployment, CodeDeploy's reason, and what failed on which instance.
func (e *FailedError) Error() string {
	d := e.Deployment
	text := fmt.Sprintf("deployment %s ended as %s", d.ID, d.Status)
	for _, part := range []string{d.Code, d.Message} {
		if part != "" {
			text += ": " + part
		}
	}
	for _, f := range d.Failures[:min(maxExplained, len(d.Failures))] {
		text += "\n  " + f.String()
	}
	if more := len(d.Failures) - maxExplained; more > 0 {
		text += fmt.Sprintf("\n  and %d more", more)
	}
	return text
}

// NoInstances tells whether it ended because the fleet was empty.
func (e *FailedError) NoInstances() bool {
	return e.Deployment.Code == string(types.ErrorCodeNoInstances)
}

// InterruptedError is the end of watching a deployment, as the context ended, while it goes on in AWS. The same call
// watches it again; CodeDeploy's StopDeployment stops it (aws deploy stop-deployment).
type InterruptedError struct {
	ID  string // of the deployment
	Err error  // the context's cause
}

func (e *InterruptedError) Error() string {
	return fmt.Sprintf("%v; deployment %s goes on in AWS", e.Err, e.ID)
}

func (e *InterruptedError) Unwrap() error { return e.Err }

// deployment is CodeDeploy's description of one.
func deployment(info types.DeploymentInfo) Deployment {
	d := Deployment{
		ID:          aws.ToString(info.DeploymentId),
		Status:      string(info.Status),
		Creator:     string(info.Creator),
		Description: aws.ToString(info.Description),
		Begin:       aws.ToTime(info.CreateTime),
		End:         aws.ToTime(info.CompleteTime),
	}
	if info.Revision != nil && info.Revision.S3Location != nil {
		d.Revision = "s3://" + aws.ToString(info.Revision.S3Location.Bucket) + "/" + aws.ToString(info.Revision.S3Location.Key)
	}
	if info.ErrorInformation != nil {
		d.Code, d.Message = string(info.ErrorInformation.Code), aws.ToString(info.ErrorInformation.Message)
	}
	return d
}

// over tells whether a deployment has ended.
func over(status types.DeploymentStatus) bool {
	return status == types.DeploymentStatusSucceeded || status == types.DeploymentStatusFailed || status == types.DeploymentStatusStopped
}

// passed tells whether a deployment has ended well on every instance.
func passed(info types.DeploymentInfo) bool {
	return info.Status == types.DeploymentStatusSucceeded && (info.DeploymentOverview == nil || info.DeploymentOverview.Failed == 0)
}

// wrapNotSetUp makes errors about missing infrastructure wrap ErrNotSetUp.
func wrapNotSetUp(err error) error {
	if err == nil {
		return nil
	}
	_, noApp := errors.AsType[*types.ApplicationDoesNotExistException](err)
	_, noGroup := errors.AsType[*types.DeploymentGroupDoesNotExistException](err)
	if noApp || noGroup {
		return fmt.Errorf("%w (%w)", ErrNotSetUp, err)
	}
	return err
}
