package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// A name that the settings take is one that the stack takes, and the other way round.
func TestNamesAreTheStacks(t *testing.T) {
	app := map[string]bool{
		"hello": true, "abc": true, "a-1": true, "a" + strings.Repeat("b", 23): true, "internals": true, "sgx": true,
		"": false, "a": false, "hi": false, "a" + strings.Repeat("b", 24): false, "1abc": false, "abc-": false, "Abc": false, "a_b": false,
		"internal-x": false, "sg-x": false, "xn--x": false, "sthree-x": false, "sthree-configurator": false, "amzn-s3-demo-x": false,
	}
	bucket := map[string]bool{
		"": true, "abc": true, "1.2": true, "my.states": true, "1.2.3.four": true, "hello-x-s3": true, "s3alias": true,
		"ab": false, strings.Repeat("a", 63): true, strings.Repeat("a", 64): false, "a..b": false, "192.0.2.1": false, "A-b": false, "-ab": false, "ab-": false, "a_b": false,
		"xn--abc": false, "sthree-abc": false, "sthree-configurator-x": false, "amzn-s3-demo-x": false,
		"abc-s3alias": false, "abc--ol-s3": false, "abc.mrap": false, "abc--x-s3": false, "abc--table-s3": false,
	}
	for name, want := range app {
		_, err := Parse(fmt.Appendf(nil, "app = %q", name), File)
		if here, there := err == nil, stackTakes(t, "app", name); here != want || there != want {
			t.Errorf("app %q is allowed here %t, and by the stack %t, want %t", name, here, there, want)
		}
	}
	for name, want := range bucket {
		_, err := Parse(fmt.Appendf(nil, "app = \"hello\"\nstate {\n  bucket = %q\n}", name), File)
		if here, there := err == nil, stackTakes(t, "state_bucket", name); here != want || there != want {
			t.Errorf("state.bucket %q is allowed here %t, and by the stack %t, want %t", name, here, there, want)
		}
	}
}

// stackTakes evaluates the validation rules of a variable of the stack.
func stackTakes(t *testing.T, variable, value string) bool {
	t.Helper()
	file, diags := hclparse.NewParser().ParseHCLFile("../../terraform/variables.tf")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	scope := &hcl.EvalContext{
		Variables: map[string]cty.Value{"var": cty.ObjectVal(map[string]cty.Value{variable: cty.StringVal(value)})},
		Functions: map[string]function.Function{"can": tryfunc.CanFunc, "regex": stdlib.RegexFunc},
	}
	rules := 0
	for _, block := range file.Body.(*hclsyntax.Body).Blocks {
		if block.Labels[0] != variable {
			continue
		}
		for _, rule := range block.Body.Blocks {
			rules++
			ok, diags := rule.Body.Attributes["condition"].Expr.Value(scope)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if ok.False() {
				return false
			}
		}
	}
	if rules == 0 {
		t.Fatalf("the stack has no rules for %s", variable)
	}
	return true
}
