package autoscaling

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/elbv2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/loopback"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// servers is an EC2 whose instances are HTTP servers of this process. They stop without grace when they are terminated.
type servers struct {
	mu        sync.Mutex
	instances map[string]*ec2.InstanceInfo
	running   map[string]*http.Server
	kick      func(ec2.InstanceInfo)
	next      byte
}

const servicePort = 18181

func (s *servers) address() netip.Addr {
	s.next++
	pid := os.Getpid()
	return netip.AddrFrom4([4]byte{127, byte(150 + pid/250%50), byte(1 + pid%250), s.next})
}

func (s *servers) Allocate(string) (netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.address(), nil
}

func (s *servers) Release(netip.Addr) error { return nil }

func (s *servers) LaunchFromTemplate(_ context.Context, spec ec2.LaunchSpec) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.address()
	id := fmt.Sprintf("i-%d", s.next)
	socket, err := net.Listen("tcp", netip.AddrPortFrom(at, servicePort).String())
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			return
		}
		time.Sleep(5 * time.Millisecond)
		fmt.Fprint(w, spec.Version)
	})}
	go server.Serve(socket)
	s.running[id] = server
	s.instances[id] = &ec2.InstanceInfo{
		ID: id, State: "running", PrivateIP: at, VPCID: "vpc-1", SecurityGroups: []string{"sg"}, SubnetID: spec.SubnetID,
	}
	return id, nil
}

func (s *servers) Terminate(_ context.Context, ids ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.running[id].Close()
		s.instances[id].State = "terminated"
		go s.kick(*s.instances[id])
	}
	return nil
}

func (s *servers) Instance(id string) (ec2.InstanceInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.instances[id]
	if !ok {
		return ec2.InstanceInfo{}, false
	}
	return *i, true
}

func (s *servers) LaunchNeeds(string, string, []string, map[string]string) []wire.Access { return nil }

func (s *servers) ResolveTemplate(id, version string) (ec2.TemplateInfo, error) {
	return newCloud().ResolveTemplate(id, version)
}

func (s *servers) HasVPC(string) bool { return true }

func (s *servers) HasSecurityGroup(string, string) bool { return true }

func (s *servers) Subnet(id string) (ec2.SubnetInfo, bool) { return newCloud().Subnet(id) }

func (s *servers) OnStateChange(f func(ec2.InstanceInfo)) { s.kick = f }

func (s *servers) SecurityGroupAllows(string, int, netip.Addr, []string) bool { return true }

// TestRefreshLosesNoRequest refreshes a group behind a real load balancer, under load, in real time.
func TestRefreshLosesNoRequest(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds of real time")
	}
	cloud := &servers{instances: map[string]*ec2.InstanceInfo{}, running: map[string]*http.Server{}}
	balancers, err := elbv2.New(elbv2.Options{
		Region: "us-west-1", AccountID: "000000000000", Store: store.Memory(), Instances: cloud, Addresses: cloud, Open: loopback.Open(nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	balancers.Start()
	defer balancers.Close()
	server := wire.New(wire.Options{Region: "us-west-1"}, balancers.API())
	call := func(action string, parameters map[string]string, out any) {
		t.Helper()
		form := url.Values{}
		for name, value := range parameters {
			form.Set(name, value)
		}
		if err := server.Invoke(t.Context(), "elasticloadbalancing", action, form, out); err != nil {
			t.Fatal(err)
		}
	}
	var lb struct {
		LoadBalancers []struct {
			LoadBalancerArn, DNSName string
		} `xml:"CreateLoadBalancerResult>LoadBalancers>member"`
	}
	call("CreateLoadBalancer", map[string]string{
		"Name": "web", "Subnets.member.1": "subnet-a", "Subnets.member.2": "subnet-b", "SecurityGroups.member.1": "sg",
	}, &lb)
	var tg struct {
		TargetGroups []struct{ TargetGroupArn string } `xml:"CreateTargetGroupResult>TargetGroups>member"`
	}
	call("CreateTargetGroup", map[string]string{
		"Name": "web", "Protocol": "HTTP", "Port": fmt.Sprint(servicePort), "VpcId": "vpc-1", "HealthCheckPath": "/healthz",
	}, &tg)
	arn := tg.TargetGroups[0].TargetGroupArn
	call("CreateListener", map[string]string{
		"LoadBalancerArn": lb.LoadBalancers[0].LoadBalancerArn, "Port": fmt.Sprint(servicePort), "Protocol": "HTTP",
		"DefaultActions.member.1.Type": "forward", "DefaultActions.member.1.TargetGroupArn": arn,
	}, &struct{}{})

	s, err := New(Options{Region: "us-west-1", AccountID: "000000000000", Store: store.Memory(), Instances: cloud, Targets: balancers})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.Close()
	b := &bench{Service: s, t: t}
	b.create(3, func(in *createInput) { in.TargetGroupARNs, in.DefaultInstanceWarmup = []string{arn}, new(1) })
	wait := func(what string, condition func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("not yet so that %s", what)
			}
		}
	}
	wait("three targets are healthy", func() bool {
		n := 0
		for _, i := range b.view().Instances.Members {
			if state, _, _ := balancers.TargetHealth(arn, i.InstanceID); state == "healthy" {
				n++
			}
		}
		return n == 3
	})

	var stop atomic.Bool
	var clients sync.WaitGroup
	var mu sync.Mutex
	answers := map[string]int{}
	for range 8 {
		clients.Go(func() {
			client := &http.Client{Transport: &http.Transport{}}
			for !stop.Load() {
				answer := "error"
				response, err := client.Get(fmt.Sprintf("http://%s:%d/", lb.LoadBalancers[0].DNSName, servicePort))
				if err == nil {
					body, _ := io.ReadAll(response.Body)
					response.Body.Close()
					answer = fmt.Sprint(response.StatusCode, " ", string(body))
				}
				mu.Lock()
				answers[answer]++
				mu.Unlock()
			}
		})
	}
	b.must(b.roll("2", preferences{MinHealthyPercentage: new(100), MaxHealthyPercentage: new(200)}))
	wait("the refresh succeeded", b.hasStatus(statusSuccessful))
	stop.Store(true)
	clients.Wait()
	if len(answers) != 2 || answers["200 1"] == 0 || answers["200 2"] == 0 {
		t.Errorf("answers %v", answers)
	}
	t.Logf("answers %v", answers)
}
