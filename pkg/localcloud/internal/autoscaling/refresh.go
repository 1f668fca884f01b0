package autoscaling

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// The statuses of an instance refresh.
const (
	statusPending            = "Pending"
	statusInProgress         = "InProgress"
	statusBaking             = "Baking"
	statusSuccessful         = "Successful"
	statusFailed             = "Failed"
	statusCancelling         = "Cancelling"
	statusCancelled          = "Cancelled"
	statusRollbackInProgress = "RollbackInProgress"
	statusRollbackSuccessful = "RollbackSuccessful"
	statusRollbackFailed     = "RollbackFailed"
)

const (
	// defaultMinHealthy is MinHealthyPercentage where neither the request nor the group's maintenance policy says one.
	defaultMinHealthy = 90
	// defaultCheckpointDelay is the wait at a checkpoint, in seconds, where the request says none.
	defaultCheckpointDelay = 3600
	// maxAlarms is how many alarms can watch a refresh.
	maxAlarms = 10
	// keptRefreshes bounds a group's history of refreshes.
	keptRefreshes = 100
)

// refresh is an instance refresh as the store keeps it.
type refresh struct {
	ID          string      `json:"id"`
	Status      string      `json:"status"`
	Reason      string      `json:"reason,omitempty"`
	Start       time.Time   `json:"start"`
	End         time.Time   `json:"end,omitzero"`
	Desired     *template   `json:"desired,omitempty"` // the desired configuration
	Preferences preferences `json:"preferences"`
	// Generation is that of the instances that it launches; its rollback has the next one.
	Generation int `json:"generation"`
	Percent    int `json:"percent"`
	ToUpdate   int `json:"toUpdate"`

	Checkpoint   int       `json:"checkpoint"` // index of the next checkpoint
	CheckpointAt time.Time `json:"checkpointAt,omitzero"`
	BakeUntil    time.Time `json:"bakeUntil,omitzero"`

	// Best is how far it ever was, ProgressAt when it got there.
	Best       *int      `json:"best,omitempty"`
	ProgressAt time.Time `json:"progressAt,omitzero"`
	// Hasty cancellations do not wait for instances in transition.
	Hasty    bool      `json:"hasty,omitempty"`
	Rollback *rollback `json:"rollback,omitempty"`
}

type rollback struct {
	Reason     string    `json:"reason"`
	Start      time.Time `json:"start"`
	Percent    int       `json:"percent"`
	ToUpdate   int       `json:"toUpdate"`
	Generation int       `json:"generation"`
}

// preferences are those of the request. What is absent stays absent: an explicit 100 is not an omitted one.
type preferences struct {
	AlarmSpecification        *alarmSpecification `json:"alarms,omitempty" query:"AlarmSpecification" xml:",omitempty"`
	AutoRollback              *bool               `json:"autoRollback,omitempty" query:"AutoRollback" xml:",omitempty"`
	BakeTime                  *int                `json:"bakeTime,omitempty" query:"BakeTime" xml:",omitempty"`
	CheckpointDelay           *int                `json:"checkpointDelay,omitempty" query:"CheckpointDelay" xml:",omitempty"`
	CheckpointPercentages     []int               `json:"checkpoints,omitempty" query:"CheckpointPercentages" xml:"CheckpointPercentages>member,omitempty"`
	InstanceWarmup            *int                `json:"warmup,omitempty" query:"InstanceWarmup" xml:",omitempty"`
	MaxHealthyPercentage      *int                `json:"max,omitempty" query:"MaxHealthyPercentage" xml:",omitempty"`
	MinHealthyPercentage      *int                `json:"min,omitempty" query:"MinHealthyPercentage" xml:",omitempty"`
	ScaleInProtectedInstances string              `json:"protected,omitempty" query:"ScaleInProtectedInstances" wire:"enum=Refresh|Ignore|Wait" xml:",omitempty"`
	SkipMatching              *bool               `json:"skipMatching,omitempty" query:"SkipMatching" xml:",omitempty"`
	StandbyInstances          string              `json:"standby,omitempty" query:"StandbyInstances" wire:"enum=Terminate|Ignore|Wait" xml:",omitempty"`
}

type alarmSpecification struct {
	Alarms []string `json:"alarms" query:"Alarms" xml:"Alarms>member"`
}

func (p *preferences) alarms() []string {
	if p.AlarmSpecification == nil {
		return nil
	}
	return p.AlarmSpecification.Alarms
}

// defaults fills in what the request and the group leave open, as AWS shows it.
func (p *preferences) defaults(g *group) {
	if p.MinHealthyPercentage == nil {
		if p.MinHealthyPercentage = new(defaultMinHealthy); g.Maintenance != nil {
			p.MinHealthyPercentage = g.Maintenance.MinHealthyPercentage
			p.MaxHealthyPercentage = g.Maintenance.MaxHealthyPercentage
		}
	}
	if p.InstanceWarmup == nil {
		if p.InstanceWarmup = new(g.GracePeriod); g.InstanceWarmup != nil {
			p.InstanceWarmup = new(*g.InstanceWarmup)
		}
	}
	if len(p.CheckpointPercentages) > 0 && p.CheckpointDelay == nil {
		p.CheckpointDelay = new(defaultCheckpointDelay)
	}
	for _, flag := range []**bool{&p.AutoRollback, &p.SkipMatching} {
		if *flag == nil {
			*flag = new(false)
		}
	}
	for _, choice := range []*string{&p.ScaleInProtectedInstances, &p.StandbyInstances} {
		if *choice == "" {
			*choice = "Wait"
		}
	}
}

// checkPercentages checks MinHealthyPercentage and MaxHealthyPercentage together.
func checkPercentages(low, high *int) error {
	switch {
	case low != nil && (*low < 0 || *low > 100):
		return wire.Errorf("ValidationError", "MinHealthyPercentage must be between 0 and 100.")
	case high == nil:
		return nil
	case *high < 100 || *high > 200:
		return wire.Errorf("ValidationError", "MaxHealthyPercentage must be between 100 and 200.")
	case low == nil:
		return wire.Errorf("ValidationError", "You must specify MinHealthyPercentage when you specify MaxHealthyPercentage.")
	case *high-*low > 100:
		return wire.Errorf("ValidationError",
			"The difference between MinHealthyPercentage and MaxHealthyPercentage cannot be greater than 100.")
	}
	return nil
}

func (s *Service) checkPreferences(p *preferences) error {
	if err := checkPercentages(p.MinHealthyPercentage, p.MaxHealthyPercentage); err != nil {
		return err
	}
	for _, seconds := range []struct {
		name  string
		value *int
	}{{"BakeTime", p.BakeTime}, {"CheckpointDelay", p.CheckpointDelay}} {
		if seconds.value != nil && (*seconds.value < 0 || *seconds.value > 172800) {
			return wire.Errorf("ValidationError", "%s must be between 0 and 172800 seconds.", seconds.name)
		}
	}
	if p.InstanceWarmup != nil && *p.InstanceWarmup < 0 {
		return wire.Errorf("ValidationError", "InstanceWarmup must not be negative.")
	}
	if p.CheckpointDelay != nil && len(p.CheckpointPercentages) == 0 {
		return wire.Errorf("ValidationError", "CheckpointPercentages must be specified when CheckpointDelay is.")
	}
	before := 0
	for _, percentage := range p.CheckpointPercentages {
		if percentage <= before || percentage > 100 {
			return wire.Errorf("ValidationError", "CheckpointPercentages must be unique, ascending, and between 1 and 100.")
		}
		before = percentage
	}
	if len(p.CheckpointPercentages) > 0 && before != 100 {
		return wire.Errorf("ValidationError", "The last of CheckpointPercentages must be 100.")
	}
	if len(p.alarms()) > maxAlarms {
		return wire.Errorf("ValidationError", "AlarmSpecification can have at most %d alarms.", maxAlarms)
	}
	for _, name := range p.alarms() {
		known := false
		if s.options.Alarms != nil {
			_, known = s.options.Alarms.AlarmState(name)
		}
		if !known {
			return wire.Errorf("ValidationError", "The CloudWatch alarm %s does not exist.", name)
		}
	}
	return nil
}

type desiredConfiguration struct {
	LaunchTemplate *templateSpec `query:"LaunchTemplate"`
}

type startRefreshInput struct {
	Name        string                `query:"AutoScalingGroupName" wire:"required"`
	Desired     *desiredConfiguration `query:"DesiredConfiguration"`
	Preferences *preferences          `query:"Preferences"`
	Strategy    string                `query:"Strategy" wire:"enum=Rolling"`
}

type refreshOutput struct {
	InstanceRefreshID string `xml:"InstanceRefreshId"`
}

func (s *Service) startInstanceRefresh(_ context.Context, in *startRefreshInput) (*refreshOutput, error) {
	r := &refresh{ID: wire.UUID(), Status: statusPending}
	if in.Preferences != nil {
		r.Preferences = *in.Preferences
	}
	if err := s.checkPreferences(&r.Preferences); err != nil {
		return nil, err
	}
	if in.Desired != nil && in.Desired.LaunchTemplate != nil {
		t, err := s.template(in.Desired.LaunchTemplate)
		if err != nil {
			return nil, err
		}
		r.Desired = &t
	}
	if automatic := r.Preferences.AutoRollback; automatic != nil && *automatic {
		if err := s.reversible(in.Name, r); err != nil {
			return nil, wire.Errorf("ValidationError", "AutoRollback cannot be set to true: %s", message(err))
		}
	}
	match, err := s.matching(in.Name, r)
	if err != nil {
		return nil, err
	}
	return &refreshOutput{r.ID}, s.change(in.Name, func(g *group, now time.Time) error {
		if active := g.activeRefresh(); active != nil {
			return wire.Errorf("InstanceRefreshInProgress",
				"An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.")
		}
		r.Preferences.defaults(g)
		r.Start = now
		g.Generation++
		r.Generation = g.Generation
		for _, i := range g.Instances {
			if match(i) {
				i.Generation = g.Generation
			}
		}
		if g.Refreshes = append(g.Refreshes, r); len(g.Refreshes) > keptRefreshes {
			g.Refreshes = slices.Clone(g.Refreshes[1:])
		}
		r.ToUpdate = g.count(func(i *instance) bool { return i.active() && i.Generation < g.Generation })
		return nil
	})
}

// matching returns what tells the instances that skip matching leaves alone.
func (s *Service) matching(name string, r *refresh) (func(*instance) bool, error) {
	if r.Preferences.SkipMatching == nil || !*r.Preferences.SkipMatching {
		return func(*instance) bool { return false }, nil
	}
	t := r.Desired
	if t == nil {
		s.document.Lock()
		g, err := s.group(name)
		if err != nil {
			s.document.Unlock()
			return nil, err
		}
		t = new(g.Template)
		s.document.Unlock()
	}
	info, err := s.options.Instances.ResolveTemplate(t.ID, t.Version)
	if err != nil {
		return nil, err
	}
	number := strconv.FormatInt(info.Version, 10)
	return func(i *instance) bool {
		return i.Template.ID == info.ID && i.Template.Version == number && (i.Type == "" || i.Type == info.InstanceType)
	}, nil
}

// reversible reports why a refresh cannot be rolled back.
func (s *Service) reversible(name string, r *refresh) error {
	s.document.Lock()
	g, err := s.group(name)
	if err != nil {
		s.document.Unlock()
		return err
	}
	before := g.Template
	s.document.Unlock()
	irreversible := func(why string) error { return wire.Errorf("IrreversibleInstanceRefresh", "%s", why) }
	if r.Desired == nil {
		return irreversible("The instance refresh has no desired configuration.")
	}
	if _, err := strconv.Atoi(before.Version); err != nil {
		return irreversible("The Auto Scaling group uses the launch template's " + before.Version + " version.")
	}
	for _, t := range []template{before, *r.Desired} {
		info, err := s.options.Instances.ResolveTemplate(t.ID, t.Version)
		if err != nil {
			return irreversible("The launch template " + t.ID + " version " + t.Version + " cannot be used: " + message(err))
		}
		if strings.HasPrefix(info.ImageID, "resolve:ssm:") {
			return irreversible("The launch template uses an AWS Systems Manager parameter instead of an AMI ID.")
		}
	}
	return nil
}

// activeRefresh returns the refresh that is not over, or nil.
func (g *group) activeRefresh() *refresh {
	if len(g.Refreshes) == 0 {
		return nil
	}
	if r := g.Refreshes[len(g.Refreshes)-1]; r.End.IsZero() {
		return r
	}
	return nil
}

func (r *refresh) end(now time.Time, status, reason string) {
	r.Status, r.Reason, r.End = status, reason, now
}

type cancelRefreshInput struct {
	Name string `query:"AutoScalingGroupName" wire:"required"`
	Wait *bool  `query:"WaitForTransitioningInstances"`
}

func errNoRefresh(name string) error {
	return wire.Errorf("ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found for Auto Scaling group %s", name)
}

func (s *Service) cancelInstanceRefresh(_ context.Context, in *cancelRefreshInput) (*refreshOutput, error) {
	var out refreshOutput
	return &out, s.change(in.Name, func(g *group, now time.Time) error {
		r := g.activeRefresh()
		if r == nil || r.Status == statusCancelling {
			return errNoRefresh(in.Name)
		}
		r.Status, r.Reason, r.Hasty = statusCancelling, "Cancelled due to user request.", in.Wait != nil && !*in.Wait
		out.InstanceRefreshID = r.ID
		return nil
	})
}

type rollbackRefreshInput struct {
	Name string `query:"AutoScalingGroupName" wire:"required"`
}

func (s *Service) rollbackInstanceRefresh(_ context.Context, in *rollbackRefreshInput) (*refreshOutput, error) {
	s.document.Lock()
	g, err := s.group(in.Name)
	if err != nil {
		s.document.Unlock()
		return nil, err
	}
	active := g.activeRefresh()
	var r refresh
	if active != nil {
		r = *active
	}
	s.document.Unlock()
	switch r.Status {
	case statusPending, statusInProgress, statusBaking:
	default:
		return nil, errNoRefresh(in.Name)
	}
	if err := s.reversible(in.Name, &r); err != nil {
		return nil, err
	}
	return &refreshOutput{r.ID}, s.change(in.Name, func(g *group, now time.Time) error {
		active := g.activeRefresh()
		if active == nil || active.ID != r.ID {
			return errNoRefresh(in.Name)
		}
		g.rollBack(active, now, "Rollback requested by user.")
		return nil
	})
}

// rollBack turns a refresh around: what it launched is now what has to be replaced.
func (g *group) rollBack(r *refresh, now time.Time, reason string) {
	g.Generation++
	for _, i := range g.Instances {
		if i.Generation < r.Generation {
			i.Generation = g.Generation
		}
	}
	r.Rollback = &rollback{Reason: reason, Start: now, Percent: r.Percent, ToUpdate: r.ToUpdate, Generation: g.Generation}
	r.Status, r.Reason, r.Best, r.ProgressAt = statusRollbackInProgress, reason, nil, now
	g.dirty = true
}

// launchTemplate is what new instances are launched from.
func (g *group) launchTemplate() template {
	if r := g.activeRefresh(); r != nil && r.Desired != nil {
		switch r.Status {
		case statusPending, statusInProgress, statusBaking:
			return *r.Desired
		}
	}
	return g.Template
}

type describeRefreshesInput struct {
	Name       string   `query:"AutoScalingGroupName" wire:"required"`
	IDs        []string `query:"InstanceRefreshIds"`
	MaxRecords *int     `query:"MaxRecords"`
	NextToken  string   `query:"NextToken"`
}

type describeRefreshesOutput struct {
	Refreshes service.List[refreshView] `xml:"InstanceRefreshes"`
	NextToken string                    `xml:"NextToken,omitempty"`
}

type refreshView struct {
	AutoScalingGroupName string
	DesiredConfiguration *desiredView `xml:",omitempty"`
	EndTime              *time.Time   `xml:",omitempty"`
	InstanceRefreshID    string       `xml:"InstanceRefreshId"`
	InstancesToUpdate    int
	PercentageComplete   int
	Preferences          preferences
	ProgressDetails      *progressView `xml:",omitempty"`
	RollbackDetails      *rollbackView `xml:",omitempty"`
	StartTime            *time.Time
	Status               string
	StatusReason         string `xml:",omitempty"`
	Strategy             string
}

type desiredView struct{ LaunchTemplate template }

type progressView struct {
	LivePoolProgress struct {
		InstancesToUpdate  int
		PercentageComplete int
	}
}

type rollbackView struct {
	InstancesToUpdateOnRollback  int
	PercentageCompleteOnRollback int
	ProgressDetailsOnRollback    *progressView
	RollbackReason               string
	RollbackStartTime            *time.Time
}

func progressOf(percent, toUpdate int) *progressView {
	var v progressView
	v.LivePoolProgress.InstancesToUpdate, v.LivePoolProgress.PercentageComplete = toUpdate, percent
	return &v
}

func (s *Service) describeInstanceRefreshes(_ context.Context, in *describeRefreshesInput) (*describeRefreshesOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	g, err := s.group(in.Name)
	if err != nil {
		return nil, err
	}
	var found []refreshView
	for _, r := range slices.Backward(g.Refreshes) {
		if len(in.IDs) == 0 || slices.Contains(in.IDs, r.ID) {
			found = append(found, r.view(g.Name))
		}
	}
	part, next, err := page(found, in.MaxRecords, in.NextToken, 100)
	if err != nil {
		return nil, err
	}
	return &describeRefreshesOutput{Refreshes: part, NextToken: next}, nil
}

func (r *refresh) view(group string) refreshView {
	v := refreshView{
		AutoScalingGroupName: group, EndTime: millis(r.End), InstanceRefreshID: r.ID, InstancesToUpdate: r.ToUpdate,
		PercentageComplete: r.Percent, Preferences: r.Preferences, StartTime: millis(r.Start), Status: r.Status,
		StatusReason: r.Reason, Strategy: "Rolling", ProgressDetails: progressOf(r.Percent, r.ToUpdate),
	}
	if r.Desired != nil {
		v.DesiredConfiguration = &desiredView{*r.Desired}
	}
	if b := r.Rollback; b != nil {
		v.RollbackDetails = &rollbackView{
			InstancesToUpdateOnRollback: b.ToUpdate, PercentageCompleteOnRollback: b.Percent,
			ProgressDetailsOnRollback: progressOf(b.Percent, b.ToUpdate), RollbackReason: b.Reason, RollbackStartTime: millis(b.Start),
		}
	}
	return v
}
