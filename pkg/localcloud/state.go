package localcloud

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"

	"github.com/ingot-build/ingot/internal/lockfile"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/ec2"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/loopback"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/shape"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/store"
	"github.com/ingot-build/ingot/pkg/localcloud/internal/wire"
)

// The files of a state folder.
const (
	identityName = "cloud"       // the document cloud.json
	serverName   = "server"      // the document server.json
	serverLock   = "server.lock" // held while the server runs
	startLock    = "start.lock"  // held while the server is started, stopped or purged
	logFile      = "cloud.log"   // what the server writes
	objectsDir   = "objects"     // contents of S3 objects
)

// identity is what a cloud is for as long as it exists.
type identity struct {
	ID              string // names what the cloud makes on Docker
	AccountID       string
	Region          string
	Shape           string `json:",omitempty"` // as [shape.Parse] reads it
	AccessKeyID     string
	SecretAccessKey string
	Block           loopback.Block
}

func (i identity) connection() Connection {
	return Connection{
		Endpoint: "http://" + i.Block.Endpoint().String(), Region: i.Region, AccessKeyID: i.AccessKeyID,
		SecretAccessKey: i.SecretAccessKey, AccountID: i.AccountID,
	}
}

// instance is one running server of a cloud. It is to be believed only while the server's lock is held.
type instance struct {
	PID      int
	Build    string // digest of the executable
	Endpoint string
}

// ShapeError says that a cloud was to have another shape than it was made with.
type ShapeError struct{ Has, Wanted string }

// Error names both.
func (e *ShapeError) Error() string {
	return fmt.Sprintf("there is a local cloud already, of the shape %q and not %q: a cloud keeps its shape", e.Has, e.Wanted)
}

// folder is a cloud's state folder.
type folder string

// openFolder makes the folder where there is none.
func openFolder(path string) (folder, error) {
	if path == "" {
		return "", errors.New("open the local cloud's state: no folder is given")
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("open the local cloud's state: %w", err)
	}
	if err := os.MkdirAll(absolute, 0o700); err != nil {
		return "", fmt.Errorf("make the local cloud's state folder: %w", err)
	}
	// Only its owner may read the key in it, whoever made the folder.
	if err := os.Chmod(absolute, 0o700); err != nil {
		return "", fmt.Errorf("protect the local cloud's state folder: %w", err)
	}
	return folder(absolute), nil
}

func (f folder) join(names ...string) string {
	return filepath.Join(append([]string{string(f)}, names...)...)
}

func (f folder) store() store.Store { return store.Dir(string(f)) }

// cloudID returns the ID of the folder's cloud. It follows from the path, so that what a cloud made can be found and removed
// even when its state cannot be read.
func (f folder) cloudID() string {
	sum := sha256.Sum256([]byte(f))
	return hex.EncodeToString(sum[:6])
}

// identity returns who the folder's cloud is, if there is one.
func (f folder) identity() (identity, bool, error) {
	var i identity
	found, err := f.store().Load(identityName, &i)
	if err != nil {
		return identity{}, false, err
	}
	if found && (i.AccountID == "" || i.SecretAccessKey == "" || i.Region == "") {
		return identity{}, false, fmt.Errorf("load the local cloud's state: %q is damaged: it is not complete", f.join(identityName+".json"))
	}
	return i, found, nil
}

// identify returns who the folder's cloud is, and makes one up for a new cloud. It fails with ErrHalfLoaded, and where the folder is
// a saved cloud's.
func (f folder) identify(o Options) (identity, error) {
	region := o.Region
	wanted, err := shape.Parse(o.Shape)
	if err != nil {
		return identity{}, err
	}
	if err := f.checkLoaded(); err != nil {
		return identity{}, err
	}
	if _, err := os.Stat(f.join(savedName + ".json")); err == nil {
		return identity{}, fmt.Errorf("make a local cloud in %q: a cloud is saved there", f)
	}
	i, found, err := f.identity()
	if err != nil {
		return identity{}, err
	}
	if found {
		if region != "" && i.Region != region {
			return identity{}, fmt.Errorf("the local cloud in %q is the region %s, not %s: "+
				"use that region, another state folder, or purge the cloud", f, i.Region, region)
		}
		if o.Shape != "" && i.Shape != wanted.String() {
			return identity{}, &ShapeError{Has: i.Shape, Wanted: wanted.String()}
		}
		return i, nil
	}
	if !wire.IsRegion(region) {
		return identity{}, fmt.Errorf("make a local cloud: %q is not a region of AWS, such as us-west-1", region)
	}
	if err := ec2.CheckShape(region, wanted); err != nil {
		return identity{}, fmt.Errorf("make a local cloud of the shape %q: %w", wanted, err)
	}
	account, err := rand.Int(rand.Reader, big.NewInt(1e11)) // 11 digits after the leading 0
	if err != nil {
		return identity{}, fmt.Errorf("make a local cloud: %w", err)
	}
	block, err := loopback.Choose(string(f))
	if err != nil {
		return identity{}, fmt.Errorf("make a local cloud: %w", err)
	}
	i = identity{
		ID: f.cloudID(), AccountID: fmt.Sprintf("%012d", account), Region: region, Shape: wanted.String(),
		// The forms are AWS's: 20 characters beginning with AKIA, and 40 or more.
		AccessKeyID: "AKIA" + rand.Text()[:16], SecretAccessKey: rand.Text() + rand.Text(), Block: block,
	}
	return i, f.store().Save(identityName, i)
}

// lockFile takes the lock on a file of the folder, waiting for it until the context ends.
func (f folder) lockFile(ctx context.Context, name string) (unlock func(), err error) {
	file, err := lockfile.Wait(ctx, f.join(name))
	if err != nil {
		return nil, err
	}
	return func() { file.Close() }, nil
}

// server returns the folder's running server, if there is one.
func (f folder) server() (instance, bool, error) {
	held, err := lockfile.Held(f.join(serverLock))
	if err != nil || !held {
		return instance{}, false, err
	}
	// A server that is starting holds the lock before it has written who it is.
	data, err := os.ReadFile(f.join(serverName + ".json"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return instance{}, true, fmt.Errorf("find the local cloud's server: %w", err)
	}
	var running instance
	if err := json.Unmarshal(data, &running); err != nil {
		return instance{}, true, nil
	}
	return running, true, nil
}

// digest returns a digest of the file's content.
func digest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", fmt.Errorf("read %q: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// ownDigest returns the digest of this process's executable.
func ownDigest() (string, error) {
	// On Linux this is the file that runs, even after another one has taken its place.
	if build, err := digest("/proc/self/exe"); err == nil {
		return build, nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	return digest(path)
}
