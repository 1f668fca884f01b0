package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestView(t *testing.T) {
	small := Fleet{Instances: []Instance{
		{ID: "i-0old1", TemplateVersion: 2, Release: "r1", Lifecycle: "InService", Target: "healthy"},
		{ID: "i-0new1", TemplateVersion: 3, Release: "r2", Lifecycle: "InService", Target: "healthy", Since: noon.Add(-90 * time.Second)},
		{ID: "i-0new2", TemplateVersion: 3, Release: "r2", Lifecycle: "Pending", Since: noon.Add(-4500 * time.Millisecond)},
		{ID: "i-0new3", TemplateVersion: 3, Lifecycle: "InService", Health: "Unhealthy", Target: "unhealthy", Since: noon.Add(-30 * time.Second)},
	}}
	half := Refresh{ID: "x", Status: "InProgress", Percentage: 50, Reason: "Waiting for instances to warm up."}
	large := Fleet{Instances: append(fleet(2, 500), fleet(3, 499)...)}
	large.Instances = append(large.Instances, newcomer("i-odd", "Pending:Wait", "Healthy", "", ""))
	for i := range large.Instances {
		large.Instances[i].Release = map[TemplateVersion]string{2: "r1", 3: "r2"}[large.Instances[i].TemplateVersion]
	}
	tests := map[string]struct {
		fleet         Fleet
		refresh       Refresh
		columns, rows int
		want          string
	}{
		"a small fleet": {
			fleet: small, refresh: half, columns: 79, rows: 22,
			want: `
  INSTANCE  LIFECYCLE  TARGET     RELEASE  VERSION  AGE
  i-0new3   InService  unhealthy  -        3        30s
  i-0new2   Pending    -          r2       3        4.0s
  i-0new1   InService  healthy    r2       3        1m30s
  i-0old1   InService  healthy    r1       2
  ██████████░░░░░░░░░░ InProgress 50 %: Waiting for instances to warm up.`,
		},
		"a narrow terminal": {
			fleet: small, refresh: half, columns: 20, rows: 22,
			want: `
  INSTANCE  LIFECYCLE  TARGET     RELEASE  VERSION  AGE
  i-0new3   InService  unhealthy  -        3        30s
  i-0new2   Pending    -          r2       3        4.0s
  i-0new1   InService  healthy    r2       3        1m30s
  i-0old1   InService  healthy    r1       2
  ███░░░ InProgress 50 %: Waiting for instances to warm up.`,
		},
		"many instances": {
			fleet: large, refresh: half, columns: 79, rows: 6,
			want: `
  INSTANCE  LIFECYCLE     TARGET   RELEASE  VERSION  AGE
  i-odd     Pending:Wait  -        r2       3
  i-3-0     InService     healthy  r2       3
  i-3-1     InService     healthy  r2       3
  and 997 more: 497 InService healthy r2, 500 InService healthy r1
  ██████████░░░░░░░░░░ InProgress 50 %: Waiting for instances to warm up.`,
		},
		"a low terminal": {
			fleet: small, refresh: half, columns: 79, rows: 2,
			want: `
  ██████████░░░░░░░░░░ InProgress 50 %: Waiting for instances to warm up.`,
		},
		"a first launch": {
			fleet: Fleet{Instances: fleet(3, 1)}, columns: 79, rows: 22,
			want: `
  INSTANCE  LIFECYCLE  TARGET   RELEASE  VERSION  AGE
  i-3-0     InService  healthy  -        3`,
		},
		"nothing yet": {columns: 79, rows: 22},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := view(tc.fleet, tc.refresh, 3, tc.columns, tc.rows, noon)
			if diff := cmp.Diff(strings.TrimPrefix(tc.want, "\n"), strings.Join(got, "\n")); diff != "" {
				t.Error(diff)
			}
			if len(got) > tc.rows {
				t.Errorf("%d lines in %d rows", len(got), tc.rows)
			}
		})
	}
}

func TestChanges(t *testing.T) {
	before := Fleet{Instances: append(serving(2, "i-1", "i-2", "i-3"), fleet(3, 5)...)}
	now := Fleet{Instances: append(serving(2, "i-1", "i-2"), fleet(3, 5)...)}
	now.Instances[0].Lifecycle, now.Instances[0].Target = "Terminating", "draining"
	now.Instances[1].Health, now.Instances[1].Target, now.Instances[1].Reason = "Unhealthy", "unhealthy", "Target.Timeout: Request timed out"
	for i := 2; i < 7; i++ {
		now.Instances[i].Target = "initial"
	}
	now.Instances = append(now.Instances, newcomer("i-9", "Pending", "Healthy", "", ""))
	want := []string{
		"instance i-1 InService → Terminating, target healthy → draining",
		"instance i-2 health Healthy → Unhealthy, target healthy → unhealthy (Target.Timeout: Request timed out)",
		"5 instances target healthy → initial: i-3-0, i-3-1, i-3-2, …",
		"instance i-9 new, Pending",
		"instance i-3 gone",
	}
	if diff := cmp.Diff(want, changes(before, now)); diff != "" {
		t.Error(diff)
	}
	if got := changes(now, now); len(got) > 0 {
		t.Errorf("nothing changed: %q", got)
	}
}
