package targets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ingot-build/ingot/pkg/localcloud"
	"github.com/ingot-build/ingot/pkg/progress"
)

// savedDir is the folder of the saved local clouds, one in a folder of its name.
const savedDir = folder + "/saved"

// validSavedName is what a saved cloud may be called: a plain file name.
var validSavedName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// localStatus is what local:status shows.
type localStatus struct {
	localcloud.CloudStatus
	Saved []savedCloud `json:"saved,omitempty"`
}

// savedCloud is a cloud that local:save saved.
type savedCloud struct {
	Name      string    `json:"name"`
	AccountID string    `json:"account_id"`
	Region    string    `json:"region"`
	Saved     time.Time `json:"saved"`
}

func (p *project) localStatus(ctx context.Context) (localStatus, error) {
	status, err := localcloud.Status(ctx, p.localDir())
	if err != nil {
		return localStatus{}, err
	}
	saved, err := p.savedClouds()
	return localStatus{status, saved}, err
}

// savedClouds lists the clouds that were saved, in the order of their names.
func (p *project) savedClouds() ([]savedCloud, error) {
	entries, err := os.ReadDir(p.path(savedDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list the saved clouds: %w", err)
	}
	var all []savedCloud
	for _, entry := range entries {
		saved, err := localcloud.Saved(p.path(savedDir, entry.Name()))
		if errors.Is(err, localcloud.ErrNotSaved) {
			continue // half saved
		}
		if err != nil {
			return nil, err
		}
		all = append(all, savedCloud{entry.Name(), saved.AccountID, saved.Region, saved.Saved})
	}
	return all, nil
}

// accountFolders are the folders of what is kept of a local cloud's account.
func (p *project) accountFolders(id string) map[string]string {
	return map[string]string{"account": p.path(folder, id), "reports": p.path(reports, id)}
}

func (p *project) savedPath(name string) (string, error) {
	if !validSavedName.MatchString(name) {
		return "", fmt.Errorf("%q is no name for a saved cloud: use letters, digits, dots, dashes and underscores", name)
	}
	return p.path(savedDir, name), nil
}

func (p *project) saveLocal(ctx context.Context, name string) (err error) {
	path, err := p.savedPath(name)
	if err != nil {
		return err
	}
	status, err := localcloud.Status(ctx, p.localDir())
	if err != nil {
		return err
	}
	if status.AccountID == "" {
		return errors.New("there is no local cloud to save; mage local makes one")
	}
	o, err := p.startOptions()
	if err != nil {
		return err
	}
	stage := progress.Start(ctx, "save the local cloud as %s", name)
	defer stage.End(&err)
	err = localcloud.Save(ctx, o, path, p.accountFolders(status.AccountID))
	if errors.Is(err, localcloud.ErrExists) {
		return fmt.Errorf("a cloud is saved as %[1]s already: choose another name, or remove it: mage local:save %[1]s -delete", name)
	}
	return err
}

func (p *project) deleteSaved(ctx context.Context, name string) (err error) {
	path, err := p.savedPath(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return p.notSaved(name)
	}
	stage := progress.Start(ctx, "remove the saved cloud %s", name)
	defer stage.End(&err)
	if err := localcloud.Purge(ctx, path); err != nil {
		return err
	}
	// These stay where there is something else in them.
	_ = os.Remove(p.path(savedDir))
	_ = os.Remove(p.path(folder))
	return nil
}

// notSaved says that there is no cloud of that name, and which ones there are.
func (p *project) notSaved(name string) error {
	all, err := p.savedClouds()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("no cloud is saved as %s, nor any other; mage local:save NAME saves one", name)
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	return fmt.Errorf("no cloud is saved as %s; there are: %s", name, strings.Join(names, ", "))
}

func (p *project) loadLocal(ctx context.Context, name string, yes bool) error {
	path, err := p.savedPath(name)
	if err != nil {
		return err
	}
	saved, err := localcloud.Saved(path)
	if errors.Is(err, localcloud.ErrNotSaved) {
		return p.notSaved(name)
	}
	if err != nil {
		return err
	}
	if err := p.replaceLocal(ctx, name, yes); err != nil {
		return err
	}
	stage := progress.Start(ctx, "load the local cloud %s", name)
	defer stage.End(&err)
	if err = localcloud.Load(ctx, path, p.localDir(), p.accountFolders(saved.AccountID)); err != nil {
		return err
	}
	o, err := p.startOptions()
	if err != nil {
		return err
	}
	_, err = localcloud.Start(ctx, o)
	return err
}

// replaceLocal removes the present cloud, of which it shows first what there is.
func (p *project) replaceLocal(ctx context.Context, name string, yes bool) error {
	present, err := localcloud.Status(ctx, p.localDir())
	if err != nil {
		return err
	}
	if present.AccountID != "" && !yes {
		what := "which does not run"
		if present.Running {
			live := slices.DeleteFunc(present.Machines, func(m localcloud.MachineStatus) bool { return m.State == "terminated" })
			what = fmt.Sprintf("which runs, with %d instances and %d images", len(live), len(present.Images))
		}
		return fmt.Errorf("nothing was loaded: there is a local cloud, account %s, %s; to save it: mage local:save NAME; to remove it and load the other: mage local:load %s -yes",
			present.AccountID, what, name)
	}
	return p.purgeLocal(ctx)
}
