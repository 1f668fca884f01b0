package ec2

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// memoryStore keeps what is saved as JSON, like a real one.
type memoryStore struct {
	mu   sync.Mutex
	docs map[string][]byte
}

func (m *memoryStore) Load(name string, into any) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.docs[name] == nil {
		return false, nil
	}
	return true, json.Unmarshal(m.docs[name], into)
}

func (m *memoryStore) Save(name string, from any) error {
	data, err := json.Marshal(from)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.docs == nil {
		m.docs = map[string][]byte{}
	}
	m.docs[name] = data
	return nil
}

// pool hands out 127.80.0.2 and up.
type pool struct {
	mu    sync.Mutex
	taken map[netip.Addr]string
	full  bool
}

func (p *pool) Allocate(owner string) (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return netip.Addr{}, errors.New("no free address")
	}
	if p.taken == nil {
		p.taken = map[netip.Addr]string{}
	}
	for n := byte(2); ; n++ {
		addr := netip.AddrFrom4([4]byte{127, 80, 0, n})
		if _, ok := p.taken[addr]; !ok {
			p.taken[addr] = owner
			return addr, nil
		}
	}
}

func (p *pool) Release(addr netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, addr)
	return nil
}

// cloud is a service under test with its clients.
type cloud struct {
	t       *testing.T
	compute *compute.Memory
	store   *memoryStore
	pool    *pool
	ports   *ports
	options Options // what differs from the default
	service *Service
	handler http.Handler
	client  *sdk.Client
}

// start starts a cloud. It calls the handler without a network, so that it works in a synctest bubble.
func start(t *testing.T) *cloud { return startWith(t, Options{}) }

// startWith starts a cloud whose account is of a shape, with the options about that.
func startWith(t *testing.T, o Options) *cloud {
	t.Helper()
	c := &cloud{t: t, compute: &compute.Memory{}, store: &memoryStore{}, pool: &pool{}, ports: &ports{}, options: o}
	c.restart()
	t.Cleanup(func() { c.service.Close() })
	return c
}

// restart ends the service, if it runs, and starts it from its store.
func (c *cloud) restart() {
	c.t.Helper()
	if c.service != nil {
		c.service.Close()
	}
	s, err := New(Options{
		AccountID: "000000000001", Region: "us-west-1", Architecture: "x86_64", Store: c.store, Compute: c.compute,
		Addresses: c.pool, Open: c.ports.open, Profiles: fakeProfiles{},
		Shape: c.options.Shape, DefaultKey: c.options.DefaultKey, MayUseKey: c.options.MayUseKey,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.service, c.handler = s, wire.Handler(s.API())
	c.client = sdk.New(sdk.Options{
		Region: "us-west-1", BaseEndpoint: aws.String("http://127.0.0.1"), HTTPClient: c, Retryer: aws.NopRetryer{},
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIATEST", SecretAccessKey: "secret"}, nil
		}),
	})
}

// fakeProfiles has the instance profile "web", and "bare", which has no role.
type fakeProfiles struct{}

func (fakeProfiles) InstanceProfile(nameOrARN string) (arn, id string, found, usable bool) {
	name := nameOrARN[strings.LastIndex(nameOrARN, "/")+1:]
	return "arn:aws:iam::000000000001:instance-profile/" + name, "AIPA" + name, name == "web" || name == "bare", name == "web"
}

func (fakeProfiles) ProfileRole(nameOrARN string) (roleARN string, found bool) {
	name := nameOrARN[strings.LastIndex(nameOrARN, "/")+1:]
	return "arn:aws:iam::000000000001:role/" + name, name == "web"
}

// Do makes the cloud the SDK's HTTP client.
func (c *cloud) Do(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

// query sends a raw request, of lines Name=Value, and returns the status and the answer.
func (c *cloud) query(action, parameters string) (int, string) {
	c.t.Helper()
	form := url.Values{"Action": {action}, "Version": {Version}}
	for line := range strings.Lines(parameters) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			form.Set(name, value)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIATEST/20260101/us-west-1/ec2/aws4_request, SignedHeaders=host, Signature=00")
	w, _ := c.Do(r)
	body, err := io.ReadAll(w.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return w.StatusCode, string(body)
}

// ask sends a raw request that has to succeed.
func (c *cloud) ask(action, parameters string) string {
	c.t.Helper()
	status, body := c.query(action, parameters)
	if status != http.StatusOK {
		c.t.Fatalf("%s: status %d: %s", action, status, body)
	}
	return body
}

// refused checks an error's code and part of its message.
func refused(t *testing.T, err error, code, message string) {
	t.Helper()
	var api smithy.APIError
	switch {
	case !errors.As(err, &api):
		t.Errorf("error %v, want %s", err, code)
	case api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), message):
		t.Errorf("error %s: %s, want %s: …%s…", api.ErrorCode(), api.ErrorMessage(), code, message)
	}
}

// between returns what stands between two marks, the first time.
func between(t *testing.T, s, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, before)
	found, _, ok2 := strings.Cut(rest, after)
	if !ok || !ok2 {
		t.Fatalf("no %s…%s in %s", before, after, s)
	}
	return found
}

// must returns a value, or ends the test.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// ports are listeners without a network.
type ports struct {
	mu   sync.Mutex
	live map[netip.AddrPort]*port
}

func (p *ports) open(_ context.Context, at netip.AddrPort) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live[at] != nil {
		return nil, fmt.Errorf("listen on %s: in use", at)
	}
	if p.live == nil {
		p.live = map[netip.AddrPort]*port{}
	}
	l := &port{all: p, at: at, done: make(chan struct{})}
	p.live[at] = l
	return l, nil
}

// list returns the open ports, in order.
func (p *ports) list() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for at := range p.live {
		all = append(all, at.String())
	}
	slices.Sort(all)
	return all
}

type port struct {
	all  *ports
	at   netip.AddrPort
	once sync.Once
	done chan struct{}
}

func (p *port) Accept() (net.Conn, error) {
	<-p.done
	return nil, net.ErrClosed
}

func (p *port) Close() error {
	p.once.Do(func() {
		close(p.done)
		p.all.mu.Lock()
		defer p.all.mu.Unlock()
		delete(p.all.live, p.at)
	})
	return nil
}

func (p *port) Addr() net.Addr { return net.TCPAddrFromAddrPort(p.at) }
