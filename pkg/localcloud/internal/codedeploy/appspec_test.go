package codedeploy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const fullSpec = `version: 0.0
os: linux
files:
  - source: /
    destination: /srv/app
  - source: conf/app.conf
    destination: /etc/
file_exists_behavior: OVERWRITE
permissions:
  - object: /srv/app
    pattern: "*.sh"
    except: [old.sh]
    owner: root
    group: adm
    mode: 755
    type: [file]
hooks:
  ApplicationStop:
  BeforeInstall:
    - location: scripts/one.sh
      timeout: 10
      runas: admin
    - location: /scripts/two.sh
`

func TestParseAppSpec(t *testing.T) {
	got, err := parseAppSpec("appspec.yml", []byte(fullSpec))
	if err != nil {
		t.Fatal(err)
	}
	want := &appSpec{
		Files:      []fileMapping{{".", "/srv/app"}, {"conf/app.conf", "/etc"}},
		FileExists: "OVERWRITE",
		Permissions: []permission{{
			Object: "/srv/app", Pattern: "*.sh", Except: []string{"old.sh"}, Owner: "root", Group: "adm", Mode: "755", Types: []string{"file"},
		}},
		Hooks: map[string][]hookScript{"BeforeInstall": {{"scripts/one.sh", 10, "admin"}, {"scripts/two.sh", 3600, ""}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("specification (-want +got):\n%s", diff)
	}
}

func TestParseAppSpecErrors(t *testing.T) {
	const begin = "version: 0.0\nos: linux\n"
	for text, want := range map[string]string{
		"":                            "a: it is empty: version and os are needed at least",
		"# nothing":                   "a: it is empty: version and os are needed at least",
		"os: linux":                   "a:1: version is missing",
		"version: 0.0":                "a:1: os is missing",
		"version: '0.0'":              "a:1: version: want 0.0, without quotes",
		"version: 1.0":                "a:1: version: want 0.0, without quotes",
		"version: 0.0\nos: windows":   `a:2: os: "windows" is not one of linux`,
		"- a":                         "a:1: want keys with values",
		"a: [":                        "a: line 1: did not find expected node content",
		begin + "---\na: b":           "a: it has more than one document",
		begin + "hook: {}":            `a:3: unknown key "hook"`,
		begin + "os: linux":           `a:3: the key "os" comes twice`,
		begin + "1: a":                "a:3: a key is not a text",
		begin + "files: a":            "a:3: want a list",
		begin + "files:\n- source: a": "a:4: a file needs source and destination",
		begin + "files:\n- source: ../a\n  destination: /b":                        `a:4: source: "../a" is outside of the revision`,
		begin + "files:\n- source: a\n  destination: b":                            `a:5: destination: "b" does not begin with /`,
		begin + "files:\n- source: 5\n  destination: /b":                           "a:4: source: want a text",
		begin + "file_exists_behavior: KEEP":                                       `a:3: file_exists_behavior: "KEEP" is not one of DISALLOW, OVERWRITE, RETAIN`,
		begin + "permissions:\n- mode: 644":                                        "a:4: a permission needs an object",
		begin + "permissions:\n- object: /a\n  mode: 0644":                         "a:5: mode: 0644 is read as another number: write 644",
		begin + "permissions:\n- object: /a\n  mode: 888":                          "a:5: mode: want up to four octal digits",
		begin + "permissions:\n- object: /a\n  type: [link]":                       `a:5: type: "link" is not one of file, directory`,
		begin + "permissions:\n- object: /a\n  acls: []":                           "a:5: acls and context are not available: this local cloud's machines have neither",
		begin + "permissions:\n- object: /a\n  owner: a b":                         `a:5: owner: "a b" is not a name`,
		begin + "hooks:\n  Install:\n  - location: a":                              `a:4: "Install" is not a lifecycle event that runs scripts`,
		begin + "hooks:\n  BeforeInstal:\n  - location: a":                         `a:4: "BeforeInstal" is not a lifecycle event that runs scripts`,
		begin + "hooks:\n  AfterInstall:\n  - timeout: 5":                          "a:5: a script needs a location",
		begin + "hooks:\n  AfterInstall:\n  - {location: ../a}":                    `a:5: location: "../a" is outside of the revision`,
		begin + "hooks:\n  AfterInstall:\n  - {location: a, timeout: 0}":           "a:5: timeout: want a number of seconds from 1 to 3600",
		begin + "hooks:\n  AfterInstall:\n  - {location: a, timeout: '5'}":         "a:5: timeout: want a number of seconds from 1 to 3600",
		begin + "hooks:\n  AfterInstall:\n  - {location: a, timeout: 3601}":        "a:5: timeout: want a number of seconds from 1 to 3600",
		begin + "hooks:\n  AfterInstall:\n  - {location: a, runas: '; rm -r /'}":   `a:5: runas: "; rm -r /" is not a name`,
		begin + "hooks:\n  AfterInstall:\n  - {location: a, sudo: true}":           `a:5: unknown key "sudo"`,
		begin + "hooks:\n  AfterInstall: &a\n  - location: a\n  BeforeInstall: *a": "a:6: want a list",
	} {
		_, err := parseAppSpec("a", []byte(text))
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzParseAppSpec(f *testing.F) {
	f.Add([]byte(fullSpec))
	files, err := filepath.Glob("testdata/appspec/*.yml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no corpus: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		spec, err := parseAppSpec("appspec.yml", data)
		if err != nil {
			return
		}
		for event, scripts := range spec.Hooks {
			if !isScripted(event) {
				t.Errorf("event %q", event)
			}
			for _, s := range scripts {
				if !filepath.IsLocal(s.Location) || s.Timeout < 1 || s.Timeout > 3600 {
					t.Errorf("script %+v", s)
				}
			}
		}
		for _, m := range spec.Files {
			if !filepath.IsLocal(m.Source) || !filepath.IsAbs(m.Destination) {
				t.Errorf("file %+v", m)
			}
		}
	})
}
