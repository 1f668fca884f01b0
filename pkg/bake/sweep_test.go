package bake

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/provision"
)

func TestSweep(t *testing.T) {
	b, ec2, _ := testBaker(t)
	living, _, _ := begin(t, b.runs(), provision.App, "f00")
	dead := deadRun(t, b, provision.App, "bad")
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
	b, ec2, _ := testBaker(t)
	id := deadRun(t, b, provision.App, "bad")
	ec2.left, ec2.refuse = []ami.Leftover{{Kind: ami.Instance, ID: "i-dead", Run: id}}, errors.New("denied")
	found, _, err := b.Sweep(t.Context(), DeadAfter, true)
	if !errors.Is(err, ec2.refuse) || len(found) != 1 {
		t.Errorf("Sweep = %v, %v", found, err)
	}
	_, dead, err := b.runs().list(t.Context())
	if err != nil || !slices.ContainsFunc(dead, func(d *run) bool { return d.id == id }) {
		t.Errorf("dead %v, %v", dead, err)
	}
	unlockAll(dead)
}
