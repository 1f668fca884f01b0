package elbv2

import (
	"strings"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// What calls need. See https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html.

const prefix = "elasticloadbalancing"

// on returns the access to what has the ARN, whether it is there or not.
func (s *Service) on(arn string) wire.Access {
	a := wire.Access{Resource: arn}
	s.document.Lock()
	defer s.document.Unlock()
	if tags, err := s.tags(arn); err == nil {
		a.Keys = wire.ResourceKeys(prefix, tags)
	}
	return a
}

func tagged(a wire.Access, tags []keyValue) wire.Access {
	return a.With(wire.TagKeysOf(tags, keyValue.pair))
}

// creating needs the right to tag as well where it does.
func creating(operation string, a wire.Access, tags []keyValue) []wire.Access {
	a = tagged(a, tags)
	needs := []wire.Access{a}
	if len(tags) > 0 {
		a.Action = prefix + ":AddTags"
		needs = append(needs, a.With(map[string][]string{prefix + ":CreateAction": {operation}}))
	}
	return needs
}

func (s *Service) creatingLoadBalancer(in *createLoadBalancerInput) []wire.Access {
	return creating("CreateLoadBalancer", wire.Access{Resource: s.arn("loadbalancer/app/%s/*", in.Name)}, in.Tags)
}

func (s *Service) creatingTargetGroup(in *createTargetGroupInput) []wire.Access {
	return creating("CreateTargetGroup", wire.Access{Resource: s.arn("targetgroup/%s/*", in.Name)}, in.Tags)
}

// creatingListener is about the load balancer; the tags are the listener's.
func (s *Service) creatingListener(in *createListenerInput) []wire.Access {
	needs := []wire.Access{tagged(s.on(in.LoadBalancerARN), in.Tags)}
	if len(in.Tags) > 0 {
		listener := strings.Replace(in.LoadBalancerARN, ":loadbalancer/", ":listener/", 1) + "/*"
		needs = append(needs, creating("CreateListener", wire.Access{Resource: listener}, in.Tags)[1])
	}
	return needs
}

func (s *Service) tagging(in *addTagsInput) []wire.Access {
	var needs []wire.Access
	for _, arn := range in.ARNs {
		needs = append(needs, tagged(s.on(arn), in.Tags))
	}
	return needs
}

func (s *Service) untagging(in *removeTagsInput) []wire.Access {
	var needs []wire.Access
	for _, arn := range in.ARNs {
		needs = append(needs, s.on(arn).With(map[string][]string{"aws:TagKeys": in.Keys}))
	}
	return needs
}

func (t keyValue) pair() (key, value string) { return t.Key, t.Value }
