// Package bake makes images: from everything that goes into one it works out a fingerprint, finds the AMI that was made
// from the same inputs before, and only where there is none has Packer build it, checks what came out, and tags it.
package bake

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/provision"
)

// cleanupLimit bounds the removal of what a failed build left; it runs even where the build was interrupted.
const cleanupLimit = 5 * time.Minute

type catalogue interface {
	Find(ctx context.Context, app, kind, fingerprint string) (ami.Image, error)
	Get(ctx context.Context, id string) (ami.Image, error)
	Named(ctx context.Context, name string) (ami.Image, error)
	Tag(ctx context.Context, image ami.Image, tags map[string]string) error
	Remove(ctx context.Context, image ami.Image) error
}

// Packer looks at the state of an instance or image every two seconds, for half an hour: a bake waits four times, and
// Packer's own five seconds would cost more than they save.
const (
	pollingDelay    = 2
	pollingAttempts = 900
)

// Builder runs Packer; *packer.Packer is one.
type Builder interface {
	Build(ctx context.Context, b packer.Build) (packer.Artifact, error)
}

type sweeper interface {
	Sweep(ctx context.Context, run string) error
}

// Baker bakes the images of one application in one region.
type Baker struct {
	Catalogue catalogue
	Sweeper   sweeper
	// Packer is asked for when something is to be built, and not before.
	Packer func(ctx context.Context) (Builder, error)

	App       string
	Commit    string // of the repository; may be empty
	Templates string // folder with the Packer templates
	Folder    string // logs and working files go to a folder of their own below it

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

// Bake returns the image that was made from the same inputs, or makes it. When it fails or ctx ends, nothing of the
// build is left.
func (b *Baker) Bake(ctx context.Context, i Image) (image ami.Image, err error) {
	fingerprint, err := b.Fingerprint(i)
	if err != nil {
		return ami.Image{}, err
	}
	stage := progress.Start(ctx, "bake %s AMI", i.Kind)
	image, err = b.Catalogue.Find(ctx, b.App, i.Kind, fingerprint)
	switch {
	case err == nil:
		stage.Done("%s was made from the same inputs", image.ID)
		return image, nil
	case !errors.Is(err, ami.ErrNotFound):
		stage.Fail(err)
		return ami.Image{}, err
	}
	if image, err = b.build(ctx, stage, i, fingerprint); err != nil {
		stage.Fail(err)
		return ami.Image{}, fmt.Errorf("bake %s AMI: %w", i.Kind, err)
	}
	stage.Done("%s", image.ID)
	return image, nil
}

func (b *Baker) build(ctx context.Context, stage *progress.Stage, i Image, fingerprint string) (image ami.Image, err error) {
	run := newRun(time.Now())
	name := strings.Join([]string{b.App, i.Kind, run}, "-")
	folder := filepath.Join(b.Folder, name)
	tags := map[string]string{
		ami.TagApp: b.App, ami.TagImage: i.Kind, ami.TagParent: i.Parent.ID, ami.TagRun: run, "Name": name,
	}
	inputs := maps.Clone(i.Inputs)
	if inputs == nil {
		inputs = map[string]string{}
	}
	inputs["FINGERPRINT"] = fingerprint
	if b.Commit != "" {
		tags[ami.TagCommit] = b.Commit
	}
	if i.Kind == ami.App {
		tags[ami.TagRelease] = run
		inputs["RELEASE"] = run
	}
	archive, err := archive(folder, i.Bundle)
	if err != nil {
		return ami.Image{}, err
	}
	defer os.Remove(archive)
	cidrs, err := b.SourceCIDRs(ctx)
	if err != nil {
		return ami.Image{}, err
	}
	builder, err := b.Packer(ctx)
	if err != nil {
		return ami.Image{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.clean(ctx, name, run))
		}
	}()
	stage.Update("log: %s", filepath.Join(folder, "packer.log"))
	artifact, err := builder.Build(ctx, packer.Build{
		Templates: b.Templates, Name: i.Kind, Folder: folder,
		Progress: func(step string) { stage.Update("%s", step) },
		Variables: packer.Variables{
			Region: b.Region, Endpoint: b.Endpoint,
			SourceAMI: i.Parent.ID, RootDevice: i.Parent.RootDevice, InstanceType: i.InstanceType,
			SSHUsername: i.User, SSHSourceCIDRs: cidrs, Encrypted: true,
			PollingDelay: pollingDelay, PollingAttempts: pollingAttempts,
			AMIName: name, AMIDescription: fmt.Sprintf("%s image of %s", i.Kind, b.App),
			Tags: tags, RunTags: map[string]string{ami.TagApp: b.App, ami.TagRun: run, "Name": "bake " + name},
			Run: run, Archive: archive, Inputs: inputs,
		},
	})
	if err != nil {
		return ami.Image{}, err
	}
	image, err = b.Catalogue.Get(ctx, artifact.AMIs[b.Region])
	if err != nil {
		return ami.Image{}, err
	}
	if image.State != "available" || image.Tags[ami.TagRun] != run {
		return ami.Image{}, fmt.Errorf("image %s is %s and of run %q, not available and of run %q", image.ID, image.State, image.Tags[ami.TagRun], run)
	}
	// The fingerprint comes last: an image that has it is finished.
	tags = maps.Clone(tags)
	tags[ami.TagFingerprint] = fingerprint
	if err := b.Catalogue.Tag(ctx, image, tags); err != nil {
		return ami.Image{}, err
	}
	image.Tags = tags
	return image, nil
}

// clean removes what Packer leaves: the image, when it ends while EC2 still makes it, and its instance, when it ends while
// that still starts.
func (b *Baker) clean(ctx context.Context, name, run string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupLimit)
	defer cancel()
	swept := b.Sweeper.Sweep(ctx, run)
	image, err := b.Catalogue.Named(ctx, name)
	if err == nil {
		err = b.Catalogue.Remove(ctx, image)
	} else if errors.Is(err, ami.ErrNotFound) {
		err = nil
	}
	if err := errors.Join(swept, err); err != nil {
		return fmt.Errorf("remove what run %q left: %w", run, err)
	}
	return nil
}

// newRun names a run so that names sort by time and no two are alike; an application image's run is its release.
func newRun(now time.Time) string {
	unique := make([]byte, 3)
	_, _ = rand.Read(unique) // never fails
	return now.UTC().Format("20060102-150405") + "-" + hex.EncodeToString(unique)
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
