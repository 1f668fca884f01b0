package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"strings"
	"time"
)

//go:embed page.html.tmpl
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"clock":     clock,
	"elapsed":   elapsed,
	"ms":        milliseconds,
	"thousands": thousands,
	"top":       func(class string, middle int) int { return middle - barHeight(class)/2 },
	"thick":     barHeight,
}).Parse(pageSource))

// page is what the template shows.
type page struct {
	Report
	T      timeline
	Figure []figure
	Facts  []fact
	Bars   []phaseBar
	Keys   []key
	Life   []key
	Height int // of the lanes, pixels
}

// figure is a number that is seen first.
type figure struct{ Value, Label, Class string }

type fact struct {
	Name, Value string
	URL         string // what it links to
	Code        bool
}

type phaseBar struct {
	Phase
	X, Width percent
}

// key is an entry of a legend.
type key struct{ Class, Text string }

func (r Report) html(w io.Writer) error {
	p := page{Report: r, T: r.timeline(), Figure: r.figures(), Facts: r.facts()}
	p.Height = len(p.T.Lanes) * laneHeight
	for _, phase := range r.Phases {
		p.Bars = append(p.Bars, phaseBar{phase, percentOf(phase.At, r.Seconds), max(0.4, percentOf(phase.Seconds, r.Seconds))})
	}
	p.Keys, p.Life = r.keys()
	return pageTemplate.Execute(w, p)
}

// Why is the cause in a line, without what the page says anyway: which release it was.
func (p page) Why() string {
	line, _, _ := strings.Cut(p.Cause, "\n")
	return strings.TrimPrefix(line, fmt.Sprintf("roll out release %q: ", p.Release))
}

// Evidence is what was seen of the cause.
func (p page) Evidence() string {
	_, rest, _ := strings.Cut(p.Cause, "\n")
	return rest
}

// shortEvidence is how many lines are shown without being asked for.
const shortEvidence = 6

// Short tells whether the evidence is little enough to be read at once.
func (p page) Short() bool { return strings.Count(p.Evidence(), "\n") < shortEvidence }

func percentOf(part, whole float64) percent {
	if whole <= 0 {
		return 0
	}
	return percent(100 * max(0, min(1, part/whole)))
}

// barHeight is the height of a bar in pixels: an instance that is not there yet, or hardly any more, is thinner.
func barHeight(class string) int {
	switch class {
	case Pending.class():
		return 8
	case Terminating.class():
		return 4
	}
	return 12
}

// Headline says in one sentence how it ended.
func (r Report) Headline() string {
	switch r.Result {
	case Succeeded:
		return fmt.Sprintf("Release %s is live", r.Release)
	case Reverted:
		return fmt.Sprintf("Release %s was rolled back", r.Release)
	case Undeployed:
		return fmt.Sprintf("Release %s is live, but its deployment failed", r.Release)
	case Interrupted:
		return fmt.Sprintf("The rollout of release %s was left to itself", r.Release)
	}
	return fmt.Sprintf("The rollout of release %s failed", r.Release)
}

// Mark is a sign for how it ended.
func (r Report) Mark() string {
	if r.Result == Undeployed {
		return "!"
	}
	return map[string]string{"good": "✓", "open": "…", "bad": "✗"}[r.Tone()]
}

// Tone is the class of what is coloured by how it ended.
func (r Report) Tone() string {
	switch r.Result {
	case Succeeded:
		return "good"
	case Interrupted, Undeployed:
		return "open"
	}
	return "bad"
}

// Summary says in one sentence what users saw of it.
func (r Report) Summary() string {
	var said []string
	if before := r.Previous; before != "" && r.Result == Reverted {
		said = append(said, fmt.Sprintf("Release %s serves.", before))
	}
	if r.Unseen != "" {
		said = append(said, fmt.Sprintf("Not verified from here: %s. All targets are healthy, and that decided.", r.Unseen))
	}
	t := r.Totals
	switch {
	case t.Requests == 0:
	case t.Failed == 0:
		said = append(said, fmt.Sprintf("%s requests while it rolled, and none failed.", thousands(t.Requests)))
	default:
		said = append(said, fmt.Sprintf("%s of %s requests failed while it rolled.", thousands(t.Failed), thousands(t.Requests)))
	}
	return strings.Join(said, " ")
}

func (r Report) figures() []figure {
	figures := []figure{{Value: elapsed(r.Seconds), Label: "in total"}}
	if t := r.Totals; t.Requests > 0 {
		class := "good"
		if t.Failed > 0 {
			class = "bad"
		}
		figures = append(figures,
			figure{Value: thousands(t.Failed), Label: fmt.Sprintf("of %s requests failed", thousands(t.Requests)), Class: class},
			figure{Value: milliseconds(t.Median), Label: "median latency"},
			figure{Value: milliseconds(t.P99), Label: "99th percentile"},
		)
	}
	fresh := 0
	for _, i := range r.Instances {
		if r.role(i.Release) == "new" {
			fresh++
		}
	}
	if fresh > 0 {
		figures = append(figures, figure{Value: thousands(fresh), Label: "instances launched"})
	}
	return figures
}

func (r Report) facts() []fact {
	facts := []fact{{Name: "Application", Value: r.App}, {Name: "Release", Value: r.Release, Code: true}}
	add := func(name, value string, code bool) {
		if value != "" {
			facts = append(facts, fact{Name: name, Value: value, URL: link(value), Code: code})
		}
	}
	add("Before it", r.Previous, true)
	add("Image", r.Image, true)
	add("Commit", r.Commit, true)
	add("By", r.By, false)
	add("Begin", r.Begin.Format("2 January 2006, 15:04:05 MST"), false)
	if r.URL != "" {
		add("Serves at", r.URL, false)
	}
	return facts
}

// link is what a value links to where it is the URL of a web page.
func link(value string) string {
	if u, err := url.Parse(value); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
		return value
	}
	return ""
}

// keys are the legends of what is in the drawing: releases, and states.
func (r Report) keys() (releases, life []key) {
	seen := map[string]bool{}
	add := func(release string) {
		if role := r.role(release); !seen[release] {
			seen[release] = true
			text := map[string]string{"new": release + " (new)", "old": release + " (before)", "none": "does not say its release", "other": release}[role]
			releases = append(releases, key{"r-" + role, text})
		}
	}
	add(r.Release)
	if r.Previous != "" {
		add(r.Previous)
	}
	for _, s := range r.Totals.Releases {
		add(s.Release)
	}
	there := map[State]bool{}
	for _, i := range r.Instances {
		for _, s := range i.Spans {
			there[s.State] = true
		}
	}
	for _, s := range states {
		if there[s] {
			life = append(life, key{s.class(), string(s)})
		}
	}
	return releases, life
}

// Roles are what releases are to a rollout; each has its colour.
func (page) Roles() []string { return roles }

// Date is when it began.
func (r Report) Date() string { return r.Begin.Format(time.RFC3339) }

// Troubled are the instances with something against them, for a table that must not list a thousand good ones.
func (r Report) Troubled() []Instance {
	if len(r.Instances) <= maxLanes {
		return r.Instances
	}
	var some []Instance
	for _, i := range r.Instances {
		if i.Trouble() != "" && len(some) < maxLanes {
			some = append(some, i)
		}
	}
	return some
}

// Trouble is the last thing that was held against an instance.
func (i Instance) Trouble() string {
	trouble := ""
	for _, s := range i.Spans {
		if s.State == Unhealthy {
			trouble = s.Reason
		}
	}
	return trouble
}
