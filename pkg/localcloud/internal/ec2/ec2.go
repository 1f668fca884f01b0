// Package ec2 is EC2 as the pipeline's clients use it: stock Packer, Terraform with the stock AWS provider, the AWS CLI
// and the SDK. Instances are machines of a [compute.Compute].
//
// What is real: instances boot, take SSH keys and user data, stop, start, die and become images. Security groups decide
// which ports of an instance's public address answer, and to whom. Launch templates, key pairs, tags, filters, client
// tokens, state transitions and errors follow the API.
//
// What is kept but has no effect: a VPC's addresses, routes and network ACLs. An instance's private address is its
// machine's own, whatever the CIDR of its subnet, and it is known once the machine is up. Instances reach each other and
// the Internet as the machines do. An instance has one root volume, whose size and type are records; every other volume
// is refused. The instance type is a record, too.
//
// What is not there is an error that names it, never a made-up success: copying and registering images, volumes and
// network interfaces of their own, elastic IPs, NAT gateways, spot instances, IPv6.
//
// # Public addresses
//
// An instance in a subnet that maps public addresses, or launched with AssociatePublicIpAddress, has an address of the
// cloud's loopback block, and every TCP port that its security groups open to a loopback client listens there. A rule
// opens its ports one by one, up to [maxRangePorts] of them; a rule for more, or for all traffic, opens the [commonPorts]
// that it covers, since a listener on every port would be thousands. The client's address is checked against the rule's
// CIDRs: 0.0.0.0/0 and 127.0.0.0/8 admit everyone on this host; a client that does not bind its socket comes from
// 127.0.0.1. Rules that name another security group, or addresses elsewhere, open nothing here.
package ec2

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Version is the version of the API.
const Version = "2016-11-15"

// store keeps the service's state.
type store interface {
	Load(name string, into any) (found bool, err error)
	Save(name string, from any) error
}

// storeName is the name of the state in its store.
const storeName = "ec2"

// addresses hands out public addresses.
type addresses interface {
	Allocate(owner string) (netip.Addr, error)
	Release(addr netip.Addr) error
}

// Options are what a Service needs.
type Options struct {
	AccountID    string // 12 digits
	Region       string // for example us-west-1
	Architecture string // of the machines: x86_64 or arm64; empty for this host's
	Store        store
	Compute      compute.Compute
	Addresses    addresses
	// Open listens on a public address; nil leaves public addresses without listeners.
	Open func(ctx context.Context, at netip.AddrPort) (net.Listener, error)
	// Log takes what goes wrong behind the scenes; nil drops it.
	Log *slog.Logger
}

// Service is EC2. Make one with [New].
type Service struct {
	account, region, arch string

	store     store
	compute   compute.Compute
	addresses addresses
	exposure  *exposure
	log       *slog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	work   sync.WaitGroup
	source sourceImage

	mu        sync.Mutex
	state     state
	machines  map[string]*machineLock // by instance ID
	listeners []func(InstanceInfo)
	holders   []func(securityGroupID string) bool
}

// state is everything that is saved.
type state struct {
	Images      map[string]*image
	Snapshots   map[string]*snapshot
	Instances   map[string]*instance
	Volumes     map[string]*volume
	KeyPairs    map[string]*keyPair
	Groups      map[string]*securityGroup
	VPCs        map[string]*vpc
	Subnets     map[string]*subnet
	Gateways    map[string]*internetGateway
	RouteTables map[string]*routeTable
	ACLs        map[string]*networkACL
	Templates   map[string]*launchTemplate
}

// fill makes the maps that an older state file does not have.
func (st *state) fill() {
	fill(&st.Images)
	fill(&st.Snapshots)
	fill(&st.Instances)
	fill(&st.Volumes)
	fill(&st.KeyPairs)
	fill(&st.Groups)
	fill(&st.VPCs)
	fill(&st.Subnets)
	fill(&st.Gateways)
	fill(&st.RouteTables)
	fill(&st.ACLs)
	fill(&st.Templates)
}

func fill[T any](m *map[string]T) {
	if *m == nil {
		*m = map[string]T{}
	}
}

// New returns the service with its saved state, and starts to bring that and the machines together in the background:
// a machine that is gone was terminated, one that was stopped while the cloud was down starts again. Close ends it.
func New(o Options) (*Service, error) {
	s := &Service{
		account: o.AccountID, region: o.Region, arch: o.Architecture,
		store: o.Store, compute: o.Compute, addresses: o.Addresses,
		log:      o.Log,
		machines: map[string]*machineLock{},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	switch {
	case s.arch != "":
	case runtime.GOARCH == "arm64":
		s.arch = "arm64"
	default:
		s.arch = "x86_64"
	}
	found, err := s.store.Load(storeName, &s.state)
	if err != nil {
		return nil, fmt.Errorf("load EC2 state: %w", err)
	}
	s.state.fill()
	if !found {
		s.createDefaultVPC()
		if err := s.save(); err != nil {
			return nil, err
		}
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.source.turn = make(chan struct{}, 1)
	s.exposure = newExposure(s.ctx, o.Open, s.log)
	changes := s.compute.Watch(s.ctx)
	s.reconcile()
	s.work.Go(func() { s.watch(changes) })
	return s, nil
}

// Close ends the background work and closes all listeners. It leaves the machines as they are.
func (s *Service) Close() error {
	s.cancel()
	s.exposure.close()
	s.work.Wait()
	return nil
}

// API returns the operations.
func (s *Service) API() wire.Service {
	actions := map[string]wire.Action{}
	for _, set := range []map[string]wire.Action{
		s.imageActions(), s.instanceActions(), s.keyPairActions(), s.securityGroupActions(), s.networkActions(),
		s.launchTemplateActions(), s.tagActions(), s.regionActions(),
	} {
		for name, action := range set {
			actions[name] = action
		}
	}
	return wire.Service{
		Name:      "ec2",
		Protocol:  wire.EC2Query,
		Version:   Version,
		Namespace: "http://ec2.amazonaws.com/doc/" + Version + "/",
		Actions:   actions,
	}
}

// save saves the state. The caller holds s.mu.
func (s *Service) save() error {
	if err := s.store.Save(storeName, &s.state); err != nil {
		s.log.Error("save EC2 state", "error", err)
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}

// change runs a change to the state, and saves it unless the change fails, in which case it must have changed nothing.
func (s *Service) change(f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := f(); err != nil {
		return err
	}
	return s.save()
}

// newID returns a new resource ID, in the long form: 17 hexadecimal digits.
func newID(prefix string) string {
	var b [9]byte
	rand.Read(b[:])
	return prefix + "-" + hex.EncodeToString(b[:])[:17]
}

// arn returns a resource's ARN.
func (s *Service) arn(kind, id string) string {
	return fmt.Sprintf("arn:aws:ec2:%s:%s:%s/%s", s.region, s.account, kind, id)
}

// now returns the current time as the API shows it, in whole seconds.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

// timestamp is how EC2 writes the times that its API declares as strings.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// find returns the resources with the given IDs, or all of them for none. The code is the one of the error for an ID
// that there is not; kind is its word in the message.
func find[T any](all map[string]T, ids []string, code, kind string) ([]T, error) {
	if len(ids) == 0 {
		found := make([]T, 0, len(all))
		for _, r := range all {
			found = append(found, r)
		}
		return found, nil
	}
	var found []T
	for _, id := range ids {
		r, err := get(all, id, code, kind)
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, nil
}

func get[T any](all map[string]T, id, code, kind string) (T, error) {
	r, ok := all[id]
	if !ok {
		return r, wire.Errorf(code, "The %s '%s' does not exist", kind, id)
	}
	return r, nil
}

// code returns an error's API code, or "" for an error of another kind.
func code(err error) string {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e.Code
	}
	return ""
}

// deref returns what a pointer points to, or the zero value.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// boolString is how a boolean reads in a filter.
func boolString(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// single is the list of one value, or of none for "".
func single(v string) []string {
	if v == "" {
		return nil
	}
	return []string{v}
}

// missing is the error for a parameter that must be there.
func missing(names ...string) error {
	return wire.Errorf("MissingParameter", "The request must contain the parameter %s", strings.Join(names, " or "))
}
