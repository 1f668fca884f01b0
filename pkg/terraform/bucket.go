package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/ingot-build/ingot/pkg/tag"
)

const (
	// stateTagValue is that of tag.State on a bucket that MakeBucket made.
	stateTagValue = "terraform"

	// regionHeader names a bucket's region in S3's answers, errors included.
	regionHeader = "X-Amz-Bucket-Region"
)

// ErrNoBucket means that nobody has a bucket of that name.
var ErrNoBucket = errors.New("there is no such bucket")

type bucketFinder interface {
	HeadBucket(context.Context, *s3.HeadBucketInput, ...func(*s3.Options)) (*s3.HeadBucketOutput, error)
	GetBucketTagging(context.Context, *s3.GetBucketTaggingInput, ...func(*s3.Options)) (*s3.GetBucketTaggingOutput, error)
}

type bucketMaker interface {
	bucketFinder
	CreateBucket(context.Context, *s3.CreateBucketInput, ...func(*s3.Options)) (*s3.CreateBucketOutput, error)
	PutBucketVersioning(context.Context, *s3.PutBucketVersioningInput, ...func(*s3.Options)) (*s3.PutBucketVersioningOutput, error)
	PutPublicAccessBlock(context.Context, *s3.PutPublicAccessBlockInput, ...func(*s3.Options)) (*s3.PutPublicAccessBlockOutput, error)
	PutBucketPolicy(context.Context, *s3.PutBucketPolicyInput, ...func(*s3.Options)) (*s3.PutBucketPolicyOutput, error)
}

// FindBucket returns the region of a bucket of the account, or an error that wraps ErrNoBucket. Bucket names are the
// whole world's, and a state in somebody else's bucket would be theirs to read and to change: that is an error too.
func FindBucket(ctx context.Context, cfg aws.Config, name, account string) (region string, err error) {
	return findBucket(ctx, s3.NewFromConfig(cfg), name, account)
}

func findBucket(ctx context.Context, client bucketFinder, name, account string) (region string, err error) {
	in := &s3.HeadBucketInput{Bucket: aws.String(name), ExpectedBucketOwner: aws.String(account)}
	out, err := client.HeadBucket(ctx, in)
	if region = bucketElsewhere(err); region != "" {
		out, err = client.HeadBucket(ctx, in, inRegion(region))
	}
	if err == nil {
		return aws.ToString(out.BucketRegion), nil
	}
	answer, _ := errors.AsType[*awshttp.ResponseError](err)
	switch {
	case answer != nil && answer.HTTPStatusCode() == http.StatusNotFound:
		err = ErrNoBucket
	case answer != nil && answer.HTTPStatusCode() == http.StatusForbidden:
		err = fmt.Errorf("it belongs to another account than %s, or these credentials may not see it: choose another name, or ask for s3:ListBucket on it", account)
	}
	return "", fmt.Errorf("find the bucket %q: %w", name, err)
}

// bucketElsewhere is the region that S3 points to where a bucket is in another one than the call's; empty where it points to none.
// It does so with a redirect or, as the answer to a signature for the wrong region, with 400: a HEAD has no body that could
// tell them apart.
func bucketElsewhere(err error) string {
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || answer.HTTPStatusCode() != http.StatusMovedPermanently && answer.HTTPStatusCode() != http.StatusBadRequest {
		return ""
	}
	return answer.Response.Header.Get(regionHeader)
}

// MakeBucket makes a bucket for states in the region of the configuration, or finishes one that it began. It keeps all versions
// of a state, so that one that was spoilt can be had back; only the account sees it, and only over TLS; S3 encrypts what
// is in it, as it does everywhere. A bucket of the account that somebody else made stays as it is, and made is false.
func MakeBucket(ctx context.Context, cfg aws.Config, name, account string) (made bool, err error) {
	return makeBucket(ctx, s3.NewFromConfig(cfg), name, account, cfg.Region)
}

func makeBucket(ctx context.Context, client bucketMaker, name, account, region string) (made bool, err error) {
	at, err := findBucket(ctx, client, name, account)
	switch {
	case errors.Is(err, ErrNoBucket):
		if err := createBucket(ctx, client, name, region); err != nil {
			return false, err
		}
		at = region
	case err != nil:
		return false, err
	default:
		ours, err := isOurs(ctx, client, name, at)
		if err != nil || !ours {
			return false, err
		}
	}
	return true, configureBucket(ctx, client, name, at)
}

func createBucket(ctx context.Context, client bucketMaker, name, region string) error {
	configuration := &types.CreateBucketConfiguration{Tags: []types.Tag{{Key: aws.String(tag.State), Value: aws.String(stateTagValue)}}}
	if region != "us-east-1" { // which S3 takes only as the absence of a region
		configuration.LocationConstraint = types.BucketLocationConstraint(region)
	}
	_, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(name), CreateBucketConfiguration: configuration})
	if _, ok := errors.AsType[*types.BucketAlreadyOwnedByYou](err); ok {
		return nil // another run of the same moment
	}
	if _, ok := errors.AsType[*types.BucketAlreadyExists](err); ok {
		return fmt.Errorf("make the bucket %q: another account has one of that name: choose another", name)
	}
	if err != nil {
		return fmt.Errorf("make the bucket %q: %w", name, err)
	}
	return nil
}

// isOurs reports whether MakeBucket made the bucket.
func isOurs(ctx context.Context, client bucketFinder, name, region string) (bool, error) {
	out, err := client.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: aws.String(name)}, inRegion(region))
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); ok && answer.HTTPStatusCode() == http.StatusNotFound {
		return false, nil // it has no tags
	}
	if err != nil {
		return false, fmt.Errorf("read the tags of the bucket %q: %w", name, err)
	}
	for _, t := range out.TagSet {
		if aws.ToString(t.Key) == tag.State {
			return true, nil
		}
	}
	return false, nil
}

// configureBucket sets everything that S3 does not by itself. Setting it again changes nothing.
func configureBucket(ctx context.Context, client bucketMaker, name, region string) error {
	_, err := client.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: aws.String(name), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}, inRegion(region))
	if err != nil {
		return fmt.Errorf("keep versions in the bucket %q: %w", name, err)
	}
	_, err = client.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: aws.String(name), PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true),
			IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
		},
	}, inRegion(region))
	if err != nil {
		return fmt.Errorf("keep the public out of the bucket %q: %w", name, err)
	}
	policy, err := tlsOnlyPolicy(name, region)
	if err != nil {
		return err
	}
	_, err = client.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(name), Policy: aws.String(policy)}, inRegion(region))
	if err != nil {
		return fmt.Errorf("demand TLS of the bucket %q: %w", name, err)
	}
	return nil
}

// partition is the part of AWS that a region is in, as ARNs name it.
func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// tlsOnlyPolicy is the policy of a bucket that answers nobody without TLS.
func tlsOnlyPolicy(name, region string) (string, error) {
	arn := "arn:" + partition(region) + ":s3:::" + name
	data, err := json.Marshal(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Sid": "TLSOnly", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": []string{arn, arn + "/*"},
			"Condition": map[string]any{"Bool": map[string]string{"aws:SecureTransport": "false"}},
		}},
	})
	return string(data), err
}

// inRegion makes a call in the bucket's region.
func inRegion(region string) func(*s3.Options) {
	return func(o *s3.Options) { o.Region = region }
}
