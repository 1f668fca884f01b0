package terraform

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	tfjson "github.com/hashicorp/terraform-json"
)

// plannedChanges is `terraform show -json` of a plan, cut to what is read.
const plannedChanges = `{
  "format_version": "1.2",
  "terraform_version": "1.11.4",
  "resource_changes": [
    {"address": "data.aws_region.current", "mode": "data", "change": {"actions": ["read"]}},
    {"address": "aws_vpc.app", "change": {"actions": ["no-op"], "before": {"id": "vpc-1"}, "after": {"id": "vpc-1"}}},
    {"address": "aws_subnet.public[1]", "change": {"actions": ["delete"], "before": {"id": "subnet-1"}, "after": null}},
    {"address": "aws_lb_target_group.app", "change": {
      "actions": ["create", "delete"],
      "before": {"arn": "arn:1", "port": 8080, "health_check": [{"path": "/healthz"}]},
      "after": {"port": 9090, "health_check": [{"path": "/healthz"}]},
      "after_unknown": {"arn": true, "health_check": [{}]}
    }},
    {"address": "aws_autoscaling_group.app", "change": {
      "actions": ["update"],
      "before": {"min_size": 0, "max_size": 4},
      "after": {"min_size": 2, "max_size": 4},
      "after_unknown": {}
    }},
    {"address": "aws_lb.app", "change": {"actions": ["create"], "before": null, "after": {"name": "hello"}, "after_unknown": {"arn": true}}}
  ]
}`

func TestNewPlan(t *testing.T) {
	var shown tfjson.Plan
	if err := json.Unmarshal([]byte(plannedChanges), &shown); err != nil {
		t.Fatal(err)
	}
	plan := newPlan(&shown)
	want := &Plan{Changed: true, Add: 2, Change: 1, Destroy: 2, Changes: []Change{
		{Address: "aws_autoscaling_group.app", Action: Update, Fields: []string{"min_size"}},
		{Address: "aws_lb.app", Action: Create},
		{Address: "aws_lb_target_group.app", Action: Replace, Fields: []string{"arn", "port"}},
		{Address: "aws_subnet.public[1]", Action: Delete},
	}}
	if diff := cmp.Diff(want, plan, cmpopts.IgnoreUnexported(Plan{})); diff != "" {
		t.Error(diff)
	}
	if got, want := plan.Summary(), "2 to add, 1 to change, 2 to destroy"; got != want {
		t.Errorf("Summary = %q, want %q", got, want)
	}
	if got, want := plan.done(), "2 added, 1 changed, 2 destroyed"; got != want {
		t.Errorf("done = %q, want %q", got, want)
	}
	if !plan.Creates("aws_lb.app") || plan.Creates("aws_lb_target_group.app") || plan.Creates("aws_vpc.app") {
		t.Error("Creates is about what the state does not have, and nothing else")
	}
	var marks []string
	for _, c := range plan.Changes {
		marks = append(marks, c.String())
	}
	if diff := cmp.Diff([]string{
		"~ aws_autoscaling_group.app (min_size)",
		"+ aws_lb.app",
		"-/+ aws_lb_target_group.app (arn, port)",
		"- aws_subnet.public[1]",
	}, marks); diff != "" {
		t.Error(diff)
	}
}

// TestMovedIsNoChange: a resource that has another address in a newer configuration, "aws_lb.app[0]", has nothing done to it.
func TestMovedIsNoChange(t *testing.T) {
	for name, test := range map[string]struct {
		shown   string
		changed bool
		summary string
	}{
		"moved":            {`"resource_changes": [{"address": "aws_lb.app[0]", "previous_address": "aws_lb.app", "change": {"actions": ["no-op"]}}], "output_changes": {"url": {"actions": ["no-op"]}}`, false, "no changes"},
		"moved and output": {`"resource_changes": [{"address": "aws_lb.app[0]", "previous_address": "aws_lb.app", "change": {"actions": ["no-op"]}}], "output_changes": {"url": {"actions": ["update"]}}`, true, "only outputs change"},
		"adopted":          {`"resource_changes": [{"address": "aws_lb.app[0]", "change": {"actions": ["no-op"], "importing": {"id": "arn"}}}]`, true, "resources are adopted"},
		"moved, changed":   {`"resource_changes": [{"address": "aws_lb.app[0]", "previous_address": "aws_lb.app", "change": {"actions": ["update"]}}]`, true, "1 to change"},
	} {
		var shown tfjson.Plan
		if err := json.Unmarshal([]byte(`{"format_version": "1.2", `+test.shown+`}`), &shown); err != nil {
			t.Fatal(err)
		}
		if plan := newPlan(&shown); plan.Changed != test.changed || plan.Summary() != test.summary {
			t.Errorf("%s: changed %t, %q", name, plan.Changed, plan.Summary())
		}
	}
}

func TestSummary(t *testing.T) {
	for want, plan := range map[string]Plan{
		"no changes":          {},
		"only outputs change": {Changed: true},
		"22 to add":           {Changed: true, Add: 22},
		"1 to destroy":        {Changed: true, Destroy: 1},
	} {
		if got := plan.Summary(); got != want {
			t.Errorf("Summary = %q, want %q", got, want)
		}
	}
}
