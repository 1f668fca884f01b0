// Package bake makes images: from everything that goes into one it works out a fingerprint, finds the AMI that was made
// from the same inputs before, and only where there is none has Packer build it, checks what came out, and tags it.
//
// A bake can be killed at any moment. Packer outlives the process that began it, and what it needs and makes says from
// the start whose it is: so the next bake waits for it, goes on from what is there, and clears away the rest.
package bake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/provision"
)

// cleanupLimit bounds the removal of what a failed build left; it runs even where the build was interrupted.
const cleanupLimit = 5 * time.Minute

// Packer looks at the state of an instance or image every two seconds, for half an hour: a bake waits four times, and
// Packer's own five seconds would cost more than they save.
const (
	pollingDelay    = 2 * time.Second
	pollingAttempts = 900
)

type catalogue interface {
	Find(ctx context.Context, app, kind, fingerprint string) (ami.Image, error)
	Get(ctx context.Context, id string) (ami.Image, error)
	Tag(ctx context.Context, image ami.Image, tags map[string]string) error
}

type workshop interface {
	Admit(ctx context.Context, name string, cidrs []string, tags map[string]string) (group string, err error)
	Leftovers(ctx context.Context, app string) ([]ami.Leftover, error)
	Remove(ctx context.Context, left []ami.Leftover) error
}

// Builder runs Packer; *packer.Packer is one.
type Builder interface {
	Build(ctx context.Context, b packer.Build) (packer.Artifact, error)
}

// Baker bakes the images of one application in one region.
type Baker struct {
	Catalogue catalogue
	Workshop  workshop
	// Packer is asked for when something is to be built, and not before.
	Packer func(ctx context.Context) (Builder, error)

	App       string
	Commit    string // of the repository; may be empty
	Templates string // folder with the Packer templates
	Folder    string // every run has a folder of its own below it, for logs, working files and the record that it is alive

	Region   string
	Endpoint string // URL of the EC2 API; empty for AWS
	// SourceCIDRs are the addresses that may reach SSH during a bake; asked for when something is to be built.
	SourceCIDRs func(ctx context.Context) ([]string, error)
}

// Image is what is to be baked.
type Image struct {
	Kind         string            // ami.Base or ami.App
	Parent       ami.Image         // the image to start from
	Bundle       *provision.Bundle // the provisioning tree of the stage, and the service's source
	Inputs       map[string]string // what provision.sh is told, apart from RELEASE and FINGERPRINT
	User         string            // whom SSH logs in as
	InstanceType string            // what to bake on
}

// Fingerprint is a digest over everything that decides what the image becomes: the files of its stage, what they are
// told, the parent and its architecture, and the templates. The instance type that it is baked on does not count.
func (b *Baker) Fingerprint(i Image) (string, error) {
	inputs := map[string]string{"parent": i.Parent.ID, "architecture": i.Parent.Architecture, "user": i.User}
	for name, value := range i.Inputs {
		inputs["input "+name] = value
	}
	templates, err := filepath.Glob(filepath.Join(b.Templates, "*.pkr.hcl"))
	if err != nil || len(templates) == 0 {
		return "", fmt.Errorf("find Packer templates: there is no *.pkr.hcl in %q", b.Templates)
	}
	for _, path := range templates {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("fingerprint Packer template: %w", err)
		}
		sum := sha256.Sum256(data)
		inputs["template "+filepath.Base(path)] = hex.EncodeToString(sum[:])
	}
	return i.Bundle.Fingerprint(inputs), nil
}

// Bake returns the image that was made from the same inputs, or makes it. Where a run that was killed had begun to make
// it, Bake goes on from there, and where another process makes it now, Bake waits for that one. When it fails or ctx
// ends, nothing of the build is left.
func (b *Baker) Bake(ctx context.Context, i Image) (ami.Image, error) {
	fingerprint, err := b.Fingerprint(i)
	if err != nil {
		return ami.Image{}, err
	}
	stage := progress.Start(ctx, "bake %s AMI", i.Kind)
	image, how, err := b.bake(ctx, stage, i, fingerprint)
	if err != nil {
		stage.Fail(err)
		return ami.Image{}, fmt.Errorf("bake %s AMI: %w", i.Kind, err)
	}
	stage.Done("%s%s", image.ID, how)
	return image, nil
}

// bake returns the image, and how it came by it where that was not by making it.
func (b *Baker) bake(ctx context.Context, stage *progress.Stage, i Image, fingerprint string) (image ami.Image, how string, err error) {
	own, dead, err := b.claim(ctx, stage, i.Kind, fingerprint)
	if err != nil {
		return ami.Image{}, "", err
	}
	defer releaseAll(dead)
	image, how, err = b.find(ctx, stage, i, fingerprint)
	if err != nil && !errors.Is(err, ami.ErrNotFound) {
		return ami.Image{}, "", errors.Join(err, own.discard())
	}
	dead = b.clear(ctx, stage, dead, image.ID)
	if err == nil {
		return image, how, errors.Join(own.discard(), endAll(dead))
	}
	image, err = b.make(ctx, stage, own, dead, i, fingerprint)
	return image, "", err
}

// make has Packer make the image.
func (b *Baker) make(ctx context.Context, stage *progress.Stage, own *run, dead []*run, i Image, fingerprint string) (image ami.Image, err error) {
	archive, err := archive(own.folder, i.Bundle)
	if err != nil {
		return ami.Image{}, errors.Join(err, own.discard())
	}
	defer os.Remove(archive)
	cidrs, err := b.SourceCIDRs(ctx)
	if err != nil {
		return ami.Image{}, errors.Join(err, own.discard())
	}
	builder, err := b.Packer(ctx)
	if err != nil {
		return ami.Image{}, errors.Join(err, own.discard())
	}
	defer func() {
		err = errors.Join(err, b.leave(ctx, own, dead, err == nil))
	}()
	name := ami.Name(b.App, i.Kind, own.id)
	runTags := map[string]string{
		ami.TagApp: b.App, ami.TagImage: i.Kind, ami.TagRun: own.id, ami.TagBaking: fingerprint, "Name": "bake " + name,
	}
	if b.Commit != "" {
		runTags[ami.TagCommit] = b.Commit
	}
	stage.Update("log: %s", filepath.Join(own.folder, "packer.log"))
	group, err := b.Workshop.Admit(ctx, name, cidrs, runTags)
	if err != nil {
		return ami.Image{}, err
	}
	tags := b.tags(i, own.id, fingerprint, b.Commit)
	building := progress.Start(stage.Inside(ctx), "build with Packer")
	artifact, err := builder.Build(ctx, packer.Build{
		Templates: b.Templates, Name: i.Kind, Folder: own.folder, Lock: own.lock,
		Progress: func(step string) { building.Update("%s", step) },
		Variables: packer.Variables{
			Region: b.Region, Endpoint: b.Endpoint,
			SourceAMI: i.Parent.ID, RootDevice: i.Parent.RootDevice, InstanceType: i.InstanceType,
			SSHUsername: i.User, SecurityGroup: group, Encrypted: true,
			PollingDelay: int(pollingDelay / time.Second), PollingAttempts: pollingAttempts,
			AMIName: name, AMIDescription: fmt.Sprintf("%s image of %s", i.Kind, b.App),
			Tags: tags, RunTags: runTags,
			Run: name, Archive: archive, Inputs: inputs(i, own.id, fingerprint),
		},
	})
	building.End(&err)
	if err != nil {
		return ami.Image{}, err
	}
	image, err = b.Catalogue.Get(ctx, artifact.AMIs[b.Region])
	if err != nil {
		return ami.Image{}, err
	}
	if image.State != "available" || image.Tags[ami.TagRun] != own.id {
		return ami.Image{}, fmt.Errorf("image %s is %s and of run %q, not available and of run %q", image.ID, image.State, image.Tags[ami.TagRun], own.id)
	}
	return b.finish(ctx, image, tags, fingerprint)
}

// tags are an image's before it is finished. The release is the run that made it.
func (b *Baker) tags(i Image, run, fingerprint, commit string) map[string]string {
	tags := map[string]string{
		ami.TagApp: b.App, ami.TagImage: i.Kind, ami.TagParent: i.Parent.ID, ami.TagRun: run, ami.TagBaking: fingerprint,
		"Name": ami.Name(b.App, i.Kind, run),
	}
	if commit != "" {
		tags[ami.TagCommit] = commit
	}
	if i.Kind == ami.App {
		tags[ami.TagRelease] = run
	}
	return tags
}

// inputs are what provision.sh is told.
func inputs(i Image, run, fingerprint string) map[string]string {
	inputs := map[string]string{"FINGERPRINT": fingerprint}
	if i.Kind == ami.App {
		inputs["RELEASE"] = run
	}
	maps.Copy(inputs, i.Inputs)
	return inputs
}

// finish tags an image that is complete. The fingerprint comes with it: an image that has it is finished.
func (b *Baker) finish(ctx context.Context, image ami.Image, tags map[string]string, fingerprint string) (ami.Image, error) {
	tags = maps.Clone(tags)
	tags[ami.TagFingerprint] = fingerprint
	if err := b.Catalogue.Tag(ctx, image, tags); err != nil {
		return ami.Image{}, err
	}
	image.Tags = tags
	return image, nil
}

// leave clears away what the run needed, and what Packer leaves where it fails: the image, when it ends while EC2 still
// makes it, and its instance, when it ends while that still starts. It looks a second time for what dead runs left: EC2
// may have been told to make it just before they died. What cannot be cleared away after a success is for the next run.
func (b *Baker) leave(ctx context.Context, own *run, dead []*run, done bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	all, err := b.Workshop.Leftovers(ctx, b.App)
	if err == nil {
		left := of(all, own.id)
		if done { // what was tagged a moment ago may look unfinished yet
			left = slices.DeleteFunc(left, func(l ami.Leftover) bool { return l.Kind == ami.UnfinishedImage || l.Kind == ami.Snapshot })
		}
		for _, d := range dead {
			left = append(left, of(all, d.id)...)
		}
		err = b.Workshop.Remove(ctx, left)
	}
	if err != nil {
		own.release()
		err = fmt.Errorf("remove what run %s left: %w", own.id, err)
	} else {
		err = errors.Join(own.end(), endAll(dead), b.runs().prune())
	}
	if err != nil && done {
		progress.Note(ctx, "%s; the next bake tries again", err)
		return nil
	}
	return err
}

func archive(folder string, bundle *provision.Bundle) (path string, err error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	f, err := os.Create(filepath.Join(folder, "archive.tar.gz"))
	if err != nil {
		return "", err
	}
	if err := errors.Join(bundle.Archive(f), f.Close()); err != nil {
		return "", fmt.Errorf("write provisioning archive: %w", err)
	}
	return f.Name(), nil
}
