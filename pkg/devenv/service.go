package devenv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/internal/httpget"
	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/machine"
)

// appUnit is the service's unit.
const appUnit = "app.service"

// Times of waiting for a service that was started.
const (
	askInterval   = 5 * time.Millisecond   // between two requests; one costs less than a millisecond
	healthTimeout = 3 * time.Second        // for one answer
	crashInterval = 300 * time.Millisecond // between two looks at whether systemd had to restart it
	startWithin   = 30 * time.Second       // for a service that runs but does not answer, where nobody says otherwise
)

// CrashError is a service that was built and does not serve.
type CrashError struct {
	Reason  string
	Journal string // its end
}

// Error is the reason and the end of the journal.
func (e *CrashError) Error() string { return e.Reason + ":\n" + e.Journal }

// waitServing waits until the service answers its health path, and, where it says a release, with this one.
func (d *dev) waitServing(ctx context.Context, release string) error {
	if d.Port == 0 {
		return d.waitWorking(ctx)
	}
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(d.StartWithin, startWithin))
	defer cancel()
	crashed := make(chan string, 1)
	go d.watchCrash(ctx, crashed)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	last := "nothing answers"
	for {
		err := checkHealth(ctx, client, d.URL()+d.Health, release)
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

// waitWorking waits until the machine's own check takes a worker for one that works.
func (d *dev) waitWorking(ctx context.Context) error {
	var said bytes.Buffer
	seconds := int(cmp.Or(d.StartWithin, startWithin) / time.Second)
	err := d.Engine.Exec(ctx, d.name(), machine.Command{Args: []string{"ingot-check", strconv.Itoa(seconds)}, Stdout: &said, Stderr: &said})
	if _, failed := errors.AsType[*machine.ExitError](err); failed {
		reason, journal := "builds, but does not work", strings.TrimSpace(said.String())
		if at := strings.LastIndex(journal, "ingot-check: "); at >= 0 {
			reason, journal = "builds, but "+journal[at+len("ingot-check: "):], journal[:at]
		}
		return &CrashError{Reason: reason, Journal: journal}
	}
	return err
}

// checkHealth asks the service, and fails unless it is well and of the release. Once systemd has started the new service, the old one is
// gone, so an answer that says no release is the new one's.
func checkHealth(ctx context.Context, client *http.Client, url, release string) error {
	answer, err := httpget.Get(ctx, url, httpget.Options{Client: client, Timeout: healthTimeout, Limit: -1})
	if err != nil {
		return err
	}
	if says := answer.Header.Get("X-Release"); says != "" && says != release {
		return fmt.Errorf("release %s answers", says)
	}
	if answer.Code != http.StatusOK {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}

// watchCrash reports when the service ended by itself since it was last started.
func (d *dev) watchCrash(ctx context.Context, crashed chan<- string) {
	for wait.For(ctx, crashInterval) == nil {
		out, err := d.output(ctx, "systemctl", "show", appUnit, "-p", "NRestarts,SubState")
		if err != nil {
			continue
		}
		if reason := crashReason(out); reason != "" {
			crashed <- reason
			return
		}
	}
}

// crashReason reads what "systemctl show" says, and tells how the service ended; "" when it did not.
func crashReason(show string) string {
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
