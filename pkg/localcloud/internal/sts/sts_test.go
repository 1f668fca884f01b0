package sts_test

import (
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/sts"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

func TestGetCallerIdentity(t *testing.T) {
	service, err := sts.New(sts.Options{
		Account: "012345678901", UserARN: "arn:aws:iam::012345678901:user/local", UserID: "AIDA0123456789ABCDEF",
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(wire.New(wire.Options{Region: "us-west-1", AccessKeyID: "AKIA", SecretAccessKey: "secret"}, service.API()))
	defer server.Close()
	for _, region := range []string{"us-west-1", "us-east-1"} {
		client := awssts.New(awssts.Options{
			Region: region, BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", ""),
		})
		out, err := client.GetCallerIdentity(t.Context(), nil)
		if err != nil {
			t.Fatalf("%s: %v", region, err)
		}
		if got, want := aws.ToString(out.Arn), "arn:aws:iam::012345678901:user/local"; got != want {
			t.Errorf("%s: Arn = %q, want %q", region, got, want)
		}
		if got, want := aws.ToString(out.Account), "012345678901"; got != want {
			t.Errorf("%s: Account = %q, want %q", region, got, want)
		}
	}
}
