package terraform

import (
	"fmt"
	"strings"
)

// maxMarkdown is how long Markdown gets, in bytes: GitHub shows no job summary of more than 1 MiB, and something else may
// be in it.
const maxMarkdown = 1<<20 - 64<<10

// Markdown is the plan for people who read it in a browser: what happens to which resource, and, folded away, a text, which
// is Terraform's own presentation. A plan that is too long for a job summary of GitHub's is cut.
func (p *Plan) Markdown(text string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### Infrastructure: %s\n\n", p.Summary())
	if len(p.Changes) > 0 {
		b.WriteString("| | Resource | What changes |\n|---|---|---|\n")
	}
	for i, c := range p.Changes {
		row := fmt.Sprintf("| %s | `%s` | %s |\n", c.Action, c.Address, codeList(c.Fields))
		if b.Len()+len(row) > maxMarkdown/2 {
			fmt.Fprintf(&b, "| … | %d more | |\n", len(p.Changes)-i)
			break
		}
		b.WriteString(row)
	}
	if text == "" || !p.Changed {
		return b.String()
	}
	cut := ""
	fence := fence(text)
	const open, end = "\n<details><summary>Everything that Terraform says</summary>\n\n", "\n\n</details>\n"
	const cutNote = "\n… cut here, since a job summary has an end; the rest is in Terraform's log\n"
	if room := maxMarkdown - b.Len() - len(open) - len(end) - len(cutNote) - 2*len(fence) - len("terraform\n\n"); len(text) > room {
		text, cut = text[:strings.LastIndexByte(text[:room], '\n')+1], cutNote
	}
	fmt.Fprintf(&b, "%s%sterraform\n%s%s\n%s%s", open, fence, text, cut, fence, end)
	return b.String()
}

// fence is a row of backticks that is longer than any in text.
func fence(text string) string {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence
}

// codeList lists names as code.
func codeList(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "`" + strings.Join(names, "`, `") + "`"
}
