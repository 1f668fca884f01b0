package bake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/provision"
)

// Packer is told to run the build block that has a stage's name, and that runs the stage.
func TestTemplatesKnowTheStages(t *testing.T) {
	for _, stage := range []provision.Stage{provision.Base, provision.App} {
		file := "../../packer/" + string(stage) + ".pkr.hcl"
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`name    = "` + string(stage) + `"`, `"${local.stage} ` + string(stage) + `"`} {
			if !strings.Contains(string(data), want) {
				t.Errorf("%s does not say %s", file, want)
			}
		}
	}
}

// packerThat is a Packer that does something.
func packerThat(build buildFunc) func(context.Context) (Builder, error) {
	return func(context.Context) (Builder, error) { return build, nil }
}

// Everything that a bake needs is known before anything is made.
func TestNoNetworkMakesNothing(t *testing.T) {
	b, ec2, builds := testBaker(t)
	ec2.nowhere = ami.ErrNoNetwork
	_, err := b.Bake(t.Context(), appImage(t, "hello"))
	if !errors.Is(err, ami.ErrNoNetwork) || len(*builds) > 0 || len(ec2.did)+len(ec2.left) > 0 {
		t.Errorf("error = %v after %d builds, did %v, left %v", err, len(*builds), ec2.did, ec2.left)
	}
	if folders, err := b.runs().folders(); err != nil || len(folders) > 0 {
		t.Errorf("%d runs are left, %v", len(folders), err)
	}
}

func TestBakesInTheNetwork(t *testing.T) {
	b, ec2, builds := testBaker(t)
	ec2.network = ami.Network{SubnetID: "subnet-1", VPCID: "vpc-1", Public: true}
	i := appImage(t, "hello")
	i.Subnet, i.KMSKey = "subnet-1", "alias/mine"
	if _, err := b.Bake(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	v := (*builds)[0].Variables
	if v.SubnetID != "subnet-1" || v.VPCID != "vpc-1" || v.AssociatePublicIP == nil || !*v.AssociatePublicIP || (*builds)[0].KMSKey != "alias/mine" {
		t.Errorf("variables %+v", v)
	}
	if diff := cmp.Diff([]ami.NetworkOptions{{App: "hello", Subnet: "subnet-1", InstanceType: "t3.micro"}}, ec2.wanted); diff != "" {
		t.Error(diff)
	}
}

// A role from before there was a network to look for bakes as it did, unless a subnet is set.
func TestMayNotLookAtNetworks(t *testing.T) {
	b, ec2, builds := testBaker(t)
	ec2.nowhere = &smithy.GenericAPIError{Code: "UnauthorizedOperation"}
	var warned error
	b.options.Warn = func(_ context.Context, err error) { warned = err }
	if _, err := b.Bake(t.Context(), appImage(t, "hello")); err != nil || !errors.Is(warned, ec2.nowhere) {
		t.Errorf("error = %v, warned of %v", err, warned)
	}
	if v := (*builds)[0].Variables; v.SubnetID != "" || v.VPCID != "" || v.AssociatePublicIP != nil {
		t.Errorf("variables %+v", v)
	}
	i := appImage(t, "another")
	i.Subnet = "subnet-1"
	if _, err := b.Bake(t.Context(), i); !errors.Is(err, ec2.nowhere) {
		t.Errorf("error = %v", err)
	}
}

// What has just been made and is not found, or has no tags, is looked for again, and never removed for it.
func TestReadsThatLag(t *testing.T) {
	for name, tc := range map[string]struct {
		lag int
		err error
	}{"known after some seconds": {lag: 4}, "known too late": {lag: 1000, err: ami.ErrNotFound}} {
		t.Run(name, func(t *testing.T) {
			b, ec2, builds := testBaker(t)
			image := appImage(t, "hello")
			synctest.Test(t, func(t *testing.T) {
				ec2.lag = tc.lag
				began := time.Now()
				_, err := b.Bake(t.Context(), image)
				if !errors.Is(err, tc.err) || time.Since(began) > time.Minute {
					t.Errorf("error = %v after %s", err, time.Since(began))
				}
			})
			if slices.Contains(ec2.did, "remove ami-new") || len(ec2.images) != 1 {
				t.Errorf("did %v: the image is removed", ec2.did)
			}
			ec2.lag = 0
			again, err := b.Bake(t.Context(), image)
			if err != nil || again.ID != "ami-new" || len(*builds) != 1 {
				t.Errorf("the next bake: %v, %v after %d builds", again.ID, err, len(*builds))
			}
		})
	}
}

// The group is removed also where EC2 does not list it yet.
func TestGroupThatIsNotListedYet(t *testing.T) {
	b, ec2, _ := testBaker(t)
	broken := errors.New("broken")
	b.options.Packer = packerThat(func(context.Context, packer.Build) (packer.Artifact, error) {
		ec2.left = nil
		return packer.Artifact{}, broken
	})
	if _, err := b.Bake(t.Context(), appImage(t, "hello")); !errors.Is(err, broken) || !slices.Equal(ec2.did, []string{"remove sg-192.0.2.1/32, which is not listed"}) {
		t.Errorf("error = %v, did %v", err, ec2.did)
	}
}

func TestFailuresAreExplained(t *testing.T) {
	timeout := fmt.Errorf("%w: exit status 1", packer.ErrUnreachable)
	ended := errors.New("exit status 1")
	for name, tc := range map[string]struct {
		fails, problem error
		network        ami.Network
		want           string
	}{
		"SSH": {fails: timeout, want: "bake app AMI: the machine that bakes lets in 192.0.2.1/32, and its port 22 was not reached from there: the machine that bakes was not reached by SSH: exit status 1"},
		"SSH in a subnet": {fails: timeout, network: ami.Network{SubnetID: "subnet-1", Why: "the one that is set"},
			want: "bake app AMI: the machine that bakes in subnet-1 (the one that is set) lets in 192.0.2.1/32, and its port 22 was not reached from there: the machine that bakes was not reached by SSH: exit status 1"},
		"the key": {fails: ended, problem: &ami.KeyError{Instance: "i-1", Code: "Client.InternalError"},
			want: "bake app AMI: instance i-1 ended at its launch (Client.InternalError): the KMS key that encrypts its volume cannot be used\nexit status 1"},
		"another": {fails: ended, want: "bake app AMI: exit status 1"},
	} {
		t.Run(name, func(t *testing.T) {
			b, ec2, _ := testBaker(t)
			ec2.problem, ec2.network = tc.problem, tc.network
			b.options.Packer = packerThat(func(context.Context, packer.Build) (packer.Artifact, error) { return packer.Artifact{}, tc.fails })
			_, err := b.Bake(t.Context(), appImage(t, "hello"))
			if err == nil || err.Error() != tc.want || !errors.Is(err, tc.fails) {
				t.Errorf("error = %v\nwant    %s", err, tc.want)
			}
		})
	}
}

// Packer has the credentials of the configuration, wherever those come from, for as long as it runs.
func TestPackerHasTheCredentials(t *testing.T) {
	for name, expire := range map[string]bool{"a key": false, "a session": true} {
		t.Run(name, func(t *testing.T) {
			b, _, builds := testBaker(t)
			b.cfg.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "AKIA1", SecretAccessKey: "s", CanExpire: expire, Expires: time.Now().Add(time.Hour)}, nil
			})
			if _, err := b.Bake(t.Context(), appImage(t, "hello")); err != nil {
				t.Fatal(err)
			}
			env := (*builds)[0].Env
			served := slices.ContainsFunc(env, func(v string) bool {
				return strings.HasPrefix(v, "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:")
			})
			if slices.Contains(env, "AWS_ACCESS_KEY_ID=AKIA1") == expire || served != expire || !slices.Contains(env, "AWS_PROFILE=") || !slices.Contains(env, "AWS_REGION=us-west-1") {
				t.Errorf("Packer's environment: %q", env)
			}
		})
	}
}
