package packer

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

const templates = "../../packer"

func TestRender(t *testing.T) {
	const source = `# The machine.
source "amazon-ebs" "debian" {
  region = var.region # kept
}

source "null" "other" {
}

locals {
  a = "{{ .Vars }}"
}
`
	const rendered = `# The machine.
source "amazon-ebs" "debian" {
  region                  = var.region # kept
  temporary_key_pair_type = "ed25519"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
}

source "null" "other" {
}

locals {
  a = "{{ .Vars }}"
}
`
	for version, want := range map[string]string{"1.6.6": source, "1.14.0": rendered} {
		got, err := render("source.pkr.hcl", []byte(source), capabilitiesOf(v(version)), additions{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(hclwrite.Format(got))); diff != "" {
			t.Errorf("%s: -want +got\n%s", version, diff)
		}
		again, err := render("source.pkr.hcl", got, capabilitiesOf(v(version)), additions{})
		if err != nil || string(again) != string(got) {
			t.Errorf("%s: what is said already is said again: %v\n%s", version, err, again)
		}
	}
}

// What a build adds is in the copy alone: an image is known by the templates as they are.
func TestRenderAdditions(t *testing.T) {
	before, err := os.ReadFile(filepath.Join(templates, "source.pkr.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	const credits, key = "enable_unlimited_credits = true", `kms_key_id            = "alias/mine"`
	for name, tc := range map[string]struct {
		version string
		build   Build
		want    map[string]bool
	}{
		"neither":                 {"1.14.0", Build{Variables: Variables{InstanceType: "m7i.large"}}, map[string]bool{credits: false, key: false}},
		"both":                    {"1.14.0", Build{KMSKey: "alias/mine", Variables: Variables{InstanceType: "t3.medium"}}, map[string]bool{credits: true, key: true}},
		"arm64":                   {"1.14.0", Build{Variables: Variables{InstanceType: "t4g.medium"}}, map[string]bool{credits: true, key: false}},
		"1.6.6 asks for no other": {"1.6.6", Build{KMSKey: "alias/mine", Variables: Variables{InstanceType: "t3.medium"}}, map[string]bool{credits: false, key: true}},
	} {
		got, err := render("source.pkr.hcl", before, capabilitiesOf(v(tc.version)), tc.build.additions())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(hclwrite.Format(got))), " ")
		for line, want := range tc.want {
			if strings.Contains(text, strings.Join(strings.Fields(line), " ")) != want {
				t.Errorf("%s: %q is there: %t\n%s", name, line, !want, got)
			}
		}
	}
	if after, err := os.ReadFile(filepath.Join(templates, "source.pkr.hcl")); err != nil || string(after) != string(before) {
		t.Errorf("the template has changed: %v", err)
	}
}

func TestRenderErrors(t *testing.T) {
	if err := renderTemplates(os.DirFS(t.TempDir()), t.TempDir(), capabilities{}, additions{}); err == nil || !strings.Contains(err.Error(), "no template, *.pkr.hcl") {
		t.Errorf("empty folder: %v", err)
	}
	from := t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "a.pkr.hcl"), []byte("source {\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := renderTemplates(os.DirFS(from), t.TempDir(), capabilities{}, additions{}); err == nil || !strings.Contains(err.Error(), "a.pkr.hcl:1") {
		t.Errorf("broken template: %v, want file and line", err)
	}
}

// Variables and the templates' variables are the same.
func TestVariablesMatchTemplates(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(templates, "variables.pkr.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	file, problems := hclwrite.ParseConfig(data, "variables.pkr.hcl", hcl.InitialPos)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	required := map[string]bool{}
	for _, block := range file.Body().Blocks() {
		body := block.Body()
		required[block.Labels()[0]] = body.GetAttribute("default") == nil
		if body.GetAttribute("type") == nil || body.GetAttribute("description") == nil {
			t.Errorf("variable %q has no type or no description", block.Labels()[0])
		}
	}
	got := map[string]bool{}
	for field := range reflect.TypeFor[Variables]().Fields() {
		name, option, _ := strings.Cut(field.Tag.Get("json"), ",")
		got[name] = option != "omitempty"
	}
	got["encrypted"] = false // false is a value
	if diff := cmp.Diff(required, got); diff != "" {
		t.Errorf("required variables: -templates +Variables\n%s", diff)
	}
	source, err := os.ReadFile(filepath.Join(templates, "source.pkr.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	base, err := os.ReadFile(filepath.Join(templates, "base.pkr.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range required {
		if !strings.Contains(string(source)+string(base), "var."+name) {
			t.Errorf("variable %q is not used", name)
		}
	}
}
