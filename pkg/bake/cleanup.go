package bake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/progress"
)

// cleanupLimit bounds the removal of what a failed build left; it runs even where the build was interrupted.
const cleanupLimit = 5 * time.Minute

// removeLeftovers removes what dead runs left, apart from one image, and returns those of which nothing is left. What
// cannot be removed stops nobody: it is tried again the next time.
func (b *Baker) removeLeftovers(ctx context.Context, stage *progress.Stage, dead []*run, keep string) (cleared []*run) {
	if len(dead) == 0 {
		return nil
	}
	all, err := b.ec2.Leftovers(ctx, b.options.App)
	if err != nil {
		b.options.Warn(ctx, fmt.Errorf("look for what dead runs left: %w", err))
		return nil
	}
	all = slices.DeleteFunc(all, func(l ami.Leftover) bool { return l.ID == keep })
	for _, d := range dead {
		left := leftoversOf(all, d.id)
		for _, l := range left {
			stage.Update("removing %s %s, which run %s left", l.Kind, l.ID, l.Run)
		}
		if err := b.ec2.RemoveLeftovers(ctx, left); err != nil {
			b.options.Warn(ctx, &LeftoverError{Run: d.id, Err: err})
			continue
		}
		cleared = append(cleared, d)
	}
	return cleared
}

// cleanUp clears away what the run needed, and what Packer leaves where it fails: the image, when it ends while EC2 still
// makes it, and its instance, when it ends while that still starts. It looks a second time for what dead runs left: EC2
// may have been told to make it just before they died. What cannot be cleared away once the image is made is for the next run.
func (b *Baker) cleanUp(ctx context.Context, own *run, dead []*run, group string, built bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	err := b.removeOwn(ctx, own, dead, group, built)
	if err == nil {
		err = errors.Join(own.end(), endAll(dead), b.runs().prune(ctx))
	} else {
		own.unlock()
		err = fmt.Errorf("remove what run %s left: %w", own.id, err)
	}
	if err != nil && built {
		b.options.Warn(ctx, fmt.Errorf("%w; the next bake tries again", err))
		return nil
	}
	return err
}

// removeOwn removes what the run and the dead ones have on EC2, but for the image where that is built. The security group is
// known by its ID: EC2 may list it only later.
func (b *Baker) removeOwn(ctx context.Context, own *run, dead []*run, group string, built bool) error {
	all, err := b.ec2.Leftovers(ctx, b.options.App)
	if err != nil {
		return err
	}
	left := leftoversOf(all, own.id)
	if built { // what was tagged a moment ago may look unfinished yet
		left = slices.DeleteFunc(left, func(l ami.Leftover) bool { return l.Kind == ami.UnfinishedImage || l.Kind == ami.Snapshot })
	}
	if group != "" && !slices.ContainsFunc(left, func(l ami.Leftover) bool { return l.ID == group }) {
		left = append(left, ami.Leftover{Kind: ami.SecurityGroup, ID: group, Run: own.id, Unlisted: true})
	}
	for _, d := range dead {
		left = append(left, leftoversOf(all, d.id)...)
	}
	return b.ec2.RemoveLeftovers(ctx, left)
}

func leftoversOf(all []ami.Leftover, run string) []ami.Leftover {
	var its []ami.Leftover
	for _, l := range all {
		if l.Run == run {
			its = append(its, l)
		}
	}
	return its
}
