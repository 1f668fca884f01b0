package targets

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/magefile/mage/mg"

	"github.com/ingot-build/ingot/pkg/codedeploy"
	"github.com/ingot-build/ingot/pkg/devenv"
	"github.com/ingot-build/ingot/pkg/localcloud"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/rollout"
	"github.com/ingot-build/ingot/pkg/terraform"
)

func TestAdvise(t *testing.T) {
	stop := errors.New("ended by SIGINT")
	goesOn := func(err error, resumable, stoppable bool) error {
		return fmt.Errorf("roll out: %w", &rollout.InterruptedError{Err: err, What: "it goes on in AWS", Resumable: resumable, Stoppable: stoppable})
	}
	left := func(state rollout.Remainder, what string) error {
		return &rollout.InterruptedError{Err: stop, What: what, State: state}
	}
	const (
		movedText    = `the state was moved to the bucket "states"`
		conflictText = "terraform state: /hello.tfstate and s3://states/hello both hold infrastructure, and not the same (see /log)"
		mirrorText   = `provider mirror "/mine" holds no registry.terraform.io/hashicorp/aws ~> 5.100 for linux_amd64`
		noMirrorText = "this machine has no provider mirror: make one with `terraform providers mirror DIR` where the registry can be reached"
	)
	conflict := &terraform.Error{Operation: "state", Log: "/log", Err: &terraform.StateConflictError{File: "/hello.tfstate", Shared: "s3://states/hello"}}
	noMirror := fmt.Errorf("%w: make one with `terraform providers mirror DIR` where the registry can be reached", terraform.ErrNoMirror)
	tests := map[string]struct {
		err  error
		want string // all of the text
	}{
		"nothing known":          {stop, "ended by SIGINT"},
		"no fleet":               {fmt.Errorf("%w is tagged ingot:app=hello", rollout.ErrNoFleet), "no Auto Scaling group is tagged ingot:app=hello: run: mage infra:apply"},
		"no listener":            {&rollout.IncompleteError{Lack: "load balancer has no listener"}, "load balancer has no listener: run: mage infra:apply"},
		"a name that is taken":   {&terraform.TakenError{App: "hello", Existing: []terraform.Existing{{What: `load balancer "hello"`}}}, `the stack of "hello" would have names that are taken, by what has no tag ingot:app=hello: load balancer "hello"; nothing was made: choose another app in ingot.hcl, or give what is this application's that tag, and run mage infra:apply again, which adopts it`},
		"no CodeDeploy":          {fmt.Errorf("get parameter: %w", codedeploy.ErrNotSetUp), "get parameter: CodeDeploy is not set up; set it up with: mage infra:apply"},
		"not noted":              {&rollout.PointerError{Release: "r2", Err: stop}, `release "r2" serves, but is not noted as the current one: ended by SIGINT; run the same command again`},
		"rolled back":            {fmt.Errorf("%w\n  the release before serves on every instance again", rollout.ErrReverted), "release was rolled back\n  the release before serves on every instance again; mend this one, and run the same command again"},
		"emptied":                {fmt.Errorf("bad\n  hello is %w", rollout.ErrEmptied), "bad\n  hello is empty again, as nothing served before; mend the release, and run the same command again"},
		"half and half":          {fmt.Errorf("it ended, with %w", rollout.ErrMixed), "it ended, with both releases in the fleet: go back with: mage rollback"},
		"late":                   {&rollout.EvidenceError{Err: rollout.ErrReverted, Evidence: []string{"i-1 was late"}, Late: true}, "release was rolled back\n  i-1 was late; mend this one, and run the same command again\n  a service that needs longer to start needs a longer rollout.warmup in ingot.hcl"},
		"without the agent":      {&pipeline.NoAgentError{Image: "ami-1", Release: "r1"}, `release "r1" (ami-1) was baked without CodeDeploy's agent, so that none of its instances could pass the gate: bake a new one, or go back to it without the gate: set codedeploy { enabled = false } in ingot.hcl, then mage infra:apply, and run the same command again`},
		"did not pass the gate":  {fmt.Errorf("%w\n  hello is %w", &pipeline.GateError{Release: "r1", Err: stop}, rollout.ErrEmptied), "release \"r1\" did not pass the gate: ended by SIGINT\n  hello is empty again, as nothing served before; mend the release, and run the same command again"},
		"never live":             {&rollout.NoReleaseError{Name: "r9"}, `roll back to "r9": no such release: mage releases lists them`},
		"the first":              {&rollout.NoReleaseError{Current: "r1"}, `roll back: no such release: there is none before "r1"; one that was rolled back from takes its name: mage rollback -to=RELEASE`},
		"none yet":               {&rollout.NoReleaseError{}, "roll back: no such release: there has been none"},
		"goes on":                {goesOn(stop, true, true), "roll out: ended by SIGINT; it goes on in AWS: the same command goes on watching it, mage status shows it, mage rollback stops it"},
		"a launch goes on":       {goesOn(stop, true, false), "roll out: ended by SIGINT; it goes on in AWS: the same command goes on watching it, mage status shows it"},
		"a rollback goes on":     {goesOn(stop, false, false), "roll out: ended by SIGINT; it goes on in AWS: mage status shows it"},
		"expired":                {goesOn(rollout.ErrExpired, true, true), "roll out: AWS credentials have expired; it goes on in AWS: sign in again; the same command goes on watching it, mage status shows it, mage rollback stops it"},
		"is being rolled back":   {left(rollout.RollingBack, "it is being rolled back in AWS"), "ended by SIGINT; it is being rolled back in AWS: mage status shows how far it is"},
		"was taken back":         {left(rollout.TakenBack, "it was taken back"), "ended by SIGINT; it was taken back"},
		"is over":                {left(rollout.Ended, "it is over already"), "ended by SIGINT; it is over already: mage status shows how"},
		"not verified":           {left(rollout.Unverified, "it is not verified"), "ended by SIGINT; it is not verified: the same command goes on, mage rollback goes back"},
		"was being started":      {left(rollout.Unknown, "it was being started"), "ended by SIGINT; it was being started: mage status shows whether it runs"},
		"deployment goes on":     {&codedeploy.InterruptedError{ID: "d-1", Err: stop}, "ended by SIGINT; deployment d-1 goes on in AWS: the same command watches it again, and this stops it: aws deploy stop-deployment --deployment-id d-1"},
		"another refresh is on":  {&rollout.BusyError{Group: "hello", Refresh: rollout.Refresh{ID: "x", Status: "InProgress"}}, `another release rolls: instance refresh x of "hello" is InProgress at 0 % since 0001-01-01T00:00:00Z; wait for its end (mage prod -wait), or stop it (mage rollback)`},
		"state was moved":        {&terraform.MovedStateError{Bucket: "states", File: "/hello.tfstate.moved-to-states"}, movedText + `: set state { bucket = "states" } in ingot.hcl again; where that bucket's state is not wanted any more, remove /hello.tfstate.moved-to-states`},
		"two states":             {conflict, conflictText + ": remove the one that is not wanted (infra:destroy without state { bucket } in ingot.hcl removes the first), or choose another bucket"},
		"mirror without it":      {&terraform.MirrorError{Dir: "/mine", Platform: "linux_amd64"}, mirrorText + ": set terraform { plugin_dir } in ingot.hcl to a folder that does, or remove it"},
		"no mirror":              {noMirror, noMirrorText + `, and set terraform { plugin_dir = "DIR" } in ingot.hcl`},
		"interrupted with cause": {&rollout.EvidenceError{Err: goesOn(rollout.ErrUnhealthy, true, true)}, "roll out: release never served; it goes on in AWS: the same command goes on watching it, mage status shows it, mage rollback stops it"},
		"no maker": {fmt.Errorf("make the machine image: %w (the registry: no)", machine.ErrNoMaker),
			"make the machine image: no registry answers, and mmdebstrap is missing (the registry: no): run mage setup or sudo apt-get install mmdebstrap"},
		"dev does not run":         {devenv.ErrNotRunning, "the development machine does not run: start it with mage dev"},
		"dev runs":                 {devenv.ErrRunning, "the development machine is in use by another mage dev: end that one first"},
		"dev stopped":              {fmt.Errorf("%w (%w)", devenv.ErrStopped, stop), "the development machine stopped (ended by SIGINT): mage dev starts it again"},
		"a cloud of another shape": {&localcloud.ShapeError{Has: "", Wanted: "vcpus=8"}, `there is a local cloud already, of the shape "" and not "vcpus=8": a cloud keeps its shape; to make another: mage local:down -purge`},
		"dev's port is taken":      {&devenv.PortError{Address: netip.MustParseAddrPort("127.0.0.1:80")}, "publish the service on 127.0.0.1:80: the port is taken: end what listens there, or choose another: mage dev -port=N"},
		"local cloud does not run": {fmt.Errorf("set faults: %w", localcloud.ErrNotRunning), "set faults: the local cloud does not run: start it with mage local"},
	}
	for name, tc := range tests {
		if got := advise(tc.err); got.Error() != tc.want || !errors.Is(got, tc.err) {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, tc.want)
		}
	}
	if advise(nil) != nil {
		t.Error("nothing is an error")
	}
}

// At the cloud on this machine, targets are called with local before them; and an error keeps its exit code.
func TestHint(t *testing.T) {
	err := mg.Fatal(disagreement, "run: mage infra:apply, mage local:down or mage prod; mage production does not exist, damage prod neither")
	for endpoint, want := range map[string]string{
		"":                        err.Error(),
		"https://ec2.example.com": err.Error(),
		"http://127.64.0.1:4566":  "run: mage local infra:apply, mage local:down or mage local prod; mage production does not exist, damage prod neither",
	} {
		t.Setenv("AWS_ENDPOINT_URL", endpoint)
		if got := advise(err); got.Error() != want || mg.ExitStatus(got) != disagreement {
			t.Errorf("at %q, exit code %d: %s", endpoint, mg.ExitStatus(got), got)
		}
	}
}
