// Package localcloud is a cloud on this machine: the AWS APIs that the pipeline uses, on a loopback address, for unmodified
// clients. Instances are machines on Docker, load balancers are proxies, and an instance refresh really rolls.
//
// It is not a general emulator: an operation or a parameter that it does not have is answered with AWS's error for that,
// never with made-up success.
//
// [Start] starts a cloud in the background where none runs and returns how to connect to it, [Serve] is what runs there.
// A cloud lives in a state folder, and what it holds survives its process: killed at any moment, it starts again and goes on.
package localcloud

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/command"
)

// Options are the settings of a cloud.
type Options struct {
	// StateDir is the folder that the cloud keeps everything in. It is made where there is none, and must be the cloud's alone.
	StateDir string
	// Region is the AWS region that the cloud is, such as "us-west-1". A cloud keeps its region.
	Region string
	// Shape is what the account of a cloud that is made is like where it differs from most. A cloud keeps it. Empty means an account
	// like most, or where there is a cloud, whatever it is. The text is a list of these words:
	//
	//	no-default-vpc                the account has no default VPC
	//	vcpus=5                       so many vCPUs of standard instances may run at once
	//	zone-without-type=ZONE:TYPE   the zone does not offer the instance type; there may be several
	//	root=/dev/sda1                the root device of Debian's image
	//	ebs-key=customer              EBS encrypts all volumes, with a KMS key of the customer's, for which EC2 Auto Scaling needs a grant
	Shape string
	// Command is the argument list of a process that calls [Serve] with the same StateDir and Region. Only [Start] uses it.
	Command []string
	// Log takes a line for every call that the cloud answers; nil means none. Only [Serve] uses it.
	Log io.Writer
}

// Connection is how clients connect to a cloud.
type Connection struct {
	// Endpoint is the URL of every service, such as "http://127.80.12.1:4566".
	Endpoint string
	// Region is the AWS region that the cloud is.
	Region string
	// AccessKeyID and SecretAccessKey are the key of the cloud's administrator, who may do everything.
	AccessKeyID, SecretAccessKey string
	// AccountID is the AWS account that the cloud is: 12 digits, of which the first is 0.
	AccountID string
}

// environment returns the variables that point AWS clients at the cloud, in order.
func (c Connection) environment() [][2]string {
	return [][2]string{
		{"AWS_ENDPOINT_URL", c.Endpoint},
		{"AWS_REGION", c.Region},
		{"AWS_DEFAULT_REGION", c.Region},
		{"AWS_ACCESS_KEY_ID", c.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", c.SecretAccessKey},
		{"AWS_EC2_METADATA_DISABLED", "true"},
	}
}

// clearedNames are variables that would have clients of the cloud use another account, or another endpoint.
var clearedNames = [...]string{
	"AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
	"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
	"AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT",
}

// cleared reports whether a variable must not reach clients of the cloud: one of those, or an endpoint for one of the
// services.
func cleared(name string) bool {
	return slices.Contains(clearedNames[:], name) || strings.HasPrefix(name, "AWS_ENDPOINT_URL_")
}

// Environ returns the environment for a process whose AWS clients are to use the cloud: the given one, as os.Environ
// returns it, without what would lead them elsewhere and with what leads them here.
func (c Connection) Environ(environ []string) []string {
	set := c.environment()
	kept := slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return cleared(name) || slices.ContainsFunc(set, func(s [2]string) bool { return s[0] == name })
	})
	for _, s := range set {
		kept = append(kept, s[0]+"="+s[1])
	}
	return kept
}

// Setenv changes the environment of this process as [Connection.Environ] does.
func (c Connection) Setenv() error {
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); cleared(name) {
			if err := os.Unsetenv(name); err != nil {
				return fmt.Errorf("unset %s: %w", name, err)
			}
		}
	}
	for _, s := range c.environment() {
		if err := os.Setenv(s[0], s[1]); err != nil {
			return fmt.Errorf("set %s: %w", s[0], err)
		}
	}
	return nil
}

// Script returns shell commands that change a shell's environment as [Connection.Environ] does, for eval. The endpoints that
// it clears are those that the given environment, the shell's own as os.Environ returns it, has for single services.
func (c Connection) Script(environ []string) string {
	names := slices.Clone(clearedNames[:])
	for _, variable := range environ {
		if name, _, _ := strings.Cut(variable, "="); cleared(name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "unset %s\n", command.Quote(names))
	for _, s := range c.environment() {
		fmt.Fprintf(&b, "export %s=%s\n", s[0], command.Quote(s[1:]))
	}
	return b.String()
}
