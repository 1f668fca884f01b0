package s3_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/s3"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// TestOpen reads objects as another service of the cloud does.
func TestOpen(t *testing.T) {
	f := start(t)
	f.createBucket(t, "bucket")
	_, err := f.PutBucketVersioning(t.Context(), &awss3.PutBucketVersioningInput{
		Bucket: aws.String("bucket"), VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	first := f.put(t, "key", "one")
	f.put(t, "key", "second")
	service, err := s3.New(f.options)
	if err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{"": "second", aws.ToString(first.VersionId): "one"} {
		o, err := service.Open("bucket", "key", version)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(o)
		if string(got) != want || err != nil || o.Size != int64(len(want)) {
			t.Errorf("version %q: %q, %v", version, got, err)
		}
		if version != "" && o.ETag != strings.Trim(aws.ToString(first.ETag), `"`) {
			t.Errorf("ETag %s", o.ETag)
		}
		o.Close()
	}
	if _, err := f.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: aws.String("bucket"), Key: aws.String("key")}); err != nil {
		t.Fatal(err)
	}
	for _, test := range [][3]string{{"bucket", "key", ""}, {"bucket", "none", ""}, {"none", "key", ""}, {"bucket", "key", "none"}} {
		service, err := s3.New(f.options)
		if err != nil {
			t.Fatal(err)
		}
		_, err = service.Open(test[0], test[1], test[2])
		if e, ok := errors.AsType[*wire.Error](err); !ok || !strings.HasPrefix(e.Code, "NoSuch") {
			t.Errorf("%v: %v", test, err)
		}
	}
}
