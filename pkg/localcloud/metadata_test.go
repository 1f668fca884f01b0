package localcloud

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	sdkiam "github.com/aws/aws-sdk-go-v2/service/iam"
	sdkssm "github.com/aws/aws-sdk-go-v2/service/ssm"
	sdksts "github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
)

// TestInstanceActsAsItsRole has programs in instances call the cloud as SDKs do, with what their metadata gives them.
func TestInstanceActsAsItsRole(t *testing.T) {
	type answered struct{ id, address string }
	listening := make(chan answered)
	a := newAccountOn(t, func(ctx context.Context, id string) (backend, error) {
		b, err := connectMemory(ctx, id)
		b.compute = &compute.Memory{Listener: func(id string, _ netip.AddrPort, _ int) (net.Listener, error) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				listening <- answered{id, l.Addr().String()}
			}
			return l, err
		}}
		return b, err
	})
	a.makeRole(t, "web", trusting(`{"Service":"ec2.amazonaws.com"}`, ""), `{"Version":"2012-10-17","Statement":{"Effect":"Allow",
		"Action":"ssm:GetParameter","Resource":"arn:aws:ssm:us-west-1:ACCOUNT:parameter/mine"}}`)
	a.makeRole(t, "distrusting", trusting(`{"AWS":"arn:aws:iam::ACCOUNT:root"}`, ""), "")
	for _, name := range []string{"mine", "yours"} {
		made(t, a.admin.ssm.PutParameter, &sdkssm.PutParameterInput{Name: &name, Value: &name, Type: "String"})
	}
	debian := made(t, a.admin.ec2.DescribeImages, &sdkec2.DescribeImagesInput{Owners: []string{debianOwner}}).Images[0]
	// launch returns an instance with a role, and its metadata.
	launch := func(role string) (id string, metadata *imds.Client) {
		made(t, a.admin.iam.CreateInstanceProfile, &sdkiam.CreateInstanceProfileInput{InstanceProfileName: &role})
		made(t, a.admin.iam.AddRoleToInstanceProfile, &sdkiam.AddRoleToInstanceProfileInput{InstanceProfileName: &role, RoleName: &role})
		made(t, a.admin.ec2.RunInstances, &sdkec2.RunInstancesInput{
			ImageId: debian.ImageId, InstanceType: typeFor(string(debian.Architecture)), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
			IamInstanceProfile: &ec2types.IamInstanceProfileSpecification{Name: &role},
		})
		at := <-listening
		return at.id, imds.New(imds.Options{Endpoint: "http://" + at.address, Retryer: aws.NopRetryer{}})
	}

	id, metadata := launch("web")
	provider := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = metadata })
	c := clientsOf(a.endpoint, a.id.Region, aws.NewCredentialsCache(provider))
	who := made(t, c.sts.GetCallerIdentity, &sdksts.GetCallerIdentityInput{})
	if want := "arn:aws:sts::" + a.id.AccountID + ":assumed-role/web/" + id; *who.Arn != want {
		t.Errorf("the instance is %s, want %s", *who.Arn, want)
	}
	if got := made(t, c.ssm.GetParameter, &sdkssm.GetParameterInput{Name: aws.String("mine")}); *got.Parameter.Value != "mine" {
		t.Errorf("its parameter is %s", *got.Parameter.Value)
	}
	err := call(c.ssm.GetParameter, &sdkssm.GetParameterInput{Name: aws.String("yours")})
	if codeOf(err) != "AccessDeniedException" || !strings.Contains(err.Error(), *who.Arn) {
		t.Errorf("another parameter: %v", err)
	}
	first, err := provider.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := provider.Retrieve(t.Context()); err != nil || again.AccessKeyID != first.AccessKeyID || time.Until(again.Expires) < 59*time.Minute {
		t.Errorf("credentials are %s until %s, and then %s, %v", first.AccessKeyID, first.Expires, again.AccessKeyID, err)
	}

	_, metadata = launch("distrusting")
	if info, err := metadata.GetIAMInfo(t.Context(), nil); err == nil {
		t.Errorf("a role that does not trust EC2 is given to an instance: %+v", info)
	}
	if _, err := metadata.GetInstanceIdentityDocument(t.Context(), nil); err != nil {
		t.Errorf("an instance without a role does not know itself: %v", err)
	}
}
