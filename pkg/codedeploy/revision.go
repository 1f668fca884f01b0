package codedeploy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/codedeploy/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"

	"github.com/ingot-build/ingot/pkg/progress"
)

type objectAPI interface {
	HeadObject(context.Context, *s3.HeadObjectInput, ...func(*s3.Options)) (*s3.HeadObjectOutput, error)
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
}

type parameterAPI interface {
	GetParameter(context.Context, *ssm.GetParameterInput, ...func(*ssm.Options)) (*ssm.GetParameterOutput, error)
}

// Revision is a bundle in the bucket of revisions. ETag and Version pin the very bytes: whoever can write to the bucket
// cannot slip others under the key.
type Revision struct {
	Bucket  string
	Key     string // the SHA-256 digest of the bundle in hex, and ".zip"
	ETag    string
	Version string
}

// BucketParameter is the SSM parameter that holds the name of the bucket of an application's revisions.
func BucketParameter(app string) string { return "/ingot/" + app + "/revisions" }

// Ensure returns the revision, and uploads it where the bucket does not hold it yet. Where there is no bucket, the error
// wraps ErrNotSetUp.
func (c *Client) Ensure(ctx context.Context) (revision Revision, err error) {
	stage := progress.Start(ctx, "put the CodeDeploy revision in place")
	defer stage.End(&err)
	bundle, err := makeBundle()
	if err != nil {
		return Revision{}, err
	}
	bucket, err := c.bucket(ctx)
	if err != nil {
		return Revision{}, err
	}
	sum := sha256.Sum256(bundle)
	revision = Revision{Bucket: bucket, Key: hex.EncodeToString(sum[:]) + ".zip"}
	checksum := base64.StdEncoding.EncodeToString(sum[:])
	found, err := c.findRevision(ctx, &revision, checksum)
	if found || err != nil {
		return revision, err
	}
	out, err := c.objects.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &revision.Bucket, Key: &revision.Key, Body: bytes.NewReader(bundle), ContentType: aws.String("application/zip"),
		ChecksumAlgorithm: s3types.ChecksumAlgorithmSha256, ChecksumSHA256: &checksum, IfNoneMatch: aws.String("*"),
	})
	if e, ok := errors.AsType[smithy.APIError](err); ok && (e.ErrorCode() == "PreconditionFailed" || e.ErrorCode() == "ConditionalRequestConflict") {
		// Another run put it there a moment ago.
		if found, err = c.findRevision(ctx, &revision, checksum); found || err != nil {
			return revision, err
		}
		return Revision{}, fmt.Errorf("upload revision %q: it came and went", revision.Key)
	}
	if err != nil {
		return Revision{}, fmt.Errorf("upload revision %q to bucket %q: %w", revision.Key, bucket, err)
	}
	revision.pin(out.ETag, out.VersionId)
	return revision, nil
}

func (c *Client) bucket(ctx context.Context) (string, error) {
	name := BucketParameter(c.app)
	out, err := c.parameters.GetParameter(ctx, &ssm.GetParameterInput{Name: &name})
	if _, none := errors.AsType[*ssmtypes.ParameterNotFound](err); none {
		return "", fmt.Errorf("get parameter %q: %w", name, ErrNotSetUp)
	}
	if err != nil {
		return "", fmt.Errorf("get parameter %q: %w", name, err)
	}
	return aws.ToString(out.Parameter.Value), nil
}

// findRevision looks for the object, and fails where it is not what its name says.
func (c *Client) findRevision(ctx context.Context, revision *Revision, checksum string) (found bool, err error) {
	out, err := c.objects.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &revision.Bucket, Key: &revision.Key, ChecksumMode: s3types.ChecksumModeEnabled})
	if _, none := errors.AsType[*s3types.NotFound](err); none {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for revision %q in bucket %q: %w", revision.Key, revision.Bucket, err)
	}
	if got := aws.ToString(out.ChecksumSHA256); got != checksum {
		return false, fmt.Errorf("revision s3://%s/%s has the SHA-256 checksum %q, not the %q that its name says: find out who wrote it, and remove it", revision.Bucket, revision.Key, got, checksum)
	}
	revision.pin(out.ETag, out.VersionId)
	return true, nil
}

func (r *Revision) pin(etag, version *string) {
	r.ETag, r.Version = strings.Trim(aws.ToString(etag), `"`), aws.ToString(version)
}

// location is the revision as CodeDeploy wants it.
func (r Revision) location() *types.RevisionLocation {
	location := &types.S3Location{Bucket: &r.Bucket, Key: &r.Key, BundleType: types.BundleTypeZip}
	if r.ETag != "" {
		location.ETag = &r.ETag
	}
	if r.Version != "" {
		location.Version = &r.Version
	}
	return &types.RevisionLocation{RevisionType: types.RevisionLocationTypeS3, S3Location: location}
}

// isOf tells whether a deployment is one of this revision. The key is a digest, so it says all.
func (r Revision) isOf(location *types.RevisionLocation) bool {
	return location != nil && location.S3Location != nil &&
		aws.ToString(location.S3Location.Bucket) == r.Bucket && aws.ToString(location.S3Location.Key) == r.Key
}
