package rollout

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseTemplateVersion(t *testing.T) {
	for text, want := range map[string]TemplateVersion{"1": 1, "9007199254740993": 9007199254740993, "$Latest": LatestVersion, "$Default": DefaultVersion} {
		got, err := ParseTemplateVersion(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%q = %d (%s), %v", text, int64(got), got, err)
		}
		if got.Numbered() != (want > 0) {
			t.Errorf("%q is numbered: %t", text, got.Numbered())
		}
	}
	for _, text := range []string{"", "0", "-1", "-2", "latest", "1.5", "none", "9223372036854775808"} {
		if got, err := ParseTemplateVersion(text); err == nil {
			t.Errorf("%q = %s", text, got)
		}
	}
}

// TestPointerFormat: the parameter of an existing installation is read and written as it always was.
func TestPointerFormat(t *testing.T) {
	const stored = `{"release":"r1","ami":"ami-1","template_version":2,"commit":"c0ffee","since":"2026-01-02T12:00:00Z","by":"alice","rollback":true}`
	var p Pointer
	if err := json.Unmarshal([]byte(stored), &p); err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(p)
	if err != nil || string(got) != stored || p.TemplateVersion != 2 {
		t.Errorf("%s, %v\nwant %s", got, err, stored)
	}
}

// TestUnnumberedGroup: where the group launches whatever version is the latest, what ran before is not known, and
// nothing is emptied or replaced for it.
func TestUnnumberedGroup(t *testing.T) {
	in(t, func(t *testing.T) {
		w := old()
		w.version, w.parameters = "$Latest", map[string][]string{}
		w.step = func(w *world) {
			if w.steps == 3 {
				w.served(3, "r0")
			}
		}
		_, err := w.roller(Options{}).Run(t.Context(), two)
		if err == nil || !strings.Contains(err.Error(), "launches launch template version $Latest") {
			t.Errorf("error = %v", err)
		}
		if last := w.did[len(w.did)-1]; last != "refresh to 3" {
			t.Errorf("did %q", w.did)
		}
	})
}

// TestOddVersion: what AWS says is not taken for something else.
func TestOddVersion(t *testing.T) {
	w := old()
	w.version = "two"
	if _, err := w.roller(Options{}).Fleet(t.Context()); err == nil || err.Error() != `describe Auto Scaling group "hello": parse launch template version: "two" is no number from 1` {
		t.Errorf("error = %v", err)
	}
}
