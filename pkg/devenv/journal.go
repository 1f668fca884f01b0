package devenv

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/internal/lines"
	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/progress"
)

// Logs writes the end of the journal of the service and of the other units of its release, and what is added to it until ctx ends.
func Logs(ctx context.Context, o Options, out io.Writer) error {
	toHost := o.hostPaths()
	show := &lines.Writer{Each: func(line string) {
		if !cgroupNoise(line) {
			_, _ = fmt.Fprintln(out, toHost(line))
		}
	}}
	err := o.Engine.Exec(ctx, o.name(), machine.Command{
		Args:   []string{"bash", "-c", unitsScript + `exec journalctl "${units[@]/#/--unit=}" --follow --lines=100 --quiet`},
		Stdout: show,
	})
	if ctx.Err() != nil {
		return nil
	}
	return notRunning(err)
}

// journalEnd is the end of what the service, and systemd about it, said since a time.
func (d *dev) journalEnd(ctx context.Context, since time.Time) string {
	out, err := d.output(ctx, "journalctl", "--unit", appUnit, "--no-pager", "--output=cat", "--lines=30", "--since="+journalTime(since.Add(-time.Second)))
	if err != nil {
		return err.Error()
	}
	said := slices.DeleteFunc(strings.Split(out, "\n"), cgroupNoise)
	for i, line := range slices.Backward(said) {
		if strings.HasPrefix(line, "Stopped ") { // the one that ran before
			said = said[i+1:]
			break
		}
	}
	toHost := d.hostPaths()
	for i, line := range said {
		said[i] = "  " + toHost(line)
	}
	return strings.Join(said, "\n")
}

// cgroupNoise tells what systemd says about every unit on a host with cgroup v1, where it keeps its units in the cgroup v2 hierarchy alone.
func cgroupNoise(line string) bool { return strings.Contains(line, "compat systemd cgroup") }

// journalTime is a time as journalctl reads it, in seconds.
func journalTime(at time.Time) string { return "@" + strconv.FormatInt(at.Unix(), 10) }

// unitsScript lists the services of a release, those that its timers, sockets and paths start among them.
const unitsScript = `mapfile -t units < <(sed 's/\.[a-z]*$/.service/' /etc/ingot/units | sort -u); `

// journalScript runs journalctl on the services of the release once there is one, and a journal: one that starts before, while the machine
// boots, follows nothing.
const journalScript = `until [[ -s /etc/ingot/units && -n $(journalctl --quiet --lines=1 2>/dev/null) ]]; do sleep 0.1; done; ` +
	unitsScript + `exec journalctl "${units[@]/#/_SYSTEMD_UNIT=}" "$@"`

// followJournal shows what the services themselves say, from a time on.
func (d *dev) followJournal(ctx context.Context, since time.Time) {
	for ctx.Err() == nil {
		toHost := d.hostPaths()
		show := &lines.Writer{Each: func(line string) {
			since = time.Now()
			if !cgroupNoise(line) {
				progress.Note(ctx, "  %s", toHost(line))
			}
		}}
		_ = d.Engine.Exec(ctx, d.name(), machine.Command{
			Args: []string{
				"bash", "-c", journalScript, "journalctl",
				"--follow", "--lines=all", "--quiet", "--output=cat", "--since=" + journalTime(since),
			},
			Stdout: show,
		})
		_ = wait.For(ctx, time.Second) // it ended before it was told to
	}
}
