package targets

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ingot-build/ingot/internal/httpget"
	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/pipeline"
	"github.com/ingot-build/ingot/pkg/probe"
	"github.com/ingot-build/ingot/pkg/progress"
)

// Rehearse runs the whole pipeline on this machine.
//
// Starts the local cloud, makes the infrastructure, bakes both images, rolls the release out, asks the load balancer,
// and prints the URL, the answer and how long each phase took. Needs Docker and no AWS account.
func Rehearse(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error {
		begin := time.Now()
		ctx, phases := progress.Record(ctx)
		if err := p.rehearse(ctx); err != nil {
			return err
		}
		return printPhases(p.out, phases(), time.Since(begin))
	})
}

func (p *project) rehearse(ctx context.Context) error {
	if err := p.useLocal(ctx, ""); err != nil {
		return err
	}
	a, err := p.signIn(ctx)
	if err != nil {
		return err
	}
	if p.State.Bucket != "" {
		if err := p.bootstrap(ctx, a); err != nil {
			return err
		}
	}
	line := p.pipeline(a)
	// The base AMI needs none of the infrastructure, which is mostly waiting, unless that brings the subnet to bake in.
	both, bothCtx := errgroup.WithContext(ctx)
	both.Go(func() error {
		i, err := p.infrastructure(bothCtx)
		if err != nil {
			return err
		}
		return i.apply(bothCtx, true) // nothing that a local cloud loses is missed
	})
	both.Go(func() error { return bakeBaseEarly(bothCtx, line) })
	if err := both.Wait(); err != nil {
		return err
	}
	result, err := line.Release(ctx, pipeline.ReleaseOptions{})
	if err = errors.Join(err, summarizeReport(result)); err != nil {
		return err
	}
	if result.URL == "" {
		return printLine(p.out, fmt.Sprintf("release %s works on every instance\n", result.Release.Name), nil)
	}
	if result.Unseen != "" {
		return printLine(p.out, result.URL+" cannot be asked from here\n", nil)
	}
	asked, err := line.ProbeOptions(ctx)
	if err != nil {
		return err
	}
	text, err := ask(ctx, result.URL, asked)
	return printLine(p.out, text, err)
}

// bakeBaseEarly bakes the base AMI before anything else needs it, or leaves that to the release where there is no subnet yet.
func bakeBaseEarly(ctx context.Context, line *pipeline.Pipeline) error {
	if _, err := line.Network(ctx); errors.Is(err, ami.ErrNoNetwork) {
		progress.Note(ctx, "the base AMI waits for the infrastructure: %s", err)
		return nil
	}
	_, err := line.BakeBase(ctx)
	return err
}

// ask gets the page that a person would see, or where there is none, what a rollout sees of the service; indented, below where
// it is.
func ask(ctx context.Context, page string, o probe.Options) (string, error) {
	host, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	client := probe.NewClient(http.DefaultClient, host.Hostname(), o.Address)
	for _, at := range []string{page, o.URL} {
		answer, err := httpget.Get(ctx, at, httpget.Options{Client: client, Limit: 4 << 10})
		switch {
		case err != nil:
			return "", fmt.Errorf("ask the load balancer: %w", err)
		case answer.Code != http.StatusOK && (at != o.URL || !o.Good.Has(answer.Code)):
			continue
		}
		text := cmp.Or(strings.TrimSpace(string(answer.Body)), answer.Status)
		return fmt.Sprintf("%s answers:\n\n  %s\n", at, strings.ReplaceAll(text, "\n", "\n  ")), nil
	}
	return "", fmt.Errorf("ask the load balancer: neither %s nor %s answers as it should", page, o.URL)
}
