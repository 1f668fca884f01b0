package codedeploy

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The golden file shows what is in the bundle and the digest of its very bytes: a change of either is a new revision.
func TestBundle(t *testing.T) {
	bundle, err := makeBundle()
	if err != nil {
		t.Fatal(err)
	}
	again, err := makeBundle()
	if err != nil || !bytes.Equal(bundle, again) {
		t.Fatalf("the second bundle is another one (%v)", err)
	}
	r, err := zip.NewReader(bytes.NewReader(bundle), int64(len(bundle)))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "sha256 %x\n", sha256.Sum256(bundle))
	for _, f := range r.File {
		data, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		contents, err := io.ReadAll(data)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "\n-- %s %s %s --\n%s", f.Name, f.Mode(), f.Modified.UTC().Format("2006-01-02T15:04:05"), contents)
	}
	golden := filepath.Join("testdata", "revision.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("the revision changed; if that is wanted: go test ./pkg/codedeploy -update\n%s", diff)
	}
}

// bucket is the S3 and SSM of one object.
type bucket struct {
	object  *s3.HeadObjectOutput
	put     func(b *bucket) error // before an upload
	uploads int
	none    bool // there is no bucket
}

func (b *bucket) HeadObject(context.Context, *s3.HeadObjectInput, ...func(*s3.Options)) (*s3.HeadObjectOutput, error) {
	if b.object == nil {
		return nil, &s3types.NotFound{}
	}
	return b.object, nil
}

func (b *bucket) PutObject(_ context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	if b.put != nil {
		if err := b.put(b); err != nil {
			return nil, err
		}
	}
	if b.object != nil && aws.ToString(in.IfNoneMatch) == "*" {
		return nil, &smithy.GenericAPIError{Code: "PreconditionFailed"}
	}
	data, err := io.ReadAll(in.Body)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	if checksum := base64.StdEncoding.EncodeToString(sum[:]); checksum != *in.ChecksumSHA256 || *in.Key != hex.EncodeToString(sum[:])+".zip" {
		return nil, fmt.Errorf("key %q and checksum %q are of other bytes", *in.Key, *in.ChecksumSHA256)
	}
	b.uploads++
	b.object = &s3.HeadObjectOutput{ChecksumSHA256: in.ChecksumSHA256, ETag: aws.String(`"e"`), VersionId: aws.String("v")}
	return &s3.PutObjectOutput{ETag: b.object.ETag, VersionId: b.object.VersionId}, nil
}

func (b *bucket) GetParameter(_ context.Context, in *ssm.GetParameterInput, _ ...func(*ssm.Options)) (*ssm.GetParameterOutput, error) {
	if b.none || *in.Name != "/ingot/hello/revisions" {
		return nil, &ssmtypes.ParameterNotFound{}
	}
	return &ssm.GetParameterOutput{Parameter: &ssmtypes.Parameter{Value: aws.String("hello-revisions-1")}}, nil
}

func (b *bucket) client() *Client {
	return newClient(clients{objects: b, parameters: b}, Options{App: "hello"})
}

func TestEnsure(t *testing.T) {
	b := &bucket{}
	first, err := b.client().Ensure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.client().Ensure(t.Context())
	if err != nil || first != second || b.uploads != 1 {
		t.Errorf("first %+v, second %+v (%v), %d uploads", first, second, err, b.uploads)
	}
	if first.Bucket != "hello-revisions-1" || first.ETag != "e" || first.Version != "v" {
		t.Errorf("revision %+v", first)
	}
}

func TestEnsureWhileAnotherDoes(t *testing.T) {
	b := &bucket{put: func(b *bucket) error {
		b.put = nil
		_, err := b.client().Ensure(context.Background())
		return err
	}}
	revision, err := b.client().Ensure(t.Context())
	if err != nil || b.uploads != 1 || revision.Version != "v" {
		t.Errorf("revision %+v, %v, %d uploads", revision, err, b.uploads)
	}
}

func TestEnsureErrors(t *testing.T) {
	tests := map[string]struct {
		bucket   *bucket
		want     string
		notSetUp bool
	}{
		"no infrastructure": {bucket: &bucket{none: true}, want: "CodeDeploy is not set up", notSetUp: true},
		"another object":    {bucket: &bucket{object: &s3.HeadObjectOutput{ChecksumSHA256: aws.String("other")}}, want: `checksum "other", not the`},
		"no permission":     {bucket: &bucket{put: func(*bucket) error { return errors.New("AccessDenied") }}, want: `to bucket "hello-revisions-1": AccessDenied`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := test.bucket.client().Ensure(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, ErrNotSetUp) != test.notSetUp {
				t.Errorf("error %v", err)
			}
		})
	}
}
