package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot"
	"github.com/ingot-build/ingot/internal/overlay"
	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/bake"
	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/tag"
)

// BakeBase returns the base AMI that the present inputs made, or bakes it. Errors are those of bake.Baker.Bake; where
// there is no Packer they wrap packer.ErrNotFound, and where the CodeDeploy agent is to be installed and nobody has looked at
// its package they are a *provision.AgentDigestError.
func (p *Pipeline) BakeBase(ctx context.Context) (ami.Image, error) {
	parent, err := p.publicImage(ctx)
	if err != nil {
		return ami.Image{}, err
	}
	source := p.agentSource()
	if source != "" {
		if err := p.checkAgentDigest(source); err != nil {
			return ami.Image{}, err
		}
	}
	bundle, err := p.load(ctx, provision.Base)
	if err != nil {
		return ami.Image{}, err
	}
	return p.bake(ctx, bundle, parent, map[string]string{"CODEDEPLOY_AGENT": source})
}

// Network returns where images are baked. The error wraps ami.ErrNoNetwork where there is no subnet for it.
func (p *Pipeline) Network(ctx context.Context) (ami.Network, error) {
	return p.images.FindNetwork(ctx, ami.NetworkOptions{App: p.settings.App, Subnet: p.settings.Bake.Subnet, InstanceType: p.settings.Bake.InstanceType})
}

// BakeApp returns the application AMI that the present inputs made, or bakes it; the base AMI before, where it is missing
// or out of date. Errors are those of BakeBase, and a *provision.BuildError before anything is made.
func (p *Pipeline) BakeApp(ctx context.Context) (ami.Image, error) {
	bundle, err := p.load(ctx, provision.App)
	if err != nil {
		return ami.Image{}, err
	}
	parent, err := p.BakeBase(ctx)
	if err != nil {
		return ami.Image{}, err
	}
	service := p.settings.Service
	inputs := map[string]string{"PORT": strconv.Itoa(service.Port), "HEALTH": service.Health}
	if service.Package != "" {
		inputs["PACKAGE"] = service.Package
	}
	if service.StartWithin != DefaultStartWithin {
		inputs["START_WITHIN"] = strconv.Itoa(int(service.StartWithin / time.Second))
	}
	return p.bake(ctx, bundle, parent, inputs)
}

// publicImage is the one that everything is made from.
func (p *Pipeline) publicImage(ctx context.Context) (ami.Image, error) {
	from := p.settings.Image
	return p.images.Newest(ctx, from.Owner, from.Name, from.Architecture)
}

// load reads the files of a stage.
func (p *Pipeline) load(ctx context.Context, stage provision.Stage) (*provision.Bundle, error) {
	o := provision.Options{
		Dir: p.path("provision"), Core: ingot.Provision(), Source: p.path(p.settings.Service.Source), Package: p.settings.Service.Package,
		GOARCH: map[string]string{"x86_64": "amd64", "arm64": "arm64"}[p.settings.Image.Architecture], Runner: p.settings.Runner,
	}
	bundle, err := provision.Load(ctx, stage, o)
	if err != nil || stage != provision.App {
		return bundle, err
	}
	return bundle, bundle.CheckBuild(o)
}

func (p *Pipeline) bake(ctx context.Context, bundle *provision.Bundle, parent ami.Image, inputs map[string]string) (ami.Image, error) {
	return p.baker(ctx).Bake(ctx, bake.Image{
		Parent: parent, Bundle: bundle, Inputs: inputs, User: p.settings.Image.User,
		InstanceType: p.settings.Bake.InstanceType, Subnet: p.settings.Bake.Subnet, KMSKey: p.settings.Bake.KMSKey,
		Tags: map[string]string{tag.Agent: p.agent()},
	})
}

func (p *Pipeline) baker(ctx context.Context) *bake.Baker {
	o := bake.Options{
		App: p.settings.App, Commit: p.commit(ctx), Templates: overlay.FS(ingot.Packer(), p.path("packer")), Folder: filepath.Join(p.settings.Folder, "bakes"),
		Warn: p.settings.Warn, Environment: p.settings.Bake.Environment,
	}
	if cidrs := p.settings.Bake.SSHCIDRs; len(cidrs) > 0 {
		o.SourceCIDRs = func(context.Context) ([]string, error) { return cidrs, nil }
	}
	return bake.NewFromConfig(p.cfg, o)
}

// agentSource is the URL of the bucket that AWS serves the CodeDeploy agent of a region from. It is empty where no agent
// belongs into an image.
func (p *Pipeline) agentSource() string {
	if p.agent() == tag.NoAgent {
		return ""
	}
	domain := "amazonaws.com"
	if strings.HasPrefix(p.cfg.Region, "cn-") {
		domain += ".cn"
	}
	return fmt.Sprintf("https://aws-codedeploy-%s.s3.%s.%s", p.cfg.Region, p.cfg.Region, domain)
}

// checkAgentDigest says what the base stage would say of the CodeDeploy agent from a source; see provision.CheckAgent.
func (p *Pipeline) checkAgentDigest(source string) error {
	return provision.CheckAgent(overlay.FS(ingot.Provision(), p.path("provision")), source, p.settings.Image.Architecture)
}

// agent tells which images are baked: none has an agent without CodeDeploy, nor where another API than AWS's is spoken to,
// as the agent obeys AWS alone.
func (p *Pipeline) agent() string {
	if p.gate == nil || p.cfg.BaseEndpoint != nil {
		return tag.NoAgent
	}
	return tag.CodeDeployAgent
}
