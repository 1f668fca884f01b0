// Package codedeploy is AWS CodeDeploy for EC2 (compute platform Server) on this machine: applications, deployment groups on Auto
// Scaling groups, and deployments that fetch a revision from S3 and run its hooks in the instances, in AWS's order, with its
// environment, time limits and diagnostics.
//
// What an agent does on an EC2 instance the service does itself, from outside, with the agent's folders and files; the real agent
// takes orders only from AWS.
//
// Its work survives the end of the process: a deployment goes on with the event that was under way, which begins anew after what
// was left of it has been killed.
//
// Known gaps, all refused and never ignored: blue/green deployments and copies of Auto Scaling groups, instances found by tags,
// on-premises instances, triggers, termination hooks, revisions on GitHub, custom deployment configurations, Lambda and ECS.
package codedeploy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/autoscaling"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/s3"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const documentName = "codedeploy"

type groups interface {
	PutHook(groupName string, h autoscaling.Hook) error
	DeleteHook(groupName, hookName string) error
	InService(groupName string) ([]string, error)
	GroupNeeds(groupName string, actions ...string) []wire.Access
	OnLifecycleAction(func(autoscaling.LifecycleAction))
	Heartbeat(groupName, hookName, instanceID string) error
	CompleteLifecycleAction(groupName, hookName, instanceID, result string) error
}

type instances interface {
	Instance(id string) (ec2.InstanceInfo, bool)
}

type targets interface {
	TargetGroupARN(name string) (arn string, found bool)
	Register(ctx context.Context, targetGroupARN, instanceID string) error
	Deregister(ctx context.Context, targetGroupARN, instanceID string) error
	TargetHealth(targetGroupARN, instanceID string) (state, reason, description string)
}

type objects interface {
	Open(bucket, key, versionID string) (*s3.Object, error)
}

type roles interface {
	RoleTrusts(roleARN, service, sourceARN string) (found, trusts bool)
	RoleAllows(roleARN string, a wire.Access) bool
}

type alarms interface {
	// AlarmState returns OK, ALARM or INSUFFICIENT_DATA, and whether there is such an alarm.
	AlarmState(name string) (state string, found bool)
}

type machines interface {
	WaitBooted(ctx context.Context, id string) error
	Exec(ctx context.Context, id string, c compute.Command) error
	CopyIn(ctx context.Context, id, folder string, archive io.Reader) error
}

// Options are what a service is made of.
type Options struct {
	AccountID string // 12 digits
	Region    string
	Store     store.Store
	Groups    groups
	Instances instances
	Targets   targets
	Objects   objects
	Roles     roles
	Alarms    alarms
	Machines  machines
	// Deployment waits as long as it takes from a deployment's start until an instance's agent begins; nil does not.
	Deployment func(ctx context.Context) error
	Log        *slog.Logger // optional
}

// Service is CodeDeploy in one region.
type Service struct {
	options Options
	log     *slog.Logger

	work *service.Work

	// changing is held while a deployment group and its hooks change, which takes calls to Auto Scaling. It is taken before the document.
	changing sync.Mutex

	// document's lock guards what follows, too. No other service is called while it is held: Auto Scaling calls this one with its own
	// lock held.
	document *store.Document[state]
	state    *state
	closed   bool
	added    []*deployment                      // by the change that is under way
	running  map[string]context.CancelCauseFunc // ends the deployments that this process has under way
}

// state is what the store keeps.
type state struct {
	Applications map[string]*application `json:"applications"` // by name
	Deployments  []*deployment           `json:"deployments"`  // oldest first
}

// New loads the service's state. Nothing happens until Start, which must come before that of the Auto Scaling service: that one
// tells again which instances wait.
func New(o Options) (*Service, error) {
	document, err := store.Open(o.Store, documentName, state{Applications: map[string]*application{}})
	if err != nil {
		return nil, fmt.Errorf("load deployments: %w", err)
	}
	s := &Service{
		options: o, log: service.Logger(o.Log), work: service.NewWork(), document: document, state: document.Value(),
		running: map[string]context.CancelCauseFunc{},
	}
	o.Groups.OnLifecycleAction(s.launched)
	return s, nil
}

// Close ends the service's work; deployments stay as they are and go on with the next Start.
func (s *Service) Close() error {
	s.document.Lock()
	s.closed = true
	s.document.Unlock()
	s.work.Close()
	return nil
}

// API returns the operations.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name: "codedeploy", Protocol: wire.JSON, Version: "2014-10-06", Target: "CodeDeploy_20141006",
		Actions: map[string]wire.Action{
			"CreateApplication": wire.Do(s.createApplication, func(in *createApplicationInput) []wire.Access {
				return []wire.Access{tagged(s.onApplication(in.Name), in.Tags)}
			}),
			"DeleteApplication":   wire.Do(s.deleteApplication, func(in *applicationName) []wire.Access { return []wire.Access{s.onApplication(in.Name)} }),
			"GetApplication":      wire.Do(s.getApplication, func(in *applicationName) []wire.Access { return []wire.Access{s.onApplication(in.Name)} }),
			"ListApplications":    wire.DoUnscoped(s.listApplications),
			"ListTagsForResource": wire.Do(s.listTagsForResource, func(in *listTagsInput) []wire.Access { return []wire.Access{s.onResource(in.ARN)} }),
			"TagResource":         wire.Do(s.tagResource, func(in *tagInput) []wire.Access { return []wire.Access{tagged(s.onResource(in.ARN), in.Tags)} }),
			"UntagResource": wire.Do(s.untagResource, func(in *untagInput) []wire.Access {
				return []wire.Access{s.onResource(in.ARN).With(map[string][]string{"aws:TagKeys": in.Keys})}
			}),

			"BatchGetDeploymentGroups": wire.Do(s.batchGetDeploymentGroups, s.onGroups),
			"CreateDeploymentGroup":    wire.Do(s.createDeploymentGroup, s.creatingGroup),
			"DeleteDeploymentGroup":    wire.Do(s.deleteDeploymentGroup, func(in *groupName) []wire.Access { return []wire.Access{s.onGroup(in.Application, in.Name)} }),
			"GetDeploymentGroup":       wire.Do(s.getDeploymentGroup, func(in *groupName) []wire.Access { return []wire.Access{s.onGroup(in.Application, in.Name)} }),
			"ListDeploymentGroups":     wire.Do(s.listDeploymentGroups, func(in *listGroupsInput) []wire.Access { return []wire.Access{s.onApplication(in.Application)} }),
			"UpdateDeploymentGroup":    wire.Do(s.updateDeploymentGroup, s.updatingGroup),

			"BatchGetDeployments":       wire.Do(s.batchGetDeployments, s.onDeployments),
			"BatchGetDeploymentTargets": wire.DoUnscoped(s.batchGetDeploymentTargets),
			"CreateDeployment":          wire.Do(s.createDeployment, s.creatingDeployment),
			"GetDeployment":             wire.Do(s.getDeployment, func(in *deploymentID) []wire.Access { return []wire.Access{s.onDeployment(in.ID)} }),
			"GetDeploymentTarget":       wire.DoUnscoped(s.getDeploymentTarget),
			"ListDeployments": wire.Do(s.listDeployments, func(in *listDeploymentsInput) []wire.Access {
				return []wire.Access{s.onGroup(in.Application, in.Group)}
			}),
			"ListDeploymentTargets": wire.DoUnscoped(s.listDeploymentTargets),
			"StopDeployment":        wire.DoUnscoped(s.stopDeployment),
		},
	}
}

// locked runs f under the lock.
func (s *Service) locked(f func() error) error {
	s.document.Lock()
	defer s.document.Unlock()
	return f()
}

// change runs f under the lock and saves the state. Where either fails, nothing has changed. The deployments that f adds begin once
// they are saved.
func (s *Service) change(f func() error) error {
	s.document.Lock()
	defer s.document.Unlock()
	s.added = nil
	if err := s.document.UpdateLocked(func(*state) error { return f() }); err != nil {
		return err
	}
	for _, d := range s.added {
		s.begin(*d)
	}
	return nil
}

// record makes a change that says what happened. It is not ok when the service closes before that could be saved.
func (s *Service) record(f func(now time.Time)) (ok bool) {
	return s.work.Persist(func() error {
		err := s.change(func() error {
			f(time.Now().UTC())
			return nil
		})
		if err != nil {
			s.log.Error("record a deployment", "error", err)
		}
		return err
	})
}

// pageSize is how many items an answer lists at most.
const pageSize = 100

// page cuts a list to a page from the token on.
func page[T any](items []T, token string) (part []T, next string, err error) {
	part, next, ok := service.Page(items, token, pageSize)
	if !ok {
		return nil, "", wire.Errorf("InvalidNextTokenException", "The next token was specified in an invalid format.")
	}
	return append([]T{}, part...), next, nil // never null
}
