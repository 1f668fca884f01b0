package overlay

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestFS(t *testing.T) {
	core := fstest.MapFS{}
	for _, name := range []string{"same", "core", "folder/core", "folder/same", "becomes a file/core", "becomes a folder"} {
		core[name] = &fstest.MapFile{Data: []byte("core")}
	}
	dir := t.TempDir()
	for _, name := range []string{"same", "own", "folder/same", "folder/own", "becomes a file", "becomes a folder/own"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("own"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		core fs.FS
		dir  string
		want map[string]string
	}{
		"both": {core, dir, map[string]string{
			"same": "own", "own": "own", "core": "core", "folder/same": "own", "folder/own": "own", "folder/core": "core",
			"becomes a file": "own", "becomes a folder/own": "own",
		}},
		"nothing of one's own": {core, filepath.Join(dir, "nowhere"), map[string]string{
			"same": "core", "core": "core", "folder/core": "core", "folder/same": "core", "becomes a file/core": "core", "becomes a folder": "core",
		}},
		"no core": {nil, dir, map[string]string{
			"same": "own", "own": "own", "folder/same": "own", "folder/own": "own", "becomes a file": "own", "becomes a folder/own": "own",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			laid := FS(tc.core, tc.dir)
			got := map[string]string{}
			err := fs.WalkDir(laid, ".", func(name string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() {
					return err
				}
				data, err := fs.ReadFile(laid, name)
				got[name] = string(data)
				return err
			})
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
	if _, err := fs.ReadFile(FS(core, dir), "becomes a file/core"); err == nil {
		t.Error("what a file hides can be read")
	}
}
