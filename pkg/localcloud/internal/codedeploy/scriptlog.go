package codedeploy

import (
	"strings"
	"sync"

	"github.com/ingot-build/ingot/internal/lines"
)

// maxLogTail is how much of the end of the scripts' output diagnostics have, as on AWS.
const maxLogTail = 4 << 10

// scriptLog keeps the end of what the scripts of an event wrote, in whole lines.
type scriptLog struct {
	mu   sync.Mutex
	text string
}

// add adds a line.
func (l *scriptLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text += strings.ToValidUTF8(line, "\uFFFD") + "\n"
	over := len(l.text) - maxLogTail
	if over <= 0 {
		return
	}
	if end := strings.IndexByte(l.text[over-1:], '\n'); end < len(l.text)-over {
		l.text = l.text[over+end:]
	} else { // one line is longer than everything
		l.text = strings.ToValidUTF8(l.text[over:], "")
	}
}

// String returns the lines.
func (l *scriptLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

// lines returns a writer that adds what is written to it to the log, each line with the prefix.
func (l *scriptLog) lines(prefix string) *lines.Writer {
	return &lines.Writer{Each: func(line string) { l.add(prefix + line) }, Limit: maxLogTail}
}
