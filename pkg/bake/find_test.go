package bake

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/packer"
	"github.com/ingot-build/ingot/pkg/provision"
	"github.com/ingot-build/ingot/pkg/tag"
)

// deadRun makes a run that is dead: its record is there, and nobody has locked it.
func deadRun(t *testing.T, b *Baker, stage provision.Stage, fingerprint string) string {
	t.Helper()
	own, _, dead := begin(t, b.runs(), stage, fingerprint)
	unlockAll(dead)
	own.unlock()
	return own.id
}

// half is an image that a run has begun.
func half(id, run, fingerprint, state string, created time.Time) ami.Image {
	return ami.Image{ID: id, Name: ami.Name("hello", provision.App, run), State: state, Created: created,
		Tags: map[string]string{tag.App: "hello", tag.Image: string(provision.App), tag.Run: run, tag.Baking: fingerprint, tag.Commit: "dead"}}
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
			i.Tags[tag.Image] = string(provision.Base)
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
			i.Tags[tag.Fingerprint] = w.fingerprint
			w.images, w.left = append(w.images, i), append(w.left, ami.Leftover{Kind: ami.SecurityGroup, ID: "sg-1", Run: w.run})
		}, did: []string{"remove sg-1"}},
		"what cannot be removed stops nobody": {want: "ami-half", refuse: errors.New("denied"), left: func(w *world) {
			w.images = append(w.images, half("ami-half", w.run, w.fingerprint, "available", time.Now()))
			w.left = append(w.left, ami.Leftover{Kind: ami.Instance, ID: "i-1", Run: w.run})
		}, did: []string{"tag ami-half", "remove i-1"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b, ec2, _ := testBaker(t)
			image := appImage(t, "hello")
			fingerprint, err := b.Fingerprint(image)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				run := deadRun(t, b, provision.App, fingerprint)
				tc.left(&world{cloud: ec2, run: run, fingerprint: fingerprint})
				ec2.refuse = tc.refuse
				ec2.comes, ec2.at = tc.comes, time.Now().Add(5*time.Minute)
				var warned error
				b.options.Warn = func(_ context.Context, err error) { warned = errors.Join(warned, err) }
				got, err := b.Bake(t.Context(), image)
				if err != nil || got.ID != tc.want || got.Tags[tag.Fingerprint] != fingerprint {
					t.Errorf("Bake = %v, %v, want %s", got, err, tc.want)
				}
				if got.ID == "ami-half" && (got.Tags[tag.Release] != run || got.Tags[tag.Commit] != "dead" || got.Tags[tag.Parent] != "ami-base") {
					t.Errorf("tags %v", got.Tags)
				}
				if diff := cmp.Diff(tc.did, ec2.did); diff != "" {
					t.Error(diff)
				}
				if left, ok := errors.AsType[*LeftoverError](warned); ok != (tc.refuse != nil) || ok && (left.Run != run || !errors.Is(left, tc.refuse)) {
					t.Errorf("warned of %v", warned)
				}
				alive, dead, err := b.runs().list(t.Context())
				if err != nil || len(alive) > 0 || (len(dead) > 0) != (tc.refuse != nil) {
					t.Errorf("runs are left: alive %v, dead %v, %v", alive, dead, err)
				}
				unlockAll(dead)
			})
		})
	}
}

// A call may be on its way when a run is killed: what EC2 makes of it then is found by the second look.
func TestLateLeftovers(t *testing.T) {
	b, ec2, _ := testBaker(t)
	run := deadRun(t, b, provision.App, "bad")
	builder, err := b.options.Packer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.options.Packer = func(context.Context) (Builder, error) {
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
	if alive, dead, err := b.runs().list(t.Context()); len(alive)+len(dead) > 0 || err != nil {
		t.Errorf("runs are left: alive %v, dead %v, %v", alive, dead, err)
	}
}

// Where there is nothing to build, what dead runs left is looked for once. So those of the other stage keep their records: a call of
// theirs may still be on its way, and a bake of their stage looks again.
func TestDeadOfTheOtherStage(t *testing.T) {
	b, _, _ := testBaker(t)
	image := appImage(t, "hello")
	if _, err := b.Bake(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	other := deadRun(t, b, provision.Base, "bad")
	deadRun(t, b, provision.App, "bad")
	if _, err := b.Bake(t.Context(), image); err != nil {
		t.Fatal(err)
	}
	alive, dead, err := b.runs().list(t.Context())
	defer unlockAll(dead)
	if err != nil || len(alive) > 0 || len(dead) != 1 || dead[0].id != other {
		t.Errorf("runs are left: alive %v, dead %v, %v, want the base stage's %s", alive, dead, err, other)
	}
}

// Two at the same time: the second waits, says what the first does, and takes its image.
func TestSecondWaits(t *testing.T) {
	b, ec2, _ := testBaker(t)
	image := appImage(t, "hello")
	builds := 0
	synctest.Test(t, func(t *testing.T) {
		b.options.Packer = func(context.Context) (Builder, error) {
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
	b, ec2, builds := testBaker(t)
	image := appImage(t, "hello")
	fingerprint, err := b.Fingerprint(image)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		other, _, _ := begin(t, b.runs(), provision.App, fingerprint)
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
