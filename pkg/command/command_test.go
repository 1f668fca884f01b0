package command

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

func TestOutput(t *testing.T) {
	got, err := Output(t.Context(), Exec{}, Cmd{Path: "sh", Args: []string{"-c", `echo "$GREETING"; pwd`}, Dir: "/", Env: []string{"GREETING=hi"}})
	if err != nil || got != "hi\n/" {
		t.Fatalf("Output = %q, %v", got, err)
	}
}

func TestErrorNamesCommandAndLastLine(t *testing.T) {
	var stderr bytes.Buffer
	err := Exec{}.Run(t.Context(), Cmd{Path: "sh", Args: []string{"-c", "echo one >&2; echo it broke >&2; exit 3"}, Stderr: &stderr})
	want := `run sh -c 'echo one >&2; echo it broke >&2; exit 3': exit status 3: it broke`
	if err == nil || err.Error() != want {
		t.Errorf("error = %v\nwant    %s", err, want)
	}
	if ExitCode(err) != 3 || stderr.String() != "one\nit broke\n" {
		t.Errorf("exit code %d, stderr %q", ExitCode(err), stderr.String())
	}
}

func TestMissingProgram(t *testing.T) {
	err := Exec{}.Run(t.Context(), Cmd{Path: "no-such-program-here"})
	if err == nil || !strings.Contains(err.Error(), "no-such-program-here") || ExitCode(err) != -1 {
		t.Errorf("error = %v", err)
	}
}

// A cancelled program gets the time to clean up, and its own children get the signal too.
func TestCancelInterruptsTheGroup(t *testing.T) {
	stop := errors.New("somebody pressed Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	file := t.TempDir() + "/cleaned"
	ready, started := pipe(t)
	go func() {
		buf := make([]byte, 1)
		_, _ = ready.Read(buf)
		cancel(stop)
	}()
	script := `trap 'sleep 0.05; echo yes > "$FILE"; exit 9' INT; echo >&3; while :; do sleep 0.01; done`
	err := Exec{}.Run(ctx, Cmd{Path: "bash", Args: []string{"-c", "exec 3>&1; " + script}, Env: []string{"FILE=" + file}, Stdout: started})
	if !errors.Is(err, stop) {
		t.Errorf("error = %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the program could not clean up: %v", err)
	}
}

func TestCancelKillsTheStubborn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := Exec{}.Run(ctx, Cmd{Path: "bash", Args: []string{"-c", `trap '' INT TERM; while :; do sleep 0.01; done`}, WaitDelay: 50 * time.Millisecond})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v", err)
	}
}

// A program has its files to itself: they are whole when this process could no longer have passed anything on.
func TestFiles(t *testing.T) {
	log, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	r, w := pipe(t)
	err = Exec{}.Run(t.Context(), Cmd{Path: "sh", Args: []string{"-c", "echo out; echo err >&2; test ! -p /dev/stderr; echo three >&3; exit 4"}, Stdout: log, Stderr: log, Files: []*os.File{w}})
	if ExitCode(err) != 4 || strings.Contains(err.Error(), "err\n") {
		t.Errorf("error = %v", err)
	}
	if data, err := os.ReadFile(log.Name()); err != nil || string(data) != "out\nerr\n" {
		t.Errorf("log %q, %v", data, err)
	}
	buf := make([]byte, 6)
	if n, err := r.Read(buf); err != nil || string(buf[:n]) != "three\n" {
		t.Errorf("file descriptor 3 got %q, %v", buf[:n], err)
	}
}

func TestQuote(t *testing.T) {
	got := Quote([]string{"packer", "-var", "a=b c", "", "it's", "$HOME"})
	if want := `packer -var 'a=b c' '' 'it'\''s' '$HOME'`; got != want {
		t.Errorf("Quote = %s, want %s", got, want)
	}
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}
