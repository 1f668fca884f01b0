package pipeline

import (
	"cmp"
	"context"
	"sync"

	"github.com/ingot-build/ingot/pkg/doctor"
	"github.com/ingot-build/ingot/pkg/rollout"
)

// FleetSize is what the infrastructure's settings say of the fleet, and a release does not need to know.
type FleetSize struct {
	InstanceType string
	Min, Max     int // instances
}

// Checks look at the account for what would stop a release; doctor.Run runs them. They change nothing.
func (p *Pipeline) Checks(size FleetSize) []doctor.Check {
	o := doctor.Options{
		FleetType: size.InstanceType, FleetMin: size.Min, FleetMax: size.Max,
		MaxHealthy: cmp.Or(p.settings.Rollout.MaxHealthy, rollout.DefaultMaxHealthy),
		BakeType:   p.settings.Bake.InstanceType, KMSKey: p.settings.Bake.KMSKey,
		Network:       p.Network,
		StackZones:    func(ctx context.Context) ([]string, error) { return p.images.StackZones(ctx, p.settings.App) },
		ZonesOffering: p.images.ZonesOffering,
		Status:        once(p.Status),
	}
	if p.gate != nil {
		o.Hook = p.gate.CheckHook
	}
	if source := p.agentSource(); source != "" {
		o.Agent = func() error {
			return p.checkAgentDigest(source)
		}
	}
	return doctor.Account(p.cfg, o)
}

// once asks only once, for all who want to know.
func once(status func(context.Context) (rollout.Status, error)) func(context.Context) (rollout.Status, error) {
	var (
		ask sync.Once
		s   rollout.Status
		err error
	)
	return func(ctx context.Context) (rollout.Status, error) {
		ask.Do(func() { s, err = status(ctx) })
		return s, err
	}
}
