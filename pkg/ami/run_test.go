package ami

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ingot-build/ingot/pkg/provision"
)

func TestNewRunSortsByTime(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	early, late := NewRun(at), NewRun(at.Add(time.Second))
	if !strings.HasPrefix(early, "20260102-020405-") || early >= late || NewRun(at) == early {
		t.Errorf("%s, %s", early, late)
	}
	if began, ok := Began(early); !ok || !began.Equal(at) {
		t.Errorf("%s began %s, %t", early, began, ok)
	}
}

func TestParseName(t *testing.T) {
	const run = "20260102-030405-0a1b2c"
	tests := map[string]struct {
		stage provision.Stage
		run   string
	}{
		"hello-app-" + run:                 {provision.App, run},
		"hello-base-" + run:                {provision.Base, run},
		"hello-world-base-" + run:          {}, // of another application
		"hello-app-base-" + run:            {},
		"hello-seal-" + run:                {},
		"hello-app-" + run + "0":           {},
		"hello-app-20261302-030405-":       {},
		"hello-app-20261302-030405-0a1b2c": {}, // no such month
		"hello-app":                        {},
		"bye-app-" + run:                   {},
		"":                                 {},
	}
	for name, want := range tests {
		stage, run, ok := ParseName("hello", name)
		if ok != (want.stage != "") || ok && (stage != want.stage || run != want.run || Name("hello", stage, run) != name) {
			t.Errorf("ParseName(%q) = %q, %q, %t", name, stage, run, ok)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("hello", "hello-app-20260102-030405-0a1b2c")
	f.Fuzz(func(t *testing.T, app, name string) {
		if stage, run, ok := ParseName(app, name); ok && Name(app, stage, run) != name {
			t.Errorf("ParseName(%q, %q) = %q, %q", app, name, stage, run)
		}
	})
}

// Packer's template names its temporary key pair, and the roles on GitHub may touch, what is found again here.
func TestKeyPairsAreNamedAlike(t *testing.T) {
	for file, want := range map[string]string{
		"../../packer/source.pkr.hcl": `temporary_key_pair_name = "` + keyPairPrefix + `${var.run}"`,
		"../../terraform/github.tf":   `:key-pair/` + keyPairPrefix + `${var.app}-${stage}-*"`,
	} {
		data, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s does not say %s (%v)", file, want, err)
		}
	}
}
