package codedeploy

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// settings are what a deployment group is told to do, in the API's form.
type settings struct {
	ConfigName   string              `json:"deploymentConfigName"`
	RoleARN      string              `json:"serviceRoleArn"`
	Style        deploymentStyle     `json:"deploymentStyle"`
	LoadBalancer *loadBalancerInfo   `json:"loadBalancerInfo,omitempty"`
	AutoRollback *autoRollback       `json:"autoRollbackConfiguration,omitempty"`
	Alarms       *alarmConfiguration `json:"alarmConfiguration,omitempty"`
	Outdated     string              `json:"outdatedInstancesStrategy"` // UPDATE or IGNORE
}

type deploymentStyle struct {
	Type   string `json:"deploymentType,omitempty"`
	Option string `json:"deploymentOption,omitempty"`
}

const (
	inPlace        = "IN_PLACE"
	blueGreen      = "BLUE_GREEN"
	withTraffic    = "WITH_TRAFFIC_CONTROL"
	withoutTraffic = "WITHOUT_TRAFFIC_CONTROL"
)

type loadBalancerInfo struct {
	TargetGroups []targetGroupInfo `json:"targetGroupInfoList,omitempty"`
	Classic      []json.RawMessage `json:"elbInfoList,omitempty"`
	Pairs        []json.RawMessage `json:"targetGroupPairInfoList,omitempty"`
}

type targetGroupInfo struct {
	Name string `json:"name"`
}

type autoRollback struct {
	Enabled bool     `json:"enabled"`
	Events  []string `json:"events,omitempty"`
}

const (
	onFailure = "DEPLOYMENT_FAILURE"
	onAlarm   = "DEPLOYMENT_STOP_ON_ALARM"
	onRequest = "DEPLOYMENT_STOP_ON_REQUEST"
)

// on reports whether an event leads to a rollback.
func (r *autoRollback) on(event string) bool {
	return r != nil && r.Enabled && slices.Contains(r.Events, event)
}

func (r *autoRollback) check() error {
	if r == nil {
		return nil
	}
	for _, event := range r.Events {
		if !slices.Contains([]string{onFailure, onAlarm, onRequest}, event) {
			return wire.Errorf("InvalidAutoRollbackConfigException", "The automatic rollback configuration was specified in an invalid format: "+
				"%s is not an event.", event)
		}
	}
	if r.Enabled && len(r.Events) == 0 {
		return wire.Errorf("InvalidAutoRollbackConfigException", "The automatic rollback configuration was specified in an invalid format: "+
			"automatic rollback is enabled, but an invalid triggering event type or no event types were listed.")
	}
	return nil
}

type alarmConfiguration struct {
	Enabled           bool    `json:"enabled"`
	IgnorePollFailure bool    `json:"ignorePollAlarmFailure"`
	Alarms            []alarm `json:"alarms,omitempty"`
}

type alarm struct {
	Name string `json:"name"`
}

// maxAlarms is how many alarms a deployment group may have, as on AWS.
const maxAlarms = 10

func (a *alarmConfiguration) check() error {
	invalid := func(why string) error {
		return wire.Errorf("InvalidAlarmConfigException", "The format of the alarm configuration is invalid: %s.", why)
	}
	if a == nil {
		return nil
	}
	if a.Enabled && len(a.Alarms) == 0 {
		return invalid("the alarm configuration is enabled, but the alarm list is empty")
	}
	if len(a.Alarms) > maxAlarms {
		return wire.Errorf("AlarmsLimitExceededException", "The maximum number of alarms for a deployment group (%d) was exceeded.", maxAlarms)
	}
	names := map[string]bool{}
	for _, one := range a.Alarms {
		if one.Name == "" || len(one.Name) > 255 {
			return invalid("the alarm name is empty or exceeds the limit of 255 characters")
		}
		if names[one.Name] {
			return invalid("two alarms with the same name have been specified")
		}
		names[one.Name] = true
	}
	return nil
}

// groupInput is what calls that make or change a deployment group have in common. What is nil stays as it is.
type groupInput struct {
	AutoScalingGroups []string            `json:"autoScalingGroups"` // not nil but empty removes them
	ConfigName        string              `json:"deploymentConfigName"`
	RoleARN           string              `json:"serviceRoleArn"`
	Style             *deploymentStyle    `json:"deploymentStyle"`
	LoadBalancer      *loadBalancerInfo   `json:"loadBalancerInfo"`
	AutoRollback      *autoRollback       `json:"autoRollbackConfiguration"`
	Alarms            *alarmConfiguration `json:"alarmConfiguration"`
	Outdated          string              `json:"outdatedInstancesStrategy"`

	// What this cloud does not have. Clients send empty lists of it.
	BlueGreen       *blueGreenInput            `json:"blueGreenDeploymentConfiguration"`
	EC2TagFilters   []json.RawMessage          `json:"ec2TagFilters"`
	EC2TagSet       map[string]json.RawMessage `json:"ec2TagSet"`
	OnPremises      []json.RawMessage          `json:"onPremisesInstanceTagFilters"`
	OnPremisesSet   map[string]json.RawMessage `json:"onPremisesTagSet"`
	ECSServices     []json.RawMessage          `json:"ecsServices"`
	Triggers        []json.RawMessage          `json:"triggerConfigurations"`
	TerminationHook *bool                      `json:"terminationHookEnabled"`
}

type blueGreenInput struct {
	GreenFleet *struct {
		Action string `json:"action"`
	} `json:"greenFleetProvisioningOption"`
	Ready     json.RawMessage `json:"deploymentReadyOption"`
	Terminate json.RawMessage `json:"terminateBlueInstancesOnDeploymentSuccess"`
}

// refuse is the error for what this cloud does not have.
func (in *groupInput) refuse() error {
	const only = " (This local cloud deploys in place to the instances of Auto Scaling groups.)"
	for _, r := range []struct {
		given      bool
		code, what string
	}{
		{in.BlueGreen != nil && in.BlueGreen.GreenFleet != nil && in.BlueGreen.GreenFleet.Action == "COPY_AUTO_SCALING_GROUP",
			"InvalidBlueGreenDeploymentConfigurationException", "The green fleet provisioning option COPY_AUTO_SCALING_GROUP is not available."},
		{in.BlueGreen != nil, "InvalidBlueGreenDeploymentConfigurationException", "Blue/green deployments are not available."},
		{in.Style != nil && in.Style.Type == blueGreen, "InvalidDeploymentStyleException", "The deployment type BLUE_GREEN is not available."},
		{len(in.EC2TagFilters) > 0 || !isEmptySet(in.EC2TagSet), "InvalidEC2TagException", "EC2 tag filters are not available."},
		{len(in.OnPremises) > 0 || !isEmptySet(in.OnPremisesSet), "InvalidTagException", "On-premises instances are not available."},
		{len(in.ECSServices) > 0, "InvalidECSServiceException", "Amazon ECS services are not available."},
		{len(in.Triggers) > 0, "InvalidTriggerConfigException", "Triggers are not available."},
		{in.TerminationHook != nil && *in.TerminationHook, "InvalidInputException", "Termination hooks are not available."},
	} {
		if r.given {
			return wire.Errorf(r.code, "%s", r.what+only)
		}
	}
	return nil
}

func isEmptySet(set map[string]json.RawMessage) bool {
	for _, list := range set {
		if s := string(list); s != "[]" && s != "null" {
			return false
		}
	}
	return true
}

// apply puts what the call gives into the settings and checks the result.
func (in *groupInput) apply(to *settings) error {
	if err := in.refuse(); err != nil {
		return err
	}
	for _, f := range []struct{ field, given *string }{
		{&to.ConfigName, &in.ConfigName}, {&to.RoleARN, &in.RoleARN}, {&to.Outdated, &in.Outdated},
	} {
		if *f.given != "" {
			*f.field = *f.given
		}
	}
	if in.Style != nil {
		to.Style = deploymentStyle{cmp.Or(in.Style.Type, inPlace), cmp.Or(in.Style.Option, withoutTraffic)}
	}
	if in.LoadBalancer != nil {
		to.LoadBalancer = in.LoadBalancer
	}
	if in.AutoRollback != nil {
		to.AutoRollback = in.AutoRollback
	}
	if in.Alarms != nil {
		to.Alarms = in.Alarms
	}
	return to.check()
}

var roleARN = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+$`)

func (s *settings) check() error {
	if s.RoleARN == "" {
		return wire.Errorf("RoleRequiredException", "The role ID was not specified.")
	}
	if !roleARN.MatchString(s.RoleARN) {
		return wire.Errorf("InvalidRoleException", "The service role ARN was specified in an invalid format.")
	}
	if _, err := findConfig(s.ConfigName); err != nil {
		return err
	}
	if s.Outdated != "UPDATE" && s.Outdated != "IGNORE" {
		return wire.Errorf("InvalidInputException", "The outdated instances strategy %s is not UPDATE or IGNORE.", s.Outdated)
	}
	if s.Style.Type != inPlace || s.Style.Option != withTraffic && s.Style.Option != withoutTraffic {
		return wire.Errorf("InvalidDeploymentStyleException", "An invalid deployment style was specified. Valid deployment types include "+
			"\"IN_PLACE\" and \"BLUE_GREEN.\" Valid deployment options include \"WITH_TRAFFIC_CONTROL\" and \"WITHOUT_TRAFFIC_CONTROL.\"")
	}
	if err := s.checkLoadBalancer(); err != nil {
		return err
	}
	if err := s.AutoRollback.check(); err != nil {
		return err
	}
	return s.Alarms.check()
}

func (s *settings) checkLoadBalancer() error {
	const code = "InvalidLoadBalancerInfoException"
	lb := s.LoadBalancer
	if lb != nil && len(lb.Classic)+len(lb.Pairs) > 0 {
		return wire.Errorf(code, "Classic load balancers and pairs of target groups are not available. (This local cloud has target groups.)")
	}
	if s.Style.Option == withTraffic && (lb == nil || len(lb.TargetGroups) == 0) {
		return wire.Errorf(code, "An invalid load balancer name, or no load balancer name, was specified.")
	}
	if lb == nil {
		return nil
	}
	for _, g := range lb.TargetGroups {
		if g.Name == "" || len(g.Name) > 32 {
			return wire.Errorf(code, "The target group name %q is not valid: it has 1 to 32 characters and is not an ARN.", g.Name)
		}
	}
	return nil
}
