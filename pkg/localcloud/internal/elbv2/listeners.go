package elbv2

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// defaultTLSPolicy is what an HTTPS listener shows where the request names no policy.
const defaultTLSPolicy = "ELBSecurityPolicy-2016-08"

// listener is a port of a load balancer as the store keeps it.
type listener struct {
	ARN          string            `json:"arn"`
	Created      time.Time         `json:"created"`
	LoadBalancer string            `json:"loadBalancer"` // its ARN
	Port         int               `json:"port"`
	Protocol     string            `json:"protocol"` // HTTP or HTTPS
	Certificate  string            `json:"certificate,omitempty"`
	TLSPolicy    string            `json:"tlsPolicy,omitempty"`
	Actions      []action          `json:"actions"`
	Attributes   map[string]string `json:"attributes"`
	Tags         map[string]string `json:"tags"`
}

func (l *listener) created() time.Time { return l.Created }

// action is what a listener does with a request.
type action struct {
	Type          string         `json:"type" query:"Type" wire:"required,enum=forward|redirect|fixed-response|authenticate-oidc|authenticate-cognito|jwt-validation"`
	Order         *int           `json:"order,omitempty" query:"Order" xml:",omitempty"`
	TargetGroup   string         `json:"targetGroup,omitempty" query:"TargetGroupArn" xml:"TargetGroupArn,omitempty"`
	Forward       *forward       `json:"forward,omitempty" query:"ForwardConfig" xml:"ForwardConfig,omitempty"`
	FixedResponse *fixedResponse `json:"fixedResponse,omitempty" query:"FixedResponseConfig" xml:"FixedResponseConfig,omitempty"`
	Redirect      *redirect      `json:"redirect,omitempty" query:"RedirectConfig" xml:"RedirectConfig,omitempty"`
}

type forward struct {
	TargetGroups []weighted  `json:"targetGroups" query:"TargetGroups" xml:"TargetGroups>member"`
	Stickiness   *stickiness `json:"stickiness,omitempty" query:"TargetGroupStickinessConfig" xml:"TargetGroupStickinessConfig,omitempty"`
}

type weighted struct {
	ARN    string `json:"arn" query:"TargetGroupArn" xml:"TargetGroupArn" wire:"required"`
	Weight *int   `json:"weight,omitempty" query:"Weight" xml:",omitempty"`
}

type stickiness struct {
	Enabled         bool `json:"enabled" query:"Enabled"`
	DurationSeconds *int `json:"duration,omitempty" query:"DurationSeconds" xml:",omitempty"`
}

type fixedResponse struct {
	StatusCode  string `json:"status" query:"StatusCode" wire:"required"`
	ContentType string `json:"type,omitempty" query:"ContentType" xml:",omitempty" wire:"enum=text/plain|text/css|text/html|application/javascript|application/json"`
	MessageBody string `json:"body,omitempty" query:"MessageBody" xml:",omitempty"`
}

type redirect struct {
	StatusCode string `json:"status" query:"StatusCode" wire:"required,enum=HTTP_301|HTTP_302"`
	Protocol   string `json:"protocol" query:"Protocol"`
	Host       string `json:"host" query:"Host"`
	Port       string `json:"port" query:"Port"`
	Path       string `json:"path" query:"Path"`
	Query      string `json:"query" query:"Query"`
}

// last is the action that answers: a listener of this load balancer has one.
func (l *listener) last() *action { return &l.Actions[len(l.Actions)-1] }

// targetGroups are the ARNs that the listener forwards to.
func (l *listener) targetGroups() []string {
	var arns []string
	if f := l.last().Forward; f != nil {
		for _, g := range f.TargetGroups {
			arns = append(arns, g.ARN)
		}
	}
	return arns
}

func (s *Service) listener(arn string) (*listener, error) {
	l, ok := s.state.Listeners[arn]
	if !ok {
		return nil, absent("listener", arn)
	}
	return l, nil
}

type certificate struct {
	ARN       string `query:"CertificateArn" xml:"CertificateArn"`
	IsDefault *bool  `query:"IsDefault" xml:",omitempty"`
}

// listenerInput are the parameters that creating and modifying share.
type listenerInput struct {
	Certificates   []certificate `query:"Certificates"`
	DefaultActions []action      `query:"DefaultActions"`
	Port           int           `query:"Port"`
	Protocol       string        `query:"Protocol" wire:"enum=HTTP|HTTPS|TCP|TLS|UDP|TCP_UDP|GENEVE"`
	SSLPolicy      string        `query:"SslPolicy"`
}

type createListenerInput struct {
	LoadBalancerARN string `query:"LoadBalancerArn" wire:"required"`
	listenerInput
	Tags []keyValue `query:"Tags"`
}

type listenersOutput struct {
	Listeners  service.List[listenerView]
	NextMarker string `xml:",omitempty"`
}

type listenerView struct {
	Certificates    service.List[certificate]
	DefaultActions  service.List[action]
	ListenerARN     string `xml:"ListenerArn"`
	LoadBalancerARN string `xml:"LoadBalancerArn"`
	Port            int
	Protocol        string
	SSLPolicy       string `xml:"SslPolicy,omitempty"`
}

func (l *listener) view() listenerView {
	v := listenerView{
		DefaultActions: service.List[action]{Members: l.Actions}, ListenerARN: l.ARN, LoadBalancerARN: l.LoadBalancer, Port: l.Port, Protocol: l.Protocol,
		SSLPolicy: l.TLSPolicy,
	}
	if l.Certificate != "" {
		v.Certificates.Members = []certificate{{ARN: l.Certificate}}
	}
	return v
}

func (s *Service) createListener(_ context.Context, in *createListenerInput) (*listenersOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	if len(in.DefaultActions) == 0 || in.Port == 0 || in.Protocol == "" {
		return nil, wire.Errorf("ValidationError", "A listener needs DefaultActions, Port and Protocol")
	}
	out := &listenersOutput{}
	return out, s.change(func() error {
		lb, err := s.loadBalancer(in.LoadBalancerARN)
		if err != nil {
			return err
		}
		l := &listener{
			ARN: s.arn("listener/app/%s/%s/%s", lb.Name, lb.ID, newID()), Created: time.Now(), LoadBalancer: lb.ARN,
			Attributes: defaults(listenerAttributes()), Tags: tags,
		}
		if err := s.apply(l, &in.listenerInput); err != nil {
			return err
		}
		s.state.Listeners[l.ARN] = l
		out.Listeners.Members = []listenerView{l.view()}
		return nil
	})
}

type modifyListenerInput struct {
	listenerARN
	listenerInput
}

func (s *Service) modifyListener(_ context.Context, in *modifyListenerInput) (*listenersOutput, error) {
	out := &listenersOutput{}
	return out, s.change(func() error {
		l, err := s.listener(in.ARN)
		if err != nil {
			return err
		}
		next := *l
		if err := s.apply(&next, &in.listenerInput); err != nil {
			return err
		}
		if next.Port != l.Port || next.Protocol != l.Protocol {
			s.shut(l.ARN)
		}
		*l = next
		out.Listeners.Members = []listenerView{l.view()}
		return nil
	})
}

// apply sets what is given and checks the result.
func (s *Service) apply(l *listener, in *listenerInput) error {
	if in.Protocol != "" && in.Protocol != "HTTP" && in.Protocol != "HTTPS" {
		return wire.Errorf("UnsupportedProtocol", "The protocol %s is not supported: listeners of application load balancers are HTTP or HTTPS",
			in.Protocol)
	}
	l.Protocol, l.Port = cmp.Or(in.Protocol, l.Protocol), cmp.Or(in.Port, l.Port)
	if l.Port < 1 || l.Port > 65535 {
		return wire.Errorf("ValidationError", "Port must be between 1 and 65535")
	}
	for _, other := range s.state.Listeners {
		if other.ARN != l.ARN && other.LoadBalancer == l.LoadBalancer && other.Port == l.Port {
			return wire.Errorf("DuplicateListener", "A listener already exists on this port for this load balancer '%s'", l.LoadBalancer)
		}
	}
	if len(in.Certificates) > 1 {
		return wire.Errorf("TooManyCertificates", "Only one default certificate can be specified")
	}
	for _, c := range in.Certificates {
		l.Certificate = c.ARN
	}
	l.TLSPolicy = cmp.Or(in.SSLPolicy, l.TLSPolicy)
	switch {
	case l.Protocol == "HTTP" && (len(in.Certificates) > 0 || in.SSLPolicy != ""):
		return wire.Errorf("InvalidConfigurationRequest", "An HTTP listener takes no certificate and no SSL policy")
	case l.Protocol == "HTTP":
		l.Certificate, l.TLSPolicy = "", ""
	case l.Certificate == "":
		return wire.Errorf("ValidationError", "A certificate must be specified for HTTPS listeners")
	default:
		l.TLSPolicy = cmp.Or(l.TLSPolicy, defaultTLSPolicy)
	}
	if len(in.DefaultActions) > 0 {
		if len(in.DefaultActions) > 1 {
			return wire.Errorf("TooManyActions", "The local cloud takes one default action: forward, redirect or fixed-response")
		}
		actions := slices.Clone(in.DefaultActions)
		if err := s.normalize(&actions[0]); err != nil {
			return err
		}
		l.Actions = actions
	}
	return nil
}

// normalize checks an action and gives it the form in which AWS shows it.
func (s *Service) normalize(a *action) error {
	given := 0
	for _, there := range []bool{a.TargetGroup != "" || a.Forward != nil, a.FixedResponse != nil, a.Redirect != nil} {
		if there {
			given++
		}
	}
	if given > 1 {
		return wire.Errorf("InvalidLoadBalancerAction", "You must specify only the configuration of the action type '%s'", a.Type)
	}
	switch {
	case a.Type == "forward" && (a.TargetGroup != "" || a.Forward != nil):
		return s.normalizeForward(a)
	case a.Type == "fixed-response" && a.FixedResponse != nil:
		status, err := strconv.Atoi(a.FixedResponse.StatusCode)
		if err != nil || status < 200 || status > 599 || status >= 300 && status < 400 {
			return wire.Errorf("InvalidLoadBalancerAction", "The status code '%s' must be 2XX, 4XX or 5XX", a.FixedResponse.StatusCode)
		}
		return nil
	case a.Type == "redirect" && a.Redirect != nil:
		r := a.Redirect
		r.Protocol, r.Host, r.Port = cmp.Or(r.Protocol, "#{protocol}"), cmp.Or(r.Host, "#{host}"), cmp.Or(r.Port, "#{port}")
		r.Path, r.Query = cmp.Or(r.Path, "/#{path}"), cmp.Or(r.Query, "#{query}")
		if r.Protocol == "#{protocol}" && r.Host == "#{host}" && r.Port == "#{port}" && r.Path == "/#{path}" {
			return wire.Errorf("InvalidLoadBalancerAction",
				"The redirect configuration is not valid because it creates a loop.")
		}
		return nil
	case given == 0 && slices.Contains([]string{"forward", "fixed-response", "redirect"}, a.Type):
		return wire.Errorf("InvalidLoadBalancerAction", "The action type '%s' needs its configuration", a.Type)
	}
	return wire.Errorf("InvalidLoadBalancerAction", "The action type '%s' is not supported: the local cloud has forward, redirect and "+
		"fixed-response", a.Type)
}

// maxForwards is how many target groups an action can forward to.
const maxForwards = 5

func (s *Service) normalizeForward(a *action) error {
	if a.Forward == nil {
		a.Forward = &forward{TargetGroups: []weighted{{ARN: a.TargetGroup}}}
	}
	if len(a.Forward.TargetGroups) == 0 || len(a.Forward.TargetGroups) > maxForwards {
		return wire.Errorf("ValidationError", "A forward action needs between 1 and %d target groups", maxForwards)
	}
	for n := range a.Forward.TargetGroups {
		g := &a.Forward.TargetGroups[n]
		if _, err := s.targetGroup(g.ARN); err != nil {
			return err
		}
		if g.Weight == nil {
			g.Weight = new(1)
		}
		if *g.Weight < 0 || *g.Weight > 999 {
			return wire.Errorf("ValidationError", "The weight of a target group must be between 0 and 999")
		}
	}
	if a.Forward.Stickiness == nil {
		a.Forward.Stickiness = &stickiness{}
	}
	if a.Forward.Stickiness.Enabled {
		return wire.Errorf("InvalidLoadBalancerAction", "Target group stickiness is not supported by the local cloud")
	}
	if a.TargetGroup == "" && len(a.Forward.TargetGroups) == 1 {
		a.TargetGroup = a.Forward.TargetGroups[0].ARN
	}
	return nil
}

func (s *Service) deleteListener(_ context.Context, in *listenerARN) (*wire.Empty, error) {
	return nil, s.change(func() error {
		if _, err := s.listener(in.ARN); err != nil {
			return err
		}
		s.shut(in.ARN)
		delete(s.state.Listeners, in.ARN)
		return nil
	})
}

type describeListenersInput struct {
	ARNs            []string `query:"ListenerArns"`
	LoadBalancerARN string   `query:"LoadBalancerArn"`
	paging
}

func (s *Service) describeListeners(_ context.Context, in *describeListenersInput) (*listenersOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	if len(in.ARNs) == 0 && in.LoadBalancerARN == "" {
		return nil, wire.Errorf("ValidationError", "You must specify either listener ARNs or a load balancer ARN")
	}
	if in.LoadBalancerARN != "" {
		if _, err := s.loadBalancer(in.LoadBalancerARN); err != nil {
			return nil, err
		}
	}
	for _, arn := range in.ARNs {
		if _, err := s.listener(arn); err != nil {
			return nil, err
		}
	}
	var found []listenerView
	for _, l := range sorted(s.state.Listeners) {
		if slices.Contains(in.ARNs, l.ARN) || len(in.ARNs) == 0 && l.LoadBalancer == in.LoadBalancerARN {
			found = append(found, l.view())
		}
	}
	part, next, err := page(found, in.paging)
	return &listenersOutput{part, next}, err
}
