//go:build integration && linux

package devenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ingot-build/ingot/pkg/machine"
)

// newTerminal is a pseudoterminal: what is written to keyboard is read from terminal.
func newTerminal(t *testing.T, columns, rows uint16) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { keyboard.Close() })
	must(t, unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	must(t, err)
	must(t, unix.IoctlSetWinsize(int(keyboard.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}))
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

// screen is what a terminal shows.
type screen struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// shell types into a shell on a terminal, and checks what it says, its size, and what it leaves.
func (c *clone) shell() {
	t := c.t
	keyboard, terminal := newTerminal(t, 100, 40)
	before, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	must(t, err)
	var s screen
	ended := make(chan error, 1)
	go func() { ended <- Shell(t.Context(), c.o, terminal, &s, &s) }()
	for _, step := range []struct{ typed, shown string }{
		{"tty; echo $((6 * 7)) is it\r", "42 is it"},
		{"stty size | tr ' ' x\r", "40x100"},
		{"sleep 60\r", "sleep 60"},
		{"\x03echo in$()terrupted\r", "interrupted"}, // the terminal of the machine makes a signal of it
	} {
		_, err := keyboard.WriteString(step.typed)
		must(t, err)
		for deadline := time.Now().Add(30 * time.Second); !strings.Contains(s.String(), step.shown); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q does not show %q:\n%s", step.typed, step.shown, &s)
			}
		}
	}
	_, err = keyboard.WriteString("exit 3\r")
	must(t, err)
	if e, ok := errors.AsType[*machine.ExitError](<-ended); !ok || e.Code != 3 {
		t.Errorf("it ended with %v, want exit code 3", e)
	}
	if after, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS); err != nil || *after != *before {
		t.Errorf("the terminal is left as %+v, was %+v, %v", after, before, err)
	}
}
