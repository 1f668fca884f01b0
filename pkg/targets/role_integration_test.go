//go:build integration

package targets_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/hashicorp/go-version"

	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/localcloud"
	"github.com/ingot-build/ingot/pkg/packer"
)

// The repository on GitHub that the suites say they are.
const octoRepo = "octo-org/octo-repo"

// subjects are what the tokens of that repository's jobs say of them, by the role that each takes on.
var subjects = map[string]string{
	"plan": "repo:" + octoRepo + ":pull_request", "bake": "repo:" + octoRepo + ":ref:refs/heads/main", "deploy": "repo:" + octoRepo + ":environment:production",
}

// letPackerBake lets the role for bakes do what the installed Packer asks of it, if that is one from before 1.7.
func (c *clone) letPackerBake(t *testing.T) {
	t.Helper()
	packer, err := packer.Find(t.Context(), command.Exec{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if packer.Version.LessThan(version.Must(version.NewVersion("1.7.0"))) {
		c.write(t, "terraform/packer.auto.tfvars", "github_old_packer = true\n")
	}
}

// takeOn takes one of the stack's roles on as a job on GitHub does, in the cloud of a clone, and returns the environment with which
// everything acts as it, with the cloud as its account.
func takeOn(t *testing.T, stateDir string, cloud []string, role string) []string {
	t.Helper()
	token, err := localcloud.IssueToken(t.Context(), stateDir, localcloud.IdentityToken{
		Issuer: "https://token.actions.githubusercontent.com", Subject: subjects[role], Audience: "sts.amazonaws.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	status, err := localcloud.Status(t.Context(), stateDir)
	if err != nil {
		t.Fatal(err)
	}
	var endpoint, region string
	for _, pair := range cloud {
		switch key, value, _ := strings.Cut(pair, "="); key {
		case "AWS_ENDPOINT_URL":
			endpoint = value
		case "AWS_REGION":
			region = value
		}
	}
	cfg, err := awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithRegion(region), awsconfig.WithBaseEndpoint(endpoint), awsconfig.WithCredentialsProvider(aws.AnonymousCredentials{}))
	if err != nil {
		t.Fatal(err)
	}
	out, err := sts.NewFromConfig(cfg).AssumeRoleWithWebIdentity(t.Context(), &sts.AssumeRoleWithWebIdentityInput{
		RoleArn: aws.String(fmt.Sprintf("arn:aws:iam::%s:role/hello-%s-%s", status.AccountID, role, region)), RoleSessionName: aws.String(role), WebIdentityToken: &token,
	})
	if err != nil {
		t.Fatalf("take the role for %s on: %v", role, err)
	}
	c := out.Credentials
	return append(append([]string{}, cloud...),
		"AWS_ACCESS_KEY_ID="+*c.AccessKeyId, "AWS_SECRET_ACCESS_KEY="+*c.SecretAccessKey, "AWS_SESSION_TOKEN="+*c.SessionToken)
}

// as runs what the clone runs until the test ends as one of the stack's roles, with the cloud as its account.
func (c *clone) as(t *testing.T, role string) {
	t.Helper()
	c.env = takeOn(t, c.stateDir(), cloudEnv(t, c.dir, c.ingot), role)
	t.Cleanup(func() { c.env = nil })
}

// cloudEnv is the environment that points clients at the cloud of a checkout.
func cloudEnv(t *testing.T, dir, binary string) []string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", `eval "$("$0" local:env)" && env`, binary)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("local:env: %v", err)
	}
	var set []string
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "AWS_") {
			set = append(set, strings.TrimSpace(line))
		}
	}
	return set
}
