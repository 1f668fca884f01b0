package ssm_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsssm "github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/ssm/types"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/ssm"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// start starts a service and returns a client of it.
func start(t *testing.T, docs store.Store) *awsssm.Client {
	t.Helper()
	service, err := ssm.New(ssm.Options{
		Account: "012345678901", Region: "us-west-1", UserARN: "arn:aws:iam::012345678901:user/local", Store: docs,
		Public: func(_ context.Context, name string) (string, bool, error) {
			return "ami-0123456789abcdef0", name == "/aws/service/debian/release/13/latest/amd64", nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(wire.Handler(service.API()))
	t.Cleanup(server.Close)
	return awsssm.New(awsssm.Options{
		Region: "us-west-1", BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", ""),
	})
}

func put(t *testing.T, c *awsssm.Client, name, value string, overwrite bool) int64 {
	t.Helper()
	in := &awsssm.PutParameterInput{Name: &name, Value: &value, Overwrite: &overwrite}
	if !overwrite {
		in.Type = types.ParameterTypeString
	}
	out, err := c.PutParameter(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out.Version
}

func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestVersions(t *testing.T) {
	docs := store.Memory()
	c := start(t, docs)
	put(t, c, "/ingot/hello/release", "one", false)
	if version := put(t, c, "/ingot/hello/release", "two", true); version != 2 {
		t.Errorf("second version is %d", version)
	}
	c = start(t, docs) // the state survives
	for name, want := range map[string]string{
		"/ingot/hello/release": "two", "/ingot/hello/release:1": "one",
		"arn:aws:ssm:us-west-1:012345678901:parameter/ingot/hello/release": "two",
	} {
		out, err := c.GetParameter(t.Context(), &awsssm.GetParameterInput{Name: &name})
		if err != nil {
			t.Fatal(err)
		}
		if got := aws.ToString(out.Parameter.Value); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	var values []string
	pages := awsssm.NewGetParameterHistoryPaginator(c, &awsssm.GetParameterHistoryInput{
		Name: aws.String("/ingot/hello/release"), MaxResults: aws.Int32(1),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range page.Parameters {
			values = append(values, fmt.Sprint(v.Version, aws.ToString(v.Value)))
		}
	}
	if diff := cmp.Diff([]string{"1one", "2two"}, values); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	c := start(t, store.Memory())
	put(t, c, "p", "0", false)
	for i := range 100 {
		put(t, c, "p", fmt.Sprint(i+1), true)
	}
	_, err := c.GetParameter(t.Context(), &awsssm.GetParameterInput{Name: aws.String("p:1")})
	if code(err) != "ParameterVersionNotFound" {
		t.Errorf("the first of 101 versions: %v", err)
	}
}

func TestPublicParameter(t *testing.T) {
	c := start(t, store.Memory())
	out, err := c.GetParameter(t.Context(), &awsssm.GetParameterInput{Name: aws.String("/aws/service/debian/release/13/latest/amd64")})
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToString(out.Parameter.Value); got != "ami-0123456789abcdef0" {
		t.Errorf("value = %q", got)
	}
	_, err = c.GetParameter(t.Context(), &awsssm.GetParameterInput{Name: aws.String("/aws/service/debian/release/99/latest/amd64")})
	if code(err) != "ParameterNotFound" {
		t.Errorf("a public parameter that does not exist: %v", err)
	}
}

func TestSecureString(t *testing.T) {
	c := start(t, store.Memory())
	_, err := c.PutParameter(t.Context(), &awsssm.PutParameterInput{
		Name: aws.String("secret"), Value: aws.String("hush"), Type: types.ParameterTypeSecureString,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, decrypt := range []bool{false, true} {
		out, err := c.GetParameter(t.Context(), &awsssm.GetParameterInput{Name: aws.String("secret"), WithDecryption: &decrypt})
		if err != nil {
			t.Fatal(err)
		}
		if got := aws.ToString(out.Parameter.Value); (got == "hush") != decrypt {
			t.Errorf("with decryption %v the value is %q", decrypt, got)
		}
	}
}

func TestFind(t *testing.T) {
	c := start(t, store.Memory())
	for _, name := range []string{"/a/1", "/a/2", "/a/b/3", "/ab/4", "plain"} {
		put(t, c, name, name, false)
	}
	byPath := func(path string, recursive bool) (names []string) {
		pages := awsssm.NewGetParametersByPathPaginator(c, &awsssm.GetParametersByPathInput{
			Path: &path, Recursive: &recursive, MaxResults: aws.Int32(2),
		})
		for pages.HasMorePages() {
			page, err := pages.NextPage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page.Parameters {
				names = append(names, aws.ToString(p.Name))
			}
		}
		return names
	}
	described := func(key, option string, values ...string) (names []string) {
		out, err := c.DescribeParameters(t.Context(), &awsssm.DescribeParametersInput{
			ParameterFilters: []types.ParameterStringFilter{{Key: &key, Option: &option, Values: values}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range out.Parameters {
			names = append(names, aws.ToString(p.Name))
		}
		return names
	}
	tests := []struct {
		name      string
		got, want []string
	}{
		{"path", byPath("/a", false), []string{"/a/1", "/a/2"}},
		{"path and below", byPath("/a/", true), []string{"/a/1", "/a/2", "/a/b/3"}},
		{"root and below", byPath("/", true), []string{"/a/1", "/a/2", "/a/b/3", "/ab/4"}},
		{"name", described("Name", "Equals", "/a/1", "plain"), []string{"/a/1", "plain"}},
		{"name's beginning", described("Name", "BeginsWith", "/a/"), []string{"/a/1", "/a/2", "/a/b/3"}},
		{"part of a name", described("Name", "Contains", "b"), []string{"/a/b/3", "/ab/4"}},
		{"path filter", described("Path", "Recursive", "/a"), []string{"/a/1", "/a/2", "/a/b/3"}},
		{"tier", described("Tier", "Equals", "Advanced"), nil},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestTagsAndDelete(t *testing.T) {
	c := start(t, store.Memory())
	put(t, c, "/a", "x", false)
	resource := aws.String("/a")
	_, err := c.AddTagsToResource(t.Context(), &awsssm.AddTagsToResourceInput{
		ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: resource,
		Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}, {Key: aws.String("l"), Value: aws.String("")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.RemoveTagsFromResource(t.Context(), &awsssm.RemoveTagsFromResourceInput{
		ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: resource, TagKeys: []string{"l"},
	})
	if err != nil {
		t.Fatal(err)
	}
	tags, err := c.ListTagsForResource(t.Context(), &awsssm.ListTagsForResourceInput{
		ResourceType: types.ResourceTypeForTaggingParameter, ResourceId: resource,
	})
	if err != nil || len(tags.TagList) != 1 || aws.ToString(tags.TagList[0].Value) != "v" {
		t.Errorf("tags = %+v, %v", tags, err)
	}
}

func TestErrors(t *testing.T) {
	c := start(t, store.Memory())
	put(t, c, "/a", "x", false)
	tests := []struct {
		name string
		in   awsssm.PutParameterInput
		want string
	}{
		{"exists", awsssm.PutParameterInput{Name: aws.String("/a"), Value: aws.String("y"), Type: "String"}, "ParameterAlreadyExists"},
		{"no type", awsssm.PutParameterInput{Name: aws.String("/b"), Value: aws.String("y")}, "ValidationException"},
		{"another type", awsssm.PutParameterInput{Name: aws.String("/a"), Value: aws.String("y"), Type: "SecureString", Overwrite: aws.Bool(true)}, "HierarchyTypeMismatchException"},
		{"reserved", awsssm.PutParameterInput{Name: aws.String("/aws/x"), Value: aws.String("y"), Type: "String"}, "AccessDeniedException"},
		{"not a whole path", awsssm.PutParameterInput{Name: aws.String("a/b"), Value: aws.String("y"), Type: "String"}, "ValidationException"},
		{"deep", awsssm.PutParameterInput{Name: aws.String(strings.Repeat("/a", 16)), Value: aws.String("y"), Type: "String"}, "HierarchyLevelLimitExceededException"},
		{"large", awsssm.PutParameterInput{Name: aws.String("/b"), Value: aws.String(strings.Repeat("x", 4097)), Type: "String"}, "ValidationException"},
		{"pattern", awsssm.PutParameterInput{Name: aws.String("/b"), Value: aws.String("x"), Type: "String", AllowedPattern: aws.String("[0-9]+")}, "ParameterPatternMismatchException"},
		{"not an AMI", awsssm.PutParameterInput{Name: aws.String("/b"), Value: aws.String("x"), Type: "String", DataType: aws.String("aws:ec2:image")}, "ValidationException"},
		{"policies", awsssm.PutParameterInput{Name: aws.String("/b"), Value: aws.String("x"), Type: "String", Policies: aws.String("[]")}, "ValidationException"},
	}
	for _, test := range tests {
		if _, err := c.PutParameter(t.Context(), &test.in); code(err) != test.want {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}

func TestDamagedState(t *testing.T) {
	docs := store.Memory()
	if err := docs.Save("ssm", []string{"not", "a", "state"}); err != nil {
		t.Fatal(err)
	}
	if _, err := ssm.New(ssm.Options{Store: docs}); err == nil {
		t.Error("New with a damaged state succeeds")
	}
}
