package terraform

import (
	"fmt"
	"regexp"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// Error is a Terraform command that failed.
type Error struct {
	Operation string   // the subcommand: "plan"
	Problems  []string // what Terraform called errors, a line each
	Log       string   // file with everything that Terraform wrote
	Err       error    // how the command ended; nil when it ran well and found the problems
}

// Error has the problems, or how the command ended where Terraform named none, and then the log.
func (e *Error) Error() string {
	var text string
	switch {
	case len(e.Problems) == 1:
		text = e.Problems[0]
	case len(e.Problems) > 1:
		text = fmt.Sprintf("%d errors:\n  %s\n ", len(e.Problems), strings.Join(e.Problems, "\n  "))
	case e.Err != nil:
		text, _, _ = strings.Cut(e.Err.Error(), "\n")
	default:
		text = "unknown error"
	}
	text = "terraform " + e.Operation + ": " + text
	if e.Log != "" {
		text += " (see " + e.Log + ")"
	}
	return text
}

// Unwrap returns how the command ended.
func (e *Error) Unwrap() error { return e.Err }

// problem is an error that Terraform reports.
type problem struct {
	summary, detail string
	address         string // of the resource
	place           string // FILE:LINE
}

// line is the problem on one line.
func (p problem) line() string {
	text := p.summary
	if detail := firstParagraph(p.detail); detail != "" {
		text += ": " + detail
	}
	var where []string
	for _, w := range []string{p.address, p.place} {
		if w != "" {
			where = append(where, w)
		}
	}
	if len(where) > 0 {
		text += " (" + strings.Join(where, ", ") + ")"
	}
	return text
}

// firstParagraph returns the text before the first empty line, with its line ends as spaces.
func firstParagraph(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n\n")
	return strings.Join(strings.Fields(text), " ")
}

// diagnosticLine is a diagnostic of Terraform's JSON output on one line.
func diagnosticLine(d tfjson.Diagnostic) string {
	p := problem{summary: d.Summary, detail: d.Detail, address: d.Address}
	if d.Range != nil {
		p.place = fmt.Sprintf("%s:%d", d.Range.Filename, d.Range.Start.Line)
	}
	return p.line()
}

// parseErrors finds the errors in what Terraform wrote for people, with or without the boxes that it draws around them.
func parseErrors(text string) []string {
	address := regexp.MustCompile(`^  with (.+),$`)
	place := regexp.MustCompile(`^  on (.+) line (\d+)`)
	source := regexp.MustCompile(`^ +(\d+:|├|│)`)
	var found []string
	var current *problem
	end := func() {
		if current != nil {
			found = append(found, current.line())
		}
		current = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if boxed, ok := strings.CutPrefix(line, "│"); ok {
			line = strings.TrimPrefix(boxed, " ")
		}
		if summary, ok := strings.CutPrefix(line, "Error: "); ok {
			end()
			current = &problem{summary: summary}
			continue
		}
		if line == "╷" || line == "╵" || strings.HasPrefix(line, "Warning: ") {
			end()
		}
		if current == nil {
			continue
		}
		if m := address.FindStringSubmatch(line); m != nil {
			current.address = m[1]
		} else if m := place.FindStringSubmatch(line); m != nil {
			current.place = m[1] + ":" + m[2]
		} else if !source.MatchString(line) {
			current.detail += line + "\n"
		}
	}
	end()
	return found
}

// withRemedy adds what to do about problem where that is known.
func (s *Stack) withRemedy(problem string) string {
	if !strings.HasPrefix(problem, "Error acquiring the state lock") {
		return problem
	}
	field := func(name string) string {
		_, value, _ := strings.Cut(problem, " "+name+": ")
		value, _, _ = strings.Cut(value, " ")
		return value
	}
	if field("Who") == "" { // nobody has it: Terraform could not take it
		_, reason, _ := strings.Cut(problem, "Error message: ")
		return "the state cannot be locked: " + reason
	}
	remedy := fmt.Sprintf("`TF_DATA_DIR=%s terraform -chdir=%s force-unlock %s` releases the lock", s.tfDataDir(), s.workDir(), field("ID"))
	if s.S3 == nil && s.StatePath != "" {
		// The operating system holds this lock, and takes it back when the process that has it ends.
		remedy = fmt.Sprintf("`fuser -v %s` names the process to end", s.StatePath)
	}
	return fmt.Sprintf("the state is locked by a run of %s (%s): wait for it to end; if it is dead, %s",
		field("Who"), strings.TrimPrefix(field("Operation"), "OperationType"), remedy)
}
