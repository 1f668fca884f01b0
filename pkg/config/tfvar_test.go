package config

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/gocty"
)

func TestTerraformVariables(t *testing.T) {
	c := Default()
	c.App = "hello"
	c.Rollout.MinHealthy, c.Rollout.MaxHealthy, c.Rollout.Warmup = 50, 150, 90*time.Second
	want := map[string]any{
		"app": "hello", "port": 8080, "health_path": "/healthz", "architecture": "x86_64", "instance_type": "t3.micro",
		"min_size": 2, "max_size": 4, "min_healthy_percentage": 50, "max_healthy_percentage": 150, "warmup": 90, "start_within": 30,
		"certificate_arn": "", "domain": "", "zone": "", "private": false, "codedeploy": true,
		"github_repository": "", "github_owner_id": "", "github_repository_id": "", "state_bucket": "",
	}
	if diff := cmp.Diff(want, c.TerraformVariables()); diff != "" {
		t.Error(diff)
	}
}

// Every variable of the stack comes from a setting, or from somewhere else for a reason; every tag names a variable; and
// the types agree.
func TestTerraformVariablesAreTheStacks(t *testing.T) {
	const byPeople = "set by people in terraform/*.auto.tfvars, where the default does not suit"
	elsewhere := map[string]string{
		"image_id":    "the current release's image, else the public one: found out when a plan is made",
		"root_device": "the root device of image_id",
		"local":       "whether the cloud is on this machine: seen by its endpoint",
		"released":    "whether there is a current release: found out when a plan is made",

		"cidr":                      byPeople,
		"deletion_protection":       byPeople,
		"deregistration_delay":      byPeople,
		"github_branch":             byPeople,
		"github_old_packer":         byPeople,
		"github_provider":           byPeople,
		"health_check_grace_period": byPeople,
		"health_check_interval":     byPeople,
	}
	declared := stackVariables(t)
	settings := Default()
	settings.Fleet.CPUTarget, settings.Fleet.DiskSize, settings.Fleet.ClientCIDRs, settings.Fleet.EgressPorts = 60, 20, []string{"203.0.113.0/24"}, []int{5432}
	set := settings.TerraformVariables()
	for name, value := range set {
		has, err := gocty.ImpliedType(value)
		if err != nil {
			t.Fatal(err)
		}
		if has.IsListType() { // the settings have no sets
			has = cty.Set(has.ElementType())
		}
		switch want, ok := declared[name]; {
		case !ok:
			t.Errorf("a setting has the tag %q, and terraform/variables.tf no such variable", name)
		case !has.Equals(want):
			t.Errorf("%s is %s here and %s in terraform/variables.tf", name, has.FriendlyName(), want.FriendlyName())
		case elsewhere[name] != "":
			t.Errorf("%s is a setting, and on the list of those that are not", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(declared)) {
		if _, ok := set[name]; !ok && elsewhere[name] == "" {
			t.Errorf("no setting has the tag %q, and the list does not say why", name)
		}
	}
	for name := range elsewhere {
		if _, ok := declared[name]; !ok {
			t.Errorf("terraform/variables.tf has no %s any more", name)
		}
	}
}

// stackVariables returns the types of the stack's input variables.
func stackVariables(t *testing.T) map[string]cty.Type {
	t.Helper()
	file, diags := hclparse.NewParser().ParseHCLFile("../../terraform/variables.tf")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	declared := map[string]cty.Type{}
	for _, block := range file.Body.(*hclsyntax.Body).Blocks {
		constraint, diags := typeexpr.TypeConstraint(block.Body.Attributes["type"].Expr)
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		declared[block.Labels[0]] = constraint
	}
	return declared
}
