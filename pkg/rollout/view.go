package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ingot-build/ingot/internal/lines"
	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	// viewRows is how many instances are shown at once; what is of interest are those on the move, and they are few.
	viewRows = 12
	// listed is how many instances with the same change are named, each on a line; the others are counted.
	listed = 3
)

// view draws a fleet on its way to a launch template version: a table of its instances, those on the move first, over the
// refresh's own progress.
func view(f Fleet, x Refresh, version TemplateVersion, columns, rows int, now time.Time) []string {
	if x.ID != "" {
		rows-- // the bar
	}
	table := instanceTable(f, version, min(rows, viewRows+1), now)
	if x.ID == "" {
		return table
	}
	return append(table, progressBar(x, columns))
}

// instanceTable lists instances below a heading, in at most a number of rows.
func instanceTable(f Fleet, version TemplateVersion, rows int, now time.Time) []string {
	if rows < 2 || len(f.Instances) == 0 {
		return nil
	}
	sorted := slices.Clone(f.Instances)
	slices.SortStableFunc(sorted, func(a, b Instance) int { return cmp.Compare(displayOrder(a, version), displayOrder(b, version)) })
	shown, others := sorted, []Instance(nil)
	if len(sorted) > rows-1 {
		shown, others = sorted[:rows-2], sorted[rows-2:]
	}
	cells := [][]string{{"INSTANCE", "LIFECYCLE", "TARGET", "RELEASE", "VERSION", "AGE"}}
	for _, i := range shown {
		age := ""
		if !i.Since.IsZero() {
			age = progress.Elapsed(now.Sub(i.Since).Truncate(time.Second))
		}
		cells = append(cells, []string{i.ID, i.Lifecycle, cmp.Or(i.Target, "-"), cmp.Or(i.Release, "-"), i.TemplateVersion.String(), age})
	}
	table := align(cells)
	if len(others) > 0 {
		table = append(table, fmt.Sprintf("  and %d more: %s", len(others), summarize(others)))
	}
	return table
}

// displayOrder orders instances: what goes wrong, what moves, what is new, what is old.
func displayOrder(i Instance, version TemplateVersion) int {
	switch {
	case i.Health == "Unhealthy" || i.Target == "unhealthy":
		return 0
	case !i.serves():
		return 1
	case i.TemplateVersion == version:
		return 2
	}
	return 3
}

// summarize sums instances up: "40 InService healthy r1, 2 Pending r2".
func summarize(instances []Instance) string {
	var order []string
	counts := map[string]int{}
	for _, i := range instances {
		state := strings.Join(strings.Fields(i.Lifecycle+" "+i.Target+" "+cmp.Or(i.Release, "version "+i.TemplateVersion.String())), " ")
		if counts[state]++; counts[state] == 1 {
			order = append(order, state)
		}
	}
	for n, state := range order {
		order[n] = fmt.Sprintf("%d %s", counts[state], state)
	}
	return strings.Join(order, ", ")
}

// align makes columns of cells, two spaces apart and as wide as their widest.
func align(cells [][]string) []string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, row := range cells {
		fmt.Fprintln(table, "  "+strings.Join(row, "\t"))
	}
	table.Flush()
	return lines.Last(text.String(), len(cells))
}

// progressBar draws how far a refresh is. On a narrow terminal the words go before the bar.
func progressBar(x Refresh, columns int) string {
	width := min(20, columns/3)
	done := width * min(100, max(0, x.Percentage)) / 100
	return fmt.Sprintf("  %s%s %s", strings.Repeat("█", done), strings.Repeat("░", width-done), x.Progress())
}

// changes says what is different between two looks at a fleet, the same change of many instances on one line.
func changes(before, now Fleet) []string {
	old := map[string]Instance{}
	for _, i := range before.Instances {
		old[i.ID] = i
	}
	var order []string
	same := map[string][]string{}
	add := func(id, change string) {
		if change == "" {
			return
		}
		if same[change] == nil {
			order = append(order, change)
		}
		same[change] = append(same[change], id)
	}
	for _, i := range now.Instances {
		was, known := old[i.ID]
		delete(old, i.ID)
		if known {
			add(i.ID, change(was, i))
			continue
		}
		state := "new, " + i.Lifecycle
		if i.Target != "" {
			state += ", target " + i.Target
		}
		add(i.ID, state)
	}
	for _, i := range before.Instances {
		if _, gone := old[i.ID]; gone {
			add(i.ID, "gone")
		}
	}
	var said []string
	for _, change := range order {
		ids := same[change]
		if len(ids) > listed {
			said = append(said, fmt.Sprintf("%d instances %s: %s, …", len(ids), change, strings.Join(ids[:listed], ", ")))
			continue
		}
		for _, id := range ids {
			said = append(said, fmt.Sprintf("instance %s %s", id, change))
		}
	}
	return said
}

// change says what happened to an instance; empty where nothing did.
func change(was, is Instance) string {
	var parts []string
	if was.Lifecycle != is.Lifecycle {
		parts = append(parts, fmt.Sprintf("%s → %s", was.Lifecycle, is.Lifecycle))
	}
	if was.Health != is.Health {
		parts = append(parts, fmt.Sprintf("health %s → %s", cmp.Or(was.Health, "unknown"), cmp.Or(is.Health, "unknown")))
	}
	if was.Target != is.Target {
		part := fmt.Sprintf("target %s → %s", cmp.Or(was.Target, "none"), cmp.Or(is.Target, "none"))
		if is.Reason != "" && is.Target != "initial" && is.Target != "draining" {
			part += " (" + is.Reason + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
