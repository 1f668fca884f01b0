//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// benchmark is a part of the benchmarks, and a section of their page.
type benchmark struct {
	name    string // for -only
	title   string // the section's heading
	measure func(ctx context.Context) (text string, err error)
}

func (c *chores) benchmarks() []benchmark {
	return []benchmark{
		{"dev", "The development machine", c.benchDev},
		{"rollout", "A rollout", c.benchRollout},
		{"pace", "A release at AWS's pace", c.benchPace},
	}
}

// Bench measures how fast saves and releases are served.
//
// A save: by the development machine, by a bare binary, by docker build, and by a live-reload tool, which it downloads; and
// how fast the development machine starts. A release: where the time of prod goes, on a local cloud of its own; and at AWS's
// pace, beside a release without Ingot. Writes docs/benchmarks.md. Takes most of an hour; works on copies.
func Bench(ctx context.Context,
	only *string, // measure this part alone, and leave the others on the page as they are: dev, rollout or pace
) error {
	return run(ctx, func(ctx context.Context, c *chores) error { return c.bench(ctx, only) })
}

func (c *chores) bench(ctx context.Context, only *string) error {
	parts := c.benchmarks()
	if only != nil {
		parts = slices.DeleteFunc(c.benchmarks(), func(b benchmark) bool { return b.name != *only })
		if len(parts) == 0 {
			return fmt.Errorf("measure %q: there is no such benchmark; mage -h bench lists them", *only)
		}
	}
	file := c.path("docs", "benchmarks.md")
	page, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	for _, b := range parts {
		text, err := b.measure(ctx)
		if err != nil {
			return err
		}
		page = []byte(withSection(string(page), b.title, text))
		if err := os.WriteFile(file, page, 0o644); err != nil {
			return err
		}
		if _, err := fmt.Println(text); err != nil {
			return err
		}
	}
	return nil
}

// withSection is a page with a section of that title, in place of the one that it has, else at its end.
func withSection(page, title, text string) string {
	if page == "" {
		page = "# Benchmarks\n"
	}
	head := "\n## " + title + "\n"
	before, rest, _ := strings.Cut(page, head)
	after := ""
	if i := strings.Index(rest, "\n## "); i >= 0 {
		after = rest[i:]
	}
	return strings.TrimRight(before, "\n") + "\n" + head + "\n" + strings.TrimSpace(text) + "\n" + after
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	n := len(sorted)
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}
