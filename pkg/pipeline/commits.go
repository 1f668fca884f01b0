package pipeline

import (
	"context"
	"fmt"
	"strings"

	"github.com/ingot-build/ingot/pkg/command"
)

// maxCommits bounds the commits that a report lists.
const maxCommits = 50

// commit names the commit that the work tree is at, with -dirty where it differs; empty outside of git.
func (p *Pipeline) commit(ctx context.Context) string {
	out, err := p.git(ctx, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")
	if err != nil {
		return ""
	}
	return out
}

// commitsBetween are the subjects of the commits between two releases, the newest first. Where the commits are not
// there, as in a shallow clone, there is nothing to list.
func (p *Pipeline) commitsBetween(ctx context.Context, before, now string) []string {
	before, now = strings.TrimSuffix(before, "-dirty"), strings.TrimSuffix(now, "-dirty")
	if before == "" || now == "" || before == now {
		return nil
	}
	out, err := p.git(ctx, "log", "--no-decorate", "--format=%s", fmt.Sprintf("--max-count=%d", maxCommits), before+".."+now)
	if err != nil || out == "" {
		return nil
	}
	return strings.Split(out, "\n")
}

func (p *Pipeline) git(ctx context.Context, args ...string) (string, error) {
	return command.Output(ctx, p.settings.Runner, command.Cmd{Path: "git", Args: args, Dir: p.settings.Root})
}
