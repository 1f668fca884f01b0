package pipeline

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func TestAgentSource(t *testing.T) {
	for name, test := range map[string]struct {
		off              bool
		region, endpoint string
		want             string
	}{
		"AWS":                {region: "us-west-1", want: "https://aws-codedeploy-us-west-1.s3.us-west-1.amazonaws.com"},
		"China":              {region: "cn-north-1", want: "https://aws-codedeploy-cn-north-1.s3.cn-north-1.amazonaws.com.cn"},
		"another API":        {region: "us-west-1", endpoint: "http://127.1.0.1:4566"},
		"without CodeDeploy": {region: "us-west-1", off: true},
	} {
		cfg := aws.Config{Region: test.region}
		if test.endpoint != "" {
			cfg.BaseEndpoint = &test.endpoint
		}
		p := NewFromConfig(cfg, Settings{App: "hello", WithoutCodeDeploy: test.off})
		if got := p.agentSource(); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
