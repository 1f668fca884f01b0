package localcloud

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/autoscaling"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/cloudwatch"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/codedeploy"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute/dockercompute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/elbv2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/fault"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/iam"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/kms"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/loopback"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/s3"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/servicequotas"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/shape"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/ssm"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/sts"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
	"github.com/ingot-build/ingot/pkg/machine"
)

// backend is what a cloud's machines run on.
type backend struct {
	compute compute.Compute
	// check says why a cloud cannot run on it; nil where one can.
	check func() error
	// dial connects to the private address of a machine; nil for the way that this host knows.
	dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// forwarder relays ports that this process may not bind; nil where there is nothing to relay.
	forwarder loopback.Forwarder
	// purge removes everything that the cloud made.
	purge func(ctx context.Context) error
	// save keeps the cloud's images and its machines, which are stopped, for the cloud of another ID to load.
	save func(ctx context.Context, to string) error
	// load makes the images and machines that another cloud saved this cloud's. The machines are stopped.
	load  func(ctx context.Context, from string) error
	close func()
}

func (b backend) usable() error {
	if b.check == nil {
		return nil
	}
	return b.check()
}

// connector connects to the backend of a cloud.
type connector func(ctx context.Context, cloudID string) (backend, error)

// connectDocker connects to the Docker engine.
func connectDocker(ctx context.Context, cloudID string) (backend, error) {
	engine, err := machine.Connect(ctx)
	if err != nil {
		return backend{}, err
	}
	closeEngine := func() { _ = engine.Close() }
	d, err := dockercompute.New(engine, dockercompute.Options{CloudID: cloudID})
	if err != nil {
		closeEngine()
		return backend{}, err
	}
	b := backend{compute: d, dial: d.Dial, forwarder: d, purge: d.Purge, save: d.Save, load: d.Load, close: closeEngine}
	if !engine.Routed() {
		b.forwarder = nil // it would listen in the engine's own network, and not in this host's
		b.check = func() error { return mayListen("127.0.0.1:22") }
	}
	return b, nil
}

// ErrLowPorts means that neither this process nor the Docker engine for it may listen where instances and load balancers do.
var ErrLowPorts = errors.New("this user may not listen at ports 22 and 80, and a Docker engine that is rootless, in a virtual machine or elsewhere cannot do so instead")

// mayListen returns ErrLowPorts where this process may not listen at an address, whether or not somebody else does.
func mayListen(at string) error {
	l, err := net.Listen("tcp4", at)
	if errors.Is(err, syscall.EACCES) {
		return ErrLowPorts
	}
	if err == nil {
		return l.Close()
	}
	return nil
}

// cloud is the services of a cloud behind one server.
type cloud struct {
	server *wire.Server
	faults *fault.Faults
	// identities decides who may do what.
	identities *iam.Service
	compute    compute.Compute
	keys       *kms.Service
	calls      *callRecorder
	closers    []func()
}

// newCloud makes the services with their saved state and starts their work.
func newCloud(ctx context.Context, f folder, id identity, logger *slog.Logger, connect connector) (_ *cloud, err error) {
	c := &cloud{}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.calls, err = newCallRecorder(os.Getenv(CallsVariable)); err != nil {
		return nil, err
	}
	c.closers = append(c.closers, c.calls.close)
	docs := f.store()
	if c.faults, err = fault.Open(docs); err != nil {
		return nil, err
	}
	of, err := shape.Parse(id.Shape)
	if err != nil {
		return nil, err
	}
	identities, err := iam.New(iam.Options{Account: id.AccountID, Store: docs, Lag: c.faults.Lag})
	if err != nil {
		return nil, fmt.Errorf("start iam: %w", err)
	}
	c.identities = identities
	user := identities.UserARN()
	callers, err := sts.New(sts.Options{Account: id.AccountID, UserARN: user, UserID: identities.UserID(), Roles: identities})
	if err != nil {
		return nil, fmt.Errorf("start sts: %w", err)
	}
	parameters, err := ssm.New(ssm.Options{
		Account: id.AccountID, Region: id.Region, UserARN: user, Store: docs, Public: c.publicParameter,
	})
	if err != nil {
		return nil, fmt.Errorf("start ssm: %w", err)
	}
	objects, err := s3.New(s3.Options{Account: id.AccountID, Region: id.Region, Store: docs, Dir: f.join(objectsDir)})
	if err != nil {
		return nil, fmt.Errorf("start s3: %w", err)
	}
	c.keys, err = kms.New(kms.Options{Account: id.AccountID, Region: id.Region, CustomerKey: of.CustomerKey, Store: docs})
	if err != nil {
		return nil, fmt.Errorf("start kms: %w", err)
	}
	quotas := servicequotas.New(servicequotas.Options{Account: id.AccountID, Region: id.Region, VCPUs: of.Quota()})
	alarms, err := cloudwatch.New(cloudwatch.Options{AccountID: id.AccountID, Region: id.Region, Store: docs})
	if err != nil {
		return nil, fmt.Errorf("start cloudwatch: %w", err)
	}
	addresses, err := loopback.NewPool(id.Block, docs)
	if err != nil {
		return nil, err
	}
	b, err := connect(ctx, id.ID)
	if err != nil {
		return nil, err
	}
	c.closers = append(c.closers, b.close)
	if err := b.usable(); err != nil {
		return nil, err
	}
	c.compute = c.faults.Compute(b.compute)
	open := loopback.Open(b.forwarder)
	instances, err := ec2.New(ec2.Options{
		AccountID: id.AccountID, Region: id.Region, Store: docs, Compute: c.compute, Addresses: addresses, Open: open,
		Profiles: identities, Credentials: c.instanceCredentials, Shape: of, DefaultKey: c.keys.KeyARN(), MayUseKey: c.keys.AutoScalingMayUse,
		Dial: b.dial, Lag: c.faults.Lag, Snapshot: c.faults.Snapshot, Log: logger.With("service", "ec2"),
	})
	if err != nil {
		return nil, fmt.Errorf("start ec2: %w", err)
	}
	c.closeLater(instances, logger)
	balancers, err := elbv2.New(elbv2.Options{
		AccountID: id.AccountID, Region: id.Region, Store: docs, Instances: instances, Addresses: addresses, Open: open,
		Dial: b.dial, Registration: c.faults.Registration, Log: logger.With("service", "elasticloadbalancing"),
	})
	if err != nil {
		return nil, fmt.Errorf("start elasticloadbalancing: %w", err)
	}
	c.closeLater(balancers, logger)
	instances.HoldSecurityGroups(balancers.UsesSecurityGroup)
	groups, err := autoscaling.New(autoscaling.Options{
		AccountID: id.AccountID, Region: id.Region, Store: docs, Instances: instances, Targets: balancers,
		Alarms: alarms, Lag: c.faults.Lag, PastInstances: instances.AsItWas(), Log: logger.With("service", "autoscaling"),
	})
	if err != nil {
		return nil, fmt.Errorf("start autoscaling: %w", err)
	}
	c.closeLater(groups, logger)
	deployments, err := codedeploy.New(codedeploy.Options{
		AccountID: id.AccountID, Region: id.Region, Store: docs, Groups: groups, Instances: instances, Targets: balancers,
		Objects: objects, Roles: identities, Alarms: alarms, Machines: b.compute, Deployment: c.faults.Deployment,
		Log: logger.With("service", "codedeploy"),
	})
	if err != nil {
		return nil, fmt.Errorf("start codedeploy: %w", err)
	}
	c.closeLater(deployments, logger)
	balancers.Start()
	deployments.Start() // first: Auto Scaling tells it which instances wait
	groups.Start()
	c.server = wire.New(c.wireOptions(id, logger), identities.API(), callers.API(), parameters.API(), objects.API(), instances.API(),
		balancers.API(), groups.API(), deployments.API(), alarms.API(), c.keys.API(), quotas.API(), c.control())
	return c, nil
}

// closeLater has a service closed with the cloud.
func (c *cloud) closeLater(service interface{ Close() error }, logger *slog.Logger) {
	c.closers = append(c.closers, func() {
		if err := service.Close(); err != nil {
			logger.Error("end a service", "error", err)
		}
	})
}

// close ends the services, the last one first.
func (c *cloud) close() {
	for _, end := range slices.Backward(c.closers) {
		end()
	}
	c.closers = nil
}
