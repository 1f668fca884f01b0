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
	alive, dead, err := b.runs().list(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer unlockAll(dead)
	all, err := b.ec2.Leftovers(ctx, b.options.App)
	if err != nil {
		return nil, 0, err
	}
	known := knownRuns{alive: alive, dead: dead, older: older, now: time.Now()}
	var ofDead []ami.Leftover
	for _, l := range all {
		why := known.whyDead(l.Run)
		if why == "" {
			spared++
			continue
		}
		began, _ := ami.Began(l.Run)
		found = append(found, Leftover{Leftover: l, Began: began, Why: why})
		ofDead = append(ofDead, l)
	}
	if remove {
		err = b.ec2.RemoveLeftovers(ctx, ofDead)
	}
	return found, spared, err
}

// knownRuns tells dead runs from living ones.
type knownRuns struct {
	alive, dead []*run // of this machine
	older       time.Duration
	now         time.Time
}

// whyDead says why a run counts as dead; it says nothing of one that may be alive.
func (k knownRuns) whyDead(id string) string {
	is := func(r *run) bool { return r.id == id }
	began, known := ami.Began(id)
	switch age := k.now.Sub(began); {
	case slices.ContainsFunc(k.alive, is):
		return ""
	case slices.ContainsFunc(k.dead, is):
		return "neither it nor its Packer lives"
	case known && age > k.older:
		return fmt.Sprintf("began more than %s ago", k.older)
	}
	return ""
}
