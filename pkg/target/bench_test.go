package target

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		times []time.Duration
		want  time.Duration
	}{{[]time.Duration{3}, 3}, {[]time.Duration{9, 1, 2}, 2}, {[]time.Duration{8, 1, 2, 4}, 3}} {
		if got := median(tt.times); got != tt.want {
			t.Errorf("median of %v = %d, want %d", tt.times, got, tt.want)
		}
	}
}

func TestDocument(t *testing.T) {
	got := document([]row{
		{subject: subject{name: "a", what: "one"}, times: []time.Duration{500 * time.Millisecond, 700 * time.Millisecond}},
		{subject: subject{name: "b", what: "two"}, times: []time.Duration{time.Second}},
		{subject: subject{name: "c", what: "three"}, err: errors.New("no\nnetwork")},
	})
	_, table, _ := strings.Cut(got, "|---|---|---|---|---|---|\n")
	want := `| a | one | 0.60 s | 0.50 s | 0.70 s | 1.00 × |
| b | two | 1.00 s | 1.00 s | 1.00 s | 0.60 × |
| c | three | not to be had: no network | | | |
`
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
