package awsenv

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/google/go-cmp/cmp"
)

func static(key, token string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: key, SecretAccessKey: "secret", SessionToken: token}, nil
	})
}

func TestShare(t *testing.T) {
	for name, tc := range map[string]struct {
		cfg  aws.Config
		want []string
	}{
		"a key that stays": {aws.Config{Region: "us-west-1", Credentials: static("AKIA1", "")}, []string{
			"AWS_ACCESS_KEY=", "AWS_ACCESS_KEY_ID=AKIA1", "AWS_CONTAINER_AUTHORIZATION_TOKEN=", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=",
			"AWS_CONTAINER_CREDENTIALS_FULL_URI=", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=", "AWS_DEFAULT_PROFILE=", "AWS_DEFAULT_REGION=us-west-1",
			"AWS_PROFILE=", "AWS_REGION=us-west-1", "AWS_ROLE_ARN=", "AWS_SECRET_ACCESS_KEY=secret", "AWS_SECRET_KEY=", "AWS_SECURITY_TOKEN=", "AWS_SESSION_TOKEN=",
			"AWS_WEB_IDENTITY_TOKEN_FILE=",
		}},
		"a session whose end nobody knows, and an endpoint": {aws.Config{Region: "us-west-1", Credentials: static("ASIA1", "token"), BaseEndpoint: aws.String("http://127.0.0.1:1")}, []string{
			"AWS_ACCESS_KEY=", "AWS_ACCESS_KEY_ID=ASIA1", "AWS_CONTAINER_AUTHORIZATION_TOKEN=", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=",
			"AWS_CONTAINER_CREDENTIALS_FULL_URI=", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=", "AWS_DEFAULT_PROFILE=", "AWS_DEFAULT_REGION=us-west-1",
			"AWS_ENDPOINT_URL=http://127.0.0.1:1",
			"AWS_PROFILE=", "AWS_REGION=us-west-1", "AWS_ROLE_ARN=", "AWS_SECRET_ACCESS_KEY=secret", "AWS_SECRET_KEY=", "AWS_SECURITY_TOKEN=", "AWS_SESSION_TOKEN=token",
			"AWS_WEB_IDENTITY_TOKEN_FILE=",
		}},
		"no credentials": {aws.Config{Region: "us-west-1"}, []string{"AWS_DEFAULT_REGION=us-west-1", "AWS_REGION=us-west-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, stop, err := Share(t.Context(), tc.cfg)
			if err != nil {
				t.Fatal(err)
			}
			stop()
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	denied := errors.New("the SSO session has expired")
	failing := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, denied })
	if _, _, err := Share(t.Context(), aws.Config{Credentials: failing}); !errors.Is(err, denied) {
		t.Errorf("error = %v", err)
	}
}

// changing gives other credentials each time, which end after a second: less than a child waits with a refresh.
type changing struct {
	n    int
	fail error
}

func (c *changing) Retrieve(context.Context) (aws.Credentials, error) {
	if c.fail != nil {
		return aws.Credentials{}, c.fail
	}
	c.n++
	return aws.Credentials{
		AccessKeyID: fmt.Sprintf("ASIA%d", c.n), SecretAccessKey: "secret", SessionToken: "token",
		CanExpire: true, Expires: time.Now().Add(time.Second),
	}, nil
}

// A program that has the variables, and profiles with credentials of their own, has the credentials of the configuration, and new
// ones when those end.
func TestShareRefreshes(t *testing.T) {
	home := t.TempDir()
	for _, file := range []string{"config", "credentials"} {
		path := filepath.Join(home, file)
		if err := os.WriteFile(path, []byte("[default]\naws_access_key_id = WRONG\naws_secret_access_key = x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(home, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, "credentials"))
	t.Setenv("AWS_ACCESS_KEY_ID", "WRONG")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	provider := &changing{}
	env, stop, err := Share(t.Context(), aws.Config{Region: "eu-central-1", Credentials: provider})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if i := slices.IndexFunc(env, func(v string) bool { return strings.Contains(v, "ASIA") }); i >= 0 {
		t.Errorf("credentials that end are in the environment: %q", env[i])
	}
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value)
	}
	child, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithRetryMaxAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	first, err := child.Credentials.Retrieve(t.Context())
	if err != nil || !strings.HasPrefix(first.AccessKeyID, "ASIA") || first.SessionToken != "token" || child.Region != "eu-central-1" {
		t.Fatalf("the child has %q in %q, %v", first.AccessKeyID, child.Region, err)
	}
	child.Credentials.(*aws.CredentialsCache).Invalidate() // as their end does
	second, err := child.Credentials.Retrieve(t.Context())
	if err != nil || second.AccessKeyID == first.AccessKeyID {
		t.Errorf("the child has %q after %q, %v", second.AccessKeyID, first.AccessKeyID, err)
	}
	provider.fail = errors.New("sign in again")
	child.Credentials.(*aws.CredentialsCache).Invalidate()
	if _, err := child.Credentials.Retrieve(t.Context()); err == nil || !strings.Contains(err.Error(), "sign in again") {
		t.Errorf("error = %v, want the provider's", err)
	}
}

func TestServedToTheProgramAlone(t *testing.T) {
	env, stop, err := Share(t.Context(), aws.Config{Credentials: &changing{}})
	if err != nil {
		t.Fatal(err)
	}
	var url string
	for _, variable := range env {
		if value, ok := strings.CutPrefix(variable, "AWS_CONTAINER_CREDENTIALS_FULL_URI="); ok {
			url = value
		}
	}
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Errorf("%s answers %s without the token", url, resp.Status)
	}
	stop()
	if resp, err := http.Get(url); err == nil {
		resp.Body.Close()
		t.Error("it answers after its end")
	}
}

func TestEndpointsOfProfiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	const text = "[profile mine]\nservices = mine\nendpoint_url = http://127.0.0.1:1\n[services mine]\nec2 =\n  endpoint_url = http://127.0.0.1:2\nelastic_load_balancing_v2 =\n  endpoint_url = http://127.0.0.1:3\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithSharedConfigFiles([]string{path}), awsconfig.WithSharedCredentialsFiles(nil), awsconfig.WithSharedConfigProfile("mine"))
	if err != nil {
		t.Fatal(err)
	}
	got := endpoints(cfg, func(name string) (string, bool) { return "", name == "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2" })
	want := map[string]string{"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
