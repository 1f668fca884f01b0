package progress

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// redraw is how often a live stage shows its elapsed time: once a second, as that is what it counts in.
const redraw = time.Second

// Printer is the Reporter for people. On a terminal a running stage is redrawn in place with its elapsed time, and with
// lines below it where it has some (Live); elsewhere it is a line when it begins, a line when what it does changes, and a
// line when it ends.
type Printer struct {
	mu    sync.Mutex
	w     io.Writer
	size  func() (columns, rows int) // of the terminal; nil when w is none
	live  []*drawing                 // running stages, the newest last; the one that is drawn
	drawn int                        // live lines that stand on the terminal, the last one without a newline
}

// drawing is what a terminal shows of a running stage.
type drawing struct {
	stage  *Stage
	detail string
	region func(columns, rows int) []string // nil without Live
	stop   chan struct{}                    // ends the redrawing; nil without a terminal
}

// New returns a Printer for w. When w is a terminal that can move its cursor, running stages are drawn live.
func New(w io.Writer) *Printer {
	p := &Printer{w: w}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
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

// Begin implements Reporter.
func (p *Printer) Begin(s *Stage) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := &drawing{stage: s}
	p.live = append(p.live, d)
	if p.size == nil {
		p.line("%s• %s", indent(s.Depth()), s.Name())
		return
	}
	d.stop = make(chan struct{})
	p.draw()
	go p.tick(d.stop)
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

// drawing is what is shown of a stage, nil once that has ended. The caller holds the lock.
func (p *Printer) drawing(s *Stage) *drawing {
	for _, d := range p.live {
		if d.stage == s {
			return d
		}
	}
	return nil
}

// Update implements Reporter.
func (p *Printer) Update(s *Stage, detail string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.drawing(s)
	if d == nil {
		return
	}
	d.detail = detail
	if p.size == nil {
		p.line("%s  %s: %s", indent(s.Depth()), s.Name(), detail)
		return
	}
	if d.region == nil {
		p.draw()
	}
}

// Live implements the interface of that name.
func (p *Printer) Live(s *Stage, region func(columns, rows int) []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.drawing(s); d != nil {
		d.region = region
		p.draw()
	}
}

// Change implements Reporter.
func (p *Printer) Change(s *Stage, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.size == nil && p.drawing(s) != nil {
		p.line("%s%s", indent(s.Depth()+1), line)
	}
}

// End implements Reporter.
func (p *Printer) End(s *Stage, result string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.drawing(s); d != nil {
		if d.stop != nil {
			close(d.stop)
		}
		p.live = slices.DeleteFunc(p.live, func(other *drawing) bool { return other == d })
	}
	mark := "✓"
	if err != nil {
		mark = "✗"
	}
	if result != "" {
		result = ": " + result
	}
	p.line("%s%s %s%s (%s)", indent(s.Depth()), mark, s.Name(), result, Elapsed(s.Elapsed()))
	p.draw()
}

// Note implements Reporter.
func (p *Printer) Note(s *Stage, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	depth := 0
	if s != nil {
		depth = s.Depth() + 1
	}
	p.line("%s%s", indent(depth), line)
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
	d := p.live[len(p.live)-1]
	lines := []string{fmt.Sprintf("%s• %s (%s)", indent(d.stage.Depth()), d.stage.Name(), Elapsed(d.stage.Elapsed()))}
	switch {
	case d.region != nil:
		// What does not fit on the terminal could not be erased again.
		below := d.region(columns-1, max(0, rows-2))
		lines = append(lines, below[:min(len(below), max(0, rows-2))]...)
	case d.detail != "":
		lines[0] += ": " + d.detail
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
