package terraform

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"

	"github.com/ingot-build/ingot/internal/stackpolicy"
)

const (
	ec2ARN   = "arn:aws:ec2:us-west-1:123456789012:"
	imageARN = "arn:aws:ec2:us-west-1::image/ami-1"
	snapARN  = "arn:aws:ec2:us-west-1::snapshot/snap-1"
	template = ec2ARN + "launch-template/lt-1"
	asgARN   = "arn:aws:autoscaling:us-west-1:123456789012:autoScalingGroup:u-u-i-d:autoScalingGroupName/"
)

// act is something that somebody does: an action on each of some resources, with the context keys that AWS gives it.
type act struct {
	action    string
	resources []string
	keys      map[string][]string
}

func on(action string, resources ...string) act { return act{action: action, resources: resources} }

// with adds context keys: "key=value", or "key=" for none of a list.
func (a act) with(pairs ...string) act {
	a.keys = maps.Clone(a.keys)
	if a.keys == nil {
		a.keys = map[string][]string{}
	}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		a.keys[key] = append(a.keys[key], value)
	}
	return a
}

// TestPolicies does what each role is for, and what it must not do: each with the keys that the service authorization
// reference lists for the action, see https://docs.aws.amazon.com/service-authorization/latest/reference/.
func TestPolicies(t *testing.T) {
	const own, ourRun = "aws:ResourceTag/ingot:app=hello", "aws:ResourceTag/ingot:run=r1"
	const foreign = "aws:ResourceTag/ingot:app=other"
	toOwn := []string{"aws:RequestTag/ingot:app=hello", "aws:TagKeys=ingot:app", "aws:TagKeys=ingot:run", "aws:TagKeys=Name"}
	tagImage := on("ec2:CreateTags", imageARN, snapARN).with(toOwn...)
	launch := on("ec2:RunInstances", ec2ARN+"instance/*", ec2ARN+"volume/*", ec2ARN+"security-group/sg-1", imageARN, snapARN).
		with("ec2:LaunchTemplate="+template, "ec2:IsLaunchTemplateResource=true")
	fill := on("autoscaling:UpdateAutoScalingGroup", asgARN+"hello").
		with("autoscaling:LaunchTemplateVersionSpecified=true", "autoscaling:MinSize=2")
	roles := map[string]struct {
		variables       map[string]cty.Value
		allowed, denied map[string]act
	}{
		"bake": {
			allowed: map[string]act{
				"tag an image as it is made":    on("ec2:CreateTags", imageARN, snapARN).with(toOwn...).with("ec2:CreateAction=CreateImage"),
				"make an image":                 on("ec2:CreateImage", imageARN, snapARN).with(toOwn...),
				"make it of a run's machine":    on("ec2:CreateImage", ec2ARN+"instance/i-1").with(own, ourRun),
				"finish an image":               tagImage.with(own),
				"remove an image":               on("ec2:DeregisterImage", imageARN).with(own),
				"remove a snapshot":             on("ec2:DeleteSnapshot", snapARN).with(own),
				"a run's key":                   on("ec2:CreateKeyPair", ec2ARN+"key-pair/ingot-hello-base-r1"),
				"run in the group of a run":     on("ec2:RunInstances", ec2ARN+"security-group/sg-1").with(own, ourRun),
				"terminate a run's machine":     on("ec2:TerminateInstances", ec2ARN+"instance/i-1").with(own, ourRun),
				"a machine that says whose":     on("ec2:RunInstances", ec2ARN+"instance/*", ec2ARN+"volume/*").with(toOwn...),
				"let a run's machine be logged": on("ec2:AuthorizeSecurityGroupIngress", ec2ARN+"security-group/sg-1").with(own, ourRun),
			},
			denied: map[string]act{
				"remove another application's image":   on("ec2:DeregisterImage", imageARN).with(foreign),
				"remove an image without a tag":        on("ec2:DeregisterImage", imageARN),
				"publish an image without a tag":       on("ec2:ModifyImageAttribute", imageARN),
				"remove a snapshot without a tag":      on("ec2:DeleteSnapshot", snapARN),
				"claim an image without a tag":         tagImage,
				"claim another application's image":    tagImage.with(foreign),
				"give an image away":                   on("ec2:CreateTags", imageARN).with(own, "aws:RequestTag/ingot:app=other", "aws:TagKeys=ingot:app"),
				"give an image a tag that others read": tagImage.with(own, "aws:TagKeys=CostCenter"),
				"tag the fleet":                        on("ec2:CreateTags", ec2ARN+"instance/i-1").with(own).with(toOwn...),
				"make an image that is nobody's":       on("ec2:CreateImage", imageARN),
				"copy the fleet's disk":                on("ec2:CreateImage", ec2ARN+"instance/i-1").with(own),
				"terminate the fleet":                  on("ec2:TerminateInstances", ec2ARN+"instance/i-1").with(own),
				"open the fleet's security group":      on("ec2:AuthorizeSecurityGroupIngress", ec2ARN+"security-group/sg-1").with(own),
				"bake behind somebody's rules":         on("ec2:RunInstances", ec2ARN+"security-group/sg-9"),
				"remove another application's key":     on("ec2:DeleteKeyPair", ec2ARN+"key-pair/ingot-other-base-r1"),
				"give a machine a role":                on("iam:PassRole", "arn:aws:iam::123456789012:role/hello-instance-1").with("iam:PassedToService=ec2.amazonaws.com"),
				"roll out":                             on("autoscaling:StartInstanceRefresh", asgARN+"hello"),
			},
		},
		"bake, with an old Packer": {
			variables: map[string]cty.Value{"github_old_packer": cty.True},
			allowed: map[string]act{
				"make an image":           on("ec2:CreateImage", imageARN, snapARN),
				"describe it":             on("ec2:ModifyImageAttribute", imageARN),
				"tag it and its snapshot": tagImage,
			},
			denied: map[string]act{
				"claim another application's image": tagImage.with(foreign),
				"publish another one's image":       on("ec2:ModifyImageAttribute", imageARN).with(foreign),
				"remove an image without a tag":     on("ec2:DeregisterImage", imageARN),
				"remove a snapshot without a tag":   on("ec2:DeleteSnapshot", snapARN),
			},
		},
		"deploy": {
			allowed: map[string]act{
				"launch the template":         launch,
				"launch in the group's zones": on("ec2:RunInstances", ec2ARN+"subnet/subnet-1", ec2ARN+"network-interface/*", template).with("ec2:LaunchTemplate=" + template),
				"fill the group":              fill,
				"empty the group":             on("autoscaling:UpdateAutoScalingGroup", asgARN+"hello").with("autoscaling:LaunchTemplateVersionSpecified=true", "autoscaling:MinSize=0"),
				"attach the group":            on("codedeploy:UpdateDeploymentGroup", "arn:aws:codedeploy:us-west-1:123456789012:deploymentgroup:hello/hello"),
				"leave CodeDeploy its role":   on("iam:PassRole", "arn:aws:iam::123456789012:role/hello-codedeploy-1").with("iam:PassedToService=codedeploy.amazonaws.com"),
				"pass the instances' role":    on("iam:PassRole", "arn:aws:iam::123456789012:role/hello-instance-1").with("iam:PassedToService=ec2.amazonaws.com"),
			},
			denied: map[string]act{
				"launch another image with the template":   on("ec2:RunInstances", imageARN).with("ec2:LaunchTemplate="+template, "ec2:IsLaunchTemplateResource=false"),
				"launch another type with the template":    on("ec2:RunInstances", ec2ARN+"instance/*").with("ec2:LaunchTemplate="+template, "ec2:IsLaunchTemplateResource=false"),
				"launch without a template":                on("ec2:RunInstances", ec2ARN+"instance/*").with("ec2:IsLaunchTemplateResource=false"),
				"launch another's template":                on("ec2:RunInstances", ec2ARN+"instance/*").with("ec2:LaunchTemplate="+ec2ARN+"launch-template/lt-9", "ec2:IsLaunchTemplateResource=true"),
				"launch into another subnet":               on("ec2:RunInstances", ec2ARN+"subnet/subnet-9").with("ec2:LaunchTemplate=" + template),
				"change another application's group":       on("autoscaling:UpdateAutoScalingGroup", asgARN+"other").with("autoscaling:LaunchTemplateVersionSpecified=true"),
				"raise the group's bound":                  fill.with("autoscaling:MaxSize=100"),
				"fill the group beyond its bound":          on("autoscaling:UpdateAutoScalingGroup", asgARN+"hello").with("autoscaling:LaunchTemplateVersionSpecified=true", "autoscaling:MinSize=100"),
				"move the group to another subnet":         fill.with("autoscaling:VPCZoneIdentifiers=subnet-1", "autoscaling:VPCZoneIdentifiers=subnet-9"),
				"have the group follow the latest version": on("autoscaling:UpdateAutoScalingGroup", asgARN+"hello").with("autoscaling:LaunchTemplateVersionSpecified=false"),
				"move another application's pointer":       on("ssm:PutParameter", "arn:aws:ssm:us-west-1:123456789012:parameter/ingot/other/release"),
				"detach another application's group":       on("codedeploy:UpdateDeploymentGroup", "arn:aws:codedeploy:us-west-1:123456789012:deploymentgroup:other/other"),
				"give a machine CodeDeploy's role":         on("iam:PassRole", "arn:aws:iam::123456789012:role/hello-codedeploy-1").with("iam:PassedToService=ec2.amazonaws.com"),
				"bake":                                     on("ec2:CreateImage", imageARN).with(toOwn...),
			},
		},
		"plan": {
			allowed: map[string]act{
				"look at the instances' role": on("iam:GetRole", "arn:aws:iam::123456789012:role/hello-instance-1"),
				"look at CodeDeploy's role":   on("iam:GetRole", "arn:aws:iam::123456789012:role/hello-codedeploy-1"),
				"look at a workflow's role":   on("iam:GetRolePolicy", "arn:aws:iam::123456789012:role/hello-deploy-us-west-1"),
				"look at the bucket":          on("s3:GetBucketPolicy", "arn:aws:s3:::hello-revisions-1"),
				"look at the zones":           on("ec2:DescribeInstanceTypeOfferings", "*"),
			},
			denied: map[string]act{
				"look at the role of hello-other":   on("iam:GetRole", "arn:aws:iam::123456789012:role/hello-other-instance-1"),
				"look at the bucket of hello-other": on("s3:GetBucketPolicy", "arn:aws:s3:::hello-revisions-x-revisions-1"),
				"read a revision":                   on("s3:GetObject", "arn:aws:s3:::hello-revisions-1/x.zip"),
				"read another state":                on("s3:GetObject", "arn:aws:s3:::states/ingot/other/us-west-1.tfstate"),
				"write the state":                   on("s3:PutObject", "arn:aws:s3:::states/ingot/hello/us-west-1.tfstate"),
				"apply":                             on("autoscaling:UpdateAutoScalingGroup", asgARN+"hello"),
			},
		},
		"codedeploy": {
			allowed: map[string]act{
				"hold a new instance": on("autoscaling:PutLifecycleHook", asgARN+"hello"),
				"launch the template": on("ec2:RunInstances", ec2ARN+"instance/*", imageARN).with("ec2:LaunchTemplate=" + template),
			},
			denied: map[string]act{
				"hold another application's instances": on("autoscaling:PutLifecycleHook", asgARN+"other"),
				"launch without the template":          on("ec2:RunInstances", ec2ARN+"instance/*"),
				"look at alarms":                       on("cloudwatch:DescribeAlarms", "*"),
				"pass on another role":                 on("iam:PassRole", "arn:aws:iam::123456789012:role/admin").with("iam:PassedToService=ec2.amazonaws.com"),
			},
		},
	}
	for name, role := range roles {
		t.Run(name, func(t *testing.T) {
			document, _, _ := strings.Cut(name, ",")
			statements := policyDocument(t, document, role.variables)
			for what, a := range role.allowed {
				if !a.isAllowed(t, statements) {
					t.Errorf("it may not %s", what)
				}
			}
			for what, a := range role.denied {
				if a.isAllowed(t, statements) {
					t.Errorf("it may %s", what)
				}
			}
		})
	}
}

// isAllowed tells whether some statement allows the action on each of the resources. None of these policies denies anything.
func (a act) isAllowed(t *testing.T, statements []stackpolicy.Statement) bool {
	t.Helper()
	for _, resource := range a.resources {
		if !slices.ContainsFunc(statements, func(s stackpolicy.Statement) bool {
			if s.Effect != "" && s.Effect != "Allow" {
				t.Fatalf("%s has the effect %s", s.SID, s.Effect)
			}
			return slices.Contains(s.Actions, a.action) &&
				slices.ContainsFunc(s.Resources, func(pattern string) bool { return matches(pattern, resource) }) &&
				!slices.ContainsFunc(s.Conditions, func(c stackpolicy.Condition) bool { return !holds(t, c, a.keys) })
		}) {
			return false
		}
	}
	return true
}

// holds evaluates a condition, see https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html.
func holds(t *testing.T, c stackpolicy.Condition, keys map[string][]string) bool {
	t.Helper()
	values, given := keys[c.Variable]
	operator, all := strings.CutPrefix(c.Test, "ForAllValues:")
	operator, ifExists := strings.CutSuffix(operator, "IfExists")
	if operator == "Null" {
		return slices.Contains(c.Values, strconv.FormatBool(!given))
	}
	if !given {
		return all || ifExists
	}
	if !all && len(values) != 1 {
		t.Fatalf("%s has the values %q, and the condition is one for a single value", c.Variable, values)
	}
	return !slices.ContainsFunc(values, func(value string) bool {
		return !slices.ContainsFunc(c.Values, func(want string) bool {
			switch operator {
			case "StringEquals", "Bool":
				return want == value
			case "StringLike", "ArnEquals", "ArnLike":
				return matches(want, value)
			case "NumericLessThanEquals":
				w, _ := strconv.Atoi(want)
				v, err := strconv.Atoi(value)
				return err == nil && v <= w
			}
			t.Fatalf("no such operator here: %s", c.Test)
			return false
		})
	})
}

// matches compares as IAM does: an asterisk stands for anything, slashes included.
func matches(pattern, text string) bool {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$").MatchString(text)
}

// policyDocument evaluates a policy document of the stack.
func policyDocument(t *testing.T, name string, variables map[string]cty.Value) []stackpolicy.Statement {
	t.Helper()
	stack, err := stackpolicy.Load("../../terraform", stackpolicy.Names{
		Account: "123456789012", Region: "us-west-1", LaunchTemplate: template, InstanceRole: "hello-instance-1", InstanceProfile: "hello-instance-1",
		CodeDeployRole: "hello-codedeploy-1", RevisionsBucket: "hello-revisions-1", Subnets: []string{"subnet-1", "subnet-2"},
	}, variables)
	if err != nil {
		t.Fatal(err)
	}
	statements, err := stack.Statements(name, "")
	if err != nil {
		t.Fatal(err)
	}
	return statements
}
