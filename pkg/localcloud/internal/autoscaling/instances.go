package autoscaling

import (
	"context"
	"fmt"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// lifecycle is where an instance stands between launch and termination, in AWS's words.
type lifecycle string

const (
	pending            lifecycle = "Pending"
	pendingWait        lifecycle = "Pending:Wait"
	pendingProceed     lifecycle = "Pending:Proceed"
	inService          lifecycle = "InService"
	terminating        lifecycle = "Terminating"
	terminatingWait    lifecycle = "Terminating:Wait"
	terminatingProceed lifecycle = "Terminating:Proceed"
	enteringStandby    lifecycle = "EnteringStandby"
	standby            lifecycle = "Standby"
)

const (
	healthy   = "Healthy"
	unhealthy = "Unhealthy"
)

// instance is a member of a group. It is there before EC2 has given it an ID, so that a launch that a kill interrupted
// is repeated with the same client token and finds its instance.
type instance struct {
	ID       string    `json:"id"`
	Token    string    `json:"token"`
	Subnet   string    `json:"subnet"`
	Zone     string    `json:"zone"`
	Type     string    `json:"type,omitempty"`
	ImageID  string    `json:"image,omitempty"`
	Template template  `json:"template"` // with a number as the version once it is launched
	State    lifecycle `json:"state"`
	Health   string    `json:"health"`
	// Reason is why it is unhealthy: the end of the sentence "an instance was taken out of service in response to …".
	Reason     string    `json:"reason,omitempty"`
	Protected  bool      `json:"protected,omitempty"`
	Generation int       `json:"generation"`
	Launched   time.Time `json:"launched"`
	InService  time.Time `json:"inService,omitzero"` // when it last entered service
	// Registered are the target groups that it was registered at and not deregistered from.
	Registered []string `json:"registered,omitempty"`
	// Draining are the target groups where its deregistration has begun.
	Draining []string `json:"draining,omitempty"`
	// NoTargets says that AddToLoadBalancer was suspended when it entered service.
	NoTargets bool          `json:"noTargets,omitempty"`
	Actions   []*hookAction `json:"actions,omitempty"`  // of the hooks that it waits for
	Activity  string        `json:"activity,omitempty"` // the scaling activity under way
	Ended     bool          `json:"ended,omitempty"`    // EC2 was told to terminate it
	Seen      bool          `json:"seen,omitempty"`     // EC2 has shown it
	Standby   bool          `json:"standby,omitempty"`  // it leaves standby: Pending, but not launching
}

// active reports whether the instance counts toward the desired capacity.
func (i *instance) active() bool {
	switch i.State {
	case pending, pendingWait, pendingProceed, inService:
		return true
	}
	return false
}

func (i *instance) ending() bool {
	return i.State == terminating || i.State == terminatingWait || i.State == terminatingProceed
}

func (g *group) instance(id string) *instance {
	for _, i := range g.Instances {
		if i.ID == id && id != "" {
			return i
		}
	}
	return nil
}

// instanceByToken finds an instance whose launch is under way.
func (g *group) instanceByToken(token string) *instance {
	for _, i := range g.Instances {
		if i.Token == token {
			return i
		}
	}
	return nil
}

func (g *group) count(is func(*instance) bool) int {
	n := 0
	for _, i := range g.Instances {
		if is(i) {
			n++
		}
	}
	return n
}

type instanceView struct {
	AvailabilityZone     string
	HealthStatus         string
	ImageID              string `xml:"ImageId,omitempty"`
	InstanceID           string `xml:"InstanceId"`
	InstanceType         string
	LaunchTemplate       template
	LifecycleState       lifecycle
	ProtectedFromScaleIn bool
}

func (i *instance) view() instanceView {
	return instanceView{
		AvailabilityZone: i.Zone, HealthStatus: i.Health, ImageID: i.ImageID, InstanceID: i.ID,
		InstanceType: i.Type, LaunchTemplate: i.Template, LifecycleState: i.State, ProtectedFromScaleIn: i.Protected,
	}
}

// changeInstance is update for one instance.
func (s *Service) changeInstance(id string, f func(g *group, i *instance, now time.Time) error) error {
	return s.update(func(now time.Time) error {
		for _, g := range s.state.Groups {
			if i := g.instance(id); i != nil {
				return f(g, i, now)
			}
		}
		return wire.Errorf("ValidationError", "Instance Id not found - No managed instance found for instance ID: %s", id)
	})
}

type terminateInput struct {
	InstanceID string `query:"InstanceId" wire:"required"`
	Decrement  *bool  `query:"ShouldDecrementDesiredCapacity" wire:"required"`
}

type terminateOutput struct {
	Activity activityView
}

func (s *Service) terminateInstance(_ context.Context, in *terminateInput) (*terminateOutput, error) {
	var out terminateOutput
	err := s.changeInstance(in.InstanceID, func(g *group, i *instance, now time.Time) error {
		if i.ending() {
			return wire.Errorf("ScalingActivityInProgress", "Instance %s is already being terminated.", i.ID)
		}
		desired := g.Desired
		if *in.Decrement {
			if g.Desired-1 < g.Min {
				return wire.Errorf("ValidationError",
					"Currently, desiredSize equals minSize (%d). Terminating instance without replacement will violate group's min size "+
						"constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.", g.Min)
			}
			g.Desired--
		}
		a := g.terminate(i, now, fmt.Sprintf("instance %s was taken out of service in response to a user request%s.", i.ID,
			shrinking(desired, g.Desired)))
		out.Activity = a.view(g)
		return nil
	})
	return &out, err
}

func shrinking(from, to int) string {
	if from == to {
		return ""
	}
	return fmt.Sprintf(", shrinking the capacity from %d to %d", from, to)
}

type protectionInput struct {
	Name        string   `query:"AutoScalingGroupName" wire:"required"`
	InstanceIDs []string `query:"InstanceIds" wire:"required"`
	Protected   *bool    `query:"ProtectedFromScaleIn" wire:"required"`
}

func (s *Service) setInstanceProtection(_ context.Context, in *protectionInput) (*wire.Empty, error) {
	return nil, s.change(in.Name, func(g *group, _ time.Time) error {
		members, err := g.members(in.InstanceIDs)
		for _, i := range members {
			i.Protected = *in.Protected
		}
		return err
	})
}

// members returns the instances, all of which must belong to the group.
func (g *group) members(ids []string) ([]*instance, error) {
	var found []*instance
	for _, id := range ids {
		i := g.instance(id)
		if i == nil {
			return nil, wire.Errorf("ValidationError", "The instance %s is not part of Auto Scaling group %s.", id, g.Name)
		}
		found = append(found, i)
	}
	return found, nil
}

type healthInput struct {
	InstanceID         string `query:"InstanceId" wire:"required"`
	HealthStatus       string `query:"HealthStatus" wire:"required,enum=Healthy|Unhealthy"`
	RespectGracePeriod *bool  `query:"ShouldRespectGracePeriod"`
}

func (s *Service) setInstanceHealth(_ context.Context, in *healthInput) (*wire.Empty, error) {
	return nil, s.changeInstance(in.InstanceID, func(g *group, i *instance, now time.Time) error {
		respect := in.RespectGracePeriod == nil || *in.RespectGracePeriod
		if in.HealthStatus == unhealthy && respect && now.Before(i.graceEnds(g)) {
			return nil
		}
		i.Health, i.Reason = in.HealthStatus, ""
		if i.Health == unhealthy {
			i.Reason = "a user health-check"
		}
		return nil
	})
}

// graceEnds is when the load balancer's verdict begins to count.
func (i *instance) graceEnds(g *group) time.Time {
	return i.InService.Add(time.Duration(g.GracePeriod) * time.Second)
}

type enterStandbyInput struct {
	Name        string   `query:"AutoScalingGroupName" wire:"required"`
	InstanceIDs []string `query:"InstanceIds"`
	Decrement   *bool    `query:"ShouldDecrementDesiredCapacity" wire:"required"`
}

type standbyOutput struct {
	Activities service.List[activityView]
}

func (s *Service) enterStandby(_ context.Context, in *enterStandbyInput) (*standbyOutput, error) {
	var out standbyOutput
	return &out, s.change(in.Name, func(g *group, now time.Time) error {
		members, err := g.members(in.InstanceIDs)
		if err != nil {
			return err
		}
		for _, i := range members {
			if i.State != inService {
				return wire.Errorf("ValidationError", "The instance %s is not in InService.", i.ID)
			}
		}
		if *in.Decrement && g.Desired-len(members) < g.Min {
			return wire.Errorf("ValidationError", "AutoScalingGroup %s has min-size=%d, and desired-size=%d. To place into standby %d "+
				"instance(s), please update the AutoScalingGroup sizes appropriately.", g.Name, g.Min, g.Desired, len(members))
		}
		for _, i := range members {
			desired := g.Desired
			if *in.Decrement {
				g.Desired--
			}
			a := g.begin(now, "Moving EC2 instance to Standby: "+i.ID, at(now, "instance %s was moved to standby in response to a user request%s.",
				i.ID, shrinking(desired, g.Desired)))
			i.State, i.Activity = enteringStandby, a.ID
			out.Activities.Members = append(out.Activities.Members, a.view(g))
		}
		return nil
	})
}

type exitStandbyInput struct {
	Name        string   `query:"AutoScalingGroupName" wire:"required"`
	InstanceIDs []string `query:"InstanceIds"`
}

func (s *Service) exitStandby(_ context.Context, in *exitStandbyInput) (*standbyOutput, error) {
	var out standbyOutput
	return &out, s.change(in.Name, func(g *group, now time.Time) error {
		members, err := g.members(in.InstanceIDs)
		if err != nil {
			return err
		}
		for _, i := range members {
			if i.State != standby {
				return wire.Errorf("ValidationError", "The instance %s is not in Standby.", i.ID)
			}
		}
		if g.Desired+len(members) > g.Max {
			return wire.Errorf("ValidationError", "AutoScalingGroup %s has max-size=%d, and desired-size=%d. To move %d instance(s) out of "+
				"standby, please update the AutoScalingGroup sizes appropriately.", g.Name, g.Max, g.Desired, len(members))
		}
		for _, i := range members {
			a := g.begin(now, "Moving EC2 instance out of Standby: "+i.ID, at(now, "instance %s was moved out of standby in response to a "+
				"user request, increasing the capacity from %d to %d.", i.ID, g.Desired, g.Desired+1))
			g.Desired++
			i.State, i.Activity, i.Standby = pending, a.ID, true
			out.Activities.Members = append(out.Activities.Members, a.view(g))
		}
		return nil
	})
}
