package terraform

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMarkdown(t *testing.T) {
	for name, test := range map[string]struct {
		plan Plan
		text string
		want string
	}{
		"no changes": {Plan{}, "No changes. Your infrastructure matches the configuration.", "### Infrastructure: no changes\n\n"},
		"changes": {Plan{
			Changed: true, Add: 1, Change: 1,
			Changes: []Change{
				{Address: `aws_iam_role.github["plan"]`, Action: Create},
				{Address: "aws_lb.app", Action: Update, Fields: []string{"idle_timeout", "name"}},
			},
		}, "  # aws_lb.app\n  + script = ```ls```", "### Infrastructure: 1 to add, 1 to change\n\n" +
			"| | Resource | What changes |\n|---|---|---|\n" +
			"| create | `aws_iam_role.github[\"plan\"]` |  |\n" +
			"| update | `aws_lb.app` | `idle_timeout`, `name` |\n" +
			"\n<details><summary>Everything that Terraform says</summary>\n\n" +
			"````terraform\n  # aws_lb.app\n  + script = ```ls```\n````\n\n</details>\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.plan.Markdown(test.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMarkdownHasAnEnd(t *testing.T) {
	for name, text := range map[string]string{
		"long text":   strings.Repeat("  + one more line of a plan\n", 100_000),
		"one line":    strings.Repeat("x", 3<<20),
		"many things": strings.Repeat("x\n", 1<<20),
	} {
		plan := Plan{Changed: true}
		t.Run(name, func(t *testing.T) {
			if name == "many things" {
				for i := range 50_000 {
					plan.Changes = append(plan.Changes, Change{Address: fmt.Sprintf("aws_subnet.public[%d]", i), Action: Delete})
				}
			}
			got := plan.Markdown(text)
			if len(got) > 1<<20 || !strings.HasSuffix(got, "</details>\n") || strings.Count(got, "```") != 2 {
				t.Errorf("%d bytes that end with %q", len(got), got[len(got)-50:])
			}
			if name == "many things" && !strings.Contains(got, " more | |\n") {
				t.Error("it does not say that there are more changes")
			}
		})
	}
}
