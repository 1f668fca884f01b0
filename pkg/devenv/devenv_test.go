package devenv

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/provision"
)

func TestNames(t *testing.T) {
	a := Options{Root: "/home/me/a", App: "hello", Port: 80}
	b := Options{Root: "/home/me/b", App: "hello", Port: 80, Publish: 8080}
	if a.name() == b.name() || !strings.HasPrefix(a.name(), "ingot-dev-hello-") {
		t.Errorf("names %s and %s", a.name(), b.name())
	}
	if a.URL() != "http://127.0.0.1:80" || b.URL() != "http://127.0.0.1:8080" {
		t.Errorf("URLs %s and %s", a.URL(), b.URL())
	}
}

func TestLock(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	o := Options{Root: "/home/me/a"}
	for range 2 { // it can be had again
		unlock, err := o.lock()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.lock(); !errors.Is(err, ErrRunning) {
			t.Errorf("the second lock: %v", err)
		}
		other, err := Options{Root: "/home/me/b"}.lock()
		if err != nil {
			t.Errorf("another folder's lock: %v", err)
		} else {
			other()
		}
		unlock()
	}
}

func digest(text string) [sha256.Size]byte { return sha256.Sum256([]byte(text)) }

func TestDifference(t *testing.T) {
	has := map[string][sha256.Size]byte{"same": digest("1"), "other": digest("2"), "gone": digest("3"), "also gone": digest("4")}
	want := map[string][sha256.Size]byte{"same": digest("1"), "other": digest("0"), "new": digest("3")}
	changed, removed := difference(has, want)
	if diff := cmp.Diff([][]string{{"new", "other"}, {"also gone", "gone"}}, [][]string{changed, removed}); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestReadAnswer(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("0 0\n1 8\n./a: b\n\n0 3\nab"))
	for _, want := range []struct {
		status int
		output string
		err    error
	}{{0, "", nil}, {1, "./a: b\n\n", nil}, {0, "ab\x00", io.ErrUnexpectedEOF}, {0, "", io.EOF}} {
		status, output, err := readAnswer(r)
		if status != want.status || output != want.output || !errors.Is(err, want.err) {
			t.Errorf("got %d, %q, %v, want %+v", status, output, err, want)
		}
	}
	if _, _, err := readAnswer(bufio.NewReader(strings.NewReader("bash: oops\n"))); err == nil {
		t.Error("anything is an answer")
	}
}

func FuzzReadAnswer(f *testing.F) {
	for _, s := range []string{"0 0\n", "1 3\nabc", "1 -1\n", "0 99999999999\n", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, output, err := readAnswer(bufio.NewReader(strings.NewReader(s))); err == nil && len(output) > len(s) {
			t.Errorf("%d bytes of output in %q", len(output), s)
		}
	})
}

func TestCrash(t *testing.T) {
	tests := []struct{ name, show, want string }{
		{"runs", "NRestarts=0\nSubState=running\n", ""},
		{"starts", "NRestarts=0\nSubState=start\n", ""},
		{"ended", "NRestarts=0\nSubState=auto-restart\n", "builds, but crashes at start"},
		{"ended before", "NRestarts=2\nSubState=running\n", "builds, but crashes at start"},
		{"waits", "NRestarts=0\nSubState=auto-restart-queued\n", "builds, but crashes at start"},
		{"given up", "NRestarts=0\nSubState=failed\n", "builds, but crashes at start"},
		{"nothing known", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := crashReason(tt.show); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestHostOutput(t *testing.T) {
	o := Options{Source: "/home/me/hello/service", Provision: "/home/me/hello/provision"}
	tests := []struct{ name, workDir, output, want string }{
		{"compiler", "/home/me/hello", "# example.com/hello\n./main.go:12:3: undefined: x\n\t./main.go:10: other\nsub/a b.go\nsub/a.go:3:1: y\n",
			"# example.com/hello\nservice/main.go:12:3: undefined: x\n\tservice/main.go:10: other\nsub/a b.go\nservice/sub/a.go:3:1: y\n"},
		{"below", "/home/me/hello/service", "./main.go:12:3: x", "main.go:12:3: x"},
		{"elsewhere", "/tmp", "./main.go:12:3: x", "/home/me/hello/service/main.go:12:3: x"},
		{"absolute", "", "./main.go:12:3: x", "/home/me/hello/service/main.go:12:3: x"},
		{"go.mod", "/home/me/hello", "go: errors parsing go.mod:\ngo.mod:3: unknown directive: foo", "go: errors parsing go.mod:\nservice/go.mod:3: unknown directive: foo"},
		{"import", "/home/me/hello", "main.go:9:2: package foo is not in std (/usr/lib/go-1.24/src/foo)", "service/main.go:9:2: package foo is not in std (/usr/lib/go-1.24/src/foo)"},
		{"script", "/home/me/hello", "/srv/ingot/provision/app/app.sh: line 31: oops: command not found",
			"provision/app/app.sh: line 31: oops: command not found"},
		{"folder", "/home/me/hello", `provision: SOURCE="/srv/ingot/service" has no go.mod`, `provision: SOURCE="service" has no go.mod`},
		{"time", "/home/me/hello", "at 12:30:01: x\nhttps://a.b:80: x\n", "at 12:30:01: x\nhttps://a.b:80: x\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o.WorkDir = tt.workDir
			if diff := cmp.Diff(tt.want, o.hostOutput(new(provision.Bundle), folder, tt.output)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestHostPaths(t *testing.T) {
	source := t.TempDir()
	o := Options{Source: source, WorkDir: filepath.Dir(source)}
	if got := o.hostPaths()("\texample.com/hello/main.go:1"); got != "\texample.com/hello/main.go:1" {
		t.Errorf("without a go.mod: %q", got)
	}
	if err := os.WriteFile(filepath.Join(source, "go.mod"), []byte("// The service.\nmodule example.com/hello\n\ngo 1.24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := filepath.Base(source)
	tests := []struct{ name, line, want string }{
		{"trace", "\texample.com/hello/main.go:35 +0x1d", "\t" + at + "/main.go:35 +0x1d"},
		{"package below", "\texample.com/hello/sub/a.go:3 +0x1d", "\t" + at + "/sub/a.go:3 +0x1d"},
		{"function", "example.com/hello/sub.Run(...)", "example.com/hello/sub.Run(...)"},
		{"log", `{"source":{"file":"example.com/hello/main.go","line":3}}`, `{"source":{"file":"` + at + `/main.go","line":3}}`},
		{"another module", "\texample.com/hello/other@v1.2.3/x.go:1", "\texample.com/hello/other@v1.2.3/x.go:1"},
		{"another path", "\tgithub.com/example.com/hello/main.go:1 example.com/hello2/main.go", "\tgithub.com/example.com/hello/main.go:1 example.com/hello2/main.go"},
		{"standard library", "\truntime/panic.go:1", "\truntime/panic.go:1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, o.hostPaths()(tt.line)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestPath(t *testing.T) {
	o := Options{Source: "/s", Provision: "/p"}
	for name, want := range map[string]string{
		"service/main.go": "/s/main.go", "service/sub/x.go": "/s/sub/x.go", "provision/app/app.sh": "/p/app/app.sh", "service": "/s",
	} {
		if got := o.path(name); got != filepath.FromSlash(want) {
			t.Errorf("%s lies at %s, want %s", name, got, want)
		}
	}
}

func TestSaveString(t *testing.T) {
	tests := []struct {
		save Save
		want string
	}{
		{Save{Built: 410 * time.Millisecond, Serving: 523 * time.Millisecond}, "✓ the service: built in 0.41s, serving after 0.52s"},
		{Save{Changed: []string{"a.go", "-b.go"}}, "✓ a.go, -b.go: built in 0.00s, serving after 0.00s"},
		{Save{Changed: []string{"a", "b", "c", "d", "e"}}, "✓ a, b and 3 more: built in 0.00s, serving after 0.00s"},
		{Save{Changed: []string{"a.go"}, Err: &BuildError{Output: "a.go:1:1: x\n"}}, "✗ a.go: does not build; what ran before goes on:\na.go:1:1: x"},
		{Save{Err: &BuildError{Output: "write: no space left on device"}},
			"✗ the service: does not build; what ran before goes on:\nwrite: no space left on device\n" + machine.ErrNoSpace.Error()},
		{Save{Err: &CrashError{Reason: "builds, but crashes at start", Journal: "  panic"}}, "✗ the service: builds, but crashes at start:\n  panic"},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, tt.save.String()); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}
