package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ingot-build/ingot/internal/lines"
	"github.com/ingot-build/ingot/internal/wait"
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
			return nil, fmt.Errorf("wait until machine %q has booted: %w; its console ends with:\n%s", name, ErrNotRunning, strings.Join(lines.Last(text, 20), "\n"))
		}
		_ = wait.For(ctx, bootInterval) // systemd does not answer yet; the end of ctx is seen above
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
