package bake

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ingot-build/ingot/pkg/ami"
)

func claim(t *testing.T, r runs, kind, fingerprint string) (own, same *run, dead []*run) {
	t.Helper()
	own, same, dead, err := r.claim(kind, fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return own, same, dead
}

func TestClaim(t *testing.T) {
	r := runs{app: "hello", folder: filepath.Join(t.TempDir(), "bakes")}
	first, _, dead := claim(t, r, ami.App, "f00")
	if first == nil || len(dead) > 0 {
		t.Fatalf("the first claim: %v, dead %v", first, dead)
	}
	if own, same, _ := claim(t, r, ami.App, "f00"); own != nil || same == nil || same.id != first.id || same.fingerprint != "f00" {
		t.Errorf("the same again: own %v, same %v", own, same)
	}
	for _, other := range []struct{ kind, fingerprint string }{{ami.Base, "f00"}, {ami.App, "bad"}} {
		own, same, dead := claim(t, r, other.kind, other.fingerprint)
		if own == nil || same != nil || len(dead) > 0 {
			t.Errorf("%v: own %v, same %v, dead %v", other, own, same, dead)
		}
		if err := own.discard(); err != nil {
			t.Error(err)
		}
	}

	// Packer has the record open too, and lives on.
	packer, err := os.OpenFile(recordFile(first.folder), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	first.release()
	if err := flock(packer, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	if _, same, _ := claim(t, r, ami.App, "f00"); same == nil {
		t.Error("a run whose Packer lives counts as dead")
	}
	packer.Close()

	second, same, dead := claim(t, r, ami.App, "f00")
	if second == nil || same != nil || len(dead) != 1 || dead[0].id != first.id {
		t.Fatalf("after its death: own %v, same %v, dead %v", second, same, dead)
	}
	// Nobody else takes care of the dead run meanwhile.
	if third, _, dead := claim(t, r, ami.App, "bad"); len(dead) > 0 || third.discard() != nil {
		t.Errorf("dead %v", dead)
	}
	if err := dead[0].end(); err != nil {
		t.Error(err)
	}
	if err := second.end(); err != nil {
		t.Error(err)
	}
	if alive, dead, err := r.look(); len(alive)+len(dead) > 0 || err != nil {
		t.Errorf("in the end: alive %v, dead %v, %v", alive, dead, err)
	}
}

// A run that was killed before its record was whole is dead, and makes nothing.
func TestHalfARecord(t *testing.T) {
	r := runs{app: "hello", folder: t.TempDir()}
	write(t, recordFile(filepath.Join(r.folder, "hello-app-20260102-030405-0a1b2c")), `{"finger`)
	write(t, recordFile(filepath.Join(r.folder, "hello-world-app-20260102-030405-0a1b2c")), `{}`)
	_, dead, err := r.look()
	if err != nil || len(dead) != 1 || dead[0].id != "20260102-030405-0a1b2c" || dead[0].kind != ami.App || dead[0].fingerprint != "" {
		t.Errorf("dead %v, %v", dead, err)
	}
	releaseAll(dead)
}

func TestPrune(t *testing.T) {
	r := runs{app: "hello", folder: t.TempDir()}
	var newest string
	for n := range keptRuns + 5 {
		kind := []string{ami.App, ami.Base}[n%2]
		newest = filepath.Join(r.folder, ami.Name("hello", kind, "20260102-0304"+string(rune('0'+n/10))+string(rune('0'+n%10))+"-0a1b2c"))
		write(t, filepath.Join(newest, "packer.log"), "")
	}
	dead := filepath.Join(r.folder, "hello-app-20250101-000000-0a1b2c")
	write(t, recordFile(dead), "{}")
	if err := r.prune(); err != nil {
		t.Fatal(err)
	}
	left, err := r.folders()
	if err != nil || len(left) != keptRuns+1 || left[0].folder != dead || left[keptRuns].folder != newest {
		t.Errorf("%d folders are left, from %v to %v, %v", len(left), left[0], left[len(left)-1], err)
	}
}
