package devenv

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed" // agent.sh
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/internal/lines"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/provision"
)

//go:embed agent.sh
var agentScript string

// Where things are in the machine. Both are volumes, as builds read and write there: the cache's outlives the machine.
const (
	folder      = "/srv/ingot"
	cacheFolder = "/var/cache/ingot-dev"
)

// agent brings files into a machine and runs the app stage there, again and again.
type agent struct {
	requests io.Writer
	answers  *bufio.Reader
	has      map[string][sha256.Size]byte // what the machine has, by name; nil before the first answer
}

// outOfDate is the status of an answer when the files could not be brought up to date. The stage did not run.
const outOfDate = 255

// startAgent starts an agent in the machine that was made of an image, which lives as long as ctx. When the machine ends it, ended is
// called with the reason.
func (o Options) startAgent(ctx context.Context, image string, ended func(error)) *agent {
	requests, stdin := io.Pipe()
	answers, stdout := io.Pipe()
	go func() {
		err := o.Engine.Exec(ctx, o.name(), machine.Command{
			Args: []string{"bash", "-c", agentScript},
			Env: append(machine.Proxies(),
				"FOLDER="+folder, "SOURCE="+folder+"/"+provision.Source, "CACHE="+cacheFolder,
				"PORT="+strconv.Itoa(o.Port), "HEALTH="+o.Health, "PACKAGE="+o.Package, "IMAGE="+image,
				"START_WITHIN="+strconv.Itoa(int(cmp.Or(o.StartWithin, startWithin)/time.Second)),
			),
			Stdin: requests, Stdout: stdout,
		})
		if exit, ended := errors.AsType[*machine.ExitError](err); ended {
			err = &machine.ExitError{Args: []string{"agent.sh"}, Code: exit.Code, Stderr: exit.Stderr} // and not the whole script
		}
		if err == nil {
			err = io.ErrUnexpectedEOF
		}
		_ = requests.CloseWithError(err)
		_ = stdout.CloseWithError(err)
		ended(err)
	}()
	return &agent{requests: stdin, answers: bufio.NewReader(answers)}
}

// installed is the part of a bundle that the app stage copies to the machine's disk.
const installed = provision.Tree + "/" + string(provision.App) + "/root/"

// stale tells whether an app stage has installed a file here that is not in the bundle any more. No stage takes files away, so such a
// machine differs from a new one.
func (a *agent) stale(b *provision.Bundle) (bool, error) {
	if a.has == nil {
		_, list, err := readAnswer(a.answers)
		if err != nil {
			return false, fmt.Errorf("reach the development machine: %w", err)
		}
		a.has = map[string][sha256.Size]byte{}
		for name := range strings.Lines(list) {
			a.has[strings.TrimSpace(name)] = [sha256.Size]byte{} // not there any more, but it was
		}
	}
	want := b.Digests()
	for name := range a.has {
		if _, ok := want[name]; !ok && strings.HasPrefix(name, installed) {
			return true, nil
		}
	}
	return false, nil
}

// run makes the machine's files those of the bundle, and runs the app stage; stale comes first. It returns the stage's exit code and what it wrote.
// An error means that the agent is of no use any more.
func (a *agent) run(b *provision.Bundle, release string) (status int, output string, err error) {
	want := b.Digests()
	changed, removed := difference(a.has, want)
	var names bytes.Buffer
	for _, name := range removed {
		names.WriteString(name + "\x00")
	}
	archive, size, err := patch(b, changed)
	if err != nil {
		return 0, "", err
	}
	defer archive.Close()
	request := fmt.Appendf(nil, "%s %d %d\n", release, names.Len(), size)
	for _, part := range []io.Reader{bytes.NewReader(request), &names, archive} {
		if _, err := io.Copy(a.requests, part); err != nil {
			return 0, "", fmt.Errorf("send files to the development machine: %w", err)
		}
	}
	status, output, err = readAnswer(a.answers)
	if err != nil {
		return 0, "", fmt.Errorf("run provision.sh app in the development machine: %w", err)
	}
	a.has = want
	if status == outOfDate { // nobody knows how much of it is there
		for name := range want {
			a.has[name] = [sha256.Size]byte{}
		}
		for _, name := range removed {
			a.has[name] = [sha256.Size]byte{}
		}
	}
	return status, output, nil
}

// patch makes an archive of some of a bundle's files, of which the size has to be known before it is sent. The file has no name any more.
func patch(b *provision.Bundle, names []string) (archive *os.File, size int64, err error) {
	archive, err = os.CreateTemp("", "ingot-patch-")
	if err != nil {
		return nil, 0, err
	}
	err = os.Remove(archive.Name())
	if err == nil && len(names) > 0 {
		err = b.Patch(archive, names)
	}
	if err == nil {
		size, err = archive.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		_, err = archive.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, archive.Close())
	}
	return archive, size, nil
}

// outputLimit is how much a stage may write, in bytes: far more than anybody reads.
const outputLimit = 64 << 20

func readAnswer(r *bufio.Reader) (status int, output string, err error) {
	head, err := r.ReadString('\n')
	if err != nil {
		return 0, "", err
	}
	var length int
	if _, err := fmt.Sscanf(head, "%d %d\n", &status, &length); err != nil {
		return 0, "", fmt.Errorf("read %q: %w", head, err)
	}
	if length < 0 || length > outputLimit {
		return 0, "", fmt.Errorf("read an answer of %d bytes: want at most %d", length, outputLimit)
	}
	data := make([]byte, length)
	_, err = io.ReadFull(r, data)
	return status, string(data), err
}

// difference tells which names of want are new or other than in has, and which of has are gone; both sorted.
func difference(has, want map[string][sha256.Size]byte) (changed, removed []string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if digest, ok := has[name]; !ok || digest != want[name] {
			changed = append(changed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(has)) {
		if _, ok := want[name]; !ok {
			removed = append(removed, name)
		}
	}
	return changed, removed
}

// lastOutput is the end of what a stage wrote: a screenful.
func lastOutput(output string) string { return strings.Join(lines.Last(output, 40), "\n") }
