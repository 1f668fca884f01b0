package targets

import (
	"errors"
	"fmt"
	"testing"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/bake"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/provision"
)

func TestAdviseBakes(t *testing.T) {
	timeout := fmt.Errorf("%w: exit status 1", packer.ErrUnreachable)
	launches := errors.New("instances cannot be launched: Termination Reason: Client.InternalError: Client error on launch")
	const (
		unreached = "lets in 192.0.2.1/32, and its port 22 was not reached from there: the machine that bakes was not reached by SSH: exit status 1\n  "
		key       = "the key is image { kms_key } in ingot.hcl, or else the account's default for EBS: its policy has to let whoever bakes use it and make grants, and the fleet needs a grant:\n" +
			"  aws kms create-grant --key-id KEY --grantee-principal arn:aws:iam::ACCOUNT:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling " +
			"--operations Encrypt Decrypt ReEncryptFrom ReEncryptTo GenerateDataKey GenerateDataKeyWithoutPlaintext DescribeKey CreateGrant"
	)
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"no network": {fmt.Errorf("bake base AMI: %w", ami.ErrNoNetwork),
			"bake base AMI: there is no subnet to bake in; set image { subnet } in ingot.hcl, or make the stack's with: mage infra:apply"},
		"memory": {packer.ErrOutOfMemory, "the machine that bakes ran out of memory\n  bake on a larger machine: image { instance_type } in ingot.hcl"},
		"digest": {&provision.AgentDigestError{Package: "a.deb", URL: "https://example.com/a.deb", File: "provision/digests"},
			"no digest of the CodeDeploy agent's package a.deb is recorded, and AWS documents none: look at the package, then record it from the root of the repository, and commit that:\n" +
				"  mkdir -p provision && curl -fsSL https://example.com/a.deb | sha256sum | sed 's/-$/a.deb/' >>provision/digests"},
		"another address": {&bake.UnreachableError{CIDRs: []string{"192.0.2.1/32"}, Err: timeout},
			"the machine that bakes " + unreached + "where this machine's connections come from other addresses (a VPN, several gateways), set them: image { ssh_cidrs } in ingot.hcl"},
		"private": {&bake.UnreachableError{CIDRs: []string{"192.0.2.1/32"}, Network: ami.Network{SubnetID: "subnet-1", Why: "the one that is set"}, Err: timeout},
			"the machine that bakes in subnet-1 (the one that is set) " + unreached +
				"that subnet has no route to the internet, so its private address has to be reachable from here: over a VPN, or with another image { subnet } in ingot.hcl"},
		"key of a bake":  {&ami.KeyError{Instance: "i-1", Code: "Client.InternalError"}, "instance i-1 ended at its launch (Client.InternalError): the KMS key that encrypts its volume cannot be used\n  " + key},
		"key of a fleet": {launches, launches.Error() + "\n  an instance ended at its launch: " + key},
	} {
		if got := advise(tc.err); got.Error() != tc.want || !errors.Is(got, tc.err) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tc.want)
		}
	}
}
