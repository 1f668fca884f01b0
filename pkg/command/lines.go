package command

import (
	"bytes"
	"strings"
)

// Lines is a writer that calls Each with every whole line, without its end. A last line that never ends is not told.
type Lines struct {
	Each func(line string)

	rest []byte
}

// Write implements io.Writer. It never fails.
func (l *Lines) Write(data []byte) (int, error) {
	l.rest = append(l.rest, data...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(data), nil
		}
		l.Each(strings.TrimRight(string(line), "\r"))
		l.rest = rest
	}
}
