// Package progress tells what is being done, to what, and for how long.
//
// A [Reporter] travels in the context, so that any package can begin a [Stage] without knowing where it is shown. A
// [Printer] shows stages to people, on a terminal or in a log; a program that has a logger or a window of its own
// implements Reporter with it. Without a Reporter in the context nothing is shown. [Record] lists the stages of one piece
// of work, for a report.
package progress

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Reporter shows stages. Its methods may be called at the same time, and those of different stages are. A stage's own begin
// with Begin; an Update or a Change that is under way when the stage ends may come after End.
type Reporter interface {
	// Begin tells that a stage has begun.
	Begin(s *Stage)
	// Update tells what a stage is doing now; the detail is another one than before.
	Update(s *Stage, detail string)
	// Change tells something that happened in a stage, once. A reporter that shows the stage's Live lines leaves it out.
	Change(s *Stage, line string)
	// End tells that a stage has ended: badly where err is set, with a result that may be empty otherwise. The error is
	// handled by whoever the stage's own caller is, and is not to be printed at length.
	End(s *Stage, result string, err error)
	// Note tells one line from inside a stage, or from outside of any where s is nil.
	Note(s *Stage, line string)
}

// Live is a Reporter that can show lines which change while a stage runs, as a terminal can.
type Live interface {
	Reporter
	// Live has lines shown below a stage until it ends; see [Stage.Live].
	Live(s *Stage, region func(columns, rows int) []string)
}

type contextKey struct{}

// surroundings are what a context knows of progress.
type surroundings struct {
	reporter Reporter // nil where nothing is shown
	inside   *Stage   // nil outside of any
	records  *record  // the innermost
}

func from(ctx context.Context) surroundings {
	s, _ := ctx.Value(contextKey{}).(surroundings)
	return s
}

func (s surroundings) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, s)
}

// NewContext returns a context whose stages r shows.
func NewContext(ctx context.Context, r Reporter) context.Context {
	return surroundings{reporter: r, records: from(ctx).records}.context(ctx)
}

// FromContext is the Reporter of ctx, nil without one.
func FromContext(ctx context.Context) Reporter { return from(ctx).reporter }

// Stage is a piece of work that takes a while. All methods may be called on any goroutine and after the end.
type Stage struct {
	in    surroundings
	name  string
	begin time.Time

	mu      sync.Mutex // not held while the reporter is called, which may ask for the time
	detail  string
	over    bool
	elapsed time.Duration // once it is over
}

// Start begins a stage: a verb and what it is done to, "bake base AMI".
func Start(ctx context.Context, format string, args ...any) *Stage {
	s := &Stage{in: from(ctx), name: fmt.Sprintf(format, args...), begin: time.Now()}
	if s.in.reporter != nil {
		s.in.reporter.Begin(s)
	}
	return s
}

// Name is what the stage is called.
func (s *Stage) Name() string { return s.name }

// Parent is the stage that this one is a part of, nil where there is none.
func (s *Stage) Parent() *Stage { return s.in.inside }

// Depth is how many stages this one runs inside.
func (s *Stage) Depth() int {
	depth := 0
	for outer := s.in.inside; outer != nil; outer = outer.in.inside {
		depth++
	}
	return depth
}

// Inside returns a context whose stages are parts of s, and are shown indented.
func (s *Stage) Inside(ctx context.Context) context.Context {
	inner := from(ctx)
	inner.reporter, inner.inside = s.in.reporter, s
	return inner.context(ctx)
}

// Update says what the stage is doing now.
func (s *Stage) Update(format string, args ...any) {
	if s.in.reporter == nil {
		return
	}
	detail := fmt.Sprintf(format, args...)
	s.mu.Lock()
	news := !s.over && detail != s.detail
	if news {
		s.detail = detail
	}
	s.mu.Unlock()
	if news {
		s.in.reporter.Update(s, detail)
	}
}

// Live has a terminal show lines below the stage, in place of what Update says, until the stage ends. The function is
// called at each redraw, on any goroutine, with the space that there is; what it returns beyond that is cut off. It must
// not call the Reporter. Elsewhere than on a terminal it is never called: say there with Change what the lines show.
func (s *Stage) Live(region func(columns, rows int) []string) {
	if r, ok := s.in.reporter.(Live); ok && !s.isOver() {
		r.Live(s, region)
	}
}

// Change says something that happened in the stage, for where no terminal shows it live.
func (s *Stage) Change(format string, args ...any) {
	if s.in.reporter != nil && !s.isOver() {
		s.in.reporter.Change(s, fmt.Sprintf(format, args...))
	}
}

// Done ends the stage well; its result may be empty.
func (s *Stage) Done(format string, args ...any) { s.end(fmt.Sprintf(format, args...), nil) }

// Fail ends the stage badly. The error itself is printed by who handles it; here it is only said where it went wrong.
func (s *Stage) Fail(err error) { s.end("", err) }

// End ends the stage with Fail where *err is set and with Done otherwise; made for defer.
func (s *Stage) End(err *error) { s.end("", *err) }

func (s *Stage) end(result string, err error) {
	s.mu.Lock()
	first := !s.over
	if first {
		s.over, s.elapsed = true, time.Since(s.begin)
	}
	s.mu.Unlock()
	if !first {
		return
	}
	s.in.records.add(s, err)
	if s.in.reporter != nil {
		s.in.reporter.End(s, result, err)
	}
}

func (s *Stage) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// Elapsed is the time since the stage began, until its end.
func (s *Stage) Elapsed() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return s.elapsed
	}
	return time.Since(s.begin)
}

// Note tells one line.
func Note(ctx context.Context, format string, args ...any) {
	if in := from(ctx); in.reporter != nil {
		in.reporter.Note(in.inside, fmt.Sprintf(format, args...))
	}
}

// Elapsed writes a duration as people say it: 0.4s, 12s, 1m32s.
func Elapsed(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}
