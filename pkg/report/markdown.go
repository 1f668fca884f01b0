package report

import (
	"fmt"
	"html"
	"strings"
)

const (
	// columns of the drawn timeline: with the names before it, as many as GitHub shows without scrolling.
	columns = 64

	// maxDrawn is how many instances a summary draws, and maxListed how many commits it lists. A step's summary may have
	// 1 MiB; this keeps it below 20 KiB.
	maxDrawn, maxListed = 20, 50
)

// Markdown is the report for the summary of a GitHub Actions job. Its timeline is text in a code block, which every
// reader of Markdown shows alike, as Mermaid's charts have no shares and are not drawn in mail.
func (r Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s %s\n\n", r.Mark(), escape(r.Headline()))
	if summary := r.Summary(); summary != "" {
		fmt.Fprintf(&b, "%s\n\n", escape(summary))
	}
	if r.Cause != "" {
		b.WriteString(codeBlock(r.Cause))
	}
	b.WriteString("| | |\n|---|---|\n")
	for _, f := range r.facts() {
		value := escape(f.Value)
		if f.URL != "" {
			value = "<" + f.URL + ">"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", f.Name, value)
	}
	for _, f := range r.figures() {
		fmt.Fprintf(&b, "| %s | %s |\n", f.Label, f.Value)
	}
	b.WriteString("\n")
	if drawn := r.drawing(); drawn != "" {
		b.WriteString(codeBlock(drawn))
	}
	if len(r.Phases) > 0 {
		b.WriteString("| phase | began | took |\n|---|--:|--:|\n")
		for _, p := range r.Phases {
			mark := ""
			if p.Failed {
				mark = "✗ "
			}
			fmt.Fprintf(&b, "| %s%s%s | %s | %s |\n", strings.Repeat("&emsp;", p.Depth), mark, escape(p.Name), clock(p.At), elapsed(p.Seconds))
		}
		b.WriteString("\n")
	}
	if len(r.Changes) > 0 {
		b.WriteString("### What changed\n\n")
		for i, c := range r.Changes {
			if i == maxListed {
				fmt.Fprintf(&b, "- and %d more\n", len(r.Changes)-maxListed)
				break
			}
			fmt.Fprintf(&b, "- %s\n", escape(c))
		}
	}
	return b.String()
}

// escape makes text that Markdown shows as it is, on one line. What is long is cut off.
func escape(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if letters := []rune(text); len(letters) > 300 {
		text = string(letters[:299]) + "…"
	}
	return html.EscapeString(markup.Replace(text))
}

var markup = strings.NewReplacer("|", `\|`, "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`, "]", `\]`, `\`, `\\`, "#", `\#`, "~", `\~`)

// codeBlock is a code block. Four spaces, and not a fence, since no text can end them.
func codeBlock(text string) string {
	if len(text) > 8000 {
		text = strings.ToValidUTF8(text[:8000], "") + " …"
	}
	return "    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n\n"
}

// drawing is the timeline in letters: the share of each release, failures, and a line for each instance.
func (r Report) drawing() string {
	t := r.timeline()
	if t.to-t.from <= 0 || len(r.Buckets)+len(r.Instances) == 0 {
		return ""
	}
	var b strings.Builder
	line := func(name, drawn string) { fmt.Fprintf(&b, "%-20.20s %s\n", name, strings.TrimRight(drawn, " ")) }
	line("", fmt.Sprintf("%-*s%s", columns-len(clock(t.to)), clock(t.from), clock(t.to)))
	for _, s := range r.Totals.Releases {
		name := s.Release
		if name == "" {
			name = "(unnamed)"
		}
		line(name, r.shares(t, func(b Bucket) int { return b.Releases[s.Release] }))
	}
	if r.Totals.Failed > 0 {
		line("failed", r.shares(t, func(b Bucket) int { return b.Failed }))
	}
	for n, i := range r.Instances {
		if n == maxDrawn {
			fmt.Fprintf(&b, "and %s more instances\n", thousands(len(r.Instances)-maxDrawn))
			break
		}
		drawn := []rune(strings.Repeat(" ", columns))
		for _, s := range i.Spans {
			for c := column(t, s.From); c < max(column(t, s.To), column(t, s.From)+1) && c < columns; c++ {
				drawn[c] = letters[s.State]
			}
		}
		line(i.ID, string(drawn))
	}
	if len(r.Instances) > 0 {
		b.WriteString("\n· pending  : held  ░ warming up  █ healthy  ! unhealthy  s standby  ▒ draining  - terminating\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

var letters = map[State]rune{Pending: '·', Held: ':', Warming: '░', Healthy: '█', Unhealthy: '!', Standby: 's', Draining: '▒', Terminating: '-'}

func column(t timeline, at float64) int { return int(t.x(at) * columns / 100) }

// shares draws the share of some of the requests as columns of eight heights; any share can be seen.
func (r Report) shares(t timeline, count func(Bucket) int) string {
	var some, all [columns]int
	for _, b := range r.Buckets {
		// A bucket can be wider than a column.
		for c := column(t, b.At); c < min(columns, max(column(t, b.At)+1, column(t, b.At+r.Width))); c++ {
			some[c] += count(b)
			all[c] += b.Requests
		}
	}
	heights := []rune(" ▁▂▃▄▅▆▇█")
	drawn := make([]rune, columns)
	for c := range drawn {
		drawn[c] = ' '
		if some[c] > 0 {
			drawn[c] = heights[max(1, 8*some[c]/all[c])]
		}
	}
	return string(drawn)
}
