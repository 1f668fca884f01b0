// Package lines takes text apart into its lines.
package lines

import (
	"bytes"
	"strings"
)

// Writer is a writer that calls Each with every whole line, without its end ("\n" or "\r\n"). It is not for concurrent
// use.
type Writer struct {
	Each func(line string)
	// Limit bounds what a line without an end takes of memory: after so many bytes it is told as it is. Zero for no bound.
	Limit int

	rest []byte // the beginning of a line
}

// Write implements io.Writer. It never fails.
func (w *Writer) Write(data []byte) (int, error) {
	w.rest = append(w.rest, data...)
	for {
		line, rest, ended := bytes.Cut(w.rest, []byte("\n"))
		if !ended && (w.Limit <= 0 || len(line) < w.Limit) {
			return len(data), nil
		}
		w.rest = rest
		w.Each(strings.TrimRight(string(line), "\r"))
	}
}

// Flush tells a last line that has no end.
func (w *Writer) Flush() {
	if line := string(w.rest); line != "" {
		w.rest = nil
		w.Each(strings.TrimRight(line, "\r"))
	}
}

// Last returns the last n lines of text, without the white space at their ends. Empty lines at the very end do not count.
func Last(text string, n int) []string {
	return LastFunc(strings.TrimRight(text, " \t\r\n"), n, func(string) bool { return true })
}

// LastFunc returns the last n of those lines of text for which keep is true. It sees them as they are returned: without the
// white space at their ends.
func LastFunc(text string, n int, keep func(line string) bool) []string {
	var kept []string
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, " \t\r\n"); keep(line) {
			kept = append(kept, line)
		}
	}
	return kept[max(0, len(kept)-n):]
}
