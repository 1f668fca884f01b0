package machine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/jsonmessage"

	"github.com/ingot-build/ingot/internal/loopback"
	"github.com/ingot-build/ingot/internal/toolcache"
	"github.com/ingot-build/ingot/pkg/command"
	"github.com/ingot-build/ingot/pkg/progress"
)

// The release of Debian that machines run: the one of the AMIs that the base image is baked from.
const (
	debianRelease  = "13"
	debianCodename = "trixie"
)

// defaultMirror and securityMirror are where Debian's packages come from. Both are plain HTTP: packages are signed.
const (
	defaultMirror  = "http://deb.debian.org/debian"
	securityMirror = "http://deb.debian.org/debian-security"
)

// registryTimeout is how long a registry may take to begin an answer before the image is made here instead.
const registryTimeout = 10 * time.Second

// fingerprintLabel is the label of every machine image; its value says how the image was made.
const fingerprintLabel = "ingot.machine"

// packages are what a machine has beyond Debian's minimal system: what its official image on EC2 has, as far as anything
// here needs it.
var packages = []string{
	"ca-certificates", "dbus", "iproute2", "netbase", "openssh-server", "procps", "sudo", "systemd", "systemd-sysv",
}

// debianFiles are setup.sh and, below root, what is added to Debian's root file system.
//
//go:embed debian
var debianFiles embed.FS

// ImageOptions say how the machine image is made. The zero value is the usual image.
type ImageOptions struct {
	Architecture string         // Debian's word or EC2's; empty for the engine's own
	Mirror       string         // of Debian's packages; empty for deb.debian.org
	Proxy        string         // HTTP proxy for apt; empty for the one that this host's apt uses
	Registry     string         // the official Debian image; empty for docker.io/library/debian:13
	Runner       command.Runner // nil for command.Exec
}

// Image returns the tag of the machine image: Debian 13 that looks like Debian's image on EC2, from the user admin with sudo to host
// keys that are made on first boot. The image is found by what it is made of, else completed from Debian's official image where a
// registry answers, else made from Debian's packages with mmdebstrap, which takes about half a minute.
// It fails with ErrNoMaker when it can do neither.
func (e *Engine) Image(ctx context.Context, o ImageOptions) (tag string, err error) {
	r, err := e.recipe(ctx, o)
	if err != nil {
		return "", err
	}
	e.making.Lock()
	defer e.making.Unlock()
	tag = r.tag()
	if found, err := e.ImageExists(ctx, tag); err != nil || found {
		return tag, err
	}
	stage := progress.Start(ctx, "making the Debian %s machine image", debianRelease)
	defer stage.End(&err)
	id, err := e.makeImage(ctx, r, stage)
	if err != nil {
		return "", fmt.Errorf("make the machine image: %w", err)
	}
	// Another process may have been faster; its image is as good, and may be in use.
	if found, err := e.ImageExists(ctx, tag); err != nil || found {
		return tag, errors.Join(err, e.RemoveImage(ctx, id))
	}
	return tag, e.TagImage(ctx, id, tag)
}

// HasImage reports whether the machine image is there already, so that Image would neither pull nor make it.
func (e *Engine) HasImage(ctx context.Context, o ImageOptions) (bool, error) {
	r, err := e.recipe(ctx, o)
	if err != nil {
		return false, err
	}
	return e.ImageExists(ctx, r.tag())
}

// makeImage pulls the image or makes it here, and returns its ID.
func (e *Engine) makeImage(ctx context.Context, r recipe, stage *progress.Stage) (string, error) {
	had, err := e.ImageExists(ctx, r.registry)
	if err != nil {
		return "", err
	}
	stage.Update("asking the registry for %s", r.registry)
	pullErr := e.pull(ctx, r, stage)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if pullErr == nil || had {
		id, err := e.complete(ctx, r, stage)
		if !had { // what is pulled for this alone does not stay behind
			err = errors.Join(err, e.RemoveImage(context.WithoutCancel(ctx), r.registry))
		}
		return id, err
	}
	id, err := e.bootstrap(ctx, r, stage)
	if err != nil {
		return "", fmt.Errorf("%w (the registry: %s)", err, oneLine(pullErr))
	}
	return id, nil
}

// recipe is everything that goes into a machine image.
type recipe struct {
	architecture string
	mirror       string
	proxy        string
	registry     string
	files        []File
	setup        []byte
	run          command.Runner
}

func (e *Engine) recipe(ctx context.Context, o ImageOptions) (recipe, error) {
	r := recipe{architecture: e.architecture, mirror: o.Mirror, proxy: o.Proxy, registry: o.Registry, run: o.Runner}
	if r.run == nil {
		r.run = command.Exec{}
	}
	if o.Architecture != "" {
		a, err := debianArchitecture(o.Architecture)
		if err != nil {
			return r, err
		}
		if a != e.architecture {
			return r, fmt.Errorf("make a machine image for %s: the engine's machines are %s", a, e.architecture)
		}
	}
	if r.mirror == "" {
		r.mirror = defaultMirror
	}
	if r.registry == "" {
		r.registry = "docker.io/library/debian:" + debianRelease
	}
	if r.proxy == "" {
		r.proxy = hostProxy(ctx, r.run)
	}
	var err error
	if r.setup, err = debianFiles.ReadFile("debian/setup.sh"); err != nil {
		return r, err
	}
	r.files, err = rootFiles()
	r.files = append(r.files, aptFiles(r.mirror, r.proxy)...)
	if authorities := authorityFiles(authorityFolders); len(authorities) > 0 {
		r.files = append(r.files, authorities...)
		r.setup = append(r.setup, updateAuthorities...)
	}
	return r, err
}

// hostProxy is the HTTP proxy that apt uses on this host, if it uses one.
func hostProxy(ctx context.Context, run command.Runner) string {
	out, err := command.Output(ctx, run, command.Cmd{
		Path: "apt-config", Args: []string{"shell", "proxy", "Acquire::http::Proxy"}, // prints proxy='http://…'
	})
	if err == nil && out != "" {
		return strings.Trim(strings.TrimPrefix(out, "proxy="), "'")
	}
	return os.Getenv("http_proxy") // apt reads this spelling alone
}

// rootFiles are the files to add to Debian's root file system.
func rootFiles() ([]File, error) {
	var files []File
	err := fs.WalkDir(debianFiles, "debian/root", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := debianFiles.ReadFile(path)
		mode := fs.FileMode(0o644)
		if bytes.HasPrefix(data, []byte("#!")) {
			mode = 0o755 // an embedded file has no permissions of its own
		}
		files = append(files, File{Path: strings.TrimPrefix(path, "debian/root"), Data: data, Mode: mode})
		return err
	})
	return files, err
}

// aptFiles say where a machine's packages come from.
func aptFiles(mirror, proxy string) []File {
	sources := fmt.Sprintf(`Types: deb
URIs: %s
Suites: %[2]s %[2]s-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: %[3]s
Suites: %[2]s-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`, mirror, debianCodename, securityMirror)
	files := []File{{Path: "/etc/apt/sources.list.d/debian.sources", Data: []byte(sources)}}
	if proxy != "" && !loopback.URL(proxy) { // a proxy on the host's loopback is out of a machine's reach
		files = append(files, File{Path: "/etc/apt/apt.conf.d/91proxy", Data: fmt.Appendf(nil, "Acquire::http::Proxy %q;\n", proxy)})
	}
	return files
}

// fingerprint is a digest of everything that goes into the image but Debian's packages themselves.
func (r recipe) fingerprint() string {
	h := sha256.New()
	for _, s := range append([]string{debianRelease, r.architecture, r.mirror, r.registry, string(r.setup)}, packages...) {
		_, _ = fmt.Fprintf(h, "%d:%s\n", len(s), s)
	}
	for _, f := range r.files {
		_, _ = fmt.Fprintf(h, "%s %o %d:%s\n", f.Path, f.Mode, len(f.Data), f.Data)
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
}

func (r recipe) tag() string {
	return fmt.Sprintf(imageName+"debian-%s-%s-%s", debianRelease, r.architecture, r.fingerprint())
}

func (r recipe) labels() map[string]string {
	return map[string]string{fingerprintLabel: r.fingerprint()}
}

// pull pulls Debian's official image. It fails when the registry has not begun to answer within registryTimeout; a pull that has
// begun may take its time.
func (e *Engine) pull(ctx context.Context, r recipe, stage *progress.Stage) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(registryTimeout, func() {
		cancel(fmt.Errorf("no answer within %v", registryTimeout))
	})
	defer slow.Stop()
	answer, err := e.api.ImagePull(ctx, r.registry, image.PullOptions{Platform: "linux/" + r.architecture})
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	defer func() { _ = answer.Close() }()
	err = readMessages(answer, func(m jsonmessage.JSONMessage) {
		slow.Stop()
		if m.Progress != nil && m.Progress.Total > 0 {
			stage.Update("pulling %s: %d of %d MB", r.registry, m.Progress.Current>>20, m.Progress.Total>>20)
		}
	})
	return errors.Join(err, context.Cause(ctx))
}

// complete adds packages and files to Debian's official image, in a container that does nothing else, and commits it.
func (e *Engine) complete(ctx context.Context, r recipe, stage *progress.Stage) (id string, err error) {
	made, err := e.api.ContainerCreate(ctx, &container.Config{
		Image:      r.registry,
		Entrypoint: []string{"/bin/sleep", "infinity"},
		Cmd:        []string{},
		Labels:     r.labels(),
	}, &container.HostConfig{}, nil, nil, "")
	if err != nil {
		return "", explain("create a container of", r.registry, err)
	}
	defer func() { err = errors.Join(err, e.Remove(context.WithoutCancel(ctx), made.ID)) }()
	if err := e.Start(ctx, made.ID); err != nil {
		return "", err
	}
	stage.Update("installing packages")
	if err := e.CopyIn(ctx, made.ID, "/", tarOf(r.files)); err != nil { // first, as they say where packages come from
		return "", err
	}
	install := "apt-get -q update && apt-get -q -y --no-install-recommends install " + strings.Join(packages, " ")
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	if err := e.Exec(ctx, made.ID, Command{Args: []string{"/bin/sh", "-c", install}, Env: env}); err != nil {
		return "", err
	}
	stage.Update("setting it up")
	if err := e.Exec(ctx, made.ID, Command{Args: []string{"/bin/sh", "-c", string(r.setup)}}); err != nil {
		return "", err
	}
	return e.Commit(ctx, made.ID, "", r.labels())
}

// bootstrap makes the image from Debian's packages with mmdebstrap on this host.
func (e *Engine) bootstrap(ctx context.Context, r recipe, stage *progress.Stage) (id string, err error) {
	mmdebstrap, err := toolcache.LookPath("", "mmdebstrap")
	if err != nil {
		return "", ErrNoMaker
	}
	folder, err := os.MkdirTemp("", "ingot-machine-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	files, err := io.ReadAll(tarOf(append(r.files, File{Path: "/setup.sh", Data: r.setup})))
	if err != nil {
		return "", err
	}
	archive := filepath.Join(folder, "files.tar")
	if err := os.WriteFile(archive, files, 0o644); err != nil {
		return "", err
	}
	stage.Update("no registry answers: making it from Debian's packages")

	// mmdebstrap's output goes to the engine as it comes. Whichever of the two fails first ends the other.
	making, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	root, out := io.Pipe()
	imported := make(chan error, 1)
	go func() {
		var err error
		id, err = e.importImage(ctx, root, r.labels())
		if err != nil {
			root.CloseWithError(err)
			cancel(err)
		}
		_, _ = io.Copy(io.Discard, root) // what comes after the archive's end
		imported <- err
	}()
	err = r.run.Run(making, command.Cmd{Path: mmdebstrap, Args: mmdebstrapArgs(r, archive), Stdout: out, Env: temporaryRoot(os.TempDir(), "/var/tmp", "/tmp")})
	importFailed := context.Cause(making) != context.Cause(ctx)
	_ = out.CloseWithError(err) // without an error, the archive's end
	if importErr := <-imported; importErr != nil && (err == nil || importFailed) {
		return "", explain("import image", r.tag(), importErr)
	}
	return id, err
}

// temporaryRoot tells mmdebstrap in which of some folders it can make a root file system: programs have to run there, which some people
// forbid for temporary files.
func temporaryRoot(folders ...string) (env []string) {
	for n, folder := range folders {
		if runsPrograms(folder) {
			if n == 0 {
				return nil
			}
			return []string{"TMPDIR=" + folder}
		}
	}
	return nil // it says itself what is wrong
}

// runsPrograms tells whether a program in a new file of a folder runs.
func runsPrograms(folder string) bool {
	dir, err := os.MkdirTemp(folder, "ingot-program-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "true")
	return os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700) == nil && exec.Command(path).Run() == nil
}

// mmdebstrapArgs make a root file system, with the files of an archive and after setup.sh has run in it, and write it to standard
// output as a tar archive.
func mmdebstrapArgs(r recipe, archive string) []string {
	args := []string{
		"--variant=minbase",
		"--architectures=" + r.architecture,
		"--include=" + strings.Join(slices.Sorted(slices.Values(packages)), ","),
		"--dpkgopt=force-unsafe-io",
		"--customize-hook=tar-in " + command.Quote([]string{archive}) + " /",
		`--customize-hook=chroot "$1" /bin/sh /setup.sh`,
		`--customize-hook=rm "$1/setup.sh"`,
	}
	if r.proxy != "" {
		args = append(args, fmt.Sprintf("--aptopt=Acquire::http::Proxy %q", r.proxy))
	}
	return append(args, debianCodename, "-",
		fmt.Sprintf("deb %s %s main", r.mirror, debianCodename),
		fmt.Sprintf("deb %s %s-updates main", r.mirror, debianCodename),
		fmt.Sprintf("deb %s %s-security main", securityMirror, debianCodename))
}

// imageName is the name of every machine image; what it is made of is in the tag.
const imageName = "ingot-machine:"

// RemoveUnused removes those of the tags that are a machine image's, if they are all that the image has and nothing uses it: no
// machine, and no image made of one.
func (e *Engine) RemoveUnused(ctx context.Context, tags []string) error {
	for _, tag := range tags {
		if !strings.HasPrefix(tag, imageName) {
			continue
		}
		used, err := e.imageUsed(ctx, tag)
		if err != nil {
			return err
		}
		if used {
			continue
		}
		if err := e.removeIfUnused(ctx, tag); err != nil && !errors.Is(err, ErrImageInUse) {
			return err
		}
	}
	return nil
}

func (e *Engine) imageUsed(ctx context.Context, tag string) (bool, error) {
	i, err := e.InspectImage(ctx, tag)
	if errors.Is(err, ErrNoImage) {
		return true, nil
	}
	if err != nil || len(i.Tags) > 1 {
		return true, err
	}
	all, err := e.Images(ctx, nil)
	return slices.ContainsFunc(all, func(other ImageInfo) bool { return other.Parent == i.ID }), err
}
