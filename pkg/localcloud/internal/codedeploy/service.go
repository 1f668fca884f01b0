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
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"sync"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/autoscaling"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/s3"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const documentName = "codedeploy"

type groups interface {
	PutHook(groupName string, h autoscaling.Hook) error
	DeleteHook(groupName, hookName string) error
	HasHook(groupName, hookName string) bool
	InService(groupName string) ([]string, error)
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
	RoleTrusts(roleARN, service string) (found, trusts bool)
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
	Log       *slog.Logger // optional
}

// Service is CodeDeploy in one region.
type Service struct {
	options Options
	log     *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	// changing is held while a deployment group and its hooks change, which takes calls to Auto Scaling. It is taken before mu.
	changing sync.Mutex

	// mu guards what follows. No other service is called while it is held: Auto Scaling calls this one with its own lock held.
	mu      sync.Mutex
	closed  bool
	state   state
	added   []*deployment                      // by the change that is under way
	running map[string]context.CancelCauseFunc // ends the deployments that this process has under way
}

// state is what the store keeps.
type state struct {
	Applications map[string]*application `json:"applications"` // by name
	Deployments  []*deployment           `json:"deployments"`  // oldest first
}

// New loads the service's state. Nothing happens until Start, which must come before that of the Auto Scaling service: that one
// tells again which instances wait.
func New(o Options) (*Service, error) {
	s := &Service{options: o, log: o.Log, running: map[string]context.CancelCauseFunc{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if _, err := o.Store.Load(documentName, &s.state); err != nil {
		return nil, fmt.Errorf("load deployments: %w", err)
	}
	if s.state.Applications == nil {
		s.state.Applications = map[string]*application{}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	o.Groups.OnLifecycleAction(s.launched)
	return s, nil
}

// Close ends the service's work; deployments stay as they are and go on with the next Start.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.work.Wait()
	return nil
}

// API returns the operations.
func (s *Service) API() wire.Service {
	return wire.Service{
		Name: "codedeploy", Protocol: wire.JSON, Version: "2014-10-06", Target: "CodeDeploy_20141006",
		Actions: map[string]wire.Action{
			"BatchGetApplications":  wire.Do(s.batchGetApplications),
			"CreateApplication":     wire.Do(s.createApplication),
			"DeleteApplication":     wire.Do(s.deleteApplication),
			"GetApplication":        wire.Do(s.getApplication),
			"ListApplications":      wire.Do(s.listApplications),
			"ListTagsForResource":   wire.Do(s.listTagsForResource),
			"TagResource":           wire.Do(s.tagResource),
			"UntagResource":         wire.Do(s.untagResource),
			"UpdateApplication":     wire.Do(s.updateApplication),
			"GetDeploymentConfig":   wire.Do(s.getDeploymentConfig),
			"ListDeploymentConfigs": wire.Do(s.listDeploymentConfigs),

			"BatchGetDeploymentGroups": wire.Do(s.batchGetDeploymentGroups),
			"CreateDeploymentGroup":    wire.Do(s.createDeploymentGroup),
			"DeleteDeploymentGroup":    wire.Do(s.deleteDeploymentGroup),
			"GetDeploymentGroup":       wire.Do(s.getDeploymentGroup),
			"ListDeploymentGroups":     wire.Do(s.listDeploymentGroups),
			"UpdateDeploymentGroup":    wire.Do(s.updateDeploymentGroup),

			"GetApplicationRevision":      wire.Do(s.getApplicationRevision),
			"ListApplicationRevisions":    wire.Do(s.listApplicationRevisions),
			"RegisterApplicationRevision": wire.Do(s.registerApplicationRevision),

			"BatchGetDeployments":       wire.Do(s.batchGetDeployments),
			"BatchGetDeploymentTargets": wire.Do(s.batchGetDeploymentTargets),
			"CreateDeployment":          wire.Do(s.createDeployment),
			"GetDeployment":             wire.Do(s.getDeployment),
			"GetDeploymentInstance":     wire.Do(s.getDeploymentInstance),
			"GetDeploymentTarget":       wire.Do(s.getDeploymentTarget),
			"ListDeployments":           wire.Do(s.listDeployments),
			"ListDeploymentInstances":   wire.Do(s.listDeploymentInstances),
			"ListDeploymentTargets":     wire.Do(s.listDeploymentTargets),
			"StopDeployment":            wire.Do(s.stopDeployment),
		},
	}
}

// save writes the state; the caller holds the lock.
func (s *Service) save() error {
	if err := s.options.Store.Save(documentName, s.state); err != nil {
		return fmt.Errorf("save deployments: %w", err)
	}
	return nil
}

// locked runs f under the lock.
func (s *Service) locked(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return f()
}

// change runs f under the lock and saves the state. The deployments that f adds begin once they are saved, and are forgotten where
// they cannot be.
func (s *Service) change(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := f()
	if err == nil {
		err = s.save()
	}
	for _, d := range s.added {
		if err == nil {
			s.begin(d)
		} else {
			s.state.Deployments = slices.DeleteFunc(s.state.Deployments, func(other *deployment) bool { return other == d })
		}
	}
	s.added = nil
	return err
}

// newID returns a random UUID.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// pageSize is how many items an answer lists at most.
const pageSize = 100

// page cuts a list to a page from the token on, which is an index.
func page[T any](items []T, token string) (part []T, next string, err error) {
	start := 0
	if token != "" {
		start, err = strconv.Atoi(token)
		if err != nil || start < 0 || start > len(items) {
			return nil, "", wire.Errorf("InvalidNextTokenException", "The next token was specified in an invalid format.")
		}
	}
	part = items[start:]
	if len(part) > pageSize {
		part, next = part[:pageSize], strconv.Itoa(start+pageSize)
	}
	return append([]T{}, part...), next, nil // never null
}

// sorted returns a map's values by key.
func sorted[V any](m map[string]V) []V {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, cmp.Compare)
	values := make([]V, 0, len(m))
	for _, key := range keys {
		values = append(values, m[key])
	}
	return values
}
