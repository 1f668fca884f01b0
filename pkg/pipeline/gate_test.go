package pipeline

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/rollout"
	"github.com/ingot-build/ingot/pkg/tag"
)

// An image without the agent is refused where the agent is what the gate speaks to, and nowhere else: images for another
// API than AWS's never have one.
func TestAgent(t *testing.T) {
	for name, test := range map[string]struct {
		off      bool
		endpoint *string
		want     string
	}{
		"AWS":                {want: tag.CodeDeployAgent},
		"another API":        {endpoint: aws.String("http://127.1.0.1:4566"), want: tag.NoAgent},
		"without CodeDeploy": {off: true, want: tag.NoAgent},
	} {
		p := NewFromConfig(aws.Config{Region: "us-west-1", BaseEndpoint: test.endpoint}, Settings{App: "hello", WithoutCodeDeploy: test.off})
		if got := p.agent(); got != test.want {
			t.Errorf("%s: images have the agent %q, want %q", name, got, test.want)
		}
		if test.want == tag.NoAgent {
			if err := p.checkAgent(t.Context(), rollout.Release{Name: "r1", AMIID: "ami-1"}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name, test := range map[string]struct{ tag, want string }{
		"with the agent":    {tag: tag.CodeDeployAgent},
		"without the agent": {tag: tag.NoAgent, want: `release "r1" (ami-1) was baked without CodeDeploy's agent, so that none of its instances could pass the gate`},
		"an older image":    {},
	} {
		image := ami.Image{ID: "ami-1", Tags: map[string]string{}}
		if test.tag != "" {
			image.Tags[tag.Agent] = test.tag
		}
		err := agentProblem(image, "r1")
		if (err == nil) != (test.want == "") || err != nil && err.Error() != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A first release that does not pass is one that never served as far as the rollout goes, which then takes it back.
func TestGateError(t *testing.T) {
	cause := &codedeploy.FailedError{Deployment: codedeploy.Deployment{ID: "d-1", Status: "Failed"}}
	var err error = &GateError{Release: "r1", Err: cause}
	if !errors.Is(err, rollout.ErrUnhealthy) || !errors.Is(err, cause) {
		t.Error("it does not wrap its cause and ErrUnhealthy")
	}
	if want := `release "r1" did not pass the gate: deployment d-1 ended as Failed`; err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
