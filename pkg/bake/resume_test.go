package bake

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/packer"
)

// die makes a run that is dead: its record is there, and nobody has locked it.
func die(t *testing.T, b *Baker, kind, fingerprint string) string {
	t.Helper()
	own, _, dead := claim(t, b.runs(), kind, fingerprint)
	releaseAll(dead)
	own.release()
	return own.id
}

// half is an image that a run has begun.
func half(id, run, fingerprint, state string, created time.Time) ami.Image {
	return ami.Image{ID: id, Name: ami.Name("hello", ami.App, run), State: state, Created: created,
		Tags: map[string]string{ami.TagApp: "hello", ami.TagImage: ami.App, ami.TagRun: run, ami.TagBaking: fingerprint, ami.TagCommit: "dead"}}
}

func TestResume(t *testing.T) {
	const foreign = "20260102-030405-0a1b2c" // a run of another machine
	type world struct {
		*cloud
		run, fingerprint string // of the dead run of this machine, which baked the same
	}
	tests := map[string]struct {
		left   func(w *world)
		comes  string // what becomes of a pending image after a while
		want   string // the image; "ami-new" where it is made anew
		did    []string
		refuse error
	}{
		"nothing": {left: func(*world) {}, want: "ami-new", did: []string{"tag ami-new", "remove sg-192.0.2.1/32"}},
		"what came before the image": {want: "ami-new", left: func(w *world) {
			for _, l := range []ami.Leftover{{Kind: ami.SecurityGroup, ID: "sg-1"}, {Kind: ami.KeyPair, ID: "key-1"}, {Kind: ami.Instance, ID: "i-1"}} {
				l.Run = w.run
				w.left = append(w.left, l)
			}
		}, did: []string{"remove sg-1", "remove key-1", "remove i-1", "tag ami-new", "remove sg-192.0.2.1/32"}},
		"an image, and its instance": {want: "ami-half", left: func(w *world) {
			w.images = append(w.images, half("ami-half", w.run, w.fingerprint, "available", time.Now()))
			w.left = append(w.left, ami.Leftover{Kind: ami.Instance, ID: "i-1", Run: w.run})
		}, did: []string{"tag ami-half", "remove i-1"}},
		"a pending image": {want: "ami-half", comes: "available", left: func(w *world) {
			w.images = append(w.images, half("ami-half", w.run, w.fingerprint, "pending", time.Now()))
		}, did: []string{"tag ami-half"}},
		"a pending image that fails": {want: "ami-new", comes: "failed", left: func(w *world) {
			w.images = append(w.images, half("ami-half", w.run, w.fingerprint, "pending", time.Now()))
		}, did: []string{"remove ami-half", "tag ami-new", "remove sg-192.0.2.1/32"}},
		"an image that stays pending": {want: "ami-new", left: func(w *world) {
			w.images = append(w.images, half("ami-half", w.run, w.fingerprint, "pending", time.Now()))
		}, did: []string{"remove ami-half", "tag ami-new", "remove sg-192.0.2.1/32"}},
		"a failed image": {want: "ami-new", left: func(w *world) {
			w.images = append(w.images, half("ami-half", w.run, w.fingerprint, "failed", time.Now()))
		}, did: []string{"remove ami-half", "tag ami-new", "remove sg-192.0.2.1/32"}},
		"an image of other inputs": {want: "ami-new", left: func(w *world) {
			w.images = append(w.images, half("ami-half", w.run, "bad", "available", time.Now()))
		}, did: []string{"remove ami-half", "tag ami-new", "remove sg-192.0.2.1/32"}},
		"an image of the other kind": {want: "ami-new", left: func(w *world) {
			i := half("ami-half", w.run, w.fingerprint, "available", time.Now())
			i.Tags[ami.TagImage] = ami.Base
			w.images = append(w.images, i)
		}, did: []string{"remove ami-half", "tag ami-new", "remove sg-192.0.2.1/32"}},
		"an image of another machine": {want: "ami-far", comes: "available", left: func(w *world) {
			w.images = append(w.images, half("ami-far", foreign, w.fingerprint, "pending", time.Now()))
			w.left = append(w.left, ami.Leftover{Kind: ami.Instance, ID: "i-far", Run: foreign}, ami.Leftover{Kind: ami.Instance, ID: "i-1", Run: w.run})
		}, did: []string{"tag ami-far", "remove i-1"}},
		"what another machine does otherwise": {want: "ami-new", left: func(w *world) {
			w.images = append(w.images, half("ami-far", foreign, "bad", "pending", time.Now()))
		}, did: []string{"tag ami-new", "remove sg-192.0.2.1/32"}},
		"two images: the available one is taken, the other goes": {want: "ami-far", left: func(w *world) {
			w.images = append(w.images, half("ami-far", foreign, w.fingerprint, "available", time.Now()), half("ami-half", w.run, w.fingerprint, "pending", time.Now()))
		}, did: []string{"tag ami-far", "remove ami-half"}},
		"a finished image, and what was not cleared away": {want: "ami-done", left: func(w *world) {
			i := half("ami-done", w.run, w.fingerprint, "available", time.Now())
			i.Tags[ami.TagFingerprint] = w.fingerprint
			w.images, w.left = append(w.images, i), append(w.left, ami.Leftover{Kind: ami.SecurityGroup, ID: "sg-1", Run: w.run})
		}, did: []string{"remove sg-1"}},
		"what cannot be removed stops nobody": {want: "ami-half", refuse: errors.New("denied"), left: func(w *world) {
			w.images = append(w.images, half("ami-half", w.run, w.fingerprint, "available", time.Now()))
			w.left = append(w.left, ami.Leftover{Kind: ami.Instance, ID: "i-1", Run: w.run})
		}, did: []string{"tag ami-half", "remove i-1"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b, ec2, _ := kitchen(t)
			image := appImage(t, "hello")
			fingerprint, err := b.Fingerprint(image)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				run := die(t, b, ami.App, fingerprint)
				tc.left(&world{cloud: ec2, run: run, fingerprint: fingerprint})
				ec2.refuse = tc.refuse
				ec2.comes, ec2.at = tc.comes, time.Now().Add(5*time.Minute)
				got, err := b.Bake(t.Context(), image)
				if err != nil || got.ID != tc.want || got.Tags[ami.TagFingerprint] != fingerprint {
					t.Errorf("Bake = %v, %v, want %s", got, err, tc.want)
				}
				if got.ID == "ami-half" && (got.Tags[ami.TagRelease] != run || got.Tags[ami.TagCommit] != "dead" || got.Tags[ami.TagParent] != "ami-base") {
					t.Errorf("tags %v", got.Tags)
				}
				if diff := cmp.Diff(tc.did, ec2.did); diff != "" {
					t.Error(diff)
				}
				alive, dead, err := b.runs().look()
				if err != nil || len(alive) > 0 || (len(dead) > 0) != (tc.refuse != nil) {
					t.Errorf("runs are left: alive %v, dead %v, %v", alive, dead, err)
				}
				releaseAll(dead)
			})
		})
	}
}

// A call may be on its way when a run is killed: what EC2 makes of it then is found by the second look.
func TestLateLeftovers(t *testing.T) {
	b, ec2, _ := kitchen(t)
	run := die(t, b, ami.App, "bad")
	builder, err := b.Packer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.Packer = func(context.Context) (Builder, error) {
		return buildFunc(func(ctx context.Context, build packer.Build) (packer.Artifact, error) {
			ec2.left = append(ec2.left, ami.Leftover{Kind: ami.KeyPair, ID: "key-late", Run: run})
			return builder.Build(ctx, build)
		}), nil
	}
	if _, err := b.Bake(t.Context(), appImage(t, "hello")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"tag ami-new", "remove sg-192.0.2.1/32", "remove key-late"}, ec2.did); diff != "" {
		t.Error(diff)
	}
	if alive, dead, err := b.runs().look(); len(alive)+len(dead) > 0 || err != nil {
		t.Errorf("runs are left: alive %v, dead %v, %v", alive, dead, err)
	}
}

// Two at the same time: the second waits, says what the first does, and takes its image.
func TestSecondWaits(t *testing.T) {
	b, ec2, _ := kitchen(t)
	image := appImage(t, "hello")
	builds := 0
	synctest.Test(t, func(t *testing.T) {
		b.Packer = func(context.Context) (Builder, error) {
			return buildFunc(func(_ context.Context, build packer.Build) (packer.Artifact, error) {
				builds++
				time.Sleep(10 * time.Minute)
				ec2.mu.Lock()
				defer ec2.mu.Unlock()
				ec2.images = append(ec2.images, ami.Image{ID: "ami-new", Name: build.Variables.AMIName, State: "available", Tags: build.Variables.Tags})
				return packer.Artifact{AMIs: map[string]string{"us-west-1": "ami-new"}}, nil
			}), nil
		}
		got := make(chan ami.Image)
		for range 2 {
			go func() {
				made, err := b.Bake(t.Context(), image)
				if err != nil {
					t.Error(err)
				}
				got <- made
			}()
		}
		if one, other := <-got, <-got; one.ID != "ami-new" || other.ID != "ami-new" || builds != 1 {
			t.Errorf("%s and %s after %d builds", one.ID, other.ID, builds)
		}
	})
}

func TestWaitIsInterrupted(t *testing.T) {
	b, ec2, builds := kitchen(t)
	image := appImage(t, "hello")
	fingerprint, err := b.Fingerprint(image)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		other, _, _ := claim(t, b.runs(), ami.App, fingerprint)
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(enough) })
		if _, err := b.Bake(ctx, image); !errors.Is(err, enough) || len(ec2.did)+len(*builds) > 0 {
			t.Errorf("error %v after %v", err, ec2.did)
		}
		if err := other.end(); err != nil {
			t.Error(err)
		}
	})
}

func TestSweep(t *testing.T) {
	b, ec2, _ := kitchen(t)
	living, _, _ := claim(t, b.runs(), ami.App, "f00")
	dead := die(t, b, ami.App, "bad")
	now := time.Now()
	old, young := ami.NewRun(now.Add(-3*time.Hour)), ami.NewRun(now.Add(-time.Hour))
	all := []ami.Leftover{
		{Kind: ami.Instance, ID: "i-living", Run: living.id}, {Kind: ami.Instance, ID: "i-dead", Run: dead},
		{Kind: ami.Instance, ID: "i-old", Run: old}, {Kind: ami.Instance, ID: "i-young", Run: young}, {Kind: ami.Instance, ID: "i-odd", Run: "by hand"},
	}
	tests := []struct {
		older  time.Duration
		remove bool
		want   []string // what, and why
		spared int
	}{
		{DeadAfter, false, []string{"i-dead: neither it nor its Packer lives", "i-old: began more than 2h0m0s ago"}, 3},
		{30 * time.Minute, false, []string{"i-dead: neither it nor its Packer lives", "i-old: began more than 30m0s ago", "i-young: began more than 30m0s ago"}, 2},
		{DeadAfter, true, []string{"i-dead: neither it nor its Packer lives", "i-old: began more than 2h0m0s ago"}, 3},
		{DeadAfter, true, nil, 3},
	}
	ec2.left = all
	for _, tc := range tests {
		ec2.did = nil
		found, spared, err := b.Sweep(t.Context(), tc.older, tc.remove)
		if err != nil || spared != tc.spared {
			t.Errorf("older than %s: spared %d, %v, want %d", tc.older, spared, err, tc.spared)
		}
		var got, removed []string
		for _, l := range found {
			got = append(got, l.ID+": "+l.Why)
			if tc.remove {
				removed = append(removed, "remove "+l.ID)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("older than %s: %s", tc.older, diff)
		}
		if diff := cmp.Diff(removed, ec2.did); diff != "" {
			t.Errorf("older than %s: %s", tc.older, diff)
		}
	}
	if _, err := os.Stat(filepath.Join(living.folder, "run.json")); err != nil {
		t.Error("the living run lost its record")
	}
}

// What cannot be removed is reported, and the run stays known.
func TestSweepRefused(t *testing.T) {
	b, ec2, _ := kitchen(t)
	id := die(t, b, ami.App, "bad")
	ec2.left, ec2.refuse = []ami.Leftover{{Kind: ami.Instance, ID: "i-dead", Run: id}}, errors.New("denied")
	found, _, err := b.Sweep(t.Context(), DeadAfter, true)
	if !errors.Is(err, ec2.refuse) || len(found) != 1 {
		t.Errorf("Sweep = %v, %v", found, err)
	}
	_, dead, err := b.runs().look()
	if err != nil || !slices.ContainsFunc(dead, func(d *run) bool { return d.id == id }) {
		t.Errorf("dead %v, %v", dead, err)
	}
	releaseAll(dead)
}
