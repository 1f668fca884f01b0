package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/jsonmessage"
)

// ImageInfo is an image of the engine.
type ImageInfo struct {
	ID     string
	Parent string   // in lists: ID of the image it was committed on, where the engine knows it
	Tags   []string // name:tag
	Labels map[string]string
	Size   int64 // in bytes, with everything below it
}

// Commit makes an image of a machine's disk, without its volumes, /run and /tmp, and returns the image's ID. The tag is a
// "name:tag" that moves to the new image. A running machine is paused meanwhile.
func (e *Engine) Commit(ctx context.Context, name, tag string, labels map[string]string) (string, error) {
	if labels == nil {
		labels = map[string]string{}
	}
	made, err := e.api.ContainerCommit(ctx, name, container.CommitOptions{
		Reference: tag,
		Pause:     true,
		// Not the machine's own settings: its labels and ports are not the image's.
		Config: &container.Config{Entrypoint: []string{"/sbin/init"}, Cmd: []string{}, StopSignal: stopSignal, Labels: labels},
	})
	if err != nil {
		return "", explain("make an image of machine", name, err)
	}
	return made.ID, nil
}

// ImageExists reports whether an image is there, by its tag or ID.
func (e *Engine) ImageExists(ctx context.Context, ref string) (bool, error) {
	_, err := e.InspectImage(ctx, ref)
	if errors.Is(err, ErrNoImage) {
		return false, nil
	}
	return err == nil, err
}

// InspectImage looks at an image, by its tag or ID. It fails with ErrNoImage when it is not there.
func (e *Engine) InspectImage(ctx context.Context, ref string) (ImageInfo, error) {
	i, err := e.api.ImageInspect(ctx, ref)
	if err != nil {
		return ImageInfo{}, explain("inspect image", ref, err)
	}
	info := ImageInfo{ID: i.ID, Tags: tagsOf(i.RepoTags), Size: i.Size}
	if i.Config != nil {
		info.Labels = i.Config.Labels
	}
	return info, nil
}

// Images returns the images that have all of the labels. An empty value asks for the label with any value.
func (e *Engine) Images(ctx context.Context, labels map[string]string) ([]ImageInfo, error) {
	all, err := e.api.ImageList(ctx, image.ListOptions{Filters: labelFilter(labels)})
	if err != nil {
		return nil, explain("list images with labels", fmt.Sprint(labels), err)
	}
	var found []ImageInfo
	for _, i := range all {
		found = append(found, ImageInfo{ID: i.ID, Parent: i.ParentID, Tags: tagsOf(i.RepoTags), Labels: i.Labels, Size: i.Size})
	}
	return found, nil
}

// TagImage gives an image another tag, which moves when another image has it.
func (e *Engine) TagImage(ctx context.Context, ref, tag string) error {
	return explain("tag image", ref, e.api.ImageTag(ctx, ref, tag))
}

// removedName is the name under which the engine keeps an image that was removed while a machine uses it. It has no API to take the
// last tag off such an image, except by force, which breaks machines that are stopped.
const removedName = "ingot-removed:"

// RemoveImage removes an image's tag, and the image with its last tag. An image that a machine uses loses the tag all the same, and
// stays until it is removed by its ID. By its ID, an image that is in use is not removed, which is ErrImageInUse. It is no error when
// the image is gone.
func (e *Engine) RemoveImage(ctx context.Context, ref string) error {
	err := e.removeIfUnused(ctx, ref)
	if !errors.Is(err, ErrImageInUse) || strings.HasPrefix(ref, idPrefix) {
		return err
	}
	i, err := e.InspectImage(ctx, ref)
	if errors.Is(err, ErrNoImage) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := e.TagImage(ctx, i.ID, removedName+strings.TrimPrefix(i.ID, idPrefix)[:12]); err != nil {
		return err
	}
	return e.removeIfUnused(ctx, ref)
}

// idPrefix is what an image's ID begins with.
const idPrefix = "sha256:"

// removeIfUnused removes a tag or an image. It fails with ErrImageInUse when that would leave an image without a tag that is in use.
func (e *Engine) removeIfUnused(ctx context.Context, ref string) error {
	_, err := e.api.ImageRemove(ctx, ref, image.RemoveOptions{PruneChildren: true})
	if errdefs.IsNotFound(err) {
		return nil
	}
	return explain("remove image", ref, err)
}

// tagsOf are an image's tags as its users see them.
func tagsOf(tags []string) []string {
	return slices.DeleteFunc(slices.Clone(tags), func(tag string) bool {
		return strings.HasPrefix(tag, removedName) || tag == "<none>:<none>" // how older engines list the lack of a tag
	})
}

// importImage makes an image of a tar archive of a root file system, and returns its ID.
func (e *Engine) importImage(ctx context.Context, archive io.Reader, labels map[string]string) (string, error) {
	changes := []string{`ENTRYPOINT ["/sbin/init"]`}
	for key, value := range labels {
		changes = append(changes, fmt.Sprintf("LABEL %s=%q", key, value))
	}
	answer, err := e.api.ImageImport(ctx, image.ImportSource{Source: archive, SourceName: "-"}, "", image.ImportOptions{Changes: changes})
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Close() }()
	id := ""
	err = readMessages(answer, func(m jsonmessage.JSONMessage) {
		if strings.HasPrefix(m.Status, idPrefix) {
			id = m.Status
		}
	})
	if err == nil && id == "" {
		err = errors.New("the engine did not name the image")
	}
	return id, err
}

// readMessages reads the stream in which the engine tells how its work on an image goes, to the end. An error in it is returned.
func readMessages(r io.Reader, each func(jsonmessage.JSONMessage)) error {
	d := json.NewDecoder(r)
	for {
		var m jsonmessage.JSONMessage
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the engine's answer: %w", err)
		case m.Error != nil:
			return m.Error
		}
		each(m)
	}
}
