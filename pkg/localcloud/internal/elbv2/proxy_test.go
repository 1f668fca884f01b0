package elbv2

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
)

func fetch(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestRoundRobin(t *testing.T) {
	b := newStack(t)
	if status, _ := fetch(t, b.url); status != http.StatusServiceUnavailable {
		t.Errorf("without targets: status %d, want 503", status)
	}
	b.instance("i-1", named("one"))
	b.instance("i-2", named("two"))
	b.register("i-1", "i-2")
	var got []string
	for range 4 {
		_, body := fetch(t, b.url)
		got = append(got, body)
	}
	if diff := cmp.Diff([]string{"one", "two", "one", "two"}, got); diff != "" {
		t.Errorf("answers:\n%s", diff)
	}
}

func TestForwardedHeaders(t *testing.T) {
	b := newStack(t)
	seen := make(chan *http.Request, 10)
	b.instance("i-1", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			seen <- r
		}
	}))
	b.register("i-1")
	request, err := http.NewRequest(http.MethodGet, b.url+"/a%2Fb?q=1;2", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Forwarded-For", "203.0.113.7")
	request.Header.Set("Connection", "X-Hop")
	request.Header.Set("X-Hop", "secret")
	request.Host = "www.example.com"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	got := <-seen
	want := map[string]string{
		"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Port": fmt.Sprint(frontPort), "X-Hop": "",
	}
	for name, value := range want {
		if got.Header.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, got.Header.Get(name), value)
		}
	}
	if got.Host != "www.example.com" || got.RequestURI != "/a%2Fb?q=1;2" || !strings.HasPrefix(got.Header.Get("X-Amzn-Trace-Id"), "Root=1-") {
		t.Errorf("host %q, URI %q, trace %q", got.Host, got.RequestURI, got.Header.Get("X-Amzn-Trace-Id"))
	}
}

// TestDeregistrationLosesNoRequest swaps targets under load; each backend is closed hard as soon as it is gone from the
// group, as an instance is that an Auto Scaling group terminates.
func TestDeregistrationLosesNoRequest(t *testing.T) {
	b := newStack(t)
	answer := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		time.Sleep(time.Duration(len(body)%5) * time.Millisecond)
		w.Write(body)
	}
	b.instance("i-0", http.HandlerFunc(answer))
	b.register("i-0")
	var stop atomic.Bool
	var served, failed atomic.Int64
	var clients sync.WaitGroup
	for n := range 16 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: n%4 == 0}}
		clients.Go(func() {
			for i := 0; !stop.Load(); i++ {
				sent := strings.Repeat("x", i%50)
				response, err := client.Post(b.url, "text/plain", strings.NewReader(sent))
				if err != nil {
					failed.Add(1)
					t.Error(err)
					return
				}
				got, err := io.ReadAll(response.Body)
				response.Body.Close()
				if err != nil || response.StatusCode != http.StatusOK || string(got) != sent {
					failed.Add(1)
					t.Errorf("status %d, %d of %d bytes, error %v", response.StatusCode, len(got), len(sent), err)
					return
				}
				served.Add(1)
			}
		})
	}
	servers := map[string]io.Closer{}
	for n := 1; n <= 12; n++ {
		id, before := fmt.Sprintf("i-%d", n), fmt.Sprintf("i-%d", n-1)
		server := b.instance(id, http.HandlerFunc(answer))
		servers[id] = closer(func() { server.Listener.Close(); server.CloseClientConnections() })
		b.register(id)
		time.Sleep(20 * time.Millisecond)
		if err := b.Deregister(t.Context(), b.group, before); err != nil {
			t.Fatal(err)
		}
		b.untilState(before, "")
		if s, ok := servers[before]; ok {
			s.Close()
		}
		b.instances.set(before, func(i *ec2.InstanceInfo) { i.State = "terminated" })
	}
	stop.Store(true)
	clients.Wait()
	if failed.Load() > 0 || served.Load() < 100 {
		t.Errorf("%d served, %d failed", served.Load(), failed.Load())
	}
	t.Logf("%d requests over 12 swaps", served.Load())
}

type closer func()

func (c closer) Close() error { c(); return nil }

func TestDrainingWaitsForRequests(t *testing.T) {
	b := newStack(t)
	begun, finish := make(chan bool), make(chan bool)
	b.instance("i-slow", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- true
			<-finish
		}
		fmt.Fprint(w, "slow")
	}))
	b.instance("i-fast", named("fast"))
	b.register("i-slow")
	body := make(chan string)
	go func() {
		_, text := fetch(t, b.url+"/slow")
		body <- text
	}()
	<-begun
	b.register("i-fast")
	if err := b.Deregister(t.Context(), b.group, "i-slow"); err != nil {
		t.Fatal(err)
	}
	state, reason, description := b.TargetHealth(b.group, "i-slow")
	if diff := cmp.Diff([]string{"draining", "Target.DeregistrationInProgress", "Target deregistration is in progress"},
		[]string{state, reason, description}); diff != "" {
		t.Errorf("health while draining:\n%s", diff)
	}
	for range 4 {
		if _, text := fetch(t, b.url); text != "fast" {
			t.Errorf("a draining target got a new request")
		}
	}
	close(finish)
	if text := <-body; text != "slow" {
		t.Errorf("the request under way was answered %q", text)
	}
	b.untilState("i-slow", "")
}

func TestDrainingEndsWithItsDelay(t *testing.T) {
	b := newStack(t)
	do(t, b.modifyTargetGroupAttributes, &modifyTargetGroupAttributesInput{targetGroupARN{b.group}, []keyValue{{drainingDelay, "1"}}})
	begun, finish := make(chan bool), make(chan bool)
	defer close(finish)
	b.instance("i-1", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			begun <- true
			<-finish
		}
	}))
	b.register("i-1")
	status := make(chan int)
	go func() {
		got, _ := fetch(t, b.url+"/slow")
		status <- got
	}()
	<-begun
	start := time.Now()
	if err := b.Deregister(t.Context(), b.group, "i-1"); err != nil {
		t.Fatal(err)
	}
	if got := <-status; got != http.StatusBadGateway || time.Since(start) < 900*time.Millisecond {
		t.Errorf("after %v: status %d, want 502 after a second", time.Since(start), got)
	}
	b.untilState("i-1", "")
}

func TestUpgrade(t *testing.T) {
	b := newStack(t)
	b.instance("i-1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" {
			return
		}
		conn, both, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := both.ReadString('\n')
		fmt.Fprint(conn, "echo "+line)
	}))
	b.register("i-1")
	conn, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(conn)
	response, err := http.ReadResponse(r, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("response %v, error %v", response, err)
	}
	fmt.Fprint(conn, "hello\n")
	if line, err := r.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("read %q, error %v", line, err)
	}
}

func TestStreaming(t *testing.T) {
	b := newStack(t)
	more := make(chan bool)
	b.instance("i-1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			return
		}
		fmt.Fprintln(w, "first")
		w.(http.Flusher).Flush()
		<-more
		fmt.Fprintln(w, "second")
	}))
	b.register("i-1")
	response, err := http.Get(b.url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	if !lines.Scan() || lines.Text() != "first" {
		t.Fatalf("read %q", lines.Text())
	}
	close(more)
	if !lines.Scan() || lines.Text() != "second" {
		t.Fatalf("read %q", lines.Text())
	}
}

func TestBadTargets(t *testing.T) {
	b := newStack(t)
	do(t, b.modifyLoadBalancerAttributes, &modifyLoadBalancerAttributesInput{loadBalancerARN{b.lb}, []keyValue{{idleTimeout, "1"}}})
	never := make(chan bool)
	defer close(never)
	server := b.instance("i-1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-never
		case "/drop":
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
		}
	}))
	b.register("i-1")
	for path, want := range map[string]int{"/": 200, "/drop": http.StatusBadGateway, "/hang": http.StatusGatewayTimeout} {
		if got, _ := fetch(t, b.url+path); got != want {
			t.Errorf("%s: status %d, want %d", path, got, want)
		}
	}
	b.instances.set("i-1", func(i *ec2.InstanceInfo) { i.SecurityGroups = []string{"shut"} })
	server.CloseClientConnections()
	if got, _ := fetch(t, b.url); got != http.StatusGatewayTimeout {
		t.Errorf("not admitted: status %d, want 504", got)
	}
}

func TestActions(t *testing.T) {
	b := newStack(t)
	tests := []struct {
		name           string
		action         action
		path           string
		status         int
		location, body string
	}{
		{
			name: "fixed response", action: action{Type: "fixed-response", FixedResponse: &fixedResponse{StatusCode: "404", MessageBody: "none"}},
			path: "/", status: 404, body: "none",
		},
		{
			name: "redirect", action: action{Type: "redirect", Redirect: &redirect{StatusCode: "HTTP_301", Protocol: "HTTPS", Port: "443"}},
			path: "/a/b?c=d", status: 301, location: "https://HOST/a/b?c=d",
		},
		{
			name: "redirect with a path", action: action{Type: "redirect", Redirect: &redirect{StatusCode: "HTTP_302", Path: "/new/#{path}", Query: "x=1"}},
			path: "/old", status: 302, location: "http://HOST:18080/new/old?x=1",
		},
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	host, _, _ := net.SplitHostPort(strings.TrimPrefix(b.url, "http://"))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			do(t, b.modifyListener, &modifyListenerInput{listenerARN{b.listener}, listenerInput{DefaultActions: []action{test.action}}})
			response, err := client.Get(b.url + test.path)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			location := strings.ReplaceAll(test.location, "HOST", host)
			if response.StatusCode != test.status || response.Header.Get("Location") != location || string(body) != test.body {
				t.Errorf("status %d, location %q, body %q", response.StatusCode, response.Header.Get("Location"), body)
			}
		})
	}
}

func TestHTTPS(t *testing.T) {
	b := newStack(t)
	b.instance("i-1", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto")) }))
	b.register("i-1")
	do(t, b.modifyListener, &modifyListenerInput{listenerARN{b.listener}, listenerInput{
		Protocol: "HTTPS", Certificates: []certificate{{ARN: "arn:aws:acm:us-west-1:000000000000:certificate/1"}},
	}})
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // self-signed by design
	b.until("it serves TLS", func() bool {
		response, err := client.Get(strings.Replace(b.url, "http", "https", 1))
		if err != nil {
			return false
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return err == nil && string(body) == "https"
	})
}

func TestSecurityGroupShutsListener(t *testing.T) {
	b := newStack(t)
	b.instances.mu.Lock()
	b.instances.shut = true
	b.instances.mu.Unlock()
	b.until("the listener is shut", func() bool {
		_, err := http.Get(b.url)
		return err != nil
	})
}

func TestPickFailsOpen(t *testing.T) {
	tests := []struct {
		name   string
		states []health
		want   []int // the targets that get requests, in turn
	}{
		{"healthy ones only", []health{healthy, unhealthy, healthy, initial, draining}, []int{0, 2, 0, 2}},
		{"all unhealthy", []health{unhealthy, unhealthy}, []int{0, 1, 0}},
		{"unhealthy, never draining", []health{draining, unhealthy}, []int{1, 1}},
		{"draining", []health{draining, draining}, []int{-1}},
		{"initial", []health{initial}, []int{-1}},
		{"none", nil, []int{-1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := &targetGroup{ARN: "arn"}
			s := &Service{
				state: &state{TargetGroups: map[string]*targetGroup{"arn": g}}, backends: map[targetKey]*backend{}, rotation: map[string]int{},
			}
			for n, state := range test.states {
				one := &target{ID: fmt.Sprint(n), State: state}
				g.Targets = append(g.Targets, one)
				s.backends[g.key(one)] = &backend{key: g.key(one)}
			}
			var got []int
			for range test.want {
				n := -1
				if b := s.pick("arn"); b != nil {
					fmt.Sscan(b.key.id, &n)
				}
				got = append(got, n)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
