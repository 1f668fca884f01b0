package progress

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := New(&out)
		ctx := NewContext(t.Context(), p)
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
		phases := []Phase{{Name: "build with Packer", Elapsed: 1500 * time.Millisecond, Depth: 1}, {Name: "bake base AMI", Elapsed: 92500 * time.Millisecond, Failed: true}}
		if diff := cmp.Diff(phases, p.Phases()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := New(&out)
		p.width = func() int { return 24 }
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

func TestNoPrinter(t *testing.T) {
	s := Start(t.Context(), "nothing")
	s.Update("x")
	s.Done("")
	s.Fail(nil)
	Note(s.Inside(t.Context()), "x")
}
