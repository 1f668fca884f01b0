package terraform

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/tag"
)

// fakeS3 has at most one bucket. The client is made for us-west-1.
type fakeS3 struct {
	owner, region string // no bucket where region is empty
	tags          []types.Tag
	createErr     error
	elsewhere     int // status of a HEAD in another region; 0 for the redirect

	calls  []string
	policy string
}

func answered(status int, header http.Header) error {
	return &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status, Header: header}}, Err: &smithy.GenericAPIError{Code: http.StatusText(status)},
	}}
}

// note records a call with the region that it goes to.
func (f *fakeS3) note(call string, options []func(*s3.Options)) string {
	o := s3.Options{Region: "us-west-1"}
	for _, option := range options {
		option(&o)
	}
	f.calls = append(f.calls, call+" "+o.Region)
	return o.Region
}

func (f *fakeS3) HeadBucket(_ context.Context, in *s3.HeadBucketInput, o ...func(*s3.Options)) (*s3.HeadBucketOutput, error) {
	switch region := f.note("head", o); {
	case f.region == "":
		return nil, answered(http.StatusNotFound, nil)
	case region != f.region:
		return nil, answered(max(f.elsewhere, http.StatusMovedPermanently), http.Header{regionHeader: {f.region}})
	case aws.ToString(in.ExpectedBucketOwner) != f.owner:
		return nil, answered(http.StatusForbidden, http.Header{regionHeader: {f.region}})
	}
	return &s3.HeadBucketOutput{BucketRegion: aws.String(f.region)}, nil
}

func (f *fakeS3) GetBucketTagging(_ context.Context, _ *s3.GetBucketTaggingInput, o ...func(*s3.Options)) (*s3.GetBucketTaggingOutput, error) {
	f.note("tags", o)
	if f.tags == nil {
		return nil, answered(http.StatusNotFound, nil)
	}
	return &s3.GetBucketTaggingOutput{TagSet: f.tags}, nil
}

func (f *fakeS3) CreateBucket(_ context.Context, in *s3.CreateBucketInput, o ...func(*s3.Options)) (*s3.CreateBucketOutput, error) {
	f.note("create in "+string(in.CreateBucketConfiguration.LocationConstraint)+" from", o)
	return &s3.CreateBucketOutput{}, f.createErr
}

func (f *fakeS3) PutBucketVersioning(_ context.Context, _ *s3.PutBucketVersioningInput, o ...func(*s3.Options)) (*s3.PutBucketVersioningOutput, error) {
	f.note("versioning", o)
	return &s3.PutBucketVersioningOutput{}, nil
}

func (f *fakeS3) PutPublicAccessBlock(_ context.Context, _ *s3.PutPublicAccessBlockInput, o ...func(*s3.Options)) (*s3.PutPublicAccessBlockOutput, error) {
	f.note("private", o)
	return &s3.PutPublicAccessBlockOutput{}, nil
}

func (f *fakeS3) PutBucketPolicy(_ context.Context, in *s3.PutBucketPolicyInput, o ...func(*s3.Options)) (*s3.PutBucketPolicyOutput, error) {
	f.note("policy", o)
	f.policy = aws.ToString(in.Policy)
	return &s3.PutBucketPolicyOutput{}, nil
}

func TestMakeBucket(t *testing.T) {
	ours := []types.Tag{{Key: aws.String(tag.State), Value: aws.String("terraform")}}
	for name, test := range map[string]struct {
		fake    fakeS3
		region  string
		want    []string
		made    bool
		wantErr string
	}{
		"new": {
			region: "us-west-1", made: true,
			want: []string{"head us-west-1", "create in us-west-1 from us-west-1", "versioning us-west-1", "private us-west-1", "policy us-west-1"},
		},
		"new in the oldest region": {
			region: "us-east-1", made: true,
			want: []string{"head us-west-1", "create in  from us-west-1", "versioning us-east-1", "private us-east-1", "policy us-east-1"},
		},
		"again": {
			fake: fakeS3{owner: "1", region: "us-west-1", tags: ours}, region: "us-west-1", made: true,
			want: []string{"head us-west-1", "tags us-west-1", "versioning us-west-1", "private us-west-1", "policy us-west-1"},
		},
		"again from another region": {
			fake: fakeS3{owner: "1", region: "eu-west-1", tags: ours}, region: "us-west-1", made: true,
			want: []string{"head us-west-1", "head eu-west-1", "tags eu-west-1", "versioning eu-west-1", "private eu-west-1", "policy eu-west-1"},
		},
		"somebody else's of the same account": {
			fake: fakeS3{owner: "1", region: "us-west-1"}, region: "us-west-1",
			want: []string{"head us-west-1", "tags us-west-1"},
		},
		"another account's": {
			fake: fakeS3{owner: "2", region: "us-west-1", tags: ours}, region: "us-west-1",
			want:    []string{"head us-west-1"},
			wantErr: `find the bucket "states": it belongs to another account than 1, or these credentials may not see it: choose another name, or ask for s3:ListBucket on it`,
		},
		"another account was quicker": {
			fake: fakeS3{createErr: &types.BucketAlreadyExists{}}, region: "us-west-1",
			want:    []string{"head us-west-1", "create in us-west-1 from us-west-1"},
			wantErr: `make the bucket "states": another account has one of that name: choose another`,
		},
		"another run was quicker": {
			fake: fakeS3{createErr: &types.BucketAlreadyOwnedByYou{}}, region: "us-west-1", made: true,
			want: []string{"head us-west-1", "create in us-west-1 from us-west-1", "versioning us-west-1", "private us-west-1", "policy us-west-1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := makeBucket(t.Context(), &test.fake, "states", "1", test.region)
			if made != test.made || message(err) != test.wantErr {
				t.Errorf("MakeBucket = %v, %v", made, err)
			}
			if diff := cmp.Diff(test.want, test.fake.calls); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFindBucket(t *testing.T) {
	if _, err := findBucket(t.Context(), &fakeS3{}, "states", "1"); !errors.Is(err, ErrNoBucket) {
		t.Errorf("error = %v", err)
	}
	region, err := findBucket(t.Context(), &fakeS3{owner: "1", region: "eu-west-1"}, "states", "1")
	if err != nil || region != "eu-west-1" {
		t.Errorf("FindBucket = %q, %v", region, err)
	}
	region, err = findBucket(t.Context(), &fakeS3{owner: "1", region: "eu-west-1", elsewhere: http.StatusBadRequest}, "states", "1")
	if err != nil || region != "eu-west-1" {
		t.Errorf("FindBucket = %q, %v where S3 answers 400 in another region", region, err)
	}
}

func TestTLSOnly(t *testing.T) {
	for region, arn := range map[string]string{"us-west-1": "arn:aws:s3:::states", "cn-north-1": "arn:aws-cn:s3:::states", "us-gov-west-1": "arn:aws-us-gov:s3:::states"} {
		policy, err := tlsOnlyPolicy("states", region)
		want := `{"Statement":[{"Action":"s3:*","Condition":{"Bool":{"aws:SecureTransport":"false"}},"Effect":"Deny","Principal":"*",` +
			`"Resource":["` + arn + `","` + arn + `/*"],"Sid":"TLSOnly"}],"Version":"2012-10-17"}`
		if err != nil || policy != want {
			t.Errorf("%s: %s, %v", region, policy, err)
		}
	}
}
