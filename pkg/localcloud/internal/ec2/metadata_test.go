package ec2

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
)

// inside asks as a program in an instance does.
type inside struct{ handler http.Handler }

// Do makes it an SDK's HTTP client.
func (i inside) Do(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	i.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

// ask sends a request with headers, each "name: value", and returns the status and the answer.
func (i inside) ask(method, path string, headers ...string) (int, string) {
	r := httptest.NewRequest(method, "http://169.254.169.254"+path, nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	response, _ := i.Do(r)
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func TestMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		instance := c.run(func(in *sdk.RunInstancesInput) {
			in.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n")))
			in.MetadataOptions = &types.InstanceMetadataOptionsRequest{
				HttpTokens: types.HttpTokensStateRequired, InstanceMetadataTags: types.InstanceMetadataTagsStateEnabled,
			}
			in.TagSpecifications = []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("ingot:app"), Value: aws.String("hello")}}}}
		})
		id := *instance.InstanceId
		here := inside{c.service.metadata(id)}
		client := imds.New(imds.Options{HTTPClient: here, Retryer: aws.NopRetryer{}})
		document := must(client.GetInstanceIdentityDocument(t.Context(), nil))(t)
		if document.InstanceID != id || document.Region != "us-west-1" || document.AccountID != "000000000001" || document.ImageID != *instance.ImageId ||
			document.PrivateIP != *c.instance(id).PrivateIpAddress || document.InstanceType != string(instance.InstanceType) {
			t.Errorf("the document is %+v", document)
		}
		for path, want := range map[string]string{
			"instance-id": id, "placement/availability-zone": *instance.Placement.AvailabilityZone, "tags/instance": "ingot:app",
			"tags/instance/ingot:app": "hello", "services": "domain\npartition", "placement/": "availability-zone\nregion",
			"security-groups": "default",
		} {
			out := must(client.GetMetadata(t.Context(), &imds.GetMetadataInput{Path: path}))(t)
			if got := must(io.ReadAll(out.Content))(t); string(got) != want {
				t.Errorf("%s is %q, want %q", path, got, want)
			}
		}
		data := must(client.GetUserData(t.Context(), nil))(t)
		if got := must(io.ReadAll(data.Content))(t); string(got) != "#!/bin/sh\n" {
			t.Errorf("the user data is %q", got)
		}

		other := inside{c.service.metadata(*c.run(nil).InstanceId)}
		// Version 1 is off, and what is no token is none.
		status, token := here.ask("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60")
		if status != http.StatusOK {
			t.Fatalf("no token: %d", status)
		}
		type answer struct {
			Status int
			Body   string
		}
		with := func(token string) string { return "X-aws-ec2-metadata-token: " + token }
		_, foreign := other.ask("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60")
		asked := func(method, path string, headers ...string) answer {
			status, body := here.ask(method, path, headers...)
			return answer{status, body}
		}
		for name, tc := range map[string]struct{ got, want answer }{
			"without a token":        {asked("GET", "/latest/meta-data/"), answer{401, ""}},
			"with another's":         {asked("GET", "/latest/meta-data/instance-id", with(foreign)), answer{401, ""}},
			"with its own":           {asked("GET", "/latest/meta-data/instance-id", with(token)), answer{200, id}},
			"by a date":              {asked("GET", "/2021-03-23/meta-data/instance-id", with(token)), answer{200, id}},
			"what there is not":      {asked("GET", "/latest/meta-data/spot", with(token)), answer{404, ""}},
			"no role":                {asked("GET", "/latest/meta-data/iam/security-credentials/", with(token)), answer{404, ""}},
			"a token without an age": {asked("PUT", "/latest/api/token"), answer{400, ""}},
			"a token for a day":      {asked("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 86400"), answer{400, ""}},
			"a token for a proxy":    {asked("PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60", "X-Forwarded-For: 10.0.0.1"), answer{403, ""}},
			"a token by GET":         {asked("GET", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60"), answer{405, ""}},
		} {
			if diff := cmp.Diff(tc.want, tc.got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		time.Sleep(time.Minute)
		if status, _ := here.ask("GET", "/latest/meta-data/", with(token)); status != http.StatusUnauthorized {
			t.Errorf("an old token: %d", status)
		}
	})
}

func TestMetadataCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		id := *c.run(nil).InstanceId
		if err := c.service.change(func() error {
			c.service.state.Instances[id].Profile = &iamProfile{ARN: "arn:aws:iam::000000000001:instance-profile/hello", ID: "AIPA1"}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		var refused error
		sessions := 0
		c.service.credentials = func(_ context.Context, profile, instance string) (string, Credentials, error) {
			if profile != "arn:aws:iam::000000000001:instance-profile/hello" || instance != id {
				t.Errorf("credentials of %s for %s", profile, instance)
			}
			sessions++
			return "hello", Credentials{"ASIA1", "secret", "token", time.Now(), time.Now().Add(time.Hour)}, refused
		}
		client := imds.New(imds.Options{HTTPClient: inside{c.service.metadata(id)}, Retryer: aws.NopRetryer{}})
		got := must(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client }).Retrieve(t.Context()))(t)
		if got.AccessKeyID != "ASIA1" || got.SecretAccessKey != "secret" || got.SessionToken != "token" || !got.CanExpire {
			t.Errorf("credentials %+v", got)
		}
		begun := sessions
		out := must(client.GetMetadata(t.Context(), &imds.GetMetadataInput{Path: "instance-id"}))(t)
		if _, err := io.ReadAll(out.Content); err != nil || sessions != begun {
			t.Errorf("who asks for something else begins a session of the role: %d, were %d, %v", sessions, begun, err)
		}
		if info := must(client.GetIAMInfo(t.Context(), nil))(t); info.InstanceProfileID != "AIPA1" {
			t.Errorf("info %+v", info)
		}
		refused = ErrNoRole
		if _, err := client.GetIAMInfo(t.Context(), nil); err == nil {
			t.Error("an instance whose profile has no role has one")
		}
	})
}

// TestMetadataListens: an instance is answered for as long as it runs, and again after it was stopped.
func TestMetadataListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t)
		var at []string
		tries := 0
		c.compute.Listener = func(id string, address netip.AddrPort, hops int) (net.Listener, error) {
			if tries++; tries == 1 {
				return nil, errors.New("not yet")
			}
			at = append(at, address.String())
			return c.ports.open(t.Context(), address)
		}
		id := *c.run(nil).InstanceId
		time.Sleep(2 * metadataRetry)
		if diff := cmp.Diff([]string{"169.254.169.254:80"}, at); diff != "" {
			t.Error(diff)
		}
		must(c.client.StopInstances(t.Context(), &sdk.StopInstancesInput{InstanceIds: []string{id}}))(t)
		c.settle()
		c.ports.live[metadataAddress].Close() // as the machine's end does
		must(c.client.StartInstances(t.Context(), &sdk.StartInstancesInput{InstanceIds: []string{id}}))(t)
		c.settle()
		time.Sleep(2 * metadataRetry)
		if len(at) != 2 || len(c.ports.list()) != 1 {
			t.Errorf("it listened %d times, and does at %q", len(at), c.ports.list())
		}
	})
}
