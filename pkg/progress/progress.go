// Package progress shows on standard error what is being done, to what, and for how long.
//
// A Printer travels in the context, so that any package can begin a Stage without knowing where it is shown: on a
// terminal a running stage is redrawn in place with its elapsed time, and with a table below it where it has one (Live);
// elsewhere it is a line when it begins, a line when what it does changes, and a line when it ends. Without a Printer in
// the context nothing is shown.
package progress

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// redraw is how often a live stage shows its elapsed time: once a second, as that is what it counts in.
const redraw = time.Second

// Printer writes stages. Its methods may be called at the same time.
type Printer struct {
	mu    sync.Mutex
	w     io.Writer
	size  func() (columns, rows int) // of the terminal; nil when w is none
	live  []*Stage                   // running stages, the newest last; the one that is drawn
	drawn int                        // live lines that stand on the terminal, the last one without a newline
	ended []Phase
}

// Phase is a finished stage.
type Phase struct {
	Name    string
	Begin   time.Time
	Elapsed time.Duration
	Failed  bool
	Depth   int // how many stages it ran inside
}

// New returns a Printer for w. When w is a terminal, running stages are drawn live.
func New(w io.Writer) *Printer {
	p := &Printer{w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.size = func() (int, int) {
			columns, rows, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 80, 24
			}
			return columns, rows
		}
	}
	return p
}

type contextKey struct{}

type inContext struct {
	printer *Printer
	depth   int
}

// NewContext returns a context whose stages p shows.
func NewContext(ctx context.Context, p *Printer) context.Context {
	return context.WithValue(ctx, contextKey{}, inContext{printer: p})
}

// FromContext is the Printer of ctx, nil without one.
func FromContext(ctx context.Context) *Printer {
	c, _ := ctx.Value(contextKey{}).(inContext)
	return c.printer
}

// Stage is a piece of work that takes a while. All methods may be called on any goroutine and after the end.
type Stage struct {
	p      *Printer
	name   string
	detail string
	region func(columns, rows int) []string // see Live
	begin  time.Time
	depth  int
	stop   chan struct{}
	over   bool
}

// Start begins a stage: a verb and what it is done to, "bake base AMI".
func Start(ctx context.Context, format string, args ...any) *Stage {
	c, _ := ctx.Value(contextKey{}).(inContext)
	s := &Stage{p: c.printer, depth: c.depth, name: fmt.Sprintf(format, args...), begin: time.Now()}
	if s.p == nil {
		return s
	}
	s.p.begin(s)
	return s
}

// Inside returns a context whose stages are parts of s, and are shown indented.
func (s *Stage) Inside(ctx context.Context) context.Context {
	if s.p == nil {
		return ctx
	}
	return context.WithValue(ctx, contextKey{}, inContext{printer: s.p, depth: s.depth + 1})
}

// Update says what the stage is doing now.
func (s *Stage) Update(format string, args ...any) {
	if s.p != nil {
		s.p.update(s, fmt.Sprintf(format, args...))
	}
}

// Live has a terminal show lines below the stage, in place of what Update says, until the stage ends. The function is
// called at each redraw, on any goroutine, with the space that there is; what it returns beyond that is cut off. It must
// not call the Printer. Elsewhere than on a terminal it is never called: say there with Change what the lines show.
func (s *Stage) Live(region func(columns, rows int) []string) {
	if s.p == nil {
		return
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.region = region
	s.p.draw()
}

// Change prints a line below the stage where no terminal shows it live.
func (s *Stage) Change(format string, args ...any) {
	if s.p == nil {
		return
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.size == nil && !s.over {
		s.p.line("%s  %s", indent(s.depth), fmt.Sprintf(format, args...))
	}
}

// Done ends the stage well; its result may be empty.
func (s *Stage) Done(format string, args ...any) {
	if s.p != nil {
		s.p.end(s, fmt.Sprintf(format, args...), false)
	}
}

// Fail ends the stage badly. The error itself is printed by who handles it; here it is only said where it went wrong.
func (s *Stage) Fail(err error) {
	if s.p != nil {
		s.p.end(s, "", err != nil)
	}
}

// End ends the stage with Fail where *err is set and with Done otherwise; made for defer.
func (s *Stage) End(err *error) {
	if *err != nil {
		s.Fail(*err)
		return
	}
	s.Done("")
}

// Elapsed is the time since the stage began.
func (s *Stage) Elapsed() time.Duration { return time.Since(s.begin) }

// Note prints one line.
func Note(ctx context.Context, format string, args ...any) {
	c, _ := ctx.Value(contextKey{}).(inContext)
	if c.printer == nil {
		return
	}
	c.printer.mu.Lock()
	defer c.printer.mu.Unlock()
	c.printer.line("%s%s", indent(c.depth), fmt.Sprintf(format, args...))
	c.printer.draw()
}

// Phases returns the stages that have ended, in the order in which they did.
func (p *Printer) Phases() []Phase {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Phase(nil), p.ended...)
}

func (p *Printer) begin(s *Stage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.live = append(p.live, s)
	if p.size == nil {
		p.line("%s• %s", indent(s.depth), s.name)
		return
	}
	s.stop = make(chan struct{})
	p.draw()
	go p.tick(s.stop)
}

func (p *Printer) tick(stop <-chan struct{}) {
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.draw()
			p.mu.Unlock()
		}
	}
}

func (p *Printer) update(s *Stage, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.over || detail == s.detail {
		return
	}
	s.detail = detail
	if p.size == nil {
		p.line("%s  %s: %s", indent(s.depth), s.name, detail)
		return
	}
	if s.region == nil {
		p.draw()
	}
}

func (p *Printer) end(s *Stage, result string, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.over {
		return
	}
	s.over = true
	if s.stop != nil {
		close(s.stop)
	}
	for i, other := range p.live {
		if other == s {
			p.live = append(p.live[:i], p.live[i+1:]...)
			break
		}
	}
	elapsed := time.Since(s.begin)
	p.ended = append(p.ended, Phase{Name: s.name, Begin: s.begin, Elapsed: elapsed, Failed: failed, Depth: s.depth})
	mark := "✓"
	if failed {
		mark = "✗"
	}
	if result != "" {
		result = ": " + result
	}
	p.line("%s%s %s%s (%s)", indent(s.depth), mark, s.name, result, Elapsed(elapsed))
	p.draw()
}

// line writes a whole line, over the live one where there is one. The caller holds the lock.
func (p *Printer) line(format string, args ...any) {
	p.erase()
	fmt.Fprintf(p.w, format+"\n", args...)
}

func (p *Printer) erase() {
	switch {
	case p.drawn > 1:
		fmt.Fprintf(p.w, "\x1b[%dA\r\x1b[J", p.drawn-1) // up to the first line, and everything from there
	case p.drawn == 1:
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.drawn = 0
}

// draw shows the newest running stage. The caller holds the lock.
func (p *Printer) draw() {
	if p.size == nil || len(p.live) == 0 {
		return
	}
	columns, rows := p.size()
	s := p.live[len(p.live)-1]
	lines := []string{fmt.Sprintf("%s• %s (%s)", indent(s.depth), s.name, Elapsed(time.Since(s.begin)))}
	switch {
	case s.region != nil:
		// What does not fit on the terminal could not be erased again.
		below := s.region(columns-1, max(0, rows-2))
		lines = append(lines, below[:min(len(below), max(0, rows-2))]...)
	case s.detail != "":
		lines[0] += ": " + s.detail
	}
	for i := range lines {
		lines[i] = cut(lines[i], columns-1)
	}
	p.erase()
	fmt.Fprint(p.w, strings.Join(lines, "\n"))
	p.drawn = len(lines)
}

// cut makes a line fit into a number of columns.
func cut(line string, columns int) string {
	if runes := []rune(line); len(runes) > columns {
		return string(runes[:max(0, columns-1)]) + "…"
	}
	return line
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

// Elapsed writes a duration as people say it: 0.4s, 12s, 1m32s.
func Elapsed(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}
