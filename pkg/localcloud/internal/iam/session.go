package iam

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/iam/policy"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

const (
	// minSession and defaultSession are how long a session lasts at least, and where nobody says how long, in seconds.
	minSession     = 900
	defaultSession = 3600
	// maxChained is how long one lasts at most that another session takes on.
	maxChained = 3600
	// instanceSession is how long the credentials of an instance last. AWS's last about six hours.
	instanceSession = 6 * time.Hour
	// keptExpired is how long a session is known after its end, so that its holder is told why it is refused.
	keptExpired = 24 * time.Hour
)

// session is a role that somebody has taken on. Its key in the state is the access key ID.
type session struct {
	Name            string // as its holder chose it
	Role, RoleID    string // the role's name, and its ID: another role of the same name is not meant
	SecretAccessKey string
	Token           string
	Began, Expires  time.Time
}

// Credentials are what a new session calls with.
type Credentials struct {
	AccessKeyID string
	wire.Session
	// Began is when the session did.
	Began time.Time
}

// Session returns the session that an access key ID belongs to, as long as its role is there.
func (s *Service) Session(accessKeyID string) (found wire.Session, ok bool) {
	s.state.View(func(st state) error {
		of, known := st.Sessions[accessKeyID]
		if ok = known && st.Roles[of.Role].ID == of.RoleID; ok {
			found = s.wireSession(of)
		}
		return nil
	})
	return found, ok
}

func (s *Service) wireSession(of session) wire.Session {
	return wire.Session{
		Caller: wire.Caller{
			ARN: fmt.Sprintf("arn:aws:sts::%s:assumed-role/%s/%s", s.account, of.Role, of.Name), ID: of.RoleID + ":" + of.Name, Role: of.Role,
		},
		SecretAccessKey: of.SecretAccessKey, Token: of.Token, Expires: of.Expires,
	}
}

// begin adds a session of the role to the state.
func (s *Service) begin(st *state, r role, name string, lasts time.Duration) Credentials {
	began := now()
	maps.DeleteFunc(st.Sessions, func(_ string, of session) bool { return began.After(of.Expires.Add(keptExpired)) })
	key := "ASIA" + rand.Text()[:16]
	of := session{
		Name: name, Role: r.Name, RoleID: r.ID, SecretAccessKey: rand.Text() + rand.Text(), Token: rand.Text() + rand.Text() + rand.Text(),
		Began: began, Expires: began.Add(lasts),
	}
	st.Sessions[key] = of
	return Credentials{AccessKeyID: key, Session: s.wireSession(of), Began: began}
}

// Decide decides whether a session's role has an access.
func (s *Service) Decide(caller wire.Caller, a wire.Access) (decision wire.Decision, err error) {
	err = s.state.View(func(st state) error {
		r, err := st.role(caller.Role)
		if err != nil {
			return err
		}
		decision, err = s.decide(r, a, s.principalKeys(r, caller))
		return err
	})
	return decision, err
}

// RoleAllows reports whether the policies of a role allow a service that has taken it on an access.
func (s *Service) RoleAllows(roleARN string, a wire.Access) (allowed bool) {
	s.state.View(func(st state) error {
		if r, ok := s.roleOf(st, roleARN); ok {
			decision, err := s.decide(r, a, s.principalKeys(r, wire.Caller{}))
			allowed = err == nil && decision == wire.Allowed
		}
		return nil
	})
	return allowed
}

func (s *Service) decide(r role, a wire.Access, more policy.Keys) (wire.Decision, error) {
	documents, unknown, err := r.documents()
	if err != nil {
		return wire.NotAllowed, err
	}
	keys, known := more, vocabulary()
	for key, values := range a.Keys {
		if _, ok := known(policy.Name(key)); !ok { // no policy could name it
			return wire.NotAllowed, fmt.Errorf("decide on %s: the condition key %q is not known", a.Action, key)
		}
		keys[policy.Name(key)] = values
	}
	decision := policy.Decide(documents, policy.Request{Action: a.Action, Resource: cmp.Or(a.Resource, "*"), Keys: keys})
	if decision == policy.NotAllowed && len(unknown) > 0 {
		return wire.NotAllowed, &wire.Error{
			Code: "NotImplemented", Status: http.StatusNotImplemented,
			Message: fmt.Sprintf("This local cloud cannot say whether the role %s may %s: it does not know what AWS's policy %s allows. "+
				"Give the role a policy of its own that does.", r.Name, a.Action, strings.Join(unknown, " or ")),
		}
	}
	return map[policy.Decision]wire.Decision{policy.Allowed: wire.Allowed, policy.Denied: wire.Denied}[decision], nil
}

// documents returns the policies of the role, and the ARNs of those that nobody here knows the documents of.
func (r role) documents() (all []*policy.Document, unknown []string, err error) {
	texts := map[string]string{}
	maps.Copy(texts, r.Inline)
	managed := managedPolicies()
	for _, arn := range r.Attached {
		if text, ok := managed[arn]; ok {
			texts[arn] = text
		} else {
			unknown = append(unknown, arn)
		}
	}
	for name, text := range texts {
		d, err := parse(text, policy.Identity)
		if err != nil {
			return nil, nil, fmt.Errorf("the policy %q of the role %q: %w", name, r.Name, err)
		}
		all = append(all, d)
	}
	return all, unknown, nil
}

// principalKeys are the condition keys that say who the session of a role is.
func (s *Service) principalKeys(r role, caller wire.Caller) policy.Keys {
	return policy.Keys{
		"aws:principalaccount": {s.account}, "aws:principalarn": {s.arn("role", r.Path, r.Name)}, "aws:principaltype": {"AssumedRole"},
		"aws:principalisawsservice": {"false"}, "aws:viaawsservice": {"false"}, "aws:userid": {cmp.Or(caller.ID, r.ID)},
	}
}

// roleOf finds a role by its ARN.
func (s *Service) roleOf(st state, arn string) (role, bool) {
	for _, r := range st.Roles {
		if s.arn("role", r.Path, r.Name) == arn {
			return r, true
		}
	}
	return role{}, false
}

// trusts decides by the trust policy of a role.
func (r role) trusts(request policy.Request) (policy.Decision, error) {
	d, err := parse(r.Trust, policy.Trust)
	if err != nil {
		return policy.NotAllowed, fmt.Errorf("the trust policy of the role %q: %w", r.Name, err)
	}
	return policy.Decide([]*policy.Document{d}, request), nil
}

// RoleTrusts reports whether there is a role of that ARN, and whether it trusts a service, such as "codedeploy.amazonaws.com", that
// takes it on for a resource, which may be "".
func (s *Service) RoleTrusts(roleARN, service, sourceARN string) (found, trusts bool) {
	s.state.View(func(st state) error {
		var r role
		if r, found = s.roleOf(st, roleARN); found {
			trusts = s.trustsService(r, service, sourceARN)
		}
		return nil
	})
	return found, trusts
}

func (s *Service) trustsService(r role, service, sourceARN string) bool {
	keys := policy.Keys{"aws:principalisawsservice": {"true"}}
	if sourceARN != "" {
		keys["aws:sourcearn"], keys["aws:sourceaccount"] = []string{sourceARN}, []string{s.account}
	}
	decision, err := r.trusts(policy.Request{
		Action: "sts:AssumeRole", Principals: []policy.Principal{{Kind: "Service", Name: service}}, Keys: keys,
	})
	return err == nil && decision == policy.Allowed
}

// ProfileRole returns the ARN of the role in an instance profile, which is given by its ARN or its name.
func (s *Service) ProfileRole(profile string) (roleARN string, found bool) {
	s.state.View(func(st state) error {
		var r role
		if _, r, found = s.profileRole(st, profile); found {
			roleARN = s.arn("role", r.Path, r.Name)
		}
		return nil
	})
	return roleARN, found
}

func (s *Service) profileRole(st state, profile string) (instanceProfile, role, bool) {
	for _, p := range st.InstanceProfiles {
		if profile == p.Name || profile == s.arn("instance-profile", p.Path, p.Name) {
			r, ok := st.Roles[p.Role]
			return p, r, ok
		}
	}
	return instanceProfile{}, role{}, false
}

// InstanceCredentials returns credentials of the role in an instance profile for an instance, the same ones until half of their time is
// over. It fails with NoSuchEntity where there is no role in the profile, and with AccessDenied where the role does not trust EC2.
func (s *Service) InstanceCredentials(profileARN, instanceID string) (c Credentials, err error) {
	return c, s.state.Update(func(st *state) error {
		_, r, ok := s.profileRole(*st, profileARN)
		if !ok {
			return noSuchEntity("Instance Profile %s cannot be found, or holds no role.", profileARN)
		}
		if !s.trustsService(r, "ec2.amazonaws.com", "") {
			return accessDenied("EC2 cannot assume the role %s. Please see documentation at "+
				"https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html", r.Name)
		}
		for key, of := range st.Sessions {
			if of.Name == instanceID && of.RoleID == r.ID && time.Until(of.Expires) > instanceSession/2 {
				c = Credentials{AccessKeyID: key, Session: s.wireSession(of), Began: of.Began}
				return nil
			}
		}
		c = s.begin(st, r, instanceID, instanceSession)
		return nil
	})
}

// Assumption is what somebody asks who takes a role on.
type Assumption struct {
	RoleARN, SessionName string
	Seconds              *int   // nil for an hour
	ExternalID           string // of AssumeRole; "" for none
}

var validSessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

// check checks what does not depend on the role.
func (a Assumption) check() error {
	switch {
	case !validSessionName.MatchString(a.SessionName):
		return invalid("1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular " +
			"expression pattern: [\\w+=,.@-]*, with 2 to 64 characters")
	case a.Seconds != nil && *a.Seconds < minSession:
		return invalid("1 validation error detected: Value '%d' at 'durationSeconds' failed to satisfy constraint: Member must have value "+
			"greater than or equal to %d", *a.Seconds, minSession)
	}
	return nil
}

// lasts returns how long the session is to last.
func (a Assumption) lasts(r role, chained bool) (time.Duration, error) {
	seconds := defaultSession
	if a.Seconds != nil {
		seconds = *a.Seconds
	}
	switch {
	case chained && seconds > maxChained:
		return 0, invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	case seconds > r.MaxSessionSeconds:
		return 0, invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return time.Duration(seconds) * time.Second, nil
}

// AssumeRole begins a session for a caller, nil for the administrator, whom the role's trust policy has to trust. Where that names the
// account alone, the caller's own policies have to allow it too.
func (s *Service) AssumeRole(caller *wire.Caller, a Assumption) (c Credentials, err error) {
	if err := a.check(); err != nil {
		return c, err
	}
	return c, s.state.Update(func(st *state) error {
		r, found := s.roleOf(*st, a.RoleARN)
		allowed, err := false, error(nil)
		if found {
			allowed, err = s.mayAssume(*st, r, caller, a)
		}
		switch {
		case err != nil:
			return err
		case !allowed:
			arn := s.UserARN()
			if caller != nil {
				arn = caller.ARN
			}
			return accessDenied("User: %s is not authorized to perform: sts:AssumeRole on resource: %s", arn, a.RoleARN)
		}
		lasts, err := a.lasts(r, caller != nil)
		if err == nil {
			c = s.begin(st, r, a.SessionName, lasts)
		}
		return err
	})
}

func (s *Service) mayAssume(st state, r role, caller *wire.Caller, a Assumption) (bool, error) {
	names := []policy.Principal{{Kind: "AWS", Name: s.UserARN()}}
	keys := policy.Keys{
		"aws:principalaccount": {s.account}, "aws:principalarn": {s.UserARN()}, "aws:principaltype": {"User"}, "aws:username": {UserName},
		"aws:principalisawsservice": {"false"}, "aws:viaawsservice": {"false"},
	}
	own := wire.Allowed // by the caller's policies
	requested := policy.Keys{"sts:rolesessionname": {a.SessionName}}
	if a.ExternalID != "" {
		requested["sts:externalid"] = []string{a.ExternalID}
	}
	if caller != nil {
		from, err := st.role(caller.Role)
		if err != nil {
			return false, err
		}
		names = []policy.Principal{{Kind: "AWS", Name: s.arn("role", from.Path, from.Name)}, {Kind: "AWS", Name: caller.ARN}}
		keys = s.principalKeys(from, *caller)
		if own, err = s.decide(from, wire.Access{Action: "sts:AssumeRole", Resource: a.RoleARN, Keys: requested}, maps.Clone(keys)); err != nil {
			return false, err
		}
	}
	maps.Copy(keys, requested)
	request := policy.Request{Action: "sts:AssumeRole", Principals: names, Keys: keys}
	byName, err := r.trusts(request)
	if err != nil || byName == policy.Denied || own == wire.Denied {
		return false, err
	}
	if byName == policy.Allowed {
		return true, nil
	}
	request.Principals = append(names, policy.Principal{Kind: "AWS", Name: "arn:aws:iam::" + s.account + ":root"})
	byAccount, err := r.trusts(request)
	return byAccount == policy.Allowed && own == wire.Allowed, err
}

func accessDenied(format string, args ...any) *wire.Error {
	return &wire.Error{Code: "AccessDenied", Message: fmt.Sprintf(format, args...), Status: http.StatusForbidden}
}
