package elbv2

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/service"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// targetGroup is a target group of instances as the store keeps it.
type targetGroup struct {
	ARN        string            `json:"arn"`
	Name       string            `json:"name"`
	Created    time.Time         `json:"created"`
	Port       int               `json:"port"`
	VPCID      string            `json:"vpc"`
	Check      healthCheck       `json:"check"`
	Attributes map[string]string `json:"attributes"`
	Tags       map[string]string `json:"tags"`
	Targets    []*target         `json:"targets,omitempty"` // in the order of registration
}

// healthCheck says how targets are checked.
type healthCheck struct {
	Path               string `json:"path"`
	Port               string `json:"port"`     // a number or traffic-port
	Interval           int    `json:"interval"` // seconds
	Timeout            int    `json:"timeout"`  // seconds
	HealthyThreshold   int    `json:"healthy"`  // checks in a row
	UnhealthyThreshold int    `json:"unhealthy"`
	Matcher            string `json:"matcher"` // status codes and ranges: "200,300-399"
}

func (g *targetGroup) created() time.Time { return g.Created }

func (g *targetGroup) delay() time.Duration {
	seconds, err := strconv.Atoi(g.Attributes[drainingDelay])
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func (s *Service) targetGroup(arn string) (*targetGroup, error) {
	g, ok := s.state.TargetGroups[arn]
	if !ok {
		return nil, absent("target group", arn)
	}
	return g, nil
}

// HasTargetGroup reports whether there is a target group of that ARN.
func (s *Service) HasTargetGroup(arn string) bool {
	s.document.Lock()
	defer s.document.Unlock()
	return s.state.TargetGroups[arn] != nil
}

// checkInput are the parameters of health checks. Absent ones leave a group as it is.
type checkInput struct {
	Enabled            *bool    `query:"HealthCheckEnabled"`
	Interval           *int     `query:"HealthCheckIntervalSeconds"`
	Path               string   `query:"HealthCheckPath"`
	Port               string   `query:"HealthCheckPort"`
	Protocol           string   `query:"HealthCheckProtocol" wire:"enum=HTTP"`
	Timeout            *int     `query:"HealthCheckTimeoutSeconds"`
	HealthyThreshold   *int     `query:"HealthyThresholdCount"`
	Matcher            *matcher `query:"Matcher"`
	UnhealthyThreshold *int     `query:"UnhealthyThresholdCount"`
}

type matcher struct {
	HTTPCode string `query:"HttpCode" xml:"HttpCode"`
}

type createTargetGroupInput struct {
	Name string `query:"Name" wire:"required"`
	checkInput
	IPAddressType   string     `query:"IpAddressType" wire:"enum=ipv4"`
	Port            int        `query:"Port" wire:"required"`
	Protocol        string     `query:"Protocol" wire:"required,enum=HTTP|HTTPS|TCP|TLS|UDP|TCP_UDP|GENEVE"`
	ProtocolVersion string     `query:"ProtocolVersion" wire:"enum=HTTP1|HTTP2|GRPC"`
	Tags            []keyValue `query:"Tags"`
	TargetType      string     `query:"TargetType" wire:"enum=instance|ip|lambda|alb"`
	VPCID           string     `query:"VpcId" wire:"required"`
}

type targetGroupsOutput struct {
	TargetGroups service.List[targetGroupView]
	NextMarker   string `xml:",omitempty"`
}

type targetGroupView struct {
	HealthCheckEnabled         bool
	HealthCheckIntervalSeconds int
	HealthCheckPath            string
	HealthCheckPort            string
	HealthCheckProtocol        string
	HealthCheckTimeoutSeconds  int
	HealthyThresholdCount      int
	IPAddressType              string               `xml:"IpAddressType"`
	LoadBalancerARNs           service.List[string] `xml:"LoadBalancerArns"`
	Matcher                    matcher
	Port                       int
	Protocol                   string
	ProtocolVersion            string
	TargetGroupARN             string `xml:"TargetGroupArn"`
	TargetGroupName            string
	TargetType                 string
	UnhealthyThresholdCount    int
	VPCID                      string `xml:"VpcId"`
}

func (s *Service) targetGroupView(g *targetGroup) targetGroupView {
	v := targetGroupView{
		HealthCheckEnabled: true, HealthCheckIntervalSeconds: g.Check.Interval, HealthCheckPath: g.Check.Path,
		HealthCheckPort: g.Check.Port, HealthCheckProtocol: "HTTP", HealthCheckTimeoutSeconds: g.Check.Timeout,
		HealthyThresholdCount: g.Check.HealthyThreshold, IPAddressType: "ipv4", Matcher: matcher{g.Check.Matcher}, Port: g.Port,
		Protocol: "HTTP", ProtocolVersion: "HTTP1", TargetGroupARN: g.ARN, TargetGroupName: g.Name, TargetType: "instance",
		UnhealthyThresholdCount: g.Check.UnhealthyThreshold, VPCID: g.VPCID,
	}
	for _, lb := range s.users(g.ARN) {
		v.LoadBalancerARNs.Members = append(v.LoadBalancerARNs.Members, lb.ARN)
	}
	return v
}

// users are the load balancers whose listeners forward to the target group.
func (s *Service) users(arn string) []*loadBalancer {
	var found []*loadBalancer
	for _, l := range sorted(s.state.Listeners) {
		lb := s.state.LoadBalancers[l.LoadBalancer]
		if lb != nil && slices.Contains(l.targetGroups(), arn) && !slices.Contains(found, lb) {
			found = append(found, lb)
		}
	}
	return found
}

func (s *Service) createTargetGroup(_ context.Context, in *createTargetGroupInput) (*targetGroupsOutput, error) {
	switch {
	case in.Protocol != "HTTP":
		return nil, wire.Errorf("UnsupportedProtocol", "Target groups with the protocol %s are not supported: the local cloud has HTTP", in.Protocol)
	case in.ProtocolVersion != "" && in.ProtocolVersion != "HTTP1":
		return nil, wire.Errorf("InvalidConfigurationRequest", "The protocol version %s is not supported: the local cloud has HTTP1",
			in.ProtocolVersion)
	case in.TargetType != "" && in.TargetType != "instance":
		return nil, wire.Errorf("InvalidConfigurationRequest", "The target type %s is not supported: the local cloud has instance", in.TargetType)
	case in.Port < 1 || in.Port > 65535:
		return nil, wire.Errorf("ValidationError", "Port must be between 1 and 65535")
	}
	if err := checkName("Target group", in.Name); err != nil {
		return nil, err
	}
	if !s.options.Instances.HasVPC(in.VPCID) {
		return nil, wire.Errorf("ValidationError", "The VPC ID '%s' is not found", in.VPCID)
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	g := &targetGroup{
		ARN: s.arn("targetgroup/%s/%s", in.Name, newID()), Name: in.Name, Created: time.Now(), Port: in.Port, VPCID: in.VPCID,
		Check: healthCheck{
			Path: "/", Port: "traffic-port", Interval: 30, Timeout: 5, HealthyThreshold: 5, UnhealthyThreshold: 2, Matcher: "200",
		},
		Attributes: defaults(targetGroupAttributes()), Tags: tags,
	}
	if err := g.Check.apply(&in.checkInput); err != nil {
		return nil, err
	}
	out := &targetGroupsOutput{}
	return out, s.change(func() error {
		for _, other := range s.state.TargetGroups {
			if other.Name != g.Name {
				continue
			}
			if other.Port != g.Port || other.VPCID != g.VPCID || other.Check != g.Check {
				return wire.Errorf("DuplicateTargetGroupName",
					"A target group with the same name '%s' exists, but with different settings", g.Name)
			}
			out.TargetGroups.Members = []targetGroupView{s.targetGroupView(other)}
			return nil
		}
		s.state.TargetGroups[g.ARN] = g
		out.TargetGroups.Members = []targetGroupView{s.targetGroupView(g)}
		return nil
	})
}

// apply sets what is given and checks the result.
func (c *healthCheck) apply(in *checkInput) error {
	next := *c
	for _, n := range []struct{ field, given *int }{
		{&next.Interval, in.Interval}, {&next.Timeout, in.Timeout}, {&next.HealthyThreshold, in.HealthyThreshold},
		{&next.UnhealthyThreshold, in.UnhealthyThreshold},
	} {
		if n.given != nil {
			*n.field = *n.given
		}
	}
	next.Path, next.Port = cmp.Or(in.Path, next.Path), cmp.Or(in.Port, next.Port)
	if in.Matcher != nil {
		next.Matcher = cmp.Or(in.Matcher.HTTPCode, next.Matcher)
	}
	port, err := strconv.Atoi(next.Port)
	switch {
	case in.Enabled != nil && !*in.Enabled:
		return wire.Errorf("InvalidConfigurationRequest", "Health check enabled must be true for target groups with target type 'instance'")
	case next.Interval < 5 || next.Interval > 300:
		return wire.Errorf("ValidationError", "Health check interval must be between 5 and 300 seconds")
	case next.Timeout < 2 || next.Timeout > 120:
		return wire.Errorf("ValidationError", "Health check timeout must be between 2 and 120 seconds")
	case next.Timeout >= next.Interval:
		return wire.Errorf("ValidationError", "Health check interval must be greater than the timeout.")
	case next.HealthyThreshold < 2 || next.HealthyThreshold > 10 || next.UnhealthyThreshold < 2 || next.UnhealthyThreshold > 10:
		return wire.Errorf("ValidationError", "Health check thresholds must be between 2 and 10")
	case !strings.HasPrefix(next.Path, "/") || len(next.Path) > 1024:
		return wire.Errorf("ValidationError", "Health check path '%s' must begin with a '/' character, and can be at most 1024 characters in "+
			"length", next.Path)
	case next.Port != "traffic-port" && (err != nil || port < 1 || port > 65535):
		return wire.Errorf("ValidationError", "Health check port '%s' must be 'traffic-port' or in the range 1-65535 inclusive", next.Port)
	}
	if _, err := parseCodes(next.Matcher); err != nil {
		return err
	}
	*c = next
	return nil
}

// parseCodes reads a matcher: status codes and ranges between 200 and 499.
func parseCodes(text string) ([][2]int, error) {
	var ranges [][2]int
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		from, err1 := strconv.Atoi(low)
		to, err2 := from, error(nil)
		if isRange {
			to, err2 = strconv.Atoi(high)
		}
		if err1 != nil || err2 != nil || from < 200 || to > 499 || from > to {
			return nil, wire.Errorf("ValidationError", "Health check matcher HTTP code '%s' must be within '200-499' inclusive", text)
		}
		ranges = append(ranges, [2]int{from, to})
	}
	return ranges, nil
}

type modifyTargetGroupInput struct {
	targetGroupARN
	checkInput
}

func (s *Service) modifyTargetGroup(_ context.Context, in *modifyTargetGroupInput) (*targetGroupsOutput, error) {
	out := &targetGroupsOutput{}
	return out, s.change(func() error {
		g, err := s.targetGroup(in.ARN)
		if err != nil {
			return err
		}
		if err := g.Check.apply(&in.checkInput); err != nil {
			return err
		}
		out.TargetGroups.Members = []targetGroupView{s.targetGroupView(g)}
		return nil
	})
}

func (s *Service) deleteTargetGroup(_ context.Context, in *targetGroupARN) (*wire.Empty, error) {
	return nil, s.change(func() error {
		g, ok := s.state.TargetGroups[in.ARN]
		if !ok {
			return nil // as on AWS
		}
		if len(s.users(g.ARN)) > 0 {
			return wire.Errorf("ResourceInUse", "Target group '%s' is currently in use by a listener or a rule", g.ARN)
		}
		delete(s.state.TargetGroups, g.ARN)
		return nil
	})
}

type describeTargetGroupsInput struct {
	LoadBalancerARN string   `query:"LoadBalancerArn"`
	Names           []string `query:"Names"`
	ARNs            []string `query:"TargetGroupArns"`
	paging
}

func (s *Service) describeTargetGroups(_ context.Context, in *describeTargetGroupsInput) (*targetGroupsOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	if in.LoadBalancerARN != "" {
		if _, err := s.loadBalancer(in.LoadBalancerARN); err != nil {
			return nil, err
		}
	}
	var found []targetGroupView
	missing := slices.Concat(in.ARNs, in.Names)
	for _, g := range sorted(s.state.TargetGroups) {
		v := s.targetGroupView(g)
		named := len(in.ARNs)+len(in.Names) == 0 || slices.Contains(in.ARNs, g.ARN) || slices.Contains(in.Names, g.Name)
		if named && (in.LoadBalancerARN == "" || slices.Contains(v.LoadBalancerARNs.Members, in.LoadBalancerARN)) {
			found = append(found, v)
		}
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == g.ARN || name == g.Name })
	}
	if len(missing) > 0 && slices.Contains(in.ARNs, missing[0]) {
		return nil, absent("target group", missing[0])
	}
	if len(missing) > 0 {
		return nil, wire.Errorf("TargetGroupNotFound", "One or more target groups not found: '%s'", missing[0])
	}
	part, next, err := page(found, in.paging)
	return &targetGroupsOutput{part, next}, err
}
