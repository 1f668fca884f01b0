package localcloud

import (
	"context"
	"errors"
	"fmt"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/fault"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// ErrNotRunning is returned where the folder's cloud would have to run and does not.
var ErrNotRunning = errors.New("the local cloud does not run")

// SetFaults has the folder's running cloud fail as the text says, until the next call, and returns what is set now.
//
// The text is a list of these words; "off" is none of them:
//
//	throttle=20%       of the calls are throttled
//	errors=5%          of the calls are answered with status 500
//	drop=1%            of the connections are closed without an answer, every other one after the call was made
//	service=ec2        only calls of these services, by the names in signatures; also a pattern
//	action=Describe*   only calls of these operations
//	boot-delay=30s     new machines take that much longer
//	boot-fail=50%      of the new machines do not start, and their instances are terminated
//	image-delay=20s    images stay pending that much longer
//	image-fail=100%    of the images fail
//	lag=2s             reads of EC2, Auto Scaling and IAM are that old: what was just made is not found, nor new tags, lists are old
//	pace=aws           boots, stops, snapshots, registrations of targets and deployments take as long as on AWS at most, as far as
//	                   anybody has published it; pace=aws-best: at least
//	seed=7             other calls than without it, but the same every time
//	kill=i-0123        the instance's machine dies, once; alone, it leaves the rest as it is
//
// What is set outlives the cloud's process.
func SetFaults(ctx context.Context, stateDir, text string) (now string, err error) {
	var out faults
	err = askRunning(ctx, stateDir, "set faults", "SetFaults", faults{text}, &out)
	return out.Faults, err
}

// faults is the input and the output of the control service's SetFaults.
type faults struct{ Faults string }

func (c *cloud) setFaults(ctx context.Context, in *faults) (*faults, error) {
	spec, err := fault.Parse(in.Faults)
	if err != nil {
		return nil, wire.Errorf("ValidationException", "%v", err)
	}
	for _, id := range spec.Kill {
		if m, err := c.compute.Inspect(ctx, id); err == nil && m.State != compute.Running {
			return nil, wire.Errorf("ValidationException", "kill %q: there is no such machine running", id)
		}
		if err := c.compute.Kill(ctx, id); err != nil {
			return nil, fmt.Errorf("kill %q: %w", id, err)
		}
	}
	if spec.String() != "" || len(spec.Kill) == 0 {
		if err := c.faults.Set(spec); err != nil {
			return nil, err
		}
	}
	return &faults{c.faults.Spec().String()}, nil
}

// fault decides what goes wrong with a call. The cloud's own service is spared: it is how faults are ended.
func (c *cloud) fault(service, action string) wire.Fault {
	if service == controlName {
		return wire.NoFault
	}
	return c.faults.Call(service, action)
}
