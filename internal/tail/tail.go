// Package tail keeps the end of what a program writes, for when it fails.
package tail

// Buffer is a writer that keeps the last Limit bytes of what is written to it. It is not for concurrent use.
type Buffer struct {
	Limit int // in bytes

	data []byte
}

// Write implements io.Writer. It never fails.
func (b *Buffer) Write(data []byte) (int, error) {
	b.data = append(b.data, data...)
	if len(b.data) > 2*b.Limit { // seldom, so that little is moved
		b.data = append(b.data[:0], b.data[len(b.data)-b.Limit:]...)
	}
	return len(data), nil
}

// String returns what is kept.
func (b *Buffer) String() string { return string(b.data[max(0, len(b.data)-b.Limit):]) }
