// Package ami speaks to EC2 about images: which ones there are and what they were made from; and about the runs that make
// them: what they need, and what dead ones left. What an image is stands in its tags, so that nothing else has to remember
// it.
package ami

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/ingot-build/ingot/internal/wait"
)

const (
	// retryDelay and retryLimit are the gap and the end of attempts at what EC2 is not ready for yet.
	retryDelay = time.Second
	retryLimit = 2 * time.Minute

	// lagLimit is how long EC2 may not know what it has just made: it is eventually consistent, and its guide asks for
	// retries (https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html).
	lagLimit = 30 * time.Second
)

type imageAPI interface {
	DescribeImages(context.Context, *ec2.DescribeImagesInput, ...func(*ec2.Options)) (*ec2.DescribeImagesOutput, error)
	CreateTags(context.Context, *ec2.CreateTagsInput, ...func(*ec2.Options)) (*ec2.CreateTagsOutput, error)
	DeregisterImage(context.Context, *ec2.DeregisterImageInput, ...func(*ec2.Options)) (*ec2.DeregisterImageOutput, error)
	DescribeSnapshots(context.Context, *ec2.DescribeSnapshotsInput, ...func(*ec2.Options)) (*ec2.DescribeSnapshotsOutput, error)
	DeleteSnapshot(context.Context, *ec2.DeleteSnapshotInput, ...func(*ec2.Options)) (*ec2.DeleteSnapshotOutput, error)
}

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

type api interface {
	imageAPI
	instanceAPI
	groupAPI
	keyPairAPI
	networkAPI
}

// Client finds and changes images, and what runs have on EC2 while they make them, in one account and region.
type Client struct {
	api      api
	endpoint string // URL of the API; empty for AWS's own
}

// NewFromConfig returns the client of the account and region of an AWS configuration.
func NewFromConfig(cfg aws.Config) *Client {
	client := ec2.NewFromConfig(cfg)
	return &Client{api: client, endpoint: aws.ToString(client.Options().BaseEndpoint)}
}

// Endpoint is the URL of the EC2 API that is spoken to, wherever it was set: for all services or for this one, in the
// environment or in a profile. It is empty for AWS's own.
func (c *Client) Endpoint() string { return c.endpoint }

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

func tagList(tags map[string]string) []types.Tag {
	var list []types.Tag
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(tags[key])})
	}
	return list
}

func tagMap(tags []types.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

// isGone tells whether a call failed because what it is about is not there.
func isGone(err error) bool {
	return slices.Contains([]string{
		"InvalidInstanceID.NotFound", "InvalidGroup.NotFound", "InvalidKeyPair.NotFound",
		"InvalidAMIID.NotFound", "InvalidAMIID.Unavailable", "InvalidSnapshot.NotFound",
	}, errorCode(err))
}

// IsDenied tells whether a call failed because its caller may not make it.
func IsDenied(err error) bool {
	return slices.Contains([]string{"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}, errorCode(err))
}

func errorCode(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return ""
}

// retryWhile calls f until it no longer fails with a code, for two minutes.
func retryWhile(ctx context.Context, code string, f func() error) error {
	return retryFor(ctx, retryLimit, code, f)
}

func retryFor(ctx context.Context, limit time.Duration, code string, f func() error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := f()
		if errorCode(err) != code {
			return err
		}
		if ended := wait.For(limited, retryDelay); ended != nil {
			return errors.Join(err, ended)
		}
	}
}
