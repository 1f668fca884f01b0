//go:build mage

package main

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

	"github.com/ingot-build/ingot/internal/httpget"
	"github.com/ingot-build/ingot/internal/wait"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/config"
	"github.com/ingot-build/ingot/pkg/devenv"
	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/progress"
)

const (
	benchRounds = 10                     // how often everything is measured; the tables show medians
	benchPause  = 300 * time.Millisecond // between two measurements, as of a quick person: what the last one left has ended
	startLimit  = 5 * time.Minute        // for a first answer, which may wait for an image to be made
	saveLimit   = time.Minute            // for an answer with a save: what takes longer has missed it
	askInterval = 5 * time.Millisecond   // between two requests, which take less than one
)

// air is the live-reload tool that the development machine is compared with.
const (
	airVersion = "v1.67.4"
	air        = "github.com/air-verse/air@" + airVersion
)

// site is a copy of the service that is served in one way, on a port of its own.
type site struct {
	*chores
	engine  *machine.Engine
	root    string // like this repository's, with git, as far as the development machine needs it
	address string
	saves   int
}

// way is a way to serve a site.
type way struct {
	name, what string
	start      func(*site, context.Context) (server, error) // begins to serve and to follow changes, until ctx ends
	alone      bool                                         // its saves come after those of the others: they slow down the ones that follow
}

// server serves a site.
type server struct {
	saved func() error          // called after each save, for what does not happen by itself; may be nil
	ended <-chan error          // it ended, be it that its context has; nil where no process of this one serves
	stop  func(context.Context) // takes away what it leaves; may be nil
}

func (s server) wait(ctx context.Context) {
	if s.ended != nil {
		<-s.ended
	}
	if s.stop != nil {
		s.stop(context.WithoutCancel(ctx))
	}
}

// row is what was measured of one way.
type row struct {
	name, what string
	times      []time.Duration
	missed     int   // saves that were never served
	err        error // why there is nothing
}

func (c *chores) benchDev(ctx context.Context) (text string, err error) {
	engine, err := machine.Connect(ctx)
	if err != nil {
		return "", err
	}
	defer engine.Close()
	root, err := os.MkdirTemp("", "ingot-bench-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	ways := []way{
		{"a", "`mage dev`", (*site).dev, false},
		{"b", "`go build`, and restart of the bare binary, on the host", (*site).bare, false},
		{"c", "`docker build` from an image with Go, and a new container", (*site).docker, true},
		{"d", "air, a live-reload tool, without its delay, on the host", (*site).air, false},
	}
	sites := make([]*site, len(ways))
	for i, w := range ways {
		sites[i] = &site{chores: c, engine: engine, root: filepath.Join(root, w.name)}
		if err := sites[i].make(ctx); err != nil {
			return "", err
		}
	}
	dev := sites[0]
	defer func() { err = errors.Join(err, dev.removeMachine(context.WithoutCancel(ctx))) }()
	saves, err := measureSaves(ctx, ways, sites)
	if err != nil {
		return "", err
	}
	starts, err := dev.measureStarts(ctx)
	if err != nil {
		return "", err
	}
	on, err := c.describe(ctx, engine)
	if err != nil {
		return "", err
	}
	return devSection(on, saves, starts), nil
}

// describe says what the figures depend on.
func (c *chores) describe(ctx context.Context, engine *machine.Engine) (string, error) {
	version, err := command.Output(ctx, c.runner, command.Cmd{Path: "go", Args: []string{"env", "GOVERSION"}})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; on the host %s and air %s", engine.About(), strings.Replace(version, "go", "Go ", 1), airVersion), nil
}

// make copies the repository.
func (s *site) make(ctx context.Context) error {
	for _, name := range []string{"provision", s.Service.Source} {
		if err := os.CopyFS(filepath.Join(s.root, name), os.DirFS(s.path(name))); err != nil {
			return err
		}
	}
	settings, err := os.ReadFile(s.path(config.File))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.root, config.File), settings, 0o644); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.address = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	return s.runner.Run(ctx, command.Cmd{Path: "git", Args: []string{"init", "--quiet"}, Dir: s.root})
}

func (s *site) source() string { return filepath.Join(s.root, s.Service.Source) }

func (s *site) port() string { _, port, _ := net.SplitHostPort(s.address); return port }

// measureSaves saves in every site, in turn and again and again, so that what else the machine does meets all alike.
func measureSaves(ctx context.Context, ways []way, sites []*site) (rows []row, err error) {
	ctx, cancel := context.WithCancel(ctx)
	servers := make([]server, len(ways))
	defer func() {
		cancel()
		for _, s := range servers {
			s.wait(ctx)
		}
	}()
	for i, w := range ways {
		stage := progress.Start(ctx, "start %s", w.what)
		servers[i], err = sites[i].firstAnswer(ctx, w)
		stage.End(&err)
		if i == 0 && err != nil || ctx.Err() != nil {
			return nil, cmp.Or(context.Cause(ctx), err)
		}
		rows = append(rows, row{name: w.name, what: w.what, err: err})
	}
	stage := progress.Start(ctx, "measure saves")
	defer stage.End(&err)
	for _, alone := range []bool{false, true} {
		for round := range benchRounds + 1 {
			stage.Update("round %d of %d", round, benchRounds)
			for i, s := range sites {
				if rows[i].err != nil || ways[i].alone != alone {
					continue
				}
				took, err := s.save(ctx, servers[i])
				switch {
				case errors.Is(err, errUnanswered) && i > 0: // a live-reload tool may miss one
					rows[i].missed++
				case err != nil:
					return nil, fmt.Errorf("measure %s: %w", rows[i].what, err)
				case round > 0: // the first fills the caches
					rows[i].times = append(rows[i].times, took)
				}
				if err := wait.For(ctx, benchPause); err != nil {
					return nil, err
				}
			}
		}
	}
	return rows, nil
}

// firstAnswer starts to serve a site and waits until that answers.
func (s *site) firstAnswer(ctx context.Context, w way) (server, error) {
	if err := s.write(); err != nil {
		return server{}, err
	}
	serving, err := w.start(s, ctx)
	if err == nil && serving.saved != nil {
		err = serving.saved()
	}
	if err == nil {
		err = s.answered(ctx, serving, startLimit)
	}
	return serving, err
}

// save takes the time from a save to the first answer with the new content.
func (s *site) save(ctx context.Context, serving server) (time.Duration, error) {
	begin := time.Now()
	if err := s.write(); err != nil {
		return 0, err
	}
	if serving.saved != nil {
		if err := serving.saved(); err != nil {
			return 0, err
		}
	}
	err := s.answered(ctx, serving, saveLimit)
	return time.Since(begin), err
}

func (s *site) greeting() string { return "save " + strconv.Itoa(s.saves) }

// write saves another greeting, as editors do.
func (s *site) write() error {
	original := s.path(s.Service.Source, "main.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return err
	}
	before, after, found := strings.Cut(string(text), `"Hello from Ingot"`)
	if !found {
		return fmt.Errorf("measure saves: %s does not say \"Hello from Ingot\" any more", original)
	}
	s.saves++
	file := filepath.Join(s.source(), "main.go")
	if err := os.WriteFile(file+"~", []byte(before+strconv.Quote(s.greeting())+after), 0o644); err != nil {
		return err
	}
	return os.Rename(file+"~", file)
}

var errUnanswered = errors.New("it does not come")

// answered waits until the site answers with what was saved last.
func (s *site) answered(ctx context.Context, serving server, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errUnanswered)
	defer cancel()
	asking := httpget.Options{Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, Timeout: time.Second}
	for {
		if answer, err := httpget.Get(ctx, "http://"+s.address+"/", asking); err == nil && strings.HasPrefix(string(answer.Body), s.greeting()+"\n") {
			return nil
		}
		select {
		case err := <-serving.ended:
			return cmp.Or(err, io.ErrUnexpectedEOF)
		case <-ctx.Done():
			return fmt.Errorf("wait for the answer %q: %w", s.greeting(), context.Cause(ctx))
		case <-time.After(askInterval):
		}
	}
}

// background runs a program until ctx ends.
func (s *site) background(ctx context.Context, c command.Cmd) (ended <-chan error) {
	done := make(chan error, 1)
	c.Env = append(c.Env, "HOST=127.0.0.1", "PORT="+s.port())
	go func() {
		defer close(done)
		done <- s.runner.Run(ctx, c)
	}()
	return done
}

// dev runs this very program's target, as a person does.
func (s *site) dev(ctx context.Context) (server, error) {
	self, err := os.Executable()
	if err != nil {
		return server{}, fmt.Errorf("find this program's own file: %w", err)
	}
	return server{ended: s.background(ctx, command.Cmd{
		Path: self, Args: []string{"dev", "-port=" + s.port()}, Dir: s.root, WaitDelay: time.Minute,
	})}, nil
}

// removeMachine removes what dev leaves.
func (s *site) removeMachine(ctx context.Context) error {
	return devenv.Down(ctx, devenv.Options{Engine: s.engine, Root: s.root, App: s.App}, true)
}

// bare builds as Go does by itself and replaces the process.
func (s *site) bare(ctx context.Context) (server, error) {
	binary := filepath.Join(s.root, "bare")
	stop := func() {}
	saved := func() error {
		if err := s.goBuild(ctx, binary); err != nil {
			return err
		}
		stop()
		running, cancel := context.WithCancel(ctx)
		ended := s.background(running, command.Cmd{Path: binary})
		stop = func() { cancel(); <-ended }
		return nil
	}
	return server{saved: saved, stop: func(context.Context) { stop() }}, nil
}

func (s *site) goBuild(ctx context.Context, to string) error {
	return s.runner.Run(ctx, command.Cmd{Path: "go", Args: []string{"build", "-o", to, "."}, Dir: s.source()})
}

// dockerfile builds the service from an image with Go, the usual way, but that the image has the standard library compiled already,
// where the base stage leaves it.
const dockerfile = `FROM %s
LABEL ingot.bench=1
ENV CGO_ENABLED=0 HOME=/root GOCACHE=/var/cache/ingot/go-build
WORKDIR /src
COPY go.mod ./
RUN go mod download
COPY . .
RUN go build -trimpath -buildvcs=false -o /usr/local/bin/service .
ENTRYPOINT ["/usr/local/bin/service"]
`

// docker builds an image from the development machine's, which has Go, and replaces the container.
func (s *site) docker(ctx context.Context) (server, error) {
	image, err := s.imageWithGo(ctx)
	if err != nil {
		return server{}, err
	}
	file := filepath.Join(s.root, "Dockerfile")
	if err := os.WriteFile(file, fmt.Appendf(nil, dockerfile, image), 0o644); err != nil {
		return server{}, err
	}
	name := "ingot-bench-" + s.port()
	docker := func(ctx context.Context, args ...string) error {
		return s.runner.Run(ctx, command.Cmd{Path: "docker", Args: args, Dir: s.root})
	}
	saved := func() error {
		if err := docker(ctx, "build", "--quiet", "--force-rm", "--tag", name, "--file", file, s.source()); err != nil {
			return err
		}
		_ = docker(ctx, "rm", "--force", name)
		return docker(ctx, "run", "--detach", "--name", name, "--env", "PORT=8080", "--publish", s.address+":8080", name)
	}
	stop := func(ctx context.Context) {
		_ = docker(ctx, "rm", "--force", name)
		_ = docker(ctx, "rmi", "--force", name)
		_ = docker(ctx, "image", "prune", "--force", "--filter", "label=ingot.bench=1")
	}
	return server{saved: saved, stop: stop}, nil
}

// imageWithGo is the image of a development machine that this benchmark started.
func (s *site) imageWithGo(ctx context.Context) (string, error) {
	machines, err := s.engine.List(ctx, map[string]string{"ingot.dev": filepath.Join(filepath.Dir(s.root), "a")})
	if err != nil {
		return "", err
	}
	if len(machines) == 0 {
		return "", errors.New("there is no image with Go")
	}
	return machines[0].Image, nil
}

// air lets the live-reload tool follow the source.
func (s *site) air(ctx context.Context) (server, error) {
	err := s.runner.Run(ctx, command.Cmd{Path: "go", Args: []string{"install", air}, Dir: s.root, Env: []string{"GOBIN=" + s.root}})
	if err != nil {
		return server{}, err
	}
	return server{ended: s.background(ctx, command.Cmd{
		Path: filepath.Join(s.root, "air"), Dir: s.source(),
		Args: []string{"--build.cmd", "go build -o ./tmp/main .", "--build.entrypoint", "./tmp/main", "--build.delay", "0"},
	})}, nil
}

// measureStarts takes the time from the start of mage dev, where everything has been made before, to the first answer; and the time
// that nobody could save: a container with systemd, and a build that finds all but the link in its cache.
func (s *site) measureStarts(ctx context.Context) (rows []row, err error) {
	stage := progress.Start(ctx, "measure starts")
	defer stage.End(&err)
	image, err := s.imageWithGo(ctx)
	if err != nil {
		return nil, err
	}
	rows = []row{
		{name: "a", what: "`mage dev`, from the command to the first answer"},
		{name: "b", what: "a container until systemd is up, and then a cached `go build` on the host"},
	}
	for round := range benchRounds {
		stage.Update("round %d of %d", round+1, benchRounds)
		for i, start := range []func() (time.Duration, error){
			func() (time.Duration, error) { return s.startDev(ctx) },
			func() (time.Duration, error) { return s.startBare(ctx, image) },
		} {
			took, err := start()
			if err != nil {
				return nil, fmt.Errorf("measure %s: %w", rows[i].what, err)
			}
			rows[i].times = append(rows[i].times, took)
			if err := wait.For(ctx, benchPause); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

func (s *site) startDev(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	begin := time.Now()
	serving, err := s.dev(ctx)
	if err == nil {
		err = s.answered(ctx, serving, startLimit)
	}
	took := time.Since(begin)
	cancel()
	serving.wait(ctx)
	return took, err
}

func (s *site) startBare(ctx context.Context, image string) (took time.Duration, err error) {
	name := "ingot-bench-" + s.port()
	defer func() { err = errors.Join(err, s.engine.Remove(context.WithoutCancel(ctx), name)) }()
	begin := time.Now()
	err = s.engine.Create(ctx, machine.Spec{Name: name, Image: image, Hostname: "bench"})
	if err == nil {
		err = s.engine.Start(ctx, name)
	}
	if err == nil {
		_, err = s.engine.WaitBooted(ctx, name)
	}
	if err == nil {
		err = s.goBuild(ctx, filepath.Join(s.root, "bare"))
	}
	took = time.Since(begin)
	return took, errors.Join(err, os.RemoveAll(filepath.Join(s.root, "bare"))) // so that the next one has to link
}

// devSection is the page's section.
func devSection(on string, saves, starts []row) string {
	var text strings.Builder
	fmt.Fprintf(&text, `Made by `+"`go tool mage bench -only=dev`"+` on %s.

The time from a save of the example service's source to the first answer with the new content. Medians of %d saves, taken in turn; those
of (c), which slow down the ones that follow, come after the others.
Goal: (a) takes at most 1.5 × (b), an eighth of (c), and 1.3 × (d).

`, on, benchRounds)
	table(&text, saves)
	fmt.Fprintf(&text, `
The time that a start takes when everything has been made before. Medians of %d starts, taken in turn. Goal: (a) takes at most
1.5 × (b).

`, benchRounds)
	table(&text, starts)
	return text.String()
}

// table shows what was measured. The first row is what the others are compared with.
func table(text *strings.Builder, rows []row) {
	fmt.Fprint(text, "| | | median | fastest | slowest | (a) takes |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		if r.err != nil {
			fmt.Fprintf(text, "| %s | %s | not to be had: %s | | | |\n", r.name, r.what, strings.Join(strings.Fields(r.err.Error()), " "))
			continue
		}
		if len(r.times) == 0 {
			fmt.Fprintf(text, "| %s | %s | never served | | | |\n", r.name, r.what)
			continue
		}
		m := median(r.times)
		if r.missed > 0 {
			r.what += fmt.Sprintf("; saves that were never served: %d", r.missed)
		}
		fmt.Fprintf(text, "| %s | %s | %.2f s | %.2f s | %.2f s | %.2f × |\n", r.name, r.what, m.Seconds(),
			slices.Min(r.times).Seconds(), slices.Max(r.times).Seconds(), median(rows[0].times).Seconds()/m.Seconds())
	}
}
