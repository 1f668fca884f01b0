package codedeploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/codedeploy"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
)

// service is a CodeDeploy in memory: deployments that a step moves on each time one is looked at.
type service struct {
	deployments []*types.DeploymentInfo // the oldest first
	targets     map[string][]types.InstanceTarget
	create      func(in *sdk.CreateDeploymentInput) error // nil: none fails
	step        func(s *service)                          // before each description
	hidden      bool                                      // no deployment is found
	did         []string                                  // calls that change something
	calls       atomic.Int64
}

func (s *service) client() *Client {
	return newClient(clients{deployments: s}, Options{App: "hello"})
}

// add makes a deployment.
func (s *service) add(creator types.DeploymentCreator, status types.DeploymentStatus, key, description string) *types.DeploymentInfo {
	info := &types.DeploymentInfo{
		DeploymentId: aws.String(fmt.Sprintf("d-%d", len(s.deployments)+1)), Creator: creator, Status: status, Description: &description,
		Revision:   Revision{Bucket: "b", Key: key}.location(),
		CreateTime: aws.Time(time.Date(2026, 1, 1, 0, len(s.deployments), 0, 0, time.UTC)),
	}
	s.deployments = append(s.deployments, info)
	return info
}

func (s *service) CreateDeployment(_ context.Context, in *sdk.CreateDeploymentInput, _ ...func(*sdk.Options)) (*sdk.CreateDeploymentOutput, error) {
	s.calls.Add(1)
	if s.create != nil {
		if err := s.create(in); err != nil {
			return nil, err
		}
	}
	info := s.add(types.DeploymentCreatorUser, types.DeploymentStatusCreated, *in.Revision.S3Location.Key, *in.Description)
	s.did = append(s.did, fmt.Sprintf("create %s of %s/%s: %s", *info.DeploymentId, *in.ApplicationName, *in.DeploymentGroupName, *in.Description))
	return &sdk.CreateDeploymentOutput{DeploymentId: info.DeploymentId}, nil
}

// ListDeployments lists in an order of its own, as the API promises none, and page by page.
func (s *service) ListDeployments(_ context.Context, in *sdk.ListDeploymentsInput, _ ...func(*sdk.Options)) (*sdk.ListDeploymentsOutput, error) {
	const pageSize = 10
	s.calls.Add(1)
	var ids []string
	for _, d := range s.deployments {
		if r := in.CreateTimeRange; r == nil || !d.CreateTime.Before(*r.Start) {
			ids = append(ids, *d.DeploymentId)
		}
	}
	begin, _ := strconv.Atoi(aws.ToString(in.NextToken))
	out := &sdk.ListDeploymentsOutput{Deployments: ids[begin:]}
	if len(out.Deployments) > pageSize {
		out.Deployments, out.NextToken = out.Deployments[:pageSize], aws.String(strconv.Itoa(begin+pageSize))
	}
	return out, nil
}

func (s *service) BatchGetDeployments(_ context.Context, in *sdk.BatchGetDeploymentsInput, _ ...func(*sdk.Options)) (*sdk.BatchGetDeploymentsOutput, error) {
	s.calls.Add(1)
	if len(in.DeploymentIds) > 25 {
		return nil, errors.New("more than 25 deployments at once")
	}
	if s.step != nil {
		s.step(s)
	}
	out := &sdk.BatchGetDeploymentsOutput{}
	for _, d := range s.deployments { // in an order of its own, as the API promises none
		if slices.Contains(in.DeploymentIds, *d.DeploymentId) && !s.hidden {
			out.DeploymentsInfo = append(out.DeploymentsInfo, *d)
		}
	}
	return out, nil
}

func (s *service) ListDeploymentTargets(_ context.Context, in *sdk.ListDeploymentTargetsInput, _ ...func(*sdk.Options)) (*sdk.ListDeploymentTargetsOutput, error) {
	s.calls.Add(1)
	out := &sdk.ListDeploymentTargetsOutput{}
	for _, t := range s.targets[*in.DeploymentId] {
		if slices.Contains(in.TargetFilters["TargetStatus"], string(t.Status)) {
			out.TargetIds = append(out.TargetIds, *t.TargetId)
		}
	}
	return out, nil
}

func (s *service) BatchGetDeploymentTargets(_ context.Context, in *sdk.BatchGetDeploymentTargetsInput, _ ...func(*sdk.Options)) (*sdk.BatchGetDeploymentTargetsOutput, error) {
	s.calls.Add(1)
	out := &sdk.BatchGetDeploymentTargetsOutput{}
	for _, t := range s.targets[*in.DeploymentId] {
		if slices.Contains(in.TargetIds, *t.TargetId) {
			out.DeploymentTargets = append(out.DeploymentTargets, types.DeploymentTarget{InstanceTarget: &t})
		}
	}
	return out, nil
}

// target is an instance whose event has come to a status.
func target(id string, status types.TargetStatus, event string, eventStatus types.LifecycleEventStatus, d *types.Diagnostics) types.InstanceTarget {
	return types.InstanceTarget{TargetId: &id, Status: status, LifecycleEvents: []types.LifecycleEvent{
		{LifecycleEventName: aws.String("ApplicationStart"), Status: types.LifecycleEventStatusSucceeded},
		{LifecycleEventName: &event, Status: eventStatus, Diagnostics: d},
	}}
}

func unhealthy() *types.Diagnostics {
	return &types.Diagnostics{
		ErrorCode: types.LifecycleErrorCodeScriptFailed, ScriptName: aws.String("scripts/check.sh"),
		Message: aws.String("Script at specified location: scripts/check.sh failed with exit code 1"),
		LogTail: aws.String("LifecycleEvent - ValidateService\nScript - scripts/check.sh\n\n[stderr]panic: no database\n[stderr]ingot-check: nothing listens\n"),
	}
}
