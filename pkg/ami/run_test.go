package ami

import (
	"strings"
	"testing"
	"time"
)

func TestNewRunSortsByTime(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	early, late := NewRun(at), NewRun(at.Add(time.Second))
	if !strings.HasPrefix(early, "20260102-020405-") || early >= late || NewRun(at) == early {
		t.Errorf("%s, %s", early, late)
	}
	if began, ok := Began(early); !ok || !began.Equal(at) {
		t.Errorf("%s began %s, %t", early, began, ok)
	}
}

func TestParseName(t *testing.T) {
	const run = "20260102-030405-0a1b2c"
	tests := map[string]struct{ kind, run string }{
		"hello-app-" + run:                 {App, run},
		"hello-base-" + run:                {Base, run},
		"hello-world-base-" + run:          {}, // of another application
		"hello-app-base-" + run:            {},
		"hello-seal-" + run:                {},
		"hello-app-" + run + "0":           {},
		"hello-app-20261302-030405-":       {},
		"hello-app-20261302-030405-0a1b2c": {}, // no such month
		"hello-app":                        {},
		"bye-app-" + run:                   {},
		"":                                 {},
	}
	for name, want := range tests {
		kind, run, ok := ParseName("hello", name)
		if ok != (want.kind != "") || ok && (kind != want.kind || run != want.run || Name("hello", kind, run) != name) {
			t.Errorf("ParseName(%q) = %q, %q, %t", name, kind, run, ok)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("hello", "hello-app-20260102-030405-0a1b2c")
	f.Fuzz(func(t *testing.T, app, name string) {
		if kind, run, ok := ParseName(app, name); ok && Name(app, kind, run) != name {
			t.Errorf("ParseName(%q, %q) = %q, %q", app, name, kind, run)
		}
	})
}
