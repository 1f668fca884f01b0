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
		p := New(&out)
		ctx, begin := NewContext(t.Context(), p), time.Now()
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
		phases := []Phase{{Name: "build with Packer", Begin: begin, Elapsed: 1500 * time.Millisecond, Depth: 1}, {Name: "bake base AMI", Begin: begin, Elapsed: 92500 * time.Millisecond, Failed: true}}
		if diff := cmp.Diff(phases, p.Phases()); diff != "" {
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
