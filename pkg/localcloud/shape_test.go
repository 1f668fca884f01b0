package localcloud

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdkautoscaling "github.com/aws/aws-sdk-go-v2/service/autoscaling"
	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/doctor"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// roundTrip is the SDK's way to a server without a network, so that it works in a synctest bubble.
type roundTrip struct{ http.Handler }

func (r roundTrip) Do(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Host = cmp.Or(req.Host, req.URL.Host)
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Result(), nil
}

// inProcess makes a cloud of a shape on a backend that runs nothing, and returns the configuration of its clients.
func inProcess(t *testing.T, shape string) (*cloud, aws.Config) {
	t.Helper()
	f, err := openFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id, err := f.identify(Options{Region: "us-west-1", Shape: shape})
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCloud(t.Context(), f, id, slog.New(slog.DiscardHandler), connectMemory)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	endpoint := id.connection().Endpoint
	return c, aws.Config{
		Region: id.Region, BaseEndpoint: &endpoint, HTTPClient: roundTrip{c.server},
		Credentials: credentials.NewStaticCredentialsProvider(id.AccessKeyID, id.SecretAccessKey, ""),
		Retryer:     func() aws.Retryer { return aws.NopRetryer{} },
	}
}

// fleet makes an Auto Scaling group over the default subnets and returns its instances and the messages of its failed launches, once
// it has been left alone for a while.
func fleet(t *testing.T, cfg aws.Config, desired int32) (zones, failures []string) {
	t.Helper()
	ctx, ec2, groups := t.Context(), sdkec2.NewFromConfig(cfg), sdkautoscaling.NewFromConfig(cfg)
	image, err := ami.NewFromConfig(cfg).Newest(ctx, debianOwner, "debian-13-*", architecture(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	_, err = ec2.CreateLaunchTemplate(ctx, &sdkec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("web"),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{ImageId: &image.ID, InstanceType: typeFor(image.Architecture)},
	})
	if err != nil {
		t.Fatal(err)
	}
	subnets, err := ec2.DescribeSubnets(ctx, &sdkec2.DescribeSubnetsInput{})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, s := range subnets.Subnets {
		ids = append(ids, *s.SubnetId)
	}
	_, err = groups.CreateAutoScalingGroup(ctx, &sdkautoscaling.CreateAutoScalingGroupInput{
		AutoScalingGroupName: aws.String("web"), MinSize: aws.Int32(0), MaxSize: aws.Int32(9), DesiredCapacity: &desired,
		LaunchTemplate: &asgtypes.LaunchTemplateSpecification{LaunchTemplateName: aws.String("web")}, VPCZoneIdentifier: aws.String(strings.Join(ids, ",")),
	})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Minute)
	synctest.Wait()
	out, err := groups.DescribeAutoScalingGroups(ctx, &sdkautoscaling.DescribeAutoScalingGroupsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range out.AutoScalingGroups[0].Instances {
		if i.LifecycleState == asgtypes.LifecycleStateInService {
			zones = append(zones, *i.AvailabilityZone)
		}
	}
	activities, err := groups.DescribeScalingActivities(ctx, &sdkautoscaling.DescribeScalingActivitiesInput{AutoScalingGroupName: aws.String("web")})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range activities.Activities {
		if a.StatusMessage != nil && !slices.Contains(failures, *a.StatusMessage) {
			failures = append(failures, *a.StatusMessage)
		}
	}
	return zones, failures
}

// architecture is that of the cloud's images, which is this host's.
func architecture(t *testing.T, cfg aws.Config) string {
	t.Helper()
	out, err := sdkec2.NewFromConfig(cfg).DescribeImages(t.Context(), &sdkec2.DescribeImagesInput{Owners: []string{debianOwner}})
	if err != nil || len(out.Images) != 1 {
		t.Fatalf("Debian's image: %+v, %v", out, err)
	}
	return string(out.Images[0].Architecture)
}

// typeFor returns an instance type of two vCPUs.
func typeFor(architecture string) ec2types.InstanceType {
	if architecture == "arm64" {
		return "t4g.micro"
	}
	return "t3.micro"
}

func TestShapesOfAutoScaling(t *testing.T) {
	const key = "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: " +
		"Client.InvalidKMSKey.InvalidState: The KMS key provided is in an incorrect state"
	tests := map[string]struct {
		desired int32
		serve   int
		not     string // the zone that has none
		failure string // the beginning of the only message
	}{
		"":        {3, 3, "", ""},
		"vcpus=5": {3, 2, "", "You have requested more vCPU capacity than your current vCPU limit of 5 allows"},
		"zone-without-type=us-west-1b:t3.micro zone-without-type=us-west-1b:t4g.micro": {
			4, 4, "us-west-1b", "Your requested instance type (t",
		},
		"ebs-key=customer": {1, 0, "", key},
	}
	for shape, tc := range tests {
		t.Run(shape, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, cfg := inProcess(t, shape)
				zones, failures := fleet(t, cfg, tc.desired)
				if len(zones) != tc.serve || slices.Contains(zones, tc.not) {
					t.Errorf("instances in service in %q, want %d of them, none in %q", zones, tc.serve, tc.not)
				}
				if len(failures) > 1 || (len(failures) == 0) != (tc.failure == "") || tc.failure != "" && !strings.HasPrefix(failures[0], tc.failure) {
					t.Errorf("failures %q, want %q", failures, tc.failure)
				}
			})
		})
	}
}

// A grant is asked for as the AWS CLI does it: nothing of Ingot's calls KMS.
func TestGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, cfg := inProcess(t, "ebs-key=customer")
		out, err := sdkec2.NewFromConfig(cfg).GetEbsDefaultKmsKeyId(t.Context(), &sdkec2.GetEbsDefaultKmsKeyIdInput{})
		if err != nil {
			t.Fatal(err)
		}
		account := strings.Split(*out.KmsKeyId, ":")[4]
		grant := func(keyID, operations string) (int, string) {
			r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", strings.NewReader(`{"KeyId":"`+keyID+`","Operations":[`+operations+`],`+
				`"GranteePrincipal":"arn:aws:iam::`+account+`:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"}`))
			r.Header.Set("Content-Type", "application/x-amz-json-1.1")
			r.Header.Set("X-Amz-Target", "TrentService.CreateGrant")
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-west-1/kms/aws4_request, SignedHeaders=host, Signature=00")
			w := httptest.NewRecorder()
			wire.Handler(c.keys.API()).ServeHTTP(w, r)
			return w.Code, w.Body.String()
		}
		const all = `"Encrypt","Decrypt","ReEncryptFrom","ReEncryptTo","GenerateDataKey","GenerateDataKeyWithoutPlaintext","DescribeKey","CreateGrant"`
		if status, body := grant("arn:aws:kms:us-west-1:000000000000:key/other", all); status != 400 || !strings.Contains(body, "NotFoundException") {
			t.Errorf("another key: %d %s", status, body)
		}
		if status, body := grant(*out.KmsKeyId, `"Decrypt"`); status != 200 {
			t.Errorf("a grant that is not enough: %d %s", status, body)
		}
		if _, failures := fleet(t, cfg, 1); len(failures) != 1 {
			t.Errorf("failures with a grant that is not enough: %q", failures)
		}
		if status, body := grant(*out.KmsKeyId, all); status != 200 || !strings.Contains(body, "GrantId") {
			t.Errorf("a grant: %d %s", status, body)
		}
		time.Sleep(10 * time.Minute)
		groups, err := sdkautoscaling.NewFromConfig(cfg).DescribeAutoScalingGroups(t.Context(), &sdkautoscaling.DescribeAutoScalingGroupsInput{})
		if err != nil || len(groups.AutoScalingGroups[0].Instances) != 1 || groups.AutoScalingGroups[0].Instances[0].LifecycleState != "InService" {
			t.Errorf("with a grant: %+v, %v", groups, err)
		}
	})
}

// TestDoctorSeesShapes looks at clouds of each shape as mage doctor does.
func TestDoctorSeesShapes(t *testing.T) {
	tests := []struct {
		shape, check string
		level        doctor.Level
		remedy       doctor.Remedy
		finding      string
	}{
		{"", "network for bakes", doctor.OK, "", "a subnet of the default VPC"},
		{"no-default-vpc", "network for bakes", doctor.Stop, doctor.SetSubnet, "no default VPC"},
		{"", "vCPU quota", doctor.OK, "", "1152 vCPUs"},
		{"vcpus=5", "vCPU quota", doctor.Stop, doctor.RaiseQuota, "5 vCPUs of standard instances; a rollout needs 10 with 2 instances"},
		{"vcpus=12", "vCPU quota", doctor.Warn, doctor.RaiseQuota, "12 vCPUs"},
		{"", "zones and type", doctor.OK, "", "us-west-1a, us-west-1b, us-west-1c"},
		{"zone-without-type=us-west-1b:t3.micro", "zones and type", doctor.OK, "", "is offered in us-west-1a, us-west-1c"},
		{"zone-without-type=us-west-1b:t3.micro zone-without-type=us-west-1c:t3.micro", "zones and type", doctor.Stop, doctor.ChooseType, "offered in us-west-1a"},
		{"", "encryption key", doctor.OK, "", "alias/aws/ebs"},
		{"ebs-key=customer", "encryption key", doctor.Warn, doctor.GrantKey, ":key/"},
		{"root=/dev/sda1", "credentials", doctor.OK, "", "do not expire"}, // bakes and rollouts go by the image: nothing to say
	}
	for _, tc := range tests {
		t.Run(tc.check+" "+tc.shape, func(t *testing.T) {
			_, cfg := inProcess(t, tc.shape)
			images := ami.NewFromConfig(cfg)
			results := doctor.Run(t.Context(), doctor.Account(cfg, doctor.Options{
				FleetType: "t3.micro", FleetMin: 2, FleetMax: 4, MaxHealthy: 200, BakeType: "t3.medium",
				Network: func(ctx context.Context) (ami.Network, error) {
					return images.FindNetwork(ctx, ami.NetworkOptions{App: "hello", InstanceType: "t3.medium"})
				},
				StackZones:    func(ctx context.Context) ([]string, error) { return images.StackZones(ctx, "hello") },
				ZonesOffering: images.ZonesOffering,
			}))
			n := slices.IndexFunc(results, func(r doctor.Result) bool { return r.Check == tc.check })
			if r := results[n]; r.Level != tc.level || r.Remedy != tc.remedy || !strings.Contains(r.Finding, tc.finding) {
				t.Errorf("%s, remedy %q: %s; want %s, %q: …%s…", r.Level, r.Remedy, r.Finding, tc.level, tc.remedy, tc.finding)
			}
		})
	}
}

func TestACloudKeepsItsShape(t *testing.T) {
	const shape = "vcpus=8 root=/dev/sda1"
	o := testOptions(t)
	o.Shape = "root=/dev/sda1  vcpus=8"
	if _, err := Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	status, err := Status(t.Context(), o.StateDir)
	if err != nil || status.Shape != shape {
		t.Errorf("shape %q, %v", status.Shape, err)
	}
	for text, fails := range map[string]bool{"": false, shape: false, "vcpus=9": true} {
		o.Shape = text
		_, err := Start(t.Context(), o)
		if _, other := errors.AsType[*ShapeError](err); other != fails || !fails && err != nil {
			t.Errorf("start it as %q: %v", text, err)
		}
	}
	o.Shape = ""
	saved, loaded := testOptions(t), testOptions(t)
	if err := save(t.Context(), o, saved.StateDir, nil, connectMemory); err != nil {
		t.Fatal(err)
	}
	if err := load(t.Context(), saved.StateDir, loaded.StateDir, nil, connectMemory); err != nil {
		t.Fatal(err)
	}
	if status, err := Status(t.Context(), loaded.StateDir); err != nil || status.Shape != shape {
		t.Errorf("brought back: shape %q, %v", status.Shape, err)
	}
	bad := testOptions(t)
	bad.Shape = "zone-without-type=eu-central-1a:t3.micro"
	if _, err := Start(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "no zone eu-central-1a") {
		t.Errorf("a zone of another region: %v", err)
	}
}
