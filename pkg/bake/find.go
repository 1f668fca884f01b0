package bake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/tag"
)

// aliveDelay is the gap between two looks at whether another run is over.
const aliveDelay = 500 * time.Millisecond

// lagDelay and lagLimit are the gap and the end of looks at what EC2 has made and does not know yet.
const (
	lagDelay = time.Second
	lagLimit = 30 * time.Second
)

// Fingerprint is a digest over everything that decides what the image becomes: the files of its stage, what they are
// told, the parent and its architecture, the key where one is set, and the templates. The instance type and the subnet
// that it is baked in do not count.
func (b *Baker) Fingerprint(i Image) (string, error) {
	inputs := map[string]string{"parent": i.Parent.ID, "architecture": i.Parent.Architecture, "user": i.User}
	if i.KMSKey != "" {
		inputs["kms key"] = i.KMSKey
	}
	for name, value := range i.Inputs {
		inputs["input "+name] = value
	}
	templates, err := fs.Glob(b.options.Templates, "*.pkr.hcl")
	if err != nil || len(templates) == 0 {
		return "", errors.New("find Packer templates: there is no *.pkr.hcl")
	}
	for _, name := range templates {
		data, err := fs.ReadFile(b.options.Templates, name)
		if err != nil {
			return "", fmt.Errorf("fingerprint Packer template: %w", err)
		}
		sum := sha256.Sum256(data)
		inputs["template "+name] = hex.EncodeToString(sum[:])
	}
	return i.Bundle.Fingerprint(inputs), nil
}

// find returns the image that was made from the same inputs: a finished one, or one that nobody has seen finished, which
// it does. The error wraps ami.ErrNotFound where there is none.
func (b *Baker) find(ctx context.Context, stage *progress.Stage, i Image, fingerprint string) (image ami.Image, how string, err error) {
	image, err = b.ec2.Find(ctx, b.options.App, i.stage(), fingerprint)
	if !errors.Is(err, ami.ErrNotFound) {
		return image, " was made from the same inputs", err
	}
	left, err := b.ec2.Leftovers(ctx, b.options.App)
	if err != nil {
		return ami.Image{}, "", err
	}
	image, err = b.finishLeftover(ctx, stage, left, i, fingerprint)
	return image, " was made by run " + image.Tags[tag.Run] + ", which did not live to finish it", err
}

// finishLeftover finishes an image that a run made from the same inputs and did not finish. Packer has EC2 make an image
// only once everything in it is there and its instance has stopped: so it is complete when it is available. The run may be
// one of another machine and alive: then both tag the image, with the same tags.
func (b *Baker) finishLeftover(ctx context.Context, stage *progress.Stage, left []ami.Leftover, i Image, fingerprint string) (ami.Image, error) {
	for _, l := range candidates(left, i.stage(), fingerprint) {
		image, err := b.awaitImage(ctx, stage, l)
		if err != nil {
			return ami.Image{}, err
		}
		if image.State == "available" {
			return b.finish(ctx, image, b.tags(i, l.Run, fingerprint, l.Tags[tag.Commit]), fingerprint)
		}
	}
	return ami.Image{}, ami.ErrNotFound
}

// candidates are the images that may become what is wanted: those that already have first, then the newest.
func candidates(left []ami.Leftover, stage provision.Stage, fingerprint string) []ami.Leftover {
	var available, pending []ami.Leftover
	for _, l := range slices.Backward(left) {
		switch {
		case l.Kind != ami.UnfinishedImage || l.Tags[tag.Image] != string(stage) || l.Tags[tag.Baking] != fingerprint:
		case l.State == "available":
			available = append(available, l)
		case l.State == "pending":
			pending = append(pending, l)
		}
	}
	return append(available, pending...)
}

// awaitFinished looks at an image that Packer says is finished. EC2 may not know it yet, or its tags, which are indexed apart:
// https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html.
func (b *Baker) awaitFinished(ctx context.Context, id, run string) (ami.Image, error) {
	for began := time.Now(); ; {
		image, err := b.ec2.Get(ctx, id)
		missing := errors.Is(err, ami.ErrNotFound) || err == nil && (image.State == "pending" || image.Tags[tag.Run] == "")
		switch {
		case missing && time.Since(began) < lagLimit:
		case err != nil:
			return image, err
		case image.State != "available" || image.Tags[tag.Run] != run:
			return image, fmt.Errorf("image %s is %s and of run %q, not available and of run %q", image.ID, image.State, image.Tags[tag.Run], run)
		default:
			return image, nil
		}
		if err := wait.For(ctx, lagDelay); err != nil {
			return ami.Image{}, fmt.Errorf("wait for image %s: %w", id, err)
		}
	}
}

// finish tags an image that is complete. The fingerprint comes with it: an image that has it is finished.
func (b *Baker) finish(ctx context.Context, image ami.Image, tags map[string]string, fingerprint string) (ami.Image, error) {
	tags = maps.Clone(tags)
	tags[tag.Fingerprint] = fingerprint
	if err := b.ec2.Tag(ctx, image, tags); err != nil {
		return ami.Image{}, err
	}
	image.Tags = tags
	return image, nil
}

// awaitImage waits until an image is pending no more, or has been for as long as Packer would have waited.
func (b *Baker) awaitImage(ctx context.Context, stage *progress.Stage, l ami.Leftover) (image ami.Image, err error) {
	for image = l.Image; image.State == "pending" && time.Since(image.Created) < pollingAttempts*pollingDelay; {
		stage.Update("waiting for %s, which run %s began", image.ID, l.Run)
		if err := wait.For(ctx, pollingDelay); err != nil {
			return ami.Image{}, fmt.Errorf("wait for image %s: %w", image.ID, err)
		}
		switch image, err = b.ec2.Get(ctx, image.ID); {
		case errors.Is(err, ami.ErrNotFound):
			return ami.Image{}, nil // somebody has removed it
		case err != nil:
			return ami.Image{}, err
		}
	}
	return image, nil
}

// awaitRun waits until another run is over: the process that began it, and its Packer, which may outlive that.
func awaitRun(ctx context.Context, stage *progress.Stage, other *run) (err error) {
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
		other.unlock()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case other.lock != nil:
			return nil
		}
		if err := wait.For(ctx, aliveDelay); err != nil {
			return fmt.Errorf("wait for run %s: %w", other.id, err)
		}
	}
}
