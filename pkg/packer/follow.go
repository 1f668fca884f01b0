package packer

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// followDelay is the gap between two looks at a log that grows: short enough to look immediate.
const followDelay = 100 * time.Millisecond

// logFile is the log of the build in a folder.
func logFile(folder string) string { return filepath.Join(folder, "packer.log") }

// Follow tells the steps of a build that another process runs, by what it writes into the log in the build's folder,
// until ended is closed.
func Follow(folder string, progress func(step string), ended <-chan struct{}) error {
	return followFile(logFile(folder), newOutput(progress), ended)
}

// followFile copies what is appended to a file, which may not be there yet, until ended is closed and all of it is read.
func followFile(path string, to io.Writer, ended <-chan struct{}) error {
	ticker := time.NewTicker(followDelay)
	defer ticker.Stop()
	var read int64
	for over := false; ; {
		n, err := readFrom(path, read, to)
		if err != nil || over {
			return err
		}
		read += n
		select {
		case <-ended:
			over = true
		case <-ticker.C:
		}
	}
}

// readFrom copies a file from an offset to its present end. A file that is not there is an empty one.
func readFrom(path string, offset int64, to io.Writer) (int64, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	return io.Copy(to, file)
}
