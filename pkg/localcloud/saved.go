package localcloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ingot-build/ingot/pkg/localcloud/internal/loopback"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/s3"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
)

// The files of a saved cloud's folder, beside the start lock.
const (
	savedName  = "saved"   // the document saved.json, written last
	stateDir   = "state"   // what the cloud's state folder held
	foldersDir = "folders" // what the caller's folders held, by their names
)

// loadingMark is in a state folder while a saved cloud is brought back there.
const loadingMark = "loading"

// Errors of saving and loading.
var (
	// ErrNoCloud says that there is no cloud to save.
	ErrNoCloud = errors.New("there is no local cloud")
	// ErrNotSaved says that a folder holds no cloud that was saved, or one that was not saved to its end.
	ErrNotSaved = errors.New("no cloud is saved there")
	// ErrExists says that where something is to be saved or loaded, there is a cloud already.
	ErrExists = errors.New("there is a cloud already")
	// ErrHalfLoaded says that a cloud was not brought back to its end. It can be purged, and nothing else.
	ErrHalfLoaded = errors.New("a saved cloud was not brought back to its end")
)

// SavedCloud is a cloud that [Save] kept.
type SavedCloud struct {
	AccountID string
	Region    string
	Saved     time.Time
}

// savedDocument is saved.json.
type savedDocument struct {
	SavedCloud
	ID    string         // the cloud's
	Block loopback.Block // the cloud's
}

// Save keeps a copy of a cloud in a folder of its own, from which [Load] brings it back, here or in other state folders, as often as
// wanted. A cloud that runs is stopped for it and started again; its machines are kept as they were after shutting down.
//
// Folders names more folders that speak of the cloud, such as a Terraform state's; one that is not there is left out. It fails with
// ErrNoCloud, and with ErrExists where the folder holds a saved cloud. [Purge] removes a saved cloud.
func Save(ctx context.Context, options Options, savedDir string, folders map[string]string) error {
	return save(ctx, options, savedDir, folders, connectDocker)
}

func save(ctx context.Context, options Options, savedDir string, folders map[string]string, connect connector) (err error) {
	if _, err := os.Stat(options.StateDir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("save the local cloud in %q: %w", options.StateDir, ErrNoCloud)
	}
	f, err := openFolder(options.StateDir)
	if err != nil {
		return err
	}
	defer wrap(&err, "save the local cloud in %q", f)
	unlock, err := f.lockFile(ctx, startLock)
	if err != nil {
		return err
	}
	defer unlock()
	id, found, err := f.identity()
	if err == nil && !found {
		err = ErrNoCloud
	}
	if err != nil {
		return err
	}
	to, unlockSaved, err := newSaved(ctx, savedDir, connect)
	if err != nil {
		return err
	}
	defer unlockSaved()
	_, running, err := f.server()
	if err != nil {
		return err
	}
	if err := f.stopServer(ctx); err != nil {
		return err
	}
	if running {
		defer func() {
			_, startErr := f.start(context.WithoutCancel(ctx), options)
			err = errors.Join(err, startErr)
		}()
	}
	if err := f.stopMachines(ctx, connect); err != nil {
		return err
	}
	b, err := connect(ctx, f.cloudID())
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.save(ctx, to.cloudID()); err != nil {
		return err
	}
	if err := copyTree(to.join(stateDir), string(f), isState, nil); err != nil {
		return err
	}
	for name, folder := range folders {
		if err := copyTree(to.join(foldersDir, name), folder, nil, nil); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	saved := SavedCloud{AccountID: id.AccountID, Region: id.Region, Saved: time.Now().UTC().Truncate(time.Second)}
	return to.store().Save(savedName, savedDocument{SavedCloud: saved, ID: id.ID, Block: id.Block})
}

// newSaved makes the folder for a cloud that is saved and takes its lock. What a save that was killed left there goes.
func newSaved(ctx context.Context, path string, connect connector) (f folder, unlock func(), err error) {
	if _, err := os.Stat(filepath.Join(path, savedName+".json")); err == nil {
		return "", nil, fmt.Errorf("%q: %w", path, ErrExists)
	}
	if _, err := os.Stat(path); err == nil {
		if err := purge(ctx, path, connect); err != nil {
			return "", nil, err
		}
	}
	if f, err = openFolder(path); err != nil {
		return "", nil, err
	}
	unlock, err = f.lockFile(ctx, startLock)
	return f, unlock, err
}

// Saved returns the cloud that is saved in a folder. It fails with ErrNotSaved where there is none.
func Saved(savedDir string) (SavedCloud, error) {
	saved, err := readSaved(savedDir)
	return saved.SavedCloud, err
}

func readSaved(path string) (savedDocument, error) {
	var saved savedDocument
	found, err := store.Dir(path).Load(savedName, &saved)
	if err == nil && !found {
		err = fmt.Errorf("%q: %w", path, ErrNotSaved)
	}
	return saved, err
}

// Load brings a saved cloud back in a state folder that holds none, beside the one it was saved from and others, at loopback
// addresses of its own. The account, its keys and all IDs are the saved cloud's. Nothing runs until [Start], with which machines that
// ran boot again. What was in the folders of the same names comes with it, in place of what is in them.
//
// Killed before its end, it leaves what [Purge] removes. It fails with ErrNotSaved, and with ErrExists where there is a cloud.
func Load(ctx context.Context, savedDir, stateDir string, folders map[string]string) error {
	return load(ctx, savedDir, stateDir, folders, connectDocker)
}

func load(ctx context.Context, savedDir, path string, folders map[string]string, connect connector) (err error) {
	defer wrap(&err, "bring back the cloud saved in %q", savedDir)
	if _, err := readSaved(savedDir); err != nil { // before a folder is made
		return err
	}
	from, err := openFolder(savedDir)
	if err != nil {
		return err
	}
	unlockSaved, err := from.lockFile(ctx, startLock)
	if err != nil {
		return err
	}
	defer unlockSaved()
	saved, err := readSaved(savedDir)
	if err != nil {
		return err
	}
	f, err := openFolder(path)
	if err != nil {
		return err
	}
	unlock, err := f.lockFile(ctx, startLock)
	if err != nil {
		return err
	}
	defer unlock()
	if err := f.checkLoaded(); err != nil {
		return err
	}
	switch _, found, err := f.identity(); {
	case err != nil:
		return err
	case found:
		return fmt.Errorf("%q: %w", f, ErrExists)
	}
	if err := os.WriteFile(f.join(loadingMark), nil, 0o600); err != nil {
		return err
	}
	if err := f.fill(from, saved, folders); err != nil {
		return err
	}
	b, err := connect(ctx, f.cloudID())
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.load(ctx, from.cloudID()); err != nil {
		return err
	}
	return os.Remove(f.join(loadingMark))
}

// checkLoaded fails with ErrHalfLoaded where a load was killed.
func (f folder) checkLoaded() error {
	if _, err := os.Stat(f.join(loadingMark)); err == nil {
		return fmt.Errorf("the local cloud in %q: %w", f, ErrHalfLoaded)
	}
	return nil
}

// fill copies a saved cloud's documents into the folder, with addresses of a new block in them. The account's folders come
// after cloud.json, which says whose they are.
func (f folder) fill(from folder, saved savedDocument, folders map[string]string) error {
	block, err := loopback.Choose(string(f))
	if err != nil {
		return err
	}
	move := mover(saved, block, f.cloudID())
	isDocument := func(path string) bool { return isState(path) && path != objectsDir }
	if err := copyTree(string(f), from.join(stateDir), isDocument, move); err != nil {
		return err
	}
	if err := copyTree(f.join(objectsDir), from.join(stateDir, objectsDir), nil, nil); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := s3.Rewrite(f.store(), f.join(objectsDir), move); err != nil {
		return err
	}
	id, _, err := f.identity()
	if err != nil {
		return err
	}
	id.ID, id.Block = f.cloudID(), block
	if err := f.store().Save(identityName, id); err != nil {
		return err
	}
	for name, folder := range folders {
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
		if err := copyTree(folder, from.join(foldersDir, name), nil, move); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// mover returns a function that moves text from a saved cloud to one with another block and ID: its addresses and the names of its
// images. What is no text, it leaves as it is.
func mover(saved savedDocument, to loopback.Block, id string) func([]byte) []byte {
	address := regexp.MustCompile(`(^|[^0-9.])` + regexp.QuoteMeta(saved.Block.Prefix()))
	replacement := []byte("${1}" + to.Prefix())
	image, newImage := []byte("ingot-"+saved.ID+"/"), []byte("ingot-"+id+"/")
	return func(text []byte) []byte {
		if !utf8.Valid(text) {
			return text
		}
		return bytes.ReplaceAll(address.ReplaceAll(text, replacement), image, newImage)
	}
}

// isState reports whether what is at a path in a state folder is the cloud's state, and not of one process or of nobody any more.
func isState(path string) bool {
	return !slices.Contains([]string{serverName + ".json", serverLock, startLock, logFile, loadingMark}, path) && !strings.HasPrefix(path, ".")
}

// copyTree copies the folder from to the folder to, which it makes. Where include is given, it says which paths in from are
// copied, and edit what is in a file. Modes stay, and links lead where they led.
func copyTree(to, from string, include func(path string) bool, edit func([]byte) []byte) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		at := filepath.Join(to, name)
		switch {
		case name != "." && include != nil && !include(name):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			return os.MkdirAll(at, info.Mode().Perm())
		case entry.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, at)
		case !entry.Type().IsRegular():
			return fmt.Errorf("copy %q: it is no regular file", path)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if edit != nil {
			data = edit(data)
		}
		return os.WriteFile(at, data, info.Mode().Perm())
	})
}

// wrap says what a function was doing when it failed.
func wrap(err *error, format string, args ...any) {
	if *err != nil {
		*err = fmt.Errorf(format+": %w", append(args, *err)...)
	}
}
