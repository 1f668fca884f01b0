package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/rollout"
)

// MismatchError is a service whose port or health path is not the one that the load balancer goes by. Nothing was begun: no
// instance of such a release would ever become healthy. Where no release is live, make the infrastructure with the new
// settings; where one is, CheckChange tells whether that serves throughout.
type MismatchError struct {
	Setting    string // SettingPort or SettingHealth
	Live, Want string // the load balancer's, and the service's
	Serves     bool   // a release is live
}

// What a MismatchError is about.
const (
	SettingPort   = "port"
	SettingHealth = "health path"
)

func (e *MismatchError) Error() string {
	return fmt.Sprintf("the load balancer goes by the %s %s, and the service has the %s %s", e.Setting, e.Live, e.Setting, e.Want)
}

// ChangeError is a change of the infrastructure that would take a release out of service. Nothing was changed.
//
// A port cannot be changed under a live fleet: instances that listen on the old port and ones that listen on the new cannot
// be behind one load balancer in turn without a gap, as EC2 Auto Scaling replaces an instance that any of its target
// groups finds unhealthy. What serves throughout is a second stack under another name, and a domain that is led there.
//
// A health path can be changed once what is live answers 200 there as well: so release a service that answers both paths,
// change the path, and release again.
type ChangeError struct {
	MismatchError
	Err error // what is live answered at the new health path; nil for a port
}

func (e *ChangeError) Error() string {
	text := "change the " + e.Setting + " of a fleet that serves: " + e.MismatchError.Error()
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *ChangeError) Unwrap() error { return &e.MismatchError }

// mismatch compares the service with what a fleet's load balancer goes by; nil where they agree.
func (p *Pipeline) mismatch(f rollout.Fleet) *MismatchError {
	service, live := p.settings.Service, f.Balancer
	serves := f.Desired > 0
	switch {
	case live.Port != service.Port:
		return &MismatchError{SettingPort, strconv.Itoa(live.Port), strconv.Itoa(service.Port), serves}
	case live.HealthCheck.Path != service.Health && !service.Worker:
		return &MismatchError{SettingHealth, live.HealthCheck.Path, service.Health, serves}
	}
	return nil
}

// CheckChange tells whether the infrastructure can be given the service's port and health path while a release is live. The
// error is a *ChangeError where it would go out of service.
func (p *Pipeline) CheckChange(ctx context.Context) error {
	fleet, err := p.Fleet(ctx)
	if _, incomplete := errors.AsType[*rollout.IncompleteError](err); incomplete || errors.Is(err, rollout.ErrNoFleet) {
		return nil
	}
	if err != nil {
		return err
	}
	o := p.settings.Rollout
	// What the target group of the stack takes for healthy.
	o.VerifyPath, o.VerifyStatuses = p.settings.Service.Health, probe.Statuses{{From: 200, To: 200}}
	return p.changeProblem(fleet, func() error { return p.roller(o).Ask(ctx, fleet) })
}

// changeProblem is CheckChange for a fleet; ask asks it at the new health path.
func (p *Pipeline) changeProblem(f rollout.Fleet, ask func() error) error {
	m := p.mismatch(f)
	if m == nil || !m.Serves {
		return nil
	}
	if m.Setting == SettingPort {
		return &ChangeError{MismatchError: *m}
	}
	if err := ask(); err != nil {
		return &ChangeError{MismatchError: *m, Err: err}
	}
	return nil
}
