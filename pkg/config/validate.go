package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/rollout"
)

var (
	appPattern        = regexp.MustCompile(`^[a-z][a-z0-9-]{1,22}[a-z0-9]$`)
	regionPattern     = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	accountPattern    = regexp.MustCompile(`^([0-9]{12}|self|amazon)$`)
	userPattern       = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	healthPattern     = regexp.MustCompile(`^/[A-Za-z0-9/._~%?=&+:@,;!*'()-]*$`) // what a URL's path and query may hold but $, as provision/app/app.sh has it too
	verifyPattern     = regexp.MustCompile(`^/[!-~]*$`)
	packagePattern    = regexp.MustCompile(`^(|\.(/[A-Za-z0-9._~+-]+)*)$`) // as provision/app/app.sh has it too
	instancePattern   = regexp.MustCompile(`^[a-z0-9-]+\.[a-z0-9-]+$`)
	domainPattern     = regexp.MustCompile(`^(|[a-z0-9-]+(\.[a-z0-9-]+)+)$`)
	repositoryPattern = regexp.MustCompile(`^(|[A-Za-z0-9](-?[A-Za-z0-9])*/[A-Za-z0-9._-]+)$`)
	numberPattern     = regexp.MustCompile(`^[0-9]{0,20}$`)
	bucketPattern     = regexp.MustCompile(`^(|[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])$`)
	subnetPattern     = regexp.MustCompile(`^(|subnet-[0-9a-f]{8}([0-9a-f]{9})?)$`)
	keyPattern        = regexp.MustCompile(`^(|(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:)?(key/)?(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})|(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:)?alias/[A-Za-z0-9/_-]+)$`)
	certPattern       = regexp.MustCompile(`^(|arn:aws[a-z-]*:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+)$`)
)

// Names that AWS keeps for itself: of load balancers, of security groups, and of buckets, one of which begins with the
// application's name. See https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html. The same rules in
// terraform/variables.tf; a test compares them.
var (
	reservedApp    = regexp.MustCompile(`^(internal-|sg-|xn--|sthree-|amzn-s3-demo-)`)
	reservedBucket = regexp.MustCompile(`^(xn--|sthree-|amzn-s3-demo-)|(-s3alias|--ol-s3|\.mrap|--x-s3|--table-s3)$`)
	noBucket       = regexp.MustCompile(`\.\.|^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+$`) // an IP address is none
)

// What Auto Scaling's preferences of an instance refresh allow.
const (
	maxRolloutDelay = 48 * time.Hour // CheckpointDelay and BakeTime: 172,800 s
	maxAlarms       = 10
)

var (
	standbyChoices   = []string{"ignore", "terminate", "wait"}
	protectedChoices = []string{"refresh", "ignore", "wait"}
)

// architectures are the ones that EC2 has Debian images for, by EC2's names.
var architectures = []string{"x86_64", "arm64"}

// maxDisk is the largest gp3 volume in GiB that every region has: https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html
const maxDisk = 16384

// maxInstances keeps a slip of the finger from buying a data centre; the quota of a new account is far below it.
const maxInstances = 1000

// position finds where a setting stands: "rollout.warmup". For one that the file leaves out it is where its block
// begins, if the file has that.
type position func(name string) *hcl.Range

func positions(body hcl.Body) position {
	found := map[string]*hcl.Range{}
	root, ok := body.(*hclsyntax.Body)
	if !ok {
		return func(string) *hcl.Range { return nil }
	}
	add := func(prefix string, b *hclsyntax.Body) {
		for name, a := range b.Attributes {
			found[prefix+name] = a.Expr.Range().Ptr()
		}
	}
	add("", root)
	for _, b := range root.Blocks {
		found[b.Type] = b.TypeRange.Ptr()
		add(b.Type+".", b.Body)
	}
	return func(name string) *hcl.Range {
		if at := found[name]; at != nil {
			return at
		}
		block, _, _ := strings.Cut(name, ".")
		return found[block]
	}
}

// validate checks every setting, and reads those that are durations from their texts.
func (c *Config) validate(at position, durations map[string]string) hcl.Diagnostics {
	var diags hcl.Diagnostics
	check := func(ok bool, name string, value any, allowed string) {
		if !ok {
			diags = append(diags, &hcl.Diagnostic{Severity: hcl.DiagError, Subject: at(name),
				Summary: fmt.Sprintf("%s is %s", name, showValue(value)), Detail: "allowed is " + allowed})
		}
	}
	check(appPattern.MatchString(c.App), "app", c.App, "a name of 3 to 24 lower-case letters, digits and hyphens that begins with a letter")
	check(!reservedApp.MatchString(c.App), "app", c.App, "a name that does not begin with internal-, sg-, xn--, sthree- or amzn-s3-demo-, which AWS keeps for itself")
	check(c.Region == "" || regionPattern.MatchString(c.Region), "region", c.Region, `a region such as "us-west-1"`)

	check(accountPattern.MatchString(c.Image.Owner), "image.owner", c.Image.Owner, `an account of 12 digits, "amazon" or "self"`)
	check(c.Image.Name != "" && len(c.Image.Name) <= 128, "image.name", c.Image.Name, "1 to 128 characters, with * and ? as wildcards")
	check(userPattern.MatchString(c.Image.User), "image.user", c.Image.User, "a Linux user name")
	check(slices.Contains(architectures, c.Image.Architecture), "image.architecture", c.Image.Architecture, quoteChoices(architectures))

	check(c.Image.InstanceType == "" || instancePattern.MatchString(c.Image.InstanceType) && !isTiny(c.Image.InstanceType), "image.instance_type", c.Image.InstanceType, `an instance type with at least 2 GiB of memory, such as "t3.medium"`)
	check(c.Image.InstanceType == "" || isARM(c.Image.InstanceType) == (c.Image.Architecture == "arm64"), "image.instance_type", c.Image.InstanceType, "a type that runs image.architecture, "+c.Image.Architecture)
	check(subnetPattern.MatchString(c.Image.Subnet), "image.subnet", c.Image.Subnet, `the ID of a subnet such as "subnet-0123456789abcdef0", or nothing`)
	check(keyPattern.MatchString(c.Image.KMSKey), "image.kms_key", c.Image.KMSKey, `the ID, the alias ("alias/NAME") or the ARN of a KMS key, or nothing`)
	check(!slices.ContainsFunc(c.Image.SSHCIDRs, func(cidr string) bool { return !isCIDR(cidr) }), "image.ssh_cidrs", c.Image.SSHCIDRs, `address blocks such as "203.0.113.7/32", but not every address there is`)

	check(c.Service.Source != "" && !filepath.IsAbs(c.Service.Source), "service.source", c.Service.Source, "a folder of the repository, as a path from the folder of this file")
	check(packagePattern.MatchString(c.Service.Package), "service.package", c.Service.Package, `the path of a main package in service.source, such as "./cmd/hello", or nothing for that folder itself`)
	check(c.Service.Port >= 0 && c.Service.Port <= 65535 && c.Service.Port != 22, "service.port", c.Service.Port, "1 to 65535, but not 22, which is SSH's, or 0 for a worker, which listens nowhere")
	check(c.Service.Port != 0 || c.CodeDeploy.Enabled, "codedeploy.enabled", c.CodeDeploy.Enabled, "true for a worker (service.port is 0): nothing else sees whether it works")
	check(c.Service.Port != 0 || c.Fleet.CertificateARN == "" && c.Fleet.Domain == "" && c.Verify.Path == "", "service.port", c.Service.Port, "a port, where fleet.certificate_arn, fleet.domain or verify.path is set")
	check(healthPattern.MatchString(c.Service.Health), "service.health", c.Service.Health, `a path such as "/healthz"`)
	check(c.Verify.Path == "" || verifyPattern.MatchString(c.Verify.Path), "verify.path", c.Verify.Path, `a path such as "/healthz", or nothing for service.health`)
	_, err := probe.ParseStatuses(c.Verify.Status)
	check(c.Verify.Status == "" || err == nil, "verify.status", c.Verify.Status, `HTTP statuses and ranges of them, such as "200-399" or "200,404", or nothing for "200-399"`)

	check(instancePattern.MatchString(c.Fleet.InstanceType), "fleet.instance_type", c.Fleet.InstanceType, `an instance type such as "t3.micro"`)
	check(c.Fleet.Min >= 1 && c.Fleet.Min <= maxInstances, "fleet.min", c.Fleet.Min, fmt.Sprintf("1 to %d", maxInstances))
	check(c.Fleet.Max >= c.Fleet.Min && c.Fleet.Max <= maxInstances, "fleet.max", c.Fleet.Max, fmt.Sprintf("fleet.min (%d) to %d", c.Fleet.Min, maxInstances))
	check(c.Fleet.CPUTarget == 0 || c.Fleet.CPUTarget >= 10 && c.Fleet.CPUTarget <= 90, "fleet.cpu_target", c.Fleet.CPUTarget, "10 to 90 percent")
	check(c.Fleet.DiskSize >= 0 && c.Fleet.DiskSize <= maxDisk, "fleet.disk_size", c.Fleet.DiskSize, fmt.Sprintf("1 to %d GiB, no less than the image's, or 0 for that", maxDisk))
	check(!slices.ContainsFunc(c.Fleet.ClientCIDRs, func(cidr string) bool { return !isRange(cidr) }), "fleet.client_cidrs", c.Fleet.ClientCIDRs, `IPv4 address blocks such as "203.0.113.0/24"`)
	check(!slices.ContainsFunc(c.Fleet.EgressPorts, func(port int) bool { return port < 1 || port > 65535 || port == 443 }), "fleet.egress_ports", c.Fleet.EgressPorts, "ports from 1 to 65535; 443 is among them already")
	check(certPattern.MatchString(c.Fleet.CertificateARN), "fleet.certificate_arn", c.Fleet.CertificateARN, "the ARN of an ACM certificate, or nothing")
	check(domainPattern.MatchString(c.Fleet.Domain), "fleet.domain", c.Fleet.Domain, `a host name such as "www.example.com", or nothing`)
	check(domainPattern.MatchString(c.Fleet.Zone), "fleet.zone", c.Fleet.Zone, `the name of a Route 53 zone such as "example.com", or nothing`)
	check(c.Fleet.Zone == "" || c.Fleet.Domain == c.Fleet.Zone || strings.HasSuffix(c.Fleet.Domain, "."+c.Fleet.Zone), "fleet.zone", c.Fleet.Zone, "the zone of fleet.domain: example.com for www.example.com")
	check(c.Fleet.Zone == "" || c.Fleet.CertificateARN == "", "fleet.certificate_arn", c.Fleet.CertificateARN, "nothing, where fleet.zone brings a certificate")
	check(c.Fleet.CertificateARN == "" || c.Fleet.Domain != "", "fleet.domain", c.Fleet.Domain, "the host name of fleet.certificate_arn")

	check(c.Rollout.MinHealthy >= 0 && c.Rollout.MinHealthy <= 100, "rollout.min_healthy", c.Rollout.MinHealthy, "0 to 100")
	check(c.Rollout.MaxHealthy >= 100 && c.Rollout.MaxHealthy <= 200, "rollout.max_healthy", c.Rollout.MaxHealthy, "100 to 200")
	check(c.Rollout.MaxHealthy-c.Rollout.MinHealthy <= 100, "rollout.max_healthy", c.Rollout.MaxHealthy, fmt.Sprintf("at most 100 more than rollout.min_healthy (%d)", c.Rollout.MinHealthy))
	for _, d := range c.durations() {
		text, set := durations[d.name]
		if !set {
			continue
		}
		var err error
		*d.value, err = time.ParseDuration(text)
		check(err == nil && *d.value >= 0 && *d.value <= d.limit && *d.value%time.Second == 0, d.name, text,
			fmt.Sprintf("a duration in whole seconds up to %dh, such as %q", d.limit/time.Hour, d.example))
	}
	check(c.Service.StartWithin >= time.Second, "service.start_within", durations["service.start_within"], "1s or more")
	if _, set := durations["rollout.warmup"]; !set {
		c.Rollout.Warmup = max(c.Rollout.Warmup, c.Service.StartWithin)
		if !c.CodeDeploy.Enabled {
			c.Rollout.Warmup = max(c.Rollout.Warmup, rollout.MinUngatedWarmup)
		}
	}
	check(c.CodeDeploy.Enabled || c.Rollout.Warmup >= rollout.MinUngatedWarmup, "rollout.warmup", durations["rollout.warmup"],
		"1m or more without CodeDeploy: nothing holds a new instance then until it serves, and it counts as in service before it has booted")
	check(isAscending(c.Rollout.Checkpoints), "rollout.checkpoints", c.Rollout.Checkpoints, "percentages from 1 to 100, each greater than the one before")
	check(len(c.Rollout.Alarms) <= maxAlarms && !slices.Contains(c.Rollout.Alarms, ""), "rollout.alarms", c.Rollout.Alarms, fmt.Sprintf("up to %d names of CloudWatch alarms", maxAlarms))
	check(slices.Contains(standbyChoices, c.Rollout.Standby), "rollout.standby", c.Rollout.Standby, quoteChoices(standbyChoices))
	check(slices.Contains(protectedChoices, c.Rollout.Protected), "rollout.protected", c.Rollout.Protected, quoteChoices(protectedChoices))

	check(repositoryPattern.MatchString(c.GitHub.Repository), "github.repository", c.GitHub.Repository, `a repository such as "ORG/REPO", or nothing`)
	check(numberPattern.MatchString(c.GitHub.OwnerID), "github.owner_id", c.GitHub.OwnerID, "a number in quotes, or nothing")
	check(numberPattern.MatchString(c.GitHub.RepositoryID), "github.repository_id", c.GitHub.RepositoryID, "a number in quotes, or nothing")
	check((c.GitHub.OwnerID == "") == (c.GitHub.RepositoryID == ""), "github.repository_id", c.GitHub.RepositoryID, "both github.owner_id and github.repository_id, or neither")
	check(c.GitHub.OwnerID == "" || c.GitHub.Repository != "", "github.repository", c.GitHub.Repository, "the repository that github.owner_id and github.repository_id belong to")
	check(bucketPattern.MatchString(c.State.Bucket) && !noBucket.MatchString(c.State.Bucket), "state.bucket", c.State.Bucket, "the name of an S3 bucket (3 to 63 lower-case letters, digits, dots and hyphens), or nothing")
	check(!reservedBucket.MatchString(c.State.Bucket), "state.bucket", c.State.Bucket, "a name that does not begin with xn--, sthree- or amzn-s3-demo-, nor end with -s3alias, --ol-s3, .mrap, --x-s3 or --table-s3, which S3 keeps for itself")
	return diags
}

// isTiny tells whether a type has less than 2 GiB of memory: in every family, nano has half a GiB and micro one at most.
func isTiny(instanceType string) bool {
	return strings.HasSuffix(instanceType, ".nano") || strings.HasSuffix(instanceType, ".micro")
}

// isARM tells whether a type has AWS's own arm64 processors: those with a "g" among the letters after the generation, and
// the a1 family.
func isARM(instanceType string) bool {
	return regexp.MustCompile(`^([a-z]+[0-9]+[a-z]*g|a1\.)`).MatchString(instanceType)
}

// isRange tells whether text is a block of IPv4 addresses.
func isRange(text string) bool {
	prefix, err := netip.ParsePrefix(text)
	return err == nil && prefix.Addr().Is4() && prefix == prefix.Masked()
}

// isCIDR tells whether text is a block of some addresses, but not of all.
func isCIDR(text string) bool {
	block, err := netip.ParsePrefix(text)
	return err == nil && block == block.Masked() && block.Bits() > 0
}

// showValue is a value much as the file has it.
func showValue(value any) string {
	switch value.(type) {
	case string, []string:
		return fmt.Sprintf("%q", value)
	}
	return fmt.Sprint(value)
}

// isAscending tells whether percentages are in range and in order.
func isAscending(percent []int) bool {
	last := 0
	for _, p := range percent {
		if p <= last || p > 100 {
			return false
		}
		last = p
	}
	return true
}

func quoteChoices(values []string) string {
	return `"` + strings.Join(values, `" or "`) + `"`
}
