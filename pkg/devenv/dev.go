package devenv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/provision"
)

// dev is a development machine that is followed.
type dev struct {
	Options
	cancel context.CancelCauseFunc // ends following, with the reason

	debian string // the machine image that the base stage runs on
	events *events
	seen   map[string][sha256.Size]byte // files of the state that was dealt with last

	base       string // fingerprint of the base stage in the machine
	failedBase string // one that could not be made; not tried again
	agent      *agent
	detach     func() // ends the agent and the journal; nil without a machine
}

// state is everything that a machine is made from, at one time.
type state struct {
	base, app             *provision.Bundle
	baseDigest, appDigest string
}

func (d *dev) scan(ctx context.Context) (state, string, error) {
	var s state
	o := provision.Options{Dir: d.Provision, Core: d.Core, Source: d.Source, Package: d.Package, GOARCH: d.Engine.Architecture(), Runner: d.Runner}
	both, bothCtx := errgroup.WithContext(ctx)
	both.Go(func() (err error) { s.base, err = provision.Load(bothCtx, provision.Base, o); return err })
	both.Go(func() (err error) { s.app, err = provision.Load(bothCtx, provision.App, o); return err })
	if err := both.Wait(); err != nil {
		return s, "", err
	}
	if err := s.app.CheckBuild(o); err != nil {
		return s, "", err
	}
	s.baseDigest = s.base.Fingerprint(map[string]string{"parent": d.debian})
	s.appDigest = s.app.Fingerprint(nil)
	if d.events != nil {
		d.watch(ctx, s)
	}
	return s, s.baseDigest + s.appDigest, nil
}

// watch watches every folder of the state's files.
func (d *dev) watch(ctx context.Context, s state) {
	folders := map[string]bool{d.Provision: true, d.Source: true}
	for _, b := range []*provision.Bundle{s.base, s.app} {
		for _, name := range b.Names() {
			// What lies outside the repository does not change: modules, by their version.
			if path := b.Path(name); path != "" && isBelow(d.Root, path) {
				folders[filepath.Dir(path)] = true
			}
		}
	}
	err := d.events.add(slices.Sorted(maps.Keys(folders)))
	if err != nil && !d.events.lost {
		d.events.lost = true
		progress.Note(ctx, "cannot watch every folder, so some changes take up to %s to be noticed: %v", d.poll(), err)
	}
}

// isBelow tells whether a path is one of a folder's.
func isBelow(folder, path string) bool {
	inside, err := filepath.Rel(folder, path)
	return err == nil && filepath.IsLocal(inside)
}

func (d *dev) poll() time.Duration {
	if d.Poll > 0 {
		return d.Poll
	}
	return pollTime
}

// path is where a file of a bundle lies on this machine's disk.
func (o Options) path(name string) string {
	top, rest, _ := strings.Cut(name, "/")
	if top == provision.Source {
		return filepath.Join(o.Source, filepath.FromSlash(rest))
	}
	return filepath.Join(o.Provision, filepath.FromSlash(rest))
}

// follow brings the machine up and follows changes until ctx ends or the machine does.
func (d *dev) follow(ctx context.Context) (err error) {
	begin := time.Now()
	if d.debian, err = d.Engine.Image(ctx, machine.ImageOptions{}); err != nil {
		return err
	}
	if d.events, err = newEvents(); err != nil {
		return fmt.Errorf("watch files: %w", err)
	}
	defer d.events.notify.Close()
	go d.events.follow()
	d.events.addBelow(d.Source)
	d.events.addBelow(d.Provision)
	s, digest, err := d.scan(ctx)
	if err != nil {
		return err
	}
	tag, err := d.image(ctx, d.debian, s.base, s.baseDigest)
	if err != nil {
		return err
	}
	if err := d.start(ctx, tag, s.baseDigest); err != nil {
		return err
	}
	if err := d.removeImages(ctx, tag); err != nil {
		return err
	}
	if d.Ready != nil {
		d.Ready(d.URL())
	}
	if err := d.save(ctx, s, begin); err != nil {
		return err
	}
	w := watcher[state]{
		hints: d.events.hints, poll: d.poll(), scan: d.scan, apply: d.apply,
		fail: func(err error) { progress.Note(ctx, "%v", err) },
	}
	return w.run(ctx, digest)
}

// apply deals with a change.
func (d *dev) apply(ctx context.Context, s state, since time.Time) error {
	if s.baseDigest != d.base && s.baseDigest != d.failedBase {
		err := d.replace(ctx, s)
		if ctx.Err() != nil || d.detach == nil {
			return err
		}
		if err != nil { // the old machine goes on
			d.failedBase = s.baseDigest
			changed := d.changed(s)
			d.report(ctx, Save{Changed: changed, Err: err})
			return nil
		}
	}
	return d.save(ctx, s, since)
}

// replace puts a machine with another base stage into the place of the one that runs, which serves until that can be done.
func (d *dev) replace(ctx context.Context, s state) error {
	tag, err := d.image(ctx, d.debian, s.base, s.baseDigest)
	if err != nil {
		return err
	}
	d.detach()
	d.detach = nil
	return d.start(ctx, tag, s.baseDigest)
}

// replaceStale puts a new machine into the place of one that has files installed which are not part of the service any more.
func (d *dev) replaceStale(ctx context.Context, s state) error {
	stale, err := d.agent.stale(s.app)
	if err != nil || !stale {
		return err
	}
	d.detach()
	d.detach = nil
	if err := d.Engine.Remove(ctx, d.name()); err != nil {
		return err
	}
	if err := d.start(ctx, d.imageTag(d.base), d.base); err != nil {
		return err
	}
	_, err = d.agent.stale(s.app)
	return err
}

// start starts the machine, and creates it where there is none as it has to be.
func (d *dev) start(ctx context.Context, tag, base string) (err error) {
	stage := progress.Start(ctx, "start the development machine")
	defer stage.End(&err)
	labels := d.machineLabels(base)
	has, err := d.Engine.Inspect(ctx, d.name())
	if errors.Is(err, machine.ErrNotFound) || err == nil && !maps.Equal(has.Labels, labels) {
		err = d.create(ctx, tag, base, labels)
	}
	if err != nil {
		return err
	}
	err = d.Engine.Start(ctx, d.name())
	if errors.Is(err, machine.ErrPortTaken) {
		return &PortError{Address: d.address()}
	}
	if err != nil {
		return err
	}
	started, err := d.Engine.Inspect(ctx, d.name())
	if err != nil {
		return err
	}
	d.base = base
	d.attach(ctx, started)
	return nil
}

func (d *dev) create(ctx context.Context, tag, base string, labels map[string]string) error {
	if err := d.Engine.Remove(ctx, d.name()); err != nil {
		return err
	}
	if err := d.Engine.CreateVolume(ctx, d.cache(), d.labels()); err != nil {
		return err
	}
	var ports []machine.Port
	if d.Port != 0 {
		ports = []machine.Port{{Host: d.address(), Guest: uint16(d.Port)}}
	}
	return d.Engine.Create(ctx, machine.Spec{
		Name: d.name(), Image: tag, Hostname: d.App + "-dev", Labels: labels,
		Ports:  ports,
		Mounts: []machine.Mount{{Volume: d.cache(), Target: cacheFolder}, {Target: folder}},
		Files:  append(machine.Seed{InstanceID: "i-" + base[:fingerprintLength]}.Files(), quickStop),
	})
}

// quickStop has the service ended a second after it was told to end. In production it has the time that requests in flight need; here a
// page that is open on a stream of events would hold up every save for as long.
var quickStop = machine.File{Path: "/etc/systemd/system/" + appUnit + ".d/zz-dev.conf", Data: []byte("[Service]\nTimeoutStopSec=1s\n")}

// attach starts the agent and follows the journal, until detach.
func (d *dev) attach(ctx context.Context, to machine.Info) {
	ctx, cancel := context.WithCancel(ctx)
	var running errgroup.Group
	ended := make(chan struct{})
	d.agent = d.startAgent(ctx, to.ImageID, func(err error) {
		close(ended)
		if ctx.Err() == nil {
			d.cancel(fmt.Errorf("%w (%w)", ErrStopped, err))
		}
	})
	running.Go(func() error { d.followJournal(ctx, to.Started); return nil })
	running.Go(func() error { d.reportBoot(ctx); return nil })
	d.detach = func() {
		cancel()
		<-ended
		_ = running.Wait()
	}
}

// reportBoot says which units did not start, once the machine has booted. The service's own is said elsewhere.
func (d *dev) reportBoot(ctx context.Context) {
	failed, err := d.Engine.WaitBooted(ctx, d.name())
	failed = slices.DeleteFunc(failed, func(unit string) bool { return unit == appUnit })
	if err == nil && len(failed) > 0 {
		progress.Note(ctx, "units that failed at boot: %s", strings.Join(failed, ", "))
	}
}

// changed tells what is new, other or gone since the last state, as paths on this machine, and remembers the state.
func (d *dev) changed(s state) []string {
	now := s.app.Digests()
	maps.Copy(now, s.base.Digests())
	changed, removed := difference(d.seen, now)
	d.seen = now
	var paths []string
	for _, name := range changed {
		paths = append(paths, d.displayPath(d.pathIn(name, s.app, s.base)))
	}
	for _, name := range removed {
		paths = append(paths, "-"+d.displayPath(d.path(name)))
	}
	return paths
}

// save builds and starts what the state holds, and says what came of it. It fails only when the machine is lost.
func (d *dev) save(ctx context.Context, s state, since time.Time) error {
	first := d.seen == nil
	result := Save{Changed: d.changed(s), Release: "dev-" + s.appDigest[:fingerprintLength]}
	if first {
		result.Changed = nil
	}
	begin := time.Now()
	if err := d.replaceStale(ctx, s); err != nil {
		return err
	}
	status, output, err := d.agent.run(s.app, result.Release)
	if err != nil {
		return err
	}
	result.Built = time.Since(begin)
	if status != 0 {
		result.Err = &BuildError{Output: d.hostOutput(s.app, folder, output)}
	} else {
		result.Err = d.waitServing(ctx, result.Release)
	}
	result.Serving = time.Since(since)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d.report(ctx, result)
	return nil
}

func (d *dev) report(ctx context.Context, s Save) {
	progress.Note(ctx, "%s", s)
	if d.Saved != nil {
		d.Saved(s)
	}
}

// String says in one line what changed and how long it took, and more where it went wrong.
func (s Save) String() string {
	what := "the service"
	switch n := len(s.Changed); {
	case n > 3:
		what = fmt.Sprintf("%s and %d more", strings.Join(s.Changed[:2], ", "), n-2)
	case n > 0:
		what = strings.Join(s.Changed, ", ")
	}
	if s.Err != nil {
		return fmt.Sprintf("✗ %s: %v", what, s.Err)
	}
	return fmt.Sprintf("✓ %s: built in %.2fs, serving after %.2fs", what, s.Built.Seconds(), s.Serving.Seconds())
}

// BuildError is an app stage that failed. The service that ran before goes on.
type BuildError struct {
	Output string // what the compiler said, with paths on this machine's disk
}

// Error is the end of what the compiler said, a screenful.
func (e *BuildError) Error() string {
	text := lastOutput(e.Output)
	if strings.Contains(text, "no space left on device") || strings.Contains(text, "No space left on device") {
		text += "\n" + machine.ErrNoSpace.Error()
	}
	return "does not build; what ran before goes on:\n" + text
}

// output runs a program in the machine and returns what it printed.
func (o Options) output(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	err := o.Engine.Exec(ctx, o.name(), machine.Command{Args: args, Stdout: &out})
	return strings.TrimSpace(out.String()), err
}
