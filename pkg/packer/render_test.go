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
	for version, want := range map[Version]string{{1, 6, 6}: source, {1, 14, 0}: rendered} {
		got, err := render("source.pkr.hcl", []byte(source), version.Capabilities())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(hclwrite.Format(got))); diff != "" {
			t.Errorf("%s: -want +got\n%s", version, diff)
		}
		again, err := render("source.pkr.hcl", got, version.Capabilities())
		if err != nil || string(again) != string(got) {
			t.Errorf("%s: what is said already is said again: %v\n%s", version, err, again)
		}
	}
}

func TestRenderErrors(t *testing.T) {
	if err := renderTemplates(t.TempDir(), t.TempDir(), Capabilities{}); err == nil || !strings.Contains(err.Error(), "holds no *.pkr.hcl") {
		t.Errorf("empty folder: %v", err)
	}
	from := t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "a.pkr.hcl"), []byte("source {\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := renderTemplates(from, t.TempDir(), Capabilities{}); err == nil || !strings.Contains(err.Error(), "a.pkr.hcl:1") {
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
