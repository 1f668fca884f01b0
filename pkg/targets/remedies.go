package targets

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/aws/smithy-go"
	"github.com/magefile/mage/mg"

	"github.com/ingot-build/ingot/internal/loopback"
	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/apt"
	"github.com/ingot-build/ingot/pkg/bake"
	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/devenv"
	"github.com/ingot-build/ingot/pkg/localcloud"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/rollout"
	"github.com/ingot-build/ingot/pkg/terraform"
)

// advise puts to an error what a person can do about it, in the words of the targets: the packages below say what is
// wrong, and do not know what their callers call the way to mend it. Where the error has evidence below its first line,
// the remedy follows that.
func advise(err error) error {
	if err == nil {
		return nil
	}
	advice := remedy(err)
	if e, ok := errors.AsType[*rollout.EvidenceError](err); ok && e.Late {
		advice += "\n  a service that needs longer to start needs a longer rollout.warmup in ingot.hcl"
	}
	if _, baked := errors.AsType[*ami.KeyError](err); !baked && ami.IsKeyReason(err.Error()) { // as Auto Scaling's activities say it
		advice += "\n  an instance ended at its launch: " + keyRemedy
	}
	if expired(err) {
		err = fmt.Errorf("the AWS credentials have expired: sign in again and run the same command: %w", err)
	}
	if advice != "" {
		err = fmt.Errorf("%w%s", err, advice)
	}
	if hint(err.Error()) == err.Error() {
		return err
	}
	return whereItIs{err}
}

// whereItIs is an error whose text names the targets as they are called where one is.
type whereItIs struct{ error }

func (e whereItIs) Unwrap() error { return e.error }

func (e whereItIs) Error() string { return hint(e.error.Error()) }

// ExitStatus is what mage asks an error for.
func (e whereItIs) ExitStatus() int { return mg.ExitStatus(e.error) }

// accountTargets are the targets that work in an account, as hints name them.
var accountTargets = regexp.MustCompile(`\bmage ((?:infra:\w+|app|base|deployments|doctor|prod|releases|rollback|status|sweep|url)\b)`)

// hint is a text that names targets, as they are called where one is: at the cloud on this machine, local comes before them.
func hint(text string) string {
	if !loopback.URL(os.Getenv("AWS_ENDPOINT_URL")) {
		return text
	}
	return accountTargets.ReplaceAllString(text, "mage local $1")
}

// expired tells whether AWS refused credentials that it had taken before.
func expired(err error) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || errors.Is(err, rollout.ErrExpired) {
		return false
	}
	switch e.ErrorCode() {
	case "ExpiredToken", "ExpiredTokenException", "RequestExpired":
		return true
	}
	return false
}

// remedy is what there is to do about an error, with what parts it from the error's text; empty where nothing is known.
func remedy(err error) string {
	if e, ok := errors.AsType[*rollout.InterruptedError](err); ok {
		return afterInterrupt(e)
	}
	if e, ok := errors.AsType[*codedeploy.InterruptedError](err); ok {
		return ": the same command watches it again, and this stops it: aws deploy stop-deployment --deployment-id " + e.ID
	}
	if e, ok := errors.AsType[*pipeline.ChangeError](err); ok {
		return orderOfChange(e.MismatchError)
	}
	if e, ok := errors.AsType[*pipeline.MismatchError](err); ok {
		if e.Serves {
			return orderOfChange(*e)
		}
		return ": run: mage infra:apply"
	}
	if _, ok := errors.AsType[*pipeline.DeploymentError](err); ok {
		return "; the same command deploys again, and replaces nothing"
	}
	if _, ok := errors.AsType[*pipeline.NoAgentError](err); ok {
		return ": bake a new one, or go back to it without the gate: set codedeploy { enabled = false } in ingot.hcl, then mage infra:apply, and run the same command again"
	}
	if e, ok := errors.AsType[*rollout.NoReleaseError](err); ok {
		switch {
		case e.Name != "":
			return ": mage releases lists them"
		case e.Current != "":
			return "; one that was rolled back from takes its name: mage rollback -to=RELEASE"
		}
		return ""
	}
	if _, ok := errors.AsType[*rollout.IncompleteError](err); ok {
		return ": run: mage infra:apply"
	}
	if _, ok := errors.AsType[*rollout.PointerError](err); ok {
		return "; run the same command again"
	}
	if _, ok := errors.AsType[*bake.LeftoverError](err); ok {
		return "; to try again: mage sweep -yes"
	}
	if e, ok := errors.AsType[*terraform.MovedStateError](err); ok {
		return fmt.Sprintf(": set state { bucket = %q } in ingot.hcl again; where that bucket's state is not wanted any more, remove %s", e.Bucket, e.File)
	}
	if _, ok := errors.AsType[*terraform.TakenError](err); ok {
		return "; nothing was made: choose another app in ingot.hcl, or give what is this application's that tag, and run mage infra:apply again, which adopts it"
	}
	if _, ok := errors.AsType[*terraform.StateConflictError](err); ok {
		return ": remove the one that is not wanted (infra:destroy without state { bucket } in ingot.hcl removes the first), or choose another bucket"
	}
	if _, ok := errors.AsType[*terraform.MirrorError](err); ok {
		return ": set terraform { plugin_dir } in ingot.hcl to a folder that does, or remove it"
	}
	if e, ok := errors.AsType[*provision.AgentDigestError](err); ok {
		return ": look at the package, then record it from the root of the repository, and commit that:\n  " + e.Command()
	}
	if e, ok := errors.AsType[*apt.RootError](err); ok {
		return "; run this, and then the same command again:\n  " + e.Command()
	}
	if _, ok := errors.AsType[*ami.KeyError](err); ok {
		return "\n  " + keyRemedy
	}
	if e, ok := errors.AsType[*bake.UnreachableError](err); ok {
		return "\n  " + unreachableRemedy(e)
	}
	if _, ok := errors.AsType[*localcloud.ShapeError](err); ok {
		return "; to make another: mage local:down -purge"
	}
	if _, ok := errors.AsType[*provision.BuildError](err); ok {
		return "; a Go module is built by itself (service { package = \"./cmd/NAME\" } in ingot.hcl where its main package is not at the top), anything else by an " +
			"executable named build beside it, which writes bin/service and what that needs into the folder $OUT"
	}
	if _, ok := errors.AsType[*devenv.PortError](err); ok {
		return ": end what listens there, or choose another: mage dev -port=N"
	}
	for _, r := range []struct {
		is     error
		remedy string
	}{
		{ami.ErrNoNetwork, "; set image { subnet } in ingot.hcl, or make the stack's with: mage infra:apply"},
		{packer.ErrOutOfMemory, "\n  bake on a larger machine: image { instance_type } in ingot.hcl"},
		{machine.ErrNoMaker, ": run mage setup or sudo apt-get install mmdebstrap"},
		{devenv.ErrNotRunning, ": start it with mage dev"},
		{devenv.ErrRunning, " by another mage dev: end that one first"},
		{devenv.ErrStopped, ": mage dev starts it again"},
		{localcloud.ErrNotRunning, ": start it with mage local"},
		{config.ErrNotFound, "; write one with: echo 'app = \"hello\"' > " + config.File},
		{packer.ErrNotFound, "; install it with: mage setup"},
		{localcloud.ErrHalfLoaded, "; remove it: mage local:down -purge"},
		{terraform.ErrNoBucket, "; make it with: mage infra:bootstrap"},
		{terraform.ErrNoMirror, ", and set terraform { plugin_dir = \"DIR\" } in ingot.hcl"},
		{pipeline.ErrNotReleasable, ": bake one with: mage app"},
		{rollout.ErrNoFleet, ": run: mage infra:apply"},
		{codedeploy.ErrNotSetUp, "; set it up with: mage infra:apply"},
		{rollout.ErrBusy, "; wait for its end (mage prod -wait), or stop it (mage rollback)"},
		{rollout.ErrReverted, "; mend this one, and run the same command again"},
		{rollout.ErrEmptied, "; mend the release, and run the same command again"},
		{rollout.ErrMixed, ": go back with: mage rollback"},
		{localcloud.ErrLowPorts, ": allow it until the next boot with: sudo sysctl net.ipv4.ip_unprivileged_port_start=22"},
	} {
		if errors.Is(err, r.is) {
			return r.remedy
		}
	}
	return ""
}

// orderOfChange is the order in which a fleet that serves gets another port or health path, and serves throughout.
func orderOfChange(e pipeline.MismatchError) string {
	if e.Setting == pipeline.SettingPort {
		return fmt.Sprintf(`
  nothing was changed; a port stays as long as a release is live: set service { port = %s } again, and have the service listen on $PORT
  an order that serves throughout, where it must be %s: another app = "NAME" in %s, mage infra:apply prod, lead your domain there; then the app of before again, and mage infra:destroy -yes`, e.Live, e.Want, config.File)
	}
	return fmt.Sprintf(`
  nothing was changed; an order that serves throughout:
  1. service { health = %q }, a service that answers 200 at both paths, mage prod
  2. service { health = %q }, mage infra:apply, mage prod`, e.Live, e.Want)
}

// keyRemedy is what has to hold of a key that encrypts images.
const keyRemedy = "the key is image { kms_key } in ingot.hcl, or else the account's default for EBS: its policy has to let whoever bakes use it and make grants, " +
	"and the fleet needs a grant:\n  " +
	"aws kms create-grant --key-id KEY --grantee-principal arn:aws:iam::ACCOUNT:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling " +
	"--operations Encrypt Decrypt ReEncryptFrom ReEncryptTo GenerateDataKey GenerateDataKeyWithoutPlaintext DescribeKey CreateGrant"

// unreachableRemedy says why a machine that bakes may not be reached.
func unreachableRemedy(e *bake.UnreachableError) string {
	if e.Network.SubnetID != "" && !e.Network.Public {
		return "that subnet has no route to the internet, so its private address has to be reachable from here: over a VPN, or with another image { subnet } in ingot.hcl"
	}
	return "where this machine's connections come from other addresses (a VPN, several gateways), set them: image { ssh_cidrs } in ingot.hcl"
}

// afterInterrupt is what to do about what an interrupted rollout left behind.
func afterInterrupt(e *rollout.InterruptedError) string {
	switch e.State {
	case rollout.GoesOn:
		var next []string
		if e.Resumable {
			next = append(next, "the same command goes on watching it")
		}
		next = append(next, "mage status shows it")
		if e.Stoppable {
			next = append(next, "mage rollback stops it")
		}
		advice := ": "
		if errors.Is(e, rollout.ErrExpired) {
			advice += "sign in again; "
		}
		return advice + strings.Join(next, ", ")
	case rollout.RollingBack:
		return ": mage status shows how far it is"
	case rollout.Ended:
		return ": mage status shows how"
	case rollout.Unverified:
		return ": the same command goes on, mage rollback goes back"
	case rollout.Unknown:
		return ": mage status shows whether it runs"
	}
	return ""
}
