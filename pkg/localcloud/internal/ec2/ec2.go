// Package ec2 is EC2 as the pipeline's clients use it: stock Packer, Terraform with the stock AWS provider, the AWS CLI
// and the SDK. Instances are machines of a [compute.Compute].
//
// What is real: instances boot, take SSH keys and user data, stop, start, die and become images. Security groups decide
// which ports of an instance's public address answer, and to whom. Launch templates, key pairs, tags, filters, client
// tokens, state transitions and errors follow the API.
//
// What is kept but has no effect: a VPC's addresses, routes and network ACLs. An instance's private address is its
// machine's own, whatever the CIDR of its subnet, and it is known once the machine is up. Instances reach each other and
// the Internet as the machines do. Volumes are records, their keys and those beside the root volume included: machines have
// the one disk. The instance type is a record, too, of which the quota counts the vCPUs.
//
// What is not there is an error that names it, never a made-up success: registering images, volumes and
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
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/shape"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// Version is the version of the API.
const Version = "2016-11-15"

// storeName is the name of the state in its store.
const storeName = "ec2"

// addresses hands out public addresses.
type addresses interface {
	Allocate(owner string) (netip.Addr, error)
	Release(addr netip.Addr) error
}

// profiles are what IAM has.
type profiles interface {
	// InstanceProfile finds an instance profile by its name or its ARN. It is usable once it has a role.
	InstanceProfile(nameOrARN string) (arn, id string, found, usable bool)
	// ProfileRole returns the ARN of the role in one.
	ProfileRole(nameOrARN string) (roleARN string, found bool)
}

// Options are what a Service needs.
type Options struct {
	AccountID    string // 12 digits
	Region       string // for example us-west-1
	Architecture string // of the machines: x86_64 or arm64; empty for this host's
	Store        store.Store
	Compute      compute.Compute
	Addresses    addresses
	// Profiles knows the instance profiles; without it there are none.
	Profiles profiles
	// Credentials returns the role of an instance profile and credentials of it for an instance, or ErrNoRole; nil where instances have none.
	Credentials func(ctx context.Context, profileARN, instanceID string) (role string, c Credentials, err error)
	// Shape is what the account is like.
	Shape shape.Shape
	// DefaultKey is the ARN of the customer's key with which EBS encrypts every volume; empty where it does not, and has a key of its
	// own for those that are to be encrypted.
	DefaultKey string
	// MayUseKey tells whether EC2 Auto Scaling has a grant for a customer's key; nil for any key.
	MayUseKey func(key string) bool
	// Open listens on a public address; nil leaves public addresses without listeners.
	Open func(ctx context.Context, at netip.AddrPort) (net.Listener, error)
	// Dial connects to an instance's private address; nil for the way that this host knows.
	Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	// Lag says how old reads are that lag; nil where none does.
	Lag func() time.Duration
	// Snapshot waits as long as a snapshot takes of a volume with a throughput in MiB/s, for the bytes that were written to it; nil does not.
	Snapshot func(ctx context.Context, written int64, throughput int) error
	// Log takes what goes wrong behind the scenes; nil drops it.
	Log *slog.Logger
}

// Service is EC2. Make one with [New].
type Service struct {
	account, region, arch string
	shape                 shape.Shape
	defaultKey            string
	mayUseKey             func(key string) bool
	takeSnapshot          func(ctx context.Context, written int64, throughput int) error

	compute   compute.Compute
	addresses addresses
	profiles  profiles
	exposure  *exposure
	log       *slog.Logger

	credentials func(ctx context.Context, profileARN, instanceID string) (role string, c Credentials, err error)

	work   *service.Work
	ctx    context.Context // the work's
	source sourceImage

	// document's lock guards what follows, too.
	document  *store.Document[state]
	state     *state
	allocated []netip.Addr            // public addresses that the change under way took
	released  []netip.Addr            // and those that it lets go
	machines  map[string]*machineLock // by instance ID
	answering map[string]bool         // instances that are answered about themselves
	listeners []func(InstanceInfo)
	holders   []func(securityGroupID string) bool

	past    *Service // this service as it was a while ago; nil where nobody looks
	present *Service // of the past
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

func newState() state {
	return state{
		Images: map[string]*image{}, Snapshots: map[string]*snapshot{}, Instances: map[string]*instance{}, Volumes: map[string]*volume{},
		KeyPairs: map[string]*keyPair{}, Groups: map[string]*securityGroup{}, VPCs: map[string]*vpc{}, Subnets: map[string]*subnet{},
		Gateways: map[string]*internetGateway{}, RouteTables: map[string]*routeTable{}, ACLs: map[string]*networkACL{},
		Templates: map[string]*launchTemplate{},
	}
}

// New returns the service with its saved state, and starts to bring that and the machines together in the background:
// a machine that is gone was terminated, one that was stopped while the cloud was down starts again. Close ends it.
func New(o Options) (*Service, error) {
	document, err := store.Open(o.Store, storeName, newState())
	if err != nil {
		return nil, fmt.Errorf("load EC2 state: %w", err)
	}
	s := &Service{
		account: o.AccountID, region: o.Region, arch: o.Architecture, compute: o.Compute, addresses: o.Addresses, profiles: o.Profiles,
		shape: o.Shape, defaultKey: o.DefaultKey, mayUseKey: o.MayUseKey, takeSnapshot: o.Snapshot, log: service.Logger(o.Log), work: service.NewWork(), source: sourceImage{lock: newLock()},
		document: document, state: document.Value(), machines: map[string]*machineLock{}, answering: map[string]bool{},
		credentials: o.Credentials,
	}
	switch {
	case s.arch != "":
	case runtime.GOARCH == "arm64":
		s.arch = "arm64"
	default:
		s.arch = "x86_64"
	}
	if s.mayUseKey == nil {
		s.mayUseKey = func(string) bool { return true }
	}
	if document.Fresh() && !s.shape.NoDefaultVPC {
		if err := s.change(func() error { s.createDefaultVPC(); return nil }); err != nil {
			return nil, err
		}
	}
	s.ctx = s.work.Context()
	s.exposure = newExposure(s.ctx, o, s.log)
	if o.Lag != nil {
		s.past = s.asItWas(o.Lag)
	}
	changes := s.compute.Watch(s.ctx)
	s.reconcile()
	s.work.Go(func() { s.watch(changes) })
	return s, nil
}

// asItWas returns the service as it was that long ago, to answer calls and nothing else.
func (s *Service) asItWas(lag func() time.Duration) *Service {
	p := *s
	p.present = s
	p.document = s.document.Past(lag, func(past *state, present state) {
		// Other accounts' images have always been there. With a new key pair an instance can be launched at once: that is what
		// Packer does.
		for id, i := range present.Images {
			if i.OwnerID != s.account {
				past.Images[id] = i
			}
		}
		past.KeyPairs = present.KeyPairs
	})
	p.state = p.document.Value()
	return &p
}

// Close ends the background work and closes all listeners. It leaves the machines as they are.
func (s *Service) Close() error {
	s.work.Cancel()
	s.exposure.close()
	s.work.Close()
	return nil
}

// API returns the operations.
func (s *Service) API() wire.Service {
	api := wire.Service{
		Name:      "ec2",
		Protocol:  wire.EC2Query,
		Version:   Version,
		Namespace: "http://ec2.amazonaws.com/doc/" + Version + "/",
		Actions:   s.actions(),
	}
	if s.past != nil {
		api.Past = s.past.actions()
	}
	return api
}

func (s *Service) actions() map[string]wire.Action {
	actions := map[string]wire.Action{}
	for _, set := range []map[string]wire.Action{
		s.imageActions(), s.instanceActions(), s.keyPairActions(), s.securityGroupActions(), s.networkActions(),
		s.launchTemplateActions(), s.tagActions(), s.regionActions(), s.accountActions(),
	} {
		for name, action := range set {
			actions[name] = action
		}
	}
	return actions
}

// change runs a change to the state and saves it. Where either fails, nothing has changed.
func (s *Service) change(f func() error) error {
	s.document.Lock()
	defer s.document.Unlock()
	s.allocated, s.released = nil, nil
	err := s.document.UpdateLocked(func(*state) error { return f() })
	if err != nil {
		s.giveBack(s.allocated)
		return err
	}
	s.giveBack(s.released)
	return nil
}

// record makes a change that says what happened behind the scenes. It is not ok when the service closes before that could be saved.
func (s *Service) record(f func()) (ok bool) {
	return s.work.Persist(func() error {
		err := s.change(func() error { f(); return nil })
		if err != nil {
			s.log.Error("save EC2 state", "error", err)
		}
		return err
	})
}

// giveBack frees public addresses.
func (s *Service) giveBack(addrs []netip.Addr) {
	for _, addr := range addrs {
		if err := s.addresses.Release(addr); err != nil {
			s.log.Error("release public address", "address", addr, "error", err)
		}
	}
}

// lock is a lock that one can stop waiting for: it is held for as long as machines take.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

// take waits for the lock until the context ends.
func (l lock) take(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l lock) release() { <-l }

// newID returns a new resource ID, in the long form: 17 hexadecimal digits.
func newID(prefix string) string { return prefix + "-" + service.HexID(17) }

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
		return r, notFound(code, kind, id)
	}
	return r, nil
}

// malformedIDs are the codes for what cannot be an ID, and how an ID begins, by the code for one that there is not.
var malformedIDs = map[string]struct{ prefix, code string }{
	"InvalidGroup.NotFound":               {"sg", "InvalidGroupId.Malformed"},
	"InvalidLaunchTemplateId.NotFound":    {"lt", "InvalidLaunchTemplateId.Malformed"},
	"InvalidNetworkInterfaceID.NotFound":  {"eni", "InvalidNetworkInterfaceId.Malformed"},
	"InvalidRouteTableID.NotFound":        {"rtb", "InvalidRouteTableId.Malformed"},
	"InvalidSecurityGroupRuleId.NotFound": {"sgr", "InvalidSecurityGroupRuleId.Malformed"},
	"InvalidSnapshot.NotFound":            {"snap", "InvalidSnapshotID.Malformed"},
	"InvalidVolume.NotFound":              {"vol", "InvalidVolumeID.Malformed"},
}

// notFound is the error for an ID that there is not. Of some kinds AWS tells an ID that there cannot be from that.
// See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html.
func notFound(code, kind, id string) error {
	of, told := malformedIDs[code]
	if before, digits, _ := strings.Cut(id, "-"); told && (before != of.prefix || !idDigits.MatchString(digits)) {
		return wire.Errorf(of.code, `Invalid id: "%s" (expecting "%s-...")`, id, of.prefix)
	}
	return wire.Errorf(code, "The %s '%s' does not exist", kind, id)
}

// idDigits are what follows the prefix of an ID, in its short and its long form.
var idDigits = regexp.MustCompile(`^([0-9a-f]{8}|[0-9a-f]{17})$`)

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
