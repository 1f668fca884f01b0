package elbv2

import (
	"context"
	"maps"
	"strconv"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// attribute is one that AWS has: its default, and which values this load balancer can live up to. An attribute that would
// change what happens and is not built takes its default alone.
type attribute struct {
	key, value string
	takes      func(value, byDefault string) bool
}

func only(value, byDefault string) bool { return value == byDefault }
func anything(string, string) bool      { return true }
func flag(value, _ string) bool         { return value == "true" || value == "false" }

func between(low, high int) func(string, string) bool {
	return func(value, _ string) bool {
		n, err := strconv.Atoi(value)
		return err == nil && n >= low && n <= high
	}
}

func oneOf(values ...string) func(string, string) bool {
	return func(value, _ string) bool {
		for _, v := range values {
			if v == value {
				return true
			}
		}
		return false
	}
}

const (
	idleTimeout        = "idle_timeout.timeout_seconds"
	deletionProtection = "deletion_protection.enabled"
	preserveHost       = "routing.http.preserve_host_header.enabled"
	xffMode            = "routing.http.xff_header_processing.mode"
	xffClientPort      = "routing.http.xff_client_port.enabled"
	drainingDelay      = "deregistration_delay.timeout_seconds"
	serverHeader       = "routing.http.response.server.enabled"
)

// loadBalancerAttributes are those of an application load balancer.
func loadBalancerAttributes() []attribute {
	return []attribute{
		{"access_logs.s3.enabled", "false", only},
		{"access_logs.s3.bucket", "", anything},
		{"access_logs.s3.prefix", "", anything},
		{"client_keep_alive.seconds", "3600", between(60, 604800)},
		{"connection_logs.s3.enabled", "false", only},
		{"connection_logs.s3.bucket", "", anything},
		{"connection_logs.s3.prefix", "", anything},
		{deletionProtection, "false", flag},
		{"health_check_logs.s3.enabled", "false", only},
		{"health_check_logs.s3.bucket", "", anything},
		{"health_check_logs.s3.prefix", "", anything},
		{idleTimeout, "60", between(1, 4000)},
		{"ipv6.deny_all_igw_traffic", "false", only},
		{"load_balancing.cross_zone.enabled", "true", only},
		{"routing.http.desync_mitigation_mode", "defensive", oneOf("defensive", "strictest", "monitor")},
		{"routing.http.drop_invalid_header_fields.enabled", "false", flag}, // net/http refuses them in any case
		{preserveHost, "false", flag},
		{"routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", only},
		{xffClientPort, "false", flag},
		{xffMode, "append", oneOf("append", "preserve", "remove")},
		{"routing.http2.enabled", "true", flag}, // only an offer to clients of HTTPS listeners
		{"waf.fail_open.enabled", "false", flag},
		{"zonal_shift.config.enabled", "false", flag},
	}
}

// targetGroupAttributes are those of a target group of instances.
func targetGroupAttributes() []attribute {
	return []attribute{
		{drainingDelay, "300", between(0, 3600)},
		{"load_balancing.algorithm.anomaly_mitigation", "off", only},
		{"load_balancing.algorithm.type", "round_robin", only},
		{"load_balancing.cross_zone.enabled", "use_load_balancer_configuration", oneOf("use_load_balancer_configuration", "true")},
		{"slow_start.duration_seconds", "0", only},
		{"stickiness.app_cookie.cookie_name", "", anything},
		{"stickiness.app_cookie.duration_seconds", "86400", between(1, 604800)},
		{"stickiness.enabled", "false", only},
		{"stickiness.lb_cookie.duration_seconds", "86400", between(1, 604800)},
		{"stickiness.type", "lb_cookie", oneOf("lb_cookie", "app_cookie")},
		{"target_group_health.dns_failover.minimum_healthy_targets.count", "1", anything}, // there is no DNS to fail over
		{"target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", anything},
		{"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", only},
		{"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off", only},
	}
}

// listenerAttributes are those of an HTTP listener.
func listenerAttributes() []attribute {
	all := []attribute{{serverHeader, "true", flag}}
	for _, name := range []string{
		"access_control_allow_credentials", "access_control_allow_headers", "access_control_allow_methods",
		"access_control_allow_origin", "access_control_expose_headers", "access_control_max_age", "content_security_policy",
		"strict_transport_security", "x_content_type_options", "x_frame_options",
	} {
		all = append(all, attribute{"routing.http.response." + name + ".header_value", "", only})
	}
	return all
}

// defaults are the values of attributes that nobody has set.
func defaults(attributes []attribute) map[string]string {
	values := map[string]string{}
	for _, a := range attributes {
		values[a.key] = a.value
	}
	return values
}

// setAttributes checks all of what is given, and sets it then.
func setAttributes(values map[string]string, attributes []attribute, given []keyValue, kind string) error {
	next := map[string]string{}
	for _, kv := range given {
		known := false
		for _, a := range attributes {
			if a.key != kv.Key {
				continue
			}
			known = true
			if !a.takes(kv.Value, a.value) {
				return wire.Errorf("ValidationError", "%s attribute '%s' cannot be '%s' in the local cloud", kind, kv.Key, kv.Value)
			}
		}
		if !known {
			return wire.Errorf("ValidationError", "%s attribute key '%s' is not recognized", kind, kv.Key)
		}
		next[kv.Key] = kv.Value
	}
	maps.Copy(values, next)
	return nil
}

type attributesOutput struct {
	Attributes service.List[keyValue]
}

type loadBalancerARN struct {
	ARN string `query:"LoadBalancerArn" wire:"required"`
}

type targetGroupARN struct {
	ARN string `query:"TargetGroupArn" wire:"required"`
}

type listenerARN struct {
	ARN string `query:"ListenerArn" wire:"required"`
}

func (s *Service) describeLoadBalancerAttributes(_ context.Context, in *loadBalancerARN) (*attributesOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	lb, err := s.loadBalancer(in.ARN)
	if err != nil {
		return nil, err
	}
	return &attributesOutput{keyValues(lb.Attributes)}, nil
}

type modifyLoadBalancerAttributesInput struct {
	loadBalancerARN
	Attributes []keyValue `query:"Attributes" wire:"required"`
}

func (s *Service) modifyLoadBalancerAttributes(_ context.Context, in *modifyLoadBalancerAttributesInput) (*attributesOutput, error) {
	var out attributesOutput
	return &out, s.change(func() error {
		lb, err := s.loadBalancer(in.ARN)
		if err != nil {
			return err
		}
		if err := setAttributes(lb.Attributes, loadBalancerAttributes(), in.Attributes, "Load balancer"); err != nil {
			return err
		}
		out.Attributes = keyValues(lb.Attributes)
		return nil
	})
}

func (s *Service) describeTargetGroupAttributes(_ context.Context, in *targetGroupARN) (*attributesOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	g, err := s.targetGroup(in.ARN)
	if err != nil {
		return nil, err
	}
	return &attributesOutput{keyValues(g.Attributes)}, nil
}

type modifyTargetGroupAttributesInput struct {
	targetGroupARN
	Attributes []keyValue `query:"Attributes" wire:"required"`
}

func (s *Service) modifyTargetGroupAttributes(_ context.Context, in *modifyTargetGroupAttributesInput) (*attributesOutput, error) {
	var out attributesOutput
	return &out, s.change(func() error {
		g, err := s.targetGroup(in.ARN)
		if err != nil {
			return err
		}
		if err := setAttributes(g.Attributes, targetGroupAttributes(), in.Attributes, "Target group"); err != nil {
			return err
		}
		out.Attributes = keyValues(g.Attributes)
		return nil
	})
}

func (s *Service) describeListenerAttributes(_ context.Context, in *listenerARN) (*attributesOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	l, err := s.listener(in.ARN)
	if err != nil {
		return nil, err
	}
	return &attributesOutput{keyValues(l.Attributes)}, nil
}
