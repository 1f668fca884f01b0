package progress

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		begin := time.Now()
		ctx, phases := Record(NewContext(t.Context(), New(&out)))
		outer := Start(ctx, "bake %s AMI", "base")
		inner := Start(outer.Inside(ctx), "build with Packer")
		inner.Update("waiting for SSH")
		inner.Update("waiting for SSH")
		time.Sleep(1500 * time.Millisecond)
		inner.Done("ami-1")
		inner.Done("ami-2")
		Note(ctx, "a word")
		time.Sleep(91 * time.Second)
		outer.Fail(errors.New("no"))
		want := `• bake base AMI
  • build with Packer
    build with Packer: waiting for SSH
  ✓ build with Packer: ami-1 (1.5s)
a word
✗ bake base AMI (1m33s)
`
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Error(diff)
		}
		wantPhases := []Phase{{Name: "build with Packer", Begin: begin, Elapsed: 1500 * time.Millisecond, Depth: 1}, {Name: "bake base AMI", Begin: begin, Elapsed: 92500 * time.Millisecond, Failed: true}}
		if diff := cmp.Diff(wantPhases, phases()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := New(&out)
		p.size = func() (int, int) { return 24, 10 }
		s := Start(NewContext(t.Context(), p), "wait")
		time.Sleep(1100 * time.Millisecond)
		s.Update("a very long detail indeed")
		s.Done("")
		want := "• wait (0.0s)\r\x1b[K• wait (1.0s)\r\x1b[K• wait (1.1s): a very …\r\x1b[K✓ wait (1.1s)\n"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := New(&out)
		p.size = func() (int, int) { return 12, 4 }
		ctx := NewContext(t.Context(), p)
		s := Start(ctx, "roll")
		s.Live(func(columns, rows int) []string {
			return []string{fmt.Sprintf("%d×%d", columns, rows), "a line too long", "one too many"}
		})
		s.Change("not on a terminal")
		s.Update("in the region already")
		Note(ctx, "a word")
		s.Done("")
		frame := "• roll (0.…\n11×2\na line too…"
		up := "\x1b[2A\r\x1b[J"
		want := "• roll (0.…\r\x1b[K" + frame + up + "a word\n" + frame + up + "✓ roll (0.0s)\n"
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := Start(NewContext(t.Context(), New(&out)), "roll")
		s.Live(func(int, int) []string { panic("no terminal") })
		s.Change("instance %s launched", "i-1")
		s.Done("")
		s.Change("too late")
		if diff := cmp.Diff("• roll\n  instance i-1 launched\n✓ roll (0.0s)\n", out.String()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNoPrinter(t *testing.T) {
	s := Start(t.Context(), "nothing")
	s.Update("x")
	s.Live(nil)
	s.Change("x")
	s.Done("")
	s.Fail(nil)
	Note(s.Inside(t.Context()), "x")
}

func TestNoteInside(t *testing.T) {
	var out bytes.Buffer
	ctx := NewContext(t.Context(), New(&out))
	s := Start(ctx, "roll")
	Note(s.Inside(ctx), "a word")
	if diff := cmp.Diff("• roll\n  a word\n", out.String()); diff != "" {
		t.Error(diff)
	}
}

// calls is a Reporter that writes down what it is told.
type calls []string

func (c *calls) add(format string, args ...any)       { *c = append(*c, fmt.Sprintf(format, args...)) }
func (c *calls) Begin(s *Stage)                       { c.add("begin %s", s.Name()) }
func (c *calls) Update(s *Stage, detail string)       { c.add("update %s: %s", s.Name(), detail) }
func (c *calls) Change(s *Stage, line string)         { c.add("change %s: %s", s.Name(), line) }
func (c *calls) End(s *Stage, result string, e error) { c.add("end %s: %q %v", s.Name(), result, e) }
func (c *calls) Note(s *Stage, line string) {
	where := "outside"
	if s != nil {
		where = s.Name()
	}
	c.add("note %s: %s", where, line)
}

func TestReporter(t *testing.T) {
	var got calls
	ctx := NewContext(t.Context(), &got)
	if FromContext(ctx) != Reporter(&got) {
		t.Error("FromContext is another one")
	}
	outer := Start(ctx, "bake %s AMI", "base")
	inner := Start(outer.Inside(ctx), "build")
	if inner.Parent() != outer || outer.Parent() != nil || inner.Depth() != 1 || outer.Depth() != 0 {
		t.Errorf("parent %v, depth %d and %d", inner.Parent(), inner.Depth(), outer.Depth())
	}
	inner.Live(func(int, int) []string { panic("no terminal") })
	inner.Update("%d%%", 10)
	inner.Update("10%%")
	inner.Change("instance %s", "i-1")
	Note(outer.Inside(ctx), "a word")
	Note(ctx, "100 %%")
	no := errors.New("no")
	inner.Fail(no)
	for _, late := range []func(){func() { inner.Update("x") }, func() { inner.Change("x") }, func() { inner.Done("x") }, func() { inner.Fail(nil) }} {
		late()
	}
	outer.Done("ami-%d", 1)
	want := calls{
		"begin bake base AMI", "begin build", "update build: 10%", "change build: instance i-1", "note bake base AMI: a word",
		"note outside: 100 %", `end build: "" no`, `end bake base AMI: "ami-1" <nil>`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestElapsedEndsWithTheStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Start(t.Context(), "wait")
		time.Sleep(time.Second)
		running := s.Elapsed()
		s.Done("")
		time.Sleep(time.Second)
		if running != time.Second || s.Elapsed() != time.Second {
			t.Errorf("elapsed %v, then %v", running, s.Elapsed())
		}
	})
}

func TestRecord(t *testing.T) {
	names := func(phases []Phase) []string {
		var all []string
		for _, p := range phases {
			all = append(all, fmt.Sprintf("%d %s", p.Depth, p.Name))
		}
		return all
	}
	outerCtx, outer := Record(t.Context()) // nothing is shown
	Start(outerCtx, "before").Done("")
	release := Start(outerCtx, "release")
	innerCtx, inner := Record(release.Inside(outerCtx))
	bake := Start(innerCtx, "bake")
	Start(bake.Inside(innerCtx), "build").Fail(errors.New("no"))
	bake.Done("")
	Start(NewContext(innerCtx, &calls{}), "shown elsewhere").Done("")
	Start(innerCtx, "still runs")
	if diff := cmp.Diff([]string{"1 build", "0 bake", "0 shown elsewhere"}, names(inner())); diff != "" {
		t.Error(diff)
	}
	if p := inner()[0]; !p.Failed || inner()[1].Failed {
		t.Errorf("failed: %+v", inner())
	}
	release.Done("")
	Start(t.Context(), "outside").Done("")
	if diff := cmp.Diff([]string{"0 before", "2 build", "1 bake", "0 shown elsewhere", "0 release"}, names(outer())); diff != "" {
		t.Error(diff)
	}
}
