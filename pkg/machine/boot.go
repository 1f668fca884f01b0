package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
)

// bootInterval is the time between two looks at a machine whose systemd does not answer yet.
const bootInterval = 100 * time.Millisecond

// WaitBooted waits until a machine has booted: until everything that systemd starts at boot is up, or has failed. It returns the units
// that failed. It fails with the end of the console when the machine stops meanwhile.
func (e *Engine) WaitBooted(ctx context.Context, name string) (failed []string, err error) {
	for {
		var out bytes.Buffer
		err := e.Exec(ctx, name, Command{Args: []string{"systemctl", "is-system-running", "--wait"}, Stdout: &out})
		switch state := strings.TrimSpace(out.String()); {
		case state == "running":
			return nil, nil
		case state == "degraded":
			return e.failedUnits(ctx, name)
		case ctx.Err() != nil:
			return nil, fmt.Errorf("wait until machine %q has booted: %w", name, context.Cause(ctx))
		case errors.Is(err, ErrNotFound), state == "stopping":
			return nil, fmt.Errorf("wait until machine %q has booted: %w", name, errors.Join(err, ErrNotRunning))
		case errors.Is(err, ErrNotRunning):
			text, _ := e.Console(context.WithoutCancel(ctx), name)
			return nil, fmt.Errorf("wait until machine %q has booted: %w; its console ends with:\n%s", name, ErrNotRunning, lastLines(text, 20))
		}
		select { // systemd does not answer yet
		case <-ctx.Done():
		case <-time.After(bootInterval):
		}
	}
}

func (e *Engine) failedUnits(ctx context.Context, name string) ([]string, error) {
	var out bytes.Buffer
	err := e.Exec(ctx, name, Command{Args: []string{"systemctl", "list-units", "--failed", "--no-legend", "--plain", "--full"}, Stdout: &out})
	if err != nil {
		return nil, err
	}
	var units []string
	for line := range strings.Lines(out.String()) {
		if unit, _, ok := strings.Cut(line, " "); ok {
			units = append(units, unit)
		}
	}
	return units, nil
}

// consoleLines is how much of a console's end Console returns: about the 64 KB that EC2 keeps.
const consoleLines = 800

// Console returns the end of a machine's console, to which its journal goes too, whether it runs or not.
func (e *Engine) Console(ctx context.Context, name string) (string, error) {
	log, err := e.api.ContainerLogs(ctx, name, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Tail: strconv.Itoa(consoleLines),
	})
	if err != nil {
		return "", explain("read the console of machine", name, err)
	}
	defer func() { _ = log.Close() }()
	text, err := io.ReadAll(log)
	if err != nil {
		return "", explain("read the console of machine", name, err)
	}
	return plainText(string(text)), nil
}

// escapes match what a terminal acts on instead of showing (ECMA-48 control sequences, and the operating system commands of xterm).
const escapes = `\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b[@-Z\\-_cM78=>]`

// noise matches what systemd says for every unit on a host with cgroup v1, where it keeps its units in the cgroup v2 hierarchy alone.
const noise = `(?m)^.*Failed to (create|attach .* to) compat systemd cgroup .*\n`

func plainText(terminal string) string {
	text := regexp.MustCompile(escapes).ReplaceAllString(terminal, "")
	text = strings.ReplaceAll(text, "\r", "")
	return regexp.MustCompile(noise).ReplaceAllString(text, "")
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
