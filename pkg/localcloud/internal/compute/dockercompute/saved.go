package dockercompute

import (
	"context"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
)

// savedMachine is part of the names of images that are machines which were saved; Commit gives no image such a name.
const savedMachine = "machine/"

// Save keeps the cloud's images and its machines, which must be stopped, under the ID of another cloud: there are no machines of that
// ID, and each machine is an image. The images share what they hold with the cloud's own. [Compute.Load] brings them back, and
// [Compute.Purge] with that ID removes them.
func (c *Compute) Save(ctx context.Context, to string) error {
	saved, err := New(c.engine, Options{CloudID: to})
	if err != nil {
		return err
	}
	tags, err := c.tags(ctx)
	if err != nil {
		return err
	}
	for _, name := range tags {
		if err := c.engine.TagImage(ctx, c.prefix()+"/"+name, saved.prefix()+"/"+name); err != nil {
			return err
		}
	}
	machines, err := c.List(ctx)
	if err != nil {
		return err
	}
	commits, ctx := errgroup.WithContext(ctx)
	for _, m := range machines {
		commits.Go(func() error {
			labels := map[string]string{cloudLabel: to, instanceLabel: m.ID}
			_, err := c.engine.Commit(ctx, c.machineName(m.ID), saved.prefix()+"/"+savedMachine+m.ID+":latest", labels)
			return err
		})
	}
	return commits.Wait()
}

// Load makes the images and machines that were saved under another ID this cloud's, for which that takes no space. The machines are
// stopped. Those that were saved may be loaded again, and removed while machines loaded from them run.
func (c *Compute) Load(ctx context.Context, from string) error {
	saved, err := New(c.engine, Options{CloudID: from})
	if err != nil {
		return err
	}
	tags, err := saved.tags(ctx)
	if err != nil {
		return err
	}
	for _, name := range tags {
		image := saved.prefix() + "/" + name
		if machine, ok := strings.CutPrefix(name, savedMachine); ok {
			err = c.loadMachine(ctx, strings.TrimSuffix(machine, ":latest"), image)
		} else {
			err = c.engine.TagImage(ctx, image, c.prefix()+"/"+name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// loadMachine makes a machine of an image that is one. What a first boot needs was put on its disk when it was made.
func (c *Compute) loadMachine(ctx context.Context, id, image string) error {
	return c.create(ctx, compute.Spec{ID: id, Image: image, Hostname: id}, nil)
}

// tags returns what follows the cloud's prefix in the tags of its images.
func (c *Compute) tags(ctx context.Context) ([]string, error) {
	images, err := c.engine.Images(ctx, nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range images {
		own, _ := c.splitTags(i.Tags)
		for _, tag := range own {
			names = append(names, strings.TrimPrefix(tag, c.prefix()+"/"))
		}
	}
	return names, nil
}
