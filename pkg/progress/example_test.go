package progress_test

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"github.com/ingot-build/ingot/pkg/progress"
)

// logger is a Reporter that writes to a program's log.
type logger struct{ *slog.Logger }

func (l logger) Begin(s *progress.Stage)                 { l.Info("begin", "stage", s.Name()) }
func (l logger) Update(s *progress.Stage, detail string) { l.Debug(detail, "stage", s.Name()) }
func (l logger) Change(s *progress.Stage, line string)   { l.Info(line, "stage", s.Name()) }
func (l logger) Note(_ *progress.Stage, line string)     { l.Info(line) }

func (l logger) End(s *progress.Stage, result string, err error) {
	if err != nil {
		l.Warn("failed", "stage", s.Name(), "error", err)
		return
	}
	l.Info("done", "stage", s.Name(), "result", result)
}

func ExampleReporter() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	ctx := progress.NewContext(context.Background(), logger{log})

	bake := progress.Start(ctx, "bake base AMI")
	build := progress.Start(bake.Inside(ctx), "build with Packer")
	build.Change("instance i-1 launched")
	build.Fail(errors.New("no space left"))
	bake.Fail(errors.New("build with Packer: no space left"))
	progress.Start(ctx, "find base AMI").Done("ami-1")

	// Output:
	// level=INFO msg=begin stage="bake base AMI"
	// level=INFO msg=begin stage="build with Packer"
	// level=INFO msg="instance i-1 launched" stage="build with Packer"
	// level=WARN msg=failed stage="build with Packer" error="no space left"
	// level=WARN msg=failed stage="bake base AMI" error="build with Packer: no space left"
	// level=INFO msg=begin stage="find base AMI"
	// level=INFO msg=done stage="find base AMI" result=ami-1
}

// withoutTime makes the log of an example the same every time.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
