package elbv2

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/loopback"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
)

// fakeInstances are instances whose addresses are loopback addresses, and security groups by name: "open" admits all,
// "lb-only" admits what belongs to "open", "shut" admits nothing.
type fakeInstances struct {
	mu        sync.Mutex
	instances map[string]ec2.InstanceInfo
	shut      bool // "open" admits nothing either
}

func (f *fakeInstances) Instance(id string) (ec2.InstanceInfo, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, ok := f.instances[id]
	return i, ok
}

func (f *fakeInstances) set(id string, change func(*ec2.InstanceInfo)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.instances[id]
	change(&i)
	f.instances[id] = i
}

func (f *fakeInstances) Subnet(id string) (ec2.SubnetInfo, bool) {
	zones := map[string]string{"subnet-a": "us-west-1a", "subnet-b": "us-west-1b", "subnet-a2": "us-west-1a"}
	return ec2.SubnetInfo{ID: id, VPCID: "vpc-1", AvailabilityZone: zones[id]}, zones[id] != ""
}

func (f *fakeInstances) HasVPC(id string) bool { return id == "vpc-1" }

func (f *fakeInstances) HasSecurityGroup(_, id string) bool { return id != "sg-none" }

func (f *fakeInstances) SecurityGroupAllows(group string, _ int, _ netip.Addr, from []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return group == "open" && !f.shut || group == "lb-only" && slices.Contains(from, "open")
}

// fakeAddresses hands out loopback addresses that no other test process uses.
type fakeAddresses struct {
	mu   sync.Mutex
	next byte
}

func (f *fakeAddresses) Allocate(string) (netip.Addr, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, byte(200 + pid/250%50), byte(1 + pid%250), f.next}), nil
}

func (f *fakeAddresses) Release(netip.Addr) error { return nil }

const (
	frontPort   = 18080
	backendPort = 18081
)

type bench struct {
	*Service
	t         *testing.T
	instances *fakeInstances
	addresses *fakeAddresses
	store     store.Store
	group     string // the target group's ARN
	lb        string // the load balancer's ARN
	listener  string // the listener's ARN
	url       string
}

func newService(t *testing.T, b *bench) *Service {
	t.Helper()
	s, err := New(Options{
		Region: "us-west-1", AccountID: "000000000000", Store: b.store, Instances: b.instances, Addresses: b.addresses,
		Open: loopback.Open(nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Close() })
	return s
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		t: t, instances: &fakeInstances{instances: map[string]ec2.InstanceInfo{}}, addresses: &fakeAddresses{}, store: store.Memory(),
	}
	b.Service = newService(t, b)
	return b
}

// newStack returns a service with a load balancer that forwards to a target group.
func newStack(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	lb := do(t, b.createLoadBalancer, &createLoadBalancerInput{
		Name: "web", Subnets: []string{"subnet-a", "subnet-b"}, SecurityGroups: []string{"open"},
	}).LoadBalancers.Members[0]
	b.lb, b.url = lb.LoadBalancerARN, fmt.Sprintf("http://%s:%d", lb.DNSName, frontPort)
	b.group = do(t, b.createTargetGroup, &createTargetGroupInput{
		Name: "web", Protocol: "HTTP", Port: backendPort, VPCID: "vpc-1",
		checkInput: checkInput{Path: "/healthz", Interval: new(5), Timeout: new(2), HealthyThreshold: new(2)},
	}).TargetGroups.Members[0].TargetGroupARN
	b.listener = do(t, b.createListener, &createListenerInput{LoadBalancerARN: b.lb, listenerInput: listenerInput{
		Port: frontPort, Protocol: "HTTP", DefaultActions: []action{{Type: "forward", TargetGroup: b.group}},
	}}).Listeners.Members[0].ListenerARN
	b.until("the listener is open", func() bool {
		c, err := net.Dial("tcp", b.url[len("http://"):])
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return b
}

// instance starts a backend as a running instance.
func (b *bench) instance(id string, handler http.Handler) *httptest.Server {
	b.t.Helper()
	address, err := b.addresses.Allocate(id)
	if err != nil {
		b.t.Fatal(err)
	}
	socket, err := net.Listen("tcp", netip.AddrPortFrom(address, backendPort).String())
	if err != nil {
		b.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.Listener.Close()
	server.Listener = socket
	server.Start()
	b.t.Cleanup(server.Close)
	b.instances.set(id, func(i *ec2.InstanceInfo) {
		*i = ec2.InstanceInfo{ID: id, State: "running", PrivateIP: address, VPCID: "vpc-1", SecurityGroups: []string{"lb-only"}}
	})
	return server
}

func (b *bench) register(ids ...string) {
	b.t.Helper()
	for _, id := range ids {
		if err := b.Register(b.t.Context(), b.group, id); err != nil {
			b.t.Fatal(err)
		}
		b.untilState(id, healthy)
	}
}

func (b *bench) untilState(id string, state health) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s is %q", id, state), func() bool {
		is, _, _ := b.TargetHealth(b.group, id)
		return is == string(state)
	})
}

// until waits for a condition; these tests talk to real sockets, so that the clock is the real one.
func (b *bench) until(what string, condition func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.t.Fatalf("not yet so that %s", what)
		}
	}
}

func do[In, Out any](t *testing.T, f func(context.Context, *In) (*Out, error), in *In) *Out {
	t.Helper()
	out, err := f(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// named answers with its name, and with 200 at the health path.
func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name) })
}
