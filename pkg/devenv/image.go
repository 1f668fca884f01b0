package devenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ingot-build/ingot/pkg/machine"
	"github.com/ingot-build/ingot/pkg/progress"
	"github.com/ingot-build/ingot/pkg/provision"
)

// fingerprintLength is how much of a fingerprint names an image: enough for it to be the only one.
const fingerprintLength = 12

func (o Options) imageTag(fingerprint string) string {
	return o.name() + ":" + fingerprint[:fingerprintLength]
}

// image returns the tag of a machine image in which the base stage has run, and makes it where no clone has it.
func (o Options) image(ctx context.Context, debian string, base *provision.Bundle, fingerprint string) (tag string, err error) {
	tag = o.imageTag(fingerprint)
	if found, err := o.Engine.ImageExists(ctx, tag); err != nil || found {
		return tag, err
	}
	others, err := o.Engine.Images(ctx, map[string]string{baseLabel: fingerprint})
	if err != nil {
		return "", err
	}
	if len(others) > 0 {
		return tag, o.Engine.TagImage(ctx, others[0].ID, tag)
	}
	stage := progress.Start(ctx, "make the development machine's image")
	defer stage.End(&err)
	if err := o.makeImage(stage.Inside(ctx), stage, debian, tag, base, fingerprint); err != nil {
		return "", err
	}
	return tag, nil
}

// makeImage runs the base stage in a machine of its own, as a bake does, and commits it.
func (o Options) makeImage(ctx context.Context, stage *progress.Stage, debian, tag string, base *provision.Bundle, fingerprint string) (err error) {
	e, name := o.Engine, o.name()+"-base"
	if err := e.Remove(ctx, name); err != nil { // what a killed process left
		return err
	}
	stage.Update("booting Debian")
	err = e.Create(ctx, machine.Spec{
		Name: name, Image: debian, Hostname: "base", Labels: o.labels(), Files: machine.Seed{InstanceID: "i-" + fingerprint[:fingerprintLength]}.Files(),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Remove(context.WithoutCancel(ctx), name)) }()
	if err := e.Start(ctx, name); err != nil {
		return err
	}
	if _, err := e.WaitBooted(ctx, name); err != nil {
		return err
	}
	if err := e.Exec(ctx, name, machine.Command{Args: []string{"mkdir", "-p", buildFolder}}); err != nil {
		return err
	}
	if err := copyBundle(ctx, e, name, base); err != nil {
		return err
	}
	stage.Update("running provision.sh base")
	var output bytes.Buffer
	err = e.Exec(ctx, name, machine.Command{
		Args: []string{buildFolder + "/" + provision.Tree + "/provision.sh", string(provision.Base)},
		Env:  append(machine.Proxies(), "FINGERPRINT="+fingerprint), Stdout: &output, Stderr: &output,
	})
	if failed, ok := errors.AsType[*machine.ExitError](err); ok {
		text := o.hostOutput(base, buildFolder, lastOutput(output.String()))
		return fmt.Errorf("run provision.sh base: exit status %d:\n%s", failed.Code, text)
	}
	if err != nil {
		return err
	}
	if err := e.Exec(ctx, name, machine.Command{Args: []string{"rm", "-rf", buildFolder}}); err != nil {
		return err
	}
	stage.Update("keeping it as an image")
	if err := e.Stop(ctx, name, stopTimeout); err != nil {
		return err
	}
	labels := o.labels()
	labels[baseLabel] = fingerprint
	_, err = e.Commit(ctx, name, tag, labels)
	return err
}

// buildFolder is where the base stage's files are while it runs.
const buildFolder = "/var/tmp/ingot"

// copyBundle unpacks a bundle in buildFolder.
func copyBundle(ctx context.Context, e *machine.Engine, name string, b *provision.Bundle) error {
	archive, w := io.Pipe()
	go func() { _ = w.CloseWithError(b.Patch(w, b.Names())) }()
	err := e.CopyIn(ctx, name, buildFolder, archive)
	_ = archive.Close() // the other side ends where not all of it was read
	return err
}

// removeImages removes this folder's images but one, so that old base stages do not pile up. An image that another clone uses as well
// stays under that one's name.
func (o Options) removeImages(ctx context.Context, keep string) error {
	all, err := o.Engine.Images(ctx, map[string]string{baseLabel: ""})
	if err != nil {
		return err
	}
	var errs []error
	for _, i := range all {
		mine := slices.DeleteFunc(i.Tags, func(tag string) bool { return !strings.HasPrefix(tag, o.name()+":") || tag == keep })
		for _, tag := range mine {
			errs = append(errs, o.Engine.RemoveImage(ctx, tag))
		}
		if len(i.Tags) == 0 && i.Labels[rootLabel] == o.Root { // a machine used it when its tag went
			if err := o.Engine.RemoveImage(ctx, i.ID); !errors.Is(err, machine.ErrImageInUse) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
