package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/s3"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const region = "us-west-1"

// fixture is a service with a client.
type fixture struct {
	*awss3.Client
	options s3.Options
	url     string
}

func start(t *testing.T) fixture {
	options := s3.Options{Account: "012345678901", Region: region, Store: store.Memory(), Dir: t.TempDir()}
	service, err := s3.New(options)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(wire.New(wire.Options{Region: region, AccessKeyID: "AKIA", SecretAccessKey: "secret"}, service.API()))
	t.Cleanup(server.Close)
	client := awss3.New(awss3.Options{
		Region: region, BaseEndpoint: &server.URL, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", ""),
	})
	return fixture{client, options, server.URL}
}

func (f fixture) createBucket(t *testing.T, name string) {
	t.Helper()
	_, err := f.CreateBucket(t.Context(), &awss3.CreateBucketInput{
		Bucket: &name, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: region},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (f fixture) put(t *testing.T, key, body string) *awss3.PutObjectOutput {
	t.Helper()
	out, err := f.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("bucket"), Key: &key, Body: strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestObject(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	body := strings.Repeat("0123456789", 100_000)
	_, err := f.PutObject(t.Context(), &awss3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("a b/+%ü"), Body: strings.NewReader(body), ContentType: aws.String("text/plain"),
		Metadata: map[string]string{"release": "1"}, ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a b/+%ü")})
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if string(content) != body {
		t.Errorf("got %d bytes that differ", len(content))
	}
	if aws.ToString(got.ContentType) != "text/plain" || got.Metadata["release"] != "1" {
		t.Errorf("content type %q, metadata %v", aws.ToString(got.ContentType), got.Metadata)
	}
	part, err := f.GetObject(t.Context(), &awss3.GetObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("a b/+%ü"), Range: aws.String("bytes=3-5"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if content, _ := io.ReadAll(part.Body); string(content) != "345" {
		t.Errorf("range = %q, want 345", content)
	}
	_, err = f.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a b/+%ü")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a b/+%ü")})
	if code(err) != "NoSuchKey" {
		t.Errorf("get of a deleted object: %v", err)
	}
	if left, _ := os.ReadDir(f.options.Dir); len(left) != 0 {
		t.Errorf("after the delete %d files are left", len(left))
	}
}

func TestStateSurvives(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	f.put(t, "key", "body")
	if err := os.WriteFile(f.options.Dir+"/left-by-a-kill", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s3.New(f.options); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(f.options.Dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("files after a restart: %v, %v; want the object's alone", entries, err)
	}
}

func TestConditionalWrites(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	lock := &awss3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("state.tflock"), Body: strings.NewReader("1"), IfNoneMatch: aws.String("*"),
	}
	first, err := f.PutObject(t.Context(), lock)
	if err != nil {
		t.Fatal(err)
	}
	lock.Body = strings.NewReader("2")
	if _, err := f.PutObject(t.Context(), lock); code(err) != "PreconditionFailed" {
		t.Errorf("put over an object with If-None-Match: %v", err)
	}
	_, err = f.DeleteObject(t.Context(), &awss3.DeleteObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("state.tflock"), IfMatch: aws.String(`"other"`),
	})
	if code(err) != "PreconditionFailed" {
		t.Errorf("delete with another ETag: %v", err)
	}
	_, err = f.DeleteObject(t.Context(), &awss3.DeleteObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("state.tflock"), IfMatch: first.ETag,
	})
	if err != nil {
		t.Errorf("delete with the ETag: %v", err)
	}
}

func TestVersions(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	f.put(t, "key", "unversioned")
	_, err := f.PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{
		Bucket: aws.String("bucket"), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	first := f.put(t, "key", "first")
	f.put(t, "key", "second")
	marker, err := f.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key")})
	if err != nil {
		t.Fatal(err)
	}
	if !aws.ToBool(marker.DeleteMarker) {
		t.Error("a delete in a versioned bucket makes no delete marker")
	}
	if _, err := f.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key")}); code(err) != "NotFound" {
		t.Errorf("head of a deleted object: %v", err)
	}
	for version, want := range map[string]string{aws.ToString(first.VersionId): "first", "null": "unversioned"} {
		got, err := f.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key"), VersionId: &version})
		if err != nil {
			t.Fatal(err)
		}
		if content, _ := io.ReadAll(got.Body); string(content) != want {
			t.Errorf("version %s = %q, want %q", version, content, want)
		}
	}
	if _, err := f.DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: aws.String("bucket")}); code(err) != "BucketNotEmpty" {
		t.Errorf("delete of a bucket with versions: %v", err)
	}
	// What Terraform does with force_destroy.
	list, err := f.ListObjectVersions(t.Context(), &awss3.ListObjectVersionsInput{Bucket: aws.String("bucket")})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Versions) != 3 || len(list.DeleteMarkers) != 1 {
		t.Errorf("%d versions and %d delete markers, want 3 and 1", len(list.Versions), len(list.DeleteMarkers))
	}
	var all []types.ObjectIdentifier
	for _, v := range list.Versions {
		all = append(all, types.ObjectIdentifier{Key: v.Key, VersionId: v.VersionId})
	}
	for _, m := range list.DeleteMarkers {
		all = append(all, types.ObjectIdentifier{Key: m.Key, VersionId: m.VersionId})
	}
	if _, err := f.DeleteObjects(t.Context(), &awss3.DeleteObjectsInput{Bucket: aws.String("bucket"), Delete: &types.Delete{Objects: all}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.DeleteBucket(t.Context(), &awss3.DeleteBucketInput{Bucket: aws.String("bucket")}); err != nil {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	for _, key := range []string{"a", "dir/1", "dir/2", "dir/sub/3", "z z"} {
		f.put(t, key, key)
	}
	tests := []struct {
		name           string
		in             awss3.ListObjectsV2Input
		keys, prefixes []string
	}{
		{name: "all", keys: []string{"a", "dir/1", "dir/2", "dir/sub/3", "z z"}},
		{name: "in pages", in: awss3.ListObjectsV2Input{MaxKeys: aws.Int32(2)}, keys: []string{"a", "dir/1", "dir/2", "dir/sub/3", "z z"}},
		{name: "root", in: awss3.ListObjectsV2Input{Delimiter: aws.String("/")}, keys: []string{"a", "z z"}, prefixes: []string{"dir/"}},
		{
			name: "root in pages", in: awss3.ListObjectsV2Input{Delimiter: aws.String("/"), MaxKeys: aws.Int32(1)},
			keys: []string{"a", "z z"}, prefixes: []string{"dir/"},
		},
		{
			name: "folder", in: awss3.ListObjectsV2Input{Delimiter: aws.String("/"), Prefix: aws.String("dir/")},
			keys: []string{"dir/1", "dir/2"}, prefixes: []string{"dir/sub/"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.in.Bucket = aws.String("bucket")
			var keys, prefixes []string
			for pages := awss3.NewListObjectsV2Paginator(f, &test.in); pages.HasMorePages(); {
				page, err := pages.NextPage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range page.Contents {
					keys = append(keys, aws.ToString(o.Key))
				}
				for _, p := range page.CommonPrefixes {
					prefixes = append(prefixes, aws.ToString(p.Prefix))
				}
			}
			if diff := cmp.Diff(test.keys, keys); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.prefixes, prefixes); diff != "" {
				t.Errorf("prefixes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBucketErrors(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	name := aws.String("bucket")
	tests := map[string]func() error{
		"BucketAlreadyOwnedByYou": func() error {
			_, err := f.CreateBucket(t.Context(), &awss3.CreateBucketInput{
				Bucket: name, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: region},
			})
			return err
		},
		"IllegalLocationConstraintException": func() error {
			_, err := f.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("other")})
			return err
		},
		"InvalidBucketName": func() error {
			_, err := f.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("Upper_Case")})
			return err
		},
		"NoSuchBucket": func() error {
			_, err := f.GetBucketVersioning(t.Context(), &awss3.GetBucketVersioningInput{Bucket: aws.String("missing")})
			return err
		},
		"NoSuchBucketPolicy": func() error {
			_, err := f.GetBucketPolicy(t.Context(), &awss3.GetBucketPolicyInput{Bucket: name})
			return err
		},
		"NoSuchCORSConfiguration": func() error {
			_, err := f.GetBucketCors(t.Context(), &awss3.GetBucketCorsInput{Bucket: name})
			return err
		},
		"NoSuchLifecycleConfiguration": func() error {
			_, err := f.GetBucketLifecycleConfiguration(t.Context(), &awss3.GetBucketLifecycleConfigurationInput{Bucket: name})
			return err
		},
		"NoSuchTagSet": func() error {
			_, err := f.GetBucketTagging(t.Context(), &awss3.GetBucketTaggingInput{Bucket: name})
			return err
		},
		"NoSuchWebsiteConfiguration": func() error {
			_, err := f.GetBucketWebsite(t.Context(), &awss3.GetBucketWebsiteInput{Bucket: name})
			return err
		},
		"NotFound": func() error {
			_, err := f.HeadBucket(t.Context(), &awss3.HeadBucketInput{Bucket: aws.String("missing")})
			return err
		},
		"NotImplemented": func() error {
			_, err := f.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: name, Key: aws.String("key")})
			return err
		},
		"ObjectLockConfigurationNotFoundError": func() error {
			_, err := f.GetObjectLockConfiguration(t.Context(), &awss3.GetObjectLockConfigurationInput{Bucket: name})
			return err
		},
		"ReplicationConfigurationNotFoundError": func() error {
			_, err := f.GetBucketReplication(t.Context(), &awss3.GetBucketReplicationInput{Bucket: name})
			return err
		},
	}
	for want, call := range tests {
		if err := call(); code(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestSettings(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	name := aws.String("bucket")
	ctx := t.Context()
	policy := `{"Version":"2012-10-17","Statement":[]}`
	if _, err := f.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: name, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	gotPolicy, err := f.GetBucketPolicy(ctx, &awss3.GetBucketPolicyInput{Bucket: name})
	if err != nil || aws.ToString(gotPolicy.Policy) != policy {
		t.Errorf("policy = %v, %v", gotPolicy, err)
	}
	rules := []types.LifecycleRule{{
		ID: aws.String("old"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
		Expiration: &types.LifecycleExpiration{Days: aws.Int32(30)},
	}}
	_, err = f.PutBucketLifecycleConfiguration(ctx, &awss3.PutBucketLifecycleConfigurationInput{
		Bucket: name, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: rules},
	})
	if err != nil {
		t.Fatal(err)
	}
	lifecycle, err := f.GetBucketLifecycleConfiguration(ctx, &awss3.GetBucketLifecycleConfigurationInput{Bucket: name})
	if err != nil {
		t.Fatal(err)
	}
	if len(lifecycle.Rules) != 1 || aws.ToInt32(lifecycle.Rules[0].Expiration.Days) != 30 ||
		lifecycle.TransitionDefaultMinimumObjectSize != types.TransitionDefaultMinimumObjectSizeAllStorageClasses128k {
		t.Errorf("lifecycle = %+v", lifecycle)
	}
	encryption, err := f.GetBucketEncryption(ctx, &awss3.GetBucketEncryptionInput{Bucket: name})
	if err != nil {
		t.Fatal(err)
	}
	if got := encryption.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm; got != types.ServerSideEncryptionAes256 {
		t.Errorf("encryption of a new bucket = %s", got)
	}
	block, err := f.GetPublicAccessBlock(ctx, &awss3.GetPublicAccessBlockInput{Bucket: name})
	if err != nil || !aws.ToBool(block.PublicAccessBlockConfiguration.BlockPublicPolicy) {
		t.Errorf("public access block of a new bucket = %+v, %v", block, err)
	}
	acl, err := f.GetBucketAcl(ctx, &awss3.GetBucketAclInput{Bucket: name})
	if err != nil || len(acl.Grants) != 1 || acl.Grants[0].Permission != types.PermissionFullControl || acl.Grants[0].Grantee.Type != types.TypeCanonicalUser {
		t.Errorf("acl = %+v, %v", acl, err)
	}
	location, err := f.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: name})
	if err != nil || location.LocationConstraint != region {
		t.Errorf("location = %+v, %v", location, err)
	}
	_, err = f.PutBucketTagging(ctx, &awss3.PutBucketTaggingInput{
		Bucket: name, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("k"), Value: aws.String("<&>")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tags, err := f.GetBucketTagging(ctx, &awss3.GetBucketTaggingInput{Bucket: name})
	if err != nil || len(tags.TagSet) != 1 || aws.ToString(tags.TagSet[0].Value) != "<&>" {
		t.Errorf("tags = %+v, %v", tags, err)
	}
}

// TestBodies puts a body in each of the forms that clients use.
func TestBodies(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	presigned, err := awss3.NewPresignClient(f.Client).PresignPutObject(t.Context(), &awss3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("key"),
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, presigned.URL, bytes.NewReader([]byte("presigned")))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Errorf("presigned put: %s %s", resp.Status, body)
	}
	get, err := awss3.NewPresignClient(f.Client).PresignGetObject(t.Context(), &awss3.GetObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("key"),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := http.Get(get.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	if body, _ := io.ReadAll(got.Body); string(body) != "presigned" {
		t.Errorf("presigned get: %s %q", got.Status, body)
	}
	if got, err = http.Get(strings.Replace(get.URL, "/key", "/other", 1)); err == nil {
		got.Body.Close()
	}
	if err != nil || got.StatusCode != http.StatusForbidden {
		t.Errorf("get of another key with a presigned URL: %v, %v", got, err)
	}
}
