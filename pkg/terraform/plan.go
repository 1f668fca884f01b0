package terraform

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/ingot-build/ingot/pkg/progress"
)

// Plan is what Terraform would do.
type Plan struct {
	// Changed is false when Apply would do nothing: no resource and no output changes. A resource that only has another address
	// in a newer configuration is no change.
	Changed bool
	Changes []Change // by resource, in the order of their addresses

	Add, Change, Destroy int // resources; a replacement is one of Add and one of Destroy

	data     []byte // for Apply; not left in a file, since it holds the variables
	destroys bool
}

// Action is what happens to a resource.
type Action string

// The actions of a Plan.
const (
	Create  Action = "create"
	Update  Action = "update"
	Replace Action = "replace"
	Delete  Action = "delete"
	Forget  Action = "forget" // leaves the state, stays in the cloud
	Import  Action = "import" // is in the cloud, comes into the state, and changes no more than that
)

// Change is what happens to one resource.
type Change struct {
	Address string
	Action  Action
	Fields  []string // names of the attributes that change, for Update and Replace
}

// String writes the change as Terraform marks it: "+ aws_lb.app", "~ aws_lb.app (idle_timeout)".
func (c Change) String() string {
	mark := map[Action]string{Create: "+", Update: "~", Replace: "-/+", Delete: "-", Forget: ".", Import: "<"}[c.Action]
	text := mark + " " + c.Address
	if len(c.Fields) > 0 {
		text += " (" + strings.Join(c.Fields, ", ") + ")"
	}
	return text
}

// Summary is the plan in a few words: "no changes", "2 to add, 1 to change".
func (p *Plan) Summary() string {
	var parts []string
	for _, part := range []struct {
		count int
		what  string
	}{{p.Add, "add"}, {p.Change, "change"}, {p.Destroy, "destroy"}} {
		if part.count > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", part.count, part.what))
		}
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, ", ")
	case slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Action == Import }):
		return "resources are adopted"
	case p.Changed:
		return "only outputs change"
	default:
		return "no changes"
	}
}

// Creates reports whether the plan makes the resource anew, where the state has none.
func (p *Plan) Creates(address string) bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Address == address && c.Action == Create })
}

// Destroys lists the changes that remove a resource, those that put another one in its place among them.
func (p *Plan) Destroys() []Change {
	return slices.DeleteFunc(slices.Clone(p.Changes), func(c Change) bool { return c.Action != Delete && c.Action != Replace })
}

// done is Summary afterwards: "2 added, 1 changed".
func (p *Plan) done() string {
	return strings.NewReplacer("to add", "added", "to change", "changed", "to destroy", "destroyed").Replace(p.Summary())
}

// steps is how many operations on resources Apply will do.
func (p *Plan) steps() int { return p.Add + p.Change + p.Destroy }

// Plan compares the configuration with what is there. It changes nothing.
func (s *Stack) Plan(ctx context.Context) (*Plan, error) { return s.plan(ctx, false) }

// PlanDestroy plans the removal of everything that the state holds. It changes nothing.
func (s *Stack) PlanDestroy(ctx context.Context) (*Plan, error) { return s.plan(ctx, true) }

func (s *Stack) plan(ctx context.Context, destroy bool) (_ *Plan, err error) {
	stage := progress.Start(ctx, "plan infrastructure")
	var plan *Plan
	defer func() {
		if err != nil {
			stage.Fail(err)
			return
		}
		stage.Done("%s", plan.Summary())
	}()
	err = s.run(ctx, "plan", func(tf *session) error {
		file, err := s.temporary("plan-*", nil)
		if err != nil {
			return err
		}
		defer os.Remove(file)
		changed, err := tf.Plan(ctx, s.planOptions(file, destroy)...)
		if err != nil {
			return err
		}
		shown := &tfjson.Plan{}
		if changed { // it takes Terraform seconds to say even that there is nothing
			tf.SetStdout(io.Discard) // the plan again, as one long line
			if shown, err = tf.ShowPlanFile(ctx, file); err != nil {
				return err
			}
		}
		plan = newPlan(shown)
		plan.destroys = destroy
		plan.data, err = os.ReadFile(file)
		return err
	})
	if err != nil {
		return nil, err
	}
	return plan, nil
}

// ShowPlan returns Terraform's own presentation of a plan, for people, with every value that is not sensitive.
func (s *Stack) ShowPlan(ctx context.Context, plan *Plan) (text string, err error) {
	err = s.run(ctx, "show", func(tf *session) error {
		file, err := s.temporary("plan-*", plan.data)
		if err != nil {
			return err
		}
		defer os.Remove(file)
		tf.SetStdout(io.Discard) // the log has it from Plan
		text, err = tf.ShowPlanFileRaw(ctx, file)
		return err
	})
	return strings.TrimSpace(text), err
}

// newPlan reads the changes of shown.
func newPlan(shown *tfjson.Plan) *Plan {
	p := &Plan{}
	for _, resource := range shown.ResourceChanges {
		if resource.Change == nil {
			continue
		}
		c := Change{Address: resource.Address}
		switch actions := resource.Change.Actions; {
		case actions.Replace():
			c.Action, c.Fields = Replace, changedFields(resource.Change)
			p.Add, p.Destroy = p.Add+1, p.Destroy+1
		case actions.Create():
			c.Action = Create
			p.Add++
		case actions.Update():
			c.Action, c.Fields = Update, changedFields(resource.Change)
			p.Change++
		case actions.Delete():
			c.Action = Delete
			p.Destroy++
		case actions.Forget():
			c.Action = Forget
		case resource.Change.Importing != nil:
			c.Action = Import
		default: // no-op, read
			continue
		}
		p.Changes = append(p.Changes, c)
	}
	slices.SortStableFunc(p.Changes, func(a, b Change) int { return strings.Compare(a.Address, b.Address) })
	p.Changed = len(p.Changes) > 0 || slices.ContainsFunc(slices.Collect(maps.Values(shown.OutputChanges)), func(c *tfjson.Change) bool { return c != nil && !c.Actions.NoOp() })
	return p
}

// changedFields returns the names of the attributes that differ, or that are only known after the change.
func changedFields(change *tfjson.Change) []string {
	before, _ := change.Before.(map[string]any)
	after, _ := change.After.(map[string]any)
	unknown, _ := change.AfterUnknown.(map[string]any)
	names := map[string]bool{}
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { return reflect.DeepEqual(before[name], after[name]) })
	for name, value := range unknown {
		if value == true {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
