package bake

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/provision"
)

// fakeCatalogue keeps images as EC2 would.
type fakeCatalogue struct {
	images []ami.Image
	did    []string
}

func (f *fakeCatalogue) first(fits func(ami.Image) bool) (ami.Image, error) {
	if i := slices.IndexFunc(f.images, fits); i >= 0 {
		return f.images[i], nil
	}
	return ami.Image{}, ami.ErrNotFound
}

func (f *fakeCatalogue) Find(_ context.Context, app, kind, fingerprint string) (ami.Image, error) {
	return f.first(func(i ami.Image) bool {
		return i.Tags[ami.TagApp] == app && i.Tags[ami.TagImage] == kind && i.Tags[ami.TagFingerprint] == fingerprint
	})
}

func (f *fakeCatalogue) Get(_ context.Context, id string) (ami.Image, error) {
	return f.first(func(i ami.Image) bool { return i.ID == id })
}

func (f *fakeCatalogue) Named(_ context.Context, name string) (ami.Image, error) {
	return f.first(func(i ami.Image) bool { return i.Name == name })
}

func (f *fakeCatalogue) Tag(_ context.Context, image ami.Image, tags map[string]string) error {
	f.did = append(f.did, "tag "+image.ID)
	for i := range f.images {
		if f.images[i].ID == image.ID {
			f.images[i].Tags = tags
		}
	}
	return nil
}

func (f *fakeCatalogue) Remove(ctx context.Context, image ami.Image) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.did = append(f.did, "remove "+image.ID)
	return nil
}

func (f *fakeCatalogue) Sweep(ctx context.Context, _ string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.did = append(f.did, "sweep")
	return nil
}

type buildFunc func(ctx context.Context, b packer.Build) (packer.Artifact, error)

func (f buildFunc) Build(ctx context.Context, b packer.Build) (packer.Artifact, error) {
	return f(ctx, b)
}

// kitchen is a baker, with a Packer that makes the image "ami-new", and what it is asked to build.
func kitchen(t *testing.T) (*Baker, *fakeCatalogue, *[]packer.Build) {
	t.Helper()
	catalogue := &fakeCatalogue{}
	var builds []packer.Build
	root := t.TempDir()
	write(t, filepath.Join(root, "packer", "base.pkr.hcl"), "build {}")
	return &Baker{
		Catalogue: catalogue, Sweeper: catalogue, App: "hello", Commit: "c0ffee", Region: "us-west-1",
		Templates: filepath.Join(root, "packer"), Folder: filepath.Join(root, "bakes"),
		SourceCIDRs: func(context.Context) ([]string, error) { return []string{"192.0.2.1/32"}, nil },
		Packer: func(context.Context) (Builder, error) {
			return buildFunc(func(_ context.Context, b packer.Build) (packer.Artifact, error) {
				if _, err := os.Stat(b.Variables.Archive); err != nil {
					t.Error(err)
				}
				builds = append(builds, b)
				catalogue.images = append(catalogue.images, ami.Image{ID: "ami-new", Name: b.Variables.AMIName, State: "available", Tags: b.Variables.Tags})
				return packer.Artifact{AMIs: map[string]string{"us-west-1": "ami-new"}}, nil
			}), nil
		},
	}, catalogue, &builds
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
	return Image{Kind: ami.App, Parent: ami.Image{ID: "ami-base", Architecture: "x86_64", RootDevice: "/dev/xvda"}, Bundle: bundle,
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
	b, catalogue, builds := kitchen(t)
	first, err := b.Bake(t.Context(), appImage(t, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Bake(t.Context(), appImage(t, "hello")) // the same files in another folder
	if err != nil || again.ID != first.ID || len(*builds) != 1 {
		t.Fatalf("second bake: %v, %v after %d builds", again, err, len(*builds))
	}
	v := (*builds)[0].Variables
	release := first.Tags[ami.TagRelease]
	if v.Inputs["RELEASE"] != release || v.Inputs["PORT"] != "8080" || v.Inputs["FINGERPRINT"] != first.Tags[ami.TagFingerprint] || release != v.Run {
		t.Errorf("inputs %v, tags %v", v.Inputs, first.Tags)
	}
	if v.SSHSourceCIDRs[0] != "192.0.2.1/32" || v.SourceAMI != "ami-base" || !v.Encrypted || v.RunTags[ami.TagRun] != v.Run {
		t.Errorf("variables %+v", v)
	}
	if _, early := v.Tags[ami.TagFingerprint]; early {
		t.Error("Packer sets the fingerprint, which says that an image is finished")
	}
	if first.Tags[ami.TagCommit] != "c0ffee" || first.Tags[ami.TagParent] != "ami-base" || !slices.Equal(catalogue.did, []string{"tag ami-new"}) {
		t.Errorf("tags %v, did %v", first.Tags, catalogue.did)
	}
	if _, err := os.Stat(v.Archive); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the archive is left: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	b, _, _ := kitchen(t)
	base := appImage(t, "hello")
	want, err := b.Fingerprint(base)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(*Baker, *Image)
		same   bool
	}{
		"another service": {change: func(_ *Baker, i *Image) { i.Bundle = appImage(t, "hi").Bundle }},
		"another parent":  {change: func(_ *Baker, i *Image) { i.Parent.ID = "ami-other" }},
		"architecture":    {change: func(_ *Baker, i *Image) { i.Parent.Architecture = "arm64" }},
		"another input":   {change: func(_ *Baker, i *Image) { i.Inputs = map[string]string{"PORT": "9090"} }},
		"the template":    {change: func(b *Baker, _ *Image) { write(t, filepath.Join(b.Templates, "base.pkr.hcl"), "build { }") }},
		"instance type":   {change: func(_ *Baker, i *Image) { i.InstanceType = "c7i.large" }, same: true},
		"the commit":      {change: func(b *Baker, _ *Image) { b.Commit = "other" }, same: true},
		"a plugin":        {change: func(b *Baker, _ *Image) { write(t, filepath.Join(b.Templates, "plugins/p.pkr.hcl"), "x") }, same: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b, _, _ := kitchen(t)
			i := base
			tc.change(b, &i)
			got, err := b.Fingerprint(i)
			if err != nil || (got == want) != tc.same {
				t.Errorf("same = %t, want %t (%v)", got == want, tc.same, err)
			}
		})
	}
	b.Templates = t.TempDir()
	if _, err := b.Fingerprint(base); err == nil {
		t.Error("no error without templates")
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	b, catalogue, _ := kitchen(t)
	broken := errors.New("does not compile")
	ctx, cancel := context.WithCancel(t.Context())
	b.Packer = func(context.Context) (Builder, error) {
		return buildFunc(func(_ context.Context, build packer.Build) (packer.Artifact, error) {
			cancel() // as Ctrl-C would, while EC2 makes the image
			catalogue.images = append(catalogue.images, ami.Image{ID: "ami-half", Name: build.Variables.AMIName, State: "pending"})
			return packer.Artifact{}, broken
		}), nil
	}
	_, err := b.Bake(ctx, appImage(t, "hello"))
	if !errors.Is(err, broken) || !strings.HasPrefix(err.Error(), "bake app AMI: ") {
		t.Errorf("error = %v", err)
	}
	if diff := cmp.Diff([]string{"sweep", "remove ami-half"}, catalogue.did); diff != "" {
		t.Error(diff)
	}
}

func TestImageOfAnotherRunIsRefused(t *testing.T) {
	b, catalogue, _ := kitchen(t)
	b.Packer = func(context.Context) (Builder, error) {
		return buildFunc(func(context.Context, packer.Build) (packer.Artifact, error) {
			catalogue.images = append(catalogue.images, ami.Image{ID: "ami-other", State: "available", Tags: map[string]string{ami.TagRun: "other"}})
			return packer.Artifact{AMIs: map[string]string{"us-west-1": "ami-other"}}, nil
		}), nil
	}
	if _, err := b.Bake(t.Context(), appImage(t, "hello")); err == nil || !slices.Equal(catalogue.did, []string{"sweep"}) {
		t.Errorf("error = %v, did %v", err, catalogue.did)
	}
}

func TestNewRunSortsByTime(t *testing.T) {
	early := newRun(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	late := newRun(time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC))
	now := time.Now()
	one, other := newRun(now), newRun(now)
	if !strings.HasPrefix(early, "20260102-030405-") || early >= late || one == other {
		t.Errorf("%s, %s", early, late)
	}
}
