package dockercompute

import (
	"context"
	"errors"
	"strings"
)

// Purge removes everything that the cloud made: machines, relays, the network, images, and the machine image unless something else
// uses it. It removes as much as it can, and returns what failed.
func (c *Compute) Purge(ctx context.Context) error {
	own := map[string]string{cloudLabel: c.options.CloudID}
	var errs []error
	containers, err := c.engine.List(ctx, own)
	errs = append(errs, err)
	used := map[string]bool{} // IDs of images that may have lost their tags while the machines were there
	for _, m := range containers {
		errs = append(errs, c.engine.Remove(ctx, m.Name))
		used[m.ImageID] = true
	}
	errs = append(errs, c.engine.RemoveNetworks(ctx, own))
	images, err := c.engine.Images(ctx, nil)
	errs = append(errs, err)
	var machineImages []string
	for _, i := range images {
		own, others := c.splitTags(i.Tags)
		// Its tag was removed, or moved to another image. One that came with a saved cloud has the label of the cloud that made it.
		if (i.Labels[cloudLabel] == c.options.CloudID || used[i.ID]) && len(i.Tags) == 0 {
			errs = append(errs, c.removeUntagged(ctx, i.ID))
		}
		for _, tag := range own {
			errs = append(errs, c.engine.RemoveImage(ctx, tag))
		}
		if len(own) > 0 {
			machineImages = append(machineImages, others...)
		}
	}
	// Last, as images that were made of it count as uses.
	return errors.Join(append(errs, c.engine.RemoveUnused(ctx, machineImages))...)
}

// splitTags tells the cloud's own tags from others.
func (c *Compute) splitTags(tags []string) (own, others []string) {
	for _, tag := range tags {
		if strings.HasPrefix(tag, c.prefix()+"/") {
			own = append(own, tag)
		} else {
			others = append(others, tag)
		}
	}
	return own, others
}
