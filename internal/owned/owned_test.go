package owned

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestEject(t *testing.T) {
	core := fstest.MapFS{"provision/app/app.sh": {Data: []byte("#!/bin/sh\necho a\n")}, "provision/app/units/x": {Data: []byte("x\n")}, "packer/a.pkr.hcl": {Data: []byte("a\n")}}
	root := t.TempDir()
	var said strings.Builder
	if err := Eject(core, root, "./provision/app/", &said); err != nil {
		t.Fatal(err)
	}
	if said.String() != "wrote  provision/app/app.sh\nwrote  provision/app/units/x\n" {
		t.Errorf("it says %q", said.String())
	}
	if info, err := os.Stat(filepath.Join(root, "provision/app/app.sh")); err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("a script is not executable: %v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(root, "provision/app/app.sh"), []byte("#!/bin/sh\necho b\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	text, same, err := Diff(core, root)
	if err != nil || !strings.Contains(text, "-echo a\n+echo b\n") || !strings.Contains(text, "--- Ingot's provision/app/app.sh\n+++ provision/app/app.sh\n") || strings.Contains(text, "packer") {
		t.Errorf("%v:\n%s", err, text)
	}
	if diff := cmp.Diff([]string{"provision/app/units/x"}, same); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{
		"provision": `"provision/app/app.sh" is there already`, "provision/app/ap.sh": `is it "provision/app/app.sh"`, "../x": "there is no",
	} {
		if err := Eject(core, root, name, &said); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
}
