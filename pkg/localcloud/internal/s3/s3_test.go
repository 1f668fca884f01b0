package s3_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
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

// presignedGet asks for the object "key" of the bucket "bucket" as no SDK does: with the answer as it is.
func (f fixture) presignedGet(t *testing.T, method string, in *awss3.GetObjectInput, header map[string]string) (*http.Response, string) {
	t.Helper()
	in.Bucket, in.Key = aws.String("bucket"), aws.String("key")
	var signed *v4.PresignedHTTPRequest
	var err error
	if client := awss3.NewPresignClient(f.Client); method == http.MethodHead {
		signed, err = client.PresignHeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: in.Bucket, Key: in.Key, ChecksumMode: in.ChecksumMode})
	} else {
		signed, err = client.PresignGetObject(t.Context(), in)
	}
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, signed.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range signed.SignedHeader {
		req.Header[name] = values
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestAnswersWithoutContent asks for what an object is not.
func TestAnswersWithoutContent(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	put, err := f.PutObject(t.Context(), &awss3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("key"), Body: strings.NewReader("0123456789"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
		Metadata: map[string]string{"Release-ID": "1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, method string
		header       map[string]string
		status       int
		checksum     bool
		body         string
	}{
		{"whole", "GET", nil, 200, true, "0123456789"},
		{"head", "HEAD", nil, 200, true, ""},
		{"part", "GET", map[string]string{"Range": "bytes=3-5"}, 206, false, "345"},
		{"parts", "GET", map[string]string{"Range": "bytes=3-5,7-8"}, 200, true, "0123456789"},
		{"not modified", "GET", map[string]string{"If-None-Match": *put.ETag}, 304, false, ""},
		{"not modified, head", "HEAD", map[string]string{"If-None-Match": *put.ETag}, 304, false, ""},
		{"another", "GET", map[string]string{"If-Match": `"other"`}, 412, false, "<Code>PreconditionFailed</Code>"},
		{"another, head", "HEAD", map[string]string{"If-Match": `"other"`}, 412, false, ""},
		{"beyond", "GET", map[string]string{"Range": "bytes=10-"}, 416, false, "<Code>InvalidRange</Code>"},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp, body := f.presignedGet(t, test.method, &awss3.GetObjectInput{ChecksumMode: types.ChecksumModeEnabled}, test.header)
			if resp.StatusCode != test.status || !strings.Contains(body, test.body) || test.body == "" && body != "" {
				t.Errorf("%s %q, want %d %q", resp.Status, body, test.status, test.body)
			}
			if got := resp.Header.Get("X-Amz-Checksum-Sha256") != ""; got != test.checksum {
				t.Errorf("a checksum: %v, want %v", got, test.checksum)
			}
			if resp.Header.Get("X-Amz-Id-2") == "" || resp.Header.Get("X-Amz-Request-Id") == "" {
				t.Errorf("no IDs: %v", resp.Header)
			}
			if test.status >= 400 && (test.body != "" && resp.Header.Get("Content-Type") != "application/xml" || resp.Header.Get("X-Amz-Meta-Release-Id") != "") {
				t.Errorf("headers of an error: %v", resp.Header)
			}
		})
	}
}

// TestMetadataNames looks at the bytes of an answer: names of metadata are in lower case, as clients know them.
func TestMetadataNames(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	_, err := f.PutObject(t.Context(), &awss3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("key"), Body: strings.NewReader(""), Metadata: map[string]string{"Release-ID": "1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := awss3.NewPresignClient(f.Client).PresignGetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key")})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodGet, signed.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", req.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	req.Close = true
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !bytes.Contains(answer, []byte("\r\nx-amz-meta-release-id: 1\r\n")) {
		t.Errorf("%s, %v", answer, err)
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
			_, err := f.ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: name})
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

// TestMultipart uploads in parts, as the AWS CLI does with what is larger than 8 MB.
func TestMultipart(t *testing.T) {
	first, last := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16), []byte("the end")
	for _, test := range []struct {
		algorithm types.ChecksumAlgorithm
		kind      types.ChecksumType
	}{
		{"", ""}, {types.ChecksumAlgorithmCrc32, types.ChecksumTypeComposite}, {types.ChecksumAlgorithmSha256, types.ChecksumTypeComposite},
		{types.ChecksumAlgorithmCrc32c, types.ChecksumTypeFullObject}, {types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeFullObject},
	} {
		t.Run(string(test.algorithm+" "+types.ChecksumAlgorithm(test.kind)), func(t *testing.T) {
			f := start(t)
			f.createBucket(t, "bucket")
			ctx, bucket, key := t.Context(), aws.String("bucket"), aws.String("a b/large")
			made, err := f.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{
				Bucket: bucket, Key: key, ContentType: aws.String("text/plain"), Metadata: map[string]string{"release": "1"}, ChecksumAlgorithm: test.algorithm,
				ChecksumType: test.kind,
			})
			if err != nil {
				t.Fatal(err)
			}
			upload := func(number int32, body []byte) types.CompletedPart {
				out, err := f.UploadPart(ctx, &awss3.UploadPartInput{
					Bucket: bucket, Key: key, UploadId: made.UploadId, PartNumber: &number, Body: bytes.NewReader(body), ChecksumAlgorithm: test.algorithm,
				})
				if err != nil {
					t.Fatal(err)
				}
				return types.CompletedPart{
					PartNumber: &number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32, ChecksumSHA256: out.ChecksumSHA256,
					ChecksumCRC32C: out.ChecksumCRC32C, ChecksumCRC64NVME: out.ChecksumCRC64NVME,
				}
			}
			one := upload(1, first)
			upload(3, []byte("another end"))
			three := upload(3, last) // in its place
			two := upload(2, last)   // which is not asked for
			complete := func(parts ...types.CompletedPart) (*awss3.CompleteMultipartUploadOutput, error) {
				return f.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
					Bucket: bucket, Key: key, UploadId: made.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
				})
			}
			wrong := one
			wrong.ETag = three.ETag
			for want, parts := range map[string][]types.CompletedPart{
				"InvalidPartOrder": {three, one}, "InvalidPart": {wrong}, "EntityTooSmall": {two, three}, "MalformedXML": {},
			} {
				if _, err := complete(parts...); code(err) != want {
					t.Errorf("complete: %v, want %s", err, want)
				}
			}
			if _, err := f.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: key}); code(err) != "NotFound" {
				t.Errorf("head of what is not complete: %v", err)
			}
			if _, err := s3.New(f.options); err != nil { // as a start does, which keeps the parts
				t.Fatal(err)
			}
			out, err := complete(one, three)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(aws.ToString(out.ETag), `-2"`) {
				t.Errorf("ETag %s", aws.ToString(out.ETag))
			}
			got, err := f.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key, ChecksumMode: types.ChecksumModeEnabled})
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(got.Body) // which the SDK checks
			if err != nil || !bytes.Equal(content, append(first[:len(first):len(first)], last...)) {
				t.Errorf("%d bytes that differ, %v", len(content), err)
			}
			if aws.ToString(got.ContentType) != "text/plain" || got.Metadata["release"] != "1" || aws.ToString(got.ETag) != aws.ToString(out.ETag) ||
				test.kind != "" && got.ChecksumType != test.kind {
				t.Errorf("object: %+v", got)
			}
			if _, err := complete(one, three); code(err) != "NoSuchUpload" {
				t.Errorf("complete again: %v", err)
			}
			if left, _ := os.ReadDir(f.options.Dir); len(left) != 1 {
				t.Errorf("%d files are left, want the object's", len(left))
			}
		})
	}
}

func TestAbortMultipart(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	ctx, bucket, key := t.Context(), aws.String("bucket"), aws.String("key")
	for _, end := range []func(id *string) error{
		func(id *string) error {
			_, err := f.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: bucket, Key: key, UploadId: id})
			return err
		},
		func(*string) error {
			_, err := f.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: bucket})
			return err
		},
	} {
		made, err := f.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		part := &awss3.UploadPartInput{Bucket: bucket, Key: key, UploadId: made.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("x")}
		if _, err := f.UploadPart(ctx, part); err != nil {
			t.Fatal(err)
		}
		part.PartNumber = aws.Int32(10_001)
		if _, err := f.UploadPart(ctx, part); code(err) != "InvalidArgument" {
			t.Errorf("a part too many: %v", err)
		}
		if err := end(made.UploadId); err != nil {
			t.Fatal(err)
		}
		part.PartNumber, part.Body = aws.Int32(1), strings.NewReader("x")
		if _, err := f.UploadPart(ctx, part); code(err) != "NoSuchUpload" && code(err) != "NoSuchBucket" {
			t.Errorf("a part of what has ended: %v", err)
		}
		if left, _ := os.ReadDir(f.options.Dir); len(left) != 0 {
			t.Errorf("%d files are left", len(left))
		}
	}
}

// TestCopyInParts is what `aws s3 mv` does with what is larger than 8 MB.
func TestCopyInParts(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	ctx, bucket, key, source := t.Context(), aws.String("bucket"), aws.String("copy"), aws.String("bucket/large")
	body := strings.Repeat("0123456789abcdef", 5<<20/16) + "the end"
	f.put(t, "large", body)
	made, err := f.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: bucket, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for number, part := range map[int32]string{1: "bytes=0-5242879", 2: "bytes=5242880-5242886", 3: "bytes=5242880-5242887", 4: "bytes=x"} {
		out, err := f.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{
			Bucket: bucket, Key: key, UploadId: made.UploadId, PartNumber: &number, CopySource: source, CopySourceRange: &part,
		})
		if number > 2 {
			if code(err) != "InvalidArgument" {
				t.Errorf("%s: %v", part, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: &number, ETag: out.CopyPartResult.ETag, ChecksumCRC32: out.CopyPartResult.ChecksumCRC32})
	}
	slices.SortFunc(parts, func(a, b types.CompletedPart) int { return int(*a.PartNumber - *b.PartNumber) })
	_, err = f.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: key, UploadId: made.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.GetObject(ctx, &awss3.GetObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(got.Body); err != nil || string(content) != body {
		t.Errorf("%d bytes that differ, %v", len(content), err)
	}
}

func TestCopy(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	f.createBucket(t, "other")
	ctx := t.Context()
	put, err := f.PutObject(ctx, &awss3.PutObjectInput{
		Bucket: aws.String("bucket"), Key: aws.String("a b+ü"), Body: strings.NewReader("content"), ContentType: aws.String("text/plain"),
		Metadata: map[string]string{"release": "1"}, ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	if err != nil {
		t.Fatal(err)
	}
	source := "bucket/" + url.PathEscape("a b+ü")
	copied, err := f.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("other"), Key: aws.String("copy"), CopySource: &source})
	if err != nil {
		t.Fatal(err)
	}
	if r := copied.CopyObjectResult; aws.ToString(r.ETag) != aws.ToString(put.ETag) || aws.ToString(r.ChecksumSHA256) != aws.ToString(put.ChecksumSHA256) || r.LastModified == nil {
		t.Errorf("result: %+v", r)
	}
	_, err = f.CopyObject(ctx, &awss3.CopyObjectInput{
		Bucket: aws.String("other"), Key: aws.String("changed"), CopySource: aws.String("/" + source), MetadataDirective: types.MetadataDirectiveReplace,
		Metadata: map[string]string{"release": "2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a b+ü")}); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][2]string{"copy": {"1", "text/plain"}, "changed": {"2", "binary/octet-stream"}} {
		got, err := f.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("other"), Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(got.Body)
		if err != nil || string(content) != "content" || got.Metadata["release"] != want[0] || aws.ToString(got.ContentType) != want[1] {
			t.Errorf("%s: %q %v %s, %v", key, content, got.Metadata, aws.ToString(got.ContentType), err)
		}
	}
	for match, want := range map[string]string{aws.ToString(put.ETag): "<nil>", `"other"`: "PreconditionFailed"} {
		_, err := f.CopyObject(ctx, &awss3.CopyObjectInput{
			Bucket: aws.String("bucket"), Key: aws.String("back"), CopySource: aws.String("other/copy"), CopySourceIfMatch: &match,
		})
		if code(err) != want {
			t.Errorf("copy if it is %s: %v, want %s", match, err, want)
		}
	}
	for from, want := range map[string]string{"bucket/none": "NoSuchKey", "none/key": "NoSuchBucket", "bucket": "InvalidArgument", "other/copy": "InvalidRequest"} {
		_, err := f.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("other"), Key: aws.String("copy"), CopySource: &from})
		if code(err) != want {
			t.Errorf("copy of %s: %v, want %s", from, err, want)
		}
	}
}

// TestPresignedResponse has a presigned URL say how the object is to be answered.
func TestPresignedResponse(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	f.put(t, "key", "content")
	resp, body := f.presignedGet(t, http.MethodGet, &awss3.GetObjectInput{
		ResponseContentType: aws.String("text/html"), ResponseContentDisposition: aws.String(`attachment; filename="a"`),
		ResponseCacheControl: aws.String("no-store"),
	}, nil)
	if body != "content" || resp.Header.Get("Content-Type") != "text/html" || resp.Header.Get("Cache-Control") != "no-store" ||
		resp.Header.Get("Content-Disposition") != `attachment; filename="a"` {
		t.Errorf("%s %q %v", resp.Status, body, resp.Header)
	}
}
