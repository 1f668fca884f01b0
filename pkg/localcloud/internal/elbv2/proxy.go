package elbv2

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

const (
	// connectTimeout is how long the load balancer waits for a connection to a target, as on AWS.
	connectTimeout = 10 * time.Second
	// idleConnections bounds the connections kept open to a target.
	idleConnections = 256
	// certificateLife is how long a self-signed certificate is good for. It is made anew with every start.
	certificateLife = 397 * 24 * time.Hour
)

// front is an open listener.
type front struct{ server *http.Server }

// admit opens and closes listeners as the state and the security groups say, until the service ends.
func (s *Service) admit() {
	ticker := time.NewTicker(admissionInterval)
	defer ticker.Stop()
	for {
		s.sync()
		select {
		case <-s.work.Context().Done():
			return
		case <-s.work.Woken():
		case <-ticker.C:
		}
	}
}

// sync opens and closes listeners once.
func (s *Service) sync() {
	s.document.Lock()
	type wanted struct {
		listener listener
		lb       loadBalancer
	}
	var all []wanted
	for arn, l := range s.state.Listeners {
		if lb, ok := s.state.LoadBalancers[l.LoadBalancer]; ok {
			all = append(all, wanted{*l, *lb})
		} else {
			s.shut(arn)
		}
	}
	s.document.Unlock()
	for _, w := range all {
		open := false
		for _, group := range w.lb.SecurityGroups {
			open = open || s.options.Instances.SecurityGroupAllows(group, w.listener.Port, loopbackClient(), nil)
		}
		s.document.Lock()
		_, is := s.fronts[w.listener.ARN]
		if is && !open {
			s.shut(w.listener.ARN)
		}
		s.document.Unlock()
		if !is && open {
			if err := s.open(w.listener, w.lb.Address); err != nil {
				s.log.Warn("open listener", "listener", w.listener.ARN, "error", err)
			}
		}
	}
}

// open begins to serve a listener. Opening may take its time, so it happens without the lock.
func (s *Service) open(l listener, address netip.Addr) error {
	at := netip.AddrPortFrom(address, uint16(l.Port))
	socket, err := s.options.Open(s.work.Context(), at)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", at, err)
	}
	server := &http.Server{
		Handler: &proxy{s, l.ARN}, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute,
		Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	s.document.Lock()
	defer s.document.Unlock()
	current, ok := s.state.Listeners[l.ARN]
	if _, twice := s.fronts[l.ARN]; !ok || twice || current.Port != l.Port || current.Protocol != l.Protocol || s.work.Closed() {
		return socket.Close()
	}
	server.IdleTimeout = s.idle(current)
	if l.Protocol == "HTTPS" {
		certificate, err := selfSigned(address)
		if err != nil {
			socket.Close()
			return err
		}
		server.Protocols.SetHTTP2(true)
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	}
	s.fronts[l.ARN] = &front{server: server}
	s.work.Go(func() {
		if l.Protocol == "HTTPS" {
			err = server.ServeTLS(socket, "", "")
		} else {
			err = server.Serve(socket)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			s.log.Warn("serve listener", "listener", l.ARN, "error", err)
			s.document.Lock()
			s.shut(l.ARN)
			s.document.Unlock()
		}
	})
	return nil
}

// shut stops serving a listener at once; the caller holds the lock.
func (s *Service) shut(arn string) {
	if f, ok := s.fronts[arn]; ok {
		f.server.Close()
		delete(s.fronts, arn)
	}
}

// idle is how long a connection may be silent; the caller holds the lock.
func (s *Service) idle(l *listener) time.Duration {
	seconds := 60
	if lb, ok := s.state.LoadBalancers[l.LoadBalancer]; ok {
		if n, err := strconv.Atoi(lb.Attributes[idleTimeout]); err == nil {
			seconds = n
		}
	}
	return time.Duration(seconds) * time.Second
}

// selfSigned makes a certificate for a load balancer's address.
func selfSigned(address netip.Addr) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key for %s: %w", address, err)
	}
	now := time.Now()
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: address.String()}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(certificateLife), IPAddresses: []net.IP{address.AsSlice()}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate for %s: %w", address, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// transport makes the connections to one target, so that they can be closed when it drains.
func (s *Service) transport(key targetKey) *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: idleConnections, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			info, ok := s.options.Instances.Instance(key.id)
			if !ok {
				return nil, fmt.Errorf("the instance %s is gone", key.id)
			}
			s.document.Lock()
			users := s.users(key.group)
			s.document.Unlock()
			if !s.admitted(info.SecurityGroups, key.port, users) {
				return nil, errNotAdmitted
			}
			return s.dial(ctx, netip.AddrPortFrom(info.PrivateIP, uint16(key.port)))
		},
	}
}

// dial connects to an instance.
func (s *Service) dial(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	if s.options.Dial != nil {
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		return s.options.Dial(ctx, to)
	}
	dialer := net.Dialer{Timeout: connectTimeout}
	return dialer.DialContext(ctx, "tcp", to.String())
}

// proxy answers the requests of a listener.
type proxy struct {
	service *Service
	arn     string // of the listener
}

// plan is what to do with a request.
type plan struct {
	action     action
	backend    *backend
	idle       time.Duration
	port       int
	scheme     string
	attributes map[string]string // of the load balancer, as far as forwarding needs them
	server     bool              // name the load balancer in its own answers
}

// plan chooses a target for a request, which counts as under way until release.
func (p *proxy) plan() (plan, bool) {
	s := p.service
	s.document.Lock()
	defer s.document.Unlock()
	l, ok := s.state.Listeners[p.arn]
	if !ok {
		return plan{}, false
	}
	lb, ok := s.state.LoadBalancers[l.LoadBalancer]
	if !ok {
		return plan{}, false
	}
	made := plan{
		action: *l.last(), idle: s.idle(l), port: l.Port, scheme: strings.ToLower(l.Protocol), attributes: map[string]string{},
		server: l.Attributes[serverHeader] == "true",
	}
	for _, key := range []string{xffMode, xffClientPort} {
		made.attributes[key] = lb.Attributes[key]
	}
	if made.action.Forward != nil {
		if made.backend = s.pick(made.action.Forward.choose()); made.backend != nil {
			made.backend.inFlight++
		}
	}
	return made, true
}

// choose returns the ARN of a target group, by weight.
func (f *forward) choose() string {
	total := 0
	for _, g := range f.TargetGroups {
		total += *g.Weight
	}
	if total == 0 {
		return ""
	}
	n := mathrand.IntN(total)
	for _, g := range f.TargetGroups {
		if n -= *g.Weight; n < 0 {
			return g.ARN
		}
	}
	return ""
}

// pick returns the next target in turn: of the healthy ones, or of the unhealthy ones where there is no healthy one. It
// is never one that drains. The caller holds the lock.
func (s *Service) pick(arn string) *backend {
	g, ok := s.state.TargetGroups[arn]
	if !ok {
		return nil
	}
	for _, state := range []health{healthy, unhealthy} {
		for n := range g.Targets {
			at := (s.rotation[arn] + n) % len(g.Targets)
			if g.Targets[at].State != state {
				continue
			}
			if b, ok := s.backends[g.key(g.Targets[at])]; ok {
				s.rotation[arn] = at + 1
				return b
			}
		}
	}
	return nil
}

// release ends a request. The last one of a draining target ends the draining.
func (s *Service) release(b *backend) {
	s.document.Lock()
	defer s.document.Unlock()
	b.inFlight--
	if b.inFlight > 0 {
		return
	}
	g, ok := s.state.TargetGroups[b.key.group]
	if !ok {
		return
	}
	if t := g.target(b.key.id, b.key.port); t != nil && t.State == draining && s.backends[b.key] == b {
		g.remove(t)
		s.saveHealth()
	}
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	made, ok := p.plan()
	if !ok {
		answer(w, http.StatusServiceUnavailable, true)
		return
	}
	switch {
	case made.action.FixedResponse != nil:
		made.fixed(w)
	case made.action.Redirect != nil:
		made.redirect(w, r)
	case made.backend == nil:
		answer(w, http.StatusServiceUnavailable, made.server)
	default:
		defer p.service.release(made.backend)
		made.forward(w, r)
	}
}

// answer writes one of the load balancer's own errors.
func answer(w http.ResponseWriter, status int, named bool) {
	if named {
		w.Header().Set("Server", "awselb/2.0")
	}
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	title := fmt.Sprintf("%d %s", status, strings.ReplaceAll(http.StatusText(status), "Gateway Timeout", "Gateway Time-out"))
	fmt.Fprintf(w, "<html>\r\n<head><title>%[1]s</title></head>\r\n<body>\r\n<center><h1>%[1]s</h1></center>\r\n</body>\r\n</html>\r\n", title)
}

func (p *plan) fixed(w http.ResponseWriter) {
	if p.server {
		w.Header().Set("Server", "awselb/2.0")
	}
	response := p.action.FixedResponse
	if response.ContentType != "" {
		w.Header().Set("Content-Type", response.ContentType)
	}
	status, err := strconv.Atoi(response.StatusCode)
	if err != nil {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	io.WriteString(w, response.MessageBody)
}

func (p *plan) redirect(w http.ResponseWriter, r *http.Request) {
	host, port := r.Host, strconv.Itoa(p.port)
	if name, number, err := net.SplitHostPort(r.Host); err == nil {
		host, port = name, number
	}
	fill := strings.NewReplacer("#{protocol}", p.scheme, "#{host}", host, "#{port}", port,
		"#{path}", strings.TrimPrefix(r.URL.EscapedPath(), "/"), "#{query}", r.URL.RawQuery).Replace
	to := p.action.Redirect
	scheme, number := strings.ToLower(fill(to.Protocol)), fill(to.Port)
	location := scheme + "://" + fill(to.Host)
	if number != "" && (scheme != "http" || number != "80") && (scheme != "https" || number != "443") {
		location += ":" + number
	}
	if location += fill(to.Path); fill(to.Query) != "" {
		location += "?" + fill(to.Query)
	}
	if p.server {
		w.Header().Set("Server", "awselb/2.0")
	}
	w.Header().Set("Location", location)
	if to.StatusCode == "HTTP_301" {
		w.WriteHeader(http.StatusMovedPermanently)
	} else {
		w.WriteHeader(http.StatusFound)
	}
}

var errIdle = errors.New("the idle timeout is over")

// forward sends the request to the target and the answer back.
func (p *plan) forward(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(p.backend.ctx, func() { cancel(p.backend.ctx.Err()) })()
	quiet := time.AfterFunc(p.idle, func() { cancel(errIdle) })
	defer quiet.Stop()
	heard := func() { quiet.Reset(p.idle) }
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &pulse{r.Body, heard}
	}
	reverse := &httputil.ReverseProxy{
		Transport: p.backend.transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.Out.URL.Scheme = "http"
			pr.Out.URL.Host = net.JoinHostPort(p.backend.key.id, strconv.Itoa(p.backend.key.port)) // The transport knows the address.
			pr.Out.URL.RawQuery = pr.In.URL.RawQuery                                               // as it came, even where Go could not parse it
			p.headers(pr)
		},
		ModifyResponse: func(response *http.Response) error {
			heard()
			if both, ok := response.Body.(io.ReadWriteCloser); ok && response.StatusCode == http.StatusSwitchingProtocols {
				response.Body = &pulseBoth{pulse{both, heard}, both}
			} else {
				response.Body = &pulse{response.Body, heard}
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			status := http.StatusBadGateway
			var slow net.Error
			if errors.Is(context.Cause(ctx), errIdle) || errors.As(err, &slow) && slow.Timeout() {
				status = http.StatusGatewayTimeout
			}
			answer(w, status, p.server)
		},
	}
	reverse.ServeHTTP(w, r.WithContext(ctx))
}

// headers adds what an application load balancer adds.
func (p *plan) headers(pr *httputil.ProxyRequest) {
	pr.Out.Host = pr.In.Host
	client := pr.In.RemoteAddr
	host, _, err := net.SplitHostPort(client)
	if err == nil && p.attributes[xffClientPort] != "true" {
		client = host
	}
	const name = "X-Forwarded-For"
	switch before := pr.In.Header.Values(name); p.attributes[xffMode] {
	case "append":
		pr.Out.Header.Set(name, strings.Join(append(before[:len(before):len(before)], client), ", "))
	case "preserve":
		if len(before) > 0 {
			pr.Out.Header[name] = before
		}
	}
	pr.Out.Header.Set("X-Forwarded-Proto", p.scheme)
	pr.Out.Header.Set("X-Forwarded-Port", strconv.Itoa(p.port))
	if pr.Out.Header.Get("X-Amzn-Trace-Id") == "" {
		var id [12]byte
		rand.Read(id[:])
		pr.Out.Header.Set("X-Amzn-Trace-Id", fmt.Sprintf("Root=1-%08x-%s", time.Now().Unix(), hex.EncodeToString(id[:])))
	}
	if _, ok := pr.Out.Header["User-Agent"]; !ok {
		pr.Out.Header.Set("User-Agent", "") // so that the transport does not add its own
	}
}

// pulse reports that bytes came by.
type pulse struct {
	io.ReadCloser
	heard func()
}

func (p *pulse) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	p.heard()
	return n, err
}

// pulseBoth is a pulse of an upgraded connection.
type pulseBoth struct {
	pulse
	to io.Writer
}

func (p *pulseBoth) Write(b []byte) (int, error) {
	n, err := p.to.Write(b)
	p.heard()
	return n, err
}
