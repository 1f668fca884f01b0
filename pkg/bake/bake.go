// Package bake makes images: from everything that goes into one it works out a fingerprint, finds the AMI that was made
// from the same inputs before, and only where there is none has Packer build it, checks what came out, and tags it.
//
// A bake can be killed at any moment. Packer outlives the process that began it, and what it needs and makes says from
// the start whose it is: so the next bake waits for it, goes on from what is there, and clears away the rest.
package bake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/provision"
)

// imageAPI is what is asked of the images on EC2, and leftoverAPI of what runs need there; *ami.Client does both.
type imageAPI interface {
	Find(ctx context.Context, app string, stage provision.Stage, fingerprint string) (ami.Image, error)
	Get(ctx context.Context, id string) (ami.Image, error)
	Tag(ctx context.Context, image ami.Image, tags map[string]string) error
}

type leftoverAPI interface {
	AllowSSH(ctx context.Context, name, vpc string, cidrs []string, tags map[string]string) (group string, err error)
	Leftovers(ctx context.Context, app string) ([]ami.Leftover, error)
	RemoveLeftovers(ctx context.Context, left []ami.Leftover) error
}

// launchAPI is what is asked about the machine that bakes.
type launchAPI interface {
	FindNetwork(ctx context.Context, o ami.NetworkOptions) (ami.Network, error)
	LaunchProblem(ctx context.Context, app, run string) error
}

type ec2 interface {
	imageAPI
	leftoverAPI
	launchAPI
}

// Builder runs Packer; *packer.Packer is one.
type Builder interface {
	Build(ctx context.Context, b packer.Build) (packer.Artifact, error)
}

// Options say what a Baker bakes, and where and how.
type Options struct {
	App       string // the application's name
	Commit    string // of the repository; may be empty
	Templates fs.FS  // the Packer templates; those of the folder "packer" when nil

	// Folder belongs to one account and region: every run has a folder of its own below it, for logs, working files and the
	// record that it is alive.
	Folder string

	// Packer is asked for when something is to be built, and not before. Nil finds the command on PATH.
	Packer func(ctx context.Context) (Builder, error)

	// SourceCIDRs are the addresses that may reach SSH during a bake; asked for when something is to be built. Nil finds out
	// which address this machine has.
	SourceCIDRs func(ctx context.Context) ([]string, error)

	// Environment are NAME=value pairs that provision.sh finds in its environment, and that do not make another image of it: proxies.
	Environment []string

	// Warn is told of what goes wrong and stops no bake: a *LeftoverError, for one. Nil makes it a note of the context's
	// progress.
	Warn func(ctx context.Context, err error)
}

// Baker bakes the images of one application in one account and region.
type Baker struct {
	options  Options
	cfg      aws.Config
	endpoint string // URL of the EC2 API; empty for AWS
	ec2      ec2
}

// NewFromConfig returns a Baker for the account, the region and the endpoint of an AWS configuration. Packer gets the same
// ones, and the credentials.
func NewFromConfig(cfg aws.Config, o Options) *Baker {
	client := ami.NewFromConfig(cfg)
	return newBaker(client, cfg, client.Endpoint(), o)
}

func newBaker(ec2 ec2, cfg aws.Config, endpoint string, o Options) *Baker {
	if o.Templates == nil {
		o.Templates = os.DirFS("packer")
	}
	if o.Packer == nil {
		o.Packer = func(ctx context.Context) (Builder, error) { return packer.Find(ctx, nil, "") }
	}
	if o.SourceCIDRs == nil {
		o.SourceCIDRs = func(ctx context.Context) ([]string, error) { return sourceCIDRs(ctx, endpoint) }
	}
	if o.Warn == nil {
		o.Warn = func(ctx context.Context, err error) { progress.Note(ctx, "%s", err) }
	}
	return &Baker{options: o, cfg: cfg, endpoint: endpoint, ec2: ec2}
}

// Image is what is to be baked. The stage of its bundle says which image it is.
type Image struct {
	Parent       ami.Image         // the image to start from
	Bundle       *provision.Bundle // the provisioning tree of the stage, and the service's source
	Inputs       map[string]string // what provision.sh is told, apart from RELEASE and FINGERPRINT
	User         string            // whom SSH logs in as
	InstanceType string            // what to bake on
	Tags         map[string]string // further tags of the image; they are not part of its fingerprint
	Subnet       string            // ID of the subnet to bake in; empty to find one, as ami.FindNetwork does
	KMSKey       string            // ID, alias or ARN of the KMS key that encrypts the image; empty for the account's default
}

func (i Image) stage() provision.Stage { return i.Bundle.Stage() }

// LeftoverError says that something that a dead run left could not be removed. The next bake tries again, and so does Sweep.
type LeftoverError struct {
	Run string // the run's ID
	Err error
}

// Error names the run and the cause.
func (e *LeftoverError) Error() string {
	return fmt.Sprintf("remove what run %s left: %s", e.Run, e.Err)
}

// Unwrap returns the cause.
func (e *LeftoverError) Unwrap() error { return e.Err }

// UnreachableError says that SSH on the machine that bakes was not reached.
type UnreachableError struct {
	CIDRs   []string    // the addresses that it let in
	Network ami.Network // where it ran
	Err     error
}

// Error names the addresses, which may not be the ones that this machine's connections come from.
func (e *UnreachableError) Error() string {
	where := ""
	if e.Network.SubnetID != "" {
		where = fmt.Sprintf(" in %s (%s)", e.Network.SubnetID, e.Network.Why)
	}
	return fmt.Sprintf("the machine that bakes%s lets in %s, and its port 22 was not reached from there: %s", where, strings.Join(e.CIDRs, ", "), e.Err)
}

// Unwrap returns Packer's error.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Bake returns the image that was made from the same inputs, or makes it. Where a run that was killed had begun to make
// it, Bake goes on from there, and where another process makes it now, Bake waits for that one. When it fails or ctx
// ends, nothing of the build is left, but for an image that Packer has finished: the next Bake takes it. Where there is
// nowhere to bake, nothing is made, and the error wraps ami.ErrNoNetwork; Packer's are a *packer.BuildError.
func (b *Baker) Bake(ctx context.Context, i Image) (ami.Image, error) {
	fingerprint, err := b.Fingerprint(i)
	if err != nil {
		return ami.Image{}, err
	}
	stage := progress.Start(ctx, "bake %s AMI", i.stage())
	image, how, err := b.findOrBuild(ctx, stage, i, fingerprint)
	if err != nil {
		stage.Fail(err)
		return ami.Image{}, fmt.Errorf("bake %s AMI: %w", i.stage(), err)
	}
	stage.Done("%s%s", image.ID, how)
	return image, nil
}

// findOrBuild returns the image, and how it came by it where that was not by building it.
func (b *Baker) findOrBuild(ctx context.Context, stage *progress.Stage, i Image, fingerprint string) (image ami.Image, how string, err error) {
	own, dead, err := b.beginRun(ctx, stage, i.stage(), fingerprint)
	if err != nil {
		return ami.Image{}, "", err
	}
	defer unlockAll(dead)
	image, how, err = b.find(ctx, stage, i, fingerprint)
	if err != nil && !errors.Is(err, ami.ErrNotFound) {
		return ami.Image{}, "", errors.Join(err, own.remove())
	}
	dead = b.removeLeftovers(ctx, stage, dead, image.ID)
	if err == nil {
		// A call of a dead run may still be on its way: those of the other stage are looked at again when that is baked.
		return image, how, errors.Join(own.remove(), endAll(ofStage(dead, i.stage())))
	}
	image, err = b.build(ctx, stage, own, dead, i, fingerprint)
	return image, "", err
}

// beginRun begins a run as soon as no living one makes the same image, and returns the dead ones with it.
func (b *Baker) beginRun(ctx context.Context, stage *progress.Stage, what provision.Stage, fingerprint string) (own *run, dead []*run, err error) {
	for {
		own, same, dead, err := b.runs().begin(ctx, what, fingerprint)
		if err != nil || same == nil {
			return own, dead, err
		}
		if err := awaitRun(ctx, stage, same); err != nil {
			return nil, nil, err
		}
	}
}

func (b *Baker) runs() runs { return runs{app: b.options.App, folder: b.options.Folder} }
