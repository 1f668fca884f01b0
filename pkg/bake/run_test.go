package bake

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ingot-build/ingot/internal/lockfile"
	"github.com/ingot-build/ingot/pkg/ami"
	"github.com/ingot-build/ingot/pkg/provision"
)

func begin(t *testing.T, r runs, stage provision.Stage, fingerprint string) (own, same *run, dead []*run) {
	t.Helper()
	own, same, dead, err := r.begin(t.Context(), stage, fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return own, same, dead
}

func TestBegin(t *testing.T) {
	r := runs{app: "hello", folder: filepath.Join(t.TempDir(), "bakes")}
	first, _, dead := begin(t, r, provision.App, "f00")
	if first == nil || len(dead) > 0 {
		t.Fatalf("the first: %v, dead %v", first, dead)
	}
	if own, same, _ := begin(t, r, provision.App, "f00"); own != nil || same == nil || same.id != first.id || same.fingerprint != "f00" {
		t.Errorf("the same again: own %v, same %v", own, same)
	}
	for _, other := range []struct {
		stage       provision.Stage
		fingerprint string
	}{{provision.Base, "f00"}, {provision.App, "bad"}} {
		own, same, dead := begin(t, r, other.stage, other.fingerprint)
		if own == nil || same != nil || len(dead) > 0 {
			t.Errorf("%v: own %v, same %v, dead %v", other, own, same, dead)
		}
		if err := own.remove(); err != nil {
			t.Error(err)
		}
	}

	// Packer has the record open too, and lives on.
	packer, err := os.OpenFile(recordFile(first.folder), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	first.unlock()
	if err := lockfile.TryFile(packer); err != nil {
		t.Fatal(err)
	}
	if _, same, _ := begin(t, r, provision.App, "f00"); same == nil {
		t.Error("a run whose Packer lives counts as dead")
	}
	packer.Close()

	second, same, dead := begin(t, r, provision.App, "f00")
	if second == nil || same != nil || len(dead) != 1 || dead[0].id != first.id {
		t.Fatalf("after its death: own %v, same %v, dead %v", second, same, dead)
	}
	// Nobody else takes care of the dead run meanwhile.
	if third, _, dead := begin(t, r, provision.App, "bad"); len(dead) > 0 || third.remove() != nil {
		t.Errorf("dead %v", dead)
	}
	if err := dead[0].end(); err != nil {
		t.Error(err)
	}
	if err := second.end(); err != nil {
		t.Error(err)
	}
	if alive, dead, err := r.list(t.Context()); len(alive)+len(dead) > 0 || err != nil {
		t.Errorf("in the end: alive %v, dead %v, %v", alive, dead, err)
	}
}

// A run that was killed before its record was whole is dead, and makes nothing.
func TestHalfARecord(t *testing.T) {
	r := runs{app: "hello", folder: t.TempDir()}
	write(t, recordFile(filepath.Join(r.folder, "hello-app-20260102-030405-0a1b2c")), `{"finger`)
	write(t, recordFile(filepath.Join(r.folder, "hello-world-app-20260102-030405-0a1b2c")), `{}`)
	_, dead, err := r.list(t.Context())
	if err != nil || len(dead) != 1 || dead[0].id != "20260102-030405-0a1b2c" || dead[0].stage != provision.App || dead[0].fingerprint != "" {
		t.Errorf("dead %v, %v", dead, err)
	}
	unlockAll(dead)
}

func TestPrune(t *testing.T) {
	r := runs{app: "hello", folder: t.TempDir()}
	var newest string
	for n := range keptRuns + 5 {
		stage := []provision.Stage{provision.App, provision.Base}[n%2]
		newest = filepath.Join(r.folder, ami.Name("hello", stage, "20260102-0304"+string(rune('0'+n/10))+string(rune('0'+n%10))+"-0a1b2c"))
		write(t, filepath.Join(newest, "packer.log"), "")
	}
	dead := filepath.Join(r.folder, "hello-app-20250101-000000-0a1b2c")
	write(t, recordFile(dead), "{}")
	if err := r.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := r.folders()
	if err != nil || len(left) != keptRuns+1 || left[0].folder != dead || left[keptRuns].folder != newest {
		t.Errorf("%d folders are left, from %v to %v, %v", len(left), left[0], left[len(left)-1], err)
	}
}
