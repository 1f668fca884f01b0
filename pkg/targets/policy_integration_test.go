//go:build integration

package targets_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestIntegrationPolicies does what each of the roles for GitHub Actions is for, as that role, and compares the calls that reached the
// local cloud with what Terraform's policies allow: nothing is there for no reason.
func TestIntegrationPolicies(t *testing.T) {
	t.Parallel()
	c := newReleasedClone(t)
	const settings = "app = \"hello\"\nstate {\n  bucket = \"hello-state-test\"\n}\ngithub {\n  repository = \"" + octoRepo + "\"\n}\nrollout {\n  warmup = \"1s\"\n}\n"
	if err := os.WriteFile(filepath.Join(c.dir, "ingot.hcl"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
	c.letPackerBake(t)
	c.forgetRelease(t)
	c.must(t, "local", "infra:bootstrap")
	c.must(t, "local", "infra:apply")
	var images [2]string
	roles := []struct {
		name string
		run  func(t *testing.T)
		// unused is what the role may do and did not do here, and why it may.
		unused map[string]string
	}{
		{name: "bake", run: func(t *testing.T) {
			c.must(t, "base")
			images[0] = c.must(t, "app")
			c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good evening"`)
			images[1] = c.must(t, "app")
			c.must(t, "sweep", "-yes")
		}, unused: map[string]string{
			"ec2:DeleteSnapshot":  "sweep: the snapshot of an image that was never finished",
			"ec2:DeregisterImage": "sweep: an image that was never finished",
			"ec2:DescribeVpcs":    "where the stack has no public subnet: the default VPC",
		}},
		{name: "deploy", run: func(t *testing.T) {
			c.must(t, "prod", "-image="+images[0])
			c.must(t, "prod", "-image="+images[1])
			c.must(t, "rollback")
			c.must(t, "status")
			c.must(t, "releases")
			c.must(t, "deployments")
		}, unused: map[string]string{
			"autoscaling:CancelInstanceRefresh":      "a rollout that is given up",
			"autoscaling:DescribeScalingActivities":  "a rollout that fails: why",
			"autoscaling:RollbackInstanceRefresh":    "a rollout that is given up",
			"cloudwatch:DescribeAlarms":              "AWS wants it of whoever names alarms",
			"codedeploy:GetApplicationRevision":      "AWS wants it for CreateDeployment",
			"codedeploy:GetDeploymentConfig":         "AWS wants it for CreateDeployment",
			"codedeploy:RegisterApplicationRevision": "AWS wants it for CreateDeployment",
			"ec2:CreateTags":                         "AWS wants it of whoever names a launch template that tags",
			"ec2:DescribeInstances":                  "a rollout that fails: why",
			"ec2:GetConsoleOutput":                   "a rollout that fails: why",
			"ec2:RunInstances":                       "AWS wants it of whoever names a launch template",
			"iam:PassRole":                           "AWS wants it of whoever names a launch template with a role",
			"s3:ListBucket":                          "S3 does not say otherwise that an object is not there",
		}},
		{name: "plan", run: func(t *testing.T) {
			if out := c.must(t, "infra:plan"); out != "no changes" {
				t.Errorf("infra:plan printed %q", out)
			}
		}},
	}
	for _, role := range roles {
		t.Run(role.name, func(t *testing.T) {
			c.as(t, role.name)
			begin := c.logSize(t)
			role.run(t)
			calls := c.callsSince(t, begin)
			statements := c.policy(t, "hello-"+role.name+"-us-west-1", role.name)
			used := map[string]bool{}
			for _, action := range calls {
				used[action] = true
			}
			for _, s := range statements {
				for _, action := range s.Action {
					if _, ok := role.unused[action]; !used[action] && !ok {
						t.Errorf("the role may do %s (%s), and nothing does it", action, s.Sid)
					}
				}
			}
			for action, why := range role.unused {
				if !slices.ContainsFunc(statements, func(s statement) bool { return slices.Contains(s.Action, action) }) {
					t.Errorf("the role may not do %s: %s", action, why)
				}
			}
			t.Logf("%d calls of %d actions: %v", len(calls), len(used), slices.Sorted(maps.Keys(used)))
		})
	}
}

// forgetRelease empties the group and removes the pointer, the deployment group and the revisions: after the next
// infra:apply, which makes the deployment group anew, the next release is the first.
func (c *clone) forgetRelease(t *testing.T) {
	t.Helper()
	c.aws(t, "@", "deploy", "delete-deployment-group", "--application-name", "hello", "--deployment-group-name", "hello")
	var bucket string
	c.decode(t, &bucket, c.aws(t, "Parameter.Value", "ssm", "get-parameter", "--name", "/ingot/hello/revisions"))
	if out, err := c.awsError(t, "s3", "rm", "--recursive", "s3://"+bucket); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.aws(t, "@", "autoscaling", "update-auto-scaling-group", "--auto-scaling-group-name", "hello", "--min-size", "0", "--desired-capacity", "0")
	c.aws(t, "@", "ssm", "delete-parameter", "--name", "/ingot/hello/release")
	c.grows(t, 0, "")
}

// statement is one of a policy document as Terraform writes it, where a single value is no list.
type statement struct {
	Sid    string
	Action values
}

type values []string

func (v *values) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*v = values{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(v))
}

func (c *clone) policy(t *testing.T, role, name string) []statement {
	t.Helper()
	var document struct{ Statement []statement }
	text := c.aws(t, "PolicyDocument", "iam", "get-role-policy", "--role-name", role, "--policy-name", name)
	if err := json.Unmarshal([]byte(text), &document); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return document.Statement
}

func (c *clone) cloudLog() string { return filepath.Join(c.dir, ".ingot", "local", "cloud.log") }

func (c *clone) logSize(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile(c.cloudLog())
	if err != nil {
		t.Fatal(err)
	}
	return len(data)
}

// callsSince returns the calls in the cloud's log from an offset on, by IAM's names of what they do: ec2:RunInstances.
func (c *clone) callsSince(t *testing.T, begin int) []string {
	t.Helper()
	data, err := os.ReadFile(c.cloudLog())
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, match := range regexp.MustCompile(`msg="([a-z0-9-]+) (\S+(?: /\S*)?) \d{3} `).FindAllStringSubmatch(string(data[begin:]), -1) {
		service, action := match[1], match[2]
		switch {
		case service == "ingot", service+action == "stsGetCallerIdentity": // the cloud's own; and what anybody may
		case service == "s3":
			call, err := s3Call(action)
			if err != nil {
				t.Fatal(err)
			}
			calls = append(calls, call)
		case service == "monitoring":
			calls = append(calls, "cloudwatch:"+action)
		default:
			calls = append(calls, service+":"+action)
		}
	}
	if len(calls) == 0 {
		t.Fatal("the cloud's log holds no calls")
	}
	return calls
}

// s3Call tells what a request to S3 does by IAM's names,
// see https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html.
func s3Call(request string) (string, error) {
	method, address, _ := strings.Cut(request, " ")
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	if _, key, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/"); key != "" {
		action, ok := map[string]string{"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}[method]
		if !ok || u.Query().Has("versionId") || u.Query().Has("tagging") {
			return "", fmt.Errorf("no name for %s", request)
		}
		return "s3:" + action, nil
	}
	if method == "HEAD" || u.Query().Has("list-type") {
		return "s3:ListBucket", nil
	}
	for parameter, action := range map[string]string{
		"accelerate":        "GetAccelerateConfiguration",
		"acl":               "GetBucketAcl",
		"cors":              "GetBucketCORS",
		"encryption":        "GetEncryptionConfiguration",
		"lifecycle":         "GetLifecycleConfiguration",
		"logging":           "GetBucketLogging",
		"object-lock":       "GetBucketObjectLockConfiguration",
		"policy":            "GetBucketPolicy",
		"publicAccessBlock": "GetBucketPublicAccessBlock",
		"replication":       "GetReplicationConfiguration",
		"requestPayment":    "GetBucketRequestPayment",
		"tagging":           "GetBucketTagging",
		"versioning":        "GetBucketVersioning",
		"website":           "GetBucketWebsite",
	} {
		if method == "GET" && u.Query().Has(parameter) {
			return "s3:" + action, nil
		}
	}
	return "", fmt.Errorf("no name for %s", request)
}
