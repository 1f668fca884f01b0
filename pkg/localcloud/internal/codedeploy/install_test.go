package codedeploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlan(t *testing.T) {
	p := &planner{
		archive: "/r", fileExists: "DISALLOW",
		entries:  map[string]string{"bin": "d", "bin/app": "f", "bin/lib": "d", "bin/lib/x.so": "f", "app.conf": "f"},
		existing: map[string]string{"/etc": "d", "/srv": "d"}, copied: map[string]string{}, made: map[string]bool{}, permitted: map[string]bool{},
	}
	spec := &appSpec{
		Files: []fileMapping{{"bin", "/srv/app/bin"}, {"app.conf", "/etc"}},
		Permissions: []permission{
			{Object: "/srv/app/bin", Pattern: "a*", Owner: "root", Group: "adm", Mode: "755", Types: []string{"file", "directory"}},
			{Object: "/etc/app.conf", Pattern: "**", Owner: "admin", Types: []string{"file"}},
			{Object: "/none", Pattern: "**", Owner: "admin", Types: []string{"file"}},
		},
	}
	if diff := cmp.Diff([]string{
		"/etc", "/etc/app.conf", "/none", "/srv", "/srv/app", "/srv/app/bin", "/srv/app/bin/app", "/srv/app/bin/lib", "/srv/app/bin/lib/x.so",
	}, p.asks(spec)); diff != "" {
		t.Errorf("asks (-want +got):\n%s", diff)
	}
	got, err := p.plan(spec)
	if err != nil {
		t.Fatal(err)
	}
	want := []step{
		{verb: "mkdir", path: "/srv/app"}, {verb: "mkdir", path: "/srv/app/bin"}, {"copy", "/srv/app/bin/app", "/r/bin/app"},
		{verb: "mkdir", path: "/srv/app/bin/lib"}, {"copy", "/srv/app/bin/lib/x.so", "/r/bin/lib/x.so"},
		{"copy", "/etc/app.conf", "/r/app.conf"},
		{"chown", "/srv/app/bin/app", "root:adm"}, {"chmod", "/srv/app/bin/app", "755"}, {"chown", "/etc/app.conf", "admin"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(step{})); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestPlanErrors(t *testing.T) {
	anywhere := permission{Object: "/srv", Pattern: "**", Owner: "root", Types: []string{"file"}}
	for _, test := range []struct {
		name, fileExists string
		spec             appSpec
		steps            int
		want             string
	}{
		{"missing source", "DISALLOW", appSpec{Files: []fileMapping{{"none", "/srv"}}}, 0, "No such file or directory - /r/none"},
		{"there already", "DISALLOW", appSpec{Files: []fileMapping{{"a", "/etc"}}}, 0, "already exists at this location: /etc/a"},
		{"overwritten", "OVERWRITE", appSpec{Files: []fileMapping{{"a", "/etc"}}}, 1, ""},
		{"retained", "RETAIN", appSpec{Files: []fileMapping{{"a", "/etc"}}}, 0, ""},
		{"twice", "DISALLOW", appSpec{Files: []fileMapping{{"a", "/srv"}, {"a", "/srv"}}}, 0, "two source files named /r/a and /r/a"},
		{"onto a folder", "DISALLOW", appSpec{Files: []fileMapping{{"b", "/srv"}}}, 0, "a file with that name already exists"},
		{"folder onto a file", "DISALLOW", appSpec{Files: []fileMapping{{".", "/etc/a"}}}, 0, "File exists - /etc/a"},
		{"permissions twice", "DISALLOW", appSpec{Files: []fileMapping{{"a", "/srv"}}, Permissions: []permission{anywhere, anywhere}}, 0,
			"(/srv/a) is specified more than once"},
		{"pattern on a file", "DISALLOW", appSpec{Files: []fileMapping{{"a", "/srv"}},
			Permissions: []permission{{Object: "/srv/a", Pattern: "*", Types: []string{"file"}}}}, 0, "with an invalid pattern"},
	} {
		p := &planner{
			archive: "/r", fileExists: test.fileExists, entries: map[string]string{"a": "f", "b": "f"},
			existing: map[string]string{"/etc": "d", "/etc/a": "f", "/srv": "d", "/srv/b": "d"},
			copied:   map[string]string{}, made: map[string]bool{}, permitted: map[string]bool{},
		}
		steps, err := p.plan(&test.spec)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
		if err == nil && len(steps) != test.steps {
			t.Errorf("%s: steps %v", test.name, steps)
		}
	}
}

func TestMatchesName(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a", true}, {"*", "a/b", false}, {"*.sh", "a.sh", true}, {"*.sh", ".sh", true}, {"a*b*c", "axxbxxc", true},
		{"a*b*c", "acb", false}, {"a", "a", true}, {"a", "ab", false}, {"ab*b", "ab", false},
	} {
		if got := matchesName(test.pattern, test.name); got != test.want {
			t.Errorf("%q, %q: %v", test.pattern, test.name, got)
		}
	}
}

// TestInstall copies files, and takes those of the last deployment away first.
func TestInstall(t *testing.T) {
	inBubble(t, []string{"i-1"}, func(b *bench) {
		b.group(nil)
		to := filepath.Join(t.TempDir(), "app")
		revision := func(name string) *revisionLocation {
			return b.cloud.put(t, name+".zip", map[string]string{
				"appspec.yml": "version: 0.0\nos: linux\nfiles:\n- source: content\n  destination: " + to +
					"\npermissions:\n- object: " + to + "\n  mode: 640\n  type: [file]\n",
				"content/" + name:       name,
				"content/same":          name,
				"content/dir/a " + name: "a",
			})
		}
		for _, name := range []string{"one", "two"} {
			if d := b.run(revision(name)); d.Status != statusSucceeded {
				t.Fatalf("%s: %+v", name, b.view(d.ID, "i-1").Events[3].Diagnostics)
			}
		}
		if got := readFile(t, filepath.Join(to, "same")); got != "two" {
			t.Errorf("content %q", got)
		}
		var files []string
		filepath.Walk(to, func(file string, info os.FileInfo, err error) error {
			if err == nil && !info.IsDir() {
				files = append(files, strings.TrimPrefix(file, to)+" "+info.Mode().String())
			}
			return err
		})
		want := []string{"/dir/a two -rw-r-----", "/same -rw-r-----", "/two -rw-r-----"}
		if diff := cmp.Diff(want, files); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		// What somebody else put there is not overwritten unless the deployment says so.
		if err := os.WriteFile(filepath.Join(to, "three"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		d := b.run(revision("three"))
		if e := b.view(d.ID, "i-1").Events[3]; d.Status != statusFailed || !strings.Contains(e.Diagnostics.Message, "already exists at this location") {
			t.Errorf("%s: %+v", d.Status, e.Diagnostics)
		}
		out, err := b.createDeployment(t.Context(), &createDeploymentInput{
			Application: "web", Group: "web", Revision: revision("three"), FileExists: "OVERWRITE",
		})
		if err != nil {
			t.Fatal(err)
		}
		if d := b.ended(out.ID); d.Status != statusSucceeded || readFile(t, filepath.Join(to, "three")) != "three" {
			t.Errorf("%s", d.Status)
		}
	})
}
