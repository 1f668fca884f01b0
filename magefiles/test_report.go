//go:build mage

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ingot-build/ingot/pkg/progress"
)

// testReport follows the events of "go test -json".
type testReport struct {
	started func(pkg string)
	note    func(string)
	output  map[string][]string // by package and test, until it ends
	failed  []string
	took    []timing // tests without subtests, and packages
}

func newTestReport(note func(string)) *testReport {
	return &testReport{started: func(string) {}, note: note, output: map[string][]string{}}
}

func (r *testReport) event(line string) {
	var e struct {
		Action, Package, ImportPath, Test, Output string
		Elapsed                                   float64 // seconds, without those that a test waited for its turn
	}
	if json.Unmarshal([]byte(line), &e) != nil {
		r.failed = append(r.failed, line+"\n")
		return
	}
	key := e.Package + e.ImportPath + " " + e.Test
	switch e.Action {
	case "start":
		r.started(e.Package)
	case "output", "build-output":
		r.output[key] = append(r.output[key], e.Output)
	case "skip":
		if e.Test != "" {
			r.note("skipped: " + strings.TrimSpace(strings.Join(r.output[key], " ")))
		}
		delete(r.output, key)
	case "fail", "build-fail":
		r.failed = append(r.failed, r.output[key]...)
		delete(r.output, key)
	case "pass":
		delete(r.output, key)
	}
	if e.Action == "pass" || e.Action == "fail" {
		r.took = append(r.took, timing{path.Base(e.Package), e.Test, time.Duration(e.Elapsed * float64(time.Second))})
	}
}

// timing is how long a test took, or a package where there is no test.
type timing struct {
	pkg, test string
	took      time.Duration
}

// timings are where the time of the tests went.
type timings struct {
	parts []part
}

// part is one run of go test.
type part struct {
	name string
	took time.Duration
	all  []timing
}

// How many lines a table has at most.
const (
	slowestPackages = 8
	slowestTests    = 15
	// noticed is what a package or a test takes at least to be listed.
	noticed = 5 * time.Second
)

func (t *timings) add(name string, took time.Duration, r *testReport) {
	t.parts = append(t.parts, part{name, took, r.took})
}

// print writes where the time went: what each part took and, in it, the packages and the tests that took longest. Tests that ran side by
// side take longer together than their part.
func (t *timings) print(w io.Writer) error {
	if len(t.parts) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "WHERE THE TIME WENT\t")
	total := time.Duration(0)
	for _, p := range t.parts {
		total += p.took
		fmt.Fprintf(table, "%s\t%s\n", p.name, progress.Elapsed(p.took))
		for _, s := range p.slowest(slowestPackages, func(s timing) bool { return s.test == "" }) {
			fmt.Fprintf(table, "  %s\t%s\n", s.pkg, progress.Elapsed(s.took))
		}
		for _, s := range p.slowest(slowestTests, func(s timing) bool { return s.test != "" }) {
			fmt.Fprintf(table, "    %s %s\t%s\n", s.pkg, s.test, progress.Elapsed(s.took))
		}
	}
	fmt.Fprintf(table, "all\t%s\n", progress.Elapsed(total))
	return table.Flush()
}

// slowest are the slowest of a kind, the slowest first.
func (p part) slowest(most int, is func(timing) bool) []timing {
	found := slices.DeleteFunc(slices.Clone(p.all), func(s timing) bool { return !is(s) || s.took < noticed })
	slices.SortStableFunc(found, func(a, b timing) int { return cmp.Compare(b.took, a.took) })
	return found[:min(most, len(found))]
}

// morePackages are those of the lines of the second list that the first has not, by their first words. Packages with the suffix come first.
func morePackages(without, with []string, first string) []string {
	var more []string
	for _, line := range with {
		if !slices.Contains(without, line) {
			name, _, _ := strings.Cut(line, " ")
			more = append(more, name)
		}
	}
	slices.SortStableFunc(more, func(a, b string) int {
		rank := func(s string) int {
			if strings.HasSuffix(s, first) {
				return 0
			}
			return 1
		}
		return rank(a) - rank(b)
	})
	return more
}
