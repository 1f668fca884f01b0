package target

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/rollout"
)

// Rehearse runs the whole pipeline on this machine.
//
// Starts the local cloud, makes the infrastructure, bakes both images, rolls the release out, asks the load balancer,
// and prints the URL, the answer and how long each phase took. Needs Docker and no AWS account.
func Rehearse(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		begin := time.Now()
		c, err := p.startLocal(ctx)
		if err != nil {
			return err
		}
		if err := c.Setenv(); err != nil {
			return err
		}
		return p.rehearse(ctx, begin)
	})
}

func (p *project) rehearse(ctx context.Context, begin time.Time) error {
	a, err := p.account(ctx)
	if err != nil {
		return err
	}
	if p.State.Bucket != "" {
		if err := p.bootstrap(ctx, a); err != nil {
			return err
		}
	}
	// The base AMI needs none of the infrastructure, which is mostly waiting.
	both, bothCtx := errgroup.WithContext(ctx)
	both.Go(func() error { return p.applyInfra(bothCtx) })
	both.Go(func() error { _, err := p.bakeBase(bothCtx, a); return err })
	if err := both.Wait(); err != nil {
		return err
	}
	result, err := p.release(ctx, rollOptions{})
	if err != nil {
		return err
	}
	answer, err := ask(ctx, result)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%s answers:\n\n%s\n\n", result.URL, answer)
	return p.printPhases(progress.FromContext(ctx).Phases(), time.Since(begin))
}

// ask gets the page that a person would see.
func ask(ctx context.Context, result rollout.Result) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, result.URL, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask the load balancer: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	if err != nil || response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask the load balancer: %s from %s (%w)", response.Status, result.URL, err)
	}
	return "  " + strings.ReplaceAll(strings.TrimSpace(string(body)), "\n", "\n  "), nil
}

func (p *project) printPhases(phases []progress.Phase, total time.Duration) error {
	t := p.table()
	fmt.Fprintln(t, "PHASE\tTIME")
	for _, phase := range phases {
		if phase.Depth == 0 {
			fmt.Fprintf(t, "%s\t%s\n", phase.Name, progress.Elapsed(phase.Elapsed))
		}
	}
	fmt.Fprintf(t, "all\t%s\n", progress.Elapsed(total))
	return t.Flush()
}
