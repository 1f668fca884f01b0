package doctor

import "context"

// Tool is a program, or a service of this machine, that something needs.
type Tool struct {
	Name   string
	For    string // what needs it, in a few words
	Needed bool   // for a release
	Find   func(ctx context.Context) (version string, err error)
}

// Machine returns the checks of this machine: whether the tools are there.
func Machine(tools []Tool) []Check {
	var checks []Check
	for _, t := range tools {
		checks = append(checks, Check{Name: t.Name, Run: t.check})
	}
	return checks
}

func (t Tool) check(ctx context.Context) Result {
	version, err := t.Find(ctx)
	switch {
	case err == nil:
		return ok(version)
	case t.Needed:
		return Result{Level: Stop, Finding: oneLine(err), Remedy: Install, Err: err}
	}
	return Result{Level: Warn, Finding: oneLine(err) + "; needed for " + t.For, Remedy: Install, Err: err}
}
