package terraform

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	tfjson "github.com/hashicorp/terraform-json"
)

// event is a line of `terraform apply -json`, see
// https://developer.hashicorp.com/terraform/internals/machine-readable-ui.
type event struct {
	Message string `json:"@message"`
	Type    string `json:"type"`
	Hook    struct {
		Resource struct {
			Address string `json:"addr"`
		} `json:"resource"`
		Action  string `json:"action"`
		Elapsed int    `json:"elapsed_seconds"`
	} `json:"hook"`
	Diagnostic tfjson.Diagnostic `json:"diagnostic"`
}

// events follows an apply: it tells what is being done, collects what goes wrong, and writes a log that people can read.
type events struct {
	log    io.Writer
	total  int               // operations in the plan
	update func(text string) // gets what is being done now

	running  []operation // in the order in which they began
	done     int
	last     string // the operation that update got last
	problems []string
}

type operation struct {
	address, verb string
	elapsed       int // seconds
}

// line takes one line of output.
func (e *events) line(line string) {
	var ev event
	if err := json.Unmarshal([]byte(line), &ev); err != nil || ev.Message == "" {
		fmt.Fprintf(e.log, "%s\n", line) // a warning of the command itself is plain text
		return
	}
	fmt.Fprintln(e.log, ev.Message)
	switch ev.Type {
	case "apply_start":
		e.running = append(e.running, operation{address: ev.Hook.Resource.Address, verb: verb(ev.Hook.Action)})
	case "apply_progress":
		for i := range e.running {
			if e.running[i].address == ev.Hook.Resource.Address {
				e.running[i].elapsed = ev.Hook.Elapsed
			}
		}
	case "apply_complete", "apply_errored":
		// A resource that is replaced ends twice under one address, the first operation first.
		i := slices.IndexFunc(e.running, func(o operation) bool { return o.address == ev.Hook.Resource.Address })
		if i >= 0 {
			e.running = slices.Delete(e.running, i, i+1)
		}
		if ev.Type == "apply_complete" && ev.Hook.Action != "read" { // what is read is in no total
			e.done++
		}
	case "diagnostic":
		if ev.Diagnostic.Detail != "" {
			fmt.Fprintln(e.log, ev.Diagnostic.Detail)
		}
		if ev.Diagnostic.Severity == tfjson.DiagnosticSeverityError {
			e.problems = append(e.problems, diagnosticLine(ev.Diagnostic))
		}
		return
	default:
		return
	}
	// How many are done rides along and is no news of its own: off a terminal every update is a line.
	if now := e.now(); now != e.last && now != "" {
		e.last = now
		e.update(fmt.Sprintf("%s, %d of %d done", now, e.done, e.total))
	}
}

// now names the operation that has been running longest, which is the one that the others are likely to wait for.
func (e *events) now() string {
	if len(e.running) == 0 {
		return ""
	}
	o := e.running[0]
	text := o.verb + " " + o.address
	if o.elapsed > 0 {
		text += fmt.Sprintf(" (%ds)", o.elapsed)
	}
	return text
}

// verb is the action of a hook as something that is going on.
func verb(action string) string {
	switch action {
	case "create":
		return "creating"
	case "update":
		return "updating"
	case "delete":
		return "destroying"
	case "read":
		return "reading"
	default:
		return action
	}
}
