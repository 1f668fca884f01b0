//go:build integration

package target_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestIntegrationPolicies runs what each of the roles for GitHub Actions is for, and compares the calls that reached the
// local cloud with what Terraform's policies allow: nothing is missing, and nothing is there for no reason.
func TestIntegrationPolicies(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	const settings = "app = \"hello\"\nstate {\n  bucket = \"hello-state-test\"\n}\ngithub {\n  repository = \"octo-org/octo-repo\"\n}\nrollout {\n  warmup = \"1s\"\n}\n"
	if err := os.WriteFile(filepath.Join(c.dir, "ingot.hcl"), []byte(settings), 0o644); err != nil {
		t.Fatal(err)
	}
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
			c.must(t, "local", "base")
			images[0] = c.must(t, "local", "app")
			c.edit(t, greetingFile, `greeting = ".*"`, `greeting = "Good evening"`)
			images[1] = c.must(t, "local", "app")
			c.must(t, "local", "sweep", "-yes")
		}, unused: map[string]string{
			"ec2:DeleteSnapshot":  "sweep: the snapshot of an image that was never finished",
			"ec2:DeregisterImage": "sweep: an image that was never finished",
		}},
		{name: "deploy", run: func(t *testing.T) {
			c.must(t, "local", "prod", "-image="+images[0])
			c.must(t, "local", "prod", "-image="+images[1])
			c.must(t, "local", "rollback")
			c.must(t, "local", "status")
			c.must(t, "local", "releases")
			c.must(t, "local", "deployments")
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
			if out := c.must(t, "local", "infra:plan"); out != "no changes" {
				t.Errorf("infra:plan printed %q", out)
			}
		}},
	}
	for _, role := range roles {
		t.Run(role.name, func(t *testing.T) {
			begin := c.logSize(t)
			role.run(t)
			calls := c.callsSince(t, begin)
			statements := c.policy(t, "hello-"+role.name+"-us-west-1", role.name)
			used := map[string]bool{}
			for _, call := range calls {
				used[call.action] = true
				if !slices.ContainsFunc(statements, func(s statement) bool { return s.allows(call) }) {
					t.Errorf("the role may not do %s on %q", call.action, call.resource)
				}
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

// statement is one of a policy document as Terraform writes it, where a single value is no list.
type statement struct {
	Sid, Effect      string
	Action, Resource values
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

// allows reports whether a statement allows a call. What the call was about is known for S3 alone.
func (s statement) allows(call apiCall) bool {
	return s.Effect == "Allow" && slices.Contains(s.Action, call.action) && (call.resource == "" ||
		slices.ContainsFunc(s.Resource, func(pattern string) bool { return glob(pattern, call.resource) }))
}

// glob matches as IAM does: an asterisk stands for anything, slashes included.
func glob(pattern, text string) bool {
	expression := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*")
	return regexp.MustCompile("^" + expression + "$").MatchString(text)
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

// apiCall is a call as IAM sees it.
type apiCall struct {
	action   string // ec2:RunInstances
	resource string // ARN, for S3
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

// callsSince returns the calls in the cloud's log from an offset on.
func (c *clone) callsSince(t *testing.T, begin int) []apiCall {
	t.Helper()
	data, err := os.ReadFile(c.cloudLog())
	if err != nil {
		t.Fatal(err)
	}
	var calls []apiCall
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
			calls = append(calls, apiCall{action: "cloudwatch:" + action})
		default:
			calls = append(calls, apiCall{action: service + ":" + action})
		}
	}
	if len(calls) == 0 {
		t.Fatal("the cloud's log holds no calls")
	}
	return calls
}

// s3Call tells what a request to S3 does by IAM's names,
// see https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html.
func s3Call(request string) (apiCall, error) {
	method, address, _ := strings.Cut(request, " ")
	u, err := url.Parse(address)
	if err != nil {
		return apiCall{}, err
	}
	bucket, key, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	arn := "arn:aws:s3:::" + path.Join(bucket, key)
	if key != "" {
		action, ok := map[string]string{"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}[method]
		if !ok || u.Query().Has("versionId") || u.Query().Has("tagging") {
			return apiCall{}, fmt.Errorf("no name for %s", request)
		}
		return apiCall{"s3:" + action, arn}, nil
	}
	if method == "HEAD" || u.Query().Has("list-type") {
		return apiCall{"s3:ListBucket", arn}, nil
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
			return apiCall{"s3:" + action, arn}, nil
		}
	}
	return apiCall{}, fmt.Errorf("no name for %s", request)
}
