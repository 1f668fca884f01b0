package lines

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriter(t *testing.T) {
	for name, test := range map[string]struct {
		limit int
		parts []string
		want  []string // before Flush
		last  []string // told by Flush
	}{
		"parts":                      {parts: []string{"on", "e\r\ntwo\n\nthr", "ee\nfour"}, want: []string{"one", "two", "", "three"}, last: []string{"four"}},
		"nothing left":               {parts: []string{"one\n"}, want: []string{"one"}},
		"nothing":                    {parts: []string{""}},
		"longer than the limit":      {limit: 4, parts: []string{"abc", "def", "g\nhi\n"}, want: []string{"abcdef", "g", "hi"}},
		"limit does not cut a line":  {limit: 4, parts: []string{"abcdefg\nh"}, want: []string{"abcdefg"}, last: []string{"h"}},
		"last line with half an end": {parts: []string{"one\r"}, last: []string{"one"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			w := &Writer{Limit: test.limit, Each: func(line string) { got = append(got, line) }}
			for _, part := range test.parts {
				if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
					t.Errorf("Write(%q) = %d, %v", part, n, err)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			got = nil
			w.Flush()
			w.Flush()
			if diff := cmp.Diff(test.last, got); diff != "" {
				t.Errorf("flush: %s", diff)
			}
		})
	}
}

func TestLast(t *testing.T) {
	for _, test := range []struct {
		text string
		n    int
		want []string
	}{
		{text: "a\nb\nc\n", n: 2, want: []string{"b", "c"}},
		{text: "a\n", n: 5, want: []string{"a"}},
		{text: "a\n\n b \r\n\n \n", n: 2, want: []string{"", " b"}},
		{text: "\n", n: 5},
		{text: "a", n: 0, want: []string{}},
	} {
		if diff := cmp.Diff(test.want, Last(test.text, test.n)); diff != "" {
			t.Errorf("Last(%q, %d): %s", test.text, test.n, diff)
		}
	}
}

func TestLastFunc(t *testing.T) {
	got := LastFunc("a\nheading\nb\n  \nc \n\n", 2, func(line string) bool { return line != "" && line != "heading" })
	if diff := cmp.Diff([]string{"b", "c"}, got); diff != "" {
		t.Error(diff)
	}
}
