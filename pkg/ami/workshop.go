package ami

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"
)

const (
	// retryDelay and retryLimit are the gap and the end of attempts at what EC2 is not ready for yet.
	retryDelay = time.Second
	retryLimit = 2 * time.Minute

	// terminateLimit bounds the wait for instances to be gone; EC2 takes a minute or so.
	terminateLimit = 5 * time.Minute

	sshPort = 22
)

type instanceAPI interface {
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...func(*ec2.Options)) (*ec2.DescribeInstancesOutput, error)
	TerminateInstances(context.Context, *ec2.TerminateInstancesInput, ...func(*ec2.Options)) (*ec2.TerminateInstancesOutput, error)
}

type groupAPI interface {
	CreateSecurityGroup(context.Context, *ec2.CreateSecurityGroupInput, ...func(*ec2.Options)) (*ec2.CreateSecurityGroupOutput, error)
	AuthorizeSecurityGroupIngress(context.Context, *ec2.AuthorizeSecurityGroupIngressInput, ...func(*ec2.Options)) (*ec2.AuthorizeSecurityGroupIngressOutput, error)
	DescribeSecurityGroups(context.Context, *ec2.DescribeSecurityGroupsInput, ...func(*ec2.Options)) (*ec2.DescribeSecurityGroupsOutput, error)
	DeleteSecurityGroup(context.Context, *ec2.DeleteSecurityGroupInput, ...func(*ec2.Options)) (*ec2.DeleteSecurityGroupOutput, error)
}

type keyPairAPI interface {
	DescribeKeyPairs(context.Context, *ec2.DescribeKeyPairsInput, ...func(*ec2.Options)) (*ec2.DescribeKeyPairsOutput, error)
	DeleteKeyPair(context.Context, *ec2.DeleteKeyPairInput, ...func(*ec2.Options)) (*ec2.DeleteKeyPairOutput, error)
}

type workshopAPI interface {
	api
	instanceAPI
	groupAPI
	keyPairAPI
}

// Workshop is where runs make images: it lets Packer in to its instance, knows what runs have left lying about, and
// clears that away.
type Workshop struct {
	api       workshopAPI
	catalogue *Catalogue
}

// NewWorkshop returns the workshop of the account and region that an EC2 client is made for.
func NewWorkshop(api workshopAPI) *Workshop { return &Workshop{api: api, catalogue: New(api)} }

// Admit makes a security group that lets these addresses, in CIDR notation, reach SSH, and returns its ID. Packer's
// own temporary groups will not do: before 1.7 it tags none, so that nobody could tell whose they are.
func (w *Workshop) Admit(ctx context.Context, name string, cidrs []string, tags map[string]string) (group string, err error) {
	spec := types.TagSpecification{ResourceType: types.ResourceTypeSecurityGroup, Tags: tagList(tags)}
	out, err := w.api.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String("bake " + name), Description: aws.String("SSH for Packer while it bakes " + name),
		TagSpecifications: []types.TagSpecification{spec},
	})
	if err != nil {
		return "", fmt.Errorf("create security group: %w", err)
	}
	ssh := types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: aws.Int32(sshPort), ToPort: aws.Int32(sshPort)}
	for _, cidr := range cidrs {
		if strings.Contains(cidr, ":") {
			ssh.Ipv6Ranges = append(ssh.Ipv6Ranges, types.Ipv6Range{CidrIpv6: aws.String(cidr)})
		} else {
			ssh.IpRanges = append(ssh.IpRanges, types.IpRange{CidrIp: aws.String(cidr)})
		}
	}
	err = retry(ctx, "InvalidGroup.NotFound", func() error { // EC2 may not know yet what it has just made
		_, err := w.api.AuthorizeSecurityGroupIngress(ctx, &ec2.AuthorizeSecurityGroupIngressInput{
			GroupId: out.GroupId, IpPermissions: []types.IpPermission{ssh},
		})
		return err
	})
	if err != nil {
		return "", fmt.Errorf("open port %d in security group %s: %w", sshPort, aws.ToString(out.GroupId), err)
	}
	return aws.ToString(out.GroupId), nil
}

// Remove removes what runs left. It goes on where something cannot be removed, and reports all of that at the end.
// What is gone already is no error.
func (w *Workshop) Remove(ctx context.Context, left []Leftover) error {
	// Instances first: they use the others.
	var errs []error
	var ending []string
	for _, l := range left {
		if l.Kind != Instance {
			continue
		}
		if err := w.terminate(ctx, l.ID); err != nil {
			errs = append(errs, err)
			continue
		}
		ending = append(ending, l.ID)
	}
	errs = append(errs, w.awaitEnd(ctx, ending))
	for _, l := range left {
		switch l.Kind {
		case SecurityGroup:
			errs = append(errs, w.removeGroup(ctx, l.ID))
		case KeyPair:
			errs = append(errs, w.removeKeyPair(ctx, l.ID))
		case UnfinishedImage:
			errs = append(errs, w.catalogue.Remove(ctx, l.Image))
		case Snapshot:
			errs = append(errs, w.catalogue.removeSnapshot(ctx, l.ID))
		}
	}
	return errors.Join(errs...)
}

func (w *Workshop) terminate(ctx context.Context, id string) error {
	if _, err := w.api.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil && !gone(err) {
		return fmt.Errorf("terminate instance %s: %w", id, err)
	}
	return nil
}

func (w *Workshop) awaitEnd(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	waiter := ec2.NewInstanceTerminatedWaiter(w.api, func(o *ec2.InstanceTerminatedWaiterOptions) { o.MinDelay = retryDelay })
	if err := waiter.Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: ids}, terminateLimit); err != nil && !gone(err) {
		return fmt.Errorf("wait for the end of instances %s: %w", strings.Join(ids, ", "), err)
	}
	return nil
}

// removeGroup deletes a security group, which EC2 may see in use for a moment after its instance is gone.
func (w *Workshop) removeGroup(ctx context.Context, id string) error {
	err := retry(ctx, "DependencyViolation", func() error {
		_, err := w.api.DeleteSecurityGroup(ctx, &ec2.DeleteSecurityGroupInput{GroupId: aws.String(id)})
		return err
	})
	if err != nil && !gone(err) {
		return fmt.Errorf("delete security group %s: %w", id, err)
	}
	return nil
}

func (w *Workshop) removeKeyPair(ctx context.Context, name string) error {
	if _, err := w.api.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String(name)}); err != nil && !gone(err) {
		return fmt.Errorf("delete key pair %q: %w", name, err)
	}
	return nil
}

// gone tells whether a call failed because what it is about is not there.
func gone(err error) bool {
	return slices.Contains([]string{
		"InvalidInstanceID.NotFound", "InvalidGroup.NotFound", "InvalidKeyPair.NotFound",
		"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidSnapshot.NotFound",
	}, code(err))
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

// retry calls f until it fails no more with a code.
func retry(ctx context.Context, with string, f func() error) error {
	limit, cancel := context.WithTimeout(ctx, retryLimit)
	defer cancel()
	for {
		err := f()
		if code(err) != with {
			return err
		}
		timer := time.NewTimer(retryDelay)
		select {
		case <-limit.Done():
			timer.Stop()
			return errors.Join(err, context.Cause(limit))
		case <-timer.C:
		}
	}
}
