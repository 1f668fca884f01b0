package bake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/ingot-build/ingot/internal/awsenv"
	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/tag"
)

// Packer looks at the state of an instance or image every two seconds, for half an hour: a bake waits four times, and
// Packer's own five seconds would cost more than they save.
const (
	pollingDelay    = 2 * time.Second
	pollingAttempts = 900
)

// sizeLine is what the seal stage says of the image's size.
var sizeLine = regexp.MustCompile(`^provision: the image holds (.+)$`)

// build has Packer make the image.
func (b *Baker) build(ctx context.Context, stage *progress.Stage, own *run, dead []*run, i Image, fingerprint string) (image ami.Image, err error) {
	archive, err := writeArchive(own.folder, i.Bundle)
	if err != nil {
		return ami.Image{}, errors.Join(err, own.remove())
	}
	defer os.Remove(archive)
	m, err := b.prepareMachine(ctx, i)
	if err != nil {
		return ami.Image{}, errors.Join(err, own.remove())
	}
	defer m.stop()
	var group string
	made := false // from then on the image stays, whatever EC2 says of it now
	defer func() {
		err = errors.Join(err, b.cleanUp(ctx, own, dead, group, made))
	}()
	name := ami.Name(b.options.App, i.stage(), own.id)
	runTags := b.runTags(i, own.id, fingerprint)
	stage.Update("log: %s", filepath.Join(own.folder, "packer.log"))
	if group, err = b.ec2.AllowSSH(ctx, name, m.network.VPCID, m.cidrs, runTags); err != nil {
		return ami.Image{}, err
	}
	tags := b.tags(i, own.id, fingerprint, b.options.Commit)
	variables := packer.Variables{
		Region: b.cfg.Region, Endpoint: b.endpoint,
		SourceAMI: i.Parent.ID, RootDevice: i.Parent.RootDevice, InstanceType: i.InstanceType,
		SSHUsername: i.User, SecurityGroup: group, Encrypted: true,
		PollingDelay: int(pollingDelay / time.Second), PollingAttempts: pollingAttempts,
		AMIName: name, AMIDescription: fmt.Sprintf("%s image of %s", i.stage(), b.options.App),
		Tags: tags, RunTags: runTags,
		Run: name, Archive: archive, Inputs: inputs(i, own.id, fingerprint, b.options.Environment),
	}
	if m.network.SubnetID != "" {
		variables.SubnetID, variables.VPCID, variables.AssociatePublicIP = m.network.SubnetID, m.network.VPCID, &m.network.Public
	}
	building := progress.Start(stage.Inside(ctx), "build with Packer")
	size := ""
	artifact, err := m.builder.Build(ctx, packer.Build{
		Templates: b.options.Templates, Name: string(i.stage()), Folder: own.folder, Lock: own.lock, Env: m.env, KMSKey: i.KMSKey,
		Progress: func(step string) { building.Update("%s", step) },
		Said: func(line string) {
			if found := sizeLine.FindStringSubmatch(line); found != nil {
				size = found[1]
			}
		},
		Variables: variables,
	})
	if err != nil {
		building.Fail(err)
		return ami.Image{}, b.explain(ctx, err, own, m)
	}
	building.Done("%s", size)
	image, err = b.awaitFinished(ctx, artifact.AMIs[b.cfg.Region], own.id)
	made = image.State != "failed"
	if err != nil {
		return ami.Image{}, err
	}
	return b.finish(ctx, image, tags, fingerprint)
}

// machine is what has to be known about the machine that bakes before anything is made.
type machine struct {
	network ami.Network
	cidrs   []string // who may reach its SSH
	builder Builder
	env     []string // Packer's
	stop    func()   // once Packer has ended
}

func (b *Baker) prepareMachine(ctx context.Context, i Image) (m machine, err error) {
	if m.network, err = b.network(ctx, i); err != nil {
		return machine{}, err
	}
	if m.cidrs, err = b.options.SourceCIDRs(ctx); err != nil {
		return machine{}, err
	}
	if m.builder, err = b.options.Packer(ctx); err != nil {
		return machine{}, err
	}
	m.env, m.stop, err = awsenv.Share(ctx, b.cfg)
	return m, err
}

// network finds where to bake. Who may not look, as roles that were made before there was something to look for, bakes where
// EC2 itself would: in the default VPC.
func (b *Baker) network(ctx context.Context, i Image) (ami.Network, error) {
	network, err := b.ec2.FindNetwork(ctx, ami.NetworkOptions{App: b.options.App, Subnet: i.Subnet, InstanceType: i.InstanceType})
	if i.Subnet == "" && ami.IsDenied(err) {
		b.options.Warn(ctx, fmt.Errorf("bake in the default VPC, as networks may not be looked at: %w", err))
		return ami.Network{}, nil
	}
	return network, err
}

// explain says more about a failure of Packer's, where more can be known.
func (b *Baker) explain(ctx context.Context, err error, own *run, m machine) error {
	if ctx.Err() != nil {
		return err
	}
	if errors.Is(err, packer.ErrUnreachable) {
		return &UnreachableError{CIDRs: m.cidrs, Network: m.network, Err: err}
	}
	if problem := b.ec2.LaunchProblem(ctx, b.options.App, own.id); problem != nil {
		return fmt.Errorf("%w\n%w", problem, err)
	}
	return err
}

// tags are an image's before it is finished. The release is the run that made it.
func (b *Baker) tags(i Image, run, fingerprint, commit string) map[string]string {
	tags := map[string]string{
		tag.App: b.options.App, tag.Image: string(i.stage()), tag.Parent: i.Parent.ID, tag.Run: run, tag.Baking: fingerprint,
		"Name": ami.Name(b.options.App, i.stage(), run),
	}
	if commit != "" {
		tags[tag.Commit] = commit
	}
	if i.stage() == provision.App {
		tags[tag.Release] = run
	}
	maps.Copy(tags, i.Tags)
	return tags
}

// runTags are those of everything that a run needs while it makes the image.
func (b *Baker) runTags(i Image, run, fingerprint string) map[string]string {
	tags := map[string]string{
		tag.App: b.options.App, tag.Image: string(i.stage()), tag.Run: run, tag.Baking: fingerprint,
		"Name": "bake " + ami.Name(b.options.App, i.stage(), run),
	}
	if b.options.Commit != "" {
		tags[tag.Commit] = b.options.Commit
	}
	return tags
}

// inputs are what provision.sh is told.
func inputs(i Image, run, fingerprint string, environment []string) map[string]string {
	inputs := map[string]string{}
	for _, variable := range environment {
		name, value, _ := strings.Cut(variable, "=")
		inputs[name] = value
	}
	inputs["FINGERPRINT"] = fingerprint
	if i.stage() == provision.App {
		inputs["RELEASE"] = run
	}
	maps.Copy(inputs, i.Inputs)
	return inputs
}

func writeArchive(folder string, bundle *provision.Bundle) (path string, err error) {
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
