//go:build integration

package packer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/internal/awsenv"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/provision"
)

// ec2 answers what one Packer build at a time asks of EC2, with a machine for its instance.
type ec2 struct {
	t      *testing.T
	engine *machine.Engine
	source string // image of the source AMI

	mu      sync.Mutex
	key     string
	state   string // of the instance
	address string
	amis    map[string]string // images by AMI ID
	calls   []string
}

func newEC2(t *testing.T) (*ec2, string) {
	t.Helper()
	engine, err := machine.Connect(t.Context())
	must(t, err)
	image, err := engine.Image(t.Context(), machine.ImageOptions{})
	must(t, err)
	s := &ec2{t: t, engine: engine, source: image, amis: map[string]string{"ami-debian": image}}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.Close()
		ctx := context.WithoutCancel(t.Context())
		engine.Remove(ctx, s.machine())
		for _, id := range []string{"ami-made-2", "ami-made-1"} { // the second is made from the first
			if image := s.amis[id]; image != "" {
				engine.RemoveImage(ctx, image)
			}
		}
		engine.Close()
	})
	return s, server.URL
}

func (s *ec2) machine() string { return fmt.Sprintf("ingot-packer-%d", os.Getpid()) }

func (s *ec2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	must(s.t, r.ParseForm())
	action := r.PostForm.Get("Action")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, action)
	body, err := s.answer(context.WithoutCancel(r.Context()), action, r.PostForm)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "<Response><Errors><Error><Code>%s</Code><Message>no</Message></Error></Errors></Response>", err)
		return
	}
	fmt.Fprintf(w, "<%sResponse><requestId>1</requestId>%s</%sResponse>", action, body, action)
}

func (s *ec2) answer(ctx context.Context, action string, in url.Values) (string, error) {
	switch action {
	case "DescribeImages":
		id := in.Get("ImageId.1")
		if id == "" {
			return "<imagesSet/>", nil // no AMI has the new one's name
		}
		if s.amis[id] == "" {
			return "", errors.New("InvalidAMIID.NotFound")
		}
		return `<imagesSet><item><imageId>` + id + `</imageId><imageState>available</imageState><name>debian</name>
			<virtualizationType>hvm</virtualizationType><rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName>
			<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs><snapshotId>snap-1</snapshotId></ebs></item></blockDeviceMapping></item></imagesSet>`, nil
	case "CreateKeyPair":
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return "", err
		}
		s.key = authorizedKey(private)
		block := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
		return "<keyName>" + in.Get("KeyName") + "</keyName><keyMaterial>" + string(block) + "</keyMaterial>", nil
	case "DescribeSecurityGroups":
		return "<securityGroupInfo><item><groupId>sg-1</groupId></item></securityGroupInfo>", nil
	case "RunInstances":
		err := s.engine.Create(ctx, machine.Spec{
			Name: s.machine(), Image: s.amis[in.Get("ImageId")], Labels: map[string]string{"ingot-test": "packer"},
			Files: machine.Seed{InstanceID: "i-" + in.Get("ClientToken"), AuthorizedKeys: []string{s.key}}.Files(),
		})
		if err != nil {
			return "", err
		}
		must(s.t, s.engine.Start(ctx, s.machine()))
		info, err := s.engine.Inspect(ctx, s.machine())
		must(s.t, err)
		s.state, s.address = "running", info.Address.String()
		return "<instancesSet>" + s.instance() + "</instancesSet>", nil
	case "DescribeInstances":
		return "<reservationSet><item><instancesSet>" + s.instance() + "</instancesSet></item></reservationSet>", nil
	case "StopInstances":
		must(s.t, s.engine.Stop(ctx, s.machine(), 20*time.Second))
		s.state = "stopped"
	case "CreateImage":
		id := fmt.Sprintf("ami-made-%d", len(s.amis))
		image, err := s.engine.Commit(ctx, s.machine(), s.machine()+":"+id, map[string]string{"ingot-test": "packer"})
		must(s.t, err)
		s.amis[id] = image
		return "<imageId>" + id + "</imageId>", nil
	case "TerminateInstances":
		must(s.t, s.engine.Remove(ctx, s.machine()))
		s.state = "terminated"
	case "DescribeVolumes", "ModifyImageAttribute", "CreateTags", "DeleteKeyPair":
	default:
		return "", errors.New("UnknownOperation")
	}
	return "<return>true</return>", nil
}

func (s *ec2) instance() string {
	return `<item><instanceId>i-1</instanceId><instanceState><name>` + s.state + `</name></instanceState>
		<vpcId>vpc-1</vpcId><privateIpAddress>` + s.address + `</privateIpAddress><architecture>x86_64</architecture></item>`
}

// authorizedKey writes the public half as authorized_keys has it.
func authorizedKey(private *rsa.PrivateKey) string {
	var blob []byte
	for _, field := range [][]byte{[]byte("ssh-rsa"), big.NewInt(int64(private.E)).Bytes(), append([]byte{0}, private.N.Bytes()...)} {
		blob = append(binary.BigEndian.AppendUint32(blob, uint32(len(field))), field...)
	}
	return "ssh-rsa " + base64.StdEncoding.EncodeToString(blob)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scripts are a provisioning tree that takes seconds: this is about Packer, and the suites of the targets bake with the real one.
var scripts = map[string]string{
	"provision.sh": "#!/bin/sh\nset -e\n. \"$(dirname \"$0\")/$1/$1.sh\"\n",
	"base/base.sh": "echo \"$FINGERPRINT\" >/etc/base\ninstall -m 755 /dev/stdin /usr/local/bin/ingot-check <<END\n#!/bin/sh\nEND\n",
	"app/app.sh":   "test \"$RELEASE on $(cat /etc/base)\" = 'v1 on abc'\n. \"$SOURCE/build.sh\"\n",
	"seal/seal.sh": "rm -f /etc/ssh/ssh_host_*\n",
}

// archive is the archive of a stage; the application stage runs build.
func archive(t *testing.T, stage provision.Stage, build string) string {
	t.Helper()
	dir, source := t.TempDir(), t.TempDir()
	for name, text := range scripts {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(source, "build.sh"), []byte(build), 0o644))
	bundle, err := provision.Load(t.Context(), stage, provision.Options{Dir: dir, Source: source})
	must(t, err)
	var data bytes.Buffer
	must(t, bundle.Archive(&data))
	name := filepath.Join(t.TempDir(), string(stage)+".tar.gz")
	must(t, os.WriteFile(name, data.Bytes(), 0o644))
	return name
}

// The packer command bakes both images with our templates, says what it does, why it fails, and cleans up when it is interrupted.
func TestPacker(t *testing.T) {
	packer, err := Find(t.Context(), command.Exec{}, t.TempDir())
	if err != nil {
		t.Skipf("needs packer: %v", err)
	}
	if capabilitiesOf(packer.Version).plugins {
		t.Skipf("this test's EC2 knows the calls of Packer before 1.7, not those of %s", packer.Version)
	}
	cloud, endpoint := newEC2(t)
	build := func(name string) Build {
		return Build{
			Templates: os.DirFS(templates), Name: name, Folder: filepath.Join(t.TempDir(), "run"),
			Variables: Variables{
				Region: "us-west-1", Endpoint: endpoint, SourceAMI: "ami-debian", SecurityGroup: "sg-1", PollingDelay: 1,
				AMIName: "hello-" + name, Run: "run-1", RunTags: map[string]string{"ingot:run": "run-1"}, ManifestData: map[string]string{"run": "run-1"},
				Tags: map[string]string{"ingot:image": name},
			},
			Env: []string{"AWS_ENDPOINT_URL=" + endpoint, "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test", "AWS_EC2_METADATA_DISABLED=true"},
		}
	}

	t.Run("base", func(t *testing.T) {
		b := build("base")
		b.Variables.Archive = archive(t, provision.Base, "")
		b.Variables.Inputs = map[string]string{"FINGERPRINT": "abc"}
		var steps []string
		b.Progress = func(step string) { steps = append(steps, step) }
		started := time.Now()
		got, err := packer.Build(t.Context(), b)
		must(t, err)
		t.Logf("%.1f s", time.Since(started).Seconds())
		if diff := cmp.Diff(Artifact{AMIs: map[string]string{"us-west-1": "ami-made-1"}, Data: map[string]string{"run": "run-1"}}, got); diff != "" {
			t.Error(diff)
		}
		want := []string{
			"creating a key pair", "launching an instance",
			"waiting for the instance", "waiting for SSH", "connected", "uploading", "provisioning", "stopping the instance",
			"creating the AMI", "waiting for the AMI", "tagging", "cleaning up",
		}
		if diff := cmp.Diff(want, slices.Compact(steps)); diff != "" {
			t.Errorf("steps: -want +got\n%s", diff)
		}
	})

	app := func(script string) Build {
		b := build("app")
		b.Variables.SourceAMI = "ami-made-1"
		b.Variables.Archive = archive(t, provision.App, script)
		b.Variables.Inputs = map[string]string{"RELEASE": "v1", "PORT": "8080", "HEALTH": "/healthz"}
		return b
	}

	t.Run("app", func(t *testing.T) {
		started := time.Now()
		got, err := packer.Build(t.Context(), app("echo built"))
		must(t, err)
		t.Logf("%.1f s", time.Since(started).Seconds())
		if got.AMIs["us-west-1"] != "ami-made-2" {
			t.Errorf("made %v", got)
		}
	})

	t.Run("failing compile", func(t *testing.T) {
		b := app("echo '# broken' >&2; echo './main.go:3:15: undefined: undefined' >&2; exit 1")
		_, err := packer.Build(t.Context(), b)
		if failed := new(BuildError); !errors.As(err, &failed) || !strings.Contains(err.Error(), "./main.go:3:15: undefined: undefined") {
			t.Errorf("error %v, want the compiler's message", err)
		}
	})

	t.Run("unknown AMI", func(t *testing.T) {
		b := app("")
		b.Variables.SourceAMI = "ami-none"
		_, err := packer.Build(t.Context(), b)
		if err == nil || !strings.Contains(err.Error(), "InvalidAMIID.NotFound") {
			t.Errorf("error %v, want EC2's", err)
		}
	})

	t.Run("wrong variable", func(t *testing.T) {
		b := app("")
		b.Variables.AMIName = "x"
		_, err := packer.Build(t.Context(), b)
		if err == nil || !strings.Contains(err.Error(), "ami_name must be between 3 and 128 characters") {
			t.Errorf("error %v, want Packer's", err)
		}
	})

	t.Run("interrupt", func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		b := app("sleep 60")
		b.Progress = func(step string) {
			if step == "provisioning" {
				stop(enough)
			}
		}
		cloud.calls = nil
		started := time.Now()
		_, err := packer.Build(ctx, b)
		t.Logf("%.1f s: %v", time.Since(started).Seconds(), err)
		if !errors.Is(err, enough) {
			t.Errorf("error %v, want %v", err, enough)
		}
		for _, want := range []string{"TerminateInstances", "DeleteKeyPair"} {
			if !slices.Contains(cloud.calls, want) {
				t.Errorf("did not call %s: %q", want, cloud.calls)
			}
		}
	})
}

// The packer command has the credentials that were resolved here, of a kind that 1.6.6 could not find by itself.
func TestPackerCredentials(t *testing.T) {
	packer, err := Find(t.Context(), command.Exec{}, "")
	if err != nil {
		t.Skipf("needs packer: %v", err)
	}
	var mu sync.Mutex
	given, seen := 0, map[string]bool{}
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if key := regexp.MustCompile(`Credential=(\w+)/`).FindStringSubmatch(r.Header.Get("Authorization")); key != nil {
			seen[key[1]] = true
		}
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error></Errors></Response>")
	}))
	defer endpoint.Close()
	env, stop, err := awsenv.Share(t.Context(), aws.Config{Region: "us-west-1", BaseEndpoint: &endpoint.URL, Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		mu.Lock()
		defer mu.Unlock()
		given++
		return aws.Credentials{AccessKeyID: fmt.Sprintf("ASIA%d", given), SecretAccessKey: "s", SessionToken: "t", CanExpire: true, Expires: time.Now().Add(time.Second)}, nil
	})})
	must(t, err)
	defer stop()
	build := Build{
		Templates: os.DirFS(templates), Name: "base", Folder: filepath.Join(t.TempDir(), "run"), Env: env, KMSKey: "alias/mine",
		Variables: Variables{
			Region: "us-west-1", Endpoint: endpoint.URL, SourceAMI: "ami-debian", SecurityGroup: "sg-1", AMIName: "hello-base", Run: "run-1",
			InstanceType: "t3.medium", SubnetID: "subnet-1", VPCID: "vpc-1", AssociatePublicIP: new(true), Encrypted: true,
			Archive: archive(t, provision.Base, ""),
		},
	}
	_, err = packer.Build(t.Context(), build)
	t.Logf("Packer %s: %d credentials given, calls signed with %v: %v", packer.Version, given, seen, err)
	if err == nil || !strings.Contains(err.Error(), "UnauthorizedOperation") || len(seen) == 0 || seen["ASIA1"] { // the first are those that told that they end
		t.Errorf("calls were signed with %v", seen)
	}
}
