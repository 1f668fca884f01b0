package devenv

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/progress"
)

// appUnit is the service's unit.
const appUnit = "app.service"

// Times of waiting for a service that was started.
const (
	askInterval   = 5 * time.Millisecond   // between two requests; one costs less than a millisecond
	crashInterval = 300 * time.Millisecond // between two looks at whether systemd had to restart it
	serveTimeout  = 30 * time.Second       // for a service that runs but does not answer
)

// CrashError is a service that was built and does not serve.
type CrashError struct {
	Reason  string
	Journal string // its end
}

func (e *CrashError) Error() string { return e.Reason + ":\n" + e.Journal }

// waitServing waits until the service answers its health path, and, where it says a release, with this one.
func (d *dev) waitServing(ctx context.Context, release string) error {
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	crashed := make(chan string, 1)
	go d.watchCrash(ctx, crashed)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: crashInterval * 10}
	last := "nothing answers"
	for {
		err := ask(ctx, client, d.URL()+d.Health, release)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err.Error()
		}
		reason := ""
		select {
		case reason = <-crashed:
		case <-ctx.Done():
			reason = fmt.Sprintf("builds, but does not serve %s: %s", d.Health, last)
		case <-time.After(askInterval):
			continue
		}
		return &CrashError{Reason: reason, Journal: d.journalEnd(context.WithoutCancel(ctx), begin)}
	}
}

// ask asks the service, and fails unless it is well and of the release. Once systemd has started the new service, the old one is gone,
// so an answer that says no release is the new one's.
func ask(ctx context.Context, client *http.Client, url, release string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if says := response.Header.Get("X-Release"); says != "" && says != release {
		return fmt.Errorf("release %s answers", says)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}

// watchCrash reports when the service ended by itself since it was last started.
func (d *dev) watchCrash(ctx context.Context, crashed chan<- string) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(crashInterval):
		}
		out, err := d.output(ctx, "systemctl", "show", appUnit, "-p", "NRestarts,SubState")
		if err != nil {
			continue
		}
		if reason := crash(out); reason != "" {
			crashed <- reason
			return
		}
	}
}

// crash reads what "systemctl show" says, and tells how the service ended; "" when it did not.
func crash(show string) string {
	says := map[string]string{}
	for line := range strings.Lines(show) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		says[key] = value
	}
	restarts, _ := strconv.Atoi(says["NRestarts"])
	if restarts == 0 && says["SubState"] != "failed" && !strings.HasPrefix(says["SubState"], "auto-restart") {
		return ""
	}
	return "builds, but crashes at start"
}

// journalEnd is the end of what the service, and systemd about it, said since a time.
func (d *dev) journalEnd(ctx context.Context, since time.Time) string {
	out, err := d.output(ctx, "journalctl", "--unit", appUnit, "--no-pager", "--output=cat", "--lines=30", "--since="+stamp(since.Add(-time.Second)))
	if err != nil {
		return err.Error()
	}
	said := slices.DeleteFunc(strings.Split(out, "\n"), noise)
	for i, line := range slices.Backward(said) {
		if strings.HasPrefix(line, "Stopped ") { // the one that ran before
			said = said[i+1:]
			break
		}
	}
	traced := d.traced()
	for i, line := range said {
		said[i] = "  " + traced(line)
	}
	return strings.Join(said, "\n")
}

// noise tells what systemd says about every unit on a host with cgroup v1, where it keeps its units in the cgroup v2 hierarchy alone.
func noise(line string) bool { return strings.Contains(line, "compat systemd cgroup") }

// stamp is a time as journalctl reads it, in seconds.
func stamp(at time.Time) string { return "@" + strconv.FormatInt(at.Unix(), 10) }

// journalScript runs journalctl once there is a journal: one that starts before, while the machine boots, follows nothing.
const journalScript = `until [[ -n $(journalctl --quiet --lines=1 2>/dev/null) ]]; do sleep 0.1; done; exec journalctl "$@"`

// followJournal shows what the service itself says, from a time on.
func (d *dev) followJournal(ctx context.Context, since time.Time) {
	for ctx.Err() == nil {
		traced := d.traced()
		show := &command.Lines{Each: func(line string) {
			since = time.Now()
			if !noise(line) {
				progress.Note(ctx, "  %s", traced(line))
			}
		}}
		_ = d.Engine.Exec(ctx, d.name(), machine.Command{
			Args: []string{
				"bash", "-c", journalScript, "journalctl",
				"_SYSTEMD_UNIT=" + appUnit, "--follow", "--lines=all", "--quiet", "--output=cat", "--since=" + stamp(since),
			},
			Stdout: show,
		})
		select { // it ended before it was told to
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
