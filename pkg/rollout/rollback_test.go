package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	asgtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	"github.com/google/go-cmp/cmp"
)

// live is a fleet whose releases r1 and r2 were live from versions 2 and 3, r2 last.
func live() *world {
	w := old()
	w.versions = append(w.versions, templateVersion{image: "ami-2", description: "release r2"})
	w.parameters[pointerName] = append(w.parameters[pointerName], `{"release":"r2","ami":"ami-2","template_version":3}`)
	w.served(3, "r2")
	w.standard = 3
	w.step = func(w *world) {
		if w.steps > 1 {
			w.follow()
		}
	}
	return w
}

// follow lets a refresh succeed or go back at once.
func (w *world) follow() {
	switch {
	case w.is(asgtypes.InstanceRefreshStatusInProgress):
		version := mustAtoi(*w.refresh().DesiredConfiguration.LaunchTemplate.Version)
		w.served(version, map[string]string{"ami-0": "r0", "ami-1": "r1", "ami-2": "r2", "ami-3": "r3"}[w.versions[version-1].image])
	case w.is(asgtypes.InstanceRefreshStatusRollbackInProgress):
		w.refresh().Status = asgtypes.InstanceRefreshStatusRollbackSuccessful
	case w.is(asgtypes.InstanceRefreshStatusCancelling):
		w.refresh().Status = asgtypes.InstanceRefreshStatusCancelled
	}
}

func TestRollback(t *testing.T) {
	tests := map[string]struct {
		world func() *world
		to    string
		want  []string
	}{
		"to the one before": {want: []string{"refresh to 2", "default version 2", "put " + pointerName}},
		"to a named one":    {to: "r1", want: []string{"refresh to 2", "default version 2", "put " + pointerName}},
		"to one whose version is gone": {
			world: func() *world {
				w := live()
				w.parameters[pointerName] = slices.Insert(w.parameters[pointerName], 0, `{"release":"r0","ami":"ami-0","template_version":9}`)
				return w
			},
			to:   "r0",
			want: []string{"version 4 of ami-0 from 3: release r0", "refresh to 4", "default version 4", "put " + pointerName},
		},
		"while a release rolls": {
			world: func() *world {
				w := live()
				w.versions = append(w.versions, templateVersion{image: "ami-3", description: "release r3"})
				w.begin("4").Status = asgtypes.InstanceRefreshStatusBaking
				return w
			},
			want: []string{"rollback", "default version 3"},
		},
		"while a release rolls, to a named one": {
			world: func() *world {
				w := live()
				w.versions = append(w.versions, templateVersion{image: "ami-3", description: "release r3"})
				w.begin("4").Status = asgtypes.InstanceRefreshStatusBaking
				return w
			},
			to:   "r1",
			want: []string{"rollback", "refresh to 2", "default version 2", "put " + pointerName},
		},
		"while AWS rolls one back": {
			world: func() *world {
				w := live()
				w.versions = append(w.versions, templateVersion{image: "ami-3", description: "release r3"})
				w.begin("4").Status = asgtypes.InstanceRefreshStatusRollbackInProgress
				return w
			},
			want: []string{"default version 3"},
		},
		"a release that was never verified": {
			world: func() *world {
				w := live()
				w.versions = append(w.versions, templateVersion{image: "ami-3", description: "release r3"})
				w.served(4, "r3")
				return w
			},
			want: []string{"refresh to 3", "default version 3"},
		},
		"a fleet that a cancelled refresh left mixed": {
			world: func() *world {
				w := live()
				w.running[0].TemplateVersion = 4
				return w
			},
			want: []string{"refresh to 3", "default version 3"},
		},
		"again after a kill, while it rolls": {
			world: func() *world {
				w := live()
				w.begin("2")
				return w
			},
			want: []string{"default version 2", "put " + pointerName},
		},
		"again after a kill, before the pointer": {
			world: func() *world {
				w := live()
				w.served(2, "r1")
				return w
			},
			want: []string{"default version 2", "put " + pointerName},
		},
		"one that AWS cannot roll back": {
			world: func() *world {
				w := live()
				w.versions = append(w.versions, templateVersion{image: "ami-3", description: "release r3"})
				w.begin("4").Status = asgtypes.InstanceRefreshStatusBaking
				w.running[0].TemplateVersion = 4
				w.turn = &asgtypes.IrreversibleInstanceRefreshFault{}
				return w
			},
			want: []string{"cancel", "refresh to 3", "default version 3"},
		},
		"one that has just ended": {
			world: func() *world {
				w := live()
				w.versions = append(w.versions, templateVersion{image: "ami-3", description: "release r3"})
				w.begin("4").Status = asgtypes.InstanceRefreshStatusBaking
				w.fails = func(call string) error {
					if call == "rollback" && w.is(asgtypes.InstanceRefreshStatusBaking) {
						w.served(4, "r3")
					}
					return nil
				}
				return w
			},
			want: []string{"refresh to 3", "default version 3"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := live()
				if tc.world != nil {
					w = tc.world()
				}
				if _, err := w.roller(Options{}).Rollback(t.Context(), tc.to); err != nil {
					t.Fatalf("%v after %q", err, w.did)
				}
				if diff := cmp.Diff(tc.want, w.did); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestRollbackTwice: back and further back, never to what was rolled back from; then there is nothing.
func TestRollbackTwice(t *testing.T) {
	in(t, func(t *testing.T) {
		w := live()
		w.versions = append(w.versions, templateVersion{image: "ami-3", description: "release r3"})
		w.parameters[pointerName] = append(w.parameters[pointerName], `{"release":"r3","ami":"ami-3","template_version":4}`)
		w.served(4, "r3")
		r := w.roller(Options{})
		for _, want := range []string{"r2", "r1"} {
			got, err := r.Rollback(t.Context(), "")
			if err != nil || got.Release.Name != want {
				t.Fatalf("%+v, %v, want %s", got, err, want)
			}
		}
		if _, err := r.Rollback(t.Context(), ""); !errors.Is(err, ErrNoRelease) {
			t.Errorf("error = %v", err)
		}
		if got, err := r.Rollback(t.Context(), "r3"); err != nil || got.Release.Name != "r3" {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

func TestStack(t *testing.T) {
	tests := map[string][]string{ // a history, and what it comes to; < is a rollback
		"":            nil,
		"a":           {"a"},
		"a b":         {"a", "b"},
		"a b b":       {"a", "b"},
		"a b a":       {"a", "b", "a"},
		"a b <a":      {"a"},
		"a b c <b":    {"a", "b"},
		"a b c <b <a": {"a"},
		"a b c <b d":  {"a", "b", "d"},
		"a b <a <b":   {"a", "b"},
		"<x b":        {"x", "b"},
	}
	for history, want := range tests {
		var releases []Pointer
		for _, name := range strings.Fields(history) {
			releases = append([]Pointer{{Release: strings.TrimPrefix(name, "<"), Rollback: name[0] == '<'}}, releases...)
		}
		var got []string
		for _, p := range releaseStack(releases) {
			got = append(got, p.Release)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", history, diff)
		}
	}
}

func TestRollbackToNothing(t *testing.T) {
	only := []Pointer{{Release: "r1"}}
	for name, tc := range map[string]struct {
		releases []Pointer
		to       string
		want     NoReleaseError
		text     string
	}{
		"none yet": {text: "roll back: no such release: there has been none"},
		"only one": {releases: only, want: NoReleaseError{Current: "r1"}, text: `roll back: no such release: there is none before "r1"`},
		"unknown":  {releases: only, to: "r9", want: NoReleaseError{Name: "r9"}, text: `roll back to "r9": no such release`},
	} {
		_, err := chooseRelease(tc.releases, tc.to)
		if e, ok := errors.AsType[*NoReleaseError](err); !errors.Is(err, ErrNoRelease) || !ok || *e != tc.want || err.Error() != tc.text {
			t.Errorf("%s: error = %v", name, err)
		}
	}
}

// TestReleases: a put that was repeated shows once.
func TestReleases(t *testing.T) {
	w := old()
	for n := range 3 {
		w.parameters[pointerName] = append(w.parameters[pointerName], fmt.Sprintf(`{"release":"r2","ami":"ami-2","template_version":%d}`, 3+n/2))
	}
	releases, err := w.roller(Options{}).Releases(t.Context())
	if err != nil || len(releases) != 3 || releases[0].TemplateVersion != 4 || releases[2].Release != "r1" {
		t.Errorf("%+v, %v", releases, err)
	}
}
