package machine

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// File is a file to put on a machine's disk.
type File struct {
	Path string // absolute
	Data []byte
	Mode fs.FileMode // permissions; zero for 0644
	UID  int
	GID  int
}

// tarOf is an archive of files. Folders that are missing are made where it is unpacked; those that are there stay as they are.
func tarOf(files []File) io.Reader {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		name := strings.TrimPrefix(path.Clean(f.Path), "/")
		mode := f.Mode.Perm()
		if mode == 0 {
			mode = 0o644
		}
		// Writes to a buffer do not fail.
		_ = w.WriteHeader(&tar.Header{Name: name, Mode: int64(mode), Size: int64(len(f.Data)), Uid: f.UID, Gid: f.GID})
		_, _ = w.Write(f.Data)
	}
	_ = w.Close()
	return &out
}

// CopyIn unpacks a tar archive into a folder of a machine, which must exist. Owners are those in the archive. It works on a stopped
// machine as well, but not for what lies on /run and /tmp, which are made anew at every start.
func (e *Engine) CopyIn(ctx context.Context, name, folder string, archive io.Reader) error {
	err := e.api.CopyToContainer(ctx, name, folder, archive, container.CopyToContainerOptions{})
	return explain("copy files to machine", name, err)
}

// Seed is what EC2's instance metadata gives a new instance on its first boot.
type Seed struct {
	InstanceID     string   // a new one makes the next boot a first boot
	AuthorizedKeys []string // of the login user admin, in authorized_keys form
	UserData       []byte   // run once, as root, when it is a script that starts with #!
}

// Files are the files that hand the seed to a machine made from Image or from an image that was committed of one. With them the
// machine gets host keys and a machine ID of its own.
func (s Seed) Files() []File {
	const folder = "/var/lib/cloud/instance/"
	keys := strings.Join(s.AuthorizedKeys, "\n")
	if keys != "" {
		keys += "\n"
	}
	return []File{
		{Path: "/etc/machine-id", Mode: 0o444}, // empty: systemd makes one up and keeps it
		{Path: folder + "instance-id", Data: []byte(s.InstanceID + "\n")},
		{Path: folder + "authorized-keys", Data: []byte(keys), Mode: 0o600},
		{Path: folder + "user-data", Data: s.UserData, Mode: 0o600},
	}
}
