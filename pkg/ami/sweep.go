package ami

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

const (
	// KeyPairPrefix and a run's ID make the name of the run's temporary key pair.
	KeyPairPrefix = "ingot-"

	// packerGroupPrefix begins the name of every temporary security group of Packer's, whose tags old versions do not set.
	packerGroupPrefix = "packer_"

	// terminateLimit bounds the wait for instances to be gone; EC2 takes a minute or so.
	terminateLimit = 5 * time.Minute

	// releaseDelay is the gap between two attempts to delete a security group that EC2 still sees in use.
	releaseDelay = time.Second
)

type machinesAPI interface {
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	TerminateInstances(context.Context, *ec2.TerminateInstancesInput, ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error)
	DeleteSecurityGroup(context.Context, *ec2.DeleteSecurityGroupInput, ...func(*ec2.Options)) (*ec2.DeleteSecurityGroupOutput, error)
	DeleteKeyPair(context.Context, *ec2.DeleteKeyPairInput, ...func(*ec2.Options)) (*ec2.DeleteKeyPairOutput, error)
}

// Sweeper removes what a bake needed besides the image. Packer does that itself, but not when it is interrupted while it
// waits for its instance to start: then it forgets the instance, and cannot delete the security group that it uses.
type Sweeper struct{ api machinesAPI }

// NewSweeper returns the Sweeper of the account and region that an EC2 client is made for.
func NewSweeper(api machinesAPI) *Sweeper { return &Sweeper{api: api} }

// Sweep removes a run's instances, their temporary security groups and the run's key pair. What is gone already is no
// error.
func (s *Sweeper) Sweep(ctx context.Context, run string) error {
	ids, groups, err := s.machines(ctx, run)
	if err != nil {
		return err
	}
	var errs []error
	if len(ids) > 0 {
		errs = append(errs, s.terminate(ctx, ids))
	}
	for _, group := range groups {
		errs = append(errs, s.deleteGroup(ctx, group))
	}
	if _, err := s.api.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String(KeyPairPrefix + run)}); err != nil {
		errs = append(errs, fmt.Errorf("delete key pair %q: %w", KeyPairPrefix+run, err))
	}
	return errors.Join(errs...)
}

func (s *Sweeper) machines(ctx context.Context, run string) (ids, groups []string, err error) {
	out, err := s.api.DescribeInstances(ctx, &ec2.DescribeInstancesInput{Filters: []types.Filter{
		filter("tag:"+TagRun, run),
		{Name: aws.String("instance-state-name"), Values: []string{"pending", "running", "stopping", "stopped", "shutting-down"}},
	}})
	if err != nil {
		return nil, nil, fmt.Errorf("describe the instances of run %q: %w", run, err)
	}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			ids = append(ids, aws.ToString(i.InstanceId))
			for _, g := range i.SecurityGroups {
				if strings.HasPrefix(aws.ToString(g.GroupName), packerGroupPrefix) {
					groups = append(groups, aws.ToString(g.GroupId))
				}
			}
		}
	}
	return ids, groups, nil
}

func (s *Sweeper) terminate(ctx context.Context, ids []string) error {
	if _, err := s.api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		return fmt.Errorf("terminate %s: %w", strings.Join(ids, ", "), err)
	}
	waiter := ec2.NewInstanceTerminatedWaiter(s.api, func(o *ec2.InstanceTerminatedWaiterOptions) { o.MinDelay = releaseDelay })
	if err := waiter.Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids}, terminateLimit); err != nil {
		return fmt.Errorf("wait for the end of %s: %w", strings.Join(ids, ", "), err)
	}
	return nil
}

func (s *Sweeper) deleteGroup(ctx context.Context, id string) error {
	for {
		_, err := s.api.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(id)})
		e, ok := errors.AsType[smithy.APIError](err)
		switch {
		case err == nil, ok && e.ErrorCode() == "InvalidGroup.NotFound":
			return nil
		case !ok || e.ErrorCode() != "DependencyViolation":
			return fmt.Errorf("delete security group %s: %w", id, err)
		}
		timer := time.NewTimer(releaseDelay)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("delete security group %s: %w", id, errors.Join(context.Cause(ctx), err))
		case <-timer.C:
		}
	}
}
