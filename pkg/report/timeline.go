package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// timeline is what is drawn: everything over one time axis. Horizontal positions are percentages of its width, so that
// it fits any screen; paths, which cannot have percentages, are in units of which the plot is 1000 wide and 100 high.
type timeline struct {
	from, to float64 // seconds
	Ticks    []mark
	Events   []mark
	Answers  []area
	Failed   []mark
	Latency  latencyPlot
	Percent  string // path
	Percents []mark
	Refresh  []bar
	Lanes    []lane
	Crowd    []area // instead of Lanes, where there are many
	Most     int    // instances at once
}

// percent is a position or a length.
type percent float64

func (p percent) String() string { return strings.TrimSuffix(fmt.Sprintf("%.2f", float64(p)), ".00") }

type mark struct {
	X           percent
	Text, Class string
}

type area struct{ Class, Path, Title string }

type bar struct {
	X, Width    percent
	Text, Class string
	Title       string
}

type lane struct {
	Y            int // of its middle, pixels
	Class, Title string
	Bars         []bar
	Prefix, Name string // the ID; only the name is shown where there is little room
}

type latencyPlot struct {
	Band, Median, P99 string // paths
	Ticks             []mark // X is from the top
}

// maxLanes is how many instances a person can still follow one by one.
const maxLanes = 60

// percentGap is the room that a percentage needs, so that two do not overlap on a phone.
const percentGap percent = 14

// laneHeight is in pixels.
const laneHeight = 18

// timeline draws the report. The axis begins with what was seen first, since a bake before it may have taken minutes.
func (r Report) timeline() timeline {
	t := timeline{from: math.Inf(1), to: r.Seconds}
	look := func(at float64) { t.from, t.to = min(t.from, at), max(t.to, at) }
	for _, b := range r.Buckets {
		look(b.At)
	}
	for _, s := range r.Refresh {
		look(s.At)
	}
	for _, i := range r.Instances {
		look(i.Spans[0].From)
	}
	t.from = min(t.from, t.to)
	t.to = max(t.to, t.from+1)
	t.ticks()
	t.answers(r)
	t.latency(r)
	t.refresh(r)
	if len(r.Instances) > maxLanes {
		t.crowd(r)
	} else {
		t.lanes(r)
	}
	return t
}

func (t *timeline) x(at float64) percent {
	return percent(100 * max(0, min(1, (at-t.from)/(t.to-t.from))))
}

func (t *timeline) ticks() {
	step := 1.0
	for _, s := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 4 * 3600, 12 * 3600, 24 * 3600} {
		if step = s; (t.to-t.from)/step <= 7 {
			break
		}
	}
	for at := math.Ceil(t.from/step) * step; at <= t.to; at += step {
		anchor := "middle"
		if t.x(at) < 2 {
			anchor = "start"
		} else if t.x(at) > 98 {
			anchor = "end"
		}
		t.Ticks = append(t.Ticks, mark{X: t.x(at), Text: clock(at), Class: anchor})
	}
}

// clock writes seconds as 1:05, or 1:00:05.
func clock(seconds float64) string {
	s := int(math.Round(seconds))
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// elapsed writes seconds as people say them: 0.4 s, 12 s, 1 min 32 s.
func elapsed(seconds float64) string {
	if seconds < 10 {
		return fmt.Sprintf("%.1f s", seconds)
	}
	d := (time.Duration(seconds*1000) * time.Millisecond).Round(time.Second)
	hours, minutes, rest := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	switch {
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes > 0 && rest == 0:
		return fmt.Sprintf("%d min", minutes)
	case minutes > 0:
		return fmt.Sprintf("%d min %d s", minutes, rest)
	}
	return fmt.Sprintf("%d s", rest)
}

// answers stacks the share of each release, with this one at the bottom, so that it fills up, and failures on top.
func (t *timeline) answers(r Report) {
	served := slices.Clone(r.Totals.Releases)
	slices.SortStableFunc(served, func(a, b Served) int { return cmp.Compare(r.rank(b.Release), r.rank(a.Release)) })
	below := make([]float64, len(r.Buckets)) // the share that is drawn already
	stack := func(class, title string, count func(Bucket) int) {
		var path steps
		for i, b := range r.Buckets {
			share := float64(count(b)) / float64(b.Requests)
			path.add(t, b.At, b.At+r.Width, below[i], below[i]+share)
			below[i] += share
		}
		t.Answers = append(t.Answers, area{Class: class, Path: path.String(), Title: title})
	}
	for _, s := range served {
		stack("r-"+r.role(s.Release), fmt.Sprintf("%s answered %s requests", r.Called(s.Release), thousands(s.Requests)), func(b Bucket) int { return b.Releases[s.Release] })
	}
	if r.Totals.Failed > 0 {
		stack("failed", fmt.Sprintf("%s requests failed", thousands(r.Totals.Failed)), func(b Bucket) int { return b.Failed })
	}
	for _, b := range r.Buckets {
		if b.Failed > 0 {
			t.Failed = append(t.Failed, mark{X: t.x(b.At + r.Width/2), Text: fmt.Sprintf("%s: %d of %d requests failed", clock(b.At), b.Failed, b.Requests)})
		}
	}
}

// steps is a path around spans of time that each have a lower and an upper edge (0–1).
type steps struct{ top, bottom, done strings.Builder }

func (s *steps) add(t *timeline, from, to, low, high float64) {
	if high <= low {
		s.flush()
		return
	}
	left, right := 10*t.x(from), 10*t.x(to)
	if s.top.Len() > 0 && !strings.HasSuffix(s.top.String(), fmt.Sprintf("H%.1f", left)) {
		s.flush()
	}
	if s.top.Len() == 0 {
		fmt.Fprintf(&s.top, "M%.1f %.1f", left, 100-100*high)
	} else {
		fmt.Fprintf(&s.top, "V%.1f", 100-100*high)
	}
	fmt.Fprintf(&s.top, "H%.1f", right)
	below := s.bottom.String()
	s.bottom.Reset()
	fmt.Fprintf(&s.bottom, "V%.1fH%.1f%s", 100-100*low, left, below)
}

func (s *steps) flush() {
	if s.top.Len() > 0 {
		s.done.WriteString(s.top.String() + s.bottom.String() + "Z")
		s.top.Reset()
		s.bottom.Reset()
	}
}

func (s *steps) String() string {
	s.flush()
	return s.done.String()
}

// latency draws on a logarithmic scale: one slow answer must not make all others a flat line.
func (t *timeline) latency(r Report) {
	if len(r.Buckets) == 0 {
		return
	}
	low, high := math.Inf(1), 0.0
	for _, b := range r.Buckets {
		low, high = min(low, b.Median), max(high, b.P99)
	}
	floor, ceiling := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	ceiling = max(ceiling, floor+1)
	y := func(ms float64) float64 { return 100 - 100*(math.Log10(ms)-floor)/(ceiling-floor) }
	for decade := floor; decade <= ceiling; decade += max(1, math.Ceil((ceiling-floor)/3)) {
		ms := math.Pow(10, decade)
		t.Latency.Ticks = append(t.Latency.Ticks, mark{X: percent(y(ms)), Text: milliseconds(ms)})
	}
	var median, p99 []string
	for _, b := range r.Buckets {
		x := 10 * t.x(b.At+r.Width/2)
		median = append(median, fmt.Sprintf("%.1f %.1f", x, y(b.Median)))
		p99 = append(p99, fmt.Sprintf("%.1f %.1f", x, y(b.P99)))
	}
	t.Latency.Median, t.Latency.P99 = "M"+strings.Join(median, "L"), "M"+strings.Join(p99, "L")
	slices.Reverse(median)
	t.Latency.Band = t.Latency.P99 + "L" + strings.Join(median, "L") + "Z"
}

// milliseconds writes a latency in the unit that suits it.
func milliseconds(ms float64) string {
	switch {
	case ms >= 1000:
		return fmt.Sprintf("%.3g s", ms/1000)
	case ms >= 100:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.2g ms", ms)
}

// refresh draws what the instance refresh said, and marks on the whole timeline when it began to do something else.
func (t *timeline) refresh(r Report) {
	var path steps
	before := ""
	for i, s := range r.Refresh {
		until := t.to
		if i+1 < len(r.Refresh) {
			until = r.Refresh[i+1].At
		}
		path.add(t, s.At, until, 0, float64(s.Percentage)/100)
		if n := len(t.Percents); s.Percentage > 0 && (n == 0 || t.x(s.At)-t.Percents[n-1].X > percentGap) && t.x(s.At) < 100-percentGap {
			t.Percents = append(t.Percents, mark{X: t.x(s.At), Text: fmt.Sprintf("%d %%", s.Percentage)})
		}
		activity := s.activity()
		if activity == before {
			last := &t.Refresh[len(t.Refresh)-1]
			last.Width = t.x(until) - last.X
			continue
		}
		before = activity
		class := "p-" + strings.ToLower(strings.Fields(activity)[0])
		t.Refresh = append(t.Refresh, bar{X: t.x(s.At), Width: t.x(until) - t.x(s.At), Text: activity, Class: class, Title: strings.TrimSpace(fmt.Sprintf("%s: %s at %d %%. %s", clock(s.At), activity, s.Percentage, s.Reason))})
		t.Events = append(t.Events, mark{X: t.x(s.At), Class: class})
	}
	for i := range t.Refresh {
		t.Refresh[i].shorten()
	}
	t.Percent = path.String()
}

// shorten replaces a bar's text by a sign where it does not fit on a large screen. On a small one it is cut off.
func (b *bar) shorten() {
	const character, edges = 0.85, 1.2 // percent of a large screen
	if b.Width >= character*percent(len(b.Text))+edges {
		return
	}
	b.Text = map[string]string{
		"p-pending": "…", "p-checkpoint": "‖", "p-successful": "✓", "p-rolling": "↺", "p-rolled": "↺", "p-failed": "✗", "p-cancelled": "✗",
	}[b.Class]
	if b.Width < character+edges {
		b.Text = ""
	}
}

// activity is the status of a refresh in words. Waiting at a checkpoint has no status of its own.
func (s Step) activity() string {
	switch s.Status {
	case "Pending":
		return "Pending"
	case "InProgress":
		if strings.Contains(strings.ToLower(s.Reason), "checkpoint") {
			return fmt.Sprintf("Checkpoint at %d %%", s.Percentage)
		}
		return "Replacing"
	case "RollbackInProgress":
		return "Rolling back"
	case "RollbackSuccessful":
		return "Rolled back"
	case "RollbackFailed":
		return "Failed to roll back"
	}
	return s.Status
}

func (t *timeline) lanes(r Report) {
	for n, i := range r.Instances {
		cut := max(0, len(i.ID)-6)
		l := lane{Y: n*laneHeight + laneHeight/2, Class: "r-" + r.role(i.Release), Prefix: i.ID[:cut], Name: i.ID[cut:], Title: r.Called(i.Release)}
		for _, s := range i.Spans {
			title := fmt.Sprintf("%s %s, %s to %s", i.ID, s.State, clock(s.From), clock(s.To))
			if s.Reason != "" {
				title += ": " + s.Reason
			}
			l.Bars = append(l.Bars, bar{X: t.x(s.From), Width: t.x(s.To) - t.x(s.From), Class: s.State.class(), Title: title})
		}
		t.Lanes = append(t.Lanes, l)
	}
	t.Most = len(r.Instances)
}

func (s State) class() string { return "s-" + strings.Fields(string(s))[0] }

// crowd counts the instances by release and state. It is drawn from the bottom up: this release's healthy ones, those
// that will be, and then the others.
func (t *timeline) crowd(r Report) {
	type layer struct {
		role  string
		state State
	}
	at := map[float64]bool{t.to: true}
	for _, i := range r.Instances {
		for _, s := range i.Spans {
			at[s.From], at[s.To] = true, true
		}
	}
	times := make([]float64, 0, len(at))
	for when := range at {
		times = append(times, when)
	}
	slices.Sort(times)
	counts := map[layer][]int{}
	for _, i := range r.Instances {
		role := r.role(i.Release)
		for _, s := range i.Spans {
			l := layer{role, s.State}
			if counts[l] == nil {
				counts[l] = make([]int, len(times))
			}
			begin, _ := slices.BinarySearch(times, s.From)
			for n := begin; n < len(times) && times[n] < s.To; n++ {
				counts[l][n]++
			}
		}
	}
	all := make([]int, len(times))
	for _, c := range counts {
		for n := range c {
			all[n] += c[n]
		}
	}
	t.Most = max(1, slices.Max(all))
	below := make([]float64, len(times))
	draw := func(role string, s State) {
		c := counts[layer{role, s}]
		if c == nil {
			return
		}
		var path steps
		for n := range len(times) - 1 {
			high := below[n] + float64(c[n])/float64(t.Most)
			path.add(t, times[n], times[n+1], below[n], high)
			below[n] = high
		}
		t.Crowd = append(t.Crowd, area{Class: "r-" + role + " " + s.class(), Path: path.String(), Title: fmt.Sprintf("%s: at most %d instances at once", s, slices.Max(c))})
	}
	for _, s := range []State{Healthy, Warming, Held, Pending, Unhealthy, Standby, Draining, Terminating} {
		draw("new", s)
	}
	for _, role := range []string{"none", "other", "old"} {
		for _, s := range []State{Pending, Held, Warming, Terminating, Draining, Standby, Unhealthy, Healthy} {
			draw(role, s)
		}
	}
}

// thousands writes a count with its thousands apart.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
