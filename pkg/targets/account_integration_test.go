//go:build integration

package targets_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestIntegrationShapes rehearses in an account of another shape, where reads lag, with a good release, a bad one and a rollback, none
// of which may lose a request.
func TestIntegrationShapes(t *testing.T) {
	t.Parallel()
	hasten := func(t *testing.T, c *clone) { c.hasten(t) }
	c := newClone(t)
	hasten(t, c)
	// Ten vCPUs are what doctor asks for: two instances, twice while they are replaced, and one that bakes.
	const shape = "no-default-vpc vcpus=10 zone-without-type=us-west-1a:t3.micro root=/dev/sda1 ebs-key=customer"
	c.must(t, "local:shape", shape)
	c.seesShape(t, shape)
	c.grantsKey(t)
	c.needsSubnet(t)
	c.must(t, "local:fault", lag)
	c.must(t, "rehearse")
	c.hasShape(t)
	c.bakedInStack(t)
	c.tell(t, hasten,
		story{"a release", goodUnderLoad},
		bad("never becomes healthy", `return answer(503, h, always)`, "codes: [503]"),
		story{"a rollback", backUnderLoad},
	)
}

// needsSubnet checks that a bake which has no subnet to be in says so before it makes anything.
func (c *clone) needsSubnet(t *testing.T) {
	t.Helper()
	_, stderr, err := c.run(t, "local", "base")
	const said = "there is no subnet to bake in: no public one is tagged ingot:app=hello, and the region has no default VPC with one; set image { subnet } in ingot.hcl, or make the stack's with: mage local infra:apply"
	if err == nil || !strings.Contains(stderr, said) {
		t.Errorf("base says\n%s", stderr)
	}
	for _, query := range [][]string{{"SecurityGroups[].GroupId", "describe-security-groups"}, {"Reservations[].Instances[].InstanceId", "describe-instances"}} {
		if made := list(t, c.aws(t, query[0], "ec2", query[1], "--filters", "Name=tag-key,Values=ingot:run")); len(made) > 0 {
			t.Errorf("%s: made %v before it failed", query[1], made)
		}
	}
}

// bakedInStack checks that both images were baked in the stack's subnets, also where everything is made at once.
func (c *clone) bakedInStack(t *testing.T) {
	t.Helper()
	subnets := list(t, c.aws(t, "Subnets[].SubnetId", "ec2", "describe-subnets", "--filters", "Name=tag:ingot:app,Values=hello"))
	files, err := filepath.Glob(filepath.Join(c.dir, ".ingot", "*", "*", "bakes", "*", "variables.json"))
	if err != nil || len(files) != 2 {
		t.Errorf("%d bakes, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var variables struct {
			Subnet string `json:"subnet_id"`
		}
		if err := json.Unmarshal(data, &variables); err != nil || !slices.Contains(subnets, variables.Subnet) {
			t.Errorf("%s: baked in %q, not in the stack's %v (%v)", file, variables.Subnet, subnets, err)
		}
	}
}

// backUnderLoad goes back to the release before.
func backUnderLoad(t *testing.T, c *clone) {
	url := c.must(t, "local", "url")
	_, before := get(t, url)
	report := c.underLoad(t, url, 0, func() { c.must(t, "local", "rollback") })
	if _, now := get(t, url); now == before || report.Releases()[now] == 0 {
		t.Errorf("after the rollback from %q, %q answers", before, now)
	}
}

// seesShape checks that status and doctor speak of the account as it is.
func (c *clone) seesShape(t *testing.T, shape string) {
	t.Helper()
	if status := c.must(t, "local:status"); !strings.Contains(status, "shape: "+shape) {
		t.Errorf("local:status says\n%s", status)
	}
	said, _, _ := c.run(t, "local", "doctor") // there is no stack yet, which is reason enough for an exit code
	for _, want := range []string{
		"there is no subnet to bake in", "image { subnet } in ingot.hcl",
		"10 vCPUs of standard instances", "aws service-quotas request-service-quota-increase",
		"t3.micro is offered in us-west-1b, us-west-1c",
		"the account's default for EBS; whether bakes and Auto Scaling may use it is not seen from here", "aws kms create-grant",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("doctor does not say %q:\n%s", want, said)
		}
	}
}

// grantsKey lets EC2 Auto Scaling use the account's key, as the README says.
func (c *clone) grantsKey(t *testing.T) {
	t.Helper()
	text := func(query string, args ...string) string { return strings.Trim(c.aws(t, query, args...), "\"\n") }
	key, account := text("KmsKeyId", "ec2", "get-ebs-default-kms-key-id"), text("Account", "sts", "get-caller-identity")
	c.aws(t, "GrantId", "kms", "create-grant", "--key-id", key,
		"--grantee-principal", "arn:aws:iam::"+account+":role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling",
		"--operations", "Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "DescribeKey", "CreateGrant")
}

// hasShape checks that the fleet is as the account's shape has it.
func (c *clone) hasShape(t *testing.T) {
	t.Helper()
	running := []string{"ec2", "describe-instances", "--filters", "Name=instance-state-name,Values=running"}
	for _, zone := range list(t, c.aws(t, "Reservations[].Instances[].Placement.AvailabilityZone", running...)) {
		if zone == "us-west-1a" {
			t.Error("an instance runs in a zone that lacks its type")
		}
	}
	for _, device := range list(t, c.aws(t, "Reservations[].Instances[].BlockDeviceMappings[].DeviceName", running...)) {
		if device != "/dev/sda1" {
			t.Errorf("an instance has a second disk, %s", device)
		}
	}
	if others := list(t, c.aws(t, "Snapshots[?KmsKeyId==null].SnapshotId", "ec2", "describe-snapshots", "--owner-ids", "self")); len(others) > 0 {
		t.Errorf("snapshots %v are not encrypted with the account's key", others)
	}
}
