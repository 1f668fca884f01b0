package bake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/progress"
)

// aliveDelay is the gap between two looks at whether another run is over.
const aliveDelay = 500 * time.Millisecond

func (b *Baker) runs() runs { return runs{app: b.App, folder: b.Folder} }

// claim begins a run as soon as no living one makes the same image, and returns the dead ones with it.
func (b *Baker) claim(ctx context.Context, stage *progress.Stage, kind, fingerprint string) (own *run, dead []*run, err error) {
	for {
		own, same, dead, err := b.runs().claim(kind, fingerprint)
		if err != nil || same == nil {
			return own, dead, err
		}
		if err := await(ctx, stage, same); err != nil {
			return nil, nil, err
		}
	}
}

// await waits until another run is over: the process that began it, and its Packer, which may outlive that.
func await(ctx context.Context, stage *progress.Stage, other *run) (err error) {
	stage.Update("waiting for run %s, which makes the same", other.id)
	ended := make(chan struct{})
	followed := make(chan error, 1)
	go func() {
		followed <- packer.Follow(other.folder, func(step string) { stage.Update("run %s: %s", other.id, step) }, ended)
	}()
	defer func() {
		close(ended)
		if unread := <-followed; err == nil {
			err = unread
		}
	}()
	for {
		err := other.open()
		other.release()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case other.lock != nil:
			return nil
		}
		if err := sleep(ctx, aliveDelay); err != nil {
			return fmt.Errorf("wait for run %s: %w", other.id, err)
		}
	}
}

// find returns the image that was made from the same inputs: a finished one, or one that nobody has seen finished, which
// it does. The error wraps ami.ErrNotFound where there is none.
func (b *Baker) find(ctx context.Context, stage *progress.Stage, i Image, fingerprint string) (image ami.Image, how string, err error) {
	image, err = b.Catalogue.Find(ctx, b.App, i.Kind, fingerprint)
	if !errors.Is(err, ami.ErrNotFound) {
		return image, " was made from the same inputs", err
	}
	left, err := b.Workshop.Leftovers(ctx, b.App)
	if err != nil {
		return ami.Image{}, "", err
	}
	image, err = b.adopt(ctx, stage, left, i, fingerprint)
	return image, " was made by run " + image.Tags[ami.TagRun] + ", which did not live to finish it", err
}

// adopt finishes an image that a run made from the same inputs and did not finish. Packer has EC2 make an image only
// once everything in it is there and its instance has stopped: so it is complete when it is available. The run may be
// one of another machine and alive: then both tag the image, with the same tags.
func (b *Baker) adopt(ctx context.Context, stage *progress.Stage, left []ami.Leftover, i Image, fingerprint string) (ami.Image, error) {
	for _, l := range candidates(left, i.Kind, fingerprint) {
		image, err := b.awaitImage(ctx, stage, l)
		if err != nil {
			return ami.Image{}, err
		}
		if image.State == "available" {
			return b.finish(ctx, image, b.tags(i, l.Run, fingerprint, l.Tags[ami.TagCommit]), fingerprint)
		}
	}
	return ami.Image{}, ami.ErrNotFound
}

// candidates are the images that may become what is wanted: those that already have first, then the newest.
func candidates(left []ami.Leftover, kind, fingerprint string) []ami.Leftover {
	var available, pending []ami.Leftover
	for _, l := range slices.Backward(left) {
		switch {
		case l.Kind != ami.UnfinishedImage || l.Tags[ami.TagImage] != kind || l.Tags[ami.TagBaking] != fingerprint:
		case l.State == "available":
			available = append(available, l)
		case l.State == "pending":
			pending = append(pending, l)
		}
	}
	return append(available, pending...)
}

// awaitImage waits until an image is pending no more, or has been for as long as Packer would have waited.
func (b *Baker) awaitImage(ctx context.Context, stage *progress.Stage, l ami.Leftover) (image ami.Image, err error) {
	for image = l.Image; image.State == "pending" && time.Since(image.Created) < pollingAttempts*pollingDelay; {
		stage.Update("waiting for %s, which run %s began", image.ID, l.Run)
		if err := sleep(ctx, pollingDelay); err != nil {
			return ami.Image{}, fmt.Errorf("wait for image %s: %w", image.ID, err)
		}
		switch image, err = b.Catalogue.Get(ctx, image.ID); {
		case errors.Is(err, ami.ErrNotFound):
			return ami.Image{}, nil // somebody has removed it
		case err != nil:
			return ami.Image{}, err
		}
	}
	return image, nil
}

// clear removes what dead runs left, apart from one image, and returns those of which nothing is left. What cannot be
// removed stops nobody: it is tried again the next time.
func (b *Baker) clear(ctx context.Context, stage *progress.Stage, dead []*run, keep string) (cleared []*run) {
	if len(dead) == 0 {
		return nil
	}
	all, err := b.Workshop.Leftovers(ctx, b.App)
	if err != nil {
		progress.Note(ctx, "look for what dead runs left: %s", err)
		return nil
	}
	all = slices.DeleteFunc(all, func(l ami.Leftover) bool { return l.ID == keep })
	for _, d := range dead {
		left := of(all, d.id)
		for _, l := range left {
			stage.Update("removing %s %s, which run %s left", l.Kind, l.ID, l.Run)
		}
		if err := b.Workshop.Remove(ctx, left); err != nil {
			progress.Note(ctx, "remove what run %s left: %s; to try again: mage sweep -yes", d.id, err)
			continue
		}
		cleared = append(cleared, d)
	}
	return cleared
}

// of are a run's leftovers.
func of(left []ami.Leftover, run string) []ami.Leftover {
	var its []ami.Leftover
	for _, l := range left {
		if l.Run == run {
			its = append(its, l)
		}
	}
	return its
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
