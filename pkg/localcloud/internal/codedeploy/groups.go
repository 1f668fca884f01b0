package codedeploy

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/autoscaling"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// group is a deployment group as the store keeps it.
type group struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Application string            `json:"application"`
	Tags        map[string]string `json:"tags,omitempty"`
	settings
	Scaling []scalingGroup `json:"autoScalingGroups,omitempty"`

	// Target is the revision of the last deployment to the group that succeeded, which is what a new instance gets.
	Target         *revisionLocation  `json:"targetRevision,omitempty"`
	LastAttempted  string             `json:"lastAttempted,omitempty"`  // a deployment's ID
	LastSuccessful string             `json:"lastSuccessful,omitempty"` // likewise
	Members        map[string]*member `json:"members"`                  // by instance ID
}

// scalingGroup is an Auto Scaling group of a deployment group, with the hook that holds new instances.
type scalingGroup struct {
	Name string `json:"name"`
	Hook string `json:"hook,omitempty"`
}

// member is what is known of an instance that was deployed to.
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/instances-health.html.
type member struct {
	Healthy  bool              `json:"healthy"`            // whether the last deployment to it succeeded
	Revision *revisionLocation `json:"revision,omitempty"` // the last one that succeeded on it
}

func checkGroupName(name string) error {
	if name == "" {
		return wire.Errorf("DeploymentGroupNameRequiredException", "The deployment group name was not specified.")
	}
	if !validName.MatchString(name) {
		return wire.Errorf("InvalidDeploymentGroupNameException", "The deployment group name was specified in an invalid format.")
	}
	return nil
}

// group finds a deployment group; the caller holds the lock.
func (s *Service) group(applicationName, name string) (*group, error) {
	a, err := s.application(applicationName)
	if err != nil {
		return nil, err
	}
	if err := checkGroupName(name); err != nil {
		return nil, err
	}
	g, ok := a.Groups[name]
	if !ok {
		return nil, wire.Errorf("DeploymentGroupDoesNotExistException", "No Deployment Group found for name: %s", name)
	}
	return g, nil
}

type groupInfo struct {
	ID              string            `json:"deploymentGroupId"`
	Name            string            `json:"deploymentGroupName"`
	Application     string            `json:"applicationName"`
	ComputePlatform string            `json:"computePlatform"`
	Scaling         []scalingGroup    `json:"autoScalingGroups"`
	Target          *revisionLocation `json:"targetRevision,omitempty"`
	LastAttempted   *lastDeployment   `json:"lastAttemptedDeployment,omitempty"`
	LastSuccessful  *lastDeployment   `json:"lastSuccessfulDeployment,omitempty"`
	TerminationHook bool              `json:"terminationHookEnabled"`
	EC2TagFilters   []struct{}        `json:"ec2TagFilters"`
	OnPremises      []struct{}        `json:"onPremisesInstanceTagFilters"`
	Triggers        []struct{}        `json:"triggerConfigurations"`
	settings
}

type lastDeployment struct {
	ID         string      `json:"deploymentId"`
	Status     string      `json:"status"`
	CreateTime wire.Epoch  `json:"createTime"`
	EndTime    *wire.Epoch `json:"endTime,omitempty"`
}

// groupInfo describes a deployment group; the caller holds the lock.
func (s *Service) groupInfo(g *group) *groupInfo {
	return &groupInfo{
		ID: g.ID, Name: g.Name, Application: g.Application, ComputePlatform: server, Scaling: append([]scalingGroup{}, g.Scaling...),
		Target: g.Target, LastAttempted: s.lastDeployment(g.LastAttempted), LastSuccessful: s.lastDeployment(g.LastSuccessful),
		EC2TagFilters: []struct{}{}, OnPremises: []struct{}{}, Triggers: []struct{}{}, settings: g.settings,
	}
}

func (s *Service) lastDeployment(id string) *lastDeployment {
	d := s.find(id)
	if d == nil {
		return nil
	}
	return &lastDeployment{ID: d.ID, Status: d.Status, CreateTime: wire.Epoch{Time: d.Created}, EndTime: epoch(d.Completed)}
}

// epoch is a time as the API shows it; nil for none.
func epoch(t time.Time) *wire.Epoch {
	if t.IsZero() {
		return nil
	}
	return &wire.Epoch{Time: t}
}

type createGroupInput struct {
	Application string `json:"applicationName"`
	Name        string `json:"deploymentGroupName"`
	Tags        []tag  `json:"tags"`
	groupInput
}

type createGroupOutput struct {
	ID string `json:"deploymentGroupId"`
}

func (s *Service) createDeploymentGroup(_ context.Context, in *createGroupInput) (*createGroupOutput, error) {
	g := &group{
		ID: wire.UUID(), Name: in.Name, Application: in.Application, Members: map[string]*member{},
		settings: settings{ConfigName: oneAtATime, Style: deploymentStyle{inPlace, withoutTraffic}, Outdated: "UPDATE"},
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	err := s.locked(func() error {
		a, err := s.application(in.Application)
		if err != nil {
			return err
		}
		if err := checkGroupName(in.Name); err != nil {
			return err
		}
		if a.Groups[in.Name] != nil {
			return wire.Errorf("DeploymentGroupAlreadyExistsException", "Deployment Group already exists: %s", in.Name)
		}
		g.Tags, err = setTags(nil, in.Tags, "InvalidTagsToAddException")
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := in.apply(&g.settings); err != nil {
		return nil, err
	}
	if err := s.checkReferences(g, in.AutoScalingGroups); err != nil {
		return nil, err
	}
	g.Scaling = s.hooked(g, in.AutoScalingGroups)
	// The group comes first: a hook that nobody answers to would keep every new instance from service.
	err = s.change(func() error {
		s.state.Applications[in.Application].Groups[in.Name] = g
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.putHooks(g, nil); err != nil {
		_, removeErr := s.removeGroup(in.Application, in.Name)
		if removeErr != nil {
			return nil, removeErr
		}
		return nil, err
	}
	return &createGroupOutput{g.ID}, nil
}

// checkReferences checks that what the settings name is there.
func (s *Service) checkReferences(g *group, scaling []string) error {
	of := &g.settings
	found, trusts := s.options.Roles.RoleTrusts(of.RoleARN, "codedeploy.amazonaws.com", s.arn("deploymentgroup:"+g.Application+"/"+g.Name))
	if !found || !trusts {
		return wire.Errorf("InvalidRoleException", "AWS CodeDeploy does not have the permissions required to assume the role %s.", of.RoleARN)
	}
	for i, name := range scaling {
		if _, err := s.options.Groups.InService(name); err != nil || slices.Contains(scaling[:i], name) {
			return invalidScalingGroup(name)
		}
		// What CodeDeploy does with the group, it does as the role.
		for _, need := range s.options.Groups.GroupNeeds(name, "autoscaling:PutLifecycleHook", "autoscaling:DeleteLifecycleHook",
			"autoscaling:CompleteLifecycleAction", "autoscaling:RecordLifecycleActionHeartbeat") {
			if !s.options.Roles.RoleAllows(of.RoleARN, need) {
				return wire.Errorf("InvalidRoleException", "The IAM role %s does not give you permission to perform operations in the following "+
					"AWS service: AmazonAutoScaling. Contact your AWS administrator if you need help. If you are an AWS administrator, you can "+
					"grant permissions to your users or groups by creating IAM policies.", of.RoleARN)
			}
		}
	}
	return nil
}

func invalidScalingGroup(name string) error {
	return wire.Errorf("InvalidAutoScalingGroupException", "The Auto Scaling group %s does not exist, cannot be accessed, or is named twice.", name)
}

// hooked gives each Auto Scaling group the name of its hook: the one that it was given, or else a new one.
func (s *Service) hooked(g *group, names []string) []scalingGroup {
	var all []scalingGroup
	for _, name := range names {
		hook := g.hookOf(name)
		if hook == "" {
			hook = "CodeDeploy-managed-automatic-launch-deployment-hook-" + g.Name + "-" + wire.UUID()
		}
		all = append(all, scalingGroup{name, hook})
	}
	return all
}

func (g *group) hookOf(scalingGroupName string) string {
	for _, a := range g.Scaling {
		if a.Name == scalingGroupName {
			return a.Hook
		}
	}
	return ""
}

// hookHeartbeat is the heartbeat timeout of the hooks, as it is on AWS.
const hookHeartbeat = 600 * time.Second

// putHooks puts the deployment group's hooks on Auto Scaling groups that it did not have before. One that it had is not looked at:
// AWS documents no other way to bring a hook back than to take the group out and in again.
// See https://docs.aws.amazon.com/codedeploy/latest/userguide/integrations-aws-auto-scaling.html, "Mismatched hooks".
func (s *Service) putHooks(g *group, before []scalingGroup) error {
	for _, a := range g.Scaling {
		if slices.Contains(before, a) {
			continue
		}
		err := s.options.Groups.PutHook(a.Name, autoscaling.Hook{
			Name: a.Hook, Transition: "autoscaling:EC2_INSTANCE_LAUNCHING", DefaultResult: "ABANDON", Heartbeat: hookHeartbeat, Metadata: g.ID,
			// AWS's own queue, by the name that it has there.
			Target: "arn:aws:sqs:" + s.options.Region + ":" + s.options.AccountID + ":razorbill-" + s.options.Region +
				"-prod-default-autoscaling-lifecycle-hook",
		})
		if err != nil {
			return invalidScalingGroup(a.Name)
		}
	}
	return nil
}

type groupName struct {
	Application string `json:"applicationName"`
	Name        string `json:"deploymentGroupName"`
}

type getGroupOutput struct {
	Info *groupInfo `json:"deploymentGroupInfo"`
}

func (s *Service) getDeploymentGroup(_ context.Context, in *groupName) (*getGroupOutput, error) {
	var out getGroupOutput
	return &out, s.locked(func() error {
		g, err := s.group(in.Application, in.Name)
		if err == nil {
			out.Info = s.groupInfo(g)
		}
		return err
	})
}

type batchGetGroupsInput struct {
	Application string   `json:"applicationName"`
	Names       []string `json:"deploymentGroupNames"`
}

type batchGetGroupsOutput struct {
	Infos []*groupInfo `json:"deploymentGroupsInfo"`
}

func (s *Service) batchGetDeploymentGroups(_ context.Context, in *batchGetGroupsInput) (*batchGetGroupsOutput, error) {
	if err := checkBatch(len(in.Names), maxBatch, "DeploymentGroupNameRequiredException"); err != nil {
		return nil, err
	}
	out := &batchGetGroupsOutput{Infos: []*groupInfo{}}
	return out, s.locked(func() error {
		for _, name := range in.Names {
			g, err := s.group(in.Application, name)
			if err != nil {
				return err
			}
			out.Infos = append(out.Infos, s.groupInfo(g))
		}
		return nil
	})
}

type listGroupsInput struct {
	Application string `json:"applicationName"`
	listInput
}

type listGroupsOutput struct {
	Application string   `json:"applicationName"`
	Names       []string `json:"deploymentGroups"`
	NextToken   string   `json:"nextToken,omitempty"`
}

func (s *Service) listDeploymentGroups(_ context.Context, in *listGroupsInput) (*listGroupsOutput, error) {
	out := &listGroupsOutput{Application: in.Application}
	return out, s.locked(func() error {
		a, err := s.application(in.Application)
		if err != nil {
			return err
		}
		out.Names, out.NextToken, err = page(slices.Sorted(maps.Keys(a.Groups)), in.NextToken)
		return err
	})
}

type updateGroupInput struct {
	Application string `json:"applicationName"`
	Name        string `json:"currentDeploymentGroupName"`
	NewName     string `json:"newDeploymentGroupName"`
	groupInput
}

type hooksLeft struct {
	Left []scalingGroup `json:"hooksNotCleanedUp"`
}

// updateDeploymentGroup changes a group. Auto Scaling groups that come get a hook, those that go lose it.
func (s *Service) updateDeploymentGroup(_ context.Context, in *updateGroupInput) (*hooksLeft, error) {
	s.changing.Lock()
	defer s.changing.Unlock()
	var next group
	err := s.locked(func() error {
		g, err := s.group(in.Application, in.Name)
		if err != nil {
			return err
		}
		next = *g
		if in.NewName == "" || in.NewName == in.Name {
			return nil
		}
		if s.state.Applications[in.Application].Groups[in.NewName] != nil {
			return wire.Errorf("DeploymentGroupAlreadyExistsException", "Deployment Group already exists: %s", in.NewName)
		}
		next.Name = in.NewName
		return checkGroupName(in.NewName)
	})
	if err != nil {
		return nil, err
	}
	before := next.Scaling
	if err := in.apply(&next.settings); err != nil {
		return nil, err
	}
	if err := s.checkReferences(&next, in.AutoScalingGroups); err != nil {
		return nil, err
	}
	if in.AutoScalingGroups != nil {
		next.Scaling = s.hooked(&next, in.AutoScalingGroups)
	}
	err = s.change(func() error {
		groups := s.state.Applications[in.Application].Groups
		g := groups[in.Name]
		g.Name, g.settings, g.Scaling = next.Name, next.settings, next.Scaling
		delete(groups, in.Name)
		groups[next.Name] = g
		for _, d := range s.state.Deployments {
			if d.Application == in.Application && d.Group == in.Name {
				d.Group = next.Name
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	gone := slices.DeleteFunc(slices.Clone(before), func(a scalingGroup) bool { return slices.Contains(next.Scaling, a) })
	left := s.deleteHooks(gone)
	if in.AutoScalingGroups != nil {
		err = s.putHooks(&next, before)
	}
	return &hooksLeft{left}, err
}

// deleteHooks removes hooks. It returns those that it could not remove.
func (s *Service) deleteHooks(of []scalingGroup) []scalingGroup {
	left := []scalingGroup{}
	for _, a := range of {
		if err := s.options.Groups.DeleteHook(a.Name, a.Hook); err != nil {
			s.log.Error("remove a lifecycle hook", "group", a.Name, "hook", a.Hook, "error", err)
			left = append(left, a)
		}
	}
	return left
}

// deleteDeploymentGroup removes a group. As on AWS it is no error where there is none.
func (s *Service) deleteDeploymentGroup(_ context.Context, in *groupName) (*hooksLeft, error) {
	if err := checkApplicationName(in.Application); err != nil {
		return nil, err
	}
	if err := checkGroupName(in.Name); err != nil {
		return nil, err
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	left, err := s.removeGroup(in.Application, in.Name)
	return &hooksLeft{left}, err
}

// removeGroup removes a deployment group, its hooks, and what is under way for it. The caller holds the lock for changing groups.
func (s *Service) removeGroup(applicationName, name string) (left []scalingGroup, err error) {
	var hooks []scalingGroup
	_ = s.locked(func() error {
		if a := s.state.Applications[applicationName]; a != nil && a.Groups[name] != nil {
			hooks = a.Groups[name].Scaling
		}
		return nil
	})
	// The hooks go first: one that nobody answers to would keep every new instance from service.
	left = s.deleteHooks(hooks)
	return left, s.change(func() error {
		if a := s.state.Applications[applicationName]; a != nil {
			delete(a.Groups, name)
		}
		for _, d := range s.state.Deployments {
			if d.Application == applicationName && d.Group == name && !d.done() {
				s.endRun(d.ID, errGroupGone)
			}
		}
		return nil
	})
}
