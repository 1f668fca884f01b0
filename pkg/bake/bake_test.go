package bake

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/internal/overlay"
	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/tag"
)

// cloud keeps images and leftovers as EC2 would.
type cloud struct {
	mu     sync.Mutex
	images []ami.Image
	left   []ami.Leftover
	refuse error // of RemoveLeftovers
	did    []string
	lag    int // looks at an image before it is known, and as many before its tags are

	network ami.Network
	nowhere error // of FindNetwork
	problem error // of a launch
	wanted  []ami.NetworkOptions

	comes string    // what pending images become …
	at    time.Time // … at this time
}

func (c *cloud) first(fits func(ami.Image) bool) (ami.Image, error) {
	if i := slices.IndexFunc(c.images, fits); i >= 0 {
		return c.images[i], nil
	}
	return ami.Image{}, ami.ErrNotFound
}

func (c *cloud) Find(_ context.Context, app string, stage provision.Stage, fingerprint string) (ami.Image, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first(func(i ami.Image) bool {
		return i.Tags[tag.App] == app && i.Stage() == stage && i.Tags[tag.Fingerprint] == fingerprint
	})
}

func (c *cloud) Get(_ context.Context, id string) (ami.Image, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lag--; c.lag >= 2 {
		return ami.Image{}, ami.ErrNotFound
	}
	if c.lag >= 0 {
		image, err := c.first(func(i ami.Image) bool { return i.ID == id })
		image.Tags = nil
		return image, err
	}
	for i := range c.images {
		if c.images[i].State == "pending" && c.comes != "" && time.Now().After(c.at) {
			c.images[i].State = c.comes
		}
	}
	return c.first(func(i ami.Image) bool { return i.ID == id })
}

func (c *cloud) Tag(_ context.Context, image ami.Image, tags map[string]string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.did = append(c.did, "tag "+image.ID)
	for i := range c.images {
		if c.images[i].ID == image.ID {
			c.images[i].Tags = tags
		}
	}
	return nil
}

func (c *cloud) FindNetwork(_ context.Context, o ami.NetworkOptions) (ami.Network, error) {
	c.wanted = append(c.wanted, o)
	return c.network, c.nowhere
}

func (c *cloud) LaunchProblem(context.Context, string, string) error { return c.problem }

func (c *cloud) AllowSSH(_ context.Context, name, vpc string, cidrs []string, tags map[string]string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if vpc != c.network.VPCID {
		return "", errors.New("the group is in another VPC")
	}
	c.left = append(c.left, ami.Leftover{Kind: ami.SecurityGroup, ID: "sg-" + strings.Join(cidrs, "-"), Run: tags[tag.Run]})
	return c.left[len(c.left)-1].ID, nil
}

// Leftovers adds the images that are not finished to what is left.
func (c *cloud) Leftovers(_ context.Context, app string) ([]ami.Leftover, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := slices.Clone(c.left)
	for _, i := range c.images {
		if _, run, ok := ami.ParseName(app, i.Name); ok && !i.Finished() {
			left = append(left, ami.Leftover{Kind: ami.UnfinishedImage, ID: i.ID, Run: run, State: i.State, Tags: i.Tags, Image: i})
		}
	}
	return left, nil
}

func (c *cloud) RemoveLeftovers(ctx context.Context, left []ami.Leftover) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, l := range left {
		did := "remove " + l.ID
		if l.Unlisted {
			did += ", which is not listed"
		}
		c.did = append(c.did, did)
		if c.refuse == nil {
			c.left = slices.DeleteFunc(c.left, func(o ami.Leftover) bool { return o.ID == l.ID })
			c.images = slices.DeleteFunc(c.images, func(i ami.Image) bool { return i.ID == l.ID })
		}
	}
	if len(left) == 0 {
		return nil
	}
	return c.refuse
}

type buildFunc func(ctx context.Context, b packer.Build) (packer.Artifact, error)

func (f buildFunc) Build(ctx context.Context, b packer.Build) (packer.Artifact, error) {
	return f(ctx, b)
}

// testBaker is a baker, with a Packer that makes the image "ami-new", and what it is asked to build.
func testBaker(t *testing.T) (*Baker, *cloud, *[]packer.Build) {
	t.Helper()
	ec2 := &cloud{}
	var builds []packer.Build
	root := t.TempDir()
	write(t, filepath.Join(root, "packer", "base.pkr.hcl"), "build {}")
	return newBaker(ec2, aws.Config{Region: "us-west-1"}, "", Options{
		App: "hello", Commit: "c0ffee",
		Templates: os.DirFS(filepath.Join(root, "packer")), Folder: filepath.Join(root, "bakes"),
		SourceCIDRs: func(context.Context) ([]string, error) { return []string{"192.0.2.1/32"}, nil },
		Packer: func(context.Context) (Builder, error) {
			return buildFunc(func(_ context.Context, b packer.Build) (packer.Artifact, error) {
				if _, err := os.Stat(b.Variables.Archive); err != nil {
					t.Error(err)
				}
				builds = append(builds, b)
				ec2.images = append(ec2.images, ami.Image{ID: "ami-new", Name: b.Variables.AMIName, State: "available", Tags: b.Variables.Tags})
				return packer.Artifact{AMIs: map[string]string{"us-west-1": "ami-new"}}, nil
			}), nil
		},
	}), ec2, &builds
}

func appImage(t *testing.T, greeting string) Image {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"provision/provision.sh", "provision/app/app.sh", "provision/seal/seal.sh"} {
		write(t, filepath.Join(dir, name), "true")
	}
	write(t, filepath.Join(dir, "service/main.go"), greeting)
	bundle, err := provision.Load(t.Context(), provision.App, provision.Options{Dir: filepath.Join(dir, "provision"), Source: filepath.Join(dir, "service")})
	if err != nil {
		t.Fatal(err)
	}
	return Image{Parent: ami.Image{ID: "ami-base", Architecture: "x86_64", RootDevice: "/dev/xvda"}, Bundle: bundle,
		Inputs: map[string]string{"PORT": "8080"}, User: "admin", InstanceType: "t3.micro"}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestBakeOnce(t *testing.T) {
	b, ec2, builds := testBaker(t)
	first, err := b.Bake(t.Context(), appImage(t, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Bake(t.Context(), appImage(t, "hello")) // the same files in another folder
	if err != nil || again.ID != first.ID || len(*builds) != 1 {
		t.Fatalf("second bake: %v, %v after %d builds", again, err, len(*builds))
	}
	v := (*builds)[0].Variables
	release := first.Tags[tag.Release]
	if v.Inputs["RELEASE"] != release || v.Inputs["PORT"] != "8080" || v.Inputs["FINGERPRINT"] != first.Tags[tag.Fingerprint] || v.Run != ami.Name("hello", provision.App, release) {
		t.Errorf("inputs %v, tags %v", v.Inputs, first.Tags)
	}
	if v.SecurityGroup != "sg-192.0.2.1/32" || v.SourceAMI != "ami-base" || !v.Encrypted || v.RunTags[tag.Run] != release || (*builds)[0].Lock == nil {
		t.Errorf("variables %+v", v)
	}
	if _, early := v.Tags[tag.Fingerprint]; early {
		t.Error("Packer sets the fingerprint, which says that an image is finished")
	}
	if v.Tags[tag.Baking] != first.Tags[tag.Fingerprint] || v.RunTags[tag.Baking] != v.Tags[tag.Baking] {
		t.Errorf("tags %v, run tags %v: nothing says what is baked", v.Tags, v.RunTags)
	}
	if first.Tags[tag.Commit] != "c0ffee" || first.Tags[tag.Parent] != "ami-base" || !slices.Equal(ec2.did, []string{"tag ami-new", "remove sg-192.0.2.1/32"}) {
		t.Errorf("tags %v, did %v", first.Tags, ec2.did)
	}
	if _, err := os.Stat(v.Archive); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the archive is left: %v", err)
	}
	if folders, err := b.runs().folders(); err != nil || len(folders) != 1 {
		t.Errorf("%d runs have a folder (%v)", len(folders), err)
	}
}

// Further tags are the image's from its first moment, and do not make another image of it.
func TestTags(t *testing.T) {
	b, _, builds := testBaker(t)
	i := appImage(t, "hello")
	plain, err := b.Fingerprint(i)
	if err != nil {
		t.Fatal(err)
	}
	i.Tags = map[string]string{tag.Agent: tag.NoAgent}
	image, err := b.Bake(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	if image.Tags[tag.Agent] != tag.NoAgent || (*builds)[0].Variables.Tags[tag.Agent] != tag.NoAgent || image.Tags[tag.Fingerprint] != plain {
		t.Errorf("the image has the tags %v, and was made with %v", image.Tags, (*builds)[0].Variables.Tags)
	}
}

func TestFingerprint(t *testing.T) {
	b, _, _ := testBaker(t)
	base := appImage(t, "hello")
	want, err := b.Fingerprint(base)
	if err != nil {
		t.Fatal(err)
	}
	over := func(name, text string) func(*Baker, *Image) {
		return func(b *Baker, _ *Image) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, name), text)
			b.options.Templates = overlay.FS(b.options.Templates, dir)
		}
	}
	tests := map[string]struct {
		change func(*Baker, *Image)
		same   bool
	}{
		"another service": {change: func(_ *Baker, i *Image) { i.Bundle = appImage(t, "hi").Bundle }},
		"another parent":  {change: func(_ *Baker, i *Image) { i.Parent.ID = "ami-other" }},
		"architecture":    {change: func(_ *Baker, i *Image) { i.Parent.Architecture = "arm64" }},
		"another input":   {change: func(_ *Baker, i *Image) { i.Inputs = map[string]string{"PORT": "9090"} }},
		"the template":    {change: over("base.pkr.hcl", "build { }")},
		"the key":         {change: func(_ *Baker, i *Image) { i.KMSKey = "alias/mine" }},
		"instance type":   {change: func(_ *Baker, i *Image) { i.InstanceType = "c7i.large" }, same: true},
		"the subnet":      {change: func(_ *Baker, i *Image) { i.Subnet = "subnet-1" }, same: true},
		"the commit":      {change: func(b *Baker, _ *Image) { b.options.Commit = "other" }, same: true},
		"a plugin":        {change: over("plugins/p.pkr.hcl", "x"), same: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b, _, _ := testBaker(t)
			i := base
			tc.change(b, &i)
			got, err := b.Fingerprint(i)
			if err != nil || (got == want) != tc.same {
				t.Errorf("same = %t, want %t (%v)", got == want, tc.same, err)
			}
		})
	}
	b.options.Templates = fstest.MapFS{}
	if _, err := b.Fingerprint(base); err == nil {
		t.Error("no error without templates")
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	b, ec2, _ := testBaker(t)
	broken := errors.New("does not compile")
	ctx, cancel := context.WithCancel(t.Context())
	b.options.Packer = func(context.Context) (Builder, error) {
		return buildFunc(func(_ context.Context, build packer.Build) (packer.Artifact, error) {
			cancel() // as Ctrl-C would, while EC2 makes the image
			ec2.images = append(ec2.images, ami.Image{ID: "ami-half", Name: build.Variables.AMIName, State: "pending"})
			return packer.Artifact{}, broken
		}), nil
	}
	_, err := b.Bake(ctx, appImage(t, "hello"))
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "bake app AMI: ") {
		t.Errorf("error = %v", err)
	}
	if diff := cmp.Diff([]string{"remove sg-192.0.2.1/32", "remove ami-half"}, ec2.did); diff != "" {
		t.Error(diff)
	}
	if alive, dead, err := b.runs().list(t.Context()); len(alive)+len(dead) > 0 || err != nil {
		t.Errorf("runs %v, %v, %v", alive, dead, err)
	}
}

// What cannot be cleared away is an error after a failure, and left to the next run after a success.
func TestCleanUpRefused(t *testing.T) {
	denied := errors.New("denied")
	for name, broken := range map[string]error{"success": nil, "failure": errors.New("broken")} {
		t.Run(name, func(t *testing.T) {
			b, ec2, _ := testBaker(t)
			ec2.refuse = denied
			if broken != nil {
				b.options.Packer = func(context.Context) (Builder, error) {
					return buildFunc(func(context.Context, packer.Build) (packer.Artifact, error) { return packer.Artifact{}, broken }), nil
				}
			}
			_, err := b.Bake(t.Context(), appImage(t, "hello"))
			if !errors.Is(err, broken) || errors.Is(err, denied) != (broken != nil) {
				t.Errorf("error = %v", err)
			}
			_, dead, err := b.runs().list(t.Context())
			if len(dead) != 1 || err != nil {
				t.Fatalf("dead runs %v, %v", dead, err)
			}
			unlockAll(dead)
		})
	}
}

func TestImageOfAnotherRunIsRefused(t *testing.T) {
	b, ec2, _ := testBaker(t)
	b.options.Packer = func(context.Context) (Builder, error) {
		return buildFunc(func(context.Context, packer.Build) (packer.Artifact, error) {
			ec2.images = append(ec2.images, ami.Image{ID: "ami-other", State: "available", Tags: map[string]string{tag.Run: "other"}})
			return packer.Artifact{AMIs: map[string]string{"us-west-1": "ami-other"}}, nil
		}), nil
	}
	if _, err := b.Bake(t.Context(), appImage(t, "hello")); err == nil || !slices.Equal(ec2.did, []string{"remove sg-192.0.2.1/32"}) {
		t.Errorf("error = %v, did %v", err, ec2.did)
	}
}

// The fingerprint of given inputs never changes: images are found again by it.
func TestFingerprintIsStable(t *testing.T) {
	b, _, _ := testBaker(t)
	dir := t.TempDir()
	for _, name := range []string{"provision.sh", "base/base.sh", "app/app.sh", "seal/seal.sh"} {
		write(t, filepath.Join(dir, "provision", name), name)
	}
	write(t, filepath.Join(dir, "service/main.go"), "package main")
	for stage, want := range map[provision.Stage]string{
		provision.Base: "8c5b95c0cfe62829f9f272c1d296adf52226de2e2bbdeaf49c3e89e29061ea84",
		provision.App:  "fc6b80279336baad546453642d0ccd9d5e2e4f37d34bab6c14583e9da9f833ef",
	} {
		bundle, err := provision.Load(t.Context(), stage, provision.Options{Dir: filepath.Join(dir, "provision"), Source: filepath.Join(dir, "service")})
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.Fingerprint(Image{Parent: ami.Image{ID: "ami-parent", Architecture: "arm64"}, Bundle: bundle,
			Inputs: map[string]string{"PORT": "8080"}, User: "admin"})
		if err != nil || got != want {
			t.Errorf("%s: fingerprint %s, %v, want %s", stage, got, err, want)
		}
	}
}
