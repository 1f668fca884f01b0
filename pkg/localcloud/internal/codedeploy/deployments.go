package codedeploy

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// The states of a deployment.
const (
	statusCreated    = "Created"
	statusInProgress = "InProgress"
	statusSucceeded  = "Succeeded"
	statusFailed     = "Failed"
	statusStopped    = "Stopped"

	// These are states of targets and events beside those above.
	statusPending = "Pending"
	statusSkipped = "Skipped"
)

// Who makes deployments.
const (
	byUser       = "user"
	byScaling    = "autoscaling"
	byRollback   = "codeDeployRollback"
	byAutoUpdate = "CodeDeployAutoUpdate"
)

// deployment is a deployment as the store keeps it.
type deployment struct {
	ID          string `json:"id"`
	Application string `json:"application"`
	Group       string `json:"group"`
	GroupID     string `json:"groupId"`
	Creator     string `json:"creator"`
	Description string `json:"description,omitempty"`
	ConfigName  string `json:"configName"`

	Revision     *revisionLocation   `json:"revision"`
	Previous     *revisionLocation   `json:"previousRevision,omitempty"`
	Style        deploymentStyle     `json:"style"`
	LoadBalancer *loadBalancerInfo   `json:"loadBalancerInfo,omitempty"`
	AutoRollback *autoRollback       `json:"autoRollback,omitempty"`
	Alarms       *alarmConfiguration `json:"alarms,omitempty"`
	OwnAlarms    bool                `json:"ownAlarms,omitempty"` // not the group's
	FileExists   string              `json:"fileExistsBehavior"`
	IgnoreStop   bool                `json:"ignoreApplicationStopFailures,omitempty"`
	OutdatedOnly bool                `json:"updateOutdatedInstancesOnly,omitempty"`

	Status    string            `json:"status"`
	Created   time.Time         `json:"created"`
	Started   time.Time         `json:"started,omitzero"`
	Completed time.Time         `json:"completed,omitzero"`
	Error     *errorInformation `json:"error,omitempty"`
	Rollback  *rollbackInfo     `json:"rollback,omitempty"`
	Root      string            `json:"root,omitempty"` // the deployment that an automatic update follows
	Targets   []*target         `json:"targets,omitempty"`

	// Of a deployment that Auto Scaling began: what waits for it.
	Scaling  string `json:"scalingGroup,omitempty"`
	Hook     string `json:"hook,omitempty"`
	Instance string `json:"instance,omitempty"`
}

type errorInformation struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type rollbackInfo struct {
	ID         string `json:"rollbackDeploymentId,omitempty"`
	Triggering string `json:"rollbackTriggeringDeploymentId,omitempty"`
	Message    string `json:"rollbackMessage,omitempty"`
}

func (d *deployment) done() bool {
	return d.Status == statusSucceeded || d.Status == statusFailed || d.Status == statusStopped
}

// newDeploymentID returns an ID of AWS's form: d- and 9 capitals and digits.
// deploymentIDForm is the form of a deployment's ID.
var deploymentIDForm = regexp.MustCompile(`^d-[A-Z0-9]{9}$`)

func newDeploymentID() string { return "d-" + rand.Text()[:9] }

// find returns the deployment of that ID, or nil; the caller holds the lock.
func (s *Service) find(id string) *deployment {
	for _, d := range s.state.Deployments {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// deployment finds a deployment; the caller holds the lock.
func (s *Service) deployment(id string) (*deployment, error) {
	if id == "" {
		return nil, wire.Errorf("DeploymentIdRequiredException", "At least one deployment ID must be specified.")
	}
	if !deploymentIDForm.MatchString(id) {
		return nil, wire.Errorf("InvalidDeploymentIdException", "Specified DeploymentId is not in the valid format: %s", id)
	}
	d := s.find(id)
	if d == nil {
		return nil, wire.Errorf("DeploymentDoesNotExistException", "The deployment %s could not be found", id)
	}
	return d, nil
}

// errGroupGone is why a deployment ends whose group was deleted.
var errGroupGone = errors.New("the deployment group was deleted")

// endRun ends a deployment that is under way; the caller holds the lock.
func (s *Service) endRun(id string, cause error) {
	if cancel := s.running[id]; cancel != nil {
		cancel(cause)
	}
}

// maxDeployments is how many deployments the cloud remembers.
const maxDeployments = 1000

// add makes a deployment of the group known, which begins once the change that it is part of is saved; the caller holds the lock.
func (s *Service) add(g *group, d *deployment) {
	d.ID, d.Application, d.Group, d.GroupID = newDeploymentID(), g.Application, g.Name, g.ID
	d.Previous, d.Style, d.LoadBalancer = g.Target, g.Style, g.LoadBalancer
	d.ConfigName, d.FileExists = cmp.Or(d.ConfigName, g.ConfigName), cmp.Or(d.FileExists, "DISALLOW")
	d.OwnAlarms = d.Alarms != nil
	d.AutoRollback, d.Alarms = cmp.Or(d.AutoRollback, g.AutoRollback), cmp.Or(d.Alarms, g.Alarms)
	d.Status, d.Created = statusCreated, time.Now().UTC()
	g.LastAttempted = d.ID
	s.state.Deployments = append(s.state.Deployments, d)
	if extra := len(s.state.Deployments) - maxDeployments; extra > 0 {
		s.state.Deployments = slices.DeleteFunc(s.state.Deployments, func(old *deployment) bool {
			extra--
			return extra >= 0 && old.done()
		})
	}
	s.added = append(s.added, d)
}

type createDeploymentInput struct {
	Application  string              `json:"applicationName"`
	Group        string              `json:"deploymentGroupName"`
	Revision     *revisionLocation   `json:"revision"`
	ConfigName   string              `json:"deploymentConfigName"`
	Description  string              `json:"description"`
	IgnoreStop   bool                `json:"ignoreApplicationStopFailures"`
	OutdatedOnly bool                `json:"updateOutdatedInstancesOnly"`
	FileExists   string              `json:"fileExistsBehavior"`
	AutoRollback *autoRollback       `json:"autoRollbackConfiguration"`
	Alarms       *alarmConfiguration `json:"overrideAlarmConfiguration"`
	Mode         string              `json:"deploymentMode"`
	Targets      *struct {
		TagFilters []json.RawMessage          `json:"tagFilters"`
		Scaling    []string                   `json:"autoScalingGroups"`
		TagSet     map[string]json.RawMessage `json:"ec2TagSet"`
	} `json:"targetInstances"`
}

func (in *createDeploymentInput) check() error {
	if err := in.Revision.check(); err != nil {
		return err
	}
	if err := checkDescription(in.Description); err != nil {
		return err
	}
	if in.ConfigName != "" {
		if _, err := findConfig(in.ConfigName); err != nil {
			return err
		}
	}
	if !slices.Contains([]string{"", "DISALLOW", "OVERWRITE", "RETAIN"}, in.FileExists) {
		return wire.Errorf("InvalidFileExistsBehaviorException", "An invalid fileExistsBehavior option was specified to determine how files or "+
			"folders that already exist in a deployment target location are handled. Valid values include \"DISALLOW,\" \"OVERWRITE,\" and "+
			"\"RETAIN.\"")
	}
	if t := in.Targets; t != nil && (len(t.TagFilters)+len(t.Scaling) > 0 || !isEmptySet(t.TagSet)) {
		return wire.Errorf("InvalidTargetInstancesException", "The target instance configuration is invalid: target instances are those of a "+
			"replacement environment in a blue/green deployment.")
	}
	if in.Mode != "" && in.Mode != "STANDARD" {
		return wire.Errorf("ValidationException", "The deployment mode %s is not available: this local cloud has STANDARD.", in.Mode)
	}
	if err := in.AutoRollback.check(); err != nil {
		return err
	}
	return in.Alarms.check()
}

type deploymentID struct {
	ID string `json:"deploymentId"`
}

func (s *Service) createDeployment(_ context.Context, in *createDeploymentInput) (*deploymentID, error) {
	var out deploymentID
	return &out, s.change(func() error {
		g, err := s.group(in.Application, in.Group)
		if err != nil {
			return err
		}
		if err := in.check(); err != nil {
			return err
		}
		if active := s.active(g); active != nil {
			return wire.Errorf("DeploymentLimitExceededException", "The Deployment Group '%s' is already deploying deployment '%s'",
				g.Name, active.ID)
		}
		d := &deployment{
			Creator: byUser, Revision: in.Revision, ConfigName: in.ConfigName, Description: in.Description, IgnoreStop: in.IgnoreStop,
			OutdatedOnly: in.OutdatedOnly, FileExists: in.FileExists, AutoRollback: in.AutoRollback, Alarms: in.Alarms,
		}
		s.add(g, d)
		out.ID = d.ID
		return nil
	})
}

// active returns the deployment over the group that is under way, if there is one. What Auto Scaling begins for new instances does
// not count: those may be many at a time. The caller holds the lock.
func (s *Service) active(g *group) *deployment {
	for _, d := range s.state.Deployments {
		if d.GroupID == g.ID && !d.done() && d.Creator != byScaling {
			return d
		}
	}
	return nil
}

type deploymentInfo struct {
	ID              string              `json:"deploymentId"`
	Application     string              `json:"applicationName"`
	Group           string              `json:"deploymentGroupName"`
	ConfigName      string              `json:"deploymentConfigName"`
	Status          string              `json:"status"`
	Creator         string              `json:"creator"`
	Description     string              `json:"description,omitempty"`
	ComputePlatform string              `json:"computePlatform"`
	Revision        *revisionLocation   `json:"revision"`
	Previous        *revisionLocation   `json:"previousRevision,omitempty"`
	Error           *errorInformation   `json:"errorInformation,omitempty"`
	CreateTime      *wire.Epoch         `json:"createTime,omitempty"`
	StartTime       *wire.Epoch         `json:"startTime,omitempty"`
	CompleteTime    *wire.Epoch         `json:"completeTime,omitempty"`
	Overview        *overview           `json:"deploymentOverview,omitempty"`
	Style           deploymentStyle     `json:"deploymentStyle"`
	LoadBalancer    *loadBalancerInfo   `json:"loadBalancerInfo,omitempty"`
	AutoRollback    *autoRollback       `json:"autoRollbackConfiguration,omitempty"`
	Alarms          *alarmConfiguration `json:"overrideAlarmConfiguration,omitempty"`
	Rollback        *rollbackInfo       `json:"rollbackInfo,omitempty"`
	Related         *relatedDeployments `json:"relatedDeployments,omitempty"`
	FileExists      string              `json:"fileExistsBehavior"`
	IgnoreStop      bool                `json:"ignoreApplicationStopFailures"`
	OutdatedOnly    bool                `json:"updateOutdatedInstancesOnly"`
	TerminationWait bool                `json:"instanceTerminationWaitTimeStarted"`
	Messages        []string            `json:"deploymentStatusMessages"`
}

type relatedDeployments struct {
	Root      string   `json:"autoUpdateOutdatedInstancesRootDeploymentId,omitempty"`
	Followers []string `json:"autoUpdateOutdatedInstancesDeploymentIds,omitempty"`
}

// overview counts a deployment's targets by state.
type overview struct {
	Pending, InProgress, Succeeded, Failed, Skipped, Ready int
}

func (d *deployment) overview() *overview {
	if d.Started.IsZero() {
		return nil
	}
	var o overview
	counters := map[string]*int{
		statusPending: &o.Pending, statusInProgress: &o.InProgress, statusSucceeded: &o.Succeeded, statusFailed: &o.Failed,
		statusSkipped: &o.Skipped,
	}
	for _, t := range d.Targets {
		*counters[t.Status]++
	}
	return &o
}

// deploymentInfo describes a deployment; the caller holds the lock.
func (s *Service) deploymentInfo(d *deployment) deploymentInfo {
	info := deploymentInfo{
		ID: d.ID, Application: d.Application, Group: d.Group, ConfigName: d.ConfigName, Status: d.Status, Creator: d.Creator,
		Description: d.Description, ComputePlatform: server, Revision: d.Revision, Previous: d.Previous, Error: d.Error,
		CreateTime: epoch(d.Created), StartTime: epoch(d.Started), CompleteTime: epoch(d.Completed), Overview: d.overview(), Style: d.Style,
		LoadBalancer: d.LoadBalancer, AutoRollback: d.AutoRollback, Rollback: d.Rollback, FileExists: d.FileExists, IgnoreStop: d.IgnoreStop,
		OutdatedOnly: d.OutdatedOnly, Messages: []string{},
	}
	if d.OwnAlarms {
		info.Alarms = d.Alarms
	}
	related := relatedDeployments{Root: d.Root}
	for _, other := range s.state.Deployments {
		if other.Root == d.ID {
			related.Followers = append(related.Followers, other.ID)
		}
	}
	if related.Root != "" || related.Followers != nil {
		info.Related = &related
	}
	return info
}

type getDeploymentOutput struct {
	Info deploymentInfo `json:"deploymentInfo"`
}

func (s *Service) getDeployment(_ context.Context, in *deploymentID) (*getDeploymentOutput, error) {
	var out getDeploymentOutput
	return &out, s.locked(func() error {
		d, err := s.deployment(in.ID)
		if err == nil {
			out.Info = s.deploymentInfo(d)
		}
		return err
	})
}

type batchGetDeploymentsInput struct {
	IDs []string `json:"deploymentIds"`
}

type batchGetDeploymentsOutput struct {
	Infos []deploymentInfo `json:"deploymentsInfo"`
}

// maxDeploymentBatch is how many deployments one call may ask for, as on AWS.
const maxDeploymentBatch = 25

func (s *Service) batchGetDeployments(_ context.Context, in *batchGetDeploymentsInput) (*batchGetDeploymentsOutput, error) {
	if err := checkBatch(len(in.IDs), maxDeploymentBatch, "DeploymentIdRequiredException"); err != nil {
		return nil, err
	}
	out := &batchGetDeploymentsOutput{Infos: []deploymentInfo{}}
	return out, s.locked(func() error {
		for _, id := range in.IDs {
			// As on AWS, one that is not there is left out.
			if d := s.find(id); d != nil {
				out.Infos = append(out.Infos, s.deploymentInfo(d))
			}
		}
		return nil
	})
}

type listDeploymentsInput struct {
	Application string   `json:"applicationName"`
	Group       string   `json:"deploymentGroupName"`
	Statuses    []string `json:"includeOnlyStatuses"`
	Created     *struct {
		Start *wire.Epoch `json:"start"`
		End   *wire.Epoch `json:"end"`
	} `json:"createTimeRange"`
	NextToken string `json:"nextToken"`
}

func (in *listDeploymentsInput) check() error {
	if in.Application != "" && in.Group == "" {
		return checkGroupName("")
	}
	if in.Application == "" && in.Group != "" {
		return checkApplicationName("")
	}
	known := []string{statusCreated, "Queued", statusInProgress, "Baking", statusSucceeded, statusFailed, statusStopped, "Ready"}
	for _, status := range in.Statuses {
		if !slices.Contains(known, status) {
			return wire.Errorf("InvalidDeploymentStatusException", "The specified deployment status doesn't exist or cannot be determined.")
		}
	}
	if r := in.Created; r != nil && r.Start != nil && r.End != nil && r.End.Before(r.Start.Time) {
		return wire.Errorf("InvalidTimeRangeException", "The specified time range was specified in an invalid format.")
	}
	return nil
}

func (in *listDeploymentsInput) wants(d *deployment) bool {
	if in.Application != "" && (d.Application != in.Application || d.Group != in.Group) {
		return false
	}
	if r := in.Created; r != nil && (r.Start != nil && d.Created.Before(r.Start.Time) || r.End != nil && d.Created.After(r.End.Time)) {
		return false
	}
	return len(in.Statuses) == 0 || slices.Contains(in.Statuses, d.Status)
}

type listDeploymentsOutput struct {
	IDs       []string `json:"deployments"`
	NextToken string   `json:"nextToken,omitempty"`
}

// listDeployments lists the newest ones first.
func (s *Service) listDeployments(_ context.Context, in *listDeploymentsInput) (*listDeploymentsOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	var out listDeploymentsOutput
	return &out, s.locked(func() (err error) {
		if in.Application != "" {
			if _, err := s.group(in.Application, in.Group); err != nil {
				return err
			}
		}
		var ids []string
		for _, d := range slices.Backward(s.state.Deployments) {
			if in.wants(d) {
				ids = append(ids, d.ID)
			}
		}
		out.IDs, out.NextToken, err = page(ids, in.NextToken)
		return err
	})
}

type stopInput struct {
	ID       string `json:"deploymentId"`
	Rollback *bool  `json:"autoRollbackEnabled"`
}

type stopOutput struct {
	Status  string `json:"status"`
	Message string `json:"statusMessage"`
}

// stopDeployment ends a deployment. Scripts that run are killed; what is not done is not begun.
func (s *Service) stopDeployment(_ context.Context, in *stopInput) (*stopOutput, error) {
	return &stopOutput{statusPending, "The deployment is being stopped."}, s.locked(func() error {
		d, err := s.deployment(in.ID)
		if err != nil {
			return err
		}
		if d.done() {
			return wire.Errorf("DeploymentAlreadyCompletedException", "The deployment %s is already completed.", d.ID)
		}
		rollback := d.AutoRollback.on(onRequest)
		if in.Rollback != nil {
			rollback = *in.Rollback
		}
		s.endRun(d.ID, &stopError{"MANUAL_STOP", "The deployment was stopped by a user.", rollback})
		return nil
	})
}

// stopError is why a deployment was stopped.
type stopError struct {
	code, message string
	rollback      bool
}

func (e *stopError) Error() string { return e.message }
