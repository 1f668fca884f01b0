//go:build mage

package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		times []time.Duration
		want  time.Duration
	}{{[]time.Duration{3}, 3}, {[]time.Duration{9, 1, 2}, 2}, {[]time.Duration{8, 1, 2, 4}, 3}} {
		if got := median(tt.times); got != tt.want {
			t.Errorf("median of %v = %d, want %d", tt.times, got, tt.want)
		}
	}
}

func TestWithSection(t *testing.T) {
	tests := []struct{ name, page, want string }{
		{"no page", "", "# Benchmarks\n\n## New\n\ntext\n"},
		{"another section", "# Benchmarks\n\n## Other\n\nx\n", "# Benchmarks\n\n## Other\n\nx\n\n## New\n\ntext\n"},
		{"replaced at the end", "# B\n\n## Other\n\nx\n\n## New\n\nold\n\n### Part\n\nold\n", "# B\n\n## Other\n\nx\n\n## New\n\ntext\n"},
		{"replaced in between", "# B\n\n## New\n\nold\n\n## Other\n\nx\n", "# B\n\n## New\n\ntext\n\n## Other\n\nx\n"},
		{"the same", "# B\n\n## New\n\ntext\n\n## Other\n\nx\n", "# B\n\n## New\n\ntext\n\n## Other\n\nx\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, withSection(tt.page, "New", "text\n")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestTable(t *testing.T) {
	var got strings.Builder
	table(&got, []row{
		{name: "a", what: "one", times: []time.Duration{500 * time.Millisecond, 700 * time.Millisecond}},
		{name: "b", what: "two", times: []time.Duration{time.Second}},
		{name: "d", what: "four", times: []time.Duration{2 * time.Second}, missed: 1},
		{name: "e", what: "five", missed: 9},
		{name: "c", what: "three", err: errors.New("no\nnetwork")},
	})
	want := `| | | median | fastest | slowest | (a) takes |
|---|---|---|---|---|---|
| a | one | 0.60 s | 0.50 s | 0.70 s | 1.00 × |
| b | two | 1.00 s | 1.00 s | 1.00 s | 0.60 × |
| d | four; saves that were never served: 1 | 2.00 s | 2.00 s | 2.00 s | 0.30 × |
| e | five | never served | | | |
| c | three | not to be had: no network | | | |
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
