// Package stackpolicy reads the IAM policies of the Terraform stack as Terraform makes them, without Terraform: what tests hold against
// what the roles are for.
package stackpolicy

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/dynblock"
	"github.com/hashicorp/hcl/v2/gohcl"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// Names are what only AWS knows once the stack is there.
type Names struct {
	Account, Region string
	// LaunchTemplate is an ARN, InstanceRole, InstanceProfile and CodeDeployRole are names, RevisionsBucket is a bucket's.
	LaunchTemplate, InstanceRole, InstanceProfile, CodeDeployRole, RevisionsBucket string
	// Subnets are IDs.
	Subnets []string
}

// Statement is a statement of a policy document.
type Statement struct {
	SID        string      `hcl:"sid,optional"`
	Effect     string      `hcl:"effect,optional"`
	Actions    []string    `hcl:"actions"`
	Resources  []string    `hcl:"resources,optional"`
	Principals []Principal `hcl:"principals,block"`
	Conditions []Condition `hcl:"condition,block"`
}

// Principal is whom a statement of a trust policy is about.
type Principal struct {
	Type        string   `hcl:"type"`
	Identifiers []string `hcl:"identifiers"`
}

// Condition is a condition of a statement.
type Condition struct {
	Test     string   `hcl:"test"`
	Variable string   `hcl:"variable"`
	Values   []string `hcl:"values"`
}

// JSON returns the document of the statements, as Terraform's provider writes it.
func JSON(statements []Statement) (string, error) {
	var all []map[string]any
	for _, s := range statements {
		one := map[string]any{"Effect": s.Effect, "Action": s.Actions}
		if s.Effect == "" {
			one["Effect"] = "Allow"
		}
		if s.SID != "" {
			one["Sid"] = s.SID
		}
		if len(s.Resources) > 0 {
			one["Resource"] = s.Resources
		}
		if len(s.Principals) > 0 {
			principals := map[string][]string{}
			for _, p := range s.Principals {
				principals[p.Type] = append(principals[p.Type], p.Identifiers...)
			}
			one["Principal"] = principals
		}
		conditions := map[string]map[string][]string{}
		for _, c := range s.Conditions {
			if conditions[c.Test] == nil {
				conditions[c.Test] = map[string][]string{}
			}
			conditions[c.Test][c.Variable] = append(conditions[c.Test][c.Variable], c.Values...)
		}
		if len(conditions) > 0 {
			one["Condition"] = conditions
		}
		all = append(all, one)
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	return string(text), err
}

// Stack is the stack's files with what their expressions may name.
type Stack struct {
	blocks []*hclsyntax.Block
	scope  *hcl.EvalContext
}

// Load reads the stack in a folder, with everything switched on but what the variables say otherwise.
func Load(folder string, names Names, variables map[string]cty.Value) (*Stack, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.tf"))
	if err != nil {
		return nil, fmt.Errorf("read the stack in %q: %w", folder, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("read the stack in %q: there are no files", folder)
	}
	s := &Stack{}
	for _, path := range paths {
		file, diags := hclparse.NewParser().ParseHCLFile(path)
		if diags.HasErrors() {
			return nil, diags
		}
		s.blocks = append(s.blocks, file.Body.(*hclsyntax.Body).Blocks...)
	}
	return s, s.evaluate(names, variables)
}

// evaluate finds the values that expressions of policies may name.
func (s *Stack) evaluate(names Names, variables map[string]cty.Value) error {
	object := func(pairs ...string) cty.Value {
		values := map[string]cty.Value{}
		for i := 0; i < len(pairs); i += 2 {
			values[pairs[i]] = cty.StringVal(pairs[i+1])
		}
		return cty.ObjectVal(values)
	}
	named := func(name string, value cty.Value) cty.Value { return cty.ObjectVal(map[string]cty.Value{name: value}) }
	role := func(name string) cty.Value {
		return object("arn", "arn:aws:iam::"+names.Account+":role/"+name, "id", name)
	}
	var subnets []cty.Value
	for _, id := range names.Subnets {
		subnets = append(subnets, object("arn", "arn:aws:ec2:"+names.Region+":"+names.Account+":subnet/"+id, "id", id))
	}
	set := map[string]cty.Value{
		"app": cty.StringVal("hello"), "codedeploy": cty.True, "github_repository": cty.StringVal("octo-org/octo-repo"), "state_bucket": cty.StringVal("states"),
	}
	maps.Copy(set, variables)
	locals := map[string]hcl.Expression{}
	for _, block := range s.blocks {
		switch block.Type {
		case "variable":
			if at, ok := block.Body.Attributes["default"]; ok && set[block.Labels[0]] == cty.NilVal {
				value, diags := at.Expr.Value(nil)
				if diags.HasErrors() {
					return diags
				}
				set[block.Labels[0]] = value
			}
		case "locals":
			for name, at := range block.Body.Attributes {
				locals[name] = at.Expr
			}
		}
	}
	known := map[string]cty.Value{}
	s.scope = &hcl.EvalContext{
		Variables: map[string]cty.Value{
			"var": cty.ObjectVal(set), "local": cty.EmptyObjectVal,
			"data": cty.ObjectVal(map[string]cty.Value{
				"aws_caller_identity": named("current", object("account_id", names.Account)),
				"aws_partition":       named("current", object("partition", "aws", "dns_suffix", "amazonaws.com")),
				"aws_region":          named("current", object("name", names.Region)),
				"aws_iam_policy_document": cty.ObjectVal(map[string]cty.Value{ // only to be attached
					"plan": object("json", ""), "bake": object("json", ""), "deploy": object("json", ""),
				}),
			}),
			"aws_launch_template":      named("app", object("arn", names.LaunchTemplate)),
			"aws_iam_instance_profile": named("instance", object("arn", "arn:aws:iam::"+names.Account+":instance-profile/"+names.InstanceProfile)),
			"aws_iam_role": cty.ObjectVal(map[string]cty.Value{
				"instance": role(names.InstanceRole), "codedeploy": cty.TupleVal([]cty.Value{role(names.CodeDeployRole)}),
			}),
			"aws_s3_bucket": named("revisions", cty.TupleVal([]cty.Value{object("arn", "arn:aws:s3:::"+names.RevisionsBucket)})),
			"aws_subnet":    named("public", cty.TupleVal(subnets)),
		},
		Functions: map[string]function.Function{
			"concat": stdlib.ConcatFunc, "join": stdlib.JoinFunc, "split": stdlib.SplitFunc, "compact": stdlib.CompactFunc,
			"setproduct": stdlib.SetProductFunc, "tostring": stdlib.MakeToFunc(cty.String),
		},
	}
	// Locals name each other. Those that need more than policies do stay unknown.
	for found := true; found; {
		found = false
		for name, expression := range locals {
			if value, diags := expression.Value(s.scope); !diags.HasErrors() {
				known[name], found = value, true
				delete(locals, name)
				s.scope.Variables["local"] = cty.ObjectVal(known)
			}
		}
	}
	return nil
}

// Statements returns the statements of a policy document. Of one that there is for each of several, each says which, by its key.
func (s *Stack) Statements(document, each string) ([]Statement, error) {
	for _, block := range s.blocks {
		if block.Type != "data" || !slices.Equal(block.Labels, []string{"aws_iam_policy_document", document}) {
			continue
		}
		scope := s.scope
		if at := block.Body.Attributes["for_each"]; at != nil {
			all, diags := at.Expr.Value(s.scope)
			if diags.HasErrors() {
				return nil, diags
			}
			value, ok := all.AsValueMap()[each]
			if !ok {
				return nil, fmt.Errorf("the policy document %q is not there for %q", document, each)
			}
			scope = s.scope.NewChild()
			scope.Variables = map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{"key": cty.StringVal(each), "value": value})}
		}
		var found struct {
			Statements []Statement `hcl:"statement,block"`
			Rest       hcl.Body    `hcl:",remain"`
		}
		if diags := gohcl.DecodeBody(dynblock.Expand(block.Body, scope), scope, &found); diags.HasErrors() {
			return nil, diags
		}
		return found.Statements, nil
	}
	return nil, fmt.Errorf("the stack has no policy document %q", document)
}
