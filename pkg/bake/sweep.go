package bake

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/ami"
)

// DeadAfter is the age at which a run of another machine counts as dead. No bake lives as long: each of Packer's four
// waits ends after half an hour.
const DeadAfter = 2 * time.Hour

// Leftover is something that a dead run left.
type Leftover struct {
	ami.Leftover
	Began time.Time // when the run began
	Why   string    // the run counts as dead
}

// Sweep finds what dead runs left, and removes it where it is told to. A run of this machine is dead when neither it nor
// its Packer lives; one of another machine, when it began longer ago than older. It also returns how much it spared of
// runs that may be alive. What could not be removed is in the error. The records of dead runs stay: the next bake looks
// once more for what EC2 made of their last words, and forgets them.
func (b *Baker) Sweep(ctx context.Context, older time.Duration, remove bool) (found []Leftover, spared int, err error) {
	alive, dead, err := b.runs().look()
	if err != nil {
		return nil, 0, err
	}
	defer releaseAll(dead)
	all, err := b.Workshop.Leftovers(ctx, b.App)
	if err != nil {
		return nil, 0, err
	}
	judge := judge{alive: alive, dead: dead, older: older, now: time.Now()}
	var condemned []ami.Leftover
	for _, l := range all {
		why := judge.why(l.Run)
		if why == "" {
			spared++
			continue
		}
		began, _ := ami.Began(l.Run)
		found = append(found, Leftover{Leftover: l, Began: began, Why: why})
		condemned = append(condemned, l)
	}
	if remove {
		err = b.Workshop.Remove(ctx, condemned)
	}
	return found, spared, err
}

// judge tells dead runs from living ones.
type judge struct {
	alive, dead []*run // of this machine
	older       time.Duration
	now         time.Time
}

// why says why a run counts as dead; it says nothing of one that may be alive.
func (j judge) why(id string) string {
	is := func(r *run) bool { return r.id == id }
	began, known := ami.Began(id)
	switch age := j.now.Sub(began); {
	case slices.ContainsFunc(j.alive, is):
		return ""
	case slices.ContainsFunc(j.dead, is):
		return "neither it nor its Packer lives"
	case known && age > j.older:
		return fmt.Sprintf("began more than %s ago", j.older)
	}
	return ""
}
