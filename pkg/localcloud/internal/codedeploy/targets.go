package codedeploy

import (
	"context"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// target is an instance of a deployment as the store keeps it.
type target struct {
	ID      string    `json:"id"`
	Status  string    `json:"status"`
	Updated time.Time `json:"updated"`
	Events  []*event  `json:"events,omitempty"`
}

// event is a lifecycle event on a target.
type event struct {
	Name        string       `json:"name"`
	Status      string       `json:"status"`
	Started     time.Time    `json:"started,omitzero"`
	Ended       time.Time    `json:"ended,omitzero"`
	Diagnostics *diagnostics `json:"diagnostics,omitempty"`
}

// event returns the event of that name, which every target has that is asked for one.
func (t *target) event(name string) *event {
	for _, e := range t.Events {
		if e.Name == name {
			return e
		}
	}
	return &event{}
}

// diagnostics tell how an event ended, in the API's form.
type diagnostics struct {
	Code    string `json:"errorCode"`
	Script  string `json:"scriptName"`
	Message string `json:"message"`
	LogTail string `json:"logTail"`
}

// The codes of diagnostics.
const (
	codeSuccess       = "Success"
	codeMissing       = "ScriptMissing"
	codeNotExecutable = "ScriptNotExecutable"
	codeTimedOut      = "ScriptTimedOut"
	codeFailed        = "ScriptFailed"
	codeUnknown       = "UnknownError"
)

type eventView struct {
	Name        string       `json:"lifecycleEventName"`
	Status      string       `json:"status"`
	StartTime   *wire.Epoch  `json:"startTime,omitempty"`
	EndTime     *wire.Epoch  `json:"endTime,omitempty"`
	Diagnostics *diagnostics `json:"diagnostics,omitempty"`
}

func (t *target) events() []eventView {
	views := []eventView{}
	for _, e := range t.Events {
		views = append(views, eventView{e.Name, e.Status, epoch(e.Started), epoch(e.Ended), e.Diagnostics})
	}
	return views
}

type targetView struct {
	Type     string         `json:"deploymentTargetType"`
	Instance instanceTarget `json:"instanceTarget"`
}

type instanceTarget struct {
	Deployment  string      `json:"deploymentId"`
	ID          string      `json:"targetId"`
	ARN         string      `json:"targetArn"`
	Status      string      `json:"status"`
	LastUpdated wire.Epoch  `json:"lastUpdatedAt"`
	Events      []eventView `json:"lifecycleEvents"`
}

func (s *Service) instanceARN(id string) string {
	return "arn:aws:ec2:" + s.options.Region + ":" + s.options.AccountID + ":instance/" + id
}

func (s *Service) targetView(d *deployment, t *target) targetView {
	return targetView{"InstanceTarget", instanceTarget{
		Deployment: d.ID, ID: t.ID, ARN: s.instanceARN(t.ID), Status: t.Status, LastUpdated: wire.Epoch{Time: t.Updated}, Events: t.events(),
	}}
}

// started finds a deployment that has targets; the caller holds the lock.
func (s *Service) started(id string) (*deployment, error) {
	d, err := s.deployment(id)
	if err == nil && d.Status == statusCreated {
		return nil, wire.Errorf("DeploymentNotStartedException", "The specified deployment has not started.")
	}
	return d, err
}

type listTargetsInput struct {
	Deployment string              `json:"deploymentId"`
	Filters    map[string][]string `json:"targetFilters"`
	NextToken  string              `json:"nextToken"`
}

type listTargetsOutput struct {
	IDs       []string `json:"targetIds"`
	NextToken string   `json:"nextToken,omitempty"`
}

func (s *Service) listDeploymentTargets(_ context.Context, in *listTargetsInput) (*listTargetsOutput, error) {
	for name := range in.Filters {
		if name != "TargetStatus" && name != "ServerInstanceLabel" {
			return nil, wire.Errorf("InvalidTargetFilterNameException", "The target filter name is invalid.")
		}
	}
	if len(in.Filters["ServerInstanceLabel"]) > 0 {
		return nil, wire.Errorf("InvalidDeploymentInstanceTypeException",
			"An instance type was specified for an in-place deployment. Instance types are supported for blue/green deployments only.")
	}
	var out listTargetsOutput
	return &out, s.locked(func() error {
		d, err := s.started(in.Deployment)
		if err != nil {
			return err
		}
		ids, err := d.withStatus(in.Filters["TargetStatus"])
		if err != nil {
			return err
		}
		out.IDs, out.NextToken, err = page(ids, in.NextToken)
		return err
	})
}

// withStatus returns the IDs of the targets in one of the states, or of all where none is given.
func (d *deployment) withStatus(statuses []string) ([]string, error) {
	known := []string{statusPending, statusInProgress, statusSucceeded, statusFailed, statusSkipped, "Unknown", "Ready"}
	for _, status := range statuses {
		if !slices.Contains(known, status) {
			return nil, wire.Errorf("InvalidInstanceStatusException", "The specified instance status does not exist.")
		}
	}
	var ids []string
	for _, t := range d.Targets {
		if len(statuses) == 0 || slices.Contains(statuses, t.Status) {
			ids = append(ids, t.ID)
		}
	}
	return ids, nil
}

type targetID struct {
	Deployment string `json:"deploymentId"`
	ID         string `json:"targetId"`
}

type getTargetOutput struct {
	Target targetView `json:"deploymentTarget"`
}

func (s *Service) getDeploymentTarget(_ context.Context, in *targetID) (*getTargetOutput, error) {
	var out getTargetOutput
	return &out, s.locked(func() error {
		d, err := s.started(in.Deployment)
		if err != nil {
			return err
		}
		t, err := d.target(in.ID)
		if err == nil {
			out.Target = s.targetView(d, t)
		}
		return err
	})
}

func (d *deployment) target(id string) (*target, error) {
	if id == "" {
		return nil, wire.Errorf("DeploymentTargetIdRequiredException", "A deployment target ID was not provided.")
	}
	for _, t := range d.Targets {
		if t.ID == id {
			return t, nil
		}
	}
	return nil, wire.Errorf("DeploymentTargetDoesNotExistException", "The provided target ID %s does not belong to the attempted deployment.", id)
}

type batchGetTargetsInput struct {
	Deployment string   `json:"deploymentId"`
	IDs        []string `json:"targetIds"`
}

type batchGetTargetsOutput struct {
	Targets []targetView `json:"deploymentTargets"`
}

// maxTargetBatch is how many targets one call may ask for, as on AWS.
const maxTargetBatch = 25

func (s *Service) batchGetDeploymentTargets(_ context.Context, in *batchGetTargetsInput) (*batchGetTargetsOutput, error) {
	if len(in.IDs) > maxTargetBatch {
		return nil, wire.Errorf("DeploymentTargetListSizeExceededException", "The maximum number of targets that can be associated with an "+
			"Amazon ECS or AWS Lambda deployment, or asked for at once (%d), was exceeded.", maxTargetBatch)
	}
	if len(in.IDs) == 0 {
		return nil, wire.Errorf("DeploymentTargetIdRequiredException", "A deployment target ID was not provided.")
	}
	out := &batchGetTargetsOutput{Targets: []targetView{}}
	return out, s.locked(func() error {
		d, err := s.started(in.Deployment)
		if err != nil {
			return err
		}
		for _, id := range in.IDs {
			t, err := d.target(id)
			if err != nil {
				return err
			}
			out.Targets = append(out.Targets, s.targetView(d, t))
		}
		return nil
	})
}
