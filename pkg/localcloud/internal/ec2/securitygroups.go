package ec2

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// securityGroup is a security group with its rules.
type securityGroup struct {
	ID          string
	Name        string
	Description string
	VPCID       string
	Created     time.Time
	Rules       []*rule
	Tags        tags
}

// rule lets one source in, or out to one destination: one of CIDR, CIDR6, Group.
type rule struct {
	ID          string
	Egress      bool   `json:",omitempty"`
	Protocol    string // tcp, udp, icmp, icmpv6, -1 for all, or a number
	From, To    int    // ports, or ICMP's type and code; -1 for all of them
	CIDR        string `json:",omitempty"`
	CIDR6       string `json:",omitempty"`
	Group       string `json:",omitempty"`
	Description string `json:",omitempty"`
	Tags        tags   `json:",omitempty"`
}

// same tells whether two rules allow the same.
func (r *rule) same(o *rule) bool {
	return r.Egress == o.Egress && r.Protocol == o.Protocol && r.From == o.From && r.To == o.To &&
		r.CIDR == o.CIDR && r.CIDR6 == o.CIDR6 && r.Group == o.Group
}

func (r *rule) peer() string { return r.CIDR + r.CIDR6 + r.Group } // two of them are ""

func (g *securityGroup) key() (time.Time, string) { return g.Created, g.ID }
func (g *securityGroup) tagged() tags             { return g.Tags }

func (g *securityGroup) attribute(name string) ([]string, bool) {
	collect := func(egress bool, value func(*rule) string) ([]string, bool) {
		var values []string
		for _, r := range g.Rules {
			if r.Egress == egress {
				values = append(values, value(r))
			}
		}
		return values, true
	}
	if field, ok := strings.CutPrefix(name, "egress.ip-permission."); ok {
		if value := ruleField(field); value != nil {
			return collect(true, value)
		}
		return nil, false
	}
	if field, ok := strings.CutPrefix(name, "ip-permission."); ok {
		if value := ruleField(field); value != nil {
			return collect(false, value)
		}
		return nil, false
	}
	switch name {
	case "description":
		return []string{g.Description}, true
	case "group-id":
		return []string{g.ID}, true
	case "group-name":
		return []string{g.Name}, true
	case "owner-id":
		return nil, true // see describeSecurityGroups
	case "vpc-id":
		return []string{g.VPCID}, true
	}
	return nil, false
}

// ruleField returns how to read what a filter on rules names; nil for no such filter.
func ruleField(name string) func(*rule) string {
	switch name {
	case "cidr":
		return func(r *rule) string { return r.CIDR }
	case "ipv6-cidr":
		return func(r *rule) string { return r.CIDR6 }
	case "from-port":
		return func(r *rule) string { return strconv.Itoa(r.From) }
	case "to-port":
		return func(r *rule) string { return strconv.Itoa(r.To) }
	case "group-id":
		return func(r *rule) string { return r.Group }
	case "protocol":
		return func(r *rule) string { return r.Protocol }
	case "prefix-list-id", "group-name", "user-id":
		return func(*rule) string { return "" }
	}
	return nil
}

// ipPermission is how the API groups rules: one protocol and port range, many sources.
type ipPermission struct {
	Protocol string        `query:"IpProtocol" xml:"ipProtocol"`
	From     *int          `query:"FromPort" xml:"fromPort"`
	To       *int          `query:"ToPort" xml:"toPort"`
	Ranges   []ipRange     `query:"IpRanges" xml:"ipRanges>item"`
	Ranges6  []ip6Range    `query:"Ipv6Ranges" xml:"ipv6Ranges>item"`
	Groups   []userIDGroup `query:"Groups" xml:"groups>item"`
}

type ipRange struct {
	CIDR        string `query:"CidrIp" xml:"cidrIp" wire:"required"`
	Description string `query:"Description" xml:"description,omitempty"`
}

type ip6Range struct {
	CIDR        string `query:"CidrIpv6" xml:"cidrIpv6" wire:"required"`
	Description string `query:"Description" xml:"description,omitempty"`
}

type userIDGroup struct {
	UserID      string `query:"UserId" xml:"userId"`
	ID          string `query:"GroupId" xml:"groupId"`
	Name        string `query:"GroupName" xml:"-"`
	VPCID       string `query:"VpcId" xml:"-"`
	Description string `query:"Description" xml:"description,omitempty"`
}

// permissions groups rules as the API shows them.
func (s *Service) permissions(rules []*rule, egress bool) []ipPermission {
	var all []ipPermission
	for _, r := range rules {
		if r.Egress != egress {
			continue
		}
		n := slices.IndexFunc(all, func(p ipPermission) bool {
			return p.Protocol == r.Protocol && (r.Protocol == "-1" || *p.From == r.From && *p.To == r.To)
		})
		if n < 0 {
			n = len(all)
			p := ipPermission{Protocol: r.Protocol}
			if r.Protocol != "-1" {
				from, to := r.From, r.To
				p.From, p.To = &from, &to
			}
			all = append(all, p)
		}
		switch p := &all[n]; {
		case r.CIDR != "":
			p.Ranges = append(p.Ranges, ipRange{r.CIDR, r.Description})
		case r.CIDR6 != "":
			p.Ranges6 = append(p.Ranges6, ip6Range{r.CIDR6, r.Description})
		default:
			p.Groups = append(p.Groups, userIDGroup{UserID: s.account, ID: r.Group, Description: r.Description})
		}
	}
	return all
}

func groupNotFound(id string) error {
	return notFound("InvalidGroup.NotFound", "security group", id)
}

func (s *Service) securityGroupActions() map[string]wire.Action {
	return map[string]wire.Action{
		"AuthorizeSecurityGroupEgress":  wire.Do(s.authorizeEgress, s.authorizing("AuthorizeSecurityGroupEgress")),
		"AuthorizeSecurityGroupIngress": wire.Do(s.authorizeIngress, s.authorizing("AuthorizeSecurityGroupIngress")),
		"CreateSecurityGroup":           wire.Do(s.createSecurityGroup, s.creatingGroup),
		"DeleteSecurityGroup":           wire.Do(s.deleteSecurityGroup, func(in *groupChoice) []wire.Access { return []wire.Access{s.onGroup(in.ID, in.Name)} }),
		"DescribeSecurityGroupRules":    wire.DoUnscoped(s.describeSecurityGroupRules),
		"DescribeSecurityGroups":        wire.DoUnscoped(s.describeSecurityGroups),
		"ModifySecurityGroupRules":      wire.Do(s.modifySecurityGroupRules, s.modifyingRules),
		"RevokeSecurityGroupEgress":     wire.Do(s.revokeEgress, s.revoking),
		"RevokeSecurityGroupIngress":    wire.Do(s.revokeIngress, s.revoking),
	}
}

// groupNamed returns a VPC's security group, or nil. The caller holds the lock.
func (s *Service) groupNamed(vpcID, name string) *securityGroup {
	for _, g := range s.state.Groups {
		if g.VPCID == vpcID && g.Name == name {
			return g
		}
	}
	return nil
}

// group finds a security group by its ID, or by its name in the default VPC. The caller holds the lock.
func (s *Service) group(id, name string) (*securityGroup, error) {
	switch {
	case id != "":
		if g := s.state.Groups[id]; g != nil {
			return g, nil
		}
		return nil, groupNotFound(id)
	case name != "":
		if g := s.groupNamed(s.defaultVPC(), name); g != nil {
			return g, nil
		}
		return nil, groupNotFound(name)
	}
	return nil, missing("GroupId", "GroupName")
}

// newGroup makes a security group that lets everything out. The caller holds the lock.
func (s *Service) newGroup(vpcID, name, description string, tagged tags) *securityGroup {
	g := &securityGroup{
		ID: newID("sg"), Name: name, Description: description, VPCID: vpcID, Created: time.Now().UTC(), Tags: tagged,
		Rules: []*rule{{ID: newID("sgr"), Egress: true, Protocol: "-1", From: -1, To: -1, CIDR: "0.0.0.0/0"}},
	}
	s.state.Groups[g.ID] = g
	return g
}

type createSecurityGroupInput struct {
	Name        string            `query:"GroupName" wire:"required"`
	Description string            `query:"GroupDescription" wire:"required"`
	VPCID       string            `query:"VpcId"`
	TagSpecs    tagSpecifications `query:"TagSpecification"`
}

type createSecurityGroupOutput struct {
	Return bool   `xml:"return"`
	ID     string `xml:"groupId"`
	ARN    string `xml:"securityGroupArn"`
	Tags   tags   `xml:"tagSet>item"`
}

// AWS: what names and descriptions may hold.
var groupText = regexp.MustCompile(`^[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{1,255}$`)

func (s *Service) createSecurityGroup(_ context.Context, in *createSecurityGroupInput) (*createSecurityGroupOutput, error) {
	switch {
	case !groupText.MatchString(in.Name):
		return nil, wire.Errorf("InvalidParameterValue", "Value (%s) for parameter groupName is invalid. Character sets beyond ASCII are not supported.", in.Name)
	case strings.HasPrefix(in.Name, "sg-"):
		return nil, wire.Errorf("InvalidParameterValue", "Value (%s) for parameter groupName is invalid. Group names must not start with sg-.", in.Name)
	case !groupText.MatchString(in.Description):
		return nil, wire.Errorf("InvalidParameterValue", "Value (%s) for parameter GroupDescription is invalid. Character sets beyond ASCII are not supported.", in.Description)
	}
	tagged, err := in.TagSpecs.of("security-group")
	if err != nil {
		return nil, err
	}
	var out *createSecurityGroupOutput
	err = s.change(func() error {
		vpcID := in.VPCID
		if vpcID == "" {
			if vpcID = s.defaultVPC(); vpcID == "" {
				return noDefaultVPC()
			}
		}
		if s.state.VPCs[vpcID] == nil {
			return vpcNotFound(vpcID)
		}
		if s.groupNamed(vpcID, in.Name) != nil {
			return wire.Errorf("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", in.Name, vpcID)
		}
		g := s.newGroup(vpcID, in.Name, in.Description, tagged)
		out = &createSecurityGroupOutput{true, g.ID, s.arn("security-group", g.ID), g.Tags}
		return nil
	})
	return out, err
}

type groupChoice struct {
	ID   string `query:"GroupId"`
	Name string `query:"GroupName"`
}

type deleteSecurityGroupOutput struct {
	Return bool   `xml:"return"`
	ID     string `xml:"groupId"`
}

func (s *Service) deleteSecurityGroup(_ context.Context, in *groupChoice) (*deleteSecurityGroupOutput, error) {
	out := &deleteSecurityGroupOutput{Return: true}
	s.document.Lock()
	g, err := s.group(in.ID, in.Name)
	holders := slices.Clone(s.holders)
	s.document.Unlock()
	if err != nil {
		return nil, err
	}
	// Without the lock: who holds a group may hold a lock of its own while it asks here.
	held := slices.ContainsFunc(holders, func(holds func(string) bool) bool { return holds(g.ID) })
	err = s.change(func() error {
		g, err := s.group(g.ID, "")
		if err != nil {
			return err
		}
		if g.Name == "default" {
			return wire.Errorf("CannotDelete", "the specified group: \"%s\" name: \"default\" cannot be deleted by a user", g.ID)
		}
		dependent := wire.Errorf("DependencyViolation", "resource %s has a dependent object", g.ID)
		if held {
			return dependent
		}
		for _, i := range s.state.Instances {
			if !i.ended() && slices.Contains(i.Groups, g.ID) {
				return dependent
			}
		}
		for _, other := range s.state.Groups {
			if other != g && slices.ContainsFunc(other.Rules, func(r *rule) bool { return r.Group == g.ID }) {
				return dependent
			}
		}
		delete(s.state.Groups, g.ID)
		out.ID = g.ID
		return nil
	})
	return out, err
}

type describeSecurityGroupsInput struct {
	IDs     []string `query:"GroupId"`
	Names   []string `query:"GroupName"`
	Filters filters  `query:"Filter"`
	paging
}

type securityGroupView struct {
	OwnerID     string         `xml:"ownerId"`
	ID          string         `xml:"groupId"`
	Name        string         `xml:"groupName"`
	Description string         `xml:"groupDescription"`
	VPCID       string         `xml:"vpcId"`
	ARN         string         `xml:"securityGroupArn"`
	Ingress     []ipPermission `xml:"ipPermissions>item"`
	Egress      []ipPermission `xml:"ipPermissionsEgress>item"`
	Tags        tags           `xml:"tagSet>item"`
}

type describeSecurityGroupsOutput struct {
	Groups    []securityGroupView `xml:"securityGroupInfo>item"`
	NextToken string              `xml:"nextToken,omitempty"`
}

func (s *Service) describeSecurityGroups(_ context.Context, in *describeSecurityGroupsInput) (*describeSecurityGroupsOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	var all []*securityGroup
	if len(in.IDs) > 0 || len(in.Names) == 0 {
		var err error
		if all, err = find(s.state.Groups, in.IDs, "InvalidGroup.NotFound", "security group"); err != nil {
			return nil, err
		}
	}
	for _, name := range in.Names {
		g, err := s.group("", name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(all, g) {
			all = append(all, g)
		}
	}
	found, next, err := describeOwned(s.account, in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeSecurityGroupsOutput{NextToken: next}
	for _, g := range found {
		out.Groups = append(out.Groups, securityGroupView{
			OwnerID: s.account, ID: g.ID, Name: g.Name, Description: g.Description, VPCID: g.VPCID,
			ARN: s.arn("security-group", g.ID), Ingress: s.permissions(g.Rules, false), Egress: s.permissions(g.Rules, true),
			Tags: g.Tags,
		})
	}
	return out, nil
}

// rulesInput names rules in the API's two forms.
type rulesInput struct {
	groupChoice
	Permissions []ipPermission `query:"IpPermissions"`
	// The old form: one rule.
	Protocol        string `query:"IpProtocol"`
	From            *int   `query:"FromPort"`
	To              *int   `query:"ToPort"`
	CIDR            string `query:"CidrIp"`
	SourceGroup     string `query:"SourceSecurityGroupName"`
	SourceGroupUser string `query:"SourceSecurityGroupOwnerId"`
}

// rules returns the rules that a request names. The caller holds the lock.
func (s *Service) rules(in *rulesInput, g *securityGroup, egress bool) ([]*rule, error) {
	permissions := in.Permissions
	if in.Protocol != "" || in.CIDR != "" || in.SourceGroup != "" {
		if len(permissions) > 0 {
			return nil, wire.Errorf("InvalidParameterCombination", "The parameter IpPermissions cannot be used with parameters of a single rule")
		}
		p := ipPermission{Protocol: in.Protocol, From: in.From, To: in.To}
		if in.SourceGroup != "" {
			p.Groups = []userIDGroup{{Name: in.SourceGroup, UserID: in.SourceGroupUser}}
			if p.Protocol == "" { // a group alone means everything from it
				p.Protocol = "-1"
			}
		}
		if in.CIDR != "" {
			p.Ranges = []ipRange{{CIDR: in.CIDR}}
		}
		permissions = []ipPermission{p}
	}
	if len(permissions) == 0 {
		return nil, missing("IpPermissions")
	}
	var all []*rule
	for _, p := range permissions {
		template, err := p.rule(egress)
		if err != nil {
			return nil, err
		}
		add := func(r rule) { all = append(all, &r) }
		for _, source := range p.Ranges {
			cidr, err := canonicalCIDR(source.CIDR)
			if err != nil || !cidr.Addr().Is4() {
				return nil, wire.Errorf("InvalidParameterValue", "CIDR block %s is malformed", source.CIDR)
			}
			r := template
			r.CIDR, r.Description = cidr.String(), source.Description
			add(r)
		}
		for _, source := range p.Ranges6 {
			cidr, err := canonicalCIDR(source.CIDR)
			if err != nil || !cidr.Addr().Is6() {
				return nil, wire.Errorf("InvalidParameterValue", "CIDR block %s is malformed", source.CIDR)
			}
			r := template
			r.CIDR6, r.Description = cidr.String(), source.Description
			add(r)
		}
		for _, source := range p.Groups {
			peer := s.state.Groups[source.ID]
			if source.ID == "" {
				peer = s.groupNamed(g.VPCID, source.Name)
			}
			switch {
			case peer == nil:
				return nil, groupNotFound(cmp.Or(source.ID, source.Name))
			case peer.VPCID != g.VPCID:
				return nil, wire.Errorf("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")
			case source.UserID != "" && source.UserID != s.account:
				return nil, groupNotFound(peer.ID)
			}
			r := template
			r.Group, r.Description = peer.ID, source.Description
			add(r)
		}
		if len(p.Ranges)+len(p.Ranges6)+len(p.Groups) == 0 {
			return nil, wire.Errorf("MissingParameter", "A security group rule needs a source or destination")
		}
	}
	for n, r := range all {
		if slices.ContainsFunc(all[:n], r.same) {
			return nil, wire.Errorf("InvalidParameterValue", "The same permission must not appear multiple times")
		}
	}
	return all, nil
}

// canonicalCIDR reads a CIDR block; the bits behind the prefix do not matter.
func canonicalCIDR(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// rule returns a rule with the permission's protocol and ports.
func (p ipPermission) rule(egress bool) (rule, error) {
	r := rule{Egress: egress, From: -1, To: -1}
	switch strings.ToLower(p.Protocol) {
	case "":
		return r, missing("IpProtocol")
	case "-1", "all":
		r.Protocol = "-1"
		return r, nil
	case "tcp", "6":
		r.Protocol = "tcp"
	case "udp", "17":
		r.Protocol = "udp"
	case "icmp", "1":
		r.Protocol = "icmp"
	case "icmpv6", "58":
		r.Protocol = "icmpv6"
	default:
		if n, err := strconv.Atoi(p.Protocol); err != nil || n < 0 || n > 255 {
			return r, wire.Errorf("InvalidParameterValue", "Invalid value '%s' for IP protocol. Unknown protocol.", p.Protocol)
		}
		r.Protocol = p.Protocol
		return r, nil
	}
	if r.Protocol == "tcp" || r.Protocol == "udp" {
		if p.From == nil || p.To == nil {
			return r, wire.Errorf("InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.")
		}
		if *p.From < 0 || *p.To > 65535 || *p.From > *p.To {
			return r, wire.Errorf("InvalidParameterValue", "Invalid TCP/UDP port range (%d:%d)", *p.From, *p.To)
		}
	}
	if p.From != nil {
		r.From = *p.From
	}
	if p.To != nil {
		r.To = *p.To
	}
	return r, nil
}

type ruleView struct {
	ID          string          `xml:"securityGroupRuleId"`
	ARN         string          `xml:"securityGroupRuleArn"`
	GroupID     string          `xml:"groupId"`
	OwnerID     string          `xml:"groupOwnerId"`
	Egress      bool            `xml:"isEgress"`
	Protocol    string          `xml:"ipProtocol"`
	From        int             `xml:"fromPort"`
	To          int             `xml:"toPort"`
	CIDR        string          `xml:"cidrIpv4,omitempty"`
	CIDR6       string          `xml:"cidrIpv6,omitempty"`
	Group       *referencedView `xml:"referencedGroupInfo"`
	Description string          `xml:"description,omitempty"`
	Tags        tags            `xml:"tagSet>item"`
}

type referencedView struct {
	GroupID string `xml:"groupId"`
	UserID  string `xml:"userId"`
}

func (s *Service) viewRule(g *securityGroup, r *rule) ruleView {
	v := ruleView{
		ID: r.ID, ARN: s.arn("security-group-rule", r.ID), GroupID: g.ID, OwnerID: s.account, Egress: r.Egress,
		Protocol: r.Protocol, From: r.From, To: r.To, CIDR: r.CIDR, CIDR6: r.CIDR6, Description: r.Description, Tags: r.Tags,
	}
	if r.Group != "" {
		v.Group = &referencedView{r.Group, s.account}
	}
	return v
}

type authorizeInput struct {
	rulesInput
	TagSpecs tagSpecifications `query:"TagSpecification"`
}

type authorizeOutput struct {
	Return bool       `xml:"return"`
	Rules  []ruleView `xml:"securityGroupRuleSet>item"`
}

func (s *Service) authorizeIngress(_ context.Context, in *authorizeInput) (*authorizeOutput, error) {
	return s.authorize(in, false)
}

func (s *Service) authorizeEgress(_ context.Context, in *authorizeInput) (*authorizeOutput, error) {
	return s.authorize(in, true)
}

func (s *Service) authorize(in *authorizeInput, egress bool) (*authorizeOutput, error) {
	tagged, err := in.TagSpecs.of("security-group-rule")
	if err != nil {
		return nil, err
	}
	out := &authorizeOutput{Return: true}
	err = s.change(func() error {
		g, err := s.group(in.ID, in.Name)
		if err != nil {
			return err
		}
		rules, err := s.rules(&in.rulesInput, g, egress)
		if err != nil {
			return err
		}
		for _, r := range rules {
			if slices.ContainsFunc(g.Rules, r.same) {
				ports := ""
				if r.Protocol != "-1" {
					ports = fmt.Sprintf(", from port: %d, to port: %d", r.From, r.To)
				}
				return wire.Errorf("InvalidPermission.Duplicate", `the specified rule "peer: %s, %s%s, ALLOW" already exists`, r.peer(), strings.ToUpper(r.Protocol), ports)
			}
		}
		for _, r := range rules {
			r.ID, r.Tags = newID("sgr"), tagged
			g.Rules = append(g.Rules, r)
			out.Rules = append(out.Rules, s.viewRule(g, r))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.expose()
	return out, nil
}

type revokeInput struct {
	rulesInput
	RuleIDs []string `query:"SecurityGroupRuleId"`
}

func (s *Service) revokeIngress(_ context.Context, in *revokeInput) (*wire.Return, error) {
	return s.revoke(in, false)
}

func (s *Service) revokeEgress(_ context.Context, in *revokeInput) (*wire.Return, error) {
	return s.revoke(in, true)
}

func (s *Service) revoke(in *revokeInput, egress bool) (*wire.Return, error) {
	err := s.change(func() error {
		g, err := s.group(in.ID, in.Name)
		if err != nil {
			return err
		}
		var revoked []*rule
		for _, id := range in.RuleIDs {
			n := slices.IndexFunc(g.Rules, func(r *rule) bool { return r.ID == id && r.Egress == egress })
			if n < 0 {
				return notFound("InvalidSecurityGroupRuleId.NotFound", "security group rule ID", id)
			}
			revoked = append(revoked, g.Rules[n])
		}
		if len(in.RuleIDs) == 0 {
			rules, err := s.rules(&in.rulesInput, g, egress)
			if err != nil {
				return err
			}
			for _, r := range rules {
				n := slices.IndexFunc(g.Rules, r.same)
				if n < 0 {
					return wire.Errorf("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
				}
				revoked = append(revoked, g.Rules[n])
			}
		}
		g.Rules = slices.DeleteFunc(slices.Clone(g.Rules), func(r *rule) bool { return slices.Contains(revoked, r) })
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.expose()
	return &wire.Return{Return: true}, nil
}

type modifyRulesInput struct {
	GroupID string `query:"GroupId" wire:"required"`
	Rules   []struct {
		ID   string `query:"SecurityGroupRuleId" wire:"required"`
		Rule struct {
			Protocol    string `query:"IpProtocol"`
			From        *int   `query:"FromPort"`
			To          *int   `query:"ToPort"`
			CIDR        string `query:"CidrIpv4"`
			CIDR6       string `query:"CidrIpv6"`
			Group       string `query:"ReferencedGroupId"`
			Description string `query:"Description"`
		} `query:"SecurityGroupRule" wire:"required"`
	} `query:"SecurityGroupRule" wire:"required"`
}

func (s *Service) modifySecurityGroupRules(_ context.Context, in *modifyRulesInput) (*wire.Return, error) {
	err := s.change(func() error {
		g, err := s.group(in.GroupID, "")
		if err != nil {
			return err
		}
		changed := slices.Clone(g.Rules)
		for _, m := range in.Rules {
			n := slices.IndexFunc(changed, func(r *rule) bool { return r.ID == m.ID })
			if n < 0 {
				return notFound("InvalidSecurityGroupRuleId.NotFound", "security group rule ID", m.ID)
			}
			p := ipPermission{Protocol: m.Rule.Protocol, From: m.Rule.From, To: m.Rule.To}
			if m.Rule.CIDR != "" {
				p.Ranges = []ipRange{{m.Rule.CIDR, m.Rule.Description}}
			}
			if m.Rule.CIDR6 != "" {
				p.Ranges6 = []ip6Range{{m.Rule.CIDR6, m.Rule.Description}}
			}
			if m.Rule.Group != "" {
				p.Groups = []userIDGroup{{ID: m.Rule.Group, Description: m.Rule.Description}}
			}
			made, err := s.rules(&rulesInput{Permissions: []ipPermission{p}}, g, changed[n].Egress)
			if err != nil {
				return err
			}
			if len(made) != 1 {
				return wire.Errorf("InvalidParameterCombination", "A security group rule has one source or destination")
			}
			made[0].ID, made[0].Tags = m.ID, changed[n].Tags
			changed[n] = made[0]
		}
		g.Rules = changed
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.expose()
	return &wire.Return{Return: true}, nil
}

// ruleOf is a rule with its group, for filters and pages.
type ruleOf struct {
	group *securityGroup
	*rule
}

func (r *ruleOf) key() (time.Time, string) { return r.group.Created, r.ID }
func (r *ruleOf) tagged() tags             { return r.Tags }

func (r *ruleOf) attribute(name string) ([]string, bool) {
	if r.group == nil {
		r = &ruleOf{&securityGroup{}, &rule{}}
	}
	switch name {
	case "group-id":
		return []string{r.group.ID}, true
	case "security-group-rule-id":
		return []string{r.ID}, true
	}
	return nil, false
}

type describeRulesInput struct {
	IDs     []string `query:"SecurityGroupRuleId"`
	Filters filters  `query:"Filter"`
	paging
}

type describeRulesOutput struct {
	Rules     []ruleView `xml:"securityGroupRuleSet>item"`
	NextToken string     `xml:"nextToken,omitempty"`
}

func (s *Service) describeSecurityGroupRules(_ context.Context, in *describeRulesInput) (*describeRulesOutput, error) {
	s.document.Lock()
	defer s.document.Unlock()
	byID := map[string]*ruleOf{}
	for _, g := range s.state.Groups {
		for _, r := range g.Rules {
			byID[r.ID] = &ruleOf{g, r}
		}
	}
	all, err := find(byID, in.IDs, "InvalidSecurityGroupRuleId.NotFound", "security group rule ID")
	if err != nil {
		return nil, err
	}
	found, next, err := describe(in.Filters, in.paging, all)
	if err != nil {
		return nil, err
	}
	out := &describeRulesOutput{NextToken: next}
	for _, r := range found {
		out.Rules = append(out.Rules, s.viewRule(r.group, r.rule))
	}
	return out, nil
}
