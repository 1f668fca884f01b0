package machine

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
)

// CreateNetwork makes a network for machines, unless there is one of that name. Its machines reach this host and what lies beyond it, and
// are reached from it, but do not reach one another.
func (e *Engine) CreateNetwork(ctx context.Context, name string, labels map[string]string) error {
	_, err := e.api.NetworkInspect(ctx, name, network.InspectOptions{})
	if err == nil {
		return nil
	}
	if !errdefs.IsNotFound(err) {
		return explain("inspect network", name, err)
	}
	_, err = e.api.NetworkCreate(ctx, name, network.CreateOptions{
		Driver: "bridge", Labels: labels, Options: map[string]string{"com.docker.network.bridge.enable_icc": "false"},
	})
	if err = explain("create network", name, err); errors.Is(err, ErrExists) {
		return nil // made meanwhile
	}
	return err
}

// RemoveNetworks removes the networks that have all of the labels. No machine may be on them.
func (e *Engine) RemoveNetworks(ctx context.Context, labels map[string]string) error {
	all, err := e.api.NetworkList(ctx, network.ListOptions{Filters: labelFilter(labels)})
	if err != nil {
		return explain("list networks with labels", fmt.Sprint(labels), err)
	}
	var errs []error
	for _, n := range all {
		if err := e.api.NetworkRemove(ctx, n.ID); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, explain("remove network", n.Name, err))
		}
	}
	return errors.Join(errs...)
}

// CreateVolume makes a volume, unless there is one of that name.
func (e *Engine) CreateVolume(ctx context.Context, name string, labels map[string]string) error {
	_, err := e.api.VolumeCreate(ctx, volume.CreateOptions{Name: name, Labels: labels})
	return explain("create volume", name, err)
}

// RemoveVolumes removes the volumes that have all of the labels. No machine may have them mounted.
func (e *Engine) RemoveVolumes(ctx context.Context, labels map[string]string) error {
	all, err := e.api.VolumeList(ctx, volume.ListOptions{Filters: labelFilter(labels)})
	if err != nil {
		return explain("list volumes with labels", fmt.Sprint(labels), err)
	}
	var errs []error
	for _, v := range all.Volumes {
		if err := e.api.VolumeRemove(ctx, v.Name, false); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, explain("remove volume", v.Name, err))
		}
	}
	return errors.Join(errs...)
}
