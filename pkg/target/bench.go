package target

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/devenv"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/progress"
)

// benchSaves is how many saves are measured of each kind; the table shows their median.
const benchSaves = 10

// air is the live-reload tool that the development machine is compared with.
const air = "github.com/air-verse/air@v1.67.4"

// Bench measures the time from a save to its first answer.
//
// Of the development machine, of a bare binary, of docker build, and of a live-reload tool, which it downloads. Writes
// docs/benchmarks.md. Takes some minutes; works on a copy of the service.
func Bench(ctx context.Context) error {
	return run(ctx, func(ctx context.Context, p *project) error { return p.bench(ctx) })
}

// bench is a copy of the service whose saves are measured.
type bench struct {
	*project
	engine *machine.Engine
	root   string // of the copy
	source string
	port   int
	saves  int
}

// subject is a way to serve the source.
type subject struct {
	name, what string
	start      func(ctx context.Context) (server, error) // begins to serve and to follow changes, until ctx ends
}

// server is a subject that serves.
type server struct {
	saved func() error // called after each save, for what does not happen by itself; may be nil
	stop  func()       // called after its context has ended; returns when nothing is left
}

func (p *project) bench(ctx context.Context) error {
	engine, err := machine.Connect(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	root, err := os.MkdirTemp("", "ingot-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	b := &bench{project: p, engine: engine, root: root, source: filepath.Join(root, "service")}
	for from, to := range map[string]string{p.path("provision"): filepath.Join(root, "provision"), p.path(p.Service.Source): b.source} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			return err
		}
	}
	rows, err := b.measureAll(ctx)
	if err := errors.Join(err, devenv.Down(context.WithoutCancel(ctx), b.options(), true)); err != nil {
		return err
	}
	text := document(rows)
	if err := os.MkdirAll(p.path("docs"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(p.path("docs", "benchmarks.md"), []byte(text), 0o644); err != nil {
		return err
	}
	_, err = fmt.Fprint(p.out, text)
	return err
}

type row struct {
	subject
	times []time.Duration
	err   error
}

func (b *bench) measureAll(ctx context.Context) ([]row, error) {
	var rows []row
	for _, s := range []subject{
		{"a", "`mage dev`", b.dev},
		{"b", "`go build`, and restart of the bare binary, on the host", b.bare},
		{"c", "`docker build` from an image with Go, and a new container", b.docker},
		{"d", "`" + air + "`, without its delay, on the host", b.air},
	} {
		stage := progress.Start(ctx, "measure %s", s.what)
		times, err := b.measure(stage.Inside(ctx), s)
		stage.End(&err)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		rows = append(rows, row{s, times, err})
	}
	return rows, rows[0].err
}

// measure saves again and again, and takes the time until the first answer with the new content.
func (b *bench) measure(ctx context.Context, s subject) (times []time.Duration, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	if err := b.save(s.name + " first"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	serving, err := s.start(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	defer func() { cancel(); serving.stop() }()
	// The first answer, and one save that fills the caches, are not counted.
	for i := range benchSaves + 2 {
		greeting := fmt.Sprint(s.name, " ", b.saves)
		begin := time.Now()
		if err := b.save(greeting); err != nil {
			return nil, err
		}
		if serving.saved != nil {
			if err := serving.saved(); err != nil {
				return nil, err
			}
		}
		if err := b.answered(ctx, greeting); err != nil {
			return nil, err
		}
		if i > 1 {
			times = append(times, time.Since(begin))
		}
		select { // as a person does
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
	return times, nil
}

// save writes another greeting into the copy.
func (b *bench) save(greeting string) error {
	b.saves++
	text, err := os.ReadFile(b.path(b.Service.Source, "main.go"))
	if err != nil {
		return err
	}
	old := `"Hello from Ingot"`
	if !strings.Contains(string(text), old) {
		return fmt.Errorf("measure saves: %s does not say %s any more", b.path(b.Service.Source, "main.go"), old)
	}
	file := filepath.Join(b.source, "main.go")
	if err := os.WriteFile(file+"~", []byte(strings.Replace(string(text), old, strconv.Quote(greeting), 1)), 0o644); err != nil {
		return err
	}
	return os.Rename(file+"~", file)
}

// answered waits until the service answers with a greeting.
func (b *bench) answered(ctx context.Context, greeting string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", b.port), nil)
		if err != nil {
			return err
		}
		if response, err := client.Do(request); err == nil {
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if strings.HasPrefix(string(body), greeting+"\n") {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the answer %q: %w", greeting, ctx.Err())
		case <-time.After(10 * time.Millisecond): // more would load what is measured
		}
	}
}

func (b *bench) options() devenv.Options {
	return devenv.Options{
		Engine: b.engine, Root: b.root, App: "bench", Provision: filepath.Join(b.root, "provision"), Source: b.source,
		Port: b.Service.Port, Publish: b.port, Health: b.Service.Health, Runner: b.runner,
	}
}

func (b *bench) dev(ctx context.Context) (server, error) {
	o := b.options()
	served := make(chan struct{}, 1)
	o.Saved = func(devenv.Save) {
		select {
		case served <- struct{}{}:
		default:
		}
	}
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = devenv.Up(progress.NewContext(ctx, progress.New(io.Discard)), o)
	}()
	select {
	case <-ended:
		return server{}, cmp.Or(err, context.Cause(ctx), io.ErrUnexpectedEOF)
	case <-served:
		return server{stop: func() { <-ended }}, nil
	}
}

// bare builds as Go does by itself and replaces the process.
func (b *bench) bare(ctx context.Context) (server, error) {
	binary := filepath.Join(b.root, "bare")
	stop := func() {}
	saved := func() error {
		if err := b.runner.Run(ctx, command.Cmd{Path: "go", Args: []string{"build", "-o", binary, "."}, Dir: b.source}); err != nil {
			return err
		}
		stop()
		running, cancel := context.WithCancel(ctx)
		ended := b.background(running, command.Cmd{Path: binary})
		stop = func() { cancel(); <-ended }
		return nil
	}
	return server{saved: saved, stop: func() { stop() }}, nil
}

// background runs a program that serves on the measured port, on the host.
func (b *bench) background(ctx context.Context, c command.Cmd) (ended <-chan struct{}) {
	done := make(chan struct{})
	c.Env = []string{"HOST=127.0.0.1", "PORT=" + strconv.Itoa(b.port)}
	go func() {
		defer close(done)
		_ = b.runner.Run(ctx, c)
	}()
	return done
}

// dockerfile builds the service from an image with Go, the usual way.
const dockerfile = `FROM %s
LABEL ingot.bench=1
ENV CGO_ENABLED=0 HOME=/root
WORKDIR /src
COPY go.mod ./
RUN go mod download
COPY . .
RUN go build -trimpath -buildvcs=false -o /usr/local/bin/service .
ENTRYPOINT ["/usr/local/bin/service"]
`

// docker builds an image from the development machine's, which has Go, and replaces the container.
func (b *bench) docker(ctx context.Context) (server, error) {
	machines, err := b.engine.List(ctx, map[string]string{"ingot.dev": b.root})
	if err != nil || len(machines) == 0 {
		return server{}, errors.Join(errors.New("there is no image with Go"), err)
	}
	file := filepath.Join(b.root, "Dockerfile")
	if err := os.WriteFile(file, fmt.Appendf(nil, dockerfile, machines[0].Image), 0o644); err != nil {
		return server{}, err
	}
	name := filepath.Base(b.root)
	docker := func(ctx context.Context, args ...string) error {
		return b.runner.Run(ctx, command.Cmd{Path: "docker", Args: args, Dir: b.root})
	}
	saved := func() error {
		if err := docker(ctx, "build", "--quiet", "--force-rm", "--tag", name, "--file", file, b.source); err != nil {
			return err
		}
		_ = docker(ctx, "rm", "--force", name)
		return docker(ctx, "run", "--detach", "--name", name, "--env", "PORT=8080", "--publish", fmt.Sprintf("127.0.0.1:%d:8080", b.port), name)
	}
	stop := func() {
		ctx := context.WithoutCancel(ctx)
		_ = docker(ctx, "rm", "--force", name)
		_ = docker(ctx, "rmi", "--force", name)
		_ = docker(ctx, "image", "prune", "--force", "--filter", "label=ingot.bench=1")
	}
	return server{saved, stop}, nil
}

// air lets the live-reload tool follow the source.
func (b *bench) air(ctx context.Context) (server, error) {
	err := b.runner.Run(ctx, command.Cmd{Path: "go", Args: []string{"install", air}, Dir: b.root, Env: []string{"GOBIN=" + b.root}})
	if err != nil {
		return server{}, err
	}
	ended := b.background(ctx, command.Cmd{
		Path: filepath.Join(b.root, "air"), Dir: b.source,
		Args: []string{"--build.cmd", "go build -o ./tmp/main .", "--build.entrypoint", "./tmp/main", "--build.delay", "0"},
	})
	return server{stop: func() { <-ended }}, nil
}

func median(times []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	n := len(sorted)
	return (sorted[n/2] + sorted[(n-1)/2]) / 2
}

// document is the page that shows what was measured. The first row is what the others are compared with.
func document(rows []row) string {
	var text strings.Builder
	fmt.Fprintf(&text, `# Benchmarks

The time from a save of the example service's source to the first answer with the new content: medians of %d saves, in one run on one
machine. Made by `+"`go tool mage bench`"+`.

| | how it is served | median | fastest | slowest | (a) takes |
|---|---|---|---|---|---|
`, benchSaves)
	for _, r := range rows {
		if r.err != nil {
			fmt.Fprintf(&text, "| %s | %s | not to be had: %s | | | |\n", r.name, r.what, oneLine(r.err))
			continue
		}
		m := median(r.times)
		fmt.Fprintf(&text, "| %s | %s | %.2f s | %.2f s | %.2f s | %.2f × |\n", r.name, r.what, m.Seconds(),
			slices.Min(r.times).Seconds(), slices.Max(r.times).Seconds(), median(rows[0].times).Seconds()/m.Seconds())
	}
	return text.String()
}
