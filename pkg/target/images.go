package target

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/bake"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/provision"
)

// Base bakes the base AMI, or finds the one these inputs made.
//
// Prints its ID. Runs an instance for some minutes; needs permission to run instances and to create images. After a kill
// it goes on from what is there, and removes the rest.
func Base(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		a, err := p.account(ctx)
		if err != nil {
			return err
		}
		image, err := p.bakeBase(ctx, a)
		return p.printLine(image.ID, err)
	})
}

func (p *project) bakeBase(ctx context.Context, a account) (ami.Image, error) {
	catalogue := ami.New(ec2.NewFromConfig(a.Config))
	parent, err := p.debian(ctx, catalogue)
	if err != nil {
		return ami.Image{}, err
	}
	bundle, err := provision.Load(ctx, provision.Base, provision.Options{Dir: p.path("provision"), Runner: p.runner})
	if err != nil {
		return ami.Image{}, err
	}
	return p.baker(ctx, a, catalogue).Bake(ctx, bake.Image{
		Kind: ami.Base, Parent: parent, Bundle: bundle, User: p.Image.User, InstanceType: p.Fleet.InstanceType,
		Inputs: map[string]string{"CODEDEPLOY_AGENT": p.agentSource(a.Region, os.Getenv("AWS_ENDPOINT_URL"))},
	})
}

// bakeApp bakes the application AMI, and the base AMI where it is missing or out of date.
func (p *project) bakeApp(ctx context.Context, a account) (ami.Image, error) {
	parent, err := p.bakeBase(ctx, a)
	if err != nil {
		return ami.Image{}, err
	}
	bundle, err := provision.Load(ctx, provision.App, provision.Options{
		Dir: p.path("provision"), Source: p.path(p.Service.Source), Runner: p.runner,
	})
	if err != nil {
		return ami.Image{}, err
	}
	return p.baker(ctx, a, ami.New(ec2.NewFromConfig(a.Config))).Bake(ctx, bake.Image{
		Kind: ami.App, Parent: parent, Bundle: bundle, User: p.Image.User, InstanceType: p.Fleet.InstanceType,
		Inputs: map[string]string{"PORT": strconv.Itoa(p.Service.Port), "HEALTH": p.Service.Health},
	})
}

// debian is the public image that everything is made from.
func (p *project) debian(ctx context.Context, catalogue *ami.Catalogue) (ami.Image, error) {
	return catalogue.Newest(ctx, p.Image.Owner, p.Image.Name, p.Image.Architecture)
}

func (p *project) baker(ctx context.Context, a account, catalogue *ami.Catalogue) *bake.Baker {
	endpoint := os.Getenv("AWS_ENDPOINT_URL")
	return &bake.Baker{
		Catalogue: catalogue,
		Workshop:  ami.NewWorkshop(ec2.NewFromConfig(a.Config)),
		Packer:    func(ctx context.Context) (bake.Builder, error) { return p.packer(ctx) },
		App:       p.App,
		Commit:    p.commit(ctx),
		Templates: p.path("packer"),
		Folder:    filepath.Join(a.dir, "bakes"),
		Region:    a.Region,
		Endpoint:  endpoint,
		SourceCIDRs: func(ctx context.Context) ([]string, error) {
			cidr, err := egress(ctx, endpoint)
			return []string{cidr}, err
		},
	}
}

func (p *project) packer(ctx context.Context) (*packer.Packer, error) {
	cache, err := toolCache()
	if err != nil {
		return nil, err
	}
	found, err := packer.Find(ctx, p.runner, cache)
	if err != nil {
		return nil, fmt.Errorf("%w; install it with: mage setup", err)
	}
	return found, nil
}

// commit names the commit that the work tree is at, with -dirty where it differs; empty outside of git.
func (p *project) commit(ctx context.Context) string {
	out, err := command.Output(ctx, p.runner, command.Cmd{Path: "git", Args: []string{"describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"}, Dir: p.Root})
	if err != nil {
		return ""
	}
	return out
}

// toolCache is where downloaded commands and providers are kept, for all of a person's repositories.
func toolCache() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}
	return filepath.Join(cache, "ingot"), nil
}

func loopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// printLine prints a result on a line of its own, unless there was an error.
func (p *project) printLine(line string, err error) error {
	if err == nil {
		_, err = fmt.Fprintln(p.out, line)
	}
	return err
}
