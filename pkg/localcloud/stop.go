package localcloud

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/compute"
)

// Stop ends the folder's cloud: its server and its machines. What it holds is kept, and the machines that ran boot again with
// the next [Start]. It is no error when nothing runs.
func Stop(ctx context.Context, stateDir string) error { return stop(ctx, stateDir, connectDocker) }

func stop(ctx context.Context, stateDir string, connect connector) error {
	if _, err := os.Stat(stateDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	f, err := openFolder(stateDir)
	if err != nil {
		return err
	}
	unlock, err := f.lockFile(ctx, startLock)
	if err != nil {
		return fmt.Errorf("stop the local cloud: %w", err)
	}
	defer unlock()
	if err := f.stopServer(ctx); err != nil {
		return err
	}
	if err := f.stopMachines(ctx, connect); err != nil {
		return fmt.Errorf("stop the local cloud's machines: %w", err)
	}
	return nil
}

// stopMachines stops the machines that run, all at once.
func (f folder) stopMachines(ctx context.Context, connect connector) error {
	_, found, err := f.identity()
	if err != nil || !found {
		return err
	}
	b, err := connect(ctx, f.cloudID())
	if err != nil {
		return err
	}
	defer b.close()
	machines, err := b.compute.List(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range machines {
		if m.State == compute.Running {
			group.Go(func() error { return b.compute.Stop(ctx, m.ID) })
		}
	}
	return group.Wait()
}

// Purge removes the folder's cloud without a trace: its server, machines, images and network, and the folder. It does so also when
// the server is dead, when the state is damaged, and when a cloud was saved there. It is no error when there is nothing.
func Purge(ctx context.Context, stateDir string) error { return purge(ctx, stateDir, connectDocker) }

func purge(ctx context.Context, stateDir string, connect connector) error {
	// A folder that somebody removed may have left machines: what a cloud makes on Docker is named after the folder's path.
	_, err := os.Stat(stateDir)
	missing := errors.Is(err, fs.ErrNotExist)
	if !missing {
		if err := checkOwn(stateDir); err != nil {
			return err
		}
	}
	f, err := openFolder(stateDir)
	if err != nil {
		return err
	}
	unlock, err := f.lockFile(ctx, startLock)
	if err != nil {
		return fmt.Errorf("purge the local cloud: %w", err)
	}
	defer unlock()
	if err := f.stopServer(ctx); err != nil {
		return err
	}
	b, err := connect(ctx, f.cloudID())
	switch {
	case err == nil:
		defer b.close()
		if err := b.purge(ctx); err != nil {
			return fmt.Errorf("purge the local cloud: %w", err)
		}
	case !missing:
		return fmt.Errorf("purge the local cloud: %w", err)
	}
	if err := os.RemoveAll(string(f)); err != nil {
		return fmt.Errorf("purge the local cloud: %w", err)
	}
	return nil
}

// checkOwn checks that the folder is a cloud's, so that a wrong path removes nothing: it has a cloud's lock, or the identity that one which
// could not start had already, or is empty.
func checkOwn(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return fmt.Errorf("purge the local cloud: %w", err)
	}
	own := slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		return slices.Contains([]string{startLock, serverLock, identityName + ".json"}, e.Name())
	})
	if len(entries) > 0 && !own {
		absolute, _ := filepath.Abs(path)
		return fmt.Errorf("purge the local cloud: %q is not the state folder of one", absolute)
	}
	return nil
}
